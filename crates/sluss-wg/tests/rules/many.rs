//! A device with many peers: a gateway.

use std::collections::HashMap;

use sluss_wg::{
    Config, Device, HEADER, Inbound, Input, Now, Outbound, Output, PeerConfig, Respond, TAIL,
    Tai64n, Time, Timing, is_transport,
};

use crate::rig::{Node, SECOND, Setup, address, key, packet, tunnel_ip};

/// A gateway whose key is in memory.
struct Gateway {
    device: Device,
    outbound: Outbound,
    inbound: Inbound,
    received: Vec<Vec<u8>>,
    wire: HashMap<std::net::SocketAddr, Vec<Vec<u8>>>,
}

const GATEWAY: u8 = 200;

impl Gateway {
    fn new(users: std::ops::Range<u8>, now: Now) -> Self {
        let config = Config {
            public_key: key(GATEWAY).public(),
            respond: Respond::Freely,
            timing: Timing::default(),
            stamp_floor: Tai64n::default(),
            mtu: 1420,
            seed: [9; 32],
        };
        let peers = users.map(|user| PeerConfig {
            public_key: key(user).public(),
            preshared_key: Some(sluss_wg::PresharedKey::new([42; 32])),
            endpoints: None.into(),
            allowed_ips: vec![ipnet::IpNet::new(tunnel_ip(user).into(), 32).unwrap()],
            persistent_keepalive: None,
        });
        let (device, outbound, inbound) = Device::new(config, peers.collect(), now.boot).unwrap();
        Self {
            device,
            outbound,
            inbound,
            received: Vec::new(),
            wire: HashMap::new(),
        }
    }

    fn handle(&mut self, input: Input<'_>, now: Now) {
        let mut outputs = Vec::new();
        self.device
            .handle_with(&key(GATEWAY), input, now, &mut outputs);
        let mut notices = Vec::new();
        for output in outputs {
            match output {
                Output::Send { to, datagram } => {
                    self.wire.entry(to).or_default().push(datagram.to_vec())
                }
                Output::Outbound(update) => {
                    let wire = &mut self.wire;
                    let send =
                        &mut |to, bytes: &[u8]| wire.entry(to).or_default().push(bytes.to_vec());
                    self.outbound.apply(update, now.boot, &mut notices, send);
                }
                Output::Inbound(update) => self.inbound.apply(update),
                Output::Dh { .. } => panic!("the key is in memory"),
                Output::PersistStamp { .. } | Output::Event(_) => {}
            }
        }
        notices
            .into_iter()
            .for_each(|notice| self.handle(Input::Notice(notice), now));
    }

    fn receive(&mut self, from: std::net::SocketAddr, bytes: &[u8], now: Now) {
        if !is_transport(bytes) {
            return self.handle(Input::Datagram { from, bytes }, now);
        }
        let (mut bytes, mut notices) = (bytes.to_vec(), Vec::new());
        let opened = self
            .inbound
            .open(from, &mut bytes, now.boot, &mut notices)
            .unwrap();
        if !opened.packet.is_empty() {
            self.received.push(bytes[opened.packet].to_vec());
        }
        notices
            .into_iter()
            .for_each(|notice| self.handle(Input::Notice(notice), now));
    }

    fn send(&mut self, packet: &[u8], now: Now) {
        let mut buffer = vec![0; HEADER + packet.len() + TAIL];
        buffer[HEADER..HEADER + packet.len()].copy_from_slice(packet);
        let sealed = self
            .outbound
            .seal(&mut buffer, packet.len(), now.boot, &mut Vec::new())
            .unwrap();
        self.wire
            .entry(sealed.to)
            .or_default()
            .push(buffer[..sealed.len].to_vec());
    }
}

#[test]
fn every_user_reaches_the_gateway_and_only_its_own_packets_come_back() {
    let mut now = Now {
        boot: Time::since_boot(1000 * SECOND),
        wall: 1_795_000_000 * SECOND,
    };
    let users = 1..101u8;
    let mut gateway = Gateway::new(users.clone(), now);
    let mut nodes: Vec<Node> = users
        .map(|user| Node::new(user, GATEWAY, &Setup::default(), now))
        .collect();
    for _ in 0..3 {
        for node in &mut nodes {
            let hello = packet(node.ip, tunnel_ip(GATEWAY), b"hello");
            let _ = node.send(&hello, now);
            while !node.wire.is_empty() {
                for bytes in node.take_wire() {
                    gateway.receive(node.address, &bytes, now);
                }
                for bytes in gateway.wire.remove(&node.address).unwrap_or_default() {
                    node.receive(address(GATEWAY), &bytes, now);
                }
            }
            // One at a time a second: a hundred at once would be load, and load wants cookies.
            now = Now {
                boot: now.boot + SECOND / 10,
                wall: now.wall + SECOND / 10,
            };
        }
        now = Now {
            boot: now.boot + 150 * SECOND,
            wall: now.wall + 150 * SECOND,
        };
        gateway.handle(Input::Tick, now);
        nodes
            .iter_mut()
            .for_each(|node| node.handle(Input::Tick, now));
    }
    assert!(gateway.received.len() >= 300);
    for node in &mut nodes {
        gateway.wire.clear();
        let (ip, before) = (node.ip, node.received.len());
        gateway.send(&packet(tunnel_ip(GATEWAY), ip, b"for you"), now);
        assert_eq!(gateway.wire.len(), 1);
        for bytes in gateway
            .wire
            .remove(&node.address)
            .expect("to where it last came from")
        {
            node.receive(address(GATEWAY), &bytes, now);
        }
        assert_eq!(node.received.len(), before + 1);
    }
    let status: Vec<_> = gateway.device.status().collect();
    assert!(
        status.len() == 100
            && status
                .iter()
                .all(|peer| peer.last_handshake.is_some() && peer.received > 0)
    );
}
