//! Enrolment: finds the keys that a laptop could be bound to, or makes one, proves it, and lets it sign the request.
//!
//! Apart from the desk, whose cards are bound already: one connection for one call, which blocks. [`survey`] spends no try and
//! changes nothing; [`perform`] may change a card, and leaves it so that it can be called again wherever it broke off.

mod bench;
pub(crate) mod holder;
mod perform;
#[cfg(test)]
mod tests;

use crate::applet::PinEntry;
use crate::certificate::Rule;
use crate::key::CardKey;
use crate::{Access, Algorithm, Binding, CardKind, KeyId, KeyMode, Pin};
use std::time::{Duration, Instant};

pub(crate) use bench::Bench;

/// What policy says about keys.
#[derive(Clone)]
pub struct Terms {
    /// The modes that may be used.
    pub modes: Vec<KeyMode>,
    /// Whether a key may be sealed under a signature, for want of something better.
    pub signature_wrap: bool,
    /// Whether the PIN that every new card has is taken.
    pub allow_factory_pin: bool,
    /// What the certificate of the card's key must be like; none is needed without a rule.
    pub certificate: Option<Rule>,
    /// The wall clock, since 1970-01-01 UTC.
    pub now: Duration,
    /// Nothing more is sent to a card after this.
    pub deadline: Instant,
}

/// A card, or a token behind PKCS#11.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// PC/SC name of the reader, or the name of the token's slot.
    pub reader: String,
    /// As in [`crate::CardInfo::serial`].
    pub serial: String,
    /// Where its keys are.
    pub kind: CardKind,
    /// As in [`crate::CardInfo::tries_left`].
    pub tries_left: u8,
    /// Whether the PIN can be typed on the reader.
    pub pin_pad: bool,
    /// Each place that has or can have a key, the one to take before others first.
    pub keys: Vec<CandidateKey>,
}

/// A place for a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CandidateKey {
    /// Its name.
    pub id: KeyId,
    /// What is there.
    pub found: Found,
    /// What can be made there; it would overwrite what is there.
    pub makes: Vec<Algorithm>,
}

/// What there is where a key could be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Empty,
    /// A key that the laptop can be bound to.
    Fit {
        /// How it would be used.
        mode: KeyMode,
        /// What kind of key it is.
        algorithm: Algorithm,
        /// Whom its certificate names.
        subject: Option<String>,
        /// Whether such a key can sign the request; whether this one may shows when it is asked.
        signs: bool,
    },
    /// A key that cannot serve, and why.
    Unfit(Error),
}

/// What [`perform`] is to do.
pub struct Order {
    /// As in [`Candidate::serial`].
    pub serial: String,
    /// As in [`CandidateKey::id`].
    pub id: KeyId,
    /// Make the key first, in place of what is there.
    pub make: Option<Algorithm>,
    /// The serial numbers of the cards whose keys or bindings may be lost.
    pub replace: Vec<String>,
    /// What the laptop is bound to now. The same key again keeps what it is bound by, unless it may be replaced.
    pub bound: Option<Binding>,
    /// The user's.
    pub pin: PinEntry,
    /// The user knows that this is the last try, of either PIN.
    pub last_try_consented: bool,
    /// What the card wants before it makes a key: PW3 of OpenPGP, the management key of PIV in hexadecimal.
    pub admin_pin: Option<Pin>,
}

/// A key that has shown what it can do: what the request tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenKey {
    /// As in [`crate::CardInfo::serial`].
    pub serial: String,
    /// Where it is.
    pub id: KeyId,
    /// What the card's key is for.
    pub mode: KeyMode,
    /// The card's key.
    pub key: CardKey,
    /// WireGuard's public key, little-endian as in RFC 7748.
    pub public_key: [u8; 32],
    /// What lies beside the key on the card: whom it names (RFC 4514), and X.509 in DER.
    pub certificate: Option<(String, Vec<u8>)>,
}

