//! Where a card is looked at and worked on: by PC/SC, each of its applications in turn.

use super::perform::{judge, mode};
use super::{Candidate, CandidateKey, Enrolment, Error, Found, Order, Survey, Terms};
use crate::applet::Applet;
use crate::attend::Parting;
use crate::connection::Connection;
use crate::key::CardKey;
use crate::sealed::Method;
use crate::{Access, Algorithm, CardKind, KeyId, openpgp, piv, pkcs11};
use pcsc::{Context, ReaderState, Scope, State};
use std::ffi::CString;
use std::ops::ControlFlow;
use std::time::Duration;

/// A place for a key: what can be made there, and what enrolment asks of the key besides its daily work.
pub(crate) trait Bench: Applet {
    /// Whether there is a key, of whatever kind.
    ///
    /// # Errors
    /// [`crate::Error::Refused`], [`crate::Error::Nonsense`], and what the reader says.
    fn is_occupied(&mut self) -> Result<bool, crate::Error>;

    /// What can be made here, the best first.
    ///
    /// # Errors
    /// [`crate::Error::Refused`], [`crate::Error::Nonsense`], and what the reader says.
    fn makes(&mut self) -> Result<Vec<Algorithm>, crate::Error>;

    /// Makes a key in place of what is there. The user's PIN is verified.
    ///
    /// # Errors
    /// [`Error::AdminPinNeeded`], [`Error::AdminPinFormat`], [`Error::WrongAdminPin`], [`Error::AdminPinBlocked`],
    /// [`Error::CannotMake`], and what the reader says.
    fn make(&mut self, algorithm: Algorithm, order: &Order, terms: &Terms) -> Result<(), Error>;

    /// Signs as [`super::Scheme`] says for a key of this kind.
    ///
    /// # Errors
    /// [`crate::Error::Refused`] and [`crate::Error::Unsupported`] when it does not sign, and what the reader says.
    fn sign(&mut self, key: &CardKey, message: &[u8]) -> Result<Vec<u8>, crate::Error>;

    /// How a key may be sealed to this one, the best way first.
    fn methods(&self, key: &CardKey) -> Vec<Method> {
        match key {
            CardKey::X25519(_) => Vec::new(),
            CardKey::P256(_) => vec![Method::EcdhP256],
            CardKey::P384(_) => vec![Method::EcdhP384],
            CardKey::Rsa(_) => vec![
                Method::RsaOaepSha256,
                Method::RsaPkcs1,
                Method::RsaSignature,
            ],
        }
    }
}

/// See [`super::survey`].
pub(super) fn survey(access: &Access, terms: &Terms) -> Result<Survey, crate::Error> {
    match access {
        Access::Pcsc => {
            let mut survey = Survey::default();
            for reader in readers_with_cards()? {
                look(reader, terms, &mut survey);
            }
            Ok(survey)
        }
        Access::Pkcs11(launch) => {
            let mut survey = Survey::default();
            pkcs11::visit(launch, terms.deadline, |place, id, bench| {
                match candidate(bench, place, id, terms) {
                    Ok(candidate) => survey.add(candidate),
                    Err(error) => survey.others.push((place.to_owned(), error)),
                }
                ControlFlow::Continue(())
            })?;
            Ok(survey)
        }
    }
}

/// Finds the key's card, and does `work` on it.
pub(super) fn open(
    access: &Access,
    terms: &Terms,
    serial: &str,
    id: &KeyId,
    work: &mut dyn FnMut(&mut dyn Bench) -> Result<Enrolment, Error>,
) -> Result<Enrolment, Error> {
    match access {
        Access::Pcsc => {
            for reader in readers_with_cards()? {
                let mut done = None;
                let looked = at(&reader, id, terms, &mut |bench| {
                    if bench.serial() != serial {
                        return Parting::Leave;
                    }
                    done = Some(work(bench));
                    // it must not know the administrator any longer
                    Parting::Reset
                });
                match (done, looked) {
                    (Some(done), _) => return done,
                    (None, Err(crate::Error::Timeout)) => return Err(crate::Error::Timeout.into()),
                    // another reader may have it
                    (None, _) => {}
                }
            }
            Err(Error::NoSuchCard)
        }
        Access::Pkcs11(launch) => {
            let mut done = Err(Error::NoSuchCard);
            pkcs11::visit(launch, terms.deadline, |_, at, bench| {
                if bench.serial() != serial {
                    return ControlFlow::Continue(());
                }
                if at == id {
                    done = work(bench);
                    return ControlFlow::Break(());
                }
                done = Err(Error::NoSuchKey);
                ControlFlow::Continue(())
            })?;
            done
        }
    }
}

