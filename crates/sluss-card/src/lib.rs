//! One card, one key: held or sealed, on an OpenPGP card, a PIV card or behind PKCS#11; PIN tries; and the worker at its edge.
//!
//! The WireGuard static key lives on the card, which computes the Diffie-Hellman of each handshake, or is sealed to the card's
//! key and opened by it. Whoever asks for a Diffie-Hellman need not know which. Two halves:
//!
//! - Pure: [`openpgp`] and [`piv`] speak to a card through [`apdu::Transmit`], and are an [`applet::Applet`] each; `attend` has
//!   the rules for PINs and keys, `keeper` what outlasts an operation, [`sealed`] and [`certificate`] the formats; `desk`
//!   decides which card serves which request, and what a hang means. No I/O, no clock, no threads.
//! - Edge: `watcher` waits for cards to come and go, `operator` does one task at a time by way of a `connection` to PC/SC or of
//!   [`pkcs11`], and [`start`] ties them to the desk. Each of these calls may block without limit, so every thread that makes
//!   one can be abandoned.
//!
//! Requests go in by [`Cards::send`], everything that happened comes out as an [`Event`].

pub mod apdu;
pub mod applet;
mod attend;
pub mod certificate;
mod config;
mod connection;
mod desk;
pub mod enroll;
mod error;
mod keeper;
pub mod key;
mod line;
pub mod openpgp;
mod operator;
mod pin;
mod pinpad;
pub mod piv;
pub mod pkcs11;
mod rsa;
#[cfg(test)]
mod script;
pub mod sealed;
mod secret;
pub mod tlv;
mod vault;
mod watcher;
mod worker;
pub mod x25519;

pub use applet::PinEntry;
pub use config::{Access, AfterUse, BadKeyId, Binding, Config, KeyId, KeySource, PinLife};
pub use error::Error;
pub use key::Algorithm;
pub use pin::Pin;
pub use pinpad::PadVerify;
pub use secret::SharedSecret;
pub use vault::{HeapVault, Item, Vault};
pub use worker::{Cards, start};

use std::fmt;

/// Names one request; its answer carries the same number. The caller numbers as it likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Op(pub u64);

/// What a usable card says about itself and the key that it is bound by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardInfo {
    /// OpenPGP: manufacturer and serial number in hexadecimal, `0006:12345678` (OpenPGP card 3.4, 4.2.1).
    pub serial: String,
    /// Where the key is.
    pub kind: CardKind,
    /// What the card's key is for.
    pub mode: KeyMode,
    /// What kind of key the card's is.
    pub algorithm: Algorithm,
    /// WireGuard's public key, little-endian as in RFC 7748.
    pub public_key: [u8; 32],
    /// Whom the certificate beside the key names (RFC 4514), where a policy asked for one.
    pub subject: Option<String>,
    /// PIN tries left; 0 means blocked. PKCS#11 tells only 3 (all), 2 (some are lost), 1 (the last), 0.
    pub tries_left: u8,
    /// Whether a Diffie-Hellman would be answered now, without asking the user.
    pub ready: bool,
    /// Whether the PIN can be typed on the reader.
    pub pin_pad: bool,
}

/// Where a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CardKind {
    /// The decryption slot of an OpenPGP card.
    OpenPgp,
    /// The key management slot of a PIV card.
    Piv,
    /// A token behind a PKCS#11 module.
    Pkcs11,
}

/// What the card's key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyMode {
    /// It is WireGuard's key: the card computes each Diffie-Hellman, and the key never leaves it.
    Held,
    /// It opens WireGuard's key, which is a software key sealed to it.
    Sealed,
}

/// What the card is asked to do. Every command is answered exactly once, within its timeout.
pub enum Command {
    /// Verify the PIN, once. Answered by [`Event::Verified`].
    ///
    /// The tries are read first: nothing is spent when the PIN cannot be right by its length, when it is every new card's
    /// ([`Error::FactoryPin`]), when it is blocked ([`Error::Blocked`]), or when one try is left and the user has not said
    /// that it may go ([`Error::OneTryLeft`]).
    Verify {
        /// The card the PIN belongs to: any other card answers [`Error::Gone`] without seeing it.
        serial: String,
        /// What the user typed, or that it is to be typed on the reader.
        pin: PinEntry,
        /// The user knows that this is the last try.
        last_try_consented: bool,
    },
    /// Compute X25519(card's key, `with`). Answered by [`Event::Dh`].
    Dh {
        /// The other side's public key, little-endian as in RFC 7748.
        with: [u8; 32],
    },
    /// Wipe a kept PIN and an unwrapped key, at once, and make the card forget that the PIN was verified. Answered by
    /// [`Event::Relocked`].
    Lock,
    /// Wipe a kept PIN and an unwrapped key, and give their memory back: the machine is about to sleep. The card is left as
    /// it is. Answered by [`Event::Forgotten`], at once.
    Forget,
    /// Read tries and verified state again; looks anew at cards that were unusable. Answered by [`Event::Refreshed`].
    Refresh,
}

