//! A network without IPv4: the gateway, which has nothing else, is called through the network's translator.

use std::fs::Permissions;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result, ensure};
use sluss_tests::dhcp;
use sluss_tests::laptop::endpoint;
use sluss_tests::moment::eventually;
use sluss_tests::stage::{PATIENCE, Setup, Stage};
use sluss_tests::translator::{self, Translator};
use sluss_tests::world::{GATEWAY, Place, Port, TUNNEL};

/// Where the lab's laptop has its resolvers from.
const RESOLV_CONF: &str = "/run/resolv.conf";

/// By its name, which the network's resolver translates (RFC 6147).
pub(crate) fn a_network_without_ipv4_is_crossed_by_name() -> Result<()> {
    crosses("vpn.example.se:51820")
}

/// By the address that policy has, after the prefix was asked for (RFC 7050).
pub(crate) fn a_network_without_ipv4_is_crossed_by_address() -> Result<()> {
    crosses(&GATEWAY.to_string())
}

fn crosses(gateway: &str) -> Result<()> {
    let setup = Setup {
        endpoints: Some(endpoint(gateway)),
        arguments: vec!["--resolv-conf", RESOLV_CONF],
        ..Setup::default()
    };
    let mut stage = Stage::set_up(setup, |rig, _| rig.issued_card(0))?;
    let _translator = Translator::start(&mut stage.world, Place::Cafe)?;
    // As on any system; the lab's is open to everybody, and what everybody can write is not believed.
    std::fs::set_permissions("/run", Permissions::from_mode(0o755))?;
    std::fs::write(
        RESOLV_CONF,
        format!("nameserver {}\n", translator::RESOLVER),
    )?;
    stage.world.plug_bare(Port::WiFi, Place::Cafe)?;
    let plugged = dhcp::advertised(&stage.world.laptop, Port::WiFi.interface())?;
    stage.verdict("outside", plugged)?;
    stage.insert_and_unlock()?;
    let seen = eventually("the internal page", PATIENCE, || Ok(stage.page().ok()))?;
    ensure!(seen == TUNNEL, "the server saw {seen}");

    let laptop = stage
        .world
        .laptop
        .ip("-4 addr show scope global dev wlan0")?;
    ensure!(laptop.is_empty(), "there is IPv4: {laptop}");
    let packet = stage.wire.last().context("nothing came to the gateway")?;
    let public = Place::Cafe.public_address();
    ensure!(
        [packet.source, packet.destination].contains(&public),
        "{packet:?}"
    );
    let IpAddr::V4(gateway) = GATEWAY.ip() else {
        unreachable!("the gateway has IPv4 alone");
    };
    let used = stage.laptop.status()?["gateway"].to_string();
    ensure!(
        used.contains(&translator::translated(gateway).to_string()),
        "{used}"
    );
    stage.no_leak()
}
