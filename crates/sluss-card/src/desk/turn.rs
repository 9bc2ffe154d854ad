//! The handling of one input: what it changes on the desk, and what has to be done about it.

use super::{
    Answer, Desk, Kind, LOOKS, Output, Phase, Request, SECOND_LOOK, SLOW, Seat, Standing, Task,
    Told,
};
use crate::{CardInfo, CardKind, Command, Error, Event, Op};
use std::collections::VecDeque;
use std::time::Instant;

/// The handling of one input.
pub(super) struct Turn<'a> {
    pub(super) desk: &'a mut Desk,
    pub(super) now: Instant,
    pub(super) out: Vec<Output>,
}

impl Turn<'_> {
    pub(super) fn tell(&mut self, event: Event) {
        self.out.push(Output::Tell(event));
    }

    pub(super) fn request(&mut self, op: Op, command: Command, deadline: Instant) {
        let serving = self.desk.serving().map(|card| card.serial.as_str());
        let (kind, task, possible) = match command {
            Command::Verify {
                serial,
                pin,
                last_try_consented: consent,
            } => {
                let possible = serving == Some(&serial);
                (Kind::Verify, Task::Verify { pin, consent }, possible)
            }
            Command::Dh { with } => match self.desk.keeper.agree(&with) {
                // an unwrapped key needs no card, as long as the card is there
                Some(result) => return self.tell(Event::Dh { op, result }),
                None => (Kind::Dh, Task::Dh { with }, serving.is_some()),
            },
            Command::Lock => {
                self.desk.keeper.wipe();
                (Kind::Lock, Task::Lock, serving.is_some())
            }
            Command::Forget => {
                self.desk.keeper.release();
                self.forget_middleware();
                return self.tell(Event::Forgotten { op });
            }
            Command::Refresh => (Kind::Refresh, Task::Look, serving.is_some()),
        };
        if possible {
            let task = Some(task);
            self.desk.queue.push_back(Request {
                op,
                kind,
                task,
                deadline,
            });
        } else {
            self.tell(kind.refused(op, Error::Gone));
            if let Kind::Refresh = kind {
                self.look_at_idle();
            }
        }
    }

    /// A PKCS#11 module may remember the PIN, in a process that ends with its operator. What that has in hand is lost.
    fn forget_middleware(&mut self) {
        let is_token = |card: &CardInfo| card.kind == CardKind::Pkcs11;
        if !self.desk.serving().is_some_and(is_token) {
            return;
        }
        if let Some((reader, _)) = self.at_work() {
            let in_hand = self.desk.queue.pop_front_if(|first| first.task.is_none());
            if let Some(Request { op, kind, .. }) = in_hand {
                self.tell(kind.refused(op, Error::Locked));
            }
            self.look(reader, LOOKS);
        }
    }

    /// A card is in the reader, and was or was not before.
    pub(super) fn present(&mut self, reader: String) {
        let worth_a_look = match self.desk.cards.get(&reader) {
            None => true,
            Some(Standing { told, phase }) => {
                // perhaps the program that had it to itself has let go
                matches!(
                    (told, phase),
                    (
                        Told::Unusable(Error::Busy) | Told::Inserted(_),
                        Phase::Idle { .. }
                    )
                )
            }
        };
        if worth_a_look {
            self.look(reader, LOOKS);
        }
    }

    pub(super) fn absent(&mut self, reader: String) {
        if let Some(standing) = self.desk.cards.remove(&reader) {
            self.left(reader, &standing);
        }
    }

    /// No reader is there any more, and so no card.
    pub(super) fn readers_left(&mut self) {
        let Desk { cards, fixed, .. } = &mut *self.desk;
        let left: Vec<_> = cards
            .extract_if(.., |reader, _| !fixed.contains(reader))
            .collect();
        for (reader, standing) in left {
            self.left(reader, &standing);
        }
    }

    /// A card, already taken off the desk, has left with its reader or without.
    pub(super) fn left(&mut self, reader: String, standing: &Standing) {
        self.dismiss(standing);
        match standing.told {
            Told::Nothing => {}
            Told::Unusable(_) => self.tell(Event::Removed { reader }),
            Told::Inserted(_) => {
                self.tell(Event::Removed { reader });
                self.vacated(&Error::Gone);
            }
        }
    }

    pub(super) fn answered(&mut self, seat: Seat, answer: Answer) {
        let mut cards = self.desk.cards.iter();
        let Some((reader, standing)) = cards.find(|(_, card)| card.seat() == Some(seat)) else {
            return; // dismissed before it answered
        };
        let reader = reader.clone();
        match (&standing.phase, answer) {
            (Phase::Looked { .. }, Answer::Look(Ok(card))) => self.described(reader, seat, card),
            (Phase::Looked { looks_left, .. }, Answer::Look(Err(reason))) => {
                let looks_left = *looks_left;
                self.unusable(reader, reason, looks_left);
            }
            (Phase::Serving { .. }, answer) => self.served(reader, answer),
            // who looks does nothing else, and before an idle card nobody is seated
            (Phase::Looked { .. } | Phase::Idle { .. }, _) => {}
        }
    }

    /// A card has said about itself what would let it serve.
    fn described(&mut self, reader: String, seat: Seat, card: CardInfo) {
        let before = match self.desk.cards.get(&reader).map(|standing| &standing.told) {
            Some(Told::Inserted(before)) => Some(before.ready),
            Some(Told::Nothing | Told::Unusable(_)) | None => None,
        };
        if before.is_none() && self.desk.serving().is_some() {
            let serial = card.serial;
            return self.unusable(reader, Error::OtherCard { serial }, 0);
        }
        let lost = before == Some(true) && !card.ready;
        let phase = Phase::Serving { seat };
        let told = Told::Inserted(card.clone());
        let standing = Standing { told, phase };
        self.desk.cards.insert(reader.clone(), standing);
        if before.is_none() {
            self.tell(Event::Inserted { reader, card });
        } else if lost {
            self.tell(Event::Locked { reader });
        }
    }

    /// The serving card's operator has done what the first request asked.
    fn served(&mut self, reader: String, answer: Answer) {
        let (
            Some(Standing {
                told: Told::Inserted(card),
                ..
            }),
            Some(Request { op, kind, .. }),
        ) = (
            self.desk.cards.get_mut(&reader),
            self.desk.queue.pop_front(),
        )
        else {
            return;
        };
        let was_ready = card.ready;
        card.learn(&answer, self.desk.keeper.has_key());
        let lost = was_ready && !card.ready;
        let error = answer.error().cloned();
        self.tell(answer.event(op));
        if let (true, Kind::Dh | Kind::Refresh) = (lost, kind) {
            let reader = reader.clone();
            self.tell(Event::Locked { reader });
        }
        match error {
            Some(Error::Gone) => self.unusable(reader, Error::Gone, LOOKS),
            // the right card, the right PIN, and still it does not open: no use asking the user again
            Some(error @ Error::SealedKey(_)) => self.unusable(reader, error, 0),
            Some(error) if error.casts_doubt() => self.look(reader, LOOKS),
            Some(_) | None => {}
        }
    }

    /// A card cannot serve (any more). One that may do better later gets another look then.
    fn unusable(&mut self, reader: String, reason: Error, looks_left: u32) {
        let pause = SECOND_LOOK * 2_u32.pow(LOOKS.saturating_sub(looks_left));
        let again = looks_left > 0 && !reason.is_lasting();
        let phase = Phase::Idle {
            again_at: again.then(|| self.now + pause),
            looks_left: looks_left.saturating_sub(1),
        };
        let before = self.desk.cards.remove(&reader);
        if let Some(before) = &before {
            self.dismiss(before);
        }
        let before = before.map_or(Told::Nothing, |before| before.told);
        if let (Told::Inserted(_), Error::Busy, true) =
            (&before, &reason, self.desk.keeper.has_key())
        {
            // another program has the card to itself, which an unwrapped key does not feel
            let told = before;
            self.desk.cards.insert(reader, Standing { told, phase });
            return;
        }
        let told = match &reason {
            Error::Gone => Told::Nothing,
            reason => Told::Unusable(reason.clone()),
        };
        let standing = Standing { told, phase };
        self.desk.cards.insert(reader.clone(), standing);
        let removed = match (&before, &reason) {
            (Told::Unusable(_) | Told::Inserted(_), Error::Gone) => true,
            // pulled, and another one put in its place
            (Told::Inserted(_), Error::OtherCard { .. }) => true,
            (Told::Nothing | Told::Unusable(_) | Told::Inserted(_), _) => false,
        };
        if removed {
            let reader = reader.clone();
            self.tell(Event::Removed { reader });
        }
        let known = matches!(&before, Told::Unusable(told) if *told == reason);
        if reason != Error::Gone && !known {
            let reason = reason.clone();
            self.tell(Event::Unusable { reader, reason });
        }
        if let Told::Inserted(_) = before {
            self.vacated(&reason);
        }
    }

    /// The serving card is no more: what was kept is wiped, and what was asked of it fails.
    fn vacated(&mut self, reason: &Error) {
        self.desk.keeper.wipe();
        for request in std::mem::take(&mut self.desk.queue) {
            self.tell(request.kind.refused(request.op, reason.clone()));
        }
    }

    fn look_at_idle(&mut self) {
        let is_idle = |standing: &Standing| matches!(standing.phase, Phase::Idle { .. });
        let idle = self.desk.cards.iter().filter(|(_, card)| is_idle(card));
        for reader in idle.map(|(reader, _)| reader.clone()).collect::<Vec<_>>() {
            self.look(reader, LOOKS);
        }
    }

    /// Seats a new operator before a card and has it looked at, unless none could serve.
    fn look(&mut self, reader: String, looks_left: u32) {
        if !self.desk.bound {
            return self.unusable(reader, Error::NotEnrolled, 0);
        }
        let seat = Seat(self.desk.seats);
        self.desk.seats += 1;
        let told = match self.desk.cards.remove(&reader) {
            Some(before) => {
                self.dismiss(&before);
                before.told
            }
            None => Told::Nothing,
        };
        let slow_at = matches!(told, Told::Nothing).then(|| self.now + SLOW);
        let phase = Phase::Looked {
            seat,
            slow_at,
            looks_left,
        };
        let standing = Standing { told, phase };
        self.desk.cards.insert(reader.clone(), standing);
        self.out.push(Output::Seat { seat, reader });
        let (task, deadline) = (Task::Look, None);
        let era = self.desk.keeper.era();
        self.out.push(Output::Assign {
            seat,
            task,
            era,
            deadline,
        });
    }

    fn dismiss(&mut self, standing: &Standing) {
        self.out
            .extend(standing.seat().map(|seat| Output::Dismiss { seat }));
    }

    /// Acts on every deadline that has passed.
    pub(super) fn expire(&mut self) {
        let now = self.now;
        let is_due = |standing: &Standing| standing.deadline().is_some_and(|at| at <= now);
        let due = self.desk.cards.iter().filter(|(_, card)| is_due(card));
        for reader in due.map(|(reader, _)| reader.clone()).collect::<Vec<_>>() {
            match self.desk.cards.get_mut(&reader) {
                Some(Standing {
                    told,
                    phase: Phase::Looked { slow_at, .. },
                }) => {
                    *slow_at = None;
                    *told = Told::Unusable(Error::Timeout);
                    let reason = Error::Timeout;
                    self.tell(Event::Unusable { reader, reason });
                }
                Some(Standing {
                    phase: Phase::Idle { looks_left, .. },
                    ..
                }) => {
                    let looks_left = *looks_left;
                    self.look(reader, looks_left);
                }
                Some(Standing {
                    phase: Phase::Serving { .. },
                    ..
                })
                | None => {}
            }
        }
        let (expired, queue) = std::mem::take(&mut self.desk.queue)
            .into_iter()
            .partition::<VecDeque<_>, _>(|request| request.deadline <= now);
        self.desk.queue = queue;
        let hung = expired.iter().any(|request| request.task.is_none());
        for request in expired {
            self.tell(request.kind.refused(request.op, Error::Timeout));
        }
        if let (true, Some((reader, _))) = (hung, self.at_work()) {
            self.look(reader, LOOKS);
        }
    }

    /// Gives the first request to the serving card's operator, unless that has one in hand.
    pub(super) fn assign(&mut self) {
        let era = self.desk.keeper.era();
        if let (Some((_, seat)), Some(request)) = (self.at_work(), self.desk.queue.front_mut())
            && let Some(task) = request.task.take()
        {
            let deadline = Some(request.deadline);
            self.out.push(Output::Assign {
                seat,
                task,
                era,
                deadline,
            });
        }
    }

    /// The serving card's reader and operator, unless it is just being looked at.
    fn at_work(&self) -> Option<(String, Seat)> {
        let mut cards = self.desk.cards.iter();
        cards.find_map(|(reader, standing)| match standing.phase {
            Phase::Serving { seat } => Some((reader.clone(), seat)),
            Phase::Looked { .. } | Phase::Idle { .. } => None,
        })
    }
}
