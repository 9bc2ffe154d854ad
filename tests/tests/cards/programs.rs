//! Other programs that use the card beside us.

use std::time::Duration;

use anyhow::{Result, ensure};
use pcsc::{Disposition, ShareMode};
use sluss_card::Error;
use sluss_tests::moment::eventually;
use x25519_dalek::X25519_BASEPOINT_BYTES;

use crate::person::{Other, PATIENCE, User, bound_to, start, verified};

pub(crate) fn a_reset_by_another_program_locks_without_a_pull() -> Result<()> {
    let (rig, mut card, mut user) = verified()?;
    let other = Other::connect(&rig, ShareMode::Shared)?;
    other
        .0
        .disconnect(Disposition::ResetCard)
        .map_err(|(_, error)| error)?;
    ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Err(Error::Locked));
    user.locked()?;
    let serial = card.identity().serial.clone();
    ensure!(user.verify(&serial, "123456", false)? == Ok(()));
    ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Ok(card.identity().public_key));
    ensure!(!user.heard_of("removed"), "taken for a pull");
    ensure!(card.stats()?.verify == 2);
    Ok(())
}

pub(crate) fn another_programs_application_locks_without_a_pull() -> Result<()> {
    let (rig, card, mut user) = verified()?;
    let other = Other::connect(&rig, ShareMode::Shared)?;
    other.exchange(b"\x00\xA4\x04\x00\x08\xA0\x00\x00\x06\x47\x2F\x00\x01")?;
    ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Err(Error::Locked));
    user.locked()?;
    ensure!(user.verify(&card.identity().serial, "123456", false)? == Ok(()));
    ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Ok(card.identity().public_key));
    ensure!(!user.heard_of("removed"), "taken for a pull");
    Ok(())
}

pub(crate) fn another_programs_transaction_is_waited_for() -> Result<()> {
    let (rig, mut card, mut user) = verified()?;
    let mut other = Other::connect(&rig, ShareMode::Shared)?;
    let transaction = other.0.transaction()?;
    let asked = card.stats()?.dh;
    ensure!(
        user.dh_within(X25519_BASEPOINT_BYTES, Duration::from_millis(300))? == Err(Error::Timeout)
    );
    ensure!(
        card.stats()?.dh == asked,
        "our command went into another program's transaction"
    );
    drop(transaction);
    ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Ok(card.identity().public_key));
    ensure!(!user.heard_of("removed") && !user.heard_of("lost"));
    Ok(())
}

pub(crate) fn exclusive_use_by_another_program_is_told() -> Result<()> {
    let (rig, mut card) = start()?;
    card.insert()?;
    let other = eventually("another program has the card", PATIENCE, || {
        Ok(Other::connect(&rig, ShareMode::Exclusive).ok())
    })?;
    let mut user = User::start(bound_to(&card))?;
    ensure!(user.unusable(&rig.reader(0))? == Error::Busy);
    other
        .0
        .disconnect(Disposition::LeaveCard)
        .map_err(|(_, error)| error)?;
    user.inserted()?;
    Ok(())
}
