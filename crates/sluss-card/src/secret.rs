//! The result of a Diffie-Hellman on the card: wiped when dropped, and never printed.

use crate::Error;
use zeroize::Zeroizing;

/// X25519 output, 32 bytes, never all zeros. Without `Debug`, so that it cannot reach a log; boxed, so that passing it on leaves
/// no copies behind.
pub struct SharedSecret(Box<Zeroizing<[u8; 32]>>);

impl SharedSecret {
    /// Takes the card's answer, `None` if that is not 32 bytes. Cards answer zeros to a key of small order, and the caller
    /// must not take them for a secret (RFC 7748, 6.1).
    ///
    /// # Errors
    /// [`Error::ZeroSecret`].
    pub(crate) fn from_answer(answer: &[u8]) -> Option<Result<Self, Error>> {
        if answer.len() != 32 {
            return None;
        }
        let mut secret = Self(Box::default());
        secret.0.copy_from_slice(answer);
        let any = answer.iter().fold(0, |any, byte| any | byte);
        Some(if any == 0 {
            Err(Error::ZeroSecret)
        } else {
            Ok(secret)
        })
    }

    /// The 32 bytes, little-endian as in RFC 7748.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}
