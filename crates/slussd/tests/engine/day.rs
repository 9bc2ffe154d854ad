//! The tunnel through a day: home, office, gateway and network faults, and what `status` says of them.

use std::time::Duration;

use sluss_card::{Algorithm, CardInfo, CardKind, Command, KeyMode};
use sluss_ipc::{DownReason, Key, Location, Refusal, Request, Response, Tunnel, Warning};
use sluss_supervisor::{self as sup, HostMode};
use sluss_wg::{DhError, PublicKey, SoftwareKey};
use slussd::engine::{Effect, Input, TunnelOrder};

use crate::laptop::{Laptop, POLICY, READER, device, dh_wanted, inserted};

#[test]
fn at_home_the_pin_opens_the_tunnel_and_the_pull_shuts_it() {
    let mut laptop = Laptop::at_home_with_card();
    assert_eq!(laptop.status().key, Key::AwaitingPin);
    assert!(laptop.tunnel.is_none(), "no tunnel before the PIN");
    assert_eq!(laptop.host, Some(HostMode::Closed));

    let call = laptop.types("123456");
    laptop.card_accepts();
    assert_eq!(laptop.answer(call), Some(Response::Done));
    assert_eq!(laptop.status().tunnel, Tunnel::Starting);
    laptop.gateway_answers();
    assert_eq!(laptop.status().tunnel, Tunnel::Up);
    assert_eq!(laptop.host, Some(HostMode::Tunnelled));

    laptop.orders.clear();
    laptop.does(Input::Card(sluss_card::Event::Removed {
        reader: READER.into(),
    }));
    assert!(laptop.tunnel.is_none());
    assert!(matches!(laptop.orders[..], [TunnelOrder::ForgetKey]));
    assert_eq!(laptop.host, Some(HostMode::Closed));
    assert_eq!(
        laptop.status().tunnel,
        Tunnel::Down {
            reason: DownReason::NoCard
        }
    );
}

#[test]
fn in_the_office_nothing_opens_and_nobody_asks_for_a_pin() {
    let mut laptop = Laptop::with_policy(POLICY);
    laptop.beacon = true;
    laptop.does(Input::Card(inserted(READER)));
    laptop.joins("eth0", "10.20.5.7/24", "10.20.5.1");
    let status = laptop.status();
    assert_eq!(
        status.location,
        Location::Inside {
            link: Some("eth0".into()),
            beacon: Some("city hall".into())
        }
    );
    assert_eq!(status.key, Key::Locked);
    assert!(laptop.tunnel.is_none());
    assert!(matches!(&laptop.host, Some(HostMode::Inside { link }) if link.id.name == "eth0"));
}

#[test]
fn a_wrong_pin_is_told_with_the_tries_left_and_the_next_one_serves() {
    let mut laptop = Laptop::at_home_with_card();
    let call = laptop.types("000000");
    laptop.card_says(Err(sluss_card::Error::WrongPin { left: 2 }));
    assert_eq!(
        laptop.answer(call),
        Some(Response::Refused(Refusal::WrongPin {
            tries_left: Some(2)
        }))
    );
    assert_eq!(
        laptop.status().card.and_then(|card| card.tries_left),
        Some(2)
    );
    assert!(laptop.card.is_empty(), "a wrong PIN is never tried again");

    let call = laptop.types("123456");
    laptop.card_accepts();
    assert_eq!(laptop.answer(call), Some(Response::Done));
    assert!(laptop.tunnel.is_some());
}

#[test]
fn a_pin_without_a_card_is_refused_and_reaches_no_card() {
    let mut laptop = Laptop::with_policy(POLICY);
    let call = laptop.types("123456");
    assert_eq!(
        laptop.answer(call),
        Some(Response::Refused(Refusal::NoCard))
    );
    assert!(laptop.card.is_empty());
}

#[test]
fn two_pins_at_once_make_one_try() {
    let mut laptop = Laptop::at_home_with_card();
    let first = laptop.types("123456");
    let second = laptop.types("123456");
    assert_eq!(
        laptop.answer(second),
        Some(Response::Refused(Refusal::Busy))
    );
    assert_eq!(laptop.card.len(), 1);
    laptop.card_accepts();
    assert_eq!(laptop.answer(first), Some(Response::Done));
}

