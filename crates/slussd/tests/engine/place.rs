//! What a place has in store: login pages, and names that lead to the gateway or do not.

use std::time::Duration;

use sluss_ipc::{EndpointState, Portal, Refusal, Resolution, Response, Tunnel, Warning};
use sluss_supervisor::Visitor;
use slussd::engine::{CallId, Input, TunnelOrder};
use slussd::resolver::{self, Fault, How, Located};

use crate::laptop::{Laptop, POLICY, READER, inserted};

const LOGIN: &str = "http://login.hotel.example/";
const USER: Visitor = Visitor::Uid(1000);

fn in_a_hotel(more: &str) -> Laptop {
    let policy = format!("{POLICY}[portal]\nprobe = \"http://192.0.2.80/\"\n{more}");
    let mut laptop = Laptop::with_policy(&policy);
    laptop.portal = Some(LOGIN.into());
    laptop.joins("wlan0", "172.16.0.20/24", "172.16.0.1");
    laptop
}

fn asks(laptop: &mut Laptop, call: u64, visitor: Visitor, renew: bool) -> Response {
    let call = CallId(call);
    laptop.does(Input::PortalCalled {
        call,
        visitor,
        renew,
    });
    laptop.answer(call).expect("an answer at once")
}

#[test]
fn a_hotel_is_named_and_shown_for_five_minutes_and_once_more_by_consent() {
    let mut laptop = in_a_hotel("");
    let Portal::Found {
        page: Some(page),
        may_open: true,
    } = laptop.status().portal
    else {
        panic!("{:?}", laptop.status().portal);
    };
    assert_eq!(
        (page.link.as_str(), page.login.as_deref()),
        ("wlan0", Some(LOGIN))
    );
    assert_eq!(laptop.opening, None);

    let Response::PortalOpened(opened) = asks(&mut laptop, 101, USER, false) else {
        panic!("not opened");
    };
    assert_eq!(
        (opened.left_ms, opened.renewable, opened.confined),
        (300_000, true, false)
    );
    assert_eq!(laptop.opening.as_ref().map(|it| &it.visitor), Some(&USER));

    laptop.waits(Duration::from_secs(301));
    assert_eq!(laptop.opening, None);
    let again = asks(&mut laptop, 102, USER, false);
    assert_eq!(
        again,
        Response::Refused(Refusal::PortalSpent { renewable: true })
    );
    assert_eq!(laptop.opening, None);

    let Response::PortalOpened(opened) = asks(&mut laptop, 103, USER, true) else {
        panic!("not renewed");
    };
    assert!(!opened.renewable);
    laptop.waits(Duration::from_secs(301));
    let third = asks(&mut laptop, 104, USER, true);
    assert_eq!(
        third,
        Response::Refused(Refusal::PortalSpent { renewable: false })
    );
}

#[test]
fn who_closed_the_browser_goes_on_with_what_is_left_of_the_time() {
    let mut laptop = in_a_hotel("");
    asks(
        &mut laptop,
        101,
        Visitor::Cgroup("user.slice/one.scope".into()),
        false,
    );
    laptop.waits(Duration::from_secs(100));
    let another = Visitor::Cgroup("user.slice/two.scope".into());
    let Response::PortalOpened(opened) = asks(&mut laptop, 102, another.clone(), false) else {
        panic!("not opened");
    };
    assert_eq!(
        (opened.left_ms, opened.renewable, opened.confined),
        (200_000, true, true)
    );
    assert_eq!(
        laptop.opening.as_ref().map(|it| &it.visitor),
        Some(&another)
    );
}

#[test]
fn where_nothing_is_in_the_way_or_policy_forbids_it_nobody_is_let_out() {
    let mut forbidden = in_a_hotel("open = false\n");
    assert_eq!(
        asks(&mut forbidden, 101, USER, false),
        Response::Refused(Refusal::ByPolicy)
    );
    assert_eq!(forbidden.opening, None);

    let mut home = in_a_hotel("");
    home.portal = None;
    home.joins("wlan0", "192.168.1.20/24", "192.168.1.1");
    assert_eq!(home.status().portal, Portal::Absent);
    assert_eq!(
        asks(&mut home, 101, USER, false),
        Response::Refused(Refusal::NoPortal)
    );
}

#[test]
fn the_gateways_name_is_looked_up_on_each_network_and_told() {
    let text = POLICY.replace("198.51.100.2:51820", "vpn.example.se:51820");
    let mut laptop = Laptop::with_policy(&text);
    laptop.does(Input::Card(sluss_card::Event::ServiceFound));
    laptop.joins("wlan0", "192.168.1.20/24", "192.168.1.1");
    laptop.does(Input::Card(inserted(READER)));
    assert_eq!(
        laptop.searches, 0,
        "nobody is asked for a gateway that is not called"
    );
    laptop.types("123456");
    laptop.card_accepts();
    assert_eq!(laptop.searches, 1);
    assert_eq!(endpoint(&laptop).resolution, Resolution::Pending);

    let found = "198.51.100.7:51820".parse().expect("an address");
    laptop.orders.clear();
    laptop.does(Input::GatewayFound(resolver::Resolution {
        groups: vec![vec![found]],
        located: vec![Located {
            addresses: vec![found],
            how: How::Resolved {
                by: "192.168.1.1:53".parse().expect("an address"),
            },
        }],
        servers: Vec::new(),
    }));
    assert!(matches!(
        &laptop.orders[..],
        [TunnelOrder::SetEndpoints { groups }] if *groups == [[found]]
    ));
    assert_eq!(endpoint(&laptop).addresses, [found]);
    assert_eq!(
        endpoint(&laptop).resolution,
        Resolution::Resolved { age_ms: 0 }
    );

    laptop.gateway_answers();
    laptop.joins("wlan0", "172.20.10.2/28", "172.20.10.1");
    assert_eq!(laptop.searches, 2);
}

#[test]
fn a_name_that_leads_nowhere_is_told_and_looked_up_again() {
    let text = POLICY.replace("198.51.100.2:51820", "vpn.example.se:51820");
    let mut laptop = Laptop::with_policy(&text);
    laptop.does(Input::Card(sluss_card::Event::ServiceFound));
    laptop.joins("wlan0", "192.168.1.20/24", "192.168.1.1");
    laptop.does(Input::Card(inserted(READER)));
    laptop.types("123456");
    laptop.card_accepts();
    laptop.does(Input::GatewayFound(resolver::Resolution {
        groups: Vec::new(),
        located: vec![Located {
            addresses: Vec::new(),
            how: How::Failed(Fault::NoAnswer),
        }],
        servers: Vec::new(),
    }));
    let status = laptop.status();
    assert_eq!(status.tunnel, Tunnel::Starting);
    assert!(status.warnings.contains(&Warning::NameNotResolved));
    assert_eq!(endpoint(&laptop).state, EndpointState::Idle);
    assert!(matches!(
        endpoint(&laptop).resolution,
        Resolution::Failed { .. }
    ));
}

fn endpoint(laptop: &Laptop) -> sluss_ipc::Endpoint {
    let gateway = laptop.status().gateway.expect("there is a gateway");
    gateway.endpoints.into_iter().next().expect("an endpoint")
}
