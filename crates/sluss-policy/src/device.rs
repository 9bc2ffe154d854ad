//! What belongs to one laptop: its addresses in the tunnel and the card that is bound to it.

use ipnet::IpNet;

use crate::{PolicyError, PresharedKey, PublicKey, Source};

/// The content of `device.toml` in the daemon's state directory.
#[derive(Clone)]
pub struct DeviceBinding {
    /// Ours in the tunnel, with the prefix length to set on the device; at least one.
    pub addresses: Vec<IpNet>,
    pub card: CardBinding,
    pub preshared_key: Option<PresharedKey>,
}

/// The one card that opens this laptop's tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardBinding {
    /// As the card worker tells it, for OpenPGP "manufacturer:number" in hexadecimal.
    pub serial: String,
    pub public_key: PublicKey,
}

impl DeviceBinding {
    /// Reads the binding from the text of `device.toml`.
    ///
    /// The text may hold a preshared key: the caller wipes it.
    ///
    /// # Errors
    /// All mistakes that could be found at once.
    pub fn parse(source: Source<'_>) -> Result<Self, Vec<PolicyError>> {
        let _ = source;
        Err(Vec::new())
    }
}
