//! A run of sealed datagrams, end to end, that leave in one system call.

use std::net::SocketAddr;

use sluss_wg::{HEADER, TAIL};

use crate::frame::MAX_PACKET;

/// The most that one send takes: the payload of the largest UDP datagram over IPv4, which bounds a GSO send too.
const MAX_BYTES: usize = 65_507;

/// The most datagrams that Linux takes in one send (UDP_MAX_SEGMENTS).
const MAX_SEGMENTS: usize = 64;

/// Datagrams to one address, all `stride` long, the last perhaps shorter, as UDP segmentation wants them.
///
/// A datagram is sealed behind the run first, and then either belongs to it or starts the next: so nobody needs to know
/// beforehand how long it will be.
pub(crate) struct Run {
    bytes: Box<[u8]>,
    to: SocketAddr,
    stride: usize,
    length: usize,
    count: usize,
    /// A shorter datagram ended it.
    closed: bool,
}

impl Run {
    pub(crate) fn new() -> Run {
        Run {
            bytes: vec![0; MAX_BYTES + HEADER + MAX_PACKET + TAIL].into_boxed_slice(),
            to: SocketAddr::from(([0; 4], 0)),
            stride: 0,
            length: 0,
            count: 0,
            closed: false,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Room behind the run, enough to seal any packet in.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        &mut self.bytes[self.length..]
    }

    /// Whether a datagram of `length` to this address may join.
    pub(crate) fn accepts(&self, to: SocketAddr, length: usize) -> bool {
        self.count == 0
            || (!self.closed
                && to == self.to
                && length <= self.stride
                && self.count < MAX_SEGMENTS
                && self.length + length <= MAX_BYTES)
    }

    /// Adds the datagram of `length` that lies in the room. The run must accept it.
    pub(crate) fn add(&mut self, to: SocketAddr, length: usize) {
        if self.count == 0 {
            self.to = to;
            self.stride = length;
        }
        self.closed = length < self.stride;
        self.length += length;
        self.count += 1;
    }

    /// The run as [`crate::Udp::send`] takes it: where to, the bytes, the stride.
    pub(crate) fn parts(&self) -> (SocketAddr, &[u8], usize) {
        (self.to, &self.bytes[..self.length], self.stride)
    }

    /// Forgets the run; a datagram of `kept` bytes that lies behind it moves to the front of the room.
    pub(crate) fn restart(&mut self, kept: usize) {
        self.bytes.copy_within(self.length..self.length + kept, 0);
        self.length = 0;
        self.count = 0;
        self.closed = false;
    }
}
