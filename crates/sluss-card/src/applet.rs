//! What the worker asks of whatever holds a key: an application on a card, or a token behind PKCS#11.
//!
//! An [`Applet`] lasts for one transaction, in which no other program can talk to the card. It carries out; whether a PIN
//! may be tried at all, whether it is kept, and what the key is used for is decided by who calls it.

use crate::key::CardKey;
use crate::{CardKind, Error, Pin, SharedSecret};
use zeroize::Zeroizing;

/// A card's application with the key, selected, for as long as nobody else can talk to the card.
pub trait Applet {
    /// As in [`crate::CardInfo::serial`].
    fn serial(&self) -> &str;

    /// Reads everything there is to know, spending no try.
    ///
    /// # Errors
    /// [`Error::NoKey`], [`Error::Unsupported`], [`Error::HashedPin`], [`Error::Refused`], [`Error::Nonsense`], and what
    /// the reader says.
    fn describe(&mut self) -> Result<Description, Error>;

    /// How it stands with the PIN, spending no try.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Nonsense`], and what the reader says.
    fn pin_status(&mut self) -> Result<PinStatus, Error>;

    /// Verifies the PIN, once, whatever the tries: who calls this has looked at [`Self::pin_status`] in the same transaction.
    ///
    /// # Errors
    /// [`Error::WrongPin`], [`Error::Blocked`], [`Error::NoPinPad`], [`Error::Declined`], [`Error::Refused`],
    /// [`Error::Nonsense`], and what the reader says: then it is unknown whether a try was spent.
    fn verify(&mut self, pin: &PinEntry) -> Result<(), Error>;

    /// Makes the card forget that the PIN was verified, or says that it would not.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Nonsense`], and what the reader says.
    fn unverify(&mut self) -> Result<(), Error>;

    /// Held keys: X25519 of the card's key and `with`, both little-endian as in RFC 7748.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::ZeroSecret`], [`Error::Refused`], [`Error::Nonsense`], and what the reader says.
    fn agree(&mut self, with: &[u8; 32]) -> Result<SharedSecret, Error>;

    /// Sealed keys: the card's part in opening one.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::Unsupported`], [`Error::Refused`], [`Error::Nonsense`], and what the reader says.
    fn answer(&mut self, challenge: &Challenge) -> Result<Answer, Error>;
}

/// Where the PIN comes from.
pub enum PinEntry {
    /// It was typed on the laptop.
    Typed(Pin),
    /// It is typed on the reader's own keys, and never seen by the host.
    OnPad,
}

/// What a card says about itself and the key that it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// As in [`crate::CardInfo::serial`].
    pub serial: String,
    /// Where the key is.
    pub kind: CardKind,
    /// The public half of the key.
    pub key: CardKey,
    /// X.509 in DER, as it lies beside the key on the card.
    pub certificate: Option<Vec<u8>>,
    /// How it stands with the PIN.
    pub pin: PinStatus,
}

/// How it stands with a card's PIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PinStatus {
    /// Tries left; 0 means blocked. PKCS#11 tells only 3 (all), 2 (some are lost), 1 (the last), 0.
    pub tries_left: u8,
    /// Fewest bytes that the card takes.
    pub shortest: usize,
    /// Most bytes that the card takes.
    pub longest: usize,
    /// Whether the card would use its key now, without a PIN.
    pub verified: bool,
    /// Whether the PIN can be typed on the reader.
    pub pad: bool,
}

/// What the card is asked so that a sealed key can be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// ECDH of the card's key with this uncompressed point of its own curve. [`Answer::Agreed`].
    Agree(Vec<u8>),
    /// RSA decryption of this ciphertext, as long as the modulus. [`Answer::Block`] or [`Answer::Plain`].
    Decrypt(Vec<u8>, Padding),
    /// RSA signature, PKCS#1 v1.5 with SHA-256 (RFC 8017, 8.2), of this message. [`Answer::Signed`].
    Sign(Vec<u8>),
}

/// How a challenge for RSA decryption was padded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// RFC 8017, 7.1, with SHA-256 for both hashes and an empty label.
    OaepSha256,
    /// RFC 8017, 7.2. Who sees a card refuse must not learn why.
    Pkcs1,
}

/// What the card answered to a [`Challenge`]; wiped when dropped, and never printed.
pub enum Answer {
    /// The shared point's X coordinate, as long as the curve's field.
    Agreed(Zeroizing<Vec<u8>>),
    /// The raw RSA operation's result, still padded, as long as the modulus.
    Block(Zeroizing<Vec<u8>>),
    /// What was encrypted: token or middleware took off the padding.
    Plain(Zeroizing<Vec<u8>>),
    /// The signature, as long as the modulus.
    Signed(Zeroizing<Vec<u8>>),
}
