//! Several links at once, other people's networks on the laptop, other buildings, and links that come and go.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nix::sys::signal::Signal;
use sluss_tests::beacon::{Beacon, Identity};
use sluss_tests::capture::Capture;
use sluss_tests::dhcp::Offer;
use sluss_tests::moment::{eventually, now};
use sluss_tests::netns::{Netns, Process, veth};
use sluss_tests::servers::{self, Stream};
use sluss_tests::stage::{Boot, PATIENCE, Setup, Stage};
use sluss_tests::world::{ANNEX_BEACON, BEACON, Place, Port, WEB, is_internal};

use crate::places::{by_tunnel, outside_by_tunnel};

const NIGHT: Duration = Duration::from_secs(8 * 3600);

/// The café's DHCP says that the way to the internal network is by the café (TunnelVision), and has a web server there.
pub(crate) fn a_cable_inside_and_a_greedy_wifi() -> Result<()> {
    let mut stage = Stage::set(Boot::Plain)?;
    let router = Place::Cafe.router_address().addr();
    let halves = ["10.20.0.0/25", "10.20.0.128/25", "10.20.200.0/24"];
    let routes = halves.map(|net| net.parse().map(|net| (net, router)));
    stage.world.offer(
        Place::Cafe,
        &Offer {
            routes: routes.into_iter().collect::<Result<_, _>>()?,
            gateway: Some(router),
            ..Place::Cafe.offer()
        },
    )?;
    let cafe = stage.world.router(Place::Cafe);
    cafe.ip(&format!("addr add {WEB}/32 dev lan"))?;

    let docked = stage.world.plug(Port::Ethernet, Place::Office)?;
    stage.verdict("inside", docked)?;
    stage.world.plug(Port::WiFi, Place::Cafe)?;
    let pushed = stage.world.laptop.ip("route show dev wlan0")?;
    ensure!(pushed.contains("10.20.0.0/25 via"), "{pushed}");
    is_settled(&stage, "inside", now())?;
    let seen = eventually("the page by cable", PATIENCE, || Ok(stage.page().ok()))?;
    ensure!(
        seen == Port::Ethernet.address(Place::Office),
        "the server saw {seen}"
    );
    ensure!(
        bound_page(&stage, Port::WiFi).is_err(),
        "a program that is bound to the Wi-Fi reached the internal network by it"
    );
    stage.no_leak()?;

    let _stream = Stream::start(&stage.world.laptop, WEB, Duration::from_millis(1))?;
    let undocked = stage.world.unplug(Port::Ethernet)?;
    stage.verdict("outside", undocked)?;
    stage.insert_and_unlock()?;
    by_tunnel(&stage)?;
    stage.no_leak()
}

/// A bridge with a container behind it, and a VPN that has taken the default route, and then every packet.
pub(crate) fn containers_and_another_vpn_change_nothing() -> Result<()> {
    let mut stage = Stage::set(Boot::Plain)?;
    let container = container(&stage)?;
    let plugged = stage.world.plug(Port::WiFi, Place::Home)?;
    stage.verdict("outside", plugged)?;
    let vpn = OtherVpn::start(&stage)?;
    ensure!(public_page(&stage)? == vpn.address);
    let in_vpn = Capture::start(&stage.world.internet, |packet| {
        &*packet.interface == OtherVpn::DEVICE && is_internal(packet.destination)
    })?;

    stage.insert_and_unlock()?;
    by_tunnel(&stage)?;
    let links = stage.laptop.status()?["links"].clone();
    let names: Vec<_> = links.as_array().context("links")?.iter().collect();
    ensure!(names.len() == 1 && names[0]["name"] == "wlan0", "{links}");
    ensure!(public_page(&stage)? == vpn.address);
    // What the container sends to the inside does not leave in the clear.
    let _ = container.run(|| connect(SocketAddr::new(WEB, 80)));

    vpn.take_everything(&stage)?;
    let _ = stage.page();
    ensure!(
        in_vpn.count() == 0,
        "to the inside by the other VPN: {:?}",
        in_vpn.last()
    );
    stage.no_leak()
}

/// Two offices, each with its own beacon, neither of which is reached from the other.
pub(crate) fn waking_up_in_another_building_is_inside() -> Result<()> {
    let (mut stage, _annex) = set_in_two_buildings(Boot::LabClock)?;
    let plugged = stage.world.plug(Port::Ethernet, Place::Office)?;
    stage.verdict("inside", plugged)?;
    let slept = now();
    sleep(&mut stage)?;
    stage.world.unplug(Port::Ethernet)?;
    stage.clock.jump(NIGHT)?;
    stage.world.plug(Port::Ethernet, Place::Annex)?;
    let woke = wake(&mut stage)?;
    stage.verdict("inside", woke)?;
    let location = stage.laptop.status()?["location"].clone();
    ensure!(location["beacon"] == "annex", "{location}");
    let seen = eventually("the page by cable", PATIENCE, || Ok(stage.page().ok()))?;
    ensure!(
        seen == Port::Ethernet.address(Place::Annex),
        "the server saw {seen}"
    );
    ensure!(tunnel_changes(&stage, slept) == 0);
    Ok(())
}

