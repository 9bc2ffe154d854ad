//! What `sluss doctor` found: each check with a stable code, a verdict, and what was seen.

mod links;

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    CardFault, CardKind, DownReason, Endpoint, Evidence, Link, LocationRules, PathMtu, PortalPage,
    ResolutionFault, SCHEMA,
};

pub use links::{LinkFacts, address, link};

/// All checks, from the link to the internal name: what `sluss doctor --json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Diagnosis {
    /// The version of this schema.
    #[schemars(extend("const" = SCHEMA))]
    pub schema: u32,
    /// In the order in which a packet would meet what they check.
    pub findings: Vec<Finding>,
    /// Whom to turn to, if policy says so.
    pub support: Option<Support>,
    /// The version of who made the checks.
    pub version: String,
}

impl Diagnosis {
    /// Whether nothing failed. A warning is not a failure.
    pub fn is_fine(&self) -> bool {
        self.findings
            .iter()
            .all(|finding| finding.verdict != Verdict::Failed)
    }
}

/// Section `[support]` of the policy, in the policy's own words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Support {
    pub phone: Option<String>,
    pub web: Option<String>,
    /// The way round when the VPN is down.
    pub detour: Option<String>,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    pub check: Check,
    pub verdict: Verdict,
    pub seen: Seen,
}

impl Finding {
    /// The check was not made, since one that comes first failed.
    pub fn not_run(check: Check, because: Check) -> Self {
        Self {
            check,
            verdict: Verdict::NotRun,
            seen: Seen::NotRun { because },
        }
    }
}

/// What is checked. The codes are stable: `docs/doctor.md` has each with cause and cure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// The daemon runs, and may open the tunnel.
    Daemon,
    /// A network card has a carrier.
    Link,
    /// The network has given the laptop an address.
    Address,
    /// The network wants no login first.
    CaptivePortal,
    /// The laptop's clock is right.
    Clock,
    /// The network's resolver knows the gateway.
    Resolver,
    /// What the beacons say of where the laptop is.
    Beacon,
    /// Routes and firewall are set.
    Host,
    /// The laptop is bound to a card.
    Enrolment,
    /// The card serves.
    Card,
    /// The card has its PIN.
    Pin,
    /// The gateway is heard of by UDP.
    GatewayUdp,
    /// The gateway and the laptop agree on keys.
    Handshake,
    /// Long packets arrive.
    PathMtu,
    /// An internal name has an address.
    InternalDns,
}

impl Check {
    /// In the order in which a packet would meet them.
    pub const ALL: [Self; 15] = [
        Self::Daemon,
        Self::Link,
        Self::Address,
        Self::CaptivePortal,
        Self::Clock,
        Self::Resolver,
        Self::Beacon,
        Self::Host,
        Self::Enrolment,
        Self::Card,
        Self::Pin,
        Self::GatewayUdp,
        Self::Handshake,
        Self::PathMtu,
        Self::InternalDns,
    ];

    /// As JSON has it, and as people tell each other in every language.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Daemon => "daemon",
            Self::Link => "link",
            Self::Address => "address",
            Self::CaptivePortal => "captive-portal",
            Self::Clock => "clock",
            Self::Resolver => "resolver",
            Self::Beacon => "beacon",
            Self::Host => "host",
            Self::Enrolment => "enrolment",
            Self::Card => "card",
            Self::Pin => "pin",
            Self::GatewayUdp => "gateway-udp",
            Self::Handshake => "handshake",
            Self::PathMtu => "path-mtu",
            Self::InternalDns => "internal-dns",
        }
    }
}

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Ok,
    /// It works, and somebody should look at it.
    Warning,
    Failed,
    /// There is nothing to check here.
    NotApplicable,
    /// A check that comes first failed.
    NotRun,
}

/// An address and the link that has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LinkAddress {
    pub link: String,
    pub address: IpAddr,
}

/// With what the laptop's clock was compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ClockWitness {
    /// The dates in the certificate of a beacon that proved its key.
    Certificate,
    /// The system's own time service, which says that it has set the clock.
    TimeService,
    /// The server of the portal probe. It told the time in clear, which anybody on the way can forge.
    ProbeServer,
}

/// What a check saw. Each word belongs to one [`Check`] and has one [`Verdict`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "code", rename_all = "kebab-case")]
pub enum Seen {
    NotRun {
        because: Check,
    },
    /// Inside, where the tunnel has nothing to do.
    TunnelNotNeeded,

    DaemonRuns,
    DaemonSilent,
    StoppedByUser,

    LinkUp {
        links: Vec<Link>,
    },
    OpenWifi {
        links: Vec<Link>,
    },
    NoLink,

    AddressGiven {
        addresses: Vec<LinkAddress>,
    },
    /// An address, but nobody to send packets on to.
    NoRouter {
        addresses: Vec<LinkAddress>,
    },
    /// Only addresses that the laptop made up for itself, since nobody gave it one.
    OnlyLinkLocal {
        addresses: Vec<LinkAddress>,
    },
    NoAddress {
        links: Vec<String>,
    },

    NoPortal,
    PortalFound {
        page: PortalPage,
    },
    PortalOpen {
        page: PortalPage,
        left_ms: u64,
    },
    /// The probe that would have found one got no answer.
    PortalUnknown,
    /// Policy has no probe.
    PortalNotLookedFor,

