//! The policy: gateway, internal prefixes, beacons, and what a user may do.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::{PolicyError, PublicKey, Source, SpkiPin};

/// Everything IT decides. Made by [`Policy::parse`] alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub gateway: Gateway,
    /// Internal prefixes, IPv4 and IPv6: what the tunnel carries, and what never leaves outside of it.
    pub internal: Vec<IpNet>,
    /// Evidence of being inside. Without one the laptop is always outside.
    pub beacons: Vec<Beacon>,
    pub tunnel: TunnelSettings,
    pub user: UserRights,
    pub timing: Timing,
    pub support: Support,
}

/// The WireGuard peer inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// What people call it; shown, never looked up.
    pub name: String,
    /// Literal, at least one; the first is tried first.
    pub endpoints: Vec<SocketAddr>,
    pub public_key: PublicKey,
}

/// A TLS endpoint that only the internal network can reach, known by its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beacon {
    pub name: String,
    pub address: SocketAddr,
    /// At least one; several while a key is being changed.
    pub pins: Vec<SpkiPin>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelSettings {
    /// Bytes of an inner IP packet.
    pub mtu: u16,
    /// WireGuard's persistent keepalive; `None` keeps an idle laptop idle.
    pub keepalive: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRights {
    /// Whether `sluss down` is allowed.
    pub may_disconnect: bool,
}

/// How long to wait for what. The defaults are right for nearly everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    /// The network must have been quiet for so long before it is probed.
    pub settle_quiet: Duration,
    /// It is probed so long after the first change, quiet or not.
    pub settle_limit: Duration,
    /// A beacon must have proved itself within this time.
    pub probe_timeout: Duration,
    /// Pause before the first new attempt after the tunnel failed; doubles with each failure.
    pub retry_first: Duration,
    /// The longest such pause.
    pub retry_limit: Duration,
}

/// Whom the user turns to; shown when things fail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Support {
    pub phone: Option<String>,
    pub web: Option<String>,
}

impl Policy {
    /// Reads the policy from its files, in the order in which later ones override earlier ones.
    ///
    /// A key's last word counts; a list, and that of the beacons too, is replaced as a whole.
    ///
    /// # Errors
    /// All mistakes that could be found at once, in the order of the files.
    pub fn parse(sources: &[Source<'_>]) -> Result<Self, Vec<PolicyError>> {
        let _ = sources;
        Err(Vec::new())
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            settle_quiet: Duration::from_millis(250),
            settle_limit: Duration::from_secs(2),
            probe_timeout: Duration::from_millis(800),
            retry_first: Duration::from_secs(1),
            retry_limit: Duration::from_secs(60),
        }
    }
}
