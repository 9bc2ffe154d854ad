//! How long packets may be on the way to the gateway, as the user of a moving laptop is told.

use anyhow::{Context, Result, ensure};
use sluss_platform::TunConfig;
use sluss_tests::moment::eventually;
use sluss_tests::servers;
use sluss_tests::stage::{Boot, PATIENCE, Stage};
use sluss_tests::world::{Place, Port, WEB, WEB_V6};

/// At home all fits; the phone's network is narrower; back home all fits again.
pub(crate) fn the_path_is_known_and_told() -> Result<()> {
    let mut stage = Stage::set(Boot::Plain)?;
    stage
        .world
        .router(Place::Phone)
        .ip("link set wan mtu 1380")?;
    stage.open_tunnel(Port::WiFi, Place::Home)?;
    for (place, verdict, mtu, line) in [
        (
            Place::Home,
            "confirmed",
            1420,
            "1420 bytes arrive in one piece,",
        ),
        (
            Place::Phone,
            "reduced",
            1320,
            "1320 bytes arrive in one piece, longer packets do not,",
        ),
        (
            Place::Home,
            "confirmed",
            1420,
            "1420 bytes arrive in one piece,",
        ),
    ] {
        if stage.world.place(Port::WiFi) != Some(place) {
            stage.world.plug(Port::WiFi, place)?;
        }
        is_told(&stage, verdict, mtu).with_context(|| format!("{place:?}"))?;
        let device = stage
            .world
            .laptop
            .ip(&format!("link show {}", TunConfig::NAME))?;
        ensure!(device.contains(&format!("mtu {mtu} ")), "{device}");
        let said = stage.laptop.sluss(&["status", "-v"], "")?.stdout;
        let said = String::from_utf8(said)?;
        ensure!(said.contains(line), "{place:?}: {said}");
        ensure!(said.contains("interface: TCP and UDP"), "{said}");
        for server in [WEB, WEB_V6] {
            servers::fetch(&stage.world.laptop, server, PATIENCE)?;
        }
    }
    Ok(())
}

fn is_told(stage: &Stage, verdict: &str, mtu: u16) -> Result<()> {
    let mut last = serde_json::Value::Null;
    let told = eventually("the verdict", PATIENCE, || {
        last = stage.laptop.status()?["packets"].take();
        let path = &last["path"];
        let is_so = path["verdict"] == verdict && path["mtu"] == mtu && last["mtu"] == mtu;
        Ok(is_so.then_some(()))
    });
    told.with_context(|| format!("{last}"))
}
