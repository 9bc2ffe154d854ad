//! What a device and its peers are made from.

use core::time::Duration;

use ipnet::IpNet;

use crate::{Endpoints, PresharedKey, PublicKey, Tai64n, Timing};

/// What an interface is made from.
#[derive(Clone)]
pub struct Config {
    /// The public half of the static key; the private half is wherever [`crate::Output::Dh`] is answered.
    pub public_key: PublicKey,
    pub respond: Respond,
    pub timing: Timing,
    /// No TAI64N stamp at or below this is sent: what [`crate::Output::PersistStamp`] last said, read back at start.
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
    /// Packets go to the first from now on. None for a peer that we wait for, and on a change to leave it where it is.
    pub endpoints: Endpoints,
    pub allowed_ips: Vec<IpNet>,
    pub persistent_keepalive: Option<Duration>,
}

/// Why a device cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("a peer has our own public key")]
    PeerIsUs,
}
