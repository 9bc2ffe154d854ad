//! `cargo xtask bench`: builds who takes part, and hands over to the program that measures.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::{builds, prerequisites, target};

/// Runs the benchmark with the options given, which are the program's own: `--help` tells them.
pub(crate) fn run(options: &[&str]) -> Result<ExitCode> {
    if let Some(code) = prerequisites::provide()? {
        return Ok(code);
    }
    builds::for_bench()?;
    let status = Command::new(target().join("release/sluss-bench"))
        .args(options)
        .status()
        .context("start the benchmark")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
