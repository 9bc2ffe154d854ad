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

use super::Peer;
use crate::message::Response;
use crate::noise::{self, Sent};
use crate::session::Session;
use crate::turn::{Owner, Request, Turn};
use crate::{
    Deadline, DhError, DhId, Event, Output, PublicKey, Reason, Role, SharedSecret, Sink, Time,
    outbound,
};

/// Responses to one initiation that are worth a Diffie-Hellman. Only the first can be right unless somebody forges.
const RESPONSES: u32 = 8;

/// A handshake that we want, from the first try to success or REKEY-ATTEMPT-TIME.
pub(super) struct Attempt {
    began: Time,
    stage: Stage,
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
        reply: Response,
        newer: Option<Response>,
        request: Request,
    },
}

/// An initiation that nobody has answered authentically.
struct Pending {
    sent: Sent,
    sent_at: Time,
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
                at: pending.retransmit,
                reason: Reason::Retransmit,
            },
        }
    }
}

impl Peer {
    /// A user's packet waits: start a handshake, or give the one under way its full time again (whitepaper 6.4).
    pub(crate) fn want_session<S: Sink>(&mut self, turn: &mut Turn<'_, S>) {
        match &mut self.attempt {
            Some(attempt) => attempt.began = turn.now(),
            None => self.rekey(turn),
        }
    }

    /// Start a handshake, unless there is one or it has just been done: notices cross.
    pub(crate) fn rekey<S: Sink>(&mut self, turn: &mut Turn<'_, S>) {
        let (now, timeout) = (turn.now(), turn.timing().rekey_timeout);
        let is_fresh = self
            .current()
            .is_some_and(|session| session.age(now) < timeout);
        if self.attempt.is_some() || is_fresh {
            return;
        }
        // whitepaper 6.1: not more than one initiation per REKEY-TIMEOUT
        match self
            .last_initiation
            .map(|last| last + timeout)
            .filter(|&until| until > now)
        {
            Some(until) => {
                self.attempt = Some(Attempt {
                    began: now,
                    stage: Stage::Paused { until },
                })
            }
            None => self.initiate(now, turn),
        }
    }

    /// The tunnel is wanted now, or the network changed.
    pub(crate) fn kick<S: Sink>(&mut self, turn: &mut Turn<'_, S>) {
        let (now, timing) = (turn.now(), turn.timing());
        let age = self.current().map(|session| session.age(now));
        let (reject_after, rekey_after) = (timing.reject_after, timing.rekey_after);
        if age.is_some_and(|age| age < reject_after) {
            turn.outbound(outbound::Letter::Keepalive(self.id));
        }
        if age.is_some_and(|age| age < rekey_after) {
            return;
        }
        match self.attempt.take() {
            Some(Attempt {
                stage: stage @ (Stage::AwaitSs(_) | Stage::AwaitSe { .. }),
                ..
            }) => {
                self.attempt = Some(Attempt { began: now, stage });
            }
            // What was sent before went by a network that may be gone; do not wait for its answer.
            Some(Attempt {
                stage: Stage::Sent(pending),
                ..
            }) => {
                turn.free_index(pending.sent.index());
                self.initiate(now, turn);
            }
            Some(Attempt {
                stage: Stage::Paused { .. },
                ..
            })
            | None => self.initiate(now, turn),
        }
    }

    /// A response with a valid mac1 came. Whether it is authentic, only the holder of the key can help to tell.
    pub(crate) fn accept_response<S: Sink>(&mut self, reply: Response, turn: &mut Turn<'_, S>) {
        let Some(Attempt { began, stage }) = self.attempt.take() else {
            return;
        };
        let stage = match stage {
            Stage::Sent(pending) if pending.is_answered_by(&reply) => {
                self.examine(pending, reply, turn)
            }
            Stage::AwaitSe {
                pending,
                reply: current,
                request,
                ..
            } if pending.is_answered_by(&reply) && current != reply => Stage::AwaitSe {
                pending,
                reply: current,
                newer: Some(reply),
                request,
            },
            other @ (Stage::AwaitSs(_)
            | Stage::Paused { .. }
            | Stage::Sent(_)
            | Stage::AwaitSe { .. }) => other,
        };
        self.attempt = Some(Attempt { began, stage });
    }

