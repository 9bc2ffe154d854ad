//! The initiator with a slow, failing, or lying holder of its key (docs/decisions/0008), and with a peer that does not answer.

use sluss_wg::{
    DhError, Event, Input, NotSealed, Output, PublicKey, Respond, SharedSecret, Timing,
};

use crate::rig::{Holder, SECOND, Setup, World, address, initiations, key};

#[test]
fn a_packet_opens_the_tunnel_and_arrives() {
    let mut world = World::ordinary();
    assert!(matches!(
        world.alice_says(b"hello"),
        Err(NotSealed::Staged(_))
    ));
    world.deliver();
    assert_eq!(&world.bob.received[0][20..], b"hello");
    assert_eq!((world.alice.count(1), world.bob.count(2)), (1, 1));
}

/// Two operations for the first handshake, since `ss` is new; then one per handshake.
#[test]
fn a_handshake_costs_one_card_operation() {
    let mut world = World::with_card().connected();
    assert_eq!(world.alice.operations, 2);
    for handshake in 1..=5 {
        world.pass(121 * SECOND);
        world.talk();
        world.settle();
        assert_eq!(world.alice.sessions(), 1 + handshake);
        assert_eq!(world.alice.operations, 2 + handshake, "one each");
    }
}

#[test]
fn forgetting_the_key_wipes_ss_sessions_and_handshakes() {
    let mut world = World::with_card().connected();
    let captured = {
        world.bob_says(b"late").unwrap();
        world.bob.take_wire()
    };
    world.alice.handle(Input::ForgetKey, world.now);
    assert_eq!(
        world.alice.device.deadline(),
        None,
        "nothing is left that could be due"
    );
    let (now, from) = (world.now, world.bob.address);
    world.alice.receive(from, &captured[0], now);
    assert_eq!(world.alice.received.len(), 1, "no key opens it any more");
    assert!(
        matches!(world.alice_says(b"x"), Err(NotSealed::Staged(_))),
        "no key seals it"
    );
    world.pass_silently(6 * SECOND);
    assert_eq!(
        initiations(&world.alice.take_wire()),
        0,
        "message 1 needs the card again"
    );
    assert_eq!(world.alice.asked.back().unwrap().1, world.bob.key.public());
}

#[test]
fn forgetting_the_key_while_it_works_makes_the_answer_worthless() {
    let mut world = World::with_card();
    let _ = world.alice_says(b"x");
    world.alice.handle(Input::ForgetKey, world.now);
    world.alice.answer(world.now);
    assert_eq!(world.alice.sent, []);

    let _ = world.alice_says(b"x");
    world.alice.answer(world.now);
    world.deliver();
    world.alice.handle(Input::ForgetKey, world.now);
    world.alice.answer(world.now);
    assert_eq!(world.alice.sessions(), 0);
}

/// Somebody who saw message 1 answers it with rubbish: one operation, and the true answer still counts.
#[test]
fn a_forged_response_costs_one_operation_and_leaves_the_handshake_intact() {
    let mut world = World::with_card();
    let _ = world.alice_says(b"x");
    world.alice.answer(world.now);
    let initiation = world.alice.take_wire().remove(0);
    let before = world.alice.operations;

    let forged = forge_response(&initiation, 9);
    world.alice.receive(address(66), &forged, world.now);
    assert_eq!(world.alice.operations, before + 1);
    world.alice.answer(world.now);

    let (now, from) = (world.now, world.alice.address);
    world.bob.receive(from, &initiation, now);
    world.settle();
    assert_eq!(world.alice.sessions(), 1);
    assert_eq!(world.alice.operations, before + 2);
}

#[test]
fn while_the_card_works_on_a_forgery_the_true_response_is_kept() {
    let mut world = World::with_card();
    let _ = world.alice_says(b"x");
    world.alice.answer(world.now);
    let initiation = world.alice.take_wire().remove(0);
    world
        .alice
        .receive(address(66), &forge_response(&initiation, 9), world.now);

    let (now, from) = (world.now, world.alice.address);
    world.bob.receive(from, &initiation, now);
    world.deliver();
    assert_eq!(world.alice.asked.len(), 1, "one operation at a time");
    world.settle();
    assert_eq!(world.alice.sessions(), 1);
}

