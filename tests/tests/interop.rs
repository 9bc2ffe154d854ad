//! Our engine against other people's: wireguard-go, gotatun and boringtun, in both roles, over rekeys, data both ways.

use std::collections::HashSet;
use std::net::UdpSocket;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sluss_platform::clock::boottime;
use sluss_tests::end::{End, Offloads, PORT, Settings, add_address, endpoint, public};
use sluss_tests::netns::{Netns, veth};
use sluss_tests::relay::{Relay, Weather};
use sluss_tests::uapi::{Device, Program};
use sluss_tests::{trial, trials};
use sluss_tunnel::{Event, Lost};
use sluss_wg::{Role, Timing};

fn main() -> ExitCode {
    trials::main(&[
        trial!(wireguard_go_answers_us_over_two_rekeys),
        trial!(gotatun_answers_us_over_two_rekeys),
        trial!(boringtun_answers_us_over_two_rekeys),
        trial!(nothing_comes_twice_or_forged_in_bad_weather),
        trial!(slow_all_three_initiate_over_two_rekeys, 400),
    ])
}

const OURS: [u8; 32] = [3; 32];
const THEIRS: [u8; 32] = [4; 32];
const PRESHARED: [u8; 32] = [5; 32];

const PATIENCE: Duration = Duration::from_secs(10);

/// Our end, theirs, and a socket on each side of the tunnel.
struct Pair {
    ours: End,
    here: UdpSocket,
    there: UdpSocket,
    rounds: u64,
    _theirs: Device,
}

/// Who speaks first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Initiator {
    We,
    They,
}

impl Pair {
    /// Joins us to a running program; `name` sets this pair's networks and devices apart from others'.
    fn new(program: Program, initiator: Initiator, name: &str, timing: Timing) -> Result<Pair> {
        let (left, right) = (
            Netns::new(&format!("{name}-we"))?,
            Netns::new(&format!("{name}-they"))?,
        );
        veth((&left, "eth0"), (&right, "eth0"))?;
        left.ip("addr add 192.0.2.1/24 dev eth0")?;
        right.ip("addr add 192.0.2.2/24 dev eth0")?;
        Pair::start(program, initiator, name, timing, (&left, &right))
    }

    /// The same with a network between us, which is not to be trusted.
    fn apart(program: Program, name: &str, seed: u64) -> Result<(Pair, Relay)> {
        let network = |side| Netns::new(&format!("{name}-{side}"));
        let (left, middle, right) = (network("we")?, network("between")?, network("they")?);
        veth((&left, "eth0"), (&middle, "eth0"))?;
        veth((&right, "eth0"), (&middle, "eth1"))?;
        left.ip("addr add 192.0.2.1/24 dev eth0")?;
        middle.ip("addr add 192.0.2.2/24 dev eth0")?;
        middle.ip("addr add 198.51.100.1/24 dev eth1")?;
        right.ip("addr add 198.51.100.2/24 dev eth0")?;
        let far = (endpoint("198.51.100.1")?, endpoint("198.51.100.2")?);
        let relay = Relay::start(&middle, endpoint("192.0.2.2")?, far, seed)?;
        let sides = (&left, &right);
        let pair = Pair::start(program, Initiator::We, name, Timing::default(), sides)?;
        Ok((pair, relay))
    }

    fn start(
        program: Program,
        initiator: Initiator,
        name: &str,
        timing: Timing,
        (left, right): (&Netns, &Netns),
    ) -> Result<Pair> {
        let theirs = configure(program, right, name, initiator)?;
        let ours = End::start(
            left,
            Settings {
                private: OURS,
                held: false,
                addresses: vec!["10.9.0.1/24".to_owned(), "fd09::1/64".to_owned()],
                mtu: 1420,
                offloads: Offloads::ALL,
                timing,
                peer: public(THEIRS),
                preshared_key: Some(PRESHARED),
                endpoint: (initiator == Initiator::We).then_some(endpoint("192.0.2.2")?),
            },
        )?;
        let here = left.run(|| UdpSocket::bind("[fd09::1]:7"))?;
        let there = right.run(|| UdpSocket::bind("[fd09::2]:7"))?;
        here.connect("[fd09::2]:7")?;
        there.connect("[fd09::1]:7")?;
        for socket in [&here, &there] {
            socket.set_read_timeout(Some(PATIENCE))?;
        }
        Ok(Pair {
            ours,
            here,
            there,
            rounds: 0,
            _theirs: theirs,
        })
    }

    /// A packet of any size each way; the initiator speaks first.
    fn round(&mut self, initiator: Initiator) -> Result<()> {
        self.rounds += 1;
        let length = 8 + (self.rounds as usize * 997) % 1_360;
        let content: Vec<u8> = self
            .rounds
            .to_be_bytes()
            .into_iter()
            .cycle()
            .take(length)
            .collect();
        let (first, second) = match initiator {
            Initiator::We => (&self.here, &self.there),
            Initiator::They => (&self.there, &self.here),
        };
        for (way, from, to) in [("there", first, second), ("back", second, first)] {
            let mut got = [0; 2_048];
            from.send(&content)?;
            let length = to.recv(&mut got).with_context(|| {
                let stats = self.ours.tunnel.stats();
                format!("round {}: lost on the way {way}; {stats:?}", self.rounds)
            })?;
            ensure!(
                got[..length] == content,
                "round {}: not what was sent",
                self.rounds
            );
        }
        Ok(())
    }

