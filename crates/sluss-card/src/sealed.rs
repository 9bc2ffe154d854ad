//! A WireGuard key sealed to the key of a card that has only RSA, P-256 or P-384: the file, and how it is opened.
//!
//! The software key is encrypted under a key that only the card can lead back to. What the card has to do for it is a
//! [`Challenge`]; its [`Answer`] opens the [`SealedKey`]. `docs/sealed-key.md` has the format, byte by byte, and why.
//!
//! ```text
//! secret = ECDH(ephemeral, card)  |  32 random bytes, RSA-encrypted to the card  |  the card's signature of the header
//! key    = HKDF-SHA256(secret, info = "sluss sealed key 1" || method)
//! file   = header || ChaCha20-Poly1305(key, WireGuard private key, AAD = header)
//! ```

mod file;

use crate::applet::{Answer, Challenge, Padding};
use crate::key::{Algorithm, CardKey, RsaKey};
use crate::{rsa, x25519};
use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{ECDH_P256, ECDH_P384, PrivateKey, UnparsedPublicKey, agree};
use aws_lc_rs::rsa::{
    OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, Pkcs1PublicEncryptingKey, PublicEncryptingKey,
};
use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use aws_lc_rs::{hkdf, rand};
use file::{Header, TAG};
use zeroize::{Zeroize, Zeroizing};

/// How a key is sealed. The number is the one in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Method {
    /// Diffie-Hellman on P-256 with an ephemeral key.
    EcdhP256 = 1,
    /// Diffie-Hellman on P-384 with an ephemeral key.
    EcdhP384 = 2,
    /// RSA-OAEP with SHA-256, MGF1 with SHA-256 and an empty label (RFC 8017, 7.1).
    RsaOaepSha256 = 3,
    /// RSA with PKCS #1 v1.5 (RFC 8017, 7.2), for middleware that knows no better.
    RsaPkcs1 = 4,
    /// The RSA signature (PKCS #1 v1.5, SHA-256; RFC 8017, 8.2) is the secret, for keys that may only sign. The last choice:
    /// whoever gets the card to sign one message has the key.
    RsaSignature = 5,
}

/// A sealed key, parsed. Nothing in it is secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedKey {
    header: Header,
    /// The private key, encrypted, and the tag.
    ciphertext: [u8; 32 + TAG],
}

/// Why a key cannot be sealed, or a sealed one not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The file does not begin as one.
    #[error("this is not a sealed key")]
    Foreign,
    /// A later Sluss made it.
    #[error("the sealed key has version {0}, which is later than this program knows")]
    Version(u8),
    /// The file is not what was written.
    #[error("the sealed key is damaged: {0}")]
    Damaged(&'static str),
    /// The serial number is empty, too long, or not printable.
    #[error("the card's serial number cannot be written into a sealed key")]
    Serial,
    /// The card's key does not do what the method needs.
    #[error("a key of the card's kind does not serve for this method")]
    Unsuitable,
    /// The host gave no random numbers, or no memory.
    #[error("the host's cryptography failed")]
    Host,
    /// The card's public key is not one: a point off its curve, a modulus that is none.
    #[error("the card's public key is not valid")]
    PublicKey,
    /// The signature is not the card's own of the challenge.
    #[error("the card's signature is not valid")]
    Signature,
    /// Another card, another key, or the file was altered: which of them cannot be told, and is not.
    #[error("the sealed key does not open with this card")]
    Closed,
}

impl SealedKey {
    /// Reads a file of [`seal`]. Whether it was altered shows when it is opened.
    ///
    /// # Errors
    /// [`Error::Foreign`], [`Error::Version`], [`Error::Damaged`].
    pub fn parse(file: &[u8]) -> Result<Self, Error> {
        let (header, ciphertext) = Header::parse(file)?;
        Ok(Self { header, ciphertext })
    }

    /// The file that it was read from.
    pub fn to_file(&self) -> Vec<u8> {
        [self.header.bytes.as_slice(), &self.ciphertext].concat()
    }

    /// How it is sealed.
    pub fn method(&self) -> Method {
        self.header.method
    }

    /// The card's serial number, as [`crate::CardInfo::serial`] has it.
    pub fn serial(&self) -> &str {
        &self.header.serial
    }

    /// The WireGuard public key of what is sealed.
    pub fn public_key(&self) -> &[u8; 32] {
        &self.header.public_key
    }

    /// Whether it is sealed to this key.
    pub fn is_for(&self, key: &CardKey) -> bool {
        self.header.card_key == key.fingerprint()
    }

    /// What to ask of the card.
    pub fn challenge(&self) -> Challenge {
        self.header.challenge()
    }

