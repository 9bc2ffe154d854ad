//! What a session costs: sealing and opening a run of packets of one length, and the handshake that comes before.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sluss_wg::{
    Config, Device, HEADER, Inbound, Input, Now, Outbound, Output, PeerConfig, PeerId, Respond,
    SoftwareKey, Tai64n, Time, Timing,
};

/// An acknowledgment, a small request, the tunnel's MTU, a jumbo frame.
const LENGTHS: [usize; 4] = [64, 256, 1_420, 9_000];

/// As much as one send takes, which is what is sealed at once.
const RUN: usize = 65_507;

criterion_group!(benches, seal, open, handshake);
criterion_main!(benches);

fn seal(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("seal");
    for length in LENGTHS {
        let [mut left, _] = Node::joined();
        let mut run = Run::new(&left, length);
        group.throughput(Throughput::Bytes(run.payload()));
        group.bench_function(BenchmarkId::from_parameter(length), |bencher| {
            bencher.iter(|| run.seal(&mut left));
        });
    }
}

fn open(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("open");
    for length in LENGTHS {
        let [mut left, mut right] = Node::joined();
        let mut run = Run::new(&left, length);
        let stride = run.stride;
        let (from, mut notices, mut opened) = (left.address, Vec::new(), Vec::new());
        group.throughput(Throughput::Bytes(run.payload()));
        group.bench_function(BenchmarkId::from_parameter(length), |bencher| {
            let sealed = || {
                run.fill();
                run.seal(&mut left);
                run.bytes.clone()
            };
            // Each run can be opened only once: its counters are spent.
            bencher.iter_batched_ref(
                sealed,
                |bytes| {
                    opened.clear();
                    right.inbound.open_run(
                        from,
                        bytes,
                        stride,
                        now().boot,
                        &mut notices,
                        &mut opened,
                    );
                    assert!(opened.iter().all(Result::is_ok));
                },
                BatchSize::NumIterations(64),
            );
        });
    }
}

/// Both ends' part of it, software keys included.
fn handshake(criterion: &mut Criterion) {
    criterion.bench_function("handshake", |bencher| {
        bencher.iter_batched_ref(Node::pair, join, BatchSize::SmallInput);
    });
}

/// Packets of one length, with the room around them that sealing wants.
struct Run {
    bytes: Vec<u8>,
    packet: Vec<u8>,
    lengths: Vec<usize>,
    stride: usize,
}

impl Run {
    fn new(from: &Node, length: usize) -> Run {
        let mut packet = vec![0; length];
        packet[0] = 0x45;
        packet[2..4].copy_from_slice(&(length as u16).to_be_bytes());
        packet[12..16].copy_from_slice(&inner(from.number).octets());
        packet[16..20].copy_from_slice(&inner(3 - from.number).octets());
        let stride = from.outbound.datagram_len(length);
        let lengths = vec![length; (RUN / stride).min(64)];
        let mut run = Run {
            bytes: vec![0; stride * lengths.len()],
            packet,
            lengths,
            stride,
        };
        run.fill();
        run
    }

    fn payload(&self) -> u64 {
        self.lengths.iter().sum::<usize>() as u64
    }

    /// Sealing the same bytes again and again is as good as any; opening wants packets inside.
    fn fill(&mut self) {
        for datagram in self.bytes.chunks_mut(self.stride) {
            datagram[HEADER..HEADER + self.packet.len()].copy_from_slice(&self.packet);
        }
    }

    fn seal(&mut self, from: &mut Node) {
        let mut lane = from
            .outbound
            .lane(from.peer, now().boot, &mut from.notices)
            .expect("a session");
        lane.seal(&mut self.bytes, &self.lengths).expect("room");
    }
}

/// One end, with all three of its owners in one hand.
struct Node {
    number: u8,
    address: SocketAddr,
    key: SoftwareKey,
    device: Device,
    outbound: Outbound,
    inbound: Inbound,
    peer: PeerId,
    notices: Vec<sluss_wg::Notice>,
    wire: Vec<Vec<u8>>,
}

impl Node {
    fn pair() -> [Node; 2] {
        [Node::new(1), Node::new(2)]
    }

    fn joined() -> [Node; 2] {
        let mut pair = Node::pair();
        join(&mut pair);
        pair
    }

    fn new(number: u8) -> Node {
        let (key, other) = (SoftwareKey::new([number; 32]), 3 - number);
        let config = Config {
            public_key: key.public(),
            respond: Respond::Freely,
            timing: Timing::default(),
            stamp_floor: Tai64n::default(),
            mtu: 9_000,
            seed: [number; 32],
        };
        let public_key = SoftwareKey::new([other; 32]).public();
        let peer = PeerConfig {
            public_key,
            preshared_key: None,
            endpoints: outer(other).into(),
            allowed_ips: vec![ipnet::IpNet::from(std::net::IpAddr::from(inner(other)))],
            persistent_keepalive: None,
        };
        let (device, outbound, inbound) =
            Device::new(config, vec![peer], now().boot).expect("two keys");
        let peer = device.peer(&public_key).expect("just added");
        Node {
            number,
            address: outer(number),
            key,
            device,
            outbound,
            inbound,
            peer,
            notices: Vec::new(),
            wire: Vec::new(),
        }
    }

    fn handle(&mut self, input: Input<'_>) {
        let mut outputs = Vec::new();
        self.device.handle(input, now(), &mut outputs);
        for output in outputs {
            match output {
                Output::Send { datagram, .. } => self.wire.push(datagram.to_vec()),
                Output::Dh { id, with, .. } => {
                    let result = self.key.dh(&with);
                    self.handle(Input::Dh { id, result });
                }
                Output::Outbound(update) => {
                    let wire = &mut self.wire;
                    let mut send = |_, bytes: &[u8]| wire.push(bytes.to_vec());
                    self.outbound
                        .apply(update, now().boot, &mut self.notices, &mut send);
                }
                Output::Inbound(update) => self.inbound.apply(update),
                Output::PersistStamp { .. } | Output::Event(_) => {}
            }
        }
    }

    fn receive(&mut self, from: SocketAddr, mut datagram: Vec<u8>) {
        if sluss_wg::is_transport(&datagram) {
            let mut notices = Vec::new();
            self.inbound
                .open(from, &mut datagram, now().boot, &mut notices)
                .expect("an empty packet");
            for notice in notices {
                self.handle(Input::Notice(notice));
            }
        } else {
            self.handle(Input::Datagram {
                from,
                bytes: &datagram,
            });
        }
    }
}

/// Initiation, response, and the empty packet that confirms: then both may send.
fn join([left, right]: &mut [Node; 2]) {
    left.handle(Input::Kick(left.peer));
    while !(left.wire.is_empty() && right.wire.is_empty()) {
        for datagram in std::mem::take(&mut left.wire) {
            right.receive(left.address, datagram);
        }
        for datagram in std::mem::take(&mut right.wire) {
            left.receive(right.address, datagram);
        }
    }
}

fn outer(number: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, number], 51_820))
}

fn inner(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 9, 0, number)
}

/// Time stands still, so that no session ever grows old.
fn now() -> Now {
    Now {
        boot: Time::since_boot(Duration::from_secs(1_000)),
        wall: Duration::from_secs(1_800_000_000),
    }
}
