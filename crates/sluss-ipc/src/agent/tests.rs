//! A day of states, and what the user is told of it.

use super::*;
use crate::{Gateway, Host, Intent, Location, Portal, SCHEMA};

fn status(tunnel: Tunnel, key: Key) -> Status {
    Status {
        schema: SCHEMA,
        location: Location::Offline,
        location_age_ms: None,
        rules: None,
        links: Vec::new(),
        portal: Portal::Absent,
        key,
        tunnel,
        intent: Intent::Automatic,
        host: Host::Unknown,
        gateway: Some(Gateway {
            name: "vpn.example.se".to_owned(),
            address: Some("198.51.100.2:51820".parse().unwrap()),
            endpoints: Vec::new(),
        }),
        card: None,
        traffic: None,
        packets: None,
        evidence: Vec::new(),
        deadline: None,
        warnings: Vec::new(),
        version: String::new(),
    }
}

fn down(reason: DownReason, key: Key) -> Status {
    status(Tunnel::Down { reason }, key)
}

fn up() -> Status {
    status(Tunnel::Up, Key::Unlocked)
}

fn with(warning: Warning, status: Status) -> Status {
    Status {
        warnings: vec![warning],
        ..status
    }
}

fn connected() -> Notice {
    Notice::Connected {
        gateway: "vpn.example.se".to_owned(),
    }
}

#[track_caller]
fn day(states: &[(Status, Option<Notice>)]) {
    let mut notices = Notices::default();
    for (at, (status, told)) in states.iter().enumerate() {
        assert_eq!(&notices.observe(status), told, "at {at}");
        assert_eq!(notices.observe(status), None, "twice at {at}");
    }
}

#[test]
fn a_quiet_day_has_three_notices() {
    day(&[
        (down(DownReason::Deciding, Key::Absent), None),
        (down(DownReason::NoCard, Key::Absent), None),
        (down(DownReason::KeyLocked, Key::AwaitingPin), None),
        (down(DownReason::KeyLocked, Key::Verifying), None),
        (status(Tunnel::Starting, Key::Unlocked), None),
        (up(), Some(connected())),
        // The Wi-Fi is lost for a moment.
        (down(DownReason::NoNetwork, Key::Unlocked), None),
        (down(DownReason::Deciding, Key::Unlocked), None),
        (status(Tunnel::Starting, Key::Unlocked), None),
        (up(), None),
        // To the office, and home again.
        (
            down(DownReason::NotNeeded, Key::Unlocked),
            Some(Notice::Inside),
        ),
        (down(DownReason::NotNeeded, Key::Absent), None),
        (down(DownReason::NoCard, Key::Absent), None),
        (down(DownReason::KeyLocked, Key::AwaitingPin), None),
        (up(), Some(connected())),
    ]);
}

#[test]
fn a_pulled_card_is_told_to_who_was_connected() {
    day(&[
        (up(), Some(connected())),
        (status(Tunnel::Stopping, Key::Absent), None),
        (
            down(DownReason::NoCard, Key::Absent),
            Some(Notice::CardPulled),
        ),
        (down(DownReason::KeyLocked, Key::AwaitingPin), None),
        (down(DownReason::NoCard, Key::Absent), None),
        (up(), Some(connected())),
        (with(Warning::CardMissed, up()), Some(Notice::CardMissed)),
        (up(), Some(connected())),
        (with(Warning::CardMissed, up()), Some(Notice::CardMissed)),
        (
            down(DownReason::NoCard, Key::Absent),
            Some(Notice::CardPulled),
        ),
    ]);
}

#[test]
fn a_card_that_cannot_serve_is_told_each_time_it_is_put_in() {
    let wrong = Key::Unusable {
        fault: CardFault::OtherCard,
    };
    let told = Notice::CardUnusable {
        fault: CardFault::OtherCard,
    };
    day(&[
        (down(DownReason::NoCard, wrong), Some(told.clone())),
        (down(DownReason::NoCard, Key::Absent), None),
        (down(DownReason::NoCard, wrong), Some(told)),
        (
            down(DownReason::KeyLocked, Key::Blocked),
            Some(Notice::CardBlocked),
        ),
        // Inside it does not matter.
        (down(DownReason::NotNeeded, wrong), None),
    ]);
}

#[test]
fn a_login_page_is_told_once_and_before_the_silence_that_it_causes() {
    let behind = |portal: Portal| Status {
        portal,
        ..with(
            Warning::GatewaySilent,
            status(Tunnel::Starting, Key::Unlocked),
        )
    };
    let found = || Portal::Found {
        page: None,
        may_open: true,
    };
    let open = |left_ms| Portal::Open {
        page: None,
        left_ms,
        renewable: true,
    };
    day(&[
        (behind(found()), Some(Notice::LoginPage)),
        (behind(open(300_000)), None),
        (behind(open(200_000)), None),
        // The time is over; the user knows.
        (behind(found()), None),
        (up(), Some(connected())),
        // Another link's login page is of no interest while the tunnel carries.
        (
            Status {
                portal: found(),
                ..up()
            },
            None,
        ),
    ]);
}

#[test]
fn a_silent_gateway_is_told_once_and_so_is_its_return() {
    let silent = || Notice::GatewaySilent {
        gateway: "vpn.example.se".to_owned(),
    };
    let starting = || status(Tunnel::Starting, Key::Unlocked);
    day(&[
        (starting(), None),
        (with(Warning::GatewaySilent, starting()), Some(silent())),
        (with(Warning::GatewaySilent, up()), None),
        (up(), Some(connected())),
        (with(Warning::GatewaySilent, up()), Some(silent())),
        // What the user asked for needs no notice, and what follows is news again.
        (down(DownReason::StoppedByUser, Key::Unlocked), None),
        (up(), Some(connected())),
    ]);
}
