//! A hundred random days of a laptop in the lab, in each of which it has to end up in the right place.

use std::io::Read;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::{builds, cargo, prerequisites, progress};

/// What it is called beside the fuzzer's targets.
pub(super) const NAME: &str = "places";

/// The trial, and the environment that it reads: how many sequences, and the seed of the first.
const TRIAL: &str = "random_sequences_end_right";
const COUNT: &str = "SLUSS_SEQUENCES";
const SEED: &str = "SLUSS_SEED";

/// They sleep most of the time, so several share a core.
const PROCESSES: u64 = 5;
const SEQUENCES: u64 = 20;

/// Runs them all, and says what came of it. Ends with the first that went wrong.
pub(super) fn run() -> Result<String> {
    ensure!(prerequisites::provide()?.is_none(), "there is no lab here");
    builds::for_lab()?;
    let program = build()?;
    let first: u64 = match std::env::var(SEED) {
        Ok(seed) => seed.parse().context(SEED)?,
        Err(_) => 1000,
    };
    eprintln!("{NAME}: some ten minutes");
    let mut runs = Vec::new();
    for number in 0..PROCESSES {
        let run = Command::new(&program)
            .args(["--exact", TRIAL])
            .env(COUNT, SEQUENCES.to_string())
            .env(SEED, (first + number * SEQUENCES).to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        runs.push(run);
    }
    for run in runs {
        finish(run)?;
    }
    Ok(format!(
        "{NAME:<12} {:>12} sequences from seed {first}, all right",
        PROCESSES * SEQUENCES
    ))
}

fn finish(mut run: Child) -> Result<()> {
    let mut said = String::new();
    let mut stdout = run.stdout.take().context("standard output")?;
    stdout.read_to_string(&mut said)?;
    if !run.wait()?.success() {
        bail!("{NAME}: a finding\n{said}");
    }
    Ok(())
}

/// The test program, with every check that a test has.
fn build() -> Result<String> {
    let messages = progress::show(
        "Building the places",
        cargo().args([
            "test",
            "--package",
            "sluss-tests",
            "--test",
            "location",
            "--no-run",
            "--message-format",
            "json-render-diagnostics",
        ]),
    )?;
    let program = messages.lines().find_map(builds::test_program);
    let program = program.context("cargo names no test program")?;
    Ok(program.path.display().to_string())
}
