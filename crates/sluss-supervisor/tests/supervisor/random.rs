//! Random days: whatever happens, in whatever order, the judge has nothing to object to.

use std::time::Duration;

use sluss_supervisor::{
    CardFault, Confirmation, Event, HostMode, Key, Location, Op, OutsideReason, PinCheck,
    PinSource, Tunnel, step,
};

use crate::judge::{Place, Sight};
use crate::world::{TrueLink, Weather, World, link};

const RUNS: u64 = 6_000;
const EVENTS: usize = 200;

#[test]
fn in_fair_weather_the_truth_is_found() {
    let mut met = Met::default();
    for seed in 0..RUNS / 3 {
        let world = day(seed, Weather::Fair, &mut met);
        let inside = world
            .links
            .iter()
            .any(|one| one.link.usable() && one.inside);
        let online = world.links.iter().any(|one| one.link.usable());
        let verdict = match world.judge.place {
            Place::Inside(_) => Some(true),
            Place::Outside => Some(false),
            Place::Unknown | Place::Once(_) => None,
        };
        assert_eq!(
            verdict,
            online.then_some(inside),
            "seed {seed}: {:?}",
            world.links
        );
    }
    println!("seeds 0 to {}: {met:?}", RUNS / 3 - 1);
}

#[test]
fn in_foul_weather_nothing_is_ever_open_that_should_be_shut() {
    let mut met = Met::default();
    for seed in RUNS / 3..RUNS {
        day(seed, Weather::Foul, &mut met);
    }
    println!("seeds {} to {}: {met:?}", RUNS / 3, RUNS - 1);
    met.assert_everything();
}

/// One day of random events that ends in quiet.
fn day(seed: u64, weather: Weather, met: &mut Met) -> World {
    let shown = ShownOnPanic(seed, weather);
    let mut world = World::new(seed, weather);
    world.plug(Vec::new());
    while world.told < EVENTS {
        if world.rng.u32(..100) < if world.busy() { 70 } else { 30 } {
            world.next();
        } else {
            surprise(&mut world);
        }
        met.look(&world);
    }
    world.calm_down(|world, op| match world.rng.u32(..3) {
        0 => world.tell(Event::PinDeclined { op }),
        _ => world.type_pin(PinSource::User),
    });
    let sight = Sight {
        now: world.now,
        running: world.running,
        host: world.host.clone(),
        host_idle: true,
    };
    world.judge.rest(&sight);
    std::mem::forget(shown);
    world
}

/// Something that nobody asked for; more often what the moment makes interesting.
fn surprise(world: &mut World) {
    let night = world.asleep && world.rng.u32(..3) > 0;
    let missed = world.judge.away.is_some() && world.rng.u32(..3) == 0;
    match world.rng.u32(..100) {
        _ if night => world.wake(),
        _ if missed => handle_card(world),
        0..25 => move_about(world),
        25..45 => handle_card(world),
        45..65 => act_as_user(world),
        65..70 if !world.asleep => world.sleep(),
        70..73 if world.asleep => world.wake(),
        73..76 => world.lose_tunnel(),
        76..80 => {
            if let Some(op) = world.running {
                let attempts = world.rng.u32(1..5);
                world.tell(Event::HandshakeUnanswered { op, attempts });
            }
        }
        80..90 => answer_late(world),
        _ => {
            let pause = [1, 40, 300, 900, 3_000, 70_000][world.rng.usize(..6)];
            world.pass(Duration::from_millis(pause));
        }
    }
}

fn move_about(world: &mut World) {
    let host = world.rng.u8(2..5);
    let office = || link(1, 5, host, true);
    let guest = || link(2, 7, host, false);
    let home = || link(2, 1, host, false);
    let mut links = match world.rng.u32(..9) {
        0 => Vec::new(),
        1 | 2 => vec![home()],
        3 => vec![office()],
        4 => vec![office(), guest()],
        5 => vec![guest()],
        6 => vec![office(), link(2, 9, host, true)],
        _ => world.links.clone(),
    };
    let index = world.rng.usize(..links.len().max(1));
    if let Some(TrueLink {
        link: touched,
        inside,
    }) = links.get_mut(index)
    {
        match world.rng.u32(..6) {
            0 => touched.carrier = false,
            1 => touched.addresses.push(
                link(touched.id.index, 5, world.rng.u8(100..), *inside)
                    .link
                    .addresses[0],
            ),
            2 => touched.addresses.truncate(1),
            3 => touched.gateways.reverse(),
            4 => touched.gateways.clear(),
            _ => {}
        }
    }
    world.plug(links);
}

fn handle_card(world: &mut World) {
    match (&world.card, world.rng.u32(..10)) {
        (None, 0) => world.tell(Event::CardUnusable(CardFault::OtherCard)),
        // A card that could not serve, or the reader after its card.
        (None, 1) => world.pull(),
        (None, 2..7) => world.insert("A"),
        (None, _) => world.insert("B"),
        // Swapped so fast that nobody saw it leave.
        (Some(_), 0) => world.insert("B"),
        (Some(_), 1..5) => world.reset_card(),
        (Some(_), 5) => {
            world.card = None;
            world.tell(Event::CardUnusable(CardFault::Nonsense));
        }
        (Some(card), 6) => {
            let tries_left = card.tries_left;
            world.tell(Event::TriesCounted { tries_left });
        }
        (Some(_), _) => world.pull(),
    }
}