#[test]
fn forgeries_cannot_keep_the_card_busy_for_ever() {
    let mut world = World::with_card();
    let _ = world.alice_says(b"x");
    world.alice.answer(world.now);
    let initiation = world.alice.take_wire().remove(0);
    let before = world.alice.operations;
    for forgery in 1..=100 {
        world.alice.receive(
            address(66),
            &forge_response(&initiation, forgery),
            world.now,
        );
        while !world.alice.asked.is_empty() {
            world.alice.answer(world.now);
        }
    }
    assert!(
        world.alice.operations - before <= 8,
        "{} operations",
        world.alice.operations - before
    );
    world.pass(6 * SECOND);
    world.settle();
    assert_eq!(world.alice.sessions(), 1, "the next initiation starts anew");
}

#[test]
fn the_same_response_twice_costs_one_operation() {
    let mut world = World::with_card();
    let _ = world.alice_says(b"x");
    world.alice.answer(world.now);
    world.deliver();
    let before = world.alice.operations;
    let response = {
        let mut twin = World::with_card();
        let _ = twin.alice_says(b"x");
        twin.alice.answer(twin.now);
        let initiation = twin.alice.take_wire().remove(0);
        let (from, now) = (twin.alice.address, twin.now);
        twin.bob.receive(from, &initiation, now);
        twin.bob.take_wire().remove(0)
    };
    world.alice.receive(address(2), &response, world.now);
    world.settle();
    assert_eq!(
        (world.alice.operations, world.alice.sessions()),
        (before, 1)
    );
}

#[test]
fn an_answer_that_nobody_waits_for_is_ignored() {
    // 16 s: abandoned, and nothing else asked yet. 22 s: asked anew.
    for late in [16, 22] {
        let mut world = World::with_card();
        let _ = world.alice_says(b"x");
        let (stale, with) = world.alice.asked.pop_front().unwrap();
        world.pass_silently(late * SECOND);
        let rubbish = || SharedSecret::new([7; 32]);
        world.alice.handle(
            Input::Dh {
                id: stale,
                result: rubbish(),
            },
            world.now,
        );
        assert_eq!(world.alice.sent, []);

        world.pass_silently(6 * SECOND);
        let (fresh, _) = world.alice.asked.pop_front().unwrap();
        assert_ne!(stale, fresh);
        let result = world.alice.key.dh(&with);
        world
            .alice
            .handle(Input::Dh { id: fresh, result }, world.now);
        world.alice.handle(
            Input::Dh {
                id: fresh,
                result: rubbish(),
            },
            world.now,
        );
        world.settle();
        assert_eq!(world.alice.sessions(), 1);
    }
}

#[test]
fn a_late_answer_for_an_old_response_does_not_disturb_the_new_one() {
    let mut world = World::with_card();
    let _ = world.alice_says(b"x");
    world.alice.answer(world.now);
    world.deliver();
    let (stale, with) = world.alice.asked.pop_front().unwrap();
    world.pass(16 * SECOND);
    assert_eq!(
        world.alice.asked.len(),
        1,
        "abandoned, and the next initiation answered"
    );
    let result = world.alice.key.dh(&with);
    world
        .alice
        .handle(Input::Dh { id: stale, result }, world.now);
    assert_eq!(world.alice.sessions(), 0);
    world.settle();
    assert_eq!((world.alice.sessions(), world.alice.count(1)), (1, 2));
}

/// RFC 7748, 6.1: all zeros come of a point of low order. Some cards return them as if nothing were wrong.
#[test]
fn a_zero_result_is_refused() {
    assert!(matches!(SharedSecret::new([0; 32]), Err(DhError::Zero)));
    for low_order in [[0; 32], {
        let mut one = [0; 32];
        one[0] = 1;
        one
    }] {
        assert!(matches!(
            key(1).dh(&PublicKey(low_order)),
            Err(DhError::Zero)
        ));
    }
    let mut world = World::with_card();
    let _ = world.alice_says(b"x");
    world
        .alice
        .answer_with(SharedSecret::new([0; 32]), world.now);
    assert_eq!(world.alice.sent, []);
    world.pass(6 * SECOND);
    world.settle();
    assert_eq!(world.alice.sessions(), 1, "asked again later");
}

