//! Stories with a known end: what a person with a laptop and a card would see.

use std::time::Duration;

use sluss_supervisor::{
    Action, Change, DeadlineReason, Event, Host, HostMode, HostRules, Key, Location, LossReason,
    Op, Outcome, OutsideReason, PinCheck, Session, Tunnel,
};

use crate::laptop::{Laptop, guest, home, office};
use crate::world::link;

#[test]
fn at_home_the_tunnel_opens_with_card_and_pin_and_shuts_when_the_card_leaves() {
    let mut laptop = Laptop::new();
    assert!(
        matches!(&laptop.state.host, Host::Applied(rules) if rules.mode == HostMode::Closed),
        "closed before anything is known"
    );

    laptop.plug(&[home()]);
    laptop.pass_settling();
    assert_eq!(laptop.probe(&[]), []);
    assert!(matches!(
        laptop.state.location,
        Location::Outside {
            why: OutsideReason::NoProof,
            ..
        }
    ));

    let asked = laptop.insert("A");
    assert!(
        matches!(asked[..], [Action::AskPin { .. }]),
        "asked once: {asked:?}"
    );
    let started = laptop.unlock();
    assert!(
        matches!(started[..], [Action::StartTunnel { .. }]),
        "{started:?}"
    );
    laptop.tunnel_starts();
    assert_eq!(laptop.host(), HostMode::Tunnelled);

    let pulled = laptop.tell(Event::CardRemoved);
    assert!(
        matches!(
            pulled[..],
            [
                Action::ForgetKeys,
                Action::StopTunnel { .. },
                Action::ApplyHost {
                    rules: HostRules {
                        mode: HostMode::Closed,
                        ..
                    },
                    ..
                }
            ]
        ),
        "all in one turn, keys first: {pulled:?}"
    );
}

#[test]
fn in_the_office_nothing_happens() {
    let mut laptop = Laptop::new();
    laptop.insert("A");
    laptop.plug(&[office()]);
    laptop.pass_settling();
    let again = laptop.probe(&[1]);
    assert!(
        matches!(again[..], [Action::Probe { .. }]),
        "one success is not enough: {again:?}"
    );
    let inside = laptop.probe(&[1]);
    assert!(
        matches!(&inside[..], [Action::ApplyHost { rules: HostRules { mode: HostMode::Inside { link }, .. }, .. }] if *link == office().link)
    );
    assert!(
        matches!(laptop.state.key, Key::Locked(_)),
        "nobody is asked for a PIN"
    );
    laptop.host();
    assert_eq!(
        laptop.state.deadline(&laptop.policy),
        None,
        "an idle laptop stays idle"
    );
}

#[test]
fn coming_to_the_office_the_tunnel_is_down_before_the_prefixes_open() {
    let mut laptop = Laptop::connected_at_home();
    let moved = laptop.plug(&[office()]);
    assert_eq!(moved, [], "the tunnel survives doubt about the place");
    laptop.pass_settling();
    laptop.probe(&[1]);
    let verdict = laptop.probe(&[1]);
    assert!(
        matches!(
            verdict[..],
            [
                Action::StopTunnel { .. },
                Action::ApplyHost {
                    rules: HostRules {
                        mode: HostMode::Closed,
                        ..
                    },
                    ..
                }
            ]
        ),
        "{verdict:?}"
    );
    laptop.host();
    let stopped = laptop.tunnel_stops();
    assert!(
        matches!(
            stopped[..],
            [Action::ApplyHost {
                rules: HostRules {
                    mode: HostMode::Inside { .. },
                    ..
                },
                ..
            }]
        ),
        "{stopped:?}"
    );
}

#[test]
fn the_guest_wifi_beside_the_office_is_outside_and_the_cable_still_inside() {
    let mut laptop = Laptop::new();
    laptop.plug(&[office(), guest()]);
    laptop.pass_settling();
    laptop.probe(&[1]);
    laptop.probe(&[1]);
    assert_eq!(
        laptop.host(),
        HostMode::Inside {
            link: office().link
        },
        "by the cable only"
    );

    assert_eq!(
        laptop.plug(&[office()]),
        [],
        "what the Wi-Fi does is of no interest"
    );
    let unplugged = laptop.plug(&[guest()]);
    assert!(
        matches!(
            unplugged[..],
            [Action::ApplyHost {
                rules: HostRules {
                    mode: HostMode::Closed,
                    ..
                },
                ..
            }]
        ),
        "closed at once, and probed when it has settled: {unplugged:?}"
    );
    laptop.pass_settling();
    laptop.probe(&[]);
    assert!(matches!(laptop.state.location, Location::Outside { .. }));
}

