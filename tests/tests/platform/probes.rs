//! Probes on real links: what each kind of server amounts to, and the way they take.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sluss_platform::{TunConfig, TunDevice};
use sluss_policy::{Beacon, BeaconKind, Policy, Source};
use sluss_supervisor::{Evidence, HostMode, Link, Outcome};
use sluss_tests::beacon;
use sluss_tests::capture::Capture;
use sluss_tests::laptop;
use sluss_tests::netns::Netns;
use sluss_tests::world::BEACON;
use sluss_tunnel::Offload;
use slussd::probe;
use socket2::Type;

use crate::street::{Laptop, Street, config, socket, soon};

const PATIENCE: Duration = Duration::from_millis(800);
const GATEWAY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 20, 0, 10)), 51820);
/// A pin that nobody's key has.
const NOBODY: &str = "sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

pub(crate) fn beacons_are_told_apart() -> Result<()> {
    let mut laptop = Laptop::new()?;
    let street = Street::new(&laptop.netns, "eth0", 2)?;
    let real = office(&street)?;
    let portal: SocketAddr = "10.20.0.10:443".parse()?;
    let listener = street.netns.run(|| TcpListener::bind(portal))?;
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(b"HTTP/1.1 302 Found\r\nLocation: http://portal/\r\n\r\n");
        }
    });
    street.netns.nft("table ip quiet { chain c { type filter hook prerouting priority 0; ip daddr 10.20.9.9 drop; }; }")?;

    laptop.apply(&config(HostMode::Closed))?;
    let link = laptop.link("eth0")?;
    let ask = |address, pin: &str| one(&laptop, asked(address, pin), &link);
    ensure!(ask(BEACON, real.pin())? == Outcome::Proved);
    ensure!(ask(BEACON, NOBODY)? == Outcome::WrongKey);
    ensure!(ask(portal, NOBODY)? == Outcome::NotTls);
    ensure!(ask("10.20.0.10:1".parse()?, NOBODY)? == Outcome::Refused);
    ensure!(ask("10.20.9.9:8443".parse()?, NOBODY)? == Outcome::NoAnswer);
    ensure!(ask("[fd20::10]:1".parse()?, NOBODY)? == Outcome::Refused);
    laptop.netns.ip("-6 route del default dev eth0")?;
    ensure!(ask("[fd20::10]:1".parse()?, NOBODY)? == Outcome::Unreachable);
    laptop.netns.ip("link del eth0")?;
    ensure!(ask(BEACON, real.pin())? == Outcome::Unreachable);
    Ok(())
}

/// TCP would repeat the lost packet after a second, when nobody waits any longer.
pub(crate) fn a_lost_packet_is_no_lost_probe() -> Result<()> {
    let laptop = Laptop::new()?;
    let street = Street::new(&laptop.netns, "eth0", 2)?;
    let real = office(&street)?;
    street.netns.nft(
        "table ip lossy { chain c { type filter hook prerouting priority 0; \
         tcp dport 8443 tcp flags syn numgen inc mod 2 0 drop; }; }",
    )?;
    let began = Instant::now();
    let outcome = one(&laptop, asked(BEACON, real.pin()), &laptop.link("eth0")?)?;
    let took = began.elapsed();
    println!(
        "measured {} ms to a proof with the first packet lost",
        took.as_millis()
    );
    ensure!(
        outcome == Outcome::Proved && took >= Duration::from_millis(250),
        "{outcome:?} after {took:?}"
    );
    Ok(())
}

/// Attacks row 7: a probe through our own tunnel would find the beacon and say "inside".
pub(crate) fn probes_never_use_the_tunnel() -> Result<()> {
    let mut laptop = Laptop::new()?;
    let street = Street::new(&laptop.netns, "eth0", 2)?;
    let _tun = TunDevice::create(TunConfig::NAME, Offload::None)?;
    laptop.apply(&config(HostMode::Tunnelled))?;
    let to_beacon = |packet: &sluss_tests::capture::Packet| packet.destination == BEACON.ip();
    let in_tunnel = Capture::start(&laptop.netns, move |packet| {
        &*packet.interface == TunConfig::NAME && to_beacon(packet)
    })?;
    let on_link = Capture::start(&street.netns, to_beacon)?;

    let outcome = one(&laptop, asked(BEACON, NOBODY), &laptop.link("eth0")?)?;
    ensure!(outcome != Outcome::Proved, "{outcome:?}");
    soon("both attempts leave by the link", || on_link.count() >= 2)?;
    ensure!(in_tunnel.count() == 0, "{:?}", in_tunnel.packets());
    // The judge sees whoever does use the tunnel.
    UdpSocket::bind("0.0.0.0:0")?.send_to(b"?", BEACON)?;
    soon("other traffic enters the tunnel", || in_tunnel.count() > 0)
}

