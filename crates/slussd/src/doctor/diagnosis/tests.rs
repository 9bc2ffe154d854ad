//! A laptop in each place where something is wrong, and the one check that has to say so.

use std::time::Duration;

use sluss_ipc::doctor::{Check, Finding, LinkFacts, Seen, Verdict};
use sluss_ipc::{
    BeaconKind, Card, CardFault, CardKind, DownReason, Endpoint, EndpointState, Evidence, Gateway,
    Host, HostMode, InsideRule, Intent, Key, KeyMode, Link, Location, LocationRules, Medium,
    Outcome, OutsideReason, PacketReport, PathMtu, PathVerdict, Portal, PortalPage, Resolution,
    ResolutionFault, SCHEMA, Segmentation, Status, Traffic, TunOffload, Tunnel, Warning,
};
use sluss_policy::{Policy, Source};
use sluss_supervisor::{LinkId, PortalAnswer, PortalCheck};

use super::{Facts, diagnose};
use crate::doctor::{Date, Observed};
use crate::resolver::{Fault, How, Located, Resolution as Resolved};

const POLICY: &str = r#"
schema = 1
[gateway]
name = "vpn.example.se"
public_key = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
[[endpoint]]
address = "vpn.example.se:51820"
[internal]
prefixes = ["10.20.0.0/16"]
[[beacon]]
name = "city hall"
addresses = ["10.20.0.53:8443"]
pins = ["sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="]
[portal]
probe = "http://192.0.2.80/"
[doctor]
internal_name = "intranet.example.se"
"#;

/// All that a diagnosis is made of, of its own.
struct Laptop {
    status: Status,
    links: Vec<LinkFacts>,
    policy: Policy,
    observed: Observed,
    proved: bool,
    enrolled: bool,
}

impl Laptop {
    fn findings(&self) -> Vec<Finding> {
        diagnose(&Facts {
            status: &self.status,
            links: &self.links,
            policy: &self.policy,
            observed: &self.observed,
            proved: self.proved,
            enrolled: self.enrolled,
        })
    }

    fn finding(&self, check: Check) -> Finding {
        let mut findings = self.findings().into_iter();
        findings.find(|finding| finding.check == check).unwrap()
    }

    fn seen(&self, check: Check) -> Seen {
        self.finding(check).seen
    }

    /// Everything that failed, in order.
    fn failed(&self) -> Vec<Check> {
        let failed = self.findings().into_iter();
        let failed = failed.filter(|it| it.verdict == Verdict::Failed);
        failed.map(|it| it.check).collect()
    }

    /// Everything that was not checked because of `check`.
    fn spared_by(&self, check: Check) -> Vec<Check> {
        let spared = self.findings().into_iter();
        let spared = spared.filter(|it| it.seen == Seen::NotRun { because: check });
        spared.map(|it| it.check).collect()
    }
}

/// At home on Wi-Fi, connected, everything in order.
fn home() -> Laptop {
    let endpoint = Endpoint {
        name: "vpn.example.se:51820".to_owned(),
        priority: 1,
        resolution: Resolution::Resolved { age_ms: 60_000 },
        addresses: vec!["198.51.100.2:51820".parse().unwrap()],
        state: EndpointState::InUse,
    };
    let status = Status {
        schema: SCHEMA,
        location: Location::Outside {
            reason: OutsideReason::NoProof,
            links: vec!["wlan0".to_owned()],
        },
        location_age_ms: Some(60_000),
        rules: Some(LocationRules {
            require: BeaconKind::Tls,
            quorum: 1,
            inside: InsideRule::NoTunnel,
            probe_timeout_ms: 800,
        }),
        links: Vec::new(),
        portal: Portal::Absent,
        key: Key::Unlocked,
        tunnel: Tunnel::Up,
        intent: Intent::Automatic,
        host: Host::Applied {
            mode: HostMode::Tunnelled,
        },
        gateway: Some(Gateway {
            name: "vpn.example.se".to_owned(),
            address: Some("198.51.100.2:51820".parse().unwrap()),
            endpoints: vec![endpoint],
        }),
        card: Some(Card {
            reader: "ACS ACR39U 00 00".to_owned(),
            serial: "0006:12345678".to_owned(),
            kind: CardKind::OpenPgp,
            mode: KeyMode::Held,
            algorithm: sluss_ipc::Algorithm::X25519,
            tries_left: Some(3),
        }),
        traffic: Some(Traffic {
            received_bytes: 1_000,
            sent_bytes: 1_000,
            handshake_age_ms: Some(40_000),
            unanswered_handshakes: 0,
        }),
        packets: Some(PacketReport {
            mtu: 1420,
            policy_mtu: 1420,
            path: Some(PathMtu {
                mtu: 1420,
                verdict: PathVerdict::Confirmed,
                age_ms: 40_000,
            }),
            tun: TunOffload::None,
            send: Segmentation::Unsupported,
            receive: false,
        }),
        evidence: vec![evidence(Outcome::NoAnswer)],
        deadline: None,
        warnings: Vec::new(),
        version: "0.1.0".to_owned(),
    };
    let located = Located {
        addresses: vec!["198.51.100.2:51820".parse().unwrap()],
        how: How::Resolved {
            by: "192.168.1.1:53".parse().unwrap(),
        },
    };
    let observed = Observed {
        portal: vec![answer(PortalAnswer::Expected)],
        resolution: Resolved {
            located: vec![located],
            ..Resolved::default()
        },
        internal: Some(Ok(vec!["10.20.0.10".parse().unwrap()])),
        ..Observed::default()
    };
    Laptop {
        status,
        links: vec![wifi(&["192.168.1.50", "fe80::1"])],
        policy: policy(POLICY),
        observed,
        proved: false,
        enrolled: true,
    }
}

