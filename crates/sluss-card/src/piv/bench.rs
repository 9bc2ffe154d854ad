//! Making the key management key of a PIV card: the management key, the key, and a certificate to read it from.

use super::Session;
use super::issue::ManagementKey;
use crate::apdu::{Apdu, StatusWord, Transmit, exchange};
use crate::enroll::{self, Bench, Order, Terms, holder};
use crate::key::CardKey;
use crate::{Algorithm, Error, Pin};
use zeroize::Zeroizing;

/// The first YubiKey firmware with X25519.
const FIRST_WITH_X25519: [u8; 2] = [5, 7];

impl<T: Transmit> Bench for Session<'_, T> {
    fn is_occupied(&mut self) -> Result<bool, Error> {
        match self.key() {
            Ok(_) | Err(Error::Unsupported) => Ok(true),
            Err(Error::NoKey) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What SP 800-78-5 lets a card have, and X25519 where a YubiKey is new enough. RSA last: it takes a card half a minute.
    fn makes(&mut self) -> Result<Vec<Algorithm>, Error> {
        // not in SP 800-73: Yubico's GET VERSION
        let apdu = Apdu {
            header: [0x00, 0xFD, 0x00, 0x00],
            data: &[],
            answered: true,
        };
        let version = exchange(self.card, "tell its version", &apdu)?;
        let x25519 = version.status == StatusWord::SUCCESS
            && matches!(version.data[..], [major, minor, _] if [major, minor] >= FIRST_WITH_X25519);
        let held = x25519.then_some(Algorithm::X25519);
        let sealed = [Algorithm::P256, Algorithm::P384, Algorithm::Rsa2048];
        Ok(held.into_iter().chain(sealed).collect())
    }

    fn make(
        &mut self,
        algorithm: Algorithm,
        order: &Order,
        terms: &Terms,
    ) -> Result<(), enroll::Error> {
        let admin_pin = order.admin_pin.as_ref();
        let management = management_key(admin_pin.ok_or(enroll::Error::AdminPinNeeded)?)?;
        match self.authenticate(&management) {
            Ok(()) => {}
            Err(Error::Unsupported) => return Err(enroll::Error::AdminPinFormat),
            Err(Error::Refused { .. }) => {
                return Err(enroll::Error::WrongAdminPin { left: None });
            }
            Err(error) => return Err(error.into()),
        }
        let key = match self.generate(algorithm) {
            Err(Error::Refused { .. }) => return Err(enroll::Error::CannotMake),
            made => made?,
        };
        // the standard knows no other way to read a public key again
        self.put_certificate(&holder::certificate(&key, terms.now)?)?;
        Ok(())
    }

    fn sign(&mut self, key: &CardKey, message: &[u8]) -> Result<Vec<u8>, Error> {
        Session::sign(self, key, message)
    }
}

/// From hexadecimal, as `yubico-piv-tool` wants it too.
fn management_key(typed: &Pin) -> Result<ManagementKey, enroll::Error> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let (pairs, []) = typed.as_bytes().as_chunks::<2>() else {
        return Err(enroll::Error::AdminPinFormat);
    };
    let mut key = Zeroizing::new(Vec::with_capacity(Pin::MAX));
    for &[high, low] in pairs {
        let byte = digit(high)
            .zip(digit(low))
            .map(|(high, low)| high << 4 | low);
        key.push(byte.ok_or(enroll::Error::AdminPinFormat)?);
    }
    ManagementKey::new(key).map_err(|_| enroll::Error::AdminPinFormat)
}
