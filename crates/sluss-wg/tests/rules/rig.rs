//! Two devices on a wire that the test holds in its hand, and a clock that only the test moves.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use sluss_wg::{
    Config, Device, DhError, DhId, Dropped, Event, HEADER, Inbound, Input, NotSealed, Notice, Now,
    Outbound, Output, PeerConfig, PeerId, PublicKey, Respond, SharedSecret, SoftwareKey, TAIL,
    Tai64n, Time, Timing, is_transport,
};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// Where the static key is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holder {
    /// In memory: answers in the same turn.
    Memory,
    /// On a card: answers when the test says so.
    Card,
}

pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    pub(crate) ip: Ipv4Addr,
    pub(crate) key: SoftwareKey,
    pub(crate) holder: Holder,
    pub(crate) device: Device,
    pub(crate) outbound: Outbound,
    pub(crate) inbound: Inbound,
    /// Requests to the card that nobody has answered yet.
    pub(crate) asked: VecDeque<(DhId, PublicKey)>,
    /// Diffie-Hellmans that the holder was asked for in all.
    pub(crate) operations: usize,
    pub(crate) events: Vec<Event>,
    pub(crate) persisted: Option<Tai64n>,
    /// IP packets that came out of the tunnel.
    pub(crate) received: Vec<Vec<u8>>,
    pub(crate) dropped: Vec<Dropped>,
    /// Datagrams that go out, with where they go.
    pub(crate) wire: VecDeque<(SocketAddr, Vec<u8>)>,
    /// Types of all datagrams that went out.
    pub(crate) sent: Vec<u8>,
    /// Turns that a deadline caused.
    pub(crate) wakes: usize,
    pub(crate) notices: usize,
}

pub(crate) struct Setup {
    pub(crate) respond: Respond,
    pub(crate) holder: Holder,
    pub(crate) timing: Timing,
    pub(crate) stamp_floor: Tai64n,
    pub(crate) persistent_keepalive: Option<Duration>,
    /// Whether it knows where the other is.
    pub(crate) knows_endpoint: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            respond: Respond::Freely,
            holder: Holder::Memory,
            timing: Timing::default(),
            stamp_floor: Tai64n::default(),
            persistent_keepalive: None,
            knows_endpoint: true,
        }
    }
}

pub(crate) fn key(number: u8) -> SoftwareKey {
    SoftwareKey::new([number; 32])
}

pub(crate) fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, number], 51820))
}

pub(crate) fn tunnel_ip(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, number)
}

/// An IPv4 packet with a payload.
pub(crate) fn packet(from: Ipv4Addr, to: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(20 + payload.len()).unwrap();
    let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0];
    packet[2..4].copy_from_slice(&len.to_be_bytes());
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend(payload);
    packet
}

impl Node {
    pub(crate) fn new(number: u8, other: u8, setup: &Setup, now: Now) -> Self {
        let key = key(number);
        let config = Config {
            public_key: key.public(),
            respond: setup.respond,
            timing: setup.timing,
            stamp_floor: setup.stamp_floor,
            mtu: 1420,
            seed: [number; 32],
        };
        let peer = PeerConfig {
            public_key: self::key(other).public(),
            preshared_key: Some(sluss_wg::PresharedKey::new([42; 32])),
            endpoints: setup.knows_endpoint.then(|| address(other)).into(),
            allowed_ips: vec![ipnet::IpNet::new(tunnel_ip(other).into(), 32).unwrap()],
            persistent_keepalive: setup.persistent_keepalive,
        };
        let (device, outbound, inbound) = Device::new(config, vec![peer], now.boot).unwrap();
        Self {
            address: address(number),
            ip: tunnel_ip(number),
            key,
            holder: setup.holder,
            device,
            outbound,
            inbound,
            asked: VecDeque::new(),
            operations: 0,
            events: Vec::new(),
            persisted: None,
            received: Vec::new(),
            dropped: Vec::new(),
            wire: VecDeque::new(),
            sent: Vec::new(),
            wakes: 0,
            notices: 0,
        }
    }

    pub(crate) fn peer(&self) -> PeerId {
        self.device.status().next().unwrap().id
    }

