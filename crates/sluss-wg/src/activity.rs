//! What the halves tell control: notices at edges, and per-peer cells that control reads when a timer is due.

use std::net::SocketAddr;

use crate::PeerId;

/// Something that [`crate::Device`] must know, told once when it becomes so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A packet waits for a session. Told again after REKEY-TIMEOUT while packets keep coming.
    SessionWanted(PeerId),
    /// The session in use has reached REKEY-AFTER-TIME or REKEY-AFTER-MESSAGES (whitepaper 6.2).
    RekeyDue(PeerId),
    /// The first packet came on a session that we answered for: from now on it may send (whitepaper 5.4.5).
    Confirmed { peer: PeerId, receiver: u32 },
    /// An authenticated packet, newer than all before it, came from another address (whitepaper 2.1).
    Roamed { peer: PeerId, from: SocketAddr },
    /// A peer that was quiet has traffic again: its keepalive timers need watching.
    Stirred(PeerId),
}
