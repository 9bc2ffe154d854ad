//! What a network lacks, or the inside does: beacons, names, UDP, or everything.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sluss_tests::laptop::endpoint;
use sluss_tests::moment::{eventually, now};
use sluss_tests::stage::{Boot, PATIENCE, Setup, Stage};
use sluss_tests::world::{GATEWAY, Place, Port};

use crate::places::{by_tunnel, why};

/// From inside the office.
pub(crate) fn with_all_beacons_dead_work_goes_on_by_the_tunnel() -> Result<()> {
    let mut stage = Stage::set(Boot::Plain)?;
    stage.beacon.stop();
    let plugged = stage.world.plug(Port::Ethernet, Place::Office)?;
    stage.verdict("outside", plugged)?;
    stage.insert_and_unlock()?;
    by_tunnel(&stage)?;

    stage.beacon.start_again()?;
    let plugged = stage.world.plug(Port::Ethernet, Place::Office)?;
    stage.verdict("inside", plugged)?;
    stage
        .monitor
        .until("tunnel", &["down"], plugged, PATIENCE)?;
    let seen = eventually("the page by cable", PATIENCE, || Ok(stage.page().ok()))?;
    ensure!(
        seen == Port::Ethernet.address(Place::Office),
        "the server saw {seen}"
    );
    Ok(())
}

/// A cable into a socket that is dead, and then into one that lives.
pub(crate) fn without_a_network_nothing_is_tried() -> Result<()> {
    let mut stage = Stage::set(Boot::Plain)?;
    let begun = now();
    let inserted = now();
    stage.card.insert()?;
    stage.unlock(inserted)?;
    stage.world.plug_bare(Port::Ethernet, Place::Cafe)?;
    stage.no_page()?;
    let status = stage.laptop.status()?;
    ensure!(
        status["location"]["state"] == "offline"
            && status["tunnel"]["state"] == "down"
            && status["tunnel"]["reason"] == "no-network",
        "{status}"
    );
    let tried = stage.monitor.since(begun);
    ensure!(
        tried.iter().all(|change| change.state != "probing"),
        "{tried:?}"
    );

    let leased = stage.world.renew(Port::Ethernet)?;
    stage.verdict("outside", leased)?;
    by_tunnel(&stage)?;
    stage.no_leak()
}

/// The gateway is called by name; the network's resolver never answers, and policy has an address for that.
pub(crate) fn a_resolver_that_is_silent_does_not_keep_the_tunnel_shut() -> Result<()> {
    let mut stage = set_with_name()?;
    let home = stage.world.router(Place::Home);
    home.nft(
        "table inet silence { chain way { type filter hook input priority 0; \
         meta l4proto { 6, 17 } th dport 53 drop; }; }\n",
    )?;
    let plugged = stage.world.plug(Port::WiFi, Place::Home)?;
    stage.verdict("outside", plugged)?;
    stage.insert_and_unlock()?;
    by_tunnel(&stage)?;
    until_name(&stage, |name| {
        name["state"] == "fallback" && name["fault"]["code"] == "no-answer"
    })?;

    // In the café the resolver answers, and so the fallback is not needed.
    stage.world.plug(Port::WiFi, Place::Cafe)?;
    until_name(&stage, |name| name["state"] == "resolved")?;
    by_tunnel(&stage)?;
    stage.no_leak()
}

/// The sentence that the helpdesk hears, and the tunnel as soon as the network lets it through.
pub(crate) fn a_network_that_swallows_udp_is_named() -> Result<()> {
    let mut stage = set_with_name()?;
    let cafe = stage.world.router(Place::Cafe);
    cafe.nft(
        "table inet firewall { chain way { type filter hook forward priority 0; \
         meta l4proto 17 drop; }; }\n",
    )?;
    let plugged = stage.world.plug(Port::WiFi, Place::Cafe)?;
    stage.verdict("outside", plugged)?;
    let inserted = now();
    stage.card.insert()?;
    stage.unlock(inserted)?;
    let sentence = "UDP to vpn.example.se:51820 gets no answer from this network";
    let mut said = String::new();
    let told = eventually("the sentence", Duration::from_secs(40), || {
        let output = stage.laptop.sluss(&["status", "-v"], "")?;
        said = String::from_utf8(output.stdout)? + &why(&stage)?;
        Ok(said.contains(sentence).then_some(()))
    });
    told.map_err(|error| error.context(format!("said: {said}")))?;
    stage.no_page()?;

    stage
        .world
        .router(Place::Cafe)
        .sh("nft delete table inet firewall")?;
    by_tunnel(&stage)?;
    let output = stage.laptop.sluss(&["status", "-v"], "")?;
    let said = String::from_utf8(output.stdout)?;
    ensure!(!said.contains(sentence), "{said}");
    stage.no_leak()
}

/// Waits until what the gateway's name has become is so.
fn until_name(stage: &Stage, wanted: impl Fn(&Value) -> bool) -> Result<()> {
    let mut name = Value::Null;
    let found = eventually("what the name has become", PATIENCE, || {
        name = stage.laptop.status()?["gateway"]["endpoints"][0]["resolution"].take();
        Ok(wanted(&name).then_some(()))
    });
    found.with_context(|| format!("{name}"))
}

/// A stage whose gateway is called by its name, with its address to fall back on.
fn set_with_name() -> Result<Stage> {
    let fallback = format!("fallback = [\"{}\"]\n", GATEWAY.ip());
    let setup = Setup {
        endpoints: Some(endpoint("vpn.example.se:51820") + &fallback),
        ..Setup::default()
    };
    Stage::set_up(setup, |rig, _| rig.issued_card(0))
}
