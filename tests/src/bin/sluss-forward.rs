//! The floor of the benchmark: carries packets between TUN and UDP in frames as long as WireGuard's, in the clear.
//!
//! `sluss-forward DEVICE ADDRESS:PORT` forwards to its like at that address, from the same port. It does what every
//! tunnel has to do and nothing else, over the same system calls as ours: cuts and joins TCP over IPv4, completes and
//! verifies checksums, passes everything else on as it is. No peer, no key, no counter, no replay window.

use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::thread;

use anyhow::{Context, Result};
use nix::cmsg_space;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::sockopt::{RcvBufForce, SndBufForce, UdpGroSegment};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg, setsockopt,
};
use sluss_platform::TunDevice;
use sluss_tunnel::{Offload, Tun};

/// WireGuard's header and tag around each packet.
const HEAD: usize = 16;
const TAIL: usize = 16;

/// Linux's `struct virtio_net_hdr` before each packet of the device (virtio 1.2, 5.1.6).
const VIRTIO: usize = 10;
const NEEDS_CHECKSUM: u8 = 1;
const TCP_IPV4: u8 = 1;

/// Headers without options; TCP's are read.
const IP: usize = 20;
const TCP: usize = 20;

const LARGEST: usize = 65_535;

/// What one send takes at most: bytes, and datagrams (UDP_MAX_SEGMENTS).
const RUN_BYTES: usize = 65_507;
const RUN_COUNT: usize = 64;

/// As ours.
const QUEUE_BYTES: usize = 8 << 20;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, device, to] = arguments.as_slice() else {
        anyhow::bail!("sluss-forward DEVICE ADDRESS:PORT");
    };
    let to: SocketAddr = to.parse().context("where to")?;
    let tun = TunDevice::create(device, Offload::Tcp)?;
    let udp = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, to.port()))?;
    udp.connect(to)?;
    setsockopt(&udp, UdpGroSegment, &true)?;
    setsockopt(&udp, RcvBufForce, &QUEUE_BYTES)?;
    setsockopt(&udp, SndBufForce, &QUEUE_BYTES)?;
    thread::scope(|scope| {
        scope.spawn(|| {
            Out {
                tun: &tun,
                udp: &udp,
                run: Run::new(),
            }
            .carry()
        });
        carry_in(&tun, &udp);
    });
    Ok(())
}

/// From TUN to UDP.
struct Out<'a> {
    tun: &'a TunDevice,
    udp: &'a UdpSocket,
    run: Run,
}

/// Datagrams of one length, the last perhaps shorter, end to end.
struct Run {
    bytes: Vec<u8>,
    length: usize,
    stride: usize,
    count: usize,
}

impl Run {
    fn new() -> Run {
        Run {
            bytes: vec![0; RUN_BYTES + LARGEST],
            length: 0,
            stride: 0,
            count: 0,
        }
    }
}

