//! To the TUN device: packets of one flow become one super-packet.

use std::io::IoSlice;

use self::flow::{Connection, Flow};
use crate::Offload;
use crate::checksum::Sum;
use crate::frame::{HEADER_LEN, Header, MAX_PACKET, PartialChecksum, SegmentKind, Segmentation};
use crate::packet::{
    IPV4_CHECKSUM, IPV4_FRAGMENT, IPV4_HEADER, IPV4_ID, IPV4_LENGTH, IPV4_SOURCE, IPV6_HEADER,
    IPV6_LENGTH, IPV6_NEXT_HEADER, IPV6_SOURCE, TCP, TCP_ACKNOWLEDGMENT, TCP_CHECKSUM, TCP_FLAGS,
    TCP_SEQUENCE, TCP_WINDOW, UDP, UDP_CHECKSUM, UDP_LENGTH, be16, be32, put, tcp_flags,
};

mod flow;

/// Super-packets under way at most.
const OPEN: usize = 16;

/// Packets in a super-packet at most, as many as receive offload joins.
const MAX_COUNT: usize = 64;

/// The longest headers that a packet which is joined can have: IPv6, and TCP with all options.
const MAX_HEADERS: usize = IPV6_HEADER + 60;

/// Gathers packets into frames for a device. Packets of one connection keep their order.
///
/// Nothing is copied but headers: a frame is a list of slices of the buffers in which the packets came.
pub(crate) struct Coalescer<'p> {
    offload: Offload,
    /// At most one of each connection. A packet of it that cannot join completes it.
    open: [Option<Open<'p>>; OPEN],
    /// Which of them makes room when all places are taken; they take turns.
    turn: usize,
}

/// A super-packet under way.
struct Open<'p> {
    connection: Connection<'p>,
    flow: Flow,
    first: &'p [u8],
    /// Room for the frame's headers, then each packet's payload.
    slices: [IoSlice<'p>; 1 + MAX_COUNT],
    count: usize,
    /// Bytes of it so far, headers included.
    length: usize,
    /// One of its packets had PSH.
    pushes: bool,
    /// A short packet ended it.
    is_short: bool,
}

impl<'p> Coalescer<'p> {
    pub(crate) fn new(offload: Offload) -> Self {
        Self {
            offload,
            open: [const { None }; OPEN],
            turn: 0,
        }
    }

