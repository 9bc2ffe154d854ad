//! Cookies and load (whitepaper 5.3, 5.4.7).

use sluss_wg::Respond;

use crate::rig::{Holder, SECOND, Setup, World, address};

/// Replays an initiation from many addresses; what Bob answers is lost.
fn flood(world: &mut World, initiation: &[u8]) {
    let before = world.bob.wire.len();
    for host in 100..200 {
        world.bob.receive(address(host), initiation, world.now);
    }
    world.bob.wire.truncate(before);
}

#[test]
fn a_responder_at_ease_hands_out_no_cookies() {
    let mut world = World::ordinary();
    for _ in 0..10 {
        world.talk();
        world.pass(121 * SECOND);
    }
    assert_eq!(world.bob.count(3), 0);
}

#[test]
fn under_load_only_a_cookie_is_served_and_the_cookie_works() {
    let mut world = World::ordinary();
    let _ = world.alice_says(b"x");
    let first = world.alice.take_wire().remove(0);
    flood(&mut world, &first);
    assert!(
        world.bob.operations < 100 && world.bob.count(3) > 40,
        "most of it got cookies, not work"
    );

    for sessions in [0, 1] {
        world.pass_silently(SECOND * 11 / 2);
        flood(&mut world, &first);
        let before = world.bob.count(3);
        world.deliver();
        assert_eq!(
            world.alice.sessions(),
            sessions,
            "a cookie first, then the handshake"
        );
        assert_eq!(world.bob.count(3), before + 1 - sessions);
    }
}

fn card_world() -> World {
    let bob = Setup {
        holder: Holder::Card,
        respond: Respond::Guarded,
        ..Setup::default()
    };
    World::new(Setup::default(), bob)
}

#[test]
fn one_mac1_buys_one_cookie() {
    let mut world = card_world();
    let _ = world.alice_says(b"x");
    let initiation = world.alice.take_wire().remove(0);
    // Two cookie replies for the same mac1, made for different addresses.
    for from in [address(1), address(99)] {
        world.bob.receive(from, &initiation, world.now);
    }
    for reply in world.bob.take_wire() {
        world.alice.receive(address(2), &reply, world.now);
    }
    world.pass(6 * SECOND);
    assert_eq!(
        world.bob.operations, 1,
        "the first, which is for Alice's address, was kept"
    );
}

#[test]
fn a_forged_cookie_reply_changes_nothing() {
    let mut world = card_world();
    let _ = world.alice_says(b"x");
    let initiation = world.alice.take_wire().remove(0);
    world.bob.receive(address(1), &initiation, world.now);
    let reply = world.bob.take_wire().remove(0);
    for at in [4, 8, 31, 32, 63] {
        let mut forged = reply.clone();
        forged[at] ^= 1;
        world.alice.receive(address(2), &forged, world.now);
    }
    world.alice.receive(address(2), &reply, world.now);
    world.pass(6 * SECOND);
    assert_eq!(world.bob.operations, 1, "the true reply still counted");
}

#[test]
fn a_cookie_lasts_two_minutes_on_both_sides() {
    let mut world = card_world();
    let _ = world.alice_says(b"x");
    world.deliver();
    world.pass_silently(80 * SECOND);
    let early = world.alice.take_wire().pop().unwrap();
    assert_ne!(early[132..], [0; 16]);
    let _ = world.alice_says(b"x");
    world.pass_silently(46 * SECOND);
    let late = world.alice.take_wire().pop().unwrap();
    assert_eq!(late[132..], [0; 16], "Alice no longer uses it");
    world.bob.receive(address(1), &early, world.now);
    assert_eq!(world.bob.operations, 0, "Bob no longer takes it");
    assert_eq!(world.bob.count(3), 2);
}