#[test]
fn a_new_privacy_address_does_not_shut_the_office_but_a_new_gateway_does() {
    let mut laptop = Laptop::in_the_office();
    let mut renewed = office();
    renewed
        .link
        .addresses
        .push("fd20::1234/64".parse().expect("an address"));
    assert_eq!(
        laptop.plug(&[renewed.clone()]),
        [],
        "the proof stands while it is asked again"
    );
    laptop.pass_settling();
    let proved = laptop.probe(&[1]);
    assert!(
        matches!(&proved[..], [Action::ApplyHost { rules: HostRules { mode: HostMode::Inside { link }, .. }, .. }] if *link == renewed.link)
    );
    laptop.host();

    renewed.link.gateways = vec!["10.20.5.99".parse().expect("an address")];
    let changed = laptop.plug(&[renewed]);
    assert!(
        matches!(
            changed[..],
            [
                Action::ApplyHost {
                    rules: HostRules {
                        mode: HostMode::Closed,
                        ..
                    },
                    ..
                },
                Action::Probe { .. }
            ]
        ),
        "closed and asked at once: {changed:?}"
    );
}

#[test]
fn one_failed_probe_is_enough_to_leave() {
    let mut laptop = Laptop::in_the_office();
    let mut renewed = office();
    renewed
        .link
        .addresses
        .push("fd20::1234/64".parse().expect("an address"));
    laptop.plug(&[renewed]);
    laptop.pass_settling();
    let failed = laptop.probe(&[]);
    assert!(
        matches!(
            failed[..],
            [Action::ApplyHost {
                rules: HostRules {
                    mode: HostMode::Closed,
                    ..
                },
                ..
            }]
        ),
        "closed at once: {failed:?}"
    );
    laptop.host();
    assert!(
        !matches!(laptop.state.location, Location::Outside { .. }),
        "no link has moved, so no tunnel comes and goes for one lost answer"
    );
    laptop.pass(Duration::from_secs(4));
    laptop.pass_settling();
    laptop.probe(&[]);
    assert!(matches!(
        laptop.state.location,
        Location::Outside {
            why: OutsideReason::NoProof,
            ..
        }
    ));
}

#[test]
fn a_beacon_that_proves_itself_only_once_is_no_proof() {
    let mut laptop = Laptop::new();
    laptop.plug(&[office()]);
    laptop.pass_settling();
    laptop.probe(&[1]);
    laptop.probe(&[]);
    assert!(matches!(
        laptop.state.location,
        Location::Outside {
            why: OutsideReason::NotConfirmed,
            ..
        }
    ));
    assert_eq!(
        laptop.state.evidence[0].outcome,
        Outcome::NoAnswer,
        "and `sluss why` can say so"
    );
}

#[test]
fn a_probe_that_never_answers_means_outside() {
    let mut laptop = Laptop::new();
    laptop.plug(&[office()]);
    laptop.pass_settling();
    laptop.pass_deadline(DeadlineReason::ProbeOverdue);
    assert!(matches!(
        laptop.state.location,
        Location::Outside {
            why: OutsideReason::ProbeOverdue,
            ..
        }
    ));
}

#[test]
fn a_first_packet_lost_in_the_office_costs_five_seconds_and_not_the_day() {
    let mut laptop = Laptop::new();
    laptop.insert("A");
    laptop.plug(&[office()]);
    laptop.pass_settling();
    laptop.probe(&[]);
    let verdict = laptop.now;
    laptop.host();
    laptop.unlock();
    laptop.tunnel_starts();
    laptop.host();

    laptop.pass_doubt();
    assert_eq!(laptop.now, verdict + Duration::from_secs(5));
    let proved = laptop.probe(&[1]);
    assert!(
        matches!(proved[..], [Action::Probe { .. }]),
        "one success is not enough: {proved:?}"
    );
    let confirmed = laptop.probe(&[1]);
    assert!(
        matches!(
            confirmed[..],
            [
                Action::StopTunnel { .. },
                Action::ApplyHost {
                    rules: HostRules {
                        mode: HostMode::Closed,
                        ..
                    },
                    ..
                }
            ]
        ),
        "{confirmed:?}"
    );
    laptop.host();
    laptop.tunnel_stops();
    assert_eq!(
        laptop.host(),
        HostMode::Inside {
            link: office().link
        }
    );
    assert_eq!(
        laptop.state.deadline(&laptop.policy),
        None,
        "an idle laptop stays idle"
    );
}