/// The card is in, so that a tunnel would open at once.
pub(crate) fn a_flapping_cable_in_the_office_opens_no_tunnel() -> Result<()> {
    let mut stage = Stage::set(Boot::Plain)?;
    outside_by_tunnel(&mut stage, Port::WiFi, Place::Guest)?;
    let docked = stage.world.plug(Port::Ethernet, Place::Office)?;
    stage.verdict("inside", docked)?;
    stage.monitor.until("tunnel", &["down"], docked, PATIENCE)?;

    let begun = now();
    flap(&stage, Port::Ethernet)?;
    let ended = now();
    is_settled(&stage, "inside", ended)?;
    let changes = tunnel_changes(&stage, begun);
    println!("measured tunnel starts and stops in 20 flaps of the verified link: {changes}");
    // The laptop was in one place all the time.
    ensure!(changes == 0, "{:?}", stage.monitor.since(begun));

    let begun = now();
    flap(&stage, Port::WiFi)?;
    is_settled(&stage, "inside", now())?;
    ensure!(tunnel_changes(&stage, begun) == 0);
    stage.no_leak()
}

pub(crate) fn a_flapping_link_at_home_keeps_its_tunnel() -> Result<()> {
    let mut stage = Stage::set(Boot::Plain)?;
    outside_by_tunnel(&mut stage, Port::WiFi, Place::Home)?;
    let begun = now();
    flap(&stage, Port::WiFi)?;
    is_settled(&stage, "outside", now())?;
    by_tunnel(&stage)?;
    let changes = tunnel_changes(&stage, begun);
    println!("measured tunnel starts and stops in 20 flaps of the outside link: {changes}");
    ensure!(changes == 0, "{:?}", stage.monitor.since(begun));
    stage.no_leak()
}

/// 20 times in 10 s. A gap is well below the half second after which the laptop may rightly say that it is elsewhere.
fn flap(stage: &Stage, port: Port) -> Result<()> {
    for _ in 0..20 {
        for (is_there, for_ms) in [(false, 150), (true, 350)] {
            stage.world.carrier(port, is_there)?;
            // No event is waited for: this is the rhythm of a loose contact.
            thread::sleep(Duration::from_millis(for_ms));
        }
    }
    Ok(())
}

/// Waits until the location is what it should be and nothing more is being found out.
pub(crate) fn is_settled(stage: &Stage, location: &str, since: Duration) -> Result<()> {
    let quiet = Duration::from_secs(3);
    eventually("a verdict that stays", PATIENCE, || {
        let status = stage.laptop.status()?;
        let last = stage.monitor.since(since).last().map(|change| change.at);
        let calm = now().saturating_sub(last.unwrap_or(since)) > quiet;
        Ok((calm && status["location"]["state"] == location).then_some(()))
    })
}

/// How often the tunnel was started or stopped at or after a moment.
pub(crate) fn tunnel_changes(stage: &Stage, since: Duration) -> usize {
    let changes = stage.monitor.since(since);
    let states = changes.iter().filter(|change| change.thing == "tunnel");
    states
        .filter(|change| matches!(change.state.as_str(), "starting" | "stopping"))
        .count()
}

/// A stage whose policy knows the beacons of two buildings; gives the annex's, too.
pub(crate) fn set_in_two_buildings(boot: Boot) -> Result<(Stage, Beacon)> {
    let [hall, annex] = [Identity::new()?, Identity::new()?];
    let setup = Setup {
        boot,
        beacons: Some(
            hall.section("city hall", &[BEACON], "site = \"city hall\"\n")
                + &annex.section("annex", &[ANNEX_BEACON], "site = \"annex\"\n"),
        ),
        ..Setup::default()
    };
    let mut stage = Stage::set_up(setup, |rig, _| rig.issued_card(0))?;
    stage.beacon.stop();
    stage.beacon = Beacon::run(&stage.world.servers, &[BEACON], &hall)?;
    let router = stage.world.router(Place::Annex);
    router.ip(&format!("addr add {}/32 dev lan", ANNEX_BEACON.ip()))?;
    router.nft(&format!(
        "table inet sites {{ chain way {{ type filter hook forward priority 0; ip daddr {} drop; }}; }}\n",
        BEACON.ip()
    ))?;
    let beacon = Beacon::run(router, &[ANNEX_BEACON], &annex)?;
    Ok((stage, beacon))
}

/// The lid is shut.
pub(crate) fn sleep(stage: &mut Stage) -> Result<()> {
    let shut = now();
    stage.logind.prepare_for_sleep(true)?;
    stage
        .monitor
        .until("location", &["asleep"], shut, PATIENCE)?;
    stage.laptop.daemon()?.signal(Signal::SIGSTOP)
}

/// The lid is opened; gives the moment.
pub(crate) fn wake(stage: &mut Stage) -> Result<Duration> {
    let opened = now();
    stage.laptop.daemon()?.signal(Signal::SIGCONT)?;
    stage.logind.prepare_for_sleep(false)?;
    Ok(opened)
}

