//! The rules of the house that no compiler checks: layers, places for `unsafe`, clocks, sizes, first sentences.

mod layers;
mod source;

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A rule broken: where, and which.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    pub(crate) path: PathBuf,
    pub(crate) line: usize,
    pub(crate) reason: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path.display(), self.line, self.reason)
    }
}

/// All that is wrong in the work tree, in the order of the files.
pub(crate) fn check(root: &Path) -> Result<Vec<Finding>> {
    let mut files = Vec::new();
    for folder in ["crates", "tests", "xtask"] {
        collect(&root.join(folder), &mut files)?;
    }
    let mut findings = Vec::new();
    for path in files {
        let is_code = path.extension().is_some_and(|extension| extension == "rs");
        let is_manifest = path.file_name().is_some_and(|name| name == "Cargo.toml");
        if !is_code && !is_manifest {
            continue;
        }
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let path = path.strip_prefix(root).unwrap_or(&path);
        if is_code {
            findings.extend(source::check(path, &text));
        } else {
            findings.extend(layers::check(path, &text)?);
        }
    }
    findings.sort();
    Ok(findings)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            if entry.file_name() != "target" {
                collect(&entry.path(), files)?;
            }
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}
