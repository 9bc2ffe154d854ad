//! The card's side of the engine: which question each of its answers belongs to, and what its events mean.

use std::collections::BTreeMap;
use std::time::Duration;

use sluss_card::{CardInfo, Command, Error, Event};
use sluss_supervisor::{self as sup, CardFault, PinCheck};
use sluss_wg::{DhError, DhId, PublicKey};
use tracing::info;

use super::{Effect, Engine, TunnelOrder};

/// How long a card may take for anything but a PIN or a Diffie-Hellman.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// What is known of readers and cards, and what the card was asked.
#[derive(Default)]
pub(super) struct CardDesk {
    /// Whether the host's smart card service answers.
    pub(super) service: bool,
    pub(super) inserted: Option<Inserted>,
    /// Readers with a card that cannot serve.
    pub(super) unusable: BTreeMap<String, CardFault>,
    asked: BTreeMap<sluss_card::Op, Asked>,
    last: u64,
}

/// The card that serves.
pub(super) struct Inserted {
    pub(super) reader: String,
    pub(super) card: CardInfo,
    /// What it was asked last took it too long. That is no pull: another program may hold the card.
    pub(super) overdue: bool,
}

/// A question that the card has not answered.
pub(super) enum Asked {
    Verify { op: sup::Op },
    Dh { id: DhId },
    Lock,
    Refresh,
}

impl CardDesk {
    pub(super) fn verify(&mut self, op: sup::Op, command: Command, timeout: Duration) -> Effect {
        self.ask(Asked::Verify { op }, command, timeout)
    }

    pub(super) fn dh(&mut self, id: DhId, with: PublicKey, timeout: Duration) -> Effect {
        self.ask(Asked::Dh { id }, Command::Dh { with: with.0 }, timeout)
    }

    pub(super) fn lock(&mut self) -> Effect {
        self.ask(Asked::Lock, Command::Lock, REQUEST_TIMEOUT)
    }

    pub(super) fn refresh(&mut self) -> Effect {
        self.ask(Asked::Refresh, Command::Refresh, REQUEST_TIMEOUT)
    }

    /// What a card that has left, or was locked, still answers is for nobody: a secret among it is wiped unread.
    pub(super) fn forget_requests(&mut self) {
        self.asked.retain(|_, asked| match asked {
            Asked::Dh { .. } => false,
            Asked::Verify { .. } | Asked::Lock | Asked::Refresh => true,
        });
    }

    /// Notes whether the card kept to its time.
    fn answered<T>(&mut self, result: &Result<T, Error>) {
        if let Some(inserted) = &mut self.inserted {
            inserted.overdue = matches!(result, Err(Error::Timeout));
        }
    }

    fn ask(&mut self, asked: Asked, command: Command, timeout: Duration) -> Effect {
        self.last += 1;
        let op = sluss_card::Op(self.last);
        self.asked.insert(op, asked);
        Effect::Card {
            op,
            command,
            timeout,
        }
    }
}

impl Engine {
    pub(super) fn card_event(&mut self, event: Event, now: sup::Time, effects: &mut Vec<Effect>) {
        info!(%event, "card");
        match event {
            Event::ServiceFound => self.cards.service = true,
            Event::ServiceLost { .. } => self.cards.service = false,
            Event::Inserted { reader, card } => {
                self.cards.unusable.remove(&reader);
                let told = sup::Event::CardInserted {
                    serial: card.serial.clone(),
                    tries_left: card.tries_left,
                    verified: card.ready,
                };
                self.cards.inserted = Some(Inserted {
                    reader,
                    card,
                    overdue: false,
                });
                self.step(told, now, effects);
            }
            Event::Unusable { reader, reason } => self.unusable(reader, &reason, now, effects),
            Event::Removed { reader } => self.removed(&reader, now, effects),
            Event::Locked { .. } => self.step(sup::Event::CardLocked, now, effects),
            Event::Verified { op, result } => {
                if let Some(Asked::Verify { op }) = self.cards.asked.remove(&op) {
                    self.verified(op, result, now, effects);
                }
            }
            Event::Dh { op, result } => {
                if let Some(Asked::Dh { id }) = self.cards.asked.remove(&op) {
                    self.computed(id, result, now, effects);
                }
            }
            Event::Forgotten { op } | Event::Relocked { op, .. } => drop(self.cards.asked.remove(&op)),
            Event::Refreshed { op, result } => {
                self.cards.asked.remove(&op);
                // Failures come as events of their own.
                if let Ok(card) = result {
                    self.step(
                        sup::Event::TriesCounted {
                            tries_left: card.tries_left,
                        },
                        now,
                        effects,
                    );
                    if !card.ready {
                        self.step(sup::Event::CardLocked, now, effects);
                    }
                }
            }
        }
    }

