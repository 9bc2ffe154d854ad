//! Attackers in the café who want to be taken for the office (rows 6 and 7 of the attack list), or to wear the laptop down.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use ipnet::IpNet;
use serde_json::Value;
use sluss_tests::beacon::{Beacon, Identity};
use sluss_tests::bench::meter;
use sluss_tests::capture::Capture;
use sluss_tests::dhcp::Offer;
use sluss_tests::impostor::{self, Certificate, Forwarder, Pace};
use sluss_tests::laptop::Change;
use sluss_tests::moment::{eventually, millis, now};
use sluss_tests::netns::{Netns, veth};
use sluss_tests::servers::Conversation;
use sluss_tests::stage::{Boot, PATIENCE, Setup, Stage};
use sluss_tests::stranger::{Mac, OURS, Stranger};
use sluss_tests::world::{BEACON, Place, Port, TUNNEL, WEB};

/// Where an attacker has a machine among the servers, and in the office.
const AMONG_SERVERS: &str = "10.20.0.66";
const IN_OFFICE: &str = "10.20.5.66";

/// Row 6: all that a network can say of itself is the office's, down to the router's Ethernet address.
pub(crate) fn a_forged_office_is_outside() -> Result<()> {
    let mut stage = Stage::set(Boot::Plain)?;
    forge_the_office(&mut stage)?;
    // Whoever is asked for the beacon answers, with a key of his own.
    let cafe = stage.world.router(Place::Cafe);
    cafe.ip("addr add 10.20.0.53/32 dev lan")?;
    let _impostor = Beacon::run(cafe, &[BEACON], &Identity::new()?)?;
    let clear = in_the_clear(&stage)?;

    let plugged = stage.world.plug(Port::WiFi, Place::Cafe)?;
    let forged = stage.world.laptop.ip("-4 addr show wlan0")?;
    ensure!(forged.contains("10.20.5.51/24"), "the lease: {forged}");
    stage.verdict("outside", plugged)?;
    let told = evidence(&stage)?;
    ensure!(told.contains("\"wrong-key\""), "{told}");
    stage.insert_and_unlock()?;
    reaches_the_intranet(&stage)?;
    never_inside(&stage, plugged)?;
    nothing_in(&clear)
}

/// Row 7: what a beacon said to this very laptop is said again.
pub(crate) fn a_recorded_beacon_proves_nothing() -> Result<()> {
    let mut stage = Stage::set(Boot::Plain)?;
    let relay = relay_by_proxy(&stage, Pace::AtOnce)?;
    stage.world.plug(Port::WiFi, Place::Cafe)?;
    // Its side of the handshake is longer than that.
    let recording = eventually("a recording", PATIENCE, || {
        let recording = relay.recording();
        Ok((recording.len() > 300).then_some(recording))
    })?;

    let home = stage.world.router(Place::Home);
    home.ip("addr add 10.20.0.53/32 dev lan")?;
    let asked = impostor::replay((home, BEACON), recording)?;
    let plugged = stage.world.plug(Port::WiFi, Place::Home)?;
    stage.verdict("outside", plugged)?;
    ensure!(
        asked.load(Ordering::Relaxed) > 0,
        "nobody asked the recording"
    );
    stage.insert_and_unlock()?;
    reaches_the_intranet(&stage)?;
    never_inside(&stage, plugged)?;
    stage.no_leak()
}

/// Row 7: a forwarder in the café that reaches the real beacon by a foothold inside.
pub(crate) fn a_relay_by_proxy_is_seen_through() -> Result<()> {
    let mut stage = Stage::set(Boot::Plain)?;
    let relay = relay_by_proxy(&stage, Pace::AtOnce)?;
    let plugged = stage.world.plug(Port::WiFi, Place::Cafe)?;
    stage.verdict("outside", plugged)?;
    ensure!(relay.connections() > 0, "nobody came by the relay");
    let evidence = evidence(&stage)?;
    ensure!(
        evidence.contains("\"relayed\"") && evidence.contains(AMONG_SERVERS),
        "{evidence}"
    );
    stage.insert_and_unlock()?;
    reaches_the_intranet(&stage)?;
    never_inside(&stage, plugged)?;
    stage.no_leak()
}

