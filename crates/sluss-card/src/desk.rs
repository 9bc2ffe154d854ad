//! Which card serves which request, and what a hang, a pull or a stranger's card means: pure, with time as an argument.
//!
//! The desk seats one *operator* before each card it looks at; in the daemon that is a thread which holds the PC/SC
//! connection, in the tests it is nobody. An operator has at most one task. One that exceeds its task's deadline is
//! dismissed: it may hang in PC/SC for ever, its answer is ignored, and a new one is seated to look at the card again.
//! Nothing waits in a dismissed operator's hands, so no PIN is tried later than its user thinks.

use crate::{Binding, CardInfo, Command, Error, Event, Op, Pin, SharedSecret};
use std::collections::{BTreeMap, VecDeque};
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
    /// Give an operator its task; it sends nothing to the card after the deadline.
    Assign {
        seat: Seat,
        task: Task,
        deadline: Option<Instant>,
    },
    /// Forget the operator: it lets go of the card, now or when PC/SC lets go of it.
    Dismiss { seat: Seat },
}

/// What an operator does. Each gives the [`Answer`] of the same name.
pub(crate) enum Task {
    Look,
    Verify { pin: Pin, last_try_consented: bool },
    Dh { with: [u8; 32] },
    Lock,
}

/// What came of a task. `Gone` also when there is another card in the reader than the operator first looked at.
pub(crate) enum Answer {
    Look(Result<CardInfo, Error>),
    Verify(Result<(), Error>),
    Dh(Result<SharedSecret, Error>),
    Lock(Result<(), Error>),
}

/// The state.
pub(crate) struct Desk {
    binding: Binding,
    /// By reader; readers without a card are not here.
    cards: BTreeMap<String, Standing>,
    /// For the serving card, oldest first.
    queue: VecDeque<Request>,
    seats: u64,
}

/// How it stands with a card.
enum Standing {
    /// An operator reads what it says about itself.
    Looked {
        seat: Seat,
        known: Known,
        looks_left: u32,
    },
    /// It is the one: it takes tasks, unlocked or not.
    Serving { seat: Seat, card: CardInfo },
    /// It cannot serve; nobody is seated. The caller knows the reason unless that is [`Error::Gone`], which looked like a
    /// removal to the caller though the watcher still sees a card.
    Idle {
        reason: Error,
        again_at: Option<Instant>,
        looks_left: u32,
    },
}

/// What the caller has been told about a card that is being looked at.
#[derive(Clone)]
enum Known {
    /// Nothing so far; at this time it will be told that the card is slow.
    Nothing { slow_at: Instant },
    /// That it cannot be used.
    Unusable(Error),
    /// That it serves: requests for it wait.
    Serving(CardInfo),
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
    pub(crate) fn new(binding: Binding) -> Self {
        Self {
            binding,
            cards: BTreeMap::new(),
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
                for (reader, standing) in std::mem::take(&mut turn.desk.cards) {
                    turn.left(reader, &standing);
                }
                turn.tell(Event::ServiceLost { reason });
            }
            Input::CardPresent { reader } => turn.present(reader),
            Input::CardAbsent { reader } => turn.absent(reader),
            Input::DeadlineReached => {}
        }
        turn.expire();
        turn.assign();
        turn.out
    }

    /// When to come back with [`Input::DeadlineReached`] if nothing happens before.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let cards = self.cards.values().filter_map(Standing::deadline);
        cards
            .chain(self.queue.iter().map(|request| request.deadline))
            .min()
    }

    fn serving(&self) -> Option<&CardInfo> {
        self.cards.values().find_map(|standing| match standing {
            Standing::Serving { card, .. }
            | Standing::Looked {
                known: Known::Serving(card),
                ..
            } => Some(card),
            Standing::Looked {
                known: Known::Nothing { .. } | Known::Unusable(_),
                ..
            }
            | Standing::Idle { .. } => None,
        })
    }
}

/// The handling of one input.
struct Turn<'a> {
    desk: &'a mut Desk,
    now: Instant,
    out: Vec<Output>,
}

