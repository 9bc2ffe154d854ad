//! Where the fields of IP, TCP and UDP headers lie (RFC 791, 8200, 9293, 768). Offsets in bytes from their header.

use std::net::IpAddr;

use crate::frame::Malformed;

pub(crate) const IPV4_HEADER: usize = 20;
pub(crate) const IPV4_LENGTH: usize = 2;
pub(crate) const IPV4_ID: usize = 4;
pub(crate) const IPV4_FRAGMENT: usize = 6;
pub(crate) const IPV4_PROTOCOL: usize = 9;
pub(crate) const IPV4_CHECKSUM: usize = 10;
pub(crate) const IPV4_SOURCE: usize = 12;

pub(crate) const IPV6_HEADER: usize = 40;
pub(crate) const IPV6_LENGTH: usize = 4;
pub(crate) const IPV6_NEXT_HEADER: usize = 6;
pub(crate) const IPV6_SOURCE: usize = 8;

/// Without options.
pub(crate) const TCP_HEADER: usize = 20;
pub(crate) const TCP_SEQUENCE: usize = 4;
pub(crate) const TCP_ACKNOWLEDGMENT: usize = 8;
pub(crate) const TCP_OFFSET: usize = 12;
pub(crate) const TCP_FLAGS: usize = 13;
pub(crate) const TCP_WINDOW: usize = 14;
pub(crate) const TCP_CHECKSUM: usize = 16;

pub(crate) const UDP_HEADER: usize = 8;
pub(crate) const UDP_LENGTH: usize = 4;
pub(crate) const UDP_CHECKSUM: usize = 6;

pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;

/// The bits of TCP's flag byte that matter here.
pub(crate) mod tcp_flags {
    pub(crate) const FIN: u8 = 0x01;
    pub(crate) const PSH: u8 = 0x08;
    pub(crate) const ACK: u8 = 0x10;
    pub(crate) const CWR: u8 = 0x80;
}

pub(crate) fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

pub(crate) fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

pub(crate) fn put<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    bytes[at..at + N].copy_from_slice(&value);
}

/// Length of a TCP header with its options, from a segment that is at least [`TCP_HEADER`] long.
pub(crate) fn tcp_header(segment: &[u8]) -> Result<usize, Malformed> {
    let length = usize::from(segment[TCP_OFFSET] >> 4) * 4;
    if length < TCP_HEADER {
        return Err(Malformed);
    }
    Ok(length)
}

/// The destination address of an IP packet.
pub(crate) fn destination(packet: &[u8]) -> Option<IpAddr> {
    match packet.first()? >> 4 {
        4 => Some(IpAddr::from(*packet.get(16..20)?.as_array::<4>()?)),
        6 => Some(IpAddr::from(*packet.get(24..40)?.as_array::<16>()?)),
        _ => None,
    }
}

#[cfg(test)]
pub(crate) mod sample;