/// In the office on the cable, with the card in a drawer.
fn office() -> Laptop {
    let mut laptop = home();
    laptop.status.location = Location::Inside {
        link: Some("wlan0".to_owned()),
        beacon: Some("city hall".to_owned()),
    };
    laptop.status.tunnel = Tunnel::Down {
        reason: DownReason::NotNeeded,
    };
    laptop.status.key = Key::Absent;
    laptop.status.card = None;
    laptop.status.evidence = vec![evidence(Outcome::Proved)];
    laptop.proved = true;
    laptop
}

/// At home, and the tunnel shut.
fn shut(key: Key, reason: DownReason) -> Laptop {
    let mut laptop = home();
    laptop.status.key = key;
    laptop.status.tunnel = Tunnel::Down { reason };
    laptop.status.traffic = None;
    laptop.status.packets = None;
    laptop.observed.internal = None;
    laptop
}

fn policy(text: &str) -> Policy {
    Policy::parse(&[Source {
        file: "policy.toml",
        text,
    }])
    .unwrap()
}

fn evidence(outcome: Outcome) -> Evidence {
    Evidence {
        link: "wlan0".to_owned(),
        beacon: "city hall".to_owned(),
        kind: BeaconKind::Beacon,
        site: None,
        address: "10.20.0.53:8443".parse().unwrap(),
        outcome,
        age_ms: 0,
    }
}

fn wifi(addresses: &[&str]) -> LinkFacts {
    LinkFacts {
        link: Link {
            name: "wlan0".to_owned(),
            medium: Medium::Wireless { open: false },
            metered: false,
            addresses: addresses.iter().map(|it| it.parse().unwrap()).collect(),
        },
        carrier: true,
        has_router: true,
    }
}

fn answer(answer: PortalAnswer) -> PortalCheck {
    PortalCheck {
        link: LinkId {
            index: 3,
            name: "wlan0".to_owned(),
        },
        answer,
    }
}

#[test]
fn at_home_nothing_is_to_be_said() {
    let laptop = home();
    for finding in laptop.findings() {
        let expected = match finding.check {
            // Beacons with bare keys have no dates, and nobody asked the time service.
            Check::Clock => Verdict::NotApplicable,
            _ => Verdict::Ok,
        };
        assert_eq!(finding.verdict, expected, "{finding:?}");
    }
    assert_eq!(
        laptop
            .findings()
            .iter()
            .map(|it| it.check)
            .collect::<Vec<_>>(),
        Check::ALL
    );
}

#[test]
fn in_the_office_the_card_may_stay_in_the_drawer() {
    let laptop = office();
    assert_eq!(laptop.failed(), []);
    for check in [Check::Card, Check::Pin, Check::GatewayUdp, Check::Handshake] {
        assert_eq!(laptop.seen(check), Seen::TunnelNotNeeded);
    }
    assert!(matches!(
        laptop.seen(Check::Beacon),
        Seen::ProvedInside { .. }
    ));
    // The internal name is reached without a tunnel.
    assert_eq!(laptop.finding(Check::InternalDns).verdict, Verdict::Ok);
}

