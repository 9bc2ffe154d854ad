//! One peer at several endpoints: who is called when, who wins, and what it costs the card (docs/decisions/0021).

use std::net::SocketAddr;
use std::time::Duration;

use sluss_wg::{Event, Input};

use crate::rig::{Holder, Node, SECOND, Setup, packet};
use crate::town::{Town, first, second};

const GAP: Duration = SECOND;
const HOLD_DOWN: Duration = Duration::from_secs(300);
/// REKEY-TIMEOUT with all its jitter.
const RETRANSMIT: Duration = Duration::from_millis(5334);

#[test]
fn both_families_are_called_at_once_with_one_message() {
    let mut town = Town::new();
    town.kick();
    let [v6, v4] = first();
    assert_eq!(town.called(), [(Duration::ZERO, v6), (Duration::ZERO, v4)]);
    assert_eq!(town.calls[0].2, town.calls[1].2, "byte for byte the same");
    town.pass(4 * SECOND);
    assert_eq!(
        town.calls.len(),
        2,
        "nobody else is called once one answers"
    );
    assert_eq!((town.sessions(), town.in_use()), (1, v6));
    assert_eq!(town.silent(), [], "the other copy is a replay to a gateway");
}

#[test]
fn one_dead_family_costs_no_time() {
    for (dead, alive) in [(0, 1), (1, 0)] {
        let mut town = Town::new();
        town.deaf.insert(first()[dead]);
        town.kick();
        assert_eq!((town.sessions(), town.in_use()), (1, first()[alive]));
        assert_eq!(town.laptop.operations, 2, "ss, and one for the handshake");
    }
}

/// The message arrives by IPv6 first, its answer never: the copy by IPv4 is a replay by then.
#[test]
fn a_path_that_loses_only_the_answers_does_not_win_for_ever() {
    let mut town = Town::new();
    town.list(&[&first()]);
    town.mute.insert(first()[0]);
    town.kick();
    assert_eq!(town.sessions(), 0);
    town.pass(RETRANSMIT);
    assert_eq!((town.sessions(), town.in_use()), (1, first()[1]));
}

#[test]
fn a_silent_gateway_is_left_for_the_next_with_the_same_message() {
    let mut town = Town::new();
    town.lose_first();
    town.kick();
    town.pass(GAP);
    assert_eq!((town.sessions(), town.in_use()), (1, second()[0]));
    assert!(town.calls.iter().all(|call| call.2 == town.calls[0].2));
    assert_eq!(town.laptop.operations, 2, "ss, and one for the handshake");
    assert_eq!(town.silent(), first());
}

#[test]
fn every_group_is_called_before_the_next_initiation() {
    let mut town = Town::new();
    let groups: Vec<[SocketAddr; 1]> = (10..18)
        .map(|host| [SocketAddr::from(([198, 51, 100, host], 51820))])
        .collect();
    town.list(&groups.iter().map(|group| &group[..]).collect::<Vec<_>>());
    town.kick();
    town.pass(5 * SECOND);
    let called: Vec<_> = town.calls.iter().map(|(_, to, _)| [*to]).collect();
    assert_eq!(called, groups);
    town.pass(RETRANSMIT);
    assert_ne!(town.calls[8].2, town.calls[0].2, "and around again");
    assert_eq!(town.calls[8].1, groups[0][0]);
}

#[test]
fn silence_under_traffic_leads_to_the_next_gateway() {
    let mut town = Town::connected();
    town.pass(30 * SECOND);
    town.lose_first();
    town.say();
    let silent_at = town.now.boot;
    while town.sessions() == 1 {
        town.pass(SECOND / 10);
    }
    let took = town.now.boot.saturating_since(silent_at);
    assert!(took < 21 * SECOND, "{took:?}");
    assert_eq!(town.in_use(), second()[0]);
    assert_eq!(town.laptop.operations, 3, "one more");
}

#[test]
fn a_rekey_calls_nobody_but_who_is_in_use() {
    let mut town = Town::connected();
    town.pass(121 * SECOND);
    town.say();
    town.pass(10 * SECOND);
    assert_eq!((town.sessions(), town.laptop.operations), (2, 3));
    assert_eq!(town.called(), [(Duration::ZERO, first()[0])]);
}

