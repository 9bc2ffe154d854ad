//! A stranger on a network of the lab, who speaks ARP in anybody's name.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result};
use tun_rs::{DeviceBuilder, Layer, SyncDevice};

use crate::netns::Netns;

/// An Ethernet address.
pub type Mac = [u8; 6];

/// How the addresses begin that a stranger takes for itself.
pub const OURS: [u8; 2] = [0x02, 0x66];
const BROADCAST: Mac = [0xff; 6];
const NOBODY: Mac = [0; 6];
/// The Ethernet type of ARP.
const ARP: [u8; 2] = [0x08, 0x06];
const PORT: &str = "stranger";

/// A port of a router's bridge, whose frames are the trial's own.
pub struct Stranger(Arc<SyncDevice>);

impl Stranger {
    /// Plugs in beside the laptop.
    pub fn join(router: &Netns) -> Result<Stranger> {
        let tap = router
            .run(|| {
                DeviceBuilder::new()
                    .name(PORT)
                    .layer(Layer::L2)
                    .build_sync()
            })
            .with_context(|| format!("a port of {}", router.name()))?;
        router.ip(&format!("link set {PORT} master lan up"))?;
        // Else a frame that only passes from port to port is tracked, and later taken for a connection without NAT.
        if router.run(|| Path::new("/proc/sys/net/bridge").exists()) {
            router.sysctl("bridge.bridge-nf-call-iptables", "0")?;
        }
        Ok(Stranger(Arc::new(tap)))
    }

    /// Claims an address, unasked, in both ways that there are (RFC 826, RFC 5227): by a question and by an answer.
    pub fn claim(&self, address: Ipv4Addr, mac: Mac) -> Result<()> {
        for operation in [REQUEST, REPLY] {
            self.say(operation, (mac, address), (NOBODY, address))?;
        }
        Ok(())
    }

    /// Asks everybody who has an address.
    pub fn ask(&self, from: (Mac, Ipv4Addr), about: Ipv4Addr) -> Result<()> {
        self.say(REQUEST, from, (NOBODY, about))
    }

    /// From now on hands on to an address's owner what was sent to one of ours in its place, as who listens in does.
    pub fn forward(&self, owner: Mac) {
        let tap = Arc::clone(&self.0);
        thread::spawn(move || {
            let mut frame = [0; 1 << 14];
            while let Ok(length) = tap.recv(&mut frame) {
                if length > 14 && frame[..2] == OURS && frame[12..14] != ARP {
                    frame.copy_within(..6, 6);
                    frame[..6].copy_from_slice(&owner);
                    let _ = tap.send(&frame[..length]);
                }
            }
        });
    }

    fn say(&self, operation: u8, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr)) -> Result<()> {
        let mut frame = [BROADCAST, sender.0].concat();
        frame.extend(ARP);
        // For Ethernet (1) and IPv4, with their lengths.
        frame.extend([0, 1, 0x08, 0x00, 6, 4, 0, operation]);
        for (mac, address) in [sender, target] {
            frame.extend(mac);
            frame.extend(address.octets());
        }
        // The shortest that Ethernet takes, without its checksum.
        frame.resize(60, 0);
        self.0.send(&frame)?;
        Ok(())
    }
}

const REQUEST: u8 = 1;
const REPLY: u8 = 2;
