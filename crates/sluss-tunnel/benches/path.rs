//! What the packet path costs beside the operating system: frames in, runs of datagrams out, and back.
//!
//! The system is made of queues that cost a lock each, once a frame or run. `out` reads, cuts, sums and seals; `in` opens,
//! verifies, joins and writes. The session's share of both is what `sluss-wg`'s own benchmark shows.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sluss_tunnel::{
    Clock, Io, Key, Offload, Readiness, Received, Segmenting, Tun, Tunnel, Udp, Waiter, Waker,
};
use sluss_wg::{Config, Device, PeerConfig, Respond, SoftwareKey, Tai64n, Time, Timing};

/// Bytes that are kept of what went out before they come in: as much as one receive takes, and a cache holds.
const KEPT: usize = 1 << 20;

criterion_group!(benches, out, back);
criterion_main!(benches);

/// What a TUN device gives, with how much of it is payload.
fn frames() -> [(&'static str, Vec<u8>, usize); 3] {
    [
        ("TCP, 64 KB", tcp(46 * 1_368), 46 * 1_368),
        ("TCP, 1420 bytes", tcp(1_368), 1_368),
        ("UDP, 64 bytes", udp(36), 36),
    ]
}

fn out(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("out");
    for (name, frame, payload) in frames() {
        let ends = Ends::join();
        group.throughput(Throughput::Bytes(payload as u64));
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| ends.left.host.forward(&frame, count, false).1);
        });
    }
}

fn back(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("in");
    for (name, frame, payload) in frames() {
        let ends = Ends::join();
        group.throughput(Throughput::Bytes(payload as u64));
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| {
                let at_once = (KEPT / frame.len()) as u64;
                let chunks = (0..count)
                    .step_by(at_once as usize)
                    .map(|done| at_once.min(count - done));
                chunks
                    .map(|count| {
                        let (runs, _) = ends.left.host.forward(&frame, count, true);
                        ends.right.host.deliver(runs, count as usize * payload)
                    })
                    .sum()
            });
        });
    }
}

/// Two tunnels with a session.
struct Ends {
    left: End,
    right: End,
}

struct End {
    host: Arc<Host>,
    /// Runs for as long as it is here.
    _tunnel: Tunnel,
}

impl Ends {
    fn join() -> Ends {
        let hosts = [1, 2].map(|number| Arc::new(Host::new(number)));
        let [left, right] = &hosts;
        left.state().wire = Some(right.clone());
        right.state().wire = Some(left.clone());
        let (left, right) = (End::start(left.clone()), End::start(right.clone()));
        // The first packet asks for a session, and arrives when there is one.
        let first = udp(36);
        left.host.state().offered.push_back(first.clone());
        left.host.ring();
        right.host.until(|state| state.written >= first.len());
        left.host.state().wire = None;
        right.host.state().wire = None;
        Ends { left, right }
    }
}

impl End {
    fn start(host: Arc<Host>) -> End {
        let (own, other) = (host.number, 3 - host.number);
        let key = SoftwareKey::new([own; 32]);
        let config = Config {
            public_key: key.public(),
            respond: Respond::Freely,
            timing: Timing::default(),
            stamp_floor: Tai64n::default(),
            mtu: 1_420,
            seed: [own; 32],
        };
        let peer = PeerConfig {
            public_key: SoftwareKey::new([other; 32]).public(),
            preshared_key: None,
            endpoints: address(other).into(),
            allowed_ips: vec!["0.0.0.0/0".parse().expect("a network")],
            persistent_keepalive: None,
        };
        let now = Time::since_boot(host.boottime());
        let engine = Device::new(config, vec![peer], now).expect("two different keys");
        let io = Io {
            tun: host.clone(),
            udp: host.clone(),
            clock: host.clone(),
            outbound: Box::new(Sleeper(0, host.clone())),
            inbound: Box::new(Sleeper(1, host.clone())),
        };
        let tunnel =
            sluss_tunnel::start(engine, Key::Software(key), io, |_| {}).expect("two threads");
        End {
            host,
            _tunnel: tunnel,
        }
    }
}

