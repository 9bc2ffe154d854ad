//! Where a laptop goes: networks as they truly are.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ipnet::IpNet;
use sluss_supervisor::{Link, LinkId, LinkLayerAddress, Medium, Neighbour, Outcome};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Network {
    Office,
    OfficeWifi,
    /// In the same building, and not inside.
    Guest,
    Home,
    /// Somebody chose the internal prefix for it.
    HomeLikeTheOffice,
    /// With a captive portal that answers to TLS, too.
    Hotel,
    /// Inside, but behind a translation of addresses that policy does not know.
    Branch,
    Phone,
    /// Inside, but no beacon lives.
    DeadOffice,
}

/// What a place is to the laptop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Truth {
    Nowhere,
    Inside,
    Outside,
}

impl Network {
    pub(crate) const WIRED: [Self; 6] = [
        Self::Office,
        Self::Office,
        Self::Home,
        Self::HomeLikeTheOffice,
        Self::Branch,
        Self::DeadOffice,
    ];
    pub(crate) const WIRELESS: [Self; 5] = [
        Self::OfficeWifi,
        Self::Guest,
        Self::Guest,
        Self::Home,
        Self::Hotel,
    ];

    pub(crate) fn truth(self) -> Truth {
        match self {
            Self::Office | Self::OfficeWifi => Truth::Inside,
            Self::Guest
            | Self::Home
            | Self::HomeLikeTheOffice
            | Self::Hotel
            | Self::Branch
            | Self::Phone
            | Self::DeadOffice => Truth::Outside,
        }
    }

    /// What becomes of a question to a beacon, and how soon.
    pub(crate) fn answer(self) -> (Outcome, Duration) {
        let late = Duration::from_secs(1);
        let soon = Duration::from_millis(20);
        match self {
            Self::Office | Self::OfficeWifi => (Outcome::Proved, soon),
            Self::Guest => (Outcome::Refused, soon),
            Self::Phone => (Outcome::Unreachable, soon),
            Self::Hotel => (Outcome::WrongKey, soon),
            Self::Home | Self::HomeLikeTheOffice | Self::DeadOffice => (Outcome::NoAnswer, late),
            Self::Branch => {
                let seen = ([10, 20, 255, 9], 40_000).into();
                let own = ([10, 44, 5, 7], 40_000).into();
                (Outcome::Relayed { seen, own }, soon)
            }
        }
    }

    /// Its first two octets.
    fn prefix(self) -> (u8, u8) {
        match self {
            Self::Office | Self::HomeLikeTheOffice => (10, 20),
            Self::OfficeWifi | Self::DeadOffice => (10, 21),
            Self::Branch => (10, 44),
            Self::Guest => (172, 16),
            Self::Home => (192, 168),
            Self::Hotel => (100, 64),
            Self::Phone => (172, 20),
        }
    }
}

/// One interface with what it is plugged into.
#[derive(Clone, Debug)]
pub(crate) struct Port {
    pub(crate) index: u32,
    pub(crate) network: Network,
    pub(crate) carrier: bool,
    pub(crate) addressed: bool,
    /// A switch may take its time after the carrier.
    pub(crate) forwards_at: Duration,
    /// Nothing of ours arrives until then, since somebody took over the gateway's address.
    pub(crate) swallowed_until: Duration,
    /// Who answers for the gateway, once anybody has.
    pub(crate) neighbour: Option<u8>,
    /// Privacy addresses that IPv6 has made.
    pub(crate) renewed: u16,
    pub(crate) gateway: u8,
}

impl Port {
    pub(crate) fn forwards(&self, now: Duration) -> bool {
        self.carrier && self.addressed && self.forwards_at <= now
    }

    pub(crate) fn link(&self) -> Link {
        let (a, b) = self.network.prefix();
        let gateway = IpAddr::V4(Ipv4Addr::new(a, b, 5, self.gateway));
        let own = IpNet::new(Ipv4Addr::new(a, b, 5, 7).into(), 24).expect("24 bits fit");
        let privacy = (self.renewed > 0).then(|| {
            let address = format!("2001:db8::{:x}/64", self.renewed);
            address.parse().expect("an address")
        });
        let (name, medium) = match (self.index, self.network) {
            (2, _) => ("eth0", Medium::Wired),
            (3, Network::Guest) => ("wlan0", Medium::Wireless { open: true }),
            (3, _) => ("wlan0", Medium::Wireless { open: false }),
            (_, _) => ("usb0", Medium::Mobile),
        };
        let addresses = self.addressed.then_some([Some(own), privacy]);
        Link {
            id: LinkId {
                index: self.index,
                name: name.to_owned(),
            },
            carrier: self.carrier,
            addresses: addresses.into_iter().flatten().flatten().collect(),
            gateways: self.addressed.then_some(gateway).into_iter().collect(),
            medium,
            metered: medium == Medium::Mobile,
            neighbours: self
                .neighbour
                .map(|hardware| Neighbour {
                    gateway,
                    address: LinkLayerAddress([2, 0, 0, 0, 0, hardware]),
                })
                .into_iter()
                .collect(),
        }
    }
}
