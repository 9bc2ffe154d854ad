//! Our side: the device, its two halves, and the holder of its key, which may be a slow card that fails.

use std::collections::VecDeque;
use std::time::Duration;

use sluss_wg::{
    Config, Device, DhError, DhId, Event, HEADER, Inbound, Input, Notice, Now, Outbound, Output,
    PeerConfig, PeerId, PresharedKey, PublicKey, SoftwareKey, TAIL, Tai64n, Time, Timing,
    is_transport,
};

use crate::rng::Rng;
use crate::world::{PSK, THEIR_ADDRESS};
use crate::{Card, Plan};

/// The longest that the card takes for one operation.
const CARD: Duration = Duration::from_secs(2);

/// Our side: the device, its halves, and the holder of its key.
pub(crate) struct Ours {
    pub(crate) device: Device,
    pub(crate) outbound: Outbound,
    pub(crate) inbound: Inbound,
    pub(crate) peer: PeerId,
    pub(crate) key: SoftwareKey,
    pub(crate) card: Card,
    pub(crate) card_fails: bool,
    pub(crate) asked: VecDeque<(DhId, PublicKey)>,
    /// What the card will answer, and when: one thing after another.
    pub(crate) working: VecDeque<(Time, DhId, Option<PublicKey>)>,
    pub(crate) outgoing: Vec<Vec<u8>>,
    pub(crate) received: Vec<Vec<u8>>,
    pub(crate) sessions: usize,
}

impl Ours {
    pub(crate) fn new(plan: &Plan, them: PublicKey, seed: u64, now: Now) -> Self {
        let key = SoftwareKey::new([3; 32]);
        let mut seeds = Rng(seed);
        let config = Config {
            public_key: key.public(),
            respond: plan.respond,
            timing: Timing {
                dh_timeout: 2 * CARD,
                ..Timing::default()
            },
            stamp_floor: Tai64n::default(),
            mtu: 1420,
            seed: std::array::from_fn(|_| seeds.next() as u8),
        };
        let peer = PeerConfig {
            public_key: them,
            preshared_key: Some(PresharedKey::new(PSK)),
            endpoints: THEIR_ADDRESS.into(),
            allowed_ips: vec!["10.0.0.2/32".parse().expect("a network")],
            persistent_keepalive: None,
        };
        let (device, outbound, inbound) =
            Device::new(config, vec![peer], now.boot).expect("a device");
        let peer = device.peer(&them).expect("the peer");
        Self {
            device,
            outbound,
            inbound,
            peer,
            key,
            card: plan.card,
            card_fails: false,
            asked: VecDeque::new(),
            working: VecDeque::new(),
            outgoing: Vec::new(),
            received: Vec::new(),
            sessions: 0,
        }
    }

    pub(crate) fn handle(&mut self, input: Input<'_>, now: Now) {
        let mut outputs = Vec::new();
        match self.card {
            Card::Memory => self.device.handle_with(&self.key, input, now, &mut outputs),
            Card::Slow => self.device.handle(input, now, &mut outputs),
        }
        let mut notices = Vec::new();
        for output in outputs {
            match output {
                Output::Send { datagram, .. } => self.outgoing.push(datagram.to_vec()),
                Output::Dh { id, with, .. } => self.asked.push_back((id, with)),
                Output::Outbound(update) => {
                    let send = &mut |_, bytes: &[u8]| self.outgoing.push(bytes.to_vec());
                    self.outbound.apply(update, now.boot, &mut notices, send);
                }
                Output::Inbound(update) => self.inbound.apply(update),
                Output::Event(Event::SessionEstablished { .. }) => self.sessions += 1,
                Output::Event(_) | Output::PersistStamp { .. } => {}
            }
        }
        self.notify(notices, now);
    }

    pub(crate) fn notify(&mut self, notices: Vec<Notice>, now: Now) {
        notices
            .into_iter()
            .for_each(|notice| self.handle(Input::Notice(notice), now));
    }

    pub(crate) fn send(&mut self, packet: &[u8], now: Now) {
        let mut buffer = vec![0; HEADER + packet.len() + TAIL];
        buffer[HEADER..HEADER + packet.len()].copy_from_slice(packet);
        let mut notices = Vec::new();
        if let Ok(sealed) = self
            .outbound
            .seal(&mut buffer, packet.len(), now.boot, &mut notices)
        {
            self.outgoing.push(buffer[..sealed.len].to_vec());
        }
        self.notify(notices, now);
    }

    pub(crate) fn receive(&mut self, bytes: &[u8], now: Now) {
        if !is_transport(bytes) {
            return self.handle(
                Input::Datagram {
                    from: THEIR_ADDRESS,
                    bytes,
                },
                now,
            );
        }
        let (mut bytes, mut notices) = (bytes.to_vec(), Vec::new());
        if let Ok(opened) = self
            .inbound
            .open(THEIR_ADDRESS, &mut bytes, now.boot, &mut notices)
            && !opened.packet.is_empty()
        {
            self.received.push(bytes[opened.packet].to_vec());
        }
        self.notify(notices, now);
    }

    pub(crate) fn ask_card(&mut self, id: DhId, with: PublicKey, now: Now, rng: &mut Rng) {
        let free = self
            .working
            .back()
            .map_or(now.boot, |(until, ..)| (*until).max(now.boot));
        match (self.card_fails, rng.below(10)) {
            (true, 0) => {}
            (true, 1) => self.working.push_back((free + rng.span(CARD), id, None)),
            _ => self
                .working
                .push_back((free + rng.span(CARD), id, Some(with))),
        }
    }

    /// Age of the newest session.
    pub(crate) fn session_age(&self, now: Time) -> Option<Duration> {
        let born = self.device.status().next()?.last_handshake?;
        Some(now.saturating_since(born))
    }

    /// When the device or the card has something to do.
    pub(crate) fn due(&self) -> Option<Time> {
        let card = self.working.front().map(|(at, ..)| *at);
        [card, self.device.deadline().map(|deadline| deadline.at)]
            .into_iter()
            .flatten()
            .min()
    }

    pub(crate) fn work(&mut self, now: Now) {
        if self.working.front().is_some_and(|(at, ..)| *at <= now.boot)
            && let Some((_, id, with)) = self.working.pop_front()
        {
            let result = with.map_or(Err(DhError::Unavailable), |with| self.key.dh(&with));
            self.handle(Input::Dh { id, result }, now);
        }
        self.handle(Input::Tick, now);
    }
}