/// An operating system whose clock stands still.
struct Host {
    number: u8,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// What TUN gives next, and then the same frame so many times.
    offered: VecDeque<Vec<u8>>,
    again: (Vec<u8>, u64),
    /// What UDP gives next: runs, with their stride.
    arrived: VecDeque<(Vec<u8>, usize)>,
    /// Where datagrams go; nowhere, but they may be kept.
    wire: Option<Arc<Host>>,
    keeps: bool,
    kept: VecDeque<(Vec<u8>, usize)>,
    /// Bytes that were written to TUN.
    written: usize,
    /// Threads that sleep.
    idle: usize,
    /// For which of the two a bell has rung that it has not heard.
    rung: [bool; 2],
}

impl Host {
    fn new(number: u8) -> Host {
        Host {
            number,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic")
    }

    fn ring(&self) {
        self.state().rung = [true; 2];
        self.changed.notify_all();
    }

    fn until(&self, is_so: impl Fn(&State) -> bool) {
        let mut state = self.state();
        while !is_so(&state) {
            state = self.changed.wait(state).expect("no panic");
        }
    }

    /// Reads the frame so many times from TUN; gives the runs that went, if they are kept, and the time that it took.
    fn forward(
        &self,
        frame: &[u8],
        count: u64,
        keeps: bool,
    ) -> (VecDeque<(Vec<u8>, usize)>, Duration) {
        let mut state = self.state();
        state.again = (frame.to_vec(), count);
        state.keeps = keeps;
        drop(state);
        let started = Instant::now();
        self.ring();
        // Whoever sleeps has sent everything.
        self.until(|state| state.again.1 == 0 && state.idle == 2);
        let elapsed = started.elapsed();
        (std::mem::take(&mut self.state().kept), elapsed)
    }

    /// Receives the runs, with so much payload in them; gives the time until all of it is written to TUN.
    fn deliver(&self, runs: VecDeque<(Vec<u8>, usize)>, payload: usize) -> Duration {
        let mut state = self.state();
        let before = state.written;
        state.arrived = runs;
        drop(state);
        let started = Instant::now();
        self.ring();
        self.until(|state| state.arrived.is_empty() && state.idle == 2);
        let elapsed = started.elapsed();
        assert!(
            self.state().written - before > payload,
            "something was lost"
        );
        elapsed
    }
}

impl Tun for Host {
    fn offload(&self) -> Offload {
        Offload::TcpAndUdp
    }

    fn mtu(&self) -> io::Result<u16> {
        Ok(1_420)
    }

    fn recv(&self, frame: &mut [u8]) -> io::Result<usize> {
        let mut state = self.state();
        let give = |from: &[u8], to: &mut [u8]| {
            to[..from.len()].copy_from_slice(from);
            Ok(from.len())
        };
        if let Some(first) = state.offered.pop_front() {
            return give(&first, frame);
        }
        state.again.1 = state.again.1.checked_sub(1).ok_or(ErrorKind::WouldBlock)?;
        give(&state.again.0, frame)
    }

    fn send(&self, frame: &[IoSlice<'_>]) -> io::Result<()> {
        self.state().written += frame.iter().map(|part| part.len()).sum::<usize>();
        Ok(())
    }
}

impl Udp for Host {
    fn send(&self, _: SocketAddr, datagrams: &[u8], stride: usize) -> io::Result<usize> {
        let mut state = self.state();
        let wire = state.wire.clone();
        if state.keeps {
            state.kept.push_back((datagrams.to_vec(), stride));
        }
        drop(state);
        if let Some(other) = wire {
            other
                .state()
                .arrived
                .push_back((datagrams.to_vec(), stride));
            other.ring();
        }
        Ok(datagrams.len())
    }