impl Turn<'_> {
    fn tell(&mut self, event: Event) {
        self.out.push(Output::Tell(event));
    }

    fn request(&mut self, op: Op, command: Command, deadline: Instant) {
        let serving = self.desk.serving().map(|card| card.serial.as_str());
        let (kind, task, possible) = match command {
            Command::Verify {
                serial,
                pin,
                last_try_consented,
            } => (
                Kind::Verify,
                Task::Verify {
                    pin,
                    last_try_consented,
                },
                serving == Some(&serial),
            ),
            Command::Dh { with } => (Kind::Dh, Task::Dh { with }, serving.is_some()),
            Command::Lock => (Kind::Lock, Task::Lock, serving.is_some()),
            Command::Refresh => (Kind::Refresh, Task::Look, serving.is_some()),
        };
        if possible {
            self.desk.queue.push_back(Request {
                op,
                kind,
                task: Some(task),
                deadline,
            });
        } else {
            self.tell(kind.refused(op, Error::Gone));
            if let Kind::Refresh = kind {
                self.look_at_idle(|_| true);
            }
        }
    }

    /// A card is in the reader, and was or was not before.
    fn present(&mut self, reader: String) {
        match self.desk.cards.get(&reader) {
            None => {
                let known = self.nothing_known();
                self.look(reader, known, LOOKS);
            }
            // perhaps the program that had it to itself has let go
            Some(Standing::Idle {
                reason: Error::Busy,
                ..
            }) => self.look(reader, Known::Unusable(Error::Busy), LOOKS),
            Some(Standing::Looked { .. } | Standing::Serving { .. } | Standing::Idle { .. }) => {}
        }
    }

    fn absent(&mut self, reader: String) {
        if let Some(standing) = self.desk.cards.remove(&reader) {
            self.left(reader, &standing);
        }
    }

    /// A card, already taken off the desk, has left with its reader or without.
    fn left(&mut self, reader: String, standing: &Standing) {
        self.dismiss(standing);
        match standing {
            Standing::Looked {
                known: Known::Nothing { .. },
                ..
            }
            | Standing::Idle {
                reason: Error::Gone,
                ..
            } => {}
            Standing::Looked {
                known: Known::Unusable(_),
                ..
            }
            | Standing::Idle { .. } => {
                self.tell(Event::Removed { reader });
            }
            Standing::Serving { .. }
            | Standing::Looked {
                known: Known::Serving(_),
                ..
            } => {
                self.tell(Event::Removed { reader });
                self.vacated(&Error::Gone);
            }
        }
    }

    fn answered(&mut self, seat: Seat, answer: Answer) {
        let Some((reader, standing)) = self
            .desk
            .cards
            .iter_mut()
            .find(|(_, card)| card.seat() == Some(seat))
        else {
            return; // dismissed before it answered
        };
        let reader = reader.clone();
        match (standing, answer) {
            (
                Standing::Looked {
                    known, looks_left, ..
                },
                Answer::Look(looked),
            ) => {
                let (known, looks_left) = (known.clone(), *looks_left);
                match looked {
                    Ok(card) => self.described(reader, seat, card, known),
                    Err(reason) => self.unusable(reader, reason, known, looks_left),
                }
            }
            (Standing::Serving { card, .. }, answer) => {
                let was_verified = card.verified;
                card.learn(&answer);
                let card = card.clone();
                self.served(reader, card, was_verified, answer);
            }
            // nobody is seated there, and the only task of one who looks is to look
            (Standing::Idle { .. } | Standing::Looked { .. }, _) => {}
        }
    }

    /// A card has said about itself what would let it serve.
    fn described(&mut self, reader: String, seat: Seat, card: CardInfo, known: Known) {
        match known {
            Known::Serving(before)
                if before.serial == card.serial && before.public_key == card.public_key =>
            {
                let lost = before.verified && !card.verified;
                self.desk
                    .cards
                    .insert(reader.clone(), Standing::Serving { seat, card });
                if lost {
                    self.tell(Event::Locked { reader });
                }
            }
            Known::Serving(_) => {
                self.absent(reader.clone());
                self.present(reader);
            }
            Known::Nothing { .. } | Known::Unusable(_) => {
                if self.desk.serving().is_none() && self.desk.binding.matches(&card) {
                    self.tell(Event::Inserted {
                        reader: reader.clone(),
                        card: card.clone(),
                    });
                    self.desk
                        .cards
                        .insert(reader, Standing::Serving { seat, card });
                } else {
                    self.unusable(
                        reader,
                        Error::OtherCard {
                            serial: card.serial,
                        },
                        known,
                        0,
                    );
                }
            }
        }
    }

    /// The serving card's operator has done what the first request asked.
    fn served(&mut self, reader: String, card: CardInfo, was_verified: bool, answer: Answer) {
        let Some(Request { op, kind, .. }) = self.desk.queue.pop_front() else {
            return;
        };
        let error = answer.error().cloned();
        self.tell(answer.event(op));
        if let (Kind::Dh | Kind::Refresh, true, false) = (kind, was_verified, card.verified) {
            self.tell(Event::Locked {
                reader: reader.clone(),
            });
        }
        match error {
            Some(Error::Gone) => self.unusable(reader, Error::Gone, Known::Serving(card), LOOKS),
            Some(error) if error.casts_doubt() => self.look(reader, Known::Serving(card), LOOKS),
            Some(_) | None => {}
        }
    }

    /// A card cannot serve (any more). One that may do better later gets another look then.
    fn unusable(&mut self, reader: String, reason: Error, known: Known, looks_left: u32) {
        let again_at = (looks_left > 0 && !reason.is_lasting())
            .then(|| self.now + SECOND_LOOK * 2_u32.pow(LOOKS.saturating_sub(looks_left)));
        let idle = Standing::Idle {
            reason: reason.clone(),
            again_at,
            looks_left: looks_left.saturating_sub(1),
        };
        if let Some(before) = self.desk.cards.insert(reader.clone(), idle) {
            self.dismiss(&before);
        }
        match (&reason, &known) {
            (Error::Gone, Known::Nothing { .. }) => {}
            (Error::Gone, Known::Unusable(_) | Known::Serving(_)) => {
                self.tell(Event::Removed { reader })
            }
            (reason, Known::Unusable(told)) if reason == told => {}
            (reason, _) => self.tell(Event::Unusable {
                reader,
                reason: reason.clone(),
            }),
        }
        if let Known::Serving(_) = known {
            self.vacated(&reason);
        }
    }

    /// The serving card is no more: nobody answers what was asked of it, and another card may take its place.
    fn vacated(&mut self, reason: &Error) {
        for request in std::mem::take(&mut self.desk.queue) {
            self.tell(request.kind.refused(request.op, reason.clone()));
        }
        self.look_at_idle(|reason| matches!(reason, Error::OtherCard { .. }));
    }

    fn look_at_idle(&mut self, worth_it: impl Fn(&Error) -> bool) {
        let idle = self
            .desk
            .cards
            .iter()
            .filter_map(|(reader, standing)| match standing {
                Standing::Idle { reason, .. } if worth_it(reason) => {
                    Some((reader.clone(), reason.clone()))
                }
                Standing::Idle { .. } | Standing::Looked { .. } | Standing::Serving { .. } => None,
            });
        for (reader, reason) in idle.collect::<Vec<_>>() {
            let known = self.known_of_idle(reason);
            self.look(reader, known, LOOKS);
        }
    }

    /// Seats a new operator before a card and has it looked at.
    fn look(&mut self, reader: String, known: Known, looks_left: u32) {
        let seat = Seat(self.desk.seats);
        self.desk.seats += 1;
        if let Some(before) = self.desk.cards.insert(
            reader.clone(),
            Standing::Looked {
                seat,
                known,
                looks_left,
            },
        ) {
            self.dismiss(&before);
        }
        self.out.push(Output::Seat { seat, reader });
        self.out.push(Output::Assign {
            seat,
            task: Task::Look,
            deadline: None,
        });
    }

    fn dismiss(&mut self, standing: &Standing) {
        self.out
            .extend(standing.seat().map(|seat| Output::Dismiss { seat }));
    }

    /// Acts on every deadline that has passed.
    fn expire(&mut self) {
        let passed = |deadline: Instant| deadline <= self.now;
        let due = self
            .desk
            .cards
            .iter()
            .filter(|(_, standing)| standing.deadline().is_some_and(passed));
        for reader in due.map(|(reader, _)| reader.clone()).collect::<Vec<_>>() {
            match self.desk.cards.get_mut(&reader) {
                Some(Standing::Looked { known, .. }) => {
                    *known = Known::Unusable(Error::Timeout);
                    self.tell(Event::Unusable {
                        reader,
                        reason: Error::Timeout,
                    });
                }
                Some(Standing::Idle {
                    reason, looks_left, ..
                }) => {
                    let (reason, looks_left) = (reason.clone(), *looks_left);
                    let known = self.known_of_idle(reason);
                    self.look(reader, known, looks_left);
                }
                Some(Standing::Serving { .. }) | None => {}
            }
        }
        let queue = std::mem::take(&mut self.desk.queue);
        let (expired, queue): (VecDeque<_>, VecDeque<_>) = queue
            .into_iter()
            .partition(|request| request.deadline <= self.now);
        self.desk.queue = queue;
        let hung = expired.iter().any(|request| request.task.is_none());
        for request in expired {
            self.tell(request.kind.refused(request.op, Error::Timeout));
        }
        let serving = self
            .desk
            .cards
            .iter()
            .find_map(|(reader, standing)| match standing {
                Standing::Serving { card, .. } => Some((reader.clone(), card.clone())),
                Standing::Looked { .. } | Standing::Idle { .. } => None,
            });
        if let (true, Some((reader, card))) = (hung, serving) {
            self.look(reader, Known::Serving(card), LOOKS);
        }
    }

    /// Gives the first request to the serving card's operator, unless that has one in hand.
    fn assign(&mut self) {
        let seat = self
            .desk
            .cards
            .values()
            .find_map(|standing| match standing {
                Standing::Serving { seat, .. } => Some(*seat),
                Standing::Looked { .. } | Standing::Idle { .. } => None,
            });
        if let (Some(seat), Some(request)) = (seat, self.desk.queue.front_mut())
            && let Some(task) = request.task.take()
        {
            self.out.push(Output::Assign {
                seat,
                task,
                deadline: Some(request.deadline),
            });
        }
    }

    fn nothing_known(&self) -> Known {
        Known::Nothing {
            slow_at: self.now + SLOW,
        }
    }

    fn known_of_idle(&self, reason: Error) -> Known {
        match reason {
            Error::Gone => self.nothing_known(),
            told => Known::Unusable(told),
        }
    }
}

