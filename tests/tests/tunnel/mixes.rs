//! Random mixes of sizes and protocols: what comes out of the tunnel is what went in.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use sluss_platform::clock::boottime;
use sluss_tests::end::{Offloads, TUN};
use sluss_tests::tap::{Frame, Inlet, Outlet};
use sluss_tunnel::Lost;

use crate::bulk::nothing_lost;
use crate::cable::{CARDS, Cable, Way};
use crate::content::{echo, packets, tcp, udp};
use crate::packets::Source;

const MTU: u16 = 1420;

/// Connections, conversations, fragments and echoes at once, on all of these ways, of sizes that the seed chooses.
pub(crate) fn converse(ways: &[Way<'_>], seed: u64) -> Result<()> {
    println!("seed {seed}");
    let random = &mut Rng::with_seed(seed);
    for way in ways {
        for network in [way.from, way.to] {
            // Less under way than the TUN device has room for: a drop there would be nobody's fault.
            network.sysctl("ipv4.tcp_wmem", "4096 65536 262144")?;
            network.sysctl("ipv4.ping_group_range", "0 0")?;
            network.sysctl("ipv4.tcp_ecn", if random.bool() { "1" } else { "0" })?;
        }
    }
    std::thread::scope(|scope| {
        let mut running = Vec::new();
        for &way in ways {
            for _ in 0..random.usize(1..4) {
                let most = [100, 3_000, 65_535][random.usize(..3)];
                let writes = lengths_of(random, 40, most);
                running.push(scope.spawn(move || tcp(way, &writes).context("TCP")));
            }
            let datagrams = lengths_of(random, 40, 65_507);
            running.push(scope.spawn(move || udp(way, &datagrams).context("UDP")));
            let count = random.u64(100..600);
            running.push(scope.spawn(move || packets(way, count).context("bursts of UDP")));
            let echoes = lengths_of(random, 40, 4_000);
            running.push(scope.spawn(move || echo(way, &echoes).context("echo")));
        }
        for thread in running {
            thread.join().expect("no panic")?;
        }
        Ok(())
    })
}

fn lengths_of(random: &mut Rng, count: usize, most: usize) -> Vec<usize> {
    (0..count).map(|_| random.usize(..=most)).collect()
}

pub(crate) fn random_conversations_are_understood() -> Result<()> {
    let cable = Cable::new(1500)?;
    let started = boottime();
    let mut seed = 3_000;
    for card in CARDS {
        cable.fit(card)?;
        for here in Offloads::every() {
            // Both ways at once: every other pair shows the rest.
            for there in [Offloads::ALL, Offloads::NONE, here] {
                seed += 1;
                let ends = cable.tunnels_with([here, there])?;
                converse(&cable.ways(), seed)
                    .and_then(|()| nothing_lost(&ends))
                    .with_context(|| {
                        format!("seed {seed}: {here:?} to {there:?}, card {card:?}")
                    })?;
            }
        }
    }
    println!(
        "measured {} mixes in {:?}",
        seed - 3_000,
        boottime() - started
    );
    Ok(())
}

/// What the whitepaper (5.4.6) and IP make of a packet.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// It arrives, as long as it says that it is: behind that is padding.
    Arrives(Vec<u8>),
    /// Nobody can say where it should go.
    Unroutable,
    /// It is longer, or shorter, than there is anything of it.
    Refused,
}

fn fate(mut packet: Vec<u8>) -> Fate {
    let word = |at: usize| usize::from(packet[at]) << 8 | usize::from(packet[at + 1]);
    let (shortest, claimed) = match packet[0] >> 4 {
        4 if packet.len() >= 20 => (20, word(2)),
        6 if packet.len() >= 40 => (40, word(4) + 40),
        _ => return Fate::Unroutable,
    };
    let padded = packet.len().next_multiple_of(16).min(MTU.into());
    if !(shortest..=padded).contains(&claimed) {
        return Fate::Refused;
    }
    packet.resize(claimed, 0);
    Fate::Arrives(packet)
}

/// What must stay in order: a flow, as far as its packets say to which they belong.
fn flow(packet: &[u8]) -> Vec<u8> {
    let (addresses, protocol, transport, is_whole) = if packet[0] >> 4 == 4 {
        let is_whole = packet[6] & 0x3f == 0 && packet[7] == 0;
        (12..20, packet[9], usize::from(packet[0] & 15) * 4, is_whole)
    } else {
        (8..40, packet[6], 40, true)
    };
    let mut flow = packet[addresses].to_vec();
    flow.push(protocol);
    if is_whole && matches!(protocol, 6 | 17) && packet.len() >= transport + 4 {
        flow.extend(&packet[transport..transport + 4]);
    }
    flow
}

