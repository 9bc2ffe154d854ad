//! WireGuard's rules for transport messages (whitepaper 5.4.6, 6.2) on a network that does what it likes.

use std::collections::HashSet;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sluss_platform::clock::boottime;
use sluss_tests::end::{End, Offloads, add_address, endpoint};
use sluss_tests::netns::{Netns, veth};
use sluss_tests::relay::{Relay, Weather};
use sluss_wg::Timing;

use crate::cable::{LEFT, PATIENCE, RIGHT, Way, settings, udp_pair};
use crate::content::{Pattern, tcp};

/// Two networks, and one between them that is not to be trusted.
struct Road {
    left: Netns,
    right: Netns,
    relay: Relay,
    _middle: Netns,
}

impl Road {
    fn new(seed: u64) -> Result<Road> {
        let [left, middle, right] = [
            Netns::new("left")?,
            Netns::new("middle")?,
            Netns::new("right")?,
        ];
        veth((&left, "eth0"), (&middle, "eth0"))?;
        veth((&right, "eth0"), (&middle, "eth1"))?;
        add_address(&left, "eth0", "192.0.2.1/24")?;
        add_address(&middle, "eth0", "192.0.2.9/24")?;
        add_address(&middle, "eth1", "198.51.100.9/24")?;
        add_address(&right, "eth0", "198.51.100.2/24")?;
        let far = (endpoint("198.51.100.9")?, endpoint("198.51.100.2")?);
        let relay = Relay::start(&middle, endpoint("192.0.2.9")?, far, seed)?;
        Ok(Road {
            left,
            right,
            relay,
            _middle: middle,
        })
    }

    fn tunnels(&self, offloads: Offloads, timing: Timing) -> Result<(End, End)> {
        let mut left = settings(LEFT, RIGHT, 1);
        left.endpoint = Some(endpoint("192.0.2.9")?);
        let mut right = settings(RIGHT, LEFT, 2);
        for end in [&mut left, &mut right] {
            (end.offloads, end.timing) = (offloads, timing);
        }
        let right = End::start(&self.right, right)?;
        let left = End::start(&self.left, left)?;
        left.kick();
        left.established(PATIENCE)?;
        Ok((left, right))
    }

    /// Sessions in which something has been sent there.
    fn sessions(&self) -> usize {
        let log = self.relay.log();
        log.sessions.iter().filter(|(there, _)| *there).count()
    }

    fn way(&self) -> Way<'_> {
        Way {
            from: &self.left,
            to: &self.right,
            address: [10, 9, 0, 2].into(),
        }
    }

    /// Sends numbered datagrams of one length for as long as `goes_on` says, and looks at each that arrives: once at most, and
    /// as it was. Those that the network let through must all arrive. Gives their number.
    fn numbered(&self, goes_on: impl Fn(u64) -> Result<bool> + Send) -> Result<u64> {
        const LENGTH: usize = 700;
        // IP and UDP before it, padding, WireGuard's own header and tag.
        let sealed = 16 + (28 + LENGTH).next_multiple_of(16) + 16;
        let pattern = &Pattern::new();
        let (sender, receiver) = udp_pair(self.way())?;
        receiver.set_read_timeout(Some(Duration::from_millis(50)))?;
        let before = self.relay.log().count(sealed);
        let counts = || {
            let now = self.relay.log().count(sealed);
            (now.0 - before.0, now.1 - before.1)
        };
        let (sent, arrived) = (&AtomicU64::new(0), &AtomicU64::new(0));
        std::thread::scope(|scope| {
            let sending = scope.spawn(move || -> Result<()> {
                let mut next = 0;
                while goes_on(next)? {
                    for which in next..next + 32 {
                        let mut message = which.to_be_bytes().to_vec();
                        message.extend(pattern.message(which, LENGTH - 8));
                        // A network that is away for the moment is part of it.
                        let _ = sender.send(&message);
                    }
                    next += 32;
                    sent.store(next, Ordering::Relaxed);
                    until(|| {
                        let (seen, passed) = counts();
                        let arrived = arrived.load(Ordering::Relaxed);
                        seen + 512 > next && passed < arrived + 128
                    });
                }
                Ok(())
            });
            let mut numbers = HashSet::new();
            let mut got = [0; 2_048];
            let mut quiet_since = boottime();
            loop {
                if let Ok(length) = receiver.recv(&mut got) {
                    let number = u64::from_be_bytes(*got.first_chunk().context("no number")?);
                    ensure!(
                        length == LENGTH && got[8..length] == *pattern.message(number, LENGTH - 8),
                        "{length} bytes that nobody sent"
                    );
                    ensure!(numbers.insert(number), "number {number} came twice");
                    arrived.fetch_add(1, Ordering::Relaxed);
                    quiet_since = boottime();
                } else if sending.is_finished() && numbers.len() as u64 == counts().1 {
                    break;
                }
                ensure!(
                    boottime() - quiet_since < PATIENCE,
                    "{} came of {} that passed, {} that left, {} that were sent",
                    numbers.len(),
                    counts().1,
                    counts().0,
                    sent.load(Ordering::Relaxed),
                );
            }
            sending.join().expect("no panic")?;
            Ok(numbers.len() as u64)
        })
    }
}

