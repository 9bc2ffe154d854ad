//! The benchmark: ours and other people's WireGuard over the same cable, in turns, so that ratios within a run count.

pub mod aead;
pub mod cable;
pub mod contestant;
pub mod echo;
pub mod flood;
pub mod idle;
pub mod limits;
pub mod meter;
pub mod plot;
pub mod record;
pub mod report;
pub mod spinner;
pub mod stream;
pub mod table;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::netns::Netns;
use cable::{Cable, Setting};
use contestant::{AEAD, Contestant, Tunnel};
use record::{Figure, Part, Record};
use spinner::Spinners;

const MEBIBYTE: f64 = 1_048_576.0;

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Plan {
    pub rounds: u32,
    pub settings: Vec<Setting>,
    pub parts: Vec<Part>,
    pub contestants: Vec<Contestant>,
    /// How long each measurement takes that is made for a while, but for the warming up.
    pub span: Duration,
}

/// Runs the plan; `tell` hears of each step.
pub fn run(plan: &Plan, mut tell: impl FnMut(&str)) -> Result<Record> {
    std::fs::create_dir_all("/run/wireguard")?;
    let mut record = Record::default();
    load(plan, &mut record, &mut tell)?;
    if plan.parts.contains(&Part::Idle) {
        tell("without traffic, all at once");
        idle(plan, &mut record)?;
    }
    Ok(record)
}

fn load(plan: &Plan, record: &mut Record, tell: &mut impl FnMut(&str)) -> Result<()> {
    let loads = || {
        plan.parts
            .iter()
            .copied()
            .filter(|&part| part != Part::Idle)
    };
    if loads().next().is_none() {
        return Ok(());
    }
    let lay = |&setting: &Setting| Ok((setting, Cable::lay(setting.name(), setting)?));
    let cables = plan.settings.iter().map(lay).collect::<Result<Vec<_>>>()?;
    let spinners = Spinners::start(&Netns::own("host")?)?;
    for round in 1..=plan.rounds {
        for (setting, cable) in &cables {
            if plan.parts.contains(&Part::Aead) {
                let cost = aead::measure()?;
                let mut note = record.scribe(round, *setting, AEAD);
                note(Part::Aead, Figure::Seal, cost.seal.as_nanos() as f64);
                note(Part::Aead, Figure::Open, cost.open.as_nanos() as f64);
                note(Part::Aead, Figure::CpuPerGb, cost.per_gigabyte());
            }
            for contestant in &plan.contestants {
                let (setting_name, name) = (setting.name(), &contestant.name);
                tell(&format!(
                    "round {round} of {}, {setting_name} cable: {name}",
                    plan.rounds
                ));
                let tunnel = contestant.start(cable)?;
                echo::until_answered(&tunnel)
                    .with_context(|| format!("{name}, {setting_name} cable"))?;
                let mut note = record.scribe(round, *setting, name);
                for part in loads() {
                    measure(part, plan.span, &tunnel, &spinners, &mut note)
                        .with_context(|| format!("{name}, {setting_name} cable, {part:?}"))?;
                }
            }
        }
    }
    Ok(())
}

fn idle(plan: &Plan, record: &mut Record) -> Result<()> {
    let idlers = idle::settle(&plan.contestants, plan.rounds == 1)?;
    for round in 1..=plan.rounds {
        for (idler, seen) in idle::watch(&idlers, 4 * plan.span)? {
            // There is nothing on the cable, so that it does not matter which.
            let mut note = record.scribe(round, Setting::Default, &idler.contestant.name);
            note(Part::Idle, Figure::WakeUps, seen.wake_ups_per_second);
            note(Part::Idle, Figure::Memory, seen.memory as f64 / MEBIBYTE);
        }
    }
    Ok(())
}