    /// Opens it with the card's answer, straight into `key`, which is in memory that may hold it. On failure `key` is zeros.
    ///
    /// # Errors
    /// [`Error::Closed`], always the same and after the same work, whatever is wrong with the answer.
    pub fn open(&self, answer: &Answer, key: &mut [u8; 32]) -> Result<(), Error> {
        let opened = self.decrypt(answer, key).is_some_and(|()| {
            // authenticated already, so this can only catch a fault of ours; a wrong key would be a silent one
            x25519::public_key(key) == self.header.public_key
        });
        if opened {
            Ok(())
        } else {
            key.zeroize();
            Err(Error::Closed)
        }
    }

    fn decrypt(&self, answer: &Answer, key: &mut [u8; 32]) -> Option<()> {
        let secret = self.secret(answer)?;
        let (ciphertext, tag) = self.ciphertext.split_at(32);
        sealing_key(self.header.method, &secret)?
            .open_separate_gather(nonce(), Aad::from(&self.header.bytes), ciphertext, tag, key)
            .ok()
    }

    /// What the key is derived from. A bad padding gives zeros, which open nothing, so that it looks like any wrong answer.
    fn secret(&self, answer: &Answer) -> Option<Zeroizing<Vec<u8>>> {
        match (self.header.challenge(), answer) {
            (Challenge::Agree(_), Answer::Agreed(secret))
            | (Challenge::Decrypt(..), Answer::Plain(secret))
            | (Challenge::Sign(_), Answer::Signed(secret)) => Some(secret.clone()),
            (Challenge::Decrypt(ciphertext, padding), Answer::Block(block)) => {
                let block = rsa::whole_block(block, ciphertext.len())?;
                let (sound, message) = match padding {
                    Padding::OaepSha256 => rsa::unpad_oaep(&block)?,
                    Padding::Pkcs1 => rsa::unpad_pkcs1(&block)?,
                };
                Some(Zeroizing::new(rsa::select(sound, &message).to_vec()))
            }
            (
                Challenge::Agree(_) | Challenge::Decrypt(..) | Challenge::Sign(_),
                Answer::Agreed(_) | Answer::Block(_) | Answer::Plain(_) | Answer::Signed(_),
            ) => None,
        }
    }
}

impl Method {
    /// Whether a key of this kind can do what the method needs of it.
    pub fn suits(self, algorithm: Algorithm) -> bool {
        match self {
            Self::EcdhP256 => algorithm == Algorithm::P256,
            Self::EcdhP384 => algorithm == Algorithm::P384,
            Self::RsaOaepSha256 | Self::RsaPkcs1 | Self::RsaSignature => matches!(
                algorithm,
                Algorithm::Rsa2048 | Algorithm::Rsa3072 | Algorithm::Rsa4096
            ),
        }
    }
}

/// Seals a WireGuard private key to a card, and gives the file. No card takes part.
///
/// The randomness is the library's own: its RSA encryption takes none from outside.
///
/// # Errors
/// [`Error::Serial`], [`Error::Unsuitable`] (also for [`Method::RsaSignature`], see [`SignatureSeal`]), [`Error::PublicKey`],
/// [`Error::Host`].
pub fn seal(
    private_key: &[u8; 32],
    method: Method,
    card: &CardKey,
    serial: &str,
) -> Result<Vec<u8>, Error> {
    let (wrap, secret) = match (method, card) {
        (Method::EcdhP256, CardKey::P256(point)) => agree_once(&ECDH_P256, &point[..])?,
        (Method::EcdhP384, CardKey::P384(point)) => agree_once(&ECDH_P384, &point[..])?,
        (Method::RsaOaepSha256, CardKey::Rsa(key)) => encrypt(Padding::OaepSha256, key)?,
        (Method::RsaPkcs1, CardKey::Rsa(key)) => encrypt(Padding::Pkcs1, key)?,
        _ => return Err(Error::Unsuitable),
    };
    let header = Header::new(method, x25519::public_key(private_key), card, serial, &wrap)?;
    encrypt_key(&header, &secret, private_key)
}

/// A seal by [`Method::RsaSignature`] in the making: begun, then signed by the card, then finished.
pub struct SignatureSeal {
    header: Header,
    card: RsaKey,
}

impl SignatureSeal {
    /// Begins to seal the private key of this WireGuard public key.
    ///
    /// # Errors
    /// [`Error::Serial`], [`Error::Unsuitable`], [`Error::Host`].
    pub fn begin(public_key: [u8; 32], card: &CardKey, serial: &str) -> Result<Self, Error> {
        let CardKey::Rsa(rsa) = card else {
            return Err(Error::Unsuitable);
        };
        let header = Header::new(Method::RsaSignature, public_key, card, serial, &*random()?)?;
        Ok(Self {
            header,
            card: rsa.clone(),
        })
    }