    pub(crate) fn accept_dh<S: Sink>(
        &mut self,
        id: DhId,
        result: Result<SharedSecret, DhError>,
        turn: &mut Turn<'_, S>,
    ) {
        let Some(Attempt { began, stage }) = self.attempt.take() else {
            return;
        };
        let stage = match stage {
            Stage::AwaitSs(request) if request.id == id => match result {
                Ok(secret) => {
                    self.learn_static_static(secret);
                    return self.initiate(began, turn);
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
                let keys = result
                    .ok()
                    .and_then(|se| pending.sent.finish(&reply, &se, self.preshared_key.bytes()));
                match (keys, newer) {
                    (Some(keys), _) => {
                        self.prove_static_static();
                        let (index, remote) = (pending.sent.index(), reply.sender);
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
                    (None, Some(newer)) => self.examine(pending, newer, turn),
                    (None, None) => Stage::Sent(pending),
                }
            }
            other @ (Stage::AwaitSs(_)
            | Stage::Paused { .. }
            | Stage::Sent(_)
            | Stage::AwaitSe { .. }) => other,
        };
        self.attempt = Some(Attempt { began, stage });
    }

    /// What is due in the attempt: an answer of the holder of the key, or of the peer.
    pub(super) fn tick_attempt<S: Sink>(&mut self, turn: &mut Turn<'_, S>) {
        let now = turn.now();
        let Some(Attempt { began, stage }) =
            self.attempt.take_if(|attempt| attempt.deadline().at <= now)
        else {
            return;
        };
        let stage = match stage {
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
                    Some(newer) => self.examine(pending, newer, turn),
                    None => Stage::Sent(pending),
                }
            }
            waiting @ (Stage::Paused { .. } | Stage::Sent(_)) => waiting,
        };
        let attempt = Attempt { began, stage };
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
        let Attempt { began, stage } = attempt;
        if let Stage::Sent(pending) = stage {
            turn.free_index(pending.sent.index());
            turn.event(Event::HandshakeUnanswered {
                peer: self.id,
                attempts: self.unanswered,
            });
        }
        // whitepaper 6.4: give up after REKEY-ATTEMPT-TIME
        if turn.now().saturating_since(began) < turn.timing().rekey_attempt {
            self.initiate(began, turn);
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
    fn initiate<S: Sink>(&mut self, began: Time, turn: &mut Turn<'_, S>) {
        let Some(to) = self.endpoint else {
            return self.give_up(turn);
        };
        let Some(cached) = &self.static_static else {
            let request = turn.request(Owner::Initiator(self.id), self.public_key);
            self.attempt = Some(Attempt {
                began,
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
        turn.out.output(Output::Send { to, datagram });

        self.last_initiation = Some(now);
        self.unanswered += 1;
        let pending = Pending {
            sent,
            sent_at: now,
            retransmit: turn.retransmit_at(),
            responses_left: RESPONSES,
        };
        self.attempt = Some(Attempt {
            began,
            stage: Stage::Sent(pending),
        });
    }

    /// Has the DH computed that shows whether a response is authentic.
    fn examine<S: Sink>(
        &self,
        mut pending: Pending,
        reply: Response,
        turn: &mut Turn<'_, S>,
    ) -> Stage {
        pending.responses_left -= 1;
        let request = turn.request(Owner::Initiator(self.id), PublicKey(reply.ephemeral));
        Stage::AwaitSe {
            pending,
            reply,
            newer: None,
            request,
        }
    }
}

impl Pending {
    fn is_answered_by(&self, reply: &Response) -> bool {
        reply.receiver == self.sent.index() && self.responses_left > 0
    }
}
