//! The PIV card application (SP 800-73-4 part 2): its key management key in slot 9D, serial number, PIN, certificate.
//!
//! A [`Session`] lasts for one PC/SC transaction, as [`crate::openpgp::Session`] does. Sections named here are those of
//! SP 800-73-4 part 2 unless another document is.

mod bench;
mod issue;
mod read;

pub use issue::{BadManagementKey, ManagementKey};

use crate::apdu::{Apdu, StatusWord, Transmit, exchange};
use crate::applet::{Answer, Applet, Challenge, Description, PinEntry, PinStatus};
use crate::key::{Algorithm, CardKey};
use crate::{CardKind, Error, PadVerify, SharedSecret, rsa, tlv};
use aws_lc_rs::digest::{SHA256, SHA384, digest};
use read::{Discovery, Metadata};
use zeroize::Zeroizing;

/// NIST's RID and the application's PIX without its version (part 1, 2.2): it may be cut off there.
const APPLICATION: [u8; 9] = [0xA0, 0x00, 0x00, 0x03, 0x08, 0x00, 0x00, 0x10, 0x00];
/// The key management key: it may agree and decrypt, and needs the PIN once, not each time (part 1, 3.1.3).
const SLOT: u8 = 0x9D;
/// PINs of the application have 6 to 8 characters (2.4.3).
const SHORTEST_PIN: usize = 6;
/// And are filled up to 8 bytes.
const LONGEST_PIN: usize = 8;
/// Tries after a right PIN, where the card does not tell: it gives them back then, and most have this many.
const USUAL_TRIES: u8 = 3;

/// Tags of the dynamic authentication template (3.2.4, table 7).
const TEMPLATE: u16 = 0x7C;
const CHALLENGE: u16 = 0x81;
const RESPONSE: u16 = 0x82;
const EXPONENTIATION: u16 = 0x85;

/// The application, selected, for as long as nobody else can talk to the card.
pub struct Session<'a, T> {
    card: &'a mut T,
    serial: String,
    discovery: Discovery,
}

impl<'a, T: Transmit> Session<'a, T> {
    /// Makes sure that the application is selected (3.1.1), without a SELECT where it is: some cards forget the PIN over one.
    ///
    /// # Errors
    /// [`Error::NoApplet`], [`Error::Refused`], [`Error::Nonsense`], and what the reader says.
    pub fn open(card: &'a mut T) -> Result<Self, Error> {
        let discovery = match read::discovery(card)? {
            Some(discovery) => discovery,
            None => {
                select(card)?;
                // the object is optional, and so is what it says
                read::discovery(card)?.unwrap_or_default()
            }
        };
        let serial = read::serial(card)?;
        Ok(Self {
            card,
            serial,
            discovery,
        })
    }

    /// Signs a message with the key: RSA with PKCS #1 v1.5 (RFC 8017, 8.2), or ECDSA with its signature in DER (RFC 3279,
    /// 2.2.3), both over a hash as long as the key is strong: SHA-256, and SHA-384 with P-384. Many cards refuse to sign
    /// with an elliptic-curve key of this slot.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::Unsupported`] for X25519, [`Error::Refused`], [`Error::Nonsense`], and what the reader says.
    pub fn sign(&mut self, key: &CardKey, message: &[u8]) -> Result<Vec<u8>, Error> {
        let step = "sign";
        let input = match key {
            CardKey::X25519(_) => return Err(Error::Unsupported),
            CardKey::P256(_) => digest(&SHA256, message).as_ref().to_vec(),
            CardKey::P384(_) => digest(&SHA384, message).as_ref().to_vec(),
            CardKey::Rsa(key) => rsa::signature_block(message, key.modulus().len()),
        };
        let signature = self.compute(step, key.algorithm(), CHALLENGE, &input)?;
        match key {
            CardKey::X25519(_) | CardKey::P256(_) | CardKey::P384(_) => Ok(signature.to_vec()),
            CardKey::Rsa(key) => Ok(whole_block(step, &signature, key.modulus().len())?.to_vec()),
        }
    }

