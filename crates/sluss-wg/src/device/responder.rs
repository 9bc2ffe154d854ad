//! Answering others' initiations: who may make the holder of the key work, and one thing at a time.
//!
//! The static key is needed before the sender is known, so a stranger can ask for work. A key in memory works until it is
//! under load; a key on a card wants a proof of address every time, and then still a token.

use core::time::Duration;
use std::collections::VecDeque;
use std::net::SocketAddr;

use super::Device;
use crate::load::{Bucket, Gate, Rate};
use crate::message::{Initiation, Macs};
use crate::noise::Claimed;
use crate::peer::Peer;
use crate::turn::{Owner, Request, Turn};
use crate::{
    Deadline, DhError, Now, Output, PeerId, PublicKey, Reason, Respond, SharedSecret, Sink, Time,
};

/// What a card does for strangers at most.
const GUARDED: Rate = Rate {
    every: Duration::from_secs(2),
    burst: 4,
};

/// Initiations that wait for the holder of the key at most.
const QUEUE: usize = 16;

pub(super) struct Responder {
    respond: Respond,
    gate: Gate,
    guard: Bucket,
    queue: VecDeque<Incoming>,
    work: Option<Work>,
}

struct Incoming {
    message: Initiation,
    from: SocketAddr,
    came: Time,
}

/// What the holder of the key is busy with.
enum Work {
    /// DH with the initiation's ephemeral key, to learn who sends.
    AwaitEs {
        incoming: Incoming,
        request: Request,
    },
    /// DH with the sender's static key, to learn whether that is true.
    AwaitSs {
        claimed: Claimed,
        peer: PeerId,
        from: SocketAddr,
        request: Request,
    },
}

impl Work {
    fn request(&self) -> &Request {
        match self {
            Self::AwaitEs { request, .. } | Self::AwaitSs { request, .. } => request,
        }
    }
}

impl Responder {
    pub(super) fn new(respond: Respond) -> Self {
        Self {
            respond,
            gate: Gate::default(),
            guard: Bucket::default(),
            queue: VecDeque::new(),
            work: None,
        }
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        self.work.as_ref().map(|work| Deadline {
            at: work.request().until,
            reason: Reason::DhOverdue,
        })
    }

    /// Drops what waits and what is under way.
    pub(super) fn forget<S: Sink>(&mut self, turn: &mut Turn<'_, S>) {
        self.queue.clear();
        if let Some(work) = self.work.take() {
            turn.abandon(work.request());
        }
    }

    /// Asks for the next DH, if there is one to ask for and none is under way. What waited too long is not worth one.
    fn begin<S: Sink>(&mut self, turn: &mut Turn<'_, S>) {
        if self.work.is_some() {
            return;
        }
        let patience = turn.timing().rekey_timeout;
        self.queue
            .retain(|incoming| turn.now().saturating_since(incoming.came) < patience);
        self.work = self.queue.pop_front().map(|incoming| {
            let request = turn.request(Owner::Responder, PublicKey(incoming.message.ephemeral));
            Work::AwaitEs { incoming, request }
        });
    }
}

impl Device {
    /// An initiation with a valid mac1 came.
    pub(super) fn accept_initiation(
        &mut self,
        message: Initiation,
        macs: &Macs<'_>,
        from: SocketAddr,
        now: Now,
        out: &mut impl Sink,
    ) {
        let has_cookie = self.checker.mac2_fits(macs, from, now.boot);
        let responder = &mut self.responder;
        let needs_cookie = match responder.respond {
            Respond::Never => return,
            Respond::Guarded => true,
            Respond::Freely => responder.gate.is_loaded(now.boot),
        };
        if needs_cookie && !has_cookie {
            let datagram = self.checker.reply(
                message.sender,
                macs.mac1,
                from,
                now.boot,
                &mut self.shared.rng,
            );
            return out.output(Output::Send { to: from, datagram });
        }
        let is_allowed = match responder.respond {
            Respond::Never => false,
            Respond::Guarded => responder.guard.take(&GUARDED, now.boot),
            Respond::Freely => !needs_cookie || responder.gate.allows(from, now.boot),
        };
        if !is_allowed {
            return;
        }
        // Who sends again has given up on what it sent before.
        responder.queue.retain(|waiting| waiting.from != from);
        if responder.queue.len() < QUEUE {
            responder.queue.push_back(Incoming {
                message,
                from,
                came: now.boot,
            });
            responder.begin(&mut Turn {
                shared: &mut self.shared,
                now,
                out,
            });
        }
    }

    /// The holder of the key answered, or could not.
    pub(super) fn continue_response(
        &mut self,
        result: Result<SharedSecret, DhError>,
        now: Now,
        out: &mut impl Sink,
    ) {
        match (self.responder.work.take(), result) {
            (Some(Work::AwaitEs { incoming, .. }), Ok(es)) => {
                self.identify(&incoming, &es, now, out)
            }
            (
                Some(Work::AwaitSs {
                    claimed,
                    peer,
                    from,
                    ..
                }),
                Ok(ss),
            ) => {
                self.with_peer(peer, now, out, |peer, turn| {
                    peer.learn_static_static(ss);
                    peer.accept_claim(claimed, from, turn);
                });
            }
            (Some(_), Err(DhError::Unavailable | DhError::Zero)) | (None, _) => {}
        }
        self.responder.begin(&mut Turn {
            shared: &mut self.shared,
            now,
            out,
        });
    }

    pub(super) fn tick_response(&mut self, now: Now, out: &mut impl Sink) {
        let turn = &mut Turn {
            shared: &mut self.shared,
            now,
            out,
        };
        if let Some(work) = self
            .responder
            .work
            .take_if(|work| work.request().until <= now.boot)
        {
            turn.abandon(work.request());
        }
        self.responder.begin(turn);
    }

    /// Learns who claims to send, and authenticates it with what DH of the static keys we have, or asks for it.
    fn identify(&mut self, incoming: &Incoming, es: &SharedSecret, now: Now, out: &mut impl Sink) {
        let Incoming {
            message,
            from,
            came: _,
        } = incoming;
        let Some(claimed) = Claimed::read(&self.shared.public_key, message, es) else {
            return;
        };
        let Some(id) = self.peer(&claimed.by) else {
            return;
        };
        let is_known = self.peers.get(&id).is_some_and(Peer::has_static_static);
        if is_known {
            self.with_peer(id, now, out, |peer, turn| {
                peer.accept_claim(claimed, *from, turn)
            });
        } else {
            let request = Turn {
                shared: &mut self.shared,
                now,
                out,
            }
            .request(Owner::Responder, claimed.by);
            self.responder.work = Some(Work::AwaitSs {
                claimed,
                peer: id,
                from: *from,
                request,
            });
        }
    }
}