#[test]
fn at_home_the_question_is_asked_once_more_and_nothing_is_seen_of_it() {
    let failures: [fn(&mut Laptop) -> Vec<Action>; 3] = [
        |laptop| laptop.probe(&[]),
        |laptop| {
            laptop.probe(&[2]);
            laptop.probe(&[])
        },
        |laptop| laptop.pass_deadline(DeadlineReason::ProbeOverdue),
    ];
    for first in failures {
        for second in failures {
            let mut laptop = Laptop::new();
            laptop.insert("A");
            laptop.plug(&[home()]);
            laptop.pass_settling();
            let prompted = first(&mut laptop);
            assert!(
                matches!(prompted[..], [.., Action::AskPin { .. }]),
                "{prompted:?}"
            );
            let since = laptop.state.location.outside_since();
            assert_eq!(since, Some(laptop.now));

            laptop.pass_doubt();
            let still = second(&mut laptop);
            assert!(
                !still
                    .iter()
                    .any(|action| !matches!(action, Action::CancelProbe { .. })),
                "the prompt stays as it is: {still:?}"
            );
            assert!(matches!(laptop.state.location, Location::Outside { .. }));
            assert_eq!(laptop.state.location.outside_since(), since);
            assert_eq!(
                laptop.state.deadline(&laptop.policy),
                None,
                "and that is all"
            );

            laptop.tell(Event::Suspending);
            laptop.tell(Event::Resumed);
            laptop.pass_settling();
            first(&mut laptop);
            laptop.pass_doubt();
        }
    }
}

#[test]
fn the_second_answer_is_what_why_tells() {
    let mut laptop = Laptop::new();
    laptop.plug(&[home()]);
    laptop.pass_settling();
    laptop.pass_deadline(DeadlineReason::ProbeOverdue);
    laptop.pass_doubt();
    laptop.probe(&[]);
    assert!(matches!(
        laptop.state.location,
        Location::Outside {
            why: OutsideReason::NoProof,
            ..
        }
    ));
    assert_eq!(laptop.state.evidence[0].at, laptop.now);
}

#[test]
fn while_it_is_asked_again_a_tunnel_stays_and_none_starts() {
    let mut laptop = Laptop::new();
    laptop.insert("A");
    laptop.plug(&[home()]);
    laptop.pass_settling();
    laptop.probe(&[]);
    laptop.pass_doubt();
    assert_eq!(laptop.unlock(), [], "not before the verdict stays");
    let verdict = laptop.probe(&[]);
    assert!(
        matches!(verdict[..], [Action::StartTunnel { .. }]),
        "{verdict:?}"
    );

    let mut laptop = Laptop::connected_at_home();
    laptop.plug(&[guest()]);
    laptop.pass_settling();
    assert_eq!(
        laptop.probe(&[]),
        [Action::RefreshTunnel {
            after: Change::Place
        }]
    );
    laptop.pass_doubt();
    assert_eq!(laptop.probe(&[]), [], "the gateway knows already");
    assert!(matches!(laptop.state.tunnel, Tunnel::Up { .. }));
}

#[test]
fn asking_again_does_not_hurry_a_tunnel_that_keeps_failing() {
    let mut laptop = Laptop::new();
    laptop.insert("A");
    laptop.plug(&[home()]);
    laptop.pass_settling();
    laptop.probe(&[]);
    laptop.unlock();
    laptop.tunnel_fails();
    laptop.pass_deadline(DeadlineReason::TunnelRetry);
    laptop.tunnel_fails();
    laptop.pass_deadline(DeadlineReason::TunnelRetry);
    laptop.tunnel_fails();
    let retry = laptop.now + Duration::from_secs(4);
    laptop.pass_doubt();
    assert_eq!(laptop.probe(&[]), [], "it waits its time");
    assert_eq!(laptop.deadline(DeadlineReason::TunnelRetry), retry);
}

