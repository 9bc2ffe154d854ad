//! Random changes of the network, of which only some are a change of place.

use std::time::Duration;

use sluss_supervisor::{HostMode, HostRules, Location, Portal};
use slussd::engine::Input;

use crate::laptop::Laptop;
use crate::networks::{Network, Port, Truth};

const WALKS: u64 = 1_000;

#[test]
fn a_thousand_walks_end_in_the_right_verdict_and_flap_no_tunnel() {
    let mut met = Met::default();
    for seed in 0..WALKS {
        let shown = ShownOnPanic(seed);
        walk(seed, &mut met);
        std::mem::forget(shown);
    }
    println!("seeds 0 to {}: {met:?}", WALKS - 1);
    met.assert_everything();
}

fn walk(seed: u64, met: &mut Met) {
    let mut laptop = Laptop::new(seed);
    for _ in 0..laptop.rng.u32(4..16) {
        change(&mut laptop, met);
        let pause = [0, 30, 260, 700, 2_500, 9_000, 40_000][laptop.rng.usize(..7)];
        let pause = pause + laptop.rng.u64(0..50);
        laptop.pass(Duration::from_millis(pause));
    }
    // Longer than any switch, doubt or opening.
    laptop.pass(Duration::from_secs(700));
    judge(&laptop);
    met.moves += laptop.moves;
    met.switches += laptop.switches;
    met.probes += laptop.probes;
}

fn judge(laptop: &Laptop) {
    let truth = laptop.truth();
    let state = laptop.engine.state();
    let seen = match &state.location {
        Location::Offline => Some(Truth::Nowhere),
        Location::Inside(_) => Some(Truth::Inside),
        Location::Outside { .. } => Some(Truth::Outside),
        Location::Asleep { .. } | Location::Settling { .. } | Location::Probing { .. } => None,
    };
    assert_eq!(seen, Some(truth), "{state:#?}\n{:#?}", laptop.ports);

    let wanted = truth == Truth::Outside || truth == Truth::Inside && laptop.anyway;
    let borne = truth != Truth::Inside || laptop.anyway;
    assert!(!wanted || laptop.tunnel.is_some(), "no tunnel");
    assert!(borne || laptop.tunnel.is_none(), "a tunnel inside");
    let Some(HostRules { mode, opening, .. }) = &laptop.rules else {
        panic!("nothing was closed")
    };
    assert_eq!(*opening, None, "the portal's opening has had its time");
    match mode {
        HostMode::Tunnelled => assert!(laptop.tunnel.is_some()),
        HostMode::Closed => assert!(laptop.tunnel.is_none() && truth == Truth::Nowhere),
        HostMode::Inside { link } => {
            let mut ports = laptop.ports.iter();
            let port = ports.find(|port| port.index == link.id.index);
            let truth = port.map(|port| port.network.truth());
            assert_eq!(truth, Some(Truth::Inside), "by the wrong link");
        }
    }

    let (switches, moves) = (laptop.switches, laptop.moves);
    let allowed = if laptop.anyway { moves.min(1) } else { moves };
    assert!(
        switches <= allowed,
        "{switches} starts and stops for {moves} changes of place"
    );
}

fn change(laptop: &mut Laptop, met: &mut Met) {
    match laptop.rng.u32(..13) {
        0..4 => go_elsewhere(laptop, met),
        4 => plug(laptop, 2, met),
        5 => plug(laptop, 3, met),
        6 => unplug(laptop, met),
        7 => flap(laptop, met),
        8 => renew_address(laptop, met),
        9 => forge(laptop, met),
        10 => sleep(laptop, met),
        _ => log_in(laptop, met),
    }
}

/// Out of the door and in by another.
fn go_elsewhere(laptop: &mut Laptop, met: &mut Met) {
    met.journeys += 1;
    laptop.ports.clear();
    laptop.changed();
    laptop.logged_in = false;
    let way = laptop.rng.u64(0..60_000);
    laptop.pass(Duration::from_millis(way));
    arrive(laptop, met);
}

fn arrive(laptop: &mut Laptop, met: &mut Met) {
    match laptop.rng.u32(..6) {
        0 => {}
        1 => plug(laptop, 4, met),
        2 | 3 => plug(laptop, 2, met),
        4 => plug(laptop, 3, met),
        _ => {
            plug(laptop, 2, met);
            plug(laptop, 3, met);
        }
    }
}

/// First the carrier, then the address, then sometimes one of IPv6.
fn plug(laptop: &mut Laptop, index: u32, met: &mut Met) {
    laptop.ports.retain(|port| port.index != index);
    let networks = match index {
        2 => &Network::WIRED[..],
        3 => &Network::WIRELESS[..],
        _ => &[Network::Phone],
    };
    let network = networks[laptop.rng.usize(..networks.len())];
    let slow = index == 2 && laptop.rng.u32(..4) == 0;
    met.slow_ports += u32::from(slow);
    let delay = if slow { laptop.rng.u64(500..30_000) } else { 0 };
    attach(laptop, index, network, Duration::from_millis(delay));
}

fn attach(laptop: &mut Laptop, index: u32, network: Network, delay: Duration) {
    let forwards_at = laptop.now + delay;
    laptop.ports.push(Port {
        index,
        network,
        carrier: true,
        addressed: false,
        forwards_at,
        swallowed_until: Duration::ZERO,
        neighbour: None,
        renewed: 0,
        gateway: 1,
    });
    laptop.ports.sort_by_key(|port| port.index);
    laptop.changed();
    laptop.learns_soon(index, forwards_at);
    let lease = laptop.rng.u64(5..400);
    laptop.pass(Duration::from_millis(lease));
    with(laptop, index, |port| port.addressed = true);
    if laptop.rng.bool() {
        let advertisement = laptop.rng.u64(1..2_000);
        laptop.pass(Duration::from_millis(advertisement));
        with(laptop, index, |port| port.renewed += 1);
    }
}

