//! The receiving half: finds the session, opens in place, refuses replays, and checks the packet's source address.

use core::ops::Range;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::allowed_ips::AllowedIps;
use crate::session::{Receiving, Stage, TRANSPORT};
use crate::{HEADER, Notice, PeerId, Time, Timing, packet};

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
    /// Where the IP packet lies in the datagram's buffer, padding left out; empty for a keepalive.
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

    /// Opens one transport message (type 4) in place. Anything else belongs to [`crate::Input::Datagram`].
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
        let size = datagram.len();
        let (receiver, counter, body) = split(datagram).ok_or(Dropped::NotTransport)?;
        let session = self
            .sessions
            .get_mut(&receiver)
            .ok_or(Dropped::UnknownSession)?;
        let peer = session.peer;
        let opened = session.open(counter, body, now, &self.timing)?;

        session.activity.received(size, now);
        if opened.is_newest && session.seen_from != Some(from) {
            session.seen_from = Some(from);
            notices.push(Notice::Roamed { peer, from });
        }
        if session.stage == Stage::Unconfirmed {
            session.stage = Stage::InUse;
            notices.push(Notice::Confirmed { peer, receiver });
        }
        if session.is_due(now, &self.timing) {
            session.stage = Stage::Rekeying;
            notices.push(Notice::RekeyDue(peer));
        }
        if opened.len == 0 {
            return Ok(Opened {
                peer,
                packet: HEADER..HEADER,
            });
        }
        if session.activity.owes_reply(now) {
            notices.push(Notice::Stirred(peer));
        }
        let (source, len) = packet::source_and_len(&body[..opened.len]).ok_or(Dropped::NotIp)?;
        if self.routes.lookup(source) != Some(peer) {
            return Err(Dropped::WrongSource);
        }
        Ok(Opened {
            peer,
            packet: HEADER..HEADER + len,
        })
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

/// Receiver index, counter, and ciphertext with tag (whitepaper 5.4.6).
fn split(datagram: &mut [u8]) -> Option<(u32, u64, &mut [u8])> {
    let (kind, rest) = datagram.split_first_chunk_mut::<4>()?;
    let (receiver, rest) = rest.split_first_chunk_mut()?;
    let (counter, body) = rest.split_first_chunk_mut()?;
    let is_whole = *kind == TRANSPORT && body.len() >= crate::TAG;
    is_whole.then_some((
        u32::from_le_bytes(*receiver),
        u64::from_le_bytes(*counter),
        body,
    ))
}
