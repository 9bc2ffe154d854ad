//! The public key of a card: what a key is sealed to, and what tells one card from another.

use crate::tlv;
use aws_lc_rs::digest::{SHA256, digest};
use std::fmt;

/// What a card's key can compute with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// RFC 7748: the key is WireGuard's own, held.
    X25519,
    /// NIST P-256, Diffie-Hellman.
    P256,
    /// NIST P-384, Diffie-Hellman.
    P384,
    /// RSA with a modulus of 2048 bits.
    Rsa2048,
    /// RSA with a modulus of 3072 bits.
    Rsa3072,
    /// RSA with a modulus of 4096 bits.
    Rsa4096,
}

/// As people write it: `P-256`, `RSA-2048`.
impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::X25519 => "X25519",
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::Rsa2048 => "RSA-2048",
            Self::Rsa3072 => "RSA-3072",
            Self::Rsa4096 => "RSA-4096",
        })
    }
}

/// A public key that lies on a card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CardKey {
    /// Little-endian as in RFC 7748.
    X25519([u8; 32]),
    /// Uncompressed: 04, X, Y (SEC 1, 2.3.3).
    P256(Box<[u8; 65]>),
    /// Uncompressed: 04, X, Y (SEC 1, 2.3.3).
    P384(Box<[u8; 97]>),
    /// Of one of the sizes that [`Algorithm`] names.
    Rsa(RsaKey),
}

/// An RSA public key (RFC 8017, 3.1), big-endian, without leading zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RsaKey {
    algorithm: Algorithm,
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

/// `AlgorithmIdentifier` (RFC 5480, 2.1.1; RFC 8410, 3; RFC 3279, 2.3.1), whole.
const X25519_IDENTIFIER: &[u8] = &[0x30, 0x05, 0x06, 0x03, 0x2B, 0x65, 0x6E];
const P256_IDENTIFIER: &[u8] = &[
    0x30, 0x13, 0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01, 0x06, 0x08, 0x2A, 0x86, 0x48,
    0xCE, 0x3D, 0x03, 0x01, 0x07,
];
const P384_IDENTIFIER: &[u8] = &[
    0x30, 0x10, 0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01, 0x06, 0x05, 0x2B, 0x81, 0x04,
    0x00, 0x22,
];
const RSA_IDENTIFIER: &[u8] = &[
    0x30, 0x0D, 0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01, 0x05, 0x00,
];

/// DER tags (X.690, 8).
const INTEGER: u16 = 0x02;
const BIT_STRING: u16 = 0x03;
const SEQUENCE: u16 = 0x30;
/// `[0]`, the version in front of a certificate (RFC 5280, 4.1).
const VERSION: u16 = 0xA0;

impl CardKey {
    /// An elliptic-curve point in its uncompressed form; `None` for anything else than P-256 or P-384 by its length.
    ///
    /// Whether it lies on the curve is asked when a key is sealed to it.
    pub fn from_point(point: &[u8]) -> Option<Self> {
        if point.first() != Some(&4) {
            return None;
        }
        let p256 = || Some(Self::P256(Box::new(point.try_into().ok()?)));
        let p384 = || Some(Self::P384(Box::new(point.try_into().ok()?)));
        p256().or_else(p384)
    }

    /// An RSA key, big-endian with or without leading zeros; `None` for a size that [`Algorithm`] does not name, an even
    /// modulus, or an exponent that is even or not below 2^32.
    pub fn from_rsa(modulus: &[u8], exponent: &[u8]) -> Option<Self> {
        let (modulus, exponent) = (
            without_leading_zeros(modulus),
            without_leading_zeros(exponent),
        );
        let algorithm = match (modulus.len(), modulus.first()?) {
            (256, 0x80..) => Algorithm::Rsa2048,
            (384, 0x80..) => Algorithm::Rsa3072,
            (512, 0x80..) => Algorithm::Rsa4096,
            _ => return None,
        };
        let odd = |number: &[u8]| number.last().is_some_and(|last| last & 1 == 1);
        let usable = odd(modulus) && odd(exponent) && exponent.len() <= 4 && exponent != [1];
        usable.then(|| {
            Self::Rsa(RsaKey {
                algorithm,
                modulus: modulus.to_vec(),
                exponent: exponent.to_vec(),
            })
        })
    }

