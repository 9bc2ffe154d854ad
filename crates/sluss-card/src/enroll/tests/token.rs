//! A token of paper with a key that opens sealed keys, in as many ways as it is told to.

use crate::applet::{Answer, Applet, Challenge, Description, Padding, PinEntry, PinStatus};
use crate::enroll::{self, Bench, Order, Terms};
use crate::key::CardKey;
use crate::{Algorithm, CardKind, Error, SharedSecret};
use aws_lc_rs::agreement::{self, ECDH_P256};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{
    KeySize, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, Pkcs1PrivateDecryptingKey,
    PrivateDecryptingKey,
};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use zeroize::Zeroizing;

pub(super) const SERIAL: &str = "token 1";

pub(super) struct PaperToken {
    secret: Secret,
    /// The uses that it refuses.
    pub(super) refuses: Vec<Use>,
    /// Whether all that it computes is wrong.
    pub(super) broken: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Oaep,
    Pkcs1,
    Sign,
}

enum Secret {
    P256(agreement::PrivateKey),
    Rsa(Box<RsaKeyPair>, PrivateDecryptingKey),
}

impl PaperToken {
    pub(super) fn p256() -> Self {
        Self::new(Secret::P256(
            agreement::PrivateKey::generate(&ECDH_P256).unwrap(),
        ))
    }

    pub(super) fn rsa(refuses: &[Use]) -> Self {
        let key = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
        let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&key).unwrap();
        let signing = RsaKeyPair::from_pkcs8(der.as_ref()).unwrap();
        Self {
            refuses: refuses.to_vec(),
            ..Self::new(Secret::Rsa(Box::new(signing), key))
        }
    }

    fn new(secret: Secret) -> Self {
        Self {
            secret,
            refuses: Vec::new(),
            broken: false,
        }
    }

    fn key(&self) -> CardKey {
        match &self.secret {
            Secret::P256(key) => {
                CardKey::from_point(key.compute_public_key().unwrap().as_ref()).unwrap()
            }
            Secret::Rsa(key, _) => {
                let public = key.public_key();
                let (modulus, exponent) = (public.modulus(), public.exponent());
                CardKey::from_rsa(
                    modulus.big_endian_without_leading_zero(),
                    exponent.big_endian_without_leading_zero(),
                )
                .unwrap()
            }
        }
    }

    fn may(&self, this: Use) -> Result<(), Error> {
        match self.refuses.contains(&this) {
            true => Err(Error::Unsupported),
            false => Ok(()),
        }
    }

    fn told(&self, mut bytes: Vec<u8>) -> Zeroizing<Vec<u8>> {
        if self.broken {
            bytes[0] ^= 1;
        }
        Zeroizing::new(bytes)
    }
}

impl Applet for PaperToken {
    fn serial(&self) -> &str {
        SERIAL
    }

    fn describe(&mut self) -> Result<Description, Error> {
        Ok(Description {
            serial: SERIAL.to_owned(),
            kind: CardKind::Pkcs11,
            key: self.key(),
            certificate: None,
            pin: self.pin_status()?,
        })
    }

    fn pin_status(&mut self) -> Result<PinStatus, Error> {
        Ok(PinStatus {
            tries_left: 3,
            shortest: 4,
            longest: 8,
            verified: true,
            pad: false,
        })
    }

    fn verify(&mut self, _: &PinEntry) -> Result<(), Error> {
        Ok(())
    }

    fn unverify(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn agree(&mut self, _: &[u8; 32]) -> Result<SharedSecret, Error> {
        Err(Error::Unsupported)
    }

    fn answer(&mut self, challenge: &Challenge) -> Result<Answer, Error> {
        match (challenge, &self.secret) {
            (Challenge::Agree(point), Secret::P256(key)) => {
                let peer = agreement::UnparsedPublicKey::new(&ECDH_P256, point);
                agreement::agree(key, peer, Error::Unsupported, |secret| Ok(secret.to_vec()))
                    .map(|secret| Answer::Agreed(self.told(secret)))
            }
            (Challenge::Decrypt(ciphertext, padding), Secret::Rsa(_, key)) => {
                let mut plain = vec![0; ciphertext.len()];
                let length = match padding {
                    Padding::OaepSha256 => {
                        self.may(Use::Oaep)?;
                        let key = OaepPrivateDecryptingKey::new(key.clone()).unwrap();
                        let scheme = &OAEP_SHA256_MGF1SHA256;
                        key.decrypt(scheme, ciphertext, &mut plain, None)
                            .unwrap()
                            .len()
                    }
                    Padding::Pkcs1 => {
                        self.may(Use::Pkcs1)?;
                        let key = Pkcs1PrivateDecryptingKey::new(key.clone()).unwrap();
                        key.decrypt(ciphertext, &mut plain).unwrap().len()
                    }
                };
                plain.truncate(length);
                Ok(Answer::Plain(self.told(plain)))
            }
            (Challenge::Sign(message), Secret::Rsa(key, _)) => {
                self.may(Use::Sign)?;
                let mut signature = vec![0; key.public_modulus_len()];
                let random = SystemRandom::new();
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .unwrap();
                Ok(Answer::Signed(self.told(signature)))
            }
            _ => Err(Error::Unsupported),
        }
    }
}

impl Bench for PaperToken {
    fn is_occupied(&mut self) -> Result<bool, Error> {
        Ok(true)
    }

    fn makes(&mut self) -> Result<Vec<Algorithm>, Error> {
        Ok(Vec::new())
    }

    fn make(&mut self, _: Algorithm, _: &Order, _: &Terms) -> Result<(), enroll::Error> {
        Err(enroll::Error::CannotMake)
    }

    fn sign(&mut self, _: &CardKey, message: &[u8]) -> Result<Vec<u8>, Error> {
        match self.answer(&Challenge::Sign(message.to_vec()))? {
            Answer::Signed(signature) => Ok(signature.to_vec()),
            Answer::Agreed(_) | Answer::Block(_) | Answer::Plain(_) => Err(Error::Unsupported),
        }
    }
}
