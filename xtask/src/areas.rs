//! Runs the areas of `cargo xtask test`, counts what they say, and closes each with its count.

mod count;
mod table;

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, ExitCode, Stdio};
use std::thread;

use anyhow::{Context, Result};

use crate::builds::{self, TestProgram};
use crate::{cargo, root, target, tidy};
use count::Count;
use table::AREAS;

/// A part of the product with all that shows it to be right.
pub(crate) struct Area {
    name: &'static str,
    shows: &'static str,
    checks: &'static [Check],
    /// Whether it runs other programs than its own tests.
    needs_lab: bool,
    /// Sleeps more than it computes: runs beside the others.
    aside: bool,
}

enum Check {
    /// Every test program of a crate, named by its folder; counted by what the tests say.
    Crate(&'static str),
    /// The same under valgrind: what they read and write of memory must be theirs, and be given back.
    Valgrind(&'static str),
    /// One test program of the lab, `tests/tests/NAME`.
    Lab(&'static str),
    /// Another cargo command, counted as one check.
    Cargo(&'static str, &'static [&'static str]),
    /// The rules of the house, counted as one check.
    Tidy,
    /// The demo, counted by its steps.
    Demo,
}

/// The areas of these names, all for no name; an unknown name is handed back.
pub(crate) fn named<'a>(names: &[&'a str]) -> Result<Vec<&'static Area>, &'a str> {
    if names.is_empty() {
        return Ok(AREAS.iter().collect());
    }
    let find = |name: &&'a str| AREAS.iter().find(|area| area.name == *name).ok_or(*name);
    names.iter().map(find).collect()
}

pub(crate) fn help() -> String {
    AREAS
        .iter()
        .map(|area| format!("    {:<12}{}\n", area.name, area.shows))
        .collect()
}

/// Builds what the areas need, runs them, and prints each with its count, then the count of all.
///
/// The areas that sleep run beside the others, which run one after the other: they measure time.
pub(crate) fn run(areas: &[&'static Area]) -> Result<ExitCode> {
    if areas.iter().any(|area| area.needs_lab) {
        builds::for_tests()?;
    }
    let programs = builds::tests()?;
    let total = thread::scope(|scope| -> Result<Count> {
        let (aside, inline): (Vec<_>, Vec<_>) = areas.iter().partition(|area| area.aside);
        let examine_aside = |area| {
            let programs = &programs;
            scope.spawn(move || {
                let mut story = Vec::new();
                examine(area, programs, &mut story).map(|count| (count, story))
            })
        };
        let aside: Vec<_> = aside.into_iter().map(examine_aside).collect();
        let mut total = Count::default();
        for area in inline {
            total += examine(area, &programs, &mut std::io::stdout())?;
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

fn examine(area: &Area, programs: &[TestProgram], out: &mut dyn Write) -> Result<Count> {
    writeln!(out, "\n{}: {}", area.name, area.shows)?;
    let mut count = Count::default();
    for check in area.checks {
        count += match check {
            Check::Crate(folder) => test(programs, |program| program.folder == *folder, &[], out)?,
            Check::Valgrind(folder) => {
                test(programs, |program| program.folder == *folder, VALGRIND, out)?
            }
            Check::Lab(name) => test(
                programs,
                |program| program.folder == "tests" && program.name == *name,
                &[],
                out,
            )?,
            Check::Cargo(name, arguments) => {
                verdict(name, tell(cargo().args(*arguments), out)?.0, out)?
            }
            Check::Tidy => {
                let findings = tidy::check(root())?;
                for finding in &findings {
                    writeln!(out, "{finding}")?;
                }
                verdict("rules", findings.is_empty(), out)?
            }
            Check::Demo => {
                // The one that was built with the tests: the binaries it plays with are the shipped ones all the same.
                let mut demo = Command::new(target().join("debug/sluss-demo"));
                let (good, said) = tell(demo.arg("--json"), out)?;
                Count::of_steps(&said).or_failed(good)
            }
        };
    }
    writeln!(out, "{count}")?;
    Ok(count)
}

/// Says nothing but what it finds; what it finds makes a good test fail.
///
/// It does not know memfd_secret(2), which a CI must have: that memory is tried in the platform's own area.
const VALGRIND: &[&str] = &[
    "env",
    "--unset=CI",
    "valgrind",
    "--quiet",
    "--error-exitcode=99",
    "--leak-check=full",
    "--show-leak-kinds=definite",
    "--errors-for-leak-kinds=definite",
];

/// Runs the test programs that are wanted, behind the words of `under`. That there is none is a failure: something has
/// lost its name.
fn test(
    programs: &[TestProgram],
    wanted: impl Fn(&TestProgram) -> bool,
    under: &[&str],
    out: &mut dyn Write,
) -> Result<Count> {
    let mut wanted = programs.iter().filter(|program| wanted(program)).peekable();
    if wanted.peek().is_none() {
        return verdict("there is no such test", false, out);
    }
    let mut count = Count::default();
    for program in wanted {
        writeln!(out, "-- {} {}", program.folder, program.name)?;
        let mut command = match under {
            [] => Command::new(&program.path),
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest).arg(&program.path);
                command
            }
        };
        // As cargo does it: tests find their files from their own folder.
        let (good, said) = tell(command.current_dir(&program.directory), out)?;
        count += Count::of_tests(&said).or_failed(good);
    }
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
    fn every_test_program_and_every_crate_is_in_an_area() {
        let checks = || AREAS.iter().flat_map(|area| area.checks);
        for (folder, kind) in [("tests/tests", "test"), ("crates", "crate")] {
            for entry in std::fs::read_dir(root().join(folder)).unwrap() {
                let path = entry.unwrap().path();
                let stem = path.file_stem().unwrap().to_str().unwrap();
                let named = checks().any(|check| match check {
                    Check::Lab(name) => kind == "test" && *name == stem,
                    Check::Crate(name) => kind == "crate" && *name == stem,
                    Check::Valgrind(_) | Check::Cargo(..) | Check::Tidy | Check::Demo => false,
                });
                assert!(named, "no area runs the {kind} {stem}");
            }
        }
    }

    #[test]
    fn an_unknown_area_is_named() {
        assert_eq!(named(&["tidy", "nonsense"]).err(), Some("nonsense"));
        assert_eq!(named(&[]).unwrap().len(), AREAS.len());
    }
}
