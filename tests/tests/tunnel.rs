//! Two tunnels of ours, back to back over a cable: real TUN devices, real kernel, every byte looked at.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::socket::{setsockopt, sockopt};
use sluss_platform::MARK;
use sluss_platform::clock::boottime;
use sluss_tests::end::{End, Offloads, PORT, Settings, TUN, add_address, endpoint, public};
use sluss_tests::netns::{Netns, veth};
use sluss_tests::{trial, trials};
use sluss_tunnel::{Command, Event, Lost};
use sluss_wg::{SoftwareKey, Timing};

fn main() -> ExitCode {
    trials::main(&[
        trial!(tcp_of_every_size_at_every_mtu),
        trial!(udp_of_every_size_at_every_mtu),
        trial!(a_million_packets),
        trial!(bulk_both_ways),
        trial!(datagrams_larger_than_the_path_are_fragmented),
        trial!(what_is_sent_carries_the_mark),
        trial!(a_host_without_ipv6_is_served),
        trial!(a_held_key_is_asked_elsewhere_and_nothing_stalls),
        trial!(traffic_outlives_a_lost_network),
        trial!(a_moved_laptop_keeps_its_connections),
        trial!(a_removed_device_is_told),
        trial!(an_idle_tunnel_sleeps),
        trial!(a_tunnel_stops_at_once),
        trial!(noise_at_the_port_is_refused),
    ])
}

const LEFT: [u8; 32] = [1; 32];
const RIGHT: [u8; 32] = [2; 32];

/// How long anything here may take that is not bulk.
const PATIENCE: Duration = Duration::from_secs(10);

/// Two networks and a cable between them.
struct Cable {
    left: Netns,
    right: Netns,
}

impl Cable {
    fn new(mtu: u16) -> Result<Cable> {
        let (left, right) = (Netns::new("left")?, Netns::new("right")?);
        veth((&left, "eth0"), (&right, "eth0"))?;
        for (network, host) in [(&left, 1), (&right, 2)] {
            network.ip(&format!("link set eth0 mtu {mtu}"))?;
            add_address(network, "eth0", &format!("192.0.2.{host}/24"))?;
            if mtu >= 1280 {
                add_address(network, "eth0", &format!("2001:db8::{host}/64"))?;
            }
        }
        Ok(Cable { left, right })
    }

    /// Both ends, and a session between them.
    fn tunnels(&self, change: impl Fn(&mut Settings)) -> Result<(End, End)> {
        let mut left = settings(LEFT, RIGHT, 1);
        left.endpoint = Some(endpoint("192.0.2.2")?);
        let mut right = settings(RIGHT, LEFT, 2);
        change(&mut left);
        change(&mut right);
        let right = End::start(&self.right, right)?;
        let left = End::start(&self.left, left)?;
        left.kick();
        left.established(PATIENCE)?;
        Ok((left, right))
    }
}

fn settings(private: [u8; 32], peer: [u8; 32], host: u8) -> Settings {
    Settings {
        private,
        held: false,
        addresses: vec![format!("10.9.0.{host}/24"), format!("fd09::{host}/64")],
        mtu: 1420,
        offloads: Offloads::ALL,
        timing: Timing::default(),
        peer: public(peer),
        preshared_key: None,
        endpoint: None,
    }
}

/// Bytes that are told apart by where they are.
struct Pattern(Vec<u8>);

impl Pattern {
    const PERIOD: usize = 65_521;

    fn new() -> Pattern {
        let mut state = 1u64;
        let byte = |_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as u8
        };
        Pattern((0..Pattern::PERIOD + 65_536).map(byte).collect())
    }

    /// The content of the `which`th message, `length` bytes long.
    fn message(&self, which: u64, length: usize) -> &[u8] {
        let at = (which as usize).wrapping_mul(7_919) % Pattern::PERIOD;
        &self.0[at..at + length]
    }
}

