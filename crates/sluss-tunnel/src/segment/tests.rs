//! Cutting frames: against tun-rs, which does the same in its own way, and against nonsense.

use super::Segments;
use crate::frame::{Header, Malformed, PartialChecksum, SegmentKind, Segmentation};
use crate::packet::sample::{Lcg, Sample, Version};
use crate::packet::{TCP, tcp_flags};

fn packets(header: Header, packet: &mut [u8]) -> Vec<Vec<u8>> {
    let mut segments = Segments::new(header, packet).expect("well formed");
    let mut packets = Vec::new();
    while let Some(length) = segments.next_len() {
        let mut slot = vec![0; length];
        segments.write_next(&mut slot);
        packets.push(slot);
    }
    packets
}

fn header(sample: &Sample, size: u16) -> Header {
    let kind = match (sample.protocol, sample.version) {
        (TCP, Version::V4) => SegmentKind::TcpIpv4,
        (TCP, Version::V6) => SegmentKind::TcpIpv6,
        _ => SegmentKind::Udp,
    };
    Header {
        checksum: Some(PartialChecksum {
            start: sample.transport() as u16,
            offset: sample.checksum_offset() as u16,
        }),
        segments: Some(Segmentation { kind, size }),
    }
}

fn theirs(sample: &Sample, size: u16) -> Vec<Vec<u8>> {
    let gso_type = match (sample.protocol, sample.version) {
        (TCP, Version::V4) => tun_rs::VIRTIO_NET_HDR_GSO_TCPV4,
        (TCP, Version::V6) => tun_rs::VIRTIO_NET_HDR_GSO_TCPV6,
        _ => tun_rs::VIRTIO_NET_HDR_GSO_UDP_L4,
    };
    let header = tun_rs::VirtioNetHdr {
        flags: 1,
        gso_type,
        hdr_len: sample.headers() as u16,
        gso_size: size,
        csum_start: sample.transport() as u16,
        csum_offset: sample.checksum_offset() as u16,
    };
    let count = sample.payload.len().div_ceil(size.into());
    let mut packets = vec![vec![0; sample.headers() + usize::from(size)]; count];
    let mut sizes = vec![0; count];
    let v6 = sample.version == Version::V6;
    let cut = tun_rs::gso_split(
        &mut sample.partial(),
        header,
        &mut packets,
        &mut sizes,
        0,
        v6,
    )
    .expect("well formed");
    assert_eq!(cut, count);
    for (packet, size) in packets.iter_mut().zip(sizes) {
        packet.truncate(size);
    }
    packets
}

#[test]
fn super_packets_fall_as_tun_rs_cuts_them() {
    let mut random = Lcg::new(1);
    for round in 0..400 {
        let version = [Version::V4, Version::V6][round % 2];
        let length = 1 + random.below(if round < 40 { 64_000 } else { 4_000 });
        let payload = random.bytes(length);
        let mut sample = if round % 3 == 0 {
            Sample::udp(version, payload)
        } else {
            Sample::tcp(version, payload)
        };
        sample.id = random.below(65_536) as u16;
        sample.flags =
            tcp_flags::ACK | [0, tcp_flags::PSH, tcp_flags::FIN, tcp_flags::CWR][random.below(4)];
        let size = 1 + random.below(length.min(1_400)) as u16;
        let ours = packets(header(&sample, size), &mut sample.partial());
        assert_eq!(
            ours,
            theirs(&sample, size),
            "{version:?}, {length} bytes by {size}"
        );
    }
}

#[test]
fn a_partial_checksum_is_completed() {
    let mut random = Lcg::new(2);
    for version in [Version::V4, Version::V6] {
        for length in 0..200 {
            for sample in [
                Sample::tcp(version, random.bytes(length)),
                Sample::udp(version, random.bytes(length)),
            ] {
                let header = Header {
                    segments: None,
                    ..header(&sample, 1)
                };
                assert_eq!(packets(header, &mut sample.partial()), [sample.bytes()]);
            }
        }
    }
}

#[test]
fn a_complete_packet_goes_as_it_is() {
    let mut packet = Sample::tcp(Version::V4, vec![1, 2, 3]).bytes();
    let expected = packet.clone();
    assert_eq!(packets(Header::PLAIN, &mut packet), [expected]);
}

/// RFC 768: a UDP checksum that comes to zero is sent as all ones, since zero means that there is none.
#[test]
fn udp_never_gets_a_zero_checksum() {
    let mut zeros = 0;
    for word in 0..=u16::MAX {
        let sample = Sample::udp(Version::V4, word.to_be_bytes().to_vec());
        let header = Header {
            segments: None,
            ..header(&sample, 1)
        };
        let packet = &packets(header, &mut sample.partial())[0];
        assert_ne!(packet[26..28], [0, 0]);
        zeros += usize::from(packet[26..28] == [0xff, 0xff]);
    }
    assert_eq!(zeros, 1, "one of all words brings the sum to zero");
}

#[test]
fn nonsense_is_refused_or_cut_but_never_panics() {
    let mut random = Lcg::new(3);
    let (mut cut, mut refused) = (0, 0);
    for round in 0..20_000 {
        // Half of the rounds: a good super-packet under a bad header; else noise.
        let mut packet = if round % 2 == 0 {
            Sample::tcp([Version::V4, Version::V6][round / 2 % 2], random.bytes(100)).partial()
        } else {
            let length = random.below(120);
            random.bytes(length)
        };
        let kind = [SegmentKind::TcpIpv4, SegmentKind::TcpIpv6, SegmentKind::Udp][random.below(3)];
        let header = Header {
            checksum: (random.below(4) > 0).then(|| PartialChecksum {
                start: [20, 40, random.below(200)][random.below(3)] as u16,
                offset: [16, 6, random.below(100)][random.below(3)] as u16,
            }),
            segments: (random.below(4) > 0).then(|| Segmentation {
                kind,
                size: random.below(50) as u16,
            }),
        };
        let whole = packet.len();
        match Segments::new(header, &mut packet) {
            Ok(_) => {
                let packets = packets(header, &mut packet);
                let headers: usize = packets.iter().map(Vec::len).sum();
                assert!(headers <= whole * packets.len() && packets.len() <= whole.max(1));
                cut += 1;
            }
            Err(Malformed) => refused += 1,
        }
    }
    assert!(
        cut > 1_000 && refused > 1_000,
        "{cut} cut, {refused} refused"
    );
}

#[test]
fn frames_without_a_header_are_refused() {
    for length in 0..10 {
        assert_eq!(Header::parse(&mut vec![0; length]), Err(Malformed));
    }
    let unknown = &mut [0, 3, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(Header::parse(unknown), Err(Malformed));
}
