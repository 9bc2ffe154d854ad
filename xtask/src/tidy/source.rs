//! The rules for one Rust file: where `unsafe`, `cfg(target_os)` and clocks may be, its size, its first sentence, names.

use std::path::Path;

use super::Finding;

const MOST_LINES: usize = 600;

/// A word of code that has its places, and is refused elsewhere.
struct Confined {
    word: &'static str,
    reason: &'static str,
    allowed: fn(&str) -> bool,
}

const CONFINED: &[Confined] = &[
    Confined {
        word: "unsafe",
        reason: "`unsafe` lives in sluss-platform, sluss-ipc and pam_sluss alone",
        allowed: |path| {
            is_below(
                path,
                &[
                    "crates/sluss-platform/",
                    "crates/sluss-ipc/",
                    "crates/pam_sluss/",
                ],
            )
        },
    },
    Confined {
        word: "target_os",
        reason: "`cfg(target_os)` lives in sluss-platform and sluss-ipc alone",
        allowed: |path| is_below(path, &["crates/sluss-platform/", "crates/sluss-ipc/"]),
    },
    Confined {
        word: "Instant::now",
        reason: CLOCK,
        allowed: may_read_clocks,
    },
    Confined {
        word: "SystemTime::now",
        reason: CLOCK,
        allowed: may_read_clocks,
    },
    Confined {
        word: "clock_gettime",
        reason: CLOCK,
        allowed: may_read_clocks,
    },
    Confined {
        word: "todo!",
        reason: "finish it, or delete it",
        allowed: |_| false,
    },
    Confined {
        word: "dbg!",
        reason: "a trace of debugging",
        allowed: |_| false,
    },
];

const CLOCK: &str = "a clock read in pure code: `now` is an argument";

/// Calculations: what time it is, is told to them.
const PURE: &[&str] = &[
    "crates/sluss-wg/",
    "crates/sluss-policy/",
    "crates/sluss-supervisor/",
    "crates/sluss-card/src/apdu",
    "crates/sluss-card/src/certificate",
    "crates/sluss-card/src/tlv",
    "crates/sluss-card/src/openpgp",
    "crates/sluss-card/src/desk",
    "crates/sluss-beacon/src/answer",
    "crates/sluss-beacon/src/config",
    "crates/sluss-beacon/src/identity",
    "crates/sluss-beacon/src/probe",
    "crates/sluss-beacon/src/trust",
    "crates/sluss-beacon/src/visit",
    "crates/sluss-ipc/src/frame",
    "crates/sluss-ipc/src/message",
    "crates/sluss-ipc/src/role",
    "crates/sluss-ipc/src/status",
    "crates/slussd/src/engine",
    "crates/sluss/src/text",
];

/// Names that say nothing about what is behind them.
const EMPTY_NAMES: &[&str] = &[
    "mod", "util", "utils", "common", "helper", "helpers", "misc",
];

