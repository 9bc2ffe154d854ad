//! Who is measured: ours, other people's WireGuard, and the two floors without encryption.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::cable::{Cable, OUTER};
use crate::artifacts;
use crate::end::{PORT, public};
use crate::moment::eventually;
use crate::netns::{Netns, Process};

/// What a tunnel is made for: 1500 bytes of Ethernet less IPv6, UDP and WireGuard.
pub const MTU: usize = 1420;

/// Packets that a TUN device holds for its reader. The kernel's 500 would lose a burst's head whenever somebody else has
/// the processor for a millisecond, and tell more of the scheduler than of the tunnel.
const QUEUE: usize = 10_000;

const PRIVATE: [[u8; 32]; 2] = [[1; 32], [2; 32]];
const INNER: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 9, 0, 1), Ipv4Addr::new(10, 9, 0, 2)];

/// The names of ours and of the floors, in tables and options.
pub const OURS: &str = "sluss";
pub const FORWARDER: &str = "forwarder";
pub const BARE: &str = "bare";

/// Sealing and opening without a tunnel, which is listed beside them.
pub const AEAD: &str = "aead";

/// How long an end may take to come up.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
pub struct Contestant {
    pub name: String,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    /// The cable itself.
    Bare,
    /// Packets in WireGuard's frames, in the clear.
    Forwarder(PathBuf),
    /// A program that is configured over WireGuard's cross-platform socket, and the options that keep it in the foreground.
    WireGuard(PathBuf, &'static [&'static str]),
}

impl Contestant {
    /// All that xtask provides: floors first, ours, then the peers. The forwarder is the caller's own.
    pub fn provided(forwarder: &Path) -> Result<Vec<Contestant>> {
        let aloud: &[&str] = &["--foreground", "--disable-drop-privileges"];
        Ok([
            (BARE, Kind::Bare),
            (FORWARDER, Kind::Forwarder(forwarder.to_owned())),
            (OURS, Kind::WireGuard(artifacts::sluss_uapi()?, &[])),
            ("boringtun", Kind::WireGuard(artifacts::boringtun()?, aloud)),
            ("gotatun", Kind::WireGuard(artifacts::gotatun()?, aloud)),
            (
                "wireguard-go",
                Kind::WireGuard("wireguard-go".into(), &["-f"]),
            ),
        ]
        .map(|(name, kind)| Contestant {
            name: name.to_owned(),
            kind,
        })
        .into())
    }

    /// Any other program with the same socket, started as wireguard-go is: `PATH -f DEVICE`.
    pub fn given(name: &str, path: &Path) -> Contestant {
        Contestant {
            name: name.to_owned(),
            kind: Kind::WireGuard(path.to_owned(), &["-f"]),
        }
    }

    /// What the program calls itself and its version, where it does.
    pub fn version(&self) -> Option<String> {
        let Kind::WireGuard(path, _) = &self.kind else {
            return None;
        };
        let output = Command::new(path)
            .arg("--version")
            .stdin(Stdio::null())
            .output()
            .ok()?;
        let said = String::from_utf8(output.stdout).ok()?;
        let line = said
            .lines()
            .next()
            .map(str::trim)
            .filter(|line| !line.is_empty());
        line.filter(|_| output.status.success()).map(str::to_owned)
    }

    /// Starts both ends over the cable, and waits until they can be spoken through.
    pub fn start(&self, cable: &Cable) -> Result<Tunnel> {
        let end = |which: usize| {
            let network = &cable.ends[which];
            self.start_end(network, which)
                .with_context(|| format!("{} in {}", self.name, network.name()))
        };
        Ok(Tunnel {
            ends: [end(0)?, end(1)?],
        })
    }

    fn start_end(&self, network: &Netns, which: usize) -> Result<End> {
        // The socket is found by the device's name, and both ends see the same sockets.
        let device = network.name();
        let mut command = match &self.kind {
            Kind::Bare => {
                return Ok(End {
                    network: network.clone(),
                    address: OUTER[which].parse()?,
                    process: None,
                });
            }
            Kind::Forwarder(path) => {
                let mut command = Command::new(path);
                command.args([device, &format!("{}:{PORT}", OUTER[1 - which])]);
                command
            }
            Kind::WireGuard(path, options) => {
                let mut command = Command::new(path);
                command.args(*options).arg(device);
                // wireguard-go asks to be told that it is meant where the kernel might do it.
                command.env("WG_PROCESS_FOREGROUND", "1");
                command
            }
        };
        let mut process = network.spawn(
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null()),
        )?;
        eventually("the tunnel's device", PATIENCE, || {
            if !process.is_running() {
                bail!("{command:?} has ended")
            }
            Ok(network.ip(&format!("link show {device}")).ok())
        })?;
        if let Kind::WireGuard(..) = self.kind {
            configure(network, device, which)?;
        }
        // By itself: in one command the device comes up first, gets an address, and the kernel looks for routers through it.
        network.ip(&format!("link set {device} addrgenmode none"))?;
        network.ip(&format!(
            "link set {device} mtu {MTU} txqueuelen {QUEUE} up"
        ))?;
        network.ip(&format!("addr add {}/24 dev {device}", INNER[which]))?;
        Ok(End {
            network: network.clone(),
            address: INNER[which],
            process: Some(process),
        })
    }
}

/// Keys, port and peer, over the socket.
fn configure(network: &Netns, device: &str, which: usize) -> Result<()> {
    let configuration = format!(
        "[Interface]\nPrivateKey = {}\nListenPort = {PORT}\n\
         [Peer]\nPublicKey = {}\nAllowedIPs = {}/32\nEndpoint = {}:{PORT}\n",
        STANDARD.encode(PRIVATE[which]),
        STANDARD.encode(public(PRIVATE[1 - which]).0),
        INNER[1 - which],
        OUTER[1 - which],
    );
    // The socket is there a moment before anybody listens on it.
    eventually("the program takes its configuration", PATIENCE, || {
        let mut setconf = Command::new("wg");
        setconf.args(["setconf", device, "/dev/stdin"]);
        Ok(network.feed(&mut setconf, &configuration).ok())
    })
}

/// Both ends of a contestant that runs.
pub struct Tunnel {
    pub ends: [End; 2],
}

impl Tunnel {
    /// All but the bare cable.
    pub fn has_processes(&self) -> bool {
        self.ends.iter().all(|end| end.process.is_some())
    }
}

pub struct End {
    pub network: Netns,
    /// Where traffic through the tunnel goes to.
    pub address: Ipv4Addr,
    /// None for the bare cable.
    process: Option<Process>,
}

impl End {
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    pub fn cpu_time(&self) -> Result<Duration> {
        self.pid()
            .map_or(Ok(Duration::ZERO), super::meter::cpu_time)
    }
}
