//! The PIN: who is asked for it and when, what is typed at login, and what is forgotten.

use std::time::Duration;

use sluss_card::{CardInfo, Command, Error, Event, PinEntry};
use sluss_ipc::{Key, Pin, PromptReason, Refusal, Request, Response, Tunnel};
use slussd::engine::Input;
use zeroize::Zeroizing;

use crate::laptop::{Laptop, POLICY, READER, inserted};

/// A laptop at home whose card is as `change` makes it.
fn at_home_with(policy: &str, change: impl FnOnce(&mut CardInfo)) -> Laptop {
    let Event::Inserted { reader, mut card } = inserted(READER) else {
        panic!("a card is inserted");
    };
    change(&mut card);
    let mut laptop = Laptop::with_policy(policy);
    laptop.does(Input::Card(Event::ServiceFound));
    laptop.joins("wlan0", "192.168.1.20/24", "192.168.1.1");
    laptop.does(Input::Card(Event::Inserted { reader, card }));
    laptop
}

fn hands_over(laptop: &mut Laptop, pin: &str) -> Option<u64> {
    let pin = Pin::new(Zeroizing::new(pin.as_bytes().to_vec())).expect("a PIN");
    let call = laptop.calls(Request::HandOver { pin, uid: 1001 });
    match laptop.answer(call) {
        Some(Response::HandedOver { wait_ms }) => wait_ms,
        answer => panic!("handed over, and answered {answer:?}"),
    }
}

#[test]
fn outside_the_user_is_asked_once_and_cancelling_is_respected() {
    let mut laptop = Laptop::at_home_with_card();
    let prompt = laptop.prompt.clone().expect("the user is asked");
    assert_eq!(prompt.reason, PromptReason::Needed);
    assert_eq!(prompt.serial, "0006:12345678");
    assert_eq!((prompt.tries_left, prompt.last_try), (None, false));

    let call = laptop.calls(Request::Decline { prompt: prompt.id });
    assert_eq!(laptop.answer(call), Some(Response::Done));
    laptop.prompt = None;
    laptop.waits(Duration::from_secs(8 * 3600));
    assert_eq!(laptop.prompt, None);
    assert_eq!(laptop.status().key, Key::Declined);

    laptop.joins("wlan0", "172.16.5.9/24", "172.16.5.1");
    assert!(laptop.prompt.is_some(), "another network, another question");
}

#[test]
fn a_prompt_that_is_no_longer_open_cannot_be_declined() {
    let mut laptop = Laptop::at_home_with_card();
    let old = laptop.prompt.clone().expect("the user is asked");
    laptop.types("111111");
    laptop.card_says(Err(Error::WrongPin { left: 2 }));
    let new = laptop.prompt.clone().expect("the user is asked again");
    assert_ne!(old.id, new.id);
    laptop.calls(Request::Decline { prompt: old.id });
    assert_eq!(laptop.status().key, Key::AwaitingPin);
}

#[test]
fn the_prompt_tells_of_tries_from_two_left_and_of_the_last_one() {
    let mut laptop = Laptop::at_home_with_card();
    for (left, told) in [(2, (Some(2), false)), (1, (Some(1), true))] {
        laptop.types("111111");
        laptop.card_says(Err(Error::WrongPin { left }));
        let prompt = laptop.prompt.clone().expect("the user is asked again");
        assert_eq!(prompt.reason, PromptReason::Again);
        assert_eq!((prompt.tries_left, prompt.last_try), told);
    }
    laptop.types("111111");
    laptop.card_says(Err(Error::Blocked));
    assert_eq!(laptop.prompt, None, "a blocked card has nothing to ask for");
    assert_eq!(laptop.status().key, Key::Blocked);
}

#[test]
fn a_card_that_was_reset_says_so_in_the_prompt() {
    let mut laptop = Laptop::connected();
    assert_eq!(laptop.prompt, None);
    laptop.does(Input::Card(Event::Locked {
        reader: READER.into(),
    }));
    let prompt = laptop.prompt.clone().expect("the user is asked");
    assert_eq!(prompt.reason, PromptReason::CardReset);
    assert_eq!(laptop.status().tunnel, Tunnel::Up, "it lives on meanwhile");
}

#[test]
fn on_a_pin_pad_the_user_types_unseen_and_may_cancel() {
    let mut laptop = at_home_with(POLICY, |card| card.pin_pad = true);
    assert!(laptop.prompt.clone().expect("the user is asked").pin_pad);
    let call = laptop.calls(Request::Unlock {
        pin: None,
        last_try: false,
    });
    let (op, command) = laptop.asked_of_card();
    assert!(matches!(
        command,
        Command::Verify {
            pin: PinEntry::OnPad,
            ..
        }
    ));
    laptop.prompt = None;
    laptop.waits(Duration::from_secs(55));
    assert_eq!(laptop.status().key, Key::Verifying, "a person takes time");
    let result = Err(Error::Declined);
    laptop.does(Input::Card(Event::Verified { op, result }));
    assert_eq!(
        laptop.answer(call),
        Some(Response::Refused(Refusal::PinCancelled))
    );
    assert_eq!(
        laptop.prompt, None,
        "who cancels is not asked again at once"
    );
}

