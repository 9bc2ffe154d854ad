//! Transport data: routing, padding, replay, roaming, and packets that wait (whitepaper 2, 5.4.6).

use std::net::{IpAddr, Ipv6Addr};

use sluss_wg::{Dropped, Event, HEADER, Input, NotSealed, Notice, PeerConfig, TAG, Timing};

use crate::rig::{Node, SECOND, Setup, World, address, key, packet, tunnel_ip};

/// Whitepaper 5.4.6: zeros up to a multiple of 16; and the kernel's rule, never beyond the MTU.
#[test]
fn packets_are_padded_to_sixteen_within_the_mtu() {
    let mut world = World::ordinary().connected();
    for payload in 0..=1400usize {
        let sent = packet(world.alice.ip, world.bob.ip, &vec![7; payload]);
        world.alice.send(&sent, world.now).unwrap();
        let bytes = world.alice.wire.pop_front().unwrap().1;
        let padded = (sent.len().div_ceil(16) * 16).min(1420);
        assert_eq!(bytes.len(), HEADER + padded + TAG);
        world.bob.receive(address(1), &bytes, world.now);
        assert_eq!(
            world.bob.received.pop().unwrap(),
            sent,
            "and the padding is gone"
        );
    }
}

#[test]
fn a_packet_larger_than_the_mtu_still_passes() {
    let mut world = World::ordinary().connected();
    let large = packet(world.alice.ip, world.bob.ip, &[7; 9001]);
    world.alice.send(&large, world.now).unwrap();
    world.deliver();
    assert_eq!(*world.bob.received.last().unwrap(), large);
}

/// The packets as [`sluss_wg::Lane::seal`] wants them, with noise wherever it writes; and their lengths.
fn batch(node: &Node, packets: &[Vec<u8>]) -> (Vec<u8>, Vec<usize>) {
    let mut bytes = Vec::new();
    for packet in packets {
        let end = bytes.len() + node.outbound.datagram_len(packet.len());
        bytes.extend([0xee; HEADER]);
        bytes.extend(packet);
        bytes.resize(end, 0xee);
    }
    (bytes, packets.iter().map(Vec::len).collect())
}

#[test]
fn a_batch_is_sealed_over_one_lane() {
    let mut world = World::ordinary().connected();
    let (now, peer) = (world.now, world.alice.peer());
    assert_eq!(world.alice.outbound.route(world.bob.ip.into()), Some(peer));
    // Lengths on both sides of a multiple of 16, the shortest packet, and more than the MTU.
    let packets: Vec<_> = (0..64)
        .chain([1500, 9000])
        .map(|length| packet(tunnel_ip(1), tunnel_ip(2), &vec![length as u8; length]))
        .collect();
    let (mut bytes, lengths) = batch(&world.alice, &packets);
    let (short, whole) = (bytes.len() - 1, bytes.len());
    let mut notices = Vec::new();
    let mut lane = world
        .alice
        .outbound
        .lane(peer, now.boot, &mut notices)
        .unwrap();
    assert_eq!(lane.to(), address(2));
    assert_eq!(
        lane.seal(&mut bytes[..short], &lengths),
        Err(NotSealed::NoRoom)
    );
    assert_eq!(lane.seal(&mut bytes, &lengths), Ok(whole));
    let mut rest = &bytes[..];
    for packet in &packets {
        let (datagram, others) = rest.split_at(world.alice.outbound.datagram_len(packet.len()));
        world.bob.receive(address(1), datagram, now);
        assert_eq!(world.bob.received.last(), Some(packet));
        rest = others;
    }
    assert_eq!(world.bob.received.len(), 1 + packets.len());
}

/// Whitepaper 6.2: after REJECT-AFTER-MESSAGES nothing is sent on a session. What is left of a batch goes on the next.
#[test]
fn a_batch_may_use_up_the_counters() {
    let timing = Timing {
        rekey_after_messages: 20,
        reject_after_messages: 40,
        ..Timing::default()
    };
    let setup = || Setup {
        timing,
        ..Setup::default()
    };
    let mut world = World::new(setup(), setup()).connected();
    let (now, peer) = (world.now, world.alice.peer());
    let packets: Vec<_> = (0..60)
        .map(|number| packet(tunnel_ip(1), tunnel_ip(2), &[number; 100]))
        .collect();
    let (mut bytes, lengths) = batch(&world.alice, &packets);
    let mut notices = Vec::new();
    let mut lane = world
        .alice
        .outbound
        .lane(peer, now.boot, &mut notices)
        .unwrap();
    let ready = lane.seal(&mut bytes, &lengths).unwrap();
    let datagrams = bytes[..ready].chunks(world.alice.outbound.datagram_len(lengths[0]));
    assert_eq!(datagrams.len(), 39, "one counter was spent before");
    for datagram in datagrams {
        world.bob.receive(address(1), datagram, now);
    }
    world.pass(6 * SECOND);
    let _ = world.alice_says(b"and on");
    world.settle();
    assert_eq!(world.bob.received[1..=60], packets);
    assert_eq!(world.bob.dropped, []);
}

