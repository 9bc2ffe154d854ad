//! What the daemon knows about itself, as states and figures; the command makes sentences of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Card, CardFault, Evidence, Gateway, Link, Location, LocationRules, Portal, SCHEMA};

/// Everything about the daemon's state: what `sluss status --json` prints.
///
/// Ages and spans are milliseconds of the clock that also runs while the laptop sleeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// The version of this schema.
    #[schemars(extend("const" = SCHEMA))]
    pub schema: u32,
    pub location: Location,
    /// How old the verdict is; None as long as there is none.
    pub location_age_ms: Option<u64>,
    /// None if redacted.
    pub rules: Option<LocationRules>,
    /// Those that could carry packets; empty if redacted.
    pub links: Vec<Link>,
    pub portal: Portal,
    pub key: Key,
    pub tunnel: Tunnel,
    pub intent: Intent,
    pub host: Host,
    /// None if redacted, or if there is no policy.
    pub gateway: Option<Gateway>,
    /// None if redacted, or if there is no usable card.
    pub card: Option<Card>,
    /// None if redacted, or if the tunnel is down.
    pub traffic: Option<Traffic>,
    /// None if redacted, or if the tunnel is down.
    pub packets: Option<PacketReport>,
    /// The last answer of each beacon's addresses on each link; empty if redacted.
    pub evidence: Vec<Evidence>,
    /// What the daemon waits for, if it waits for a time.
    pub deadline: Option<Deadline>,
    pub warnings: Vec<Warning>,
    /// The daemon's own version.
    pub version: String,
}

/// The card and its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Key {
    /// The host's smart card service (pcscd) does not answer.
    NoService,
    /// No card in any reader.
    Absent,
    /// A card, but none that serves.
    Unusable { fault: CardFault },
    /// The card asks for its PIN before it computes.
    Locked,
    /// The user is being asked for the PIN.
    AwaitingPin,
    /// The user did not want to give the PIN; not asked again until the card or the network changes.
    Declined,
    /// The user locked it (`sluss lock`); not asked again until the user unlocks it or puts the card in anew.
    Withdrawn,
    /// The card checks a PIN.
    Verifying,
    /// The card computes without asking.
    Unlocked,
    /// No tries left: the card must be unblocked by who issued it.
    Blocked,
}

/// The tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Tunnel {
    Down {
        reason: DownReason,
    },
    /// Opening: no handshake has succeeded yet.
    Starting,
    /// A handshake has succeeded. Whether the gateway still answers is in the warnings.
    Up,
    Stopping,
}

/// Why the tunnel is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DownReason {
    /// The laptop is inside.
    NotNeeded,
    /// It is not yet known where the laptop is.
    Deciding,
    NoNetwork,
    NoCard,
    /// The card waits for its PIN, or is blocked.
    KeyLocked,
    /// The user asked for it (`sluss down`).
    StoppedByUser,
    /// This laptop has no binding to a card and an address, or the binding does not fit.
    NotEnrolled,
    /// The TUN device could not be made, or has vanished; it is tried again.
    DeviceFailed,
    /// The UDP socket could not be made, or has failed; it is tried again.
    SocketFailed,
    /// The daemon's own worker failed, or took too long; it is tried again.
    WorkerFailed,
}

/// What the user asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Intent {
    /// Up when needed.
    Automatic,
    /// Down until `sluss up`.
    Stopped,
}

/// What the routes and the firewall say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Host {
    /// Not yet touched since the daemon started.
    Unknown,
    Applying {
        mode: HostMode,
    },
    Applied {
        mode: HostMode,
    },
    /// The host refused; the daemon tries again.
    Failed {
        mode: HostMode,
    },
}

/// Where packets to internal prefixes may go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "to", rename_all = "kebab-case")]
pub enum HostMode {
    /// Nowhere.
    Closed,
    /// Out of the verified link, and no other.
    Inside { link: Option<String> },
    /// Into the tunnel.
    Tunnelled,
}

/// The tunnel in figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Traffic {
    pub received_bytes: u64,
    pub sent_bytes: u64,
    /// None before the first handshake.
    pub handshake_age_ms: Option<u64>,
    /// Initiations sent since the gateway last answered one.
    pub unanswered_handshakes: u32,
}

/// How long the tunnel's packets may be, and what the kernel does to move many of them at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PacketReport {
    /// The MTU of the tunnel's interface, in bytes.
    pub mtu: u16,
    /// What policy says that it should be where the path allows it.
    pub policy_mtu: u16,
    /// None if nothing inside has an address that could be asked.
    pub path: Option<PathMtu>,
    /// What the tunnel's interface hands over and takes in one piece.
    pub tun: TunOffload,
    /// Whether runs of datagrams are sent in one piece.
    pub send: Segmentation,
    /// Whether runs of datagrams are received in one piece.
    pub receive: bool,
}

/// What has been found out about the path to the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PathMtu {
    /// The MTU that the tunnel should have for it, in bytes.
    pub mtu: u16,
    pub verdict: PathVerdict,
    pub age_ms: u64,
}

