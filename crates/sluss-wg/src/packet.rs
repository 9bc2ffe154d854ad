//! The three things that the tunnel reads in an IP packet: source, destination, length.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where an IP packet goes.
pub(crate) fn destination(packet: &[u8]) -> Option<IpAddr> {
    match packet.first()? >> 4 {
        4 => v4(packet, 16),
        6 => v6(packet, 24),
        _ => None,
    }
}

/// Where an IP packet comes from, and its length, which is at most what there is: behind it lies padding.
pub(crate) fn source_and_len(packet: &[u8]) -> Option<(IpAddr, usize)> {
    let word = |at: usize| {
        Some(usize::from(u16::from_be_bytes(
            *packet.get(at..)?.first_chunk()?,
        )))
    };
    let (source, len) = match packet.first()? >> 4 {
        4 => (v4(packet, 12)?, word(2)?),
        6 => (v6(packet, 8)?, word(4)? + V6_HEADER),
        _ => return None,
    };
    let shortest = if source.is_ipv4() {
        V4_HEADER
    } else {
        V6_HEADER
    };
    (shortest..=packet.len())
        .contains(&len)
        .then_some((source, len))
}

const V4_HEADER: usize = 20;
const V6_HEADER: usize = 40;

fn v4(packet: &[u8], at: usize) -> Option<IpAddr> {
    let header: &[u8; V4_HEADER] = packet.first_chunk()?;
    Some(Ipv4Addr::from(*header[at..].first_chunk::<4>()?).into())
}

fn v6(packet: &[u8], at: usize) -> Option<IpAddr> {
    let header: &[u8; V6_HEADER] = packet.first_chunk()?;
    Some(Ipv6Addr::from(*header[at..].first_chunk::<16>()?).into())
}