/// What a program gets of the intranet that binds itself to a device, as any user may.
fn bound_page(stage: &Stage, port: Port) -> Result<()> {
    let page = stage.world.laptop.run(|| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        socket.bind_device(Some(port.interface().as_bytes()))?;
        socket.connect_timeout(&SocketAddr::new(WEB, 80).into(), Duration::from_secs(2))
    });
    Ok(page?)
}

/// A container behind a bridge of the laptop's, as container engines make them.
fn container(stage: &Stage) -> Result<Netns> {
    let (laptop, container) = (&stage.world.laptop, Netns::new("container")?);
    laptop.ip("link add docker0 type bridge")?;
    veth((laptop, "veth0"), (&container, "eth0"))?;
    laptop.ip_batch(
        "link set veth0 master docker0\nlink set docker0 up\naddr add 172.17.0.1/16 dev docker0\n",
    )?;
    container.ip_batch("addr add 172.17.0.2/16 dev eth0\nroute add default via 172.17.0.1\n")?;
    laptop.sysctl("ipv4.ip_forward", "1")?;
    laptop.nft(
        "table ip containers { chain out { type nat hook postrouting priority 100; \
         ip saddr 172.17.0.0/16 oifname != \"docker0\" masquerade; }; }\n",
    )?;
    Ok(container)
}

fn connect(to: SocketAddr) -> std::io::Result<TcpStream> {
    TcpStream::connect_timeout(&to, Duration::from_secs(2))
}

/// The address by which a server of the internet sees the laptop.
fn public_page(stage: &Stage) -> Result<IpAddr> {
    servers::fetch(&stage.world.laptop, OtherVpn::WEB.parse()?, PATIENCE)
}

/// Another VPN of the laptop's, that wants to have the way to the whole internet.
struct OtherVpn {
    /// The laptop's in it, by which the internet then knows the laptop.
    address: IpAddr,
    _ends: [Process; 2],
}

impl OtherVpn {
    /// The far end's device, in the internet.
    const DEVICE: &str = "wgx1";
    const SERVER: &str = "198.51.100.1";
    /// A web server of the internet.
    const WEB: &str = "198.51.100.9";

    /// As OpenVPN sets itself up: by two routes that are more specific than the default one.
    fn start(stage: &Stage) -> Result<OtherVpn> {
        let (laptop, internet) = (&stage.world.laptop, &stage.world.internet);
        internet.ip(&format!("addr add {}/24 dev wan", OtherVpn::WEB))?;
        servers::web(internet)?;
        let address: IpAddr = "10.66.0.2".parse()?;
        let [client, server] = [keys(7), keys(8)];
        let near = format!(
            "[Interface]\nPrivateKey = {}\nFwMark = 51820\n\
             [Peer]\nPublicKey = {}\nEndpoint = {}:51999\nAllowedIPs = 0.0.0.0/0\n",
            client.0,
            server.1,
            OtherVpn::SERVER
        );
        let far = format!(
            "[Interface]\nPrivateKey = {}\nListenPort = 51999\n\
             [Peer]\nPublicKey = {}\nAllowedIPs = {address}/32\n",
            server.0, client.1,
        );
        let ends = [
            wireguard(laptop, "wgx0", &near)?,
            wireguard(internet, OtherVpn::DEVICE, &far)?,
        ];
        internet.ip_batch(&format!(
            "link set {0} up\nroute add {address} dev {0}\n",
            OtherVpn::DEVICE
        ))?;
        laptop.ip_batch(&format!(
            "link set wgx0 up mtu 1420\naddr add {address}/32 dev wgx0\n\
             route add {} via {} dev wlan0\n\
             route add 0.0.0.0/1 dev wgx0\nroute add 128.0.0.0/1 dev wgx0\n",
            OtherVpn::SERVER,
            Place::Home.router_address().addr()
        ))?;
        Ok(OtherVpn {
            address,
            _ends: ends,
        })
    }

    /// As wg-quick does it: by rules that the kernel puts before all others.
    fn take_everything(&self, stage: &Stage) -> Result<()> {
        stage.world.laptop.ip_batch(
            "route add default dev wgx0 table 51820\n\
             rule add not fwmark 51820 table 51820\n\
             rule add table main suppress_prefixlength 0\n",
        )
    }
}

/// A private and a public key, as wg writes them.
fn keys(seed: u8) -> (String, String) {
    let private = x25519_dalek::StaticSecret::from([seed; 32]);
    let public = x25519_dalek::PublicKey::from(&private);
    (
        STANDARD.encode(private.to_bytes()),
        STANDARD.encode(public.to_bytes()),
    )
}

/// A WireGuard of other people's, configured.
fn wireguard(netns: &Netns, name: &str, configuration: &str) -> Result<Process> {
    let process = netns.spawn(
        Command::new("wireguard-go")
            .args(["--foreground", name])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null()),
    )?;
    eventually("the other VPN takes its configuration", PATIENCE, || {
        let mut wg = Command::new("wg");
        wg.args(["setconf", name, "/dev/stdin"]);
        Ok(netns.feed(&mut wg, configuration).ok())
    })?;
    Ok(process)
}