#[test]
fn a_buffer_without_room_is_refused() {
    let mut world = World::ordinary().connected();
    let packet = packet(world.alice.ip, world.bob.ip, b"x");
    let mut buffer = vec![0; HEADER + packet.len()];
    buffer[HEADER..].copy_from_slice(&packet);
    let mut notices = Vec::new();
    let sealed = world
        .alice
        .outbound
        .seal(&mut buffer, packet.len(), world.now.boot, &mut notices);
    assert_eq!(sealed, Err(NotSealed::NoRoom));
    assert_eq!(
        world
            .alice
            .outbound
            .seal(&mut buffer, 4000, world.now.boot, &mut notices),
        Err(NotSealed::NoRoom)
    );
}

#[test]
fn each_transport_message_counts_once_in_any_order() {
    let mut world = World::ordinary().connected();
    for number in 0..200u8 {
        world.alice_says(&[number]).unwrap();
    }
    let mut bytes = world.alice.take_wire();
    bytes.reverse();
    for bytes in bytes.iter().chain(&bytes) {
        world.bob.receive(address(1), bytes, world.now);
    }
    assert_eq!(world.bob.received.len(), 1 + 200);
    assert_eq!(world.bob.dropped, vec![Dropped::Replayed; 200]);
}

/// What receive offload may join: two sessions, repetitions, forgeries, strangers, and messages that are no transport data.
#[test]
fn each_datagram_of_a_run_is_judged_by_itself() {
    let mut world = World::ordinary().connected();
    let say = |world: &mut World, payload: u8| {
        world.alice_says(&[payload; 100]).unwrap();
        world.alice.take_wire().pop().unwrap()
    };
    let old = [1, 2, 3].map(|payload| say(&mut world, payload));
    world.bob.receive(address(1), &old[2], world.now);
    world.pass(121 * SECOND);
    world.alice_says(b"this asks for the next session").unwrap();
    world.deliver();
    assert_eq!(world.bob.sessions(), 2);
    let new = [4, 5, 6].map(|payload| say(&mut world, payload));
    let lie = packet(tunnel_ip(3), world.bob.ip, &[7; 100]);
    world.alice.send(&lie, world.now).unwrap();
    let wrong_source = world.alice.take_wire().remove(0);
    let changed = |datagram: &[u8], at: usize| {
        let mut changed = datagram.to_vec();
        changed[at] ^= 3;
        changed
    };
    let initiation = changed(&new[1], 0);
    let run = [
        &old[1],
        &new[0],
        &new[0],
        &changed(&new[1], 60),
        &changed(&new[1], 4),
        &initiation,
        &new[1],
        &old[0],
        &old[2],
        &wrong_source,
        &new[2][..31].to_vec(),
    ];
    let (stride, mut bytes) = (old[0].len(), run.map(Vec::as_slice).concat());
    let (mut notices, mut opened) = (Vec::new(), Vec::new());
    let now = world.now.boot;
    world.bob.inbound.open_run(
        address(66),
        &mut bytes,
        stride,
        now,
        &mut notices,
        &mut opened,
    );

    let payloads: Vec<_> = opened
        .into_iter()
        .map(|opened| opened.map(|opened| bytes[opened.packet][20..].to_vec()))
        .collect();
    assert_eq!(
        payloads,
        [
            Ok(vec![2; 100]),
            Ok(vec![4; 100]),
            Err(Dropped::Replayed),
            Err(Dropped::Forged),
            Err(Dropped::UnknownSession),
            Err(Dropped::NotTransport),
            Ok(vec![5; 100]),
            Ok(vec![1; 100]),
            Err(Dropped::Replayed),
            Err(Dropped::WrongSource),
            Err(Dropped::NotTransport),
        ]
    );
    assert!(
        bytes.windows(stride).any(|datagram| datagram == initiation),
        "control can still read it"
    );
    let peer = world.bob.peer();
    let from = address(66);
    let roamed = |notice: &Notice| matches!(*notice, Notice::Roamed { peer: who, from: at, .. } if (who, at) == (peer, from));
    assert!(notices.iter().any(roamed));
}

