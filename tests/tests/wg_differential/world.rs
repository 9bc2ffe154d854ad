//! Our side and boringtun joined by a network that is bad and then good, and the books of what was sent and what came.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use boringtun::noise::errors::WireGuardError;
use boringtun::noise::{Tunn, TunnResult};
use mock_instant::MockClock;
use sluss_wg::{Input, Now, PublicKey, Time};
use x25519_dalek::StaticSecret;

use crate::ours::Ours;
use crate::rng::Rng;
use crate::{Card, Plan, Side};

pub(crate) const MS: Duration = Duration::from_millis(1);
pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// How often boringtun wants to be ticked.
const TICK: Duration = Duration::from_millis(250);

const REJECT_AFTER: Duration = Duration::from_secs(180);

/// The loss of a session is noticed after KEEPALIVE-TIMEOUT + REKEY-TIMEOUT. Then a cookie may cost one REKEY-TIMEOUT with
/// jitter, a failing card another, the last initiation's age a third; a handshake takes two operations of the card.
const RECOVERY: Duration = Duration::from_millis(15_000 + 3 * 5_334 + 3 * 2_000);

/// What the wire does to a datagram.
#[derive(Clone, Copy)]
pub(crate) struct Network {
    /// Lost, out of 100.
    pub(crate) loss: u64,
    /// Delivered twice, out of 100.
    pub(crate) duplicates: u64,
    /// The longest delay, and so the reach of reordering.
    pub(crate) delay: Duration,
}

impl Network {
    pub(crate) const GOOD: Self = Self {
        loss: 0,
        duplicates: 0,
        delay: Duration::from_millis(20),
    };
}

/// A datagram under way, ordered by when it arrives.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Flight {
    pub(crate) arrives: Time,
    pub(crate) number: usize,
    pub(crate) to: Side,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) now: Now,
    pub(crate) ours: Ours,
    pub(crate) theirs: Box<Tunn>,
    pub(crate) their_tick: Time,
    /// boringtun dropped a live session: it does when a handshake of its own is not answered for 90 s, and when the eighth
    /// handshake after it takes its place in the ring, though seven of them came to nothing.
    pub(crate) they_forgot: bool,
    pub(crate) replies: bool,
    pub(crate) network: Network,
    pub(crate) wire: BinaryHeap<Reverse<Flight>>,
    pub(crate) flights: usize,
    /// Every IP packet by its number: where it goes, and what it is.
    pub(crate) sent: BTreeMap<u64, (Side, Vec<u8>)>,
    pub(crate) delivered: BTreeSet<u64>,
}

impl World {
    pub(crate) fn new(plan: &Plan, seed: u64) -> Self {
        let boot = 1000 * SECOND;
        MockClock::set_time(boot);
        let now = Now {
            boot: Time::since_boot(boot),
            wall: 1_795_000_000 * SECOND,
        };
        let their_secret = StaticSecret::from([5; 32]);
        let their_public = x25519_dalek::PublicKey::from(&their_secret);
        let ours = Ours::new(plan, PublicKey(their_public.to_bytes()), seed, now);
        let our_public = x25519_dalek::PublicKey::from(ours.key.public().0);
        let theirs = Tunn::new(their_secret, our_public, Some(PSK), None, seed as u32, None);
        Self {
            rng: Rng(seed),
            now,
            ours,
            theirs: Box::new(theirs),
            their_tick: now.boot,
            they_forgot: false,
            replies: plan.starts.len() == 1,
            network: Network::GOOD,
            wire: BinaryHeap::new(),
            flights: 0,
            sent: BTreeMap::new(),
            delivered: BTreeSet::new(),
        }
    }

    /// Bad times: loss, reordering, duplicates, silence, sleep, a key forgotten, a card that fails.
    pub(crate) fn storm(&mut self, plan: &Plan) {
        let (loss, duplicates) = (self.rng.below(60), self.rng.below(30));
        self.network = Network {
            loss,
            duplicates,
            delay: self.rng.span(2000 * MS),
        };
        self.ours.card_fails = plan.card == Card::Slow;
        for _ in 0..self.rng.below(30) {
            match self.rng.below(20) {
                0 => {
                    let night = self.rng.span(700 * SECOND);
                    self.sleep(night);
                }
                1 => {
                    let silence = self.rng.span(300 * SECOND);
                    self.pass(silence);
                }
                2 => self.our_turn(|ours, now, _| ours.handle(Input::ForgetKey, now)),
                3 if plan.starts.contains(&Side::Ours) => {
                    self.our_turn(|ours, now, _| ours.handle(Input::Kick(ours.peer), now));
                }
                _ => {
                    let starter = plan.starts[self.rng.below(plan.starts.len() as u64) as usize];
                    self.send(starter);
                }
            }
            let pause = self.rng.span(4 * SECOND);
            self.pass(pause);
        }
        // Often, long enough for the next handshake to be due.
        if self.rng.below(3) > 0 {
            let pause = 112 * SECOND + self.rng.span(20 * SECOND);
            self.pass(pause);
        }
    }

