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
    /// The standard has no way to ask whether there is a key without a certificate, and one that is in use elsewhere must not be
    /// lost: only a card that tells of its keys is believed to have none.
    fn is_occupied(&mut self) -> Result<bool, Error> {
        match self.key() {
            Ok(_) | Err(Error::Unsupported) => Ok(true),
            Err(Error::NoKey) => Ok(!self.tells_of_keys()?),
            Err(error) => Err(error),
        }
    }

    /// What SP 800-78-5 lets a card have, and X25519 where a YubiKey is new enough. RSA last: it takes a card half a minute.
    fn makes(&mut self) -> Result<Vec<Algorithm>, Error> {
        let held = self.makes_x25519()?.then_some(Algorithm::X25519);
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

impl<T: Transmit> Session<'_, T> {
    /// Whether Yubico's GET VERSION, which other makers' cards answer as well, is new enough.
    fn makes_x25519(&mut self) -> Result<bool, Error> {
        let version = self.ask([0x00, 0xFD, 0x00, 0x00])?.unwrap_or_default();
        let new = matches!(version[..], [major, minor, _] if [major, minor] >= FIRST_WITH_X25519);
        Ok(new && self.tells_of_keys()?)
    }

    /// Whether the card knows Yubico's GET METADATA: the management key is always there to be told of.
    fn tells_of_keys(&mut self) -> Result<bool, Error> {
        Ok(self.ask([0x00, 0xF7, 0x00, 0x9B])?.is_some())
    }

    /// What a card answers to a maker's own command, if it has something to say.
    fn ask(&mut self, header: [u8; 4]) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        let apdu = Apdu {
            header,
            data: &[],
            answered: true,
        };
        let answer = exchange(self.card, "tell what it is", &apdu)?;
        let answered = answer.status == StatusWord::SUCCESS && !answer.data.is_empty();
        Ok(answered.then_some(answer.data))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::Script;

    #[test]
    fn x25519_is_made_by_yubikeys_that_are_new_enough_and_by_nobody_else() {
        let held = Some(Algorithm::X25519);
        for (version, metadata, first) in [
            ("050700 9000", Some("0101FF 9000"), held),
            ("050402 9000", None, Some(Algorithm::P256)),
            // another maker, who says 6.6.6
            ("060606 9000", Some("6D00"), Some(Algorithm::P256)),
            ("060606 9000", Some("9000"), Some(Algorithm::P256)),
            ("6D00", None, Some(Algorithm::P256)),
        ] {
            let mut exchanges = vec![("00FD000000", version)];
            exchanges.extend(metadata.map(|metadata| ("00F7009B00", metadata)));
            let mut card = Script::new(&exchanges);
            let mut session = Session {
                card: &mut card,
                serial: String::new(),
                discovery: Default::default(),
            };
            assert_eq!(
                session.makes().unwrap().first().copied(),
                first,
                "{version}"
            );
        }
    }

    #[test]
    fn a_management_key_is_hexadecimal_of_a_length_that_there_is() {
        let typed = |text: &str| Pin::new(Zeroizing::new(text.as_bytes().to_vec())).unwrap();
        for right in [
            "0123456789abcdefABCDEF0123456789",
            &"01".repeat(24),
            &"fe".repeat(32),
        ] {
            assert!(management_key(&typed(right)).is_ok(), "{right}");
        }
        for wrong in [
            "01",
            "0",
            &"0g".repeat(24),
            &"01".repeat(25),
            &"0".repeat(47),
        ] {
            let refused = management_key(&typed(wrong)).err();
            assert_eq!(refused, Some(enroll::Error::AdminPinFormat), "{wrong}");
        }
    }
}