    /// Data both ways until the third session in this role is in use, and some more.
    fn two_rekeys(&mut self, initiator: Initiator, pace: Duration) -> Result<()> {
        let role = match initiator {
            Initiator::We => Role::Initiator,
            Initiator::They => Role::Responder,
        };
        let started = boottime();
        let mut sessions = 0;
        while sessions < 3 {
            self.round(initiator)?;
            while let Ok(event) = self.ours.events.recv_timeout(pace) {
                match event {
                    Event::Peer(sluss_wg::Event::SessionEstablished { role: played, .. })
                        if played == role =>
                    {
                        sessions += 1;
                        println!("session {sessions} after {:?}", boottime() - started);
                    }
                    Event::Failed(error) => return Err(error.into()),
                    Event::Peer(_)
                    | Event::StampReserved { .. }
                    | Event::DhWanted { .. }
                    | Event::PathMtu(_) => {}
                }
            }
        }
        for _ in 0..50 {
            self.round(initiator)?;
        }
        let lost = self.ours.tunnel.stats().lost;
        ensure!(lost == Lost::default(), "{lost:?}");
        println!(
            "measured {} rounds over {sessions} sessions in {:?}",
            self.rounds,
            boottime() - started
        );
        Ok(())
    }
}

/// Starts their program and gives it keys, addresses and us.
fn configure(
    program: Program,
    network: &Netns,
    name: &str,
    initiator: Initiator,
) -> Result<Device> {
    let device = Device::start(program, network, &format!("{name}0"))?;
    let mut configuration = format!(
        "[Interface]\nPrivateKey = {}\nListenPort = {PORT}\n\
         [Peer]\nPublicKey = {}\nPresharedKey = {}\nAllowedIPs = 10.9.0.1/32, fd09::1/128\n",
        STANDARD.encode(THEIRS),
        STANDARD.encode(public(OURS).0),
        STANDARD.encode(PRESHARED),
    );
    if initiator == Initiator::They {
        configuration += &format!("Endpoint = 192.0.2.1:{PORT}\n");
    }
    device.wg_conf("setconf", &configuration)?;
    network.ip(&format!("link set {} mtu 1420 up", device.name))?;
    for address in ["10.9.0.2/24", "fd09::2/64"] {
        add_address(network, &device.name, address)?;
    }
    Ok(device)
}

/// Our clock is short; theirs does not mind.
fn answers_us(program: Program, name: &str) -> Result<()> {
    let timing = Timing {
        rekey_after: Duration::from_millis(1_500),
        rekey_timeout: Duration::from_millis(1_000),
        ..Timing::default()
    };
    let mut pair = Pair::new(program, Initiator::We, name, timing)?;
    pair.two_rekeys(Initiator::We, Duration::from_millis(1))
}

fn wireguard_go_answers_us_over_two_rekeys() -> Result<()> {
    answers_us(Program::WireguardGo, "go")
}

fn gotatun_answers_us_over_two_rekeys() -> Result<()> {
    answers_us(Program::Gotatun, "gota")
}

fn boringtun_answers_us_over_two_rekeys() -> Result<()> {
    answers_us(Program::Boringtun, "boring")
}

/// Replays and damaged messages, among those that come late, twice or not at all.
fn nothing_comes_twice_or_forged_in_bad_weather() -> Result<()> {
    let programs = [
        (Program::WireguardGo, "go"),
        (Program::Gotatun, "gota"),
        (Program::Boringtun, "boring"),
    ];
    for (seed, (program, name)) in (5_000..).zip(programs) {
        let (mut pair, relay) = Pair::apart(program, name, seed)?;
        pair.round(Initiator::We)?;
        relay.set(Weather {
            lost: 50,
            repeated: 50,
            damaged: 50,
            held: 100,
            held_by: 100,
            replayed: 100,
        });
        for (from, to) in [(&pair.here, &pair.there), (&pair.there, &pair.here)] {
            to.set_read_timeout(Some(Duration::from_millis(30)))?;
            numbered(from, to, 4_000).with_context(|| format!("{program:?}"))?;
        }
        let reused = &relay.log().reused;
        ensure!(reused.is_empty(), "{program:?}: used again: {reused:?}");
    }
    Ok(())
}

/// Sends numbered datagrams, and looks at what comes of them: each once at most, as it was, and most of them.
fn numbered(from: &UdpSocket, to: &UdpSocket, count: u64) -> Result<()> {
    let content = |number: u64| number.to_be_bytes().repeat(1 + number as usize % 150);
    let mut numbers = HashSet::new();
    let mut got = [0; 2_048];
    for first in (0..count).step_by(64) {
        for number in first..first + 64 {
            from.send(&content(number))?;
        }
        while let Ok(length) = to.recv(&mut got) {
            let number = u64::from_be_bytes(*got.first_chunk().context("no number")?);
            ensure!(got[..length] == content(number), "nobody sent this");
            ensure!(numbers.insert(number), "number {number} came twice");
        }
    }
    let most = count * 3 / 4;
    ensure!(numbers.len() as u64 > most, "{} of {count}", numbers.len());
    Ok(())
}

/// On their own clock, 120 s from session to session; side by side, since nearly all of it is waiting.
fn slow_all_three_initiate_over_two_rekeys() -> Result<()> {
    let programs = [
        (Program::WireguardGo, "go"),
        (Program::Gotatun, "gota"),
        (Program::Boringtun, "boring"),
    ];
    let pairs = programs.map(|(program, name)| {
        let pair = Pair::new(program, Initiator::They, name, Timing::default())?;
        anyhow::Ok((program, pair))
    });
    std::thread::scope(|scope| {
        let mut running = Vec::new();
        for pair in pairs {
            let (program, mut pair) = pair?;
            running.push(scope.spawn(move || {
                pair.two_rekeys(Initiator::They, Duration::from_millis(100))
                    .with_context(|| format!("{program:?}"))
            }));
        }
        for thread in running {
            thread.join().expect("no panic")?;
        }
        Ok(())
    })
}