/// Lengths of 0 to `limit` bytes: all around what is special, and a spread of the rest.
fn lengths(mtu: u16, limit: usize) -> Vec<usize> {
    let mtu = usize::from(mtu);
    let special = [
        0,
        16,
        mtu / 2,
        mtu.saturating_sub(80),
        mtu - 52,
        mtu - 40,
        mtu - 28,
        mtu,
        2 * mtu,
        16_384,
        32_768,
        limit,
    ];
    let mut lengths: Vec<usize> = special
        .into_iter()
        .flat_map(|length| length.saturating_sub(2)..=length + 2)
        .chain((0..limit).step_by(limit / 40))
        .filter(|&length| length <= limit)
        .collect();
    lengths.sort_unstable();
    lengths.dedup();
    lengths
}

/// Sends messages of these lengths over one TCP connection, and looks at what arrives.
fn tcp(from: &Netns, to: &Netns, address: IpAddr, lengths: &[usize]) -> Result<()> {
    let pattern = Pattern::new();
    let listener = to.run(|| TcpListener::bind((address, 0)))?;
    let address = listener.local_addr()?;
    let mut sender = from
        .run(|| TcpStream::connect_timeout(&address, PATIENCE))
        .context("connect through the tunnel")?;
    sender.set_nodelay(true)?;
    let (mut receiver, _) = listener.accept()?;
    receiver.set_read_timeout(Some(PATIENCE))?;
    std::thread::scope(|scope| {
        let sent = scope.spawn(|| {
            for (which, &length) in (0..).zip(lengths) {
                sender.write_all(pattern.message(which, length))?;
            }
            sender.shutdown(std::net::Shutdown::Write)
        });
        let mut got = vec![0; 65_536];
        for (which, &length) in (0..).zip(lengths) {
            receiver
                .read_exact(&mut got[..length])
                .with_context(|| format!("message {which} of {length} bytes"))?;
            ensure!(
                got[..length] == *pattern.message(which, length),
                "message {which} of {length} bytes differs"
            );
        }
        ensure!(receiver.read(&mut got)? == 0, "more came than was sent");
        sent.join().expect("no panic")?;
        Ok(())
    })
}

/// Sockets on both sides for datagrams through the tunnel.
fn udp_pair(cable: &Cable, to: IpAddr) -> Result<(UdpSocket, UdpSocket)> {
    let any: IpAddr = if to.is_ipv4() {
        "0.0.0.0".parse()?
    } else {
        "::".parse()?
    };
    let receiver = cable.right.run(|| UdpSocket::bind((to, 0)))?;
    let address = receiver.local_addr()?;
    let sender = cable.left.run(|| {
        let sender = UdpSocket::bind((any, 0))?;
        sender.connect(address)?;
        std::io::Result::Ok(sender)
    })?;
    for socket in [&sender, &receiver] {
        // As much as an ordinary user may have; what is under way stays below that.
        setsockopt(socket, sockopt::RcvBuf, &(16 << 20))?;
        setsockopt(socket, sockopt::SndBuf, &(16 << 20))?;
        socket.set_read_timeout(Some(PATIENCE))?;
    }
    Ok((sender, receiver))
}

/// Sends one datagram of each of these lengths, and looks at what arrives, one after the other.
fn udp(cable: &Cable, to: IpAddr, lengths: &[usize]) -> Result<()> {
    let pattern = Pattern::new();
    let (sender, receiver) = udp_pair(cable, to)?;
    let mut got = vec![0; 65_536];
    for (which, &length) in (0..).zip(lengths) {
        sender.send(pattern.message(which, length))?;
        let came = receiver
            .recv(&mut got)
            .with_context(|| format!("datagram {which} of {length} bytes"))?;
        ensure!(
            got[..came] == *pattern.message(which, length),
            "datagram {which} of {length} bytes differs"
        );
    }
    Ok(())
}

fn inner() -> Result<[IpAddr; 2]> {
    Ok(["10.9.0.2".parse()?, "fd09::2".parse()?])
}

