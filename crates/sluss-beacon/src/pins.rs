//! The pins of what a server shows.

use aws_lc_rs::digest::{SHA256, digest};
use sluss_policy::Pin;

/// The pin of a public key (SubjectPublicKeyInfo, DER).
pub fn key_pin(spki: &[u8]) -> Pin {
    Pin::Key(sha256(spki))
}

/// The pin of a certificate (DER).
pub fn certificate_pin(certificate: &[u8]) -> Pin {
    Pin::Certificate(sha256(certificate))
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}