    /// What the card has to sign.
    pub fn challenge(&self) -> Challenge {
        self.header.challenge()
    }

    /// Seals the private key under the card's signature, which is the only valid one of this challenge: the scheme has no
    /// randomness, so the card gives the same one when the key is to be opened.
    ///
    /// # Errors
    /// [`Error::Signature`]; [`Error::Unsuitable`] when the private key is not that of the public key.
    pub fn finish(&self, private_key: &[u8; 32], signature: &Answer) -> Result<Vec<u8>, Error> {
        let (Answer::Signed(signature), Challenge::Sign(message)) = (signature, self.challenge())
        else {
            return Err(Error::Signature);
        };
        RsaPublicKeyComponents {
            n: self.card.modulus(),
            e: self.card.exponent(),
        }
        .verify(&RSA_PKCS1_2048_8192_SHA256, &message, signature)
        .map_err(|_| Error::Signature)?;
        if x25519::public_key(private_key) != self.header.public_key {
            return Err(Error::Unsuitable);
        }
        encrypt_key(&self.header, signature, private_key)
    }
}

/// What only the card can find again, and what it needs for that.
type Wrapped = (Vec<u8>, Zeroizing<Vec<u8>>);

/// A Diffie-Hellman with a key that is used this once.
fn agree_once(
    curve: &'static aws_lc_rs::agreement::Algorithm,
    card: &[u8],
) -> Result<Wrapped, Error> {
    let ephemeral = PrivateKey::generate(curve).map_err(|_| Error::Host)?;
    let point = ephemeral.compute_public_key().map_err(|_| Error::Host)?;
    let card = UnparsedPublicKey::new(curve, card);
    // the library checks that the point is on the curve
    let secret = agree(&ephemeral, card, Error::PublicKey, |secret| {
        Ok(Zeroizing::new(secret.to_vec()))
    })?;
    Ok((point.as_ref().to_vec(), secret))
}

/// Random bytes, RSA-encrypted.
fn encrypt(padding: Padding, card: &RsaKey) -> Result<Wrapped, Error> {
    let invalid = |_| Error::PublicKey;
    let components = RsaPublicKeyComponents {
        n: card.modulus(),
        e: card.exponent(),
    };
    let key: PublicEncryptingKey = components.try_into().map_err(invalid)?;
    let secret = random()?;
    let mut ciphertext = vec![0; card.modulus().len()];
    match padding {
        Padding::OaepSha256 => {
            let key = OaepPublicEncryptingKey::new(key).map_err(invalid)?;
            key.encrypt(&OAEP_SHA256_MGF1SHA256, &*secret, &mut ciphertext, None)
                .map_err(invalid)?;
        }
        Padding::Pkcs1 => {
            let key = Pkcs1PublicEncryptingKey::new(key).map_err(invalid)?;
            key.encrypt(&*secret, &mut ciphertext).map_err(invalid)?;
        }
    }
    Ok((ciphertext, Zeroizing::new(secret.to_vec())))
}

fn random() -> Result<Zeroizing<[u8; 32]>, Error> {
    let mut bytes = Zeroizing::new([0; 32]);
    rand::fill(&mut *bytes).map_err(|_| Error::Host)?;
    Ok(bytes)
}

fn encrypt_key(header: &Header, secret: &[u8], private_key: &[u8; 32]) -> Result<Vec<u8>, Error> {
    let mut ciphertext = Zeroizing::new(Vec::with_capacity(private_key.len() + TAG));
    ciphertext.extend_from_slice(private_key);
    sealing_key(header.method, secret)
        .and_then(|key| {
            let aad = Aad::from(&header.bytes);
            key.seal_in_place_append_tag(nonce(), aad, &mut *ciphertext)
                .ok()
        })
        .ok_or(Error::Host)?;
    Ok([header.bytes.as_slice(), &ciphertext].concat())
}

/// HKDF-SHA256 (RFC 5869) without salt: each secret is used for one file only, and random or as good as that.
fn sealing_key(method: Method, secret: &[u8]) -> Option<LessSafeKey> {
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(secret);
    let info = [&b"sluss sealed key 1"[..], &[method as u8]];
    let mut key = Zeroizing::new([0; 32]);
    extracted
        .expand(&info, hkdf::HKDF_SHA256)
        .ok()?
        .fill(&mut *key)
        .ok()?;
    Some(LessSafeKey::new(
        UnboundKey::new(&CHACHA20_POLY1305, &*key).ok()?,
    ))
}

/// Always the same: a key encrypts one file and never another.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

#[cfg(test)]
mod tests;
