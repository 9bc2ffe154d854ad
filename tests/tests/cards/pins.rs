//! PINs: what spends a try, how long one lasts, and what the card is told after each use.

use anyhow::{Context, Result, ensure};
use pcsc::{Disposition, ShareMode};
use sluss_card::{AfterUse, Config, Error, PinLife};
use x25519_dalek::X25519_BASEPOINT_BYTES;

use crate::person::{Other, bound_to, inserted, start, verified_with};
use sluss_tests::cardholder::Cardholder;

/// An empty VERIFY, which asks without trying, and what a card says that would use its key now.
const VERIFIED: (&[u8], &[u8]) = (b"\x00\x20\x00\x82", &[0x90, 0x00]);

pub(crate) fn tries_are_asked_for_without_spending_one() -> Result<()> {
    let (_rig, mut card, mut user) = inserted()?;
    let info = user.inserted()?;
    ensure!((info.tries_left, info.ready) == (3, false));
    for _ in 0..5 {
        let again = user.refresh()?;
        ensure!(again.as_ref() == Ok(&info), "{again:?}");
    }
    ensure!(user.unlock("12345")? == Err(Error::PinLength { min: 6, max: 127 }));
    ensure!(
        user.verify("FFFE:00000000", "123456")? == Err(Error::Gone),
        "a PIN for another card"
    );
    ensure!(card.stats()?.verify == 0, "a try was spent");
    Ok(())
}

pub(crate) fn wrong_pins_count_down_to_the_last_try() -> Result<()> {
    let (_rig, mut card, mut user) = inserted()?;
    user.inserted()?;
    ensure!(user.unlock("111111")? == Err(Error::WrongPin { left: 2 }));
    ensure!(user.unlock("111111")? == Err(Error::WrongPin { left: 1 }));
    ensure!(user.unlock("123456")? == Err(Error::OneTryLeft));
    ensure!(
        card.stats()?.verify == 2,
        "the last try went without consent"
    );
    ensure!(user.unlock_at_all_costs("123456")? == Ok(()));
    ensure!(user.refresh()?.map(|info| (info.tries_left, info.ready)) == Ok((3, true)));

    for _ in 0..3 {
        user.unlock_at_all_costs("111111")?
            .err()
            .context("a wrong PIN was taken")?;
    }
    ensure!(user.unlock_at_all_costs("123456")? == Err(Error::Blocked));
    ensure!(user.refresh()?.map(|info| info.tries_left) == Ok(0));
    ensure!(card.stats()?.verify == 6, "a blocked card was tried");
    Ok(())
}

pub(crate) fn the_pin_of_a_new_card_is_not_even_tried() -> Result<()> {
    let (_rig, mut card) = start()?;
    card.insert()?;
    let config = Config {
        allow_factory_pin: false,
        ..bound_to(&card)
    };
    let mut user = Cardholder::start(config)?;
    user.inserted()?;
    ensure!(user.unlock("123456")? == Err(Error::FactoryPin));
    ensure!(card.stats()?.verify == 0, "a try was spent");
    Ok(())
}

pub(crate) fn a_kept_pin_makes_up_for_what_others_do() -> Result<()> {
    let (rig, mut card, mut user) = verified_with(PinLife::UntilLock, AfterUse::Keep)?;
    let key = card.identity().public_key;
    for times in 1..=3 {
        let other = Other::connect(&rig, ShareMode::Shared)?;
        let reset = other.0.disconnect(Disposition::ResetCard);
        reset.map_err(|(_, error)| error)?;
        ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Ok(key));
        ensure!(card.stats()?.verify == 1 + times);
    }
    // what sleep does
    card.reset()?;
    ensure!(user.refresh()?.is_ok_and(|info| info.ready));
    ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Ok(key));
    ensure!(!user.heard_of("lost") && !user.heard_of("removed"));

    card.remove()?;
    user.removed(&rig.reader(0))?;
    card.insert()?;
    ensure!(!user.inserted()?.ready, "a PIN outlived its card's pull");
    ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Err(Error::Locked));
    Ok(())
}

pub(crate) fn a_kept_pin_goes_when_the_user_locks_or_the_laptop_sleeps() -> Result<()> {
    let (_rig, mut card, mut user) = verified_with(PinLife::UntilLock, AfterUse::Keep)?;
    ensure!(user.lock()? == Ok(()));
    ensure!(user.refresh()?.is_ok_and(|info| !info.ready));
    ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Err(Error::Locked));

    ensure!(user.unlock("123456")? == Ok(()));
    user.forget()?;
    let key = card.identity().public_key;
    ensure!(
        user.dh(X25519_BASEPOINT_BYTES)? == Ok(key),
        "the card itself was to be left as it is"
    );
    card.reset()?;
    ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Err(Error::Locked));
    user.locked()?;
    ensure!(card.stats()?.verify == 2, "a PIN was tried by itself");
    Ok(())
}

/// Somebody else's hands: a card whose PIN was changed beside us.
pub(crate) fn a_kept_pin_that_has_become_wrong_costs_one_try() -> Result<()> {
    let (rig, mut card, mut user) = verified_with(PinLife::UntilLock, AfterUse::Keep)?;
    let other = Other::connect(&rig, ShareMode::Shared)?;
    // CHANGE REFERENCE DATA (OpenPGP card 3.4, 7.2.3)
    let changed = other.exchange(b"\x00\x24\x00\x81\x0C123456654321")?;
    ensure!(changed == [0x90, 0x00], "{changed:02X?}");
    let reset = other.0.disconnect(Disposition::ResetCard);
    reset.map_err(|(_, error)| error)?;
    ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Err(Error::WrongPin { left: 2 }));
    user.locked()?;
    for _ in 0..3 {
        ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Err(Error::Locked));
    }
    ensure!(
        user.refresh()?
            .is_ok_and(|info| info.tries_left == 2 && !info.ready)
    );
    ensure!(card.stats()?.verify == 2, "it was tried again");
    ensure!(user.unlock("654321")? == Ok(()));
    ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Ok(card.identity().public_key));
    Ok(())
}

pub(crate) fn after_each_use_the_card_is_left_as_policy_wants_it() -> Result<()> {
    for after_use in [AfterUse::Keep, AfterUse::Unverify, AfterUse::Reset] {
        let (rig, mut card, mut user) = verified_with(PinLife::UntilLock, after_use)?;
        let other = Other::connect(&rig, ShareMode::Shared)?;
        for _ in 0..3 {
            ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Ok(card.identity().public_key));
        }
        let expected = match after_use {
            AfterUse::Keep => Ok(true),
            AfterUse::Unverify => Ok(false),
            AfterUse::Reset => Err(pcsc::Error::ResetCard),
        };
        let (asked, yes) = VERIFIED;
        let mut buffer = [0; 258];
        let left = other.0.transmit(asked, &mut buffer);
        ensure!(
            left.map(|answer| answer == yes) == expected,
            "{after_use:?}"
        );
        let spent = if after_use == AfterUse::Keep { 1 } else { 3 };
        ensure!(
            card.stats()?.verify == spent,
            "{after_use:?}: {:?}",
            card.stats()?
        );
        ensure!(!user.heard_of("lost") && !user.heard_of("removed"));
        drop((other, user));
        card.remove()?;
    }
    Ok(())
}

pub(crate) fn without_a_kept_pin_each_use_may_be_the_last() -> Result<()> {
    let (_rig, mut card, mut user) = verified_with(PinLife::Ask, AfterUse::Unverify)?;
    ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Ok(card.identity().public_key));
    user.locked()?;
    ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Err(Error::Locked));
    ensure!(card.stats()?.verify == 1);
    Ok(())
}
