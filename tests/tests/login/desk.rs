//! A laptop with a service card in its reader, somewhere in the lab's world, as its packages set it up.

use std::io::Write;
use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;
use rcgen::{KeyUsagePurpose, SubjectPublicKeyInfo};
use serde_json::Value;
use sluss_card::key::{Algorithm, CardKey};
use sluss_policy::{DeviceBinding, Source};
use sluss_tests::artifacts;
use sluss_tests::authority::Authority;
use sluss_tests::beacon::Beacon;
use sluss_tests::container::{Container, Disk};
use sluss_tests::gateway::Gateway;
use sluss_tests::laptop::{Policy, endpoint};
use sluss_tests::moment::eventually;
use sluss_tests::rig::Rig;
use sluss_tests::servers;
use sluss_tests::service_card::{SealedToPiv, ServiceCard};
use sluss_tests::world::{GATEWAY, TUNNEL, TUNNEL_V6, WEB, World};

use crate::person;

/// For what should not take a second.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Desk {
    pub(crate) laptop: Container,
    /// A PIV card with an RSA key to log in with, and one that the tunnel's key is sealed to.
    pub(crate) card: SealedToPiv,
    pub(crate) world: World,
    /// The other end of the tunnel; `None` once it has fallen silent.
    office: Option<(Gateway, Beacon)>,
    _rig: Rig,
}

/// Who serves PINs there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Daemon {
    Shipped,
    /// Left out, for a stand-in of the trial's.
    None,
}

impl Desk {
    /// Boots it with these further sections of the policy, and lets alice log in with what `middleware` finds.
    pub(crate) fn set_up(daemon: Daemon, middleware: &str, policy: &str) -> Result<Desk> {
        let directory = Path::new("/run/lab");
        let disk = Disk::new(directory)?;
        let world = World::new()?;
        let rig = Rig::start(world.laptop.clone(), directory)?;
        let authority = Authority::new()?;
        let mut card = SealedToPiv::new(&rig, Algorithm::P256, &authority)?;
        card.insert()?;
        let certificate = login_key(&authority)?;
        let binding = card.binding();
        let gateway = Gateway::start(&world, *binding.public_key.as_bytes(), None)?;
        let beacon = Beacon::start(&world.servers)?;
        servers::start(&world)?;
        let policy = Policy {
            endpoints: endpoint(GATEWAY),
            gateway_key: gateway.public_key(),
            beacons: beacon.section(),
            more: policy.to_owned(),
        };
        let binding = DeviceBinding {
            addresses: [TUNNEL, TUNNEL_V6].map(IpNet::from).to_vec(),
            card: binding,
            preshared_key: None,
        };
        disk.write("etc/sluss/policy.toml", &policy.text())?;
        disk.write("var/lib/sluss/device.toml", &binding.to_toml())?;
        person::furnish(&disk, middleware, &certificate)?;
        if daemon == Daemon::Shipped {
            install_daemon(&disk)?;
        }
        let laptop = disk.boot(&world.laptop)?;
        Ok(Desk {
            laptop,
            card,
            world,
            office: Some((gateway, beacon)),
            _rig: rig,
        })
    }

    /// Has all services authenticate by this stack.
    pub(crate) fn stack(&self, auth: &str) -> Result<()> {
        Ok(std::fs::write(
            self.laptop.path("etc/pam.d/common-auth"),
            auth,
        )?)
    }

    /// The gateway and the beacon end without a word.
    pub(crate) fn close_office(&mut self) {
        self.office = None;
    }

    /// The internal web page, as the laptop gets it at this moment.
    pub(crate) fn page(&self) -> Result<IpAddr> {
        servers::fetch(&self.world.laptop, WEB, Duration::from_secs(1))
    }

    /// PINs that the card has been asked to check.
    pub(crate) fn tried(&mut self) -> Result<u64> {
        Ok(self.card.card.stats()?.verify)
    }

    /// What the daemon keeps from being swapped out.
    pub(crate) fn locked_kib(&self) -> Result<u64> {
        let show = ["show", "--value", "--property=MainPID", "slussd"];
        let pid = self.laptop.run("systemctl", &show)?;
        let status = self.laptop.path(&format!("proc/{}/status", pid.trim()));
        let status = std::fs::read_to_string(status)?;
        let locked = status.lines().find_map(|line| line.strip_prefix("VmLck:"));
        let kib = locked.and_then(|line| line.split_whitespace().next());
        Ok(kib.context("VmLck")?.parse()?)
    }

