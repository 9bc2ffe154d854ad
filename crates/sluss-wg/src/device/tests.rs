//! What cannot be seen from outside: that nothing is kept longer than it is needed.

use core::time::Duration;

use super::*;
use crate::{Respond, Tai64n, Timing};

const SECOND: Duration = Duration::from_secs(1);

struct Pair {
    now: Now,
    nodes: [(SoftwareKey, Device, Outbound, Inbound); 2],
}

impl Pair {
    fn new() -> Self {
        let now = Now {
            boot: Time::since_boot(1000 * SECOND),
            wall: 1_795_000_000 * SECOND,
        };
        let key = |number: u8| SoftwareKey::new([number; 32]);
        let node = |us: u8, them: u8| {
            let config = Config {
                public_key: key(us).public(),
                respond: Respond::Freely,
                timing: Timing::default(),
                stamp_floor: Tai64n::default(),
                mtu: 1420,
                seed: [us; 32],
            };
            let peer = PeerConfig {
                public_key: key(them).public(),
                preshared_key: None,
                endpoints: SocketAddr::from(([192, 0, 2, them], 1)).into(),
                allowed_ips: Vec::new(),
                persistent_keepalive: None,
            };
            let (device, outbound, inbound) = Device::new(config, vec![peer], now.boot).unwrap();
            (key(us), device, outbound, inbound)
        };
        Self {
            now,
            nodes: [node(1, 2), node(2, 1)],
        }
    }

    /// Gives one node an input, and carries everything that comes of it unless `lossy`.
    fn handle(&mut self, node: usize, input: Input<'_>, lossy: bool) {
        let mut wire = Vec::new();
        let (key, device, outbound, inbound) = &mut self.nodes[node];
        let mut outputs = Vec::new();
        device.handle_with(key, input, self.now, &mut outputs);
        let mut notices = Vec::new();
        for output in outputs {
            match output {
                Output::Send { datagram, .. } => wire.push(datagram.to_vec()),
                Output::Outbound(update) => {
                    let send = &mut |_, bytes: &[u8]| wire.push(bytes.to_vec());
                    outbound.apply(update, self.now.boot, &mut notices, send);
                }
                Output::Inbound(update) => inbound.apply(update),
                Output::Dh { .. } | Output::PersistStamp { .. } | Output::Event(_) => {}
            }
        }
        notices
            .into_iter()
            .for_each(|notice| self.handle(node, Input::Notice(notice), lossy));
        if !lossy {
            wire.into_iter()
                .for_each(|bytes| self.receive(1 - node, &bytes));
        }
    }

    fn receive(&mut self, node: usize, bytes: &[u8]) {
        let from = SocketAddr::from(([192, 0, 2, 2 - node as u8], 1));
        if !crate::is_transport(bytes) {
            return self.handle(node, Input::Datagram { from, bytes }, false);
        }
        let mut notices = Vec::new();
        let _ = self.nodes[node]
            .3
            .open(from, &mut bytes.to_vec(), self.now.boot, &mut notices);
        notices
            .into_iter()
            .for_each(|notice| self.handle(node, Input::Notice(notice), false));
    }

    fn pass(&mut self, duration: Duration) {
        self.now = Now {
            boot: self.now.boot + duration,
            wall: self.now.wall + duration,
        };
        (0..2).for_each(|node| self.handle(node, Input::Tick, false));
    }

    fn indices(&self) -> [usize; 2] {
        [0, 1].map(|node| self.nodes[node].1.shared.indices_in_use())
    }

    fn sessions(&self) -> [usize; 2] {
        [0, 1].map(|node| self.nodes[node].3.sessions_held())
    }
}

#[test]
fn indices_are_freed_with_the_sessions_and_handshakes_that_had_them() {
    let mut pair = Pair::new();
    let peer = PeerId(1);
    for round in 0..200 {
        let (node, lossy) = (round / 3 % 2, round % 3 == 0);
        pair.handle(node, Input::Kick(peer), lossy);
        pair.pass(SECOND * [7, 121, 200, 1][round % 4]);
        assert!(
            pair.indices().iter().all(|&indices| indices <= 4),
            "three sessions and a handshake"
        );
        assert!(pair.sessions().iter().all(|&sessions| sessions <= 3));
    }
    pair.pass(600 * SECOND);
    pair.pass(600 * SECOND);
    assert_eq!(
        (pair.indices(), pair.sessions()),
        ([0, 0], [0, 0]),
        "and all in the end"
    );
    assert!(
        pair.nodes
            .iter()
            .all(|(_, device, ..)| device.shared.requests_open() == 0)
    );
}

#[test]
fn a_removed_peer_and_a_forgotten_key_leave_nothing() {
    for input in [|| Input::ForgetKey, || Input::RemovePeer(PeerId(1))] {
        let mut pair = Pair::new();
        pair.handle(0, Input::Kick(PeerId(1)), false);
        pair.pass(121 * SECOND);
        pair.handle(0, Input::Kick(PeerId(1)), true);
        assert_eq!((pair.indices()[0], pair.sessions()[0]), (2, 1));
        pair.handle(0, input(), false);
        assert_eq!((pair.indices()[0], pair.sessions()[0]), (0, 0));
        assert!(pair.nodes[0].1.agenda.is_empty());
    }
}
