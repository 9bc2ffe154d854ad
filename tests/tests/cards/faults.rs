//! Cards that hang or talk nonsense.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sluss_card::Error;
use sluss_tests::rig::Fault;
use x25519_dalek::X25519_BASEPOINT_BYTES;

use crate::person::verified;

pub(crate) fn a_hang_is_abandoned() -> Result<()> {
    let (_rig, mut card, mut user) = verified()?;
    card.fail(Fault::Hang)?;
    let short = Duration::from_millis(300);
    let asked = Instant::now();
    ensure!(user.dh_within(X25519_BASEPOINT_BYTES, short)? == Err(Error::Timeout));
    let took = asked.elapsed();
    ensure!(
        (short..short * 2).contains(&took),
        "answered after {took:?}"
    );
    for _ in 0..3 {
        ensure!(
            user.dh_within(X25519_BASEPOINT_BYTES, short)? == Err(Error::Timeout),
            "while it hangs"
        );
    }
    let threads = std::fs::read_dir("/proc/self/task")?.count();
    ensure!(
        threads < 10,
        "{threads} threads: one hang must not cost a thread for each request"
    );

    let dh_before = card.stats()?.dh;
    card.fail(Fault::None)?;
    ensure!(
        user.dh(X25519_BASEPOINT_BYTES)? == Ok(card.identity().public_key),
        "later it works, without a PIN"
    );
    let dh_after = card.stats()?.dh;
    ensure!(
        dh_after == dh_before + 1,
        "{} requests that were given up reached the card",
        dh_after - dh_before - 1
    );
    Ok(())
}

pub(crate) fn a_hang_does_not_keep_the_daemon_from_stopping() -> Result<()> {
    let (_rig, mut card, mut user) = verified()?;
    card.fail(Fault::Hang)?;
    user.dh_within(X25519_BASEPOINT_BYTES, Duration::from_millis(100))?
        .err()
        .context("a card that hangs answered")?;
    let asked = Instant::now();
    user.cards.stop();
    let took = asked.elapsed();
    ensure!(took < Duration::from_millis(1500), "{took:?}");
    Ok(())
}

pub(crate) fn nonsense_is_named_and_a_healthy_card_recovers() -> Result<()> {
    let (rig, mut card, mut user) = verified()?;
    card.fail(Fault::Nonsense)?;
    let dh = user.dh(X25519_BASEPOINT_BYTES)?;
    ensure!(dh.is_err_and(|error| is_the_cards_fault(&error)));
    let reason = user.unusable_in(&rig.reader(0))?;
    ensure!(is_the_cards_fault(&reason), "{reason}");
    card.remove()?;
    user.removed(&rig.reader(0))?;

    // the same when it is broken from the start, in each of its ways
    for _ in 0..4 {
        card.insert()?;
        let reason = user.unusable_in(&rig.reader(0))?;
        ensure!(is_the_cards_fault(&reason), "{reason}");
        card.remove()?;
        user.removed(&rig.reader(0))?;
    }
    card.fail(Fault::None)?;
    card.insert()?;
    let info = user.inserted()?;
    ensure!(user.unlock("123456")? == Ok(()));
    ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Ok(info.public_key));

    // and when it comes to its senses by itself
    card.fail(Fault::Nonsense)?;
    user.refresh()?.err().context("nonsense was believed")?;
    user.unusable_in(&rig.reader(0))?;
    card.fail(Fault::None)?;
    user.inserted()?;
    Ok(())
}

fn is_the_cards_fault(error: &Error) -> bool {
    matches!(
        error,
        Error::Nonsense { .. } | Error::Refused { .. } | Error::NoApplet(_)
    )
}