fn act_as_user(world: &mut World) {
    match (world.prompt, world.rng.u32(..10)) {
        (Some(_), 0..4) => world.type_pin(PinSource::User),
        (Some(op), 6) => {
            world.prompt = None;
            world.tell(Event::PinDeclined { op });
        }
        (_, 7) => world.tell(Event::UserDown),
        (_, 8) if world.rng.bool() => world.tell(Event::SessionLocked),
        (_, 8) => world.tell(Event::LockRequested),
        (_, 4) => world.type_pin(PinSource::Pad),
        (_, 5 | 6) => world.type_pin(PinSource::Login),
        (_, _) => world.tell(Event::UserUp),
    }
}

/// Answers that were given before, or that nobody asked for, change nothing at all.
fn answer_late(world: &mut World) {
    let never = Op::from_number(u64::MAX - world.rng.u64(..9));
    let mut late = vec![
        Event::ProbeFinished {
            op: never,
            evidence: Vec::new(),
        },
        Event::PinChecked {
            op: never,
            check: PinCheck::Accepted,
        },
        Event::PinDeclined { op: never },
        Event::TunnelStarted { op: never },
        Event::TunnelStopped { op: never },
        Event::SessionEstablished { op: never },
        Event::HostApplied { op: never },
        Event::HostFailed { op: never },
    ];
    // A handshake is no answer: it can come again and again while its tunnel is there.
    let once = |event: &&Event| !matches!(event, Event::SessionEstablished { .. });
    late.extend(world.given.iter().rev().filter(once).take(24).cloned());
    let event = late.swap_remove(world.rng.usize(..late.len()));
    let (state, actions) = step(&world.policy, world.state.clone(), event.clone(), world.now);
    let (untold, _) = step(&world.policy, world.state.clone(), Event::Tick, world.now);
    assert_eq!(actions, [], "acted on {event:?}, which is stale");
    assert_eq!(state, untold, "believed {event:?}, which is stale");
}

/// Names the seed of a day that ended badly.
struct ShownOnPanic(u64, Weather);

impl Drop for ShownOnPanic {
    fn drop(&mut self) {
        println!("seed {}, {:?} weather", self.0, self.1);
    }
}

/// What the days have met: a generator that never gets the tunnel up would prove nothing.
#[derive(Debug, Default)]
struct Met {
    starting: u32,
    up: u32,
    up_while_locked: u32,
    stopping: u32,
    retrying: u32,
    inside: u32,
    held: u32,
    overdue: u32,
    not_confirmed: u32,
    asked_again: u32,
    asked_again_while_up: u32,
    corrected: u32,
    asleep: u32,
    declined: u32,
    withdrawn: u32,
    blocked: u32,
    away: u32,
    back: u32,
    open: u32,
    was_away: bool,
}

impl Met {
    fn look(&mut self, world: &World) {
        let state = &world.state;
        let count = |counter: &mut u32, met: bool| *counter += u32::from(met);
        let up = matches!(state.tunnel, Tunnel::Up { .. });
        count(
            &mut self.starting,
            matches!(state.tunnel, Tunnel::Starting { .. }),
        );
        count(&mut self.up, up);
        count(
            &mut self.up_while_locked,
            up && !matches!(state.key, Key::Unlocked(_)),
        );
        count(
            &mut self.stopping,
            matches!(state.tunnel, Tunnel::Stopping { .. }),
        );
        count(
            &mut self.retrying,
            matches!(state.tunnel, Tunnel::Down { retry: Some(_) }),
        );
        let inside = matches!(state.location, Location::Inside(_));
        count(&mut self.inside, inside);
        count(
            &mut self.held,
            !inside && state.location.verified().is_some(),
        );
        count(
            &mut self.asleep,
            matches!(state.location, Location::Asleep { .. }),
        );
        if let Location::Outside { why, .. } = state.location {
            count(&mut self.overdue, why == OutsideReason::ProbeOverdue);
            count(&mut self.not_confirmed, why == OutsideReason::NotConfirmed);
        }
        if let Location::Probing {
            outside_since: Some(_),
            confirmation,
            ..
        } = &state.location
        {
            count(&mut self.asked_again, true);
            count(&mut self.asked_again_while_up, up);
            let proved = matches!(confirmation, Confirmation::Second { .. });
            count(&mut self.corrected, proved);
        }
        count(
            &mut self.declined,
            matches!(state.key, Key::Declined { .. }),
        );
        count(&mut self.withdrawn, matches!(state.key, Key::Withdrawn(_)));
        count(&mut self.blocked, matches!(state.key, Key::Blocked(_)));
        let away = matches!(state.key, Key::Away { .. });
        count(&mut self.away, away);
        count(&mut self.back, self.was_away && up && !away);
        self.was_away = away;
        count(
            &mut self.open,
            matches!(world.host, Some(HostMode::Inside { .. })),
        );
    }

    fn assert_everything(&self) {
        let Self {
            starting,
            up,
            up_while_locked,
            stopping,
            retrying,
            inside,
            held,
            overdue,
            not_confirmed,
            asked_again,
            asked_again_while_up,
            corrected,
            asleep,
            declined,
            withdrawn,
            blocked,
            away,
            back,
            open,
            was_away: _,
        } = self;
        let all = [
            starting,
            up,
            up_while_locked,
            stopping,
            retrying,
            inside,
            held,
            overdue,
            not_confirmed,
            asked_again,
            asked_again_while_up,
            corrected,
            asleep,
            declined,
            withdrawn,
            blocked,
            away,
            back,
            open,
        ];
        assert!(
            all.iter().all(|count| **count >= 100),
            "too seldom met: {self:?}"
        );
    }
}