/// What the proof does not stop: a foothold inside by which packets are forwarded with their addresses unchanged.
pub(crate) fn a_relay_that_keeps_addresses_gets_the_proof() -> Result<()> {
    let mut stage = Stage::set(Boot::Plain)?;
    let _foothold = relay_by_routing(&mut stage)?;
    let clear = in_the_clear(&stage)?;
    let plugged = stage.world.plug(Port::WiFi, Place::Cafe)?;
    stage.verdict("inside", plugged)?;
    let seen = eventually("the page in the clear", PATIENCE, || Ok(stage.page().ok()))?;
    ensure!(
        seen == Port::WiFi.address(Place::Office),
        "the server saw {seen}"
    );
    ensure!(clear.count() > 0, "the judge is blind");
    Ok(())
}

/// `inside = "tunnel-anyway"` leaves the same attacker with ciphertext.
pub(crate) fn who_tunnels_anyway_loses_nothing_to_it() -> Result<()> {
    let setup = Setup {
        policy: "[location]\ninside = \"tunnel-anyway\"\n".to_owned(),
        ..Setup::default()
    };
    let mut stage = Stage::set_up(setup, |rig, _| rig.issued_card(0))?;
    let _foothold = relay_by_routing(&mut stage)?;
    let clear = in_the_clear(&stage)?;
    let plugged = stage.world.plug(Port::WiFi, Place::Cafe)?;
    stage.verdict("inside", plugged)?;
    stage.no_page()?;
    stage.insert_and_unlock()?;
    reaches_the_intranet(&stage)?;
    nothing_in(&clear)
}

/// A handshake that comes byte by byte, and servers with the right key that talk without end.
pub(crate) fn slow_and_endless_beacons_cost_no_more_than_the_deadline() -> Result<()> {
    let (endless, shaken) = (Certificate::new()?, Certificate::new()?);
    let section = |name: &str, address: &str, key: &str| {
        format!(
            "[[beacon]]\nname = \"{name}\"\naddresses = [\"{address}:8443\"]\npins = [\"{key}\"]\nsite = \"{name}\"\n"
        )
    };
    let beacons = section("slow", "10.20.0.53", &shaken.pin())
        + &section("endless", "10.20.0.61", &endless.pin())
        + &section("noise", "10.20.0.62", &endless.pin());
    let setup = Setup {
        beacons: Some(beacons),
        ..Setup::default()
    };
    let mut stage = Stage::set_up(setup, |rig, _| rig.issued_card(0))?;
    let cafe = stage.world.router(Place::Cafe);
    let at = |address: &str| -> Result<SocketAddr> {
        cafe.ip(&format!("addr add {address}/32 dev lan"))?;
        Ok(format!("{address}:8443").parse()?)
    };
    let own: SocketAddr = "127.0.0.1:8443".parse()?;
    impostor::tls((cafe, own), &shaken, |_| Ok(()))?;
    let slow = Forwarder::start(
        (cafe, at("10.20.0.53")?),
        (cafe, own),
        Pace::Dribble(Duration::from_millis(50)),
    )?;
    let greeted = impostor::tls((cafe, at("10.20.0.61")?), &endless, |stream| {
        loop {
            stream.write_all(&[b'x'; 1 << 14])?;
        }
    })?;
    let noise = impostor::flood((cafe, at("10.20.0.62")?), vec![0x16; 1 << 14])?;

    let daemon = stage.laptop.daemon()?.id();
    let before = meter::resident(daemon)?.peak;
    let plugged = stage.world.plug(Port::WiFi, Place::Cafe)?;
    // The slow one alone would take a minute.
    let verdict = stage.verdict("outside", plugged)?;
    let grown = meter::resident(daemon)?.peak - before;
    println!(
        "measured verdict {} ms with slow and endless beacons, {} KiB more",
        millis(plugged, verdict),
        grown >> 10
    );
    ensure!(
        slow.connections() > 0 && noise.load(Ordering::Relaxed) > 0,
        "nobody asked"
    );
    ensure!(
        greeted.load(Ordering::Relaxed) > 0,
        "the right key was not taken"
    );
    ensure!(grown < 8 << 20, "{grown} bytes more memory");
    stage.insert_and_unlock()?;
    reaches_the_intranet(&stage)
}

