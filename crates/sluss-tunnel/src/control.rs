//! Control on the inbound thread: feeds the device, and carries out what it says.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sluss_wg::{
    Device, HEADER, Inbound, Input, Now, Output, PeerId, PeerStatus, TAG, Time, wipe_stack,
};

use crate::mailbox::Mailbox;
use crate::outbound::Letter;
use crate::path_mtu::{self, Prober};
use crate::tunnel::{Command, Conditions, Counters, Event, Key, Offloads};
use crate::{Clock, Error, Readiness, Tun, Udp, Verdict, Waiter};

/// How long a handshake message waits for room in a socket that bulk traffic has filled.
const PATIENCE: Duration = Duration::from_millis(20);

/// The device, and everything that its outputs go to.
pub(crate) struct Control {
    pub(crate) device: Device,
    pub(crate) key: Key,
    pub(crate) tun: Arc<dyn Tun>,
    pub(crate) udp: Arc<dyn Udp>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) waiter: Box<dyn Waiter>,
    pub(crate) letters: Arc<Mailbox<Letter>>,
    pub(crate) events: Box<dyn FnMut(Event) + Send>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) outputs: Vec<Output>,
    pub(crate) prober: Option<Prober>,
    /// The device's, as the outbound thread knows it.
    pub(crate) mtu: u16,
}

impl Control {
    pub(crate) fn now(&self) -> Now {
        Now {
            boot: Time::since_boot(self.clock.boottime()),
            wall: self.clock.wall(),
        }
    }

    pub(crate) fn command(&mut self, command: Command, now: Now, inbound: &mut Inbound) {
        let input = match command {
            Command::SetPeer(peer) => Input::SetPeer(peer),
            Command::RemovePeer(peer) => Input::RemovePeer(peer),
            Command::Dh { id, result } => Input::Dh { id, result },
            Command::Kick(peer) => {
                return self.go(peer, Input::Kick(peer), now, inbound);
            }
            Command::NetworkChanged(peer) => {
                return self.go(peer, Input::NetworkChanged(peer), now, inbound);
            }
            Command::SetEndpoints { peer, endpoints } => Input::SetEndpoints { peer, endpoints },
            Command::SetKeepalive { peer, every } => Input::SetKeepalive { peer, every },
            Command::Discover(discovery) => {
                self.prober = Some(Prober::new(discovery, now.boot));
                return;
            }
            Command::MtuChanged => {
                self.udp.path_changed();
                return self.follow_mtu();
            }
            Command::ForgetKey => {
                self.key = Key::Held;
                Input::ForgetKey
            }
        };
        self.handle(input, now, inbound);
    }

    /// Has the peer called, perhaps by another path than before.
    fn go(&mut self, peer: PeerId, input: Input<'_>, now: Now, inbound: &mut Inbound) {
        self.udp.path_changed();
        self.handle(input, now, inbound);
        self.path(peer, path_mtu::Input::PathChanged, now.boot);
    }

    /// One turn of the device. Its letters to `inbound` are delivered before this returns.
    pub(crate) fn handle(&mut self, input: Input<'_>, now: Now, inbound: &mut Inbound) {
        let wipes = matches!(input, Input::ForgetKey | Input::RemovePeer(_));
        let mut outputs = std::mem::take(&mut self.outputs);
        let mut path = None;
        match &self.key {
            Key::Software(key) => self.device.handle_with(key, input, now, &mut outputs),
            Key::Held => self.device.handle(input, now, &mut outputs),
        }
        for output in outputs.drain(..) {
            match output {
                Output::Send { to, datagram } => self.send(to, &datagram),
                Output::Dh { id, with, deadline } => {
                    (self.events)(Event::DhWanted { id, with, deadline })
                }
                Output::Outbound(update) if wipes => {
                    self.letters.post_urgent(Letter::Update(update));
                }
                Output::Outbound(update) => self.letters.post(Letter::Update(update)),
                Output::Inbound(update) => inbound.apply(update),
                Output::PersistStamp { up_to } => (self.events)(Event::StampReserved { up_to }),
                Output::Event(event) => {
                    path = path_event(event).or(path);
                    (self.events)(Event::Peer(event));
                }
            }
        }
        self.outputs = outputs;
        // Keys were derived, moved or dropped.
        wipe_stack();
        if let Some((peer, happened)) = path {
            self.follow_mtu();
            self.path(peer, happened, now.boot);
        }
    }

    /// Lets the device act if its deadline has come.
    pub(crate) fn tick(&mut self, now: Now, inbound: &mut Inbound) {
        if self
            .device
            .deadline()
            .is_some_and(|deadline| deadline.at <= now.boot)
        {
            self.handle(Input::Tick, now, inbound);
        }
        if self.prober_deadline().is_some_and(|at| at <= now.boot) {
            self.probe(path_mtu::Input::Tick, now.boot);
        }
    }