fn unplug(laptop: &mut Laptop, met: &mut Met) {
    met.unplugged += 1;
    let index = laptop.rng.u32(2..5);
    laptop.ports.retain(|port| port.index != index);
    laptop.changed();
}

/// A plug that sits loosely, or a Wi-Fi that roams. The place is the same before and after.
fn flap(laptop: &mut Laptop, met: &mut Met) {
    let Some(index) = any(laptop) else {
        return;
    };
    met.flaps += 1;
    for _ in 0..laptop.rng.u32(1..12) {
        with(laptop, index, |port| {
            port.carrier = false;
            port.neighbour = None;
        });
        let down = laptop.rng.u64(5..230);
        laptop.pass(Duration::from_millis(down));
        with(laptop, index, |port| port.carrier = true);
        let now = laptop.now;
        laptop.learns_soon(index, now);
        let up = laptop.rng.u64(5..3_000);
        laptop.pass(Duration::from_millis(up));
    }
}

/// IPv6 makes a new address every day, and DHCP sometimes names another router.
fn renew_address(laptop: &mut Laptop, met: &mut Met) {
    let Some(index) = any(laptop) else {
        return;
    };
    met.renewals += 1;
    let router = laptop.rng.u32(..3) == 0;
    with(laptop, index, |port| {
        port.renewed += 1;
        port.gateway += u8::from(router);
    });
}

/// Somebody on the link claims to be the gateway, and passes on what comes, or swallows it for a while.
fn forge(laptop: &mut Laptop, met: &mut Met) {
    laptop.pass(Duration::from_secs(60));
    let Some(index) = any(laptop) else {
        return;
    };
    met.forgeries += 1;
    let probes = laptop.probes;
    let switches = laptop.switches;
    let swallowed = laptop.rng.bool().then(|| laptop.rng.u64(100..3_000));
    let until = laptop.now + Duration::from_millis(swallowed.unwrap_or(0));
    let began = laptop.now;
    for claim in 0..laptop.rng.u8(1..40) {
        with(laptop, index, |port| {
            port.swallowed_until = until;
            if let Some(neighbour) = &mut port.neighbour {
                *neighbour = claim % 200 + 2;
            }
        });
        let pause = laptop.rng.u64(50..1_500);
        laptop.pass(Duration::from_millis(pause));
    }
    laptop.pass(Duration::from_secs(10));
    let lasted = u32::try_from((laptop.now - began).as_secs()).expect("less than a day");
    let asked = laptop.probes - probes;
    assert!(
        asked <= 3 + lasted / 3,
        "asked {asked} times in {lasted} s for a neighbour's sake"
    );
    assert_eq!(laptop.switches, switches, "a forgery moved the tunnel");
}

/// The lid is closed, and opened here or elsewhere.
fn sleep(laptop: &mut Laptop, met: &mut Met) {
    met.nights += 1;
    laptop.tell(Input::Suspending);
    laptop.pass(Duration::from_millis(100));
    if laptop.rng.bool() {
        laptop.ports.clear();
        laptop.logged_in = false;
        laptop.changed();
        laptop.tell(Input::Resumed);
        arrive(laptop, met);
    } else {
        laptop.tell(Input::Resumed);
    }
}

/// The user sees the portal, asks for it, and logs in.
fn log_in(laptop: &mut Laptop, met: &mut Met) {
    if laptop.rng.bool() {
        laptop.ports.clear();
        laptop.changed();
        attach(laptop, 3, Network::Hotel, Duration::ZERO);
    }
    laptop.pass(Duration::from_secs(20));
    let found = matches!(laptop.engine.state().portal, Portal::Found { .. });
    laptop.asks_for_portal();
    assert_eq!(found, laptop.portal_is_open(), "opened where one was found");
    if found {
        met.logins += 1;
        let typing = laptop.rng.u64(3_000..200_000);
        laptop.pass(Duration::from_millis(typing));
        laptop.logged_in = true;
        laptop.pass(Duration::from_secs(90));
        assert!(!laptop.portal_is_open(), "closed by what got through");
    }
}

fn any(laptop: &mut Laptop) -> Option<u32> {
    let count = laptop.ports.len();
    let port = laptop.ports.get(laptop.rng.usize(..count.max(1)))?;
    Some(port.index)
}

fn with(laptop: &mut Laptop, index: u32, change: impl FnOnce(&mut Port)) {
    if let Some(port) = laptop.ports.iter_mut().find(|port| port.index == index) {
        change(port);
    }
    laptop.changed();
}

/// Names the seed of a walk that ended badly.
struct ShownOnPanic(u64);

impl Drop for ShownOnPanic {
    fn drop(&mut self) {
        println!("seed {}", self.0);
    }
}

/// What the walks have met.
#[derive(Debug, Default)]
struct Met {
    journeys: u32,
    unplugged: u32,
    flaps: u32,
    renewals: u32,
    forgeries: u32,
    nights: u32,
    logins: u32,
    slow_ports: u32,
    moves: u32,
    switches: u32,
    probes: u32,
}

impl Met {
    fn assert_everything(&self) {
        let Self {
            journeys,
            unplugged,
            flaps,
            renewals,
            forgeries,
            nights,
            logins,
            slow_ports,
            moves,
            switches,
            probes,
        } = self;
        let all = [
            journeys, unplugged, flaps, renewals, forgeries, nights, logins, slow_ports, moves,
            switches, probes,
        ];
        assert!(
            all.iter().all(|count| **count >= 100),
            "too seldom met: {self:?}"
        );
    }
}