fn tcp_of_every_size_at_every_mtu() -> Result<()> {
    let cable = Cable::new(9_100)?;
    for offloads in [Offloads::ALL, Offloads::NONE] {
        for mtu in [68, 576, 1280, 1281, 1420, 1500, 4000, 9000] {
            let _ends = cable.tunnels(|end| {
                end.mtu = mtu;
                end.offloads = offloads;
                if mtu < 1280 {
                    end.addresses.truncate(1);
                }
            })?;
            for to in inner()? {
                if to.is_ipv4() || mtu >= 1280 {
                    tcp(&cable.left, &cable.right, to, &lengths(mtu, 65_535))
                        .with_context(|| format!("to {to}, MTU {mtu}, {offloads:?}"))?;
                }
            }
        }
    }
    Ok(())
}

fn udp_of_every_size_at_every_mtu() -> Result<()> {
    let cable = Cable::new(9_100)?;
    for offloads in [Offloads::ALL, Offloads::NONE] {
        for mtu in [68, 576, 1280, 1420, 9000] {
            let _ends = cable.tunnels(|end| {
                end.mtu = mtu;
                end.offloads = offloads;
                if mtu < 1280 {
                    end.addresses.truncate(1);
                }
            })?;
            // A datagram of 65,507 bytes would be 1,365 fragments at the smallest MTU: more than a queue holds.
            let limit = if mtu == 68 { 8_000 } else { 65_507 };
            for to in inner()? {
                if to.is_ipv4() || mtu >= 1280 {
                    udp(&cable, to, &lengths(mtu, limit))
                        .with_context(|| format!("to {to}, MTU {mtu}, {offloads:?}"))?;
                }
            }
        }
    }
    Ok(())
}

/// One million, counted by what arrives: each once, in order, with its content.
fn a_million_packets() -> Result<()> {
    let cable = Cable::new(1500)?;
    for offloads in [Offloads::ALL, Offloads::NONE] {
        let (left, right) = cable.tunnels(|end| end.offloads = offloads)?;
        for to in inner()? {
            packets(&cable, to, 250_000).with_context(|| format!("to {to}, {offloads:?}"))?;
        }
        for end in [&left, &right] {
            ensure!(
                end.tunnel.stats().lost == Lost::default(),
                "{:?}",
                end.tunnel.stats().lost
            );
        }
    }
    Ok(())
}

/// Sends `count` datagrams in bursts, never more than the receiver has acknowledged by a margin.
fn packets(cable: &Cable, to: IpAddr, count: u64) -> Result<()> {
    const WINDOW: u64 = 120;
    let pattern = Pattern::new();
    let (sender, receiver) = udp_pair(cable, to)?;
    let started = boottime();
    std::thread::scope(|scope| {
        let sent = scope.spawn(|| -> Result<()> {
            let (mut next, mut acknowledged) = (0u64, 0u64);
            let mut burst = Vec::new();
            let mut answer = [0; 8];
            while next < count {
                // The kernel cuts a burst into datagrams of this length, before or behind the TUN device.
                let length = 8 + (next as usize).wrapping_mul(2_654_435_761) % 1_350;
                let many = (1 + next % 40).min(count - next);
                burst.clear();
                for which in next..next + many {
                    burst.extend(which.to_be_bytes());
                    burst.extend(pattern.message(which, length - 8));
                }
                setsockopt(&sender, sockopt::UdpGsoSegment, &i32::try_from(length)?)?;
                sender.send(&burst)?;
                next += many;
                while next - acknowledged > WINDOW {
                    sender
                        .recv(&mut answer)
                        .context("no acknowledgement: packets were lost")?;
                    acknowledged = u64::from_be_bytes(answer);
                }
            }
            Ok(())
        });
        let mut got = [0; 2_048];
        for which in 0..count {
            let (length, from) = receiver
                .recv_from(&mut got)
                .with_context(|| format!("packet {which} of {count}"))?;
            ensure!(
                length >= 8 && got[..8] == which.to_be_bytes(),
                "packet {which} did not come in its turn"
            );
            ensure!(
                got[8..length] == *pattern.message(which, length - 8),
                "packet {which} differs"
            );
            if which % 40 == 0 {
                receiver.send_to(&which.to_be_bytes(), from)?;
            }
        }
        sent.join().expect("no panic")?;
        println!(
            "measured {count} packets to {to} in {:?}",
            boottime() - started
        );
        Ok(())
    })
}

