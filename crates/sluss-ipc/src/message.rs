//! The messages: what is asked of the daemon, and what it answers.

use std::net::{IpAddr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::doctor::{Diagnosis, Support};
use crate::enroll::{Enrolled, EnrolmentFault, Order, Survey};
use crate::{
    BeaconKind, Call, CardFault, CardPolicy, CardReport, Host, Intent, Key, Location,
    LocationRules, Notice, Peer, Pin, PolicyEndpoint, Portal, PortalPage, PortalPolicy, Prompt,
    PromptId, Role, SCHEMA, Status, Tunnel, Warning, Why,
};

/// What a client asks. Without `Debug`: it may hold a PIN.
///
/// Externally tagged, since serde copies the content of an internally tagged enum to find its tag, and the copy would
/// not be wiped.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Answered by [`Response::Status`].
    Status,
    /// Answered by [`Response::Why`].
    Why,
    /// Makes every check. Answered by [`Response::Diagnosis`], within seconds.
    Doctor,
    /// Opens the way to the network's login page for a while: for the control group of the calling process if that is
    /// a scope made for this, otherwise for all programs of its user. Answered by [`Response::PortalOpened`] when it is open.
    Portal {
        /// The user agrees to have the time once more.
        renew: bool,
    },
    /// Answered by a [`Response::Change`] for each state word as it is now, then one for each change.
    Monitor,
    /// The tunnel may open when it is needed. Answered by [`Response::Done`] at once: who wants to wait, monitors.
    Up,
    /// The tunnel shall be down until [`Request::Up`]. Answered at once.
    Down,
    /// Gives the PIN to the card. Answered when the card has answered.
    Unlock {
        /// None: it is typed on the reader's pin pad, now.
        pin: Option<Pin>,
        /// The user agrees to spend the last try.
        last_try: bool,
    },
    /// Wipes the keys and takes the verified state from the card. Answered at once.
    Lock,
    /// Answered by [`Response::Card`].
    Card,
    /// Answered by [`Response::Policy`].
    Policy,
    /// Shows the user at the keyboard what the daemon wants to ask and tell. Answered by a [`Response::Prompt`],
    /// [`Response::PromptWithdrawn`] or [`Response::Notice`] whenever there is one, until the client hangs up.
    ///
    /// Any user may wait like this, so that an agent need not ask again and again whether its user is at the keyboard;
    /// as long as it is not, it is told nothing.
    Agent,
    /// The user does not want to give the PIN. Answered by [`Response::Done`] at once, also if the prompt is no longer open.
    Decline { prompt: PromptId },
    /// A PIN that the user `uid` has typed at login or to unlock the screen, and that the card has found right. Answered by
    /// [`Response::HandedOver`] at once, whatever becomes of it.
    HandOver { pin: Pin, uid: u32 },
    /// Looks at every card for keys that the laptop could be bound to. Answered by [`Response::Survey`], within seconds.
    Survey,
    /// Binds the laptop to a card. Answered by [`Response::Enrolled`] when that is written, and in force.
    Enroll(Box<Order>),
}

impl Request {
    pub fn call(&self) -> Call {
        match self {
            Self::Status => Call::Status,
            Self::Why => Call::Why,
            Self::Doctor => Call::Doctor,
            Self::Portal { .. } => Call::Portal,
            Self::Monitor => Call::Monitor,
            Self::Up => Call::Up,
            Self::Down => Call::Down,
            Self::Unlock { .. } => Call::Unlock,
            Self::Lock => Call::Lock,
            Self::Card => Call::Card,
            Self::Policy => Call::Policy,
            Self::Agent => Call::Agent,
            Self::Decline { .. } => Call::Decline,
            Self::HandOver { .. } => Call::HandOver,
            Self::Survey => Call::Survey,
            Self::Enroll(_) => Call::Enroll,
        }
    }

    /// The role that `caller` must have: that of the call, but the program that unlocks a screen may be its user's own
    /// process, and may then hand over this user's PIN.
    pub fn needs(&self, caller: Peer) -> Role {
        if let Self::HandOver { uid, .. } = self
            && *uid == caller.uid
        {
            Role::Operator
        } else {
            self.call().needs()
        }
    }
}

