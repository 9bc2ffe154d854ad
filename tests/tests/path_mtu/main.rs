//! How long packets may be, found out over real roads: wide, narrow, narrow and silent; against our own gateway and others'.

mod road;

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, TcpListener, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use road::{CEILING, Gateway, Laptop, Manner, Outside, PATIENCE, Road};
use sluss_tests::end::{Offloads, TUN};
use sluss_tests::netns::Netns;
use sluss_tests::uapi::Program;
use sluss_tests::{trial, trials};
use sluss_tunnel::{Offload, Segmenting, Verdict};

fn main() -> ExitCode {
    trials::main(&[
        trial!(every_gateway_answers),
        trial!(a_router_that_tells_makes_it_exact),
        trial!(a_black_hole_is_found_and_left),
        trial!(a_transfer_outlives_a_path_that_narrows, 240),
        trial!(another_network_is_another_path),
        trial!(below_the_floor_it_is_told),
        trial!(a_silent_gateway_is_told),
        trial!(without_offload_it_is_found_and_told),
        trial!(somebody_else_may_change_the_mtu),
        trial!(what_is_known_costs_no_wake_up),
    ])
}

const THEIRS: [Program; 3] = [Program::WireguardGo, Program::Boringtun, Program::Gotatun];

/// Addresses in the gateway, and behind it.
const ASKED: [&str; 4] = ["10.9.0.2", "fd09::2", "10.8.0.1", "fd08::1"];