/// The card is done 4 s after the request; the peer has its REKEY-TIMEOUT from when message 1 left.
#[test]
fn the_retransmit_timer_runs_from_the_send() {
    let mut world = World::with_card();
    let _ = world.alice_says(b"x");
    world.pass_silently(4 * SECOND);
    world.alice.answer(world.now);
    assert_eq!(initiations(&world.alice.take_wire()), 1);
    world.pass_silently(SECOND * 49 / 10);
    assert_eq!(initiations(&world.alice.take_wire()), 0, "not yet");
    world.pass_silently(SECOND / 2);
    assert_eq!(
        initiations(&world.alice.take_wire()),
        1,
        "5 s and up to a third"
    );
}

#[test]
fn retransmissions_are_new_and_jittered() {
    let mut world = World::ordinary();
    let _ = world.alice_says(b"x");
    let (mut delays, mut indices) = (Vec::new(), Vec::new());
    let mut last = world.now.boot;
    while delays.len() < 16 {
        indices.push(world.alice.take_wire()[0][4..8].to_vec());
        let due = world.alice.device.deadline().unwrap().at;
        delays.push(due.saturating_since(last));
        world.pass_silently(due.saturating_since(last));
        last = due;
    }
    assert!(
        delays
            .iter()
            .all(|delay| (5 * SECOND..=SECOND * 16 / 3).contains(delay)),
        "{delays:?}"
    );
    delays.dedup();
    indices.sort();
    indices.dedup();
    assert!(delays.len() > 8 && indices.len() == 16);
}

/// Whitepaper 6.4; and it is told: sent, and nobody answered.
#[test]
fn it_gives_up_after_rekey_attempt_time_and_starts_again_with_the_next_packet() {
    let mut world = World::ordinary();
    let _ = world.alice_says(b"x");
    world.pass_silently(89 * SECOND);
    assert!(
        !world
            .alice
            .events
            .iter()
            .any(|event| matches!(event, Event::GaveUp { .. }))
    );
    world.pass_silently(7 * SECOND);
    assert!(
        world
            .alice
            .events
            .iter()
            .any(|event| matches!(event, Event::GaveUp { .. }))
    );
    let sent = world.alice.count(1);
    assert!((16..=19).contains(&sent), "{sent} in 90 s");
    let peer = world.alice.peer();
    assert!(world.alice.events.contains(&Event::HandshakeUnanswered {
        peer,
        attempts: sent as u32
    }));
    assert_eq!(world.alice.device.deadline(), None, "silence");
    world.pass_silently(3600 * SECOND);
    assert_eq!(world.alice.count(1), sent);

    world.alice.wire.clear();
    world.talk();
    assert_eq!(
        world.bob.received.len(),
        1,
        "what waited before was dropped"
    );
}

/// Whitepaper 6.4: the attempt's time starts again when there is a new packet to send.
#[test]
fn new_packets_keep_the_attempt_alive() {
    let mut world = World::ordinary();
    for _ in 0..30 {
        let _ = world.alice_says(b"x");
        world.pass_silently(6 * SECOND);
    }
    assert!(
        !world
            .alice
            .events
            .iter()
            .any(|event| matches!(event, Event::GaveUp { .. }))
    );
    assert!(world.alice.count(1) >= 30);
}

#[test]
fn a_card_that_hangs_is_abandoned_and_asked_again_while_the_session_lives() {
    let mut world = World::with_card().connected();
    world.pass(121 * SECOND);
    world.alice_says(b"on the old session").unwrap();
    world.deliver();
    assert_eq!(
        world.alice.asked.len(),
        1,
        "the card is asked for the next session and hangs"
    );
    for _ in 0..10 {
        world.pass(5 * SECOND);
        world.alice_says(b"still").unwrap();
        world.bob_says(b"there").unwrap();
        world.deliver();
    }
    assert!(world.alice.asked.len() >= 2, "abandoned and asked again");
    while world.alice.asked.len() > 1 {
        world.alice.asked.pop_front();
    }
    world.settle();
    assert_eq!(world.alice.sessions(), 2, "before the old one ran out");
}

