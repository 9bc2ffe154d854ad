//! One line of progress on standard error while something builds, and the whole story if it fails.

use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How often a log that nobody watches is told that work goes on.
const SIGN_OF_LIFE: Duration = Duration::from_secs(30);

/// Runs a build, and gives what it wrote to standard output. On a terminal the latest line it said is shown in place;
/// elsewhere there is a line at the start, and a sign of life now and then. What is quick (fresh already) leaves no line.
pub(crate) fn show(what: &str, command: &mut Command) -> Result<String> {
    let started = Instant::now();
    let terminal = std::io::stderr().is_terminal();
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .with_context(|| format!("start {command:?}"))?;
    let mut stdout = child.stdout.take().context("standard output")?;
    let stderr = child.stderr.take().context("standard error")?;
    let product = std::thread::spawn(move || {
        let mut product = String::new();
        stdout.read_to_string(&mut product).map(|_| product)
    });

    let mut story = Vec::new();
    let mut told = started;
    let mut steps = 0;
    for line in BufReader::new(stderr).lines() {
        let line = line?;
        steps += usize::from(line.trim_start().starts_with("Compiling"));
        if terminal {
            let latest: String = line.trim().chars().take(60).collect();
            eprint!(
                "\r\x1b[K{what} ({} s): {latest}",
                started.elapsed().as_secs()
            );
            std::io::stderr().flush()?;
        } else if steps == 1 && told == started {
            eprintln!("{what} ...");
            told = Instant::now();
        } else if told.elapsed() > SIGN_OF_LIFE {
            eprintln!(
                "{what} ... {steps} crates, {} s",
                started.elapsed().as_secs()
            );
            told = Instant::now();
        }
        story.push(line);
    }
    let status = child.wait()?;
    let product = product
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    if terminal {
        eprint!("\r\x1b[K");
    }
    if !status.success() {
        bail!("{what}: {status}\n{}", story.join("\n"));
    }
    if started.elapsed() > Duration::from_secs(2) {
        eprintln!("{what}: done in {} s", started.elapsed().as_secs());
    }
    Ok(product)
}
