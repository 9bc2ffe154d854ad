//! What the administrator of a beacon is told on the command line.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_sluss-beacon");

const NOBODY: u32 = 65534;

const DEADLINE: Duration = Duration::from_secs(10);

#[test]
fn the_policy_names_no_address_that_this_host_does_not_have() {
    let host = Host::new();
    let here = host.check("listen = [\"127.0.0.1:8443\"]");
    assert_eq!(here.status, Some(0), "{here:?}");
    assert!(here.out.contains("addresses = [\"127.0.0.1:8443\"]"));
    assert!(here.out.contains("pins = [\"sha256:"), "{here:?}");

    let elsewhere = host.check("listen = [\"127.0.0.1:8443\", \"192.0.2.1:8443\"]");
    assert_eq!(elsewhere.status, Some(1));
    assert_eq!(elsewhere.out, "");
    elsewhere.says("this host does not have the address 192.0.2.1\n");
}

#[test]
fn every_address_of_a_host_is_too_many() {
    let host = Host::new();
    for (all, listen) in [("0.0.0.0", "0.0.0.0:8443"), ("::", "[::]:8443")] {
        let config = host.config(&format!("listen = [\"{listen}\"]"));
        for command in ["check", "serve"] {
            let told = host.run(&[command, "--config", &config]);
            assert_eq!(told.status, Some(1));
            told.says("beacon.toml: TOML parse error at line 3");
            told.says(&format!(
                "{all} is every address of this host: name the internal one"
            ));
        }
    }
}

#[test]
fn what_the_unit_needs_besides_is_told_and_is_no_failure() {
    let host = Host::new();
    let told = host.check("listen = [\"127.0.0.1:443\"]");
    assert_eq!(told.status, Some(0));
    told.says("127.0.0.1:443: this port needs a right: see 'Other ports' in docs/beacon.md");
    told.says(&format!(
        "LoadCredential=town.key:{}",
        host.path("town.key")
    ));
}

#[test]
fn files_that_the_beacons_user_cannot_read_are_named() {
    let host = Host::new();
    let config = host.config("listen = [\"127.0.0.1:8443\"]");
    set_permissions(&config, Permissions::from_mode(0o600)).unwrap();
    let told = host.run(&["check", "--config", &config]);
    assert_eq!(told.status, Some(1));
    told.says(&format!("chmod 644 {config}"));
}

#[test]
fn a_certificate_out_of_its_dates_is_told() {
    let host = Host::new();
    for ((first, last), reason) in [
        ((2001, 2002), "has expired"),
        ((3001, 3002), "is not valid yet"),
    ] {
        let file = host.certify(first, last);
        let told = host.check(&format!(
            "listen = [\"127.0.0.1:8443\"]\ncertificate = \"{file}\""
        ));
        assert_eq!(told.status, Some(1));
        told.says(&format!(
            "the certificate {reason}: laptops will not take it"
        ));
    }
}

#[test]
fn a_server_that_nobody_will_believe_says_why() {
    let host = Host::new();
    let certificate = host.certify(2001, 2002);
    let config = host.config(&format!(
        "listen = [\"192.0.2.1:8443\"]\ncertificate = \"{certificate}\""
    ));
    let manager = UnixDatagram::bind(host.path("notify")).unwrap();
    manager.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut server = Command::new(PROGRAM)
        .args(["serve", "--config", &config])
        .env("NOTIFY_SOCKET", host.path("notify"))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let absent = "this host does not have the address 192.0.2.1";
    let mut message = [0; 1024];
    let status = std::iter::from_fn(|| {
        manager
            .recv(&mut message)
            .ok()
            .map(|count| String::from_utf8(message[..count].to_vec()).unwrap())
    })
    .find(|told| told.contains("STATUS="));
    server.kill().unwrap();
    let log = server.wait_with_output().unwrap().stderr;
    let log = String::from_utf8(log).unwrap();
    assert!(
        status.is_some_and(|status| status.contains(absent)),
        "{log}"
    );
    assert!(log.contains(absent), "{log}");
    assert!(log.contains("the certificate has expired"), "{log}");
}