#[test]
fn the_handshake_is_computed_by_the_card() {
    let mut laptop = Laptop::connected();
    let op = laptop.tunnel.expect("up");
    laptop.does(Input::Tunnel {
        op,
        event: dh_wanted(),
    });
    let (asked, command) = laptop.asked_of_card();
    let Command::Dh { with } = command else {
        panic!("a Diffie-Hellman was wanted")
    };
    assert_eq!(
        PublicKey(with),
        SoftwareKey::new([7; 32]).public(),
        "the first is with the gateway's own key"
    );

    laptop.orders.clear();
    laptop.does(Input::Card(sluss_card::Event::Dh {
        op: asked,
        result: Err(sluss_card::Error::Timeout),
    }));
    assert!(matches!(
        laptop.orders[..],
        [TunnelOrder::Dh {
            result: Err(DhError::Unavailable),
            ..
        }]
    ));
}

#[test]
fn a_card_that_another_program_reset_is_not_asked_and_the_tunnel_lives_on() {
    let mut laptop = Laptop::connected();
    laptop.does(Input::Card(sluss_card::Event::Locked {
        reader: READER.into(),
    }));
    assert_eq!(laptop.status().key, Key::AwaitingPin);
    assert_eq!(laptop.status().tunnel, Tunnel::Up);

    laptop.orders.clear();
    let op = laptop.tunnel.expect("up");
    laptop.does(Input::Tunnel {
        op,
        event: dh_wanted(),
    });
    assert!(laptop.card.is_empty(), "a locked card is not asked");
    assert!(matches!(
        laptop.orders[..],
        [TunnelOrder::Dh {
            result: Err(DhError::Unavailable),
            ..
        }]
    ));

    laptop.orders.clear();
    laptop.types("123456");
    laptop.card_accepts();
    assert!(
        matches!(laptop.orders[..], [TunnelOrder::Kick]),
        "the handshake goes on at once"
    );
}

#[test]
fn what_a_pulled_card_still_answers_is_for_nobody() {
    let mut laptop = Laptop::connected();
    let op = laptop.tunnel.expect("up");
    laptop.does(Input::Tunnel {
        op,
        event: dh_wanted(),
    });
    let (asked, _) = laptop.asked_of_card();
    laptop.does(Input::Card(sluss_card::Event::Removed {
        reader: READER.into(),
    }));
    laptop.orders.clear();
    laptop.does(Input::Card(sluss_card::Event::Dh {
        op: asked,
        result: Err(sluss_card::Error::Gone),
    }));
    assert!(laptop.orders.is_empty());
}

#[test]
fn a_second_card_that_cannot_serve_takes_nothing_from_the_first() {
    let mut laptop = Laptop::connected();
    let other = sluss_card::Error::OtherCard {
        serial: "0006:00000001".into(),
    };
    laptop.does(Input::Card(sluss_card::Event::Unusable {
        reader: "Reader 00 01".into(),
        reason: other,
    }));
    assert_eq!(laptop.status().tunnel, Tunnel::Up);
    laptop.does(Input::Card(sluss_card::Event::Removed {
        reader: "Reader 00 01".into(),
    }));
    assert_eq!(laptop.status().tunnel, Tunnel::Up);
}

#[test]
fn a_pulled_card_beside_an_unusable_one_names_what_is_left() {
    let mut laptop = Laptop::connected();
    let other = sluss_card::Error::OtherCard {
        serial: "0006:00000001".into(),
    };
    laptop.does(Input::Card(sluss_card::Event::Unusable {
        reader: "Reader 00 01".into(),
        reason: other,
    }));
    laptop.does(Input::Card(sluss_card::Event::Removed {
        reader: READER.into(),
    }));
    assert!(laptop.tunnel.is_none());
    assert_eq!(
        laptop.status().key,
        Key::Unusable {
            fault: sluss_ipc::CardFault::OtherCard
        }
    );
}

#[test]
fn a_card_of_another_kind_is_another_card() {
    let mut laptop = Laptop::connected();
    laptop.does(Input::Card(sluss_card::Event::Removed {
        reader: READER.into(),
    }));
    laptop.does(Input::Card(sluss_card::Event::Unusable {
        reader: READER.into(),
        reason: sluss_card::Error::NoApplet(CardKind::OpenPgp),
    }));
    assert_eq!(
        laptop.status().key,
        Key::Unusable {
            fault: sluss_ipc::CardFault::OtherCard
        }
    );
}

