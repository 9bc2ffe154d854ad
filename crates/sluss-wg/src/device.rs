//! Control: all peers, their handshakes and timers, behind one input and one sink.

mod responder;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use zeroize::Zeroize;

use self::responder::Responder;
use crate::allowed_ips::AllowedIps;
use crate::cookie::Checker;
use crate::message::{Macs, Message};
use crate::peer::Peer;
use crate::turn::{Owner, Shared, Turn};
use crate::{
    Config, Deadline, DhError, DhId, Error, Inbound, Input, Notice, Now, Outbound, Output,
    PeerConfig, PeerId, PeerStatus, PublicKey, SharedSecret, Sink, SoftwareKey, Time, inbound,
    outbound,
};

/// Control of one interface. See the crate's front page.
pub struct Device {
    shared: Shared,
    checker: Checker,
    responder: Responder,
    peers: BTreeMap<PeerId, Peer>,
    by_key: BTreeMap<PublicKey, PeerId>,
    last_peer: u32,
    /// When each peer's deadline is, the earliest first.
    agenda: BTreeSet<(Time, PeerId)>,
}

impl Device {
    /// A device with its first peers, and the two halves that go with it.
    ///
    /// # Errors
    /// [`Error::PeerIsUs`] if a peer has our own public key.
    pub fn new(
        mut config: Config,
        peers: Vec<PeerConfig>,
        now: Time,
    ) -> Result<(Self, Outbound, Inbound), Error> {
        if peers
            .iter()
            .any(|peer| peer.public_key == config.public_key)
        {
            return Err(Error::PeerIsUs);
        }
        let mut device = Self {
            shared: Shared::new(&config),
            checker: Checker::new(&config.public_key),
            responder: Responder::new(config.respond),
            peers: BTreeMap::new(),
            by_key: BTreeMap::new(),
            last_peer: 0,
            agenda: BTreeSet::new(),
        };
        config.seed.zeroize();
        let mut outputs = Vec::new();
        let now = Now {
            boot: now,
            wall: Default::default(),
        };
        for peer in peers {
            device.handle(Input::SetPeer(peer), now, &mut outputs);
        }
        let (mut outbound, mut inbound) = (
            Outbound::new(config.timing, config.mtu),
            Inbound::new(config.timing),
        );
        for output in outputs {
            match output {
                Output::Outbound(update) => {
                    outbound.apply(update, now.boot, &mut Vec::new(), &mut |_, _| {})
                }
                Output::Inbound(update) => inbound.apply(update),
                Output::Send { .. }
                | Output::Dh { .. }
                | Output::PersistStamp { .. }
                | Output::Event(_) => {}
            }
        }
        Ok((device, outbound, inbound))
    }

    pub fn handle(&mut self, input: Input<'_>, now: Now, out: &mut impl Sink) {
        match input {
            Input::SetPeer(config) => self.set_peer(config, now, out),
            Input::RemovePeer(peer) => self.remove_peer(peer, now, out),
            Input::Datagram { from, bytes } => self.accept_datagram(from, bytes, now, out),
            Input::Dh { id, result } => self.accept_dh(id, result, now, out),
            Input::Notice(notice) => self.accept_notice(notice, now, out),
            Input::Kick(peer) => self.with_peer(peer, now, out, Peer::kick),
            Input::NetworkChanged(peer) => self.with_peer(peer, now, out, Peer::change_network),
            Input::SetEndpoints { peer, endpoints } => {
                self.with_peer(peer, now, out, |peer, turn| {
                    peer.set_endpoints(endpoints, turn)
                })
            }
            Input::SetKeepalive { peer, every } => {
                self.with_peer(peer, now, out, |peer, turn| peer.set_keepalive(every, turn))
            }
            Input::ForgetKey => self.forget_key(now, out),
            Input::Tick => self.tick(now, out),
        }
    }

    /// [`Device::handle`] for a key in memory: requests for a Diffie-Hellman are answered in the same turn.
    pub fn handle_with(
        &mut self,
        key: &SoftwareKey,
        input: Input<'_>,
        now: Now,
        out: &mut impl Sink,
    ) {
        let mut answering = Answering {
            requests: VecDeque::new(),
            out,
        };
        self.handle(input, now, &mut answering);
        while let Some((id, with)) = answering.requests.pop_front() {
            self.handle(
                Input::Dh {
                    id,
                    result: key.dh(&with),
                },
                now,
                &mut answering,
            );
        }
    }

    /// When to call [`Device::handle`] with [`Input::Tick`] at the latest. `None`: nothing is due until something happens.
    pub fn deadline(&self) -> Option<Deadline> {
        let earliest = self.agenda.first().and_then(|(_, id)| self.peers.get(id));
        let deadlines = [earliest.and_then(Peer::deadline), self.responder.deadline()];
        deadlines
            .into_iter()
            .flatten()
            .min_by_key(|deadline| deadline.at)
    }

    pub fn peer(&self, public_key: &PublicKey) -> Option<PeerId> {
        self.by_key.get(public_key).copied()
    }

    pub fn status(&self) -> impl Iterator<Item = PeerStatus> {
        self.peers.values().map(Peer::status)
    }

    /// Lets one peer act, and keeps the agenda true.
    fn with_peer<S: Sink>(
        &mut self,
        id: PeerId,
        now: Now,
        out: &mut S,
        act: impl FnOnce(&mut Peer, &mut Turn<'_, S>),
    ) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let before = peer.deadline();
        act(
            peer,
            &mut Turn {
                shared: &mut self.shared,
                now,
                out,
            },
        );
        let after = peer.deadline();
        if before != after {
            before.map(|deadline| self.agenda.remove(&(deadline.at, id)));
            after.map(|deadline| self.agenda.insert((deadline.at, id)));
        }
    }