    pub(crate) fn handle(&mut self, input: Input<'_>, now: Now) {
        let mut outputs = Vec::new();
        self.device.handle(input, now, &mut outputs);
        for output in outputs {
            match output {
                Output::Send { to, datagram } => self.put_on_wire(to, &datagram),
                Output::Dh { id, with, deadline } => {
                    assert!(deadline > now.boot);
                    self.operations += 1;
                    match self.holder {
                        Holder::Memory => self.handle(
                            Input::Dh {
                                id,
                                result: self.key.dh(&with),
                            },
                            now,
                        ),
                        Holder::Card => self.asked.push_back((id, with)),
                    }
                }
                Output::Outbound(update) => {
                    let (mut notices, mut freed) = (Vec::new(), Vec::new());
                    self.outbound
                        .apply(update, now.boot, &mut notices, &mut |to, bytes| {
                            freed.push((to, bytes.to_vec()))
                        });
                    freed
                        .iter()
                        .for_each(|(to, bytes)| self.put_on_wire(*to, bytes));
                    self.notify(notices, now);
                }
                Output::Inbound(update) => self.inbound.apply(update),
                Output::PersistStamp { up_to } => self.persisted = Some(up_to),
                Output::Event(event) => self.events.push(event),
            }
        }
    }

    fn notify(&mut self, notices: Vec<Notice>, now: Now) {
        for notice in notices {
            self.notices += 1;
            self.handle(Input::Notice(notice), now);
        }
    }

    fn put_on_wire(&mut self, to: SocketAddr, bytes: &[u8]) {
        self.sent.push(bytes[0]);
        self.wire.push_back((to, bytes.to_vec()));
    }

    /// Sends an IP packet into the tunnel.
    pub(crate) fn send(&mut self, packet: &[u8], now: Now) -> Result<(), NotSealed> {
        let mut buffer = vec![0xee; HEADER + packet.len() + TAIL];
        buffer[HEADER..HEADER + packet.len()].copy_from_slice(packet);
        let mut notices = Vec::new();
        let sealed = self
            .outbound
            .seal(&mut buffer, packet.len(), now.boot, &mut notices);
        if let Ok(sealed) = &sealed {
            self.put_on_wire(sealed.to, &buffer[..sealed.len]);
        }
        self.notify(notices, now);
        sealed.map(drop)
    }

    /// A datagram comes from the network.
    pub(crate) fn receive(&mut self, from: SocketAddr, bytes: &[u8], now: Now) {
        if !is_transport(bytes) {
            return self.handle(Input::Datagram { from, bytes }, now);
        }
        let (mut bytes, mut notices) = (bytes.to_vec(), Vec::new());
        match self.inbound.open(from, &mut bytes, now.boot, &mut notices) {
            Ok(opened) if opened.packet.is_empty() => {}
            Ok(opened) => self.received.push(bytes[opened.packet].to_vec()),
            Err(why) => self.dropped.push(why),
        }
        self.notify(notices, now);
    }

    /// The card answers its oldest request.
    pub(crate) fn answer(&mut self, now: Now) {
        let (id, with) = self.asked.pop_front().expect("the card was asked");
        self.handle(
            Input::Dh {
                id,
                result: self.key.dh(&with),
            },
            now,
        );
    }

    /// The card answers its oldest request with something else.
    pub(crate) fn answer_with(&mut self, result: Result<SharedSecret, DhError>, now: Now) {
        let (id, _) = self.asked.pop_front().expect("the card was asked");
        self.handle(Input::Dh { id, result }, now);
    }

    pub(crate) fn take_wire(&mut self) -> Vec<Vec<u8>> {
        self.wire.drain(..).map(|(_, bytes)| bytes).collect()
    }

    pub(crate) fn count(&self, kind: u8) -> usize {
        self.sent.iter().filter(|&&sent| sent == kind).count()
    }

    pub(crate) fn sessions(&self) -> usize {
        self.events
            .iter()
            .filter(|event| matches!(event, Event::SessionEstablished { .. }))
            .count()
    }
}

/// Alice is node 1, Bob node 2.
pub(crate) struct World {
    pub(crate) now: Now,
    pub(crate) alice: Node,
    pub(crate) bob: Node,
}

impl World {
    pub(crate) fn new(alice: Setup, bob: Setup) -> Self {
        let now = Now {
            boot: Time::since_boot(1000 * SECOND),
            wall: 1_795_000_000 * SECOND,
        };
        Self {
            now,
            alice: Node::new(1, 2, &alice, now),
            bob: Node::new(2, 1, &bob, now),
        }
    }

