//! Where the laptop goes, and the links it is plugged in with: addresses, and what a router there offers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv6Net};

use super::{GATEWAY, WEB};
use crate::dhcp::Offer;

/// Where a link of the laptop can be plugged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Home,
    Phone,
    Cafe,
    Office,
    Guest,
    Annex,
    Branch,
}

impl Place {
    pub const ALL: [Place; 7] = [
        Place::Home,
        Place::Phone,
        Place::Cafe,
        Place::Office,
        Place::Guest,
        Place::Annex,
        Place::Branch,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Place::Home => "home",
            Place::Phone => "phone",
            Place::Cafe => "cafe",
            Place::Office => "office",
            Place::Guest => "guest",
            Place::Annex => "annex",
            Place::Branch => "branch",
        }
    }

    /// Whether it is a part of the internal network, addresses and all.
    pub fn is_inside(self) -> bool {
        match self {
            Place::Office | Place::Annex => true,
            Place::Home | Place::Phone | Place::Cafe | Place::Guest | Place::Branch => false,
        }
    }

    /// Router, laptop on Ethernet, laptop on Wi-Fi.
    fn addresses(self) -> [&'static str; 3] {
        match self {
            Place::Home => ["192.168.1.1/24", "192.168.1.50/24", "192.168.1.51/24"],
            Place::Phone => ["172.20.10.1/28", "172.20.10.2/28", "172.20.10.3/28"],
            Place::Cafe => ["192.168.178.1/24", "192.168.178.50/24", "192.168.178.51/24"],
            Place::Office => ["10.20.5.1/24", "10.20.5.50/24", "10.20.5.51/24"],
            Place::Guest => ["192.168.77.1/24", "192.168.77.50/24", "192.168.77.51/24"],
            Place::Annex => ["10.20.6.1/24", "10.20.6.50/24", "10.20.6.51/24"],
            Place::Branch => ["192.168.30.1/24", "192.168.30.50/24", "192.168.30.51/24"],
        }
    }

    /// The router's own, with the length of the prefix.
    pub fn router_address(self) -> IpNet {
        let [router, _, _] = self.addresses();
        router.parse().expect("the table above holds addresses")
    }

    /// The address by which the internet knows whoever is there.
    pub fn public_address(self) -> IpAddr {
        let host = match self {
            Place::Home => 11,
            Place::Phone => 12,
            Place::Cafe => 13,
            Place::Office | Place::Guest => 20,
            Place::Annex => 21,
            Place::Branch => 22,
        };
        IpAddr::V4(Ipv4Addr::new(198, 51, 100, host))
    }

    /// The place's IPv6 network. The offices alone have IPv6, as it often is.
    pub fn prefix_v6(self) -> Option<Ipv6Net> {
        let prefix = match self {
            Place::Office => "fd20:0:0:5::/64",
            Place::Annex => "fd20:0:0:6::/64",
            Place::Home | Place::Phone | Place::Cafe | Place::Guest | Place::Branch => return None,
        };
        Some(prefix.parse().expect("a prefix"))
    }

    /// What the router offers by DHCP, and knows by name. The guest network of the town hall calls itself what the office does.
    pub fn offer(self) -> Offer {
        let town = "ns.stadshuset.example.se";
        let (suffix, resolver) = match self {
            Place::Home => ("fritz.box", "fritz.box"),
            Place::Phone => ("", "phone"),
            Place::Cafe => ("cafe.example", "router.cafe.example"),
            Place::Office | Place::Guest | Place::Annex | Place::Branch => {
                ("stadshuset.example.se", town)
            }
        };
        let mut names = vec![
            (resolver, self.router_address().addr()),
            ("vpn.example.se", GATEWAY.ip()),
        ];
        if self.is_inside() {
            names.push(("intranet.example.se", WEB));
        }
        Offer {
            hosts: Port::ALL
                .map(|port| (port.mac(), port.address(self)))
                .to_vec(),
            prefix_v6: self.prefix_v6(),
            suffix,
            names,
            ..Offer::default()
        }
    }
}

/// A link of the laptop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    Ethernet,
    WiFi,
}

impl Port {
    pub const ALL: [Port; 2] = [Port::Ethernet, Port::WiFi];

    /// The interface's name on the laptop.
    pub fn interface(self) -> &'static str {
        match self {
            Port::Ethernet => "eth0",
            Port::WiFi => "wlan0",
        }
    }

    /// What its other end is called, in the router where it is plugged in.
    pub fn far_end(self) -> &'static str {
        match self {
            Port::Ethernet => "eth0-far",
            Port::WiFi => "wlan0-far",
        }
    }

    /// Its link-layer address.
    pub fn mac(self) -> &'static str {
        match self {
            Port::Ethernet => "02:00:00:00:00:50",
            Port::WiFi => "02:00:00:00:00:51",
        }
    }

    /// As NetworkManager sets them: cable before radio.
    pub fn metric(self) -> u32 {
        match self {
            Port::Ethernet => 100,
            Port::WiFi => 600,
        }
    }

    /// The address that the laptop has with this link in a place.
    pub fn address(self, place: Place) -> IpAddr {
        let [_, ethernet, wifi] = place.addresses();
        let net: IpNet = match self {
            Port::Ethernet => ethernet,
            Port::WiFi => wifi,
        }
        .parse()
        .expect("the table above holds addresses");
        net.addr()
    }

    /// The IPv6 address that it makes itself from the prefix of an office (RFC 4862, with EUI-64).
    pub fn address_v6(self, place: Place) -> Option<IpAddr> {
        let suffix = match self {
            Port::Ethernet => 0xff_fe00_0050,
            Port::WiFi => 0xff_fe00_0051,
        };
        let prefix = place.prefix_v6()?.network();
        Some(IpAddr::V6(Ipv6Addr::from_bits(prefix.to_bits() | suffix)))
    }
}
