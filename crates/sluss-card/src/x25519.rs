//! X25519 with a key in memory: the half of a sealed key that no card computes.

use crate::{Error, SharedSecret};
use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree as agreed};

/// The public half (RFC 7748, 6.1).
pub fn public_key(private: &[u8; 32]) -> [u8; 32] {
    let mut public = [0; 32];
    // every 32 bytes are a private key; none is a public key that anybody has
    if let Ok(key) =
        PrivateKey::from_private_key(&X25519, private).and_then(|key| Ok(key.compute_public_key()?))
    {
        public.copy_from_slice(key.as_ref());
    }
    public
}

/// The shared secret of `private` and the other side's public key, little-endian as in RFC 7748.
///
/// # Errors
/// [`Error::ZeroSecret`] for a point of small order.
pub fn agree(private: &[u8; 32], with: &[u8; 32]) -> Result<SharedSecret, Error> {
    let key = PrivateKey::from_private_key(&X25519, private).map_err(|_| Error::ZeroSecret)?;
    let peer = UnparsedPublicKey::new(&X25519, with);
    agreed(&key, peer, Error::ZeroSecret, |secret| {
        SharedSecret::from_answer(secret).ok_or(Error::ZeroSecret)?
    })
}