/// Certificates that are over, or not good yet, by the laptop's clock: told with both dates, since the clock may be what is wrong.
pub(crate) fn dates_that_do_not_fit_are_named() -> Result<()> {
    let (over, early) = (
        Certificate::valid(2001..=2002)?,
        Certificate::valid(2901..=2902)?,
    );
    let section = |name: &str, address: &str, certificate: &Certificate| {
        format!(
            "[[beacon]]\nname = \"{name}\"\nkind = \"tls\"\naddresses = [\"{address}:443\"]\npins = [\"{}\"]\n",
            certificate.pin()
        )
    };
    let setup = Setup {
        beacons: Some(section("old", "10.20.0.61", &over) + &section("new", "10.20.0.62", &early)),
        ..Setup::default()
    };
    let mut stage = Stage::set_up(setup, |rig, _| rig.issued_card(0))?;
    for (address, certificate) in [("10.20.0.61", &over), ("10.20.0.62", &early)] {
        stage
            .world
            .servers
            .ip(&format!("addr add {address}/24 dev dmz"))?;
        let at = SocketAddr::new(address.parse()?, 443);
        impostor::tls((&stage.world.servers, at), certificate, |_| Ok(()))?;
    }
    let plugged = stage.world.plug(Port::Ethernet, Place::Office)?;
    stage.verdict("outside", plugged)?;
    let evidence = evidence(&stage)?;
    ensure!(
        evidence.contains("\"expired\"") && evidence.contains("\"not-yet-valid\""),
        "{evidence}"
    );
    let why = stage.laptop.sluss(&["why"], "")?.stdout;
    let why = String::from_utf8(why)?;
    let today = String::from_utf8(
        std::process::Command::new("date")
            .args(["--utc", "+%Y-%m-%d"])
            .output()?
            .stdout,
    )?;
    for date in ["2002-12-31", "2901-01-01", today.trim()] {
        ensure!(why.contains(date), "no {date} in: {why}");
    }
    stage.insert_and_unlock()?;
    reaches_the_intranet(&stage)
}

/// Somebody in the office claims the router's address, again and again, and hands on what he gets: it stays open.
pub(crate) fn forged_arp_in_the_office_shuts_nothing() -> Result<()> {
    let mut stage = Stage::set(Boot::Plain)?;
    let plugged = stage.world.plug(Port::Ethernet, Place::Office)?;
    stage.verdict("inside", plugged)?;
    stage
        .monitor
        .until("host", &["applied"], plugged, PATIENCE)?;
    let told = besieged(&stage, Port::Ethernet, Place::Office)?;
    let flapped = told.iter().find(|change| match change.thing.as_str() {
        "location" => change.state == "outside",
        "tunnel" => change.state != "down",
        other => other == "host",
    });
    ensure!(flapped.is_none(), "{told:?}");
    let seen = stage.page()?;
    ensure!(seen == Port::Ethernet.address(Place::Office), "{seen}");
    Ok(())
}

/// The same in the café: the tunnel, and who speaks through it, notice nothing.
pub(crate) fn forged_arp_in_the_cafe_leaves_the_tunnel_alone() -> Result<()> {
    let mut stage = Stage::set(Boot::Plain)?;
    stage.open_tunnel(Port::WiFi, Place::Cafe)?;
    let mut conversation = Conversation::open(&stage.world.laptop, WEB)?;
    let told = besieged(&stage, Port::WiFi, Place::Cafe)?;
    let flapped = told.iter().find(|change| match change.thing.as_str() {
        "location" => change.state == "inside",
        "tunnel" => change.state != "up",
        other => other == "host",
    });
    ensure!(flapped.is_none(), "{told:?}");
    conversation.say("still here", PATIENCE)?;
    reaches_the_intranet(&stage)?;
    stage.no_leak()
}