/// A laptop that works all day.
fn work(town: &mut Town, duration: Duration) {
    let until = town.now.boot + duration;
    while town.now.boot < until {
        town.say();
        town.pass(SECOND);
    }
}

#[test]
fn the_first_is_tried_again_after_the_hold_down_with_the_next_handshake() {
    let mut town = Town::new();
    town.lose_first();
    town.kick();
    town.pass(GAP);
    assert_eq!(town.in_use(), second()[0]);
    town.deaf.clear();
    work(&mut town, HOLD_DOWN - 2 * SECOND);
    assert_eq!(town.in_use(), second()[0], "not before");
    work(&mut town, 122 * SECOND);
    assert_eq!(town.in_use(), first()[0]);
    let sessions = town.sessions();
    assert_eq!(town.laptop.operations, 1 + sessions, "one each");
}

/// Make before break: the one in use is called with the same message, and the session goes on meanwhile.
#[test]
fn a_first_that_is_still_silent_costs_nothing_but_a_moment() {
    let mut town = Town::new();
    town.lose_first();
    town.kick();
    town.pass(GAP);
    work(&mut town, HOLD_DOWN + 122 * SECOND);
    assert_eq!(town.in_use(), second()[0]);
    let sessions = town.sessions();
    assert_eq!((sessions, town.laptop.operations), (4, 5));
    let gone = town.laptop.events.iter();
    assert!(!gone.clone().any(|event| matches!(
        event,
        Event::HandshakeUnanswered { .. } | Event::GaveUp { .. }
    )));
    let calls = town.calls.len();
    work(&mut town, 122 * SECOND);
    let new = &town.calls[calls..];
    assert_eq!(
        new.len(),
        1,
        "held down anew: only the one in use is called"
    );
    assert_eq!(new[0].1, second()[0]);
}

/// After a change of gateway, the other one's packets are still under way, and by the other family.
#[test]
fn a_late_packet_of_the_other_gateway_does_not_pull_the_endpoint_back() {
    let mut town = Town::connected();
    let greeting = packet(town.gateways[0].0.ip, town.laptop.ip, b"late");
    let now = town.now;
    town.gateways[0].0.send(&greeting, now).unwrap();
    let late = town.gateways[0].0.take_wire().remove(0);
    town.pass(10 * SECOND);
    town.lose_first();
    town.order(Input::NetworkChanged(town.laptop.peer()));
    town.pass(3 * SECOND);
    assert_eq!(town.in_use(), second()[0]);
    let now = town.now;
    town.laptop.receive(first()[1], &late, now);
    assert_eq!(town.laptop.received.len(), 1, "it is heard");
    assert_eq!(town.in_use(), second()[0]);
}

/// The answer of the first comes when the second has answered: it counts for nothing and costs nothing.
#[test]
fn a_gateway_that_answers_late_has_lost() {
    let mut town = Town::new();
    let [v6, v4] = first();
    town.deaf.insert(v4);
    town.slow = Some((v6, 2 * SECOND));
    town.kick();
    town.pass(GAP);
    assert_eq!((town.sessions(), town.in_use()), (1, second()[0]));
    town.pass(3 * SECOND);
    assert_eq!((town.sessions(), town.in_use()), (1, second()[0]));
    assert_eq!(town.laptop.operations, 2);
}

/// The network is slow, and the second was called just before the first was heard.
#[test]
fn who_had_no_time_to_answer_is_not_silent() {
    let mut town = Town::new();
    town.slow = Some((first()[0], GAP + GAP / 2));
    town.deaf.insert(first()[1]);
    town.deaf.extend(second());
    town.kick();
    town.pass(2 * GAP);
    assert_eq!((town.in_use(), town.silent()), (first()[0], vec![]));
}

#[test]
fn a_gateway_that_answers_late_is_heard_if_it_is_the_only_one() {
    let mut town = Town::new();
    town.deaf.extend(second());
    town.slow = Some((first()[0], 3 * SECOND));
    town.kick();
    town.pass(3 * SECOND);
    assert_eq!((town.sessions(), town.in_use()), (1, first()[0]));
}

