//! The areas of `cargo xtask test`: what each runs, how it is counted, and what runs beside what.

mod count;

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, ExitCode, Stdio};
use std::thread;

use anyhow::{Context, Result};

use crate::{cargo, root, target, tidy};
pub(crate) use count::Count;

/// A part of the product with all that shows it to be right.
pub(crate) struct Area {
    pub(crate) name: &'static str,
    shows: &'static str,
    /// Whether it runs other programs than its own test binaries.
    pub(crate) needs_lab: bool,
    /// Sleeps more than it computes: runs beside the others.
    aside: bool,
    checks: &'static [Check],
}

enum Check {
    /// `cargo test ARGS`, counted by what the tests say.
    Tests(&'static [&'static str]),
    /// Another cargo command, counted as one check.
    Cargo(&'static str, &'static [&'static str]),
    /// The rules of the house, counted as one check.
    Tidy,
    /// The demo, counted by its steps.
    Demo,
}

use Check::{Cargo, Demo, Tests, Tidy};

const AREAS: &[Area] = &[
    Area {
        name: "interop",
        shows: "wireguard-go and gotatun as peers, both roles, over two rekeys of their own clock",
        needs_lab: true,
        aside: true,
        checks: &[Tests(&["--package", "sluss-tests", "--test", "interop"])],
    },
    Area {
        name: "tidy",
        shows: "formatting, lints, and the rules of the house",
        needs_lab: false,
        aside: false,
        checks: &[
            Tidy,
            Cargo("rustfmt", &["fmt", "--all", "--check"]),
            Cargo(
                "clippy",
                &[
                    "clippy",
                    "--quiet",
                    "--workspace",
                    "--all-targets",
                    "--",
                    "--deny",
                    "warnings",
                ],
            ),
            Tests(&["--package", "xtask"]),
        ],
    },
    Area {
        name: "wg",
        shows: "the WireGuard protocol, alone and against boringtun",
        needs_lab: false,
        aside: false,
        checks: &[
            Tests(&["--package", "sluss-wg"]),
            Tests(&["--package", "sluss-tests", "--test", "wg_differential"]),
        ],
    },
    Area {
        name: "supervisor",
        shows: "policy, and the decision when the tunnel is up",
        needs_lab: false,
        aside: false,
        checks: &[Tests(&[
            "--package",
            "sluss-policy",
            "--package",
            "sluss-supervisor",
        ])],
    },
    Area {
        name: "cards",
        shows: "the card, through a real pcscd",
        needs_lab: true,
        aside: false,
        checks: &[
            Tests(&["--package", "sluss-card"]),
            Tests(&["--package", "sluss-tests", "--test", "cards"]),
        ],
    },
    Area {
        name: "tunnel",
        shows: "packets through two tunnels of ours, sizes, families, offloads",
        needs_lab: false,
        aside: false,
        checks: &[
            Tests(&["--package", "sluss-tunnel"]),
            Tests(&["--package", "sluss-tests", "--test", "tunnel"]),
        ],
    },
    Area {
        name: "platform",
        shows: "routes, firewall, links and clock of a real kernel",
        needs_lab: false,
        aside: false,
        checks: &[
            Tests(&["--package", "sluss-platform"]),
            Tests(&["--package", "sluss-tests", "--test", "platform"]),
        ],
    },
    Area {
        name: "ipc",
        shows: "the socket and the command",
        needs_lab: false,
        aside: false,
        checks: &[
            Tests(&["--package", "sluss-ipc", "--package", "sluss"]),
            Tests(&["--package", "sluss-tests", "--test", "ipc"]),
        ],
    },
    Area {
        name: "daemon",
        shows: "the engine and the loop",
        needs_lab: false,
        aside: false,
        checks: &[Tests(&["--package", "slussd"])],
    },
    Area {
        name: "lab",
        shows: "the shipped binaries from outside: times, wake-ups, memory, bad cards",
        needs_lab: true,
        aside: false,
        checks: &[
            Tests(&[
                "--package",
                "sluss-tests",
                "--lib",
                "--test",
                "netns",
                "--test",
                "world",
                "--test",
                "boot_clock",
            ]),
            Tests(&["--package", "sluss-tests", "--test", "lab"]),
        ],
    },
    Area {
        name: "demo",
        shows: "the working day of a service laptop",
        needs_lab: true,
        aside: false,
        checks: &[Demo],
    },
];

/// The areas of these names, all for no name; an unknown name is handed back.
pub(crate) fn named<'a>(names: &[&'a str]) -> Result<Vec<&'static Area>, &'a str> {
    if names.is_empty() {
        return Ok(AREAS.iter().collect());
    }
    names
        .iter()
        .map(|name| AREAS.iter().find(|area| area.name == *name).ok_or(*name))
        .collect()
}

