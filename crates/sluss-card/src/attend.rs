//! The work at the bound card, whichever it is and whatever way it is reached: which rules hold before a PIN is sent, and
//! whether the card computes a Diffie-Hellman or opens the key that does.

use crate::applet::{Applet, Description, PinEntry, PinStatus};
use crate::desk::Agreed;
use crate::keeper::{Era, Keeper};
use crate::key::CardKey;
use crate::sealed::SealedKey;
use crate::{
    AfterUse, Binding, CardInfo, Config, Error, KeyId, KeyMode, KeySource, PinLife, certificate,
};
use std::sync::Arc;
use std::time::Duration;

/// Every new OpenPGP and PIV card has this PIN.
const FACTORY_PIN: &[u8] = b"123456";
/// Fewer tries than a card has when no one was lost: then a kept PIN is not tried by itself.
const ALL_TRIES: u8 = 3;

/// Serves the bound card by the rules of one [`Config`].
pub(crate) struct Attendant {
    binding: Binding,
    pin: PinLife,
    after_use: AfterUse,
    allow_factory_pin: bool,
    certificate: Option<certificate::Source>,
    keeper: Arc<Keeper>,
}

/// How the card is left at the end of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parting {
    /// As it is.
    Leave,
    /// Reset, under all who use it.
    Reset,
}

impl Attendant {
    /// `None` when no card is bound.
    pub(crate) fn new(config: &Config, keeper: Arc<Keeper>) -> Option<Self> {
        Some(Self {
            binding: config.binding.clone()?,
            pin: config.pin,
            after_use: config.after_use,
            allow_factory_pin: config.allow_factory_pin,
            certificate: config.certificate.clone(),
            keeper,
        })
    }

    /// Where on the card the bound key is.
    pub(crate) fn key(&self) -> &KeyId {
        &self.binding.id
    }

    /// Makes sure that this is the bound card.
    ///
    /// # Errors
    /// [`Error::OtherCard`].
    pub(crate) fn recognize(&self, applet: &dyn Applet) -> Result<(), Error> {
        if applet.serial() == self.binding.serial {
            Ok(())
        } else {
            let serial = applet.serial().to_owned();
            Err(Error::OtherCard { serial })
        }
    }

    /// Asks the card for everything that matters, and makes sure that the key is the bound one and that its certificate is
    /// good now, in time since 1970-01-01 UTC.
    pub(crate) fn look(&self, applet: &mut dyn Applet, now: Duration) -> Result<CardInfo, Error> {
        let Description {
            serial,
            kind,
            key,
            certificate,
            pin,
        } = applet.describe()?;
        let mode = self.recognize_key(&key)?;
        let subject = self.check_certificate(&key, certificate.as_deref(), now)?;
        let silently = pin.tries_left >= ALL_TRIES && self.keeper.has_pin();
        Ok(CardInfo {
            serial,
            kind,
            mode,
            algorithm: key.algorithm(),
            public_key: self.binding.public_key,
            subject,
            tries_left: pin.tries_left,
            ready: pin.verified || silently || self.keeper.has_key(),
            pin_pad: pin.pad,
        })
    }

    /// Tries what the user typed, and opens a sealed key with it.
    pub(crate) fn verify(
        &self,
        applet: &mut dyn Applet,
        era: Era,
        pin: &PinEntry,
        last_try_consented: bool,
    ) -> (Result<(), Error>, Parting) {
        let mut tried = || {
            let status = applet.pin_status()?;
            permit(pin, &status, last_try_consented, self.allow_factory_pin)?;
            applet.verify(pin)
        };
        if let Err(error) = tried() {
            return (Err(error), Parting::Leave);
        }
        if let (PinLife::UntilLock, PinEntry::Typed(pin)) = (self.pin, pin) {
            self.keeper.keep_pin(era, pin);
        }
        match &self.binding.source {
            // only a Diffie-Hellman uses what has been verified
            KeySource::Held => (Ok(()), Parting::Leave),
            KeySource::Sealed(key) => {
                let opened = self.open(applet, era, key);
                (opened, self.part(applet))
            }
        }
    }

    /// Computes the Diffie-Hellman, after showing the card a kept PIN if that is what it takes.
    pub(crate) fn agree(
        &self,
        applet: &mut dyn Applet,
        era: Era,
        with: &[u8; 32],
    ) -> (Result<Agreed, Error>, Parting) {
        let secret = match &self.binding.source {
            KeySource::Held => self.verified(applet, |applet| applet.agree(with)),
            KeySource::Sealed(key) => self
                .verified(applet, |applet| self.open(applet, era, key))
                .and_then(|()| self.keeper.agree(with).unwrap_or(Err(Error::Locked))),
        };
        let parting = match secret {
            Err(Error::Locked | Error::Gone) => Parting::Leave,
            Ok(_) | Err(_) => self.part(applet),
        };
        let ready =
            self.after_use == AfterUse::Keep || self.keeper.has_pin() || self.keeper.has_key();
        (secret.map(|secret| Agreed { secret, ready }), parting)
    }

