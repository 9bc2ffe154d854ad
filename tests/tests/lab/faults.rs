//! What goes wrong around the daemon: bad cards, crashes, restarts, false beacons. It is named, and it passes.

use std::time::Duration;

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use sluss_tests::beacon::Beacon;
use sluss_tests::moment::{eventually, now};
use sluss_tests::rig::Fault;
use sluss_tests::servers::Stream;
use sluss_tests::stage::{Boot, PATIENCE, Stage};
use sluss_tests::world::{Place, Port, TUNNEL, WEB};

pub(crate) fn a_card_that_talks_nonsense_is_named_and_forgotten() -> Result<()> {
    let mut stage = Stage::set(Boot::Plain)?;
    stage.world.plug(Port::WiFi, Place::Home)?;
    stage.card.fail(Fault::Nonsense)?;
    stage.card.insert()?;
    let status = until_status(&stage, "the card is unusable", |status| {
        status["key"]["state"] == "unusable"
    })?;
    ensure!(status["key"]["fault"] == "nonsense", "{status}");
    stage.no_page()?;

    stage.card.remove()?;
    until_status(&stage, "the reader is empty", |status| {
        status["key"]["state"] == "absent"
    })?;
    stage.card.fail(Fault::None)?;
    stage.insert_and_unlock()?;
    reaches_the_intranet(&stage)
}

pub(crate) fn a_card_that_hangs_in_a_handshake_is_named_and_left() -> Result<()> {
    let mut stage = Stage::set(Boot::Plain)?;
    stage.world.plug(Port::WiFi, Place::Home)?;
    stage.insert_and_unlock()?;
    reaches_the_intranet(&stage)?;
    let asked = now();
    ensure!(stage.laptop.sluss(&["down"], "")?.status.success());
    stage.monitor.until("tunnel", &["down"], asked, PATIENCE)?;
    stage.card.fail(Fault::Hang)?;
    ensure!(stage.laptop.sluss(&["up"], "")?.status.success());
    until_status(&stage, "the silent card is named", |status| {
        status["key"]["fault"] == "silent" || has_warning(status, "card-slow")
    })?;

    stage.card.fail(Fault::None)?;
    stage.card.remove()?;
    until_status(&stage, "the reader is empty", |status| {
        status["key"]["state"] == "absent"
    })?;
    stage.insert_and_unlock()?;
    reaches_the_intranet(&stage)
}

pub(crate) fn a_card_that_vanishes_in_a_handshake_is_gone() -> Result<()> {
    let mut stage = Stage::set(Boot::Plain)?;
    stage.world.plug(Port::WiFi, Place::Home)?;
    let inserted = now();
    stage.card.insert()?;
    stage
        .monitor
        .until("key", &["locked", "awaiting-pin"], inserted, PATIENCE)?;
    stage.card.fail(Fault::Vanish)?;
    stage.laptop.unlock(&stage.card.identity().pin)?;
    stage
        .monitor
        .until("key", &["absent"], inserted, PATIENCE)?;
    stage.no_page()?;

    stage.card.fail(Fault::None)?;
    stage.insert_and_unlock()?;
    reaches_the_intranet(&stage)
}

pub(crate) fn a_killed_daemon_leaves_the_laptop_shut() -> Result<()> {
    let mut stage = Stage::set(Boot::Plain)?;
    stage.open_tunnel(Port::WiFi, Place::Home)?;
    let _stream = stage.stream(Duration::from_millis(1))?;
    stage.laptop.crash();
    stage.no_page()?;
    // As at home after a while: the network comes and goes, and nobody watches.
    stage.world.plug(Port::WiFi, Place::Phone)?;
    stage.no_page()?;
    stage.no_leak()?;

    let restarted = now();
    stage.laptop.start()?;
    stage.monitor = stage.laptop.monitor()?;
    // The card may have lost its power, and with it the PIN, while nobody held it.
    let key = stage.monitor.until(
        "key",
        &["unlocked", "locked", "awaiting-pin"],
        restarted,
        PATIENCE,
    )?;
    if stage
        .monitor
        .since(key)
        .iter()
        .any(|change| change.thing == "key" && change.state != "unlocked")
    {
        stage.laptop.unlock(&stage.card.identity().pin)?;
    }
    reaches_the_intranet(&stage)?;
    stage.no_leak()
}

