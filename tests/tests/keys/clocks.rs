//! The same card in two laptops, whose clocks disagree.

use std::net::UdpSocket;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use sluss_tests::moment::now;
use sluss_tests::service_card::ServiceCard;
use sluss_tests::stage::{Boot, PATIENCE, Stage};
use sluss_tests::world::{GATEWAY, Place, Port};
use sluss_wg::{
    Config, Device, Input, Now, Output, PeerConfig, PublicKey, Respond, SoftwareKey, Tai64n, Time,
    Timing,
};

use crate::states::until;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// The gateway takes no stamp that is older than the newest it has seen. So the laptop whose clock is right is locked out, and
/// says that the gateway does not answer.
pub(crate) fn a_clock_that_runs_ahead_in_another_laptop_is_noticed() -> Result<()> {
    let mut stage = Stage::set(Boot::Plain)?;
    stage.world.plug(Port::WiFi, Place::Home)?;
    use_elsewhere(&stage, now() + DAY)?;
    let inserted = now();
    stage.card.insert()?;
    stage.unlock(inserted)?;
    let silent = json!(["gateway-silent"]);
    until(&stage, "the gateway's silence is told", |status| {
        status["warnings"] == silent
    })?;
    stage.no_page()
}

/// One handshake of another laptop with the same card, at another time of day.
fn use_elsewhere(stage: &Stage, wall: Duration) -> Result<()> {
    let key = SoftwareKey::new(stage.card.private_key());
    let gateway = PublicKey(stage.gateway.public_key());
    let config = Config {
        public_key: key.public(),
        respond: Respond::Never,
        timing: Timing::default(),
        stamp_floor: Tai64n::default(),
        mtu: 1420,
        seed: [7; 32],
    };
    let peer = PeerConfig {
        public_key: gateway,
        preshared_key: None,
        endpoints: GATEWAY.into(),
        allowed_ips: Vec::new(),
        persistent_keepalive: None,
    };
    let boot = Time::since_boot(Duration::ZERO);
    let (mut device, _, _) = Device::new(config, vec![peer], boot)?;
    let peer = device.peer(&gateway).context("the gateway is a peer")?;
    let mut outputs = Vec::new();
    device.handle_with(&key, Input::Kick(peer), Now { boot, wall }, &mut outputs);
    let initiation = outputs.iter().find_map(|output| match output {
        Output::Send { datagram, .. } => Some(datagram),
        _ => None,
    });
    let phone = stage.world.router(Place::Phone);
    let socket = phone.run(|| UdpSocket::bind("0.0.0.0:0"))?;
    socket.send_to(initiation.context("an initiation")?, GATEWAY)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut response = [0; 200];
    socket
        .recv(&mut response)
        .context("the gateway answers the other laptop")?;
    ensure!(response[0] == 2, "not a handshake response: {response:?}");
    Ok(())
}
