//! Cards that are pulled, lose power, or are not the one.

use anyhow::{Context, Result, ensure};
use sluss_card::Error;
use sluss_tests::moment::{self, median, millis};
use sluss_tests::rig::Fault;
use x25519_dalek::X25519_BASEPOINT_BYTES;

use crate::person::{User, bound_to, inserted, start, verified};

pub(crate) fn a_pull_is_seen_at_once() -> Result<()> {
    let (rig, mut card, mut user) = inserted()?;
    let mut times = Vec::new();
    for _ in 0..10 {
        user.inserted()?;
        let pulled = card.remove()?;
        user.removed(&rig.reader(0))?;
        times.push(millis(pulled, moment::now()));
        card.insert()?;
    }
    let worst = times.iter().max().copied().context("no times")?;
    println!(
        "measured pull to event {} ms (median of 10), {worst} ms at worst",
        median(times).context("no times")?
    );
    ensure!(worst < 800, "{worst} ms: more than a reader's poll of 400");
    Ok(())
}

pub(crate) fn a_pull_too_fast_to_be_seen_locks() -> Result<()> {
    let (_rig, mut card, mut user) = verified()?;
    for _ in 0..5 {
        // faster than the reader's poll, or not: as far as pcscd knows, perhaps nothing has happened
        card.remove()?;
        card.insert()?;
        let dh = user.dh(X25519_BASEPOINT_BYTES)?;
        ensure!(matches!(dh, Err(Error::Locked | Error::Gone)), "{dh:?}");
        if dh == Err(Error::Gone) {
            user.inserted()?;
        }
        let serial = card.identity().serial.clone();
        ensure!(user.verify(&serial, "123456", false)? == Ok(()));
        ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Ok(card.identity().public_key));
    }
    Ok(())
}

pub(crate) fn a_moment_without_power_locks() -> Result<()> {
    let (_rig, mut card, mut user) = verified()?;
    card.reset()?;
    ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Err(Error::Locked));
    user.locked()?;
    let serial = card.identity().serial.clone();
    ensure!(user.verify(&serial, "123456", false)? == Ok(()));
    ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Ok(card.identity().public_key));
    Ok(())
}

pub(crate) fn a_card_may_vanish_in_the_middle() -> Result<()> {
    let (rig, mut card, mut user) = verified()?;
    for _ in 0..3 {
        card.fail(Fault::Vanish)?;
        let dh = user.dh(X25519_BASEPOINT_BYTES)?;
        ensure!(dh == Err(Error::Gone), "{dh:?}");
        user.removed(&rig.reader(0))?;
        ensure!(
            user.dh(X25519_BASEPOINT_BYTES)? == Err(Error::Gone),
            "of a card that is gone"
        );
        card.insert()?;
        let info = user.inserted()?;
        ensure!(user.verify(&info.serial, "123456", false)? == Ok(()));
        ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Ok(info.public_key));
    }
    Ok(())
}

pub(crate) fn the_bound_card_is_the_one() -> Result<()> {
    let (rig, mut mine) = start()?;
    let mut strangers = rig.card(1)?;
    let mut user = User::start(bound_to(&mine))?;
    strangers.insert()?;
    let other = Error::OtherCard {
        serial: strangers.identity().serial.clone(),
    };
    ensure!(user.unusable(&rig.reader(1))? == other);
    mine.insert()?;
    ensure!(user.inserted()?.public_key == mine.identity().public_key);
    strangers.remove()?;
    user.removed(&rig.reader(1))?;
    ensure!(
        user.refresh()?
            .is_ok_and(|info| info.public_key == mine.identity().public_key)
    );
    Ok(())
}
