//! The result of a Diffie-Hellman on the card: wiped when dropped, and never printed.

use zeroize::Zeroizing;

/// X25519 output, 32 bytes. Without `Debug`, so that it cannot reach a log.
pub struct SharedSecret(Zeroizing<[u8; 32]>);

impl SharedSecret {
    /// Takes the card's answer; all zeros (a peer key of small order) is no secret and gives `None`.
    pub(crate) fn new(bytes: [u8; 32]) -> Option<Self> {
        let secret = Self(Zeroizing::new(bytes));
        let any = secret.0.iter().fold(0, |any, byte| any | byte);
        (any != 0).then_some(secret)
    }

    /// The 32 bytes, little-endian as in RFC 7748.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}