#[test]
fn the_factory_pin_is_refused_by_name() {
    let mut laptop = Laptop::at_home_with_card();
    let call = laptop.types("123456");
    laptop.card_says(Err(Error::FactoryPin));
    assert_eq!(
        laptop.answer(call),
        Some(Response::Refused(Refusal::FactoryPin))
    );
}

#[test]
fn the_pin_typed_at_login_opens_the_tunnel_and_closes_the_prompt() {
    let mut laptop = Laptop::at_home_with_card();
    assert!(laptop.prompt.is_some());
    assert_eq!(hands_over(&mut laptop, "246810"), None);
    assert_eq!(laptop.prompt, None);
    laptop.card_accepts();
    laptop.gateway_answers();
    assert_eq!(laptop.status().tunnel, Tunnel::Up);
}

#[test]
fn the_pin_typed_at_login_in_the_office_serves_later_at_home() {
    let mut laptop = Laptop::with_policy(POLICY);
    laptop.beacon = true;
    laptop.joins("eth0", "10.20.1.9/16", "10.20.0.1");
    laptop.does(Input::Card(inserted(READER)));
    hands_over(&mut laptop, "246810");
    laptop.card_accepts();
    laptop.beacon = false;
    laptop.joins("wlan0", "192.168.1.20/24", "192.168.1.1");
    laptop.gateway_answers();
    assert_eq!(laptop.status().tunnel, Tunnel::Up);
    assert_eq!(laptop.prompt, None);
}

#[test]
fn a_wrong_pin_from_login_is_tried_once_and_then_the_user_is_asked() {
    let mut laptop = Laptop::at_home_with_card();
    hands_over(&mut laptop, "111111");
    laptop.card_says(Err(Error::WrongPin { left: 2 }));
    assert_eq!(laptop.prompt.clone().map(|it| it.tries_left), Some(Some(2)));
    hands_over(&mut laptop, "111111");
    assert!(laptop.card.is_empty(), "not with tries missing");
}

#[test]
fn a_pin_from_login_costs_no_try_where_one_is_missing_or_policy_forbids_it() {
    let mut laptop = at_home_with(POLICY, |card| card.tries_left = 2);
    hands_over(&mut laptop, "246810");
    assert!(laptop.card.is_empty());

    let forbidden = format!("{POLICY}[login]\nhand_over = false\n");
    let mut laptop = at_home_with(&forbidden, |_| {});
    hands_over(&mut laptop, "246810");
    assert!(laptop.card.is_empty());
}

#[test]
fn a_login_waits_as_long_as_policy_says() {
    let waiting = format!("{POLICY}[login]\nwait = \"8s\"\n");
    let mut laptop = at_home_with(&waiting, |_| {});
    assert_eq!(hands_over(&mut laptop, "246810"), Some(8000));
}

#[test]
fn before_sleep_the_worker_forgets_and_only_then_the_laptop_may_sleep() {
    let mut laptop = Laptop::connected();
    laptop.card.clear();
    laptop.does(Input::Suspending);
    let (op, command) = laptop.asked_of_card();
    assert!(matches!(command, Command::Forget));
    assert!(!laptop.asleep);
    laptop.does(Input::Card(Event::Forgotten { op }));
    assert!(laptop.asleep);
}

#[test]
fn a_locked_screen_forgets_what_was_typed_and_asks_the_card_what_is_left() {
    let mut laptop = Laptop::connected();
    laptop.card.clear();
    laptop.does(Input::SessionLocked);
    assert!(matches!(
        laptop.card[..],
        [(_, Command::Forget), (_, Command::Refresh)]
    ));
    assert_eq!(laptop.status().tunnel, Tunnel::Up);
}

#[test]
fn who_waits_for_the_internal_network_is_told_inside_and_when_the_gateway_has_answered() {
    let mut laptop = Laptop::at_home_with_card();
    laptop.types("246810");
    laptop.card_accepts();
    assert!(!laptop.reachable, "the gateway has not answered");
    laptop.gateway_answers();
    assert!(laptop.reachable);
    laptop.does(Input::Card(Event::Removed {
        reader: READER.into(),
    }));
    assert!(!laptop.reachable);
    laptop.beacon = true;
    laptop.joins("eth0", "10.20.1.9/16", "10.20.0.1");
    assert!(laptop.reachable);
}

#[test]
fn a_pulled_card_locks_the_session_where_policy_says_so() {
    let locking = format!("{POLICY}[card]\non_removal = \"lock-session\"\n");
    for (policy, locked) in [(POLICY, false), (&locking, true)] {
        let mut laptop = at_home_with(policy, |_| {});
        laptop.does(Input::Card(Event::Removed {
            reader: READER.into(),
        }));
        assert_eq!(laptop.session_locked, locked);
    }
}