#[test]
fn a_changed_transport_message_counts_for_nothing() {
    let mut world = World::ordinary().connected();
    world.alice_says(b"hello").unwrap();
    let good = world.alice.take_wire().remove(0);
    for at in 8..good.len() {
        let mut forged = good.clone();
        forged[at] ^= 0x80;
        world.bob.receive(address(66), &forged, world.now);
    }
    assert_eq!(world.bob.received.len(), 1);
    assert!(
        world
            .bob
            .dropped
            .iter()
            .all(|why| matches!(why, Dropped::Forged | Dropped::Expired))
    );
    world.bob.receive(address(1), &good, world.now);
    assert_eq!(
        world.bob.received.len(),
        2,
        "and the window was not touched"
    );
    assert_eq!(
        world.bob.device.status().next().unwrap().endpoint,
        Some(address(1)),
        "nor the endpoint"
    );
}

/// Whitepaper 2: a source address that the peer does not own is dropped.
#[test]
fn a_peer_sends_from_its_own_addresses_only() {
    let mut world = World::ordinary().connected();
    for (source, why) in [
        (tunnel_ip(3), Dropped::WrongSource),
        (world.bob.ip, Dropped::WrongSource),
    ] {
        let sent = packet(source, world.bob.ip, b"x");
        world.alice.send(&sent, world.now).unwrap();
        world.deliver();
        assert_eq!(world.bob.dropped.pop(), Some(why));
    }
}

#[test]
fn what_is_not_ip_is_dropped() {
    let mut world = World::ordinary().connected();
    let good = packet(world.alice.ip, world.bob.ip, b"0123456789abcdef");
    let mut lies_about_its_length = good.clone();
    lies_about_its_length[2..4].copy_from_slice(&999u16.to_be_bytes());
    let mut shorter_than_a_header = good.clone();
    shorter_than_a_header[2..4].copy_from_slice(&19u16.to_be_bytes());
    for bad in [lies_about_its_length, shorter_than_a_header] {
        world.alice.send(&bad, world.now).unwrap();
        world.deliver();
        assert_eq!(world.bob.dropped.pop(), Some(Dropped::NotIp));
    }
    let mut version_9 = good;
    version_9[0] = 0x95;
    assert_eq!(
        world.alice.send(&version_9, world.now),
        Err(NotSealed::NotIp)
    );
    assert_eq!(world.alice.send(&[], world.now), Err(NotSealed::NotIp));
}

#[test]
fn an_address_that_nobody_owns_has_no_route() {
    let mut world = World::ordinary().connected();
    let lost = packet(world.alice.ip, tunnel_ip(99), b"x");
    assert_eq!(world.alice.send(&lost, world.now), Err(NotSealed::NoRoute));
}

fn owner(number: u8, nets: &[&str]) -> PeerConfig {
    PeerConfig {
        public_key: key(number).public(),
        preshared_key: None,
        endpoints: address(number).into(),
        allowed_ips: nets.iter().map(|net| net.parse().unwrap()).collect(),
        persistent_keepalive: None,
    }
}

#[test]
fn the_longest_prefix_wins_in_both_families() {
    let mut world = World::ordinary();
    let now = world.now;
    let node: &mut Node = &mut world.alice;
    for config in [
        owner(10, &["0.0.0.0/0", "::/0"]),
        owner(11, &["10.20.0.0/16", "fd00:20::/32"]),
        owner(12, &["10.20.30.0/24", "10.20.30.40/32", "fd00:20:30::/48"]),
        owner(13, &["10.20.30.128/25", "fd00:20:30::1/128"]),
    ] {
        node.handle(Input::SetPeer(config), now);
    }
    for (address, number) in [
        ("9.9.9.9", 10),
        ("10.20.1.1", 11),
        ("10.20.30.1", 12),
        ("10.20.30.40", 12),
        ("10.20.30.200", 13),
        ("10.21.0.0", 10),
        ("2001:db8::1", 10),
        ("fd00:20::1", 11),
        ("fd00:20:30::2", 12),
        ("fd00:20:30::1", 13),
    ] {
        let expected = node.device.peer(&key(number).public());
        assert_eq!(
            node.outbound.route(address.parse::<IpAddr>().unwrap()),
            expected,
            "{address}"
        );
    }
}

