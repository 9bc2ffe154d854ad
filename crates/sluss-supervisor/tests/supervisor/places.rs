//! Stories of networks: restless, forged, paid for by the byte, or with a page in the way.

use std::time::Duration;

use sluss_supervisor::{
    Action, Change, DeadlineReason, Event, HostMode, HostRules, LinkLayerAddress, Location, Op,
    Portal, PortalAnswer, PortalCheck, Tunnel, Visitor,
};

use crate::laptop::{Laptop, guest, home, office};
use crate::world::{POLICY, TrueLink, link, policy};

const PORTAL: &str = "[portal]\nprobe = \"http://192.0.2.80/\"\n";
const VISITOR: Visitor = Visitor::Uid(1000);

/// Somebody else answers for the gateway.
fn forged(mut link: TrueLink, by: u8) -> TrueLink {
    link.link.neighbours[0].address = LinkLayerAddress([2, 0, 0, 0, 0, by]);
    link
}

#[test]
fn a_forged_neighbour_asks_a_question_and_changes_nothing() {
    let mut laptop = Laptop::in_the_office();
    let asked = laptop.plug(&[forged(office(), 66)]);
    assert!(
        matches!(asked[..], [Action::Probe { .. }]),
        "at once, and still open: {asked:?}"
    );
    assert_eq!(laptop.probe(&[1]), [], "nothing has happened");
    assert!(matches!(laptop.state.location, Location::Inside(_)));

    assert_eq!(
        laptop.plug(&[forged(office(), 67)]),
        [],
        "not so soon again"
    );
    for by in 68..90 {
        laptop.pass(Duration::from_millis(100));
        assert_eq!(laptop.plug(&[forged(office(), by)]), []);
    }
    let asked = laptop.pass_deadline(DeadlineReason::NetworkSettled);
    assert!(matches!(asked[..], [Action::Probe { .. }]), "{asked:?}");
    assert_eq!(laptop.probe(&[1]), []);
    assert_eq!(laptop.state.deadline(&laptop.policy), None);
}

#[test]
fn a_network_that_is_swallowed_again_and_again_moves_the_tunnel_ever_more_seldom() {
    let mut laptop = Laptop::in_the_office();
    laptop.insert("A");
    let mut outside_for = Vec::new();
    for by in 1..4 {
        laptop.pass(Duration::from_secs(6));
        laptop.plug(&[forged(office(), by)]);
        laptop.probe(&[]);
        laptop.host();
        laptop.pass_settling();
        laptop.probe(&[]);
        laptop.host();
        let began = laptop.now;
        laptop.plug(&[forged(office(), by + 100)]);
        laptop.pass_deadline(DeadlineReason::ProbeAgain);
        laptop.probe(&[1]);
        laptop.probe(&[1]);
        assert!(matches!(laptop.state.location, Location::Inside(_)));
        outside_for.push(laptop.now.since(began));
        laptop.host();
    }
    assert!(
        outside_for.windows(2).all(|pair| pair[1] > pair[0] * 3 / 2),
        "{outside_for:?}"
    );
}

#[test]
fn a_loose_plug_is_waited_out_longer_and_longer() {
    let mut laptop = Laptop::in_the_office();
    let mut waited = Vec::new();
    for _ in 0..6 {
        laptop.plug(&[]);
        laptop.pass(Duration::from_millis(100));
        laptop.plug(&[office()]);
        waited.push(
            laptop
                .deadline(DeadlineReason::NetworkSettled)
                .since(laptop.now),
        );
    }
    let ms: Vec<u128> = waited.iter().map(Duration::as_millis).collect();
    assert_eq!(ms, [250, 500, 1000, 2000, 4000, 4000]);
    assert!(laptop.state.is_restless(laptop.now));
    laptop.pass(Duration::from_secs(11));
    assert!(!laptop.state.is_restless(laptop.now), "all is forgotten");
}

#[test]
fn a_cable_that_flaps_beside_the_guest_wifi_is_not_judged_in_its_pauses() {
    let mut laptop = Laptop::in_the_office();
    laptop.plug(&[office(), guest()]);
    for n in 0..20 {
        for links in [&[guest()][..], &[office(), guest()]] {
            laptop.plug(links);
            if n == 0 && links.len() == 1 {
                assert_eq!(laptop.host(), HostMode::Closed, "at once");
            }
            laptop.pass(Duration::from_millis(200));
            assert_eq!(laptop.tell(Event::Tick), [], "no question in pause {n}");
        }
    }
    laptop.pass_settling();
    laptop.probe(&[1]);
    laptop.probe(&[1]);
    assert!(matches!(laptop.state.location, Location::Inside(_)));
}

