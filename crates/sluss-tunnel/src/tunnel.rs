//! A running tunnel as its owner sees it: start, commands in, events out, status, stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use sluss_wg::{
    Device, DhError, DhId, Endpoints, Inbound, Outbound, PeerConfig, PeerId, PeerStatus, PublicKey,
    SharedSecret, SoftwareKey, Tai64n, Time, wipe_stack,
};

use crate::control::Control;
use crate::inbound::{Delivery, InboundThread, Order};
use crate::mailbox::Mailbox;
use crate::outbound::{Letter, OutboundThread, Sender};
use crate::run::Run;
use crate::{Discovery, Error, Io, Offload, PathMtu, Segmenting};

/// Who computes with the static key.
pub enum Key {
    /// This tunnel does, in the same turn: sealed keys, tests, the lab.
    Software(SoftwareKey),
    /// Whoever answers [`Event::DhWanted`] with [`Command::Dh`]: a card.
    Held,
}

/// What the owner may ask of a running tunnel.
pub enum Command {
    /// Adds a peer, or changes the one with this public key.
    SetPeer(PeerConfig),
    RemovePeer(PeerId),
    /// The answer to [`Event::DhWanted`].
    Dh {
        id: DhId,
        result: Result<SharedSecret, DhError>,
    },
    /// The tunnel is wanted now: handshake if no session is usable, else a keepalive at once.
    Kick(PeerId),
    /// We are on another network: a keepalive at once tells a session where we are, and a handshake shows the way.
    NetworkChanged(PeerId),
    /// Where the peer may be found from now on. A session goes on; if it is not at one of these, a handshake follows.
    SetEndpoints {
        peer: PeerId,
        endpoints: Endpoints,
    },
    /// Whitepaper 6.5's persistent keepalive, from now on.
    SetKeepalive {
        peer: PeerId,
        every: Option<Duration>,
    },
    /// Look for the largest packet that reaches a peer in one piece, from the next session or change of network on.
    Discover(Discovery),
    /// The owner has changed the TUN device's MTU. If somebody else does, it is noticed with the next session.
    MtuChanged,
    /// The card left: forget every secret that came of its key, and a [`Key::Software`] itself.
    ForgetKey,
}

/// What a running tunnel tells its owner.
#[derive(Debug)]
pub enum Event {
    /// Compute X25519 of the static key and `with`; nobody waits for the answer after `deadline`.
    DhWanted {
        id: DhId,
        with: PublicKey,
        deadline: Time,
    },
    /// Write this down before the next start: [`sluss_wg::Config::stamp_floor`].
    StampReserved { up_to: Tai64n },
    /// A session, a peer that does not answer, a peer elsewhere.
    Peer(sluss_wg::Event),
    /// The TUN device should have this MTU from now on. Say so with [`Command::MtuChanged`] when it has.
    PathMtu(PathMtu),
    /// The tunnel runs no more. Nothing follows; [`Tunnel::stop`] cleans up.
    Failed(Error),
}

/// What `status` shows.
#[derive(Clone, Debug)]
pub struct Stats {
    pub peers: Vec<PeerStatus>,
    pub lost: Lost,
    /// `None` if the tunnel runs no more.
    pub conditions: Option<Conditions>,
}

/// What packets meet on this host and on the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conditions {
    pub offloads: Offloads,
    /// The TUN device's MTU, in bytes.
    pub mtu: u16,
    /// What is known of the path, if it is looked at.
    pub path_mtu: Option<PathMtu>,
}

/// What the kernel does for the tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offloads {
    /// At the TUN device, both ways.
    pub tun: Offload,
    /// At the UDP socket, on the way out.
    pub send: Segmenting,
    /// At the UDP socket, on the way in: whether it joins datagrams.
    pub receive: bool,
}

/// Packets that went no further, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// From TUN, but not an IP packet, or to an address that no peer owns.
    pub unroutable: u64,
    /// Refused by the network, as when there is none.
    pub unsent: u64,
    /// From UDP, but forged, replayed, too old, or from an address that the peer does not own.
    pub refused: u64,
    /// Refused by the TUN device, as when it is down. Super-packets count once.
    pub undelivered: u64,
}

