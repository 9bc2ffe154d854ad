//! The receiving half: finds the session, opens in place, refuses replays, and checks the packet's source address.

use core::ops::Range;
use std::net::SocketAddr;

use crate::{Notice, PeerId, Time};

/// Owned by the thread that reads UDP. Made by [`crate::Device::new`].
pub struct Inbound(());

/// A letter from control, for [`Inbound::apply`]. Opaque: it carries keys.
pub struct InboundUpdate(());

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
        let _ = (from, datagram, now, notices);
        Err(Dropped::UnknownSession)
    }

    /// Carries out what control decided.
    pub fn apply(&mut self, update: InboundUpdate) {
        let _ = update;
    }
}

/// Whether a datagram is a transport message, and so [`Inbound::open`]'s.
pub fn is_transport(datagram: &[u8]) -> bool {
    datagram.starts_with(&[4, 0, 0, 0])
}
