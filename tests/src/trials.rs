//! A test harness whose every trial runs in a process and namespaces of its own, with a deadline.
//!
//! ```ignore
//! fn main() -> ExitCode {
//!     trials::main(&[trial!(tunnel_opens), trial!(tunnel_shuts, 60)])
//! }
//! ```
//! in a `[[test]]` with `harness = false`. A trial passes by returning `Ok`, fails by error or panic, and is skipped by
//! [`skip!`](crate::skip); under `CI=true` a skip is a failure.

use std::io::Read;
use std::process::{ExitCode, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use libtest_mimic::{Arguments, Completion, Failed};

use crate::netns;

/// Names the trial that a child process is to run.
const TRIAL: &str = "SLUSS_TRIAL";
/// A child that skipped says so by this status, which no panic and no signal gives.
const SKIPPED: u8 = 77;

/// One named test; make it with [`trial!`](crate::trial).
#[derive(Clone, Copy)]
pub struct Trial {
    pub name: &'static str,
    pub deadline: Duration,
    pub run: fn() -> Result<()>,
}

/// A [`Trial`] of a function's name, with a deadline in seconds (120 unless given).
#[macro_export]
macro_rules! trial {
    ($function:ident) => {
        $crate::trial!($function, 120)
    };
    ($function:ident, $seconds:expr) => {
        $crate::trials::Trial {
            name: stringify!($function),
            deadline: ::std::time::Duration::from_secs($seconds),
            run: $function,
        }
    };
}

/// Ends the trial as skipped, for the reason given as to `format!`.
#[macro_export]
macro_rules! skip {
    ($($reason:tt)*) => {
        return Err($crate::trials::Skip(format!($($reason)*)).into())
    };
}

/// The machine lacks what a trial needs.
#[derive(Debug)]
pub struct Skip(pub String);

impl std::fmt::Display for Skip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SKIPPED: {}", self.0)
    }
}

impl std::error::Error for Skip {}

/// Runs the trials that the command line asks for, each in a fresh process and fresh namespaces, one at a time unless
/// `--test-threads` says otherwise.
pub fn main(trials: &[Trial]) -> ExitCode {
    // Trials measure time: side by side on two cores they would measure each other.
    side_by_side(1, trials)
}

/// The same for trials that mostly wait: so many at a time, unless `--test-threads` says otherwise.
pub fn side_by_side(threads: usize, trials: &[Trial]) -> ExitCode {
    if let Ok(name) = std::env::var(TRIAL) {
        return inside(trials, &name);
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(threads);
    let measured = Arc::new(Mutex::new(Vec::new()));
    let trials = trials
        .iter()
        .map(|trial| {
            let (trial, measured) = (*trial, Arc::clone(&measured));
            libtest_mimic::Trial::ignorable_test(trial.name, move || outside(trial, &measured))
        })
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    for line in measured
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .iter()
    {
        println!("{line}");
    }
    conclusion.exit_code()
}

fn inside(trials: &[Trial], name: &str) -> ExitCode {
    let Some(trial) = trials.iter().find(|trial| trial.name == name) else {
        eprintln!("no trial {name}");
        return ExitCode::FAILURE;
    };
    match netns::enter().and_then(|()| (trial.run)()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<Skip>() => {
            println!("{error}");
            ExitCode::from(SKIPPED)
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a trial in a child. What it measured is worth seeing: its lines that begin with `measured ` are kept.
fn outside(trial: Trial, measured: &Mutex<Vec<String>>) -> Result<Completion, Failed> {
    let started = Instant::now();
    let (mut reader, writer) = std::io::pipe()?;
    let mut command = netns::reentry([])?;
    command
        .env(TRIAL, trial.name)
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer);
    let mut child = command.spawn()?;
    // Our own copies of the pipe's writing end go with the command, or the reader would never see the end.
    drop(command);
    let talk = std::thread::spawn(move || {
        let mut talk = Vec::new();
        let _ = reader.read_to_end(&mut talk);
        String::from_utf8_lossy(&talk).into_owned()
    });

    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if started.elapsed() > trial.deadline {
            child.kill()?;
            child.wait()?;
            break None;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let talk = talk.join().unwrap_or_default();
    let Some(status) = status else {
        return Err(format!("no end within {:?}; so far:\n{talk}", trial.deadline).into());
    };
    match status.code() {
        Some(0) => {
            let lines = talk.lines().filter(|line| line.starts_with("measured "));
            let lines = lines.map(|line| format!("{}: {line}", trial.name));
            measured
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend(lines);
            Ok(Completion::Completed)
        }
        Some(code) if code == i32::from(SKIPPED) => {
            let reason = talk
                .lines()
                .find(|line| line.starts_with("SKIPPED:"))
                .unwrap_or("SKIPPED")
                .to_owned();
            if std::env::var("CI").is_ok_and(|ci| ci == "true") {
                return Err(format!("{reason} (in CI a skip is a failure)").into());
            }
            println!("{reason}");
            Ok(Completion::ignored_with(reason))
        }
        Some(_) | None => Err(format!("{status}\n{talk}").into()),
    }
}