/// What came of an [`Order`]: all that is to be written down.
pub struct Enrolment {
    /// For [`crate::Config::binding`]; a sealed key in it gives its file by [`crate::sealed::SealedKey::to_file`].
    pub binding: Binding,
    /// What was told to the request's author.
    pub key: ProvenKey,
    /// Whether the key is new on the card.
    pub made: bool,
    /// The card's signature of the request.
    pub signature: Option<Signature>,
}

/// The card's signature, checked by us with [`ProvenKey::key`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// How it was made.
    pub scheme: Scheme,
    /// RSA: as long as the modulus. ECDSA: `ECDSA-Sig-Value` in DER (RFC 3279, 2.2.3).
    pub value: Vec<u8>,
}

/// How a request is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017, 8.2).
    RsaPkcs1Sha256,
    /// ECDSA on P-256 with SHA-256 (FIPS 186-5, 6).
    EcdsaP256Sha256,
    /// ECDSA on P-384 with SHA-384 (FIPS 186-5, 6).
    EcdsaP384Sha384,
}

/// Why a laptop cannot be bound. The first group is the user's to mend, the second the card's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no card of that serial number.
    #[error("there is no such card")]
    NoSuchCard,
    /// The card has no such key, and no place for one.
    #[error("the card has no such key")]
    NoSuchKey,
    /// There is a key where one is to be made, and nobody said that it may be lost.
    #[error("there is a key already")]
    KeyExists,
    /// The laptop is bound to another key, and nobody said that the binding may be lost.
    #[error("the laptop is bound to another key")]
    AlreadyBound,
    /// Policy does not want keys of this mode.
    #[error("the policy does not allow such a key")]
    Forbidden,
    /// To make a key the card wants its administrator.
    #[error("the card wants its administrator's PIN or key")]
    AdminPinNeeded,
    /// No administrator's PIN or key of this card looks like that. Nothing was sent.
    #[error("the administrator's PIN or key cannot be one")]
    AdminPinFormat,
    /// The card refused the administrator's PIN or key.
    #[error("wrong administrator's PIN or key")]
    WrongAdminPin {
        /// Tries left, where the card tells.
        left: Option<u8>,
    },
    /// No tries are left for the administrator's PIN.
    #[error("the administrator's PIN is blocked")]
    AdminPinBlocked,

    /// The card makes no such keys, or makes none there.
    #[error("the card cannot make such a key")]
    CannotMake,
    /// The card computed something else than its public key says.
    #[error("the card does not compute what its public key says")]
    Unproven,
    /// What can go wrong with any card.
    #[error(transparent)]
    Card(#[from] crate::Error),
}

/// Looks at every card that there is: those with a usable application, and the readers whose card has none, with the reason.
///
/// # Errors
/// When there is no way to any card.
pub fn survey(access: &Access, terms: &Terms) -> Result<Survey, crate::Error> {
    bench::survey(access, terms)
}

/// What [`survey`] found.
#[derive(Debug, Default)]
pub struct Survey {
    /// A card with two applications is there twice.
    pub cards: Vec<Candidate>,
    /// Readers with something else in them.
    pub others: Vec<(String, crate::Error)>,
}

/// Does what is ordered. `compose` writes the request, whose text the card's key then signs if it can.
///
/// Nothing is lost that [`Order::replace`] does not name: not a key on the card, nor the present binding. The PIN is verified before a key
/// is made. The card is reset in the end: it forgets the user as well as the administrator.
///
/// # Errors
/// [`Error`]. A key that was made stays on the card: the same order without `make` takes it.
pub fn perform(
    access: &Access,
    terms: &Terms,
    order: &Order,
    compose: &mut dyn FnMut(&ProvenKey) -> String,
) -> Result<Enrolment, Error> {
    bench::open(access, terms, &order.serial, &order.id, &mut |bench| {
        perform::perform(bench, terms, order, compose)
    })
}
