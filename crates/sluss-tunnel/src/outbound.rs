//! The outbound thread: frames from TUN become runs of sealed datagrams on UDP.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use sluss_wg::{HEADER, NotSealed, Notice, Outbound, OutboundUpdate, Time, wipe_stack};

use crate::frame::{Header, MAX_FRAME, Malformed};
use crate::inbound::Order;
use crate::mailbox::Mailbox;
use crate::packet::destination;
use crate::run::Run;
use crate::segment::Segments;
use crate::tunnel::Counters;
use crate::{Clock, Error, Offload, Readiness, Tun, Udp, Waiter};

/// Frames that are forwarded between two looks at clock and mailbox.
const FRAMES: usize = 64;

/// All that the thread owns.
pub(crate) struct OutboundThread {
    pub(crate) outbound: Outbound,
    pub(crate) tun: Arc<dyn Tun>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) sender: Sender,
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
        let mut updates = Vec::new();
        let mut notices = Vec::new();
        while !self.sender.mailbox.is_closed() {
            let now = Time::since_boot(self.clock.boottime());
            if self.sender.mailbox.take(&mut updates) {
                // What is sealed already must not outlive the key.
                self.sender.run.restart(0);
            }
            if !updates.is_empty() {
                for update in updates.drain(..) {
                    self.apply(update, now, &mut notices)?;
                }
                // The key that was in use before may be gone.
                wipe_stack();
            }
            let is_empty = self.read(&mut frame, now, &mut notices)?;
            for notice in notices.drain(..) {
                self.orders.post(Order::Notice(notice));
            }
            if is_empty {
                self.sender.flush()?;
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

    /// Cuts one frame into packets, and seals each behind the run.
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
        let Some(mut lane) = self.outbound.lane(peer, now, notices) else {
            while let Some(length) = segments.next_len() {
                let packet = &mut self.sender.run.room()[..length];
                segments.write_next(packet);
                self.outbound.stage(peer, packet);
            }
            return Ok(());
        };
        let to = lane.to();
        while let Some(length) = segments.next_len() {
            let room = self.sender.run.room();
            segments.write_next(&mut room[HEADER..HEADER + length]);
            match lane.seal(room, length) {
                Ok(sealed) => self.sender.add(to, sealed)?,
                Err(NotSealed::Staged(_)) => {}
                Err(NotSealed::NotIp | NotSealed::NoRoute | NotSealed::NoRoom) => {
                    self.sender.counters.unroutable.add(1);
                }
            }
        }
        Ok(())
    }

    /// Carries out what control decided; packets that waited for it join the run.
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
                    sender.run.room()[..datagram.len()].copy_from_slice(datagram);
                    outcome = sender.add(to, datagram.len());
                }
            });
        outcome
    }
}

impl Drop for OutboundThread {
    fn drop(&mut self) {
        if thread::panicking() {
            self.orders.post(Order::Failed(Error::Panicked));
        }
    }
}

/// The way out: the run under way, and the socket that it leaves by.
pub(crate) struct Sender {
    pub(crate) udp: Arc<dyn Udp>,
    pub(crate) waiter: Box<dyn Waiter>,
    pub(crate) mailbox: Arc<Mailbox<OutboundUpdate>>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) run: Run,
}

impl Sender {
    /// Adds the datagram that lies behind the run, and sends the run first if they do not go together.
    fn add(&mut self, to: SocketAddr, length: usize) -> Result<(), Error> {
        if !self.run.accepts(to, length) {
            self.send()?;
            self.run.restart(length);
        }
        self.run.add(to, length);
        Ok(())
    }

    /// Counts a packet that goes nowhere.
    fn refuse(&self) -> Result<(), Error> {
        self.counters.unroutable.add(1);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        if !self.run.is_empty() {
            self.send()?;
            self.run.restart(0);
        }
        Ok(())
    }

    /// Sends the run. Waits for a full socket: it is emptied at the pace of the network, and TUN's queue waits with us.
    /// But a key that must be wiped does not wait: then the rest is lost.
    fn send(&mut self) -> Result<(), Error> {
        let (to, mut datagrams, stride) = self.run.parts();
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
