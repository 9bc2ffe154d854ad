//! What belongs to one laptop: its addresses in the tunnel and the card that is bound to it.

use ipnet::IpNet;

use crate::document::Document;
use crate::policy::schema;
use crate::values::{interface_address, label, list, text};
use crate::{DEVICE_KEYS, PolicyError, PresharedKey, PublicKey, Source};

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
        let sources = [source];
        let mut document = Document::read(&sources, DEVICE_KEYS);
        let binding = Self::build(&mut document);
        document.finish(binding)
    }

    fn build(document: &mut Document<'_>) -> Option<Self> {
        let schema = schema(document);
        let addresses = document.required("addresses", list(8, interface_address));
        let serial = document.required("card.serial", text(label));
        let public_key = document.required("card.public_key", text(str::parse));
        let preshared_key = document.optional("preshared_key", text(str::parse));
        schema?;
        Some(Self {
            addresses: addresses?,
            card: CardBinding {
                serial: serial?,
                public_key: public_key?,
            },
            preshared_key,
        })
    }
}
