//! The card and its PIN: what is known of them, what is asked for, and whose secrets may be in memory.

use std::net::IpAddr;
use std::time::Duration;

use sluss_policy::{OnRemoval, PinLife, Policy};

use crate::link::next_hops;
use crate::{
    Action, Card, CardFault, Change, DeadlineReason, Insertion, Intent, Location, Op, PinCheck,
    PinSource, State, Time, Tunnel,
};

/// The slowest card takes a second; another program may hold it for ten.
const PIN_CHECK: Duration = Duration::from_secs(30);
/// A user who types on the reader's keys takes longer than a card.
const PAD_CHECK: Duration = Duration::from_secs(90);
/// Fewer, and somebody has already erred. Every kind of card starts with so many at least.
const ALL_TRIES: u8 = 3;

/// The card and whether it answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    Absent,
    /// It was pulled from under a tunnel, which lives on while it may come back: not after `until`.
    Away {
        card: Card,
        until: Time,
    },
    /// A card is there that cannot serve.
    Unusable(CardFault),
    /// It wants its PIN, and nobody was asked yet.
    Locked(Card),
    AwaitingPin {
        card: Card,
        op: Op,
    },
    /// The user closed the prompt: not asked again until the card is put in anew, the laptop is outside on another
    /// `network` (its gateways), or the user says so.
    Declined {
        card: Card,
        network: Vec<IpAddr>,
    },
    /// The user locked it: keys are wiped, and only the user or a new insertion wakes it.
    Withdrawn(Card),
    Verifying {
        card: Card,
        op: Op,
        deadline: Time,
    },
    /// It answers without asking.
    Unlocked(Card),
    /// No tries are left.
    Blocked(Card),
}

impl Key {
    /// The card that could serve, whatever state it is in.
    pub fn card(&self) -> Option<&Card> {
        match self {
            Self::Absent | Self::Away { .. } | Self::Unusable(_) => None,
            Self::AwaitingPin { card, .. }
            | Self::Declined { card, .. }
            | Self::Verifying { card, .. }
            | Self::Locked(card)
            | Self::Withdrawn(card)
            | Self::Unlocked(card)
            | Self::Blocked(card) => Some(card),
        }
    }

    pub(crate) fn card_mut(&mut self) -> Option<&mut Card> {
        match self {
            Self::Absent | Self::Away { .. } | Self::Unusable(_) => None,
            Self::AwaitingPin { card, .. }
            | Self::Declined { card, .. }
            | Self::Verifying { card, .. }
            | Self::Locked(card)
            | Self::Withdrawn(card)
            | Self::Unlocked(card)
            | Self::Blocked(card) => Some(card),
        }
    }

    /// A card that wants its PIN, if it can still be given one.
    pub(crate) fn locked(card: Card) -> Self {
        match card.tries_left {
            0 => Self::Blocked(card),
            _ => Self::Locked(card),
        }
    }

    pub(crate) fn deadline(&self) -> Option<(Time, DeadlineReason)> {
        match self {
            Self::Verifying { deadline, .. } => Some((*deadline, DeadlineReason::PinCheckOverdue)),
            Self::Away { until, .. } => Some((*until, DeadlineReason::GraceOver)),
            Self::Absent
            | Self::Unusable(_)
            | Self::Locked(_)
            | Self::AwaitingPin { .. }
            | Self::Declined { .. }
            | Self::Withdrawn(_)
            | Self::Unlocked(_)
            | Self::Blocked(_) => None,
        }
    }
}

