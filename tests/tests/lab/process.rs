//! The daemon as a process: wake-ups, memory, and what is to be found in it.

use std::net::UdpSocket;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sluss_tests::memory::Memory;
use sluss_tests::moment::{eventually, now};
use sluss_tests::stage::{Boot, PATIENCE, Setup, Stage};
use sluss_tests::world::{Place, Port};

/// Long enough after the last packet for the protocol's own timers (keepalive 10 s) to have run out.
const QUIET: Duration = Duration::from_secs(15);
const WATCHED: Duration = Duration::from_secs(60);
const MEBIBYTE: u64 = 1024;

/// At most 0.2 wake-ups a second over 60 s, and at most 20 MiB, with the tunnel up and no keepalive.
pub(crate) fn an_idle_daemon_sleeps_and_is_small() -> Result<()> {
    let mut stage = Stage::set(Boot::Plain)?;
    stage.open_tunnel(Port::WiFi, Place::Home)?;
    stage.page()?;
    let pid = stage.laptop.daemon()?.id();
    std::thread::sleep(QUIET);
    let before = wake_ups(pid)?;
    std::thread::sleep(WATCHED);
    let woken = wake_ups(pid)? - before;
    let rate = woken as f64 / WATCHED.as_secs_f64();
    let (now, peak) = (kibibytes(pid, "VmRSS")?, kibibytes(pid, "VmHWM")?);
    println!("measured idle wake-ups: {woken} in 60 s; RSS {now} KiB, peak {peak} KiB");
    ensure!(rate <= 0.2, "{woken} wake-ups in 60 s: {rate:.2} a second");
    ensure!(now <= 20 * MEBIBYTE, "RSS {now} KiB");
    // It was asleep, not dead.
    stage.page()?;
    Ok(())
}

/// The card's key, which the lab knows, is searched in all of the daemon's memory after ten handshakes.
pub(crate) fn the_private_key_is_nowhere_in_the_daemon() -> Result<()> {
    // What is found for certain: a value in its environment, and, on its heap, the public half of the card's key.
    let planted = *b"planted by the lab, to be found!";
    let setup = Setup {
        environment: vec![("SLUSS_LAB_PLANTED", std::str::from_utf8(&planted)?.into())],
        arguments: vec!["--secret-memory", "locked"],
        ..Setup::default()
    };
    let mut stage = Stage::set_up(setup, |rig, _| rig.issued_card(0))?;
    stage.open_tunnel(Port::WiFi, Place::Home)?;
    for _ in 1..10 {
        let asked = now();
        ensure!(stage.laptop.sluss(&["down"], "")?.status.success());
        stage.monitor.until("tunnel", &["down"], asked, PATIENCE)?;
        ensure!(stage.laptop.sluss(&["up"], "")?.status.success());
        stage.monitor.until("tunnel", &["up"], asked, PATIENCE)?;
        eventually("the page", PATIENCE, || Ok(stage.page().ok()))?;
    }
    let handshakes = stage.handshakes(Duration::ZERO);
    ensure!(handshakes >= 10, "{handshakes} handshakes");

    let pid = stage.laptop.daemon()?.id();
    let memory = Memory::of(pid)?;
    let identity = stage.card.identity();
    for (what, known) in [
        ("planted secret", planted),
        ("public key", identity.public_key),
    ] {
        ensure!(
            memory.contains(&known),
            "the search does not find the {what}"
        );
    }
    let places = memory.places_of(&identity.private_key);
    ensure!(
        places.is_empty(),
        "the card's private key is in the daemon's memory: {places:?}"
    );
    println!("measured memory searched: {} KiB", memory.kibibytes());
    Ok(())
}

/// A hundred thousand datagrams of any length and content, from anybody, to the port that the daemon listens on.
pub(crate) fn random_datagrams_do_no_harm() -> Result<()> {
    const SEED: u64 = 0x5105_5105;
    println!("seed {SEED:#x}");
    let mut stage = Stage::set(Boot::Plain)?;
    stage.open_tunnel(Port::WiFi, Place::Home)?;
    let pid = stage.laptop.daemon()?.id();
    let port = udp_port(&stage.world.laptop)?;
    let attacker = stage
        .world
        .router(Place::Home)
        .run(|| UdpSocket::bind("192.168.1.1:0"))?;
    let victim = (Port::WiFi.address(Place::Home), port);
    let mut random = Xorshift(SEED);
    let mut datagram = vec![0; 1472];
    let mut rounds = Vec::new();
    for _ in 0..4 {
        for _ in 0..25_000 {
            let length = (random.next() % 1473) as usize;
            datagram[..length].fill_with(|| random.next().to_le_bytes()[0]);
            // Half of them look like WireGuard at first sight.
            if length >= 4 && random.next().is_multiple_of(2) {
                datagram[..4].copy_from_slice(&[(random.next() % 5) as u8, 0, 0, 0]);
            }
            // A full queue is as good as a loss.
            let _ = attacker.send_to(&datagram[..length], victim);
        }
        stage.page()?;
        rounds.push(kibibytes(pid, "VmRSS")?);
    }
    println!("measured RSS after each 25,000 random datagrams, KiB: {rounds:?}");
    ensure!(
        stage.laptop.is_alive(),
        "the daemon has ended:\n{}",
        stage.laptop.log()
    );
    ensure!(
        rounds[3] <= rounds[0] + MEBIBYTE,
        "memory grows: {rounds:?}"
    );
    Ok(())
}

/// How often the threads of a process have been woken: each wait that they began of their own will.
fn wake_ups(pid: u32) -> Result<u64> {
    let mut sum = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let status = std::fs::read_to_string(task?.path().join("status"))?;
        sum += field(&status, "voluntary_ctxt_switches")?;
    }
    Ok(sum)
}

fn kibibytes(pid: u32, name: &str) -> Result<u64> {
    field(
        &std::fs::read_to_string(format!("/proc/{pid}/status"))?,
        name,
    )
}

fn field(status: &str, name: &str) -> Result<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = line
        .and_then(|line| line.split_whitespace().next())
        .with_context(|| name.to_owned())?;
    Ok(number.parse()?)
}

/// The port of the only UDP socket in a network that is not connected to anything.
fn udp_port(netns: &sluss_tests::netns::Netns) -> Result<u16> {
    eventually("the daemon's UDP socket", PATIENCE, || {
        for table in ["udp6", "udp"] {
            let sockets =
                netns.run(|| std::fs::read_to_string(format!("/proc/thread-self/net/{table}")))?;
            let local = sockets
                .lines()
                .nth(1)
                .and_then(|line| line.split_whitespace().nth(1)?.rsplit(':').next());
            if let Some(port) = local {
                return Ok(Some(u16::from_str_radix(port, 16)?));
            }
        }
        Ok(None)
    })
}

/// Marsaglia's generator: repeatable, and good enough for rubbish.
struct Xorshift(u64);

impl Xorshift {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
