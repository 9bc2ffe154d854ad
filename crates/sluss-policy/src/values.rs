//! Values that cannot be wrong: keys, pins, prefixes and times, each made from its text only.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::ValueError;

/// An X25519 public key, written as WireGuard does: base64 of 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for PublicKey {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let mut bytes = [0; 32];
        decode(text, &mut bytes)?;
        match bytes {
            [0, rest @ ..] if rest == [0; 31] => Err(ValueError::ZeroKey),
            bytes => Ok(Self(bytes)),
        }
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// A WireGuard preshared key. A secret: wiped on drop, and nothing prints it.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct PresharedKey([u8; 32]);

impl PresharedKey {
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for PresharedKey {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let mut key = Self([0; 32]);
        decode(text, &mut key.0)?;
        Ok(key)
    }
}

/// SHA-256 of a certificate's SubjectPublicKeyInfo in DER, as RFC 7469 pins keys: `sha256:BASE64`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpkiPin([u8; 32]);

impl SpkiPin {
    const PREFIX: &'static str = "sha256:";

    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for SpkiPin {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let hash = text.strip_prefix(Self::PREFIX).ok_or(ValueError::NotAPin)?;
        let mut bytes = [0; 32];
        decode(hash, &mut bytes)?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for SpkiPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", Self::PREFIX, BASE64.encode(self.0))
    }
}

impl fmt::Debug for SpkiPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpkiPin({self})")
    }
}

/// Decodes base64 straight into `bytes`, so that no copy of a secret is left behind.
fn decode(text: &str, bytes: &mut [u8; 32]) -> Result<(), ValueError> {
    let wrong_length = |found| ValueError::WrongLength { expected: 32, found };
    match BASE64.decode_slice(text, bytes.as_mut_slice()) {
        Ok(32) => Ok(()),
        Ok(found) => Err(wrong_length(found)),
        Err(base64::DecodeSliceError::OutputSliceTooSmall) => {
            Err(wrong_length(base64::decoded_len_estimate(text.len())))
        }
        Err(base64::DecodeSliceError::DecodeError(_)) => Err(ValueError::NotBase64),
    }
}
