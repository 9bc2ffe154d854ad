//! IP packets of every kind that a network brings, and some that it should not; the same for the same seed.

use fastrand::Rng;
use sluss_tests::tap::Frame;
use tun_rs::{
    VIRTIO_NET_HDR_GSO_TCPV4, VIRTIO_NET_HDR_GSO_TCPV6, VIRTIO_NET_HDR_GSO_UDP_L4, VirtioNetHdr,
};

/// `VIRTIO_NET_HDR_F_NEEDS_CSUM` (virtio 1.2, 5.1.6).
const NEEDS_CHECKSUM: u8 = 1;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// TCP's flags (RFC 9293, 3.1; RFC 3168).
const FIN: u8 = 0x01;
const RST: u8 = 0x04;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;
const URG: u8 = 0x20;
const ECE: u8 = 0x40;
const CWR: u8 = 0x80;

/// An IP packet, before it is bytes. All that a sender can choose.
#[derive(Clone)]
pub(crate) struct Packet {
    is_v6: bool,
    /// Type of service, or traffic class.
    service: u8,
    /// Time to live, or hop limit.
    hops: u8,
    id: u16,
    /// Flags and offset of IPv4's fragments.
    fragment: u16,
    /// Of IPv4: a multiple of four bytes.
    options: Vec<u8>,
    /// Of IPv6: its own number, and its bytes from the third on.
    extensions: Vec<(u8, Vec<u8>)>,
    flow_label: u32,
    host: u8,
    protocol: u8,
    transport: Transport,
    payload: Vec<u8>,
    /// What is added to the transport's checksum to make it wrong.
    damage: u16,
}

#[derive(Clone)]
enum Transport {
    Tcp {
        ports: [u16; 2],
        sequence: u32,
        acknowledgment: u32,
        flags: u8,
        window: u16,
        urgent: u16,
        options: Vec<u8>,
    },
    Udp {
        ports: [u16; 2],
        /// Without a checksum, as IPv4 allows (RFC 768).
        bare: bool,
    },
    /// All of it is payload.
    Other,
}

impl Packet {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let transport = self.transport_bytes(false);
        self.with_header(&transport)
    }

    /// The same as a super-packet, whose checksum is left to whoever cuts it into `size` bytes of payload.
    fn super_packet(&self, size: u16) -> Frame {
        let transport = self.transport_bytes(true);
        let header = transport.len() - self.payload.len();
        let packet = self.with_header(&transport);
        let start = packet.len() - transport.len();
        let (gso_type, offset) = match (&self.transport, self.is_v6) {
            (Transport::Tcp { .. }, false) => (VIRTIO_NET_HDR_GSO_TCPV4, 16),
            (Transport::Tcp { .. }, true) => (VIRTIO_NET_HDR_GSO_TCPV6, 16),
            (Transport::Udp { .. } | Transport::Other, _) => (VIRTIO_NET_HDR_GSO_UDP_L4, 6),
        };
        Frame {
            header: VirtioNetHdr {
                flags: NEEDS_CHECKSUM,
                gso_type,
                hdr_len: (start + header) as u16,
                gso_size: size,
                csum_start: start as u16,
                csum_offset: offset,
            },
            packet,
        }
    }

    fn addresses(&self) -> Vec<u8> {
        if self.is_v6 {
            let address = |net| {
                let mut address = vec![0xfd, 0x77, 0, 0, 0, 0, 0, net];
                address.extend([0, 0, 0, 0, 0, 0, 0, self.host]);
                address
            };
            [address(1), address(2)].concat()
        } else {
            vec![10, 77, 1, self.host, 10, 77, 2, self.host]
        }
    }

    fn with_header(&self, transport: &[u8]) -> Vec<u8> {
        let mut packet = Vec::new();
        if self.is_v6 {
            let mut next = self.protocol;
            let mut chain = Vec::new();
            for (number, body) in self.extensions.iter().rev() {
                let mut extension = vec![next, (body.len() / 8) as u8];
                extension.extend(body);
                chain = [extension, chain].concat();
                next = *number;
            }
            let length = (chain.len() + transport.len()) as u16;
            let first = 6 << 28 | u32::from(self.service) << 20 | self.flow_label;
            packet.extend(first.to_be_bytes());
            packet.extend(length.to_be_bytes());
            packet.extend([next, self.hops]);
            packet.extend(self.addresses());
            packet.extend(chain);
        } else {
            let header = 20 + self.options.len();
            packet.extend([0x40 | (header / 4) as u8, self.service]);
            packet.extend(((header + transport.len()) as u16).to_be_bytes());
            packet.extend(self.id.to_be_bytes());
            packet.extend(self.fragment.to_be_bytes());
            packet.extend([self.hops, self.protocol, 0, 0]);
            packet.extend(self.addresses());
            packet.extend(&self.options);
            let sum = !tun_rs::checksum(&packet, 0);
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        packet.extend(transport);
        packet
    }

    fn transport_bytes(&self, is_partial: bool) -> Vec<u8> {
        let mut bytes = Vec::new();
        let field = match &self.transport {
            Transport::Tcp {
                ports,
                sequence,
                acknowledgment,
                flags,
                window,
                urgent,
                options,
            } => {
                bytes.extend(ports.iter().flat_map(|port| port.to_be_bytes()));
                bytes.extend(sequence.to_be_bytes());
                bytes.extend(acknowledgment.to_be_bytes());
                bytes.extend([((20 + options.len()) / 4 * 16) as u8, *flags]);
                bytes.extend(window.to_be_bytes());
                bytes.extend([0, 0]);
                bytes.extend(urgent.to_be_bytes());
                bytes.extend(options);
                Some(16)
            }
            Transport::Udp { ports, bare } => {
                bytes.extend(ports.iter().flat_map(|port| port.to_be_bytes()));
                bytes.extend(((8 + self.payload.len()) as u16).to_be_bytes());
                bytes.extend([0, 0]);
                (!bare).then_some(6)
            }
            Transport::Other => (self.protocol == ICMP || self.protocol == ICMPV6).then_some(2),
        };
        bytes.extend(&self.payload);
        if let Some(field) = field {
            let pseudo = if self.protocol == ICMP {
                0
            } else {
                self.pseudo(bytes.len())
            };
            let sum = if is_partial {
                pseudo
            } else {
                match !tun_rs::checksum(&bytes, pseudo.into()) {
                    0 => 0xffff,
                    sum => sum,
                }
            };
            bytes[field..field + 2].copy_from_slice(&sum.wrapping_add(self.damage).to_be_bytes());
        }
        bytes
    }

    fn pseudo(&self, length: usize) -> u16 {
        let mut pseudo = self.addresses();
        pseudo.extend([0, self.protocol]);
        pseudo.extend((length as u16).to_be_bytes());
        tun_rs::checksum(&pseudo, 0)
    }

    fn headers(&self) -> usize {
        self.bytes().len() - self.payload.len()
    }
}

