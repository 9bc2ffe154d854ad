//! Our WireGuard against boringtun's, in both roles, over a bad network, with a slow and failing card and a clock that jumps.
//!
//! The oracle is what any user would say: what comes out went in, unchanged and once; when the network is good again,
//! packets pass both ways within the whitepaper's time, and then none is lost. Seeds are fixed and printed. Time is an
//! argument on our side, and boringtun's `mock-instant` on the other; that clock is per thread, so each test has its own.

mod ours;
mod rng;
mod world;

use std::cmp::Reverse;
use std::ops::RangeInclusive;

use sluss_wg::{Input, Respond};

use crate::world::{Flight, SECOND, World};

#[test]
fn we_initiate_from_a_slow_card() {
    let plan = Plan {
        starts: &[Side::Ours],
        respond: Respond::Never,
        card: Card::Slow,
    };
    assert!(run(&plan, 1..=10) >= 1000);
}

#[test]
fn boringtun_initiates() {
    let plan = Plan {
        starts: &[Side::Theirs],
        respond: Respond::Freely,
        card: Card::Memory,
    };
    assert!(run(&plan, 11..=20) >= 1000);
}

#[test]
fn boringtun_initiates_towards_a_guarded_slow_card() {
    let plan = Plan {
        starts: &[Side::Theirs],
        respond: Respond::Guarded,
        card: Card::Slow,
    };
    assert!(run(&plan, 21..=30) >= 1000);
}

#[test]
fn both_initiate() {
    let plan = Plan {
        starts: &[Side::Ours, Side::Theirs],
        respond: Respond::Freely,
        card: Card::Slow,
    };
    assert!(run(&plan, 31..=40) >= 1000);
}

/// boringtun counts itself under load after ten handshake messages in a second: a real cookie for us to use.
#[test]
fn we_use_the_cookie_of_a_loaded_boringtun() {
    let plan = Plan {
        starts: &[Side::Ours],
        respond: Respond::Never,
        card: Card::Memory,
    };
    let mut world = World::new(&plan, 41);
    world.send(Side::Ours);
    let Some(Reverse(Flight {
        bytes: initiation, ..
    })) = world.wire.peek()
    else {
        panic!("an initiation is under way");
    };
    let initiation = initiation.clone();
    world.pass(10 * SECOND);
    assert_eq!(world.ours.sessions, 1);
    world.our_turn(|ours, now, _| ours.handle(Input::ForgetKey, now));

    // A replay counts as load, too; boringtun counts anew every second.
    let load = |world: &mut World| (0..20).for_each(|_| world.theirs_receive(&initiation));
    load(&mut world);
    world.send(Side::Ours);
    world.pass(SECOND / 5);
    assert_eq!(world.ours.sessions, 1, "refused for want of a cookie");
    for _ in 0..60 {
        load(&mut world);
        world.pass(SECOND / 10);
    }
    assert_eq!(world.ours.sessions, 2, "with the cookie it was served");
}

struct Plan {
    /// Who sends of its own accord, and so begins handshakes. The other only replies.
    starts: &'static [Side],
    respond: Respond,
    card: Card,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Card {
    /// A key in memory, which answers in the same turn.
    Memory,
    /// Answers after up to [`CARD`]; in bad times one in ten answers is an error, and one in ten never comes.
    Slow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Ours,
    Theirs,
}

/// Runs a plan with each seed; the number of sessions that came about.
fn run(plan: &Plan, seeds: RangeInclusive<u64>) -> usize {
    let sessions = seeds.map(|seed| {
        println!("seed {seed}");
        let mut world = World::new(plan, seed);
        for _ in 0..60 {
            world.storm(plan);
            world.calm(plan);
        }
        let World {
            sent,
            delivered,
            ours,
            now,
            ..
        } = &world;
        let (sent, delivered, sessions) = (sent.len(), delivered.len(), ours.sessions);
        println!(
            "{sessions} sessions, {delivered} of {sent} packets arrived, until {:?}",
            now.boot
        );
        sessions
    });
    sessions.sum()
}