    fn recv(&self, buffers: &mut [IoSliceMut<'_>], received: &mut [Received]) -> io::Result<usize> {
        let mut state = self.state();
        if state.arrived.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let mut count = 0;
        for (buffer, received) in buffers.iter_mut().zip(received) {
            let Some((run, stride)) = state.arrived.pop_front() else {
                break;
            };
            buffer[..run.len()].copy_from_slice(&run);
            *received = Received {
                from: address(3 - self.number),
                length: run.len(),
                stride,
            };
            count += 1;
        }
        Ok(count)
    }

    fn send_whole(&self, to: SocketAddr, datagram: &[u8]) -> io::Result<bool> {
        Udp::send(self, to, datagram, datagram.len()).map(|_| true)
    }

    fn largest_whole(&self, _: SocketAddr) -> Option<usize> {
        Some(1_472)
    }

    fn segmenting(&self) -> Segmenting {
        Segmenting::Offloaded
    }

    fn joins(&self) -> bool {
        true
    }

    fn path_changed(&self) {}
}

impl Clock for Host {
    fn boottime(&self) -> Duration {
        Duration::from_secs(1_000)
    }

    fn wall(&self) -> Duration {
        Duration::from_secs(1_800_000_000)
    }
}

/// A thread's place to wait, and its bell.
struct Sleeper(usize, Arc<Host>);

impl Waiter for Sleeper {
    fn wait(&mut self, readiness: Readiness, _: Option<Duration>) -> io::Result<()> {
        let Sleeper(which, host) = self;
        let is_ready = |state: &State| match readiness {
            Readiness::TunReadable => !state.offered.is_empty() || state.again.1 > 0,
            Readiness::UdpReadable => !state.arrived.is_empty(),
            Readiness::UdpWritable => true,
        };
        let mut state = host.state();
        state.idle += 1;
        host.changed.notify_all();
        while !state.rung[*which] && !is_ready(&state) {
            state = host.changed.wait(state).expect("no panic");
        }
        state.rung[*which] = false;
        state.idle -= 1;
        Ok(())
    }

    fn waker(&self) -> Arc<dyn Waker> {
        Arc::new(Sleeper(self.0, self.1.clone()))
    }
}

impl Waker for Sleeper {
    fn wake(&self) {
        self.1.state().rung[self.0] = true;
        self.1.changed.notify_all();
    }
}

fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, number], 51_820))
}

/// A frame with a TCP segment or super-packet, whose checksum is the pseudo-header's (virtio 1.2, 5.1.6.2).
fn tcp(payload: usize) -> Vec<u8> {
    const HEADERS: usize = 20 + 32;
    let size = payload.min(1_368) as u16;
    let gso = u8::from(payload > 1_368);
    let mut frame = vec![1, gso, HEADERS as u8, 0];
    frame.extend(
        [size * u16::from(gso), 20, 16]
            .into_iter()
            .flat_map(u16::to_ne_bytes),
    );
    frame.extend(ip(6, HEADERS + payload));
    // Ports, sequence, acknowledgment, header of 32 bytes, ACK, window, checksum, urgent pointer; no-ops, time stamps.
    frame.extend([
        0x30, 0x39, 0x30, 0x3a, 0, 0, 0, 1, 0, 0, 0, 1, 0x80, 0x10, 1, 0,
    ]);
    let pseudo: u32 = [0x0a09, 1, 0x0a09, 2, 6, (32 + payload) as u32]
        .into_iter()
        .sum();
    frame.extend(
        (pseudo as u16)
            .wrapping_add((pseudo >> 16) as u16)
            .to_be_bytes(),
    );
    frame.extend([0, 0, 1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 1]);
    frame.resize(frame.len() + payload, 0x5a);
    frame
}

/// A frame with a UDP datagram without a checksum.
fn udp(payload: usize) -> Vec<u8> {
    let mut frame = vec![0; 10];
    frame.extend(ip(17, 28 + payload));
    frame.extend([0x30, 0x39, 0x30, 0x3a, 0, (8 + payload) as u8, 0, 0]);
    frame.resize(frame.len() + payload, 0x5a);
    frame
}

/// From 10.9.0.1 to 10.9.0.2, not to be fragmented.
fn ip(protocol: u8, length: usize) -> [u8; 20] {
    let [high, low] = (length as u16).to_be_bytes();
    let mut header = [
        0x45, 0, high, low, 0, 0, 0x40, 0, 64, protocol, 0, 0, 10, 9, 0, 1, 10, 9, 0, 2,
    ];
    let (words, _) = header.as_chunks::<2>();
    let sum: u32 = words
        .iter()
        .map(|word| u32::from(u16::from_be_bytes(*word)))
        .sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    header[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    header
}