#[test]
fn when_nobody_answers_all_are_silent_since_they_were_called() {
    let mut town = Town::new();
    town.lose_first();
    town.deaf.extend(second());
    town.kick();
    town.pass(RETRANSMIT);
    let status = town.laptop.device.status().next().unwrap();
    let since = |group| {
        let mut all = status.endpoints.iter().filter(move |it| it.group == group);
        let first = all.next().and_then(|it| it.silent_since);
        assert!(all.all(|it| it.silent_since == first));
        first
    };
    assert_eq!(since(0), Some(town.began));
    assert_eq!(since(1), Some(town.began + GAP));
    let unanswered = |event: &Event| matches!(event, Event::HandshakeUnanswered { .. });
    assert!(town.laptop.events.iter().any(unanswered));

    town.deaf.clear();
    town.kick();
    assert_eq!(
        town.silent(),
        second(),
        "they were called in vain and not since"
    );
}

#[test]
fn a_change_of_network_shows_the_way_with_one_handshake() {
    let mut town = Town::connected();
    town.pass(30 * SECOND);
    let before = town.laptop.count(4);
    town.order(Input::NetworkChanged(town.laptop.peer()));
    assert_eq!((town.sessions(), town.laptop.operations), (2, 3));
    assert!(town.laptop.count(4) > before, "the session told at once");
    assert_eq!(town.called(), [(Duration::ZERO, first()[0])]);

    town.deaf.insert(first()[0]);
    town.pass(30 * SECOND);
    town.order(Input::NetworkChanged(town.laptop.peer()));
    town.pass(GAP);
    assert_eq!(town.in_use(), first()[1], "the new network has no IPv6");
}

#[test]
fn on_another_network_the_first_gets_another_chance() {
    let mut town = Town::new();
    town.lose_first();
    town.kick();
    town.pass(30 * SECOND);
    assert_eq!(
        (town.in_use(), town.silent()),
        (second()[0], first().to_vec())
    );
    let moved = town.now.boot;
    town.order(Input::NetworkChanged(town.laptop.peer()));
    town.pass(GAP);
    assert_eq!(town.in_use(), second()[0], "as silent from here");
    let status = town.laptop.device.status().next().unwrap();
    assert_eq!(status.endpoints[0].silent_since, Some(moved));
    town.pass(30 * SECOND);
    town.deaf.clear();
    town.order(Input::NetworkChanged(town.laptop.peer()));
    assert_eq!((town.in_use(), town.silent()), (first()[0], vec![]));
}

#[test]
fn networks_that_change_all_the_time_cost_one_handshake_in_five_seconds() {
    let mut town = Town::connected();
    town.pass(30 * SECOND);
    for _ in 0..200 {
        town.order(Input::NetworkChanged(town.laptop.peer()));
        town.pass(SECOND / 20);
    }
    assert!(town.sessions() <= 4, "{}", town.sessions());
    assert_eq!(town.laptop.operations, 1 + town.sessions());
}

/// An answer takes longer than the time between two kicks: each kick sends, and none makes the answer worthless.
#[test]
fn kicks_faster_than_the_answer_do_not_starve_the_handshake() {
    let mut town = Town::new();
    town.list(&[&first()[..1]]);
    town.slow = Some((first()[0], 700 * SECOND / 1000));
    for _ in 0..100 {
        town.kick();
        town.pass(SECOND / 33);
        if town.sessions() > 0 {
            break;
        }
    }
    assert_eq!(town.sessions(), 1);
    assert_eq!(town.laptop.operations, 2);
    assert!(town.now.boot.saturating_since(town.began) < SECOND);
}

/// The gateway has answered by the network that is gone, and takes the message that comes again for a replay.
#[test]
fn a_kick_after_a_lost_answer_is_answered_within_a_second() {
    let mut town = Town::new();
    town.list(&[&first()[..1]]);
    town.mute.insert(first()[0]);
    town.kick();
    town.pass(SECOND / 10);
    town.mute.clear();
    town.kick();
    assert_eq!(town.sessions(), 0, "a replay");
    town.pass(SECOND);
    assert_eq!(town.sessions(), 1);
}