    /// GENERAL AUTHENTICATE with the key (3.2.4): what the card makes of `input`.
    fn compute(
        &mut self,
        step: &'static str,
        algorithm: Algorithm,
        tag: u16,
        input: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let data = [tlv::wrap(RESPONSE, &[]), tlv::wrap(tag, input)].concat();
        let apdu = Apdu {
            header: [0x00, 0x87, reference(algorithm), SLOT],
            data: &tlv::wrap(TEMPLATE, &data),
            answered: true,
        };
        let answer = exchange(self.card, step, &apdu)?;
        match answer.status {
            StatusWord::SUCCESS => {}
            StatusWord::NOT_VERIFIED => return Err(Error::Locked),
            status => return Err(Error::Refused { step, status }),
        }
        let what = "no response";
        let template =
            read::find(step, &answer.data, TEMPLATE)?.ok_or(Error::Nonsense { step, what })?;
        let response =
            read::find(step, template, RESPONSE)?.ok_or(Error::Nonsense { step, what })?;
        Ok(Zeroizing::new(response.to_vec()))
    }

    /// The key's public half and the certificate beside it. Where the card tells of its keys, a certificate for another one is
    /// left out: it is that of a key which has been replaced.
    fn key(&mut self) -> Result<(CardKey, Option<Vec<u8>>), Error> {
        let metadata = read::metadata(self.card, SLOT)?;
        let certificate = read::certificate(self.card)?;
        let certified = certificate.as_deref().and_then(CardKey::from_certificate);
        match (metadata, certified) {
            (Some(Metadata { key: Some(key), .. }), Some(certified)) if key != certified => {
                Ok((key, None))
            }
            (Some(Metadata { key: Some(key), .. }), _) => Ok((key, certificate)),
            (_, Some(certified)) => Ok((certified, certificate)),
            (_, None) if certificate.is_some() => Err(Error::Unsupported),
            (_, None) => Err(Error::NoKey),
        }
    }

    /// An empty VERIFY asks without trying (3.2.1).
    fn ask_pin(&mut self) -> Result<StatusWord, Error> {
        let apdu = Apdu {
            header: [0x00, 0x20, 0x00, self.discovery.pin],
            data: &[],
            answered: false,
        };
        Ok(exchange(self.card, "tell the PIN tries left", &apdu)?.status)
    }
}

