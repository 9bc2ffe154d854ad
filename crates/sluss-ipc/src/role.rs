//! Who calls, and who may call what.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The process at the other end, as the kernel knows it (SO_PEERCRED: as it was when it connected).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    pub uid: u32,
    pub gid: u32,
    /// None if the process lives in another PID namespace.
    pub pid: Option<i32>,
}

/// What a caller is to the daemon. Each role may do all that the one before may.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Any local user: sees state words, no address, name or serial.
    Observer,
    /// The user of the active session: sees all, opens and closes within policy, gives the PIN.
    Operator,
    /// Root.
    Admin,
}

impl Role {
    /// The role of `peer` while `active` is the user of the session at the keyboard, if there is one.
    pub fn of(peer: Peer, active: Option<u32>) -> Self {
        match peer.uid {
            0 => Self::Admin,
            uid if Some(uid) == active => Self::Operator,
            _ => Self::Observer,
        }
    }
}

/// The calls, without what they carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    Status,
    Why,
    Doctor,
    Portal,
    Monitor,
    Up,
    Down,
    Unlock,
    Lock,
    Card,
    Policy,
    Agent,
    Decline,
    HandOver,
    Survey,
    Enroll,
}

impl Call {
    pub const ALL: [Self; 16] = [
        Self::Status,
        Self::Why,
        Self::Doctor,
        Self::Portal,
        Self::Monitor,
        Self::Up,
        Self::Down,
        Self::Unlock,
        Self::Lock,
        Self::Card,
        Self::Policy,
        Self::Agent,
        Self::Decline,
        Self::HandOver,
        Self::Survey,
        Self::Enroll,
    ];

    /// The table of who may call what. An observer's answers are redacted.
    pub const fn needs(self) -> Role {
        match self {
            Self::Status => Role::Observer,
            Self::Why => Role::Operator,
            Self::Doctor => Role::Operator,
            Self::Portal => Role::Operator,
            Self::Monitor => Role::Observer,
            Self::Up => Role::Operator,
            Self::Down => Role::Operator,
            Self::Unlock => Role::Operator,
            Self::Lock => Role::Operator,
            Self::Card => Role::Operator,
            Self::Policy => Role::Operator,
            // To wait; told is only the user at the keyboard.
            Self::Agent => Role::Observer,
            Self::Decline => Role::Operator,
            // One's own PIN is the exception: `Request::needs`.
            Self::HandOver => Role::Admin,
            Self::Survey => Role::Admin,
            Self::Enroll => Role::Admin,
        }
    }

    /// Whether it is answered for as long as the client stays.
    pub const fn is_stream(self) -> bool {
        matches!(self, Self::Monitor | Self::Agent)
    }
}