impl State {
    pub(crate) fn card_inserted(
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
            self.gateway_to_be_told(Change::Key);
        } else {
            self.key = Key::locked(card);
        }
        swapped.then(|| on_pull(policy)).flatten()
    }

    pub(crate) fn card_removed(&mut self, policy: &Policy, now: Time) -> Option<Action> {
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

    pub(crate) fn tries_counted(&mut self, tries_left: u8) {
        if let Some(card) = self.key.card_mut() {
            card.tries_left = tries_left;
        }
        if let Key::Locked(card) | Key::Blocked(card) = &self.key {
            self.key = Key::locked(card.clone());
        }
    }

    pub(crate) fn card_locked(&mut self) {
        // While a PIN is on its way to the card, the answer to that is what counts.
        if let Key::Unlocked(card) = &self.key {
            self.key = Key::locked(card.clone());
        }
    }

    pub(crate) fn pin_offered(
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

    pub(crate) fn pin_checked(&mut self, op: Op, check: PinCheck) {
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
                self.gateway_to_be_told(Change::Key);
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

    pub(crate) fn pin_declined(&mut self, op: Op) {
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
    pub(crate) fn session_locked(&mut self) {
        if matches!(self.key, Key::Away { .. }) {
            self.key = Key::Absent;
        }
    }

    /// The user's refusal to type the PIN has had its time.
    pub(crate) fn ask_again(&mut self) {
        if let Key::Declined { card, .. } = &self.key {
            self.key = Key::locked(card.clone());
        }
    }

    pub(crate) fn lock_requested(&mut self) -> Option<Action> {
        self.session_locked();
        let card = self.key.card()?.clone();
        self.key = Key::Withdrawn(card);
        Some(Action::LockCard)
    }

    /// A card that is away is waited for only for the sake of a tunnel that may live on.
    pub(crate) fn decide_grace(&mut self, policy: &Policy, now: Time) {
        if let Key::Away { until, .. } = &self.key {
            let up = matches!(self.tunnel, Tunnel::Up { .. });
            let asleep = matches!(self.location, Location::Asleep { .. });
            if *until <= now || !up || asleep || !self.bears_tunnel(policy) {
                self.key = Key::Absent;
            }
        }
    }

    pub(crate) fn decide_secrets(&mut self, actions: &mut Vec<Action>) {
        let entitled = match &self.key {
            Key::Absent | Key::Unusable(_) | Key::Withdrawn(_) => None,
            Key::Away { card, .. }
            | Key::Locked(card)
            | Key::AwaitingPin { card, .. }
            | Key::Declined { card, .. }
            | Key::Verifying { card, .. }
            | Key::Unlocked(card)
            | Key::Blocked(card) => Some(card.insertion),
        };
        if self.secrets.is_some() && self.secrets != entitled {
            self.secrets = None;
            actions.push(Action::ForgetKeys);
        }
    }

    pub(crate) fn decide_pin(&mut self, policy: &Policy, now: Time, actions: &mut Vec<Action>) {
        let not_needed = self.forbids_tunnel(policy);
        let needed = self.calls_for_tunnel(policy);
        let automatic = self.intent == Intent::Automatic;
        match &self.key {
            Key::Verifying { card, deadline, .. } if *deadline <= now => {
                self.key = Key::locked(card.clone())
            }
            // The prompt outlives doubt about the place: the user may be typing.
            Key::AwaitingPin { card, .. } if not_needed || !automatic => {
                self.key = Key::locked(card.clone())
            }
            Key::Declined { card, .. } if not_needed => self.key = Key::locked(card.clone()),
            Key::Absent
            | Key::Away { .. }
            | Key::Unusable(_)
            | Key::Locked(_)
            | Key::AwaitingPin { .. }
            | Key::Declined { .. }
            | Key::Withdrawn(_)
            | Key::Verifying { .. }
            | Key::Unlocked(_)
            | Key::Blocked(_) => {}
        }
        if let Key::Locked(card) = &self.key
            && needed
            && automatic
        {
            let card = card.clone();
            self.key = Key::AwaitingPin {
                card,
                op: self.op(),
            };
        }

        let wanted = match &self.key {
            Key::AwaitingPin { op, .. } => Some(*op),
            Key::Absent
            | Key::Away { .. }
            | Key::Unusable(_)
            | Key::Locked(_)
            | Key::Declined { .. }
            | Key::Withdrawn(_)
            | Key::Verifying { .. }
            | Key::Unlocked(_)
            | Key::Blocked(_) => None,
        };
        if self.asked.pin != wanted {
            let earlier = std::mem::replace(&mut self.asked.pin, wanted);
            actions.extend(earlier.map(|op| Action::CancelPin { op }));
            actions.extend(wanted.map(|op| Action::AskPin { op }));
        }
    }
}

/// What a pulled card calls for beside the end of its tunnel.
fn on_pull(policy: &Policy) -> Option<Action> {
    match policy.card.on_removal {
        OnRemoval::LockSession => Some(Action::LockSession),
        OnRemoval::Disconnect | OnRemoval::Grace(_) => None,
    }
}
