//! The work at a card, whichever it is and whatever way it is reached: which rules hold before a PIN is sent, and whether the
//! card computes or opens.

use crate::applet::{Applet, Description, PinEntry, PinStatus};
use crate::{Binding, CardInfo, Config, Error, KeyMode, KeySource, SharedSecret};

/// Every new OpenPGP and PIV card has this PIN.
const FACTORY_PIN: &[u8] = b"123456";

/// Serves the bound card by the rules of one [`Config`].
pub(crate) struct Attendant {
    binding: Binding,
    allow_factory_pin: bool,
}

impl Attendant {
    /// `None` when no card is bound.
    pub(crate) fn new(config: &Config) -> Option<Self> {
        Some(Self {
            binding: config.binding.clone()?,
            allow_factory_pin: config.allow_factory_pin,
        })
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

    pub(crate) fn look(&self, applet: &mut dyn Applet) -> Result<CardInfo, Error> {
        let Description {
            serial,
            kind,
            key,
            certificate: _,
            pin,
        } = applet.describe()?;
        let (mode, same) = match self.binding.source {
            KeySource::Held => (
                KeyMode::Held,
                key == crate::key::CardKey::X25519(self.binding.public_key),
            ),
        };
        if !same {
            return Err(Error::OtherKey);
        }
        Ok(CardInfo {
            serial,
            kind,
            mode,
            algorithm: key.algorithm(),
            public_key: self.binding.public_key,
            subject: None,
            tries_left: pin.tries_left,
            ready: pin.verified,
            pin_pad: pin.pad,
        })
    }

    pub(crate) fn verify(
        &self,
        applet: &mut dyn Applet,
        pin: &PinEntry,
        last_try_consented: bool,
    ) -> Result<(), Error> {
        self.permit(pin, &applet.pin_status()?, last_try_consented)?;
        applet.verify(pin)
    }

    pub(crate) fn agree(
        &self,
        applet: &mut dyn Applet,
        with: &[u8; 32],
    ) -> Result<SharedSecret, Error> {
        match self.binding.source {
            KeySource::Held => applet.agree(with),
        }
    }

    pub(crate) fn lock(&self, applet: &mut dyn Applet) -> Result<(), Error> {
        applet.unverify()
    }

    /// Whether a try may be spent on this PIN.
    fn permit(
        &self,
        pin: &PinEntry,
        status: &PinStatus,
        last_try_consented: bool,
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
                } else if pin.as_bytes() == FACTORY_PIN && !self.allow_factory_pin {
                    Err(Error::FactoryPin)
                } else {
                    Ok(())
                }
            }
        }
    }
}
