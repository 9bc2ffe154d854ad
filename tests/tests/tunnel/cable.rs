//! Two networks, a cable between them, and a tunnel of ours over it.

use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use anyhow::Result;
use nix::sys::socket::{setsockopt, sockopt};
use sluss_tests::end::{End, Offloads, Settings, add_address, endpoint, public};
use sluss_tests::netns::{Netns, veth};
use sluss_wg::Timing;

pub(crate) const LEFT: [u8; 32] = [1; 32];
pub(crate) const RIGHT: [u8; 32] = [2; 32];

/// How long anything here may take that is not bulk.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Two networks and a cable between them.
pub(crate) struct Cable {
    pub(crate) left: Netns,
    pub(crate) right: Netns,
}

impl Cable {
    pub(crate) fn new(mtu: u16) -> Result<Cable> {
        let (left, right) = (Netns::new("left")?, Netns::new("right")?);
        veth((&left, "eth0"), (&right, "eth0"))?;
        for (network, host) in [(&left, 1), (&right, 2)] {
            network.ip(&format!("link set eth0 mtu {mtu}"))?;
            add_address(network, "eth0", &format!("192.0.2.{host}/24"))?;
            if mtu >= 1280 {
                add_address(network, "eth0", &format!("2001:db8::{host}/64"))?;
            }
        }
        Ok(Cable { left, right })
    }

    /// Both ends, and a session between them.
    pub(crate) fn tunnels(&self, change: impl Fn(&mut Settings)) -> Result<(End, End)> {
        let (mut left, mut right) = both();
        left.endpoint = Some(endpoint("192.0.2.2")?);
        change(&mut left);
        change(&mut right);
        self.start(left, right)
    }

    /// The same, where the ends differ in what they let the kernel do.
    pub(crate) fn tunnels_with(&self, offloads: [Offloads; 2]) -> Result<(End, End)> {
        let (mut left, mut right) = both();
        left.endpoint = Some(endpoint("192.0.2.2")?);
        [left.offloads, right.offloads] = offloads;
        self.start(left, right)
    }

    fn start(&self, left: Settings, right: Settings) -> Result<(End, End)> {
        let right = End::start(&self.right, right)?;
        let left = End::start(&self.left, left)?;
        left.kick();
        left.established(PATIENCE)?;
        // It knows no endpoint before it has heard from the other, and packets to nowhere are dropped.
        right.established(PATIENCE)?;
        Ok((left, right))
    }

    /// Makes both network cards such as one of [`CARDS`].
    pub(crate) fn fit(&self, card: &str) -> Result<()> {
        for network in [&self.left, &self.right] {
            network.sh(&format!("ethtool -K eth0 {card}"))?;
        }
        Ok(())
    }

    /// All ways through the tunnel, both families both ways; there, then back.
    pub(crate) fn ways(&self) -> [Way<'_>; 4] {
        let way = |from, to, address: &str| Way {
            from,
            to,
            address: address.parse().expect("an address"),
        };
        [
            way(&self.left, &self.right, "10.9.0.2"),
            way(&self.left, &self.right, "fd09::2"),
            way(&self.right, &self.left, "10.9.0.1"),
            way(&self.right, &self.left, "fd09::1"),
        ]
    }

    /// The ways there.
    pub(crate) fn there(&self) -> [Way<'_>; 2] {
        let [v4, v6, ..] = self.ways();
        [v4, v6]
    }
}

/// A way through the tunnel, to an address on the other side.
#[derive(Clone, Copy)]
pub(crate) struct Way<'a> {
    pub(crate) from: &'a Netns,
    pub(crate) to: &'a Netns,
    pub(crate) address: IpAddr,
}

fn both() -> (Settings, Settings) {
    (settings(LEFT, RIGHT, 1), settings(RIGHT, LEFT, 2))
}

pub(crate) fn settings(private: [u8; 32], peer: [u8; 32], host: u8) -> Settings {
    Settings {
        private,
        held: false,
        addresses: vec![format!("10.9.0.{host}/24"), format!("fd09::{host}/64")],
        mtu: 1420,
        offloads: Offloads::ALL,
        timing: Timing::default(),
        peer: public(peer),
        preshared_key: None,
        endpoint: None,
    }
}

/// As network cards come: one that takes super-packets, one that leaves segmenting to the kernel, one that knows nothing.
pub(crate) const CARDS: [&str; 3] = [
    "tx-udp-segmentation on tso on gso on gro off",
    "tx-udp-segmentation off tso off gso on gro on",
    "tx-udp-segmentation off tso off gso off gro off",
];

/// Sockets on both sides for datagrams through the tunnel.
pub(crate) fn udp_pair(way: Way<'_>) -> Result<(UdpSocket, UdpSocket)> {
    let any: IpAddr = if way.address.is_ipv4() {
        "0.0.0.0".parse()?
    } else {
        "::".parse()?
    };
    let receiver = way.to.run(|| UdpSocket::bind((way.address, 0)))?;
    let address = receiver.local_addr()?;
    let sender = way.from.run(|| {
        let sender = UdpSocket::bind((any, 0))?;
        sender.connect(address)?;
        std::io::Result::Ok(sender)
    })?;
    for socket in [&sender, &receiver] {
        // As much as an ordinary user may have; what is under way stays below that.
        setsockopt(socket, sockopt::RcvBuf, &(16 << 20))?;
        setsockopt(socket, sockopt::SndBuf, &(16 << 20))?;
        socket.set_read_timeout(Some(PATIENCE))?;
    }
    Ok((sender, receiver))
}
