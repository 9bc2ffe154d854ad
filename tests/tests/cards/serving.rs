//! The healthy card: what it computes, and that it is left alone otherwise.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use pcsc::ShareMode;
use sluss_card::Error;
use sluss_tests::moment::median;
use x25519_dalek::{PublicKey, StaticSecret, X25519_BASEPOINT_BYTES, x25519};

use crate::person::{Other, bound_to, inserted, verified};
use sluss_tests::cardholder::Cardholder;

pub(crate) fn the_card_computes_x25519() -> Result<()> {
    let (_rig, mut card, mut user) = inserted()?;
    let info = user.inserted()?;
    let identity = card.identity();
    ensure!(info.serial == identity.serial && info.public_key == identity.public_key);
    let private = identity.private_key;
    ensure!(
        info.public_key == x25519(private, X25519_BASEPOINT_BYTES),
        "the rig lies about its key"
    );

    ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Err(Error::Locked));
    ensure!(user.unlock("123456")? == Ok(()));
    let mut times = Vec::new();
    for seed in 0..20 {
        let peer = PublicKey::from(&StaticSecret::from([seed; 32])).to_bytes();
        let asked = Instant::now();
        ensure!(user.dh(peer)? == Ok(x25519(private, peer)), "peer {seed}");
        times.push(u64::try_from(asked.elapsed().as_micros())?);
    }
    ensure!(
        user.dh([0; 32])? == Err(Error::ZeroSecret),
        "a key of small order"
    );
    ensure!(
        user.dh(X25519_BASEPOINT_BYTES)? == Ok(info.public_key),
        "still of use after that"
    );
    ensure!(card.stats()?.verify == 1);
    println!(
        "measured one Diffie-Hellman {} us (median of 20)",
        median(times).context("no times")?
    );
    Ok(())
}

pub(crate) fn locking_makes_the_card_forget() -> Result<()> {
    let (_rig, _card, mut user) = verified()?;
    ensure!(user.lock()? == Ok(()));
    ensure!(user.refresh()?.is_ok_and(|info| !info.ready));
    ensure!(user.dh(X25519_BASEPOINT_BYTES)? == Err(Error::Locked));
    ensure!(user.unlock("123456")? == Ok(()));
    Ok(())
}

pub(crate) fn stopping_leaves_the_card_verified_for_others() -> Result<()> {
    let (rig, mut card, user) = verified()?;
    let other = Other::connect(&rig, ShareMode::Shared)?;
    let powered = card.stats()?.power_on;
    user.cards.stop();
    ensure!(
        other.exchange(b"\x00\x20\x00\x82")? == [0x90, 0x00],
        "the card was reset under another program"
    );
    ensure!(card.stats()?.power_on == powered);
    let mut again = Cardholder::start(bound_to(&card))?;
    ensure!(again.inserted()?.ready, "a card that is verified says so");
    Ok(())
}

pub(crate) fn idle_is_idle() -> Result<()> {
    let (_rig, mut card, _user) = verified()?;
    // pcscd tells the watcher of our own connection at its reader's next poll
    quiet_wakeups(Duration::from_secs(1))?;
    let before = card.stats()?;
    let time = Duration::from_secs(10);
    let wakeups = quiet_wakeups(time)?;
    println!("measured {wakeups} wake-ups in {time:?} with a verified card in");
    ensure!(wakeups == 0, "{wakeups} wake-ups");
    ensure!(card.stats()? == before, "the card was asked for something");
    Ok(())
}

/// Counts for so long, in which there is nothing to wait for: what is measured is that nothing happens.
fn quiet_wakeups(time: Duration) -> Result<u64> {
    let before = wakeups()?;
    std::thread::sleep(time);
    Ok(wakeups()? - before)
}

/// Voluntary context switches of the worker's threads: each is a return to sleep.
fn wakeups() -> Result<u64> {
    let mut sum = 0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let status = std::fs::read_to_string(task?.path().join("status"))?;
        if status.starts_with("Name:\tcard ") {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            sum += line
                .context("no count of switches")?
                .trim()
                .parse::<u64>()?;
        }
    }
    ensure!(sum > 0, "the worker has no threads");
    Ok(sum)
}