/// As network cards come: one that takes super-packets, one that leaves segmenting to the kernel, one that knows nothing.
const CARDS: [&str; 3] = [
    "",
    "tx-udp-segmentation off tso off gso on gro on",
    "tx-udp-segmentation off tso off gso off gro off",
];

fn bulk_both_ways() -> Result<()> {
    let cable = Cable::new(1500)?;
    let bulk = vec![65_535; 400];
    for card in CARDS {
        for network in [&cable.left, &cable.right] {
            if !card.is_empty() {
                network.sh(&format!("ethtool -K eth0 {card}"))?;
            }
        }
        for offloads in [Offloads::ALL, Offloads::NONE] {
            let (left, right) = cable.tunnels(|end| end.offloads = offloads)?;
            for (here, there) in [("10.9.0.1", "10.9.0.2"), ("fd09::1", "fd09::2")] {
                let started = boottime();
                std::thread::scope(|scope| -> Result<()> {
                    let back = scope.spawn(|| tcp(&cable.right, &cable.left, here.parse()?, &bulk));
                    tcp(&cable.left, &cable.right, there.parse()?, &bulk)?;
                    back.join().expect("no panic")
                })
                .with_context(|| format!("to {there}, {offloads:?}, card {card:?}"))?;
                let took = boottime() - started;
                println!("measured 2 x 26 MB to {there}, {offloads:?}, card {card:?}: {took:?}");
            }
            for end in [&left, &right] {
                let lost = end.tunnel.stats().lost;
                ensure!(lost == Lost::default(), "{lost:?}");
            }
        }
    }
    Ok(())
}

/// The tunnel's MTU is a guess about the path. Where it is too big, the kernel cannot segment, and cuts each datagram.
fn datagrams_larger_than_the_path_are_fragmented() -> Result<()> {
    let cable = Cable::new(1_300)?;
    for outer in ["192.0.2.2", "2001:db8::2"] {
        let outer = endpoint(outer)?;
        let (left, _right) = cable.tunnels(|end| end.endpoint = end.endpoint.map(|_| outer))?;
        for to in inner()? {
            tcp(&cable.left, &cable.right, to, &[65_535; 20])
                .with_context(|| format!("to {to} by {outer}"))?;
        }
        ensure!(
            left.tunnel.stats().lost == Lost::default(),
            "{:?}",
            left.tunnel.stats().lost
        );
    }
    Ok(())
}

/// The other side is reached by a table that only marked packets look into.
fn what_is_sent_carries_the_mark() -> Result<()> {
    let cable = Cable::new(1500)?;
    cable.right.ip("addr add 198.51.100.2/32 dev lo")?;
    cable
        .left
        .ip("route add 198.51.100.2 via 192.0.2.2 table 77")?;
    cable
        .left
        .ip(&format!("rule add fwmark {MARK:#x} lookup 77"))?;
    let plain = cable.left.run(|| UdpSocket::bind("0.0.0.0:0"))?;
    ensure!(
        plain.send_to(&[0], "198.51.100.2:9").is_err(),
        "the table is open to all"
    );
    let outer = endpoint("198.51.100.2")?;
    let _ends = cable.tunnels(|end| end.endpoint = end.endpoint.map(|_| outer))?;
    Echo::new(&cable)?.round()?;
    Ok(())
}

fn a_host_without_ipv6_is_served() -> Result<()> {
    let cable = Cable::new(1500)?;
    for network in [&cable.left, &cable.right] {
        network.sysctl("ipv6.conf.all.disable_ipv6", "1")?;
        network.sysctl("ipv6.conf.default.disable_ipv6", "1")?;
    }
    let _ends = cable.tunnels(|end| end.addresses.truncate(1))?;
    Echo::new(&cable)?.round()?;
    Ok(())
}

/// Question and answer through the tunnel, one at a time.
struct Echo {
    here: UdpSocket,
    there: UdpSocket,
    count: u64,
}

impl Echo {
    fn new(cable: &Cable) -> Result<Echo> {
        let (here, there) = udp_pair(cable, "10.9.0.2".parse()?)?;
        Ok(Echo {
            here,
            there,
            count: 0,
        })
    }

