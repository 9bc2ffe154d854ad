//! A frame of the TUN device: a packet, and on Linux a virtio header before it that tells what is left to do.

/// Length of the header before each packet when the device offloads.
pub(crate) const HEADER_LEN: usize = 10;

/// The largest frame: a header and the largest IP packet.
pub(crate) const MAX_FRAME: usize = HEADER_LEN + MAX_PACKET;

/// The largest packet that IPv4's total length can tell.
pub(crate) const MAX_PACKET: usize = 65_535;

const NEEDS_CHECKSUM: u8 = 1;
const GSO_NONE: u8 = 0;
const GSO_TCP_IPV4: u8 = 1;
const GSO_TCP_IPV6: u8 = 4;
const GSO_UDP: u8 = 5;

/// `struct virtio_net_hdr` (virtio 1.2, 5.1.6; here in the machine's byte order, as Linux's TUN has it).
///
/// `hdr_len` is left out: Linux fills it with the length of the linear part, which may reach into the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// The checksum is the sum of the pseudo-header only; the rest is ours (or the kernel's) to add.
    pub checksum: Option<PartialChecksum>,
    /// The packet is a super-packet: one header, and the payload of many.
    pub segments: Option<Segmentation>,
}

/// Where a checksum is to be completed. Offsets in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PartialChecksum {
    /// From the start of the packet to the start of the transport header.
    pub start: u16,
    /// From there to the field.
    pub offset: u16,
}

/// How a super-packet falls into packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segmentation {
    pub kind: SegmentKind,
    /// Payload bytes of each packet; the last may have fewer.
    pub size: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SegmentKind {
    TcpIpv4,
    TcpIpv6,
    /// UDP over either version of IP.
    Udp,
}

/// A frame that makes no sense: the kernel and we do not mean the same.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl Header {
    /// The packet is complete and stands alone.
    pub(crate) const PLAIN: Header = Header {
        checksum: None,
        segments: None,
    };

    /// Splits a frame into header and packet.
    pub(crate) fn parse(frame: &mut [u8]) -> Result<(Header, &mut [u8]), Malformed> {
        let (header, packet) = frame.split_first_chunk_mut().ok_or(Malformed)?;
        let [flags, gso, _, _, s0, s1, c0, c1, o0, o1]: [u8; HEADER_LEN] = *header;
        let checksum = (flags & NEEDS_CHECKSUM != 0).then_some(PartialChecksum {
            start: u16::from_ne_bytes([c0, c1]),
            offset: u16::from_ne_bytes([o0, o1]),
        });
        let kind = match gso {
            GSO_NONE => None,
            GSO_TCP_IPV4 => Some(SegmentKind::TcpIpv4),
            GSO_TCP_IPV6 => Some(SegmentKind::TcpIpv6),
            GSO_UDP => Some(SegmentKind::Udp),
            _ => return Err(Malformed),
        };
        let size = u16::from_ne_bytes([s0, s1]);
        let segments = kind.map(|kind| Segmentation { kind, size });
        Ok((Header { checksum, segments }, packet))
    }

    /// The bytes to write before a packet whose network and transport headers take `headers` bytes.
    pub(crate) fn encode(self, headers: u16) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        if let Some(PartialChecksum { start, offset }) = self.checksum {
            bytes[0] = NEEDS_CHECKSUM;
            bytes[6..8].copy_from_slice(&start.to_ne_bytes());
            bytes[8..10].copy_from_slice(&offset.to_ne_bytes());
        }
        if let Some(Segmentation { kind, size }) = self.segments {
            bytes[1] = match kind {
                SegmentKind::TcpIpv4 => GSO_TCP_IPV4,
                SegmentKind::TcpIpv6 => GSO_TCP_IPV6,
                SegmentKind::Udp => GSO_UDP,
            };
            bytes[2..4].copy_from_slice(&headers.to_ne_bytes());
            bytes[4..6].copy_from_slice(&size.to_ne_bytes());
        }
        bytes
    }
}
