//! How a laptop knows that it is inside: the beacons, how many of them it takes, and what follows.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::document::Document;
use crate::hosts::{reachable, socket_address};
use crate::policy::{array, quoted};
use crate::values::{Words, integer, label, list, one_of, text, word};
use crate::{Pin, ValueError};

/// Section `[location]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocationRules {
    /// The least evidence that counts.
    pub require: BeaconKind,
    /// So many beacons of one site must prove themselves; at least 1.
    pub quorum: usize,
    pub inside: WhenInside,
}

/// What answers at a beacon's address. The later one is worth more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BeaconKind {
    /// Any TLS 1.3 server, which proves that it was reached.
    Tls,
    /// `sluss-beacon`, which also tells whether it was reached directly.
    Beacon,
}

/// What the proof of being inside leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WhenInside {
    /// The internal network is used as it is.
    NoTunnel,
    /// The tunnel stays: the local network is trusted with nothing.
    TunnelAnyway,
}

/// Section `[[beacon]]`: a TLS endpoint that only the internal network can reach, known by its key or certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beacon {
    pub name: String,
    pub kind: BeaconKind,
    /// One server's, at least one; any of them will do.
    pub addresses: Vec<SocketAddr>,
    /// At least one; several while a key is being changed.
    pub pins: Vec<Pin>,
    /// Beacons of one site count together; those without one are a site, too.
    pub site: Option<String>,
    /// Source addresses that it may see instead of ours.
    pub nat: Vec<IpAddr>,
}

const KINDS: Words<BeaconKind> = &[("beacon", BeaconKind::Beacon), ("tls", BeaconKind::Tls)];

const WHEN_INSIDE: Words<WhenInside> = &[
    ("no-tunnel", WhenInside::NoTunnel),
    ("tunnel-anyway", WhenInside::TunnelAnyway),
];

impl LocationRules {
    /// Whether evidence of this kind counts.
    pub fn accepts(&self, kind: BeaconKind) -> bool {
        kind >= self.require
    }

    pub(crate) fn build(document: &mut Document<'_>) -> Self {
        let default = Self::default();
        let quorum = document.optional("location.quorum", integer(1..=32));
        Self {
            require: document
                .optional("location.require", text(one_of(KINDS)))
                .unwrap_or(default.require),
            quorum: quorum
                .and_then(|quorum| usize::try_from(quorum).ok())
                .unwrap_or(default.quorum),
            inside: document
                .optional("location.inside", text(one_of(WHEN_INSIDE)))
                .unwrap_or(default.inside),
        }
    }

    /// Refuses what nobody could ever prove: such a policy would say that the office is outside.
    pub(crate) fn reject_impossible(&self, beacons: &[Beacon], document: &mut Document<'_>) {
        let counts = |beacon: &&Beacon| self.accepts(beacon.kind);
        if self.require != BeaconKind::Tls && beacons.iter().find(counts).is_none() {
            let kind = word(KINDS, self.require);
            document.reject("location.require", ValueError::NoSuchBeacon { kind });
            return;
        }
        let mut sites: BTreeMap<Option<&str>, usize> = BTreeMap::new();
        for beacon in beacons {
            *sites.entry(beacon.site.as_deref()).or_default() +=
                usize::from(self.accepts(beacon.kind));
        }
        if sites.is_empty() && self.quorum > 1 {
            sites.insert(None, 0);
        }
        let weakest = sites
            .into_iter()
            .find(|(_, beacons)| *beacons < self.quorum);
        if let Some((site, found)) = weakest {
            let reason = ValueError::TooFewBeacons {
                site: site.map(str::to_owned),
                found,
                quorum: self.quorum,
            };
            document.reject("location.quorum", reason);
        }
    }
}

impl Default for LocationRules {
    fn default() -> Self {
        Self {
            require: BeaconKind::Tls,
            quorum: 1,
            inside: WhenInside::NoTunnel,
        }
    }
}

impl Beacon {
    /// Whether it shows its key alone (RFC 7250), with no certificate to expire: if a key is all that is pinned of it.
    pub fn shows_key_alone(&self) -> bool {
        let pins_keys = self.pins.iter().all(|pin| matches!(pin, Pin::Key(_)));
        self.kind == BeaconKind::Beacon && pins_keys
    }

    /// All of them; there may be none.
    pub(crate) fn build_all(document: &mut Document<'_>) -> Vec<Self> {
        let (mut names, mut addresses) = (HashSet::new(), HashSet::new());
        document.sections("beacon", 32, |document| {
            let beacon = Self::build(document)?;
            if !names.insert(beacon.name.clone()) {
                document.reject("beacon.name", ValueError::Duplicate(beacon.name.clone()));
            }
            for address in &beacon.addresses {
                if !addresses.insert(*address) {
                    let again = address.to_string();
                    document.reject("beacon.addresses", ValueError::Duplicate(again));
                }
            }
            Some(beacon)
        })
    }

    fn build(document: &mut Document<'_>) -> Option<Self> {
        let name = document.required("beacon.name", text(label));
        let kind = document
            .optional("beacon.kind", text(one_of(KINDS)))
            .unwrap_or(BeaconKind::Beacon);
        let addresses = document.required("beacon.addresses", list(8, socket_address));
        let pins = document.required("beacon.pins", list(8, str::parse));
        let site = document.optional("beacon.site", text(label));
        let nat = document.optional("beacon.nat", list(16, reachable));

        if nat.is_some() && kind == BeaconKind::Tls {
            let setting = "kind = \"beacon\", which tells what it sees";
            document.reject("beacon.nat", ValueError::OnlyWith { setting });
        }
        Some(Self {
            name: name?,
            kind,
            addresses: addresses?,
            pins: pins?,
            site,
            nat: nat.unwrap_or_default(),
        })
    }
}

/// The section `[location]`.
impl fmt::Display for LocationRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            require,
            quorum,
            inside,
        } = self;
        writeln!(f, "[location]\nrequire = \"{require}\"")?;
        writeln!(f, "quorum = {quorum}")?;
        writeln!(f, "inside = \"{}\"", word(WHEN_INSIDE, *inside))
    }
}

impl fmt::Display for BeaconKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(word(KINDS, *self))
    }
}

/// One section `[[beacon]]`.
impl fmt::Display for Beacon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            kind,
            addresses,
            pins,
            site,
            nat,
        } = self;
        writeln!(f, "[[beacon]]\nname = {}", quoted(name))?;
        writeln!(f, "kind = \"{kind}\"")?;
        writeln!(f, "addresses = {}", array(addresses))?;
        writeln!(f, "pins = {}", array(pins))?;
        if let Some(site) = site {
            writeln!(f, "site = {}", quoted(site))?;
        }
        if !nat.is_empty() {
            writeln!(f, "nat = {}", array(nat))?;
        }
        Ok(())
    }
}
