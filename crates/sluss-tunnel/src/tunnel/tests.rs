//! Both threads against an operating system made of queues, whose socket fills up, whose network breaks, whose clock jumps.

use std::collections::VecDeque;
use std::io::{self, Error as IoError, ErrorKind, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use sluss_wg::{Config, Device, PeerConfig, PeerId, Respond, SoftwareKey, Tai64n, Time, Timing};

use super::{Command, Event, Key, Tunnel, start};
use crate::packet::sample::{Sample, Version};
use crate::{Clock, Io, Offload, Readiness, Received, Segmenting, Tun, Udp, Waiter, Waker};

const PATIENCE: Duration = Duration::from_secs(10);

/// One end: the tunnel, and the fakes that it runs on.
struct End {
    tunnel: Tunnel,
    peer: PeerId,
    tun: Arc<FakeTun>,
    udp: Arc<FakeUdp>,
    clock: Arc<FakeClock>,
    bells: [Arc<Bell>; 2],
    events: Receiver<Event>,
    delivered: Receiver<Vec<u8>>,
}

impl End {
    fn new(own: u8, other: u8) -> End {
        let bells = [Arc::new(Bell::default()), Arc::new(Bell::default())];
        let [outbound, inbound] = bells.clone();
        let (deliver, delivered) = channel();
        let tun = Arc::new(FakeTun {
            frames: Mutex::default(),
            gone: Mutex::new(false),
            deliver: Mutex::new(deliver),
        });
        let udp = Arc::new(FakeUdp {
            address: address(own),
            queue: Mutex::default(),
            network: Mutex::new(Network::Full),
            bell: inbound.clone(),
        });
        let clock = Arc::new(FakeClock(AtomicU64::new(1_000_000)));
        let key = SoftwareKey::new([own; 32]);
        let config = Config {
            public_key: key.public(),
            respond: Respond::Freely,
            timing: Timing::default(),
            stamp_floor: Tai64n::default(),
            mtu: 1420,
            seed: [own; 32],
        };
        let public_key = SoftwareKey::new([other; 32]).public();
        let peer = PeerConfig {
            public_key,
            preshared_key: None,
            endpoints: address(other).into(),
            allowed_ips: vec!["0.0.0.0/0".parse().expect("a network")],
            persistent_keepalive: None,
        };
        let engine = Device::new(config, vec![peer], Time::since_boot(clock.boottime()))
            .expect("two different keys");
        let peer = engine.0.peer(&public_key).expect("just added");
        let waiter = |bell| -> Box<dyn Waiter> {
            Box::new(FakeWaiter {
                bell,
                tun: tun.clone(),
                udp: udp.clone(),
            })
        };
        let io = Io {
            tun: tun.clone(),
            udp: udp.clone(),
            clock: clock.clone(),
            outbound: waiter(outbound),
            inbound: waiter(inbound),
        };
        let (sender, events) = channel();
        let tunnel = start(engine, Key::Software(key), io, move |event| {
            let _ = sender.send(event);
        })
        .expect("two threads");
        End {
            tunnel,
            peer,
            tun,
            udp,
            clock,
            bells,
            events,
            delivered,
        }
    }

    /// Two ends that reach each other, with a session.
    fn pair() -> (End, End) {
        let (left, right) = (End::new(1, 2), End::new(2, 1));
        left.set_network(Network::Whole(right.udp.clone()));
        right.set_network(Network::Whole(left.udp.clone()));
        left.tunnel.command(Command::Kick(left.peer));
        left.established();
        right.established();
        (left, right)
    }

    fn established(&self) {
        self.expect(|event| {
            matches!(
                event,
                Event::Peer(sluss_wg::Event::SessionEstablished { .. })
            )
        });
    }

    fn expect(&self, wanted: impl Fn(&Event) -> bool) {
        while !wanted(
            &self
                .events
                .recv_timeout(PATIENCE)
                .expect("the event in time"),
        ) {}
    }

    fn set_network(&self, network: Network) {
        *self.udp.network.lock().expect("no panic") = network;
        self.ring();
    }

    /// Moves this end's clock.
    fn sleep(&self, time: Duration) {
        self.clock
            .0
            .fetch_add(time.as_millis() as u64, Ordering::Relaxed);
        self.ring();
    }

    fn ring(&self) {
        self.bells.iter().for_each(|bell| bell.wake());
    }

    /// Puts packets into the TUN device.
    fn write(&self, packets: impl IntoIterator<Item = Vec<u8>>) {
        self.tun.frames.lock().expect("no panic").extend(packets);
        self.ring();
    }

    fn packet(&self) -> Vec<u8> {
        self.delivered
            .recv_timeout(PATIENCE)
            .expect("a packet in time")
    }

    /// Waits until it is so; what it is about has no event of its own.
    fn until(&self, mut is_so: impl FnMut() -> bool) {
        let (_never, wait) = channel::<()>();
        for _ in 0..PATIENCE.as_millis() {
            if is_so() {
                return;
            }
            let _ = wait.recv_timeout(Duration::from_millis(1));
        }
        panic!("not in time");
    }
}

fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, host], 51_820))
}

