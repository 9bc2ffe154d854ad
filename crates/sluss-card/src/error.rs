//! What can go wrong with a card, by who can do something about it.

use crate::apdu::StatusWord;
use crate::{CardKind, certificate, pkcs11, sealed};

/// One error for the crate. The first group is for the user, the second the card's fault, the third the host's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The user: no card to serve, or it left while it was asked.
    #[error("the card is not in the reader")]
    Gone,
    /// The user: the PIN has to be verified first.
    #[error("the card is locked")]
    Locked,
    /// The user: the card refused the PIN.
    #[error("wrong PIN, {left} tries left")]
    WrongPin {
        /// Tries left after this one; never 0.
        left: u8,
    },
    /// The user: one try is left and it was not said that it may be spent. Nothing was sent.
    #[error("only one PIN try is left")]
    OneTryLeft,
    /// The user, or the help desk: no tries are left.
    #[error("the PIN is blocked")]
    Blocked,
    /// The user: no PIN of this card has such a length. Nothing was sent.
    #[error("the PIN must have {min} to {max} characters")]
    PinLength {
        /// Fewest bytes the card takes.
        min: usize,
        /// Most bytes the card takes.
        max: usize,
    },
    /// The user: the PIN is the one that every new card has, and policy does not take it. Nothing was sent.
    #[error("the card still has the PIN it was made with; change it first")]
    FactoryPin,
    /// The user: nothing was typed on the reader's keys in time, or it was cancelled there.
    #[error("no PIN was typed on the reader")]
    Declined,
    /// The user: the reader has no keys to type a PIN on.
    #[error("the reader has no PIN pad")]
    NoPinPad,
    /// The user, or the help desk: no card has been bound to this laptop.
    #[error("this laptop has no card enrolled")]
    NotEnrolled,
    /// The user: a good card, but not the one that this laptop is bound to, or a second one.
    #[error("card {serial} is not the one in use")]
    OtherCard {
        /// Its serial number.
        serial: String,
    },
    /// The help desk: the enrolled card, but its key is another than when it was enrolled.
    #[error("the card's key is not the one that was enrolled")]
    OtherKey,
    /// The help desk: the card's certificate is not what policy wants.
    #[error("{0}")]
    Certificate(certificate::Refusal),

    /// The card does not have the application that the enrolled key is in.
    #[error("the card has no {} application", name(.0))]
    NoApplet(CardKind),
    /// The card has no key where the enrolled one is.
    #[error("the card has no decryption key")]
    NoKey,
    /// The card's key is of a kind that cannot do what it is to do.
    #[error("the card's key is of a kind that is not supported")]
    Unsupported,
    /// The card wants the PIN hashed by the host (KDF-DO, OpenPGP card 3.4, 4.3.2), which is not supported.
    #[error("the card wants its PIN hashed (KDF-DO), which is not supported")]
    HashedPin,
    /// The card said no.
    #[error("the card refused to {step} (status {status})")]
    Refused {
        /// What was asked of it.
        step: &'static str,
        /// Its status word.
        status: StatusWord,
    },
    /// The card's answer cannot be right.
    #[error("the card answered nonsense when asked to {step}: {what}")]
    Nonsense {
        /// What was asked of it.
        step: &'static str,
        /// What is wrong with the answer.
        what: &'static str,
    },
    /// The Diffie-Hellman gave zero: the peer's key is of small order, or the card is broken.
    #[error("the card computed an all-zero secret")]
    ZeroSecret,

    /// The card gives no answer to reset: upside down, dirty, or no chip card.
    #[error("the card does not respond; is it the right way round?")]
    Mute,
    /// Card, reader or another program did not let go in time. The answer, if one comes, is ignored.
    #[error("the card did not answer in time")]
    Timeout,
    /// The sealed key is not what was enrolled, or does not open with this card.
    #[error("{0}")]
    SealedKey(sealed::Error),
    /// The host has no memory that is safe for a secret.
    #[error("the host has no locked memory for the key")]
    NoMemory,
    /// Another program uses the card exclusively.
    #[error("another program uses the card exclusively")]
    Busy,
    /// The PKCS#11 module does not do what it should.
    #[error(transparent)]
    Module(pkcs11::Failure),
    /// PC/SC service or reader failed.
    #[error("the smart card service failed: {0}")]
    Service(pcsc::Error),
}

impl Error {
    /// The card is what it is: looking again would show the same.
    pub(crate) fn is_lasting(&self) -> bool {
        match self {
            Self::NoApplet(_)
            | Self::NoKey
            | Self::Unsupported
            | Self::HashedPin
            | Self::NotEnrolled
            | Self::OtherKey
            | Self::SealedKey(_)
            | Self::Certificate(_)
            | Self::OtherCard { .. } => true,
            Self::FactoryPin | Self::Declined | Self::NoPinPad | Self::NoMemory => false,
            Self::Gone
            | Self::Locked
            | Self::WrongPin { .. }
            | Self::OneTryLeft
            | Self::Blocked => false,
            Self::PinLength { .. }
            | Self::Refused { .. }
            | Self::Nonsense { .. }
            | Self::ZeroSecret => false,
            Self::Mute | Self::Timeout | Self::Busy | Self::Module(_) | Self::Service(_) => false,
        }
    }

    /// After this it is not certain that the same card is still there and works.
    pub(crate) fn casts_doubt(&self) -> bool {
        match self {
            Self::Locked
            | Self::WrongPin { .. }
            | Self::OneTryLeft
            | Self::Blocked
            | Self::PinLength { .. } => false,
            Self::ZeroSecret | Self::Timeout => false,
            Self::FactoryPin
            | Self::Declined
            | Self::NoPinPad
            | Self::NoMemory
            | Self::SealedKey(_) => false,
            Self::NoApplet(_)
            | Self::NoKey
            | Self::Unsupported
            | Self::HashedPin
            | Self::NotEnrolled
            | Self::OtherKey
            | Self::Certificate(_)
            | Self::OtherCard { .. } => true,
            Self::Gone | Self::Refused { .. } | Self::Nonsense { .. } | Self::Mute | Self::Busy => {
                true
            }
            Self::Module(_) | Self::Service(_) => true,
        }
    }
}

fn name(kind: &CardKind) -> &'static str {
    match kind {
        CardKind::OpenPgp => "OpenPGP",
        CardKind::Piv => "PIV",
        CardKind::Pkcs11 => "PKCS#11",
    }
}

/// What a failed PC/SC call means for the card.
impl From<pcsc::Error> for Error {
    fn from(error: pcsc::Error) -> Self {
        match error {
            // pcsc-lite calls it "not transacted" when the reader got no answer from the card: one that has just been
            // pulled, before the reader's own poll notices, or one with bad contacts
            pcsc::Error::NoSmartcard | pcsc::Error::RemovedCard | pcsc::Error::NotTransacted => {
                Self::Gone
            }
            pcsc::Error::UnknownReader
            | pcsc::Error::ReaderUnavailable
            | pcsc::Error::NoReadersAvailable => Self::Gone,
            pcsc::Error::UnresponsiveCard
            | pcsc::Error::UnpoweredCard
            | pcsc::Error::UnsupportedCard => Self::Mute,
            pcsc::Error::SharingViolation => Self::Busy,
            other => Self::Service(other),
        }
    }
}