    /// The network is good again: packets pass both ways in time, and then none is lost.
    pub(crate) fn calm(&mut self, plan: &Plan) {
        self.network = Network::GOOD;
        self.ours.card_fails = false;
        // What the bad network still holds comes first: a late response to an early initiation, say.
        self.pass(2 * SECOND);
        self.they_forgot = false;
        let (healed, before) = (self.now.boot, self.sent.len() as u64);
        while !(self.reached(Side::Ours, before) && self.reached(Side::Theirs, before)) {
            let waited = self.now.boot.saturating_since(healed);
            assert!(
                waited < RECOVERY,
                "nothing passes {waited:?} after the network healed"
            );
            plan.starts.iter().for_each(|&side| self.send(side));
            self.pass(SECOND);
        }
        // When a session runs out, what is under way on it is lost; and boringtun's clock has a coarse hand.
        let age = self.ours.session_age(self.now.boot);
        if age.is_some_and(|age| (REJECT_AFTER - 3 * SECOND..REJECT_AFTER + SECOND).contains(&age))
        {
            self.pass(5 * SECOND);
            return self.calm(plan);
        }
        let settled = self.sent.len() as u64;
        for _ in 0..30 {
            self.send(Side::Ours);
            self.send(Side::Theirs);
            self.pass(10 * MS);
        }
        self.pass(3 * SECOND);
        // If the session ran out just now, packets wait for the next.
        let sent = self.now.boot;
        while !self.missing(settled).is_empty() && self.now.boot < sent + RECOVERY {
            self.pass(SECOND);
        }
        if self.they_forgot {
            return self.calm(plan);
        }
        assert_eq!(self.missing(settled), [], "lost on a good network");
    }

    /// Which of the sixty packets after `number` have not arrived.
    fn missing(&self, number: u64) -> Vec<u64> {
        (number + 1..=number + 60)
            .filter(|number| !self.delivered.contains(number))
            .collect()
    }

    /// Whether a packet with a number above `number` has come to `side`.
    pub(crate) fn reached(&self, side: Side, number: u64) -> bool {
        self.delivered
            .range(number + 1..)
            .any(|number| self.sent[number].0 == side)
    }

    pub(crate) fn send(&mut self, from: Side) {
        let number = self.sent.len() as u64 + 1;
        let mut payload = number.to_be_bytes().to_vec();
        payload.extend((0..self.rng.below(1380)).map(|_| self.rng.next() as u8));
        match from {
            Side::Ours => {
                let packet = packet(OURS, THEIRS, &payload);
                self.sent.insert(number, (Side::Theirs, packet.clone()));
                self.our_turn(|ours, now, _| ours.send(&packet, now));
            }
            Side::Theirs => {
                let packet = packet(THEIRS, OURS, &payload);
                self.sent.insert(number, (Side::Ours, packet.clone()));
                self.tick_theirs();
                let mut buffer = [0; 2048];
                if let TunnResult::WriteToNetwork(bytes) =
                    self.theirs.encapsulate(&packet, &mut buffer)
                {
                    let bytes = bytes.to_vec();
                    self.fly(Side::Ours, bytes);
                }
            }
        }
    }

    /// An IP packet came out of a tunnel.
    pub(crate) fn deliver(&mut self, at: Side, packet: &[u8]) {
        let number = packet
            .get(20..28)
            .and_then(|number| number.try_into().ok())
            .map(u64::from_be_bytes);
        let number = number.expect("every packet here has a number");
        let (to, sent) = &self.sent[&number];
        assert!(
            *to == at && sent == packet,
            "packet {number} is not what was sent"
        );
        assert!(self.delivered.insert(number), "packet {number} came twice");
        let is_reply = number.is_multiple_of(2);
        if self.replies && !is_reply {
            self.reply(at);
        }
    }

    /// Every reply to a packet with an odd number has an even one, so that replies are not replied to.
    pub(crate) fn reply(&mut self, from: Side) {
        if (self.sent.len() + 1).is_multiple_of(2) {
            self.send(from);
        }
    }

    /// Lets a datagram loose on the network.
    pub(crate) fn fly(&mut self, to: Side, bytes: Vec<u8>) {
        if self.rng.below(100) < self.network.loss {
            return;
        }
        let copies = if self.rng.below(100) < self.network.duplicates {
            2
        } else {
            1
        };
        for _ in 0..copies {
            self.flights += 1;
            let arrives = self.now.boot + self.rng.span(self.network.delay);
            self.wire.push(Reverse(Flight {
                arrives,
                number: self.flights,
                to,
                bytes: bytes.clone(),
            }));
        }
    }

