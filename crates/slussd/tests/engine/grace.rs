//! A pulled card that policy waits for.

use std::time::Duration;

use sluss_card::{Error, Event};
use sluss_ipc::{DeadlineReason, Key, Tunnel, Warning};
use slussd::engine::Input;

use crate::laptop::{Laptop, POLICY, READER, inserted};

const OTHER_READER: &str = "Reader 00 01";

fn removed() -> Input {
    let reader = READER.into();
    Input::Card(Event::Removed { reader })
}

fn strangers_card() -> Input {
    Input::Card(Event::Unusable {
        reader: OTHER_READER.into(),
        reason: Error::OtherCard {
            serial: "0006:00000001".into(),
        },
    })
}

/// At home with a tunnel, and ten seconds' grace.
fn connected() -> Laptop {
    let policy = format!("{POLICY}[card]\non_removal = \"grace\"\ngrace = \"10s\"\n");
    let mut laptop = Laptop::with_policy(&policy);
    laptop.does(Input::Card(Event::ServiceFound));
    laptop.joins("wlan0", "192.168.1.20/24", "192.168.1.1");
    // The second question about the place.
    laptop.waits(Duration::from_secs(10));
    laptop.does(Input::Card(inserted(READER)));
    laptop.types("271828");
    laptop.card_accepts();
    laptop.gateway_answers();
    laptop
}

#[test]
fn the_tunnel_lives_on_and_the_user_is_told_for_how_long() {
    let mut laptop = connected();
    laptop.does(removed());
    let status = laptop.status();
    assert_eq!((status.tunnel, status.key), (Tunnel::Up, Key::Absent));
    assert_eq!(status.warnings, [Warning::CardMissed]);
    let deadline = status.deadline.expect("it does not wait for ever");
    assert_eq!(deadline.reason, DeadlineReason::GraceOver);
    assert_eq!(deadline.in_ms, 10_000);

    laptop.does(Input::Card(inserted(READER)));
    let status = laptop.status();
    assert_eq!((status.tunnel, status.key), (Tunnel::Up, Key::AwaitingPin));
    assert!(status.warnings.is_empty());
    assert!(laptop.prompt.is_some(), "it has lost its power");
}

#[test]
fn without_the_card_it_closes_on_time() {
    let mut laptop = connected();
    laptop.does(removed());
    laptop.waits(Duration::from_millis(9_999));
    assert!(laptop.tunnel.is_some());
    laptop.waits(Duration::from_millis(1));
    assert!(laptop.tunnel.is_none());
    assert!(laptop.status().warnings.is_empty());
}

#[test]
fn a_strangers_card_ends_the_wait_unless_it_was_there_before() {
    let mut laptop = connected();
    laptop.does(removed());
    laptop.does(strangers_card());
    assert!(laptop.tunnel.is_none());

    let mut laptop = connected();
    laptop.does(strangers_card());
    laptop.does(removed());
    assert!(laptop.tunnel.is_some());
}

#[test]
fn who_locks_the_screen_has_gone() {
    let mut laptop = connected();
    laptop.does(removed());
    laptop.does(Input::SessionLocked);
    assert!(laptop.tunnel.is_none());
}