pub(crate) fn check(path: &Path, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |line, reason: String| {
        findings.push(Finding {
            path: path.to_owned(),
            line,
            reason,
        })
    };
    let name = path.to_string_lossy();

    if !text.lines().next().is_some_and(|first| {
        first
            .strip_prefix("//! ")
            .is_some_and(|rest| !rest.trim().is_empty())
    }) {
        find(
            1,
            "a file opens with `//! ` and one sentence that says what it is".to_owned(),
        );
    }
    let lines = text.lines().count();
    if lines > MOST_LINES && !is_test(path) {
        find(
            lines,
            format!("{lines} lines: {MOST_LINES} are the most (tests apart)"),
        );
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    if EMPTY_NAMES.contains(&stem.as_ref()) {
        find(1, format!("the name `{stem}.rs` says nothing"));
    }
    for (number, line) in (1..).zip(code(text).lines()) {
        for confined in CONFINED {
            if has_word(line, confined.word) && !(confined.allowed)(&name) {
                find(number, confined.reason.to_owned());
            }
        }
        let words: Vec<&str> = line
            .split(|c: char| !is_word(c))
            .filter(|word| !word.is_empty())
            .collect();
        for pair in words.windows(2) {
            if pair[0] == "fn" && pair[1].starts_with("get_") {
                find(
                    number,
                    format!("`{}`: a getter is named after what it gives", pair[1]),
                );
            }
            // Bare `Manager` is the name of many a D-Bus interface, and not ours to choose.
            if matches!(pair[0], "struct" | "enum" | "trait")
                && pair[1] != "Manager"
                && pair[1].ends_with("Manager")
            {
                find(number, format!("`{}`: say what it does", pair[1]));
            }
        }
    }
    findings
}

/// A test of pure code may start from any moment, and so from now.
fn may_read_clocks(path: &str) -> bool {
    !is_below(path, PURE) || is_test(Path::new(path))
}

fn is_below(path: &str, places: &[&str]) -> bool {
    places.iter().any(|place| path.starts_with(place))
}

fn is_test(path: &Path) -> bool {
    path.starts_with("tests/tests")
        || path.file_stem().is_some_and(|stem| stem == "tests")
        || path.starts_with("crates") && path.components().any(|part| part.as_os_str() == "tests")
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

/// The text with comments and the contents of string literals blanked, line for line.
fn code(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(hashes) = raw_string(rest).filter(|_| !code.ends_with(is_word)) {
            let end = format!("\"{}", "#".repeat(hashes));
            let start = 2 + hashes;
            rest[start..]
                .find(&end)
                .map_or(rest.len(), |at| start + at + end.len())
        } else if first == '"' {
            string_literal(rest)
        } else if rest.starts_with("'\"'") || rest.starts_with("'\\") {
            // A character literal that would look like the start of a string, or an escaped quote.
            2 + rest[2..].find('\'').map_or(0, |at| at + 1)
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        // What is blanked keeps its line breaks, so that line numbers hold.
        code.extend(rest[..length].chars().filter(|c| *c == '\n'));
        code.push(' ');
        rest = &rest[length..];
    }
    code
}

/// The number of hashes, if a raw string starts here.
fn raw_string(text: &str) -> Option<usize> {
    let after = text.strip_prefix('r')?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    after[hashes..].starts_with('"').then_some(hashes)
}

/// The length of the string literal that starts here, quotes included.
fn string_literal(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "//! A sentence.\n";

    fn reasons(path: &str, text: &str) -> Vec<(usize, String)> {
        check(Path::new(path), text)
            .into_iter()
            .map(|finding| (finding.line, finding.reason))
            .collect()
    }

    /// The one finding in a file that opens well and goes on with this code.
    #[track_caller]
    fn refused(path: &str, code: &str) -> (usize, String) {
        let mut found = reasons(path, &format!("{FIRST}{code}"));
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }

    #[track_caller]
    fn passes(path: &str, code: &str) {
        assert_eq!(reasons(path, &format!("{FIRST}{code}")), []);
    }

    #[test]
    fn refuses_unsafe_outside_its_crates() {
        let code = "fn f() {\n    unsafe { g() }\n}\n";
        assert_eq!(refused("crates/sluss-wg/src/lib.rs", code).0, 3);
        passes("crates/sluss-platform/src/linux/tun.rs", code);
        passes(
            "crates/sluss-wg/src/lib.rs",
            "// unsafe in a comment\nconst S: &str = \"unsafe\"; fn unsafe_sounding() {}\n",
        );
    }

    #[test]
    fn refuses_a_question_about_the_system_outside_its_crates() {
        let code = "#[cfg(target_os = \"linux\")]\nmod linux;\n";
        assert_eq!(refused("crates/slussd/src/main.rs", code).0, 2);
        passes("crates/sluss-ipc/src/lib.rs", code);
    }

    #[test]
    fn refuses_a_clock_in_pure_code() {
        for read in [
            "std::time::Instant::now()",
            "SystemTime::now()",
            "clock_gettime(CLOCK_BOOTTIME)",
        ] {
            let code = format!("fn f() {{ let now = {read}; }}\n");
            assert_eq!(
                refused("crates/sluss-supervisor/src/decide.rs", &code),
                (2, CLOCK.to_owned())
            );
            assert_eq!(
                refused("crates/sluss-card/src/apdu.rs", &code),
                (2, CLOCK.to_owned())
            );
            passes("crates/sluss-card/src/worker.rs", &code);
            passes("crates/sluss-card/src/desk/tests.rs", &code);
        }
    }

    /// A rule for a file that was renamed guards nothing.
    #[test]
    fn every_pure_place_exists() {
        for place in PURE {
            let exists = [place.to_string(), format!("{place}.rs")]
                .iter()
                .any(|path| crate::root().join(path).exists());
            assert!(exists, "{place}");
        }
    }

    #[test]
    fn refuses_a_long_file_but_not_a_long_test() {
        let code = "fn f() {}\n".repeat(MOST_LINES);
        assert_eq!(
            refused("crates/sluss-wg/src/device.rs", &code).0,
            MOST_LINES + 1
        );
        passes("crates/sluss-wg/src/device/tests.rs", &code);
        passes("tests/tests/tunnel.rs", &code);
    }

    #[test]
    fn refuses_a_file_without_a_first_sentence() {
        for text in [
            "",
            "fn f() {}\n",
            "//!\n",
            "/// About what follows.\nfn f() {}\n",
        ] {
            assert_eq!(reasons("xtask/src/main.rs", text).len(), 1, "{text}");
        }
    }

    #[test]
    fn refuses_names_that_say_nothing() {
        refused("crates/sluss-wg/src/utils.rs", "");
        refused("crates/sluss-wg/src/handshake/mod.rs", "");
        refused("crates/sluss-wg/src/lib.rs", "fn get_peer() {}\n");
        refused("crates/slussd/src/lib.rs", "pub struct CardManager;\n");
    }

    #[test]
    fn refuses_what_was_left_lying_about() {
        refused("crates/sluss-wg/src/lib.rs", "fn f() { todo!() }\n");
        refused("crates/sluss-wg/src/lib.rs", "fn f() { dbg!(1); }\n");
    }

    #[test]
    fn line_numbers_survive_blanked_text() {
        let code = "/* one\ntwo */\nconst S: &str = r#\"\nunsafe\n\"#;\nconst C: char = '\"';\nunsafe fn f() {}\n";
        assert_eq!(refused("crates/sluss/src/main.rs", code).0, 8);
    }
}