#[test]
fn a_port_that_does_not_forward_yet_is_not_outside() {
    let mut laptop = Laptop::new();
    laptop.insert("A");
    let mut silent = office();
    let neighbours = std::mem::take(&mut silent.link.neighbours);
    laptop.plug(&[silent.clone()]);
    laptop.pass_settling();
    laptop.probe(&[]);
    assert!(
        matches!(laptop.state.location, Location::Settling { .. }),
        "nobody has said anything there"
    );
    laptop.pass(Duration::from_secs(2));
    silent.link.neighbours = neighbours;
    let asked = laptop.plug(&[silent]);
    assert!(
        matches!(asked[..], [Action::Probe { .. }]),
        "it carries: {asked:?}"
    );
    laptop.probe(&[1]);
    laptop.probe(&[1]);
    assert!(matches!(laptop.state.location, Location::Inside(_)));
}

#[test]
fn where_no_network_is_trusted_the_tunnel_stays_and_nothing_is_in_the_clear() {
    let mut laptop = Laptop::connected_at_home();
    laptop.policy = policy(&format!("{POLICY}\n[location]\ninside = \"tunnel-anyway\""));
    laptop.plug(&[office()]);
    laptop.pass_settling();
    laptop.probe(&[1]);
    let inside = laptop.probe(&[1]);
    assert_eq!(
        inside,
        [Action::RefreshTunnel {
            after: Change::Place
        }]
    );
    assert!(matches!(laptop.state.location, Location::Inside(_)));
    assert!(matches!(laptop.state.tunnel, Tunnel::Up { .. }));

    laptop.tell(Event::CardRemoved);
    assert_eq!(laptop.host(), HostMode::Closed, "closed rather than clear");
    assert_eq!(laptop.tunnel_stops(), [], "and so it stays");
    assert!(
        matches!(laptop.insert("A")[..], [Action::AskPin { .. }]),
        "asked for inside, too"
    );
}

#[test]
fn a_metered_link_thins_the_keepalives_until_another_is_in_use() {
    let mut laptop = Laptop::connected_at_home();
    let tunnel = "[tunnel]\nkeepalive = \"25s\"\nmetered_keepalive = \"off\"";
    laptop.policy = policy(&format!("{POLICY}\n{tunnel}"));
    laptop.tell(Event::Tick);
    let mut metered = home();
    metered.link.metered = true;
    assert_eq!(
        laptop.plug(&[metered]),
        [Action::SetKeepalive { every: None }],
        "and no more: the place is the same"
    );
    assert_eq!(
        laptop.plug(&[home()]),
        [Action::SetKeepalive {
            every: Some(Duration::from_secs(25))
        }]
    );
}

#[test]
fn a_home_in_the_internal_prefix_keeps_its_router_while_it_is_outside() {
    let mut laptop = Laptop::new();
    let twin = link(1, 5, 7, true);
    laptop.plug(std::slice::from_ref(&twin));
    laptop.pass_settling();
    let verdict = laptop.probe(&[]);
    let [
        Action::ApplyHost {
            rules: HostRules { mode, routers, .. },
            ..
        },
    ] = &verdict[..]
    else {
        panic!("{verdict:?}")
    };
    assert_eq!(*mode, HostMode::Closed);
    assert_eq!(routers.len(), 1);
    assert_eq!(routers[0].link, twin.link.id);
    assert_eq!(routers[0].address, twin.link.gateways[0]);
}

/// In a hotel whose portal has been found.
fn in_a_hotel() -> Laptop {
    let mut laptop = Laptop::new();
    laptop.policy = policy(&format!("{POLICY}\n{PORTAL}"));
    laptop.plug(&[home()]);
    laptop.pass_settling();
    laptop.probe(&[]);
    portal_says(&mut laptop, intercepted());
    laptop.pass_doubt();
    laptop.probe(&[]);
    assert!(matches!(laptop.state.portal, Portal::Found { .. }));
    laptop
}

fn intercepted() -> PortalAnswer {
    PortalAnswer::Intercepted {
        url: Some("http://login.hotel.example/".to_owned()),
    }
}

fn portal_says(laptop: &mut Laptop, answer: PortalAnswer) -> Vec<Action> {
    let op = portal_op(laptop);
    let link = home().link.id;
    let checks = vec![PortalCheck { link, answer }];
    laptop.tell(Event::PortalChecked { op, checks })
}

fn portal_op(laptop: &Laptop) -> Op {
    use sluss_supervisor::Recheck::Running;
    match &laptop.state.portal {
        Portal::Checking { op, .. }
        | Portal::Found {
            check: Running { op, .. },
            ..
        }
        | Portal::Open {
            check: Running { op, .. },
            ..
        } => *op,
        other => panic!("{other:?}"),
    }
}