    /// Makes the card forget that the PIN was verified.
    pub(crate) fn lock(&self, applet: &mut dyn Applet) -> (Result<(), Error>, Parting) {
        match applet.unverify() {
            // it does not know how: a reset makes every card forget
            Err(Error::Refused { .. }) => (Ok(()), Parting::Reset),
            done => (done, Parting::Leave),
        }
    }

    /// Whether the card's verified state is of no use from one task to the next: a sealed key is opened where the PIN is
    /// verified, and then needs nothing but that the card is there.
    pub(crate) fn may_let_go(&self) -> bool {
        matches!(self.binding.source, KeySource::Sealed(_))
    }

    fn recognize_key(&self, key: &CardKey) -> Result<KeyMode, Error> {
        let (mode, same) = match &self.binding.source {
            KeySource::Held => {
                let enrolled = CardKey::X25519(self.binding.public_key);
                (KeyMode::Held, *key == enrolled)
            }
            KeySource::Sealed(sealed) => {
                let same = sealed.is_for(key)
                    && sealed.serial() == self.binding.serial
                    && *sealed.public_key() == self.binding.public_key;
                (KeyMode::Sealed, same)
            }
        };
        if same { Ok(mode) } else { Err(Error::OtherKey) }
    }

    /// Whom the certificate names, if policy asks for one.
    fn check_certificate(
        &self,
        key: &CardKey,
        certificate: Option<&[u8]>,
        now: Duration,
    ) -> Result<Option<String>, Error> {
        let Some(source) = &self.certificate else {
            return Ok(None);
        };
        let certificate = certificate
            .filter(|der| CardKey::from_certificate(der).as_ref() == Some(key))
            .ok_or(Error::Certificate(certificate::Refusal::Missing))?;
        let checked = source
            .rule()
            .and_then(|rule| rule.check(certificate, &[], now));
        Ok(Some(checked.map_err(Error::Certificate)?.subject))
    }

    /// Does what needs the PIN, with the kept one if the card has forgotten.
    fn verified<T>(
        &self,
        applet: &mut dyn Applet,
        work: impl Fn(&mut dyn Applet) -> Result<T, Error>,
    ) -> Result<T, Error> {
        match work(applet) {
            Err(Error::Locked) => {}
            done => return done,
        }
        let pin = self.keeper.pin().ok_or(Error::Locked)?;
        // whatever comes of it, it is not tried a second time
        let shown = match applet.pin_status() {
            Ok(status) if status.tries_left >= ALL_TRIES => applet.verify(&pin),
            Ok(_) => Err(Error::Locked),
            Err(error) => Err(error),
        };
        if let Err(error) = shown {
            self.keeper.drop_pin();
            return Err(error);
        }
        work(applet)
    }

    /// Has the card open the sealed key.
    fn open(&self, applet: &mut dyn Applet, era: Era, key: &SealedKey) -> Result<(), Error> {
        let answer = applet.answer(&key.challenge())?;
        self.keeper.keep_key(era, |place| {
            key.open(&answer, place).map_err(Error::SealedKey)
        })
    }

    /// Leaves the card as policy wants it after its key was used.
    fn part(&self, applet: &mut dyn Applet) -> Parting {
        match self.after_use {
            AfterUse::Keep => Parting::Leave,
            AfterUse::Unverify => self.lock(applet).1,
            AfterUse::Reset => Parting::Reset,
        }
    }
}

/// Whether a try may be spent on what the user typed.
///
/// # Errors
/// [`Error::Blocked`], [`Error::OneTryLeft`], [`Error::NoPinPad`], [`Error::PinLength`], [`Error::FactoryPin`].
pub(crate) fn permit(
    pin: &PinEntry,
    status: &PinStatus,
    last_try_consented: bool,
    allow_factory_pin: bool,
) -> Result<(), Error> {
    match status.tries_left {
        0 => return Err(Error::Blocked),
        1 if !last_try_consented => return Err(Error::OneTryLeft),
        1.. => {}
    }
    match pin {
        PinEntry::OnPad if !status.pad => Err(Error::NoPinPad),
        PinEntry::OnPad => Ok(()),
        PinEntry::Typed(pin) => {
            let (min, max) = (status.shortest, status.longest);
            if !(min..=max).contains(&pin.as_bytes().len()) {
                Err(Error::PinLength { min, max })
            } else if pin.as_bytes() == FACTORY_PIN && !allow_factory_pin {
                Err(Error::FactoryPin)
            } else {
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests;
