//! A run of packets to one peer, laid out where they are sealed, whose datagrams leave in one system call.

use sluss_wg::{HEADER, PeerId, TAIL};

use crate::frame::MAX_PACKET;

/// The most that one send takes: the payload of the largest UDP datagram over IPv4, which bounds a GSO send too.
const MAX_BYTES: usize = 65_507;

/// The most datagrams that Linux takes in one send (UDP_MAX_SEGMENTS).
const MAX_SEGMENTS: usize = 64;

/// Packets that will be datagrams to one peer, all `stride` long, the last perhaps shorter, as UDP segmentation wants them.
pub(crate) struct Run {
    bytes: Box<[u8]>,
    peer: Option<PeerId>,
    packets: Vec<usize>,
    stride: usize,
    length: usize,
    /// A shorter datagram ended it.
    closed: bool,
}

impl Run {
    pub(crate) fn new() -> Run {
        Run {
            // One packet may be all of it, and more than a datagram can carry: then the network says so.
            bytes: vec![0; MAX_BYTES.max(HEADER + MAX_PACKET + TAIL)].into_boxed_slice(),
            peer: None,
            packets: Vec::with_capacity(MAX_SEGMENTS),
            stride: 0,
            length: 0,
            closed: false,
        }
    }

    /// Whether a packet whose datagram has `length` bytes may join.
    pub(crate) fn accepts(&self, peer: PeerId, length: usize) -> bool {
        self.packets.is_empty()
            || (!self.closed
                && self.peer == Some(peer)
                && length <= self.stride
                && self.packets.len() < MAX_SEGMENTS
                && self.length + length <= MAX_BYTES)
    }

    /// Adds a packet of `packet` bytes whose datagram has `length` bytes, and returns the room for it, to be filled. The run
    /// must accept it.
    pub(crate) fn add(&mut self, peer: PeerId, packet: usize, length: usize) -> &mut [u8] {
        if self.packets.is_empty() {
            self.peer = Some(peer);
            self.stride = length;
        }
        let start = self.length + HEADER;
        self.closed = length < self.stride;
        self.length += length;
        self.packets.push(packet);
        &mut self.bytes[start..start + packet]
    }

    /// Whose packets they are; `None` if there are none.
    pub(crate) fn peer(&self) -> Option<PeerId> {
        self.peer
    }

    /// As [`sluss_wg::Lane::seal`] takes it: bytes, and lengths of the packets.
    pub(crate) fn parts(&mut self) -> (&mut [u8], &[usize]) {
        (&mut self.bytes[..self.length], &self.packets)
    }

    /// Length of each datagram but the last.
    pub(crate) fn stride(&self) -> usize {
        self.stride
    }

    pub(crate) fn clear(&mut self) {
        self.peer = None;
        self.packets.clear();
        self.length = 0;
        self.closed = false;
    }
}

#[cfg(test)]
mod tests;