/// A card that needs 10 s each time is slower than the retransmit timer and still fast enough.
#[test]
fn a_slow_card_is_slow_but_never_starves() {
    let mut world = World::with_card();
    let _ = world.alice_says(b"x");
    world.pass(10 * SECOND);
    world.alice.answer(world.now);
    world.deliver();
    world.pass(10 * SECOND);
    world.alice.answer(world.now);
    world.deliver();
    assert_eq!((world.alice.sessions(), world.alice.count(1)), (1, 1));
    for second in 0..600 {
        world.pass(SECOND);
        if world.alice_says(&[second as u8]).is_err() {
            panic!("stalled after {second} s");
        }
        if second % 10 == 9 && !world.alice.asked.is_empty() {
            world.alice.answer(world.now);
        }
    }
    assert!(world.alice.sessions() >= 4);
}

/// The gateway counts its 180 s from when it answered. We do not know when that was, but it was after we asked.
#[test]
fn a_session_is_as_old_as_its_initiation() {
    let mut world = World::with_card();
    let _ = world.alice_says(b"x");
    world.alice.answer(world.now);
    world.pass_silently(2 * SECOND);
    world.deliver();
    world.pass(10 * SECOND);
    world.alice.answer(world.now);
    world.deliver();
    world.alice.asked.clear();
    world.jump(SECOND * 1679 / 10);
    assert!(
        world.alice_says(b"x").is_ok(),
        "179.9 s after the initiation"
    );
    world.jump(SECOND / 5);
    assert!(matches!(world.alice_says(b"x"), Err(NotSealed::Staged(_))));
}

#[test]
fn a_failing_card_is_asked_again_and_in_the_end_given_up() {
    let mut world = World::with_card();
    let _ = world.alice_says(b"x");
    for _ in 0..40 {
        if !world.alice.asked.is_empty() {
            world
                .alice
                .answer_with(Err(DhError::Unavailable), world.now);
        }
        world.pass(5 * SECOND);
    }
    assert_eq!(world.alice.sent, []);
    assert!(
        (15..=20).contains(&world.alice.operations),
        "{} in 90 s",
        world.alice.operations
    );
    assert!(
        world
            .alice
            .events
            .iter()
            .any(|event| matches!(event, Event::GaveUp { .. }))
    );
    world.talk();
}

/// A card that once computed rubbish for `ss` must not lock the user out for good.
#[test]
fn an_ss_that_never_worked_is_not_kept() {
    let mut world = World::with_card();
    let _ = world.alice_says(b"x");
    world
        .alice
        .answer_with(SharedSecret::new([7; 32]), world.now);
    world.pass(100 * SECOND);
    assert_eq!(world.alice.sessions(), 0);
    world.talk();
}

#[test]
fn a_kick_opens_the_tunnel_without_a_packet() {
    let mut world = World::with_card();
    let peer = world.alice.peer();
    world.alice.handle(Input::Kick(peer), world.now);
    world.settle();
    assert_eq!(
        (world.alice.sessions(), world.bob.sessions()),
        (1, 1),
        "the keepalive confirmed it"
    );
    world.bob_says(b"x").unwrap();
    world.deliver();
    assert_eq!(world.alice.received.len(), 1);
}

#[test]
fn a_kick_on_a_live_session_sends_a_keepalive_at_once() {
    let mut world = World::with_card().connected();
    let peer = world.alice.peer();
    let before = (world.alice.count(1), world.alice.count(4));
    world.alice.handle(Input::Kick(peer), world.now);
    assert_eq!(
        (world.alice.count(1), world.alice.count(4)),
        (before.0, before.1 + 1)
    );
}

#[test]
fn a_kick_does_not_wait_for_an_answer_by_the_old_network() {
    let mut world = World::with_card();
    let peer = world.alice.peer();
    world.alice.handle(Input::Kick(peer), world.now);
    world.alice.answer(world.now);
    world.alice.wire.clear();
    world.pass(SECOND);
    world.alice.handle(Input::Kick(peer), world.now);
    assert_eq!(world.alice.count(1), 2);
    world.settle();
    assert_eq!(world.alice.sessions(), 1);
}