#[test]
fn without_a_cable_only_that_is_told() {
    let mut laptop = shut(Key::Unlocked, DownReason::NoNetwork);
    laptop.links[0].carrier = false;
    assert_eq!(laptop.failed(), [Check::Link]);
    let spared = laptop.spared_by(Check::Link);
    assert!(
        spared.contains(&Check::Address) && spared.contains(&Check::InternalDns),
        "{spared:?}"
    );
    // These need no network.
    assert_eq!(laptop.finding(Check::Card).verdict, Verdict::Ok);
}

#[test]
fn an_address_that_the_laptop_made_up_is_none() {
    let mut laptop = shut(Key::Unlocked, DownReason::NoNetwork);
    laptop.links = vec![wifi(&["169.254.7.1", "fe80::1"])];
    assert!(matches!(
        laptop.seen(Check::Address),
        Seen::OnlyLinkLocal { .. }
    ));
    laptop.links = vec![wifi(&["fe80::1"])];
    assert!(matches!(
        laptop.seen(Check::Address),
        Seen::NoAddress { .. }
    ));
    laptop.links = vec![wifi(&["192.168.1.50"])];
    laptop.links[0].has_router = false;
    assert!(matches!(laptop.seen(Check::Address), Seen::NoRouter { .. }));
}

#[test]
fn in_a_hotel_the_login_page_is_the_cause_and_the_silence_is_not_blamed() {
    let mut laptop = shut(Key::Unlocked, DownReason::NotNeeded);
    laptop.status.tunnel = Tunnel::Starting;
    laptop.status.warnings = vec![Warning::GatewaySilent];
    laptop.observed.portal = vec![answer(PortalAnswer::Intercepted {
        url: Some("http://hotel.example/login".to_owned()),
    })];
    assert_eq!(laptop.failed(), [Check::CaptivePortal]);
    let Seen::PortalFound { page } = laptop.seen(Check::CaptivePortal) else {
        panic!("no login page");
    };
    assert_eq!(page.url, "http://192.0.2.80/");
    assert_eq!(page.login.as_deref(), Some("http://hotel.example/login"));
    assert!(
        laptop
            .spared_by(Check::CaptivePortal)
            .contains(&Check::GatewayUdp)
    );

    laptop.status.portal = Portal::Open {
        page: None::<PortalPage>,
        left_ms: 200_000,
        renewable: true,
    };
    assert!(matches!(
        laptop.seen(Check::CaptivePortal),
        Seen::PortalOpen {
            left_ms: 200_000,
            ..
        }
    ));
}

#[test]
fn one_clear_answer_beside_a_silent_one_is_no_login_page() {
    let mut laptop = home();
    laptop.observed.portal = vec![answer(PortalAnswer::Silent), answer(PortalAnswer::Expected)];
    assert_eq!(laptop.seen(Check::CaptivePortal), Seen::NoPortal);
    laptop.observed.portal = vec![answer(PortalAnswer::Silent)];
    assert_eq!(laptop.seen(Check::CaptivePortal), Seen::PortalUnknown);
    laptop.policy = policy(&POLICY.replace("[portal]\nprobe = \"http://192.0.2.80/\"\n", ""));
    assert_eq!(laptop.seen(Check::CaptivePortal), Seen::PortalNotLookedFor);
}

#[test]
fn behind_nat_the_tunnel_works_and_the_beacon_says_why_it_is_there() {
    let mut laptop = home();
    laptop.status.evidence = vec![evidence(Outcome::Relayed {
        seen: "10.20.255.9:40000".parse().unwrap(),
        own: "192.168.1.50:40000".parse().unwrap(),
    })];
    assert_eq!(laptop.failed(), []);
    assert_eq!(laptop.finding(Check::Beacon).verdict, Verdict::Warning);
}

#[test]
fn a_proof_that_is_not_enough_is_in_doubt() {
    let mut laptop = home();
    laptop.status.evidence = vec![evidence(Outcome::Proved)];
    assert!(matches!(
        laptop.seen(Check::Beacon),
        Seen::BeaconInDoubt { .. }
    ));
}

#[test]
fn a_certificate_out_of_date_puts_the_clock_in_doubt_too() {
    let mut laptop = home();
    laptop.status.evidence = vec![evidence(Outcome::NotYetValid {
        not_before_unix_s: 1_795_399_200,
        clock_unix_s: 1_000,
    })];
    assert_eq!(
        laptop.seen(Check::Clock),
        Seen::ClockOff {
            clock_unix_s: 1_000,
            certificate_unix_s: 1_795_399_200,
        }
    );
    assert_eq!(laptop.finding(Check::Beacon).verdict, Verdict::Warning);
}