fn every_gateway_answers() -> Result<()> {
    let road = Road::new()?;
    for program in THEIRS {
        // A gateway may do without addresses of its own in the tunnel, and answers from another.
        for (addresses, asked) in [
            (&["10.9.0.2/24", "fd09::2/64"][..], &ASKED[..]),
            (&[], &ASKED[2..]),
        ] {
            let _gateway = Gateway::theirs(&road, program, addresses)?;
            for &asks in asked {
                let laptop = Laptop::start(
                    &road,
                    Manner {
                        asks,
                        ..Manner::default()
                    },
                )?;
                laptop
                    .finds(Verdict::Confirmed, CEILING)
                    .with_context(|| format!("{program:?} with {addresses:?}, asked for {asks}"))?;
                // Nothing of it is the user's, and nothing is counted as if it were.
                let lost = laptop.end.tunnel.stats().lost;
                ensure!(lost == sluss_tunnel::Lost::default(), "{lost:?}");
                let device = road
                    .laptop
                    .ip(&format!("-stats -json link show dev {TUN}"))?;
                ensure!(device.contains(r#""rx":{"bytes":0,"#), "{device}");
            }
        }
    }
    Ok(())
}

fn a_router_that_tells_makes_it_exact() -> Result<()> {
    let road = Road::new()?;
    road.narrow(1400)?;
    let _gateway = Gateway::ours(&road)?;
    for (outside, asks) in [
        (Outside::Ipv4, "10.8.0.1"),
        (Outside::Ipv4, "fd09::2"),
        (Outside::Ipv6, "10.9.0.2"),
        (Outside::Ipv6, "fd08::1"),
    ] {
        let manner = Manner {
            outside,
            asks,
            ..Manner::default()
        };
        let laptop = Laptop::start(&road, manner)?;
        laptop.finds(Verdict::Reduced, outside.inside(1400))?;
        both_ways(&road)?;
    }
    Ok(())
}

fn a_black_hole_is_found_and_left() -> Result<()> {
    let road = Road::new()?;
    let _gateway = Gateway::theirs(&road, Program::Boringtun, &["10.9.0.2/24", "fd09::2/64"])?;
    road.black_hole(1400)?;
    for outside in Outside::BOTH {
        let manner = Manner {
            outside,
            ..Manner::default()
        };
        {
            let naive = Laptop::unasking(&road, manner)?;
            naive.end.kick();
            naive.end.established(PATIENCE)?;
            ensure!(passes(&road, 1_000), "small packets pass");
            ensure!(!passes(&road, CEILING), "this is no black hole");
        }
        let laptop = Laptop::start(&road, manner)?;
        let known = laptop.finds_about(outside.inside(1400))?;
        ensure!(passes(&road, known.mtu), "{known:?}");
        both_ways(&road)?;
    }
    Ok(())
}

/// Nobody says that the path has changed. Where fragments pass nothing is lost; where they do not, the next session shows it.
fn a_transfer_outlives_a_path_that_narrows() -> Result<()> {
    let road = Road::new()?;
    let _gateway = Gateway::ours(&road)?;
    for (outside, ways) in [
        (Outside::Ipv4, [("10.9.0.2", true), ("fd09::2", false)]),
        (Outside::Ipv6, [("fd09::2", true), ("10.9.0.2", false)]),
    ] {
        let manner = Manner {
            outside,
            rekey_after: Duration::from_secs(2),
            ..Manner::default()
        };
        let laptop = Laptop::start(&road, manner)?;
        for (to, silently) in ways {
            laptop.finds(Verdict::Confirmed, CEILING)?;
            let mut transfer = Transfer::open(&road.laptop, &road.gateway, to.parse()?)?;
            transfer.carry(4)?;
            match silently {
                true => road.black_hole(1400)?,
                false => road.narrow(1400)?,
            }
            std::thread::scope(|scope| -> Result<()> {
                let rest = scope.spawn(|| transfer.carry(40));
                let known = laptop.follow("the rest arrives", |_| rest.is_finished())?;
                rest.join()
                    .expect("no panic")
                    .with_context(|| format!("{outside:?} to {to}, {known:?}"))?;
                ensure!(
                    !silently || known.mtu <= outside.inside(1400),
                    "nothing was lost? {known:?}"
                );
                Ok(())
            })?;
            transfer.close()?;
            road.widen()?;
            laptop.end.kick();
        }
    }
    Ok(())
}

fn another_network_is_another_path() -> Result<()> {
    let road = Road::new()?;
    let _gateway = Gateway::ours(&road)?;
    let laptop = Laptop::start(&road, Manner::default())?;
    laptop.finds(Verdict::Confirmed, CEILING)?;
    for _ in 0..2 {
        road.narrow(1380)?;
        laptop.end.kick();
        laptop.finds(Verdict::Reduced, 1320)?;
        road.widen()?;
        laptop.end.kick();
        laptop.finds(Verdict::Confirmed, CEILING)?;
        both_ways(&road)?;
    }
    Ok(())
}

fn below_the_floor_it_is_told() -> Result<()> {
    let road = Road::new()?;
    let _gateway = Gateway::ours(&road)?;
    // IPv6's least outside leaves less than IPv6's least inside.
    road.narrow(1280)?;
    let over_ipv6 = Manner {
        outside: Outside::Ipv6,
        ..Manner::default()
    };
    for manner in [Manner::default(), over_ipv6] {
        let laptop = Laptop::start(&road, manner)?;
        laptop.finds(Verdict::Fragmented, 1280)?;
        both_ways(&road)?;
    }
    road.black_hole(1280)?;
    for manner in [Manner::default(), over_ipv6] {
        let laptop = Laptop::start(&road, manner)?;
        laptop.finds(Verdict::TooNarrow, 1280)?;
    }
    // Without IPv6 in the tunnel there is room below.
    let alone = Manner {
        floor: 576,
        ..Manner::default()
    };
    let laptop = Laptop::start(&road, alone)?;
    laptop.finds(Verdict::Reduced, 1220)?;
    transfer(&road.laptop, &road.gateway, "10.9.0.2")
}

fn a_silent_gateway_is_told() -> Result<()> {
    let road = Road::new()?;
    let _gateway = Gateway::theirs(&road, Program::WireguardGo, &["10.9.0.2/24", "fd09::2/64"])?;
    road.silence_gateway()?;
    {
        let laptop = Laptop::start(&road, Manner::default())?;
        laptop.finds(Verdict::Unanswered, CEILING)?;
        both_ways(&road)?;
    }
    // The laptop's own link is something that it knows by itself.
    road.laptop.ip("link set eth0 mtu 1400")?;
    let laptop = Laptop::start(&road, Manner::default())?;
    laptop.finds(Verdict::Unanswered, 1340)?;
    both_ways(&road)
}

fn without_offload_it_is_found_and_told() -> Result<()> {
    let road = Road::new()?;
    let _gateway = Gateway::ours(&road)?;
    for offloads in Offloads::every() {
        road.widen()?;
        let manner = Manner {
            offloads,
            ..Manner::default()
        };
        let laptop = Laptop::start(&road, manner)?;
        laptop.finds(Verdict::Confirmed, CEILING)?;
        let told = laptop.conditions()?.offloads;
        ensure!(told.tun == offloads.tun, "{told:?} for {offloads:?}");
        ensure!(
            told.receive == offloads.udp.receive,
            "{told:?} for {offloads:?}"
        );
        let segmenting = match offloads.udp.send {
            true => Segmenting::Offloaded,
            false => Segmenting::Unsupported,
        };
        ensure!(told.send == segmenting, "{told:?} for {offloads:?}");

        // A path that does not take runs as long as they are. The kernel hears of it when a packet is too long.
        road.narrow(1400)?;
        laptop.end.kick();
        laptop.finds(Verdict::Reduced, 1340)?;
        both_ways(&road)?;
        let told = laptop.conditions()?.offloads;
        ensure!(told.send == segmenting, "{told:?} for {offloads:?}");
        if offloads == Offloads::ALL {
            refused_runs_are_told(&road, &laptop)?;
        }
    }
    Ok(())
}

/// Somebody insists on an MTU that the path does not take.
fn refused_runs_are_told(road: &Road, laptop: &Laptop) -> Result<()> {
    road.laptop.ip(&format!("link set {TUN} mtu {CEILING}"))?;
    both_ways(road)?;
    let conditions = laptop.conditions()?;
    ensure!(conditions.offloads.tun == Offload::TcpAndUdp);
    ensure!(
        conditions.offloads.send == Segmenting::Refused,
        "{conditions:?}"
    );
    Ok(())
}

/// It is root's to change; whatever it is, nothing is lost or damaged, and padding stays below it.
fn somebody_else_may_change_the_mtu() -> Result<()> {
    let road = Road::new()?;
    let _gateway = Gateway::ours(&road)?;
    let manner = Manner {
        rekey_after: Duration::from_secs(2),
        ..Manner::default()
    };
    let laptop = Laptop::start(&road, manner)?;
    laptop.finds(Verdict::Confirmed, CEILING)?;
    let mut transfer = Transfer::open(&road.laptop, &road.gateway, "10.9.0.2".parse()?)?;
    for mtu in [1300, 9000, 600, 1417, 68, 65_535, 1420] {
        road.laptop.ip(&format!("link set {TUN} mtu {mtu}"))?;
        transfer.carry(4).with_context(|| format!("MTU {mtu}"))?;
        let told = laptop.conditions()?.mtu;
        ensure!(told == mtu, "{told} instead of {mtu}");
    }
    transfer.close()
}

/// A session, its probe, the answer, the keepalive that WireGuard owes for it; then nothing.
fn what_is_known_costs_no_wake_up() -> Result<()> {
    let road = Road::new()?;
    let _gateway = Gateway::ours(&road)?;
    let laptop = Laptop::start(&road, Manner::default())?;
    laptop.finds(Verdict::Confirmed, CEILING)?;
    let quiet = |within| -> Result<u64> {
        let before = sleeps()?;
        let _ = laptop.end.expect(within, |_| None::<()>);
        Ok(sleeps()? - before)
    };
    // Keepalive and rekey-timeout.
    quiet(Duration::from_secs(17))?;
    let woken = quiet(Duration::from_secs(10))?;
    println!("measured {woken} wake-ups of four threads in 10 s");
    ensure!(woken <= 2, "{woken} wake-ups in 10 s");
    Ok(())
}

/// How often the threads of both tunnels went to sleep so far.
fn sleeps() -> Result<u64> {
    let mut count = 0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let status = std::fs::read_to_string(task?.path().join("status"))?;
        let is_ours = status.starts_with("Name:\tsluss-outbound\n")
            || status.starts_with("Name:\tsluss-inbound\n");
        let switches = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        if let (true, Some(switches)) = (is_ours, switches) {
            count += switches.trim().parse::<u64>()?;
        }
    }
    Ok(count)
}

/// Whether a packet of this length gets to the gateway and back.
fn passes(road: &Road, length: u16) -> bool {
    let data = length - 28;
    road.laptop
        .sh(&format!("ping -c 1 -W 2 -M do -s {data} 10.9.0.2"))
        .is_ok()
}

/// New connections both ways, by both families.
fn both_ways(road: &Road) -> Result<()> {
    for (here, there) in [("10.9.0.1", "10.9.0.2"), ("fd09::1", "fd09::2")] {
        transfer(&road.laptop, &road.gateway, there)?;
        transfer(&road.gateway, &road.laptop, here)?;
    }
    Ok(())
}

fn transfer(from: &Netns, to: &Netns, address: &str) -> Result<()> {
    let mut transfer = Transfer::open(from, to, address.parse()?)?;
    transfer.carry(20)?;
    transfer.close()
}

/// A TCP connection through the tunnel.
struct Transfer {
    sender: TcpStream,
    receiver: TcpStream,
    piece: Vec<u8>,
}

impl Transfer {
    fn open(from: &Netns, to: &Netns, address: IpAddr) -> Result<Transfer> {
        let listener = to.run(|| TcpListener::bind((address, 0)))?;
        let address = listener.local_addr()?;
        let sender = from
            .run(|| TcpStream::connect_timeout(&address, PATIENCE))
            .context("connect through the tunnel")?;
        let (receiver, _) = listener.accept()?;
        for end in [&sender, &receiver] {
            end.set_read_timeout(Some(PATIENCE))?;
            end.set_write_timeout(Some(PATIENCE))?;
        }
        // Told apart by where they are, and of no length that a packet has.
        let piece = (0..100_003u32).map(|at| ((at * 31) >> 3) as u8).collect();
        Ok(Transfer {
            sender,
            receiver,
            piece,
        })
    }

    /// Sends so many pieces, and looks at what arrives.
    fn carry(&mut self, pieces: usize) -> Result<()> {
        let (sender, piece) = (&mut self.sender, &self.piece);
        let receiver = &mut self.receiver;
        std::thread::scope(|scope| {
            let sent = scope.spawn(move || (0..pieces).try_for_each(|_| sender.write_all(piece)));
            let mut got = vec![0; piece.len()];
            for which in 0..pieces {
                receiver
                    .read_exact(&mut got)
                    .with_context(|| format!("piece {which} of {pieces}"))?;
                ensure!(got == *piece, "piece {which} of {pieces} differs");
            }
            Ok(sent.join().expect("no panic")?)
        })
    }

    fn close(mut self) -> Result<()> {
        self.sender.shutdown(Shutdown::Write)?;
        ensure!(self.receiver.read(&mut [0])? == 0, "more than was sent");
        Ok(())
    }
}
