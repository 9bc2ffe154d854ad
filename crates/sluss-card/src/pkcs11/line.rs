//! The way to a token behind a PKCS#11 module, and the token as the rest of the crate sees any card.

use super::wire::{PinState, Tries};
use super::{Failure, Fault, Key, KeyAt, Launch, Module, Scheme, Token};
use crate::applet::{Answer, Applet, Challenge, Description, PinEntry, PinStatus};
use crate::attend::Parting;
use crate::line::Line;
use crate::{CardKind, Error, Pin, SharedSecret};
use std::time::Instant;
use zeroize::Zeroizing;

/// The way to the token in one reader, or in a slot that is always full.
pub(crate) struct TokenLine {
    /// PC/SC name of the reader, or what the module calls the slot.
    place: String,
    /// `CKA_ID` of the bound key.
    key: Vec<u8>,
    module: Module,
    /// Found by the first transaction; its session in the worker ends when it is pulled, so it stands for no other.
    token: Option<Token>,
}

impl TokenLine {
    /// Starts the worker with the first transaction.
    pub(crate) fn new(place: String, key: Vec<u8>, launch: Launch) -> Self {
        let (module, token) = (Module::new(launch), None);
        Self {
            place,
            key,
            module,
            token,
        }
    }

    /// The same line with another key of the same token.
    pub(super) fn on(mut self, key: Vec<u8>) -> Self {
        self.key = key;
        self
    }

    /// Runs `work` on the token, which is found first if it is not known.
    pub(super) fn visit<T>(
        &mut self,
        deadline: Option<Instant>,
        work: impl FnOnce(&mut TokenApplet<'_>) -> T,
    ) -> Result<T, Error> {
        let (token, fresh) = match self.token.take() {
            Some(token) => (token, false),
            None => (self.find(deadline)?, true),
        };
        let mut applet = TokenApplet {
            serial: serial(&token),
            line: self,
            token,
            fresh,
            deadline,
            lost: false,
            pin: None,
        };
        let done = work(&mut applet);
        let TokenApplet { token, lost, .. } = applet;
        self.token = (!lost).then_some(token);
        Ok(done)
    }

    fn find(&mut self, deadline: Option<Instant>) -> Result<Token, Error> {
        let tokens = self.module.look(Some(&self.place), deadline)?;
        choose(tokens, &self.key)
    }
}

impl Line for TokenLine {
    fn transact(
        &mut self,
        deadline: Option<Instant>,
        work: &mut dyn FnMut(&mut dyn Applet) -> Parting,
    ) -> Result<(), Error> {
        let parting = self.visit(deadline, |applet| work(applet))?;
        if let Parting::Reset = parting {
            // what can be reset from here is what the module keeps
            self.let_go();
        }
        Ok(())
    }

    /// The module's business: what is asked of it is asked once more.
    fn was_reset(&self) -> bool {
        false
    }

    fn let_go(&mut self) {
        self.token = None;
        self.module.end();
    }
}

/// A token, for as long as one transaction lasts.
pub(super) struct TokenApplet<'a> {
    line: &'a mut TokenLine,
    serial: String,
    token: Token,
    /// What is known of the token has just been read.
    fresh: bool,
    deadline: Option<Instant>,
    /// The token has to be found again by the next transaction.
    lost: bool,
    /// Was right in this transaction; a key may want it again for each use.
    pin: Option<Pin>,
}

impl TokenApplet<'_> {
    /// Asks the module, and takes note when token or module are not what they were.
    pub(super) fn ask<T>(
        &mut self,
        request: impl FnOnce(&mut Module, u64, Option<Instant>) -> Result<T, Failure>,
    ) -> Result<T, Error> {
        let done = request(&mut self.line.module, self.token.slot, self.deadline);
        if let Err(Failure::Fault(Fault::Gone) | Failure::Hung | Failure::Ended) = done {
            self.lost = true;
        }
        match done {
            Err(Failure::Hung) if self.deadline.is_some() => Err(Error::Timeout),
            done => done.map_err(Error::from),
        }
    }

    /// Asks for what spends no try. A reset by another program looks like a pull to some modules, and makes others fail: the
    /// token is looked for in a new process, and asked once more if it is there.
    fn ask_twice<T>(
        &mut self,
        request: impl Fn(&mut Module, u64, Option<Instant>) -> Result<T, Failure>,
    ) -> Result<T, Error> {
        match self.ask(&request) {
            Err(Error::Gone | Error::Module(Failure::Fault(Fault::Failed(_)))) => {
                self.line.module.end();
                self.lost = false;
                self.fresh = false;
                self.refresh()?;
                self.ask(&request)
            }
            done => done,
        }
    }

    fn use_key<T>(
        &mut self,
        request: impl Fn(&mut Module, KeyAt<'_>, Option<Instant>) -> Result<T, Failure>,
    ) -> Result<T, Error> {
        let id = self.line.key.clone();
        let request = |module: &mut Module, slot, deadline| {
            request(module, KeyAt { slot, id: &id }, deadline)
        };
        match (self.ask_twice(request), self.pin.clone()) {
            (Err(Error::Locked), Some(pin)) => {
                self.ask(|module, slot, deadline| module.log_in(slot, Some(&pin), deadline))?;
                self.ask(request)
            }
            (done, _) => done,
        }
    }

    /// Signs with the key.
    pub(super) fn sign(
        &mut self,
        scheme: Scheme,
        message: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        self.use_key(|module, key, deadline| module.sign(key, scheme, message, deadline))
    }

    /// Reads the token anew, unless that was just done.
    fn refresh(&mut self) -> Result<(), Error> {
        if std::mem::take(&mut self.fresh) {
            return Ok(());
        }
        let place = self.line.place.clone();
        let mut tokens = self.ask(|module, _, deadline| module.look(Some(&place), deadline))?;
        tokens.retain(|token| serial(token) == self.serial);
        let found = choose(tokens, &self.line.key);
        self.lost = found.is_err();
        self.token = found?;
        Ok(())
    }

    /// The key, if it shows.
    pub(super) fn key(&mut self) -> Result<Option<&Key>, Error> {
        self.refresh()?;
        let mut keys = self.token.keys.iter();
        Ok(keys.find(|key| key.id == self.line.key))
    }

    /// Its `CKA_ID`.
    pub(super) fn key_id(&self) -> &[u8] {
        &self.line.key
    }

    /// What was read last.
    pub(super) fn token(&self) -> &Token {
        &self.token
    }

    /// The token is not what was read last.
    pub(super) fn forget(&mut self) {
        self.fresh = false;
    }
}

