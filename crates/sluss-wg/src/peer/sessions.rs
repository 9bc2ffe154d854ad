//! A peer's three session slots: the one in use, the one before it, and one that waits to be confirmed (whitepaper 6.3).

use super::Peer;
use crate::noise::Keys;
use crate::session::{Sending, Session};
use crate::turn::Turn;
use crate::{Event, Role, Sink, inbound, outbound};

/// All of them receive; `current` also sends.
#[derive(Default)]
pub(super) struct Slots {
    previous: Option<Session>,
    current: Option<Session>,
    /// We answered for it, and may send on it once a packet shows that the peer has it too.
    next: Option<Next>,
}

struct Next {
    session: Session,
    sending: Box<Sending>,
}

impl Peer {
    pub(super) fn install<S: Sink>(
        &mut self,
        session: Session,
        keys: &Keys,
        turn: &mut Turn<'_, S>,
    ) {
        let (sending, receiving) =
            session.halves(keys, self.id, self.whereabouts.in_use(), &self.activity);
        let sending = Box::new(sending);
        turn.inbound(inbound::Letter::Session(Box::new(receiving)));
        self.zero_at = Some(turn.now() + turn.timing().reject_after * 3);
        match session.role {
            // What waits to be confirmed goes on waiting: packets may be under way on it, as on the session in use.
            Role::Initiator => {
                self.retire(self.slots.current, turn);
                self.use_session(session, sending, turn);
            }
            Role::Responder => {
                let unconfirmed = self.slots.next.replace(Next { session, sending });
                drop_session(unconfirmed.map(|next| next.session), turn);
            }
        }
    }

    /// The first packet came on the session with our index `receiver`: the peer uses it, so we do, too.
    pub(crate) fn confirm<S: Sink>(&mut self, receiver: u32, turn: &mut Turn<'_, S>) {
        let Some(Next { session, sending }) = self
            .slots
            .next
            .take_if(|next| next.session.index == receiver)
        else {
            return;
        };
        self.drop_attempt(turn);
        self.retire(self.slots.current, turn);
        self.use_session(session, sending, turn);
    }

    /// Keeps a session for what is still under way on it, in place of the one before.
    fn retire<S: Sink>(&mut self, session: Option<Session>, turn: &mut Turn<'_, S>) {
        let before = core::mem::replace(&mut self.slots.previous, session);
        drop_session(before, turn);
    }

    fn use_session<S: Sink>(
        &mut self,
        session: Session,
        sending: Box<Sending>,
        turn: &mut Turn<'_, S>,
    ) {
        let (peer, role) = (self.id, session.role);
        self.slots.current = Some(session);
        self.last_handshake = self.last_handshake.max(Some(session.born));
        self.unanswered = 0;
        self.activity.settle_awaits();
        // The responder may not send on it before it has heard from us (whitepaper 6.3), so we speak first.
        turn.outbound(outbound::Letter::Session {
            peer,
            sending,
            confirm: role == Role::Initiator,
        });
        turn.event(Event::SessionEstablished { peer, role });
    }

    /// Whether the session with our index `index` is another than those in use and to be confirmed.
    pub(super) fn is_past(&self, index: u32) -> bool {
        let next = self.slots.next.as_ref().map(|next| &next.session);
        let mut present = self.slots.current.iter().chain(next);
        present.all(|session| session.index != index)
    }

    pub(super) fn current(&self) -> Option<&Session> {
        self.slots.current.as_ref()
    }

    pub(super) fn drop_sessions<S: Sink>(&mut self, turn: &mut Turn<'_, S>) {
        self.zero_at = None;
        let Slots {
            previous,
            current,
            next,
        } = core::mem::take(&mut self.slots);
        for session in [previous, current, next.map(|next| next.session)] {
            drop_session(session, turn);
        }
        turn.outbound(outbound::Letter::Wipe(self.id));
        self.activity.settle_owes();
        self.activity.settle_awaits();
        self.look(turn);
    }
}

fn drop_session<S: Sink>(session: Option<Session>, turn: &mut Turn<'_, S>) {
    if let Some(session) = session {
        turn.free_index(session.index);
        turn.inbound(inbound::Letter::Dropped(session.index));
    }
}