/// How it was found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PathVerdict {
    /// This path has not been asked yet.
    Untested,
    /// Packets as long as policy allows arrive in one piece.
    Confirmed,
    /// Only shorter ones do.
    Reduced,
    /// Only shorter ones would than IPv6 allows; these arrive in fragments.
    Fragmented,
    /// Only shorter ones do than IPv6 allows: long packets are lost.
    TooNarrow,
    /// The gateway answers no such question; this is what the laptop itself knows.
    Unanswered,
}

/// Which packets of one connection the tunnel's interface hands over and takes in one piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TunOffload {
    None,
    Tcp,
    TcpAndUdp,
}

/// Whether runs of datagrams are sent in one piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Segmentation {
    /// The kernel or the network card cuts them.
    Offloaded,
    /// The path of today does not take them, or its network card cannot; tried again when the network changes.
    Refused,
    /// This kernel cannot.
    Unsupported,
}

/// The next thing that happens by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Deadline {
    pub in_ms: u64,
    pub reason: DeadlineReason,
}

/// What a deadline is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DeadlineReason {
    /// The network has been quiet for long enough, or restless for too long: the beacons are asked.
    NetworkSettled,
    /// The probe is given up.
    ProbeOverdue,
    /// No beacon proved itself a moment ago: they are asked once more.
    ProbeAgain,
    /// The search for a login page is given up.
    PortalCheckOverdue,
    /// It is looked again whether the login page is still in the way.
    PortalCheckDue,
    /// The way to the login page closes.
    PortalClosing,
    /// The sleep that was announced has not come.
    SleepOverdue,
    /// The card's answer to the PIN is given up.
    PinCheckOverdue,
    /// The card that was pulled has not come back: the tunnel closes.
    GraceOver,
    /// The tunnel's start has failed.
    TunnelStartOverdue,
    /// The tunnel is stopped once more.
    TunnelStopOverdue,
    /// The tunnel is started again.
    TunnelRetry,
    /// Setting routes and firewall has failed.
    HostOverdue,
    /// Routes and firewall are set again.
    HostRetry,
}

/// What somebody should know although the daemon goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Warning {
    /// Handshakes are sent and none is answered.
    GatewaySilent,
    /// The card did not answer in time, or another program holds it.
    CardSlow,
    /// The card was pulled, and the tunnel closes unless it comes back in time.
    CardMissed,
    /// The routes or the firewall could not be set.
    HostNotApplied,
    /// The path to the gateway loses all but short packets, whatever the tunnel does.
    LongPacketsLost,
    /// None of the gateway's names could be resolved, and policy gives no address for this case.
    NameNotResolved,
    /// The laptop is on a Wi-Fi without a password.
    OpenWifi,
    /// A link comes and goes: its changes are waited out.
    LinkFlapping,
}

/// The evidence behind the last decision: what `sluss why --json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Why {
    /// The version of this schema.
    #[schemars(extend("const" = SCHEMA))]
    pub schema: u32,
    pub location: Location,
    pub location_age_ms: Option<u64>,
    pub rules: Option<LocationRules>,
    pub links: Vec<Link>,
    pub portal: Portal,
    pub evidence: Vec<Evidence>,
    pub tunnel: Tunnel,
    pub key: Key,
    pub intent: Intent,
    pub gateway: Option<Gateway>,
    pub traffic: Option<Traffic>,
    pub deadline: Option<Deadline>,
    pub warnings: Vec<Warning>,
}

impl Status {
    /// What an observer may see: state words, but no address, name, serial or figure.
    pub fn redact(self) -> Self {
        Self {
            location: self.location.redact(),
            rules: None,
            links: Vec::new(),
            portal: self.portal.redact(),
            host: self.host.redact(),
            gateway: None,
            card: None,
            traffic: None,
            packets: None,
            evidence: Vec::new(),
            ..self
        }
    }

    /// The part of it that explains the last decision.
    pub fn why(&self) -> Why {
        Why {
            schema: self.schema,
            location: self.location.clone(),
            location_age_ms: self.location_age_ms,
            rules: self.rules,
            links: self.links.clone(),
            portal: self.portal.clone(),
            evidence: self.evidence.clone(),
            tunnel: self.tunnel,
            key: self.key,
            intent: self.intent,
            gateway: self.gateway.clone(),
            traffic: self.traffic,
            deadline: self.deadline,
            warnings: self.warnings.clone(),
        }
    }
}

impl Host {
    pub(crate) fn redact(self) -> Self {
        match self {
            Self::Unknown => Self::Unknown,
            Self::Applying { mode } => Self::Applying {
                mode: mode.redact(),
            },
            Self::Applied { mode } => Self::Applied {
                mode: mode.redact(),
            },
            Self::Failed { mode } => Self::Failed {
                mode: mode.redact(),
            },
        }
    }
}

impl HostMode {
    fn redact(self) -> Self {
        match self {
            Self::Closed => Self::Closed,
            Self::Inside { .. } => Self::Inside { link: None },
            Self::Tunnelled => Self::Tunnelled,
        }
    }
}
