//! Enrolment at tokens behind PKCS#11: every key that shows is a place, and one more where the token makes keys.

use super::line::{TokenApplet, TokenLine};
use super::{Launch, Module, Scheme, Token};
use crate::enroll::{self, Bench, Order, Terms};
use crate::key::{CardKey, integer};
use crate::tlv;
use crate::{Algorithm, Error, KeyId};
use std::ops::ControlFlow;
use std::time::Instant;

/// `CKA_ID` of a key that we have a token make, and `CKA_LABEL`; a number follows where that is taken. No key is ever made
/// in place of another, which may be what opens somebody's files.
const NAME: &str = "sluss";
/// DER tag (X.690, 8.9).
const SEQUENCE: u16 = 0x30;

/// Shows each place for a key, held keys first, with what the module calls the slot, until `work` has seen enough.
///
/// # Errors
/// When the module does not tell its tokens.
pub(crate) fn visit(
    launch: &Launch,
    deadline: Instant,
    mut work: impl FnMut(&str, &KeyId, &mut dyn Bench) -> ControlFlow<()>,
) -> Result<(), Error> {
    let tokens = Module::new(launch.clone()).look(None, Some(deadline))?;
    for token in tokens {
        let mut line = TokenLine::new(token.place.clone(), Vec::new(), launch.clone());
        for id in places(&token) {
            line = line.on(id.clone());
            let seen = line.visit(Some(deadline), |applet| {
                work(&token.place, &KeyId::Pkcs11(id), applet)
            })?;
            if seen.is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn places(token: &Token) -> Vec<Vec<u8>> {
    let (held, sealed): (Vec<_>, Vec<_>) = token
        .keys
        .iter()
        .partition(|key| key.public.algorithm() == Algorithm::X25519);
    let known = held.into_iter().chain(sealed).map(|key| key.id.clone());
    let mut places: Vec<_> = known.collect();
    if !token.makes.is_empty() {
        places.push(new_name(&places));
    }
    places
}

fn new_name(taken: &[Vec<u8>]) -> Vec<u8> {
    let numbered = (2..).map(|number: u32| format!("{NAME}-{number}"));
    let names = std::iter::once(NAME.to_owned()).chain(numbered);
    let mut names = names.map(String::into_bytes);
    names.find(|name| !taken.contains(name)).unwrap_or_default()
}

impl Bench for TokenApplet<'_> {
    fn is_occupied(&mut self) -> Result<bool, Error> {
        Ok(self.key()?.is_some())
    }

    fn makes(&mut self) -> Result<Vec<Algorithm>, Error> {
        let occupied = self.is_occupied()?;
        Ok(if occupied {
            Vec::new()
        } else {
            self.token().makes.clone()
        })
    }

    fn make(
        &mut self,
        algorithm: Algorithm,
        _order: &Order,
        _terms: &Terms,
    ) -> Result<(), enroll::Error> {
        let id = self.key_id().to_vec();
        let label = String::from_utf8_lossy(&id).into_owned();
        let made = self
            .ask(|module, slot, deadline| module.generate(slot, algorithm, &id, &label, deadline));
        self.forget();
        match made {
            Ok(_) => Ok(()),
            Err(Error::Unsupported) => Err(enroll::Error::CannotMake),
            Err(error) => Err(error.into()),
        }
    }

    fn sign(&mut self, key: &CardKey, message: &[u8]) -> Result<Vec<u8>, Error> {
        let uses = self.key()?.and_then(|key| key.uses);
        if uses.is_some_and(|uses| !uses.sign) {
            return Err(Error::Unsupported);
        }
        let scheme = match key {
            CardKey::X25519(_) => return Err(Error::Unsupported),
            CardKey::P256(_) => Scheme::EcdsaSha256,
            CardKey::P384(_) => Scheme::EcdsaSha384,
            CardKey::Rsa(_) => Scheme::RsaPkcs1Sha256,
        };
        let signature = TokenApplet::sign(self, scheme, message)?;
        Ok(match scheme {
            Scheme::RsaPkcs1Sha256 => signature.to_vec(),
            Scheme::EcdsaSha256 | Scheme::EcdsaSha384 => der(&signature),
        })
    }
}

/// `ECDSA-Sig-Value` (RFC 3279, 2.2.3) of r and s one after the other (PKCS#11 2.40, mechanisms, 2.3.1).
fn der(signature: &[u8]) -> Vec<u8> {
    let (r, s) = signature.split_at(signature.len() / 2);
    tlv::wrap(SEQUENCE, &[integer(r), integer(s)].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_written_as_der_wants_it() {
        // X.690, 8.3: as few bytes as possible, and a leading zero before a set first bit
        assert_eq!(
            der(&[0x00, 0x7F, 0x00, 0x80]),
            [0x30, 0x07, 0x02, 0x01, 0x7F, 0x02, 0x02, 0x00, 0x80]
        );
        assert_eq!(
            der(&[0xFF, 0x01]),
            [0x30, 0x07, 0x02, 0x02, 0x00, 0xFF, 0x02, 0x01, 0x01]
        );
    }
}
