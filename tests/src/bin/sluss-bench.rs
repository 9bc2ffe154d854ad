//! The benchmark: measures ours beside other people's WireGuard, and prints what it came to.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use sluss_tests::bench::cable::Setting;
use sluss_tests::bench::contestant::Contestant;
use sluss_tests::bench::record::Part;
use sluss_tests::bench::report::Report;
use sluss_tests::bench::{self, Plan, plot, table};
use sluss_tests::netns;

/// Measures ours beside other people's WireGuard, in turns.
#[derive(Parser)]
struct Arguments {
    /// How often everything is measured; the medians count [default: 5].
    #[arg(long)]
    rounds: Option<u32>,
    /// Another program with WireGuard's cross-platform socket, started as `PATH -f DEVICE`.
    #[arg(long = "peer", value_name = "NAME=PATH", value_parser = peer)]
    peers: Vec<(String, PathBuf)>,
    /// These contestants alone.
    #[arg(long = "impl", value_name = "NAME", value_delimiter = ',')]
    contestants: Vec<String>,
    /// These parts alone.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
    /// This cable alone.
    #[arg(long, value_delimiter = ',')]
    setting: Vec<Setting>,
    /// How long each TCP measurement takes [default: 1, in a hurry 0.4].
    #[arg(long)]
    seconds: Option<f64>,
    /// One short round, to see that everything works.
    #[arg(long)]
    quick: bool,
    /// Writes everything that was seen to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draws CPU time and throughput as SVG into this file.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match netns::enter().and_then(|()| play(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn play(arguments: &Arguments) -> Result<()> {
    let plan = plan(arguments)?;
    let record = bench::run(&plan, |step| eprintln!("{step}"))?;
    let report = Report::new(&plan, &record)?;
    println!("{}", report.place());
    print!("{}", table::show(&record, &plan.settings, &report.limits));
    if let Some(path) = &arguments.json {
        std::fs::write(path, report.json()?).with_context(|| path.display().to_string())?;
    }
    if let Some(path) = &arguments.plot {
        plot::draw(&plan, &record, path)?;
    }
    Ok(())
}

fn plan(arguments: &Arguments) -> Result<Plan> {
    let mut contestants =
        Contestant::provided(&std::env::current_exe()?.with_file_name("sluss-forward"))?;
    contestants.extend(
        arguments
            .peers
            .iter()
            .map(|(name, path)| Contestant::given(name, path)),
    );
    for name in &arguments.contestants {
        contestants
            .iter()
            .find(|contestant| contestant.name == *name)
            .with_context(|| format!("nobody is called {name}"))?;
    }
    let wanted =
        |name: &String| arguments.contestants.is_empty() || arguments.contestants.contains(name);
    contestants.retain(|contestant| wanted(&contestant.name));
    let seconds = arguments
        .seconds
        .unwrap_or(if arguments.quick { 0.4 } else { 1.0 });
    Ok(Plan {
        rounds: arguments
            .rounds
            .unwrap_or(if arguments.quick { 1 } else { 5 }),
        settings: or_all(&arguments.setting),
        parts: or_all(&arguments.only),
        contestants,
        span: Duration::from_secs_f64(seconds),
    })
}

fn or_all<T: ValueEnum>(chosen: &[T]) -> Vec<T> {
    match chosen {
        [] => T::value_variants().to_vec(),
        some => some.to_vec(),
    }
}

fn peer(argument: &str) -> Result<(String, PathBuf), String> {
    let (name, path) = argument.split_once('=').ok_or("NAME=PATH is wanted")?;
    Ok((name.to_owned(), path.into()))
}
