//! To the TUN device: packets of one flow that follow each other become one super-packet.

use crate::Offload;
use crate::checksum::Sum;
use crate::frame::{
    HEADER_LEN, Header, MAX_FRAME, MAX_PACKET, PartialChecksum, SegmentKind, Segmentation,
};
use crate::packet::{
    IPV4_CHECKSUM, IPV4_FRAGMENT, IPV4_HEADER, IPV4_ID, IPV4_LENGTH, IPV4_PROTOCOL, IPV4_SOURCE,
    IPV6_HEADER, IPV6_LENGTH, IPV6_NEXT_HEADER, IPV6_SOURCE, TCP, TCP_ACKNOWLEDGMENT, TCP_CHECKSUM,
    TCP_FLAGS, TCP_HEADER, TCP_SEQUENCE, TCP_WINDOW, UDP, UDP_CHECKSUM, UDP_HEADER, UDP_LENGTH,
    be16, be32, put, tcp_flags, tcp_header,
};

/// Gathers packets into frames for a device, in the order in which they came.
///
/// One super-packet is open at a time. A packet that cannot join it closes it.
pub(crate) struct Coalescer {
    offload: Offload,
    /// Room for the header, then the open super-packet.
    frame: Box<[u8]>,
    open: Option<Open>,
}

/// The super-packet under way.
struct Open {
    flow: Flow,
    /// Bytes of it so far, headers included.
    length: usize,
    count: u16,
    /// A short packet or PSH ended it: nothing may follow.
    closed: bool,
}

/// What a packet must be to join others: TCP or UDP, whole, with a correct checksum and nothing unusual.
struct Flow {
    kind: SegmentKind,
    /// Where the transport header starts.
    transport: usize,
    /// Where the payload starts.
    payload: usize,
    /// Bytes of payload.
    size: usize,
}

impl Coalescer {
    pub(crate) fn new(offload: Offload) -> Coalescer {
        Coalescer {
            offload,
            frame: vec![0; MAX_FRAME].into_boxed_slice(),
            open: None,
        }
    }

    /// Takes one packet, preceded by [`HEADER_LEN`] bytes of room. `write` gets the frames that are complete.
    pub(crate) fn push(&mut self, room_and_packet: &mut [u8], mut write: impl FnMut(&[u8])) {
        let Some((room, packet)) = room_and_packet.split_first_chunk_mut::<HEADER_LEN>() else {
            return;
        };
        if self.offload == Offload::None {
            return write(packet);
        }
        let Some(flow) = Flow::of(packet, self.offload) else {
            self.flush(&mut write);
            *room = Header::PLAIN.encode(0);
            return write(room_and_packet);
        };
        if !self.append(&flow, packet) {
            self.flush(&mut write);
            self.frame[HEADER_LEN..HEADER_LEN + packet.len()].copy_from_slice(packet);
            self.open = Some(Open {
                closed: flow.pushes(packet),
                flow,
                length: packet.len(),
                count: 1,
            });
        }
    }

    /// Gives the open super-packet away.
    pub(crate) fn flush(&mut self, mut write: impl FnMut(&[u8])) {
        let Some(open) = self.open.take() else {
            return;
        };
        let frame = &mut self.frame[..HEADER_LEN + open.length];
        let (room, packet) = frame.split_at_mut(HEADER_LEN);
        room.copy_from_slice(&open.seal(packet));
        write(frame);
    }

    /// Whether the packet could join the open super-packet, and now has.
    fn append(&mut self, flow: &Flow, packet: &[u8]) -> bool {
        let Some(open) = &mut self.open else {
            return false;
        };
        let end = HEADER_LEN + open.length;
        if !open.accepts(&self.frame[HEADER_LEN..end], flow, packet) {
            return false;
        }
        self.frame[end..end + flow.size].copy_from_slice(&packet[flow.payload..]);
        open.length += flow.size;
        open.count += 1;
        open.closed = flow.size < open.flow.size;
        if flow.pushes(packet) {
            open.closed = true;
            self.frame[HEADER_LEN + flow.transport + TCP_FLAGS] |= tcp_flags::PSH;
        }
        true
    }
}

impl Open {
    fn accepts(&self, head: &[u8], next: &Flow, packet: &[u8]) -> bool {
        !self.closed
            && self.flow.kind == next.kind
            && self.flow.payload == next.payload
            && next.size <= self.flow.size
            && self.length + next.size <= MAX_PACKET
            && self.same_network_header(head, packet)
            && self.same_transport_header(head, packet)
    }

    /// All that the kernel would lose by keeping the first header only must be the same in both.
    fn same_network_header(&self, head: &[u8], packet: &[u8]) -> bool {
        if head[0] >> 4 == 6 {
            return head[..IPV6_LENGTH] == packet[..IPV6_LENGTH]
                && head[IPV6_NEXT_HEADER..IPV6_HEADER] == packet[IPV6_NEXT_HEADER..IPV6_HEADER];
        }
        // An identification means something only to fragments (RFC 6864, 4.1).
        let whole_for_ever = head[IPV4_FRAGMENT] & IPV4_DONT_FRAGMENT != 0;
        let expected = be16(head, IPV4_ID).wrapping_add(self.count);
        head[..IPV4_LENGTH] == packet[..IPV4_LENGTH]
            && (whole_for_ever || be16(packet, IPV4_ID) == expected)
            && head[IPV4_FRAGMENT..IPV4_CHECKSUM] == packet[IPV4_FRAGMENT..IPV4_CHECKSUM]
            && head[IPV4_SOURCE..IPV4_HEADER] == packet[IPV4_SOURCE..IPV4_HEADER]
    }