/// Answers come from internal addresses, to which unmarked packets have no way back while we are closed.
pub(crate) fn answers_pass_the_reverse_path_check() -> Result<()> {
    let mut laptop = Laptop::new()?;
    let street = Street::new(&laptop.netns, "eth0", 2)?;
    let real = office(&street)?;
    let gateway = street.netns.run(|| UdpSocket::bind(GATEWAY))?;
    thread::spawn(move || {
        let mut message = [0; 32];
        while let Ok((length, from)) = gateway.recv_from(&mut message) {
            let _ = gateway.send_to(&message[..length], from);
        }
    });
    laptop.apply(&config(HostMode::Closed))?;
    let link = laptop.link("eth0")?;
    for strictness in ["0", "1", "2"] {
        for scope in ["all", "eth0"] {
            laptop
                .netns
                .sysctl(&format!("ipv4.conf.{scope}.rp_filter"), strictness)?;
        }
        let outcome = one(&laptop, asked(BEACON, real.pin()), &link)?;
        ensure!(
            outcome == Outcome::Proved,
            "rp_filter {strictness}: {outcome:?}"
        );
        // The tunnel's own socket is marked but not bound; here its gateway lies inside an internal prefix.
        let ours = socket(Type::DGRAM, GATEWAY.ip(), None)?;
        ours.set_mark(sluss_platform::MARK)?;
        ours.set_read_timeout(Some(Duration::from_secs(2)))?;
        ours.send_to(b"initiation", &GATEWAY.into())?;
        UdpSocket::from(ours)
            .recv_from(&mut [0; 32])
            .with_context(|| format!("rp_filter {strictness}"))?;
    }
    Ok(())
}

/// One link inside, another that swallows everything: the verdict does not wait for the silent one.
pub(crate) fn a_proof_cuts_the_waiting_short() -> Result<()> {
    let laptop = Laptop::new()?;
    let office_street = Street::new(&laptop.netns, "eth0", 2)?;
    let silent = Street::new(&laptop.netns, "wlan0", 3)?;
    let real = office(&office_street)?;
    silent.netns.nft("table ip quiet { chain c { type filter hook prerouting priority 0; tcp dport 8443 drop; }; }")?;
    let links = vec![laptop.link("wlan0")?, laptop.link("eth0")?];
    let began = Instant::now();
    let policy = policy(asked(BEACON, real.pin()));
    let told = laptop.run(probe::evidence(&policy, &links, Duration::from_secs(5)));
    let took = began.elapsed();
    println!(
        "measured {} ms to a proof with a silent second link",
        took.as_millis()
    );
    ensure!(took < Duration::from_secs(1), "{took:?}");
    ensure!(outcome_on("eth0", &told)? == Outcome::Proved, "{told:?}");
    ensure!(outcome_on("wlan0", &told)? == Outcome::NoAnswer, "{told:?}");
    Ok(())
}

/// The beacon of the lab, where the policy expects it.
fn office(street: &Street) -> Result<beacon::Beacon> {
    let address = BEACON.ip();
    let netns: &Netns = &street.netns;
    netns.ip(&format!("addr add {address} dev lo"))?;
    beacon::Beacon::start(netns)
}

fn asked(address: SocketAddr, pin: &str) -> Beacon {
    Beacon {
        name: address.ip().to_string(),
        kind: BeaconKind::Beacon,
        addresses: vec![address],
        pins: vec![pin.parse().expect("a pin")],
        site: None,
        nat: Vec::new(),
    }
}

/// One with this beacon alone.
fn policy(beacon: Beacon) -> Policy {
    let text = laptop::Policy {
        endpoints: laptop::endpoint(GATEWAY),
        gateway_key: [9; 32],
        beacons: String::new(),
        more: String::new(),
    }
    .text();
    let (file, text) = ("policy.toml", text.as_str());
    let mut policy = Policy::parse(&[Source { file, text }]).expect("it is a policy");
    policy.beacons = vec![beacon];
    policy
}

fn one(laptop: &Laptop, beacon: Beacon, link: &Link) -> Result<Outcome> {
    let address = beacon.addresses[0];
    let told = laptop.run(probe::evidence(
        &policy(beacon),
        std::slice::from_ref(link),
        PATIENCE,
    ));
    ensure!(told.len() == 1 && told[0].address == address, "{told:?}");
    outcome_on(&link.id.name, &told)
}

fn outcome_on(link: &str, told: &[Evidence]) -> Result<Outcome> {
    Ok(told
        .iter()
        .find(|it| it.link.name == link)
        .context("nothing was told of the link")?
        .outcome)
}
