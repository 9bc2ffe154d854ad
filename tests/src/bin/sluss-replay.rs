//! One end of a tunnel alone under load: packets are sealed beforehand, and replayed as fast as the end takes them.
//!
//! Where both ends share two processors, the sender's encryption hides what the receiver could do with more of them. Here
//! the sender has nothing left to do but send, on processor 0; the end under test has processor 1, or both. What it opens
//! goes through its TUN device into a black hole.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::{Pid, gettid};
use sluss_platform::{UdpSocket, clock};
use sluss_tests::bench::cable::{Cable, OUTER, Setting};
use sluss_tests::bench::meter;
use sluss_tests::bench::spinner::Spinners;
use sluss_tests::end::{End, Offloads, Settings, endpoint, public};
use sluss_tests::moment::eventually;
use sluss_tests::netns::{self, Netns};
use sluss_tunnel::{Received, Udp};
use sluss_wg::{
    Config, Device, HEADER, Input, Now, Outbound, Output, PeerConfig, Respond, SoftwareKey, Tai64n,
    Time, Timing,
};

/// Replays sealed packets against one end of a tunnel.
#[derive(Parser)]
struct Arguments {
    /// Sealed megabytes in each round.
    #[arg(long, default_value_t = 500)]
    megabytes: usize,
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Bytes of TCP payload in each packet.
    #[arg(long, default_value_t = 1_368)]
    payload: usize,
    /// TCP connections whose packets take turns.
    #[arg(long, default_value_t = 1)]
    flows: u16,
    /// Over how many processors the end under test may spread: one, or two, of which the sender uses one as well.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2])]
    processors: Vec<usize>,
}

const PRIVATE: [[u8; 32]; 2] = [[1; 32], [2; 32]];
const MTU: u16 = 1420;

/// Datagrams in one send: as many of the largest as a UDP payload holds.
const RUN: usize = 45;

/// Bytes under way at most, so that none is lost in the socket of the end under test.
const WINDOW: u64 = 3 << 20;

const PATIENCE: Duration = Duration::from_secs(5);

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    netns::enter()?;
    let cable = Cable::lay("replay", Setting::Default)?;
    let [left, right] = &cable.ends;
    let _awake = Spinners::start(left)?;
    right.ip("route add blackhole 10.99.0.0/16")?;
    println!("processors    GB/s  CPU-s/GB  wake-ups/GB  the sender's CPU-s/GB");
    for _ in 0..arguments.rounds {
        for &processors in &arguments.processors {
            let round = replay(&arguments, left, right, processors)?;
            println!(
                "{processors:10} {:7.2} {:9.2} {:12.0} {:22.2}",
                round.rate, round.cpu, round.wake_ups, round.sender
            );
        }
    }
    Ok(())
}

/// What a round came to: GB a second; CPU seconds and wake-ups per GB.
struct Round {
    rate: f64,
    cpu: f64,
    wake_ups: f64,
    sender: f64,
}

fn replay(arguments: &Arguments, left: &Netns, right: &Netns, processors: usize) -> Result<Round> {
    let end = start_end(right)?;
    let mut sender = Sender::connect(left)?;
    let (sealed, stride) = sender.seal(arguments)?;

    let end_may_use: &[usize] = if processors == 1 { &[1] } else { &[0, 1] };
    pin(gettid(), &[0])?;
    for thread in other_threads()? {
        pin(thread, end_may_use)?;
    }
    let received = || {
        let stats = end.tunnel.stats();
        stats.peers.first().map_or(0, |peer| peer.received)
    };
    let (start, used_before) = (received(), Used::so_far()?);
    let started = Instant::now();
    let (mut sent, mut arrived) = (start, start);
    for run in sealed.chunks(RUN * stride) {
        // Asked only when it matters: otherwise the two would go in step, and nothing would ever wait in the socket.
        while sent > arrived + WINDOW {
            ensure!(started.elapsed() < PATIENCE * 10, "packets were lost");
            arrived = received();
        }
        sender.send(run, stride)?;
        sent += run.len() as u64;
    }
    eventually("all has arrived", PATIENCE, || {
        Ok((received() >= sent).then_some(()))
    })?;
    let took = started.elapsed();
    let used = Used::so_far()?;
    // Starting the next round takes no processor from this one, and none from the next.
    pin(gettid(), &[0, 1])?;

    let gigabytes = (sent - start) as f64 / 1e9;
    let spent = |before: Duration, after: Duration| (after - before).as_secs_f64() / gigabytes;
    Ok(Round {
        rate: gigabytes / took.as_secs_f64(),
        cpu: spent(used_before.end, used.end),
        wake_ups: (used.wake_ups - used_before.wake_ups) as f64 / gigabytes,
        sender: spent(used_before.sender, used.sender),
    })
}

