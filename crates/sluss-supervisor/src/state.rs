//! The picture of the world: location, portal, key, tunnel, intent and host, each owning its data.

use crate::unrest::Unrest;
use crate::{Evidence, Host, Insertion, Key, Link, Location, Portal, Time, Tunnel};

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
    pub(crate) unrest: Unrest,
    /// Whose secrets the daemon may hold in memory: session keys, and what the card computed.
    pub(crate) secrets: Option<Insertion>,
    pub(crate) asked: Asked,
    pub(crate) next: u64,
}

/// What workers and the prompt are busy with, to be called off when it is no longer wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Asked {
    pub(crate) probe: Option<Op>,
    pub(crate) portal: Option<Op>,
    pub(crate) pin: Option<Op>,
}

/// What the user asked for, as far as the policy allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Intent {
    Automatic,
    Stopped,
}

/// Names one request. Its answer carries the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Op(pub(crate) u64);

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
            unrest: Unrest::default(),
            secrets: None,
            asked: Asked::default(),
            next: 0,
        }
    }

    /// Whether a link comes and goes, so that its changes are waited out.
    pub fn is_restless(&self, now: Time) -> bool {
        self.unrest.is_flapping(now)
    }

    pub(crate) fn usable_links(&self) -> Vec<Link> {
        let usable = self.links.iter().filter(|link| link.usable());
        usable.cloned().collect()
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
