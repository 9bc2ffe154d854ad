//! Stories of cards that are pulled, and of PINs that come from elsewhere.

use std::time::Duration;

use sluss_supervisor::{
    Action, CardFault, Change, DeadlineReason, Event, HostMode, HostRules, Key, LossReason,
    PinCheck, PinSource, Tunnel,
};

use crate::laptop::{Laptop, home, office};

const GRACE: &str = "on_removal = \"grace\"\ngrace = \"10s\"";
const LOCK_SESSION: &str = "on_removal = \"lock-session\"";

#[test]
fn the_session_is_locked_in_the_turn_in_which_the_tunnel_ends() {
    let mut laptop = Laptop::connected_at_home().ruled_by(LOCK_SESSION);
    let pulled = laptop.tell(Event::CardRemoved);
    assert!(
        matches!(
            pulled[..],
            [
                Action::LockSession,
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
        "{pulled:?}"
    );
    assert_eq!(
        laptop.tell(Event::CardRemoved),
        [],
        "the reader's end is no second pull"
    );
}

#[test]
fn a_session_is_locked_by_the_pull_of_its_own_card_only() {
    let mut laptop = Laptop::in_the_office().ruled_by(LOCK_SESSION);
    laptop.tell(Event::CardUnusable(CardFault::OtherCard));
    assert_eq!(
        laptop.tell(Event::CardRemoved),
        [],
        "a visitor's card does not matter"
    );
    laptop.insert("A");
    assert_eq!(laptop.insert("A"), [], "told twice is no pull");
    assert_eq!(
        laptop.insert("B"),
        [Action::LockSession],
        "swapped faster than anybody saw"
    );
    assert_eq!(
        laptop.tell(Event::CardRemoved),
        [Action::LockSession],
        "inside too"
    );
}

#[test]
fn a_card_that_is_back_within_the_grace_was_never_away() {
    let mut laptop = Laptop::connected_at_home().ruled_by(GRACE);
    let up = laptop.state.tunnel.clone();
    assert_eq!(laptop.tell(Event::CardRemoved), []);
    let until = laptop.deadline(DeadlineReason::GraceOver);
    assert_eq!(until, laptop.now + Duration::from_secs(10));
    assert_eq!(
        laptop.offer_pin(),
        [Action::DiscardPin],
        "there is no card to try it on"
    );

    laptop.pass(Duration::from_secs(9));
    let back = laptop.insert("A");
    assert!(
        matches!(back[..], [Action::AskPin { .. }]),
        "it has lost its power, and asks: {back:?}"
    );
    assert_eq!(laptop.state.tunnel, up);
    laptop.pass(Duration::from_secs(9));
    assert_eq!(laptop.tell(Event::Tick), [], "the wait is over");
    assert_eq!(
        laptop.unlock(),
        [Action::RefreshTunnel { after: Change::Key }]
    );
    assert_eq!(laptop.state.deadline(&laptop.policy), None);
}

#[test]
fn a_card_that_is_back_and_answers_goes_on_with_the_handshake_that_waited() {
    let mut laptop = Laptop::connected_at_home().ruled_by(GRACE);
    laptop.tell(Event::CardRemoved);
    let back = laptop.tell(Event::CardInserted {
        serial: "A".to_owned(),
        tries_left: 3,
        verified: true,
    });
    assert_eq!(back, [Action::RefreshTunnel { after: Change::Key }]);
}

#[test]
fn each_pull_has_a_grace_of_its_own_and_a_reader_that_leaves_gives_no_second_one() {
    let mut laptop = Laptop::connected_at_home().ruled_by(GRACE);
    let pulled = laptop.now;
    laptop.tell(Event::CardRemoved);
    laptop.pass(Duration::from_secs(6));
    laptop.tell(Event::CardRemoved);
    assert_eq!(
        laptop.deadline(DeadlineReason::GraceOver),
        pulled + Duration::from_secs(10)
    );
    laptop.insert("A");
    laptop.pass(Duration::from_secs(6));
    let pulled = laptop.now;
    laptop.tell(Event::CardRemoved);
    assert_eq!(
        laptop.deadline(DeadlineReason::GraceOver),
        pulled + Duration::from_secs(10)
    );
}

#[test]
fn whatever_ends_the_grace_wipes_the_keys_in_the_same_turn() {
    type End = fn(&mut Laptop) -> Vec<Action>;
    let ends: [(&str, End); 9] = [
        ("time", |laptop| {
            laptop.pass_deadline(DeadlineReason::GraceOver)
        }),
        ("another card", |laptop| laptop.insert("B")),
        ("another person's card", |laptop| {
            laptop.tell(Event::CardUnusable(CardFault::OtherCard))
        }),
        ("a card that cannot be told to be the same", |laptop| {
            laptop.tell(Event::CardUnusable(CardFault::Silent))
        }),
        ("sluss lock", |laptop| laptop.tell(Event::LockRequested)),
        ("a locked screen", |laptop| {
            laptop.tell(Event::SessionLocked)
        }),
        ("sluss down", |laptop| laptop.tell(Event::UserDown)),
        ("sleep", |laptop| laptop.tell(Event::Suspending)),
        ("the office", |laptop| {
            laptop.plug(&[office()]);
            laptop.pass_settling();
            laptop.probe(&[1]);
            laptop.probe(&[1])
        }),
    ];
    for (what, end) in ends {
        let mut laptop = Laptop::connected_at_home().ruled_by(GRACE);
        assert_eq!(laptop.tell(Event::CardRemoved), []);
        let ended = end(&mut laptop);
        assert!(
            matches!(
                ended[..3],
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
            "{what}: {ended:?}"
        );
        assert!(!matches!(laptop.state.key, Key::Away { .. }), "{what}");
    }
}

#[test]
fn a_tunnel_that_fails_while_the_card_is_away_is_not_tried_again() {
    let mut laptop = Laptop::connected_at_home().ruled_by(GRACE);
    let Tunnel::Up { op, .. } = laptop.state.tunnel else {
        panic!("{:?}", laptop.state.tunnel)
    };
    laptop.tell(Event::CardRemoved);
    let lost = laptop.tell(Event::TunnelLost {
        op,
        why: LossReason::Socket,
    });
    assert!(
        matches!(
            lost[..],
            [
                Action::ForgetKeys,
                Action::ApplyHost {
                    rules: HostRules {
                        mode: HostMode::Closed,
                        ..
                    },
                    ..
                }
            ]
        ),
        "{lost:?}"
    );
    laptop.host();
    assert_eq!(laptop.state.deadline(&laptop.policy), None);
}

#[test]
fn without_a_tunnel_that_is_up_there_is_nothing_to_wait_for() {
    let mut laptop = Laptop::outside().ruled_by(GRACE);
    laptop.insert("A");
    let asked = laptop.tell(Event::CardRemoved);
    assert!(matches!(asked[..], [Action::CancelPin { .. }]), "{asked:?}");
    assert_eq!(laptop.state.key, Key::Absent);

    laptop.insert("A");
    laptop.unlock();
    let starting = laptop.tell(Event::CardRemoved);
    assert!(
        matches!(
            starting[..],
            [Action::ForgetKeys, Action::StopTunnel { .. }]
        ),
        "{starting:?}"
    );
}

#[test]
fn roaming_does_not_end_the_grace() {
    let mut laptop = Laptop::connected_at_home().ruled_by(GRACE);
    laptop.tell(Event::CardRemoved);
    laptop.plug(&[]);
    laptop.plug(&[home()]);
    laptop.pass_settling();
    laptop.probe(&[]);
    assert!(matches!(laptop.state.key, Key::Away { .. }));
    assert!(matches!(laptop.state.tunnel, Tunnel::Up { .. }));
}

#[test]
fn the_pin_of_a_login_opens_the_tunnel_and_is_good_inside_too() {
    let mut laptop = Laptop::outside();
    laptop.insert("A");
    let offered = laptop.offer_pin_from(PinSource::Login);
    let [Action::VerifyPin { op, .. }, Action::CancelPin { .. }] = offered[..] else {
        panic!("the prompt is closed: {offered:?}")
    };
    let check = PinCheck::Accepted;
    let opened = laptop.tell(Event::PinChecked { op, check });
    assert!(
        matches!(opened[..], [Action::StartTunnel { .. }]),
        "{opened:?}"
    );

    let mut laptop = Laptop::in_the_office();
    laptop.insert("A");
    let offered = laptop.offer_pin_from(PinSource::Login);
    let [Action::VerifyPin { op, .. }] = offered[..] else {
        panic!("{offered:?}")
    };
    assert_eq!(laptop.tell(Event::PinChecked { op, check }), []);
    assert!(
        matches!(laptop.state.key, Key::Unlocked(_)),
        "at home nobody need type it again"
    );
}

#[test]
fn a_login_spends_one_try_at_most_and_none_where_somebody_has_erred() {
    let mut laptop = Laptop::outside();
    laptop.insert("A");
    let offered = laptop.offer_pin_from(PinSource::Login);
    let Some(Action::VerifyPin { op, .. }) = offered.first() else {
        panic!("{offered:?}")
    };
    let refused = laptop.tell(Event::PinChecked {
        op: *op,
        check: PinCheck::Wrong { tries_left: 2 },
    });
    assert!(
        matches!(refused[..], [Action::AskPin { .. }]),
        "the user is asked instead: {refused:?}"
    );
    for _ in 0..3 {
        assert_eq!(
            laptop.offer_pin_from(PinSource::Login),
            [Action::DiscardPin]
        );
    }
    assert!(
        matches!(laptop.state.key, Key::AwaitingPin { .. }),
        "and goes on being asked"
    );

    laptop.unlock();
    laptop.tell(Event::CardLocked);
    assert_eq!(
        laptop.offer_pin_from(PinSource::Login),
        [Action::DiscardPin],
        "until the tries have been counted again"
    );
    laptop.tell(Event::TriesCounted { tries_left: 3 });
    assert!(matches!(
        laptop.offer_pin_from(PinSource::Login)[..],
        [Action::VerifyPin { .. }, ..]
    ));
}

#[test]
fn the_pin_at_the_locked_screen_renews_the_one_that_was_wiped() {
    let mut laptop = Laptop::connected_at_home();
    let before = laptop.state.clone();
    assert_eq!(laptop.tell(Event::SessionLocked), []);
    assert_eq!(laptop.state, before, "the tunnel lives on");
    let offered = laptop.offer_pin_from(PinSource::Login);
    let [Action::VerifyPin { op, .. }] = offered[..] else {
        panic!("{offered:?}")
    };
    assert!(matches!(laptop.state.tunnel, Tunnel::Up { .. }));
    let check = PinCheck::Accepted;
    laptop.tell(Event::PinChecked { op, check });
    assert_eq!(laptop.state.key, before.key);

    let mut laptop = Laptop::connected_at_home().ruled_by("pin = \"ask\"");
    let offered = laptop.offer_pin_from(PinSource::Login);
    assert_eq!(
        offered,
        [Action::DiscardPin],
        "none is kept, none is missed"
    );
}

#[test]
fn a_login_without_a_card_that_wants_it_throws_the_pin_away() {
    let mut laptop = Laptop::outside().ruled_by("pin = \"ask\"");
    let occasions: [fn(&mut Laptop); 3] = [
        |_| {},
        |laptop| drop(laptop.tell(Event::CardUnusable(CardFault::OtherCard))),
        |laptop| {
            laptop.insert("A");
            laptop.unlock();
        },
    ];
    for prepare in occasions {
        prepare(&mut laptop);
        assert_eq!(
            laptop.offer_pin_from(PinSource::Login),
            [Action::DiscardPin],
            "{:?}",
            laptop.state.key
        );
    }
}

#[test]
fn after_lock_the_pin_at_the_locked_screen_wakes_the_card() {
    let mut laptop = Laptop::connected_at_home();
    laptop.tell(Event::LockRequested);
    laptop.host();
    laptop.tunnel_stops();
    assert!(matches!(
        laptop.offer_pin_from(PinSource::Login)[..],
        [Action::VerifyPin { .. }]
    ));
}

#[test]
fn who_types_nothing_on_the_pin_pad_has_closed_the_prompt() {
    let mut laptop = Laptop::outside();
    laptop.insert("A");
    let offered = laptop.offer_pin_from(PinSource::Pad);
    let Some(Action::VerifyPin { op, .. }) = offered.first() else {
        panic!("{offered:?}")
    };
    let patience = laptop.deadline(DeadlineReason::PinCheckOverdue);
    assert!(
        patience >= laptop.now + Duration::from_secs(60),
        "a person needs longer than a card: {patience:?}"
    );
    let check = PinCheck::Declined;
    assert_eq!(laptop.tell(Event::PinChecked { op: *op, check }), []);
    assert!(matches!(laptop.state.key, Key::Declined { .. }));
    laptop.pass(Duration::from_secs(8 * 3600));
    assert_eq!(laptop.tell(Event::Tick), [], "and is not asked again");
}