pub(crate) fn help() -> String {
    AREAS
        .iter()
        .map(|area| format!("    {:<12}{}\n", area.name, area.shows))
        .collect()
}

/// Runs the areas and prints each with its count, then the count of all.
///
/// The areas that sleep run beside the others, which run one after the other: they measure time.
pub(crate) fn run(areas: &[&'static Area]) -> Result<ExitCode> {
    let total = thread::scope(|scope| -> Result<Count> {
        let (aside, inline): (Vec<_>, Vec<_>) = areas.iter().partition(|area| area.aside);
        let aside: Vec<_> = aside
            .into_iter()
            .map(|area| {
                scope.spawn(move || {
                    let mut story = Vec::new();
                    let count = examine(area, &mut story)?;
                    Ok::<_, anyhow::Error>((count, story))
                })
            })
            .collect();
        let mut total = Count::default();
        for area in inline {
            total += examine(area, &mut std::io::stdout())?;
        }
        for thread in aside {
            let (count, story) = thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            std::io::stdout().write_all(&story)?;
            total += count;
        }
        Ok(total)
    })?;
    println!("\nAll of it\n{total}");
    let skips_are_failures = std::env::var("CI").is_ok_and(|ci| ci == "true");
    let good = total.failed == 0 && !(skips_are_failures && total.skipped > 0);
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn examine(area: &Area, out: &mut dyn Write) -> Result<Count> {
    writeln!(out, "\n{}: {}", area.name, area.shows)?;
    let mut count = Count::default();
    for check in area.checks {
        count += match check {
            Tests(arguments) => {
                let mut command = cargo();
                command.arg("test").args(*arguments);
                let (good, said) = tell(&mut command, out)?;
                let said = Count::of_tests(&said);
                // A test that does not compile, or a harness that dies, fails without counting itself.
                if good || said.failed > 0 {
                    said
                } else {
                    said + Count::FAILED
                }
            }
            Cargo(name, arguments) => verdict(name, tell(cargo().args(*arguments), out)?.0, out)?,
            Tidy => {
                let findings = tidy::check(root())?;
                for finding in &findings {
                    writeln!(out, "{finding}")?;
                }
                verdict("rules", findings.is_empty(), out)?
            }
            Demo => {
                let mut demo = Command::new(target().join("release/sluss-demo"));
                let (good, said) = tell(demo.arg("--json"), out)?;
                let steps = Count::of_steps(&said);
                if good || steps.failed > 0 {
                    steps
                } else {
                    steps + Count::FAILED
                }
            }
        };
    }
    writeln!(out, "{count}")?;
    Ok(count)
}

fn verdict(name: &str, good: bool, out: &mut dyn Write) -> Result<Count> {
    writeln!(out, "{name} ... {}", if good { "ok" } else { "FAILED" })?;
    Ok(if good { Count::PASSED } else { Count::FAILED })
}

/// Runs a command and passes on what it says, empty lines aside; gives whether it succeeded, and all it said.
fn tell(command: &mut Command, out: &mut dyn Write) -> Result<(bool, String)> {
    let (reader, writer) = std::io::pipe()?;
    command
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer);
    let mut child = command
        .spawn()
        .with_context(|| format!("start {command:?}"))?;
    // Our copies of the writing end, without which the reader sees the end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut said = String::new();
    for line in BufReader::new(reader).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        if !line.trim().is_empty() {
            writeln!(out, "{line}")?;
            out.flush()?;
        }
        said += &line;
        said.push('\n');
    }
    Ok((child.wait()?.success(), said))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A test that no area runs is a test that CI does not run.
    #[test]
    fn every_test_target_and_every_crate_is_in_an_area() {
        let words: Vec<&str> = AREAS
            .iter()
            .flat_map(|area| area.checks)
            .flat_map(|check| {
                if let Tests(arguments) = check {
                    *arguments
                } else {
                    &[]
                }
            })
            .copied()
            .collect();
        for (folder, kind) in [("tests/tests", "test"), ("crates", "crate")] {
            for entry in std::fs::read_dir(root().join(folder)).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_stem().unwrap().to_str().unwrap();
                assert!(words.contains(&name), "no area runs the {kind} {name}");
            }
        }
    }

    #[test]
    fn an_unknown_area_is_named() {
        assert_eq!(named(&["tidy", "nonsense"]).err(), Some("nonsense"));
        assert_eq!(named(&[]).unwrap().len(), AREAS.len());
    }
}
