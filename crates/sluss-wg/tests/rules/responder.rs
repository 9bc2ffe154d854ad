//! The responder: who may make the holder of the key work, and whom it believes (whitepaper 5.1, 5.3; docs/decisions/0008).

use sluss_wg::{DhError, Input, NotSealed, Respond, SharedSecret};

use crate::rig::{Holder, Node, SECOND, Setup, World, address};

/// Bob's key is on a card, too, and his policy lets it answer.
fn guarded() -> World {
    let bob = Setup {
        holder: Holder::Card,
        respond: Respond::Guarded,
        ..Setup::default()
    };
    World::new(Setup::default(), bob)
}

/// An initiation of Alice's, off the wire.
fn initiation(world: &mut World) -> Vec<u8> {
    let _ = world.alice_says(b"x");
    world.alice.take_wire().remove(0)
}

#[test]
fn a_held_key_answers_nobody_unless_policy_says_so() {
    let bob = Setup {
        holder: Holder::Card,
        respond: Respond::Never,
        ..Setup::default()
    };
    let mut world = World::new(Setup::default(), bob);
    let _ = world.alice_says(b"x");
    world.pass(30 * SECOND);
    assert_eq!((world.bob.operations, world.bob.sent.len()), (0, 0));
}

#[test]
fn a_guarded_key_works_only_for_who_proves_an_address() {
    let mut world = guarded();
    let _ = world.alice_says(b"x");
    world.deliver();
    assert_eq!(
        (world.bob.operations, world.bob.count(3)),
        (0, 1),
        "a cookie first"
    );
    world.pass(6 * SECOND);
    assert_eq!(world.bob.operations, 1, "the next initiation has mac2");
    world.settle();
    assert_eq!(world.bob.received.len(), 1);
}

#[test]
fn a_cookie_is_good_for_one_address_only() {
    let mut world = guarded();
    let _ = world.alice_says(b"x");
    world.deliver();
    world.pass_silently(6 * SECOND);
    let with_cookie = world.alice.take_wire().remove(0);
    assert_ne!(with_cookie[132..], [0; 16]);
    world.bob.receive(address(66), &with_cookie, world.now);
    assert_eq!((world.bob.operations, world.bob.count(3)), (0, 2));
}

#[test]
fn a_guarded_key_answers_with_one_operation_once_it_knows_the_peer() {
    let mut world = guarded();
    let _ = world.alice_says(b"x");
    world.deliver();
    world.pass(6 * SECOND);
    world.settle();
    assert_eq!(
        (world.bob.operations, world.bob.sessions()),
        (2, 1),
        "es and ss"
    );
    world.pass(100 * SECOND);
    let _ = world.alice_says(b"x");
    world.deliver();
    world.pass(21 * SECOND);
    let _ = world.alice_says(b"x");
    for _ in 0..3 {
        world.settle();
        world.pass(6 * SECOND);
    }
    assert_eq!((world.bob.operations, world.bob.sessions()), (3, 2), "es");
}

#[test]
fn a_flood_from_a_proven_address_costs_a_guarded_key_little() {
    let mut world = guarded();
    let _ = world.alice_says(b"x");
    world.deliver();
    world.pass_silently(6 * SECOND);
    let with_cookie = world.alice.take_wire().remove(0);
    let from = world.alice.address;
    for _ in 0..60 {
        for _ in 0..100 {
            world.bob.receive(from, &with_cookie, world.now);
            while !world.bob.asked.is_empty() {
                world.bob.answer(world.now);
            }
        }
        world.pass_silently(SECOND);
    }
    assert!(
        world.bob.operations <= 40,
        "{} operations in a minute",
        world.bob.operations
    );
}

#[test]
fn what_waits_for_a_hanging_card_is_bounded_and_goes_stale() {
    let mut world = World::new(
        Setup::default(),
        Setup {
            holder: Holder::Card,
            ..Setup::default()
        },
    );
    let replayed = initiation(&mut world);
    let from = world.alice.address;
    for host in 0..40 {
        world.bob.receive(address(100 + host), &replayed, world.now);
    }
    assert_eq!(world.bob.asked.len(), 1, "one at a time");
    for _ in 0..10 {
        world.bob.answer_with(Err(DhError::Unavailable), world.now);
        assert_eq!(world.bob.asked.len(), 1, "the next in the queue");
    }
    world.bob.receive(from, &replayed, world.now);
    world.pass_silently(6 * SECOND);
    world.bob.answer_with(Err(DhError::Unavailable), world.now);
    assert_eq!(
        world.bob.asked.len(),
        0,
        "the rest waited longer than its sender does"
    );
    assert_eq!(world.bob.operations, 11);
}

#[test]
fn a_card_that_hangs_for_one_stranger_serves_the_next() {
    let mut world = World::new(
        Setup::default(),
        Setup {
            holder: Holder::Card,
            ..Setup::default()
        },
    );
    let _ = world.alice_says(b"x");
    world.deliver();
    world.pass(14 * SECOND);
    assert_eq!(world.bob.asked.len(), 1);
    world.pass(2 * SECOND);
    assert_eq!(
        world.bob.asked.len(),
        2,
        "abandoned, and the newest initiation examined"
    );
    let (stale, _) = world.bob.asked.pop_front().unwrap();
    world.bob.handle(
        Input::Dh {
            id: stale,
            result: SharedSecret::new([9; 32]),
        },
        world.now,
    );
    for _ in 0..6 {
        world.settle();
        world.pass(SECOND);
    }
    assert_eq!(world.alice.sessions(), 1);
}

