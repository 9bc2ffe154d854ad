//! The sending half: routes a packet to a peer, seals it in place, and keeps it while there is no session.

use core::marker::PhantomData;
use std::net::{IpAddr, SocketAddr};

use crate::{Notice, PeerId, Time};

/// Owned by the thread that reads TUN. Made by [`crate::Device::new`].
pub struct Outbound(());

/// A letter from control, for [`Outbound::apply`]. Opaque: it carries keys.
pub struct OutboundUpdate(());

/// A datagram that lies ready in the front of the caller's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    pub peer: PeerId,
    pub to: SocketAddr,
    /// Length of the datagram, which starts at offset 0 of the buffer.
    pub len: usize,
}

/// Why a packet was not sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSealed {
    #[error("not an IP packet")]
    NotIp,
    #[error("no peer owns the destination address")]
    NoRoute,
    #[error("kept until there is a session with the peer")]
    Staged(PeerId),
    #[error("the buffer has too little room behind the packet")]
    NoRoom,
}

/// One peer's way out for the length of a batch: its session, with room for more counters, and its endpoint.
pub struct Lane<'a>(PhantomData<&'a mut Outbound>);

impl Outbound {
    /// The peer that owns the destination address.
    pub fn route(&self, destination: IpAddr) -> Option<PeerId> {
        let _ = destination;
        None
    }

    /// The way to `peer`, if there is a session that may send. Decides everything that is the same for a whole batch:
    /// age of the session, rekey notice, timers. Whoever asks for a lane is about to send data.
    ///
    /// `None` if packets must wait: hand them to [`Outbound::stage`].
    pub fn lane(&mut self, peer: PeerId, now: Time, notices: &mut Vec<Notice>) -> Option<Lane<'_>> {
        let _ = (peer, now, notices);
        None
    }

    /// Keeps a copy of an IP packet until there is a session; of more than 128 the oldest is dropped.
    pub fn stage(&mut self, peer: PeerId, packet: &[u8]) {
        let _ = (peer, packet);
    }

    /// Routes, seals or stages one packet: [`Outbound::route`], [`Outbound::lane`] and [`Lane::seal`] in one, for callers
    /// that have no batch. The IP packet is `buffer[HEADER..HEADER + len]`, with [`crate::TAIL`] bytes of room behind it.
    ///
    /// # Errors
    /// Says what became of the packet instead.
    pub fn seal(&mut self, buffer: &mut [u8], len: usize, now: Time, notices: &mut Vec<Notice>) -> Result<Sealed, NotSealed> {
        let _ = (buffer, len, now, notices);
        Err(NotSealed::NoRoute)
    }

    /// Carries out what control decided, and hands each datagram that this sets free (staged packets, keepalives) to `send`.
    pub fn apply(
        &mut self,
        update: OutboundUpdate,
        now: Time,
        notices: &mut Vec<Notice>,
        send: &mut impl FnMut(SocketAddr, &[u8]),
    ) {
        let _ = (update, now, notices, send);
    }

    /// The tunnel's MTU, beyond which padding never reaches.
    pub fn set_mtu(&mut self, mtu: u16) {
        let _ = mtu;
    }
}

impl Lane<'_> {
    /// Where this peer's datagrams go.
    pub fn to(&self) -> SocketAddr {
        SocketAddr::from(([0, 0, 0, 0], 0))
    }

    /// Seals the packet in `buffer[HEADER..HEADER + len]` in place; the datagram is then `buffer[..returned]`.
    /// Packets of the same length give datagrams of the same length, as UDP segmentation needs.
    ///
    /// # Errors
    /// [`NotSealed::NoRoom`] if padding and tag do not fit, [`NotSealed::Staged`] if the session ran out of counters
    /// (the packet was kept).
    pub fn seal(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, NotSealed> {
        let _ = (buffer, len);
        Err(NotSealed::NoRoom)
    }
}
