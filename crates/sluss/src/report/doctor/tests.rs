//! The doctor's report as a helpdesk reads it, in both languages, and that no finding is without words.

use std::net::IpAddr;

use sluss_ipc::doctor::{Check, ClockWitness, LinkAddress, Seen, Support};
use sluss_ipc::{
    BeaconKind, CardFault, CardKind, DownReason, Endpoint, EndpointState, Evidence, InsideRule,
    Link, LocationRules, Medium, Outcome, PathMtu, PathVerdict, PortalPage, Resolution,
    ResolutionFault, SCHEMA,
};

use super::super::tests::{LANGUAGES, reads};
use super::*;
use crate::text::English;

fn diagnosis(findings: impl IntoIterator<Item = Finding>) -> Diagnosis {
    Diagnosis {
        schema: SCHEMA,
        findings: findings.into_iter().collect(),
        support: Some(Support {
            phone: Some("+46 8 123 45 67".to_owned()),
            web: Some("https://hjalp.example.se".to_owned()),
            detour: Some("webmail works from everywhere, https://mail.example.se".to_owned()),
        }),
        version: "0.1.0".to_owned(),
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn cable() -> Link {
    Link {
        name: "eth0".to_owned(),
        medium: Medium::Wired,
        metered: false,
        addresses: vec![address("10.30.5.50")],
    }
}

fn endpoint() -> Endpoint {
    Endpoint {
        name: "vpn.example.se:51820".to_owned(),
        priority: 1,
        resolution: Resolution::Resolved { age_ms: 60_000 },
        addresses: vec!["198.51.100.2:51820".parse().unwrap()],
        state: EndpointState::InUse,
    }
}

fn evidence(outcome: Outcome) -> Evidence {
    Evidence {
        link: "eth0".to_owned(),
        beacon: "city hall".to_owned(),
        kind: BeaconKind::Beacon,
        site: None,
        address: "10.20.0.53:8443".parse().unwrap(),
        outcome,
        age_ms: 300,
    }
}

const RULES: LocationRules = LocationRules {
    require: BeaconKind::Tls,
    quorum: 1,
    inside: InsideRule::NoTunnel,
    probe_timeout_ms: 800,
};

fn relayed() -> Outcome {
    Outcome::Relayed {
        seen: "10.20.255.9:40000".parse().unwrap(),
        own: "10.30.5.50:40000".parse().unwrap(),
    }
}

/// In a branch office behind NAT: everything works, and IT is told how the tunnel could be spared.
#[test]
fn the_branch_office_is_told_both_cures() {
    let path = PathMtu {
        mtu: 1420,
        verdict: PathVerdict::Confirmed,
        age_ms: 9_000,
    };
    let found = diagnosis([
        Seen::DaemonRuns.of(Check::Daemon),
        Seen::LinkUp {
            links: vec![cable()],
        }
        .of(Check::Link),
        Seen::AddressGiven {
            addresses: vec![LinkAddress {
                link: "eth0".to_owned(),
                address: address("10.30.5.50"),
            }],
        }
        .of(Check::Address),
        Seen::BeaconInDoubt {
            evidence: vec![evidence(relayed())],
            rules: RULES,
        }
        .of(Check::Beacon),
        Seen::GatewayHeard {
            endpoint: endpoint(),
        }
        .of(Check::GatewayUdp),
        Seen::PathWhole { path }.of(Check::PathMtu),
    ]);
    reads(
        |text| doctor(&found, text, Paint::Plain),
        "\
ok       daemon       slussd runs.
ok       link         eth0 (cable).
ok       address      The laptop has 10.30.5.50 on eth0.
warning  beacon       On eth0 city hall (10.20.0.53) sees the laptop as 10.20.255.9 instead of 10.30.5.50: somebody relays, or translates addresses, in between, so you count as outside.
                      IT: If this is an office of yours, add 10.20.255.9 to `nat` of the beacon city hall in the policy, or set up a beacon in this building. If not, this is an attack.
ok       gateway-udp  vpn.example.se:51820 answers.
ok       path-mtu     Packets of 1420 bytes arrive in one piece.

All works; 1 check to look at.
",
        "\
ok       daemon       slussd är igång.
ok       link         eth0 (kabel).
ok       address      Datorn har 10.30.5.50 på eth0.
varning  beacon       city hall (10.20.0.53) ser datorn på eth0 som 10.20.255.9 i stället för 10.30.5.50: någon vidarebefordrar, eller översätter adresser, på vägen, så du räknas som utanför.
                      IT: Är detta ett av era egna kontor, lägg till 10.20.255.9 i `nat` för fyren city hall i policyn, eller sätt upp en fyr i byggnaden. Annars är det ett angrepp.
ok       gateway-udp  vpn.example.se:51820 svarar.
ok       path-mtu     Paket på 1420 byte kommer fram i ett stycke.

Allt fungerar; 1 kontroll att se på.
",
    );
}

/// On a network that blocks the tunnel, the user is told what to try, and whom to call.
#[test]
fn a_blocked_network_ends_with_whom_to_call() {
    let silent = Endpoint {
        state: EndpointState::Silent { age_ms: 40_000 },
        ..endpoint()
    };
    let found = diagnosis([
        Seen::GatewaySilent {
            endpoints: vec![silent],
        }
        .of(Check::GatewayUdp),
        Finding::not_run(Check::Handshake, Check::GatewayUdp),
    ]);
    reads(
        |text| doctor(&found, text, Paint::Plain),
        "\
FAILED  gateway-udp  UDP to vpn.example.se:51820 gets no answer from this network.
                     You: Try another network, for instance your phone's.
                     IT: If it is so everywhere: does the gateway run, and does it know this laptop's public key (`sluss card`)?
-       handshake    Not checked, since gateway-udp failed.

1 check failed.
Call +46 8 123 45 67.
See https://hjalp.example.se
Until then: webmail works from everywhere, https://mail.example.se
",
        "\
FEL  gateway-udp  UDP till vpn.example.se:51820 får inget svar från det här nätet.
                  Du: Pröva ett annat nät, till exempel telefonens.
                  IT: Är det så överallt: är gatewayen igång, och känner den datorns publika nyckel (`sluss card`)?
-    handshake    Inte prövat, eftersom gateway-udp inte gick.

1 kontroll gick inte.
Ring +46 8 123 45 67.
Se https://hjalp.example.se
Så länge: webmail works from everywhere, https://mail.example.se
",
    );
}

#[test]
fn nobody_is_called_while_all_is_well() {
    let found = diagnosis([Seen::DaemonRuns.of(Check::Daemon)]);
    assert_eq!(
        doctor(&found, &English, Paint::Plain),
        "ok  daemon  slussd runs.\n\nAll is well.\n"
    );
}

/// Each finding that there can be, with the worst that a network or a card may call itself.
fn everything() -> Vec<Seen> {
    let name = || "vpn.example\u{1b}[2J.se".to_owned();
    let addresses = || vec![address("10.20.0.10"), address("fd20::10")];
    let own = || {
        vec![LinkAddress {
            link: "wlan\u{7}0".to_owned(),
            address: address("169.254.7.1"),
        }]
    };
    let page = || PortalPage {
        link: "wlan0".to_owned(),
        url: "http://192.0.2.80/".to_owned(),
        login: Some("http://hotel/\u{1b}[2J".to_owned()),
    };
    let path = PathMtu {
        mtu: 1300,
        verdict: PathVerdict::Reduced,
        age_ms: 1,
    };
    let mut all = vec![
        Seen::NotRun {
            because: Check::Link,
        },
        Seen::TunnelNotNeeded,
        Seen::DaemonRuns,
        Seen::DaemonSilent,
        Seen::StoppedByUser,
        Seen::LinkUp {
            links: vec![cable(), cable()],
        },
        Seen::OpenWifi {
            links: vec![cable()],
        },
        Seen::NoLink,
        Seen::AddressGiven { addresses: own() },
        Seen::NoRouter { addresses: own() },
        Seen::OnlyLinkLocal { addresses: own() },
        Seen::NoAddress {
            links: vec!["wlan\u{7}0".to_owned()],
        },
        Seen::NoPortal,
        Seen::PortalFound { page: page() },
        Seen::PortalOpen {
            page: page(),
            left_ms: 240_000,
        },
        Seen::PortalUnknown,
        Seen::PortalNotLookedFor,
        Seen::ClockOff {
            clock_unix_s: 0,
            certificate_unix_s: 1_795_399_200,
        },
        Seen::ClockOff {
            clock_unix_s: u64::from(u32::MAX),
            certificate_unix_s: 1_795_399_200,
        },
        Seen::ClockDiffers {
            clock_unix_s: 0,
            server_unix_s: 1_795_399_200,
        },
        Seen::ClockNotSet,
        Seen::ClockUnwitnessed,
        Seen::NameResolved {
            name: name(),
            addresses: addresses(),
        },
        Seen::NoNameNeeded,
        Seen::ProvedInside {
            evidence: vec![evidence(Outcome::Proved)],
        },
        Seen::NoBeaconHere {
            evidence: vec![evidence(Outcome::NoAnswer); 4],
        },
        Seen::NoBeaconHere {
            evidence: Vec::new(),
        },
        Seen::NoBeaconKnown,
        Seen::HostSet,
        Seen::HostNotSet,
        Seen::Enrolled,
        Seen::NotEnrolled,
        Seen::CardServes {
            kind: CardKind::Piv,
            serial: "9752\u{1b}278".to_owned(),
        },
        Seen::CardSlow,
        Seen::NoCard,
        Seen::NoCardService,
        Seen::CardUnusable {
            fault: CardFault::OtherCard,
        },
        Seen::PinGiven,
        Seen::PinNeeded,
        Seen::PinBlocked,
        Seen::FewTries { tries_left: 1 },
        Seen::GatewayHeard {
            endpoint: endpoint(),
        },
        Seen::GatewayDetour {
            endpoint: endpoint(),
            silent: vec![endpoint()],
        },
        Seen::GatewaySilent {
            endpoints: vec![endpoint(), endpoint()],
        },
        Seen::GatewayAwaited,
        Seen::HandshakeDone { age_ms: 40_000 },
        Seen::HandshakeUnanswered { count: 3 },
        Seen::PathWhole { path },
        Seen::PathShort { path },
        Seen::PathTooNarrow { path },
        Seen::PathUnknown,
        Seen::InternalNameResolved {
            name: name(),
            addresses: addresses(),
        },
        Seen::InternalNameForeign {
            name: name(),
            addresses: addresses(),
        },
        Seen::NoInternalName,
    ];
    all.extend(
        [
            ClockWitness::Certificate,
            ClockWitness::TimeService,
            ClockWitness::ProbeServer,
        ]
        .map(|witness| Seen::ClockAgrees { witness }),
    );
    for fault in [
        ResolutionFault::NoResolver,
        ResolutionFault::NoAnswer,
        ResolutionFault::NoSuchName,
        ResolutionFault::NoAddress,
        ResolutionFault::ResolverFailed,
        ResolutionFault::Astray {
            to: address("127.0.0.1"),
        },
    ] {
        all.extend([
            Seen::NameByFallback {
                name: name(),
                fault,
            },
            Seen::NameNotResolved {
                name: name(),
                fault,
            },
            Seen::InternalNameUnknown {
                name: name(),
                fault,
            },
        ]);
    }
    for outcome in [
        relayed(),
        Outcome::WrongKey,
        Outcome::Expired {
            not_after_unix_s: 0,
            clock_unix_s: 1,
        },
        Outcome::NotYetValid {
            not_before_unix_s: 1,
            clock_unix_s: 0,
        },
        Outcome::NotTls,
        Outcome::NotABeacon,
        Outcome::Proved,
    ] {
        all.push(Seen::BeaconInDoubt {
            evidence: vec![evidence(outcome)],
            rules: RULES,
        });
    }
    for reason in [
        DownReason::NotNeeded,
        DownReason::Deciding,
        DownReason::NoNetwork,
        DownReason::NoCard,
        DownReason::KeyLocked,
        DownReason::StoppedByUser,
        DownReason::NotEnrolled,
        DownReason::DeviceFailed,
        DownReason::SocketFailed,
        DownReason::WorkerFailed,
    ] {
        all.push(Seen::GatewayNotCalled { reason });
    }
    all
}

#[test]
fn every_finding_is_a_sentence_and_what_failed_has_a_cure() {
    for text in LANGUAGES {
        for seen in everything() {
            let sentence = text.seen(&seen);
            let cure = text.cure(&seen);
            let said = [Some(&sentence), cure.user.as_ref(), cure.it.as_ref()];
            for words in said.into_iter().flatten() {
                assert!(
                    words.ends_with('.') || words.ends_with(['?', ')']),
                    "{words}"
                );
                assert!(!words.chars().any(char::is_control), "{words:?}");
                for gap in ["  ", " .", " ,", "()", "..", ": .", "-unix", "_"] {
                    assert!(!words.contains(gap), "{gap:?} in {words:?}");
                }
            }
            let is_told = cure.user.is_some() || cure.it.is_some();
            match seen.verdict() {
                Verdict::Failed => assert!(is_told, "nothing to do about {seen:?}"),
                Verdict::Ok | Verdict::NotApplicable | Verdict::NotRun => {
                    assert!(!is_told, "{seen:?}");
                }
                Verdict::Warning => {}
            }
        }
    }
}

/// A helpdesk finds each code in the documentation.
#[test]
fn every_check_is_documented() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/doctor.md");
    let page = std::fs::read_to_string(page).unwrap();
    for check in Check::ALL {
        let heading = format!("\n## `{}`\n", check.code());
        assert!(page.contains(&heading), "{heading}");
    }
    for seen in everything() {
        let seen = serde_json::to_value(&seen).unwrap();
        let code = format!("`{}`", seen["code"].as_str().unwrap());
        assert!(page.contains(&code), "{code}");
    }
}

#[test]
fn a_check_is_called_in_json_as_people_call_it() {
    for check in Check::ALL {
        assert_eq!(serde_json::to_value(check).unwrap(), check.code());
    }
}
