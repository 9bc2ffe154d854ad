//! The timers of whitepaper section 6, and that an idle tunnel wakes nobody.

use std::time::Duration;

use sluss_wg::{Dropped, Event, NotSealed, Reason};

use crate::rig::{SECOND, Setup, World};

/// Whitepaper 6.5.
#[test]
fn data_without_an_answer_is_answered_by_one_keepalive_after_ten_seconds() {
    let mut world = World::ordinary().connected();
    world.pass(60 * SECOND);
    let before = (world.alice.count(4), world.bob.count(4));
    world.alice_says(b"x").unwrap();
    world.deliver();
    world.pass(SECOND * 99 / 10);
    assert_eq!(world.bob.count(4), before.1);
    world.pass(SECOND / 5);
    assert_eq!(world.bob.count(4), before.1 + 1, "10 s");
    world.pass(60 * SECOND);
    assert_eq!(
        (world.alice.count(4), world.bob.count(4)),
        (before.0 + 1, before.1 + 1),
        "and nobody answers a keepalive"
    );
}

#[test]
fn data_that_is_answered_in_time_needs_no_keepalive() {
    let mut world = World::ordinary().connected();
    for _ in 0..10 {
        world.talk();
        world.pass(9 * SECOND);
    }
    assert_eq!(world.bob.count(4), 11, "one packet for each of Alice's");
}

/// Whitepaper 6.5: KEEPALIVE-TIMEOUT + REKEY-TIMEOUT.
#[test]
fn a_dead_peer_is_noticed_after_fifteen_seconds() {
    let mut world = World::ordinary().connected();
    world.pass(60 * SECOND);
    world.alice_says(b"x").unwrap();
    world.pass_silently(SECOND * 149 / 10);
    assert_eq!(world.alice.count(1), 1);
    world.pass_silently(SECOND / 5);
    assert_eq!(world.alice.count(1), 2);
}

#[test]
fn a_keepalive_shows_that_the_peer_lives() {
    let mut world = World::ordinary().connected();
    for _ in 0..5 {
        world.alice_says(b"x").unwrap();
        world.pass(20 * SECOND);
    }
    assert_eq!(world.alice.count(1), 1, "Bob's keepalives were enough");
}

/// Whitepaper 6.2.
#[test]
fn the_initiator_rekeys_when_it_sends_after_two_minutes_and_the_responder_never_does() {
    let mut world = World::ordinary().connected();
    world.pass(119 * SECOND);
    world.talk();
    assert_eq!((world.alice.count(1), world.bob.count(1)), (1, 0));
    world.pass(2 * SECOND);
    world.bob_says(b"x").unwrap();
    world.deliver();
    assert_eq!(
        (world.alice.count(1), world.bob.count(1)),
        (1, 0),
        "121 s old, and only Bob has sent"
    );
    world.alice_says(b"x").unwrap();
    world.deliver();
    assert_eq!((world.alice.count(1), world.bob.count(1)), (2, 0));
    assert_eq!(world.alice.sessions(), 2);
}

/// Whitepaper 6.2: REJECT-AFTER-TIME - KEEPALIVE-TIMEOUT - REKEY-TIMEOUT.
#[test]
fn the_initiator_rekeys_when_it_only_receives_shortly_before_the_end() {
    let mut world = World::ordinary().connected();
    world.pass(164 * SECOND);
    world.bob_says(b"x").unwrap();
    world.deliver();
    assert_eq!(world.alice.count(1), 1);
    world.pass(2 * SECOND);
    for _ in 0..3 {
        world.bob_says(b"x").unwrap();
        world.deliver();
    }
    assert_eq!(world.alice.count(1), 2, "once");
}

#[test]
fn after_three_minutes_a_session_neither_sends_nor_receives() {
    let mut world = World::ordinary().connected();
    world.pass(SECOND * 1799 / 10);
    world.bob_says(b"late").unwrap();
    let late = world.bob.take_wire().remove(0);
    world.jump(SECOND / 5);
    world.alice.receive(world.bob.address, &late, world.now);
    assert_eq!(world.alice.dropped, [Dropped::Expired]);
    assert!(matches!(world.alice_says(b"x"), Err(NotSealed::Staged(_))));
}

