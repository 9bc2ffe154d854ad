//! What to make of addresses: which cannot be a gateway's, which a link can reach, and in which order they are called.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use sluss_supervisor::Link;

use super::nat64::Nat64Prefix;

/// Why an address that a resolver gave is not called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Objection {
    /// It is no other host's: loopback, link-local, multicast and the like.
    NotAHost,
    /// It lies in an internal prefix, and only the tunnel leads there.
    Internal(IpNet),
}

/// The families that a link's network speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Families {
    pub(crate) v4: bool,
    pub(crate) v6: bool,
}

impl Families {
    /// By the addresses of all these links. Links without any are yet to be heard of: they may speak both.
    pub(crate) fn of(links: &[Link]) -> Self {
        let addresses = || {
            links
                .iter()
                .flat_map(|link| &link.addresses)
                .map(IpNet::addr)
        };
        let v4 = addresses().any(|it| matches!(it, IpAddr::V4(v4) if !v4.is_link_local()));
        let v6 = addresses().any(|it| matches!(it, IpAddr::V6(v6) if !v6.is_unicast_link_local()));
        match (v4, v6) {
            (false, false) => Self { v4: true, v6: true },
            (v4, v6) => Self { v4, v6 },
        }
    }

    pub(crate) fn only_v6(self) -> bool {
        self.v6 && !self.v4
    }
}

/// Nothing is gained by an answer that leads astray, since only the gateway has its key; but no packet need be wasted on it.
pub(crate) fn objection(address: IpAddr, internal: &[IpNet]) -> Option<Objection> {
    let is_local = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast() || v4.octets()[0] == 0,
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.to_ipv4_mapped().is_some(),
    };
    if is_local || address.is_loopback() || address.is_multicast() || address.is_unspecified() {
        return Some(Objection::NotAHost);
    }
    let prefix = internal.iter().find(|prefix| prefix.contains(&address));
    prefix.copied().map(Objection::Internal)
}

/// As the network reaches it: an IPv4 address by NAT64 where there is no IPv4. Without a prefix that was found, by the
/// one that most NAT64s use.
pub(crate) fn reached(address: IpAddr, families: Families, nat64: &[Nat64Prefix]) -> Vec<IpAddr> {
    match address {
        IpAddr::V4(host) if families.only_v6() => match nat64 {
            [] => vec![Nat64Prefix::WELL_KNOWN.synthesise(host).into()],
            found => found
                .iter()
                .map(|prefix| prefix.synthesise(host).into())
                .collect(),
        },
        address => vec![address],
    }
}

/// The order of calls: families by turns, IPv6 first (RFC 8305, 4), each address once. Of a family that the network does
/// not speak none is called, unless there is no other.
pub(crate) fn in_order(
    addresses: impl IntoIterator<Item = SocketAddr>,
    families: Families,
) -> Vec<SocketAddr> {
    let (mut v6, mut v4) = (Vec::new(), Vec::new());
    for address in addresses {
        let family = if address.is_ipv6() { &mut v6 } else { &mut v4 };
        if !family.contains(&address) {
            family.push(address);
        }
    }
    if !families.v4 && !v6.is_empty() {
        v4.clear();
    }
    if !families.v6 && !v4.is_empty() {
        v6.clear();
    }
    let longest = v6.len().max(v4.len());
    (0..longest)
        .flat_map(|turn| [v6.get(turn), v4.get(turn)])
        .flatten()
        .copied()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Families = Families { v4: true, v6: true };
    const ONLY_V4: Families = Families {
        v4: true,
        v6: false,
    };
    const ONLY_V6: Families = Families {
        v4: false,
        v6: true,
    };

    fn ordered(addresses: &[&str], families: Families) -> Vec<String> {
        let addresses = addresses.iter().map(|it| it.parse().unwrap());
        let addresses = in_order(addresses, families);
        addresses.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn families_take_turns_and_ipv6_begins() {
        let addresses = [
            "192.0.2.1:1",
            "192.0.2.2:1",
            "192.0.2.3:1",
            "[2001:db8::1]:1",
            "192.0.2.1:1",
        ];
        assert_eq!(
            ordered(&addresses, BOTH),
            [
                "[2001:db8::1]:1",
                "192.0.2.1:1",
                "192.0.2.2:1",
                "192.0.2.3:1"
            ]
        );
        assert_eq!(ordered(&addresses, ONLY_V6), ["[2001:db8::1]:1"]);
        assert_eq!(
            ordered(&addresses, ONLY_V4),
            ["192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1"]
        );
        assert_eq!(
            ordered(&["192.0.2.1:1"], ONLY_V6),
            ["192.0.2.1:1"],
            "better an address that may not be reached than none"
        );
    }

    #[test]
    fn what_is_no_gateways_address_is_not_called() {
        let internal: Vec<IpNet> = ["10.20.0.0/16", "fd20::/48"]
            .map(|it| it.parse().unwrap())
            .into();
        let judged = |address: &str| objection(address.parse().unwrap(), &internal);
        for address in [
            "198.51.100.2",
            "2001:db8::2",
            "192.168.1.5",
            "10.21.0.1",
            "fd21::1",
        ] {
            assert_eq!(judged(address), None, "{address}");
        }
        for address in [
            "127.0.0.1",
            "0.0.0.0",
            "0.1.2.3",
            "255.255.255.255",
            "224.0.0.1",
            "169.254.1.1",
            "::",
            "::1",
            "::ffff:198.51.100.2",
            "fe80::1",
            "ff02::1",
        ] {
            assert_eq!(judged(address), Some(Objection::NotAHost), "{address}");
        }
        assert_eq!(judged("10.20.3.4"), Some(Objection::Internal(internal[0])));
        assert_eq!(judged("fd20::53"), Some(Objection::Internal(internal[1])));
    }

    #[test]
    fn ipv4_is_reached_by_nat64_where_there_is_no_other_way() {
        let shown = |families, nat64: &[Nat64Prefix]| {
            let addresses = reached("198.51.100.2".parse().unwrap(), families, nat64);
            addresses
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(shown(BOTH, &[]), ["198.51.100.2"]);
        assert_eq!(shown(ONLY_V6, &[]), ["64:ff9b::c633:6402"]);
        let known: IpAddr = "2001:db8:64::c000:aa".parse().unwrap();
        let found = Nat64Prefix::discover(&[known]);
        assert_eq!(shown(ONLY_V6, &found), ["2001:db8:64::c633:6402"]);
        assert_eq!(shown(BOTH, &found), ["198.51.100.2"]);
    }
}
