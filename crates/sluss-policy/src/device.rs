//! What belongs to one laptop: its addresses in the tunnel and the card that is bound to it.

use std::{fmt, str};

use ipnet::IpNet;
use zeroize::Zeroizing;

use crate::document::Document;
use crate::policy::{SCHEMA, array, quoted, schema};
use crate::values::{base64, bytes, interface_address, label, list, text};
use crate::{DEVICE_KEYS, PolicyError, PresharedKey, PublicKey, Source, ValueError};

/// Larger than any sealed key, whose largest part is what an RSA key of 4096 bits makes of it.
const MAX_SEALED_KEY: usize = 4096;

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
    /// WireGuard's, by which the gateway knows the laptop.
    pub public_key: PublicKey,
    /// Which of the card's keys; `None`: the one that OpenPGP cards have for this, `openpgp:dec`. Never for a sealed key.
    pub key: Option<KeyId>,
    /// The WireGuard key, sealed to the card's; `None`: the card holds it. No secret without the card.
    pub sealed_key: Option<Vec<u8>>,
}

/// Names a key by the card's applet and the key's place in it: `openpgp:dec`, `piv:9d`, `pkcs11:2b1c`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyId(String);

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

    /// The text of a `device.toml` that reads back as this binding. Wiped on drop, for it may hold a preshared key.
    pub fn to_toml(&self) -> Zeroizing<String> {
        let Self {
            addresses,
            card,
            preshared_key,
        } = self;
        // Room enough that it never moves, which would leave a copy behind.
        let mut toml = Zeroizing::new(String::with_capacity(4 * MAX_SEALED_KEY));
        *toml += &format!("schema = {SCHEMA}\naddresses = {}\n", array(addresses));
        if let Some(key) = preshared_key {
            *toml += "preshared_key = \"";
            key.append_base64(&mut toml);
            *toml += "\"\n";
        }
        *toml += &card.to_string();
        toml
    }

    fn build(document: &mut Document<'_>) -> Option<Self> {
        let schema = schema(document);
        let addresses = document.required("addresses", list(8, interface_address));
        let card = CardBinding::build(document);
        let preshared_key = document.optional("preshared_key", text(str::parse));
        schema?;
        Some(Self {
            addresses: addresses?,
            card: card?,
            preshared_key,
        })
    }
}

impl CardBinding {
    fn build(document: &mut Document<'_>) -> Option<Self> {
        let serial = document.required("card.serial", text(label));
        let public_key = document.required("card.public_key", text(str::parse));
        let sealed_key = document.optional("card.sealed_key", text(bytes(MAX_SEALED_KEY)));
        let key = match &sealed_key {
            // It opens with one key and no other.
            Some(_) => Some(document.required("card.key", text(str::parse))?),
            None => document.optional("card.key", text(str::parse)),
        };
        Some(Self {
            serial: serial?,
            public_key: public_key?,
            key,
            sealed_key,
        })
    }
}

/// The section `[card]`.
impl fmt::Display for CardBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            serial,
            public_key,
            key,
            sealed_key,
        } = self;
        writeln!(f, "\n[card]\nserial = {}", quoted(serial))?;
        writeln!(f, "public_key = \"{public_key}\"")?;
        if let Some(key) = key {
            writeln!(f, "key = \"{key}\"")?;
        }
        if let Some(sealed_key) = sealed_key {
            writeln!(f, "sealed_key = \"{}\"", base64(sealed_key))?;
        }
        Ok(())
    }
}

impl KeyId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl str::FromStr for KeyId {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        // A CKA_ID of 255 bytes.
        const LIMIT: usize = 520;
        let plain = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        };
        match text.split_once(':') {
            Some((applet, key)) if plain(applet) && plain(key) && text.len() <= LIMIT => {
                Ok(Self(text.to_owned()))
            }
            Some(_) | None => Err(ValueError::NotAKeyId),
        }
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
