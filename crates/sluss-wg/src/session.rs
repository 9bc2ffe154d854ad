//! The two halves of a session's keys: one seals with a counter, one opens with a window (whitepaper 5.4.6).

use core::time::Duration;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::activity::Activity;
use crate::crypto::Cipher;
use crate::noise::Keys;
use crate::replay::Window;
use crate::{Dropped, HEADER, PeerId, Role, TAG, Time, Timing};

/// Type 4 and three reserved zeros.
pub(crate) const TRANSPORT: [u8; 4] = [4, 0, 0, 0];

/// What both halves must know of a session.
#[derive(Clone, Copy)]
pub(crate) struct Session {
    /// Our index: datagrams to us carry it.
    pub(crate) index: u32,
    /// The peer's index: datagrams from us carry it.
    pub(crate) remote: u32,
    pub(crate) role: Role,
    /// When our initiation left, or our response: never later than what the peer counts from, however slow network and card.
    pub(crate) born: Time,
}

impl Session {
    pub(crate) fn age(&self, now: Time) -> Duration {
        now.saturating_since(self.born)
    }

    /// Both halves of the session's keys.
    pub(crate) fn halves(
        self,
        keys: &Keys,
        peer: PeerId,
        from: Option<SocketAddr>,
        activity: &Arc<Activity>,
    ) -> (Sending, Receiving) {
        let sending = Sending {
            session: self,
            cipher: Cipher::new(&keys.send),
            counter: 0,
        };
        let receiving = Receiving {
            session: self,
            peer,
            cipher: Cipher::new(&keys.receive),
            window: Window::new(),
            stage: match self.role {
                Role::Initiator => Stage::InUse,
                Role::Responder => Stage::Unconfirmed,
            },
            seen_from: from,
            activity: Arc::clone(activity),
        };
        (sending, receiving)
    }
}

/// The half that seals. Never cloned: its counter must not repeat.
pub(crate) struct Sending {
    session: Session,
    cipher: Cipher,
    counter: u64,
}

impl Sending {
    /// Whether it may still seal (whitepaper 6.2: REJECT-AFTER-TIME, REJECT-AFTER-MESSAGES).
    pub(crate) fn is_usable(&self, now: Time, timing: &Timing) -> bool {
        self.session.age(now) < timing.reject_after && self.counter < timing.reject_after_messages
    }

    /// Whether sending now calls for the next handshake (whitepaper 6.2). By time only the initiator asks, so that not both do.
    pub(crate) fn is_due(&self, now: Time, timing: &Timing) -> bool {
        let is_old =
            self.session.role == Role::Initiator && self.session.age(now) >= timing.rekey_after;
        is_old || self.counter >= timing.rekey_after_messages
    }

    /// Makes `datagram`, whose middle is the padded packet, a transport message. `false` if the counters are used up.
    pub(crate) fn seal(&mut self, datagram: &mut [u8], timing: &Timing) -> bool {
        let counter = self.counter;
        if counter >= timing.reject_after_messages {
            return false;
        }
        self.counter += 1;
        let (header, body) = datagram.split_at_mut(HEADER);
        header[..4].copy_from_slice(&TRANSPORT);
        header[4..8].copy_from_slice(&self.session.remote.to_le_bytes());
        header[8..].copy_from_slice(&counter.to_le_bytes());
        // msg.packet := AEAD(T_m^send, N_m^send, P', e)
        self.cipher.seal(counter, &[], body);
        true
    }
}

/// The half that opens.
pub(crate) struct Receiving {
    pub(crate) session: Session,
    pub(crate) peer: PeerId,
    pub(crate) stage: Stage,
    /// Where the newest packet came from.
    pub(crate) seen_from: Option<SocketAddr>,
    pub(crate) activity: Arc<Activity>,
    cipher: Cipher,
    window: Window,
}

/// How far a receiving session has got.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// We answered for it; the first packet will show that the peer has it too.
    Unconfirmed,
    InUse,
    /// It was so old that receiving on it asked for the next one (whitepaper 6.2); that is done once.
    Rekeying,
}

/// What opening a transport message gave.
pub(crate) struct Body {
    /// Length of the plaintext, which starts at [`HEADER`].
    pub(crate) len: usize,
    /// No packet with a higher counter has come before it.
    pub(crate) is_newest: bool,
}

impl Receiving {
    pub(crate) fn open(
        &mut self,
        counter: u64,
        body: &mut [u8],
        now: Time,
        timing: &Timing,
    ) -> Result<Body, Dropped> {
        if self.session.age(now) >= timing.reject_after || counter >= timing.reject_after_messages {
            return Err(Dropped::Expired);
        }
        if !self.window.admits(counter) {
            return Err(Dropped::Replayed);
        }
        let len = self
            .cipher
            .open(counter, &[], body)
            .ok_or(Dropped::Forged)?
            .len();
        debug_assert_eq!(len, body.len() - TAG);
        Ok(Body {
            len,
            is_newest: self.window.mark(counter),
        })
    }

    /// Whitepaper 6.2: an initiator that receives on a session about to expire starts the next handshake, once.
    pub(crate) fn is_due(&self, now: Time, timing: &Timing) -> bool {
        let last_minute = timing
            .reject_after
            .saturating_sub(timing.keepalive + timing.rekey_timeout);
        self.stage == Stage::InUse
            && self.session.role == Role::Initiator
            && self.session.age(now) >= last_minute
    }
}
