//! A card and its worker as the rest of the daemon sees them, and what other programs do to the card.
//!
//! It follows what `sluss_card` says of its commands and of `PinLife` and `AfterUse`, with answers that come at once.

use sluss_card::{Algorithm, CardInfo, CardKind, Command, Error, Event, KeyMode, Op, x25519};
use sluss_policy::{AfterUse, CardRules, PinLife};

pub(crate) const READER: &str = "Reader 00 00";
/// WireGuard's private key, on the card or sealed to it.
const PRIVATE: [u8; 32] = [0x42; 32];

pub(crate) struct Card {
    mode: KeyMode,
    rules: CardRules,
    /// The card's own memory of the PIN.
    verified: bool,
    kept_pin: bool,
    unwrapped: bool,
    told_ready: bool,
    /// How often its key was used.
    pub(crate) operations: u32,
    /// How often a kept PIN was shown to it again.
    pub(crate) silent: u32,
    /// How often it was told to forget, or reset, under everybody who uses it.
    pub(crate) closed: u32,
}

impl Card {
    pub(crate) fn new(mode: KeyMode, rules: CardRules) -> Self {
        Self {
            mode,
            rules,
            verified: false,
            kept_pin: false,
            unwrapped: false,
            told_ready: false,
            operations: 0,
            silent: 0,
            closed: 0,
        }
    }

    pub(crate) fn public_key() -> [u8; 32] {
        x25519::public_key(&PRIVATE)
    }

    pub(crate) fn inserted(&mut self) -> Event {
        let card = self.info();
        self.told_ready = card.ready;
        let reader = READER.to_owned();
        Event::Inserted { reader, card }
    }

    /// Another program selected something else, reset it, or died; or sleep took its power. Nobody is told.
    pub(crate) fn disturb(&mut self) {
        self.verified = false;
    }

    pub(crate) fn answer(&mut self, op: Op, command: Command) -> Vec<Event> {
        match command {
            Command::Verify { .. } => {
                self.verified = true;
                self.kept_pin = self.rules.pin == PinLife::UntilLock;
                if self.mode == KeyMode::Sealed {
                    self.unwrap();
                }
                self.told_ready = true;
                let result = Ok(());
                vec![Event::Verified { op, result }]
            }
            Command::Dh { with } => {
                let result = self.agree(&with);
                let mut events = vec![Event::Dh { op, result }];
                events.extend(self.lost());
                events
            }
            Command::Lock => {
                self.forget();
                self.verified = false;
                self.told_ready = false;
                let result = Ok(());
                vec![Event::Relocked { op, result }]
            }
            Command::Forget => {
                self.forget();
                vec![Event::Forgotten { op }]
            }
            Command::Refresh => {
                let result = Ok(self.info());
                let mut events = vec![Event::Refreshed { op, result }];
                events.extend(self.lost());
                events
            }
        }
    }

    fn agree(&mut self, with: &[u8; 32]) -> Result<sluss_card::SharedSecret, Error> {
        if !self.unwrapped {
            if !self.verified && !self.kept_pin {
                return Err(Error::Locked);
            }
            self.silent += u32::from(!self.verified);
            self.verified = true;
            match self.mode {
                KeyMode::Held => self.part(),
                KeyMode::Sealed => self.unwrap(),
            }
        }
        x25519::agree(&PRIVATE, with)
    }

    fn unwrap(&mut self) {
        self.unwrapped = true;
        self.part();
    }

    /// Its key was used: it is left as policy wants it.
    fn part(&mut self) {
        self.operations += 1;
        match self.rules.after_use {
            AfterUse::Keep => {}
            AfterUse::Unverify | AfterUse::Reset => {
                self.closed += 1;
                self.verified = false;
            }
        }
    }

    fn forget(&mut self) {
        (self.kept_pin, self.unwrapped) = (false, false);
    }

    /// The news that it would have to ask, once.
    fn lost(&mut self) -> Option<Event> {
        let lost = self.told_ready && !self.is_ready();
        self.told_ready = self.is_ready();
        let reader = READER.to_owned();
        lost.then_some(Event::Locked { reader })
    }

    fn is_ready(&self) -> bool {
        self.verified || self.kept_pin || self.unwrapped
    }

    fn info(&self) -> CardInfo {
        let (kind, algorithm) = match self.mode {
            KeyMode::Held => (CardKind::OpenPgp, Algorithm::X25519),
            KeyMode::Sealed => (CardKind::Piv, Algorithm::P256),
        };
        CardInfo {
            serial: "0006:12345678".to_owned(),
            kind,
            mode: self.mode,
            algorithm,
            public_key: Self::public_key(),
            subject: None,
            tries_left: 3,
            ready: self.is_ready(),
            pin_pad: false,
        }
    }
}
