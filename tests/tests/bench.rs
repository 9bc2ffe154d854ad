//! The benchmark still works: every part runs, and the file for machines has every figure. Speeds are not judged here.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use serde_json::Value;
use sluss_tests::bench::cable::Setting;
use sluss_tests::bench::contestant::{BARE, Contestant, FORWARDER, OURS};
use sluss_tests::bench::record::Part;
use sluss_tests::bench::report::Report;
use sluss_tests::bench::{self, Plan, plot, table};
use sluss_tests::{trial, trials};

fn main() -> ExitCode {
    trials::main(&[trial!(every_part_is_measured_and_told)])
}

/// What a part says of a contestant with processes; the bare cable has fewer.
fn figures(part: Part) -> &'static [&'static str] {
    match part {
        Part::Tcp | Part::TcpFour | Part::TcpReverse | Part::TcpBoth => &[
            "gigabits-per-second",
            "cpu-per-gb-sender",
            "cpu-per-gb-receiver",
            "cpu-per-gb",
            "cpu-per-gb-machine",
        ],
        Part::Udp64 | Part::Udp1400 => &["packets-per-second", "cpu-per-packet"],
        Part::Echo | Part::EchoLoaded => &["p50", "p99"],
        Part::Memory => &["peak-memory"],
        Part::Idle => &["wake-ups", "memory"],
        Part::Aead => &[],
    }
}

fn every_part_is_measured_and_told() -> Result<()> {
    let forwarder = Path::new(env!("CARGO_BIN_EXE_sluss-forward"));
    let mut contestants = Contestant::provided(forwarder)?;
    contestants.retain(|one| [BARE, FORWARDER, OURS, "boringtun"].contains(&one.name.as_str()));
    let plan = Plan {
        rounds: 1,
        settings: vec![Setting::Nic],
        parts: Part::value_variants().to_vec(),
        contestants,
        span: Duration::from_millis(150),
    };
    let record = bench::run(&plan, |_| ())?;
    let report = Report::new(&plan, &record)?;

    let read: Value = serde_json::from_str(&report.json()?)?;
    ensure!(read["schema"] == 1 && read["rounds"] == 1, "{read}");
    ensure!(
        read["machine"]["processors"].as_u64() > Some(0),
        "{}",
        read["machine"]
    );
    const MEASURED: [&str; 3] = [FORWARDER, OURS, "boringtun"];
    for &part in Part::value_variants() {
        for figure in figures(part) {
            let values = MEASURED.map(|name| median(&read, name, part, figure));
            // On a busy machine there may be no rate at which somebody loses less than one packet in a hundred.
            let enough = if matches!(part, Part::Udp64 | Part::Udp1400) {
                values.iter().any(Option::is_some)
            } else {
                values.iter().all(Option::is_some)
            };
            ensure!(enough, "{figure} of {part:?} is missing: {values:?}");
            // Nobody is asked to wake up; all else takes or moves something.
            let least = if *figure == "wake-ups" {
                0.0
            } else {
                f64::MIN_POSITIVE
            };
            ensure!(
                values
                    .iter()
                    .flatten()
                    .all(|value| value.is_finite() && *value >= least),
                "{part:?}, {figure}: {values:?}"
            );
        }
    }
    ensure!(
        median(&read, BARE, Part::Tcp, "gigabits-per-second").is_some(),
        "the bare cable"
    );
    ensure!(
        median(&read, BARE, Part::Tcp, "cpu-per-gb").is_none(),
        "nobody is at its ends"
    );
    for figure in ["seal", "open", "cpu-per-gb"] {
        ensure!(
            median(&read, "aead", Part::Aead, figure) > Some(0.0),
            "{figure} alone"
        );
    }
    let limits = read["limits"].as_array().context("limits")?;
    ensure!(
        limits.iter().all(|limit| limit["is_met"].is_boolean()),
        "{limits:?}"
    );
    ensure!(!limits.is_empty(), "no limit");

    let tables = table::show(&record, &plan.settings, &report.limits);
    for name in [BARE, FORWARDER, OURS, "boringtun", "CPU per GB / boringtun"] {
        ensure!(
            tables.contains(&format!("| {name}")),
            "{name} is not in\n{tables}"
        );
    }
    let picture = Path::new("/run/plot.svg");
    plot::draw(&plan, &record, picture)?;
    let picture = std::fs::read_to_string(picture)?;
    ensure!(
        picture.contains("<svg") && picture.contains(OURS),
        "{picture}"
    );
    Ok(())
}

fn median(report: &Value, contestant: &str, part: Part, figure: &str) -> Option<f64> {
    let part = serde_json::to_value(part).ok()?;
    let medians = report["medians"].as_array()?;
    let found = medians.iter().find(|median| {
        median["contestant"] == contestant && median["part"] == part && median["figure"] == figure
    });
    found?["median"].as_f64()
}