    /// Binds the laptop to the token that the daemon finds, and has the gateway let it in.
    pub(crate) fn enroll(&self, pin: &str) -> Result<()> {
        let mut command = self.laptop.command("sluss");
        command
            .args(["enroll", "--out=/root/request.toml"])
            .args(["--address", &format!("{TUNNEL}/32")]);
        succeed(command, &format!("{pin}\n"))?;
        let binding = self.laptop.path("var/lib/sluss/device.toml");
        let text = std::fs::read_to_string(&binding)?;
        let file = binding.display().to_string();
        let source = Source {
            file: &file,
            text: &text,
        };
        let binding =
            DeviceBinding::parse(source).map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
        let key = STANDARD.encode(binding.card.public_key.as_bytes());
        let peer = format!("wg set wg0 peer {key} allowed-ips {TUNNEL}/32");
        self.world.gateway.sh(&peer).map(|_| ())
    }

    /// What `sluss status --json` says to root.
    pub(crate) fn status(&self) -> Result<Value> {
        let status = self.laptop.run("sluss", &["status", "--json"])?;
        Ok(serde_json::from_str(&status)?)
    }

    /// Waits until the status says so: `until("key", "unlocked")`.
    pub(crate) fn until(&self, thing: &str, state: &str) -> Result<()> {
        eventually(&format!("{thing} is {state}"), PATIENCE, || {
            Ok((self.status()?[thing]["state"] == state).then_some(()))
        })
        .with_context(|| self.laptop.journal("slussd").unwrap_or_default())
    }

    /// What `systemctl is-active` says of a unit.
    pub(crate) fn unit(&self, unit: &str) -> Result<String> {
        let output = self.laptop.output("systemctl", &["is-active", unit])?;
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Waits until a unit is in this state.
    pub(crate) fn until_unit(&self, unit: &str, state: &str) -> Result<()> {
        eventually(&format!("{unit} is {state}"), PATIENCE, || {
            Ok((self.unit(unit)? == state).then_some(()))
        })
    }
}

/// Puts the daemon, the command and their units where packages do, and enables them.
fn install_daemon(disk: &Disk) -> Result<()> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    disk.install(&artifacts::slussd()?, "usr/sbin/slussd")?;
    disk.install(&artifacts::sluss()?, "usr/bin/sluss")?;
    for unit in [
        "slussd.service",
        "sluss-tunnel.target",
        "user/sluss-agent.service",
    ] {
        let folder = if unit.starts_with("user/") {
            ""
        } else {
            "system/"
        };
        disk.install(
            &repository.join("systemd").join(unit),
            &format!("usr/lib/systemd/{folder}{unit}"),
        )?;
    }
    disk.run("systemctl", &["enable", "slussd.service"])?;
    disk.run("systemctl", &["--global", "enable", "sluss-agent.service"])
}

/// Has the card make a key to log in with (slot 9A), as an issuing office does; gives its certificate, PEM.
///
/// It is RSA: Debian's pam_p11 signs a SHA-1 hash, which OpenSC does not let a P-256 key of PIV do.
fn login_key(authority: &Authority) -> Result<String> {
    let generate = ["--action=generate", "--slot=9a", "--algorithm=RSA2048"];
    // pcscd takes half a second to see that there is a card.
    let public = eventually("the card makes a key", PATIENCE, || {
        Ok(piv_tool(&generate, "").ok())
    })?;
    let key = SubjectPublicKeyInfo::from_pem(&String::from_utf8(public.stdout)?)?;
    let key = CardKey::from_spki(&rcgen::PublicKeyData::subject_public_key_info(&key))
        .context("the card's public key")?;
    let mut may_sign = Authority::employee();
    may_sign.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let certificate = pem(&authority.issue(&key, may_sign)?);
    piv_tool(&["--action=import-certificate", "--slot=9a"], &certificate)?;
    Ok(certificate)
}

/// Yubico's tool for PIV cards, on the card in the rig.
fn piv_tool(arguments: &[&str], input: &str) -> Result<Output> {
    let mut command = Command::new("yubico-piv-tool");
    command.arg("--reader=").args(arguments);
    succeed(command, input)
}

/// Runs a program that reads `input`; a failure is an error with what it said.
fn succeed(mut command: Command, input: &str) -> Result<Output> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("{command:?}"))?;
    let mut keyboard = child.stdin.take().context("standard input")?;
    keyboard.write_all(input.as_bytes())?;
    drop(keyboard);
    let output = child.wait_with_output()?;
    ensure!(
        output.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output)
}

fn pem(certificate: &[u8]) -> String {
    let text = STANDARD.encode(certificate);
    let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for line in text.as_bytes().chunks(64) {
        pem.extend(line.iter().map(|byte| char::from(*byte)));
        pem.push('\n');
    }
    pem + "-----END CERTIFICATE-----\n"
}