/// A tunnel that runs on two threads of its own. Dropping it ends it, as [`Tunnel::stop`] does.
pub struct Tunnel {
    threads: Vec<JoinHandle<()>>,
    letters: Arc<Mailbox<Letter>>,
    orders: Arc<Mailbox<Order>>,
    counters: Arc<Counters>,
}

/// Starts a tunnel. `events` is called on one of its threads, and must not wait for anything.
///
/// # Errors
/// [`Error::Thread`] if the host cannot start the threads.
pub fn start(
    (device, outbound, inbound): (Device, Outbound, Inbound),
    key: Key,
    io: Io,
    events: impl FnMut(Event) + Send + 'static,
) -> Result<Tunnel, Error> {
    let counters = Arc::new(Counters::default());
    let mtu = outbound.mtu();
    let letters = Arc::new(Mailbox::new(io.outbound.waker()));
    let orders = Arc::new(Mailbox::new(io.inbound.waker()));
    let outbound = OutboundThread {
        outbound,
        tun: io.tun.clone(),
        clock: io.clock.clone(),
        sender: Sender {
            udp: io.udp.clone(),
            waiter: io.outbound,
            mailbox: letters.clone(),
            counters: counters.clone(),
        },
        run: Run::new(),
        orders: orders.clone(),
    };
    let inbound = InboundThread {
        inbound,
        control: Control {
            device,
            key,
            tun: io.tun.clone(),
            udp: io.udp,
            clock: io.clock,
            waiter: io.inbound,
            letters: letters.clone(),
            events: Box::new(events),
            counters: counters.clone(),
            outputs: Vec::new(),
            prober: None,
            mtu,
        },
        delivery: Delivery {
            tun: io.tun,
            counters: counters.clone(),
        },
        mailbox: orders.clone(),
    };
    // If the second thread cannot start, dropping the tunnel ends the first.
    let mut tunnel = Tunnel {
        threads: Vec::new(),
        letters,
        orders,
        counters,
    };
    tunnel.spawn("sluss-outbound", || outbound.run())?;
    tunnel.spawn("sluss-inbound", || inbound.run())?;
    Ok(tunnel)
}

impl Tunnel {
    /// Asks for something. Does not wait.
    pub fn command(&self, command: Command) {
        self.orders.post(Order::Command(command));
    }

    /// How things stand. Waits for the thread that knows: microseconds, and a millisecond under load.
    pub fn stats(&self) -> Stats {
        let (answer, answered) = channel();
        self.orders.post(Order::Status(answer));
        let (peers, conditions) = answered.recv().ok().unzip();
        Stats {
            peers: peers.unwrap_or_default(),
            lost: self.counters.lost(),
            conditions,
        }
    }

    /// Ends both threads and waits for them, a few milliseconds. Every key is wiped when this returns.
    pub fn stop(self) {
        drop(self);
    }

    fn spawn(&mut self, name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), Error> {
        let thread = Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                run(body);
                wipe_stack();
            })
            .map_err(Error::Thread)?;
        self.threads.push(thread);
        Ok(())
    }
}

/// In a frame of its own, so that all of it lies below what is wiped afterwards.
#[inline(never)]
fn run(body: impl FnOnce()) {
    body();
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.letters.close();
        self.orders.close();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so, and its keys were wiped on the way out.
            let _ = thread.join();
        }
    }
}

/// [`Lost`] as the threads write it.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) unroutable: Counter,
    pub(crate) unsent: Counter,
    pub(crate) refused: Counter,
    pub(crate) undelivered: Counter,
}

impl Counters {
    fn lost(&self) -> Lost {
        Lost {
            unroutable: self.unroutable.read(),
            unsent: self.unsent.read(),
            refused: self.refused.read(),
            undelivered: self.undelivered.read(),
        }
    }
}

/// A number that nobody orders anything by.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: usize) {
        self.0.fetch_add(count as u64, Ordering::Relaxed);
    }

    fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
