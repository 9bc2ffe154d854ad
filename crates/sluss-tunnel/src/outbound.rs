//! The outbound thread: frames from TUN become runs of sealed datagrams on UDP.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use sluss_wg::{Notice, Outbound, OutboundUpdate, Time, wipe_stack};

use crate::frame::{Header, MAX_FRAME, Malformed};
use crate::inbound::Order;
use crate::mailbox::Mailbox;
use crate::packet::destination;
use crate::path_mtu::{self, Probe};
use crate::run::Run;
use crate::segment::Segments;
use crate::tunnel::Counters;
use crate::{Clock, Error, Offload, Readiness, Tun, Udp, Waiter};

/// Frames that are forwarded between two looks at clock and mailbox.
const FRAMES: usize = 64;

/// A letter to this thread.
pub(crate) enum Letter {
    Update(OutboundUpdate),
    /// The device's MTU, beyond which padding never reaches.
    Mtu(u16),
    Probe(Probe),
}

/// All that the thread owns.
pub(crate) struct OutboundThread {
    pub(crate) outbound: Outbound,
    pub(crate) tun: Arc<dyn Tun>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) sender: Sender,
    /// Not sealed yet.
    pub(crate) run: Run,
    /// To the inbound thread, where control lives.
    pub(crate) orders: Arc<Mailbox<Order>>,
}

impl OutboundThread {
    /// Runs until the mailbox is closed, or it cannot go on: then the inbound thread is told.
    pub(crate) fn run(mut self) {
        if let Err(error) = self.turns() {
            self.orders.post(Order::Failed(error));
        }
    }

    fn turns(&mut self) -> Result<(), Error> {
        let mut frame = vec![0; MAX_FRAME].into_boxed_slice();
        let mut letters = Vec::new();
        let mut notices = Vec::new();
        while !self.sender.mailbox.is_closed() {
            let now = Time::since_boot(self.clock.boottime());
            if self.sender.mailbox.take(&mut letters) {
                // A key is gone. What the user sent while it was there does not wait for the next.
                self.run.clear();
            }
            if !letters.is_empty() {
                self.flush(now, &mut notices)?;
                for letter in letters.drain(..) {
                    match letter {
                        Letter::Update(update) => self.apply(update, now, &mut notices)?,
                        Letter::Mtu(mtu) => self.outbound.set_mtu(mtu),
                        Letter::Probe(probe) => self.probe(&probe, now),
                    }
                }
                // The key that was in use before may be gone.
                wipe_stack();
            }
            let is_empty = self.read(&mut frame, now, &mut notices)?;
            if is_empty {
                self.flush(now, &mut notices)?;
            }
            for notice in notices.drain(..) {
                self.orders.post(Order::Notice(notice));
            }
            if is_empty {
                self.sender.sleep()?;
            }
        }
        Ok(())
    }