/// Where packets come from.
pub(crate) struct Source {
    random: Rng,
    mtu: usize,
    /// Flows so far; each has ports of its own.
    flows: u16,
}

impl Source {
    pub(crate) fn new(seed: u64, mtu: u16) -> Source {
        println!("seed {seed}");
        Source {
            random: Rng::with_seed(seed),
            mtu: mtu.into(),
            flows: 0,
        }
    }

    /// Some flows, mixed as they would be on a wire: bursts of one after bursts of another.
    pub(crate) fn mix(&mut self) -> Vec<Frame> {
        let mut flows: Vec<_> = (0..self.random.usize(1..5))
            .map(|_| self.flow().into_iter())
            .collect();
        let mut frames = Vec::new();
        while !flows.is_empty() {
            let which = self.random.usize(..flows.len());
            let burst = self.random.usize(1..24);
            let before = frames.len();
            frames.extend(flows[which].by_ref().take(burst));
            if frames.len() == before {
                flows.swap_remove(which);
            }
        }
        frames
    }

    fn flow(&mut self) -> Vec<Frame> {
        match self.random.u8(..10) {
            0..3 => self.tcp(),
            3..5 => self.udp(),
            5..7 => self.super_packets(),
            7 => self.others(),
            8 => self.fragments(),
            _ => self.hostile(),
        }
    }

    fn first(&mut self, transport: Transport) -> Packet {
        let random = &mut self.random;
        let protocol = match transport {
            Transport::Tcp { .. } => TCP,
            Transport::Udp { .. } => UDP,
            Transport::Other => 253,
        };
        Packet {
            is_v6: random.bool(),
            service: [0, 0, 0x02, 0xb8][random.usize(..4)],
            hops: random.u8(1..),
            id: random.u16(..),
            fragment: [0, 0x4000][random.usize(..2)],
            options: Vec::new(),
            extensions: Vec::new(),
            flow_label: random.u32(..1 << 20),
            host: random.u8(..),
            protocol,
            transport,
            payload: Vec::new(),
            damage: 0,
        }
    }

    fn ports(&mut self) -> [u16; 2] {
        self.flows = self.flows.wrapping_add(1);
        [self.flows, [53, 443, 445, 51_820][self.random.usize(..4)]]
    }

