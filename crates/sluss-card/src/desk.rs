//! Which card serves which request, and what a hang, a pull or a stranger's card means: pure, with time as an argument.
//!
//! The desk seats one *operator* before each card it looks at; in the daemon that is a thread which holds the PC/SC
//! connection, in the tests it is nobody. An operator has at most one task. One that exceeds its task's deadline is
//! dismissed: it may hang in PC/SC for ever, its answer is ignored, and a new one is seated to look at the card again.
//! Nothing waits in a dismissed operator's hands, so no PIN is tried later than its user thinks.

mod turn;

use self::turn::Turn;
use crate::keeper::{Era, Keeper};
use crate::{CardInfo, Command, Error, Event, Op, PinEntry, SharedSecret};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A card that has not yet said anything about itself for so long is reported; its operator goes on waiting.
const SLOW: Duration = Duration::from_secs(10);
/// Before the second look at a card that did not do well; doubled for each further one.
const SECOND_LOOK: Duration = Duration::from_millis(500);
/// Looks at such a card, half a minute in all, before it takes a new insertion or a refresh.
const LOOKS: u32 = 6;

/// Names an operator; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Seat(u64);

/// What happened.
pub(crate) enum Input {
    /// From the caller.
    Requested {
        op: Op,
        command: Command,
        deadline: Instant,
    },
    /// From an operator.
    Answered { seat: Seat, answer: Answer },
    /// From the watcher: PC/SC answers.
    ServiceFound,
    /// From the watcher: PC/SC does not answer (any more).
    ServiceLost { reason: Error },
    /// From the watcher: a card is in this reader; again whenever the reader's state changes with the card in it.
    CardPresent { reader: String },
    /// From a PKCS#11 module: a token that nobody can pull, and that needs no PC/SC.
    TokenPresent { place: String },
    /// From the watcher: it is not any more. A fast pull and re-insertion gives this and then `CardPresent`.
    CardAbsent { reader: String },
    /// What [`Desk::deadline`] said has come.
    DeadlineReached,
}

/// What to do about it.
pub(crate) enum Output {
    /// Tell the caller.
    Tell(Event),
    /// Seat an operator before this reader; it connects with its first task.
    Seat { seat: Seat, reader: String },
    /// Give an operator its task; it sends nothing to the card after the deadline, and keeps nothing after the era.
    Assign {
        seat: Seat,
        task: Task,
        era: Era,
        deadline: Option<Instant>,
    },
    /// Forget the operator: it lets go of the card, now or when PC/SC lets go of it.
    Dismiss { seat: Seat },
}

/// What an operator does. Each gives the [`Answer`] of the same name.
pub(crate) enum Task {
    Look,
    Verify { pin: PinEntry, consent: bool },
    Dh { with: [u8; 32] },
    Lock,
}

/// What came of a task. `OtherCard` when there is another card in the reader than the bound one.
pub(crate) enum Answer {
    Look(Result<CardInfo, Error>),
    Verify(Result<(), Error>),
    Dh(Result<Agreed, Error>),
    Lock(Result<(), Error>),
}

/// What came of a Diffie-Hellman.
pub(crate) struct Agreed {
    pub(crate) secret: SharedSecret,
    /// Whether another one would be answered without asking the user.
    pub(crate) ready: bool,
}

/// The state.
pub(crate) struct Desk {
    /// Whether there is a card to serve at all.
    bound: bool,
    keeper: Arc<Keeper>,
    /// By reader; readers without a card are not here.
    cards: BTreeMap<String, Standing>,
    /// Those among them that are no readers of PC/SC's.
    fixed: BTreeSet<String>,
    /// For the serving card, oldest first.
    queue: VecDeque<Request>,
    seats: u64,
}

/// How it stands with a card.
struct Standing {
    told: Told,
    phase: Phase,
}

/// What the caller knows of a card.
enum Told {
    /// Nothing, or that it is gone.
    Nothing,
    /// That it cannot serve.
    Unusable(Error),
    /// That it is the one that serves, and what it said last.
    Inserted(CardInfo),
}

enum Phase {
    /// An operator reads what it says about itself. Requests for it wait.
    Looked {
        seat: Seat,
        slow_at: Option<Instant>,
        looks_left: u32,
    },
    /// It takes tasks, unlocked or not.
    Serving { seat: Seat },
    /// It does not serve, and nobody is seated before it.
    Idle {
        again_at: Option<Instant>,
        looks_left: u32,
    },
}

struct Request {
    op: Op,
    kind: Kind,
    /// Taken out when an operator gets it.
    task: Option<Task>,
    deadline: Instant,
}

