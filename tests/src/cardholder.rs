//! Somebody with a card: asks the card worker and listens to it, as the daemon does.

use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use sluss_card::{CardInfo, Cards, Command, Config, Error, Event, HeapVault, Op, Pin, PinEntry};

/// How long anything may take that a trial does not measure.
const PATIENCE: Duration = Duration::from_secs(15);
/// Given to each request.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A running card worker and all that it ever told.
pub struct Cardholder {
    /// The worker itself.
    pub cards: Cards,
    events: Receiver<Event>,
    /// Of the card that the worker is bound to.
    serial: String,
    heard: Vec<String>,
    ops: u64,
}

impl Cardholder {
    pub fn start(config: Config) -> Result<Cardholder> {
        let (sender, events) = mpsc::channel();
        let binding = config.binding.as_ref().context("no card is bound")?;
        let serial = binding.serial.clone();
        let vault = Box::new(HeapVault::default());
        let cards = sluss_card::start(config, vault, move |event| drop(sender.send(event)))?;
        Ok(Cardholder {
            cards,
            events,
            serial,
            heard: Vec::new(),
            ops: 0,
        })
    }

    pub fn inserted(&mut self) -> Result<CardInfo> {
        self.expect("a card", |event| match event {
            Event::Inserted { card, .. } => Some(card),
            _ => None,
        })
    }

    pub fn removed(&mut self, from: &str) -> Result<()> {
        self.expect("the removal", |event| {
            matches!(event, Event::Removed { reader } if reader == from).then_some(())
        })
    }

    pub fn locked(&mut self) -> Result<()> {
        self.expect("the loss of the verified state", |event| {
            matches!(event, Event::Locked { .. }).then_some(())
        })
    }

    /// The reason why the card in this reader cannot serve.
    pub fn unusable_in(&mut self, at: &str) -> Result<Error> {
        self.expect("word of an unusable card", |event| match event {
            Event::Unusable { reader, reason } if reader == at => Some(reason),
            _ => None,
        })
    }

    /// The reason why a card cannot serve.
    pub fn unusable(&mut self) -> Result<Error> {
        self.expect("word of an unusable card", |event| match event {
            Event::Unusable { reason, .. } => Some(reason),
            _ => None,
        })
    }

    /// Types the bound card's PIN.
    pub fn unlock(&mut self, pin: &str) -> Result<Result<(), Error>> {
        self.try_pin(&self.serial.clone(), pin, false)
    }

    /// Knowing that it may be the last try.
    pub fn unlock_at_all_costs(&mut self, pin: &str) -> Result<Result<(), Error>> {
        self.try_pin(&self.serial.clone(), pin, true)
    }

    /// Types the PIN of a card with this serial number.
    pub fn verify(&mut self, serial: &str, pin: &str) -> Result<Result<(), Error>> {
        self.try_pin(serial, pin, false)
    }

    pub fn dh(&mut self, with: [u8; 32]) -> Result<Result<[u8; 32], Error>> {
        self.dh_within(with, TIMEOUT)
    }

    pub fn dh_within(
        &mut self,
        with: [u8; 32],
        timeout: Duration,
    ) -> Result<Result<[u8; 32], Error>> {
        let asked = self.ask_dh(with, timeout);
        self.dh_answer(asked)
    }

    /// Only asks.
    pub fn ask_dh(&mut self, with: [u8; 32], timeout: Duration) -> Op {
        self.send(Command::Dh { with }, timeout)
    }

    pub fn dh_answer(&mut self, asked: Op) -> Result<Result<[u8; 32], Error>> {
        self.expect("the answer to a Diffie-Hellman", |event| match event {
            Event::Dh { op, result } if op == asked => {
                Some(result.map(|secret| *secret.as_bytes()))
            }
            _ => None,
        })
    }

    pub fn lock(&mut self) -> Result<Result<(), Error>> {
        let asked = self.send(Command::Lock, TIMEOUT);
        self.expect("the answer to locking", |event| match event {
            Event::Relocked { op, result } if op == asked => Some(result),
            _ => None,
        })
    }

    pub fn forget(&mut self) -> Result<()> {
        let asked = self.send(Command::Forget, TIMEOUT);
        self.expect("the answer to forgetting", |event| {
            matches!(event, Event::Forgotten { op } if op == asked).then_some(())
        })
    }

    pub fn refresh(&mut self) -> Result<Result<CardInfo, Error>> {
        let asked = self.send(Command::Refresh, TIMEOUT);
        self.expect("the answer to a refresh", |event| match event {
            Event::Refreshed { op, result } if op == asked => Some(result),
            _ => None,
        })
    }

    fn try_pin(
        &mut self,
        serial: &str,
        pin: &str,
        last_try_consented: bool,
    ) -> Result<Result<(), Error>> {
        let pin = Pin::new(pin.as_bytes().to_vec().into())?;
        let command = Command::Verify {
            serial: serial.to_owned(),
            pin: PinEntry::Typed(pin),
            last_try_consented,
        };
        let asked = self.send(command, TIMEOUT);
        self.expect("the answer to the PIN", |event| match event {
            Event::Verified { op, result } if op == asked => Some(result),
            _ => None,
        })
    }

    fn send(&mut self, command: Command, timeout: Duration) -> Op {
        self.ops += 1;
        self.cards.send(Op(self.ops), command, timeout);
        Op(self.ops)
    }

    /// Whether these words were ever heard.
    pub fn heard_of(&self, words: &str) -> bool {
        self.heard.iter().any(|event| event.contains(words))
    }

    /// Listens until `pick` finds what it wants.
    pub fn expect<T>(&mut self, what: &str, mut pick: impl FnMut(Event) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(event) = self.events.recv_timeout(left) else {
                let heard = self.heard.join("\n");
                bail!("{what} did not come; heard so far:\n{heard}");
            };
            self.heard.push(event.to_string());
            if let Some(found) = pick(event) {
                return Ok(found);
            }
        }
    }
}
