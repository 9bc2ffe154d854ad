//! The places that a laptop goes to, one after the other.

use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sluss_tests::beacon::{Beacon, Identity};
use sluss_tests::capture::Capture;
use sluss_tests::dhcp::Offer;
use sluss_tests::moment::{eventually, now};
use sluss_tests::network_manager::{self, METERED_BY_GUESS, OPEN, UNMETERED, WIFI, WPA2};
use sluss_tests::servers;
use sluss_tests::stage::{Boot, PATIENCE, Setup, Stage};
use sluss_tests::world::{
    BEACON, BEACON_V6, BRANCH, GATEWAY, Place, Port, TUNNEL, TUNNEL_V6, WEB, WEB_V6, is_internal,
};

use crate::moves::is_settled;

pub(crate) fn at_home_the_tunnel_opens() -> Result<()> {
    let mut stage = Stage::set(Boot::Plain)?;
    outside_by_tunnel(&mut stage, Port::WiFi, Place::Home)?;
    let said = why(&stage)?;
    ensure!(
        said.contains("city hall") && said.contains("wlan0"),
        "{said}"
    );
    Ok(())
}

/// Shown as paid for by the byte, and kept alive as seldom as policy says for such a network.
pub(crate) fn a_phones_network_is_metered_and_spared() -> Result<()> {
    let mut stage = Stage::set_up(
        Setup {
            boot: Boot::LabClock,
            policy: "[tunnel]\nkeepalive = \"25s\"\nmetered_keepalive = \"100s\"\n".to_owned(),
            ..Setup::default()
        },
        |rig, _| rig.issued_card(0),
    )?;
    let networks = network_manager::StandIn::start(stage.logind.address(), &[("wlan0", WIFI)])?;
    networks.connect(1, UNMETERED, WPA2)?;
    outside_by_tunnel(&mut stage, Port::WiFi, Place::Home)?;
    let every = keepalives(&mut stage)?;
    stage.world.plug(Port::WiFi, Place::Phone)?;
    networks.connect(1, METERED_BY_GUESS, WPA2)?;
    until_link(&stage, "metered", |link| link["metered"] == true)?;
    by_tunnel(&stage)?;
    let seldom = keepalives(&mut stage)?;
    println!("measured keepalives in 100 s: {every} at home, {seldom} by the phone");
    // One more or less: the first comes when the last packet is old enough.
    ensure!(
        (4..=5).contains(&every) && (1..=2).contains(&seldom),
        "{every} and {seldom}"
    );
    let said = stage.laptop.sluss(&["status", "-v"], "")?.stdout;
    let said = String::from_utf8(said)?;
    ensure!(said.contains("wlan0: Wi-Fi, metered"), "{said}");
    Ok(())
}

/// One with a password is not.
pub(crate) fn an_open_wifi_is_warned_of() -> Result<()> {
    const WARNING: &str = "This Wi-Fi has no password";
    let mut stage = Stage::set(Boot::Plain)?;
    let networks = network_manager::StandIn::start(stage.logind.address(), &[("wlan0", WIFI)])?;
    networks.connect(1, UNMETERED, OPEN)?;
    stage.world.plug(Port::WiFi, Place::Cafe)?;
    until_link(&stage, "an open Wi-Fi", |link| {
        link["medium"]["open"] == true
    })?;
    let status = || -> Result<String> {
        let output = stage.laptop.sluss(&["status"], "")?;
        Ok(String::from_utf8(output.stdout)?)
    };
    let said = status()?;
    ensure!(said.contains(WARNING), "{said}");
    networks.connect(1, UNMETERED, WPA2)?;
    until_link(&stage, "a Wi-Fi with a password", |link| {
        link["medium"]["open"] == false
    })?;
    let said = status()?;
    ensure!(!said.contains(WARNING), "{said}");
    outside_by_tunnel(&mut stage, Port::WiFi, Place::Cafe)
}