impl Applet for TokenApplet<'_> {
    fn serial(&self) -> &str {
        &self.serial
    }

    fn describe(&mut self) -> Result<Description, Error> {
        let key = self.key()?.ok_or(Error::NoKey)?.clone();
        Ok(Description {
            serial: self.serial.clone(),
            kind: CardKind::Pkcs11,
            key: key.public,
            certificate: key.certificate,
            pin: status(&self.token.pin),
        })
    }

    fn pin_status(&mut self) -> Result<PinStatus, Error> {
        let pin = self.ask_twice(Module::pin)?;
        Ok(status(&pin))
    }

    fn verify(&mut self, pin: &PinEntry) -> Result<(), Error> {
        let pin = match pin {
            PinEntry::Typed(pin) => Some(pin),
            PinEntry::OnPad => None,
        };
        let shown = self.ask(|module, slot, deadline| module.log_in(slot, pin, deadline));
        // private keys show now
        self.forget();
        match shown {
            Ok(()) => {
                self.pin = pin.cloned();
                Ok(())
            }
            Err(Error::PinLength { .. }) => {
                let pin = status(&self.token.pin);
                let (min, max) = (pin.shortest, pin.longest);
                Err(Error::PinLength { min, max })
            }
            Err(error) => Err(error),
        }
    }

    /// Also ends the worker, and so what the module may remember.
    fn unverify(&mut self) -> Result<(), Error> {
        let done = self.ask(Module::log_out);
        self.line.module.end();
        self.lost = true;
        done
    }

    fn agree(&mut self, with: &[u8; 32]) -> Result<SharedSecret, Error> {
        let answer = self.use_key(|module, key, deadline| module.derive(key, with, deadline))?;
        SharedSecret::from_answer(&answer).ok_or(Error::Nonsense {
            step: "compute the Diffie-Hellman",
            what: "not 32 bytes",
        })?
    }

    fn answer(&mut self, challenge: &Challenge) -> Result<Answer, Error> {
        self.use_key(|module, key, deadline| match challenge {
            Challenge::Agree(point) => module.derive(key, point, deadline).map(Answer::Agreed),
            Challenge::Decrypt(ciphertext, padding) => module
                .decrypt(key, *padding, ciphertext, deadline)
                .map(Answer::Plain),
            Challenge::Sign(message) => module
                .sign(key, Scheme::RsaPkcs1Sha256, message, deadline)
                .map(Answer::Signed),
        })
    }
}

/// The token with the key; one reader may be several slots, each with a PIN of its own.
fn choose(tokens: Vec<Token>, key: &[u8]) -> Result<Token, Error> {
    let has_key = |token: &Token| token.keys.iter().any(|it| it.id == key);
    let (mut with_key, mut without): (Vec<_>, Vec<_>) = tokens.into_iter().partition(has_key);
    // without the key it is told as another card, or as the card without its key
    with_key.append(&mut without);
    with_key.into_iter().next().ok_or(Error::Gone)
}

/// What tells the token from others: its serial number, or its label where the manufacturer gave none.
pub(crate) fn serial(token: &Token) -> String {
    if token.serial.is_empty() {
        token.label.clone()
    } else {
        token.serial.clone()
    }
}

fn status(pin: &PinState) -> PinStatus {
    PinStatus {
        tries_left: left(pin.tries),
        shortest: pin.shortest.into(),
        longest: pin.longest.max(pin.shortest).into(),
        verified: pin.ready,
        pad: pin.pad,
    }
}

fn left(tries: Tries) -> u8 {
    match tries {
        Tries::All => 3,
        Tries::Low => 2,
        Tries::Last => 1,
        Tries::None => 0,
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Fault(Fault::Gone) => Self::Gone,
            Failure::Fault(Fault::Foreign) => Self::NoApplet(CardKind::Pkcs11),
            Failure::Fault(Fault::NotLoggedIn) => Self::Locked,
            Failure::Fault(Fault::WrongPin(tries)) => match left(tries) {
                0 => Self::Blocked,
                left => Self::WrongPin { left },
            },
            Failure::Fault(Fault::BadPin) => Self::PinLength {
                min: 1,
                max: Pin::MAX,
            },
            Failure::Fault(Fault::Blocked) => Self::Blocked,
            Failure::Fault(Fault::Declined) => Self::Declined,
            Failure::Fault(Fault::NoKey) => Self::NoKey,
            Failure::Fault(Fault::Unsupported) => Self::Unsupported,
            failure => Self::Module(failure),
        }
    }
}

#[cfg(test)]
mod tests;