/// Which answer the caller waits for.
#[derive(Clone, Copy)]
enum Kind {
    Verify,
    Dh,
    Lock,
    Refresh,
}

impl Desk {
    /// `bound`: whether there is a card to serve at all.
    pub(crate) fn new(bound: bool, keeper: Arc<Keeper>) -> Self {
        Self {
            bound,
            keeper,
            cards: BTreeMap::new(),
            fixed: BTreeSet::new(),
            queue: VecDeque::new(),
            seats: 0,
        }
    }

    /// Takes what happened, gives what to do, in order.
    pub(crate) fn handle(&mut self, input: Input, now: Instant) -> Vec<Output> {
        let mut turn = Turn {
            desk: self,
            now,
            out: Vec::new(),
        };
        match input {
            Input::Requested {
                op,
                command,
                deadline,
            } => turn.request(op, command, deadline),
            Input::Answered { seat, answer } => turn.answered(seat, answer),
            Input::ServiceFound => turn.tell(Event::ServiceFound),
            Input::ServiceLost { reason } => {
                turn.readers_left();
                turn.tell(Event::ServiceLost { reason });
            }
            Input::CardPresent { reader } => turn.present(reader),
            Input::TokenPresent { place } => {
                turn.desk.fixed.insert(place.clone());
                turn.present(place);
            }
            Input::CardAbsent { reader } => turn.absent(reader),
            Input::DeadlineReached => {}
        }
        turn.expire();
        turn.assign();
        turn.out
    }

    /// The end: nothing is kept, whoever still hangs with it in hand.
    pub(crate) fn close(&self) {
        self.keeper.release();
    }

    /// When to come back with [`Input::DeadlineReached`] if nothing happens before.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let cards = self.cards.values().filter_map(Standing::deadline);
        let requests = self.queue.iter().map(|request| request.deadline);
        cards.chain(requests).min()
    }

    fn serving(&self) -> Option<&CardInfo> {
        self.cards
            .values()
            .find_map(|standing| match &standing.told {
                Told::Inserted(card) => Some(card),
                Told::Nothing | Told::Unusable(_) => None,
            })
    }
}

impl Standing {
    fn seat(&self) -> Option<Seat> {
        match self.phase {
            Phase::Looked { seat, .. } | Phase::Serving { seat } => Some(seat),
            Phase::Idle { .. } => None,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Looked { slow_at: at, .. } | Phase::Idle { again_at: at, .. } => at,
            Phase::Serving { .. } => None,
        }
    }
}

impl Kind {
    fn refused(self, op: Op, error: Error) -> Event {
        match self {
            Self::Verify => Event::Verified {
                op,
                result: Err(error),
            },
            Self::Dh => Event::Dh {
                op,
                result: Err(error),
            },
            Self::Lock => Event::Relocked {
                op,
                result: Err(error),
            },
            Self::Refresh => Event::Refreshed {
                op,
                result: Err(error),
            },
        }
    }
}

impl Answer {
    fn error(&self) -> Option<&Error> {
        match self {
            Self::Look(result) => result.as_ref().err(),
            Self::Verify(result) | Self::Lock(result) => result.as_ref().err(),
            Self::Dh(result) => result.as_ref().err(),
        }
    }

    fn event(self, op: Op) -> Event {
        match self {
            Self::Look(result) => Event::Refreshed { op, result },
            Self::Verify(result) => Event::Verified { op, result },
            Self::Dh(result) => Event::Dh {
                op,
                result: result.map(|agreed| agreed.secret),
            },
            Self::Lock(result) => Event::Relocked { op, result },
        }
    }
}

impl CardInfo {
    /// What an answer gives away about tries and readiness. `key`: whether an unwrapped key is kept.
    fn learn(&mut self, answer: &Answer, key: bool) {
        match answer {
            Answer::Look(Ok(card)) => *self = card.clone(),
            Answer::Verify(Ok(())) => self.ready = true,
            Answer::Dh(Ok(agreed)) => self.ready = agreed.ready,
            Answer::Lock(Ok(())) => self.ready = false,
            Answer::Verify(Err(error)) | Answer::Dh(Err(error)) => {
                if let Error::WrongPin { left } = error {
                    self.tries_left = *left;
                } else if let Error::Blocked = error {
                    self.tries_left = 0;
                } else if *error != Error::Locked {
                    return;
                }
                self.ready = key;
            }
            Answer::Look(Err(_)) | Answer::Lock(Err(_)) => {}
        }
    }
}

#[cfg(test)]
mod tests;
