//! Where the laptop is, and how that is known: links, evidence, the rules that judge it, and the login page of a network.

use std::net::{IpAddr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the laptop is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Location {
    /// No link has both a carrier and an address.
    Offline,
    /// The laptop is about to sleep, or has just woken.
    Asleep,
    /// The network changes; a probe follows when it is quiet.
    Settling,
    /// Beacons are being asked.
    Probing,
    /// A beacon proved, on this link, that this is the internal network.
    Inside {
        link: Option<String>,
        beacon: Option<String>,
    },
    /// No proof of being inside.
    Outside {
        reason: OutsideReason,
        /// The links on which a beacon was looked for; empty if redacted.
        links: Vec<String>,
    },
}

/// Why the laptop counts as outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OutsideReason {
    /// The policy names no beacon.
    NoBeacon,
    /// No beacon proved itself; the evidence says how each failed.
    NoProof,
    /// Only servers proved themselves whose rank the policy does not take for proof.
    WeakProof,
    /// Fewer beacons of one site proved themselves than the policy wants.
    TooFewProofs {
        /// The most that any site had on one link.
        proved: u8,
        needed: u8,
    },
    /// A beacon proved itself once, and then not again.
    NotConfirmed,
    /// The probe did not end in time.
    ProbeOverdue,
}

/// What policy makes of the evidence, and of being inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LocationRules {
    /// The least that counts as proof.
    pub require: BeaconKind,
    /// How many beacons of one site must prove themselves.
    pub quorum: u8,
    pub inside: InsideRule,
    /// How long a beacon may take to answer.
    pub probe_timeout_ms: u64,
}

/// What a beacon is, the lesser proof first.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum BeaconKind {
    /// Any TLS server with a pinned key.
    Tls,
    /// One that also tells from where it was asked, which shows a relay.
    Beacon,
}

/// What follows from being inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum InsideRule {
    NoTunnel,
    /// The tunnel stays up although the proof holds.
    TunnelAnyway,
}

/// A network link that could carry packets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Link {
    pub name: String,
    pub medium: Medium,
    /// What is sent here costs, as far as the system knows.
    pub metered: bool,
    pub addresses: Vec<IpAddr>,
}

/// What a link is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Medium {
    Wired,
    Wireless {
        /// Anybody nearby can read along: the network has no password.
        open: bool,
    },
    Mobile,
}

/// One address of one beacon, asked on one link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    pub link: String,
    /// The name that policy gives the beacon.
    pub beacon: String,
    pub kind: BeaconKind,
    /// The building or town that policy puts it in.
    pub site: Option<String>,
    pub address: SocketAddr,
    pub outcome: Outcome,
    pub age_ms: u64,
}

/// How a probe ended. Times are those of the wall clock, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "code", rename_all = "kebab-case")]
pub enum Outcome {
    /// The beacon proved its key, and saw the laptop where it is.
    Proved,
    /// The beacon proved its key, but was asked from another address than the laptop's: something stands in between.
    Relayed {
        /// As the beacon saw it.
        seen: SocketAddr,
        /// As the laptop sent it.
        own: SocketAddr,
    },
    /// Another key.
    WrongKey,
    /// The certificate ended before the laptop's clock says that it is.
    Expired {
        not_after_unix_s: u64,
        clock_unix_s: u64,
    },
    /// The certificate begins after what the laptop's clock says that it is.
    NotYetValid {
        not_before_unix_s: u64,
        clock_unix_s: u64,
    },
    /// Something answered that does not speak TLS 1.3, or failed in it.
    NotTls,
    /// The key is right, but what was said then is not what a beacon says.
    NotABeacon,
    /// Connection refused or reset.
    Refused,
    /// No route, or an ICMP error.
    Unreachable,
    /// Nothing came in time.
    NoAnswer,
}

/// The page on which a network wants a login before it lets anything through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Portal {
    /// None is known.
    Absent,
    /// There is one.
    Found {
        /// None if redacted.
        page: Option<PortalPage>,
        /// Whether `sluss portal` may open the way to it: by policy, and if it has not been open for as long as it may.
        may_open: bool,
    },
    /// There is one, and the way to it is open.
    Open {
        /// None if redacted.
        page: Option<PortalPage>,
        left_ms: u64,
        /// Whether the time can be had once more.
        renewable: bool,
    },
}

/// Where the login page is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PortalPage {
    pub link: String,
    /// What policy probes: a browser that goes there is led to the page.
    pub url: String,
    /// Where the network sends browsers, as it says itself.
    pub login: Option<String>,
}

impl Outcome {
    /// Whether it says as much as can be said: proof, or nobody there. What is left raises a question.
    pub fn is_proof_or_silence(self) -> bool {
        match self {
            Self::Proved | Self::Refused | Self::Unreachable | Self::NoAnswer => true,
            Self::Relayed { .. }
            | Self::WrongKey
            | Self::Expired { .. }
            | Self::NotYetValid { .. }
            | Self::NotTls
            | Self::NotABeacon => false,
        }
    }
}

impl Location {
    pub(crate) fn redact(self) -> Self {
        match self {
            Self::Inside { .. } => Self::Inside {
                link: None,
                beacon: None,
            },
            Self::Outside { reason, .. } => Self::Outside {
                reason,
                links: Vec::new(),
            },
            Self::Offline | Self::Asleep | Self::Settling | Self::Probing => self,
        }
    }
}

impl Portal {
    /// Whether it says the same as `before`; that time passes is no news.
    pub(crate) fn is_as_told(&self, before: &Self) -> bool {
        let timeless = |portal: &Self| match portal.clone() {
            Self::Open {
                page, renewable, ..
            } => Self::Open {
                page,
                left_ms: 0,
                renewable,
            },
            told @ (Self::Absent | Self::Found { .. }) => told,
        };
        timeless(self) == timeless(before)
    }

    pub(crate) fn redact(self) -> Self {
        match self {
            Self::Absent => Self::Absent,
            Self::Found { may_open, .. } => Self::Found {
                page: None,
                may_open,
            },
            Self::Open {
                left_ms, renewable, ..
            } => Self::Open {
                page: None,
                left_ms,
                renewable,
            },
        }
    }
}
