//! What cards and PINs do to the picture of the world.

use sluss_policy::{OnRemoval, PinLife, Policy};

use crate::decide::{PAD_CHECK, PIN_CHECK};
use crate::link::next_hops;
use crate::{Action, Card, Insertion, Key, Op, PinCheck, PinSource, State, Time};

/// Fewer, and somebody has already erred. Every kind of card starts with so many at least.
const ALL_TRIES: u8 = 3;

impl State {
    pub(super) fn card_inserted(
        &mut self,
        policy: &Policy,
        serial: String,
        tries_left: u8,
        verified: bool,
    ) -> Option<Action> {
        // The other one was pulled, even if nobody saw it.
        let swapped = self.key.card().is_some_and(|card| card.serial != serial);
        let insertion = match &self.key {
            // It is back in time: one stay, as if it had been reset.
            Key::Away { card, .. } if card.serial == serial => card.insertion,
            Key::Absent
            | Key::Away { .. }
            | Key::Unusable(_)
            | Key::Locked(_)
            | Key::AwaitingPin { .. }
            | Key::Declined { .. }
            | Key::Withdrawn(_)
            | Key::Verifying { .. }
            | Key::Unlocked(_)
            | Key::Blocked(_) => Insertion(self.number()),
        };
        let card = Card {
            serial,
            tries_left,
            insertion,
        };
        self.forget_failures();
        if verified {
            self.key = Key::Unlocked(card);
            self.gateway_to_be_told();
        } else {
            self.key = Key::locked(card);
        }
        swapped.then(|| on_pull(policy)).flatten()
    }

    pub(super) fn card_removed(&mut self, policy: &Policy, now: Time) -> Option<Action> {
        if matches!(self.key, Key::Away { .. }) {
            return None;
        }
        let card = self.key.card().cloned();
        self.key = Key::Absent;
        let card = card?;
        if let OnRemoval::Grace(grace) = policy.card.on_removal {
            let until = now + grace;
            self.key = Key::Away { card, until };
        }
        on_pull(policy)
    }

    pub(super) fn tries_counted(&mut self, tries_left: u8) {
        if let Some(card) = self.key.card_mut() {
            card.tries_left = tries_left;
        }
        if let Key::Locked(card) | Key::Blocked(card) = &self.key {
            self.key = Key::locked(card.clone());
        }
    }

    pub(super) fn card_locked(&mut self) {
        // While a PIN is on its way to the card, the answer to that is what counts.
        if let Key::Unlocked(card) = &self.key {
            self.key = Key::locked(card.clone());
        }
    }

    pub(super) fn pin_offered(
        &mut self,
        policy: &Policy,
        source: PinSource,
        last_try_consented: bool,
        now: Time,
    ) -> Action {
        let (tries_needed, patience) = match source {
            PinSource::User => (1, PIN_CHECK),
            PinSource::Pad => (1, PAD_CHECK),
            PinSource::Login => (ALL_TRIES, PIN_CHECK),
        };
        // What the card still remembers, the daemon was told to forget when the screen was locked.
        let renews = source == PinSource::Login && policy.card.pin == PinLife::UntilLock;
        let wants_it = match &self.key {
            Key::Locked(card)
            | Key::AwaitingPin { card, .. }
            | Key::Declined { card, .. }
            | Key::Withdrawn(card) => Some(card),
            Key::Unlocked(card) => Some(card).filter(|_| renews),
            Key::Absent
            | Key::Away { .. }
            | Key::Unusable(_)
            | Key::Verifying { .. }
            | Key::Blocked(_) => None,
        };
        let Some(card) = wants_it.filter(|card| card.tries_left >= tries_needed) else {
            return Action::DiscardPin;
        };
        let card = card.clone();
        let op = self.op();
        self.key = Key::Verifying {
            card,
            op,
            deadline: now + patience,
        };
        Action::VerifyPin {
            op,
            last_try_consented,
        }
    }

    pub(super) fn pin_checked(&mut self, op: Op, check: PinCheck) {
        let Key::Verifying {
            card,
            op: waited_for,
            ..
        } = &self.key
        else {
            return;
        };
        if *waited_for != op {
            return;
        }
        let mut card = card.clone();
        self.key = match check {
            PinCheck::Accepted => {
                self.gateway_to_be_told();
                Key::Unlocked(card)
            }
            PinCheck::Wrong { tries_left } => {
                card.tries_left = tries_left;
                Key::locked(card)
            }
            PinCheck::Blocked => {
                card.tries_left = 0;
                Key::locked(card)
            }
            PinCheck::Declined => Key::Declined {
                card,
                network: next_hops(&self.links),
            },
            PinCheck::Withheld | PinCheck::Failed => Key::locked(card),
        };
    }

    pub(super) fn pin_declined(&mut self, op: Op) {
        if let Key::AwaitingPin {
            card,
            op: waited_for,
        } = &self.key
            && *waited_for == op
        {
            self.key = Key::Declined {
                card: card.clone(),
                network: next_hops(&self.links),
            };
            self.asked.pin = None;
        }
    }

    /// What may stay when the screen is locked is the card worker's to know. A card that is away is not waited for: who
    /// locked the screen has gone.
    pub(super) fn session_locked(&mut self) {
        if matches!(self.key, Key::Away { .. }) {
            self.key = Key::Absent;
        }
    }

    pub(super) fn lock_requested(&mut self) -> Option<Action> {
        self.session_locked();
        let card = self.key.card()?.clone();
        self.key = Key::Withdrawn(card);
        Some(Action::LockCard)
    }
}

/// What a pulled card calls for beside the end of its tunnel.
fn on_pull(policy: &Policy) -> Option<Action> {
    match policy.card.on_removal {
        OnRemoval::LockSession => Some(Action::LockSession),
        OnRemoval::Disconnect | OnRemoval::Grace(_) => None,
    }
}
