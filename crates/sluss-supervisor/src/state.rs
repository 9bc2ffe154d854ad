//! The picture of the world: location, key, tunnel, intent and host, each owning its data.

use std::net::IpAddr;

use crate::{Evidence, Host, Link, LinkId, LossReason, Portal, Time};

/// Everything the supervisor knows, and what it waits for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The last snapshot of the operating system.
    pub links: Vec<Link>,
    pub location: Location,
    /// What the last finished probe found.
    pub evidence: Vec<Evidence>,
    pub portal: Portal,
    pub key: Key,
    pub tunnel: Tunnel,
    /// How often in a row the tunnel failed without a session in between.
    pub failures: u32,
    pub intent: Intent,
    pub host: Host,
    /// Whose secrets the daemon may hold in memory: session keys, and what the card computed.
    pub(crate) secrets: Option<Insertion>,
    pub(crate) asked: Asked,
    pub(crate) next: u64,
}

/// What the probe worker and the prompt are busy with, to be called off when it is no longer wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Asked {
    pub(crate) probe: Option<Op>,
    pub(crate) pin: Option<Op>,
}

/// Names one request. Its answer carries the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Op(pub(crate) u64);

/// Names one stay of a card in its reader: the same card put in again is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Insertion(pub(crate) u64);

/// Where the laptop is. No proof of being inside means outside.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Location {
    /// No link can carry traffic.
    Offline,
    /// The laptop is about to sleep or sleeps: whatever was known is no longer.
    Asleep {
        until: Time,
    },
    /// Links are still changing; probed when quiet until `quiet_at`, or at `limit`.
    ///
    /// `held`: the laptop was inside and its link changed in small ways only, so that stands until it is asked again.
    Settling {
        quiet_at: Time,
        limit: Time,
        held: Option<Verified>,
    },
    /// The probe worker is asked.
    ///
    /// `outside_since`: the laptop counts as outside, and what is up stays so while that is asked once more.
    Probing {
        op: Op,
        deadline: Time,
        confirmation: Confirmation,
        outside_since: Option<Time>,
    },
    Inside(Verified),
    /// `again_at`: a fresh verdict for want of proof may be false, as when the first packet was lost.
    Outside {
        why: OutsideReason,
        since: Time,
        again_at: Option<Time>,
    },
}

/// The link on which a beacon proved itself, with the facts that held then.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Verified {
    pub link: Link,
    pub since: Time,
}

/// What a success of the running probe means.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Confirmation {
    /// A first hint: it is asked again.
    First,
    /// The second success on one of these links: inside.
    Second { proved: Vec<LinkId> },
    /// Inside goes on, as it did while the link was asked again.
    Held(Verified),
}

/// Why the laptop counts as outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutsideReason {
    /// The policy names no beacon.
    NoBeacon,
    /// No beacon proved itself; the evidence says how each failed.
    NoProof,
    /// A beacon proved itself once, and then not again.
    NotConfirmed,
    /// The probe worker did not answer.
    ProbeOverdue,
}

/// The card and whether it answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    Absent,
    /// It was pulled from under a tunnel, which lives on while it may come back: not after `until`.
    Away {
        card: Card,
        until: Time,
    },
    /// A card is there that cannot serve.
    Unusable(CardFault),
    /// It wants its PIN, and nobody was asked yet.
    Locked(Card),
    AwaitingPin {
        card: Card,
        op: Op,
    },
    /// The user closed the prompt: not asked again until the card is put in anew, the laptop is outside on another
    /// `network` (its gateways), or the user says so.
    Declined {
        card: Card,
        network: Vec<IpAddr>,
    },
    /// The user locked it: keys are wiped, and only the user or a new insertion wakes it.
    Withdrawn(Card),
    Verifying {
        card: Card,
        op: Op,
        deadline: Time,
    },
    /// It answers without asking.
    Unlocked(Card),
    /// No tries are left.
    Blocked(Card),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Card {
    pub serial: String,
    pub tries_left: u8,
    pub insertion: Insertion,
}

/// Why a card cannot serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CardFault {
    /// No card is bound to this laptop.
    NotEnrolled,
    /// It is not the one that is bound to this laptop.
    OtherCard,
    /// It holds no key that could serve.
    NoKey,
    /// It is of a kind, or has a feature, that Sluss does not know.
    Unsupported,
    /// It answers, but nothing that makes sense.
    Nonsense,
    /// It does not answer.
    Silent,
    /// Another program uses it exclusively.
    InUse,
    /// The middleware that speaks to it crashed, hung, or does not know it.
    Middleware,
    /// The policy asks for a certificate, and not for this one.
    Certificate(CertificateFault),
}

