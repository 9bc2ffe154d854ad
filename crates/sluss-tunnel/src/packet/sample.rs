//! Packets for tests, with checksums by another implementation (tun-rs).

use super::{TCP, UDP};

/// A source of numbers that look random and are the same in every run.
pub(crate) struct Lcg(u64);

impl Lcg {
    pub(crate) fn new(seed: u64) -> Lcg {
        println!("seed {seed}");
        Lcg(seed)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        // Knuth's MMIX constants; the upper bits are the good ones.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.below(256) as u8).collect()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V4,
    V6,
}

/// One TCP or UDP packet, before it is bytes.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub version: Version,
    pub protocol: u8,
    pub id: u16,
    pub dont_fragment: bool,
    pub ports: [u16; 2],
    pub sequence: u32,
    pub flags: u8,
    pub options: Vec<u8>,
    pub payload: Vec<u8>,
}

impl Sample {
    pub(crate) fn tcp(version: Version, payload: Vec<u8>) -> Sample {
        Sample {
            version,
            protocol: TCP,
            id: 7,
            dont_fragment: true,
            ports: [40_000, 445],
            sequence: 0xffff_f000,
            flags: super::tcp_flags::ACK,
            // Timestamps, as nearly every TCP has them (RFC 7323).
            options: vec![1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2],
            payload,
        }
    }

    pub(crate) fn udp(version: Version, payload: Vec<u8>) -> Sample {
        Sample {
            protocol: UDP,
            options: Vec::new(),
            ..Sample::tcp(version, payload)
        }
    }

    /// Where the transport header starts.
    pub(crate) fn transport(&self) -> usize {
        match self.version {
            Version::V4 => 20,
            Version::V6 => 40,
        }
    }

    /// Where the payload starts.
    pub(crate) fn headers(&self) -> usize {
        self.transport()
            + if self.protocol == TCP {
                20 + self.options.len()
            } else {
                8
            }
    }

    /// From the transport header to its checksum.
    pub(crate) fn checksum_offset(&self) -> usize {
        if self.protocol == TCP { 16 } else { 6 }
    }

    /// The packet as it goes over a wire.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let (mut packet, pseudo) = self.without_checksum();
        let at = self.transport();
        let sum = !tun_rs::checksum(&packet[at..], pseudo.into());
        let sum = if sum == 0 { 0xffff } else { sum };
        let field = at + self.checksum_offset();
        packet[field..field + 2].copy_from_slice(&sum.to_be_bytes());
        packet
    }

    /// The packet as Linux hands it to a TUN device that offloads: only the pseudo-header is summed.
    pub(crate) fn partial(&self) -> Vec<u8> {
        let (mut packet, pseudo) = self.without_checksum();
        let field = self.transport() + self.checksum_offset();
        packet[field..field + 2].copy_from_slice(&pseudo.to_be_bytes());
        packet
    }

    fn without_checksum(&self) -> (Vec<u8>, u16) {
        let length = self.headers() + self.payload.len();
        let segment = (length - self.transport()) as u16;
        let mut packet = Vec::with_capacity(length);
        let addresses: &[u8] = match self.version {
            Version::V4 => {
                let flags = if self.dont_fragment { 0x40 } else { 0 };
                packet.extend([0x45, 0]);
                packet.extend((length as u16).to_be_bytes());
                packet.extend(self.id.to_be_bytes());
                packet.extend([flags, 0, 64, self.protocol, 0, 0]);
                packet.extend([10, 0, 0, 1, 10, 0, 0, 2]);
                let sum = !tun_rs::checksum(&packet, 0);
                packet[10..12].copy_from_slice(&sum.to_be_bytes());
                &[10, 0, 0, 1, 10, 0, 0, 2]
            }
            Version::V6 => {
                packet.extend([0x60, 0, 0, 0]);
                packet.extend(segment.to_be_bytes());
                packet.extend([self.protocol, 64]);
                packet.extend(ADDRESSES_V6);
                &ADDRESSES_V6
            }
        };
        packet.extend(self.ports[0].to_be_bytes());
        packet.extend(self.ports[1].to_be_bytes());
        if self.protocol == TCP {
            packet.extend(self.sequence.to_be_bytes());
            packet.extend([0, 0, 0, 9]);
            packet.push(((20 + self.options.len()) / 4 * 16) as u8);
            packet.push(self.flags);
            packet.extend([0x20, 0, 0, 0, 0, 0]);
            packet.extend(&self.options);
        } else {
            packet.extend(segment.to_be_bytes());
            packet.extend([0, 0]);
        }
        packet.extend(&self.payload);
        let mut pseudo = addresses.to_vec();
        pseudo.extend([0, self.protocol]);
        pseudo.extend(segment.to_be_bytes());
        (packet, tun_rs::checksum(&pseudo, 0))
    }
}

const ADDRESSES_V6: [u8; 32] = [
    0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 2,
];
