//! Network links as the operating system tells them, and what probes found on them.

use std::fmt;
use std::net::IpAddr;

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

/// What one beacon said, or did not say, on one link.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Evidence {
    pub link: LinkId,
    /// The beacon's name in the policy.
    pub beacon: String,
    pub outcome: Outcome,
    pub at: Time,
}

/// Only `Proved` is proof. The rest says why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It showed that it holds a pinned key.
    Proved,
    /// It speaks TLS, with a key that is not pinned.
    WrongKey,
    /// Something answers that does not speak TLS 1.3.
    NotTls,
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
