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

/// The shipped beacon.
pub fn sluss_beacon() -> Result<PathBuf> {
    built("release/sluss-beacon")
}

/// The module for PAM.
pub fn pam_sluss() -> Result<PathBuf> {
    built("release/libpam_sluss.so")
}

/// Our engine as a plain WireGuard device.
pub fn sluss_uapi() -> Result<PathBuf> {
    built("release/sluss-uapi")
}

/// The files of a small Debian.
pub fn root_file_system() -> Result<PathBuf> {
    // Written last: without it the files are half there.
    built("lab/rootfs.made-of")?;
    built("lab/rootfs")
}

/// The card applet behind a virtual reader.
pub fn card_rig() -> Result<PathBuf> {
    built("card-rig/release/card-rig")
}

/// The library that lets the lab jump a program's boot clock.
pub fn clock_shim() -> Result<PathBuf> {
    built("lab/clock-shim.so")
}

/// A PKCS#11 module that behaves as badly as it is told to.
pub fn bad_module() -> Result<PathBuf> {
    built("lab/bad-module.so")
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
