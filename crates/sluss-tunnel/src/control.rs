//! Control on the inbound thread: feeds the device, and carries out what it says.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sluss_wg::{Device, Inbound, Input, Now, OutboundUpdate, Output, PeerStatus, Time, wipe_stack};

use crate::mailbox::Mailbox;
use crate::tunnel::{Command, Counters, Event, Key};
use crate::{Clock, Error, Readiness, Udp, Waiter};

/// How long a handshake message waits for room in a socket that bulk traffic has filled.
const PATIENCE: Duration = Duration::from_millis(20);

/// The device, and everything that its outputs go to.
pub(crate) struct Control {
    pub(crate) device: Device,
    pub(crate) key: Key,
    pub(crate) udp: Arc<dyn Udp>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) waiter: Box<dyn Waiter>,
    pub(crate) updates: Arc<Mailbox<OutboundUpdate>>,
    pub(crate) events: Box<dyn FnMut(Event) + Send>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) outputs: Vec<Output>,
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
                self.udp.path_changed();
                Input::Kick(peer)
            }
            Command::ForgetKey => {
                self.key = Key::Held;
                Input::ForgetKey
            }
        };
        self.handle(input, now, inbound);
    }

    /// One turn of the device. Its letters to `inbound` are delivered before this returns.
    pub(crate) fn handle(&mut self, input: Input<'_>, now: Now, inbound: &mut Inbound) {
        let wipes = matches!(input, Input::ForgetKey | Input::RemovePeer(_));
        let mut outputs = std::mem::take(&mut self.outputs);
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
                Output::Outbound(update) if wipes => self.updates.post_urgent(update),
                Output::Outbound(update) => self.updates.post(update),
                Output::Inbound(update) => inbound.apply(update),
                Output::PersistStamp { up_to } => (self.events)(Event::StampReserved { up_to }),
                Output::Event(event) => (self.events)(Event::Peer(event)),
            }
        }
        self.outputs = outputs;
        // Keys were derived, moved or dropped.
        wipe_stack();
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
    }

    /// Sleeps until a datagram, a letter, or the device's deadline.
    pub(crate) fn sleep(&mut self) -> Result<(), Error> {
        let deadline = self
            .device
            .deadline()
            .map(|deadline| deadline.at.elapsed_since_boot());
        self.waiter
            .wait(Readiness::UdpReadable, deadline)
            .map_err(Error::Wait)
    }

    pub(crate) fn status(&self) -> Vec<PeerStatus> {
        self.device.status().collect()
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