    /// Right, as far as the witness reaches.
    ClockAgrees {
        witness: ClockWitness,
    },
    /// Outside the dates of a beacon's certificate: one of the two is wrong.
    ClockOff {
        clock_unix_s: u64,
        /// The end, or the beginning, of the certificate.
        certificate_unix_s: u64,
    },
    /// Not as the server of the portal probe has it, which told the time in clear: a hint and no proof.
    ClockDiffers {
        clock_unix_s: u64,
        server_unix_s: u64,
    },
    /// The system's time service says that it has not set the clock.
    ClockNotSet,
    /// Nothing at hand tells the time.
    ClockUnwitnessed,

    NameResolved {
        name: String,
        addresses: Vec<IpAddr>,
    },
    /// Not resolved, and the addresses that policy gives for this case are used.
    NameByFallback {
        name: String,
        fault: ResolutionFault,
    },
    NameNotResolved {
        name: String,
        fault: ResolutionFault,
    },
    /// Policy gives the gateway's addresses themselves.
    NoNameNeeded,

    /// The proof holds.
    ProvedInside {
        evidence: Vec<Evidence>,
    },
    /// No beacon answers, as it should be outside.
    NoBeaconHere {
        evidence: Vec<Evidence>,
    },
    /// Something answers in the place of a beacon, and does not count as proof.
    BeaconInDoubt {
        evidence: Vec<Evidence>,
        rules: LocationRules,
    },
    /// Policy names none.
    NoBeaconKnown,

    HostSet,
    HostNotSet,

    Enrolled,
    NotEnrolled,

    CardServes {
        kind: CardKind,
        serial: String,
    },
    CardSlow,
    NoCard,
    NoCardService,
    CardUnusable {
        fault: CardFault,
    },

    PinGiven,
    PinNeeded,
    PinBlocked,
    /// Given, and few tries are left for the next time.
    FewTries {
        tries_left: u8,
    },

    /// The gateway's answers arrive.
    GatewayHeard {
        endpoint: Endpoint,
    },
    /// It does, but one that comes first does not answer.
    GatewayDetour {
        endpoint: Endpoint,
        silent: Vec<Endpoint>,
    },
    GatewaySilent {
        endpoints: Vec<Endpoint>,
    },
    /// Nothing is sent to it now.
    GatewayNotCalled {
        reason: DownReason,
    },

    HandshakeDone {
        age_ms: u64,
    },
    /// The gateway has answered before, and does not now.
    HandshakeUnanswered {
        count: u32,
    },
    /// Called a moment ago, and not yet heard of.
    GatewayAwaited,

    PathWhole {
        path: PathMtu,
    },
    PathShort {
        path: PathMtu,
    },
    PathTooNarrow {
        path: PathMtu,
    },
    PathUnknown,

    InternalNameResolved {
        name: String,
        addresses: Vec<IpAddr>,
    },
    /// It has addresses, and none of them is internal.
    InternalNameForeign {
        name: String,
        addresses: Vec<IpAddr>,
    },
    InternalNameUnknown {
        name: String,
        fault: ResolutionFault,
    },
    /// Policy names none to try.
    NoInternalName,
}

impl Seen {
    /// As the finding of the check that it belongs to.
    pub fn of(self, check: Check) -> Finding {
        Finding {
            check,
            verdict: self.verdict(),
            seen: self,
        }
    }

    /// What it means.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::DaemonRuns
            | Self::LinkUp { .. }
            | Self::AddressGiven { .. }
            | Self::NoPortal
            | Self::ClockAgrees { .. }
            | Self::NameResolved { .. }
            | Self::ProvedInside { .. }
            | Self::NoBeaconHere { .. }
            | Self::HostSet
            | Self::Enrolled
            | Self::CardServes { .. }
            | Self::PinGiven
            | Self::GatewayHeard { .. }
            | Self::HandshakeDone { .. }
            | Self::PathWhole { .. }
            | Self::PathShort { .. }
            | Self::InternalNameResolved { .. } => Verdict::Ok,
            Self::StoppedByUser
            | Self::ClockOff { .. }
            | Self::ClockDiffers { .. }
            | Self::ClockNotSet
            | Self::OpenWifi { .. }
            | Self::NoRouter { .. }
            | Self::PortalOpen { .. }
            | Self::PortalUnknown
            | Self::NameByFallback { .. }
            | Self::BeaconInDoubt { .. }
            | Self::CardSlow
            | Self::FewTries { .. }
            | Self::GatewayDetour { .. }
            | Self::GatewayAwaited
            | Self::InternalNameForeign { .. } => Verdict::Warning,
            Self::DaemonSilent
            | Self::NoLink
            | Self::OnlyLinkLocal { .. }
            | Self::NoAddress { .. }
            | Self::PortalFound { .. }
            | Self::NameNotResolved { .. }
            | Self::HostNotSet
            | Self::NotEnrolled
            | Self::NoCard
            | Self::NoCardService
            | Self::CardUnusable { .. }
            | Self::PinNeeded
            | Self::PinBlocked
            | Self::GatewaySilent { .. }
            | Self::HandshakeUnanswered { .. }
            | Self::PathTooNarrow { .. }
            | Self::InternalNameUnknown { .. } => Verdict::Failed,
            Self::TunnelNotNeeded
            | Self::PortalNotLookedFor
            | Self::ClockUnwitnessed
            | Self::NoNameNeeded
            | Self::NoBeaconKnown
            | Self::GatewayNotCalled { .. }
            | Self::PathUnknown
            | Self::NoInternalName => Verdict::NotApplicable,
            Self::NotRun { .. } => Verdict::NotRun,
        }
    }
}