/// As `systemctl stop` does it, in the office, where the way is open.
pub(crate) fn a_daemon_that_is_told_to_end_leaves_the_laptop_shut() -> Result<()> {
    let mut stage = Stage::set(Boot::Plain)?;
    let plugged = stage.world.plug(Port::Ethernet, Place::Office)?;
    stage
        .monitor
        .until("location", &["inside"], plugged, PATIENCE)?;
    eventually("the page by cable", PATIENCE, || Ok(stage.page().ok()))?;

    let daemon = stage.laptop.daemon()?;
    daemon.signal(Signal::SIGTERM)?;
    let status = eventually("the daemon's end", PATIENCE, || {
        Ok(daemon.child().try_wait()?)
    })?;
    ensure!(
        status.success(),
        "the daemon ended with {status}:\n{}",
        stage.laptop.log()
    );
    stage.no_page()?;
    ensure!(
        !stage.laptop.socket().exists(),
        "the socket outlived the daemon"
    );

    stage.laptop.start()?;
    eventually("the page by cable again", PATIENCE, || {
        Ok(stage.page().ok())
    })?;
    Ok(())
}

pub(crate) fn the_card_service_may_restart() -> Result<()> {
    let mut stage = Stage::set(Boot::Plain)?;
    stage.open_tunnel(Port::WiFi, Place::Home)?;
    let stopped = now();
    stage.rig.stop_pcscd()?;
    stage
        .monitor
        .until("key", &["no-service"], stopped, PATIENCE)?;
    // Without the service nobody can say that the card is still there: shut, as if it were pulled.
    stage.no_page()?;
    stage.rig.start_pcscd()?;
    stage.insert_and_unlock()?;
    reaches_the_intranet(&stage)
}

pub(crate) fn cable_inside_and_guest_wifi_is_inside() -> Result<()> {
    let mut stage = Stage::set(Boot::Plain)?;
    stage.open_tunnel(Port::WiFi, Place::Guest)?;
    let docked = stage.world.plug(Port::Ethernet, Place::Office)?;
    stage
        .monitor
        .until("location", &["inside"], docked, PATIENCE)?;
    stage.monitor.until("tunnel", &["down"], docked, PATIENCE)?;
    let seen = eventually("the page by cable", PATIENCE, || Ok(stage.page().ok()))?;
    ensure!(
        seen == Port::Ethernet.address(Place::Office),
        "the server saw {seen}"
    );
    stage.no_leak()
}

pub(crate) fn a_beacon_with_another_key_proves_nothing() -> Result<()> {
    let mut stage = Stage::set(Boot::Plain)?;
    // Somebody's router hands out the beacon's address.
    let router = stage.world.router(Place::Home);
    router.ip("addr add 10.20.0.53/32 dev lan")?;
    let impostor = Beacon::start(router)?;
    let plugged = stage.world.plug(Port::WiFi, Place::Home)?;
    stage
        .monitor
        .until("location", &["outside"], plugged, PATIENCE)?;
    let evidence = stage.laptop.status()?["evidence"].clone();
    ensure!(evidence.to_string().contains("wrong-key"), "{evidence}");
    ensure!(impostor.pin() != stage.beacon.pin());
    stage.insert_and_unlock()?;
    reaches_the_intranet(&stage)
}

/// The page comes, through the tunnel, also while a stream of other packets is on its way.
fn reaches_the_intranet(stage: &Stage) -> Result<()> {
    let _stream = Stream::start(&stage.world.laptop, WEB, Duration::from_millis(10))?;
    let seen = eventually("the internal page", PATIENCE, || Ok(stage.page().ok()))?;
    ensure!(seen == TUNNEL, "the server saw {seen}");
    Ok(())
}

fn until_status(stage: &Stage, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
    let mut last = Value::Null;
    let found = eventually(what, PATIENCE, || {
        last = stage.laptop.status()?;
        Ok(wanted(&last).then(|| last.clone()))
    });
    found.map_err(|error| error.context(format!("status is {last}")))
}

fn has_warning(status: &Value, warning: &str) -> bool {
    status["warnings"]
        .as_array()
        .is_some_and(|warnings| warnings.iter().any(|w| w == warning))
}