/// A numbered packet.
fn packet(number: usize) -> Vec<u8> {
    let mut payload = number.to_be_bytes().to_vec();
    payload.resize(8 + number % 1_000, number as u8);
    Sample::udp(Version::V4, payload).bytes()
}

#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Waker for Bell {
    fn wake(&self) {
        *self.rung.lock().expect("no panic") = true;
        self.changed.notify_all();
    }
}

/// Whatever could end a sleep rings the bell; then, as with poll(2), it is what is so that counts, not what has happened.
struct FakeWaiter {
    bell: Arc<Bell>,
    tun: Arc<FakeTun>,
    udp: Arc<FakeUdp>,
}

impl FakeWaiter {
    fn is_ready(&self, readiness: Readiness) -> bool {
        match readiness {
            Readiness::TunReadable => {
                *self.tun.gone.lock().expect("no panic")
                    || !self.tun.frames.lock().expect("no panic").is_empty()
            }
            Readiness::UdpReadable => !self.udp.queue.lock().expect("no panic").is_empty(),
            Readiness::UdpWritable => !matches!(
                *self.udp.network.lock().expect("no panic"),
                Network::Full | Network::Narrow(_, 0)
            ),
        }
    }
}

impl Waiter for FakeWaiter {
    fn wait(&mut self, readiness: Readiness, _: Option<Duration>) -> io::Result<()> {
        let mut rung = self.bell.rung.lock().expect("no panic");
        while !*rung && !self.is_ready(readiness) {
            rung = self.bell.changed.wait(rung).expect("no panic");
        }
        *rung = false;
        Ok(())
    }

    fn waker(&self) -> Arc<dyn Waker> {
        self.bell.clone()
    }
}

/// Milliseconds since boot.
struct FakeClock(AtomicU64);

impl Clock for FakeClock {
    fn boottime(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }

    fn wall(&self) -> Duration {
        self.boottime() + Duration::from_secs(1_700_000_000)
    }
}

struct FakeTun {
    frames: Mutex<VecDeque<Vec<u8>>>,
    gone: Mutex<bool>,
    deliver: Mutex<Sender<Vec<u8>>>,
}

impl Tun for FakeTun {
    fn offload(&self) -> Offload {
        Offload::None
    }

    fn mtu(&self) -> io::Result<u16> {
        Ok(1420)
    }

    fn recv(&self, frame: &mut [u8]) -> io::Result<usize> {
        if *self.gone.lock().expect("no panic") {
            return Err(IoError::other("gone"));
        }
        let packet = self.frames.lock().expect("no panic").pop_front();
        let packet = packet.ok_or(ErrorKind::WouldBlock)?;
        frame[..packet.len()].copy_from_slice(&packet);
        Ok(packet.len())
    }