    fn same_transport_header(&self, head: &[u8], packet: &[u8]) -> bool {
        let (head, packet) = (&head[self.flow.transport..], &packet[self.flow.transport..]);
        let same_ports = head[..4] == packet[..4];
        match self.flow.kind {
            SegmentKind::Udp => same_ports,
            SegmentKind::TcpIpv4 | SegmentKind::TcpIpv6 => {
                let header = self.flow.payload - self.flow.transport;
                let so_far = self.length - self.flow.payload;
                let expected = be32(head, TCP_SEQUENCE).wrapping_add(so_far as u32);
                same_ports
                    && be32(packet, TCP_SEQUENCE) == expected
                    && head[TCP_ACKNOWLEDGMENT..TCP_FLAGS] == packet[TCP_ACKNOWLEDGMENT..TCP_FLAGS]
                    && head[TCP_WINDOW..TCP_CHECKSUM] == packet[TCP_WINDOW..TCP_CHECKSUM]
                    && head[TCP_CHECKSUM + 2..header] == packet[TCP_CHECKSUM + 2..header]
            }
        }
    }

    /// Makes the headers true for the whole, and tells how the kernel may cut it again.
    fn seal(&self, packet: &mut [u8]) -> [u8; HEADER_LEN] {
        if self.count == 1 {
            return Header::PLAIN.encode(0);
        }
        let transport = self.flow.transport;
        let length = (packet.len() - transport) as u16;
        let (protocol, field, addresses) = match self.flow.kind {
            SegmentKind::TcpIpv4 => (TCP, TCP_CHECKSUM, IPV4_SOURCE..IPV4_HEADER),
            SegmentKind::TcpIpv6 => (TCP, TCP_CHECKSUM, IPV6_SOURCE..IPV6_HEADER),
            SegmentKind::Udp => {
                put(packet, transport + UDP_LENGTH, length.to_be_bytes());
                let addresses = if transport == IPV4_HEADER {
                    IPV4_SOURCE..IPV4_HEADER
                } else {
                    IPV6_SOURCE..IPV6_HEADER
                };
                (UDP, UDP_CHECKSUM, addresses)
            }
        };
        if transport == IPV4_HEADER {
            put(packet, IPV4_LENGTH, (packet.len() as u16).to_be_bytes());
            put(packet, IPV4_CHECKSUM, [0, 0]);
            let sum = Sum::default().add(&packet[..IPV4_HEADER]);
            put(packet, IPV4_CHECKSUM, sum.checksum());
        } else {
            put(packet, IPV6_LENGTH, length.to_be_bytes());
        }
        // Every packet was checked on its way in, so the kernel need not sum again: the pseudo-header is enough.
        let pseudo = Sum::default().add_pseudo_header(
            &packet[addresses],
            protocol,
            packet.len() - transport,
        );
        put(packet, transport + field, pseudo.fold());
        Header {
            checksum: Some(PartialChecksum {
                start: transport as u16,
                offset: field as u16,
            }),
            segments: Some(Segmentation {
                kind: self.flow.kind,
                size: self.flow.size as u16,
            }),
        }
        .encode(self.flow.payload as u16)
    }
}

/// The flag in the first byte of IPv4's fragment field.
const IPV4_DONT_FRAGMENT: u8 = 0x40;

impl Flow {
    fn of(packet: &[u8], offload: Offload) -> Option<Flow> {
        let (transport, protocol, addresses) = match packet.first()? >> 4 {
            // IPv4 with options or in fragments, and IPv6 with extension headers, are rare: they go alone.
            4 if packet.len() >= IPV4_HEADER
                && packet[0] == 0x45
                && usize::from(be16(packet, IPV4_LENGTH)) == packet.len()
                && be16(packet, IPV4_FRAGMENT) & 0x3fff == 0
                && Sum::default().add(&packet[..IPV4_HEADER]).is_valid() =>
            {
                (
                    IPV4_HEADER,
                    packet[IPV4_PROTOCOL],
                    &packet[IPV4_SOURCE..IPV4_HEADER],
                )
            }
            6 if packet.len() >= IPV6_HEADER
                && usize::from(be16(packet, IPV6_LENGTH)) + IPV6_HEADER == packet.len() =>
            {
                (
                    IPV6_HEADER,
                    packet[IPV6_NEXT_HEADER],
                    &packet[IPV6_SOURCE..IPV6_HEADER],
                )
            }
            _ => return None,
        };
        let segment = &packet[transport..];
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
        (segment.len() > header && sum.is_valid()).then(|| Flow {
            kind,
            transport,
            payload: transport + header,
            size: segment.len() - header,
        })
    }

    /// TCP's PSH: give the receiver what there is.
    fn pushes(&self, packet: &[u8]) -> bool {
        match self.kind {
            SegmentKind::TcpIpv4 | SegmentKind::TcpIpv6 => {
                packet[self.transport + TCP_FLAGS] & tcp_flags::PSH != 0
            }
            SegmentKind::Udp => false,
        }
    }
}

#[cfg(test)]
mod tests;