    fn tcp_transport(&mut self) -> Transport {
        let ports = self.ports();
        let random = &mut self.random;
        // Timestamps as nearly every TCP has them (RFC 7323), none, selective acknowledgments, as much as there is room for.
        let options = match random.u8(..5) {
            0..2 => vec![1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2],
            2 => Vec::new(),
            3 => vec![1, 1, 5, 10, 0, 0, 0, 9, 0, 0, 1, 0],
            _ => (0..40).map(|_| random.u8(..)).collect(),
        };
        Transport::Tcp {
            ports,
            sequence: random.u32(..),
            acknowledgment: random.u32(..),
            flags: ACK,
            window: random.u16(..),
            urgent: 0,
            options,
        }
    }

    fn udp_transport(&mut self) -> Transport {
        let ports = self.ports();
        Transport::Udp { ports, bare: false }
    }

    /// A payload that fits behind these headers.
    fn size(&mut self, headers: usize) -> usize {
        let most = self.mtu - headers;
        let any = self.random.usize(1..=most);
        [1, 8, 100.min(most), most, most, any][self.random.usize(..6)]
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.random.fill(&mut bytes);
        bytes
    }

    /// Segments of one connection that follow each other, now and then one that is out of the ordinary.
    fn tcp(&mut self) -> Vec<Frame> {
        let transport = self.tcp_transport();
        let first = self.first(transport);
        self.segments(first)
    }

    /// Datagrams of one length, now and then another.
    fn udp(&mut self) -> Vec<Frame> {
        let transport = self.udp_transport();
        let first = self.first(transport);
        self.segments(first)
    }

    fn segments(&mut self, mut next: Packet) -> Vec<Frame> {
        let size = self.size(next.headers());
        let steps = [0, 1, 1, 1, 7][self.random.usize(..5)];
        let oddness = [0, 10, 4][self.random.usize(..3)];
        let mut frames = Vec::new();
        for _ in 0..self.random.usize(1..60) {
            next.payload = self.bytes(size);
            let mut packet = next.clone();
            if oddness > 0 && self.random.u32(..oddness) == 0 {
                self.make_odd(&mut packet);
            }
            if packet.bytes().len() <= self.mtu {
                frames.push(Frame::of(packet.bytes()));
            }
            next.id = next.id.wrapping_add(steps);
            if let Transport::Tcp { sequence, .. } = &mut next.transport {
                *sequence = sequence.wrapping_add(size as u32);
            }
        }
        frames
    }

    /// Each of these must keep a packet from being taken for the next of its flow as it is.
    fn make_odd(&mut self, packet: &mut Packet) {
        let random = &mut self.random;
        match random.u8(..12) {
            0 => packet.service |= 0x03,
            1 => packet.hops = packet.hops.wrapping_add(1),
            2 => packet.id = random.u16(..),
            3 => packet.fragment ^= [0x4000, 0x8000, 0x2000, 0x0001][random.usize(..4)],
            4 => packet.damage = random.u16(1..),
            5 => packet.flow_label ^= 1,
            6 if packet.is_v6 => packet.extensions = vec![(60, vec![1, 4, 0, 0, 0, 0])],
            6 => packet.options = vec![1, 1, 1, 0],
            7 => packet
                .payload
                .truncate(random.usize(..=packet.payload.len())),
            8 => packet.payload.push(0),
            _ => match &mut packet.transport {
                Transport::Tcp {
                    sequence,
                    acknowledgment,
                    flags,
                    window,
                    urgent,
                    options,
                    ..
                } => match random.u8(..10) {
                    0 => *sequence = sequence.wrapping_add(1),
                    1 => *sequence = sequence.wrapping_sub(packet.payload.len() as u32),
                    2 => *acknowledgment = acknowledgment.wrapping_add(1),
                    3 => *window ^= 1,
                    4 => {
                        *flags |= URG;
                        *urgent = 1;
                    }
                    5 => options.extend([1; 4].iter().take((40 - options.len()) / 10 * 4)),
                    6 => {
                        if let Some(last) = options.last_mut() {
                            *last ^= 1;
                        }
                    }
                    7 => *flags = 0,
                    _ => *flags |= [FIN, RST, PSH, ECE, CWR][random.usize(..5)],
                },
                Transport::Udp { bare, .. } => *bare = true,
                Transport::Other => {}
            },
        }
    }

