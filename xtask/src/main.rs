//! `cargo xtask`: demo, test, soak, bench and tidy, and what they need installed and built.

mod areas;
mod bench;
mod builds;
mod prerequisites;
mod progress;
mod soak;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

const HELP: &str = "\
cargo xtask demo [--json]    the whole product in a lab of network namespaces, step by step
cargo xtask test [AREA...]   everything that CI runs, or the areas named
cargo xtask tidy             the rules of the house alone
cargo xtask soak [--minutes N] [--keep] [TARGET...]
                             what takes long: the parsers read what a fuzzer chooses, ten minutes each, and
                             a laptop goes to random places, a hundred times
cargo xtask bench [--quick] [--peer NAME=PATH] [OPTION...]
                             ours beside other people's WireGuard, in turns; --help tells the options
cargo xtask build            what demo and test need, without running anything
";

/// As the sluss command has it: 2 is a mistake of the caller, or a machine that lacks something.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Result<ExitCode> {
    match words {
        ["demo"] => demo(false),
        ["demo", "--json"] => demo(true),
        ["test", names @ ..] => test(names),
        ["tidy"] => {
            let findings = tidy::check(root())?;
            findings.iter().for_each(|finding| println!("{finding}"));
            Ok(if findings.is_empty() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
        ["soak", words @ ..] => {
            let Some(order) = soak::Order::read(words) else {
                eprint!("{HELP}");
                return Ok(ExitCode::from(USAGE));
            };
            soak::run(&order)?;
            Ok(ExitCode::SUCCESS)
        }
        ["bench", options @ ..] => bench::run(options),
        ["build"] => {
            if let Some(code) = prerequisites::provide()? {
                return Ok(code);
            }
            builds::for_tests()?;
            builds::tests()?;
            Ok(ExitCode::SUCCESS)
        }
        ["help" | "--help" | "-h"] => {
            print!("{HELP}\nAREA is one of:\n{}", areas::help());
            Ok(ExitCode::SUCCESS)
        }
        _ => {
            eprint!("{HELP}");
            Ok(ExitCode::from(USAGE))
        }
    }
}

fn demo(json: bool) -> Result<ExitCode> {
    if let Some(code) = prerequisites::provide()? {
        return Ok(code);
    }
    builds::for_demo()?;
    let mut demo = Command::new(target().join("release/sluss-demo"));
    if json {
        demo.arg("--json");
    }
    let status = demo.status().context("start the demo")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn test(names: &[&str]) -> Result<ExitCode> {
    let areas = match areas::named(names) {
        Ok(areas) => areas,
        Err(unknown) => {
            eprintln!("no area {unknown}; there are:\n{}", areas::help());
            return Ok(ExitCode::from(USAGE));
        }
    };
    if let Some(code) = prerequisites::provide()? {
        return Ok(code);
    }
    areas::run(&areas)
}

/// The work tree.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."))
}

/// Where cargo builds.
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Cargo itself, the same that runs us.
fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    // What cargo told this program about its own package would only make others rebuild.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| {
            name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
        }) {
            command.env_remove(name);
        }
    }
    command
}