/// What is wrong with a card's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CertificateFault {
    /// The card has none that the policy asks for.
    Missing,
    /// The card has several, for different keys.
    Several,
    Unreadable,
    Expired,
    NotYetValid,
    Revoked,
    /// The revocation list is missing, too old, or not its issuer's.
    RevocationUnknown,
    /// It leads to none of the policy's issuers.
    Untrusted,
    WrongUsage,
    WrongSubject,
}

/// The tunnel as the tunnel worker told it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Tunnel {
    Down {
        retry: Option<Retry>,
    },
    Starting {
        op: Op,
        deadline: Time,
    },
    /// `op` is the one that started it. `refresh`: the gateway is still to be told of a change.
    Up {
        op: Op,
        since: Time,
        session: Session,
        refresh: bool,
    },
    Stopping {
        op: Op,
        deadline: Time,
        retry: Option<Retry>,
    },
}

/// A tunnel that failed is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Retry {
    pub at: Time,
    pub why: LossReason,
}

/// Whether the gateway answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Session {
    /// So many initiations in a row are unanswered; it goes on trying.
    Awaited { attempts: u32 },
    /// The last handshake succeeded.
    Established,
}

/// What the user asked for, as far as the policy allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Intent {
    Automatic,
    Stopped,
}

impl State {
    /// At the daemon's start: nothing is known, and nothing may be open.
    pub fn new() -> Self {
        Self {
            links: Vec::new(),
            location: Location::Offline,
            evidence: Vec::new(),
            portal: Portal::Unknown,
            key: Key::Absent,
            tunnel: Tunnel::Down { retry: None },
            failures: 0,
            intent: Intent::Automatic,
            host: Host::Unknown,
            secrets: None,
            asked: Asked::default(),
            next: 0,
        }
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(crate) fn op(&mut self) -> Op {
        Op(self.number())
    }
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

impl Op {
    /// For the wire between daemon and workers.
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The counterpart of [`Op::number`].
    pub const fn from_number(number: u64) -> Self {
        Self(number)
    }
}

impl Key {
    /// The card that could serve, whatever state it is in.
    pub fn card(&self) -> Option<&Card> {
        match self {
            Self::Absent | Self::Away { .. } | Self::Unusable(_) => None,
            Self::AwaitingPin { card, .. }
            | Self::Declined { card, .. }
            | Self::Verifying { card, .. }
            | Self::Locked(card)
            | Self::Withdrawn(card)
            | Self::Unlocked(card)
            | Self::Blocked(card) => Some(card),
        }
    }

    pub(crate) fn card_mut(&mut self) -> Option<&mut Card> {
        match self {
            Self::Absent | Self::Away { .. } | Self::Unusable(_) => None,
            Self::AwaitingPin { card, .. }
            | Self::Declined { card, .. }
            | Self::Verifying { card, .. }
            | Self::Locked(card)
            | Self::Withdrawn(card)
            | Self::Unlocked(card)
            | Self::Blocked(card) => Some(card),
        }
    }

    /// A card that wants its PIN, if it can still be given one.
    pub(crate) fn locked(card: Card) -> Self {
        match card.tries_left {
            0 => Self::Blocked(card),
            _ => Self::Locked(card),
        }
    }
}

impl Location {
    /// The proof of being inside that stands, even while it is asked for again.
    pub fn verified(&self) -> Option<&Verified> {
        match self {
            Self::Inside(verified)
            | Self::Settling {
                held: Some(verified),
                ..
            }
            | Self::Probing {
                confirmation: Confirmation::Held(verified),
                ..
            } => Some(verified),
            Self::Settling { held: None, .. }
            | Self::Probing {
                confirmation: Confirmation::First | Confirmation::Second { .. },
                ..
            }
            | Self::Offline
            | Self::Asleep { .. }
            | Self::Outside { .. } => None,
        }
    }

    /// Since when the laptop counts as outside, even while that is asked once more.
    pub fn outside_since(&self) -> Option<Time> {
        match self {
            Self::Outside { since, .. } => Some(*since),
            Self::Probing { outside_since, .. } => *outside_since,
            Self::Offline | Self::Asleep { .. } | Self::Settling { .. } | Self::Inside(_) => None,
        }
    }
}