    fn set_peer(&mut self, config: PeerConfig, now: Now, out: &mut impl Sink) {
        if config.public_key == self.shared.public_key {
            return;
        }
        // An allowed IP moves to whoever claimed it last.
        for peer in self
            .peers
            .values_mut()
            .filter(|peer| peer.public_key != config.public_key)
        {
            peer.allowed_ips
                .retain(|net| !config.allowed_ips.contains(net));
        }
        let id = self.peer(&config.public_key).unwrap_or_else(|| {
            self.last_peer += 1;
            let id = PeerId(self.last_peer);
            let peer = Peer::new(
                id,
                config.public_key,
                &mut Turn {
                    shared: &mut self.shared,
                    now,
                    out,
                },
            );
            self.by_key.insert(config.public_key, id);
            self.peers.insert(id, peer);
            id
        });
        self.with_peer(id, now, out, |peer, turn| peer.configure(config, turn));
        self.publish_routes(out);
    }

    fn remove_peer(&mut self, id: PeerId, now: Now, out: &mut impl Sink) {
        self.with_peer(id, now, out, Peer::forget);
        let Some(peer) = self.peers.remove(&id) else {
            return;
        };
        peer.deadline()
            .map(|deadline| self.agenda.remove(&(deadline.at, id)));
        self.by_key.remove(&peer.public_key);
        out.output(Output::Outbound(outbound::OutboundUpdate(
            outbound::Letter::Removed(id),
        )));
        self.publish_routes(out);
    }

    fn publish_routes(&self, out: &mut impl Sink) {
        let mut routes = AllowedIps::default();
        for (&id, peer) in &self.peers {
            peer.allowed_ips
                .iter()
                .for_each(|&net| routes.insert(net, id));
        }
        let routes = Arc::new(routes);
        out.output(Output::Outbound(outbound::OutboundUpdate(
            outbound::Letter::Routes(Arc::clone(&routes)),
        )));
        out.output(Output::Inbound(inbound::InboundUpdate(
            inbound::Letter::Routes(routes),
        )));
    }

    fn accept_datagram(&mut self, from: SocketAddr, bytes: &[u8], now: Now, out: &mut impl Sink) {
        let Some(message) = Message::parse(bytes) else {
            return;
        };
        if let Message::CookieReply(reply) = message {
            if let Some(peer) = self.shared.peer_with_index(reply.receiver) {
                self.with_peer(peer, now, out, |peer, turn| {
                    peer.accept_cookie(&reply, turn)
                });
            }
            return;
        }
        let Some(macs) = Macs::of(bytes).filter(|macs| self.checker.mac1_fits(macs)) else {
            return;
        };
        match message {
            Message::Initiation(message) => self.accept_initiation(message, &macs, from, now, out),
            // Not gated by load: only who saw our initiation knows the index, and what it can cost is bounded per initiation.
            Message::Response(message) => {
                if let Some(peer) = self.shared.peer_with_index(message.receiver) {
                    self.with_peer(peer, now, out, |peer, turn| {
                        peer.accept_response(message, from, turn)
                    });
                }
            }
            Message::CookieReply(_) => {}
        }
    }

    fn accept_dh(
        &mut self,
        id: DhId,
        result: Result<SharedSecret, DhError>,
        now: Now,
        out: &mut impl Sink,
    ) {
        match self.shared.settle(id) {
            Some(Owner::Initiator(peer)) => self.with_peer(peer, now, out, |peer, turn| {
                peer.accept_dh(id, result, turn)
            }),
            Some(Owner::Responder) => self.continue_response(result, now, out),
            None => {}
        }
    }

    fn accept_notice(&mut self, notice: Notice, now: Now, out: &mut impl Sink) {
        match notice {
            Notice::SessionWanted(peer) => self.with_peer(peer, now, out, Peer::want_session),
            Notice::RekeyDue(peer) => self.with_peer(peer, now, out, Peer::rekey),
            Notice::Confirmed { peer, receiver } => {
                self.with_peer(peer, now, out, |peer, turn| peer.confirm(receiver, turn))
            }
            Notice::Roamed {
                peer,
                receiver,
                from,
            } => self.with_peer(peer, now, out, |peer, turn| peer.roam(receiver, from, turn)),
            Notice::Stirred(peer) => self.with_peer(peer, now, out, Peer::look),
        }
    }

    fn forget_key(&mut self, now: Now, out: &mut impl Sink) {
        for id in self.peers.keys().copied().collect::<Vec<_>>() {
            self.with_peer(id, now, out, Peer::forget);
        }
        self.responder.forget(&mut Turn {
            shared: &mut self.shared,
            now,
            out,
        });
    }

    fn tick(&mut self, now: Now, out: &mut impl Sink) {
        let due: Vec<PeerId> = self
            .agenda
            .iter()
            .take_while(|(at, _)| *at <= now.boot)
            .map(|&(_, id)| id)
            .collect();
        for id in due {
            self.with_peer(id, now, out, Peer::tick);
        }
        self.tick_response(now, out);
    }
}

/// A sink that keeps requests for a Diffie-Hellman to itself.
struct Answering<'a, S> {
    requests: VecDeque<(DhId, PublicKey)>,
    out: &'a mut S,
}

impl<S: Sink> Sink for Answering<'_, S> {
    fn output(&mut self, output: Output) {
        match output {
            Output::Dh {
                id,
                with,
                deadline: _,
            } => self.requests.push_back((id, with)),
            other @ (Output::Send { .. }
            | Output::Outbound(_)
            | Output::Inbound(_)
            | Output::PersistStamp { .. }
            | Output::Event(_)) => self.out.output(other),
        }
    }
}

#[cfg(test)]
mod tests;