/// Lets others work until it is so, or for a fifth of a second: what was lost for good is not waited for.
fn until(is_so: impl Fn() -> bool) {
    let until = boottime() + Duration::from_millis(200);
    while !is_so() && boottime() < until {
        std::thread::yield_now();
    }
}

/// Everything at once, and each alone, so that a failure can be told apart.
const WEATHERS: [Weather; 6] = [
    Weather {
        lost: 10,
        ..Weather::FINE
    },
    Weather {
        lost: 100,
        ..Weather::FINE
    },
    Weather {
        held: 200,
        held_by: 60,
        ..Weather::FINE
    },
    // The paper's window is some 2,000 wide.
    Weather {
        held: 20,
        held_by: 1_900,
        ..Weather::FINE
    },
    Weather {
        repeated: 100,
        replayed: 300,
        ..Weather::FINE
    },
    STORM,
];

const STORM: Weather = Weather {
    lost: 50,
    repeated: 50,
    damaged: 50,
    held: 100,
    held_by: 300,
    replayed: 100,
};

pub(crate) fn in_bad_weather_nothing_comes_twice_or_forged() -> Result<()> {
    let road = Road::new(4_001)?;
    for offloads in [Offloads::ALL, Offloads::NONE] {
        let _ends = road.tunnels(offloads, Timing::default())?;
        for weather in WEATHERS {
            road.relay.set(weather);
            let arrived = road
                .numbered(|sent| Ok(sent < 10_000))
                .with_context(|| format!("{weather:?}, {offloads:?}"))?;
            ensure!(arrived > 8_000, "{arrived} of 10,000, {weather:?}");
        }
        road.relay.set(Weather::FINE);
    }
    ensure!(
        road.relay.log().reused.is_empty(),
        "counters were used again"
    );
    Ok(())
}

/// What is under way when a new session begins arrives, and nothing of any session arrives twice.
pub(crate) fn sessions_follow_each_other_in_bad_weather() -> Result<()> {
    let road = Road::new(4_002)?;
    let timing = Timing {
        rekey_after: Duration::from_millis(400),
        rekey_timeout: Duration::from_millis(300),
        ..Timing::default()
    };
    for offloads in [Offloads::ALL, Offloads::NONE] {
        let _ends = road.tunnels(offloads, timing)?;
        road.relay.set(Weather {
            held: 100,
            held_by: 1_000,
            repeated: 50,
            replayed: 200,
            ..Weather::FINE
        });
        let before = road.sessions();
        let arrived = road.numbered(|_| Ok(road.sessions() < before + 5))?;
        println!("measured {arrived} packets over five sessions, {offloads:?}");
        road.relay.set(Weather::FINE);
    }
    ensure!(
        road.relay.log().reused.is_empty(),
        "counters were used again"
    );
    Ok(())
}

/// Sends that fail, in part or as a whole, are where a sender might seal or send something twice.
pub(crate) fn no_counter_is_used_twice() -> Result<()> {
    let road = Road::new(4_003)?;
    let timing = Timing {
        rekey_after: Duration::from_millis(500),
        rekey_timeout: Duration::from_millis(300),
        ..Timing::default()
    };
    for offloads in [Offloads::ALL, Offloads::NONE] {
        let (left, _right) = road.tunnels(offloads, timing)?;
        let flood = road.left.run(|| UdpSocket::bind("10.9.0.1:0"))?;
        flood.connect("10.9.0.2:9")?;
        let content = vec![7; 1_300];
        let before = road.sessions();
        let mut round = 0;
        while round < 30 || road.sessions() < before + 3 {
            // The path is too narrow, then wide enough, then away.
            road.left.ip(&format!(
                "link set eth0 mtu {}",
                [1_300, 1_500, 1_400][round % 3]
            ))?;
            if round % 10 == 9 {
                road.left.ip("link set eth0 down")?;
            }
            for which in 0..2_000 {
                let _ = flood.send(&content[..1_000 + which % 300]);
            }
            if round % 10 == 9 {
                road.left.ip("link set eth0 up")?;
                left.kick();
            }
            round += 1;
        }
        road.left.ip("link set eth0 mtu 1500")?;
        tcp(road.way(), &[65_535; 100])?;
    }
    let log = road.relay.log();
    let messages: u64 = log.seen.values().sum();
    ensure!(log.reused.is_empty(), "used again: {:?}", log.reused);
    println!(
        "measured {messages} messages of {} sessions, no counter twice",
        log.sessions.len()
    );
    Ok(())
}

pub(crate) fn connections_survive_bad_weather() -> Result<()> {
    let road = Road::new(4_004)?;
    for offloads in [Offloads::ALL, Offloads::NONE] {
        let _ends = road.tunnels(offloads, Timing::default())?;
        road.relay.set(Weather { lost: 20, ..STORM });
        tcp(road.way(), &[4_000; 50]).with_context(|| format!("{offloads:?}"))?;
        road.relay.set(Weather::FINE);
    }
    Ok(())
}