/// An identification means something to what may be fragmented alone (RFC 6864, 4.1): of the rest it is left out, and the
/// checksum over it, if that is right.
fn comparable(mut packet: Vec<u8>) -> Vec<u8> {
    if packet[0] == 0x45 && packet[6] & 0x40 != 0 && tun_rs::checksum(&packet[..20], 0) == 0xffff {
        packet[4..6].fill(0);
        packet[10..12].fill(0);
    }
    packet
}

pub(crate) fn random_packets_arrive_as_they_were() -> Result<()> {
    let cable = Cable::new(1500)?;
    let (mut seed, mut packets, mut supers, mut joined) = (20_261_122, 0, 0, 0);
    let started = boottime();
    for card in CARDS {
        cable.fit(card)?;
        for here in Offloads::every().filter(|here| here.udp.receive) {
            for there in Offloads::every().filter(|there| there.udp.send) {
                seed += 1;
                let (left, right) = cable.tunnels_with([here, there])?;
                let mut out = Outlet::open(&cable.right, TUN)?;
                let into = Inlet::open(&cable.left, TUN, cable.there().map(|way| way.address))?;
                for _own in 0..2 {
                    out.take()?.context("nothing comes out")?;
                }
                let mut source = Source::new(seed, MTU);
                let mut lost = Lost::default();
                for _ in 0..8 {
                    let frames = source.mix();
                    supers += frames
                        .iter()
                        .filter(|frame| frame.header.gso_type != 0)
                        .count();
                    let passed = pass(&into, &mut out, frames, &mut lost).with_context(|| {
                        format!("seed {seed}: {here:?} to {there:?}, card {card:?}")
                    })?;
                    packets += passed.packets;
                    joined += passed.joined;
                }
                ensure!(
                    left.tunnel.stats().lost == Lost { refused: 0, ..lost },
                    "{:?} of {lost:?}",
                    left.tunnel.stats().lost
                );
                ensure!(
                    right.tunnel.stats().lost
                        == Lost {
                            unroutable: 0,
                            ..lost
                        },
                    "{:?} of {lost:?}",
                    right.tunnel.stats().lost
                );
            }
        }
    }
    ensure!(joined > 1_000, "{joined} of {packets} packets were joined");
    println!(
        "measured {packets} packets, {supers} super-packets put in, {joined} packets joined, in {:?}",
        boottime() - started
    );
    Ok(())
}

struct Passed {
    packets: usize,
    joined: usize,
}

/// Puts frames in on one side and compares what comes out on the other.
fn pass(into: &Inlet, out: &mut Outlet, frames: Vec<Frame>, lost: &mut Lost) -> Result<Passed> {
    let mut expected: BTreeMap<Vec<u8>, Vec<Vec<u8>>> = BTreeMap::new();
    let mut count = 0;
    for frame in &frames {
        for packet in frame.clone().packets()? {
            match fate(packet) {
                Fate::Arrives(packet) => {
                    expected
                        .entry(flow(&packet))
                        .or_default()
                        .push(comparable(packet));
                    count += 1;
                }
                Fate::Unroutable => lost.unroutable += 1,
                Fate::Refused => lost.refused += 1,
            }
        }
    }
    for frame in &frames {
        into.put(frame)?;
    }
    let mut arrived: BTreeMap<Vec<u8>, Vec<Vec<u8>>> = BTreeMap::new();
    let (mut packets, mut joined) = (0, 0);
    while packets < count {
        let frame = out
            .take()?
            .with_context(|| format!("{packets} packets of {count} came"))?;
        let cut = frame.packets()?;
        packets += cut.len();
        joined += cut.len() - 1;
        for packet in cut {
            arrived
                .entry(flow(&packet))
                .or_default()
                .push(comparable(packet));
        }
    }
    for (flow, expected) in &expected {
        let arrived = arrived.remove(flow).unwrap_or_default();
        let differs = expected
            .iter()
            .zip(&arrived)
            .position(|(one, other)| one != other);
        if let Some(at) = differs {
            anyhow::bail!(
                "packet {at} of {} of a flow:\n{:02x?}\nexpected\n{:02x?}",
                expected.len(),
                arrived[at],
                expected[at]
            );
        }
        ensure!(
            arrived.len() == expected.len(),
            "{} of {} packets of flow {flow:02x?}",
            arrived.len(),
            expected.len()
        );
    }
    ensure!(
        arrived.is_empty(),
        "packets that nobody sent: {arrived:02x?}"
    );
    Ok(Passed { packets, joined })
}