#[test]
fn without_a_beacon_in_the_policy_everywhere_is_outside_at_once() {
    let mut laptop = Laptop::new();
    laptop.policy.beacons.clear();
    laptop.plug(&[office()]);
    let settled = laptop.pass_deadline(DeadlineReason::NetworkSettled);
    assert!(
        matches!(settled[..], [Action::ApplyHost { .. }]),
        "no probe: {settled:?}"
    );
    assert_eq!(laptop.host(), HostMode::Closed);
    assert!(matches!(
        laptop.state.location,
        Location::Outside {
            why: OutsideReason::NoBeacon,
            ..
        }
    ));
    assert_eq!(laptop.state.deadline(&laptop.policy), None, "nor any later");
}

#[test]
fn the_network_is_probed_250_ms_after_the_last_change_and_2_s_after_the_first() {
    let mut laptop = Laptop::new();
    let begin = laptop.now;
    let flap = |laptop: &mut Laptop, n: u8| laptop.plug(&[link(2, 1, n, false)]);
    flap(&mut laptop, 1);
    laptop.pass(Duration::from_millis(200));
    flap(&mut laptop, 2);
    assert_eq!(
        laptop.deadline(DeadlineReason::NetworkSettled),
        begin + Duration::from_millis(450)
    );
    for n in 3..11 {
        laptop.pass(Duration::from_millis(200));
        flap(&mut laptop, n);
    }
    assert_eq!(
        laptop.deadline(DeadlineReason::NetworkSettled),
        begin + Duration::from_secs(2)
    );
}

#[test]
fn roaming_keeps_the_tunnel_and_tells_the_gateway() {
    let mut laptop = Laptop::connected_at_home();
    assert_eq!(
        laptop.plug(&[]),
        [],
        "offline for a moment: it comes back with the network"
    );
    laptop.plug(&[guest()]);
    laptop.pass_settling();
    assert_eq!(
        laptop.probe(&[]),
        [Action::RefreshTunnel {
            after: Change::Place
        }]
    );
    assert!(matches!(laptop.state.tunnel, Tunnel::Up { .. }));
}

#[test]
fn sleep_ends_what_was_known_and_a_reset_card_is_not_a_pulled_one() {
    let mut laptop = Laptop::in_the_office();
    laptop.insert("A");
    let suspending = laptop.tell(Event::Suspending);
    assert!(
        matches!(
            suspending[..],
            [Action::ApplyHost {
                rules: HostRules {
                    mode: HostMode::Closed,
                    ..
                },
                ..
            }]
        ),
        "{suspending:?}"
    );
    laptop.host();
    assert_eq!(laptop.plug(&[home()]), [], "half asleep");
    laptop.now = laptop.now + Duration::from_secs(8 * 3600);
    laptop.tell(Event::Resumed);
    laptop.pass_settling();
    laptop.probe(&[]);
    assert!(matches!(laptop.state.location, Location::Outside { .. }));

    let mut laptop = Laptop::connected_at_home();
    laptop.tell(Event::Suspending);
    laptop.now = laptop.now + Duration::from_secs(8 * 3600);
    laptop.tell(Event::Resumed);
    laptop.tell(Event::CardLocked);
    assert!(matches!(laptop.state.tunnel, Tunnel::Up { .. }));
    laptop.pass_settling();
    let verdict = laptop.probe(&[]);
    assert!(
        matches!(
            verdict[..],
            [Action::RefreshTunnel { .. }, Action::AskPin { .. }]
        ),
        "{verdict:?}"
    );
    assert_eq!(
        laptop.unlock(),
        [Action::RefreshTunnel { after: Change::Key }],
        "and the handshake that waited for the card goes on"
    );
}

#[test]
fn sleep_that_never_comes_is_noticed() {
    let mut laptop = Laptop::connected_at_home();
    laptop.tell(Event::Suspending);
    laptop.pass_deadline(DeadlineReason::SleepOverdue);
    assert!(matches!(laptop.state.location, Location::Settling { .. }));
}