#[test]
fn an_allowed_ip_moves_to_who_claims_it_last_and_goes_with_its_peer() {
    let mut world = World::ordinary();
    let (now, node) = (world.now, &mut world.alice);
    let (net, inside): (&[&str], IpAddr) = (&["10.20.0.0/16"], "10.20.0.1".parse().unwrap());
    node.handle(Input::SetPeer(owner(10, net)), now);
    node.handle(Input::SetPeer(owner(11, net)), now);
    assert_eq!(
        node.outbound.route(inside),
        node.device.peer(&key(11).public())
    );
    node.handle(Input::SetPeer(owner(10, net)), now);
    assert_eq!(
        node.outbound.route(inside),
        node.device.peer(&key(10).public())
    );
    let peer = node.device.peer(&key(10).public()).unwrap();
    node.handle(Input::RemovePeer(peer), now);
    assert_eq!(node.outbound.route(inside), None);
    assert_eq!(node.device.peer(&key(10).public()), None);
}

#[test]
fn a_removed_peer_is_heard_no_more() {
    let mut world = World::ordinary().connected();
    world.bob_says(b"x").unwrap();
    let peer = world.alice.peer();
    world.alice.handle(Input::RemovePeer(peer), world.now);
    world.deliver();
    assert_eq!(world.alice.dropped, [Dropped::UnknownSession]);
    assert_eq!(world.alice.device.deadline(), None);
}

#[test]
fn ipv6_passes() {
    let mut world = World::ordinary();
    let now = world.now;
    let ours: [Ipv6Addr; 2] = ["fd00::1".parse().unwrap(), "fd00::2".parse().unwrap()];
    let with_v6 = |number: u8, ip: Ipv6Addr| PeerConfig {
        preshared_key: Some(sluss_wg::PresharedKey::new([42; 32])),
        ..owner(number, &[&format!("{ip}/128")])
    };
    world.alice.handle(Input::SetPeer(with_v6(2, ours[1])), now);
    world.bob.handle(Input::SetPeer(with_v6(1, ours[0])), now);
    let mut sent = vec![0x60, 0, 0, 0, 0, 5, 17, 64];
    sent.extend(ours[0].octets());
    sent.extend(ours[1].octets());
    sent.extend(b"hello");
    let _ = world.alice.send(&sent, now);
    world.deliver();
    assert_eq!(world.bob.received, [sent]);
}

/// Whitepaper 2.1.
#[test]
fn the_endpoint_follows_authenticated_packets() {
    let mut world = World::ordinary().connected();
    world.alice_says(b"from a train").unwrap();
    let bytes = world.alice.take_wire().remove(0);
    world.bob.receive(address(66), &bytes, world.now);
    let peer = world.bob.peer();
    assert!(world.bob.events.contains(&Event::EndpointChanged {
        peer,
        endpoint: address(66)
    }));
    world.bob_says(b"x").unwrap();
    assert_eq!(world.bob.wire.pop_front().unwrap().0, address(66));
}

#[test]
fn an_old_packet_that_comes_late_does_not_pull_the_endpoint_back() {
    let mut world = World::ordinary().connected();
    world.alice_says(b"at home").unwrap();
    world.alice_says(b"on a train").unwrap();
    let bytes = world.alice.take_wire();
    world.bob.receive(address(66), &bytes[1], world.now);
    world.bob.receive(address(1), &bytes[0], world.now);
    assert_eq!(world.bob.received.len(), 3, "both are heard");
    assert_eq!(
        world.bob.device.status().next().unwrap().endpoint,
        Some(address(66))
    );
}

/// A gateway knows no address of its users until they come.
#[test]
fn a_peer_without_an_endpoint_is_answered_and_learned() {
    let bob = Setup {
        knows_endpoint: false,
        ..Setup::default()
    };
    let mut world = World::new(Setup::default(), bob);
    assert!(matches!(
        world.bob_says(b"where are you"),
        Err(NotSealed::Staged(_))
    ));
    assert_eq!(world.bob.sent, []);
    world.talk();
}

#[test]
fn at_most_128_packets_wait_in_order_and_the_oldest_go() {
    let mut world = World::ordinary();
    for number in 0..200u8 {
        let _ = world.alice_says(&[number]);
    }
    world.deliver();
    let numbers: Vec<u8> = world.bob.received.iter().map(|packet| packet[20]).collect();
    assert_eq!(numbers, (72..200).collect::<Vec<u8>>());
}

#[test]
fn status_tells_bytes_handshake_and_endpoint() {
    let mut world = World::ordinary().connected();
    world.pass(SECOND);
    let status = world.alice.device.status().next().unwrap();
    assert_eq!(status.last_handshake, Some(world.now.boot - SECOND));
    assert_eq!((status.endpoint, status.unanswered), (Some(address(2)), 0));
    assert_eq!(
        (status.sent, status.received),
        (64, 64),
        "24 bytes each way, padded, with header and tag"
    );
}
