//! The path and the offloads, in English.

use sluss_ipc::{PacketReport, PathMtu, PathVerdict, Segmentation, TunOffload};

use super::English;
use crate::text::path::PathText;

impl PathText for English {
    fn mtu(&self, packets: &PacketReport) -> String {
        match packets {
            PacketReport {
                mtu, policy_mtu, ..
            } if mtu == policy_mtu => format!("{mtu} bytes"),
            PacketReport {
                mtu, policy_mtu, ..
            } => format!("{mtu} bytes (policy: {policy_mtu})"),
        }
    }

    fn path(&self, path: &PathMtu) -> String {
        let mtu = path.mtu;
        match path.verdict {
            PathVerdict::Untested => "not known yet".to_owned(),
            PathVerdict::Confirmed => format!("{mtu} bytes arrive in one piece"),
            PathVerdict::Reduced => {
                format!("{mtu} bytes arrive in one piece, longer packets do not")
            }
            PathVerdict::Fragmented => {
                format!("{mtu} bytes arrive in fragments: the path is narrower")
            }
            PathVerdict::TooNarrow => {
                format!("{mtu} bytes do not arrive: the path is narrower, and loses fragments")
            }
            PathVerdict::Unanswered => "unknown: the gateway answers no probe".to_owned(),
        }
    }

    fn offloads(&self, packets: &PacketReport) -> [String; 3] {
        let tun = match packets.tun {
            TunOffload::None => "none",
            TunOffload::Tcp => "TCP",
            TunOffload::TcpAndUdp => "TCP and UDP",
        };
        let send = match packets.send {
            Segmentation::Offloaded => "yes",
            Segmentation::Refused => {
                "not on this network: the path is narrower than the packets, or its card cannot"
            }
            Segmentation::Unsupported => "not with this kernel",
        };
        let receive = if packets.receive {
            "yes"
        } else {
            "not with this kernel"
        };
        [
            format!("interface: {tun}"),
            format!("sending: {send}"),
            format!("receiving: {receive}"),
        ]
    }
}