    fn send(&self, frame: &[IoSlice<'_>]) -> io::Result<()> {
        let frame = frame.iter().flat_map(|slice| slice.iter()).copied();
        let _ = self.deliver.lock().expect("no panic").send(frame.collect());
        Ok(())
    }
}

/// What happens to datagrams.
enum Network {
    /// They arrive, all of a send.
    Whole(Arc<FakeUdp>),
    /// The kernel does not segment, and has room for so many more.
    Narrow(Arc<FakeUdp>, usize),
    /// The kernel's queue is full.
    Full,
    /// There is no route.
    Gone,
}

struct FakeUdp {
    address: SocketAddr,
    queue: Mutex<VecDeque<(SocketAddr, Vec<u8>)>>,
    network: Mutex<Network>,
    bell: Arc<Bell>,
}

impl FakeUdp {
    fn arrive(&self, from: SocketAddr, datagram: &[u8]) {
        self.queue
            .lock()
            .expect("no panic")
            .push_back((from, datagram.to_vec()));
        self.bell.wake();
    }
}

impl Udp for FakeUdp {
    fn send(&self, _: SocketAddr, datagrams: &[u8], stride: usize) -> io::Result<usize> {
        // udp(7), UDP_SEGMENT; and the largest payload of UDP over IPv4.
        assert!(datagrams.len().div_ceil(stride) <= 64 && datagrams.len() <= 65_507);
        match &mut *self.network.lock().expect("no panic") {
            Network::Whole(other) => {
                for datagram in datagrams.chunks(stride) {
                    other.arrive(self.address, datagram);
                }
                Ok(datagrams.len())
            }
            Network::Narrow(_, 0) | Network::Full => Err(ErrorKind::WouldBlock.into()),
            Network::Narrow(other, room) => {
                *room -= 1;
                let first = &datagrams[..stride.min(datagrams.len())];
                other.arrive(self.address, first);
                Ok(first.len())
            }
            Network::Gone => Err(ErrorKind::NetworkUnreachable.into()),
        }
    }

