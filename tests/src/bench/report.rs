//! The run as a file that machines read: where, what, every observation, the medians, the limits.

use anyhow::{Context, Result};
use serde::Serialize;

use super::limits::Limit;
use super::record::{Median, Observation, Record};
use super::{Plan, limits};

/// Grows when a field changes its meaning.
const SCHEMA: u32 = 1;

#[derive(Serialize)]
pub struct Report<'a> {
    schema: u32,
    machine: Machine,
    rounds: u32,
    /// How long a TCP measurement took.
    seconds: f64,
    contestants: Vec<Entrant<'a>>,
    pub limits: Vec<Limit>,
    medians: Vec<Median>,
    observations: &'a [Observation],
}

#[derive(Serialize)]
struct Machine {
    processor: String,
    processors: usize,
    kernel: String,
}

#[derive(Serialize)]
struct Entrant<'a> {
    name: &'a str,
    /// What the program says of itself, if it says anything.
    version: Option<String>,
}

impl<'a> Report<'a> {
    pub fn new(plan: &'a Plan, record: &'a Record) -> Result<Report<'a>> {
        let entrant = |contestant: &'a super::contestant::Contestant| Entrant {
            name: &contestant.name,
            version: contestant.version(),
        };
        Ok(Report {
            schema: SCHEMA,
            machine: Machine::this()?,
            rounds: plan.rounds,
            seconds: plan.span.as_secs_f64(),
            contestants: plan.contestants.iter().map(entrant).collect(),
            limits: limits::judge(record, &plan.settings),
            medians: record.medians(),
            observations: &record.observations,
        })
    }

    pub fn json(&self) -> Result<String> {
        Ok(serde_json::to_string(self)? + "\n")
    }

    /// The machine in a line.
    pub fn place(&self) -> String {
        let Machine {
            processor,
            processors,
            kernel,
        } = &self.machine;
        format!(
            "{processors} × {processor}, Linux {kernel}, {} rounds",
            self.rounds
        )
    }
}

impl Machine {
    fn this() -> Result<Machine> {
        let processors = std::fs::read_to_string("/proc/cpuinfo")?;
        let processor = processors
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
            .context("a processor with a name")?;
        Ok(Machine {
            processor: processor.1.to_owned(),
            processors: std::thread::available_parallelism()?.get(),
            kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")?
                .trim()
                .to_owned(),
        })
    }
}
