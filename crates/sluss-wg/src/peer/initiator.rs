//! Our own handshakes: ask the holder of the key, send, wait, ask again, and lose nothing to a slow card or a forged answer.
//!
//! ```text
//!            ss known                response            DH, authentic
//!  (none) ──────────────▶ Sent ─────────────▶ AwaitSe ─────────────────▶ session
//!    │                    ▲  ▲ │ resend          │
//!    ▼          ss came   │  │ └─┐               │ forged, or no DH
//!  AwaitSs ───────────────┘  └───┴───────────────┘
//!    │  no DH   ▲
//!    └▶ Paused ─┘ later
//! ```

use core::time::Duration;
use std::collections::VecDeque;
use std::net::SocketAddr;

use super::Peer;
use crate::message::Response;
use crate::noise::{self, Sent};
use crate::session::Session;
use crate::turn::{Owner, Request, Turn};
use crate::{
    Datagram, Deadline, DhError, DhId, Endpoints, Event, Output, PublicKey, Reason, Role,
    SharedSecret, Sink, Time, outbound,
};

/// Responses to one initiation that are worth a Diffie-Hellman. Only the first can be right unless somebody forges.
const RESPONSES: u32 = 8;

/// A handshake that we want, from the first try to success or REKEY-ATTEMPT-TIME.
pub(super) struct Attempt {
    course: Course,
    stage: Stage,
}

/// How far an attempt has got.
#[derive(Clone, Copy)]
struct Course {
    began: Time,
    /// Initiations sent, since the last change of network.
    rounds: u32,
}

enum Stage {
    /// The holder of the key computes the DH of both static keys.
    AwaitSs(Request),
    /// Not now: the last initiation is too recent, or the holder of the key failed us.
    Paused {
        until: Time,
    },
    Sent(Pending),
    /// The holder of the key computes the DH with the response's ephemeral key.
    AwaitSe {
        pending: Pending,
        reply: Reply,
        newer: Option<Box<Reply>>,
        request: Request,
    },
}

/// A response, where it came from, and when.
struct Reply {
    message: Response,
    from: SocketAddr,
    at: Time,
}

/// An initiation that nobody has answered authentically.
struct Pending {
    sent: Sent,
    sent_at: Time,
    datagram: Datagram,
    /// Who else gets it if nobody has answered by then.
    calls: VecDeque<(Time, Vec<SocketAddr>)>,
    retransmit: Time,
    responses_left: u32,
}

impl Attempt {
    pub(super) fn deadline(&self) -> Deadline {
        match &self.stage {
            Stage::AwaitSs(request) | Stage::AwaitSe { request, .. } => Deadline {
                at: request.until,
                reason: Reason::DhOverdue,
            },
            Stage::Paused { until } => Deadline {
                at: *until,
                reason: Reason::Retransmit,
            },
            Stage::Sent(pending) => Deadline {
                at: pending.deadline(),
                reason: Reason::Retransmit,
            },
        }
    }
}

impl Peer {
    /// A user's packet waits: start a handshake, or give the one under way its full time again (whitepaper 6.4).
    pub(crate) fn want_session<S: Sink>(&mut self, turn: &mut Turn<'_, S>) {
        match &mut self.attempt {
            Some(attempt) => attempt.course.began = turn.now(),
            None => self.rekey(turn),
        }
    }

    /// Start a handshake, unless there is one or it has just been done: notices cross.
    pub(crate) fn rekey<S: Sink>(&mut self, turn: &mut Turn<'_, S>) {
        let (now, timeout) = (turn.now(), turn.timing().rekey_timeout);
        let is_fresh = self
            .current()
            .is_some_and(|session| session.age(now) < timeout);
        if self.attempt.is_none() && !is_fresh {
            self.begin(turn);
        }
    }

    /// Starts a handshake as soon as may be.
    fn begin<S: Sink>(&mut self, turn: &mut Turn<'_, S>) {
        let (now, timeout) = (turn.now(), turn.timing().rekey_timeout);
        let course = Course {
            began: now,
            rounds: 0,
        };
        // whitepaper 6.1: not more than one initiation per REKEY-TIMEOUT
        match self
            .last_initiation
            .map(|last| last + timeout)
            .filter(|&until| until > now)
        {
            Some(until) => {
                self.attempt = Some(Attempt {
                    course,
                    stage: Stage::Paused { until },
                })
            }
            None => self.initiate(course, turn),
        }
    }