    fn recv(&self, buffers: &mut [IoSliceMut<'_>], received: &mut [Received]) -> io::Result<usize> {
        let (from, datagram) = self
            .queue
            .lock()
            .expect("no panic")
            .pop_front()
            .ok_or(ErrorKind::WouldBlock)?;
        buffers[0][..datagram.len()].copy_from_slice(&datagram);
        received[0] = Received {
            from,
            length: datagram.len(),
            stride: datagram.len(),
        };
        Ok(1)
    }

    fn send_whole(&self, to: SocketAddr, datagram: &[u8]) -> io::Result<bool> {
        self.send(to, datagram, datagram.len()).map(|_| true)
    }

    fn largest_whole(&self, _: SocketAddr) -> Option<usize> {
        None
    }

    fn segmenting(&self) -> Segmenting {
        Segmenting::Unsupported
    }

    fn joins(&self) -> bool {
        false
    }

    fn path_changed(&self) {}
}

#[test]
fn packets_arrive_once_and_in_order() {
    let (left, right) = End::pair();
    left.write((0..500).map(packet));
    for number in 0..500 {
        assert_eq!(right.packet(), packet(number));
    }
    assert_eq!(left.tunnel.stats().lost, super::Lost::default());
}

#[test]
fn a_full_socket_loses_nothing() {
    let (left, right) = End::pair();
    left.set_network(Network::Narrow(right.udp.clone(), 0));
    left.write((0..500).map(packet));
    for number in 0..500 {
        if number % 7 == 0 {
            left.set_network(Network::Narrow(right.udp.clone(), 7));
        }
        assert_eq!(right.packet(), packet(number));
    }
    assert_eq!(left.tunnel.stats().lost, super::Lost::default());
}

#[test]
fn packets_that_no_network_takes_are_counted_and_the_next_goes() {
    let (left, right) = End::pair();
    left.set_network(Network::Gone);
    left.write((0..100).map(packet));
    left.until(|| left.tunnel.stats().lost.unsent == 100);
    left.set_network(Network::Whole(right.udp.clone()));
    left.write([packet(100)]);
    assert_eq!(right.packet(), packet(100));
}

#[test]
fn packets_without_a_peer_are_counted() {
    let (left, right) = End::pair();
    let foreign = Sample::udp(Version::V6, vec![1; 10]).bytes();
    left.write([foreign, vec![0; 3], Vec::new(), packet(1)]);
    assert_eq!(right.packet(), packet(1));
    assert_eq!(left.tunnel.stats().lost.unroutable, 3);
}

/// Whitepaper 6.4: an initiation that nobody answers is sent again after REKEY-TIMEOUT and at most a third of a second.
#[test]
fn the_clock_wakes_the_inbound_thread() {
    let (left, right) = (End::new(1, 2), End::new(2, 1));
    left.set_network(Network::Whole(right.udp.clone()));
    right.set_network(Network::Gone);
    left.tunnel.command(Command::Kick(left.peer));
    right.until(|| right.tunnel.stats().lost.unsent == 1);
    for end in [&right, &left] {
        end.sleep(Duration::from_millis(5_334));
    }
    left.expect(|event| {
        matches!(
            event,
            Event::Peer(sluss_wg::Event::HandshakeUnanswered { attempts: 1, .. })
        )
    });
    right.until(|| right.tunnel.stats().lost.unsent == 2);
}

/// The card is out: what waits for a stuck network is not sent when it comes unstuck, and nothing after it.
#[test]
fn a_forgotten_key_does_not_wait_for_the_network() {
    let (left, right) = End::pair();
    left.set_network(Network::Full);
    left.write((0..500).map(packet));
    left.until(|| left.tun.frames.lock().expect("no panic").len() < 500);
    left.tunnel.command(Command::ForgetKey);
    left.until(|| left.tun.frames.lock().expect("no panic").is_empty());
    left.set_network(Network::Whole(right.udp.clone()));
    // One initiation in REKEY-TIMEOUT at most.
    left.sleep(Duration::from_secs(6));
    left.write((500..600).map(packet));
    left.until(|| left.tun.frames.lock().expect("no panic").is_empty());
    left.expect(|event| matches!(event, Event::DhWanted { .. }));
    assert!(right.delivered.try_recv().is_err());
}

#[test]
fn a_stuck_tunnel_stops() {
    let (left, _right) = End::pair();
    left.set_network(Network::Full);
    left.write((0..500).map(packet));
    left.until(|| left.tun.frames.lock().expect("no panic").len() < 500);
    let (done, finished) = channel();
    std::thread::spawn(move || {
        left.tunnel.stop();
        done.send(()).expect("somebody waits");
    });
    finished.recv_timeout(PATIENCE).expect("stopped in time");
}

#[test]
fn a_lost_device_is_told() {
    let (left, _right) = End::pair();
    *left.tun.gone.lock().expect("no panic") = true;
    left.ring();
    left.expect(|event| matches!(event, Event::Failed(crate::Error::TunGone(_))));
    // Nobody is there to answer, and nobody waits.
    left.until(|| left.tunnel.stats().peers.is_empty());
}

#[test]
fn a_panic_shuts_the_tunnel_and_is_told() {
    let (left, right) = End::pair();
    // A frame longer than a device can give makes the outbound thread of the fake fall over.
    left.write([vec![0; 70_000]]);
    left.expect(|event| matches!(event, Event::Failed(crate::Error::Panicked)));
    left.until(|| left.tunnel.stats().peers.is_empty());
    right.udp.arrive(address(9), &[0; 100_000]);
    right.expect(|event| matches!(event, Event::Failed(crate::Error::Panicked)));
    right.until(|| right.tunnel.stats().peers.is_empty());
}
