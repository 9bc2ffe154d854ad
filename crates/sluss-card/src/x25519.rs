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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::hex;

    fn bytes(digits: &str) -> [u8; 32] {
        hex(digits).try_into().unwrap()
    }

    /// RFC 7748, 6.1: Bob's side.
    #[test]
    fn the_example_of_the_rfc_comes_out() {
        let bob = bytes("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
        let alices = bytes("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
        let bobs = bytes("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
        let shared = bytes("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
        assert_eq!(public_key(&bob), bobs);
        assert_eq!(
            agree(&bob, &alices).map(|secret| *secret.as_bytes()),
            Ok(shared)
        );
    }

    /// Points of order 1, 2 and 4, the last as p + 1.
    #[test]
    fn points_of_small_order_share_nothing() {
        let one = [&[1][..], &[0; 31]].concat().try_into().unwrap();
        let p_and_one = bytes("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f");
        for point in [[0; 32], one, p_and_one] {
            assert_eq!(agree(&[0x42; 32], &point).err(), Some(Error::ZeroSecret));
        }
    }
}