    /// Forwards a batch of frames. Says whether there are no more.
    fn read(
        &mut self,
        frame: &mut [u8],
        now: Time,
        notices: &mut Vec<Notice>,
    ) -> Result<bool, Error> {
        for _ in 0..FRAMES {
            match self.tun.recv(frame) {
                Ok(length) => self.forward(&mut frame[..length], now, notices)?,
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return Ok(true),
                    ErrorKind::Interrupted => {}
                    _ => return Err(Error::TunGone(error)),
                },
            }
        }
        Ok(false)
    }

    /// Cuts one frame into packets, which join the run.
    fn forward(
        &mut self,
        frame: &mut [u8],
        now: Time,
        notices: &mut Vec<Notice>,
    ) -> Result<(), Error> {
        let (header, packet) = match self.tun.offload() {
            Offload::None => (Header::PLAIN, frame),
            Offload::Tcp | Offload::TcpAndUdp => match Header::parse(frame) {
                Ok(parsed) => parsed,
                Err(Malformed) => return self.sender.refuse(),
            },
        };
        let peer = destination(packet).and_then(|address| self.outbound.route(address));
        let (Some(peer), Ok(mut segments)) = (peer, Segments::new(header, packet)) else {
            return self.sender.refuse();
        };
        while let Some(packet) = segments.next_len() {
            let datagram = self.outbound.datagram_len(packet);
            if !self.run.accepts(peer, datagram) {
                self.flush(now, notices)?;
            }
            segments.write_next(self.run.add(peer, packet, datagram));
        }
        Ok(())
    }

    /// Seals and sends the run; or keeps its packets until there is a session.
    fn flush(&mut self, now: Time, notices: &mut Vec<Notice>) -> Result<(), Error> {
        let Some(peer) = self.run.peer() else {
            return Ok(());
        };
        let stride = self.run.stride();
        let (bytes, packets) = self.run.parts();
        let outcome = match self.outbound.lane(peer, now, notices) {
            Some(mut lane) => match lane.seal(bytes, packets) {
                Ok(ready) => self.sender.send(lane.to(), &bytes[..ready], stride),
                Err(_) => self.sender.refuse(),
            },
            None => {
                self.outbound.stage(peer, bytes, packets);
                Ok(())
            }
        };
        self.run.clear();
        outcome
    }

    /// Carries out what control decided, and sends the packets that waited for it.
    fn apply(
        &mut self,
        update: OutboundUpdate,
        now: Time,
        notices: &mut Vec<Notice>,
    ) -> Result<(), Error> {
        let mut outcome = Ok(());
        let sender = &mut self.sender;
        self.outbound
            .apply(update, now, notices, &mut |to, datagram| {
                if outcome.is_ok() {
                    outcome = sender.send(to, datagram, datagram.len());
                }
            });
        outcome
    }

    /// Sends a probe, and says so if it did not go. A full socket has lost it, as any queue on the way may.
    fn probe(&mut self, probe: &Probe, now: Time) {
        let sealed = self
            .outbound
            .seal_probe(probe.peer, &probe.packet, probe.size.into(), now);
        let udp = &self.sender.udp;
        let outcome = match sealed {
            None => path_mtu::Input::Unsent(probe.id),
            Some((to, datagram)) => {
                let sent = match probe.whole {
                    true => udp.send_whole(to, &datagram),
                    false => udp.send(to, &datagram, datagram.len()).map(|_| true),
                };
                match sent {
                    Ok(true) => return,
                    Ok(false) => path_mtu::Input::Refused(probe.id),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                    Err(_) => path_mtu::Input::Unsent(probe.id),
                }
            }
        };
        self.orders.post(Order::Probe(outcome));
    }
}

impl Drop for OutboundThread {
    fn drop(&mut self) {
        if thread::panicking() {
            self.orders.post(Order::Failed(Error::Panicked));
        }
    }
}

/// The way out: the socket, and a place to wait for it.
pub(crate) struct Sender {
    pub(crate) udp: Arc<dyn Udp>,
    pub(crate) waiter: Box<dyn Waiter>,
    pub(crate) mailbox: Arc<Mailbox<Letter>>,
    pub(crate) counters: Arc<Counters>,
}

impl Sender {
    /// Counts a packet that goes nowhere.
    fn refuse(&self) -> Result<(), Error> {
        self.counters.unroutable.add(1);
        Ok(())
    }

    /// Sends a run of datagrams. Waits for a full socket: it is emptied at the pace of the network, and TUN's queue waits
    /// with us. But a key that must be wiped does not wait: then the rest is lost.
    fn send(&mut self, to: SocketAddr, mut datagrams: &[u8], stride: usize) -> Result<(), Error> {
        while !datagrams.is_empty() && self.mailbox.is_patient() {
            match self.udp.send(to, datagrams, stride) {
                Ok(sent) => datagrams = &datagrams[sent..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.waiter
                        .wait(Readiness::UdpWritable, None)
                        .map_err(Error::Wait)?;
                }
                Err(_) => {
                    self.counters.unsent.add(datagrams.len().div_ceil(stride));
                    break;
                }
            }
        }
        Ok(())
    }

    /// Sleeps until there is a frame or a letter.
    fn sleep(&mut self) -> Result<(), Error> {
        // A wake for a letter may have ended a wait for the socket: then it is not coming again.
        if self.mailbox.is_quiet() {
            self.waiter
                .wait(Readiness::TunReadable, None)
                .map_err(Error::Wait)?;
        }
        Ok(())
    }
}
