//! Tunnels that carry nothing, all at once: how often they wake, and what memory they keep.

use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::cable::{Cable, Setting};
use super::contestant::{Contestant, Tunnel};
use super::{echo, meter};

/// Until what the first packets set in motion is over: WireGuard answers silence after ten seconds (whitepaper 6.5).
const SETTLING: Duration = Duration::from_secs(12);

/// A contestant that has a session and nothing to do.
pub struct Idler<'a> {
    pub contestant: &'a Contestant,
    tunnel: Tunnel,
}

/// What it does with that, of both ends the one that does more.
#[derive(Clone, Copy, Debug)]
pub struct Idleness {
    pub wake_ups_per_second: f64,
    /// Bytes.
    pub memory: u64,
}

/// Starts those that have processes, and waits until it is quiet; in a hurry, not for long.
pub fn settle<'a>(contestants: &'a [Contestant], hurry: bool) -> Result<Vec<Idler<'a>>> {
    let mut idlers = Vec::new();
    for (number, contestant) in contestants.iter().enumerate() {
        let cable = Cable::lay(&format!("idle{number}"), Setting::Default)?;
        let tunnel = contestant.start(&cable)?;
        if tunnel.ends.iter().all(|end| end.pid().is_some()) {
            echo::until_answered(&tunnel)?;
            idlers.push(Idler { contestant, tunnel });
        }
    }
    thread::sleep(if hurry { SETTLING / 12 } else { SETTLING });
    Ok(idlers)
}

/// What each does in a while.
pub fn watch<'a, 'i>(
    idlers: &'i [Idler<'a>],
    span: Duration,
) -> Result<Vec<(&'i Idler<'a>, Idleness)>> {
    let look = || -> Result<Vec<Vec<u64>>> {
        let count = |idler: &Idler<'_>| idler.pids().map(meter::wake_ups).collect();
        idlers.iter().map(count).collect()
    };
    let before = look()?;
    thread::sleep(span);
    let after = look()?;
    let mut seen = Vec::new();
    for ((idler, before), after) in idlers.iter().zip(before).zip(after) {
        let wake_ups = before
            .iter()
            .zip(&after)
            .map(|(before, after)| after - before)
            .max();
        let mut memory = 0;
        for pid in idler.pids() {
            memory = memory.max(meter::resident(pid)?.now);
        }
        let idleness = Idleness {
            wake_ups_per_second: wake_ups.unwrap_or(0) as f64 / span.as_secs_f64(),
            memory,
        };
        seen.push((idler, idleness));
    }
    Ok(seen)
}

impl Idler<'_> {
    fn pids(&self) -> impl Iterator<Item = u32> {
        self.tunnel.ends.iter().filter_map(|end| end.pid())
    }
}