/// What a café could copy is the same in both networks: the public address, the suffix, the resolver's name.
pub(crate) fn the_guest_wifi_of_the_town_hall_is_outside() -> Result<()> {
    let mut stage = Stage::set(Boot::Plain)?;
    let (office, guest) = (Place::Office, Place::Guest);
    ensure!(office.offer().suffix == guest.offer().suffix);
    ensure!(office.offer().names[0].0 == guest.offer().names[0].0);
    let plugged = stage.world.plug(Port::Ethernet, office)?;
    stage.verdict("inside", plugged)?;
    stage.world.unplug(Port::Ethernet)?;

    outside_by_tunnel(&mut stage, Port::WiFi, guest)?;
    let caller = stage
        .wire
        .packets()
        .into_iter()
        .find(|packet| !packet.outgoing);
    let caller = caller.context("nobody called the gateway")?.source;
    ensure!(caller == office.public_address(), "{caller} called");
    Ok(())
}

/// Taken for outside, since the beacon sees another address than the laptop's: safe, and `why` says which.
pub(crate) fn the_branch_behind_a_translator_is_outside_and_works() -> Result<()> {
    let mut stage = Stage::set(Boot::Plain)?;
    let clear = Capture::start(stage.world.router(Place::Branch), |packet| {
        &*packet.interface == "lan"
            && is_internal(packet.destination)
            && packet.destination != BEACON.ip()
    })?;
    outside_by_tunnel(&mut stage, Port::Ethernet, Place::Branch)?;
    ensure!(clear.count() == 0, "in the clear: {:?}", clear.last());
    let evidence = stage.laptop.status()?["evidence"].clone();
    let outcome = &evidence[0]["outcome"];
    let seen = outcome["seen"].as_str().unwrap_or_default();
    ensure!(
        outcome["code"] == "relayed" && seen.starts_with(&format!("{BRANCH}:")),
        "{evidence}"
    );
    let said = why(&stage)?;
    ensure!(said.contains(&BRANCH.to_string()), "{said}");
    // And how IT cures it.
    let said = stage.laptop.sluss(&["doctor"], "")?.stdout;
    let said = String::from_utf8(said)?;
    ensure!(said.contains(&format!("add {BRANCH} to `nat`")), "{said}");
    Ok(())
}

/// The cure, and it cures the branch alone.
pub(crate) fn the_branch_is_inside_where_policy_knows_its_address() -> Result<()> {
    let mut stage = set_with_beacon(&[BEACON], &format!("nat = [\"{BRANCH}\"]\n"))?;
    let plugged = stage.world.plug(Port::Ethernet, Place::Branch)?;
    stage.verdict("inside", plugged)?;
    let seen = eventually("the page by cable", PATIENCE, || Ok(stage.page().ok()))?;
    ensure!(seen == BRANCH, "the server saw {seen}");
    stage.world.unplug(Port::Ethernet)?;
    outside_by_tunnel(&mut stage, Port::WiFi, Place::Home)
}

pub(crate) fn an_office_with_ipv6_alone_is_inside() -> Result<()> {
    let mut stage = set_with_beacon(&[BEACON, BEACON_V6], "")?;
    stage.world.offer(
        Place::Office,
        &Offer {
            prefix_v6: Place::Office.prefix_v6(),
            ..Offer::default()
        },
    )?;
    let plugged = stage.world.plug_advertised(Port::Ethernet, Place::Office)?;
    stage.verdict("inside", plugged)?;
    let own = Port::Ethernet.address_v6(Place::Office);
    let seen = eventually("the page by cable", PATIENCE, || {
        Ok(servers::fetch(&stage.world.laptop, WEB_V6, PATIENCE).ok())
    })?;
    ensure!(Some(seen) == own, "the server saw {seen}");
    ensure!(stage.handshakes(Duration::ZERO) == 0);
    Ok(())
}

