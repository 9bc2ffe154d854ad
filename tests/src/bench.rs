//! The benchmark: ours and other people's WireGuard over the same cable, in turns, so that only ratios within a run count.

pub mod cable;
pub mod contestant;
pub mod meter;
pub mod record;
pub mod spinner;
pub mod stream;

use std::time::Duration;

use anyhow::{Context, Result};

use crate::netns::Netns;
use cable::{Cable, Setting};
use contestant::{Contestant, Tunnel};
use record::{Figure, Observation, Part, Record};
use spinner::Spinners;

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Plan {
    pub rounds: u32,
    pub settings: Vec<Setting>,
    pub parts: Vec<Part>,
    pub contestants: Vec<Contestant>,
    /// How long each TCP measurement takes.
    pub span: Duration,
}

/// Runs the plan; `tell` hears of each step.
pub fn run(plan: &Plan, mut tell: impl FnMut(&str)) -> Result<Record> {
    let cables = plan
        .settings
        .iter()
        .map(|&setting| Ok((setting, Cable::lay(setting.name(), setting)?)))
        .collect::<Result<Vec<_>>>()?;
    std::fs::create_dir_all("/run/wireguard")?;
    let spinners = Spinners::start(&Netns::own("host")?)?;
    let mut record = Record::default();
    for round in 1..=plan.rounds {
        for (setting, cable) in &cables {
            for contestant in &plan.contestants {
                tell(&format!(
                    "round {round} of {}, {} cable, {}",
                    plan.rounds,
                    setting.name(),
                    contestant.name
                ));
                let tunnel = contestant.start(cable)?;
                let mut scribe = Scribe {
                    record: &mut record,
                    round,
                    setting: *setting,
                    contestant: &contestant.name,
                };
                for &part in &plan.parts {
                    measure(part, plan, &tunnel, &spinners, &mut scribe).with_context(|| {
                        format!("{}, {} cable, {part:?}", contestant.name, setting.name())
                    })?;
                }
            }
        }
    }
    Ok(record)
}

fn measure(
    part: Part,
    plan: &Plan,
    tunnel: &Tunnel,
    spinners: &Spinners,
    scribe: &mut Scribe<'_>,
) -> Result<()> {
    let mut tcp = |streams: &[(usize, usize)]| -> Result<()> {
        let carried = stream::measure(tunnel, streams, plan.span, spinners)?;
        let gigabytes = carried.bytes as f64 / 1e9;
        let per_gigabyte = |time: Duration| time.as_secs_f64() / gigabytes;
        let (sender, receiver) = streams[0];
        let [left, right] = carried.ends;
        for (figure, value) in [
            (
                Figure::GigabitsPerSecond,
                8.0 * gigabytes / carried.elapsed.as_secs_f64(),
            ),
            (Figure::CpuPerGbSender, per_gigabyte(carried.ends[sender])),
            (
                Figure::CpuPerGbReceiver,
                per_gigabyte(carried.ends[receiver]),
            ),
            (Figure::CpuPerGb, per_gigabyte(left + right)),
            (Figure::CpuPerGbMachine, per_gigabyte(carried.machine)),
        ] {
            scribe.note(part, figure, value);
        }
        Ok(())
    };
    match part {
        Part::Tcp => tcp(&[(0, 1)]),
        Part::TcpFour => tcp(&[(0, 1); 4]),
        Part::TcpReverse => tcp(&[(1, 0)]),
        Part::TcpBoth => tcp(&[(0, 1), (1, 0)]),
        _ => Ok(()),
    }
}

/// Writes observations down with where they come from.
struct Scribe<'a> {
    record: &'a mut Record,
    round: u32,
    setting: Setting,
    contestant: &'a str,
}

impl Scribe<'_> {
    fn note(&mut self, part: Part, figure: Figure, value: f64) {
        self.record.observations.push(Observation {
            round: self.round,
            setting: self.setting,
            contestant: self.contestant.to_owned(),
            part,
            figure,
            value,
        });
    }
}
