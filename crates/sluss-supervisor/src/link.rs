//! Network links as the operating system tells them, and what probes found on them.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::Time;

/// A physical network interface. Loopback, our own tunnel and container bridges are none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Link {
    pub id: LinkId,
    /// Up, and something is at the other end.
    pub carrier: bool,
    /// The interface's own, with their prefix lengths; sorted, so that equal facts compare equal.
    pub addresses: Vec<IpNet>,
    /// Next hops of its default routes; sorted.
    pub gateways: Vec<IpAddr>,
    /// Decides nothing, as the next two: shown, and at most a reason to ask the beacons once more.
    pub medium: Medium,
    /// Whoever uses it pays by the byte, as far as the system knows.
    pub metered: bool,
    /// Those of its gateways whose link-layer addresses are known; sorted.
    pub neighbours: Vec<Neighbour>,
}

/// What a link is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Medium {
    Wired,
    /// `open`: whoever is near reads along.
    Wireless {
        open: bool,
    },
    /// A phone's own network, or a modem.
    Mobile,
}

/// Who answers on the link for a gateway's address. Anybody on the link can forge it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Neighbour {
    pub gateway: IpAddr,
    pub address: LinkLayerAddress,
}

/// EUI-48.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkLayerAddress(pub [u8; 6]);

impl fmt::Display for LinkLayerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// Which interface: the index says it surely, the name is for people.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId {
    pub index: u32,
    pub name: String,
}

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// What one beacon said, or did not say, on one link: at its best address, if it has several.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Evidence {
    pub link: LinkId,
    /// The beacon's name in the policy.
    pub beacon: String,
    pub address: SocketAddr,
    pub outcome: Outcome,
    pub at: Time,
}

/// Only `Proved` is proof. The rest says why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It showed that it holds a pinned key, and, if it is of kind "beacon", that nobody stands in between.
    Proved,
    /// It holds a pinned key, but saw another source than our own: somebody relays, or translates addresses.
    Relayed { seen: SocketAddr, own: SocketAddr },
    /// It speaks TLS, with a key that is not pinned.
    WrongKey,
    /// Its certificate ended before now, as our clock says. Seconds since 1970.
    Expired { not_after: u64, clock: u64 },
    /// Its certificate begins after now, as our clock says. Seconds since 1970.
    NotYetValid { not_before: u64, clock: u64 },
    /// Something answers that does not speak TLS 1.3.
    NotTls,
    /// It holds a pinned key, but does not say inside the channel what a beacon says.
    NotABeacon,
    /// The connection was refused or reset.
    Refused,
    /// The link has no way there.
    Unreachable,
    /// Nothing came back in time.
    NoAnswer,
}

impl Link {
    /// Whether traffic can flow: something at the other end, and an address that reaches beyond the link.
    pub fn usable(&self) -> bool {
        self.carrier && self.addresses.iter().any(|net| !link_local(net.addr()))
    }

    /// Whether `later` is this link with the same facts, as far as they say where it leads.
    pub(crate) fn is_unchanged(&self, later: &Self) -> bool {
        self.id == later.id
            && self.carrier == later.carrier
            && self.addresses == later.addresses
            && self.gateways == later.gateways
    }

    /// Whether `later` is this link in the same place: the network behind it was not changed, though an address
    /// may have come or gone, as IPv6 privacy addresses do every day.
    pub(crate) fn same_place(&self, later: &Self) -> bool {
        self.id == later.id
            && later.usable()
            && self.gateways == later.gateways
            && self
                .addresses
                .iter()
                .any(|net| !link_local(net.addr()) && later.addresses.contains(net))
    }

    /// Whether `later` is this link with another way out.
    pub(crate) fn has_other_gateways(&self, later: &Self) -> bool {
        self.id == later.id && self.gateways != later.gateways
    }

    /// What `later` says of who answers for the gateways: none of it is proof of anything.
    pub(crate) fn neighbours_in(&self, later: &Self) -> Neighbourhood {
        let heard = |gateway: &IpAddr, link: &Self| {
            let found = link.neighbours.iter().find(|it| it.gateway == *gateway);
            found.map(|it| it.address)
        };
        let of_gateway = |gateway: &IpAddr| match (heard(gateway, self), heard(gateway, later)) {
            (Some(earlier), Some(now)) if earlier != now => Neighbourhood::Replaced,
            (None, Some(_)) => Neighbourhood::Learnt,
            (Some(_), _) | (None, None) => Neighbourhood::Same,
        };
        let gateways = later.gateways.iter().map(of_gateway);
        gateways.max().unwrap_or(Neighbourhood::Same)
    }
}

/// How the link-layer addresses of a link's gateways have changed; the greatest change counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Neighbourhood {
    Same,
    /// One answers for the first time: the link has begun to carry.
    Learnt,
    /// Another one answers for the same address.
    Replaced,
}

/// What tells one network from another, as far as a laptop can see without asking: the next hops.
pub(crate) fn next_hops(links: &[Link]) -> Vec<IpAddr> {
    let mut hops: Vec<_> = links
        .iter()
        .filter(|link| link.usable())
        .flat_map(|link| link.gateways.clone())
        .collect();
    hops.sort();
    hops
}

fn link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}