/// Its router is where the office's is. The router serves, and what else has such an address is inside, by the tunnel.
pub(crate) fn a_home_that_is_numbered_like_the_office_is_outside() -> Result<()> {
    let mut stage = Stage::set(Boot::Plain)?;
    let router: IpAddr = "10.20.0.1".parse()?;
    let twin = stage.world.router(Place::Cafe);
    twin.ip(&format!(
        "addr del {} dev lan",
        Place::Cafe.router_address()
    ))?;
    twin.ip(&format!("addr add {router}/16 dev lan"))?;
    // A neighbour's web server has the address of the intranet's.
    twin.ip(&format!("addr add {WEB}/32 dev lan"))?;
    stage.world.offer(
        Place::Cafe,
        &Offer {
            hosts: vec![(Port::WiFi.mac(), "10.20.0.77".parse()?)],
            names: vec![("vpn.example.se", GATEWAY.ip())],
            ..Offer::default()
        },
    )?;
    stage.world.plug(Port::WiFi, Place::Cafe)?;
    stage.insert_and_unlock()?;
    by_tunnel(&stage)?;
    // Names are asked of the router, also now.
    let ask = format!("busybox nslookup -type=a vpn.example.se {router}");
    let answer = stage.world.laptop.sh(&ask)?;
    ensure!(answer.contains(&GATEWAY.ip().to_string()), "{answer}");
    // Renewing the lease works, too.
    stage.world.renew(Port::WiFi)?;
    by_tunnel(&stage)?;
    let leaked = stage.clear.iter().flat_map(Capture::packets);
    let leaked = leaked
        .filter(|packet| !packet.outgoing && packet.destination != router)
        .last();
    ensure!(leaked.is_none(), "left in the clear: {leaked:?}");
    Ok(())
}

/// Waits until the only link is so.
fn until_link(stage: &Stage, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<()> {
    let mut links = Value::Null;
    let found = eventually(what, PATIENCE, || {
        links = stage.laptop.status()?["links"].take();
        Ok(wanted(&links[0]).then_some(()))
    });
    found.with_context(|| format!("{links}"))
}

/// How many keepalives the laptop sends in 100 s.
fn keepalives(stage: &mut Stage) -> Result<usize> {
    // What a keepalive is to WireGuard: transport data without content (whitepaper 5.4.6).
    const EMPTY: usize = 32;
    let sent = |stage: &Stage, since| {
        let packets = stage.wire.packets();
        let keepalives = packets.iter().filter(|packet| {
            packet.at >= since
                && packet.ports.1 == GATEWAY.port()
                && packet.is_transport_data(GATEWAY.port())
                && packet.datagram.len() == EMPTY
        });
        keepalives.count()
    };
    // A session that is young enough not to be renewed meanwhile, and a place that is asked about no more.
    for (order, state) in [("down", "down"), ("up", "up")] {
        let asked = now();
        ensure!(stage.laptop.sluss(&[order], "")?.status.success());
        stage.monitor.until("tunnel", &[state], asked, PATIENCE)?;
    }
    stage.clock.jump(Duration::from_secs(11))?;
    is_settled(stage, "outside", now())?;
    let begun = now();
    for second in 1..=100 {
        stage.clock.jump(Duration::from_secs(1))?;
        if second % 25 == 0 {
            thread::sleep(Duration::from_millis(100));
        }
    }
    Ok(sent(stage, begun))
}

/// A stage whose one beacon is at these addresses, with more lines in its section.
pub(crate) fn set_with_beacon(addresses: &[SocketAddr], more: &str) -> Result<Stage> {
    let identity = Identity::new()?;
    let section = identity.section("city hall", addresses, more);
    let setup = Setup {
        beacons: Some(section),
        ..Setup::default()
    };
    let mut stage = Stage::set_up(setup, |rig, _| rig.issued_card(0))?;
    stage.beacon.stop();
    stage.beacon = Beacon::run(&stage.world.servers, addresses, &identity)?;
    Ok(stage)
}

/// Plugs in, waits for the verdict, opens the tunnel, and reads the internal pages by it.
pub(crate) fn outside_by_tunnel(stage: &mut Stage, port: Port, place: Place) -> Result<()> {
    let plugged = stage.world.plug(port, place)?;
    stage.verdict("outside", plugged)?;
    stage.no_page()?;
    stage.insert_and_unlock()?;
    by_tunnel(stage)?;
    stage.no_leak()
}

/// The internal pages come by the tunnel.
pub(crate) fn by_tunnel(stage: &Stage) -> Result<()> {
    for (web, own) in [(WEB, TUNNEL), (WEB_V6, TUNNEL_V6)] {
        let seen = eventually("the page by the tunnel", PATIENCE, || {
            Ok(servers::fetch(&stage.world.laptop, web, PATIENCE).ok())
        })?;
        ensure!(seen == own, "the server saw {seen}");
    }
    Ok(())
}

/// What `sluss why` says.
pub(crate) fn why(stage: &Stage) -> Result<String> {
    let output = stage.laptop.sluss(&["why"], "")?;
    ensure!(output.status.success(), "{output:?}");
    Ok(String::from_utf8(output.stdout)?)
}
