//! The first two checks, which need no daemon: who runs them only has to know the laptop's links.

use std::net::IpAddr;

use super::{LinkAddress, Seen};
use crate::{Link, Medium};

/// A link, also one that cannot carry packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkFacts {
    pub link: Link,
    /// Something is at the other end.
    pub carrier: bool,
    /// Somebody there sends packets on.
    pub has_router: bool,
}

/// [`super::Check::Link`].
pub fn link(links: &[LinkFacts]) -> Seen {
    let connected = connected(links).map(|it| it.link.clone());
    let connected: Vec<Link> = connected.collect();
    let is_open = |link: &&Link| link.medium == Medium::Wireless { open: true };
    let open: Vec<Link> = connected.iter().filter(is_open).cloned().collect();
    if connected.is_empty() {
        Seen::NoLink
    } else if open.is_empty() {
        Seen::LinkUp { links: connected }
    } else {
        Seen::OpenWifi { links: open }
    }
}

/// [`super::Check::Address`].
pub fn address(links: &[LinkFacts]) -> Seen {
    let given = addresses(links, |own| !is_link_local(own));
    // Every link has one of IPv6; one of IPv4 is made up where nobody gives any (RFC 3927, 1.4).
    let made_up = addresses(links, |own| own.is_ipv4() && is_link_local(own));
    if given.is_empty() && !made_up.is_empty() {
        Seen::OnlyLinkLocal { addresses: made_up }
    } else if given.is_empty() {
        Seen::NoAddress {
            links: connected(links).map(|it| it.link.name.clone()).collect(),
        }
    } else if connected(links).any(|it| it.has_router) {
        Seen::AddressGiven { addresses: given }
    } else {
        Seen::NoRouter { addresses: given }
    }
}

fn connected(links: &[LinkFacts]) -> impl Iterator<Item = &LinkFacts> {
    links.iter().filter(|it| it.carrier)
}

fn addresses(links: &[LinkFacts], wanted: fn(&IpAddr) -> bool) -> Vec<LinkAddress> {
    let of_link = |it: &LinkFacts| {
        let wanted = it.link.addresses.iter().filter(|own| wanted(own));
        let addresses = wanted.map(|own| LinkAddress {
            link: it.link.name.clone(),
            address: *own,
        });
        addresses.collect::<Vec<_>>()
    };
    connected(links).flat_map(of_link).collect()
}

/// RFC 3927; RFC 4291, 2.5.6.
fn is_link_local(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}
