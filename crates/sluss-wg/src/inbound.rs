//! The receiving half: finds the session, opens in place, refuses replays, and checks the packet's source address.

use core::iter::repeat_n;
use core::ops::Range;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::allowed_ips::AllowedIps;
use crate::session::{Receiving, TRANSPORT};
use crate::{HEADER, Notice, PeerId, TAG, Time, Timing, packet};

/// Owned by the thread that reads UDP. Made by [`crate::Device::new`].
pub struct Inbound {
    timing: Timing,
    routes: Arc<AllowedIps>,
    sessions: HashMap<u32, Box<Receiving>>,
}

/// A letter from control, for [`Inbound::apply`]. Opaque: it carries keys.
pub struct InboundUpdate(pub(crate) Letter);

pub(crate) enum Letter {
    Routes(Arc<AllowedIps>),
    Session(Box<Receiving>),
    /// The session with this index is over; its key is wiped.
    Dropped(u32),
}

/// An authenticated transport message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    pub peer: PeerId,
    /// Where the IP packet lies in the datagram's or the run's buffer, padding left out; empty for a keepalive.
    pub packet: Range<usize>,
}

/// Why a datagram was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Dropped {
    #[error("not a transport message")]
    NotTransport,
    #[error("no session has this receiver index")]
    UnknownSession,
    #[error("the session is too old, or has received too many messages")]
    Expired,
    #[error("the tag does not fit")]
    Forged,
    #[error("this counter came before, or is older than the window")]
    Replayed,
    #[error("what was inside is not an IP packet")]
    NotIp,
    #[error("the peer does not own the packet's source address")]
    WrongSource,
}

impl Inbound {
    pub(crate) fn new(timing: Timing) -> Self {
        Self {
            timing,
            routes: Arc::default(),
            sessions: HashMap::new(),
        }
    }

    /// Opens one transport message (type 4) in place: [`Inbound::open_run`] for callers that have no more than one.
    ///
    /// # Errors
    /// Says why the datagram counts for nothing. After [`Dropped::Forged`] the buffer's content is undefined.
    pub fn open(
        &mut self,
        from: SocketAddr,
        datagram: &mut [u8],
        now: Time,
        notices: &mut Vec<Notice>,
    ) -> Result<Opened, Dropped> {
        let stride = datagram.len();
        let mut opened = Vec::with_capacity(1);
        self.open_run(from, datagram, stride, now, notices, &mut opened);
        opened.pop().unwrap_or(Err(Dropped::NotTransport))
    }

    /// Opens a run in place: datagrams of one sender, end to end, of `stride` bytes each, the last perhaps shorter. Says of
    /// each, in order, what became of it; packets are ranges of the run.
    ///
    /// What is the same for neighbours of one session is done once for all of them. A datagram that is
    /// [`Dropped::NotTransport`] is left as it was: it is for [`crate::Input::Datagram`]. The content of one that is
    /// [`Dropped::Forged`] is undefined.
    pub fn open_run(
        &mut self,
        from: SocketAddr,
        run: &mut [u8],
        stride: usize,
        now: Time,
        notices: &mut Vec<Notice>,
        opened: &mut Vec<Result<Opened, Dropped>>,
    ) {
        let mut start = 0;
        while start < run.len() {
            let (receiver, count) = neighbours(&run[start..], stride);
            let end = run.len().min(start + count * stride);
            match receiver.map(|receiver| self.sessions.get_mut(&receiver)) {
                None => opened.extend(repeat_n(Err(Dropped::NotTransport), count)),
                Some(None) => opened.extend(repeat_n(Err(Dropped::UnknownSession), count)),
                Some(Some(session)) => {
                    let peer = session.peer;
                    let before = opened.len();
                    opened.extend((start..end).step_by(stride).map(|at| {
                        let packet = at + HEADER..at + HEADER;
                        Ok(Opened { peer, packet })
                    }));
                    let opened = &mut opened[before..];
                    let arrived =
                        session.open(&mut run[start..end], stride, opened, now, &self.timing);
                    session.heard(&arrived, from, now, &self.timing, notices);
                    let datagrams = run[start..end].chunks(stride);
                    check_packets(datagrams.zip(opened), &self.routes);
                }
            }
            start = end;
        }
    }

    #[cfg(test)]
    pub(crate) fn sessions_held(&self) -> usize {
        self.sessions.len()
    }

    /// Carries out what control decided.
    pub fn apply(&mut self, update: InboundUpdate) {
        match update.0 {
            Letter::Routes(routes) => self.routes = routes,
            Letter::Session(session) => {
                self.sessions.insert(session.session.index, session);
            }
            Letter::Dropped(index) => {
                self.sessions.remove(&index);
            }
        }
    }
}

/// Whether a datagram is a transport message, and so [`Inbound::open`]'s.
pub fn is_transport(datagram: &[u8]) -> bool {
    datagram.starts_with(&TRANSPORT)
}

/// The receiver index that the run's first datagram carries, if it is a whole transport message, and how many from there
/// on carry the same (whitepaper 5.4.6).
fn neighbours(run: &[u8], stride: usize) -> (Option<u32>, usize) {
    let mut receivers = run.chunks(stride).map(|datagram| {
        let (kind, rest) = datagram.split_first_chunk()?;
        let is_whole = *kind == TRANSPORT && datagram.len() >= HEADER + TAG;
        is_whole.then_some(u32::from_le_bytes(*rest.first_chunk()?))
    });
    let first = receivers.next().flatten();
    let others = receivers.take_while(|&receiver| receiver == first).count();
    (first, 1 + others)
}

/// Finds the packet in each datagram that was opened, and refuses those that the peer may not have sent.
fn check_packets<'d>(
    datagrams: impl Iterator<Item = (&'d [u8], &'d mut Result<Opened, Dropped>)>,
    routes: &AllowedIps,
) {
    for (datagram, outcome) in datagrams {
        let padded = &datagram[HEADER..datagram.len() - TAG];
        let Ok(opened) = outcome else { continue };
        // A keepalive.
        if padded.is_empty() {
            continue;
        }
        match packet::source_and_len(padded) {
            None => *outcome = Err(Dropped::NotIp),
            Some((source, _)) if routes.lookup(source) != Some(opened.peer) => {
                *outcome = Err(Dropped::WrongSource);
            }
            Some((_, len)) => opened.packet.end += len,
        }
    }
}