    /// The tunnel is wanted now.
    pub(crate) fn kick<S: Sink>(&mut self, turn: &mut Turn<'_, S>) {
        let is_old = self
            .current()
            .is_none_or(|session| session.age(turn.now()) >= turn.timing().rekey_after);
        self.show_life(turn);
        if is_old {
            self.call_anew(turn);
        }
    }

    /// We are on another network: the session, if there is one, lives on if the peer is reached there as well.
    pub(crate) fn change_network<S: Sink>(&mut self, turn: &mut Turn<'_, S>) {
        self.show_life(turn);
        self.whereabouts.start_over(turn.now());
        self.look_around(turn);
    }

    /// The peer may be found elsewhere.
    pub(crate) fn set_endpoints<S: Sink>(&mut self, endpoints: Endpoints, turn: &mut Turn<'_, S>) {
        if endpoints == *self.whereabouts.listed() {
            return;
        }
        self.whereabouts.list(endpoints);
        if !self.is_connected(turn)
            && !self.whereabouts.is_listed()
            && let Some(best) = self.whereabouts.listed().first()
        {
            self.turn_to(best, turn);
        }
        if self.attempt.is_some() || self.is_connected(turn) && !self.whereabouts.is_listed() {
            self.look_around(turn);
        }
    }

    /// Finds out where the peer answers now. With a session there is no hurry: traffic goes on meanwhile.
    fn look_around<S: Sink>(&mut self, turn: &mut Turn<'_, S>) {
        match &self.attempt {
            None if self.is_connected(turn) => self.begin(turn),
            Some(Attempt {
                stage: Stage::Paused { .. },
                ..
            }) if self.is_connected(turn) => {}
            None | Some(_) => self.call_anew(turn),
        }
    }

    /// Sends an initiation now, or the one that is on its way once more. What was sent before may have gone by a network that
    /// is no more, and its answer, too.
    fn call_anew<S: Sink>(&mut self, turn: &mut Turn<'_, S>) {
        let now = turn.now();
        let course = Course {
            began: now,
            rounds: 0,
        };
        match self.attempt.take().map(|attempt| attempt.stage) {
            Some(stage @ (Stage::AwaitSs(_) | Stage::AwaitSe { .. })) => {
                self.attempt = Some(Attempt { course, stage });
            }
            // Networks may change faster than anybody can answer, and each new initiation makes the answer to the one before
            // worthless. So there is a new one after a while only.
            Some(Stage::Sent(mut pending)) if pending.age(now) < turn.timing().call_gap => {
                let soon = pending.sent_at + turn.timing().call_gap;
                pending.retransmit = soon.min(pending.retransmit);
                let attempt = self.call_round(course, pending, turn);
                self.attempt = Some(attempt);
            }
            Some(Stage::Sent(pending)) => {
                turn.free_index(pending.sent.index());
                self.initiate(course, turn);
            }
            Some(Stage::Paused { .. }) | None => self.initiate(course, turn),
        }
    }

    /// Tells the peer where we are, if there is a session.
    fn show_life<S: Sink>(&self, turn: &mut Turn<'_, S>) {
        if self.is_connected(turn) {
            turn.outbound(outbound::Letter::Keepalive(self.id));
        }
    }

    fn is_connected<S: Sink>(&self, turn: &Turn<'_, S>) -> bool {
        let reject_after = turn.timing().reject_after;
        self.current()
            .is_some_and(|session| session.age(turn.now()) < reject_after)
    }

    /// A response with a valid mac1 came. Whether it is authentic, only the holder of the key can help to tell.
    pub(crate) fn accept_response<S: Sink>(
        &mut self,
        message: Response,
        from: SocketAddr,
        turn: &mut Turn<'_, S>,
    ) {
        let Some(Attempt { course, stage }) = self.attempt.take() else {
            return;
        };
        let at = turn.now();
        let reply = Reply { message, from, at };
        let stage = match stage {
            Stage::Sent(pending) if pending.is_answered_by(&reply) => {
                self.examine(pending, reply, turn)
            }
            Stage::AwaitSe {
                pending,
                reply: current,
                request,
                ..
            } if pending.is_answered_by(&reply) && current.message != reply.message => {
                Stage::AwaitSe {
                    pending,
                    reply: current,
                    newer: Some(Box::new(reply)),
                    request,
                }
            }
            other @ (Stage::AwaitSs(_)
            | Stage::Paused { .. }
            | Stage::Sent(_)
            | Stage::AwaitSe { .. }) => other,
        };
        self.attempt = Some(Attempt { course, stage });
    }