    fn unusable(
        &mut self,
        reader: String,
        reason: &Error,
        now: sup::Time,
        effects: &mut Vec<Effect>,
    ) {
        let fault = fault(reason);
        let served = self.serves(&reader);
        if served {
            self.cards.inserted = None;
        }
        self.cards.unusable.insert(reader, fault);
        // A second card that cannot serve takes nothing from the one that does.
        if self.cards.inserted.is_none() {
            self.step(sup::Event::CardUnusable(fault), now, effects);
        }
    }

    fn removed(&mut self, reader: &str, now: sup::Time, effects: &mut Vec<Effect>) {
        self.cards.unusable.remove(reader);
        if self.serves(reader) {
            self.cards.inserted = None;
        }
        if self.cards.inserted.is_some() {
            return;
        }
        self.step(sup::Event::CardRemoved, now, effects);
        if let Some(fault) = self.cards.unusable.values().next() {
            self.step(sup::Event::CardUnusable(*fault), now, effects);
        }
    }

    fn serves(&self, reader: &str) -> bool {
        self.cards
            .inserted
            .as_ref()
            .is_some_and(|inserted| inserted.reader == reader)
    }

    fn verified(
        &mut self,
        op: sup::Op,
        result: Result<(), Error>,
        now: sup::Time,
        effects: &mut Vec<Effect>,
    ) {
        self.cards.answered(&result);
        let check = match &result {
            Ok(()) => PinCheck::Accepted,
            Err(Error::WrongPin { left }) => PinCheck::Wrong { tries_left: *left },
            Err(Error::Blocked) => PinCheck::Blocked,
            Err(Error::OneTryLeft) => PinCheck::Withheld,
            Err(
                Error::Gone
                | Error::Locked
                | Error::PinLength { .. }
                | Error::OtherCard { .. }
                | Error::FactoryPin
                | Error::Declined
                | Error::NoPinPad
                | Error::NotEnrolled
                | Error::OtherKey
                | Error::NoApplet(_)
                | Error::NoKey
                | Error::Unsupported
                | Error::HashedPin
                | Error::NoMemory
                | Error::Refused { .. }
                | Error::Nonsense { .. }
                | Error::ZeroSecret
                | Error::Mute
                | Error::Timeout
                | Error::Busy
                | Error::Service(_),
            ) => PinCheck::Failed,
        };
        self.answer_unlock(&result, effects);
        self.step(sup::Event::PinChecked { op, check }, now, effects);
    }

    fn computed(
        &mut self,
        id: DhId,
        result: Result<sluss_card::SharedSecret, Error>,
        now: sup::Time,
        effects: &mut Vec<Effect>,
    ) {
        self.cards.answered(&result);
        let locked = matches!(result, Err(Error::Locked));
        let result = match result {
            Ok(secret) => sluss_wg::SharedSecret::new(*secret.as_bytes()),
            Err(Error::ZeroSecret) => Err(DhError::Zero),
            Err(_) => Err(DhError::Unavailable),
        };
        effects.push(Effect::Tunnel(TunnelOrder::Dh { id, result }));
        if locked {
            self.step(sup::Event::CardLocked, now, effects);
        }
    }
}

/// What a card's error means to its user.
pub(super) fn fault(error: &Error) -> CardFault {
    match error {
        Error::OtherCard { .. } | Error::OtherKey => CardFault::OtherCard,
        Error::NotEnrolled => CardFault::NotEnrolled,
        Error::NoApplet(_) | Error::NoKey => CardFault::NoKey,
        Error::Unsupported | Error::HashedPin => CardFault::Unsupported,
        Error::Refused { .. }
        | Error::Nonsense { .. }
        | Error::ZeroSecret
        | Error::Locked
        | Error::WrongPin { .. }
        | Error::OneTryLeft
        | Error::Blocked
        | Error::FactoryPin
        | Error::Declined
        | Error::NoPinPad
        | Error::NoMemory
        | Error::PinLength { .. } => CardFault::Nonsense,
        Error::Gone | Error::Mute | Error::Timeout | Error::Service(_) => CardFault::Silent,
        Error::Busy => CardFault::InUse,
    }
}