#[test]
fn a_key_that_is_there_is_kept_and_its_pin_can_be_seen() {
    let host = Host::new();
    let key = host.path("town.key");
    let told = host.run(&["key", "generate", &key]);
    assert_eq!(told.status, Some(1));
    told.says(&format!(
        "there is a key already; `sluss-beacon key pin {key}` shows its pin"
    ));
    let told = host.run(&["key", "pin", &key]);
    assert!(told.out.starts_with("sha256:"), "{told:?}");
}

#[test]
fn whoever_is_not_root_is_sent_to_root() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: only root can become another user");
        return;
    }
    let host = Host::new();
    let config = host.config("listen = [\"127.0.0.1:8443\"]");
    let (old, new) = (host.path("town.key"), host.path("new.key"));
    for arguments in [
        &["check", "--config", &config][..],
        &["key", "pin", &old],
        &["key", "generate", &new],
    ] {
        let told = host.run_as_nobody(arguments);
        assert_eq!(told.status, Some(1));
        told.says("Permission denied");
        told.says("run it as root");
    }
}

#[test]
fn mistakes_in_the_command_are_told_apart_from_a_missing_proof() {
    let host = Host::new();
    let told = host.run(&["probe", "10.20.0.53"]);
    assert_eq!(told.status, Some(2));
    told.says("\"10.20.0.53\" is not an address with a port, as \"10.20.0.53:8443\"");

    let cut = "sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";
    let told = host.run(&["probe", "10.20.0.53:8443", "--pin", cut]);
    assert_eq!(told.status, Some(2));
    told.says("44 characters, ending in =; was its end cut off?");

    // Nobody listens there.
    let told = host.run(&["probe", "127.0.0.1:1"]);
    assert_eq!(told.status, Some(1));
}

/// A folder with a key, as it were a host's.
struct Host(TempDir);

#[derive(Debug)]
struct Told {
    status: Option<i32>,
    out: String,
    error: String,
}

impl Host {
    fn new() -> Self {
        let host = Self(TempDir::new().unwrap());
        set_permissions(host.0.path(), Permissions::from_mode(0o755)).unwrap();
        let made = host.run(&["key", "generate", &host.path("town.key")]);
        assert_eq!(made.status, Some(0), "{made:?}");
        host
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn config(&self, lines: &str) -> String {
        let file = self.path("beacon.toml");
        let key = self.path("town.key");
        let text = format!("name = \"town hall\"\nkey = \"{key}\"\n{lines}\n");
        std::fs::write(&file, text).unwrap();
        set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        file
    }

    /// Gives it another key, with a certificate that is valid from the first to the second of these years.
    fn certify(&self, first: i32, last: i32) -> String {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.not_before = date_time_ymd(first, 1, 1);
        params.not_after = date_time_ymd(last, 1, 1);
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(self.path("town.key"), key.serialize_pem()).unwrap();
        let file = self.path("beacon.pem");
        std::fs::write(&file, certificate.pem()).unwrap();
        set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        file
    }

    fn check(&self, lines: &str) -> Told {
        self.run(&["check", "--config", &self.config(lines)])
    }

    fn run(&self, arguments: &[&str]) -> Told {
        Told::by(Command::new(PROGRAM).args(arguments))
    }

    /// As another user than the one who owns the folder.
    fn run_as_nobody(&self, arguments: &[&str]) -> Told {
        // Where it was built may be closed to others. What this process had open for writing could not be run meanwhile.
        let program = self.path("sluss-beacon");
        let copied = Command::new("cp").args([PROGRAM, &program]).status();
        assert!(copied.unwrap().success());
        Told::by(
            Command::new(program)
                .args(arguments)
                .uid(NOBODY)
                .gid(NOBODY),
        )
    }
}

impl Told {
    fn by(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        Self {
            status: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            error: String::from_utf8(output.stderr).unwrap(),
        }
    }

    fn says(&self, what: &str) {
        assert!(self.error.contains(what), "{what}: {self:?}");
    }
}
