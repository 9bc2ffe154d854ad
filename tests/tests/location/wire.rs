//! What a probe shows to those on its way, and which way it goes: judged on the café's wire.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sluss_platform::TunConfig;
use sluss_tests::capture::{Capture, Packet};
use sluss_tests::impostor::{self, Certificate};
use sluss_tests::laptop::{Laptop, Policy, endpoint};
use sluss_tests::moment::eventually;
use sluss_tests::netns::{Netns, veth};
use sluss_tests::stage::{Boot, PATIENCE, Stage};
use sluss_tests::world::{BEACON, GATEWAY, Place, Port, TUNNEL};

/// The extensions that a probe may have (RFC 8446, 4.2; RFC 7250), none of which tells of the client or the server that it means.
const HARMLESS: [(u16, &str); 9] = [
    (5, "status_request"),
    (10, "supported_groups"),
    (11, "ec_point_formats"),
    (13, "signature_algorithms"),
    (20, "server_certificate_type"),
    (23, "extended_master_secret"),
    (43, "supported_versions"),
    (45, "psk_key_exchange_modes"),
    (KEY_SHARE, "key_share"),
];
const KEY_SHARE: u16 = 51;

/// Two laptops in a café, each asking again and again: nobody can tell which is which, nor whose they are.
pub(crate) fn a_probe_tells_strangers_nothing() -> Result<()> {
    let mut stage = Stage::set(Boot::Plain)?;
    stage.card.insert()?;
    let cafe = stage.world.router(Place::Cafe).clone();
    cafe.ip("addr add 10.20.0.53/32 dev lan")?;
    impostor::tls((&cafe, BEACON), &Certificate::new()?, |_| Ok(()))?;
    let seen = Capture::start(&cafe, |packet| {
        !packet.outgoing && &*packet.interface == "lan" && packet.ports.1 == BEACON.port()
    })?;
    let other = another_laptop(&stage)?;
    let address = Port::WiFi.address(Place::Cafe).to_string();
    for _ in 0..2 {
        let count = greetings(&seen, &address).len();
        stage.world.plug(Port::WiFi, Place::Cafe)?;
        eventually("a probe", PATIENCE, || {
            Ok((greetings(&seen, &address).len() > count).then_some(()))
        })?;
    }
    eventually("the other's probe", PATIENCE, || {
        Ok((greetings(&seen, NEIGHBOUR).len() > 1).then_some(()))
    })?;
    drop(other);

    let own = greetings(&seen, &address);
    let others = greetings(&seen, NEIGHBOUR);
    println!(
        "measured {} and {} greetings of two laptops, {} bytes each",
        own.len(),
        others.len(),
        own[0].len()
    );
    let mut fresh = BTreeSet::new();
    let mut constant = BTreeSet::new();
    let all: Vec<_> = own.iter().chain(&others).collect();
    for bytes in &all {
        let hello = Hello::read(bytes).with_context(|| format!("no ClientHello: {bytes:02x?}"))?;
        for kind in hello.extensions.keys() {
            ensure!(
                HARMLESS.iter().any(|(harmless, _)| harmless == kind),
                "extension {kind}"
            );
        }
        let share = hello.extensions.get(&KEY_SHARE).context("no key share")?;
        ensure!(fresh.insert(hello.random.clone()), "the same random twice");
        ensure!(
            fresh.insert(hello.session.clone()),
            "the same session twice"
        );
        ensure!(fresh.insert(share.clone()), "the same key share twice");
        constant.insert(hello.constant());
    }
    ensure!(
        constant.len() == 1,
        "something tells the laptops apart: {constant:02x?}"
    );

    let telling = telling(&stage)?;
    for packet in seen.packets() {
        for (what, known) in &telling {
            ensure!(
                !contains(&packet.segment, known),
                "the {what} is in {packet:?}"
            );
        }
    }
    // The search finds what is there.
    let random = Hello::read(&own[0]).context("a ClientHello")?.random;
    ensure!(
        seen.packets()
            .iter()
            .any(|packet| contains(&packet.segment, &random))
    );
    Ok(())
}

/// With the tunnel up, and the beacon among what it leads to, every probe still goes by the link.
pub(crate) fn no_probe_enters_the_tunnel() -> Result<()> {
    let mut stage = Stage::set(Boot::Plain)?;
    stage.open_tunnel(Port::WiFi, Place::Cafe)?;
    let asks =
        |packet: &Packet| packet.destination == BEACON.ip() && packet.ports.1 == BEACON.port();
    let entered = Capture::start(&stage.world.laptop, move |packet| {
        packet.outgoing && &*packet.interface == TunConfig::NAME && asks(packet)
    })?;
    let came_out = Capture::start(&stage.world.gateway, move |packet| {
        packet.source == TUNNEL && &*packet.interface == "inside" && asks(packet)
    })?;
    // The beacon is there for whoever asks through the tunnel, as an unbound probe would.
    let unbound = eventually("the beacon, through the tunnel", PATIENCE, || {
        let ask = || TcpStream::connect_timeout(&BEACON, Duration::from_secs(1));
        Ok(stage.world.laptop.run(ask).ok())
    })?;
    ensure!(
        entered.count() > 0 && came_out.count() > 0,
        "the judge is blind"
    );
    let unbound = unbound.local_addr()?.port();

    for place in [Place::Home, Place::Cafe, Place::Phone, Place::Cafe] {
        let probes = Capture::start(stage.world.router(place), move |packet| {
            !packet.outgoing && &*packet.interface == "lan" && asks(packet)
        })?;
        let plugged = stage.world.plug(Port::WiFi, place)?;
        stage.verdict("outside", plugged)?;
        ensure!(probes.count() > 0, "no probe at {place:?}");
        eventually("the page", PATIENCE, || Ok(stage.page().ok()))?;
    }
    for judge in [entered, came_out] {
        let mut packets = judge.packets();
        packets.retain(|packet| packet.ports.0 != unbound);
        ensure!(packets.is_empty(), "in the tunnel: {packets:?}");
    }
    stage.no_leak()
}

