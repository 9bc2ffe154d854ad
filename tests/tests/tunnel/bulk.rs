//! Much at once, and every size: over every MTU, by every kind of network card, with every combination of offloads.

use anyhow::{Context, Result, ensure};
use sluss_platform::clock::boottime;
use sluss_tests::end::{End, Offloads, endpoint};
use sluss_tunnel::Lost;

use crate::cable::{CARDS, Cable};
use crate::content::{lengths, packets, tcp, udp};

pub(crate) fn tcp_of_every_size_at_every_mtu() -> Result<()> {
    let cable = Cable::new(9_100)?;
    for (which, mtu) in [68, 576, 1280, 1281, 1420, 1500, 4000, 9000]
        .into_iter()
        .enumerate()
    {
        for offloads in some(which) {
            let _ends = with_mtu(&cable, mtu, offloads)?;
            for way in cable.there() {
                if way.address.is_ipv4() || mtu >= 1280 {
                    tcp(way, &lengths(mtu, 65_535))
                        .with_context(|| format!("to {}, MTU {mtu}, {offloads:?}", way.address))?;
                }
            }
        }
    }
    Ok(())
}

pub(crate) fn udp_of_every_size_at_every_mtu() -> Result<()> {
    let cable = Cable::new(9_100)?;
    for (which, mtu) in [68, 576, 1280, 1420, 9000].into_iter().enumerate() {
        for offloads in some(which) {
            let _ends = with_mtu(&cable, mtu, offloads)?;
            // A datagram of 65,507 bytes would be 1,365 fragments at the smallest MTU: more than a queue holds.
            let limit = if mtu == 68 { 8_000 } else { 65_507 };
            for way in cable.there() {
                if way.address.is_ipv4() || mtu >= 1280 {
                    udp(way, &lengths(mtu, limit))
                        .with_context(|| format!("to {}, MTU {mtu}, {offloads:?}", way.address))?;
                }
            }
        }
    }
    Ok(())
}

/// A third of all combinations of offloads, another each time.
fn some(which: usize) -> impl Iterator<Item = Offloads> {
    Offloads::every().skip(which % 3).step_by(3)
}

fn with_mtu(cable: &Cable, mtu: u16, offloads: Offloads) -> Result<(End, End)> {
    cable.tunnels(|end| {
        end.mtu = mtu;
        end.offloads = offloads;
        if mtu < 1280 {
            end.addresses.truncate(1);
        }
    })
}

/// One million, counted by what arrives: each once, in order, with its content. Both ways at once, so that a pair of
/// offloads need not be looked at from its other end as well.
pub(crate) fn a_million_packets_with_every_pair_of_offloads() -> Result<()> {
    let cable = Cable::new(1500)?;
    let every: Vec<Offloads> = Offloads::every().collect();
    let pairs = CARDS.len() * every.len() * (every.len() + 1) / 2;
    let share = 1_000_000u64.div_ceil(pairs as u64 * 2);
    let started = boottime();
    let mut count = 0;
    for card in CARDS {
        cable.fit(card)?;
        for (which, &here) in every.iter().enumerate() {
            for &there in &every[which..] {
                let ends = cable.tunnels_with([here, there])?;
                let [there_v4, there_v6, back_v4, back_v6] = cable.ways();
                let ways = if count % 2 == 0 {
                    [there_v4, back_v6]
                } else {
                    [there_v6, back_v4]
                };
                std::thread::scope(|scope| {
                    let back = scope.spawn(|| packets(ways[1], share));
                    packets(ways[0], share)?;
                    back.join().expect("no panic")
                })
                .and_then(|()| nothing_lost(&ends))
                .with_context(|| format!("{here:?} to {there:?}, card {card:?}"))?;
                count += 1;
            }
        }
    }
    ensure!(count == pairs, "{count} pairs of {pairs}");
    let total = pairs as u64 * 2 * share;
    println!(
        "measured {total} packets over {count} pairs in {:?}",
        boottime() - started
    );
    Ok(())
}

pub(crate) fn bulk_both_ways() -> Result<()> {
    let cable = Cable::new(1500)?;
    let bulk = vec![65_535; 200];
    for card in CARDS {
        cable.fit(card)?;
        for offloads in Offloads::every() {
            let ends = cable.tunnels(|end| end.offloads = offloads)?;
            let [there_v4, there_v6, back_v4, back_v6] = cable.ways();
            for (there, back) in [(there_v4, back_v4), (there_v6, back_v6)] {
                std::thread::scope(|scope| {
                    let back = scope.spawn(|| tcp(back, &bulk));
                    tcp(there, &bulk)?;
                    back.join().expect("no panic")
                })
                .and_then(|()| nothing_lost(&ends))
                .with_context(|| format!("to {}, {offloads:?}, card {card:?}", there.address))?;
            }
        }
    }
    Ok(())
}

/// The tunnel's MTU is a guess about the path. Where it is too big, the kernel cannot segment, and cuts each datagram.
pub(crate) fn datagrams_larger_than_the_path_are_fragmented() -> Result<()> {
    let cable = Cable::new(1_300)?;
    for outer in ["192.0.2.2", "2001:db8::2"] {
        let outer = endpoint(outer)?;
        for offloads in Offloads::every() {
            let ends = cable.tunnels(|end| {
                end.endpoint = end.endpoint.map(|_| outer);
                end.offloads = offloads;
            })?;
            for way in cable.there() {
                tcp(way, &[65_535; 20])
                    .and_then(|()| nothing_lost(&ends))
                    .with_context(|| format!("to {} by {outer}, {offloads:?}", way.address))?;
            }
        }
    }
    Ok(())
}

pub(crate) fn nothing_lost((left, right): &(End, End)) -> Result<()> {
    for end in [left, right] {
        let lost = end.tunnel.stats().lost;
        ensure!(lost == Lost::default(), "{lost:?}");
    }
    Ok(())
}