    /// One round trip, and how long it took.
    fn round(&mut self) -> Result<Duration> {
        self.count += 1;
        let (question, started) = (self.count.to_be_bytes(), boottime());
        let mut got = [0; 8];
        self.here.send(&question)?;
        let (length, from) = self
            .there
            .recv_from(&mut got)
            .context("the question was lost")?;
        ensure!(got[..length] == question, "another question");
        self.there.send_to(&got, from)?;
        let length = self.here.recv(&mut got).context("the answer was lost")?;
        ensure!(got[..length] == question, "another answer");
        Ok(boottime() - started)
    }
}

/// The card thinks for a hundred round trips each time. The old session carries them all.
fn a_held_key_is_asked_elsewhere_and_nothing_stalls() -> Result<()> {
    let cable = Cable::new(1500)?;
    let quick = Timing {
        rekey_after: Duration::from_millis(500),
        rekey_timeout: Duration::from_millis(500),
        ..Timing::default()
    };
    let mut right = settings(RIGHT, LEFT, 2);
    right.timing = quick;
    let mut left = settings(LEFT, RIGHT, 1);
    left.timing = quick;
    left.held = true;
    left.endpoint = Some(endpoint("192.0.2.2")?);
    let _right = End::start(&cable.right, right)?;
    let left = End::start(&cable.left, left)?;
    let card = SoftwareKey::new(LEFT);

    left.kick();
    let mut sessions = 0;
    let mut rounds_left = 0u32;
    let mut asked = None;
    let mut slowest = Duration::ZERO;
    let mut echo = Echo::new(&cable)?;
    while sessions < 4 {
        for event in left.events.try_iter() {
            match event {
                Event::DhWanted { id, with, .. } => {
                    ensure!(asked.is_none(), "asked again while the card thinks");
                    asked = Some((id, with));
                    rounds_left = if sessions == 0 { 0 } else { 100 };
                }
                Event::Peer(sluss_wg::Event::SessionEstablished { .. }) => sessions += 1,
                Event::Peer(_) | Event::StampReserved { .. } => {}
                Event::Failed(error) => return Err(error.into()),
            }
        }
        if rounds_left == 0
            && let Some((id, with)) = asked.take()
        {
            left.tunnel.command(Command::Dh {
                id,
                result: card.dh(&with),
            });
        }
        if sessions > 0 {
            slowest = slowest.max(echo.round()?);
            rounds_left = rounds_left.saturating_sub(1);
        }
    }
    println!(
        "measured the slowest of {} round trips: {slowest:?}",
        echo.count
    );
    ensure!(
        slowest < Duration::from_millis(500),
        "a round trip took {slowest:?}"
    );
    Ok(())
}

fn traffic_outlives_a_lost_network() -> Result<()> {
    let cable = Cable::new(1500)?;
    let (left, _right) = cable.tunnels(|_| {})?;
    let mut echo = Echo::new(&cable)?;
    echo.round()?;
    cable.left.ip("link set eth0 down")?;
    let before = left.tunnel.stats().lost.unsent;
    echo.here.send(&[0; 100])?;
    left.until("a packet is refused by the network", |left| {
        left.tunnel.stats().lost.unsent > before
    })?;
    cable.left.ip("link set eth0 up")?;
    left.kick();
    echo.round()?;
    Ok(())
}

fn a_moved_laptop_keeps_its_connections() -> Result<()> {
    let cable = Cable::new(1500)?;
    let (left, right) = cable.tunnels(|_| {})?;
    let mut echo = Echo::new(&cable)?;
    echo.round()?;
    cable.left.ip("addr del 192.0.2.1/24 dev eth0")?;
    cable.left.ip("addr add 192.0.2.77/24 dev eth0")?;
    left.kick();
    // Nothing but the kick's own packet tells the other side.
    right.expect(PATIENCE, |event| match event {
        Event::Peer(sluss_wg::Event::EndpointChanged { endpoint, .. }) => {
            (endpoint == SocketAddr::from(([192, 0, 2, 77], PORT))).then_some(())
        }
        _ => None,
    })?;
    echo.round()?;
    Ok(())
}

