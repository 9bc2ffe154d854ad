//! The demo: plays the working day in the lab, as a timeline for people or, with `--json`, one object a step.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use serde::Serialize;
use sluss_tests::demo::{STEPS, Seen, Step};
use sluss_tests::netns;
use sluss_tests::stage::{Boot, Stage};

/// Plays the whole product in the lab.
#[derive(Parser)]
struct Arguments {
    /// One JSON object for each step.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match netns::enter().and_then(|()| play(arguments.json)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("The lab could not be set up: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Plays all steps; gives whether each was as it should be.
fn play(json: bool) -> Result<bool> {
    let teller = if json { Teller::Json } else { Teller::person() };
    teller.open()?;
    let mut stage = Stage::set(Boot::LabClock)?;
    for (number, step) in STEPS.iter().enumerate() {
        match (step.play)(&mut stage) {
            Ok(seen) => teller.right(step, &seen)?,
            Err(error) => {
                teller.wrong(step, &format!("{error:#}"))?;
                // What follows builds on this step: it is told as not reached rather than tried.
                for step in &STEPS[number + 1..] {
                    teller.wrong(step, "not reached")?;
                }
                eprintln!("\nThe daemon's log:\n{}", stage.laptop.log());
                return Ok(false);
            }
        }
    }
    teller.close()?;
    Ok(true)
}

/// Whom the story is told to.
enum Teller {
    Json,
    Person { colour: bool },
}

impl Teller {
    fn person() -> Teller {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Teller::Person {
            colour: std::io::stdout().is_terminal() && !plain,
        }
    }

    fn open(&self) -> Result<()> {
        match self {
            Teller::Json => Ok(()),
            Teller::Person { .. } => say(
                "A working day with Sluss. The laptop runs the shipped slussd; the card is a real applet behind a real\n\
                 pcscd; networks, routes and firewall are the kernel's; the gateway is boringtun.\n",
            ),
        }
    }

    fn right(&self, step: &Step, seen: &Seen) -> Result<()> {
        match self {
            Teller::Json => say(&Line {
                step: step.name,
                ok: true,
                ms: seen.millis,
                seen: &seen.what,
            }
            .json()?),
            Teller::Person { colour } => {
                let (green, dim, off) = if *colour {
                    ("\x1b[32m", "\x1b[2m", "\x1b[0m")
                } else {
                    ("", "", "")
                };
                say(&format!(
                    "{green}  ok  {off}{:>6} ms  {:<57}{dim}{}{off}",
                    seen.millis, step.story, seen.what
                ))
            }
        }
    }

    fn wrong(&self, step: &Step, why: &str) -> Result<()> {
        match self {
            Teller::Json => say(&Line {
                step: step.name,
                ok: false,
                ms: 0,
                seen: why,
            }
            .json()?),
            Teller::Person { colour } => {
                let (red, off) = if *colour {
                    ("\x1b[31m", "\x1b[0m")
                } else {
                    ("", "")
                };
                say(&format!(
                    "{red}WRONG {off}{:>9}  {:<57}{red}{why}{off}",
                    "", step.story
                ))
            }
        }
    }

    fn close(&self) -> Result<()> {
        match self {
            Teller::Json => Ok(()),
            Teller::Person { .. } => {
                say("\nAll as it should be: open when outside with the card, shut otherwise.")
            }
        }
    }
}

/// A step as machines read it. `seen` is for people who read what machines read.
#[derive(Serialize)]
struct Line<'a> {
    step: &'a str,
    ok: bool,
    ms: u64,
    seen: &'a str,
}

impl Line<'_> {
    fn json(&self) -> Result<String> {
        Ok(serde_json::to_string(self)?)
    }
}

fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
