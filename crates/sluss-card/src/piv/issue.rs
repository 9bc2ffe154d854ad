//! What the issuer of a PIV card may do, with the management key: make a key in slot 9D, and put a certificate beside it.

use super::read::{CERTIFICATE, DER, INFO, OBJECT, find, public_key};
use super::{CHALLENGE, RESPONSE, SLOT, Session, TEMPLATE, reference};
use crate::apdu::{Apdu, StatusWord, Transmit, exchange};
use crate::key::{Algorithm, CardKey};
use crate::{Error, tlv};
use aws_lc_rs::cipher::{self, EncryptingKey, UnboundCipherKey};
use des::TdesEde3;
use des::cipher::{BlockEncrypt, KeyInit};
use zeroize::Zeroizing;

/// The card's management key (slot 9B). Without `Debug`, wiped when dropped.
pub struct ManagementKey(Zeroizing<Vec<u8>>);

/// Not as long as a management key can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a management key has 16, 24 or 32 bytes")]
pub struct BadManagementKey;

/// Key reference of the management key (table 4).
const ADMINISTRATION: u8 = 0x9B;
/// How PIV names the management key's algorithms (SP 800-78-5, table 4-1).
const TDES: u8 = 0x03;
const AES_128: u8 = 0x08;
const AES_192: u8 = 0x0A;
const AES_256: u8 = 0x0C;

impl ManagementKey {
    /// Takes over the key: 24 bytes for 3DES and AES-192, 16 for AES-128, 32 for AES-256.
    ///
    /// # Errors
    /// [`BadManagementKey`] for another length.
    pub fn new(key: Zeroizing<Vec<u8>>) -> Result<Self, BadManagementKey> {
        matches!(key.len(), 16 | 24 | 32)
            .then_some(Self(key))
            .ok_or(BadManagementKey)
    }

    /// One block in the manner of a code book, which is all that the card asks for. `None` when key, algorithm and block do not
    /// fit together.
    fn encrypt(&self, algorithm: u8, block: &[u8]) -> Option<Vec<u8>> {
        let aes = |kind| {
            let key = UnboundCipherKey::new(kind, &self.0).ok()?;
            let mut block = block.to_vec();
            EncryptingKey::ecb(key).ok()?.encrypt(&mut block).ok()?;
            Some(block)
        };
        match (algorithm, block.len()) {
            (TDES, 8) => {
                let cipher = TdesEde3::new_from_slice(&self.0).ok()?;
                let mut block = des::cipher::Block::<TdesEde3>::clone_from_slice(block);
                cipher.encrypt_block(&mut block);
                Some(block.to_vec())
            }
            (AES_128, 16) => aes(&cipher::AES_128),
            (AES_192, 16) => aes(&cipher::AES_192),
            (AES_256, 16) => aes(&cipher::AES_256),
            _ => None,
        }
    }
}

impl<T: Transmit> Session<'_, T> {
    /// Shows the card that we have the management key (3.2.4, A.1.1), until it loses power or another application is selected.
    ///
    /// # Errors
    /// [`Error::Refused`] for a wrong key; [`Error::Unsupported`] when the card's algorithm needs a key of another length;
    /// [`Error::Nonsense`], and what the reader says.
    pub fn authenticate(&mut self, key: &ManagementKey) -> Result<(), Error> {
        let step = "take the management key";
        let algorithm = self.management_algorithm(key)?;
        let request = tlv::wrap(TEMPLATE, &tlv::wrap(CHALLENGE, &[]));
        let answer = self.administer(step, algorithm, &request)?;
        let nonsense = |what| Error::Nonsense { step, what };
        let template = find(step, &answer, TEMPLATE)?.ok_or(nonsense("no challenge"))?;
        let challenge = find(step, template, CHALLENGE)?.ok_or(nonsense("no challenge"))?;
        let response = key
            .encrypt(algorithm, challenge)
            .ok_or(Error::Unsupported)?;
        let response = tlv::wrap(TEMPLATE, &tlv::wrap(RESPONSE, &response));
        self.administer(step, algorithm, &response).map(|_| ())
    }

    /// Makes a new key in slot 9D (3.3.2), in place of what was there, for ever. Needs [`Session::authenticate`].
    ///
    /// # Errors
    /// [`Error::Refused`], also for an algorithm that the card does not have; [`Error::Nonsense`], and what the reader says.
    pub fn generate(&mut self, algorithm: Algorithm) -> Result<CardKey, Error> {
        let step = "make a key";
        let control = tlv::wrap(0xAC, &tlv::wrap(0x80, &[reference(algorithm)]));
        let answer = self.issue(step, [0x00, 0x47, 0x00, SLOT], &control)?;
        let template = find(step, &answer, 0x7F49)?.ok_or(Error::Nonsense {
            step,
            what: "no public key",
        })?;
        public_key(step, reference(algorithm), template)
    }

    /// Puts a certificate (DER) beside the key (3.3.1), in place of what was there. Needs [`Session::authenticate`].
    ///
    /// # Errors
    /// [`Error::Refused`], also for a certificate that is too long for the card, and what the reader says.
    pub fn put_certificate(&mut self, certificate: &[u8]) -> Result<(), Error> {
        // the last is an error detection code, which is empty
        let object = [
            tlv::wrap(DER, certificate),
            tlv::wrap(INFO, &[0]),
            tlv::wrap(0xFE, &[]),
        ]
        .concat();
        let data = [tlv::wrap(0x5C, CERTIFICATE), tlv::wrap(OBJECT, &object)].concat();
        self.issue("keep a certificate", [0x00, 0xDB, 0x3F, 0xFF], &data)
            .map(|_| ())
    }

    /// What the card's management key is: cards that do not tell have 3DES, or the one that a key of this length leaves.
    fn management_algorithm(&mut self, key: &ManagementKey) -> Result<u8, Error> {
        let step = "take the management key";
        let metadata = Apdu {
            header: [0x00, 0xF7, 0x00, ADMINISTRATION],
            data: &[],
            answered: true,
        };
        let answer = exchange(self.card, step, &metadata)?;
        let told = match answer.status {
            StatusWord::SUCCESS => find(step, &answer.data, 0x01)?,
            _ => None,
        };
        Ok(match (told, key.0.len()) {
            (Some(&[algorithm]), _) => algorithm,
            (_, 16) => AES_128,
            (_, 32) => AES_256,
            _ => TDES,
        })
    }

    fn administer(
        &mut self,
        step: &'static str,
        algorithm: u8,
        data: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        self.issue(step, [0x00, 0x87, algorithm, ADMINISTRATION], data)
    }

    fn issue(
        &mut self,
        step: &'static str,
        header: [u8; 4],
        data: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let apdu = Apdu {
            header,
            data,
            answered: true,
        };
        let answer = exchange(self.card, step, &apdu)?;
        if answer.status == StatusWord::SUCCESS {
            Ok(answer.data)
        } else {
            Err(Error::Refused {
                step,
                status: answer.status,
            })
        }
    }
}