    pub(crate) fn accept_dh<S: Sink>(
        &mut self,
        id: DhId,
        result: Result<SharedSecret, DhError>,
        turn: &mut Turn<'_, S>,
    ) {
        let Some(Attempt { course, stage }) = self.attempt.take() else {
            return;
        };
        let stage = match stage {
            Stage::AwaitSs(request) if request.id == id => match result {
                Ok(secret) => {
                    self.learn_static_static(secret);
                    return self.initiate(course, turn);
                }
                Err(DhError::Unavailable | DhError::Zero) => Stage::Paused {
                    until: turn.now() + turn.timing().rekey_timeout,
                },
            },
            Stage::AwaitSe {
                pending,
                reply,
                newer,
                request,
            } if request.id == id => {
                let keys = result.ok().and_then(|se| {
                    let psk = self.preshared_key.bytes();
                    pending.sent.finish(&reply.message, &se, psk)
                });
                match (keys, newer) {
                    (Some(keys), _) => {
                        self.prove_static_static();
                        self.answered_by(&reply, turn);
                        let (index, remote) = (pending.sent.index(), reply.message.sender);
                        return self.install(
                            Session {
                                index,
                                remote,
                                role: Role::Initiator,
                                born: pending.sent_at,
                            },
                            &keys,
                            turn,
                        );
                    }
                    (None, Some(newer)) => self.examine(pending, *newer, turn),
                    (None, None) => Stage::Sent(pending),
                }
            }
            other @ (Stage::AwaitSs(_)
            | Stage::Paused { .. }
            | Stage::Sent(_)
            | Stage::AwaitSe { .. }) => other,
        };
        self.attempt = Some(Attempt { course, stage });
    }

    /// What is due in the attempt: an answer of the holder of the key, or of the peer.
    pub(super) fn tick_attempt<S: Sink>(&mut self, turn: &mut Turn<'_, S>) {
        let now = turn.now();
        let Some(Attempt { course, stage }) =
            self.attempt.take_if(|attempt| attempt.deadline().at <= now)
        else {
            return;
        };
        let mut stage = match stage {
            Stage::AwaitSs(request) => {
                turn.abandon(&request);
                Stage::Paused {
                    until: now + turn.timing().rekey_timeout,
                }
            }
            Stage::AwaitSe {
                pending,
                request,
                newer,
                ..
            } => {
                turn.abandon(&request);
                match newer {
                    Some(newer) => self.examine(pending, *newer, turn),
                    None => Stage::Sent(pending),
                }
            }
            waiting @ (Stage::Paused { .. } | Stage::Sent(_)) => waiting,
        };
        if let Stage::Sent(pending) = &mut stage
            && pending.retransmit > now
        {
            self.call_due(pending, turn);
        }
        let attempt = Attempt { course, stage };
        if attempt.deadline().at > now {
            self.attempt = Some(attempt);
        } else {
            self.retry(attempt, turn);
        }
    }

    pub(super) fn drop_attempt<S: Sink>(&mut self, turn: &mut Turn<'_, S>) {
        match self.attempt.take().map(|attempt| attempt.stage) {
            Some(Stage::AwaitSs(request)) => turn.abandon(&request),
            Some(Stage::AwaitSe {
                pending, request, ..
            }) => {
                turn.abandon(&request);
                turn.free_index(pending.sent.index());
            }
            Some(Stage::Sent(pending)) => turn.free_index(pending.sent.index()),
            Some(Stage::Paused { .. }) | None => {}
        }
    }

    /// The wait is over without an answer: once more, or no more.
    fn retry<S: Sink>(&mut self, attempt: Attempt, turn: &mut Turn<'_, S>) {
        let Attempt { course, stage } = attempt;
        if let Stage::Sent(pending) = stage {
            turn.free_index(pending.sent.index());
            turn.event(Event::HandshakeUnanswered {
                peer: self.id,
                attempts: self.unanswered,
            });
        }
        // whitepaper 6.4: give up after REKEY-ATTEMPT-TIME
        if turn.now().saturating_since(course.began) < turn.timing().rekey_attempt {
            self.initiate(course, turn);
        } else {
            self.give_up(turn);
        }
    }

