//! Control: all peers, their handshakes and timers, behind one input and one sink.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::{
    Datagram, DhError, Inbound, InboundUpdate, Notice, Now, Outbound, OutboundUpdate, PresharedKey, PublicKey, SharedSecret,
    SoftwareKey, Tai64n, Time, Timing,
};

/// What an interface is made from.
#[derive(Clone)]
pub struct Config {
    /// The public half of the static key; the private half is wherever [`Output::Dh`] is answered.
    pub public_key: PublicKey,
    pub respond: Respond,
    pub timing: Timing,
    /// No TAI64N stamp at or below this is sent: what [`Output::PersistStamp`] last said, read back at start.
    pub stamp_floor: Tai64n,
    /// The tunnel's MTU, beyond which padding never reaches.
    pub mtu: u16,
    /// Seeds ephemeral keys, indices, cookies and jitter: 32 bytes of the system's randomness, new at each start.
    pub seed: [u8; 32],
}

/// Whether initiations of others are answered. Each costs the holder of the static key an operation before the sender is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Respond {
    /// A held key, unless policy says otherwise.
    Never,
    /// A held key whose policy allows it: mac1, then always mac2, then a token bucket.
    Guarded,
    /// A software key: mac1, and mac2 with a token bucket per source while under load (whitepaper 5.3).
    Freely,
}

/// One peer. Two settings with the same public key are the same peer.
#[derive(Clone)]
pub struct PeerConfig {
    pub public_key: PublicKey,
    pub preshared_key: Option<PresharedKey>,
    /// `None` for a peer that we wait for, and on a change to leave the endpoint as it is.
    pub endpoint: Option<SocketAddr>,
    pub allowed_ips: Vec<IpNet>,
    pub persistent_keepalive: Option<Duration>,
}

/// Names a peer for as long as the device lives; never used again for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(u32);

/// Names one request for a Diffie-Hellman; an answer to any other is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DhId(u64);

/// What happens to a device.
pub enum Input<'a> {
    /// Adds a peer, or changes the one with this public key.
    SetPeer(PeerConfig),
    RemovePeer(PeerId),
    /// A datagram that is not transport data ([`crate::is_transport`]).
    Datagram { from: SocketAddr, bytes: &'a [u8] },
    /// The answer to [`Output::Dh`].
    Dh { id: DhId, result: Result<SharedSecret, DhError> },
    /// From one of the halves.
    Notice(Notice),
    /// The tunnel is wanted now, or the network changed: handshake if no session is usable, else a keepalive at once.
    Kick(PeerId),
    /// The card left: forget every secret that came of its key.
    ForgetKey,
    /// [`Device::deadline`] has come.
    Tick,
}

/// What a device wants done.
pub enum Output {
    Send { to: SocketAddr, datagram: Datagram },
    /// Compute X25519 of our static key and `with`. After `deadline` nobody waits for the answer.
    Dh { id: DhId, with: PublicKey, deadline: Time },
    /// For [`Outbound::apply`].
    Outbound(OutboundUpdate),
    /// For [`Inbound::apply`], before the next datagram is opened.
    Inbound(InboundUpdate),
    /// Write this where it survives a restart, and give it back as [`Config::stamp_floor`]. Comes ahead of its use.
    PersistStamp { up_to: Tai64n },
    Event(Event),
}

/// What the owner of the tunnel may want to know or show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    SessionEstablished { peer: PeerId, role: Role },
    /// The last of `attempts` initiations was not answered in time; another follows.
    HandshakeUnanswered { peer: PeerId, attempts: u32 },
    /// No answer for REKEY-ATTEMPT-TIME. The next packet or [`Input::Kick`] tries again.
    GaveUp { peer: PeerId },
    EndpointChanged { peer: PeerId, endpoint: SocketAddr },
    /// No new session for three times REJECT-AFTER-TIME: all keys with this peer are wiped (whitepaper 6.3).
    Forgotten { peer: PeerId },
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
    /// Send the initiation again, or give up.
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
    pub endpoint: Option<SocketAddr>,
    /// When the newest session was agreed.
    pub last_handshake: Option<Time>,
    /// Initiations sent since the last session that nobody has answered.
    pub unanswered: u32,
    /// Authenticated transport bytes received, headers included.
    pub received: u64,
    pub sent: u64,
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

/// Why a device cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("a peer has our own public key")]
    PeerIsUs,
}

/// Control of one interface. See the crate's front page.
pub struct Device(());

impl Device {
    /// A device with its first peers, and the two halves that go with it.
    ///
    /// # Errors
    /// [`Error::PeerIsUs`] if a peer has our own public key.
    pub fn new(config: Config, peers: Vec<PeerConfig>, now: Time) -> Result<(Self, Outbound, Inbound), Error> {
        let _ = (config, peers, now);
        Err(Error::PeerIsUs)
    }

    pub fn handle(&mut self, input: Input<'_>, now: Now, out: &mut impl Sink) {
        let _ = (input, now, out);
    }

    /// [`Device::handle`] for a key in memory: requests for a Diffie-Hellman are answered in the same turn.
    pub fn handle_with(&mut self, key: &SoftwareKey, input: Input<'_>, now: Now, out: &mut impl Sink) {
        let _ = (key, input, now, out);
    }

    /// When to call [`Device::handle`] with [`Input::Tick`] at the latest. `None`: nothing is due until something happens.
    pub fn deadline(&self) -> Option<Deadline> {
        None
    }

    pub fn peer(&self, public_key: &PublicKey) -> Option<PeerId> {
        let _ = public_key;
        None
    }

    pub fn status(&self) -> impl Iterator<Item = PeerStatus> {
        std::iter::empty()
    }
}
