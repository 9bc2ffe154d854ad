//! A PIN on its way from the keyboard to the card.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{SeqAccess, Visitor},
};
use zeroize::Zeroizing;

/// A PIN: 1 to [`Pin::MAX`] bytes, wiped when dropped, and without `Debug`.
///
/// On the wire it is an array of numbers rather than a string: a JSON parser copies a string with escapes into a
/// scratch buffer of its own, which nobody would wipe.
pub struct Pin(Zeroizing<Vec<u8>>);

impl Pin {
    /// No card takes a longer one (OpenPGP card 3.4, 4.3.1 allows up to 127).
    pub const MAX: usize = 127;

    /// `None` if it is empty or too long for any card. Takes the buffer over, so that no copy stays behind.
    pub fn new(bytes: Zeroizing<Vec<u8>>) -> Option<Self> {
        (1..=Self::MAX)
            .contains(&bytes.len())
            .then_some(Self(bytes))
    }

    /// What goes to the card.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Serialize for Pin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter())
    }
}

impl<'de> Deserialize<'de> for Pin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(PinVisitor)
    }
}

struct PinVisitor;

impl<'de> Visitor<'de> for PinVisitor {
    type Value = Pin;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "1 to {} bytes", Pin::MAX)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Pin, A::Error> {
        // Never grown: a reallocation would leave a copy behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(Pin::MAX));
        while let Some(byte) = seq.next_element()? {
            if bytes.len() == Pin::MAX {
                return Err(serde::de::Error::invalid_length(Pin::MAX + 1, &self));
            }
            bytes.push(byte);
        }
        Pin::new(bytes).ok_or_else(|| serde::de::Error::invalid_length(0, &self))
    }
}