    fn give_up<S: Sink>(&mut self, turn: &mut Turn<'_, S>) {
        self.doubt_static_static();
        turn.outbound(outbound::Letter::DropStaged(self.id));
        turn.event(Event::GaveUp { peer: self.id });
    }

    /// Sends an initiation, or first asks for what it takes. There is no attempt while this runs.
    fn initiate<S: Sink>(&mut self, course: Course, turn: &mut Turn<'_, S>) {
        if self.whereabouts.is_unknown() {
            return turn.outbound(outbound::Letter::DropStaged(self.id));
        }
        let Some(cached) = &self.static_static else {
            let request = turn.request(Owner::Initiator(self.id), self.public_key);
            self.attempt = Some(Attempt {
                course,
                stage: Stage::AwaitSs(request),
            });
            return;
        };
        let (index, ephemeral, stamp) = (turn.claim_index(self.id), turn.ephemeral(), turn.stamp());
        let us = turn.shared.public_key;
        let Ok((sent, message)) = noise::initiate(
            &us,
            &self.public_key,
            &cached.secret,
            ephemeral,
            index,
            stamp,
        ) else {
            turn.free_index(index);
            return self.give_up(turn);
        };
        let now = turn.now();
        let mut datagram = message.datagram();
        self.jar.sign(&mut datagram, now);
        self.last_initiation = Some(now);
        self.unanswered += 1;
        let pending = Pending {
            sent,
            sent_at: now,
            datagram,
            calls: VecDeque::new(),
            retransmit: turn.retransmit_at(),
            responses_left: RESPONSES,
        };
        let attempt = self.call_round(course, pending, turn);
        self.attempt = Some(attempt);
    }

    /// Begins to call with an initiation.
    fn call_round<S: Sink>(
        &mut self,
        course: Course,
        mut pending: Pending,
        turn: &mut Turn<'_, S>,
    ) -> Attempt {
        let now = turn.now();
        let is_connected = self.is_connected(turn);
        let steps = self.whereabouts.calls(course.rounds, is_connected, now);
        // Everybody is called before the next initiation.
        let count = u32::try_from(steps.len()).unwrap_or(u32::MAX).max(1);
        let gap = turn
            .timing()
            .call_gap
            .min(turn.timing().rekey_timeout / count);
        let times = (0..count).map(|number| now + gap * number);
        pending.calls = times.zip(steps).collect();
        self.call_due(&mut pending, turn);
        Attempt {
            course: Course {
                rounds: course.rounds + 1,
                ..course
            },
            stage: Stage::Sent(pending),
        }
    }

    fn call_due<S: Sink>(&mut self, pending: &mut Pending, turn: &mut Turn<'_, S>) {
        let now = turn.now();
        while let Some((_, addresses)) = pending.calls.pop_front_if(|(at, _)| *at <= now) {
            for to in addresses {
                self.whereabouts.called(to, now);
                let datagram = pending.datagram.clone();
                turn.out.output(Output::Send { to, datagram });
            }
        }
    }

    /// Packets go to whoever answers an initiation, as they follow every authentic packet.
    fn answered_by<S: Sink>(&mut self, reply: &Reply, turn: &mut Turn<'_, S>) {
        let (gap, hold_down) = (turn.timing().call_gap, turn.timing().hold_down);
        self.whereabouts
            .answered(reply.from, reply.at, gap, hold_down);
        self.turn_to(reply.from, turn);
    }

    /// Has the DH computed that shows whether a response is authentic.
    fn examine<S: Sink>(
        &self,
        mut pending: Pending,
        reply: Reply,
        turn: &mut Turn<'_, S>,
    ) -> Stage {
        pending.responses_left -= 1;
        let request = turn.request(
            Owner::Initiator(self.id),
            PublicKey(reply.message.ephemeral),
        );
        Stage::AwaitSe {
            pending,
            reply,
            newer: None,
            request,
        }
    }
}

impl Pending {
    fn age(&self, now: Time) -> Duration {
        now.saturating_since(self.sent_at)
    }

    /// When to call somebody else, or to send a new one.
    fn deadline(&self) -> Time {
        let next = self.calls.front().map(|(at, _)| *at);
        next.map_or(self.retransmit, |at| at.min(self.retransmit))
    }

    fn is_answered_by(&self, reply: &Reply) -> bool {
        reply.message.receiver == self.sent.index() && self.responses_left > 0
    }
}
