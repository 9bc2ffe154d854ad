//! A PIN on its way from the user to the card: wiped when dropped, and never printed.

use crate::Error;
use zeroize::Zeroizing;

/// What the user typed. Without `Debug`, so that it cannot reach a log; cloned only to keep it until the session locks.
#[derive(Clone)]
pub struct Pin(Zeroizing<Vec<u8>>);

impl Pin {
    /// Longest PIN that any card takes (OpenPGP card 3.4, 4.3.1: at most 7F).
    pub const MAX: usize = 127;

    /// Takes over what was typed, up to 127 bytes of UTF-8 as the card expects it; the bytes are wiped with the `Pin`.
    ///
    /// # Errors
    /// [`Error::PinLength`] when empty or too long for any card.
    pub fn new(typed: Zeroizing<Vec<u8>>) -> Result<Self, Error> {
        if (1..=Self::MAX).contains(&typed.len()) {
            Ok(Self(typed))
        } else {
            Err(Error::PinLength {
                min: 1,
                max: Self::MAX,
            })
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}
