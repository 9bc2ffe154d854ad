//! Making the decryption key of an OpenPGP card: the administrator's PIN, the algorithm, the key, and what others look for.

use super::{Session, X25519_ATTRIBUTES, find};
use crate::apdu::{Apdu, StatusWord, Transmit, exchange};
use crate::enroll::{self, Bench, Order, Terms};
use crate::key::CardKey;
use crate::{Algorithm, Error, Pin};
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use zeroize::Zeroizing;

/// VERIFY's P2 for PW3 (7.2.2).
const PW3: u8 = 0x83;
/// Shortest PW3 (4.3.1).
const SHORTEST_PW3: usize = 8;
/// Data objects of the decryption key (4.4.1): its algorithm attributes, its OpenPGP fingerprint, and when it was made, in
/// seconds since 1970.
const ATTRIBUTES: u8 = 0xC2;
const FINGERPRINT: u8 = 0xC8;
const MADE: u8 = 0xCF;
/// In the first byte of the extended capabilities (4.4.3.7).
const ATTRIBUTES_CHANGEABLE: u8 = 0x04;

impl<T: Transmit> Bench for Session<'_, T> {
    fn is_occupied(&mut self) -> Result<bool, Error> {
        let step = "tell whether it has a key";
        match self.key_pair(step, 0x81)? {
            StatusWord::SUCCESS => Ok(true),
            StatusWord::NO_DATA | StatusWord::NOT_FOUND | StatusWord::CONDITIONS => Ok(false),
            status => Err(Error::Refused { step, status }),
        }
    }

    fn makes(&mut self) -> Result<Vec<Algorithm>, Error> {
        let step = "tell what keys it makes";
        let objects = self.discretionary(step)?;
        let able = match find(step, &objects, 0xC0)? {
            Some([capabilities, ..]) => capabilities & ATTRIBUTES_CHANGEABLE != 0,
            Some([]) | None => false,
        };
        let x25519 = able || self.is_for_x25519()?;
        Ok(x25519.then_some(Algorithm::X25519).into_iter().collect())
    }

    /// With fingerprint and time, without which GnuPG and OpenSC take the slot for empty.
    fn make(
        &mut self,
        algorithm: Algorithm,
        order: &Order,
        terms: &Terms,
    ) -> Result<(), enroll::Error> {
        if algorithm != Algorithm::X25519 {
            return Err(enroll::Error::CannotMake);
        }
        let admin_pin = order.admin_pin.as_ref();
        self.verify_admin(
            admin_pin.ok_or(enroll::Error::AdminPinNeeded)?,
            order.last_try_consented,
        )?;
        if !self.is_for_x25519()? {
            match self.write("take the algorithm", ATTRIBUTES, X25519_ATTRIBUTES[0]) {
                Err(Error::Refused { .. }) => return Err(enroll::Error::CannotMake),
                done => done?,
            }
        }
        let step = "make a key";
        match self.key_pair(step, 0x80)? {
            StatusWord::SUCCESS => {}
            status => return Err(Error::Refused { step, status }.into()),
        }
        let key = self.public_key()?;
        let made = u32::try_from(terms.now.as_secs()).unwrap_or(u32::MAX);
        self.write("note when the key was made", MADE, &made.to_be_bytes())?;
        let fingerprint = fingerprint(&key, made);
        self.write("note the key's fingerprint", FINGERPRINT, &fingerprint)?;
        Ok(())
    }

    /// X25519 does not sign, and the card's other keys are other people's.
    fn sign(&mut self, _: &CardKey, _: &[u8]) -> Result<Vec<u8>, Error> {
        Err(Error::Unsupported)
    }
}

