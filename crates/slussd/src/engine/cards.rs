//! The card's side of the engine: which question each of its answers belongs to, and what its events mean.

use std::collections::BTreeMap;
use std::time::Duration;

use sluss_card::{CardInfo, CardKind, Command, Error, Event};
use sluss_ipc::{Prompt, PromptId, PromptReason};
use sluss_supervisor::{self as sup, CardFault, PinCheck};
use sluss_wg::{DhError, DhId, PublicKey};
use tracing::info;

use super::{Effect, Engine, TunnelOrder, words};

/// How long a card may take for anything but a PIN or a Diffie-Hellman.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// With so many tries left, or fewer, the user should know how many.
const WORTH_TELLING: u8 = 2;

/// What is known of readers and cards, and what the card was asked.
pub(super) struct CardDesk {
    /// Whether the host's smart card service answers.
    pub(super) service: bool,
    pub(super) inserted: Option<Inserted>,
    /// Readers with a card that cannot serve.
    pub(super) unusable: BTreeMap<String, CardFault>,
    /// Why the user is asked for the PIN, when that comes to be.
    prompt_reason: PromptReason,
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
    Verify {
        op: sup::Op,
    },
    Dh {
        id: DhId,
    },
    Lock,
    /// `sleep`: the laptop waits for it.
    Forget {
        sleep: bool,
    },
    Refresh,
}

impl CardDesk {
    pub(super) fn new() -> Self {
        Self {
            service: false,
            inserted: None,
            unusable: BTreeMap::new(),
            prompt_reason: PromptReason::Needed,
            asked: BTreeMap::new(),
            last: 0,
        }
    }

    pub(super) fn verify(&mut self, op: sup::Op, command: Command, timeout: Duration) -> Effect {
        self.ask(Asked::Verify { op }, command, timeout)
    }

    pub(super) fn dh(&mut self, id: DhId, with: PublicKey, timeout: Duration) -> Effect {
        self.ask(Asked::Dh { id }, Command::Dh { with: with.0 }, timeout)
    }

    pub(super) fn lock(&mut self) -> Effect {
        self.ask(Asked::Lock, Command::Lock, REQUEST_TIMEOUT)
    }

    pub(super) fn forget(&mut self, sleep: bool) -> Effect {
        self.ask(Asked::Forget { sleep }, Command::Forget, REQUEST_TIMEOUT)
    }

    pub(super) fn refresh(&mut self) -> Effect {
        self.ask(Asked::Refresh, Command::Refresh, REQUEST_TIMEOUT)
    }

    /// What a card that has left, or was locked, still answers is for nobody: a secret among it is wiped unread.
    pub(super) fn forget_requests(&mut self) {
        self.asked.retain(|_, asked| match asked {
            Asked::Dh { .. } => false,
            Asked::Verify { .. } | Asked::Lock | Asked::Forget { .. } | Asked::Refresh => true,
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
                self.cards.prompt_reason = PromptReason::Needed;
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
            Event::Locked { .. } => self.card_locked(now, effects),
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
            Event::Relocked { op, .. } => drop(self.cards.asked.remove(&op)),
            Event::Forgotten { op } => {
                let asked = self.cards.asked.remove(&op);
                let sleep = matches!(asked, Some(Asked::Forget { sleep: true }));
                effects.extend(sleep.then_some(Effect::ReadyToSleep));
            }
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
                        self.card_locked(now, effects);
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
        let fault = match reason {
            // The card that the laptop is bound to has that application.
            Error::NoApplet(CardKind::OpenPgp | CardKind::Piv) => CardFault::OtherCard,
            reason => words::fault(reason),
        };
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
        // One that was there all the time does not take the place of one that is waited for.
        if let (sup::Key::Absent, Some(fault)) =
            (&self.state.key, self.cards.unusable.values().next())
        {
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
            Err(Error::Declined) => PinCheck::Declined,
            Err(_) => PinCheck::Failed,
        };
        self.cards.prompt_reason = match check {
            PinCheck::Accepted | PinCheck::Blocked | PinCheck::Declined => PromptReason::Needed,
            PinCheck::Wrong { .. } | PinCheck::Withheld | PinCheck::Failed => PromptReason::Again,
        };
        self.answer_unlock(&result, effects);
        let has_few_tries = self
            .state
            .key
            .card()
            .is_some_and(|card| card.tries_left <= WORTH_TELLING);
        self.step(sup::Event::PinChecked { op, check }, now, effects);
        // The right PIN has given back those that were lost; how many that is, only the card knows.
        if result.is_ok() && has_few_tries {
            effects.push(self.cards.refresh());
        }
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
        // A kept PIN that the card refused has cost a try; that it is locked comes as an event of its own.
        let tries_left = match &result {
            Err(Error::WrongPin { left }) => Some(*left),
            Err(Error::Blocked) => Some(0),
            Ok(_) | Err(_) => None,
        };
        let result = match result {
            Ok(secret) => sluss_wg::SharedSecret::new(*secret.as_bytes()),
            Err(Error::ZeroSecret) => Err(DhError::Zero),
            Err(_) => Err(DhError::Unavailable),
        };
        effects.push(Effect::Tunnel(TunnelOrder::Dh { id, result }));
        if let Some(tries_left) = tries_left {
            self.step(sup::Event::TriesCounted { tries_left }, now, effects);
        }
        if locked {
            self.card_locked(now, effects);
        }
    }

    fn card_locked(&mut self, now: sup::Time, effects: &mut Vec<Effect>) {
        if let sup::Key::Unlocked(_) = self.state.key {
            self.cards.prompt_reason = PromptReason::CardReset;
        }
        self.step(sup::Event::CardLocked, now, effects);
    }

    /// What the user is asked; None if the card has just left.
    pub(super) fn prompt(&self, op: sup::Op) -> Option<Prompt> {
        let card = self.state.key.card()?;
        let inserted = self.cards.inserted.as_ref()?;
        Some(Prompt {
            id: PromptId(op.number()),
            serial: card.serial.clone(),
            reader: inserted.reader.clone(),
            tries_left: Some(card.tries_left).filter(|left| *left <= WORTH_TELLING),
            last_try: card.tries_left == 1,
            pin_pad: inserted.card.pin_pad,
            reason: self.cards.prompt_reason,
        })
    }
}