fn start_end(network: &Netns) -> Result<End> {
    End::start(
        network,
        Settings {
            private: PRIVATE[1],
            held: false,
            addresses: vec!["10.9.0.2/24".to_owned()],
            mtu: MTU,
            offloads: Offloads::ALL,
            timing: Timing::default(),
            peer: public(PRIVATE[0]),
            preshared_key: None,
            endpoint: None,
        },
    )
}

/// An ordinary peer, as far as its packets go.
struct Sender {
    udp: UdpSocket,
    to: SocketAddr,
    outbound: Outbound,
}

impl Sender {
    /// Agrees on a session with the end under test.
    fn connect(network: &Netns) -> Result<Sender> {
        let udp = network.run(|| UdpSocket::bind(0, None))?;
        let to = endpoint(OUTER[1])?;
        let key = SoftwareKey::new(PRIVATE[0]);
        let config = Config {
            public_key: key.public(),
            respond: Respond::Never,
            timing: Timing::default(),
            stamp_floor: Tai64n::default(),
            mtu: MTU,
            seed: std::array::from_fn(|at| at as u8),
        };
        let peer = PeerConfig {
            public_key: public(PRIVATE[1]),
            preshared_key: None,
            endpoints: to.into(),
            allowed_ips: vec!["0.0.0.0/0".parse()?],
            persistent_keepalive: None,
        };
        let (mut device, mut outbound, _) = Device::new(config, vec![peer], now().boot)?;
        let peer = device.peer(&public(PRIVATE[1])).context("the only peer")?;

        let mut outputs = Vec::new();
        device.handle_with(&key, Input::Kick(peer), now(), &mut outputs);
        for output in outputs.drain(..) {
            if let Output::Send { to, datagram } = output {
                udp.send(to, &datagram, datagram.len())?;
            }
        }
        let mut response = [0; 256];
        let (from, length) = eventually("a response", PATIENCE, || {
            let mut buffers = [std::io::IoSliceMut::new(&mut response)];
            let mut received = [Received::default()];
            let came = udp.recv(&mut buffers, &mut received).is_ok();
            Ok(came.then_some((received[0].from, received[0].length)))
        })?;
        let bytes = &response[..length];
        device.handle_with(&key, Input::Datagram { from, bytes }, now(), &mut outputs);
        for output in outputs {
            if let Output::Outbound(update) = output {
                let mut send = |to, datagram: &[u8]| drop(udp.send(to, datagram, datagram.len()));
                outbound.apply(update, now().boot, &mut Vec::new(), &mut send);
            }
        }
        Ok(Sender { udp, to, outbound })
    }

