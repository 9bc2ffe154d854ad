//! Who takes part: a rig with a card, somebody who asks the card worker and listens to it, and another program.

use std::ffi::CString;
use std::path::Path;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use pcsc::{Protocols, Scope, ShareMode};
use sluss_card::{
    Access, AfterUse, Binding, CardInfo, Cards, Command, Config, Error, Event, HeapVault, KeyId,
    KeySource, Op, Pin, PinEntry, PinLife,
};
use sluss_tests::netns::Netns;
use sluss_tests::rig::{Rig, VirtualCard};

/// How long anything may take that a trial does not measure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// Given to each request to a healthy card.
const TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) fn start() -> Result<(Rig, VirtualCard)> {
    let rig = Rig::start(Netns::own("own")?, Path::new("/run/rig"))?;
    let card = rig.card(0)?;
    Ok((rig, card))
}

/// The settings of a laptop that this card was enrolled on.
pub(crate) fn bound_to(card: &VirtualCard) -> Config {
    let identity = card.identity();
    let binding = Binding {
        serial: identity.serial.clone(),
        public_key: identity.public_key,
        id: KeyId::OpenPgp,
        source: KeySource::Held,
    };
    Config {
        binding: Some(binding),
        access: Access::Pcsc,
        pin: PinLife::Ask,
        after_use: AfterUse::Keep,
        allow_factory_pin: true,
        certificate: None,
    }
}

/// A card in the reader, and a worker that has not yet been listened to.
pub(crate) fn inserted() -> Result<(Rig, VirtualCard, User)> {
    let (rig, mut card) = start()?;
    card.insert()?;
    let user = User::start(bound_to(&card))?;
    Ok((rig, card, user))
}

/// The same after the PIN.
pub(crate) fn verified() -> Result<(Rig, VirtualCard, User)> {
    let (rig, card, mut user) = inserted()?;
    let serial = user.inserted()?.serial;
    ensure!(user.verify(&serial, "123456", false)? == Ok(()));
    Ok((rig, card, user))
}

/// Asks the worker and listens to it, as the daemon does.
pub(crate) struct User {
    pub(crate) cards: Cards,
    events: Receiver<Event>,
    /// All that was ever heard.
    heard: Vec<String>,
    ops: u64,
}

impl User {
    pub(crate) fn start(config: Config) -> Result<User> {
        let (sender, events) = mpsc::channel();
        let vault = Box::new(HeapVault::default());
        let cards = sluss_card::start(config, vault, move |event| drop(sender.send(event)))?;
        Ok(User {
            cards,
            events,
            heard: Vec::new(),
            ops: 0,
        })
    }

    /// Listens until `pick` finds what it wants.
    pub(crate) fn expect<T>(
        &mut self,
        what: &str,
        mut pick: impl FnMut(Event) -> Option<T>,
    ) -> Result<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let Ok(event) = self
                .events
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            else {
                bail!(
                    "{what} did not come; heard so far:\n{}",
                    self.heard.join("\n")
                );
            };
            self.heard.push(event.to_string());
            if let Some(found) = pick(event) {
                return Ok(found);
            }
        }
    }

    pub(crate) fn heard_of(&self, words: &str) -> bool {
        self.heard.iter().any(|event| event.contains(words))
    }

    pub(crate) fn inserted(&mut self) -> Result<CardInfo> {
        self.expect("a card", |event| match event {
            Event::Inserted { card, .. } => Some(card),
            _ => None,
        })
    }

    pub(crate) fn removed(&mut self, from: &str) -> Result<()> {
        self.expect("the removal", |event| {
            matches!(event, Event::Removed { reader } if reader == from).then_some(())
        })
    }

    pub(crate) fn locked(&mut self) -> Result<()> {
        self.expect("the loss of the verified state", |event| {
            matches!(event, Event::Locked { .. }).then_some(())
        })
    }

    pub(crate) fn unusable(&mut self, at: &str) -> Result<Error> {
        self.expect("word of an unusable card", |event| match event {
            Event::Unusable { reader, reason } if reader == at => Some(reason),
            _ => None,
        })
    }

    pub(crate) fn verify(
        &mut self,
        serial: &str,
        pin: &str,
        last_try_consented: bool,
    ) -> Result<Result<(), Error>> {
        let pin = Pin::new(pin.as_bytes().to_vec().into())?;
        let asked = self.send(
            Command::Verify {
                serial: serial.to_owned(),
                pin: PinEntry::Typed(pin),
                last_try_consented,
            },
            TIMEOUT,
        );
        self.expect("the answer to the PIN", |event| match event {
            Event::Verified { op, result } if op == asked => Some(result),
            _ => None,
        })
    }

    pub(crate) fn dh(&mut self, with: [u8; 32]) -> Result<Result<[u8; 32], Error>> {
        self.dh_within(with, TIMEOUT)
    }

    pub(crate) fn dh_within(
        &mut self,
        with: [u8; 32],
        timeout: Duration,
    ) -> Result<Result<[u8; 32], Error>> {
        let asked = self.send(Command::Dh { with }, timeout);
        self.expect("the answer to a Diffie-Hellman", |event| match event {
            Event::Dh { op, result } if op == asked => {
                Some(result.map(|secret| *secret.as_bytes()))
            }
            _ => None,
        })
    }

    pub(crate) fn lock(&mut self) -> Result<Result<(), Error>> {
        let asked = self.send(Command::Lock, TIMEOUT);
        self.expect("the answer to locking", |event| match event {
            Event::Relocked { op, result } if op == asked => Some(result),
            _ => None,
        })
    }

    pub(crate) fn refresh(&mut self) -> Result<Result<CardInfo, Error>> {
        let asked = self.send(Command::Refresh, TIMEOUT);
        self.expect("the answer to a refresh", |event| match event {
            Event::Refreshed { op, result } if op == asked => Some(result),
            _ => None,
        })
    }

    fn send(&mut self, command: Command, timeout: Duration) -> Op {
        self.ops += 1;
        self.cards.send(Op(self.ops), command, timeout);
        Op(self.ops)
    }
}

/// Another program that uses the card in the first reader; for pcscd each context is one.
pub(crate) struct Other(pub(crate) pcsc::Card);

impl Other {
    pub(crate) fn connect(rig: &Rig, share: ShareMode) -> Result<Other> {
        let context = pcsc::Context::establish(Scope::System)?;
        let reader = CString::new(rig.reader(0))?;
        Ok(Other(context.connect(&reader, share, Protocols::ANY)?))
    }

    pub(crate) fn exchange(&self, command: &[u8]) -> Result<Vec<u8>> {
        let mut buffer = [0; 258];
        Ok(self.0.transmit(command, &mut buffer)?.to_vec())
    }
}
