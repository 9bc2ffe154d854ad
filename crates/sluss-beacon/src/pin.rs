//! Which key or certificate a server must show, as a policy writes it.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// The SHA-256 of what a server must show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pin {
    /// Of its SubjectPublicKeyInfo in DER, as RFC 7469 pins keys: `sha256:BASE64`.
    Key([u8; 32]),
    /// Of its whole certificate in DER: `certificate:sha256:BASE64`.
    Certificate([u8; 32]),
}

/// Text that is no pin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a pin is sha256: or certificate:sha256: and the base64 of 32 bytes")]
pub struct MalformedPin;

impl Pin {
    /// The pin of a public key (SubjectPublicKeyInfo, DER).
    pub fn of_key(spki: &[u8]) -> Self {
        Self::Key(sha256(spki))
    }

    /// The pin of a certificate (DER).
    pub fn of_certificate(certificate: &[u8]) -> Self {
        Self::Certificate(sha256(certificate))
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

impl FromStr for Pin {
    type Err = MalformedPin;

    fn from_str(text: &str) -> Result<Self, MalformedPin> {
        let (make, hash): (fn([u8; 32]) -> Self, _) = match text.strip_prefix("certificate:") {
            Some(hash) => (Self::Certificate, hash),
            None => (Self::Key, text),
        };
        let hash = hash.strip_prefix("sha256:").ok_or(MalformedPin)?;
        let bytes = BASE64.decode(hash).map_err(|_| MalformedPin)?;
        bytes.try_into().map(make).map_err(|_| MalformedPin)
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(hash) => write!(f, "sha256:{}", BASE64.encode(hash)),
            Self::Certificate(hash) => write!(f, "certificate:sha256:{}", BASE64.encode(hash)),
        }
    }
}
