//! From the TUN device: a frame falls into the packets that go through the tunnel, with their checksums complete.

use crate::checksum::Sum;
use crate::frame::{Header, Malformed, PartialChecksum, SegmentKind, Segmentation};
use crate::packet::{
    IPV4_CHECKSUM, IPV4_HEADER, IPV4_ID, IPV4_LENGTH, IPV6_HEADER, IPV6_LENGTH, TCP_FLAGS,
    TCP_HEADER, TCP_SEQUENCE, UDP_HEADER, UDP_LENGTH, be16, be32, put, tcp_flags, tcp_header,
};

/// The packets of one frame, each written once, straight to where it will be sealed.
pub(crate) struct Segments<'f> {
    packet: &'f [u8],
    cut: Option<Cut>,
    /// Bytes of a super-packet's payload that are written already.
    written: usize,
    count: u16,
}

/// How to cut: offsets and lengths in bytes.
struct Cut {
    kind: SegmentKind,
    /// Where the transport header starts.
    transport: usize,
    /// Where the payload starts.
    payload: usize,
    /// The checksum field.
    checksum: usize,
    /// Payload of each packet but the last.
    size: usize,
}

impl<'f> Segments<'f> {
    /// Reads what the header says about the packet; completes the checksum of one that is not to be cut.
    pub(crate) fn new(header: Header, packet: &'f mut [u8]) -> Result<Segments<'f>, Malformed> {
        let cut = match (header.segments, header.checksum) {
            (None, None) => None,
            (None, Some(partial)) => {
                complete_checksum(packet, partial)?;
                None
            }
            (Some(segments), Some(partial)) => Some(Cut::new(packet, segments, partial)?),
            (Some(_), None) => return Err(Malformed),
        };
        Ok(Segments {
            packet,
            cut,
            written: 0,
            count: 0,
        })
    }

    /// Length of the next packet in bytes; `None` after the last.
    pub(crate) fn next_len(&self) -> Option<usize> {
        match &self.cut {
            None => (self.count == 0).then_some(self.packet.len()),
            Some(cut) => {
                let left = self.packet.len() - cut.payload - self.written;
                // A super-packet without payload is one packet still.
                (left > 0 || self.count == 0).then_some(cut.payload + left.min(cut.size))
            }
        }
    }

    /// Writes the next packet into `slot`, which has exactly the length that [`Segments::next_len`] told.
    pub(crate) fn write_next(&mut self, slot: &mut [u8]) {
        match &self.cut {
            None => slot.copy_from_slice(self.packet),
            Some(cut) => {
                let (headers, payload) = slot.split_at_mut(cut.payload);
                let from = cut.payload + self.written;
                let to = from + payload.len();
                headers.copy_from_slice(&self.packet[..cut.payload]);
                payload.copy_from_slice(&self.packet[from..to]);
                cut.adapt(slot, self.packet.len(), self.count, self.written);
                self.written = to - cut.payload;
            }
        }
        self.count += 1;
    }
}

impl Cut {
    fn new(packet: &[u8], cut: Segmentation, partial: PartialChecksum) -> Result<Cut, Malformed> {
        let version = packet.first().ok_or(Malformed)? >> 4;
        let transport = usize::from(partial.start);
        let (min_ip, min_transport) = match (cut.kind, version) {
            (SegmentKind::TcpIpv4, 4) => (IPV4_HEADER, TCP_HEADER),
            (SegmentKind::TcpIpv6, 6) => (IPV6_HEADER, TCP_HEADER),
            (SegmentKind::Udp, 4) => (IPV4_HEADER, UDP_HEADER),
            (SegmentKind::Udp, 6) => (IPV6_HEADER, UDP_HEADER),
            _ => return Err(Malformed),
        };
        if transport < min_ip || packet.len() < transport + min_transport || cut.size == 0 {
            return Err(Malformed);
        }
        let header = match cut.kind {
            SegmentKind::TcpIpv4 | SegmentKind::TcpIpv6 => tcp_header(&packet[transport..])?,
            SegmentKind::Udp => UDP_HEADER,
        };
        let payload = transport + header;
        let checksum = transport + usize::from(partial.offset);
        if packet.len() < payload || checksum + 2 > payload {
            return Err(Malformed);
        }
        Ok(Cut {
            kind: cut.kind,
            transport,
            payload,
            checksum,
            size: usize::from(cut.size),
        })
    }

    /// Makes a packet of a copy of the super-packet's headers: the `count`th, whose payload starts at byte `before`.
    fn adapt(&self, packet: &mut [u8], whole: usize, count: u16, before: usize) {
        let last = self.payload + before + (packet.len() - self.payload) == whole;
        let length = packet.len() as u16;
        if packet[0] >> 4 == 4 {
            let id = be16(packet, IPV4_ID).wrapping_add(count);
            put(packet, IPV4_ID, id.to_be_bytes());
            put(packet, IPV4_LENGTH, length.to_be_bytes());
            put(packet, IPV4_CHECKSUM, [0, 0]);
            let sum = Sum::default().add(&packet[..self.transport]);
            put(packet, IPV4_CHECKSUM, sum.checksum());
        } else {
            let length = length - IPV6_HEADER as u16;
            put(packet, IPV6_LENGTH, length.to_be_bytes());
        }
        let transport = self.transport;
        match self.kind {
            SegmentKind::TcpIpv4 | SegmentKind::TcpIpv6 => {
                let sequence = be32(packet, transport + TCP_SEQUENCE).wrapping_add(before as u32);
                put(packet, transport + TCP_SEQUENCE, sequence.to_be_bytes());
                let flags = &mut packet[transport + TCP_FLAGS];
                if !last {
                    *flags &= !(tcp_flags::FIN | tcp_flags::PSH);
                }
                if count > 0 {
                    // RFC 3168, 6.1.2: the sender tells once that it has reduced its window.
                    *flags &= !tcp_flags::CWR;
                }
            }
            SegmentKind::Udp => {
                let length = (packet.len() - transport) as u16;
                put(packet, transport + UDP_LENGTH, length.to_be_bytes());
            }
        }
        // The field holds the pseudo-header's sum for the whole: take its length out, put the packet's in.
        let whole = (whole - transport) as u16;
        let own = (packet.len() - transport) as u16;
        let pseudo = Sum::default()
            .add(&packet[self.checksum..self.checksum + 2])
            .add(&(!whole).to_be_bytes())
            .add(&own.to_be_bytes());
        put(packet, self.checksum, [0, 0]);
        let sum = pseudo.add(&packet[transport..]).transport_checksum();
        put(packet, self.checksum, sum);
    }
}

/// Adds the rest of the packet to a checksum field that holds the sum of the pseudo-header.
fn complete_checksum(packet: &mut [u8], partial: PartialChecksum) -> Result<(), Malformed> {
    let start = usize::from(partial.start);
    let field = start + usize::from(partial.offset);
    if field + 2 > packet.len() {
        return Err(Malformed);
    }
    let sum = Sum::default().add(&packet[start..]).transport_checksum();
    put(packet, field, sum);
    Ok(())
}

#[cfg(test)]
mod tests;
