//! A laptop with a card, and two gateways with one key, each at two addresses.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use sluss_wg::{Endpoints, Input, Now, Respond, Time};

use crate::rig::{Holder, Node, SECOND, Setup, packet};

/// The addresses of the first gateway, IPv6 first, and of the one that stands in for it.
pub(crate) fn first() -> [SocketAddr; 2] {
    ["[2001:db8::2]:51820", "192.0.2.2:51820"].map(|address| address.parse().unwrap())
}

pub(crate) fn second() -> [SocketAddr; 2] {
    ["[2001:db8::3]:51820", "192.0.2.3:51820"].map(|address| address.parse().unwrap())
}

/// A laptop whose key is on a card, and two gateways with one key.
pub(crate) struct Town {
    pub(crate) now: Now,
    pub(crate) laptop: Node,
    pub(crate) gateways: [(Node, [SocketAddr; 2]); 2],
    /// What is sent there is lost.
    pub(crate) deaf: BTreeSet<SocketAddr>,
    /// What is sent from there is lost.
    pub(crate) mute: BTreeSet<SocketAddr>,
    /// How long the answers of an address are under way.
    pub(crate) slow: Option<(SocketAddr, Duration)>,
    /// When they come.
    pub(crate) late: Vec<(Time, SocketAddr, Vec<u8>)>,
    /// All initiations: when, to whom, and what.
    pub(crate) calls: Vec<(Duration, SocketAddr, Vec<u8>)>,
    pub(crate) began: Time,
}

impl Town {
    pub(crate) fn new() -> Self {
        let now = Now {
            boot: Time::since_boot(1000 * SECOND),
            wall: 1_795_000_000 * SECOND,
        };
        let card = Setup {
            holder: Holder::Card,
            respond: Respond::Never,
            ..Setup::default()
        };
        let gateway = || Node::new(2, 1, &Setup::default(), now);
        let mut town = Self {
            now,
            laptop: Node::new(1, 2, &card, now),
            gateways: [(gateway(), first()), (gateway(), second())],
            deaf: BTreeSet::new(),
            mute: BTreeSet::new(),
            slow: None,
            late: Vec::new(),
            calls: Vec::new(),
            began: now.boot,
        };
        town.list(&[&first(), &second()]);
        town
    }

    /// The same, after a handshake with the first gateway.
    pub(crate) fn connected() -> Self {
        let mut town = Self::new();
        town.kick();
        assert_eq!(town.in_use(), first()[0]);
        town.calls.clear();
        town
    }

    pub(crate) fn list(&mut self, groups: &[&[SocketAddr]]) {
        let peer = self.laptop.peer();
        let endpoints = Endpoints::new(groups.iter().map(|group| group.to_vec()));
        self.order(Input::SetEndpoints { peer, endpoints });
    }

    pub(crate) fn kick(&mut self) {
        self.order(Input::Kick(self.laptop.peer()));
    }

    pub(crate) fn order(&mut self, input: Input<'_>) {
        self.laptop.handle(input, self.now);
        self.carry();
    }

    pub(crate) fn say(&mut self) {
        let packet = packet(self.laptop.ip, self.gateways[0].0.ip, b"x");
        let _ = self.laptop.send(&packet, self.now);
        self.carry();
    }

    /// The first gateway is off.
    pub(crate) fn lose_first(&mut self) {
        self.deaf.extend(first());
    }

    /// Carries datagrams, and has the card answer at once.
    pub(crate) fn carry(&mut self) {
        loop {
            if !self.laptop.asked.is_empty() {
                self.laptop.answer(self.now);
            }
            if let Some((to, bytes)) = self.laptop.wire.pop_front() {
                self.reach(to, bytes);
            } else if let Some(index) = self.late.iter().position(|(at, ..)| *at <= self.now.boot) {
                let (_, from, bytes) = self.late.remove(index);
                self.laptop.receive(from, &bytes, self.now);
            } else if self.laptop.asked.is_empty() {
                return;
            }
        }
    }

    pub(crate) fn reach(&mut self, to: SocketAddr, bytes: Vec<u8>) {
        if bytes[0] == 1 {
            let at = self.now.boot.saturating_since(self.began);
            self.calls.push((at, to, bytes.clone()));
        }
        let reached = |(_, at): &&mut (Node, [SocketAddr; 2])| at.contains(&to);
        let Some((gateway, _)) = self.gateways.iter_mut().find(reached) else {
            return;
        };
        if self.deaf.contains(&to) {
            return;
        }
        gateway.receive(self.laptop.address, &bytes, self.now);
        for answer in gateway.take_wire() {
            let delay = self.slow.filter(|(slow, _)| *slow == to);
            let delay = delay.map_or(Duration::ZERO, |(_, delay)| delay);
            if !self.mute.contains(&to) {
                self.late.push((self.now.boot + delay, to, answer));
            }
        }
    }

    pub(crate) fn pass(&mut self, duration: Duration) {
        let end = self.now.boot + duration;
        loop {
            let gateways = self.gateways.iter().map(|(gateway, _)| gateway);
            let devices = gateways.chain([&self.laptop]).map(|node| &node.device);
            let due = devices.filter_map(|device| Some(device.deadline()?.at));
            let due = due.chain(self.late.iter().map(|(at, ..)| *at)).min();
            let at = due.map_or(end, |at| at.clamp(self.now.boot, end));
            self.now.wall += at.saturating_since(self.now.boot);
            self.now.boot = at;
            self.laptop.handle(Input::Tick, self.now);
            for (gateway, addresses) in &mut self.gateways {
                gateway.handle(Input::Tick, self.now);
                let alive = addresses.iter().find(|it| !self.deaf.contains(it));
                let from = *alive.unwrap_or(&addresses[0]);
                let said = gateway.take_wire();
                self.late
                    .extend(said.into_iter().map(|bytes| (at, from, bytes)));
            }
            self.carry();
            if due.is_none_or(|due| due > end) {
                return;
            }
        }
    }

    pub(crate) fn in_use(&self) -> SocketAddr {
        let status = self.laptop.device.status().next().unwrap();
        status.endpoint.unwrap()
    }

    pub(crate) fn silent(&self) -> Vec<SocketAddr> {
        let status = self.laptop.device.status().next().unwrap();
        let silent = status
            .endpoints
            .iter()
            .filter(|it| it.silent_since.is_some());
        silent.map(|it| it.address).collect()
    }

    pub(crate) fn sessions(&self) -> usize {
        self.laptop.sessions()
    }

    /// Whom the laptop has called, and how long after the first call.
    pub(crate) fn called(&self) -> Vec<(Duration, SocketAddr)> {
        let begun = self.calls.first().map_or(Duration::ZERO, |call| call.0);
        let calls = self.calls.iter();
        calls.map(|(at, to, _)| (*at - begun, *to)).collect()
    }
}