/// Whitepaper 6.3.
#[test]
fn keys_are_wiped_after_nine_minutes_without_a_handshake() {
    let mut world = World::ordinary().connected();
    world.pass(30 * SECOND);
    let due = world.alice.device.deadline().unwrap();
    assert_eq!(due.reason, Reason::Zeroing, "nothing else is left to do");
    world.pass(600 * SECOND);
    assert!(
        world
            .alice
            .events
            .iter()
            .any(|event| matches!(event, Event::Forgotten { .. }))
    );
    assert_eq!(
        (world.alice.device.deadline(), world.bob.device.deadline()),
        (None, None)
    );
    world.talk();
}

#[test]
fn the_wiping_of_old_keys_does_not_hit_a_new_handshake() {
    let mut world = World::ordinary().connected();
    world.pass(536 * SECOND);
    assert!(world.alice_says(b"just before").is_err());
    world.alice.wire.clear();
    world.pass(20 * SECOND);
    assert!(
        world
            .alice
            .events
            .iter()
            .any(|event| matches!(event, Event::Forgotten { .. }))
    );
    assert_eq!(&world.bob.received.last().unwrap()[20..], b"just before");
}

#[test]
fn an_idle_tunnel_wakes_nobody() {
    let mut world = World::ordinary().connected();
    world.pass(3600 * SECOND);
    let wakes = (world.alice.wakes, world.bob.wakes);
    assert!(
        wakes.0 <= 3 && wakes.1 <= 3,
        "{wakes:?}: two looks after the last packet, and the wiping"
    );
}

#[test]
fn bulk_traffic_tells_control_little() {
    let mut world = World::ordinary().connected();
    let (notices, wakes) = (world.alice.notices, world.alice.wakes);
    for _ in 0..3000 {
        world.alice_says(&[0; 1000]).unwrap();
        world.bob_says(b"ack").unwrap();
        world.pass(SECOND / 50);
    }
    let (notices, wakes) = (world.alice.notices - notices, world.alice.wakes - wakes);
    assert!(
        notices <= 7 && wakes <= 7,
        "{notices} notices and {wakes} wakes in a minute"
    );
}

#[test]
fn a_persistent_keepalive_is_sent_in_silence_only() {
    let every = Duration::from_secs(25);
    let alice = Setup {
        persistent_keepalive: Some(every),
        ..Setup::default()
    };
    let mut world = World::new(alice, Setup::default()).connected();
    world.pass(11 * SECOND);
    let before = world.alice.count(4);
    world.pass(100 * SECOND);
    assert_eq!(world.alice.count(4), before + 4);
    let (before, sessions) = (world.alice.count(4), world.alice.sessions());
    for _ in 0..10 {
        world.alice_says(b"x").unwrap();
        world.pass(24 * SECOND);
    }
    let confirmations = world.alice.sessions() - sessions;
    assert_eq!(
        world.alice.count(4),
        before + 10 + confirmations,
        "packets, and one for each new session"
    );
    world.pass(3600 * SECOND);
    assert!(
        world.alice.sessions() > 20,
        "it keeps the session alive, too"
    );
}

#[test]
fn persistent_keepalive_opens_the_tunnel_by_itself() {
    let alice = Setup {
        persistent_keepalive: Some(25 * SECOND),
        ..Setup::default()
    };
    let mut world = World::new(alice, Setup::default());
    world.pass(26 * SECOND);
    assert_eq!((world.alice.sessions(), world.bob.sessions()), (1, 1));
}

#[test]
fn a_session_does_not_survive_the_night_but_the_tunnel_does() {
    let mut world = World::ordinary().connected();
    world.bob_says(b"before the night").unwrap();
    let old = world.bob.take_wire().remove(0);
    world.jump(8 * 3600 * SECOND);
    world.alice.receive(world.bob.address, &old, world.now);
    assert_eq!(world.alice.dropped, [Dropped::Expired]);
    world.tick();
    world.talk();
}

/// An hour of use: a handshake each two minutes, and no packet lost or even late.
#[test]
fn rekeying_loses_nothing() {
    let mut world = World::ordinary().connected();
    for _ in 0..1800 {
        let before = (world.alice.received.len(), world.bob.received.len());
        world.alice_says(b"x").unwrap();
        world.bob_says(b"y").unwrap();
        world.deliver();
        assert_eq!(
            (world.alice.received.len(), world.bob.received.len()),
            (before.0 + 1, before.1 + 1)
        );
        world.pass(2 * SECOND);
    }
    assert!(
        (29..=31).contains(&world.alice.sessions()),
        "{}",
        world.alice.sessions()
    );
    assert_eq!(
        (
            world.alice.dropped.len(),
            world.bob.dropped.len(),
            world.bob.count(1)
        ),
        (0, 0, 0)
    );
}
