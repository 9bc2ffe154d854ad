//! A card that thinks for two seconds each time: nobody notices.

use std::time::Duration;

use anyhow::{Result, ensure};
use sluss_tests::moment::{eventually, millis, now};
use sluss_tests::servers::Stream;
use sluss_tests::service_card::ServiceCard;
use sluss_tests::stage::{Boot, PATIENCE, Setup};
use sluss_tests::world::{Place, Port, WEB};

use crate::modes::REKEY;
use crate::ways::Way;

const THOUGHT: Duration = Duration::from_secs(2);
const REKEYS: u64 = 3;

/// A hundred packets a second over three rekeys, and each arrives.
pub(crate) fn a_slow_card_loses_no_packet() -> Result<()> {
    let setup = Setup {
        boot: Boot::LabClock,
        ..Setup::default()
    };
    let mut stage = Way::OpenPgp.stage(setup)?;
    stage.card.delay(THOUGHT)?;
    stage.open_tunnel(Port::WiFi, Place::Home)?;
    eventually("the internal page", PATIENCE, || Ok(stage.page().ok()))?;
    let opened = stage.card.uses()?.unwrap_or_default();

    let began = now();
    let stream = Stream::start(&stage.world.laptop, WEB, Duration::from_millis(10))?;
    let mut thoughts = Vec::new();
    for rekey in 1..=REKEYS {
        stage.clock.jump(REKEY)?;
        let aged = now();
        let renewed = || {
            let age = stage.laptop.status()?["traffic"]["handshake_age_ms"].as_u64();
            Ok(age.filter(|age| *age < 60_000).map(|_| now()))
        };
        let renewed = eventually("a session under new keys", PATIENCE, renewed)?;
        thoughts.push(millis(aged, renewed));
        ensure!(stage.card.uses()? == Some(opened + rekey));
    }
    let sent = stream.end();
    let arrived = || {
        let packets = stage.inside.packets();
        let ours = |packet: &&sluss_tests::capture::Packet| {
            packet.at >= began && packet.ports.1 == Stream::PORT
        };
        packets.iter().filter(ours).count()
    };
    let all = eventually("the last packet arrives", Duration::from_secs(3), || {
        Ok((arrived() >= sent).then_some(()))
    });
    println!(
        "measured {REKEYS} rekeys with {THOUGHT:?} for each card operation: {sent} packets sent, {} arrived; rekeys took, ms: {thoughts:?}",
        arrived()
    );
    all?;
    ensure!(arrived() == sent, "{sent} sent, {} arrived", arrived());
    for took in thoughts {
        ensure!(
            took >= 1900,
            "a card that answered after {took} ms was not slow"
        );
    }
    stage.no_leak()
}
