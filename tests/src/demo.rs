//! The working day of a service laptop, step by step, each judged from outside the daemon.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use crate::moment::{eventually, millis, now};
use crate::servers::Conversation;
use crate::stage::{PATIENCE, Stage};
use crate::world::{GATEWAY, Place, Port, TUNNEL, WEB};

/// How long a card that is pulled may leave the tunnel open.
const SHUT_WITHIN: u64 = 1000;
const NIGHT: Duration = Duration::from_secs(8 * 3600);

/// One step: its name for machines, what it is for people, and how it is done and judged.
pub struct Step {
    pub name: &'static str,
    pub story: &'static str,
    pub play: fn(&mut Stage) -> Result<Seen>,
}

/// What was seen of a step that went as it should.
pub struct Seen {
    /// From what the person does to what the person gets, in milliseconds.
    pub millis: u64,
    pub what: String,
}

pub const STEPS: &[Step] = &[
    Step {
        name: "home-no-card",
        story: "At home, the card in the drawer: shut",
        play: home_no_card,
    },
    Step {
        name: "card-inserted",
        story: "Card in, PIN typed, once for the day",
        play: card_inserted,
    },
    Step {
        name: "tunnel-up",
        story: "The tunnel opens by the card's own key",
        play: tunnel_up,
    },
    Step {
        name: "internal-page",
        story: "The intranet, through the tunnel",
        play: internal_page,
    },
    Step {
        name: "office",
        story: "In the office: the tunnel shuts, the way is direct",
        play: office,
    },
    Step {
        name: "guest-wifi",
        story: "Guest Wi-Fi of the same house: the tunnel is back",
        play: guest_wifi,
    },
    Step {
        name: "roam",
        story: "On to the phone's network, in mid-conversation",
        play: roam,
    },
    Step {
        name: "resume",
        story: "Lid shut for the night, opened at home",
        play: resume,
    },
    Step {
        name: "card-pulled",
        story: "Card out, under full traffic: shut",
        play: card_pulled,
    },
    Step {
        name: "page-gone",
        story: "The intranet is out of reach, and nothing leaked all day",
        play: page_gone,
    },
];

fn home_no_card(stage: &mut Stage) -> Result<Seen> {
    let plugged = stage.world.plug(Port::WiFi, Place::Home)?;
    let verdict = stage
        .monitor
        .until("location", &["outside"], plugged, PATIENCE)?;
    let status = stage.laptop.status()?;
    ensure!(
        status["key"]["state"] == "absent" && status["tunnel"]["state"] == "down",
        "{status}"
    );
    stage.no_page()?;
    stage.no_leak()?;
    Ok(Seen {
        millis: millis(plugged, verdict),
        what: "no beacon: outside; a try at the intranet went nowhere".into(),
    })
}

fn card_inserted(stage: &mut Stage) -> Result<Seen> {
    let inserted = now();
    stage.card.insert()?;
    stage.unlock(inserted)?;
    let unlocked = stage
        .monitor
        .until("key", &["unlocked"], inserted, PATIENCE)?;
    let card = &stage.laptop.status()?["card"]["serial"];
    let serial = stage.card.identity().serial.as_str();
    ensure!(card == serial, "the card in status is {card}");
    Ok(Seen {
        millis: millis(inserted, unlocked),
        what: format!("card {serial}"),
    })
}

fn tunnel_up(stage: &mut Stage) -> Result<Seen> {
    // Counted from the PIN, as the person does.
    let unlocked = stage
        .monitor
        .until("key", &["unlocked"], Duration::ZERO, PATIENCE)?;
    let up = stage.monitor.until("tunnel", &["up"], unlocked, PATIENCE)?;
    let handshakes = stage.handshakes(Duration::ZERO);
    let operations = stage.card.stats()?.dh;
    ensure!(handshakes > 0, "the gateway has accepted no handshake");
    ensure!(operations > 0, "the card has computed nothing");
    Ok(Seen {
        millis: millis(unlocked, up),
        what: format!("the card computed {operations} times, the gateway answered"),
    })
}

fn internal_page(stage: &mut Stage) -> Result<Seen> {
    let asked = now();
    let seen = stage.page()?;
    let got = now();
    ensure!(seen == TUNNEL, "the server saw {seen}");
    stage.no_leak()?;
    Ok(Seen {
        millis: millis(asked, got),
        what: format!("the server saw {seen}; nothing in the clear"),
    })
}

fn office(stage: &mut Stage) -> Result<Seen> {
    stage.world.unplug(Port::WiFi)?;
    let plugged = stage.world.plug(Port::Ethernet, Place::Office)?;
    let verdict = stage
        .monitor
        .until("location", &["inside"], plugged, PATIENCE)?;
    let down = stage
        .monitor
        .until("tunnel", &["down"], plugged, PATIENCE)?;
    let expected = Port::Ethernet.address(Place::Office);
    let seen = eventually("the page, directly", PATIENCE, || Ok(stage.page().ok()))?;
    let got = now();
    ensure!(seen == expected, "the server saw {seen}");
    let wire = stage.wire.first_since(down + Duration::from_millis(50));
    ensure!(wire.is_none(), "to the gateway from inside: {wire:?}");
    let beacons = stage.beacon.greeted();
    ensure!(beacons >= 2, "the beacon was asked {beacons} times");
    Ok(Seen {
        millis: millis(plugged, got),
        what: format!(
            "beacon proved in {} ms; the server saw {seen}",
            millis(plugged, verdict)
        ),
    })
}