impl Standing {
    fn seat(&self) -> Option<Seat> {
        match self {
            Self::Looked { seat, .. } | Self::Serving { seat, .. } => Some(*seat),
            Self::Idle { .. } => None,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Looked {
                known: Known::Nothing { slow_at },
                ..
            } => Some(*slow_at),
            Self::Idle { again_at, .. } => *again_at,
            Self::Looked {
                known: Known::Unusable(_) | Known::Serving(_),
                ..
            }
            | Self::Serving { .. } => None,
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
            Self::Dh(result) => Event::Dh { op, result },
            Self::Lock(result) => Event::Relocked { op, result },
        }
    }
}

impl CardInfo {
    /// What an answer gives away about tries and verified state.
    fn learn(&mut self, answer: &Answer) {
        match answer {
            Answer::Look(Ok(card)) => *self = card.clone(),
            Answer::Verify(Ok(())) | Answer::Dh(Ok(_)) => self.verified = true,
            Answer::Dh(Err(Error::Locked)) | Answer::Lock(Ok(())) => self.verified = false,
            Answer::Verify(Err(Error::WrongPin { left })) => {
                (self.tries_left, self.verified) = (*left, false)
            }
            Answer::Verify(Err(Error::Blocked)) => (self.tries_left, self.verified) = (0, false),
            Answer::Look(Err(_))
            | Answer::Verify(Err(_))
            | Answer::Dh(Err(_))
            | Answer::Lock(Err(_)) => {}
        }
    }
}

#[cfg(test)]
mod tests;
