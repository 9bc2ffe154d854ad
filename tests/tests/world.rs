//! The lab's map is what it says: who reaches whom, by which address, and what the captures see of it.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sluss_tests::capture::Capture;
use sluss_tests::gateway::Gateway;
use sluss_tests::moment::eventually;
use sluss_tests::servers;
use sluss_tests::world::{
    BRANCH, GATEWAY, Place, Port, TUNNEL, TUNNEL_V6, WEB, WEB_V6, World, is_internal,
};
use sluss_tests::{skip, trial, trials};
use x25519_dalek::{PublicKey, StaticSecret};

fn main() -> ExitCode {
    trials::main(&[
        trial!(only_offices_reach_the_servers),
        trial!(guests_share_the_public_address_of_the_office),
        trial!(a_move_changes_carrier_address_and_route),
        trial!(a_capture_sees_what_passes),
        trial!(the_gateway_lets_a_peer_in),
    ])
}

fn only_offices_reach_the_servers() -> Result<()> {
    let mut world = World::new()?;
    let _web = serve(&world.servers, "[::]:80")?;
    for place in Place::ALL {
        world.plug(Port::Ethernet, place)?;
        for address in [WEB, WEB_V6] {
            let seen = ask(&world, SocketAddr::new(address, 80));
            let expected = match place {
                Place::Office | Place::Annex if address == WEB => {
                    Some(Port::Ethernet.address(place))
                }
                Place::Office | Place::Annex => Port::Ethernet.address_v6(place),
                Place::Branch if address == WEB => Some(BRANCH),
                Place::Branch | Place::Home | Place::Phone | Place::Cafe | Place::Guest => None,
            };
            ensure!(
                seen.as_ref().ok() == expected.map(|address| format!("{address}")).as_ref(),
                "{address} from {place:?}: the server saw {seen:?}"
            );
        }
    }
    Ok(())
}

fn guests_share_the_public_address_of_the_office() -> Result<()> {
    let mut world = World::new()?;
    let _public = serve(&world.internet, "198.51.100.1:80")?;
    let mut seen = Vec::new();
    for place in [Place::Office, Place::Guest, Place::Home] {
        world.plug(Port::WiFi, place)?;
        seen.push(ask(&world, "198.51.100.1:80".parse()?)?);
    }
    ensure!(seen[0] == seen[1] && seen[1] != seen[2], "{seen:?}");
    Ok(())
}

fn a_move_changes_carrier_address_and_route() -> Result<()> {
    let mut world = World::new()?;
    ensure!(!eth0(&world)?.contains("LOWER_UP"), "{}", eth0(&world)?);
    world.plug(Port::Ethernet, Place::Home)?;
    let at_home = eth0(&world)?;
    ensure!(
        at_home.contains("LOWER_UP") && at_home.contains("192.168.1.50/24"),
        "{at_home}"
    );
    world.plug(Port::Ethernet, Place::Phone)?;
    let roamed = eth0(&world)? + &world.laptop.ip("route show default")?;
    ensure!(
        !roamed.contains("192.168.1.") && roamed.contains("via 172.20.10.1 dev eth0"),
        "{roamed}"
    );
    world.unplug(Port::Ethernet)?;
    let routes = world.laptop.ip("route show")?;
    ensure!(routes.is_empty(), "{routes}");
    Ok(())
}

fn a_capture_sees_what_passes() -> Result<()> {
    let mut world = World::new()?;
    world.plug(Port::Ethernet, Place::Home)?;
    let clear = Capture::start(world.router(Place::Home), |packet| {
        is_internal(packet.destination)
    })?;
    let _ = ask(&world, SocketAddr::new(WEB, 80));
    let leak = eventually(
        "the packet that left in clear",
        Duration::from_secs(5),
        || Ok(clear.last()),
    )?;
    ensure!(leak.destination == WEB && leak.ports.1 == 80, "{leak:?}");
    Ok(())
}

/// With another WireGuard as the laptop: the lab itself is right before the product is judged by it.
fn the_gateway_lets_a_peer_in() -> Result<()> {
    if Command::new("wireguard-go")
        .arg("--version")
        .output()
        .is_err()
    {
        skip!("wireguard-go is not installed");
    }
    let mut world = World::new()?;
    world.plug(Port::WiFi, Place::Guest)?;
    servers::start(&world)?;
    let key = StaticSecret::from([0x11; 32]);
    let gateway = Gateway::start(&world, PublicKey::from(&key).to_bytes(), None)?;
    let _peer = world.laptop.spawn(
        Command::new("wireguard-go")
            .args(["--foreground", "wg1"])
            .stdout(Stdio::null())
            .stderr(Stdio::null()),
    )?;
    eventually("the peer's socket", Duration::from_secs(5), || {
        Ok(std::fs::exists("/run/wireguard/wg1.sock")?.then_some(()))
    })?;
    let configuration = format!(
        "[Interface]\nPrivateKey = {}\n[Peer]\nPublicKey = {}\nEndpoint = {GATEWAY}\nAllowedIPs = 10.20.0.0/16, fd20::/48\n",
        STANDARD.encode(key.as_bytes()),
        STANDARD.encode(gateway.public_key()),
    );
    world.laptop.feed(
        Command::new("wg").args(["setconf", "wg1", "/dev/stdin"]),
        &configuration,
    )?;
    world.laptop.ip_batch(&format!(
        "link set wg1 up mtu 1420\naddr add {TUNNEL} dev wg1\naddr add {TUNNEL_V6} dev wg1 nodad\n\
         route add 10.20.0.0/16 dev wg1\nroute add fd20::/48 dev wg1\n"
    ))?;
    let wire = Capture::start(&world.gateway, |packet| {
        packet.is_transport_data(GATEWAY.port())
    })?;
    for (web, address) in [(WEB, TUNNEL), (WEB_V6, TUNNEL_V6)] {
        let seen = servers::fetch(&world.laptop, web, Duration::from_secs(5))?;
        ensure!(seen == address, "the web server saw {seen}");
    }
    eventually("transport data on the wire", Duration::from_secs(5), || {
        Ok(wire.last())
    })?;
    Ok(())
}

/// Flags and addresses of the laptop's cable.
fn eth0(world: &World) -> Result<String> {
    world
        .laptop
        .ip("-oneline link show eth0")
        .and_then(|link| Ok(link + &world.laptop.ip("-oneline addr show eth0")?))
}

/// A server that answers each caller with the address it saw, for as long as the process lives.
fn serve(netns: &sluss_tests::netns::Netns, at: &str) -> Result<SocketAddr> {
    let listener = netns
        .run(|| TcpListener::bind(at))
        .with_context(|| format!("listen at {at}"))?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let peer: Option<IpAddr> = stream.peer_addr().ok().map(|peer| peer.ip().to_canonical());
            let _ = peer.map(|peer| write!(stream, "{peer}"));
        }
    });
    Ok(address)
}

fn ask(world: &World, server: SocketAddr) -> Result<String> {
    world.laptop.run(|| {
        let mut stream = TcpStream::connect_timeout(&server, Duration::from_secs(3))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        let mut said = String::new();
        stream.read_to_string(&mut said)?;
        Ok(said)
    })
}
