//! Two people of the laptop: alice logs in with a card, bob has only a password.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sluss_tests::artifacts;
use sluss_tests::container::{Container, Disk};

/// The way to the card in the reader, which the profile names as it is shipped.
pub(crate) const OPENSC: &str = "/usr/lib/x86_64-linux-gnu/opensc-pkcs11.so";
/// The way to a token in software, which is not the card of the tunnel.
pub(crate) const SOFTHSM: &str = "/usr/lib/softhsm/libsofthsm2.so";

const PASSWORD: &str = "correct horse";

/// Services that other packages bring, with a stack as Debian's are, and whether a person sits before them.
const SERVICES: &[(&str, bool)] = &[
    ("gdm-password", true),
    ("swaylock", true),
    ("sshd", true),
    ("sudo", false),
    ("cron", false),
];

/// Installs the module and its stack as a package does, and makes the people. Alice may log in with `certificate` (PEM).
pub(crate) fn furnish(disk: &Disk, middleware: &str, certificate: &str) -> Result<()> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    disk.install(
        &artifacts::pam_sluss()?,
        "usr/lib/x86_64-linux-gnu/security/pam_sluss.so",
    )?;
    let profile = std::fs::read_to_string(repository.join("packaging/pam-configs/sluss-card"))?;
    ensure!(
        profile.contains(OPENSC),
        "the profile names other middleware"
    );
    disk.write(
        "usr/share/pam-configs/sluss-card",
        &profile.replace(OPENSC, middleware),
    )?;
    disk.run("pam-auth-update", &["--package", "--enable", "sluss-card"])?;
    for (service, interactive) in SERVICES {
        let session = match interactive {
            true => "common-session",
            false => "common-session-noninteractive",
        };
        let stack = format!("@include common-auth\n@include common-account\n@include {session}\n");
        disk.write(&format!("etc/pam.d/{service}"), &stack)?;
    }
    for user in ["alice", "bob"] {
        disk.run("useradd", &["--create-home", user])?;
    }
    let passwords = format!("alice:{PASSWORD}\nbob:{PASSWORD}\n");
    disk.write("root/passwords", &passwords)?;
    disk.run("sh", &["-c", "chpasswd < /root/passwords"])?;
    disk.write("home/alice/.eid/authorized_certificates", certificate)?;
    disk.run("chown", &["--recursive", "alice", "/home/alice/.eid"])
}

/// Makes a token in software with this PIN and a P-256 key, and lets alice log in with it.
pub(crate) fn give_token(laptop: &Container, pin: &str) -> Result<()> {
    laptop.run(
        "softhsm2-util",
        &[
            "--init-token",
            "--free",
            "--label=badge",
            "--so-pin=12345678",
            "--pin",
            pin,
        ],
    )?;
    let tool = |arguments: &[&str]| {
        laptop.run(
            "pkcs11-tool",
            &[&["--module", SOFTHSM, "--id=01"], arguments].concat(),
        )
    };
    tool(&[
        "--login",
        "--pin",
        pin,
        "--keypairgen",
        "--key-type=EC:prime256v1",
    ])?;
    tool(&[
        "--read-object",
        "--type=pubkey",
        "--output-file=/root/badge",
    ])?;
    let key = std::fs::read(laptop.path("root/badge"))?;
    // What a SubjectPublicKeyInfo ends with; OpenSSH has it in a line of its own kind (RFC 5656, 3.1).
    let point = key.last_chunk::<65>().context("a P-256 key")?;
    let mut blob = Vec::new();
    for part in [&b"ecdsa-sha2-nistp256"[..], b"nistp256", point] {
        blob.extend(u32::try_from(part.len())?.to_be_bytes());
        blob.extend(part);
    }
    let line = format!("ecdsa-sha2-nistp256 {} badge\n", STANDARD.encode(blob));
    std::fs::create_dir(laptop.path("home/alice/.ssh"))?;
    std::fs::write(laptop.path("home/alice/.ssh/authorized_keys"), line)?;
    laptop.run("chown", &["--recursive", "alice", "/home/alice/.ssh"])?;
    Ok(())
}

/// A login, an unlocked screen, or what else PAM is called for.
#[derive(Clone, Copy)]
pub(crate) struct Visit {
    pub(crate) service: &'static str,
    pub(crate) remote_host: Option<&'static str>,
    pub(crate) user: &'static str,
    /// Line by line, as far as something is asked.
    pub(crate) types: &'static str,
    /// In pamtester's words.
    pub(crate) operations: &'static [&'static str],
}

impl Visit {
    /// What a login program does.
    pub(crate) const LOGIN: &[&str] = &[
        "authenticate",
        "acct_mgmt",
        "setcred(PAM_ESTABLISH_CRED)",
        "open_session",
    ];

    /// Whether PAM let the person through, and what it said.
    pub(crate) fn pay(&self, laptop: &Container) -> Result<(bool, String)> {
        let mut command = laptop.command("pamtester");
        if let Some(host) = self.remote_host {
            command.args(["-I", &format!("rhost={host}")]);
        }
        command
            .args([self.service, self.user])
            .args(self.operations)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let mut keyboard = child.stdin.take().context("standard input")?;
        // Who is let in before all is typed does not read the rest.
        let _ = keyboard.write_all(self.types.as_bytes());
        drop(keyboard);
        let output = child.wait_with_output()?;
        let said = [output.stdout, output.stderr].concat();
        Ok((
            output.status.success(),
            String::from_utf8_lossy(&said).into_owned(),
        ))
    }
}
