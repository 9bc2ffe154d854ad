//! The handshake messages and the cookie reply on the wire (whitepaper 5.4.2, 5.4.3, 5.4.7).

use core::ops::Deref;

/// Length of mac1 and of mac2, which close both handshake messages (whitepaper 5.4.4).
pub(crate) const MAC: usize = 16;

const INITIATION: usize = 148;
const RESPONSE: usize = 92;
const COOKIE_REPLY: usize = 64;

/// A datagram that has the type and length of a message; nothing in it has been authenticated.
#[cfg_attr(test, derive(Debug))]
pub(crate) enum Message {
    Initiation(Initiation),
    Response(Response),
    CookieReply(CookieReply),
}

#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) struct Initiation {
    pub(crate) sender: u32,
    pub(crate) ephemeral: [u8; 32],
    pub(crate) encrypted_static: [u8; 48],
    pub(crate) encrypted_stamp: [u8; 28],
}

#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) struct Response {
    pub(crate) sender: u32,
    pub(crate) receiver: u32,
    pub(crate) ephemeral: [u8; 32],
    pub(crate) encrypted_nothing: [u8; 16],
}

#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) struct CookieReply {
    pub(crate) receiver: u32,
    pub(crate) nonce: [u8; 24],
    pub(crate) encrypted_cookie: [u8; 32],
}

impl Message {
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let kind = u32::from_le_bytes(reader.take()?);
        match (kind, bytes.len()) {
            (1, INITIATION) => Some(Self::Initiation(Initiation {
                sender: u32::from_le_bytes(reader.take()?),
                ephemeral: reader.take()?,
                encrypted_static: reader.take()?,
                encrypted_stamp: reader.take()?,
            })),
            (2, RESPONSE) => Some(Self::Response(Response {
                sender: u32::from_le_bytes(reader.take()?),
                receiver: u32::from_le_bytes(reader.take()?),
                ephemeral: reader.take()?,
                encrypted_nothing: reader.take()?,
            })),
            (3, COOKIE_REPLY) => Some(Self::CookieReply(CookieReply {
                receiver: u32::from_le_bytes(reader.take()?),
                nonce: reader.take()?,
                encrypted_cookie: reader.take()?,
            })),
            _ => None,
        }
    }
}

impl Initiation {
    /// The message with its macs still zero.
    pub(crate) fn datagram(&self) -> Datagram {
        Datagram::new(
            1,
            INITIATION,
            &[
                &self.sender.to_le_bytes(),
                &self.ephemeral,
                &self.encrypted_static,
                &self.encrypted_stamp,
            ],
        )
    }
}

impl Response {
    /// The message with its macs still zero.
    pub(crate) fn datagram(&self) -> Datagram {
        let (sender, receiver) = (self.sender.to_le_bytes(), self.receiver.to_le_bytes());
        Datagram::new(
            2,
            RESPONSE,
            &[&sender, &receiver, &self.ephemeral, &self.encrypted_nothing],
        )
    }
}

impl CookieReply {
    pub(crate) fn datagram(&self) -> Datagram {
        Datagram::new(
            3,
            COOKIE_REPLY,
            &[
                &self.receiver.to_le_bytes(),
                &self.nonce,
                &self.encrypted_cookie,
            ],
        )
    }
}

/// A handshake message or cookie reply, ready to send: at most 148 bytes, held inline.
#[derive(Clone, Debug)]
pub struct Datagram {
    bytes: [u8; INITIATION],
    len: usize,
}

impl Datagram {
    fn new(kind: u32, len: usize, fields: &[&[u8]]) -> Self {
        let mut bytes = [0; INITIATION];
        bytes[..4].copy_from_slice(&kind.to_le_bytes());
        let mut at = 4;
        for field in fields {
            bytes[at..at + field.len()].copy_from_slice(field);
            at += field.len();
        }
        Self { bytes, len }
    }

    /// What mac1 covers, mac1 and mac2 of a handshake message.
    pub(crate) fn macs_mut(&mut self) -> (&[u8], &mut [u8], &mut [u8]) {
        let (rest, mac2) = self.bytes[..self.len].split_at_mut(self.len - MAC);
        let (covered, mac1) = rest.split_at_mut(rest.len() - MAC);
        (covered, mac1, mac2)
    }
}

impl Deref for Datagram {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// What mac1 covers, what mac2 covers, and the two macs of a received handshake message.
pub(crate) struct Macs<'a> {
    pub(crate) under_mac1: &'a [u8],
    pub(crate) under_mac2: &'a [u8],
    pub(crate) mac1: &'a [u8; MAC],
    pub(crate) mac2: &'a [u8; MAC],
}

impl<'a> Macs<'a> {
    pub(crate) fn of(bytes: &'a [u8]) -> Option<Self> {
        let (under_mac2, mac2) = bytes.split_last_chunk()?;
        let (under_mac1, mac1) = under_mac2.split_last_chunk()?;
        Some(Self {
            under_mac1,
            under_mac2,
            mac1,
            mac2,
        })
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whitepaper 5.4.2, 5.4.3 and 5.4.7 give the lengths; any other length or type is no message.
    #[test]
    fn only_the_right_type_with_the_right_length_parses() {
        for kind in 0..=255u8 {
            for len in 0..200usize {
                let mut bytes = vec![0; len];
                if let Some(first) = bytes.first_mut() {
                    *first = kind;
                }
                let valid = matches!((kind, len), (1, 148) | (2, 92) | (3, 64));
                assert_eq!(
                    Message::parse(&bytes).is_some(),
                    valid,
                    "type {kind}, {len} bytes"
                );
            }
        }
        let mut reserved = vec![0; 148];
        reserved[..4].copy_from_slice(&[1, 0, 0, 1]);
        assert!(
            Message::parse(&reserved).is_none(),
            "the three reserved bytes are zero"
        );
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let response = Response {
            sender: 0x0403_0201,
            receiver: 0x0807_0605,
            ephemeral: [9; 32],
            encrypted_nothing: [10; 16],
        };
        let datagram = response.datagram();
        assert_eq!(
            &datagram[..12],
            &[2, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8],
            "little-endian"
        );
        let Some(Message::Response(read)) = Message::parse(&datagram) else {
            panic!("a response")
        };
        assert_eq!(read, response);
    }
}
