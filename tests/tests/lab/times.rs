//! Times that a person feels, each taken by captures and the command's own words.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sluss_tests::moment::{eventually, median, millis};
use sluss_tests::servers::Stream;
use sluss_tests::stage::{Boot, PATIENCE, Stage};
use sluss_tests::world::{Place, Port, WEB};

const PULLS: usize = 20;
const ROUNDS: usize = 10;
/// From one place to the next: links that come and go faster than people walk are flapping, and waited for.
const WALK: Duration = Duration::from_secs(60);

/// At most 1,000 ms in each of 20 pulls, from the card's disconnect to the last packet.
pub(crate) fn a_pulled_card_shuts_the_tunnel_within_a_second() -> Result<()> {
    let mut stage = Stage::set(Boot::Plain)?;
    stage.world.plug(Port::WiFi, Place::Home)?;
    let mut times = Vec::new();
    for pull in 0..PULLS {
        stage.insert_and_unlock()?;
        let stream = stage.stream(Duration::from_millis(2))?;
        // So that the pulls meet the reader's poll of 400 ms in all its phases.
        let phase = Duration::from_millis(20 * pull as u64);
        let flowing = sluss_tests::moment::now() + phase;
        eventually("the stream flows", PATIENCE, || {
            Ok(stage.first_of_stream(flowing))
        })?;
        let pulled = stage.card.remove()?;
        stage.monitor.until("key", &["absent"], pulled, PATIENCE)?;
        let last = stage.last_through_tunnel(Duration::from_millis(1200))?;
        drop(stream);
        times.push(millis(pulled, last));
    }
    println!("measured pull to last packet, ms: {times:?}");
    let worst = times.iter().max().context("no pull")?;
    ensure!(
        *worst <= 1000,
        "one pull left the tunnel open for {worst} ms"
    );
    stage.no_leak()
}

/// Medians of ten: last address event to verdict under 1,500 ms; verdict outside to first packet through the
/// tunnel under 300 ms, card operations excluded (here they are included: the virtual card takes a few milliseconds).
pub(crate) fn verdicts_and_first_packets_are_quick() -> Result<()> {
    let mut stage = Stage::set(Boot::LabClock)?;
    stage.open_tunnel(Port::WiFi, Place::Home)?;
    let _stream = Stream::start(&stage.world.laptop, WEB, Duration::from_millis(1))?;
    let (mut inside, mut outside, mut first) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        stage.world.unplug(Port::WiFi)?;
        stage.clock.jump(WALK)?;
        let plugged = stage.world.plug(Port::Ethernet, Place::Office)?;
        let verdict = stage.verdict("inside", plugged)?;
        inside.push(millis(plugged, verdict));
        stage
            .monitor
            .until("tunnel", &["down"], plugged, PATIENCE)?;

        stage.world.unplug(Port::Ethernet)?;
        stage.clock.jump(WALK)?;
        let place = [Place::Home, Place::Guest, Place::Phone][round % 3];
        let plugged = stage.world.plug(Port::WiFi, place)?;
        let verdict = stage.verdict("outside", plugged)?;
        outside.push(millis(plugged, verdict));
        let packet = eventually("a packet through the tunnel", PATIENCE, || {
            Ok(stage.first_of_stream(plugged))
        })?;
        first.push(millis(verdict, packet.at));
    }
    println!("measured address to verdict inside, ms: {inside:?}");
    println!("measured address to verdict outside, ms: {outside:?}");
    println!("measured verdict outside to first packet through the tunnel, ms: {first:?}");
    for (what, times, limit) in [
        ("inside", inside, 1500),
        ("outside", outside, 1500),
        ("first packet", first, 300),
    ] {
        let median = median(times).context("no round")?;
        ensure!(median < limit, "{what}: median {median} ms");
    }
    stage.no_leak()
}
