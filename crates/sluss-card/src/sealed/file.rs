//! The bytes of a sealed key file up to its ciphertext: read whole, or refused.

use super::{Error, Method};
use crate::applet::{Challenge, Padding};
use crate::key::CardKey;

/// How every file begins.
const MAGIC: &[u8; 8] = b"SLUSSKEY";
/// The version that is written, and the only one that is read.
const VERSION: u8 = 1;
/// Serial numbers are shorter by far; a PKCS #11 token's number and label are 48 bytes.
const LONGEST_SERIAL: usize = 96;
/// Of ChaCha20-Poly1305.
pub(super) const TAG: usize = 16;
/// The salt of a signature.
const SALT: usize = 32;
/// In front of the header in what a card signs, so that the signature is good for nothing else.
const SIGNATURE_DOMAIN: &[u8] = b"sluss sealed key 1, signature\0";

/// Everything that is authenticated but not encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) method: Method,
    /// WireGuard's.
    pub(super) public_key: [u8; 32],
    /// Fingerprint of the card's key.
    pub(super) card_key: [u8; 32],
    pub(super) serial: String,
    /// As it stands in the file, the wrap last.
    pub(super) bytes: Vec<u8>,
    wrap_at: usize,
}

impl Header {
    pub(super) fn new(
        method: Method,
        public_key: [u8; 32],
        card: &CardKey,
        serial: &str,
        wrap: &[u8],
    ) -> Result<Self, Error> {
        if !is_serial(serial) {
            return Err(Error::Serial);
        }
        let card_key = card.fingerprint();
        let length = |bytes: &[u8]| u16::try_from(bytes.len()).map_err(|_| Error::Unsuitable);
        let mut bytes = Vec::new();
        bytes.extend_from_slice(MAGIC);
        bytes.extend([VERSION, method as u8]);
        bytes.extend_from_slice(&public_key);
        bytes.extend_from_slice(&card_key);
        bytes.extend(length(serial.as_bytes())?.to_be_bytes());
        bytes.extend_from_slice(serial.as_bytes());
        bytes.extend(length(wrap)?.to_be_bytes());
        let wrap_at = bytes.len();
        bytes.extend_from_slice(wrap);
        Ok(Self {
            method,
            public_key,
            card_key,
            serial: serial.to_owned(),
            bytes,
            wrap_at,
        })
    }

    /// Takes a whole file apart: the header, and the ciphertext with its tag.
    pub(super) fn parse(file: &[u8]) -> Result<(Self, [u8; 32 + TAG]), Error> {
        let damaged = Error::Damaged;
        let mut rest = file.strip_prefix(MAGIC).ok_or(Error::Foreign)?;
        let [version] = take(&mut rest)?;
        if version != VERSION {
            return Err(if version > VERSION {
                Error::Version(version)
            } else {
                damaged("its version is unknown")
            });
        }
        let [method] = take(&mut rest)?;
        let method = Method::from_number(method).ok_or(damaged("its method is unknown"))?;
        let public_key = take(&mut rest)?;
        let card_key = take(&mut rest)?;
        let serial = take_string(&mut rest)?;
        let serial = std::str::from_utf8(serial)
            .ok()
            .filter(|serial| is_serial(serial));
        let serial = serial
            .ok_or(damaged("its serial number is none"))?
            .to_owned();
        let wrap = take_string(&mut rest)?;
        if !method.wraps_in(wrap.len()) {
            return Err(damaged("what the card needs has the wrong length"));
        }
        let bytes = file[..file.len() - rest.len()].to_vec();
        let ciphertext = rest
            .try_into()
            .map_err(|_| damaged("its end has the wrong length"))?;
        let wrap_at = bytes.len() - wrap.len();
        let header = Self {
            method,
            public_key,
            card_key,
            serial,
            bytes,
            wrap_at,
        };
        Ok((header, ciphertext))
    }

    /// What the card has to do.
    pub(super) fn challenge(&self) -> Challenge {
        let wrap = &self.bytes[self.wrap_at..];
        match self.method {
            Method::EcdhP256 | Method::EcdhP384 => Challenge::Agree(wrap.to_vec()),
            Method::RsaOaepSha256 => Challenge::Decrypt(wrap.to_vec(), Padding::OaepSha256),
            Method::RsaPkcs1 => Challenge::Decrypt(wrap.to_vec(), Padding::Pkcs1),
            Method::RsaSignature => Challenge::Sign([SIGNATURE_DOMAIN, &self.bytes].concat()),
        }
    }
}

impl Method {
    fn from_number(number: u8) -> Option<Self> {
        [
            Self::EcdhP256,
            Self::EcdhP384,
            Self::RsaOaepSha256,
            Self::RsaPkcs1,
            Self::RsaSignature,
        ]
        .into_iter()
        .find(|&method| method as u8 == number)
    }

    fn wraps_in(self, length: usize) -> bool {
        match self {
            Self::EcdhP256 => length == 65,
            Self::EcdhP384 => length == 97,
            Self::RsaOaepSha256 | Self::RsaPkcs1 => matches!(length, 256 | 384 | 512),
            Self::RsaSignature => length == SALT,
        }
    }
}

fn is_serial(serial: &str) -> bool {
    (1..=LONGEST_SERIAL).contains(&serial.len()) && !serial.chars().any(char::is_control)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Error> {
    let (taken, after) = rest
        .split_first_chunk()
        .ok_or(Error::Damaged("it ends too early"))?;
    *rest = after;
    Ok(*taken)
}

/// A length in two bytes, big-endian, and that many bytes.
fn take_string<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Error> {
    let length = usize::from(u16::from_be_bytes(take(rest)?));
    let (taken, after) = rest
        .split_at_checked(length)
        .ok_or(Error::Damaged("it ends too early"))?;
    *rest = after;
    Ok(taken)
}