    /// Datagrams end to end, and how long each is.
    fn seal(&mut self, arguments: &Arguments) -> Result<(Vec<u8>, usize)> {
        let mut flows: Vec<_> = (0..arguments.flows)
            .map(|flow| Flow::new(5_000 + flow, arguments.payload))
            .collect();
        let length = flows[0].packet.len();
        let stride = self.outbound.datagram_len(length);
        let count = (arguments.megabytes << 20) / stride;
        let mut sealed = vec![0; count * stride];
        for (which, datagram) in sealed.chunks_mut(stride).enumerate() {
            let flow = &mut flows[which % usize::from(arguments.flows)];
            datagram[HEADER..HEADER + length].copy_from_slice(flow.next());
        }
        let mut notices = Vec::new();
        let peer = self.outbound.route([10, 99, 0, 1].into());
        let mut lane = peer
            .and_then(|peer| self.outbound.lane(peer, now().boot, &mut notices))
            .context("a session")?;
        lane.seal(&mut sealed, &vec![length; count])?;
        Ok((sealed, stride))
    }

    fn send(&self, mut run: &[u8], stride: usize) -> Result<()> {
        while !run.is_empty() {
            run = &run[self.udp.send(self.to, run, stride)?..];
        }
        Ok(())
    }
}

/// A TCP connection that only ever sends.
struct Flow {
    packet: Vec<u8>,
    payload: usize,
    id: u16,
    sequence: u32,
}

impl Flow {
    fn new(port: u16, payload: usize) -> Flow {
        let length = 52 + payload;
        let mut packet = vec![0; length];
        packet[..10].copy_from_slice(&[0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 6]);
        packet[2..4].copy_from_slice(&(length as u16).to_be_bytes());
        packet[12..20].copy_from_slice(&[10, 9, 0, 1, 10, 99, 0, 1]);
        packet[20..22].copy_from_slice(&port.to_be_bytes());
        // Header length with timestamps, ACK, window; then the timestamps.
        packet[32..36].copy_from_slice(&[0x80, 0x10, 0xff, 0xff]);
        packet[40..44].copy_from_slice(&[1, 1, 8, 10]);
        Flow {
            packet,
            payload,
            id: 0,
            sequence: 0,
        }
    }

    fn next(&mut self) -> &[u8] {
        let packet = &mut self.packet;
        packet[4..6].copy_from_slice(&self.id.to_be_bytes());
        packet[24..28].copy_from_slice(&self.sequence.to_be_bytes());
        self.id = self.id.wrapping_add(1);
        self.sequence = self.sequence.wrapping_add(self.payload as u32);
        packet[10..12].fill(0);
        let sum = !tun_rs::checksum(&packet[..20], 0);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        packet[36..38].fill(0);
        let pseudo = tun_rs::checksum(&packet[12..20], 6 + packet.len() as u64 - 20);
        let sum = !tun_rs::checksum(&packet[20..], pseudo.into());
        packet[36..38].copy_from_slice(&sum.to_be_bytes());
        packet
    }
}

/// What this process has used, the sender's thread apart from the end's.
struct Used {
    sender: Duration,
    end: Duration,
    wake_ups: u64,
}

impl Used {
    fn so_far() -> Result<Used> {
        let own = getrusage(UsageWho::RUSAGE_THREAD)?;
        let sender = nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID.now()?.into();
        let pid = std::process::id();
        Ok(Used {
            sender,
            end: meter::cpu_time(pid)? - sender,
            wake_ups: meter::wake_ups(pid)? - u64::try_from(own.voluntary_context_switches())?,
        })
    }
}

/// All threads but the caller's.
fn other_threads() -> Result<Vec<Pid>> {
    let mut threads = Vec::new();
    for entry in std::fs::read_dir("/proc/self/task")? {
        let name = entry?.file_name();
        threads.push(Pid::from_raw(name.to_string_lossy().parse()?));
    }
    threads.retain(|&thread| thread != gettid());
    Ok(threads)
}

fn pin(thread: Pid, processors: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    for &processor in processors {
        set.set(processor)?;
    }
    Ok(sched_setaffinity(thread, &set)?)
}

fn now() -> Now {
    Now {
        boot: Time::since_boot(clock::boottime()),
        wall: clock::wall(),
    }
}