    pub(crate) fn ordinary() -> Self {
        Self::new(Setup::default(), Setup::default())
    }

    /// Alice's key is on a card; Bob is a gateway.
    pub(crate) fn with_card() -> Self {
        Self::new(
            Setup {
                holder: Holder::Card,
                respond: Respond::Never,
                ..Setup::default()
            },
            Setup::default(),
        )
    }

    /// Alice sends to Bob.
    pub(crate) fn alice_says(&mut self, payload: &[u8]) -> Result<(), NotSealed> {
        let packet = packet(self.alice.ip, self.bob.ip, payload);
        self.alice.send(&packet, self.now)
    }

    pub(crate) fn bob_says(&mut self, payload: &[u8]) -> Result<(), NotSealed> {
        let packet = packet(self.bob.ip, self.alice.ip, payload);
        self.bob.send(&packet, self.now)
    }

    /// Carries datagrams both ways until there are none.
    pub(crate) fn deliver(&mut self) {
        loop {
            if let Some((to, bytes)) = self.alice.wire.pop_front() {
                if to == self.bob.address {
                    self.bob.receive(self.alice.address, &bytes, self.now);
                }
            } else if let Some((to, bytes)) = self.bob.wire.pop_front() {
                if to == self.alice.address {
                    self.alice.receive(self.bob.address, &bytes, self.now);
                }
            } else {
                return;
            }
        }
    }

    /// Lets time pass, each deadline kept to the nanosecond; datagrams are carried at once.
    pub(crate) fn pass(&mut self, duration: Duration) {
        self.pass_with(duration, Self::deliver);
    }

    /// The same, but what is sent stays on the wire.
    pub(crate) fn pass_silently(&mut self, duration: Duration) {
        self.pass_with(duration, |_| {});
    }

    fn pass_with(&mut self, duration: Duration, mut carry: impl FnMut(&mut Self)) {
        let end = self.now.boot + duration;
        carry(self);
        for _ in 0..100_000 {
            let due = [&self.alice, &self.bob]
                .into_iter()
                .filter_map(|node| node.device.deadline())
                .map(|due| due.at)
                .min();
            let Some(at) = due.filter(|&at| at <= end) else {
                break;
            };
            self.jump_to(at.max(self.now.boot));
            self.tick();
            carry(self);
        }
        self.jump_to(end);
        self.tick();
        carry(self);
    }

    /// Time passes and nobody is woken: a laptop that sleeps.
    pub(crate) fn jump(&mut self, duration: Duration) {
        self.jump_to(self.now.boot + duration);
    }

    fn jump_to(&mut self, at: Time) {
        self.now.wall += at.saturating_since(self.now.boot);
        self.now.boot = at;
    }

    pub(crate) fn tick(&mut self) {
        for node in [&mut self.alice, &mut self.bob] {
            if node
                .device
                .deadline()
                .is_some_and(|due| due.at <= self.now.boot)
            {
                node.wakes += 1;
                node.handle(Input::Tick, self.now);
            }
        }
    }

    /// A session begun by Alice, with one packet each way.
    pub(crate) fn connected(mut self) -> Self {
        self.talk();
        self
    }

    /// One packet each way arrives.
    pub(crate) fn talk(&mut self) {
        let (alice, bob) = (self.alice.received.len(), self.bob.received.len());
        let _ = self.alice_says(b"ping");
        self.settle();
        let _ = self.bob_says(b"pong");
        self.settle();
        assert_eq!(self.bob.received.len(), bob + 1, "Bob hears Alice");
        assert_eq!(self.alice.received.len(), alice + 1, "Alice hears Bob");
    }

    /// Delivers, and lets cards answer at once.
    pub(crate) fn settle(&mut self) {
        self.deliver();
        while !self.alice.asked.is_empty() || !self.bob.asked.is_empty() {
            for node in [&mut self.alice, &mut self.bob] {
                if !node.asked.is_empty() {
                    node.answer(self.now);
                }
            }
            self.deliver();
        }
    }
}

pub(crate) fn initiations(datagrams: &[Vec<u8>]) -> usize {
    datagrams.iter().filter(|bytes| bytes[0] == 1).count()
}