impl Out<'_> {
    fn carry(mut self) -> Result<()> {
        let mut frame = vec![0; VIRTIO + LARGEST];
        loop {
            match self.tun.recv(&mut frame) {
                Ok(length) if length >= VIRTIO + IP => self.cut(&mut frame[..length]),
                Ok(_) => {}
                Err(_) => {
                    self.send();
                    let mut readable = [PollFd::new(self.tun.as_fd(), PollFlags::POLLIN)];
                    poll(&mut readable, PollTimeout::NONE)?;
                }
            }
        }
    }

    fn cut(&mut self, frame: &mut [u8]) {
        let (virtio, packet) = frame.split_at_mut(VIRTIO);
        let field = |at: usize| usize::from(u16::from_ne_bytes([virtio[at], virtio[at + 1]]));
        let (size, start, offset) = (field(4), field(6), field(8));
        if virtio[1] != TCP_IPV4 {
            if virtio[0] & NEEDS_CHECKSUM != 0 {
                let sum = sum(&packet[start..]);
                put(packet, start + offset, complement(sum));
            }
            self.room(packet.len()).copy_from_slice(packet);
            return self.add(packet.len());
        }
        let headers = IP + tcp_header(packet);
        let (headers, payload) = packet.split_at(headers);
        let sequence = be32(headers, IP + 4);
        let id = be16(headers, 4);
        let last = payload.len().div_ceil(size) - 1;
        for (which, payload) in payload.chunks(size).enumerate() {
            let length = headers.len() + payload.len();
            let packet = self.room(length);
            let (head, body) = packet.split_at_mut(headers.len());
            head.copy_from_slice(headers);
            let payload_sum = copy_and_sum(body, payload);
            put(head, 2, (length as u16).to_be_bytes());
            put(head, 4, id.wrapping_add(which as u16).to_be_bytes());
            put(head, 10, [0, 0]);
            put(head, 10, complement(sum(&head[..IP])));
            let sequence = sequence.wrapping_add((which * size) as u32);
            head[IP + 4..IP + 8].copy_from_slice(&sequence.to_be_bytes());
            if which < last {
                head[IP + 13] &= !(tcp_flags::FIN | tcp_flags::PSH);
            }
            put(head, IP + 16, [0, 0]);
            let whole = pseudo_header(head, length - IP) + sum(&head[IP..]) + payload_sum;
            put(head, IP + 16, complement(whole));
            self.add(length);
        }
    }

    /// Where the next packet of this length goes; sends the run first if it may not follow.
    fn room(&mut self, length: usize) -> &mut [u8] {
        let length = HEAD + length + TAIL;
        let run = &self.run;
        if run.count > 0
            && (length > run.stride || run.count == RUN_COUNT || run.length + length > RUN_BYTES)
        {
            self.send();
        }
        let start = self.run.length + HEAD;
        &mut self.run.bytes[start..start + length - HEAD - TAIL]
    }

    /// The packet of this length is written.
    fn add(&mut self, length: usize) {
        let length = HEAD + length + TAIL;
        if self.run.count == 0 {
            self.run.stride = length;
        }
        self.run.length += length;
        self.run.count += 1;
        if length < self.run.stride {
            self.send();
        }
    }

    /// Sends the run in one call, or loses it.
    fn send(&mut self) {
        let datagrams = [IoSlice::new(&self.run.bytes[..self.run.length])];
        let stride = self.run.stride as u16;
        let cut = [ControlMessage::UdpGsoSegments(&stride)];
        let control = if self.run.count > 1 { &cut[..] } else { &[] };
        if self.run.count > 0 {
            let _ = sendmsg::<()>(
                self.udp.as_raw_fd(),
                &datagrams,
                control,
                MsgFlags::empty(),
                None,
            );
        }
        self.run.length = 0;
        self.run.count = 0;
    }
}

/// From UDP to TUN.
fn carry_in(tun: &TunDevice, udp: &UdpSocket) {
    let mut buffer = vec![0; LARGEST];
    loop {
        // An error tells that the other end was not there a moment ago.
        let Ok((length, stride)) = receive(udp, &mut buffer) else {
            continue;
        };
        let mut join = Join::empty();
        for datagram in buffer[..length].chunks(stride.max(1)) {
            let end = datagram.len().saturating_sub(TAIL);
            if end >= HEAD + IP {
                join.push(&datagram[HEAD..end], tun);
            }
        }
        join.write(tun);
    }
}

/// Waits for datagrams; gives how many bytes came, and the length of each datagram but the last.
fn receive(udp: &UdpSocket, buffer: &mut [u8]) -> nix::Result<(usize, usize)> {
    let mut control = cmsg_space!(i32);
    let mut slices = [IoSliceMut::new(buffer)];
    let message = recvmsg::<()>(
        udp.as_raw_fd(),
        &mut slices,
        Some(&mut control),
        MsgFlags::empty(),
    )?;
    let stride = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::UdpGroSegments(stride) => usize::try_from(stride).ok(),
        _ => None,
    });
    Ok((message.bytes, stride.unwrap_or(message.bytes)))
}

/// Packets of one TCP connection that follow each other: the first's headers, and the payloads where they lie.
struct Join<'p> {
    first: &'p [u8],
    headers: usize,
    /// The first is for the headers.
    slices: [IoSlice<'p>; 1 + RUN_COUNT],
    count: usize,
    length: usize,
    closed: bool,
}

