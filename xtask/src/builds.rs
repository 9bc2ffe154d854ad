//! What the lab runs, built once and kept: the shipped binaries, the demo, the card rig, other people's WireGuard.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::{cargo, prerequisites, progress, root, target};

/// Gateway and peers, built from the packages that their makers publish: package, version, binary.
const BORINGTUN: (&str, &str, &str) = ("boringtun-cli", "0.7.1", "boringtun-cli");
const GOTATUN: (&str, &str, &str) = ("gotatun-cli", "0.10.2", "gotatun");

/// What a booted laptop of the lab has installed, besides what Debian's smallest system has.
const LAPTOP: &[&str] = &[
    "systemd",
    "systemd-sysv",
    "dbus",
    "libpam-systemd",
    "login",
    "passwd",
    "iproute2",
    "nftables",
    // logging in with a card, and a second token that is not the card
    "libpam-p11",
    "opensc",
    "libpcsclite1",
    "softhsm2",
    "pamtester",
];

/// A built test program.
pub(crate) struct TestProgram {
    /// The folder of its crate, by its last name.
    pub(crate) folder: String,
    pub(crate) directory: PathBuf,
    /// Its target: the crate itself, or one of its test files.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

/// What the demo runs, and the demo itself.
pub(crate) fn for_demo() -> Result<()> {
    for_lab()?;
    progress::show(
        "Building the demo",
        cargo().args([
            "build",
            "--release",
            "--package",
            "sluss-tests",
            "--bin",
            "sluss-demo",
        ]),
    )?;
    Ok(())
}

/// Who takes part in the benchmark, and the benchmark itself.
pub(crate) fn for_bench() -> Result<()> {
    uapi()?;
    peer(BORINGTUN)?;
    peer(GOTATUN)?;
    progress::show(
        "Building the benchmark",
        cargo().args([
            "build",
            "--release",
            "--package",
            "sluss-tests",
            "--bin",
            "sluss-bench",
            "--bin",
            "sluss-forward",
        ]),
    )?;
    Ok(())
}

/// What the tests run besides themselves.
pub(crate) fn for_tests() -> Result<()> {
    for_lab()?;
    uapi()?;
    bad_module()?;
    peer(GOTATUN)?;
    root_file_system()
}

/// What plays in the lab.
pub(crate) fn for_lab() -> Result<()> {
    // The binaries alone, so that nothing of the lab decides how they are built.
    progress::show(
        "Building the daemon, the command and the beacon",
        cargo().args([
            "build",
            "--release",
            "--package",
            "slussd",
            "--package",
            "sluss",
            "--package",
            "sluss-beacon",
        ]),
    )?;
    // On its own as well: what is loaded into a login has no part of the daemon's async runtime in it.
    progress::show(
        "Building the PAM module",
        cargo().args(["build", "--release", "--package", "pam_sluss"]),
    )?;
    clock_shim()?;
    peer(BORINGTUN)?;
    card_rig()
}

/// All tests of the workspace, in one build: each on its own would choose other features of the same dependencies.
pub(crate) fn tests() -> Result<Vec<TestProgram>> {
    let messages = progress::show(
        "Building the tests",
        cargo().args([
            "test",
            "--workspace",
            "--no-run",
            "--message-format",
            "json-render-diagnostics",
        ]),
    )?;
    Ok(messages.lines().filter_map(test_program).collect())
}

/// The test program that one of cargo's messages tells of, if it does.
pub(crate) fn test_program(message: &str) -> Option<TestProgram> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    if message["profile"]["test"] != true {
        return None;
    }
    let directory = Path::new(message["manifest_path"].as_str()?)
        .parent()?
        .to_owned();
    Some(TestProgram {
        folder: directory.file_name()?.to_str()?.to_owned(),
        directory,
        name: message["target"]["name"].as_str()?.to_owned(),
        path: message["executable"].as_str()?.into(),
    })
}

/// Our engine as a plain WireGuard device. On its own: it is measured, and has nothing of the lab in it.
pub(crate) fn uapi() -> Result<()> {
    progress::show(
        "Building the plain WireGuard device",
        cargo().args(["build", "--release", "--package", "sluss-uapi"]),
    )
    .map(|_| ())
}

fn clock_shim() -> Result<()> {
    c_library("clock shim", "clock-shim/shim.c", "clock-shim.so")
}

fn bad_module() -> Result<()> {
    c_library("bad module", "bad-module/module.c", "bad-module.so")
}

/// One source below `tests` to one library below `target/lab`.
fn c_library(name: &str, source: &str, library: &str) -> Result<()> {
    let source = root().join("tests").join(source);
    let library = target().join("lab").join(library);
    if is_newer(&library, &source) {
        return Ok(());
    }
    std::fs::create_dir_all(target().join("lab"))?;
    let mut cc = Command::new("cc");
    cc.args([
        "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o",
    ])
    .arg(&library)
    .arg(&source)
    .arg("-pthread");
    progress::show(&format!("Building the {name}"), &mut cc).map(|_| ())
}

/// Slow to build and of no concern to the product: a workspace and a target directory of its own.
fn card_rig() -> Result<()> {
    progress::show(
        "Building the card rig (once, some minutes)",
        cargo()
            .args([
                "build",
                "--release",
                "--locked",
                "--manifest-path",
                "tests/card-rig/Cargo.toml",
                "--target-dir",
            ])
            .arg(target().join("card-rig")),
    )
    .map(|_| ())
}

fn peer((package, version, binary): (&str, &str, &str)) -> Result<()> {
    let home = target().join("peers");
    // cargo would look at the registry each time: the version is pinned, so a look at the disk is enough.
    let mark = home.join(format!(".{package}-{version}"));
    if home.join("bin").join(binary).exists() && mark.exists() {
        return Ok(());
    }
    progress::show(
        &format!("Building {package} {version} (once)"),
        cargo()
            .args([
                "install",
                package,
                "--version",
                version,
                "--locked",
                "--force",
                "--root",
            ])
            .arg(&home)
            .env("CARGO_TARGET_DIR", target().join("peers-build")),
    )?;
    Ok(std::fs::write(mark, "")?)
}

/// A Debian for `tests/src/container.rs`, of the host's own release, which the binaries were built for. Only root can boot it.
fn root_file_system() -> Result<()> {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let release = |key| release.lines().find_map(|line| line.strip_prefix(key));
    let (Some("debian"), Some(suite)) = (release("ID="), release("VERSION_CODENAME=")) else {
        return Ok(());
    };
    if !prerequisites::is_root() {
        return Ok(());
    }
    let root = target().join("lab/rootfs");
    let mark = target().join("lab/rootfs.made-of");
    let made_of = format!("{suite}\n{}\n", LAPTOP.join("\n"));
    if std::fs::read_to_string(&mark).is_ok_and(|text| text == made_of) {
        return Ok(());
    }
    if root.exists() {
        std::fs::remove_dir_all(&root)?;
    }
    std::fs::create_dir_all(target().join("lab"))?;
    progress::show(
        "Installing a Debian for the lab (once)",
        Command::new("mmdebstrap")
            .args(["--variant=minbase", "--include"])
            .arg(LAPTOP.join(","))
            .arg(suite)
            .arg(&root),
    )?;
    Ok(std::fs::write(mark, made_of)?)
}

fn is_newer(product: &Path, source: &Path) -> bool {
    let changed = |path: &Path| path.metadata().and_then(|metadata| metadata.modified());
    matches!((changed(product), changed(source)), (Ok(product), Ok(source)) if product > source)
}
