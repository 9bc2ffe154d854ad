//! Keeps the processors awake while something is measured: an idle virtual machine is slower than a busy one.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Result;

use super::meter;
use crate::netns::{Netns, Process};

/// One endless loop for each processor, which runs only where nothing else wants to (`SCHED_IDLE`).
pub struct Spinners(Vec<Process>);

impl Spinners {
    pub fn start(host: &Netns) -> Result<Spinners> {
        let spin = |processor: usize| {
            host.spawn(
                Command::new("taskset")
                    .args(["--cpu-list", &processor.to_string()])
                    .args(["chrt", "--idle", "0"])
                    .args(["sh", "-c", "while :; do :; done"])
                    .stdin(Stdio::null()),
            )
        };
        Ok(Spinners(processors().map(spin).collect::<Result<_>>()?))
    }

    /// The time that was left over for them.
    pub fn cpu_time(&self) -> Result<Duration> {
        self.0
            .iter()
            .map(|spinner| meter::cpu_time(spinner.id()))
            .sum()
    }

    /// How many processors there are.
    pub fn processors(&self) -> usize {
        self.0.len()
    }
}

fn processors() -> impl Iterator<Item = usize> {
    0..std::thread::available_parallelism().map_or(1, usize::from)
}
