//! What goes into a device, and what comes out: one input, any number of outputs into a sink.

use core::time::Duration;
use std::net::SocketAddr;

use crate::{
    Datagram, DhError, Endpoints, InboundUpdate, Notice, OutboundUpdate, PeerConfig, PublicKey,
    SharedSecret, Tai64n, Time,
};

/// Names a peer for as long as the device lives; never used again for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub(crate) u32);

/// Names one request for a Diffie-Hellman; an answer to any other is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DhId(pub(crate) u64);

/// What happens to a device.
pub enum Input<'a> {
    /// Adds a peer, or changes the one with this public key.
    SetPeer(PeerConfig),
    RemovePeer(PeerId),
    /// A datagram that is not transport data ([`crate::is_transport`]).
    Datagram {
        from: SocketAddr,
        bytes: &'a [u8],
    },
    /// The answer to [`Output::Dh`].
    Dh {
        id: DhId,
        result: Result<SharedSecret, DhError>,
    },
    /// From one of the halves.
    Notice(Notice),
    /// The tunnel is wanted now: handshake if no session is usable, else a keepalive at once.
    Kick(PeerId),
    /// We are on another network: a keepalive at once tells a session where we are, and a handshake shows the way.
    NetworkChanged(PeerId),
    /// Where the peer may be found from now on. A session goes on; if it is not at one of these, a handshake follows.
    SetEndpoints {
        peer: PeerId,
        endpoints: Endpoints,
    },
    /// Whitepaper 6.5's persistent keepalive, from now on.
    SetKeepalive {
        peer: PeerId,
        every: Option<Duration>,
    },
    /// The card left: forget every secret that came of its key.
    ForgetKey,
    /// [`crate::Device::deadline`] has come.
    Tick,
}

/// What a device wants done.
pub enum Output {
    Send {
        to: SocketAddr,
        datagram: Datagram,
    },
    /// Compute X25519 of our static key and `with`. After `deadline` nobody waits for the answer.
    Dh {
        id: DhId,
        with: PublicKey,
        deadline: Time,
    },
    /// For [`crate::Outbound::apply`].
    Outbound(OutboundUpdate),
    /// For [`crate::Inbound::apply`], before the next datagram is opened.
    Inbound(InboundUpdate),
    /// Write this where it survives a restart, and give it back as [`crate::Config::stamp_floor`]. Comes ahead of its use.
    PersistStamp {
        up_to: Tai64n,
    },
    Event(Event),
}

/// What the owner of the tunnel may want to know or show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    SessionEstablished {
        peer: PeerId,
        role: Role,
    },
    /// The last of `attempts` initiations was not answered in time; another follows.
    HandshakeUnanswered {
        peer: PeerId,
        attempts: u32,
    },
    /// No answer for REKEY-ATTEMPT-TIME. The next packet or [`Input::Kick`] tries again.
    GaveUp {
        peer: PeerId,
    },
    EndpointChanged {
        peer: PeerId,
        endpoint: SocketAddr,
    },
    /// No new session for three times REJECT-AFTER-TIME: all keys with this peer are wiped (whitepaper 6.3).
    Forgotten {
        peer: PeerId,
    },
}

/// Our part in a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Initiator,
    Responder,
}

/// When [`Input::Tick`] is next needed, and what for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    pub at: Time,
    pub reason: Reason,
}

/// Why the device wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Send the initiation elsewhere or again, or give up.
    Retransmit,
    /// The holder of the key has not answered.
    DhOverdue,
    /// There was traffic: see whether a keepalive or a new handshake is due (whitepaper 6.4, 6.5).
    Keepalive,
    PersistentKeepalive,
    /// Wipe keys that nobody may use any more.
    Zeroing,
}

/// What `status` shows of a peer.
#[derive(Clone, Debug)]
pub struct PeerStatus {
    pub id: PeerId,
    pub public_key: PublicKey,
    /// Where packets go.
    pub endpoint: Option<SocketAddr>,
    /// All that the peer may be found at, the best first.
    pub endpoints: Vec<EndpointStatus>,
    /// When the newest session was agreed.
    pub last_handshake: Option<Time>,
    /// Initiations sent since the last session that nobody has answered.
    pub unanswered: u32,
    /// Authenticated transport bytes received, headers included.
    pub received: u64,
    pub sent: u64,
}

/// One of the addresses that a peer may be found at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointStatus {
    pub address: SocketAddr,
    /// 0 is the best.
    pub group: usize,
    /// Since when it has been called without an answer.
    pub silent_since: Option<Time>,
}

/// Takes outputs as they come, so that no caller can forget to drain them.
pub trait Sink {
    fn output(&mut self, output: Output);
}

impl Sink for Vec<Output> {
    fn output(&mut self, output: Output) {
        self.push(output);
    }
}