#[test]
fn down_holds_until_up_and_only_where_policy_allows() {
    let mut laptop = Laptop::connected();
    let call = laptop.calls(Request::Down);
    assert_eq!(laptop.answer(call), Some(Response::Done));
    assert!(laptop.tunnel.is_none());
    assert_eq!(
        laptop.status().tunnel,
        Tunnel::Down {
            reason: DownReason::StoppedByUser
        }
    );
    assert_eq!(laptop.host, Some(HostMode::Closed), "down opens nothing");
    laptop.calls(Request::Up);
    assert!(laptop.tunnel.is_some());

    let mut laptop = Laptop::with_policy(&format!("{POLICY}\n[user]\nmay_disconnect = false\n"));
    let call = laptop.calls(Request::Down);
    assert_eq!(
        laptop.answer(call),
        Some(Response::Refused(Refusal::ByPolicy))
    );
}

#[test]
fn lock_wipes_the_keys_and_asks_nobody() {
    let mut laptop = Laptop::connected();
    laptop.orders.clear();
    laptop.calls(Request::Lock);
    assert!(matches!(laptop.orders[..], [TunnelOrder::ForgetKey]));
    assert!(laptop.tunnel.is_none());
    assert!(matches!(laptop.asked_of_card(), (_, Command::Lock)));
    assert_eq!(laptop.status().key, Key::Withdrawn);
}

#[test]
fn another_network_keeps_the_tunnel_and_tells_the_gateway() {
    let mut laptop = Laptop::connected();
    let before = laptop.tunnel;
    laptop.orders.clear();
    laptop.joins("wlan0", "172.20.10.3/28", "172.20.10.1");
    assert_eq!(laptop.tunnel, before, "the same tunnel all the time");
    assert!(matches!(laptop.orders[..], [TunnelOrder::NetworkChanged]));
}

#[test]
fn after_sleep_a_card_that_lost_power_is_asked_for_its_pin_again() {
    let mut laptop = Laptop::connected();
    laptop.does(Input::Suspending);
    assert_eq!(laptop.host, Some(HostMode::Tunnelled));
    laptop.now += Duration::from_secs(8 * 3600);
    laptop.does(Input::Resumed);
    let (op, command) = laptop.asked_of_card();
    assert!(matches!(command, Command::Refresh));
    let card = CardInfo {
        serial: "0006:12345678".into(),
        kind: CardKind::OpenPgp,
        mode: KeyMode::Held,
        algorithm: Algorithm::X25519,
        public_key: [9; 32],
        subject: None,
        tries_left: 3,
        ready: false,
        pin_pad: false,
    };
    laptop.does(Input::Card(sluss_card::Event::Refreshed {
        op,
        result: Ok(card),
    }));
    laptop.waits(Duration::from_secs(3));
    assert_eq!(laptop.status().key, Key::AwaitingPin);

    // Yesterday's session is worth nothing, and nobody is told that it is.
    assert_eq!(laptop.status().tunnel, Tunnel::Starting);
}

#[test]
fn a_silent_gateway_is_named_and_tried_for_ever() {
    let mut laptop = Laptop::at_home_with_card();
    laptop.types("123456");
    laptop.card_accepts();
    let (_, peer) = device();
    laptop.peer(sluss_wg::Event::HandshakeUnanswered { peer, attempts: 3 });
    assert_eq!(laptop.status().tunnel, Tunnel::Starting);
    assert_eq!(laptop.status().warnings, [Warning::GatewaySilent]);
    laptop.orders.clear();
    laptop.peer(sluss_wg::Event::GaveUp { peer });
    assert!(matches!(laptop.orders[..], [TunnelOrder::Kick]));
}

