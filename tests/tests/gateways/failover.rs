//! From a silent gateway to the other one, and back.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use sluss_platform::clock::boottime;
use sluss_tests::moment::median;
use sluss_wg::Timing;

use crate::road::{Road, Town};

const TIMES: usize = 10;

fn millis(since: Duration) -> u64 {
    u64::try_from((boottime() - since).as_millis()).unwrap_or(u64::MAX)
}

/// Does it ten times side by side, since nearly all of it is waiting, each in a town of its own.
fn ten_times(name: &str, measure: impl Fn(Town) -> Result<u64> + Sync) -> Result<Vec<u64>> {
    let mut towns = Vec::new();
    for number in 0..TIMES {
        towns.push(Town::new(&format!("{name}{number}"), Timing::default())?);
    }
    std::thread::scope(|scope| {
        let running = towns.into_iter().map(|town| scope.spawn(|| measure(town)));
        let running: Vec<_> = running.collect();
        running
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .collect()
    })
}

pub(crate) fn a_silent_gateway_is_left_for_the_next() -> Result<()> {
    let took = ten_times("gone", |mut town| {
        town.gateways[0].set(Road::Closed)?;
        let began = boottime();
        town.end.kick();
        ensure!(town.session()? == 1, "the first is silent");
        let took = millis(began);
        ensure!(town.operations == 2, "ss, and one for the handshake");
        let silent = town.endpoints();
        ensure!(
            silent
                .iter()
                .all(|it| it.silent_since.is_some() == (it.group == 0)),
            "{silent:?}"
        );
        Ok(took)
    })?;
    println!("measured first unanswered initiation to the other gateway's session, ms: {took:?}");
    let median = median(took).context("ten figures")?;
    println!("measured the median of {TIMES}: {median} ms");
    Ok(())
}

/// WireGuard itself waits 15 s before it doubts a session.
pub(crate) fn silence_under_traffic_leads_to_the_other_gateway() -> Result<()> {
    let took = ten_times("lost", |mut town| {
        town.end.kick();
        ensure!(town.session()? == 0, "the first is the best");
        town.talk()?;
        town.gateways[0].set(Road::Closed)?;
        let began = boottime();
        ensure!(town.session()? == 1, "the first is silent");
        let took = millis(began);
        town.talk()?;
        ensure!(town.operations == 3, "{} operations", town.operations);
        Ok(took)
    })?;
    println!("measured silence under traffic to the other gateway's session, ms: {took:?}");
    let median = median(took).context("ten figures")?;
    println!("measured the median of {TIMES}: {median} ms");
    Ok(())
}

/// Short hours: a handshake every two seconds, a hold-down of five.
pub(crate) fn the_first_is_used_again_after_the_hold_down() -> Result<()> {
    let timing = Timing {
        rekey_after: Duration::from_secs(2),
        rekey_timeout: Duration::from_secs(1),
        call_gap: Duration::from_millis(300),
        hold_down: Duration::from_secs(5),
        ..Timing::default()
    };
    let mut town = Town::new("back", timing)?;
    town.gateways[0].set(Road::Closed)?;
    town.end.kick();
    ensure!(town.session()? == 1, "the first is silent");
    let away_since = boottime();
    let mut handshakes = 0;
    town.gateways[0].set(Road::Open)?;
    while town.session()? == 1 {
        handshakes += 1;
    }
    let away = boottime() - away_since;
    println!(
        "measured back at the first after {away:?} and {handshakes} handshakes with the other"
    );
    ensure!(away >= timing.hold_down, "back after {away:?}");
    ensure!(
        town.operations == 1 + town.sessions,
        "one for each handshake"
    );

    town.talk()?;
    ensure!(town.in_use() == Some(0), "pulled back");
    ensure!(town.unanswered == 0, "{} went unanswered", town.unanswered);
    Ok(())
}

/// Both gateways hang for two seconds; then both answer what they were sent.
pub(crate) fn a_gateway_that_answers_late_is_no_gateway_lost() -> Result<()> {
    let mut town = Town::new("late", Timing::default())?;
    for gateway in &town.gateways {
        gateway.device.process.signal(Signal::SIGSTOP)?;
    }
    town.end.kick();
    let called = |town: &Town| town.endpoints().iter().all(|it| it.silent_since.is_some());
    town.until("both have been called", called)?;
    let woken = boottime();
    for gateway in &town.gateways {
        gateway.device.process.signal(Signal::SIGCONT)?;
    }
    town.session()?;
    println!(
        "measured a late answer to the session: {:?}",
        boottime() - woken
    );
    ensure!(town.unanswered == 0, "no second initiation");
    ensure!(town.operations == 2, "ss, and one for the handshake");
    town.talk()?;
    ensure!((town.sessions, town.operations) == (1, 2));
    Ok(())
}