impl<T: Transmit> Applet for Session<'_, T> {
    fn serial(&self) -> &str {
        &self.serial
    }

    fn describe(&mut self) -> Result<Description, Error> {
        let (key, certificate) = self.key()?;
        Ok(Description {
            serial: self.serial.clone(),
            kind: CardKind::Piv,
            key,
            certificate,
            pin: self.pin_status()?,
        })
    }

    fn pin_status(&mut self) -> Result<PinStatus, Error> {
        let step = "tell the PIN tries left";
        let status = self.ask_pin()?;
        let tries_left = match status {
            StatusWord::SUCCESS => read::metadata(self.card, self.discovery.pin)?
                .and_then(|metadata| metadata.tries_left)
                .unwrap_or(USUAL_TRIES),
            StatusWord::BLOCKED => 0,
            status => status.tries_left().ok_or(Error::Refused { step, status })?,
        };
        Ok(PinStatus {
            tries_left,
            shortest: SHORTEST_PIN,
            longest: LONGEST_PIN,
            verified: status == StatusWord::SUCCESS,
            pad: self.card.has_pad(),
        })
    }

    /// VERIFY (3.2.1).
    fn verify(&mut self, pin: &PinEntry) -> Result<(), Error> {
        let step = "verify the PIN";
        let status = match pin {
            PinEntry::Typed(pin) => {
                let mut padded = Zeroizing::new([0xFF; LONGEST_PIN]);
                let pin = pin.as_bytes();
                padded
                    .get_mut(..pin.len())
                    .ok_or(Error::PinLength {
                        min: SHORTEST_PIN,
                        max: LONGEST_PIN,
                    })?
                    .copy_from_slice(pin);
                let apdu = Apdu {
                    header: [0x00, 0x20, 0x00, self.discovery.pin],
                    data: &*padded,
                    answered: false,
                };
                exchange(self.card, step, &apdu)?.status
            }
            PinEntry::OnPad => {
                let status = self.pin_status()?;
                let verify = PadVerify::new(self.discovery.pin, &status, true);
                self.card.verify_on_pad(&verify)?
            }
        };
        match status {
            StatusWord::SUCCESS => Ok(()),
            StatusWord::BLOCKED => Err(Error::Blocked),
            status => match status.tries_left() {
                Some(0) => Err(Error::Blocked),
                Some(left) => Err(Error::WrongPin { left }),
                None => Err(Error::Refused { step, status }),
            },
        }
    }

    /// VERIFY with P1 FF (3.2.1).
    fn unverify(&mut self) -> Result<(), Error> {
        let step = "forget the PIN";
        let apdu = Apdu {
            header: [0x00, 0x20, 0xFF, self.discovery.pin],
            data: &[],
            answered: false,
        };
        let status = exchange(self.card, step, &apdu)?.status;
        // before SP 800-73-4 the command did not exist: what counts is the state
        if self.ask_pin()? == StatusWord::SUCCESS {
            Err(Error::Refused { step, status })
        } else {
            Ok(())
        }
    }

    /// Not in SP 800-73: algorithm E1 of YubiKeys from firmware 5.7 on, written after Yubico's documentation and tried on a
    /// scripted card only.
    fn agree(&mut self, with: &[u8; 32]) -> Result<SharedSecret, Error> {
        let step = "compute the Diffie-Hellman";
        let secret = self.compute(step, Algorithm::X25519, EXPONENTIATION, with)?;
        SharedSecret::from_answer(&secret).ok_or(Error::Nonsense {
            step,
            what: "not 32 bytes",
        })?
    }

    fn answer(&mut self, challenge: &Challenge) -> Result<Answer, Error> {
        let step = "open the sealed key";
        match challenge {
            Challenge::Agree(point) => {
                let (algorithm, length) = match point.len() {
                    65 => (Algorithm::P256, 32),
                    97 => (Algorithm::P384, 48),
                    _ => return Err(Error::Unsupported),
                };
                let secret = self.compute(step, algorithm, EXPONENTIATION, point)?;
                Ok(Answer::Agreed(whole_block(step, &secret, length)?))
            }
            Challenge::Decrypt(ciphertext, _) => {
                let algorithm = match ciphertext.len() {
                    256 => Algorithm::Rsa2048,
                    384 => Algorithm::Rsa3072,
                    512 => Algorithm::Rsa4096,
                    _ => return Err(Error::Unsupported),
                };
                let block = self.compute(step, algorithm, CHALLENGE, ciphertext)?;
                Ok(Answer::Block(whole_block(step, &block, ciphertext.len())?))
            }
            Challenge::Sign(message) => match self.key()?.0 {
                key @ CardKey::Rsa(_) => {
                    Ok(Answer::Signed(Zeroizing::new(self.sign(&key, message)?)))
                }
                CardKey::X25519(_) | CardKey::P256(_) | CardKey::P384(_) => Err(Error::Unsupported),
            },
        }
    }
}

/// SELECT (3.1.1).
fn select(card: &mut impl Transmit) -> Result<(), Error> {
    let step = "select the PIV application";
    let apdu = Apdu {
        header: [0x00, 0xA4, 0x04, 0x00],
        data: &APPLICATION,
        answered: true,
    };
    match exchange(card, step, &apdu)?.status {
        StatusWord::SUCCESS => Ok(()),
        StatusWord::NOT_FOUND | StatusWord::UNKNOWN_INSTRUCTION | StatusWord::UNKNOWN_CLASS => {
            Err(Error::NoApplet(CardKind::Piv))
        }
        status => Err(Error::Refused { step, status }),
    }
}

/// How PIV names a kind of key (SP 800-78-5, table 4-1): RSA-4096 and X25519 are Yubico's additions.
fn reference(algorithm: Algorithm) -> u8 {
    match algorithm {
        Algorithm::X25519 => 0xE1,
        Algorithm::P256 => 0x11,
        Algorithm::P384 => 0x14,
        Algorithm::Rsa2048 => 0x07,
        Algorithm::Rsa3072 => 0x05,
        Algorithm::Rsa4096 => 0x16,
    }
}

/// A number as long as it has to be, whether or not the card writes its leading zeros.
fn whole_block(
    step: &'static str,
    answer: &[u8],
    length: usize,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    rsa::whole_block(answer, length).ok_or(Error::Nonsense {
        step,
        what: "longer than it can be",
    })
}

#[cfg(test)]
mod tests;
