//! Keys: public, pre-shared, and the result of a Diffie-Hellman that somebody else may have computed.

use core::fmt;

use x25519_dalek::{SharedSecret as DalekSecret, StaticSecret};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// An X25519 public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The optional symmetric key that two peers share (whitepaper 5.2).
///
/// In a box, so that moving its owner moves a pointer and leaves no copy behind.
#[derive(Clone)]
pub struct PresharedKey(Box<Zeroizing<[u8; 32]>>);

impl PresharedKey {
    pub fn new(mut bytes: [u8; 32]) -> Self {
        let key = Self(Box::new(Zeroizing::new(bytes)));
        bytes.zeroize();
        key
    }

    /// What stands for no pre-shared key (whitepaper 5.2: Q is zero).
    pub(crate) fn none() -> Self {
        Self::new([0; 32])
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The result of an X25519 computation; never all zeros, which is what a low-order point gives. In a box, as [`PresharedKey`].
#[derive(Clone)]
pub struct SharedSecret(Box<Zeroizing<[u8; 32]>>);

impl SharedSecret {
    /// Takes what a key holder computed.
    ///
    /// # Errors
    /// [`DhError::Zero`] if it is all zeros: the point was of low order, and some cards do not say so.
    pub fn new(mut bytes: [u8; 32]) -> Result<Self, DhError> {
        let secret = Self(Box::new(Zeroizing::new(bytes)));
        bytes.zeroize();
        if secret.0.iter().fold(0, |any, byte| any | byte) == 0 {
            Err(DhError::Zero)
        } else {
            Ok(secret)
        }
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl TryFrom<DalekSecret> for SharedSecret {
    type Error = DhError;

    fn try_from(secret: DalekSecret) -> Result<Self, DhError> {
        Self::new(secret.to_bytes())
    }
}

/// Why there is no result of a Diffie-Hellman.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DhError {
    #[error("the holder of the key did not answer with a result")]
    Unavailable,
    #[error("the result was all zeros, so the other side's point was of low order")]
    Zero,
}

/// A static private key in host memory: for sealed mode, tests and the lab.
#[derive(ZeroizeOnDrop)]
pub struct SoftwareKey(StaticSecret);

impl SoftwareKey {
    pub fn new(mut private: [u8; 32]) -> Self {
        let key = Self(StaticSecret::from(private));
        private.zeroize();
        key
    }

    pub fn public(&self) -> PublicKey {
        PublicKey(x25519_dalek::PublicKey::from(&self.0).to_bytes())
    }

    /// X25519 of this key and `with`.
    ///
    /// # Errors
    /// [`DhError::Zero`] if `with` is a point of low order.
    pub fn dh(&self, with: &PublicKey) -> Result<SharedSecret, DhError> {
        self.0
            .diffie_hellman(&x25519_dalek::PublicKey::from(with.0))
            .try_into()
    }
}