#[test]
fn a_silent_gateway_is_tried_on_while_the_beacons_are_asked_once_more() {
    let mut laptop = Laptop::connected();
    let (_, peer) = device();
    let due = laptop
        .engine
        .deadline()
        .expect("the verdict is a fresh one");
    assert_eq!(due.reason, sup::DeadlineReason::ProbeAgain);
    laptop.now = due.at.as_duration();
    let asked = laptop.engine.handle(Input::Tick, due.at);
    assert!(
        matches!(asked[..], [Effect::Probe { .. }]),
        "its answer is still to come"
    );
    laptop.orders.clear();
    laptop.peer(sluss_wg::Event::GaveUp { peer });
    assert!(matches!(laptop.orders[..], [TunnelOrder::Kick]));
}

#[test]
fn nobody_calls_a_gateway_in_vain() {
    let (_, peer) = device();
    let mut laptop = Laptop::connected();
    laptop.does(Input::Card(sluss_card::Event::Locked {
        reader: READER.into(),
    }));
    laptop.orders.clear();
    laptop.peer(sluss_wg::Event::GaveUp { peer });
    assert!(laptop.orders.is_empty(), "a locked card makes no handshake");

    let mut laptop = Laptop::connected();
    laptop.does(Input::LinksChanged(Vec::new()));
    laptop.orders.clear();
    laptop.peer(sluss_wg::Event::GaveUp { peer });
    assert!(laptop.orders.is_empty(), "there is no network");
}

#[test]
fn a_card_that_does_not_answer_in_time_is_named_and_shuts_nothing() {
    let mut laptop = Laptop::connected();
    let op = laptop.tunnel.expect("up");
    laptop.does(Input::Tunnel {
        op,
        event: dh_wanted(),
    });
    let (asked, _) = laptop.asked_of_card();
    laptop.does(Input::Card(sluss_card::Event::Dh {
        op: asked,
        result: Err(sluss_card::Error::Timeout),
    }));
    assert_eq!(laptop.status().warnings, [Warning::CardSlow]);
    assert_eq!(laptop.status().tunnel, Tunnel::Up);
    laptop.does(Input::Card(sluss_card::Event::Removed {
        reader: READER.into(),
    }));
    assert_eq!(
        laptop.status().warnings,
        [],
        "a card that is gone is not slow"
    );
}

#[test]
fn a_lost_rekey_is_no_lost_tunnel() {
    let (_, peer) = device();
    let mut laptop = Laptop::connected();
    laptop.now += Duration::from_secs(130);
    laptop.peer(sluss_wg::Event::HandshakeUnanswered { peer, attempts: 1 });
    let status = laptop.status();
    assert_eq!((status.tunnel, status.warnings), (Tunnel::Up, Vec::new()));

    laptop.now += Duration::from_secs(20);
    laptop.peer(sluss_wg::Event::HandshakeUnanswered { peer, attempts: 3 });
    let status = laptop.status();
    assert_eq!(
        (status.tunnel, status.warnings),
        (Tunnel::Up, vec![Warning::GatewaySilent])
    );

    laptop.now += Duration::from_secs(40);
    assert_eq!(laptop.status().tunnel, Tunnel::Starting);
}

#[test]
fn a_beacon_that_was_missed_in_the_office_is_asked_again_and_the_tunnel_shuts() {
    let mut laptop = Laptop::connected();
    laptop.joins("eth0", "10.20.5.7/24", "10.20.5.1");
    assert!(matches!(laptop.status().location, Location::Outside { .. }));
    laptop.beacon = true;
    laptop.waits(Duration::from_secs(5));
    assert!(matches!(laptop.status().location, Location::Inside { .. }));
    assert!(laptop.tunnel.is_none());
}

/// The path does not take what policy says: the tunnel's device gets what it does, and the tunnel hears when it has.
#[test]
fn a_narrow_path_makes_the_device_follow() {
    let mut laptop = Laptop::connected();
    assert_eq!(laptop.mtu, None);
    laptop.orders.clear();
    laptop.does(Input::Tunnel {
        op: laptop.tunnel.expect("a tunnel runs"),
        event: sluss_tunnel::Event::PathMtu(sluss_tunnel::PathMtu {
            mtu: 1320,
            verdict: sluss_tunnel::Verdict::Reduced,
            at: sluss_wg::Time::since_boot(laptop.now),
        }),
    });
    assert_eq!(laptop.mtu, Some(1320));
    assert!(matches!(laptop.orders[..], [TunnelOrder::Resized]));
}
