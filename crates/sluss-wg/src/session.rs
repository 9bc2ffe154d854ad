//! The two halves of a session's keys: one seals with a counter, one opens with a window (whitepaper 5.4.6).

use core::time::Duration;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::activity::Activity;
use crate::crypto::Cipher;
use crate::noise::Keys;
use crate::replay::Window;
use crate::{Dropped, HEADER, Notice, PeerId, Role, TAG, Time, Timing};

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

    /// How many of `wanted` counters are left.
    pub(crate) fn room(&self, wanted: usize, timing: &Timing) -> usize {
        let left = timing.reject_after_messages.saturating_sub(self.counter);
        wanted.min(usize::try_from(left).unwrap_or(usize::MAX))
    }

    /// Makes each datagram, whose middle is the padded packet, a transport message. There must be [`Sending::room`] for `count`.
    pub(crate) fn seal<'d>(&mut self, count: usize, datagrams: impl Iterator<Item = &'d mut [u8]>) {
        // The counters are spent before the first is used.
        let first = self.counter;
        self.counter += count as u64;
        let remote = self.session.remote.to_le_bytes();
        let bodies = (first..self.counter)
            .zip(datagrams)
            .map(|(counter, datagram)| {
                let (header, body) = datagram.split_at_mut(HEADER);
                header[..4].copy_from_slice(&TRANSPORT);
                header[4..8].copy_from_slice(&remote);
                header[8..].copy_from_slice(&counter.to_le_bytes());
                body
            });
        // msg.packet := AEAD(T_m^send, N_m^send, P', e)
        self.cipher.seal_batch(first, bodies);
    }
}

/// The half that opens.
pub(crate) struct Receiving {
    pub(crate) session: Session,
    pub(crate) peer: PeerId,
    stage: Stage,
    /// Where the newest packet came from.
    seen_from: Option<SocketAddr>,
    activity: Arc<Activity>,
    cipher: Cipher,
    window: Window,
}

/// How far a receiving session has got.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// We answered for it; the first packet will show that the peer has it too.
    Unconfirmed,
    InUse,
    /// It was so old that receiving on it asked for the next one (whitepaper 6.2); that is done once.
    Rekeying,
}

/// What opening a run brought that is authentic.
pub(crate) struct Arrived {
    /// Bytes of the datagrams.
    bytes: usize,
    /// One of them was more than a keepalive.
    has_data: bool,
    /// One of them has a higher counter than all before the run.
    has_newest: bool,
}

impl Receiving {
    /// Opens transport messages to our index in place, of `stride` bytes each, the last perhaps shorter. Each has an outcome,
    /// which becomes an error if the message counts for nothing.
    pub(crate) fn open<T>(
        &mut self,
        run: &mut [u8],
        stride: usize,
        outcomes: &mut [Result<T, Dropped>],
        now: Time,
        timing: &Timing,
    ) -> Arrived {
        let is_expired = self.session.age(now) >= timing.reject_after;
        for (datagram, outcome) in run.chunks(stride).zip(&mut *outcomes) {
            let counter = counter(datagram);
            if is_expired || counter >= timing.reject_after_messages {
                *outcome = Err(Dropped::Expired);
            } else if !self.window.admits(counter) {
                *outcome = Err(Dropped::Replayed);
            }
        }
        let sealed = run
            .chunks_mut(stride)
            .zip(&mut *outcomes)
            .filter(|(_, outcome)| outcome.is_ok())
            .map(|(datagram, outcome)| (counter(datagram), &mut datagram[HEADER..], outcome));
        self.cipher
            .open_batch(sealed, |outcome| *outcome = Err(Dropped::Forged));

        let mut arrived = Arrived {
            bytes: 0,
            has_data: false,
            has_newest: false,
        };
        for (datagram, outcome) in run.chunks(stride).zip(outcomes) {
            if outcome.is_err() {
                continue;
            }
            match self.window.accept(counter(datagram)) {
                // It came twice in this run.
                None => *outcome = Err(Dropped::Replayed),
                Some(is_newest) => {
                    arrived.bytes += datagram.len();
                    arrived.has_data |= datagram.len() > HEADER + TAG;
                    arrived.has_newest |= is_newest;
                }
            }
        }
        arrived
    }

    /// Draws from what arrived what timers and control must know.
    pub(crate) fn heard(
        &mut self,
        arrived: &Arrived,
        from: SocketAddr,
        now: Time,
        timing: &Timing,
        notices: &mut Vec<Notice>,
    ) {
        let peer = self.peer;
        if arrived.bytes == 0 {
            return;
        }
        self.activity.received(arrived.bytes, now);
        let receiver = self.session.index;
        if arrived.has_newest && self.seen_from != Some(from) {
            self.seen_from = Some(from);
            notices.push(Notice::Roamed {
                peer,
                receiver,
                from,
            });
        }
        if self.stage == Stage::Unconfirmed {
            self.stage = Stage::InUse;
            notices.push(Notice::Confirmed { peer, receiver });
        }
        if self.is_due(now, timing) {
            self.stage = Stage::Rekeying;
            notices.push(Notice::RekeyDue(peer));
        }
        if arrived.has_data && self.activity.owes_reply(now) {
            notices.push(Notice::Stirred(peer));
        }
    }

    /// Whitepaper 6.2: an initiator that receives on a session about to expire starts the next handshake, once.
    fn is_due(&self, now: Time, timing: &Timing) -> bool {
        let last_minute = timing
            .reject_after
            .saturating_sub(timing.keepalive + timing.rekey_timeout);
        self.stage == Stage::InUse
            && self.session.role == Role::Initiator
            && self.session.age(now) >= last_minute
    }
}

/// The counter of a whole transport message.
fn counter(datagram: &[u8]) -> u64 {
    let header = datagram.first_chunk::<HEADER>();
    let [.., a, b, c, d, e, f, g, h] = *header.expect("a whole message has a header");
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}
