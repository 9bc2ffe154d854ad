//! What the lab needs from Debian or Ubuntu: looked for, told, and installed where that is allowed.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, ensure};

use crate::USAGE;

/// How one sees that a package is there.
enum Sign {
    Program(&'static str),
    File(&'static str),
    /// A library that pkg-config knows, for building.
    Library(&'static str),
    /// A file of LLVM, of whatever version.
    Llvm(&'static str),
}

use Sign::{File, Library, Llvm, Program};

const PACKAGES: &[(&str, Sign)] = &[
    ("gcc", Program("cc")),
    ("libc6-dev", File("/usr/include/stdio.h")),
    ("pkg-config", Program("pkg-config")),
    // the card rig's file system is C, and its bindings are generated
    ("libclang-dev", Llvm("lib/libclang.so")),
    ("libpcsclite-dev", Library("libpcsclite")),
    ("pcscd", Program("pcscd")),
    (
        "vsmartcard-vpcd",
        File("/usr/lib/pcsc/drivers/serial/libifdvpcd.so"),
    ),
    ("softhsm2", Program("softhsm2-util")),
    // other people's hands on cards and tokens
    ("opensc", Program("pkcs11-tool")),
    ("gnupg", Program("gpg")),
    ("scdaemon", File("/usr/lib/gnupg/scdaemon")),
    ("yubico-piv-tool", Program("yubico-piv-tool")),
    ("iproute2", Program("ip")),
    ("nftables", Program("nft")),
    ("ethtool", Program("ethtool")),
    // the DNS64 of a network without IPv4
    ("unbound", Program("unbound")),
    ("iputils-ping", Program("ping")),
    // a lease renewed from a socket that is bound to nothing
    ("isc-dhcp-client", Program("dhclient")),
    ("tcpdump", Program("tcpdump")),
    // the lab's DHCP, both ends
    ("dnsmasq-base", Program("dnsmasq")),
    ("busybox", Program("busybox")),
    ("valgrind", Program("valgrind")),
    ("wireguard-tools", Program("wg")),
    // wg-quick's way to set a default route
    ("procps", Program("sysctl")),
    ("wireguard-go", Program("wireguard-go")),
    // IPv4 for a network without it
    ("tayga", Program("tayga")),
    ("openssl", Program("openssl")),
    ("dbus-daemon", Program("dbus-daemon")),
    ("pinentry-curses", Program("pinentry-curses")),
    ("pinentry-tty", Program("pinentry-tty")),
    ("uidmap", Program("newuidmap")),
    ("util-linux", Program("unshare")),
    ("mmdebstrap", Program("mmdebstrap")),
    ("systemd-container", Program("systemd-nspawn")),
];

/// What to do where an ordinary user may not have networks of their own.
const NO_NAMESPACES: &str = "\
The lab makes networks of its own, and this user may not: user namespaces are switched off, or /dev/net/tun is closed.
Please run it as root, or allow them, which on Ubuntu is

    sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0
";

/// Sees to it that the lab can be set up; gives the exit code for a machine where that cannot be done.
pub(crate) fn provide() -> Result<Option<ExitCode>> {
    if let Some(code) = install_missing()? {
        return Ok(Some(code));
    }
    if !(is_root() || has_namespaces() || has_sudo()) {
        eprint!("{NO_NAMESPACES}");
        return Ok(Some(ExitCode::from(USAGE)));
    }
    Ok(None)
}

fn install_missing() -> Result<Option<ExitCode>> {
    let missing = missing();
    if missing.is_empty() {
        return Ok(None);
    }
    let list = missing.join(" ");
    let Some(apt) = apt() else {
        eprintln!(
            "The lab needs packages that are not installed. Please run:\n\n    sudo apt-get install {list}\n"
        );
        return Ok(Some(ExitCode::from(USAGE)));
    };
    eprintln!("The lab needs packages that are not installed; installing: {list}");
    // A fresh machine or image has no package lists, an old one has stale lists: both are told by a failed install.
    if !install(apt, &missing)? {
        ensure!(run(apt, &["update"])?, "apt-get update failed");
        ensure!(install(apt, &missing)?, "apt-get install {list} failed");
    }
    let missing = self::missing();
    ensure!(
        missing.is_empty(),
        "installed, and still not found: {}",
        missing.join(" ")
    );
    Ok(None)
}

fn missing() -> Vec<&'static str> {
    PACKAGES
        .iter()
        .filter(|(_, sign)| !is_there(sign))
        .map(|(package, _)| *package)
        .collect()
}

fn is_there(sign: &Sign) -> bool {
    match sign {
        Program(name) => {
            let own = std::env::var_os("PATH").unwrap_or_default();
            // An ordinary user's PATH has no sbin, and the lab calls those programs all the same.
            let system = ["/usr/sbin", "/sbin"].map(Into::into);
            std::env::split_paths(&own)
                .chain(system)
                .any(|directory| directory.join(name).is_file())
        }
        File(path) => Path::new(path).exists(),
        Llvm(path) => std::fs::read_dir("/usr/lib").is_ok_and(|entries| {
            entries.flatten().any(|entry| {
                entry.file_name().to_string_lossy().starts_with("llvm-")
                    && entry.path().join(path).exists()
            })
        }),
        Library(name) => succeeds(Command::new("pkg-config").args(["--exists", name])),
    }
}

/// The start of an apt-get command line that may install, if there is one.
fn apt() -> Option<&'static [&'static str]> {
    if !is_there(&Program("apt-get")) {
        None
    } else if is_root() {
        Some(&["apt-get"])
    } else if has_sudo() {
        Some(&["sudo", "-n", "apt-get"])
    } else {
        None
    }
}

pub(crate) fn is_root() -> bool {
    succeeds(Command::new("sh").args(["-c", "test $(id -u) = 0"]))
}

fn has_sudo() -> bool {
    succeeds(Command::new("sudo").args(["-n", "true"]))
}

fn has_namespaces() -> bool {
    let tun = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/net/tun")
        .is_ok();
    tun && succeeds(Command::new("unshare").args(["--user", "--map-root-user", "--net", "true"]))
}

fn install(apt: &[&str], packages: &[&str]) -> Result<bool> {
    run(
        apt,
        &[&["install", "--yes", "--no-install-recommends"], packages].concat(),
    )
}

fn run(apt: &[&str], arguments: &[&str]) -> Result<bool> {
    let status = Command::new(apt[0])
        .args(&apt[1..])
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        // Standard output belongs to what the caller asked for.
        .stdout(std::io::stderr())
        .status()
        .context("start apt-get")?;
    Ok(status.success())
}

fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