fn measure(
    part: Part,
    span: Duration,
    tunnel: &Tunnel,
    spinners: &Spinners,
    note: &mut impl FnMut(Part, Figure, f64),
) -> Result<()> {
    // What no limit is set for gets less of the time.
    let shorter = span * 2 / 3;
    let burst = span / 8;
    match part {
        Part::Tcp => tcp(part, &[(0, 1)], span, tunnel, spinners, note),
        Part::TcpFour => tcp(part, &[(0, 1); 4], shorter, tunnel, spinners, note),
        Part::TcpReverse => tcp(part, &[(1, 0)], shorter, tunnel, spinners, note),
        Part::TcpBoth => tcp(part, &[(0, 1), (1, 0)], shorter, tunnel, spinners, note),
        Part::Udp64 => udp(part, 64, burst, tunnel, note),
        Part::Udp1400 => udp(part, 1400, burst, tunnel, note),
        Part::Echo => echo(part, span / 2, tunnel, note),
        Part::EchoLoaded => {
            let [left, right] = &tunnel.ends;
            let stream = stream::Stream::open(left, right, &Arc::new(AtomicU64::new(0)))?;
            std::thread::sleep(stream::warm_up(span));
            let outcome = echo(part, span, tunnel, note);
            drop(stream);
            outcome
        }
        Part::Memory => {
            let mut peak = 0;
            for pid in tunnel.ends.iter().filter_map(|end| end.pid()) {
                peak = peak.max(meter::resident(pid)?.peak);
            }
            if peak > 0 {
                note(part, Figure::PeakMemory, peak as f64 / MEBIBYTE);
            }
            Ok(())
        }
        // Not a matter of one tunnel under load.
        Part::Idle | Part::Aead => Ok(()),
    }
}

fn tcp(
    part: Part,
    streams: &[(usize, usize)],
    span: Duration,
    tunnel: &Tunnel,
    spinners: &Spinners,
    note: &mut impl FnMut(Part, Figure, f64),
) -> Result<()> {
    let carried = stream::measure(tunnel, streams, span, spinners)?;
    let gigabytes = carried.bytes as f64 / 1e9;
    let per_gigabyte = |time: Duration| time.as_secs_f64() / gigabytes;
    let (sender, receiver) = streams[0];
    note(
        part,
        Figure::GigabitsPerSecond,
        8.0 * gigabytes / carried.elapsed.as_secs_f64(),
    );
    note(part, Figure::CpuPerGbMachine, per_gigabyte(carried.machine));
    if tunnel.has_processes() {
        note(
            part,
            Figure::CpuPerGbSender,
            per_gigabyte(carried.ends[sender]),
        );
        note(
            part,
            Figure::CpuPerGbReceiver,
            per_gigabyte(carried.ends[receiver]),
        );
        note(
            part,
            Figure::CpuPerGb,
            per_gigabyte(carried.ends[0] + carried.ends[1]),
        );
    }
    Ok(())
}

fn udp(
    part: Part,
    length: usize,
    span: Duration,
    tunnel: &Tunnel,
    note: &mut impl FnMut(Part, Figure, f64),
) -> Result<()> {
    let best = flood::search(tunnel, length, span)?;
    note(
        part,
        Figure::PacketsPerSecond,
        best.map_or(0.0, |burst| burst.packets_per_second()),
    );
    if let (Some(burst), true) = (best, tunnel.has_processes()) {
        let micros = burst.cpu.as_secs_f64() * 1e6;
        note(part, Figure::CpuPerPacket, micros / burst.received as f64);
    }
    Ok(())
}

fn echo(
    part: Part,
    span: Duration,
    tunnel: &Tunnel,
    note: &mut impl FnMut(Part, Figure, f64),
) -> Result<()> {
    let trips = echo::measure(tunnel, span)?;
    for (figure, share) in [(Figure::P50, 0.5), (Figure::P99, 0.99)] {
        let trip = echo::percentile(&trips, share).context("no round trip")?;
        note(part, figure, trip.as_secs_f64() * 1e6);
    }
    Ok(())
}
