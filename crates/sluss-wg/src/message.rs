//! The four messages on the wire (whitepaper 5.4), parsed and written by offset.

use core::ops::Deref;

/// A handshake message or cookie reply, ready to send: at most 148 bytes, held inline.
#[derive(Clone, Debug)]
pub struct Datagram {
    bytes: [u8; 148],
    len: u8,
}

impl Deref for Datagram {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len.into()]
    }
}