/// What happened. Events come from one thread, in order.
pub enum Event {
    /// The PC/SC service answers. Also the first event of a healthy start.
    ServiceFound,
    /// The PC/SC service is gone; it is looked for until it is back. Cards were reported [`Event::Removed`] before this.
    ServiceLost {
        /// What the service's library said.
        reason: Error,
    },
    /// The card that is to be served is here, with a usable key. May follow `Unusable` without a removal, when a later look
    /// at the same card went well.
    Inserted {
        /// PC/SC name of the reader.
        reader: String,
        /// What the card says about itself.
        card: CardInfo,
    },
    /// A card is in the reader but cannot serve. After `Inserted`: it can serve no longer, though it was not pulled.
    Unusable {
        /// PC/SC name of the reader.
        reader: String,
        /// Why, for the user.
        reason: Error,
    },
    /// The card left its reader, or the reader or the service left, or the card answers no more as if it had left. Comes
    /// once for each card that was `Inserted` or `Unusable`.
    Removed {
        /// PC/SC name of the reader.
        reader: String,
    },
    /// The inserted card would not answer any more without asking the user: another program reset it or selected another
    /// applet, and neither a kept PIN nor an unwrapped key makes up for it.
    Locked {
        /// PC/SC name of the reader.
        reader: String,
    },
    /// Answer to [`Command::Verify`].
    Verified {
        /// The request.
        op: Op,
        /// `WrongPin`, `Blocked`, `OneTryLeft`, `PinLength`, `FactoryPin`, `Declined`, `Gone`, `Timeout`, …
        result: Result<(), Error>,
    },
    /// Answer to [`Command::Dh`].
    Dh {
        /// The request.
        op: Op,
        /// `Locked`, `Gone`, `Timeout`, `ZeroSecret`, …
        result: Result<SharedSecret, Error>,
    },
    /// Answer to [`Command::Lock`].
    Relocked {
        /// The request.
        op: Op,
        /// `Gone`, `Timeout`, …
        result: Result<(), Error>,
    },
    /// Answer to [`Command::Forget`]: it is done.
    Forgotten {
        /// The request.
        op: Op,
    },
    /// Answer to [`Command::Refresh`].
    Refreshed {
        /// The request.
        op: Op,
        /// `Gone` when no card is there to be served.
        result: Result<CardInfo, Error>,
    },
}

/// For the log: everything but the secrets.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn answer<T>(
            f: &mut fmt::Formatter<'_>,
            what: &str,
            op: Op,
            result: &Result<T, Error>,
        ) -> fmt::Result {
            match result {
                Ok(_) => write!(f, "{what} {}: done", op.0),
                Err(error) => write!(f, "{what} {}: {error}", op.0),
            }
        }
        match self {
            Self::ServiceFound => write!(f, "smart card service found"),
            Self::ServiceLost { reason } => write!(f, "smart card service lost: {reason}"),
            Self::Inserted { reader, card } => {
                write!(f, "card {} inserted in {reader}", card.serial)
            }
            Self::Unusable { reader, reason } => {
                write!(f, "card in {reader} is unusable: {reason}")
            }
            Self::Removed { reader } => write!(f, "card removed from {reader}"),
            Self::Locked { reader } => write!(f, "card in {reader} lost its verified state"),
            Self::Verified { op, result } => answer(f, "verify", *op, result),
            Self::Dh { op, result } => answer(f, "dh", *op, result),
            Self::Relocked { op, result } => answer(f, "lock", *op, result),
            Self::Forgotten { op } => write!(f, "forget {}: done", op.0),
            Self::Refreshed { op, result } => answer(f, "refresh", *op, result),
        }
    }
}
