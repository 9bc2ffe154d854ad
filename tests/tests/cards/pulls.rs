//! Cards that are pulled, lose power, or are not the one.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sluss_card::{AfterUse, Error, Event, PinLife};
use sluss_tests::moment::{self, eventually, median, millis};
use sluss_tests::rig::Fault;
use x25519_dalek::X25519_BASEPOINT_BYTES;

use crate::person::{PATIENCE, bound_to, inserted, start, verified, verified_with};
use sluss_tests::cardholder::Cardholder;

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
        ensure!(user.unlock("123456")? == Ok(()));
        ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Ok(card.identity().public_key));
    }
    Ok(())
}

pub(crate) fn a_moment_without_power_locks() -> Result<()> {
    let (_rig, mut card, mut user) = verified()?;
    card.reset()?;
    ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Err(Error::Locked));
    user.locked()?;
    ensure!(user.unlock("123456")? == Ok(()));
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
        ensure!(user.unlock("123456")? == Ok(()));
        ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Ok(info.public_key));
    }
    Ok(())
}

pub(crate) fn the_bound_card_is_the_one() -> Result<()> {
    let (rig, mut mine) = start()?;
    let mut strangers = rig.card(1)?;
    let mut user = Cardholder::start(bound_to(&mine))?;
    strangers.insert()?;
    let other = Error::OtherCard {
        serial: strangers.identity().serial.clone(),
    };
    ensure!(user.unusable_in(&rig.reader(1))? == other);
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

pub(crate) fn another_persons_card_gets_no_pin_and_no_question() -> Result<()> {
    let (rig, mut mine, mut user) = verified_with(PinLife::UntilLock, AfterUse::Keep)?;
    let mut theirs = rig.other_card(0)?;
    // faster than the reader's poll, or not
    mine.remove()?;
    theirs.insert()?;
    let dh = user.dh(X25519_BASEPOINT_BYTES)?;
    let serial = theirs.identity().serial.clone();
    let other = Error::OtherCard { serial };
    ensure!(dh == Err(Error::Gone) || dh == Err(other.clone()), "{dh:?}");
    user.removed(&rig.reader(0))?;
    ensure!(user.unusable_in(&rig.reader(0))? == other);
    let mine = mine.identity().serial.clone();
    ensure!(user.verify(&mine, "123456")? == Err(Error::Gone));
    ensure!(theirs.stats()?.verify == 0, "their card was shown a PIN");
    Ok(())
}

pub(crate) fn a_pull_is_seen_while_the_card_computes() -> Result<()> {
    let (_rig, mut card, mut user) = verified()?;
    card.delay(Duration::from_secs(3))?;
    let asked = user.ask_dh(X25519_BASEPOINT_BYTES, PATIENCE);
    eventually("the card computes", PATIENCE, || {
        Ok((card.stats()?.dh == 1).then_some(()))
    })?;
    let pulled = card.remove()?;
    let (mut answer, mut removed) = (None, false);
    user.expect("an answer and the removal", |event| {
        match event {
            Event::Dh { op, result } if op == asked => answer = Some(result.map(drop)),
            Event::Removed { .. } => removed = true,
            _ => {}
        }
        (answer.is_some() && removed).then_some(())
    })?;
    let took = millis(pulled, moment::now());
    println!("measured pull to event {took} ms while the card computes");
    ensure!(answer == Some(Err(Error::Gone)), "{answer:?}");
    ensure!(took < 1000, "{took} ms");
    Ok(())
}

pub(crate) fn the_other_reader_is_nobodys_business() -> Result<()> {
    let (rig, mine, mut user) = verified()?;
    let mut theirs = rig.card(1)?;
    for _ in 0..2 {
        theirs.insert()?;
        user.unusable_in(&rig.reader(1))?;
        ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Ok(mine.identity().public_key));
        theirs.remove()?;
        user.removed(&rig.reader(1))?;
    }
    ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Ok(mine.identity().public_key));
    ensure!(!user.heard_of("lost"));
    Ok(())
}