fn a_removed_device_is_told() -> Result<()> {
    let cable = Cable::new(1500)?;
    let (left, _right) = cable.tunnels(|_| {})?;
    cable.left.ip(&format!("link del {TUN}"))?;
    left.expect(PATIENCE, |event| {
        matches!(event, Event::Failed(_)).then_some(())
    })?;
    left.tunnel.stop();
    Ok(())
}

/// How often the tunnels' threads of this process have gone to sleep.
fn sleeps() -> Result<u64> {
    let mut sleeps = 0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        if std::fs::read_to_string(task.join("comm"))?.starts_with("sluss-") {
            let status = std::fs::read_to_string(task.join("status"))?;
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            sleeps += line
                .context("no count of switches")?
                .trim()
                .parse::<u64>()?;
        }
    }
    Ok(sleeps)
}

fn an_idle_tunnel_sleeps() -> Result<()> {
    let cable = Cable::new(1500)?;
    let (left, _right) = cable.tunnels(|end| end.timing.keepalive = Duration::from_millis(100))?;
    Echo::new(&cable)?.round()?;
    // The timers that traffic has armed run out: the longest is keepalive + rekey-timeout.
    let quiet = |within| -> Result<u64> {
        let before = sleeps()?;
        // Events are the only thing that could come; nothing does.
        let _ = left.expect(within, |_| None::<()>);
        Ok(sleeps()? - before)
    };
    quiet(Duration::from_secs(6))?;
    let woken = quiet(Duration::from_secs(10))?;
    println!("measured {woken} wake-ups of four threads in 10 s");
    ensure!(woken <= 2, "{woken} wake-ups in 10 s");
    Ok(())
}

fn a_tunnel_stops_at_once() -> Result<()> {
    let cable = Cable::new(1500)?;
    let mut longest = Duration::ZERO;
    for _ in 0..10 {
        let (left, right) = cable.tunnels(|_| {})?;
        Echo::new(&cable)?.round()?;
        for end in [left, right] {
            let started = boottime();
            end.tunnel.stop();
            longest = longest.max(boottime() - started);
        }
        ensure!(
            cable.left.ip(&format!("link show {TUN}")).is_err(),
            "the device is still there"
        );
    }
    println!("measured the longest stop of 20: {longest:?}");
    ensure!(
        longest < Duration::from_millis(200),
        "a stop took {longest:?}"
    );
    Ok(())
}

/// Resident memory of this process, in KiB.
fn resident() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    Ok(line
        .context("no VmRSS")?
        .trim()
        .trim_end_matches(" kB")
        .parse()?)
}

fn noise_at_the_port_is_refused() -> Result<()> {
    let cable = Cable::new(1500)?;
    let (left, _right) = cable.tunnels(|_| {})?;
    let mut echo = Echo::new(&cable)?;
    echo.round()?;
    let stranger = cable.right.run(|| UdpSocket::bind("0.0.0.0:0"))?;
    let target = SocketAddr::from(([192, 0, 2, 1], PORT));
    let pattern = Pattern::new();
    let mut noise = |from: u64, to: u64| -> Result<()> {
        for which in from..to {
            let mut datagram = pattern
                .message(which, (which as usize * 7) % 1_500)
                .to_vec();
            // All four types, of their own length, one byte off, and of any.
            if let Some(head) = datagram.first_chunk_mut::<4>()
                && which % 3 > 0
            {
                *head = [(which % 5) as u8, 0, 0, 0];
                let own = [148, 92, 64, 48][which as usize % 4] + which as usize % 2;
                if which % 3 == 2 {
                    datagram.resize(own, which as u8);
                }
            }
            stranger.send_to(&datagram, target)?;
            if which % 100 == 0 {
                echo.round()?;
            }
        }
        Ok(())
    };
    noise(0, 20_000)?;
    let before = resident()?;
    noise(20_000, 120_000)?;
    let grown = resident()?.saturating_sub(before);
    println!("measured growth by 100,000 datagrams of noise: {grown} KiB");
    ensure!(grown < 2_048, "grew by {grown} KiB");
    ensure!(
        left.tunnel.stats().lost.refused > 1_000,
        "the noise did not arrive"
    );
    Ok(())
}