/// Ten claims, three in a second, each by another machine; gives all that was told meanwhile.
fn besieged(stage: &Stage, port: Port, place: Place) -> Result<Vec<Change>> {
    let router = stage.world.router(place);
    let gateway = place.router_address().addr();
    let stranger = Stranger::join(router)?;
    stranger.forward(hardware_address(router)?);
    let probes = Capture::start(router, |packet| {
        !packet.outgoing && &*packet.interface == "lan" && packet.ports.1 == BEACON.port()
    })?;
    let began = now();
    for number in 0..10 {
        believed(
            stage,
            port,
            &stranger,
            gateway,
            [OURS[0], OURS[1], 0, 0, 0, number],
        )?;
        thread::sleep(Duration::from_millis(330));
    }
    eventually("the daemon has looked into it", PATIENCE, || {
        let rests = ["inside", "outside"].map(Value::from);
        let rests = rests.contains(&stage.laptop.status()?["location"]["state"]);
        Ok((probes.count() > 0 && rests).then_some(()))
    })?;
    let asked: HashSet<u16> = probes.packets().iter().map(|it| it.ports.0).collect();
    println!(
        "measured {} connections to the beacon for ten forged claims",
        asked.len()
    );
    // Two attempts each time.
    ensure!(asked.len() <= 2 * 10, "{} connections", asked.len());
    Ok(stage.monitor.since(began))
}

/// A conference's Wi-Fi: for seconds a thousand neighbours look for us.
pub(crate) fn a_thousand_neighbours_wake_nobody() -> Result<()> {
    let mut stage = Stage::set(Boot::Plain)?;
    stage.open_tunnel(Port::WiFi, Place::Cafe)?;
    stage.page()?;
    let stranger = Stranger::join(stage.world.router(Place::Cafe))?;
    let daemon = stage.laptop.daemon()?.id();
    // Until all that came with the tunnel is over.
    let quiet = Duration::from_millis(500);
    eventually("the daemon sleeps", PATIENCE, || {
        let before = meter::wake_ups(daemon)?;
        thread::sleep(quiet);
        Ok((meter::wake_ups(daemon)? == before).then_some(()))
    })?;
    let IpAddr::V4(us) = Port::WiFi.address(Place::Cafe) else {
        bail!("a lease of the café");
    };
    let before = meter::wake_ups(daemon)?;
    for number in 0..1000_u16 {
        let [high, low] = number.to_be_bytes();
        let neighbour = Ipv4Addr::new(192, 168, 178, 60 + (number % 190) as u8);
        stranger.ask(([OURS[0], OURS[1], 1, 0, high, low], neighbour), us)?;
        thread::sleep(Duration::from_millis(3));
    }
    eventually("the neighbours are known", PATIENCE, || {
        let known = stage.world.laptop.ip("neigh show dev wlan0")?;
        Ok((known.lines().count() > 150).then_some(()))
    })?;
    let woken = meter::wake_ups(daemon)? - before;
    println!("measured {woken} wake-ups of the daemon by 1000 neighbours");
    ensure!(woken <= 8, "{woken} wake-ups");
    Ok(())
}

/// The café calls itself what the office does: DHCP, resolver and its name, addresses, and the router's Ethernet address.
fn forge_the_office(stage: &mut Stage) -> Result<()> {
    let owner = hardware_address(stage.world.router(Place::Office))?;
    let cafe = stage.world.router(Place::Cafe);
    cafe.ip("addr flush dev lan")?;
    cafe.ip(&format!("link set lan address {}", written(owner)))?;
    cafe.ip(&format!(
        "addr add {} dev lan",
        Place::Office.router_address()
    ))?;
    let offer = Offer {
        // No router advertisements: the forgery is of the network that the laptop's own proof is asked on.
        prefix_v6: None,
        ..Place::Office.offer()
    };
    stage.world.offer(Place::Cafe, &offer)
}