#[test]
fn a_bare_key_vouches_for_no_date_and_the_time_service_for_what_it_set() {
    let mut laptop = office();
    assert_eq!(laptop.seen(Check::Clock), Seen::ClockUnwitnessed);
    laptop.observed.clock_is_set = Some(false);
    assert_eq!(laptop.seen(Check::Clock), Seen::ClockNotSet);
    laptop.policy = policy(&POLICY.replace(
        "name = \"city hall\"",
        "name = \"city hall\"\nkind = \"tls\"",
    ));
    assert_eq!(laptop.finding(Check::Clock).verdict, Verdict::Ok);
}

#[test]
fn a_servers_word_is_a_hint_and_weighs_less_than_a_certificate() {
    let mut laptop = home();
    let date = |server| {
        Some(Date {
            server,
            clock: 1_795_399_200,
        })
    };
    laptop.observed.date = date(1_795_399_190);
    assert_eq!(laptop.finding(Check::Clock).verdict, Verdict::Ok);
    // An hour, as after a change to summer time by hand.
    laptop.observed.date = date(1_795_395_600);
    assert_eq!(
        laptop.seen(Check::Clock),
        Seen::ClockDiffers {
            clock_unix_s: 1_795_399_200,
            server_unix_s: 1_795_395_600,
        }
    );
    assert_eq!(laptop.failed(), []);
}

#[test]
fn a_dead_resolver_is_the_cause_unless_the_policy_has_an_address() {
    let mut laptop = shut(Key::Unlocked, DownReason::Deciding);
    laptop.observed.resolution.located[0].how = How::Failed(Fault::NoAnswer);
    assert_eq!(laptop.failed(), [Check::Resolver]);
    assert_eq!(
        laptop.seen(Check::Resolver),
        Seen::NameNotResolved {
            name: "vpn.example.se".to_owned(),
            fault: ResolutionFault::NoAnswer,
        }
    );
    assert!(
        laptop
            .spared_by(Check::Resolver)
            .contains(&Check::GatewayUdp)
    );

    laptop.observed.resolution.located[0].how = How::Fallback(Fault::NoAnswer);
    assert_eq!(laptop.finding(Check::Resolver).verdict, Verdict::Warning);
    assert_eq!(laptop.failed(), []);
}

#[test]
fn one_name_of_two_is_enough() {
    let mut laptop = home();
    let second = "[internal]";
    laptop.policy = policy(&POLICY.replace(
        second,
        "[[endpoint]]\naddress = \"vpn2.example.se:51820\"\n[internal]",
    ));
    let mut located = laptop.observed.resolution.located[0].clone();
    located.how = How::Failed(Fault::NoSuchName);
    laptop.observed.resolution.located.insert(0, located);
    assert_eq!(laptop.finding(Check::Resolver).verdict, Verdict::Ok);
}

#[test]
fn each_fault_of_card_and_pin_has_its_own_check() {
    for (key, reason, failed) in [
        (Key::NoService, DownReason::NoCard, Check::Card),
        (Key::Absent, DownReason::NoCard, Check::Card),
        (
            Key::Unusable {
                fault: CardFault::OtherCard,
            },
            DownReason::NoCard,
            Check::Card,
        ),
        (Key::Locked, DownReason::KeyLocked, Check::Pin),
        (Key::Blocked, DownReason::KeyLocked, Check::Pin),
    ] {
        let mut laptop = shut(key, reason);
        if failed == Check::Card {
            laptop.status.card = None;
        }
        assert_eq!(laptop.failed(), [failed], "{key:?}");
        let spared = laptop.spared_by(failed);
        assert!(spared.contains(&Check::GatewayUdp), "{key:?}: {spared:?}");
        assert!(spared.contains(&Check::InternalDns), "{key:?}: {spared:?}");
    }
}

#[test]
fn a_laptop_without_a_binding_needs_it_and_not_a_card() {
    let mut laptop = shut(Key::Absent, DownReason::NoCard);
    laptop.enrolled = false;
    assert_eq!(laptop.failed(), [Check::Enrolment]);
    assert!(laptop.spared_by(Check::Enrolment).contains(&Check::Card));
}

#[test]
fn a_session_outlives_the_pin() {
    let mut laptop = home();
    laptop.status.key = Key::Locked;
    assert_eq!(laptop.failed(), [Check::Pin]);
    assert!(matches!(
        laptop.seen(Check::GatewayUdp),
        Seen::GatewayHeard { .. }
    ));
}

