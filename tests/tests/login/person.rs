//! A laptop with two people: alice logs in with a token, bob has only a password.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sluss_tests::artifacts;
use sluss_tests::container::{Container, Disk};

/// The middleware of the token that alice logs in with, and where OpenSC's is in the profile that is shipped.
const TOKEN: &str = "/usr/lib/softhsm/libsofthsm2.so";
const OPENSC: &str = "/usr/lib/x86_64-linux-gnu/opensc-pkcs11.so";

pub(crate) const PASSWORD: &str = "correct horse";

/// Services that Debian's packages bring with a stack of this kind, and whether they are interactive.
const SERVICES: &[(&str, bool)] = &[
    ("gdm-password", true),
    ("swaylock", true),
    ("sshd", true),
    ("sudo", false),
    ("cron", false),
];

/// Installs the module and its stack as a package does, and makes the people.
pub(crate) fn furnish(disk: &Disk) -> Result<()> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    disk.install(
        &artifacts::pam_sluss()?,
        "usr/lib/x86_64-linux-gnu/security/pam_sluss.so",
    )?;
    let profile = std::fs::read_to_string(repository.join("packaging/pam-configs/sluss-card"))?;
    ensure!(profile.contains(OPENSC), "the profile names its middleware");
    disk.write(
        "usr/share/pam-configs/sluss-card",
        &profile.replace(OPENSC, TOKEN),
    )?;
    disk.run("pam-auth-update", &["--package", "--enable", "sluss-card"])?;
    for (service, interactive) in SERVICES {
        let session = if *interactive { "common-session" } else { "common-session-noninteractive" };
        let stack = format!("@include common-auth\n@include common-account\n@include {session}\n");
        disk.write(&format!("etc/pam.d/{service}"), &stack)?;
    }
    for user in ["alice", "bob"] {
        disk.run("useradd", &["--create-home", user])?;
    }
    disk.write("root/passwords", &format!("alice:{PASSWORD}\nbob:{PASSWORD}\n"))?;
    disk.run("sh", &["-c", "chpasswd < /root/passwords"])
}

/// Makes a token with this PIN and a P-256 key, and lets alice log in with it.
pub(crate) fn give_token(laptop: &Container, pin: &str) -> Result<()> {
    let init = ["--init-token", "--free", "--label", "service card", "--so-pin", "12345678", "--pin", pin];
    laptop.run("softhsm2-util", &init)?;
    let generate = ["--login", "--pin", pin, "--keypairgen", "--key-type", "EC:prime256v1", "--id", "01"];
    laptop.run("pkcs11-tool", &[&["--module", TOKEN], &generate[..]].concat())?;
    let read = ["--read-object", "--type", "pubkey", "--id", "01", "--output-file", "/root/login-key"];
    laptop.run("pkcs11-tool", &[&["--module", TOKEN], &read[..]].concat())?;
    let key = std::fs::read(laptop.path("root/login-key"))?;
    // The last of a SubjectPublicKeyInfo; OpenSSH wants it in a line of its own kind (RFC 5656, 3.1).
    let point = key.last_chunk::<65>().context("a P-256 key")?;
    let mut blob = Vec::new();
    for part in [&b"ecdsa-sha2-nistp256"[..], b"nistp256", point] {
        blob.extend(u32::try_from(part.len())?.to_be_bytes());
        blob.extend(part);
    }
    std::fs::create_dir(laptop.path("home/alice/.ssh"))?;
    let line = format!("ecdsa-sha2-nistp256 {} service card\n", STANDARD.encode(blob));
    std::fs::write(laptop.path("home/alice/.ssh/authorized_keys"), line)?;
    laptop.run("chown", &["--recursive", "alice", "/home/alice/.ssh"])?;
    Ok(())
}

/// Plays a login program: `operations` of PAM for `user`, who types these lines when asked. Whether all succeeded, and what was said.
pub(crate) fn attempt(
    laptop: &Container,
    (service, items): (&str, &[&str]),
    user: &str,
    operations: &[&str],
    types: &str,
) -> Result<(bool, String)> {
    let mut command = laptop.command("pamtester");
    command
        .args(items)
        .args([service, user])
        .args(operations)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let mut keyboard = child.stdin.take().context("standard input")?;
    // Who is let in before all is typed does not read the rest.
    let _ = keyboard.write_all(types.as_bytes());
    drop(keyboard);
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    Ok((output.status.success(), said))
}
