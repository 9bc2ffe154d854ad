//! What the coalescer must know of a packet: which connection it belongs to, and whether it may join others of it.

use crate::Offload;
use crate::checksum::Sum;
use crate::frame::SegmentKind;
use crate::packet::{
    IPV4_FRAGMENT, IPV4_HEADER, IPV4_LENGTH, IPV4_PROTOCOL, IPV4_SOURCE, IPV6_HEADER, IPV6_LENGTH,
    IPV6_NEXT_HEADER, IPV6_SOURCE, TCP, TCP_FLAGS, TCP_HEADER, UDP, UDP_CHECKSUM, UDP_HEADER,
    UDP_LENGTH, be16, tcp_flags, tcp_header,
};

/// Who speaks to whom. Packets of one connection keep their order.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Connection<'p> {
    /// TCP or UDP.
    protocol: u8,
    /// Source and destination.
    addresses: &'p [u8],
    ports: [u8; 4],
    /// Where the transport header starts.
    transport: usize,
}

impl<'p> Connection<'p> {
    /// `None` for what has no ports, or has them where only a closer look would find them: IPv4 with options or in
    /// fragments, and IPv6 with extension headers, are rare.
    pub(super) fn of(packet: &'p [u8]) -> Option<Self> {
        let (transport, protocol, addresses) = match packet.first()? >> 4 {
            4 if packet.len() >= IPV4_HEADER
                && packet[0] == 0x45
                && usize::from(be16(packet, IPV4_LENGTH)) == packet.len()
                && be16(packet, IPV4_FRAGMENT) & 0x3fff == 0 =>
            {
                (IPV4_HEADER, packet[IPV4_PROTOCOL], IPV4_SOURCE)
            }
            6 if packet.len() >= IPV6_HEADER
                && usize::from(be16(packet, IPV6_LENGTH)) + IPV6_HEADER == packet.len() =>
            {
                (IPV6_HEADER, packet[IPV6_NEXT_HEADER], IPV6_SOURCE)
            }
            _ => return None,
        };
        let ports = *packet[transport..].first_chunk()?;
        [TCP, UDP].contains(&protocol).then_some(Self {
            protocol,
            addresses: &packet[addresses..transport],
            ports,
            transport,
        })
    }
}

/// How a packet that may join others is made: whole, with correct checksums and nothing unusual.
pub(super) struct Flow {
    pub(super) kind: SegmentKind,
    /// Where the transport header starts.
    pub(super) transport: usize,
    /// Where the payload starts.
    pub(super) payload: usize,
    /// Bytes of payload.
    pub(super) size: usize,
}

impl Flow {
    pub(super) fn of(packet: &[u8], connection: &Connection<'_>, offload: Offload) -> Option<Self> {
        let &Connection {
            protocol,
            addresses,
            transport,
            ..
        } = connection;
        let (network, segment) = packet.split_at(transport);
        if transport == IPV4_HEADER && !Sum::default().add(network).is_valid() {
            return None;
        }
        let (kind, header) = match protocol {
            TCP if segment.len() > TCP_HEADER
                && segment[TCP_FLAGS] & !tcp_flags::PSH == tcp_flags::ACK =>
            {
                let kind = if transport == IPV4_HEADER {
                    SegmentKind::TcpIpv4
                } else {
                    SegmentKind::TcpIpv6
                };
                (kind, tcp_header(segment).ok()?)
            }
            UDP if offload == Offload::TcpAndUdp
                && segment.len() > UDP_HEADER
                && usize::from(be16(segment, UDP_LENGTH)) == segment.len()
                && be16(segment, UDP_CHECKSUM) != 0 =>
            {
                (SegmentKind::Udp, UDP_HEADER)
            }
            _ => return None,
        };
        let sum = Sum::default()
            .add_pseudo_header(addresses, protocol, segment.len())
            .add(segment);
        (segment.len() > header && sum.is_valid()).then(|| Self {
            kind,
            transport,
            payload: transport + header,
            size: segment.len() - header,
        })
    }

    /// TCP's PSH: give the receiver what there is.
    pub(super) fn pushes(&self, packet: &[u8]) -> bool {
        match self.kind {
            SegmentKind::TcpIpv4 | SegmentKind::TcpIpv6 => {
                packet[self.transport + TCP_FLAGS] & tcp_flags::PSH != 0
            }
            SegmentKind::Udp => false,
        }
    }
}