#[test]
fn a_closed_prompt_stays_closed_until_the_card_the_network_or_the_user_says_otherwise() {
    let declined = || {
        let mut laptop = Laptop::outside();
        let asked = laptop.insert("A");
        let [Action::AskPin { op }] = asked[..] else {
            panic!("{asked:?}")
        };
        assert_eq!(laptop.tell(Event::PinDeclined { op }), []);
        laptop
    };
    let asks = |actions: &[Action]| {
        actions
            .iter()
            .any(|action| matches!(action, Action::AskPin { .. }))
    };

    let mut laptop = declined();
    laptop.plug(&[]);
    laptop.plug(&[home()]);
    laptop.pass_settling();
    assert!(
        !asks(&laptop.probe(&[])),
        "the same network again is no news"
    );
    laptop.plug(&[guest()]);
    laptop.pass_settling();
    assert!(asks(&laptop.probe(&[])), "another network is");

    let mut laptop = declined();
    laptop.tell(Event::CardRemoved);
    assert!(asks(&laptop.insert("A")));
    assert!(asks(&declined().tell(Event::UserUp)));
    assert!(
        matches!(declined().offer_pin()[..], [Action::VerifyPin { .. }]),
        "`sluss unlock`"
    );
}

#[test]
fn a_wrong_pin_is_asked_for_again_and_never_after_the_last_try() {
    let mut laptop = Laptop::outside();
    laptop.insert("A");
    for tries_left in [2, 1, 0] {
        let offered = laptop.offer_pin();
        let Some(Action::VerifyPin { op, .. }) = offered.first() else {
            panic!("{offered:?}")
        };
        let checked = laptop.tell(Event::PinChecked {
            op: *op,
            check: PinCheck::Wrong { tries_left },
        });
        assert_eq!(checked.len(), usize::from(tries_left > 0), "{checked:?}");
    }
    assert!(matches!(&laptop.state.key, Key::Blocked(card) if card.tries_left == 0));
    assert_eq!(laptop.offer_pin(), [Action::DiscardPin]);
}

#[test]
fn lock_wipes_keys_and_does_not_ask_again() {
    let mut laptop = Laptop::connected_at_home();
    let locked = laptop.tell(Event::LockRequested);
    assert!(
        matches!(
            locked[..],
            [
                Action::LockCard,
                Action::ForgetKeys,
                Action::StopTunnel { .. },
                Action::ApplyHost {
                    rules: HostRules {
                        mode: HostMode::Closed,
                        ..
                    },
                    ..
                }
            ]
        ),
        "{locked:?}"
    );
    laptop.host();
    assert_eq!(laptop.tunnel_stops(), [], "nobody is asked for the PIN");
    assert!(matches!(
        laptop.tell(Event::UserUp)[..],
        [Action::AskPin { .. }]
    ));
}

#[test]
fn a_card_that_another_program_reset_does_not_end_the_tunnel() {
    let mut laptop = Laptop::connected_at_home();
    let reset = laptop.tell(Event::CardLocked);
    assert!(matches!(reset[..], [Action::AskPin { .. }]), "{reset:?}");
    assert!(matches!(laptop.state.tunnel, Tunnel::Up { .. }));
}

#[test]
fn another_card_in_its_place_ends_the_tunnel_of_the_first() {
    let mut laptop = Laptop::connected_at_home();
    let swapped = laptop.insert("B");
    assert!(
        matches!(
            swapped[..2],
            [Action::ForgetKeys, Action::StopTunnel { .. }]
        ),
        "{swapped:?}"
    );
}

#[test]
fn a_card_pulled_while_the_tunnel_starts_stops_it() {
    let mut laptop = Laptop::outside();
    laptop.insert("A");
    laptop.unlock();
    let Tunnel::Starting { op, .. } = laptop.state.tunnel else {
        panic!("{:?}", laptop.state.tunnel)
    };
    let pulled = laptop.tell(Event::CardRemoved);
    assert!(
        matches!(pulled[..], [Action::ForgetKeys, Action::StopTunnel { .. }]),
        "{pulled:?}"
    );
    assert_eq!(laptop.tell(Event::TunnelStarted { op }), [], "too late");
    assert!(matches!(laptop.state.tunnel, Tunnel::Stopping { .. }));
}

#[test]
fn down_holds_until_up_where_the_policy_allows_it() {
    let mut laptop = Laptop::connected_at_home();
    laptop.policy.user.may_disconnect = false;
    assert_eq!(laptop.tell(Event::UserDown), []);
    laptop.policy.user.may_disconnect = true;
    let down = laptop.tell(Event::UserDown);
    assert!(
        matches!(
            down[..],
            [Action::StopTunnel { .. }, Action::ApplyHost { .. }]
        ),
        "{down:?}"
    );
    laptop.host();
    laptop.tunnel_stops();
    laptop.plug(&[guest()]);
    laptop.pass_settling();
    assert_eq!(laptop.probe(&[]), [], "still down on another network");
    assert!(matches!(
        laptop.tell(Event::UserUp)[..],
        [Action::StartTunnel { .. }]
    ));
}

