//! The lab's map is what it says: who reaches whom, by which address, and what the captures see of it.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sluss_tests::capture::Capture;
use sluss_tests::moment::eventually;
use sluss_tests::world::{Place, Port, WEB, WEB_V6, World, is_internal};
use sluss_tests::{trial, trials};

fn main() -> ExitCode {
    trials::main(&[
        trial!(only_the_office_reaches_the_servers),
        trial!(guests_share_the_public_address_of_the_office),
        trial!(a_move_changes_carrier_address_and_route),
        trial!(a_capture_sees_what_passes),
    ])
}

fn only_the_office_reaches_the_servers() -> Result<()> {
    let mut world = World::new()?;
    let _web = serve(&world.servers, "[::]:80")?;
    for place in Place::ALL {
        world.plug(Port::Ethernet, place)?;
        let inside = place == Place::Office;
        for address in [WEB, WEB_V6] {
            let reached = ask(&world, SocketAddr::new(address, 80)).is_ok();
            ensure!(
                reached == inside,
                "{address} from {place:?}: reached is {reached}"
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
            let _ = write!(stream, "{peer:?}");
        }
    });
    Ok(address)
}

fn ask(world: &World, server: SocketAddr) -> Result<String> {
    world.laptop.run(|| {
        let mut stream = TcpStream::connect_timeout(&server, Duration::from_millis(800))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        let mut said = String::new();
        stream.read_to_string(&mut said)?;
        Ok(said)
    })
}
