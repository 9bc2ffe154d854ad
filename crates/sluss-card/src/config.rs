//! What the worker is told once: which card and key it serves, and how long a PIN lasts.

use crate::certificate;
use crate::pkcs11::Launch;
use crate::sealed::SealedKey;
use std::fmt;
use std::str::FromStr;

/// The worker's settings.
#[derive(Clone)]
pub struct Config {
    /// The card and key to serve. Without it every card is [`crate::Error::NotEnrolled`], and nothing is asked of it.
    pub binding: Option<Binding>,
    /// The way to the cards.
    pub access: Access,
    /// Whether the PIN is kept.
    pub pin: PinLife,
    /// What the card is told after each use.
    pub after_use: AfterUse,
    /// Whether the PIN that every new card has is taken.
    pub allow_factory_pin: bool,
    /// What the certificate beside the card's key must be like; without it nobody looks at it.
    pub certificate: Option<certificate::Source>,
}

/// Which card and key to serve.
#[derive(Clone)]
pub struct Binding {
    /// As in [`crate::CardInfo::serial`].
    pub serial: String,
    /// WireGuard's public key, little-endian as in RFC 7748: a held key's own, or that of the software key that is sealed.
    pub public_key: [u8; 32],
    /// Where on the card the key is.
    pub id: KeyId,
    /// What the card's key is for.
    pub source: KeySource,
}

/// Where WireGuard's private key is.
#[derive(Clone)]
pub enum KeySource {
    /// On the card, which computes each Diffie-Hellman.
    Held,
    /// Nowhere but in this, which the card opens.
    Sealed(SealedKey),
}

/// Names a key on a card: `openpgp:dec`, `piv:9d`, or `pkcs11:` and the key's CKA_ID in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyId {
    /// The decryption key of an OpenPGP card (OpenPGP card 3.4, 4.4.3.9).
    OpenPgp,
    /// The key management key of a PIV card (SP 800-73-4 part 1, 3.1.3).
    Piv,
    /// CKA_ID of a key behind PKCS#11.
    Pkcs11(Vec<u8>),
}

/// The way to the cards.
#[derive(Debug, Clone)]
pub enum Access {
    /// The host's smart card service.
    Pcsc,
    /// A PKCS#11 module for keys that are named `pkcs11:…`; for all others as [`Access::Pcsc`].
    Pkcs11(Launch),
}

/// How long a PIN lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PinLife {
    /// As long as the card remembers that it was verified.
    Ask,
    /// Until the card leaves, or [`crate::Command::Lock`] or [`crate::Command::Forget`]: kept in locked memory, and shown to
    /// the card again, once, when another program made it forget.
    UntilLock,
}

/// What the card is told after each operation that used the verified state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterUse {
    /// Nothing: every program on the laptop can use the key while the card is powered.
    Keep,
    /// To forget that the PIN was verified.
    Unverify,
    /// A reset, which every program that uses the card will feel.
    Reset,
}

/// What is wrong with a key's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a key is named openpgp:dec, piv:9d, or pkcs11: and its CKA_ID in hexadecimal")]
pub struct BadKeyId;

impl FromStr for KeyId {
    type Err = BadKeyId;

    fn from_str(text: &str) -> Result<Self, BadKeyId> {
        match text.split_once(':') {
            Some(("openpgp", "dec")) => Ok(Self::OpenPgp),
            Some(("piv", "9d")) => Ok(Self::Piv),
            Some(("pkcs11", id)) => unhex(id).map(Self::Pkcs11).ok_or(BadKeyId),
            Some(_) | None => Err(BadKeyId),
        }
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OpenPgp => f.write_str("openpgp:dec"),
            Self::Piv => f.write_str("piv:9d"),
            Self::Pkcs11(id) => {
                f.write_str("pkcs11:")?;
                id.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

/// One to 255 bytes.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .chars()
        .map(|digit| u8::try_from(digit.to_digit(16)?).ok())
        .collect::<Option<_>>()?;
    let (pairs, []) = digits.as_chunks::<2>() else {
        return None;
    };
    (1..=255)
        .contains(&pairs.len())
        .then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keys_name_is_read_as_it_is_written() {
        for name in ["openpgp:dec", "piv:9d", "pkcs11:01", "pkcs11:00ff7a"] {
            assert_eq!(name.parse::<KeyId>().unwrap().to_string(), name);
        }
        let longest = format!("pkcs11:{}", "ab".repeat(255));
        assert!(longest.parse::<KeyId>().is_ok());
        let too_long = format!("{longest}ab");
        for wrong in [
            "",
            "openpgp",
            "piv:9a",
            "pkcs11:",
            "pkcs11:1",
            "pkcs11:0g",
            "pkcs11:+1",
            &too_long,
        ] {
            assert_eq!(wrong.parse::<KeyId>(), Err(BadKeyId), "{wrong}");
        }
    }
}
