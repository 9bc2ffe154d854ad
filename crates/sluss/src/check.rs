//! `sluss policy check`: reads policy files as the daemon would, and says every mistake with its place.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use anyhow::Result;
use sluss_policy::{Policy, PolicyError, Source};

use crate::{
    exit::Exit,
    text::{Text, plain},
};

/// More than any policy has; the parser names its own, lower, limit.
const MOST_BYTES: u64 = 4 << 20;

/// Checks `files` as one policy, in this order.
pub(crate) fn policy(files: &[PathBuf], text: &dyn Text) -> Result<Exit> {
    let mut contents = Vec::new();
    for path in files {
        let name = path.display().to_string();
        match read(path) {
            Ok(content) => contents.push((name, content)),
            Err(error) => {
                eprintln!("sluss: {}", text.cannot_read(&name, &error));
                return Ok(Exit::NotSo);
            }
        }
    }
    let sources: Vec<Source> = contents
        .iter()
        .map(|(file, text)| Source { file, text })
        .collect();
    match Policy::parse(&sources) {
        Ok(_) => {
            writeln!(io::stdout(), "{}", text.policy_valid())?;
            Ok(Exit::Done)
        }
        Err(mistakes) => {
            complain(&mistakes, text);
            Ok(Exit::NotSo)
        }
    }
}

/// The policy that is installed, if everybody may read it and it is right.
pub(crate) fn installed_policy() -> Option<Policy> {
    let mut files = vec![PathBuf::from("/etc/sluss/policy.toml")];
    let parts = std::fs::read_dir("/etc/sluss/policy.d")
        .into_iter()
        .flatten();
    let mut parts: Vec<PathBuf> = parts.flatten().map(|entry| entry.path()).collect();
    parts.retain(|path| path.extension().is_some_and(|end| end == "toml"));
    parts.sort();
    files.extend(parts);
    let contents: Option<Vec<String>> = files.iter().map(|path| read(path).ok()).collect();
    let contents = contents?;
    let sources: Vec<Source> = contents
        .iter()
        .map(|text| Source { file: "", text })
        .collect();
    Policy::parse(&sources).ok()
}

/// Says each mistake with its place.
pub(crate) fn complain(mistakes: &[PolicyError], text: &dyn Text) {
    for mistake in mistakes {
        let place = format!(
            "{}:{}:{}",
            plain(&mistake.file),
            mistake.line,
            mistake.column
        );
        eprintln!("{place}: {}", plain(&text.policy_problem(&mistake.problem)));
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut content = String::new();
    File::open(path)?
        .take(MOST_BYTES)
        .read_to_string(&mut content)?;
    Ok(content)
}