    /// Reads a `SubjectPublicKeyInfo` (RFC 5280, 4.1.2.7), DER. `None` when it is no key that a card of ours can have.
    pub fn from_spki(der: &[u8]) -> Option<Self> {
        let (SEQUENCE, info, []) = tlv::split_object(der).ok()? else {
            return None;
        };
        let (SEQUENCE, _, bits) = tlv::split_object(info).ok()? else {
            return None;
        };
        let identifier = &info[..info.len() - bits.len()];
        // a key is a whole number of bytes: no unused bits
        let (BIT_STRING, [0, key @ ..], []) = tlv::split_object(bits).ok()? else {
            return None;
        };
        match identifier {
            X25519_IDENTIFIER => Some(Self::X25519(key.try_into().ok()?)),
            P256_IDENTIFIER => {
                Self::from_point(key).filter(|key| key.algorithm() == Algorithm::P256)
            }
            P384_IDENTIFIER => {
                Self::from_point(key).filter(|key| key.algorithm() == Algorithm::P384)
            }
            RSA_IDENTIFIER => {
                let (SEQUENCE, numbers, []) = tlv::split_object(key).ok()? else {
                    return None;
                };
                let (INTEGER, modulus, rest) = tlv::split_object(numbers).ok()? else {
                    return None;
                };
                let (INTEGER, exponent, []) = tlv::split_object(rest).ok()? else {
                    return None;
                };
                Self::from_rsa(modulus, exponent)
            }
            _ => None,
        }
    }

    /// Takes the key out of an X.509 certificate (RFC 5280, 4.1), DER, believing nothing else that it says.
    pub fn from_certificate(der: &[u8]) -> Option<Self> {
        let (SEQUENCE, certificate, _) = tlv::split_object(der).ok()? else {
            return None;
        };
        let (SEQUENCE, mut fields, _) = tlv::split_object(certificate).ok()? else {
            return None;
        };
        if let (VERSION, _, rest) = tlv::split_object(fields).ok()? {
            fields = rest;
        }
        // serial number, signature algorithm, issuer, validity, subject
        for _ in 0..5 {
            (_, _, fields) = tlv::split_object(fields).ok()?;
        }
        let (_, _, rest) = tlv::split_object(fields).ok()?;
        Self::from_spki(&fields[..fields.len() - rest.len()])
    }

    /// Writes the `SubjectPublicKeyInfo` (RFC 5280, 4.1.2.7), DER: one form for each key.
    pub fn to_spki(&self) -> Vec<u8> {
        let (identifier, key) = match self {
            Self::X25519(key) => (X25519_IDENTIFIER, key.to_vec()),
            Self::P256(point) => (P256_IDENTIFIER, point.to_vec()),
            Self::P384(point) => (P384_IDENTIFIER, point.to_vec()),
            Self::Rsa(key) => {
                let numbers = [integer(&key.modulus), integer(&key.exponent)].concat();
                (RSA_IDENTIFIER, tlv::wrap(SEQUENCE, &numbers))
            }
        };
        let bits = tlv::wrap(BIT_STRING, &[&[0], key.as_slice()].concat());
        tlv::wrap(SEQUENCE, &[identifier, &bits].concat())
    }

    /// SHA-256 of [`CardKey::to_spki`], as `openssl pkey -pubin -outform DER | sha256sum` has it.
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest(&SHA256, &self.to_spki()).as_ref());
        fingerprint
    }

    /// What it computes with.
    pub fn algorithm(&self) -> Algorithm {
        match self {
            Self::X25519(_) => Algorithm::X25519,
            Self::P256(_) => Algorithm::P256,
            Self::P384(_) => Algorithm::P384,
            Self::Rsa(key) => key.algorithm,
        }
    }
}

impl RsaKey {
    /// Big-endian, its first bit set: as long as every block and signature of this key.
    pub fn modulus(&self) -> &[u8] {
        &self.modulus
    }

    /// Big-endian, without leading zeros.
    pub fn exponent(&self) -> &[u8] {
        &self.exponent
    }
}

fn without_leading_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|&&byte| byte == 0).count();
    &number[zeros..]
}

/// A positive INTEGER, whose first bit would be its sign (X.690, 8.3).
pub(crate) fn integer(number: &[u8]) -> Vec<u8> {
    let number = without_leading_zeros(number);
    let sign: &[u8] = if number.first().is_some_and(|&first| first >= 0x80) {
        &[0]
    } else {
        &[]
    };
    tlv::wrap(INTEGER, &[sign, number].concat())
}

#[cfg(test)]
mod tests;