    /// TCP or UDP of one flow to the host 2, packets of one size, some with a wrong checksum: which those are is told.
    pub(crate) fn damaged(&mut self, count: usize) -> Vec<(Frame, bool)> {
        let transport = if self.random.bool() {
            self.tcp_transport()
        } else {
            self.udp_transport()
        };
        let mut next = self.first(transport);
        (next.host, next.hops, next.service, next.fragment) = (2, 64, 0, 0x4000);
        let size = self.random.usize(100..1_300);
        let mut packets = Vec::new();
        for _ in 0..count {
            next.payload = self.bytes(size);
            let is_damaged = self.random.u8(..4) == 0;
            next.damage = if is_damaged {
                self.random.u16(1..0xffff)
            } else {
                0
            };
            packets.push((Frame::of(next.bytes()), is_damaged));
            next.id = next.id.wrapping_add(1);
            if let Transport::Tcp { sequence, .. } = &mut next.transport {
                *sequence = sequence.wrapping_add(size as u32);
            }
        }
        packets
    }

    /// What a program writes in one piece.
    fn super_packets(&mut self) -> Vec<Frame> {
        let transport = if self.random.bool() {
            self.tcp_transport()
        } else {
            self.udp_transport()
        };
        let mut packet = self.first(transport);
        if let Transport::Tcp { flags, .. } = &mut packet.transport {
            *flags |= [0, PSH, PSH | FIN, ECE, CWR][self.random.usize(..5)];
        }
        let headers = packet.headers();
        let size = self.size(headers);
        // So that what does not fit any queue in pieces is not sent in one.
        let most = (60 * size).min(65_535 - headers);
        let length = self.random.usize(1..=most);
        packet.payload = self.bytes(length);
        if length <= size {
            return vec![Frame::of(packet.bytes())];
        }
        vec![packet.super_packet(size as u16)]
    }

    /// Echoes, and protocols that nobody here knows.
    fn others(&mut self) -> Vec<Frame> {
        let mut packet = self.first(Transport::Other);
        packet.protocol = match self.random.u8(..4) {
            0 | 1 if packet.is_v6 => ICMPV6,
            0 | 1 => ICMP,
            _ => [4, 41, 47, 50, 132, 253][self.random.usize(..6)],
        };
        let mut frames = Vec::new();
        for _ in 0..self.random.usize(1..20) {
            let length = self.random.usize(8..=self.mtu - 40);
            packet.payload = self.bytes(length);
            if packet.protocol == ICMP || packet.protocol == ICMPV6 {
                let echo = if packet.is_v6 { 128 } else { 8 };
                packet.payload[..4].copy_from_slice(&[echo, 0, 0, 0]);
            }
            frames.push(Frame::of(packet.bytes()));
        }
        frames
    }

    /// A datagram that was too large for somebody before us.
    fn fragments(&mut self) -> Vec<Frame> {
        let transport = self.udp_transport();
        let mut whole = self.first(transport);
        (whole.is_v6, whole.fragment) = (false, 0);
        let length = self.random.usize(2_000..20_000);
        whole.payload = self.bytes(length);
        let datagram = whole.transport_bytes(false);
        let mut part = whole.clone();
        part.transport = Transport::Other;
        let size = self.random.usize(1..=(self.mtu - 20) / 8) * 8;
        let mut frames = Vec::new();
        for (which, chunk) in datagram.chunks(size).enumerate().take(100) {
            let at = which * size;
            let more = if at + chunk.len() < datagram.len() {
                0x2000
            } else {
                0
            };
            part.fragment = more | (at / 8) as u16;
            part.payload = chunk.to_vec();
            frames.push(Frame::of(part.bytes()));
        }
        frames
    }

    /// Good packets with bytes changed, cut off, or behind them.
    fn hostile(&mut self) -> Vec<Frame> {
        let good = if self.random.bool() {
            self.tcp()
        } else {
            self.udp()
        };
        let random = &mut self.random;
        let mut frames = Vec::new();
        for mut frame in good {
            let bytes = &mut frame.packet;
            match random.u8(..6) {
                // Where lengths and kinds are.
                0 => {
                    let at = [0, 2, 3, 4, 5, 6, 9, 24, 25, 32, 33, 44, 45, 52][random.usize(..14)];
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte = random.u8(..);
                    }
                }
                1 => {
                    let at = random.usize(..bytes.len());
                    bytes[at] ^= 1 << random.u8(..8);
                }
                2 => bytes.truncate(random.usize(1..=bytes.len())),
                3 => bytes.resize(self.mtu.min(bytes.len() + random.usize(..40)), 0xee),
                4 => random.fill(bytes),
                _ => {}
            }
            frames.push(frame);
        }
        frames
    }
}