    /// Sleeps until a datagram, a letter, or a deadline.
    pub(crate) fn sleep(&mut self) -> Result<(), Error> {
        let device = self.device.deadline().map(|deadline| deadline.at);
        let deadline = device.into_iter().chain(self.prober_deadline()).min();
        self.waiter
            .wait(
                Readiness::UdpReadable,
                deadline.map(Time::elapsed_since_boot),
            )
            .map_err(Error::Wait)
    }

    pub(crate) fn status(&self) -> (Vec<PeerStatus>, Conditions) {
        let conditions = Conditions {
            offloads: Offloads {
                tun: self.tun.offload(),
                send: self.udp.segmenting(),
                receive: self.udp.joins(),
            },
            mtu: self.tun.mtu().unwrap_or(self.mtu),
            path_mtu: self.prober.as_ref().map(Prober::known),
        };
        (self.device.status().collect(), conditions)
    }

    /// Whether answers to a probe are to be looked for.
    pub(crate) fn is_probing(&self) -> bool {
        self.prober.as_ref().is_some_and(Prober::is_waiting)
    }

    /// Whether a packet from the gateway is the answer to a probe, and not the user's. If so, it is taken.
    pub(crate) fn answers_probe(&mut self, packet: &[u8], now: Time) -> bool {
        let mut is_answer = false;
        self.with_prober(|prober, told| {
            let (accepted, next) = prober.accept(packet, now, told);
            is_answer = accepted;
            next
        });
        is_answer
    }

    pub(crate) fn probe(&mut self, input: path_mtu::Input, now: Time) {
        self.with_prober(|prober, told| prober.handle(input, now, told));
    }

    /// Something happened on the path to `peer`.
    fn path(&mut self, peer: PeerId, happened: path_mtu::Input, now: Time) {
        if self.prober.as_ref().map(Prober::peer) == Some(peer) {
            self.probe(happened, now);
        }
    }

    /// Lets the prober act, has its probe sent, and tells what it has learnt.
    fn with_prober(
        &mut self,
        act: impl FnOnce(&mut Prober, &dyn Fn() -> Option<u16>) -> Option<path_mtu::Probe>,
    ) {
        let Some(prober) = &mut self.prober else {
            return;
        };
        let (device, udp, peer) = (&self.device, &*self.udp, prober.peer());
        let (before, was_waiting) = (prober.known(), prober.is_waiting());
        let probe = act(prober, &|| largest_packet(device, udp, peer));
        let known = prober.known();
        if was_waiting && !prober.is_waiting() {
            // What the host had heard of the path, and why it did not segment, may have been forgotten meanwhile.
            self.udp.path_changed();
        }
        if let Some(probe) = probe {
            self.letters.post(Letter::Probe(probe));
        }
        let is_new = (known.mtu, known.verdict) != (before.mtu, before.verdict);
        if is_new && known.verdict != Verdict::Untested {
            (self.events)(Event::PathMtu(known));
        }
    }

    fn prober_deadline(&self) -> Option<Time> {
        self.prober.as_ref().and_then(Prober::deadline)
    }

    /// Tells the outbound thread if somebody has changed the device's MTU.
    fn follow_mtu(&mut self) {
        // A device that is gone tells the outbound thread itself.
        let Ok(mtu) = self.tun.mtu() else { return };
        if std::mem::replace(&mut self.mtu, mtu) != mtu {
            self.letters.post(Letter::Mtu(mtu));
        }
    }

    /// Sends a handshake message. One that is lost is sent again by the protocol, but seconds later: so it waits a little
    /// for its turn.
    fn send(&mut self, to: SocketAddr, datagram: &[u8]) {
        let mut sent = self.udp.send(to, datagram, datagram.len());
        if sent
            .as_ref()
            .is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
        {
            let until = self.clock.boottime() + PATIENCE;
            // Waking early is fine, and a host that cannot wait says so again when there is nothing to do.
            let _ = self.waiter.wait(Readiness::UdpWritable, Some(until));
            sent = self.udp.send(to, datagram, datagram.len());
        }
        if sent.is_err() {
            self.counters.unsent.add(1);
        }
    }
}

/// What an event says about the path to a peer.
fn path_event(event: sluss_wg::Event) -> Option<(PeerId, path_mtu::Input)> {
    use sluss_wg::Event;
    match event {
        Event::SessionEstablished { peer, .. } => Some((peer, path_mtu::Input::SessionEstablished)),
        Event::EndpointChanged { peer, .. } => Some((peer, path_mtu::Input::PathChanged)),
        Event::HandshakeUnanswered { .. } | Event::GaveUp { .. } | Event::Forgotten { .. } => None,
    }
}

/// The largest packet that this host believes to reach the peer in one piece.
fn largest_packet(device: &Device, udp: &dyn Udp, peer: PeerId) -> Option<u16> {
    let endpoint = device.status().find(|status| status.id == peer)?.endpoint?;
    let packet = udp.largest_whole(endpoint)?.saturating_sub(HEADER + TAG);
    Some(u16::try_from(packet).unwrap_or(u16::MAX))
}