/// What the daemon answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Response {
    Status(Status),
    Why(Why),
    Diagnosis(Diagnosis),
    PortalOpened(PortalOpened),
    Change(Change),
    Card(CardReport),
    Policy(PolicyReport),
    Prompt(Prompt),
    /// The prompt has become pointless: close it.
    PromptWithdrawn {
        id: PromptId,
    },
    Notice(Notice),
    HandedOver {
        /// How long the login may wait for the internal network to be reached, in milliseconds; None: not at all.
        wait_ms: Option<u64>,
    },
    Survey(Survey),
    Enrolled(Enrolled),
    Done,
    Refused(Refusal),
}

/// The way to the network's login page is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortalOpened {
    pub page: PortalPage,
    pub left_ms: u64,
    /// Whether the time can be had once more.
    pub renewable: bool,
    /// Whether only the calling process and its children may use it, and not all programs of the user.
    pub confined: bool,
}

/// Why the daemon did not do what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "code", rename_all = "kebab-case")]
pub enum Refusal {
    /// The caller's role is not enough.
    NotAllowed { needs: Role },
    /// The policy forbids it to everyone.
    ByPolicy,
    /// There is no card that could take a PIN.
    NoCard,
    /// There is a card, but it cannot serve.
    CardUnusable { fault: CardFault },
    /// The PIN was wrong.
    WrongPin {
        /// None if the card does not tell.
        tries_left: Option<u8>,
    },
    /// The card takes no PIN of this length or these characters; no try was spent.
    PinFormat,
    /// It is the PIN that every such card is delivered with, and the policy wants it changed; no try was spent.
    FactoryPin,
    /// The reader has no pin pad.
    NoPinPad,
    /// The user cancelled on the pin pad, or let its time pass; no try was spent.
    PinCancelled,
    /// One try is left, and the user has not agreed to spend it; it was not spent.
    LastTry,
    /// No tries left.
    PinBlocked,
    /// The card was pulled, or failed, while it was asked.
    CardFailed,
    /// The card did not answer in time.
    CardTimeout,
    /// The laptop was not bound.
    Enrolment { fault: EnrolmentFault },
    /// The network has no login page, as far as is known.
    NoPortal,
    /// The login page was open for as long as it may be, or has to be asked for once more.
    PortalSpent {
        /// Whether it would be opened if the user agreed ([`Request::Portal`]).
        renewable: bool,
    },
    /// The way to the login page could not be opened.
    PortalFailed,
    /// Another call of the same kind is under way.
    Busy,
    /// The request could not be taken; the connection is closed.
    BadRequest { fault: RequestFault },
    /// Too many connections of the same user; the connection is closed.
    TooManyConnections,
}

/// What is wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RequestFault {
    /// It was announced as longer than a request may be.
    Oversized,
    /// It is not the JSON of a known request.
    Malformed,
    /// It ended, or paused for too long, in the middle.
    Truncated,
    /// It came before the last one was answered.
    OutOfTurn,
}

/// One change: one object of `sluss monitor --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// The version of this schema.
    #[schemars(extend("const" = SCHEMA))]
    pub schema: u32,
    /// The wall clock, in milliseconds since 1970.
    pub unix_ms: u64,
    #[serde(flatten)]
    pub what: What,
}

/// What has changed, as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "changed", content = "now", rename_all = "kebab-case")]
pub enum What {
    Location(Location),
    Key(Key),
    Tunnel(Tunnel),
    Intent(Intent),
    Host(Host),
    Portal(Portal),
    /// All warnings that now hold.
    Warnings(Vec<Warning>),
}

impl Status {
    /// What a monitor is told that last saw `before`; everything if it has seen nothing yet.
    pub fn changes(&self, before: Option<&Status>, unix_ms: u64) -> Vec<Change> {
        let is_new =
            |differs: fn(&Self, &Self) -> bool| before.is_none_or(|before| differs(before, self));
        let changed = [
            is_new(|a, b| a.location != b.location).then(|| What::Location(self.location.clone())),
            is_new(|a, b| a.key != b.key).then_some(What::Key(self.key)),
            is_new(|a, b| a.tunnel != b.tunnel).then_some(What::Tunnel(self.tunnel)),
            is_new(|a, b| a.intent != b.intent).then_some(What::Intent(self.intent)),
            is_new(|a, b| a.host != b.host).then(|| What::Host(self.host.clone())),
            is_new(|a, b| !a.portal.is_as_told(&b.portal))
                .then(|| What::Portal(self.portal.clone())),
            is_new(|a, b| a.warnings != b.warnings).then(|| What::Warnings(self.warnings.clone())),
        ];
        changed
            .into_iter()
            .flatten()
            .map(|what| Change {
                schema: SCHEMA,
                unix_ms,
                what,
            })
            .collect()
    }
}