#[test]
fn the_stamp_is_persisted_ahead_and_rises_over_a_restart_with_the_clock_set_back() {
    let mut world = World::ordinary().connected();
    let floor = world
        .alice
        .persisted
        .expect("persisted with the first initiation");
    let old = world.alice.device.status().next().unwrap();
    assert!(old.last_handshake.is_some());

    let mut restarted = World::new(
        Setup {
            stamp_floor: floor,
            ..Setup::default()
        },
        Setup::default(),
    );
    restarted.now.wall -= 3000 * SECOND;
    restarted.now.boot = world.now.boot + SECOND;
    world.alice = restarted.alice;
    world.now = restarted.now;
    world.talk();
    assert_eq!(
        world.alice.sessions(),
        1,
        "the gateway did not take it for a replay"
    );
}

/// Otherwise a crash between the two would send the same stamp twice.
#[test]
fn a_stamp_is_persisted_before_it_is_sent() {
    let mut world = World::ordinary();
    let (peer, mut outputs) = (world.alice.peer(), Vec::new());
    let kick = Input::Kick(peer);
    world
        .alice
        .device
        .handle_with(&key(1), kick, world.now, &mut outputs);
    let persist = outputs
        .iter()
        .position(|output| matches!(output, Output::PersistStamp { .. }));
    let send = outputs
        .iter()
        .position(|output| matches!(output, Output::Send { .. }));
    assert!(persist.is_some() && persist < send);
}

/// Both have something to say at the same moment.
#[test]
fn both_may_begin_at_once() {
    let mut world = World::ordinary();
    let _ = world.alice_says(b"from Alice");
    let _ = world.bob_says(b"from Bob");
    world.deliver();
    assert_eq!(
        (world.alice.received.len(), world.bob.received.len()),
        (1, 1)
    );
    for _ in 0..20 {
        world.talk();
        world.pass(30 * SECOND);
    }
    assert_eq!(world.alice.dropped, []);
    assert_eq!(world.bob.dropped, []);
}

#[test]
fn sessions_begin_anew_by_messages_and_end_by_messages() {
    let timing = Timing {
        rekey_after_messages: 20,
        reject_after_messages: 40,
        ..Timing::default()
    };
    let mut world = World::new(
        Setup {
            timing,
            ..Setup::default()
        },
        Setup {
            timing,
            ..Setup::default()
        },
    );
    world.talk();
    world.pass(6 * SECOND);
    for _ in 0..100 {
        let _ = world.alice_says(b"x");
        world.deliver();
        world.pass(SECOND / 2);
    }
    assert!(world.alice.sessions() >= 4);
    assert_eq!(world.bob.received.len(), 101, "and nothing was lost");
    assert_eq!(world.bob.dropped, []);
}

#[test]
fn no_more_than_reject_after_messages_are_sealed() {
    let timing = Timing {
        rekey_after_messages: 20,
        reject_after_messages: 40,
        ..Timing::default()
    };
    let mut world = World::new(
        Setup {
            timing,
            ..Setup::default()
        },
        Setup {
            timing,
            holder: Holder::Card,
            respond: Respond::Never,
            ..Setup::default()
        },
    );
    let _ = world.bob_says(b"x");
    world.settle();
    world.alice.sent.clear();
    for _ in 0..100 {
        let _ = world.alice_says(b"x");
        world.deliver();
    }
    assert!(world.alice.count(4) <= 40);
}

/// Message 2 for the handshake in `initiation`, with valid mac1 and nothing else right.
fn forge_response(initiation: &[u8], salt: u8) -> Vec<u8> {
    use blake2::digest::{FixedOutput, KeyInit, Update, consts::U16};
    use blake2::{Blake2s256, Blake2sMac, Digest};
    let mut forged = vec![2, 0, 0, 0, 1, 2, 3, 4];
    forged.extend(&initiation[4..8]);
    forged.extend(key(100 + salt % 100).public().0);
    forged.extend([salt; 16]);
    let label: [u8; 32] = Blake2s256::new()
        .chain_update(b"mac1----")
        .chain_update(key(1).public().0)
        .finalize()
        .into();
    let mac1 = <Blake2sMac<U16> as KeyInit>::new_from_slice(&label)
        .unwrap()
        .chain(&forged)
        .finalize_fixed();
    forged.extend(mac1);
    forged.extend([0; 16]);
    forged
}