fn guest_wifi(stage: &mut Stage) -> Result<Seen> {
    stage.world.unplug(Port::Ethernet)?;
    let plugged = stage.world.plug(Port::WiFi, Place::Guest)?;
    let up = stage.monitor.until("tunnel", &["up"], plugged, PATIENCE)?;
    let seen = stage.page()?;
    ensure!(seen == TUNNEL, "the server saw {seen}");
    stage.no_leak()?;
    Ok(Seen {
        millis: millis(plugged, up),
        what: format!("no PIN asked; the server saw {seen}"),
    })
}

fn roam(stage: &mut Stage) -> Result<Seen> {
    let mut conversation = Conversation::open(&stage.world.laptop, WEB)?;
    conversation.say("as I was saying,", PATIENCE)?;
    let moved = now();
    let plugged = stage.world.plug(Port::WiFi, Place::Phone)?;
    conversation.say("on another network", PATIENCE)?;
    let heard = now();
    let phone = stage
        .wire
        .packets()
        .into_iter()
        .rfind(|packet| packet.ports.1 == GATEWAY.port());
    ensure!(
        phone
            .as_ref()
            .is_some_and(|p| p.source == Place::Phone.public_address()),
        "it came from {phone:?}"
    );
    stage
        .monitor
        .until("location", &["outside"], plugged, PATIENCE)?;
    conversation.say("and still there.", PATIENCE)?;
    stage.no_leak()?;
    Ok(Seen {
        millis: millis(moved, heard),
        what: "the same connection, from another public address".into(),
    })
}

fn resume(stage: &mut Stage) -> Result<Seen> {
    let lid_shut = now();
    stage.logind.prepare_for_sleep(true)?;
    stage
        .monitor
        .until("location", &["asleep"], lid_shut, PATIENCE)?;
    stage.laptop.daemon()?.signal(Signal::SIGSTOP)?;
    stage.card.reset()?;
    stage.world.unplug(Port::WiFi)?;
    stage.clock.jump(NIGHT)?;
    stage.world.plug(Port::Ethernet, Place::Home)?;

    let lid_opened = now();
    stage.laptop.daemon()?.signal(Signal::SIGCONT)?;
    stage.logind.prepare_for_sleep(false)?;
    let verdict = stage
        .monitor
        .until("location", &["outside"], lid_opened, PATIENCE)?;
    // The card lost its power with the laptop, and with it the PIN: it is asked for again, as it should be.
    stage.unlock(lid_opened)?;
    let seen = eventually("the page, after the night", PATIENCE, || {
        Ok(stage.page().ok())
    })?;
    let got = now();
    ensure!(seen == TUNNEL, "the server saw {seen}");
    let shaken = stage
        .wire
        .packets()
        .into_iter()
        .find(|p| p.at >= lid_opened && p.is_handshake_response(GATEWAY.port()));
    let shaken = shaken.context("no handshake after the night")?.at;
    let stale = stage
        .wire
        .packets()
        .into_iter()
        .find(|p| p.at >= lid_opened && p.at < shaken && p.is_transport_data(GATEWAY.port()));
    ensure!(
        stale.is_none(),
        "yesterday's session key was used: {stale:?}"
    );
    stage.no_leak()?;
    Ok(Seen {
        millis: millis(lid_opened, got),
        what: format!(
            "outside after {} ms; PIN; new keys; the server saw {seen}",
            millis(lid_opened, verdict)
        ),
    })
}

fn card_pulled(stage: &mut Stage) -> Result<Seen> {
    let _stream = stage.stream(Duration::from_millis(1))?;
    let before = stage.inside.count();
    let pulled = stage.card.remove()?;
    stage.monitor.until("key", &["absent"], pulled, PATIENCE)?;
    // The stream is still being sent all the while.
    let last = stage.last_through_tunnel(Duration::from_millis(1500))?;
    let took = millis(pulled, last);
    ensure!(
        took <= SHUT_WITHIN,
        "the last packet came through {took} ms after the pull"
    );
    stage.no_leak()?;
    let count = stage.inside.count();
    ensure!(
        count >= before && before > 0,
        "{before} packets before the pull, {count} in all"
    );
    Ok(Seen {
        millis: took,
        what: "from the pull to the last packet, 1,000 packets a second trying".into(),
    })
}

fn page_gone(stage: &mut Stage) -> Result<Seen> {
    let asked = now();
    stage.no_page()?;
    let refused = now();
    let status = stage.laptop.status()?;
    ensure!(
        status["key"]["state"] == "absent" && status["tunnel"]["state"] == "down",
        "{status}"
    );
    stage.no_leak()?;
    ensure!(stage.laptop.is_alive(), "the daemon has ended");
    Ok(Seen {
        millis: millis(asked, refused),
        what: "no packet for the internal network left in the clear".into(),
    })
}