#[test]
fn new_endpoints_leave_a_session_at_one_of_them_alone() {
    let mut town = Town::connected();
    town.pass(30 * SECOND);
    town.list(&[&second(), &first()]);
    town.pass(30 * SECOND);
    assert_eq!((town.calls.len(), town.in_use()), (0, first()[0]));
}

#[test]
fn a_session_at_none_of_the_new_endpoints_lives_until_one_of_them_answers() {
    let mut town = Town::connected();
    town.pass(30 * SECOND);
    town.deaf.extend(second());
    town.list(&[&second()]);
    assert_eq!(town.in_use(), first()[0], "traffic goes on");
    town.say();
    town.pass(3 * SECOND);
    town.deaf.clear();
    town.pass(RETRANSMIT);
    assert_eq!(town.sessions(), 2);
}

#[test]
fn of_new_endpoints_the_best_are_called_first_whoever_stood_in_before() {
    let mut town = Town::new();
    town.lose_first();
    town.kick();
    town.pass(200 * SECOND);
    assert_eq!(town.in_use(), second()[0]);
    town.list(&[&second(), &first()]);
    town.calls.clear();
    town.kick();
    assert_eq!(town.calls[0].1, second()[0]);
}

/// The gateway itself has moved, and was heard from there.
#[test]
fn where_a_gateway_was_last_heard_it_is_called_after_a_night_as_well() {
    let mut town = Town::connected();
    let greeting = packet(town.gateways[0].0.ip, town.laptop.ip, b"moved");
    let (now, elsewhere) = (town.now, SocketAddr::from(([198, 51, 100, 9], 51820)));
    town.gateways[0].0.send(&greeting, now).unwrap();
    let bytes = town.gateways[0].0.take_wire().remove(0);
    town.laptop.receive(elsewhere, &bytes, now);
    assert_eq!(town.in_use(), elsewhere);
    town.pass(200 * SECOND);
    town.calls.clear();
    town.kick();
    let called: Vec<_> = town.calls.iter().map(|call| call.1).collect();
    assert_eq!(called, [first()[0], first()[1], elsewhere]);
}

/// Names are looked up while the first handshake is under way.
#[test]
fn new_endpoints_get_the_message_that_is_on_its_way() {
    let mut town = Town::new();
    let nobody = SocketAddr::from(([198, 51, 100, 77], 51820));
    town.list(&[&[nobody]]);
    town.kick();
    town.pass(SECOND / 2);
    town.list(&[&first()]);
    assert_eq!((town.sessions(), town.in_use()), (1, first()[0]));
    assert!(town.calls.iter().all(|call| call.2 == town.calls[0].2));
}

#[test]
fn without_any_endpoint_nothing_happens_until_there_is_one() {
    let mut town = Town::new();
    let peer = town.laptop.peer();
    town.order(Input::RemovePeer(peer));
    let unknown = Setup {
        holder: Holder::Card,
        knows_endpoint: false,
        ..Setup::default()
    };
    town.laptop = Node::new(1, 2, &unknown, town.now);
    town.kick();
    town.pass(100 * SECOND);
    assert_eq!(
        (town.laptop.operations, &town.laptop.events[..]),
        (0, &[][..])
    );
    town.list(&[&first()]);
    town.kick();
    assert_eq!(town.sessions(), 1);
}

#[test]
fn the_keepalive_changes_under_way() {
    let mut town = Town::connected();
    let peer = town.laptop.peer();
    let keepalives = |town: &mut Town| {
        let before = town.laptop.count(4);
        town.pass(50 * SECOND);
        town.laptop.count(4) - before
    };
    assert_eq!(keepalives(&mut town), 0);
    for (every, expected) in [(Some(10), 5), (Some(25), 2), (None, 0)] {
        let every = every.map(Duration::from_secs);
        town.order(Input::Kick(peer));
        town.order(Input::SetKeepalive { peer, every });
        let sessions = town.sessions();
        let sent = keepalives(&mut town) - (town.sessions() - sessions);
        assert_eq!(sent, expected, "{every:?}");
    }
}
