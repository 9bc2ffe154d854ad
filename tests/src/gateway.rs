//! The WireGuard gateway of the lab: boringtun, unchanged, as other people run it.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use x25519_dalek::{PublicKey, StaticSecret};

use crate::artifacts;
use crate::moment::eventually;
use crate::netns::Process;
use crate::world::{GATEWAY, TUNNEL, TUNNEL_V6, World};

const DEVICE: &str = "wg0";

/// Of the gateway, and of any other that stands in for it. Any will do, as long as runs can be compared.
pub const PRIVATE_KEY: [u8; 32] = [0x5a; 32];

/// A running gateway with one peer, the laptop.
pub struct Gateway {
    public_key: [u8; 32],
    _process: Process,
}

impl Gateway {
    /// Starts it for a laptop with this public key, and a preshared key if they have one.
    pub fn start(
        world: &World,
        laptop: [u8; 32],
        preshared_key: Option<[u8; 32]>,
    ) -> Result<Gateway> {
        let private_key = StaticSecret::from(PRIVATE_KEY);
        let public_key = PublicKey::from(&private_key).to_bytes();
        std::fs::create_dir_all("/run/wireguard")?;
        let process = world.gateway.spawn(
            Command::new(artifacts::boringtun()?)
                .args([
                    "--foreground",
                    "--disable-drop-privileges",
                    "--disable-connected-udp",
                    "--threads",
                    "2",
                    DEVICE,
                ])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null()),
        )?;
        let socket = format!("/run/wireguard/{DEVICE}.sock");
        eventually(
            "the gateway's configuration socket",
            Duration::from_secs(5),
            || Ok(std::fs::exists(&socket)?.then_some(())),
        )?;
        let preshared_key = preshared_key.map_or_else(String::new, |key| {
            format!("PresharedKey = {}\n", STANDARD.encode(key))
        });
        let configuration = format!(
            "[Interface]\nPrivateKey = {}\nListenPort = {}\n[Peer]\nPublicKey = {}\nAllowedIPs = {TUNNEL}, {TUNNEL_V6}\n{preshared_key}",
            STANDARD.encode(private_key.as_bytes()),
            GATEWAY.port(),
            STANDARD.encode(laptop),
        );
        // the socket is there a moment before anybody listens on it
        eventually(
            "the gateway takes its configuration",
            Duration::from_secs(5),
            || {
                let mut setconf = Command::new("wg");
                setconf.args(["setconf", DEVICE, "/dev/stdin"]);
                Ok(world.gateway.feed(&mut setconf, &configuration).ok())
            },
        )?;
        world.gateway.ip_batch(&format!(
            "link set {DEVICE} up mtu 1420\n\
             route add 10.20.200.0/24 dev {DEVICE}\n\
             route add fd20:0:0:200::/64 dev {DEVICE}\n",
        ))?;
        Ok(Gateway {
            public_key,
            _process: process,
        })
    }

    pub fn public_key(&self) -> [u8; 32] {
        self.public_key
    }
}