/// The café answers for the beacon, and forwards what it is told over a machine that stands among the servers.
fn relay_by_proxy(stage: &Stage, pace: Pace) -> Result<Forwarder> {
    let foothold = Netns::new("foothold")?;
    veth((&foothold, "eth0"), (&stage.world.servers, "foothold"))?;
    stage.world.servers.ip("link set foothold master dmz")?;
    foothold.ip(&format!("addr add {AMONG_SERVERS}/24 dev eth0"))?;
    let cafe = stage.world.router(Place::Cafe);
    cafe.ip("addr add 10.20.0.53/32 dev lan")?;
    Forwarder::start((cafe, BEACON), (&foothold, BEACON), pace)
}

/// The café gives out the office's addresses, and a machine in the office forwards packets from and to there.
fn relay_by_routing(stage: &mut Stage) -> Result<Netns> {
    forge_the_office(stage)?;
    let (cafe, office) = (
        stage.world.router(Place::Cafe),
        stage.world.router(Place::Office),
    );
    let foothold = Netns::new("foothold")?;
    veth((&foothold, "eth0"), (office, "socket"))?;
    office.ip("link set socket master lan")?;
    veth((&foothold, "radio"), (cafe, "radio"))?;
    let victim = Port::WiFi.address(Place::Office);
    foothold.sysctl("ipv4.ip_forward", "1")?;
    // It answers for the laptop in the office.
    foothold.sysctl("ipv4.conf.eth0.proxy_arp", "1")?;
    foothold.ip_batch(&format!(
        "addr add {IN_OFFICE}/24 dev eth0\n\
         addr add 172.31.66.2/30 dev radio\n\
         route add {victim}/32 via 172.31.66.1\n\
         route add 10.20.0.0/24 via 10.20.5.1\n",
    ))?;
    cafe.ip_batch("addr add 172.31.66.1/30 dev radio\nroute add 10.20.0.0/24 via 172.31.66.2\n")?;
    Ok(foothold)
}

/// Watches the café for packets to the servers that are no probes.
fn in_the_clear(stage: &Stage) -> Result<Capture> {
    let servers: IpNet = "10.20.0.0/24".parse()?;
    Capture::start(stage.world.router(Place::Cafe), move |packet| {
        let is_probe = packet.ports.1 == BEACON.port();
        &*packet.interface == "lan" && servers.contains(&packet.destination) && !is_probe
    })
}

fn nothing_in(clear: &Capture) -> Result<()> {
    ensure!(clear.count() == 0, "left in the clear: {:?}", clear.last());
    Ok(())
}

fn never_inside(stage: &Stage, since: Duration) -> Result<()> {
    let told = stage.monitor.since(since);
    ensure!(
        !told.iter().any(|change| change.state == "inside"),
        "{told:?}"
    );
    Ok(())
}

/// The page comes, through the tunnel.
fn reaches_the_intranet(stage: &Stage) -> Result<()> {
    let seen = eventually("the internal page", PATIENCE, || Ok(stage.page().ok()))?;
    ensure!(seen == TUNNEL, "the server saw {seen}");
    Ok(())
}

fn evidence(stage: &Stage) -> Result<String> {
    Ok(stage.laptop.status()?["evidence"].to_string())
}

/// Repeats a claim until the laptop's kernel believes it: it does not take two within a second.
fn believed(
    stage: &Stage,
    port: Port,
    stranger: &Stranger,
    address: IpAddr,
    mac: Mac,
) -> Result<()> {
    let IpAddr::V4(address) = address else {
        bail!("{address} has no ARP");
    };
    eventually("the laptop believes the forgery", PATIENCE, || {
        stranger.claim(address, mac)?;
        let known = stage
            .world
            .laptop
            .ip(&format!("neigh show {address} dev {}", port.interface()))?;
        Ok(known.contains(&written(mac)).then_some(()))
    })
}

/// Of a router's bridge.
fn hardware_address(router: &Netns) -> Result<Mac> {
    let link = router.ip("-oneline link show lan")?;
    let written = link
        .split("link/ether ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next());
    let mut mac = Mac::default();
    for (byte, text) in mac
        .iter_mut()
        .zip(written.context("an address")?.split(':'))
    {
        *byte = u8::from_str_radix(text, 16)?;
    }
    Ok(mac)
}

fn written(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