    /// Lets something happen on our side, and carries what comes of it.
    pub(crate) fn our_turn(&mut self, act: impl FnOnce(&mut Ours, Now, &mut Rng)) {
        act(&mut self.ours, self.now, &mut self.rng);
        while let Some((id, with)) = self.ours.asked.pop_front() {
            self.ours.ask_card(id, with, self.now, &mut self.rng);
        }
        for bytes in std::mem::take(&mut self.ours.outgoing) {
            self.fly(Side::Theirs, bytes);
        }
        for packet in std::mem::take(&mut self.ours.received) {
            self.deliver(Side::Ours, &packet);
        }
    }

    pub(crate) fn theirs_receive(&mut self, bytes: &[u8]) {
        let mut buffer = [0; 2048];
        let mut datagram = bytes;
        loop {
            match self
                .theirs
                .decapsulate(Some(OUR_ADDRESS.ip()), datagram, &mut buffer)
            {
                TunnResult::WriteToNetwork(bytes) => {
                    let bytes = bytes.to_vec();
                    self.fly(Side::Ours, bytes);
                }
                TunnResult::WriteToTunnelV4(packet, _) => {
                    let packet = packet.to_vec();
                    self.deliver(Side::Theirs, &packet);
                }
                TunnResult::WriteToTunnelV6(..) => panic!("nobody sent IPv6"),
                TunnResult::Done if !datagram.is_empty() => {}
                TunnResult::Err(WireGuardError::WrongIndex) => return self.they_forgot = true,
                TunnResult::Done | TunnResult::Err(_) => return,
            }
            // What waited for a session it hands out when asked again, with nothing.
            datagram = &[];
        }
    }

    pub(crate) fn tick_theirs(&mut self) {
        self.their_tick = self.now.boot + TICK;
        let mut buffer = [0; 2048];
        match self.theirs.update_timers(&mut buffer) {
            TunnResult::WriteToNetwork(bytes) => {
                let bytes = bytes.to_vec();
                self.fly(Side::Ours, bytes);
            }
            TunnResult::Err(WireGuardError::ConnectionExpired) => self.they_forgot = true,
            TunnResult::Done | TunnResult::Err(_) => {}
            TunnResult::WriteToTunnelV4(..) | TunnResult::WriteToTunnelV6(..) => {
                panic!("a timer brings no packet")
            }
        }
    }

    /// Time passes, and everything happens when it is due.
    pub(crate) fn pass(&mut self, duration: Duration) {
        let end = self.now.boot + duration;
        loop {
            let arrival = self.wire.peek().map(|Reverse(flight)| flight.arrives);
            let due = self.ours.due();
            let next = [arrival, due, Some(self.their_tick)]
                .into_iter()
                .flatten()
                .min();
            let Some(next) = next.filter(|&next| next <= end) else {
                break;
            };
            self.clock(next.max(self.now.boot));
            self.happen();
        }
        self.clock(end);
    }

    /// Both machines sleep through it; what arrived meanwhile arrives now.
    pub(crate) fn sleep(&mut self, duration: Duration) {
        self.clock(self.now.boot + duration);
        self.happen();
    }

    pub(crate) fn clock(&mut self, now: Time) {
        self.now.wall += now.saturating_since(self.now.boot);
        self.now.boot = now;
        MockClock::set_time(now.elapsed_since_boot());
    }

    /// One of the things that are due.
    pub(crate) fn happen(&mut self) {
        if self.their_tick <= self.now.boot {
            self.tick_theirs();
        }
        if self.ours.due().is_some_and(|due| due <= self.now.boot) {
            self.our_turn(|ours, now, _| ours.work(now));
        }
        while let Some(Reverse(flight)) = self.wire.peek() {
            if flight.arrives > self.now.boot {
                return;
            }
            let Some(Reverse(flight)) = self.wire.pop() else {
                return;
            };
            match flight.to {
                Side::Ours => self.our_turn(|ours, now, _| ours.receive(&flight.bytes, now)),
                Side::Theirs => self.theirs_receive(&flight.bytes),
            }
        }
    }
}

pub(crate) const PSK: [u8; 32] = [42; 32];

const OURS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const THEIRS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const OUR_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 51820);
pub(crate) const THEIR_ADDRESS: SocketAddr =
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 2)), 51820);

/// An IPv4 packet with a payload.
fn packet(from: Ipv4Addr, to: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let len = (20 + payload.len()) as u16;
    let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0];
    packet[2..4].copy_from_slice(&len.to_be_bytes());
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend(payload);
    packet
}