impl<T: Transmit> Session<'_, T> {
    /// VERIFY of PW3 (7.2.2), once, if it can be right and a try may be spent on it.
    fn verify_admin(&mut self, pin: &Pin, last_try_consented: bool) -> Result<(), enroll::Error> {
        let step = "verify the administrator's PIN";
        let status = self.read(step, 0xC4)?;
        // validity of PW1, lengths of PW1, reset code and PW3, then the tries in the same order (4.4.1)
        let &[_, _, _, longest, _, _, tries] = status.data.as_slice() else {
            let what = "the PIN status is not 7 bytes";
            return Err(Error::Nonsense { step, what }.into());
        };
        match tries {
            0 => return Err(enroll::Error::AdminPinBlocked),
            1 if !last_try_consented => return Err(Error::OneTryLeft.into()),
            1.. => {}
        }
        let longest = usize::from(longest & 0x7F);
        if !(SHORTEST_PW3..=longest).contains(&pin.as_bytes().len()) {
            return Err(enroll::Error::AdminPinFormat);
        }
        let apdu = Apdu {
            header: [0x00, 0x20, 0x00, PW3],
            data: pin.as_bytes(),
            answered: false,
        };
        match exchange(self.card, step, &apdu)?.status {
            StatusWord::SUCCESS => Ok(()),
            StatusWord::BLOCKED | StatusWord(0x63C0) => Err(enroll::Error::AdminPinBlocked),
            StatusWord::NOT_VERIFIED => Err(enroll::Error::WrongAdminPin {
                left: Some(tries - 1),
            }),
            status => Err(match status.tries_left() {
                left @ Some(_) => enroll::Error::WrongAdminPin { left },
                None => Error::Refused { step, status }.into(),
            }),
        }
    }

    /// GENERATE ASYMMETRIC KEY PAIR for the decryption key (7.2.14): with 80 make one, with 81 read it.
    fn key_pair(&mut self, step: &'static str, p1: u8) -> Result<StatusWord, Error> {
        let apdu = Apdu {
            header: [0x00, 0x47, p1, 0x00],
            data: &[0xB8, 0x00],
            answered: true,
        };
        exchange(self.card, step, &apdu).map(|answer| answer.status)
    }

    fn is_for_x25519(&mut self) -> Result<bool, Error> {
        let step = "tell its algorithm";
        let objects = self.discretionary(step)?;
        let attributes = find(step, &objects, ATTRIBUTES.into())?.unwrap_or_default();
        let algorithm = attributes.strip_suffix(&[0xFF]).unwrap_or(attributes);
        Ok(X25519_ATTRIBUTES.contains(&algorithm))
    }

    /// The discretionary data objects, which tell nearly everything (4.4.1).
    fn discretionary(&mut self, step: &'static str) -> Result<Zeroizing<Vec<u8>>, Error> {
        let answer = self.read(step, 0x6E)?;
        // cards of before 3.0 leave the outer tag out
        let data = find(step, &answer.data, 0x6E)?.unwrap_or(&answer.data);
        let data = find(step, data, 0x73)?.unwrap_or(data);
        Ok(Zeroizing::new(data.to_vec()))
    }

    /// PUT DATA (7.2.8).
    fn write(&mut self, step: &'static str, tag: u8, data: &[u8]) -> Result<(), Error> {
        let apdu = Apdu {
            header: [0x00, 0xDA, 0x00, tag],
            data,
            answered: false,
        };
        match exchange(self.card, step, &apdu)?.status {
            StatusWord::SUCCESS => Ok(()),
            status => Err(Error::Refused { step, status }),
        }
    }
}

/// That of a version 4 key packet (RFC 9580, 5.5.4.2) with Curve25519 in the form that GnuPG gave it (11.2 and 11.5).
fn fingerprint(key: &[u8; 32], made: u32) -> [u8; 20] {
    // a number of 263 bits, whose first byte says "native form"
    const PREFIXED: [u8; 3] = [0x01, 0x07, 0x40];
    // key derivation with SHA-256, key wrap with AES-128
    const DERIVATION: [u8; 4] = [0x03, 0x01, 0x08, 0x07];
    const ECDH: u8 = 18;
    let oid = &X25519_ATTRIBUTES[0][1..];
    let mut body = vec![4];
    body.extend(made.to_be_bytes());
    body.extend([ECDH, oid.len() as u8]);
    body.extend_from_slice(oid);
    body.extend(PREFIXED);
    body.extend_from_slice(key);
    body.extend(DERIVATION);
    let length = [0x99, 0, body.len() as u8];
    let mut fingerprint = [0; 20];
    fingerprint.copy_from_slice(
        digest(&SHA1_FOR_LEGACY_USE_ONLY, &[&length[..], &body].concat()).as_ref(),
    );
    fingerprint
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::hex;

    #[test]
    fn the_fingerprint_is_gnupgs() {
        // gpg 2.2.40: --quick-gen-key with "future-default", then --list-packets and --list-keys
        let key = hex("DEA342D5DA35B320F92605EBFA48522A48528E0833A88056DF53382D12C40A3F");
        assert_eq!(
            fingerprint(&key.try_into().unwrap(), 1_795_378_210).to_vec(),
            hex("3F1DBE5FBF874705E5EA31806EB1D9F5D63EB2D0")
        );
    }
}
