//! `cargo xtask soak`: lets a fuzzer choose what the parsers read, for as long as it is told, and a laptop go where chance
//! takes it.

mod places;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::{cargo, progress, root, target};

/// What rustc needs to be told so that libFuzzer sees which way the code goes. A stable compiler can do it.
const COVERAGE: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Longer than anything that is parsed in one piece, but for policy files.
const LONGEST_INPUT: u32 = 8192;

/// What is asked of the fuzzer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Order<'a> {
    minutes: u32,
    /// Put what is worth keeping into the work tree, for CI to replay.
    keep: bool,
    /// The fuzzer's, and the places. All for none.
    targets: Vec<&'a str>,
}

impl<'a> Order<'a> {
    /// Reads `[--minutes N] [--keep] [TARGET...]`.
    pub(crate) fn read(words: &[&'a str]) -> Option<Self> {
        let mut order = Self {
            minutes: 10,
            keep: false,
            targets: Vec::new(),
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "--minutes" => order.minutes = words.next()?.parse().ok().filter(|n| *n > 0)?,
                "--keep" => order.keep = true,
                option if option.starts_with('-') => return None,
                name => order.targets.push(name),
            }
        }
        Some(order)
    }
}

/// Takes one target after the other, and says of each what was done. Ends with the first finding.
pub(crate) fn run(order: &Order<'_>) -> Result<()> {
    let mut targets = targets()?;
    targets.push(places::NAME.to_owned());
    if let Some(unknown) = order.targets.iter().find(|name| !is_among(name, &targets)) {
        bail!("no target {unknown}; there are: {}", targets.join(", "));
    }
    targets.retain(|name| order.targets.is_empty() || is_among(name, &order.targets));
    if let Some(at) = targets.iter().position(|name| name == places::NAME) {
        targets.remove(at);
        println!("{}", places::run()?);
    }
    if targets.is_empty() {
        return Ok(());
    }
    let fuzzer = build()?;
    for name in targets {
        let bench = Bench::set_up(&fuzzer, &name)?;
        println!("{}", bench.fuzz(order.minutes)?);
        if order.keep {
            bench.keep()?;
        }
    }
    Ok(())
}

fn is_among(name: &str, names: &[impl AsRef<str>]) -> bool {
    names.iter().any(|one| one.as_ref() == name)
}

/// Each has a folder of inputs in the work tree.
fn targets() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(root().join("tests/fuzz/corpus"))? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn build() -> Result<PathBuf> {
    // Named, so that the flags are not for what runs while it builds.
    let host = host()?;
    progress::show(
        "Building the fuzzer",
        cargo().env("RUSTFLAGS", COVERAGE).args([
            "build",
            "--package",
            "sluss-fuzz",
            "--features",
            "libfuzzer",
            "--profile",
            "fuzz",
            "--target",
            &host,
        ]),
    )?;
    Ok(target().join(host).join("fuzz/fuzz"))
}

fn host() -> Result<String> {
    let about = Command::new("rustc").arg("-vV").output()?.stdout;
    let about = String::from_utf8(about)?;
    let host = about.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host
        .context("rustc does not say for which host")?
        .to_owned())
}

/// One target, and the folders that it is fuzzed with.
struct Bench<'a> {
    fuzzer: &'a Path,
    name: &'a str,
    /// What the fuzzer found in earlier runs on this machine.
    found: PathBuf,
    corpus: PathBuf,
    log: PathBuf,
}

impl<'a> Bench<'a> {
    fn set_up(fuzzer: &'a Path, name: &'a str) -> Result<Self> {
        let work = target().join("fuzz");
        let found = work.join("corpus").join(name);
        std::fs::create_dir_all(&found)?;
        Ok(Self {
            fuzzer,
            name,
            found,
            corpus: root().join("tests/fuzz/corpus").join(name),
            log: work.join(format!("{name}.log")),
        })
    }

    fn fuzz(&self, minutes: u32) -> Result<String> {
        eprintln!("{}: {minutes} min", self.name);
        let findings = target().join("fuzz").join(format!("{}-", self.name));
        let said = self.call(&[
            format!("-max_total_time={}", minutes * 60),
            format!("-max_len={LONGEST_INPUT}"),
            "-timeout=5".to_owned(),
            "-rss_limit_mb=512".to_owned(),
            "-print_final_stats=1".to_owned(),
            format!("-artifact_prefix={}", findings.display()),
        ])?;
        Ok(report(self.name, &said))
    }

    /// The smallest part of what was found that reaches all the places that all of it reaches, however often.
    fn keep(&self) -> Result<()> {
        self.call(&[
            "-set_cover_merge=1".to_owned(),
            "-use_counters=0".to_owned(),
            format!("-max_len={LONGEST_INPUT}"),
        ])?;
        Ok(())
    }

    /// Calls the fuzzer with both corpora, the one that it adds to first.
    fn call(&self, options: &[String]) -> Result<String> {
        let merges = options.iter().any(|option| option.contains("merge"));
        let mut corpora = [&self.found, &self.corpus];
        if merges {
            corpora.reverse();
        }
        let log = std::fs::File::create(&self.log)?;
        let status = Command::new(self.fuzzer)
            .env("SLUSS_FUZZ_TARGET", self.name)
            .args(options)
            .args(corpora)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .status()
            .context("start the fuzzer")?;
        let said = String::from_utf8_lossy(&std::fs::read(&self.log)?).into_owned();
        if !status.success() {
            let from = said.lines().count().saturating_sub(40);
            let end: Vec<&str> = said.lines().skip(from).collect();
            bail!("{}: a finding\n{}", self.name, end.join("\n"));
        }
        Ok(said)
    }
}

/// One line with the figures of libFuzzer's last words.
fn report(name: &str, said: &str) -> String {
    let statistic = |key: &str| {
        let value = said
            .lines()
            .find_map(|line| line.strip_prefix("stat::")?.strip_prefix(key));
        value.map_or("?", |value| value.trim_start_matches(':').trim())
    };
    let reached = said
        .lines()
        .rev()
        .find_map(|line| line.split_once("cov: ")?.1.split(' ').next());
    format!(
        "{name:<12} {:>12} inputs, {:>5} places reached, {} MB at most, no finding",
        statistic("number_of_executed_units"),
        reached.unwrap_or("?"),
        statistic("peak_rss_mb"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_read_and_nonsense_is_not() {
        let order = Order::read(&["--minutes", "3", "apdu", "--keep", "tlv"]);
        let expected = Order {
            minutes: 3,
            keep: true,
            targets: vec!["apdu", "tlv"],
        };
        assert_eq!(order, Some(expected));
        assert_eq!(Order::read(&[]).map(|order| order.minutes), Some(10));
        for nonsense in [&["--minutes"][..], &["--minutes", "0"], &["--hours", "1"]] {
            assert_eq!(Order::read(nonsense), None, "{nonsense:?}");
        }
    }

    #[test]
    fn the_figures_are_taken_from_libfuzzers_last_words() {
        let said = "#8\tINITED cov: 653 ft: 859 corp: 7/3580b exec/s: 0 rss: 29Mb\n\
             #5009144\tDONE   cov: 1494 ft: 3397 corp: 959/469Kb lim: 4096 exec/s: 161585 rss: 32Mb\n\
             Done 5009144 runs in 31 second(s)\n\
             stat::number_of_executed_units: 5009144\n\
             stat::average_exec_per_sec:     161585\n\
             stat::peak_rss_mb:              32\n";
        assert_eq!(
            report("apdu", said),
            "apdu              5009144 inputs,  1494 places reached, 32 MB at most, no finding"
        );
    }
}
