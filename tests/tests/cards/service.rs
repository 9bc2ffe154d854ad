//! The smart card service that stops, hangs, or comes later.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use sluss_card::{Error, Event};
use x25519_dalek::X25519_BASEPOINT_BYTES;

use crate::person::{bound_to, start, verified};
use sluss_tests::cardholder::Cardholder;

pub(crate) fn a_restart_of_pcscd_is_survived() -> Result<()> {
    let (mut rig, mut card, mut user) = verified()?;
    rig.stop_pcscd()?;
    user.removed(&rig.reader(0))?;
    user.expect("the loss of the service", |event| {
        matches!(event, Event::ServiceLost { .. }).then_some(())
    })?;
    ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Err(Error::Gone));
    rig.start_pcscd()?;
    let started = Instant::now();
    user.expect("the service", |event| {
        matches!(event, Event::ServiceFound).then_some(())
    })?;
    println!(
        "measured restart of pcscd to event {} ms",
        started.elapsed().as_millis()
    );
    card.remove()?;
    card.insert()?;
    let info = user.inserted()?;
    ensure!(!info.ready, "the PIN outlived a restart");
    ensure!(user.unlock("123456")? == Ok(()));
    ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Ok(info.public_key));
    Ok(())
}

pub(crate) fn pcscd_may_come_later() -> Result<()> {
    let (mut rig, mut card) = start()?;
    rig.stop_pcscd()?;
    let mut user = Cardholder::start(bound_to(&card))?;
    user.expect("word of the missing service", |event| {
        matches!(event, Event::ServiceLost { .. }).then_some(())
    })?;
    rig.start_pcscd()?;
    card.insert()?;
    ensure!(user.inserted()?.serial == card.identity().serial);
    ensure!(!user.heard_of("removed"));
    Ok(())
}

pub(crate) fn a_hanging_service_is_abandoned() -> Result<()> {
    let (rig, card, mut user) = verified()?;
    rig.signal_pcscd(Signal::SIGSTOP)?;
    for _ in 0..3 {
        let dh = user.dh_within(X25519_BASEPOINT_BYTES, Duration::from_millis(200))?;
        ensure!(dh == Err(Error::Timeout), "{dh:?}");
    }
    rig.signal_pcscd(Signal::SIGCONT)?;
    ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Ok(card.identity().public_key));
    ensure!(!user.heard_of("removed") && !user.heard_of("lost"));
    Ok(())
}
