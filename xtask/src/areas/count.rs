//! Passed, failed, skipped: read from what tests print, and written as the line that closes an area.

use std::fmt;
use std::ops::{Add, AddAssign};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

impl Count {
    pub(crate) const PASSED: Count = Count {
        passed: 1,
        failed: 0,
        skipped: 0,
    };
    pub(crate) const FAILED: Count = Count {
        passed: 0,
        failed: 1,
        skipped: 0,
    };

    /// The sum of the `test result:` lines that cargo's test harness (and libtest-mimic) prints.
    pub(crate) fn of_tests(said: &str) -> Count {
        said.lines()
            .filter_map(|line| line.strip_prefix("test result: ")?.split_once(". "))
            .map(|(_, counts)| {
                let number = |what: &str| {
                    counts
                        .split("; ")
                        .filter_map(|count| count.strip_suffix(what))
                        .find_map(|n| n.trim().parse().ok())
                };
                Count {
                    passed: number("passed").unwrap_or(0),
                    failed: number("failed").unwrap_or(0),
                    skipped: number("ignored").unwrap_or(0),
                }
            })
            .fold(Count::default(), Add::add)
    }

    /// The demo's steps: one JSON object a line, with `ok`.
    pub(crate) fn of_steps(said: &str) -> Count {
        said.lines()
            .filter_map(|line| {
                serde_json::from_str::<serde_json::Value>(line)
                    .ok()?
                    .get("ok")?
                    .as_bool()
            })
            .map(|ok| if ok { Count::PASSED } else { Count::FAILED })
            .fold(Count::default(), Add::add)
    }

    /// A program that dies fails, also if it did not get round to counting that.
    pub(crate) fn or_failed(self, good: bool) -> Count {
        if good || self.failed > 0 {
            self
        } else {
            self + Count::FAILED
        }
    }
}

impl Add for Count {
    type Output = Count;

    fn add(self, other: Count) -> Count {
        Count {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            skipped: self.skipped + other.skipped,
        }
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Count) {
        *self = *self + other;
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_up_what_cargo_test_prints() {
        let said = "\
running 3 tests
test a ... ok
test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.04s
test result: FAILED. 5 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s
";
        assert_eq!(
            Count::of_tests(said),
            Count {
                passed: 8,
                failed: 2,
                skipped: 1
            }
        );
    }

    #[test]
    fn a_dead_program_counts_as_failed_once() {
        assert_eq!(Count::default().or_failed(false), Count::FAILED);
        assert_eq!(Count::FAILED.or_failed(false), Count::FAILED);
        assert_eq!(Count::PASSED.or_failed(true), Count::PASSED);
    }

    #[test]
    fn counts_the_steps_of_the_demo() {
        let said = "building\n{\"step\":\"home-no-card\",\"ok\":true,\"ms\":12}\n{\"step\":\"roam\",\"ok\":false,\"ms\":9}\n";
        assert_eq!(
            Count::of_steps(said).to_string(),
            "1 passed, 1 failed, 0 skipped"
        );
    }
}
