//! Where `cargo xtask` leaves the programs that the lab runs, and what is said when one is missing.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::skip;

/// The shipped daemon.
pub fn slussd() -> Result<PathBuf> {
    built("release/slussd")
}

/// The shipped command.
pub fn sluss() -> Result<PathBuf> {
    built("release/sluss")
}

/// The card applet behind a virtual reader.
pub fn card_rig() -> Result<PathBuf> {
    built("card-rig/release/card-rig")
}

/// The library that lets the lab jump a program's boot clock.
pub fn clock_shim() -> Result<PathBuf> {
    built("lab/clock-shim.so")
}

pub fn boringtun() -> Result<PathBuf> {
    built("peers/bin/boringtun-cli")
}

pub fn gotatun() -> Result<PathBuf> {
    built("peers/bin/gotatun")
}

/// A file below `target`; skips the trial if xtask did not build it.
fn built(name: &str) -> Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("target"),
        PathBuf::from,
    );
    let path = target.join(name);
    if !path.exists() {
        skip!("{} is not built: run `cargo xtask build`", path.display());
    }
    Ok(path)
}