#[test]
fn silence_is_the_gateways_and_what_comes_after_is_not_blamed() {
    let mut laptop = home();
    laptop.status.tunnel = Tunnel::Starting;
    laptop.status.warnings = vec![Warning::GatewaySilent];
    laptop.status.traffic = Some(Traffic {
        unanswered_handshakes: 4,
        ..Traffic::default()
    });
    let gateway = laptop.status.gateway.as_mut().unwrap();
    gateway.endpoints[0].state = EndpointState::Silent { age_ms: 20_000 };
    laptop.observed.internal = None;
    assert_eq!(laptop.failed(), [Check::GatewayUdp]);
    assert_eq!(
        laptop.spared_by(Check::GatewayUdp),
        [Check::Handshake, Check::PathMtu, Check::InternalDns]
    );
}

#[test]
fn a_gateway_that_was_only_just_called_is_not_silent() {
    let mut laptop = shut(Key::Unlocked, DownReason::Deciding);
    laptop.status.tunnel = Tunnel::Starting;
    let gateway = laptop.status.gateway.as_mut().unwrap();
    gateway.endpoints[0].state = EndpointState::Calling;
    assert_eq!(laptop.seen(Check::GatewayUdp), Seen::GatewayAwaited);
    assert_eq!(laptop.failed(), []);
}

#[test]
fn the_second_gateway_works_and_the_first_is_told() {
    let mut laptop = home();
    let gateway = laptop.status.gateway.as_mut().unwrap();
    let mut second = gateway.endpoints[0].clone();
    second.priority = 2;
    second.name = "vpn2.example.se:51820".to_owned();
    gateway.endpoints[0].state = EndpointState::Silent { age_ms: 20_000 };
    gateway.endpoints.push(second);
    let Seen::GatewayDetour { endpoint, silent } = laptop.seen(Check::GatewayUdp) else {
        panic!("{:?}", laptop.seen(Check::GatewayUdp));
    };
    assert_eq!(endpoint.name, "vpn2.example.se:51820");
    assert_eq!(silent[0].name, "vpn.example.se:51820");
    assert_eq!(laptop.failed(), []);
}

/// Data still comes, but no handshake is answered: the gateway has forgotten us, or holds us for older than we are.
#[test]
fn handshakes_that_fail_while_data_flows_are_no_blocked_network() {
    let mut laptop = home();
    laptop.status.traffic = Some(Traffic {
        handshake_age_ms: Some(u64::try_from(Duration::from_secs(150).as_millis()).unwrap()),
        unanswered_handshakes: 4,
        ..Traffic::default()
    });
    laptop.status.warnings = vec![Warning::GatewaySilent];
    assert_eq!(laptop.failed(), [Check::Handshake]);
}

#[test]
fn a_path_that_loses_long_packets_is_told() {
    let mut laptop = home();
    let path = laptop
        .status
        .packets
        .as_mut()
        .unwrap()
        .path
        .as_mut()
        .unwrap();
    path.verdict = PathVerdict::TooNarrow;
    assert_eq!(laptop.failed(), [Check::PathMtu]);
}

#[test]
fn an_internal_name_with_an_address_outside_was_asked_for_outside() {
    let mut laptop = home();
    laptop.observed.internal = Some(Ok(vec!["203.0.113.9".parse().unwrap()]));
    assert!(matches!(
        laptop.seen(Check::InternalDns),
        Seen::InternalNameForeign { .. }
    ));
    laptop.observed.internal = Some(Err(ResolutionFault::NoSuchName));
    assert_eq!(laptop.failed(), [Check::InternalDns]);
}

#[test]
fn who_asked_for_no_tunnel_is_reminded_and_nothing_is_blamed() {
    let laptop = shut(Key::Unlocked, DownReason::StoppedByUser);
    assert_eq!(laptop.seen(Check::Daemon), Seen::StoppedByUser);
    assert_eq!(laptop.failed(), []);
    assert_eq!(
        laptop.seen(Check::GatewayUdp),
        Seen::GatewayNotCalled {
            reason: DownReason::StoppedByUser
        }
    );
}

#[test]
fn a_firewall_that_could_not_be_set_is_told() {
    let mut laptop = shut(Key::Unlocked, DownReason::Deciding);
    laptop.status.host = Host::Failed {
        mode: HostMode::Closed,
    };
    assert_eq!(laptop.failed(), [Check::Host]);
}