impl<'p> Join<'p> {
    fn empty() -> Join<'p> {
        Join {
            first: &[],
            headers: 0,
            slices: [IoSlice::new(&[]); 1 + RUN_COUNT],
            count: 0,
            length: 0,
            closed: false,
        }
    }

    fn push(&mut self, packet: &'p [u8], tun: &dyn Tun) {
        let Some(headers) = joinable(packet) else {
            self.write(tun);
            return write(tun, &[0; VIRTIO], packet);
        };
        if self.count > 0 && !self.accepts(packet, headers) {
            self.write(tun);
        }
        if self.count == 0 {
            (self.first, self.headers, self.length) = (packet, headers, headers);
        }
        self.count += 1;
        self.slices[self.count] = IoSlice::new(&packet[headers..]);
        self.length += packet.len() - headers;
        self.closed = packet.len() < self.first.len() || packet[IP + 13] & tcp_flags::PSH != 0;
    }

    fn accepts(&self, packet: &[u8], headers: usize) -> bool {
        let first = self.first;
        let next = be32(first, IP + 4).wrapping_add((self.length - headers) as u32);
        !self.closed
            && self.count < RUN_COUNT
            && self.length + packet.len() - headers <= LARGEST
            && headers == self.headers
            && packet.len() <= first.len()
            && packet[12..IP + 4] == first[12..IP + 4]
            && be32(packet, IP + 4) == next
            && packet[IP + 8..IP + 13] == first[IP + 8..IP + 13]
            && packet[IP + 14..IP + 16] == first[IP + 14..IP + 16]
            && packet[IP + TCP..headers] == first[IP + TCP..headers]
    }

    /// Writes what is joined, if anything is, as one super-packet whose checksum is the pseudo-header's.
    fn write(&mut self, tun: &dyn Tun) {
        match self.count {
            0 => return,
            1 => write(tun, &[0; VIRTIO], self.first),
            count => {
                let mut room = [0; VIRTIO + IP + 60];
                let size = self.first.len() - self.headers;
                room[0] = NEEDS_CHECKSUM;
                room[1] = TCP_IPV4;
                put(&mut room, 2, (self.headers as u16).to_ne_bytes());
                put(&mut room, 4, (size as u16).to_ne_bytes());
                put(&mut room, 6, (IP as u16).to_ne_bytes());
                put(&mut room, 8, 16u16.to_ne_bytes());
                let head = &mut room[VIRTIO..VIRTIO + self.headers];
                head.copy_from_slice(&self.first[..self.headers]);
                put(head, 2, (self.length as u16).to_be_bytes());
                put(head, 10, [0, 0]);
                put(head, 10, complement(sum(&head[..IP])));
                if self.closed {
                    head[IP + 13] |= tcp_flags::PSH;
                }
                let pseudo = pseudo_header(head, self.length - IP);
                put(head, IP + 16, fold(pseudo));
                let mut slices = self.slices;
                slices[0] = IoSlice::new(&room[..VIRTIO + self.headers]);
                // A device that is down loses it.
                let _ = tun.send(&slices[..=count]);
            }
        }
        self.count = 0;
        self.closed = false;
    }
}

fn write(tun: &dyn Tun, virtio: &[u8], packet: &[u8]) {
    let _ = tun.send(&[IoSlice::new(virtio), IoSlice::new(packet)]);
}

mod tcp_flags {
    pub(super) const FIN: u8 = 1;
    pub(super) const PSH: u8 = 8;
    pub(super) const ACK: u8 = 16;
}

/// The length of the headers of a packet that may join others: TCP over IPv4 with payload, nothing special, and intact.
fn joinable(packet: &[u8]) -> Option<usize> {
    if packet[0] != 0x45 || packet[9] != 6 || packet.len() < IP + TCP {
        return None;
    }
    let headers = IP + tcp_header(packet);
    let plain = packet.len() > headers && packet[IP + 13] & !tcp_flags::PSH == tcp_flags::ACK;
    let whole = usize::from(be16(packet, 2)) == packet.len();
    let intact =
        || fold(pseudo_header(packet, packet.len() - IP) + sum(&packet[IP..])) == [0xff; 2];
    (plain && whole && intact()).then_some(headers)
}

fn tcp_header(packet: &[u8]) -> usize {
    usize::from(packet[IP + 12] >> 4) * 4
}

fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn put(bytes: &mut [u8], at: usize, value: [u8; 2]) {
    bytes[at..at + 2].copy_from_slice(&value);
}

/// The Internet checksum's sum of `bytes` (RFC 1071), in the machine's byte order and not folded.
fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    words.iter().map(halves).sum::<u64>() + tail(rest)
}

/// Copies and sums in one go.
fn copy_and_sum(to: &mut [u8], from: &[u8]) -> u64 {
    let (to_words, to_rest) = to.as_chunks_mut::<8>();
    let (from_words, from_rest) = from.as_chunks::<8>();
    to_rest.copy_from_slice(from_rest);
    let words = to_words.iter_mut().zip(from_words).map(|(to, from)| {
        *to = *from;
        halves(from)
    });
    words.sum::<u64>() + tail(from_rest)
}

fn halves(word: &[u8; 8]) -> u64 {
    let word = u64::from_ne_bytes(*word);
    (word & 0xffff_ffff) + (word >> 32)
}

fn tail(rest: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..rest.len()].copy_from_slice(rest);
    halves(&word)
}

fn pseudo_header(packet: &[u8], length: usize) -> u64 {
    let [high, low] = (length as u16).to_be_bytes();
    sum(&packet[12..IP]) + sum(&[0, 6, high, low])
}

fn fold(mut sum: u64) -> [u8; 2] {
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (sum as u16).to_ne_bytes()
}

fn complement(sum: u64) -> [u8; 2] {
    fold(sum).map(|byte| !byte)
}
