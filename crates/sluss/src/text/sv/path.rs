//! The path and the offloads, in Swedish.

use sluss_ipc::{PacketReport, PathMtu, PathVerdict, Segmentation, TunOffload};

use super::Swedish;
use crate::text::path::PathText;

impl PathText for Swedish {
    fn mtu(&self, packets: &PacketReport) -> String {
        match packets {
            PacketReport {
                mtu, policy_mtu, ..
            } if mtu == policy_mtu => format!("{mtu} byte"),
            PacketReport {
                mtu, policy_mtu, ..
            } => format!("{mtu} byte (enligt policyn {policy_mtu})"),
        }
    }

    fn path(&self, path: &PathMtu) -> String {
        let mtu = path.mtu;
        match path.verdict {
            PathVerdict::Untested => "ännu inte känd".to_owned(),
            PathVerdict::Confirmed => format!("{mtu} byte kommer fram i ett stycke"),
            PathVerdict::Reduced => {
                format!("{mtu} byte kommer fram i ett stycke, längre paket gör det inte")
            }
            PathVerdict::Fragmented => {
                format!("{mtu} byte kommer fram i delar: vägen är smalare")
            }
            PathVerdict::TooNarrow => {
                format!("{mtu} byte kommer inte fram: vägen är smalare och tappar delar")
            }
            PathVerdict::Unanswered => {
                "okänd: tunnelns andra ände svarar inte på frågor om den".to_owned()
            }
        }
    }

    fn offloads(&self, packets: &PacketReport) -> [String; 3] {
        let tun = match packets.tun {
            TunOffload::None => "ingen",
            TunOffload::Tcp => "TCP",
            TunOffload::TcpAndUdp => "TCP och UDP",
        };
        let send = match packets.send {
            Segmentation::Offloaded => "ja",
            Segmentation::Refused => {
                "inte på det här nätet: vägen är smalare än paketen, eller så klarar kortet det inte"
            }
            Segmentation::Unsupported => "inte med den här kärnan",
        };
        let receive = if packets.receive {
            "ja"
        } else {
            "inte med den här kärnan"
        };
        [
            format!("gränssnitt: {tun}"),
            format!("sändning: {send}"),
            format!("mottagning: {receive}"),
        ]
    }
}
