//! Paths that are dead: one family, or all of UDP.

use std::time::Duration;

use anyhow::{Result, ensure};
use sluss_platform::clock::boottime;
use sluss_tunnel::Command;
use sluss_wg::Timing;

use crate::road::{Road, Town};

pub(crate) fn either_family_will_do() -> Result<()> {
    for (name, road, alive) in [
        ("all", Road::Open, None),
        ("six", Road::NoIpv4, Some(0)),
        ("four", Road::NoIpv6, Some(1)),
    ] {
        let mut town = Town::new(name, Timing::default())?;
        town.gateways[0].set(road)?;
        let began = boottime();
        town.end.kick();
        ensure!(town.session()? == 0, "{name}: the other gateway");
        println!("measured {name}: a session after {:?}", boottime() - began);
        if let Some(alive) = alive {
            let alive = town.gateways[0].addresses[alive];
            ensure!(
                town.endpoint() == Some(alive),
                "{name}: {:?}",
                town.endpoint()
            );
        }
        town.talk()?;
        ensure!((town.sessions, town.operations) == (1, 2), "{name}");
    }
    Ok(())
}

/// The session was by one family; the network that the laptop comes to drops just that.
pub(crate) fn the_other_family_is_found_when_the_network_changes() -> Result<()> {
    let timing = Timing {
        // so that the change of network need not wait for the handshake before it to be five seconds old
        rekey_timeout: Duration::from_millis(500),
        call_gap: Duration::from_millis(200),
        ..Timing::default()
    };
    let mut town = Town::new("move", timing)?;
    town.end.kick();
    ensure!(town.session()? == 0, "the first is the best");
    for _ in 0..2 {
        let before = town.endpoint();
        let only = match before {
            Some(address) if address.is_ipv4() => Road::NoIpv4,
            Some(_) | None => Road::NoIpv6,
        };
        town.gateways[0].set(only)?;
        let began = boottime();
        let peer = town.end.peer;
        town.end.tunnel.command(Command::NetworkChanged(peer));
        ensure!(town.session()? == 0, "the other gateway");
        println!("measured a change of family after {:?}", boottime() - began);
        ensure!(town.endpoint() != before, "{before:?}");
        town.talk()?;
    }
    ensure!(town.operations == 4, "{} operations", town.operations);
    Ok(())
}

/// What slussd needs to say that nobody answers from this network.
pub(crate) fn a_network_without_udp_is_told_and_left() -> Result<()> {
    let mut town = Town::new("none", Timing::default())?;
    for gateway in &town.gateways {
        gateway.set(Road::Closed)?;
    }
    let began = boottime();
    town.end.kick();
    town.until("word of it", |town| town.unanswered > 0)?;
    println!(
        "measured word that nobody answers after {:?}",
        boottime() - began
    );
    let silent = town.endpoints();
    ensure!(silent.len() == 4, "{silent:?}");
    for endpoint in &silent {
        let since = endpoint.silent_since.map(|at| at.elapsed_since_boot());
        ensure!(since.is_some_and(|at| at >= began), "{endpoint:?}");
    }
    ensure!(town.operations == 1, "the card computed for nobody");

    for gateway in &town.gateways {
        gateway.set(Road::Open)?;
    }
    let began = boottime();
    let peer = town.end.peer;
    town.end.tunnel.command(Command::NetworkChanged(peer));
    ensure!(town.session()? == 0, "the first is the best");
    println!("measured a network with UDP after {:?}", boottime() - began);
    Ok(())
}
