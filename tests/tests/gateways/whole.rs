//! The shipped daemon between two gateways: what goes through, and what the user is told.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sluss_tests::capture::Capture;
use sluss_tests::gateway::PRIVATE_KEY;
use sluss_tests::laptop::endpoint;
use sluss_tests::moment::{self, eventually, millis};
use sluss_tests::netns::{Netns, veth};
use sluss_tests::service_card::ServiceCard;
use sluss_tests::stage::{Boot, Setup, Stage};
use sluss_tests::uapi::{Device, Program};
use sluss_tests::world::{GATEWAY, Place, Port, TUNNEL, World};

const PATIENCE: Duration = Duration::from_secs(60);

/// The gateway that stands in, and what the internal servers take it for.
const STANDBY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 3)), 51820);
const BEHIND: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 20, 0, 5));

/// After this the first gateway is tried again.
const HOLD_DOWN: Duration = Duration::from_secs(301);

struct Standby {
    network: Netns,
    _device: Device,
}

impl Standby {
    fn start(world: &World, laptop: [u8; 32]) -> Result<Standby> {
        let network = Netns::new("standby")?;
        for (link, lan, bridge) in [
            ("wan", &world.internet, "wan"),
            ("inside", &world.servers, "dmz"),
        ] {
            veth((&network, link), (lan, "standby"))?;
            lan.ip(&format!("link set standby master {bridge}"))?;
        }
        let device = Device::start(Program::Boringtun, &network, "wg1")?;
        device.wg_conf(
            "setconf",
            &format!(
                "[Interface]\nPrivateKey = {}\nListenPort = {}\n\
                 [Peer]\nPublicKey = {}\nAllowedIPs = {TUNNEL}\n",
                STANDARD.encode(PRIVATE_KEY),
                STANDBY.port(),
                STANDARD.encode(laptop),
            ),
        )?;
        network.ip_batch(&format!(
            "addr add {}/24 dev wan\n\
             addr add {BEHIND}/24 dev inside\n\
             link set wg1 up mtu 1420\n\
             route add default via 198.51.100.1\n\
             route add {TUNNEL} dev wg1\n",
            STANDBY.ip(),
        ))?;
        network.sysctl("ipv4.ip_forward", "1")?;
        // The servers know no other way to the laptop than by the first gateway.
        network.nft(
            "table ip nat { chain out { type nat hook postrouting priority 100; oifname \"inside\" masquerade; }; }\n",
        )?;
        Ok(Standby {
            network,
            _device: device,
        })
    }
}

/// A stage with both gateways in the policy.
fn stage() -> Result<(Stage, Standby)> {
    let setup = Setup {
        boot: Boot::LabClock,
        endpoints: Some(format!(
            "{}{}priority = 2\n",
            endpoint(GATEWAY),
            endpoint(STANDBY)
        )),
        ..Setup::default()
    };
    let stage = Stage::set_up(setup, |rig, _| rig.issued_card(0))?;
    let laptop = *stage.card.binding().public_key.as_bytes();
    let standby = Standby::start(&stage.world, laptop)?;
    Ok((stage, standby))
}

/// Drops what comes to a gateway from the internet, or no longer.
fn silence(gateway: &Netns, is_silent: bool) -> Result<()> {
    let drop = if is_silent {
        "iifname wan meta l4proto 17 drop"
    } else {
        ""
    };
    gateway.nft(&format!(
        "table inet road {{}}\ndelete table inet road\n\
         table inet road {{\nchain input {{\ntype filter hook input priority 0\n{drop}\n}}\n}}\n"
    ))
}

/// Waits until the internal page is reached by this gateway, as the servers see it.
fn page_by(stage: &Stage, gateway: IpAddr) -> Result<()> {
    eventually("the page by the other gateway", PATIENCE, || {
        Ok(stage.page().ok().filter(|seen| *seen == gateway))
    })?;
    Ok(())
}

/// What the status says of the gateway: the address in use, and the states of both endpoints.
fn told(stage: &Stage) -> Result<(String, [String; 2])> {
    let gateway = stage.laptop.status()?["gateway"].clone();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let state = |place: usize| text(&gateway["endpoints"][place]["state"]["state"]);
    Ok((text(&gateway["address"]), [state(0), state(1)]))
}

fn until_told(stage: &Stage, address: &str, states: [&str; 2]) -> Result<()> {
    eventually("the status", PATIENCE, || {
        let (in_use, [first, second]) = told(stage)?;
        Ok((in_use == address && [&*first, &*second] == states).then_some(()))
    })
    .with_context(|| format!("{:?}", told(stage)))
}

pub(crate) fn the_daemon_leaves_a_silent_gateway_and_comes_back() -> Result<()> {
    let (mut stage, _standby) = stage()?;
    let behind = Capture::start(&stage.world.servers, |packet| {
        &*packet.interface == "dmz" && packet.source == BEHIND
    })?;
    stage.open_tunnel(Port::WiFi, Place::Home)?;
    page_by(&stage, TUNNEL)?;
    until_told(&stage, &GATEWAY.to_string(), ["in-use", "idle"])?;

    let stream = stage.stream(Duration::from_millis(20))?;
    let silent_since = moment::now();
    silence(&stage.world.gateway, true)?;
    let first = eventually("the stream by the other gateway", PATIENCE, || {
        Ok(behind.packets().into_iter().find(|it| it.at > silent_since))
    })?;
    let took = millis(silent_since, first.at);
    println!("measured silence under traffic to the other gateway's first packet: {took} ms");
    drop(stream);
    page_by(&stage, BEHIND)?;
    until_told(&stage, &STANDBY.to_string(), ["silent", "in-use"])?;

    // while the laptop sleeps, the first recovers
    silence(&stage.world.gateway, false)?;
    stage.clock.jump(HOLD_DOWN)?;
    page_by(&stage, TUNNEL)?;
    until_told(&stage, &GATEWAY.to_string(), ["in-use", "idle"])?;
    stage.no_leak()
}

pub(crate) fn the_daemon_says_that_nobody_answers_from_this_network() -> Result<()> {
    let (mut stage, standby) = stage()?;
    for gateway in [&stage.world.gateway, &standby.network] {
        silence(gateway, true)?;
    }
    stage.world.plug(Port::WiFi, Place::Cafe)?;
    let inserted = moment::now();
    stage.card.insert()?;
    stage.unlock(inserted)?;
    until_told(&stage, "", ["silent", "silent"])?;
    let took = millis(inserted, moment::now());
    println!("measured card in to word that nobody answers: {took} ms");
    let said = stage.laptop.sluss(&["status"], "")?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let sentence = format!("UDP to {GATEWAY} gets no answer from this network");
    ensure!(said.contains(&sentence), "{said}");

    silence(&standby.network, false)?;
    stage.monitor.until("tunnel", &["up"], inserted, PATIENCE)?;
    page_by(&stage, BEHIND)?;
    stage.no_leak()
}