fn asks(laptop: &mut Laptop, renew: bool) -> Vec<Action> {
    laptop.tell(Event::PortalRequested {
        visitor: VISITOR,
        renew,
    })
}

#[test]
fn a_portal_opens_when_asked_for_and_closes_when_the_user_is_through() {
    let mut laptop = in_a_hotel();
    assert_eq!(
        laptop.state.deadline(&laptop.policy),
        None,
        "nobody polls a portal that nobody visits"
    );
    let opened = asks(&mut laptop, false);
    let [
        Action::ApplyHost {
            rules:
                HostRules {
                    opening: Some(opening),
                    ..
                },
            ..
        },
    ] = &opened[..]
    else {
        panic!("{opened:?}")
    };
    assert_eq!(opening.visitor, VISITOR);
    assert_eq!(opening.until.since(laptop.now), Duration::from_secs(300));
    laptop.host();

    laptop.pass_deadline(DeadlineReason::PortalCheckDue);
    assert_eq!(portal_says(&mut laptop, intercepted()), [], "not yet");
    let pause = laptop
        .deadline(DeadlineReason::PortalCheckDue)
        .since(laptop.now);
    assert_eq!(
        pause,
        Duration::from_secs(10),
        "looked at less and less often"
    );
    laptop.pass_deadline(DeadlineReason::PortalCheckDue);
    let through = portal_says(&mut laptop, PortalAnswer::Expected);
    assert!(
        matches!(
            &through[..],
            [
                Action::ApplyHost {
                    rules: HostRules { opening: None, .. },
                    ..
                },
                Action::Probe { .. }
            ]
        ),
        "closed, and the beacons may answer now: {through:?}"
    );
}

#[test]
fn a_portal_that_holds_its_guests_is_open_for_five_minutes_and_once_more_by_consent() {
    let mut laptop = in_a_hotel();
    asks(&mut laptop, false);
    let begin = laptop.now;
    for renewal in [true, false] {
        for _ in 0..200 {
            if !matches!(laptop.state.portal, Portal::Open { .. }) {
                break;
            }
            let due = laptop.state.deadline(&laptop.policy).expect("it ends");
            laptop.now = due.at;
            laptop.tell(Event::Tick);
        }
        let asked = asks(&mut laptop, false);
        assert!(
            !matches!(laptop.state.portal, Portal::Open { .. }),
            "not without consent: {asked:?}"
        );
        asks(&mut laptop, true);
        assert_eq!(
            matches!(laptop.state.portal, Portal::Open { .. }),
            renewal,
            "once"
        );
    }
    assert_eq!(laptop.now.since(begin), Duration::from_secs(600));
}

#[test]
fn whatever_ends_the_stay_closes_the_portal() {
    let endings: [fn(&mut Laptop); 4] = [
        |laptop| drop(laptop.plug(&[link(2, 9, 7, false)])),
        |laptop| drop(laptop.plug(&[])),
        |laptop| drop(laptop.tell(Event::Suspending)),
        |laptop| {
            laptop.insert("A");
            laptop.unlock();
            laptop.host();
            laptop.tell(Event::Tick);
            laptop.tunnel_starts();
            let Tunnel::Up { op, .. } = laptop.state.tunnel else {
                panic!("{:?}", laptop.state.tunnel)
            };
            laptop.tell(Event::SessionEstablished { op });
        },
    ];
    for (n, end) in endings.into_iter().enumerate() {
        let mut laptop = in_a_hotel();
        asks(&mut laptop, false);
        end(&mut laptop);
        assert!(
            !matches!(
                laptop.state.portal,
                Portal::Open { .. } | Portal::Found { .. }
            ),
            "ending {n}: {:?}",
            laptop.state.portal
        );
    }
}

#[test]
fn without_the_policys_leave_no_portal_opens() {
    let mut laptop = in_a_hotel();
    laptop.policy = policy(&format!("{POLICY}\n{PORTAL}open = false\n"));
    assert_eq!(asks(&mut laptop, true), []);
    assert!(matches!(laptop.state.portal, Portal::Found { .. }));
}

#[test]
fn a_gateway_that_stays_silent_makes_us_look_for_a_portal_again() {
    let mut laptop = Laptop::connected_at_home();
    laptop.policy = policy(&format!("{POLICY}\n{PORTAL}"));
    let Tunnel::Up { op, .. } = laptop.state.tunnel else {
        panic!("{:?}", laptop.state.tunnel)
    };
    for attempts in 1..=2 {
        let heard = laptop.tell(Event::HandshakeUnanswered { op, attempts });
        assert_eq!(heard, []);
    }
    let third = laptop.tell(Event::HandshakeUnanswered { op, attempts: 3 });
    assert!(
        matches!(third[..], [Action::CheckPortal { .. }]),
        "{third:?}"
    );
}
