//! The inbound thread: runs of datagrams from UDP become frames for TUN; handshake messages and letters go to control.

use std::io::{IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread;

use sluss_wg::{Dropped, HEADER, Inbound, Input, Notice, Now, Opened, PeerStatus};

use crate::coalesce::Coalescer;
use crate::control::Control;
use crate::mailbox::Mailbox;
use crate::path_mtu;
use crate::tunnel::{Command, Conditions, Counters, Event};
use crate::{Error, Received, Tun, Udp};

/// Messages that one system call may bring. Each is one datagram, or many that the kernel has joined.
const MESSAGES: usize = 16;

/// The largest UDP payload, and so the largest run of joined datagrams.
const MAX_MESSAGE: usize = 65_535;

/// A letter to this thread.
pub(crate) enum Order {
    Command(Command),
    Notice(Notice),
    Status(Sender<(Vec<PeerStatus>, Conditions)>),
    /// What became of a probe for the path's MTU, if it did not go.
    Probe(path_mtu::Input),
    /// The outbound thread cannot go on.
    Failed(Error),
}

/// All that the thread owns.
pub(crate) struct InboundThread {
    pub(crate) inbound: Inbound,
    pub(crate) control: Control,
    pub(crate) delivery: Delivery,
    pub(crate) mailbox: Arc<Mailbox<Order>>,
}

impl InboundThread {
    /// Runs until the mailbox is closed, or one of the threads cannot go on: then the owner is told.
    pub(crate) fn run(mut self) {
        if let Err(error) = self.turns() {
            (self.control.events)(Event::Failed(error));
        }
    }

    fn turns(&mut self) -> Result<(), Error> {
        let mut batch = Batch::new();
        let mut orders = Vec::new();
        let mut opened = Vec::new();
        let mut notices = Vec::new();
        while !self.mailbox.is_closed() {
            batch.receive(&*self.control.udp);
            // After the datagrams came, so that none is taken for younger than its key allows.
            let now = self.control.now();
            self.mailbox.take(&mut orders);
            for order in orders.drain(..) {
                self.obey(order, now)?;
            }
            self.deliver(&mut batch, now, &mut opened, &mut notices);
            for notice in notices.drain(..) {
                self.control
                    .handle(Input::Notice(notice), now, &mut self.inbound);
            }
            self.control.tick(now, &mut self.inbound);
            // A wake for a letter may have ended a wait for the socket: then it is not coming again.
            if batch.is_empty() && self.mailbox.is_quiet() {
                self.control.sleep()?;
            }
        }
        Ok(())
    }

    fn obey(&mut self, order: Order, now: Now) -> Result<(), Error> {
        match order {
            Order::Command(command) => self.control.command(command, now, &mut self.inbound),
            Order::Notice(notice) => {
                self.control
                    .handle(Input::Notice(notice), now, &mut self.inbound)
            }
            // An owner that no longer waits for the answer is fine.
            Order::Status(answer) => drop(answer.send(self.control.status())),
            Order::Probe(outcome) => self.control.probe(outcome, now.boot),
            Order::Failed(error) => return Err(error),
        }
        Ok(())
    }

    /// Opens the batch where it lies, and writes its packets from there.
    fn deliver(
        &mut self,
        batch: &mut Batch,
        now: Now,
        opened: &mut Vec<Result<Opened, Dropped>>,
        notices: &mut Vec<Notice>,
    ) {
        let mut coalescer = Coalescer::new(self.delivery.tun.offload());
        let control = &mut self.control;
        let probing = control.is_probing();
        for (run, from, stride) in batch.runs() {
            self.inbound
                .open_run(from, run, stride, now.boot, notices, opened);
            let run = &*run;
            for (datagram, opened) in run.chunks(stride).zip(&*opened) {
                match opened {
                    Ok(Opened { packet, .. }) if packet.is_empty() => {}
                    Ok(Opened { packet, .. }) => {
                        let packet = &run[packet.clone()];
                        if !(probing && control.answers_probe(packet, now.boot)) {
                            coalescer.push(packet, |frame| self.delivery.write(frame));
                        }
                    }
                    // A gateway without an address in the tunnel answers from another of its own.
                    Err(Dropped::WrongSource)
                        if probing && control.answers_probe(&datagram[HEADER..], now.boot) => {}
                    Err(Dropped::NotTransport) => {
                        let bytes = datagram;
                        let input = Input::Datagram { from, bytes };
                        control.handle(input, now, &mut self.inbound);
                    }
                    Err(_) => control.counters.refused.add(1),
                }
            }
            opened.clear();
        }
        coalescer.flush(|frame| self.delivery.write(frame));
    }
}

impl Drop for InboundThread {
    fn drop(&mut self) {
        // Nobody may wait for an answer that does not come.
        self.mailbox.close();
        if thread::panicking() {
            (self.control.events)(Event::Failed(Error::Panicked));
        }
    }
}

/// What one system call brought.
struct Batch {
    buffers: [Box<[u8]>; MESSAGES],
    received: [Received; MESSAGES],
    count: usize,
}

impl Batch {
    fn new() -> Batch {
        Batch {
            buffers: [(); MESSAGES].map(|()| vec![0; MAX_MESSAGE].into_boxed_slice()),
            received: [Received::default(); MESSAGES],
            count: 0,
        }
    }

    fn receive(&mut self, udp: &dyn Udp) {
        let mut slices = self
            .buffers
            .each_mut()
            .map(|buffer| IoSliceMut::new(buffer));
        // An error is about one datagram, or says that there is none.
        self.count = udp.recv(&mut slices, &mut self.received).unwrap_or(0);
    }

    fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The runs, with the sender's address and the length of each datagram but the last.
    fn runs(&mut self) -> impl Iterator<Item = (&mut [u8], SocketAddr, usize)> {
        let messages = self.buffers.iter_mut().zip(&self.received).take(self.count);
        messages.map(|(buffer, run)| (&mut buffer[..run.length], run.from, run.stride.max(1)))
    }
}

/// The way in: the device that frames go to.
pub(crate) struct Delivery {
    pub(crate) tun: Arc<dyn Tun>,
    pub(crate) counters: Arc<Counters>,
}

impl Delivery {
    fn write(&self, frame: &[IoSlice<'_>]) {
        if self.tun.send(frame).is_err() {
            self.counters.undelivered.add(1);
        }
    }
}