impl Survey {
    /// A token has a place for each key, and each is told on its own.
    fn add(&mut self, candidate: Candidate) {
        let mut known = self.cards.iter_mut();
        match known.find(|card| card.serial == candidate.serial && card.kind == candidate.kind) {
            Some(card) => {
                let new = |key: &CandidateKey| card.keys.iter().all(|known| known.id != key.id);
                let new: Vec<_> = candidate.keys.into_iter().filter(new).collect();
                card.keys.extend(new);
            }
            None => self.cards.push(candidate),
        }
    }
}

/// Puts the applications of the card in `reader` into the survey, or the reason why there is none.
fn look(reader: CString, terms: &Terms, survey: &mut Survey) {
    let name = reader.to_string_lossy().into_owned();
    let before = survey.cards.len();
    let mut why = crate::Error::Gone;
    for id in [KeyId::OpenPgp, KeyId::Piv] {
        let mut found = Err(crate::Error::Gone);
        let looked = at(&reader, &id, terms, &mut |bench| {
            found = candidate(bench, &name, &id, terms);
            Parting::Leave
        });
        match looked.and(found) {
            Ok(candidate) => survey.cards.push(candidate),
            Err(error) => why = error,
        }
    }
    if survey.cards.len() == before {
        survey.others.push((name, why));
    }
}

fn candidate(
    bench: &mut dyn Bench,
    reader: &str,
    id: &KeyId,
    terms: &Terms,
) -> Result<Candidate, crate::Error> {
    let status = bench.pin_status()?;
    let found = match bench.describe() {
        Ok(description) => match judge(&description, terms) {
            Ok(certificate) => Found::Fit {
                mode: mode(description.key.algorithm()),
                algorithm: description.key.algorithm(),
                subject: certificate.map(|(subject, _)| subject),
                signs: description.key.algorithm() != Algorithm::X25519,
            },
            Err(error) => Found::Unfit(error),
        },
        Err(crate::Error::NoKey) => Found::Empty,
        Err(crate::Error::Unsupported) if !bench.is_occupied()? => Found::Empty,
        Err(error @ (crate::Error::Unsupported | crate::Error::HashedPin)) => {
            Found::Unfit(error.into())
        }
        Err(error) => return Err(error),
    };
    let mut makes = bench.makes()?;
    makes
        .retain(|&algorithm| terms.certificate.is_none() && terms.modes.contains(&mode(algorithm)));
    let key = CandidateKey {
        id: id.clone(),
        found,
        makes,
    };
    Ok(Candidate {
        reader: reader.to_owned(),
        serial: bench.serial().to_owned(),
        kind: match id {
            KeyId::OpenPgp => CardKind::OpenPgp,
            KeyId::Piv => CardKind::Piv,
            KeyId::Pkcs11(_) => CardKind::Pkcs11,
        },
        tries_left: status.tries_left,
        pin_pad: status.pad,
        keys: vec![key],
    })
}

/// Does `work` on the application that a key of this name would be in, in one transaction, and leaves the card as that says.
fn at(
    reader: &CString,
    id: &KeyId,
    terms: &Terms,
    work: &mut dyn FnMut(&mut dyn Bench) -> Parting,
) -> Result<(), crate::Error> {
    Connection::open(reader)?.transact(Some(terms.deadline), |mut exchange| match id {
        KeyId::OpenPgp => Ok(work(&mut openpgp::Session::open(&mut exchange)?)),
        KeyId::Piv => Ok(work(&mut piv::Session::open(&mut exchange)?)),
        KeyId::Pkcs11(_) => Err(crate::Error::NoApplet(CardKind::Pkcs11)),
    })
}

fn readers_with_cards() -> Result<Vec<CString>, crate::Error> {
    let context = Context::establish(Scope::System)?;
    let names = match context.list_readers_owned() {
        Ok(names) => names,
        Err(pcsc::Error::NoReadersAvailable) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let mut states: Vec<ReaderState> = names
        .into_iter()
        .map(|name| ReaderState::new(name, State::UNAWARE))
        .collect();
    if states.is_empty() {
        return Ok(Vec::new());
    }
    match context.get_status_change(Duration::ZERO, &mut states) {
        Ok(()) | Err(pcsc::Error::Timeout) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(states
        .iter()
        .filter(|state| state.event_state().contains(State::PRESENT))
        .map(|state| state.name().to_owned())
        .collect())
}
