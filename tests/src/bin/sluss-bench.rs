//! The benchmark: measures ours beside other people's WireGuard, and prints what it came to.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use sluss_tests::bench::cable::Setting;
use sluss_tests::bench::contestant::Contestant;
use sluss_tests::bench::record::{Figure, Part};
use sluss_tests::bench::{self, Plan};
use sluss_tests::netns;

/// Measures ours beside other people's WireGuard, in turns.
#[derive(Parser)]
struct Arguments {
    /// How often everything is measured; the medians count.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
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
    /// How long each TCP measurement takes.
    #[arg(long, default_value_t = 1.5)]
    seconds: f64,
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
    for &setting in &plan.settings {
        for contestant in &plan.contestants {
            print!("{:<8} {:<20}", setting.name(), contestant.name);
            for figure in [
                Figure::GigabitsPerSecond,
                Figure::CpuPerGbSender,
                Figure::CpuPerGbReceiver,
                Figure::CpuPerGb,
                Figure::CpuPerGbMachine,
            ] {
                match record.median(setting, &contestant.name, Part::Tcp, figure) {
                    Some(value) => print!(" {value:>8.2}"),
                    None => print!("        -"),
                }
            }
            println!();
        }
    }
    Ok(())
}

fn plan(arguments: &Arguments) -> Result<Plan> {
    let mut contestants = Contestant::provided()?;
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
    let or_all = |settings: &[Setting]| match settings {
        [] => Setting::ALL.to_vec(),
        some => some.to_vec(),
    };
    Ok(Plan {
        rounds: arguments.rounds,
        settings: or_all(&arguments.setting),
        parts: if arguments.only.is_empty() {
            vec![Part::Tcp]
        } else {
            arguments.only.clone()
        },
        contestants,
        span: Duration::from_secs_f64(arguments.seconds),
    })
}

fn peer(argument: &str) -> Result<(String, PathBuf), String> {
    let (name, path) = argument.split_once('=').ok_or("NAME=PATH is wanted")?;
    Ok((name.to_owned(), path.into()))
}