const NEIGHBOUR: &str = "192.168.178.99";

/// A second laptop of the same organisation, on the same network.
fn another_laptop(stage: &Stage) -> Result<Laptop> {
    let cafe = stage.world.router(Place::Cafe);
    let netns = Netns::new("other")?;
    veth((&netns, "wlan0"), (cafe, "other"))?;
    cafe.ip("link set other master lan")?;
    netns.ip_batch(&format!(
        "addr add {NEIGHBOUR}/24 dev wlan0\nroute add default via 192.168.178.1\n"
    ))?;
    let policy = Policy {
        endpoints: endpoint(GATEWAY),
        gateway_key: stage.gateway.public_key(),
        beacons: stage.beacon.section(),
        more: String::new(),
    };
    let mut laptop = Laptop::unenrolled(netns, Path::new("/run/other"), &policy)?;
    laptop.start()?;
    Ok(laptop)
}

/// What would tell a laptop, or its user, from others.
fn telling(stage: &Stage) -> Result<Vec<(&'static str, Vec<u8>)>> {
    let identity = stage.card.identity();
    let link = stage.world.laptop.ip("-oneline link show wlan0")?;
    let mac = link
        .split("link/ether ")
        .nth(1)
        .context("an Ethernet address")?;
    let mac: Result<Vec<u8>, _> = mac[..17]
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16))
        .collect();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname")?;
    let machine = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let mut telling = vec![
        ("host name", host.trim().into()),
        ("machine", machine.trim().into()),
        ("Ethernet address", mac?),
        ("card's number", identity.serial.as_bytes().to_vec()),
        ("public key", identity.public_key.to_vec()),
        ("tunnel's address", TUNNEL.to_string().into_bytes()),
        ("program's name", b"sluss".to_vec()),
    ];
    // What is not there, or too short to be found by, tells nothing.
    telling.retain(|(_, known)| known.len() >= 4);
    Ok(telling)
}

fn contains(bytes: &[u8], known: &[u8]) -> bool {
    memchr::memmem::find(bytes, known).is_some()
}

/// How each connection from an address began: one TLS record.
fn greetings(seen: &Capture, from: &str) -> Vec<Vec<u8>> {
    let mut said: BTreeMap<u16, Vec<u8>> = BTreeMap::new();
    for packet in seen.packets() {
        if packet.source.to_string() == from {
            said.entry(packet.ports.0)
                .or_default()
                .extend(packet.segment);
        }
    }
    let first_record = |bytes: Vec<u8>| {
        let length = usize::from(u16::from_be_bytes([*bytes.get(3)?, *bytes.get(4)?]));
        bytes.get(..5 + length).map(<[u8]>::to_vec)
    };
    said.into_values().filter_map(first_record).collect()
}

/// A ClientHello (RFC 8446, 4.1.2), in the parts that it is made of.
struct Hello {
    random: Vec<u8>,
    session: Vec<u8>,
    ciphers: Vec<u8>,
    extensions: BTreeMap<u16, Vec<u8>>,
}

impl Hello {
    /// From a handshake record; `None` if it is anything else.
    fn read(record: &[u8]) -> Option<Hello> {
        let mut rest = record.strip_prefix(&[22, 3])?.get(3..)?;
        if take(&mut rest, 1)? != [1] {
            return None;
        }
        let _length_and_version = take(&mut rest, 3 + 2)?;
        let random = take(&mut rest, 32)?.to_vec();
        let session = vector(&mut rest, 1)?.to_vec();
        let ciphers = vector(&mut rest, 2)?.to_vec();
        let _compression = vector(&mut rest, 1)?;
        let mut list = vector(&mut rest, 2)?;
        let mut extensions = BTreeMap::new();
        while !list.is_empty() {
            let kind = take(&mut list, 2)?;
            let kind = u16::from_be_bytes([kind[0], kind[1]]);
            extensions.insert(kind, vector(&mut list, 2)?.to_vec());
        }
        Some(Hello {
            random,
            session,
            ciphers,
            extensions,
        })
    }

    /// All that is not made anew each time, whatever the order.
    fn constant(&self) -> Vec<u8> {
        let mut constant = self.ciphers.clone();
        for (kind, content) in &self.extensions {
            constant.extend(kind.to_be_bytes());
            if *kind != KEY_SHARE {
                constant.extend(content);
            }
        }
        constant
    }
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    rest.split_off(..count)
}

/// What has its length before it, in so many bytes.
fn vector<'a>(rest: &mut &'a [u8], bytes: usize) -> Option<&'a [u8]> {
    let length = take(rest, bytes)?
        .iter()
        .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    take(rest, length)
}