#[test]
fn a_tunnel_that_fails_is_tried_again_after_1_2_and_4_seconds_and_at_most_every_minute() {
    let mut laptop = Laptop::outside();
    laptop.insert("A");
    laptop.unlock();
    for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
        laptop.tunnel_fails();
        let at = laptop.deadline(DeadlineReason::TunnelRetry);
        assert_eq!(at.since(laptop.now), Duration::from_secs(pause));
        laptop.pass_deadline(DeadlineReason::TunnelRetry);
    }
}

#[test]
fn a_gateway_that_is_silent_is_told_and_tried_on() {
    let mut laptop = Laptop::connected_at_home();
    let Tunnel::Up { op, .. } = laptop.state.tunnel else {
        panic!("{:?}", laptop.state.tunnel)
    };
    assert_eq!(
        laptop.tell(Event::HandshakeUnanswered { op, attempts: 3 }),
        []
    );
    assert!(matches!(
        laptop.state.tunnel,
        Tunnel::Up {
            session: Session::Awaited { attempts: 3 },
            ..
        }
    ));
}

#[test]
fn a_worker_that_hangs_is_told_to_stop_and_its_late_answer_is_not_believed() {
    let mut laptop = Laptop::outside();
    laptop.insert("A");
    laptop.unlock();
    let Tunnel::Starting { op, .. } = laptop.state.tunnel else {
        panic!("{:?}", laptop.state.tunnel)
    };
    let given_up = laptop.pass_deadline(DeadlineReason::TunnelStartOverdue);
    assert!(
        matches!(given_up[..], [Action::StopTunnel { .. }]),
        "{given_up:?}"
    );
    assert_eq!(laptop.tell(Event::TunnelStarted { op }), []);
    let asked_again = laptop.pass_deadline(DeadlineReason::TunnelStopOverdue);
    assert!(
        matches!(asked_again[..], [Action::StopTunnel { .. }]),
        "{asked_again:?}"
    );
    let stopped = laptop.tunnel_stops();
    assert!(
        matches!(stopped[..], [Action::StartTunnel { .. }]),
        "the pause is over by now: {stopped:?}"
    );
}

#[test]
fn routes_that_could_not_be_set_are_tried_again_and_no_tunnel_starts_before() {
    let mut laptop = Laptop::new();
    laptop.plug(&[home()]);
    laptop.pass_settling();
    assert!(matches!(laptop.state.host, Host::Applied(_)));
    laptop.probe(&[]);
    laptop.state.host = Host::Unknown;
    let asked = laptop.tell(Event::Tick);
    let [Action::ApplyHost { op, .. }] = asked[..] else {
        panic!("{asked:?}")
    };
    laptop.tell(Event::HostFailed { op });
    laptop.insert("A");
    assert_eq!(laptop.unlock(), [], "not before the prefixes are closed");
    let retried = laptop.pass_deadline(DeadlineReason::HostRetry);
    let [
        Action::ApplyHost {
            op,
            rules:
                HostRules {
                    mode: HostMode::Closed,
                    ..
                },
        },
    ] = retried[..]
    else {
        panic!("{retried:?}")
    };
    assert!(matches!(
        laptop.tell(Event::HostApplied { op })[..],
        [Action::StartTunnel { .. }]
    ));
}

#[test]
fn a_card_that_is_already_verified_asks_for_nothing() {
    let mut laptop = Laptop::outside();
    let inserted = laptop.tell(Event::CardInserted {
        serial: "A".to_owned(),
        tries_left: 3,
        verified: true,
    });
    assert!(
        matches!(inserted[..], [Action::StartTunnel { .. }]),
        "{inserted:?}"
    );
}

#[test]
fn an_answer_from_another_life_changes_nothing() {
    let mut laptop = Laptop::connected_at_home();
    let before = laptop.state.clone();
    for event in [
        Event::TunnelLost {
            op: Op::from_number(9_999),
            why: LossReason::Device,
        },
        Event::TunnelStopped {
            op: Op::from_number(9_999),
        },
        Event::ProbeFinished {
            op: Op::from_number(9_999),
            evidence: Vec::new(),
        },
    ] {
        assert_eq!(laptop.tell(event), []);
    }
    assert_eq!(laptop.state, before);
}
