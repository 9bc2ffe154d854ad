//! Two networks and the cable between them, as a virtual machine has it or as a network card would be.

use anyhow::Result;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::netns::{Netns, veth};

/// How the cable treats what a tunnel sends in one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Setting {
    /// As a veth is: what was sent in one piece arrives in one piece, which flatters whoever sends so.
    Default,
    /// As a network card without special talents: the kernel cuts at transmit and joins at receive.
    Nic,
}

impl Setting {
    pub const ALL: [Setting; 2] = [Setting::Default, Setting::Nic];

    pub fn name(self) -> &'static str {
        match self {
            Setting::Default => "default",
            Setting::Nic => "nic",
        }
    }
}

/// Outer addresses of the two ends.
pub const OUTER: [&str; 2] = ["192.0.2.1", "192.0.2.2"];

/// The cable's device in both networks.
const DEVICE: &str = "eth0";

pub struct Cable {
    pub ends: [Netns; 2],
}

impl Cable {
    /// `name` sets its networks apart from others'.
    pub fn lay(name: &str, setting: Setting) -> Result<Cable> {
        let ends = [
            Netns::new(&format!("{name}-left"))?,
            Netns::new(&format!("{name}-right"))?,
        ];
        veth((&ends[0], DEVICE), (&ends[1], DEVICE))?;
        for (end, address) in ends.iter().zip(OUTER) {
            end.ip(&format!("addr add {address}/24 dev {DEVICE}"))?;
            // What one tunnel taught the kernel about the way must not help or hurt the next.
            end.sysctl("ipv4.tcp_no_metrics_save", "1")?;
            if setting == Setting::Nic {
                end.sh(&format!(
                    "ethtool -K {DEVICE} tx-udp-segmentation off tso off gso on gro on"
                ))?;
            }
        }
        Ok(Cable { ends })
    }
}
