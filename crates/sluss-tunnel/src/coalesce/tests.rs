//! Joining packets: what comes out and is cut again is what went in, in order; and what must stay alone does.

use std::collections::BTreeMap;
use std::io::IoSlice;

use super::Coalescer;
use crate::Offload;
use crate::frame::Header;
use crate::packet::sample::{Lcg, Sample, Version};
use crate::packet::tcp_flags;
use crate::segment::Segments;

/// Frames for these packets, each as the packets that the kernel would make of it again.
fn frames(offload: Offload, packets: &[Vec<u8>]) -> Vec<Vec<Vec<u8>>> {
    let mut coalescer = Coalescer::new(offload);
    let mut frames = Vec::new();
    for packet in packets {
        coalescer.push(packet, |frame| frames.push(cut(offload, frame)));
    }
    coalescer.flush(|frame| frames.push(cut(offload, frame)));
    frames
}

fn cut(offload: Offload, frame: &[IoSlice<'_>]) -> Vec<Vec<u8>> {
    let mut frame: Vec<u8> = frame
        .iter()
        .flat_map(|slice| slice.iter())
        .copied()
        .collect();
    let (header, packet) = match offload {
        Offload::None => (Header::PLAIN, &mut frame[..]),
        Offload::Tcp | Offload::TcpAndUdp => Header::parse(&mut frame).expect("ours"),
    };
    let mut segments = Segments::new(header, packet).expect("ours");
    let mut packets = Vec::new();
    while let Some(length) = segments.next_len() {
        let mut slot = vec![0; length];
        segments.write_next(&mut slot);
        packets.push(slot);
    }
    packets
}

/// Packets of one TCP flow, or datagrams of one UDP flow, as a sender's kernel would cut them.
fn flow(first: &Sample, sizes: &[usize], random: &mut Lcg) -> Vec<Sample> {
    let mut next = first.clone();
    sizes
        .iter()
        .map(|&size| {
            next.payload = random.bytes(size);
            let packet = next.clone();
            next.id = next.id.wrapping_add(1);
            next.sequence = next.sequence.wrapping_add(size as u32);
            packet
        })
        .collect()
}

fn bytes(samples: &[Sample]) -> Vec<Vec<u8>> {
    samples.iter().map(Sample::bytes).collect()
}

/// Packets that share version, addresses and ports, in their order; and all others in theirs.
fn by_connection(packets: &[Vec<u8>]) -> BTreeMap<Vec<u8>, Vec<&Vec<u8>>> {
    let mut connections = BTreeMap::new();
    for packet in packets {
        let connection = match (packet[0], packet.len()) {
            (0x45, 24..) => [&packet[9..10], &packet[12..24]].concat(),
            (0x60, 44..) => [&packet[6..7], &packet[8..44]].concat(),
            _ => Vec::new(),
        };
        let packets: &mut Vec<_> = connections.entry(connection).or_default();
        packets.push(packet);
    }
    connections
}

#[test]
fn packets_of_one_flow_become_one_frame() {
    let mut random = Lcg::new(4);
    for version in [Version::V4, Version::V6] {
        for first in [
            Sample::tcp(version, Vec::new()),
            Sample::udp(version, Vec::new()),
        ] {
            let mut samples = flow(&first, &[1_000, 1_000, 1_000, 17], &mut random);
            samples[3].flags |= tcp_flags::PSH;
            let packets = bytes(&samples);
            assert_eq!(frames(Offload::TcpAndUdp, &packets), [packets]);
        }
    }
}

/// Packets of several connections that take turns, as behind a router: each becomes a frame of its own.
#[test]
fn connections_that_take_turns_are_joined_each() {
    let mut random = Lcg::new(14);
    let mut packets = Vec::new();
    let flows: Vec<_> = (0..6)
        .map(|number| {
            let version = [Version::V4, Version::V6][number % 2];
            let mut first = Sample::tcp(version, Vec::new());
            if number % 3 == 0 {
                first = Sample::udp(version, Vec::new());
            }
            first.ports[0] += number as u16;
            bytes(&flow(&first, &[700; 10], &mut random))
        })
        .collect();
    for turn in 0..10 {
        packets.extend(flows.iter().map(|flow| flow[turn].clone()));
    }
    assert_eq!(frames(Offload::TcpAndUdp, &packets), flows);
}

/// More connections than there are places, and packets in between that nothing is known of.
#[test]
fn every_connection_keeps_its_order() {
    let mut random = Lcg::new(15);
    let flows: Vec<_> = (0..30)
        .map(|number| {
            let mut first = Sample::tcp(Version::V4, Vec::new());
            first.ports[0] += number;
            bytes(&flow(&first, &[50; 40], &mut random))
        })
        .collect();
    let mut rest: Vec<_> = flows.iter().map(|flow| flow.iter()).collect();
    let mut packets = Vec::new();
    while packets.len() < 30 * 40 {
        let which = random.below(30);
        packets.extend(rest[which].by_ref().take(1 + random.below(4)).cloned());
    }
    let joined = frames(Offload::Tcp, &packets);
    assert!(joined.len() < packets.len());
    assert_eq!(by_connection(&joined.concat()), by_connection(&packets));
}

#[test]
fn a_frame_never_exceeds_an_ip_packet() {
    let mut random = Lcg::new(5);
    for version in [Version::V4, Version::V6] {
        let packets = bytes(&flow(
            &Sample::tcp(version, Vec::new()),
            &[1_380; 100],
            &mut random,
        ));
        let frames = frames(Offload::Tcp, &packets);
        assert_eq!(frames.concat(), packets);
        assert_eq!(
            frames.len(),
            3,
            "100 packets of 1,380 bytes fill two frames of 65,535"
        );
    }
}

#[test]
fn what_a_device_cannot_take_is_not_joined() {
    let mut random = Lcg::new(6);
    let udp = bytes(&flow(
        &Sample::udp(Version::V4, Vec::new()),
        &[50; 3],
        &mut random,
    ));
    let tcp = bytes(&flow(
        &Sample::tcp(Version::V4, Vec::new()),
        &[50; 3],
        &mut random,
    ));
    assert_eq!(frames(Offload::Tcp, &udp).len(), 3);
    assert_eq!(frames(Offload::Tcp, &tcp).len(), 1);
    assert_eq!(frames(Offload::None, &tcp).len(), 3);
}

/// Each change to the second of three packets must keep it out of the first's frame.
#[test]
fn packets_that_differ_stay_apart() {
    type Change = (&'static str, fn(&mut Sample));
    let changes: [Change; 7] = [
        ("a gap", |sample| sample.sequence += 1),
        ("FIN", |sample| sample.flags |= tcp_flags::FIN),
        ("CWR", |sample| sample.flags |= tcp_flags::CWR),
        ("another port", |sample| sample.ports[1] += 1),
        ("another timestamp", |sample| sample.options[7] += 1),
        ("no options", |sample| sample.options.clear()),
        ("more bytes", |sample| sample.payload.push(0)),
    ];
    let mut random = Lcg::new(7);
    for version in [Version::V4, Version::V6] {
        for (what, change) in changes {
            let mut samples = flow(&Sample::tcp(version, Vec::new()), &[100; 2], &mut random);
            change(&mut samples[1]);
            let packets = bytes(&samples);
            let frames = frames(Offload::TcpAndUdp, &packets);
            assert_eq!(frames.len(), 2, "{what} over {version:?}");
            assert_eq!(frames.concat(), packets, "{what} over {version:?}");
        }
    }
}

/// The same for fields that a sample cannot vary: the byte at this offset changes, and the IPv4 checksum with it.
#[test]
fn packets_whose_headers_differ_stay_apart() {
    let cases = [
        (Version::V4, "type of service", 1),
        (Version::V4, "time to live", 8),
        (Version::V4, "address", 15),
        (Version::V6, "traffic class", 1),
        (Version::V6, "flow label", 3),
        (Version::V6, "hop limit", 7),
        (Version::V6, "address", 23),
    ];
    for (version, what, at) in cases {
        let mut packets = bytes(&flow(
            &Sample::udp(version, Vec::new()),
            &[64; 2],
            &mut Lcg::new(8),
        ));
        packets[1][at] ^= 1;
        if version == Version::V4 {
            packets[1][10..12].fill(0);
            let sum = !tun_rs::checksum(&packets[1][..20], 0);
            packets[1][10..12].copy_from_slice(&sum.to_be_bytes());
        }
        assert_eq!(
            frames(Offload::TcpAndUdp, &packets).len(),
            2,
            "{what} over {version:?}"
        );
    }
}

/// A super-packet's checksum is taken on trust, so a packet that was damaged before it was sealed must go alone, as it is.
#[test]
fn damaged_packets_stay_damaged() {
    let mut random = Lcg::new(9);
    for version in [Version::V4, Version::V6] {
        for first in [
            Sample::tcp(version, Vec::new()),
            Sample::udp(version, Vec::new()),
        ] {
            let mut packets = bytes(&flow(&first, &[64; 3], &mut random));
            packets[1][first.headers() + 5] ^= 0x10;
            let frames = frames(Offload::TcpAndUdp, &packets);
            assert_eq!(frames.concat(), packets);
            assert_eq!(frames.len(), 3);
        }
    }
}

#[test]
fn a_damaged_network_header_stays_damaged() {
    let samples = flow(
        &Sample::udp(Version::V4, Vec::new()),
        &[64; 3],
        &mut Lcg::new(15),
    );
    let mut packets = bytes(&samples);
    packets[1][10] ^= 0x10;
    let frames = frames(Offload::TcpAndUdp, &packets);
    assert_eq!(frames.concat(), packets);
    assert_eq!(frames.len(), 3);
}

/// RFC 768: zero is no checksum. Here it is what the sum would be, too.
#[test]
fn a_datagram_without_a_checksum_gets_none() {
    let without = |payload: [u8; 4]| {
        let mut packet = Sample::udp(Version::V4, payload.to_vec()).bytes();
        packet[26..28].fill(0);
        packet
    };
    // What makes the sum of all come to nothing goes into the last word.
    let missing = !tun_rs::checksum(&pseudo_and(&without([1, 2, 0, 0])), 0);
    let [high, low] = missing.to_be_bytes();
    let packets = vec![without([1, 2, high, low]); 3];
    assert_eq!(tun_rs::checksum(&pseudo_and(&packets[0]), 0), 0xffff);
    assert_eq!(frames(Offload::TcpAndUdp, &packets).concat(), packets);
}

/// What a UDP checksum over IPv4 is made of.
fn pseudo_and(packet: &[u8]) -> Vec<u8> {
    let length = (packet.len() - 20) as u16;
    [
        &packet[12..20],
        &[0, 17],
        &length.to_be_bytes(),
        &packet[20..],
    ]
    .concat()
}

#[test]
fn nothing_follows_a_push_or_a_short_packet() {
    let mut random = Lcg::new(10);
    let mut samples = flow(
        &Sample::tcp(Version::V6, Vec::new()),
        &[500; 4],
        &mut random,
    );
    samples[1].flags |= tcp_flags::PSH;
    let lengths: Vec<usize> = frames(Offload::Tcp, &bytes(&samples))
        .iter()
        .map(Vec::len)
        .collect();
    assert_eq!(lengths, [2, 2]);
    let samples = flow(
        &Sample::tcp(Version::V6, Vec::new()),
        &[500, 400, 400, 400],
        &mut random,
    );
    let lengths: Vec<usize> = frames(Offload::Tcp, &bytes(&samples))
        .iter()
        .map(Vec::len)
        .collect();
    assert_eq!(lengths, [2, 2]);
}

/// RFC 6864: an identification means something to packets that may be fragmented, and they may not be renumbered.
#[test]
fn identifications_survive_where_they_count() {
    let mut random = Lcg::new(11);
    let first = Sample {
        dont_fragment: false,
        ..Sample::tcp(Version::V4, Vec::new())
    };
    let mut samples = flow(&first, &[100; 3], &mut random);
    assert_eq!(frames(Offload::Tcp, &bytes(&samples)).len(), 1);
    samples[2].id += 5;
    let packets = bytes(&samples);
    let frames = frames(Offload::Tcp, &packets);
    assert_eq!(frames.len(), 2);
    assert_eq!(frames.concat(), packets);
}

#[test]
fn a_mix_of_flows_comes_out_whole_and_in_order() {
    let mut random = Lcg::new(12);
    for offload in [Offload::None, Offload::Tcp, Offload::TcpAndUdp] {
        let mut joined = 0;
        for _ in 0..200 {
            let mut flows: Vec<_> = (0..3)
                .map(|flow| {
                    let version = [Version::V4, Version::V6][random.below(2)];
                    let mut sample = if random.below(2) == 0 {
                        Sample::tcp(version, Vec::new())
                    } else {
                        Sample::udp(version, Vec::new())
                    };
                    sample.ports[0] += flow;
                    sample
                })
                .collect();
            let mut packets = Vec::new();
            while packets.len() < 60 {
                let which = random.below(3);
                let size = [1, 100, 1_400, random.below(1_400)][random.below(4)];
                let sizes = vec![size; 1 + random.below(6)];
                let mut part = flow(&flows[which], &sizes, &mut random);
                if let Some(last) = part.last_mut() {
                    last.flags |= [0, tcp_flags::PSH][random.below(2)];
                    flows[which].sequence = last.sequence.wrapping_add(size as u32);
                    flows[which].id = last.id.wrapping_add(1);
                }
                packets.extend(bytes(&part));
                if random.below(8) == 0 {
                    let length = 1 + random.below(100);
                    packets.push(random.bytes(length));
                }
            }
            let frames = frames(offload, &packets);
            joined += packets.len() - frames.len();
            assert_eq!(by_connection(&frames.concat()), by_connection(&packets));
        }
        assert_eq!(joined > 0, offload != Offload::None);
    }
}

#[test]
fn noise_passes_through() {
    let mut random = Lcg::new(13);
    let mut packets = Vec::new();
    for _ in 0..20_000 {
        let mut packet = if random.below(2) == 0 {
            Sample::tcp(Version::V4, vec![1; 40]).bytes()
        } else {
            Sample::udp(Version::V6, vec![1; 40]).bytes()
        };
        let at = random.below(packet.len());
        packet[at] = random.below(256) as u8;
        packet.truncate(1 + random.below(packet.len()));
        packets.push(packet);
    }
    let out = frames(Offload::TcpAndUdp, &packets).concat();
    assert_eq!(out.len(), packets.len());
}
