//! IPv4 hosts as a network that has IPv6 alone reaches them: its NAT64's prefix, and addresses made with it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The name whose IPv4 addresses everybody knows, so that a DNS64's answer gives its prefix away (RFC 7050, 3).
pub(crate) const WELL_KNOWN_NAME: &str = "ipv4only.arpa";

const WELL_KNOWN_ADDRESSES: [Ipv4Addr; 2] =
    [Ipv4Addr::new(192, 0, 0, 170), Ipv4Addr::new(192, 0, 0, 171)];

/// In front of an IPv4 address, it makes an IPv6 address of it (RFC 6052).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nat64Prefix {
    /// Its bits, and nothing behind them.
    address: Ipv6Addr,
    length: Length,
}

/// How long a prefix can be, in bits (RFC 6052, 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Of32,
    Of40,
    Of48,
    Of56,
    Of64,
    Of96,
}

impl Nat64Prefix {
    /// 64:ff9b::/96, which most NAT64s use (RFC 6052, 2.1).
    pub const WELL_KNOWN: Self = Self {
        address: Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0),
        length: Length::Of96,
    };

    /// The prefixes that the addresses of [`WELL_KNOWN_NAME`] were made with, each once.
    ///
    /// An address in which both well-known ones could be seen would be read by the longest prefix (RFC 7050, 3).
    pub(crate) fn discover(answer: &[IpAddr]) -> Vec<Self> {
        let mut prefixes = Vec::new();
        for address in answer {
            let IpAddr::V6(address) = address else {
                continue;
            };
            let made_with = |length: &Length| {
                let known = length.extract(*address);
                known.is_some_and(|known| WELL_KNOWN_ADDRESSES.contains(&known))
            };
            let Some(length) = Length::LONGEST_FIRST.into_iter().find(made_with) else {
                continue;
            };
            let prefix = Self {
                address: length.prefix_of(*address),
                length,
            };
            if !prefixes.contains(&prefix) {
                prefixes.push(prefix);
            }
        }
        prefixes
    }

    /// The address that stands for `host` behind this prefix.
    pub fn synthesise(self, host: Ipv4Addr) -> Ipv6Addr {
        let mut octets = self.address.octets();
        for (place, octet) in self.length.places().into_iter().zip(host.octets()) {
            octets[place] = octet;
        }
        octets.into()
    }
}

impl Length {
    const LONGEST_FIRST: [Self; 6] = [
        Self::Of96,
        Self::Of64,
        Self::Of56,
        Self::Of48,
        Self::Of40,
        Self::Of32,
    ];

    /// Which octets hold the IPv4 address (RFC 6052, 2.2): octet 8 is always left out.
    fn places(self) -> [usize; 4] {
        match self {
            Self::Of32 => [4, 5, 6, 7],
            Self::Of40 => [5, 6, 7, 9],
            Self::Of48 => [6, 7, 9, 10],
            Self::Of56 => [7, 9, 10, 11],
            Self::Of64 => [9, 10, 11, 12],
            Self::Of96 => [12, 13, 14, 15],
        }
    }

    /// The IPv4 address in `address`, if octet 8 is the zero that it must be.
    fn extract(self, address: Ipv6Addr) -> Option<Ipv4Addr> {
        let octets = address.octets();
        let host = self.places().map(|place| octets[place]);
        (octets[8] == 0).then(|| host.into())
    }

    fn prefix_of(self, address: Ipv6Addr) -> Ipv6Addr {
        let bits = match self {
            Self::Of32 => 32,
            Self::Of40 => 40,
            Self::Of48 => 48,
            Self::Of56 => 56,
            Self::Of64 => 64,
            Self::Of96 => 96,
        };
        Ipv6Addr::from_bits(address.to_bits() & !(u128::MAX >> bits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 6052, 2.4.
    #[test]
    fn every_length_is_written_as_the_rfc_writes_it() {
        let host = Ipv4Addr::new(192, 0, 2, 33);
        for (length, prefix, address) in [
            (Length::Of32, "2001:db8::", "2001:db8:c000:221::"),
            (Length::Of40, "2001:db8:100::", "2001:db8:1c0:2:21::"),
            (Length::Of48, "2001:db8:122::", "2001:db8:122:c000:2:2100::"),
            (
                Length::Of56,
                "2001:db8:122:300::",
                "2001:db8:122:3c0:0:221::",
            ),
            (
                Length::Of64,
                "2001:db8:122:344::",
                "2001:db8:122:344:c0:2:2100::",
            ),
            (
                Length::Of96,
                "2001:db8:122:344::",
                "2001:db8:122:344::192.0.2.33",
            ),
        ] {
            let address: Ipv6Addr = address.parse().unwrap();
            let prefix = Nat64Prefix {
                address: prefix.parse().unwrap(),
                length,
            };
            assert_eq!(prefix.synthesise(host), address);
            assert_eq!(length.extract(address), Some(host));
            assert_eq!(length.prefix_of(address), prefix.address);
        }
        let well_known = Nat64Prefix::WELL_KNOWN.synthesise(host);
        assert_eq!(well_known.to_string(), "64:ff9b::c000:221");
    }

    #[test]
    fn a_prefix_is_seen_in_the_address_of_the_name_that_has_none() {
        for prefix in ["2001:db8:100::", "2001:db8:122:344::", "64:ff9b::"] {
            for length in Length::LONGEST_FIRST {
                let address: Ipv6Addr = prefix.parse().unwrap();
                let prefix = Nat64Prefix {
                    address: length.prefix_of(address),
                    length,
                };
                let answer = WELL_KNOWN_ADDRESSES.map(|host| prefix.synthesise(host).into());
                assert_eq!(Nat64Prefix::discover(&answer), [prefix], "{answer:?}");
            }
        }
    }

    #[test]
    fn other_addresses_give_no_prefix() {
        for address in ["192.0.0.170", "2001:db8::1", "::", "2001:db8:c000:aa:100::"] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(Nat64Prefix::discover(&[address]), [], "{address}");
        }
    }
}
