//! Cards and readers: what they are, and why one cannot serve.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Key, SCHEMA};

/// The card that serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Card {
    /// The reader's name, from the reader.
    pub reader: String,
    /// The serial number, from the card.
    pub serial: String,
    pub kind: CardKind,
    pub mode: KeyMode,
    pub algorithm: Algorithm,
    /// How many wrong PINs until it blocks; None if the card does not tell.
    pub tries_left: Option<u8>,
}

/// What the card, or the module that speaks for it, calls itself in its own field's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CardKind {
    #[serde(rename = "OpenPGP")]
    OpenPgp,
    #[serde(rename = "PIV")]
    Piv,
    #[serde(rename = "PKCS#11")]
    Pkcs11,
}

impl CardKind {
    /// As it is called in every language.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OpenPgp => "OpenPGP",
            Self::Piv => "PIV",
            Self::Pkcs11 => "PKCS#11",
        }
    }
}

/// Where the tunnel's private key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KeyMode {
    /// In the card, which computes with it and never tells it.
    Held,
    /// On this laptop, sealed to a key in the card: in memory while the card is in and unlocked.
    Sealed,
}

/// What kind of key the card has for the tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Algorithm {
    X25519,
    #[serde(rename = "P-256")]
    P256,
    #[serde(rename = "P-384")]
    P384,
    #[serde(rename = "RSA-2048")]
    Rsa2048,
    #[serde(rename = "RSA-3072")]
    Rsa3072,
    #[serde(rename = "RSA-4096")]
    Rsa4096,
}

impl Algorithm {
    /// As it is called in every language.
    pub const fn name(self) -> &'static str {
        match self {
            Self::X25519 => "X25519",
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::Rsa2048 => "RSA-2048",
            Self::Rsa3072 => "RSA-3072",
            Self::Rsa4096 => "RSA-4096",
        }
    }
}

/// Why a card cannot serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CardFault {
    /// This laptop is bound to no card.
    NotEnrolled,
    /// It is not the card that this laptop is bound to.
    OtherCard,
    /// It has no key for the tunnel.
    NoKey,
    /// It has a kind, or an option, that is not supported.
    Unsupported,
    /// It answers what no card should.
    Nonsense,
    /// It does not answer.
    Silent,
    /// Another program uses it and lets nobody else.
    InUse,
    /// The middleware by which the policy has it reached crashed, hung, or does not know it.
    MiddlewareFailed,
    /// It has no certificate that the policy asks for.
    NoCertificate,
    /// It has more than one certificate that the policy would take, and with different keys.
    SeveralCertificates,
    /// Its certificate cannot be read.
    CertificateUnreadable,
    CertificateExpired,
    CertificateNotYetValid,
    CertificateRevoked,
    /// Its certificate does not lead to an issuer that the policy names.
    CertificateUntrusted,
    /// Its certificate is for another use than the policy asks for.
    CertificateWrongUsage,
    /// Its certificate is for somebody whom the policy does not mean.
    CertificateWrongSubject,
    /// Whether its certificate is revoked cannot be said: the revocation list is missing, too old or not its issuer's.
    RevocationUnknown,
}

/// Readers and cards: what `sluss card --json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CardReport {
    /// The version of this schema.
    #[schemars(extend("const" = SCHEMA))]
    pub schema: u32,
    pub key: Key,
    /// The readers that hold a card.
    pub readers: Vec<Reader>,
}

/// A reader with a card in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reader {
    pub name: String,
    pub card: ReaderCard,
}

/// The card in a reader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum ReaderCard {
    Usable {
        kind: CardKind,
        serial: String,
        mode: KeyMode,
        algorithm: Algorithm,
        /// The subject of its certificate, if the policy asks for one (RFC 4514).
        subject: Option<String>,
        /// Base64 of the tunnel's X25519 public key, as a WireGuard gateway wants it.
        public_key: String,
        tries_left: Option<u8>,
        /// The reader has a pin pad: its PIN is typed there and nowhere else.
        pin_pad: bool,
    },
    Unusable {
        fault: CardFault,
    },
}
