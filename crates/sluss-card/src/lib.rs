//! One card, one key: APDUs, the OpenPGP card, PIN tries, and the PC/SC worker at its edge.
//!
//! The WireGuard static key lives on the card, which computes the Diffie-Hellman of each handshake. Two halves:
//!
//! - Pure: [`apdu`], [`tlv`] and [`openpgp`] speak to a card through [`apdu::Transmit`]; `desk` decides which card
//!   serves which request, and what a hang means. No I/O, no clock, no threads.
//! - Edge: `watcher` waits for cards to come and go, `operator` holds the connection to one card, and [`start`] ties
//!   them to the desk. A PC/SC call may block without limit, so every thread that makes one can be abandoned.
//!
//! Requests go in by [`Cards::send`], everything that happened comes out as an [`Event`].

pub mod apdu;
mod desk;
mod error;
pub mod openpgp;
mod operator;
mod pin;
#[cfg(test)]
mod script;
mod secret;
pub mod tlv;
mod watcher;
mod worker;

pub use error::Error;
pub use pin::Pin;
pub use secret::SharedSecret;
pub use worker::{Cards, start};

use std::fmt;

/// Names one request; its answer carries the same number. The caller numbers as it likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Op(pub u64);

/// Which card to serve. Absent fields match anything; the first card that matches is the one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Binding {
    /// As in [`CardInfo::serial`].
    pub serial: Option<String>,
    /// The X25519 public key, little-endian as in RFC 7748.
    pub public_key: Option<[u8; 32]>,
}

impl Binding {
    /// Whether this is the bound card.
    pub fn matches(&self, card: &CardInfo) -> bool {
        self.serial
            .as_ref()
            .is_none_or(|serial| *serial == card.serial)
            && self.public_key.is_none_or(|key| key == card.public_key)
    }
}

/// What a usable card says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardInfo {
    /// Manufacturer and serial number in hexadecimal, `0006:12345678` (OpenPGP card 3.4, 4.2.1).
    pub serial: String,
    /// Which applet holds the key.
    pub kind: CardKind,
    /// The X25519 public key, little-endian as in RFC 7748.
    pub public_key: [u8; 32],
    /// PIN tries left; 0 means blocked.
    pub tries_left: u8,
    /// Whether the card would use its key now, without a PIN.
    pub verified: bool,
}

/// The applet that holds the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CardKind {
    /// X25519 in the decryption slot of an OpenPGP card.
    OpenPgp,
}

/// What the card is asked to do. Every command is answered exactly once, within its timeout.
pub enum Command {
    /// Verify the PIN, once. Answered by [`Event::Verified`].
    ///
    /// The tries are read first: nothing is spent when the PIN cannot be right by its length, when the PIN is blocked
    /// ([`Error::Blocked`]), or when one try is left and the user has not said that it may go ([`Error::OneTryLeft`]).
    Verify {
        /// The card the PIN belongs to: any other card answers [`Error::Gone`] without seeing it.
        serial: String,
        /// What the user typed.
        pin: Pin,
        /// The user knows that this is the last try.
        last_try_consented: bool,
    },
    /// Compute X25519(card's key, `with`). Answered by [`Event::Dh`].
    Dh {
        /// The other side's public key, little-endian as in RFC 7748.
        with: [u8; 32],
    },
    /// Make the card forget that the PIN was verified. Answered by [`Event::Relocked`].
    Lock,
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
    /// The inserted card lost its verified state: another program reset it or selected another applet.
    Locked {
        /// PC/SC name of the reader.
        reader: String,
    },
    /// Answer to [`Command::Verify`].
    Verified {
        /// The request.
        op: Op,
        /// `WrongPin`, `Blocked`, `OneTryLeft`, `PinLength`, `Gone`, `Timeout`, …
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
            Self::Refreshed { op, result } => answer(f, "refresh", *op, result),
        }
    }
}
