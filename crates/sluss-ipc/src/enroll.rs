//! Enrolment: the cards and keys that there are, and the order to bind the laptop to one of them.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Algorithm, CardFault, CardKind, KeyMode, Pin, SCHEMA};

/// What there is to choose from: what `sluss enroll --survey --json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Survey {
    /// The version of this schema.
    #[schemars(extend("const" = SCHEMA))]
    pub schema: u32,
    /// What the laptop is bound to now.
    pub bound: Option<Bound>,
    /// The cards in all readers; a card with two applications is there twice.
    pub cards: Vec<Candidate>,
    /// Readers that hold something else.
    pub others: Vec<OtherCard>,
}

/// A card that no laptop can be bound to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OtherCard {
    /// The reader's name, from the reader.
    pub reader: String,
    pub fault: CardFault,
}

/// The card and key that the laptop is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Bound {
    pub serial: String,
    /// As in [`CandidateKey::id`].
    pub key: String,
    pub mode: KeyMode,
    /// Base64 of the tunnel's X25519 public key.
    pub public_key: String,
    /// In CIDR notation.
    pub addresses: Vec<String>,
    pub preshared_key: bool,
}

/// A card that the laptop could be bound to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Candidate {
    /// The reader's name, from the reader.
    pub reader: String,
    /// The serial number, from the card.
    pub serial: String,
    pub kind: CardKind,
    /// None if the card does not tell.
    pub tries_left: Option<u8>,
    /// The reader has a pin pad: the PIN is typed there and nowhere else.
    pub pin_pad: bool,
    /// The keys that it has or could have, the one to take before others first.
    pub keys: Vec<CandidateKey>,
}

/// A key, or the room for one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CandidateKey {
    /// Its short name, such as `openpgp:dec` or `piv:9d`.
    pub id: String,
    pub found: FoundKey,
    /// What can be made there, the best first; it would overwrite what was found.
    pub makes: Vec<Algorithm>,
}

/// What there is where a key could be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum FoundKey {
    /// Nothing.
    Empty,
    /// A key that the laptop can be bound to.
    Fit {
        /// How it would be used.
        mode: KeyMode,
        algorithm: Algorithm,
        /// The subject of its certificate (RFC 4514).
        subject: Option<String>,
        /// Whether it can sign the request.
        signs: bool,
    },
    /// A key that cannot serve.
    Unfit { fault: KeyFault },
}

/// Why a key cannot serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KeyFault {
    /// It is of a kind that cannot open a tunnel.
    Unsupported,
    /// The policy forbids to use such a key.
    Forbidden,
    /// The policy's rules for certificates are not met.
    Certificate { fault: CardFault },
}

/// The order to bind the laptop. Without `Debug`: it holds secrets.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// As in [`Candidate::serial`].
    pub serial: String,
    /// As in [`CandidateKey::id`].
    pub key: String,
    /// Make the key first. None: take the one that is there.
    pub make: Option<Algorithm>,
    /// The serial numbers of the cards whose keys may be lost: as the user typed them, to be compared by the daemon.
    pub replace: Vec<String>,
    /// What people call the laptop; for the request.
    pub device: String,
    /// Ours in the tunnel, in CIDR notation.
    pub addresses: Vec<String>,
    pub preshared_key: Option<PresharedKey>,
    /// None: it is typed on the reader's pin pad.
    pub pin: Option<Pin>,
    /// The user agrees to spend the last try.
    pub last_try: bool,
    /// What the card wants before it makes a key: PW3 of OpenPGP, the management key of PIV in hexadecimal.
    pub admin_pin: Option<Pin>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Enrolled {
    /// The version of this schema.
    #[schemars(extend("const" = SCHEMA))]
    pub schema: u32,
    /// Base64 of the tunnel's X25519 public key.
    pub public_key: String,
    pub mode: KeyMode,
    /// The enrolment request, a file in TOML for the gateway's administrator.
    pub request: String,
    /// Whether the card's key has signed it.
    pub signed: bool,
}

/// Why the laptop was not bound. The state before holds unless it says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EnrolmentFault {
    /// There is no card of that serial number.
    NoSuchCard,
    /// The card has no such key.
    NoSuchKey,
    /// The card cannot make such a key there.
    CannotMake,
    /// There is a key, which would be lost.
    KeyExists,
    /// The laptop is bound to another key, whose binding would be lost.
    AlreadyBound,
    /// The key cannot serve.
    Unfit {
        fault: KeyFault,
    },
    /// The card wants its administrator's PIN or key.
    AdminPinNeeded,
    WrongAdminPin {
        /// None if the card does not tell.
        tries_left: Option<u8>,
    },
    AdminPinBlocked,
    /// The administrator's PIN or key cannot be one, and was not sent.
    AdminPinFormat,
    /// The name of the laptop or an address is none.
    BadName,
    BadAddress,
    /// The card does not compute what its public key says.
    Unproven,
    /// A file that the policy names, of certificates or middleware, cannot be used.
    PolicyFiles,
    /// The binding could not be written; a key that was made stays on the card.
    NotWritten,
}

/// A WireGuard preshared key on its way to the daemon: travels as a [`Pin`] does, wiped and without `Debug`.
pub struct PresharedKey(Pin);

impl PresharedKey {
    /// None if it is not 32 bytes.
    pub fn new(bytes: Pin) -> Option<Self> {
        (bytes.bytes().len() == 32).then_some(Self(bytes))
    }

    pub fn bytes(&self) -> &[u8] {
        self.0.bytes()
    }
}

impl Serialize for PresharedKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for PresharedKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = Pin::deserialize(deserializer)?;
        let length = bytes.bytes().len();
        Self::new(bytes).ok_or_else(|| serde::de::Error::invalid_length(length, &"32 bytes"))
    }
}