    /// Takes one packet. `write` gets the frames that are complete.
    pub(crate) fn push(&mut self, packet: &'p [u8], mut write: impl FnMut(&[IoSlice<'_>])) {
        if self.offload == Offload::None {
            return write(&[IoSlice::new(packet)]);
        }
        let Some(connection) = Connection::of(packet) else {
            self.flush(&mut write);
            return write_plain(packet, write);
        };
        let flow = Flow::of(packet, &connection, self.offload);
        let slot = self.slot(connection);
        let has_joined = match (&mut *slot, &flow) {
            (Some(open), Some(flow)) => open.connection == connection && open.append(flow, packet),
            _ => false,
        };
        if !has_joined {
            if let Some(open) = slot.take() {
                open.write(&mut write);
            }
            let Some(flow) = flow else {
                return write_plain(packet, write);
            };
            *slot = Some(Open::new(connection, flow, packet));
        }
        if let Some(open) = slot.take_if(|open| open.is_complete()) {
            open.write(write);
        }
    }

    /// Gives the open super-packets away.
    pub(crate) fn flush(&mut self, mut write: impl FnMut(&[IoSlice<'_>])) {
        for slot in &mut self.open {
            if let Some(open) = slot.take() {
                open.write(&mut write);
            }
        }
    }

    /// Where the connection's super-packet is. If it has none: a free place, or another's.
    fn slot(&mut self, connection: Connection<'p>) -> &mut Option<Open<'p>> {
        let of = |slot: &Option<Open<'p>>| slot.as_ref().map(|open| open.connection);
        let mut slots = self.open.iter();
        let own = slots.position(|slot| of(slot) == Some(connection));
        let at = own.or_else(|| self.open.iter().position(Option::is_none));
        let at = at.unwrap_or_else(|| {
            self.turn = (self.turn + 1) % OPEN;
            self.turn
        });
        &mut self.open[at]
    }
}

/// A packet that stands alone.
fn write_plain(packet: &[u8], mut write: impl FnMut(&[IoSlice<'_>])) {
    let header = Header::PLAIN.encode(0);
    write(&[IoSlice::new(&header), IoSlice::new(packet)]);
}

impl<'p> Open<'p> {
    fn new(connection: Connection<'p>, flow: Flow, first: &'p [u8]) -> Self {
        let mut slices = [IoSlice::new(&[]); 1 + MAX_COUNT];
        slices[1] = IoSlice::new(&first[flow.payload..]);
        Self {
            connection,
            pushes: flow.pushes(first),
            flow,
            first,
            slices,
            count: 1,
            length: first.len(),
            is_short: false,
        }
    }

    /// Whether the packet could join, and now has.
    fn append(&mut self, next: &Flow, packet: &'p [u8]) -> bool {
        if !self.accepts(next, packet) {
            return false;
        }
        self.count += 1;
        self.slices[self.count] = IoSlice::new(&packet[next.payload..]);
        self.length += next.size;
        self.pushes = next.pushes(packet);
        self.is_short = next.size < self.flow.size;
        true
    }

    /// Whether nothing may follow.
    fn is_complete(&self) -> bool {
        self.pushes || self.is_short || self.count == MAX_COUNT
    }

    fn accepts(&self, next: &Flow, packet: &[u8]) -> bool {
        self.flow.kind == next.kind
            && self.flow.payload == next.payload
            && next.size <= self.flow.size
            && self.length + next.size <= MAX_PACKET
            && self.same_network_header(self.first, packet)
            && self.same_transport_header(self.first, packet)
    }

    /// All that the kernel would lose by keeping the first header only must be the same in both.
    fn same_network_header(&self, head: &[u8], packet: &[u8]) -> bool {
        if head[0] >> 4 == 6 {
            return head[..IPV6_LENGTH] == packet[..IPV6_LENGTH]
                && head[IPV6_NEXT_HEADER..IPV6_HEADER] == packet[IPV6_NEXT_HEADER..IPV6_HEADER];
        }
        // An identification means something only to fragments (RFC 6864, 4.1).
        let whole_for_ever = head[IPV4_FRAGMENT] & IPV4_DONT_FRAGMENT != 0;
        let expected = be16(head, IPV4_ID).wrapping_add(self.count as u16);
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

    fn write(self, mut write: impl FnMut(&[IoSlice<'_>])) {
        if self.count == 1 {
            return write_plain(self.first, write);
        }
        let mut headers = [0; HEADER_LEN + MAX_HEADERS];
        let headers = &mut headers[..HEADER_LEN + self.flow.payload];
        self.write_headers(headers);
        let mut slices = self.slices;
        slices[0] = IoSlice::new(headers);
        write(&slices[..=self.count]);
    }

    /// Makes headers that are true for the whole, and tells how the kernel may cut it again.
    fn write_headers(&self, frame: &mut [u8]) {
        let (room, packet) = frame.split_at_mut(HEADER_LEN);
        packet.copy_from_slice(&self.first[..self.flow.payload]);
        let transport = self.flow.transport;
        let length = (self.length - transport) as u16;
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
        if self.pushes {
            packet[transport + TCP_FLAGS] |= tcp_flags::PSH;
        }
        if transport == IPV4_HEADER {
            put(packet, IPV4_LENGTH, (self.length as u16).to_be_bytes());
            put(packet, IPV4_CHECKSUM, [0, 0]);
            let sum = Sum::default().add(&packet[..IPV4_HEADER]);
            put(packet, IPV4_CHECKSUM, sum.checksum());
        } else {
            put(packet, IPV6_LENGTH, length.to_be_bytes());
        }
        // Every packet was checked on its way in, so the kernel need not sum again: the pseudo-header is enough.
        let pseudo =
            Sum::default().add_pseudo_header(&packet[addresses], protocol, self.length - transport);
        put(packet, transport + field, pseudo.fold());
        let header = Header {
            checksum: Some(PartialChecksum {
                start: transport as u16,
                offset: field as u16,
            }),
            segments: Some(Segmentation {
                kind: self.flow.kind,
                size: self.flow.size as u16,
            }),
        };
        room.copy_from_slice(&header.encode(self.flow.payload as u16));
    }
}

/// The flag in the first byte of IPv4's fragment field.
const IPV4_DONT_FRAGMENT: u8 = 0x40;

#[cfg(test)]
mod tests;