#[test]
fn who_sends_again_has_given_up_on_what_it_sent_before() {
    let mut world = World::new(
        Setup::default(),
        Setup {
            holder: Holder::Card,
            ..Setup::default()
        },
    );
    let _ = world.alice_says(b"x");
    for _ in 0..3 {
        world.pass(SECOND * 11 / 2);
    }
    let operations = world.bob.operations;
    while !world.bob.asked.is_empty() {
        world.bob.answer(world.now);
        world.pass(SECOND / 10);
    }
    assert!(
        world.bob.operations <= operations + 3,
        "the newest alone was examined after the one under way"
    );
    assert_eq!(world.alice.sessions(), 1);
}

#[test]
fn a_message_without_mac1_gets_no_answer_and_no_work() {
    let mut world = World::ordinary();
    let good = initiation(&mut world);
    let from = world.alice.address;
    for at in [0, 4, 8, 40, 116, 131] {
        let mut forged = good.clone();
        forged[at] ^= 1;
        world.bob.receive(from, &forged, world.now);
    }
    assert_eq!((world.bob.operations, world.bob.sent.len()), (0, 0));
    world.bob.receive(from, &good, world.now);
    assert_eq!(world.bob.count(2), 1, "and the unchanged one does");
}

/// Whitepaper 5.1: the timestamp must be greater than the greatest seen.
#[test]
fn a_replayed_initiation_is_not_answered() {
    let mut world = World::ordinary();
    let first = initiation(&mut world);
    world.pass_silently(6 * SECOND);
    let second = world.alice.take_wire().remove(0);
    let from = world.alice.address;
    for (replay, answers) in [
        (&first, 1),
        (&first, 1),
        (&second, 2),
        (&first, 2),
        (&second, 2),
    ] {
        world.bob.receive(from, replay, world.now);
        assert_eq!(world.bob.count(2), answers);
        world.pass_silently(SECOND);
    }
}

#[test]
fn initiations_in_the_same_instant_are_a_flood() {
    let mut world = World::ordinary();
    let first = initiation(&mut world);
    world.pass_silently(6 * SECOND);
    let second = world.alice.take_wire().remove(0);
    let from = world.alice.address;
    world.bob.receive(from, &first, world.now);
    world.bob.receive(from, &second, world.now);
    assert_eq!(world.bob.count(2), 1);
}

#[test]
fn a_responder_does_not_keep_an_ss_that_never_worked() {
    let mut world = World::new(
        Setup::default(),
        Setup {
            holder: Holder::Card,
            ..Setup::default()
        },
    );
    let _ = world.alice_says(b"x");
    world.deliver();
    world.bob.answer(world.now);
    world.bob.answer_with(SharedSecret::new([7; 32]), world.now);
    assert_eq!(world.bob.sent, []);
    world.pass(6 * SECOND);
    world.settle();
    assert_eq!(world.bob.received.len(), 1);
}

#[test]
fn a_stranger_with_a_key_of_his_own_is_not_answered() {
    let mut world = World::ordinary();
    let mut stranger = Node::new(77, 2, &Setup::default(), world.now);
    let packet = crate::rig::packet(stranger.ip, world.bob.ip, b"let me in");
    let _ = stranger.send(&packet, world.now);
    world
        .bob
        .receive(stranger.address, &stranger.take_wire()[0], world.now);
    assert_eq!(world.bob.sent, []);
}

/// Whitepaper 6.3: the responder may not send before the initiator has shown that it has the key.
#[test]
fn the_responder_waits_for_the_first_packet() {
    let mut world = World::ordinary();
    let first = initiation(&mut world);
    let from = world.alice.address;
    world.bob.receive(from, &first, world.now);
    assert_eq!((world.bob.count(2), world.bob.sessions()), (1, 0));
    assert!(matches!(
        world.bob_says(b"too early"),
        Err(NotSealed::Staged(_))
    ));
    assert_eq!(world.bob.count(4), 0);
    world.deliver();
    assert_eq!(
        &world.alice.received[0][20..],
        b"too early",
        "and what waited goes out then"
    );
}

/// A handshake alone moves nothing: its sender address is not under any mac that a peer of ours makes anew.
#[test]
fn the_endpoint_does_not_follow_an_initiation() {
    let mut world = World::ordinary().connected();
    world.pass(121 * SECOND);
    let _ = world.alice_says(b"x");
    let initiation = world
        .alice
        .take_wire()
        .into_iter()
        .find(|bytes| bytes[0] == 1)
        .unwrap();
    world.bob.receive(address(66), &initiation, world.now);
    assert_eq!(
        world.bob.wire.pop_front().unwrap().0,
        address(66),
        "the response goes back to where it came from"
    );
    world.bob_says(b"data").unwrap();
    assert_eq!(
        world.bob.wire.pop_front().unwrap().0,
        address(1),
        "data does not"
    );
}

#[test]
fn a_response_to_nobody_costs_nothing() {
    let mut world = World::with_card().connected();
    let operations = world.alice.operations;
    world.pass(121 * SECOND);
    let _ = world.alice_says(b"x");
    world.alice.wire.clear();
    let response = {
        let first = initiation(&mut World::ordinary());
        let mut bob = World::ordinary();
        let now = bob.now;
        bob.bob.receive(address(1), &first, now);
        bob.bob.take_wire().remove(0)
    };
    world.alice.receive(address(2), &response, world.now);
    assert_eq!(
        world.alice.operations, operations,
        "no handshake has that index"
    );
}
