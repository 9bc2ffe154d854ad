//! Much at once, and every size: over every MTU, by every kind of network card, with every combination of offloads.

use anyhow::{Context, Result, ensure};
use sluss_platform::clock::boottime;
use sluss_tests::end::{Offloads, endpoint};
use sluss_tunnel::Lost;

use crate::cable::{CARDS, Cable, inner};
use crate::content::{lengths, packets, tcp, udp};

pub(crate) fn tcp_of_every_size_at_every_mtu() -> Result<()> {
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

pub(crate) fn udp_of_every_size_at_every_mtu() -> Result<()> {
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
pub(crate) fn a_million_packets() -> Result<()> {
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

pub(crate) fn bulk_both_ways() -> Result<()> {
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
pub(crate) fn datagrams_larger_than_the_path_are_fragmented() -> Result<()> {
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