/// The policy in force, without its secrets: what `sluss policy show` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyReport {
    /// The version of this schema.
    #[schemars(extend("const" = SCHEMA))]
    pub schema: u32,
    /// The files it was read from, in order.
    pub files: Vec<String>,
    pub gateway: String,
    pub endpoints: Vec<PolicyEndpoint>,
    /// Base64 of the gateway's public key.
    pub public_key: String,
    /// In CIDR notation.
    pub internal_prefixes: Vec<String>,
    pub location: LocationRules,
    pub beacons: Vec<Beacon>,
    /// None if no login page is looked for.
    pub portal: Option<PortalPolicy>,
    pub mtu: u16,
    /// None if off.
    pub keepalive_s: Option<u16>,
    /// On a metered link; None if off there.
    pub metered_keepalive_s: Option<u16>,
    /// Whether the card answers handshakes that the gateway begins.
    pub respond: bool,
    pub may_disconnect: bool,
    pub card: CardPolicy,
    /// Whether the PIN typed at login is taken.
    pub hand_over: bool,
    /// How long a login waits for the tunnel; None: it does not.
    pub login_wait_ms: Option<u64>,
    /// What `sluss doctor` resolves to see whether internal names work.
    pub internal_name: Option<String>,
    pub support: Option<Support>,
}

/// A beacon as policy names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Beacon {
    pub name: String,
    pub kind: BeaconKind,
    pub addresses: Vec<SocketAddr>,
    pub site: Option<String>,
    /// From where it may see the laptop instead of from the laptop's own address.
    pub nat: Vec<IpAddr>,
}

impl Response {
    /// What a caller with `role` may see of it; None if that is nothing.
    pub fn redact_for(self, role: Role) -> Option<Self> {
        if role > Role::Observer {
            return Some(self);
        }
        match self {
            Self::Status(status) => Some(Self::Status(status.redact())),
            Self::Change(change) => Some(Self::Change(change.redact())),
            // An observer's call for these is refused; should one slip through, so is its answer.
            Self::Why(_) => Some(Self::not_allowed(Call::Why)),
            Self::Diagnosis(_) => Some(Self::not_allowed(Call::Doctor)),
            Self::PortalOpened(_) => Some(Self::not_allowed(Call::Portal)),
            Self::Card(_) => Some(Self::not_allowed(Call::Card)),
            Self::Policy(_) => Some(Self::not_allowed(Call::Policy)),
            Self::HandedOver { .. } => Some(Self::not_allowed(Call::HandOver)),
            Self::Survey(_) => Some(Self::not_allowed(Call::Survey)),
            Self::Enrolled(_) => Some(Self::not_allowed(Call::Enroll)),
            // The agent of a user who is not at the keyboard waits.
            Self::Prompt(_) | Self::Notice(_) => None,
            Self::PromptWithdrawn { .. } | Self::Done | Self::Refused(_) => Some(self),
        }
    }

    fn not_allowed(call: Call) -> Self {
        Self::Refused(Refusal::NotAllowed {
            needs: call.needs(),
        })
    }
}

impl Change {
    fn redact(self) -> Self {
        let what = match self.what {
            What::Location(location) => What::Location(location.redact()),
            What::Host(host) => What::Host(host.redact()),
            What::Portal(portal) => What::Portal(portal.redact()),
            what @ (What::Key(_) | What::Tunnel(_) | What::Intent(_) | What::Warnings(_)) => what,
        };
        Self { what, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_handed_over_by_root_or_by_whose_it_is() {
        let hand_over = Request::HandOver {
            pin: Pin::new(b"123456".to_vec().into()).unwrap(),
            uid: 1000,
        };
        let needs = |uid| {
            hand_over.needs(Peer {
                uid,
                gid: uid,
                pid: None,
            })
        };
        assert_eq!(needs(1000), Role::Operator);
        assert_eq!(needs(1001), Role::Admin);
        assert_eq!(needs(0), Role::Admin);
    }
}
