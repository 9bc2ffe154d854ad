//! The doctor at the laptop's side through its day: each place has the one finding that a helpdesk would want to hear.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sluss_platform::TunConfig;
use sluss_tests::capture::{Capture, Packet};
use sluss_tests::moment::{eventually, now};
use sluss_tests::stage::{PATIENCE, Setup, Stage};
use sluss_tests::world::{BEACON, BRANCH, Place, Port};

use crate::places::by_tunnel;

const SUPPORT: &str =
    "[support]\nphone = \"+46 8 123 45 67\"\ndetour = \"the webmail works from everywhere\"\n";

pub(crate) fn the_doctor_finds_what_is_wrong_in_each_place() -> Result<()> {
    let setup = Setup {
        policy: SUPPORT.to_owned(),
        ..Setup::default()
    };
    let mut stage = Stage::set_up(setup, |rig, _| rig.issued_card(0))?;
    let asked_inside = Capture::start(&stage.world.laptop, |packet: &Packet| {
        packet.outgoing
            && &*packet.interface == TunConfig::NAME
            && packet.destination == BEACON.ip()
            && packet.ports.1 == BEACON.port()
    })?;

    examine(
        &stage,
        1,
        &[
            ("link", "failed", "no-link"),
            ("address", "not-run", "not-run"),
        ],
    )?;

    let plugged = stage.world.plug(Port::WiFi, Place::Home)?;
    stage.verdict("outside", plugged)?;
    let said = examine(
        &stage,
        1,
        &[
            ("address", "ok", "address-given"),
            ("beacon", "ok", "no-beacon-here"),
            ("card", "failed", "no-card"),
            ("gateway-udp", "not-run", "not-run"),
        ],
    )?;
    for words in [
        "Put your card in the reader.",
        "Call +46 8 123 45 67.",
        "the webmail works",
    ] {
        ensure!(said.contains(words), "no {words:?} in {said}");
    }

    let inserted = now();
    stage.card.insert()?;
    stage
        .monitor
        .until("key", &["locked", "awaiting-pin"], inserted, PATIENCE)?;
    examine(
        &stage,
        1,
        &[
            ("card", "ok", "card-serves"),
            ("pin", "failed", "pin-needed"),
        ],
    )?;
    stage.unlock(inserted)?;
    by_tunnel(&stage)?;
    let healthy = [
        ("pin", "ok", "pin-given"),
        ("gateway-udp", "ok", "gateway-heard"),
        ("handshake", "ok", "handshake-done"),
    ];
    let said = examine(&stage, 0, &healthy)?;
    ensure!(!said.contains("+46"), "{said}");

    let plugged = stage.world.plug(Port::Ethernet, Place::Branch)?;
    stage.verdict("outside", plugged)?;
    let said = examine(&stage, 0, &[("beacon", "warning", "beacon-in-doubt")])?;
    ensure!(said.contains(&format!("add {BRANCH} to `nat`")), "{said}");

    let plugged = stage.world.plug(Port::Ethernet, Place::Office)?;
    stage.verdict("inside", plugged)?;
    let inside = [
        ("beacon", "ok", "proved-inside"),
        ("card", "not-applicable", "tunnel-not-needed"),
    ];
    examine(&stage, 0, &inside)?;
    ensure!(
        asked_inside.count() == 0,
        "through the tunnel: {:?}",
        asked_inside.last()
    );
    stage.no_leak()
}

/// Waits until the doctor finds all of `expected` (check, verdict, what was seen), and ends with `code`. What it says then.
fn examine(stage: &Stage, code: i32, expected: &[(&str, &str, &str)]) -> Result<String> {
    let mut diagnosis = Value::Null;
    let found = eventually("the findings", PATIENCE, || {
        let output = stage.laptop.sluss(&["doctor", "--json"], "")?;
        diagnosis = serde_json::from_slice(&output.stdout)
            .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
        let findings = diagnosis["findings"].as_array().context("no findings")?;
        let is_found = |(check, verdict, seen): &(&str, &str, &str)| {
            let mut same = findings.iter().filter(|it| it["check"] == *check);
            same.any(|it| it["verdict"] == *verdict && it["seen"]["code"] == *seen)
        };
        Ok((expected.iter().all(is_found) && output.status.code() == Some(code)).then_some(()))
    });
    found.with_context(|| format!("{expected:?} in {diagnosis:#}"))?;
    let output = stage.laptop.sluss(&["doctor"], "")?;
    Ok(String::from_utf8(output.stdout)?)
}
