//! Rank, site and quorum: what an administrator who writes them expects of them.

use std::time::Duration;

use sluss_policy::{Policy, Source};

use super::{shortfall, suffices};
use crate::{Evidence, Link, LinkId, Medium, Outcome, OutsideReason, Time};

const PIN: &str = "pins = [\"sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\"]";

/// Two beacons in the city hall, two in the library, and a web server of the city hall's.
fn policy(location: &str) -> Policy {
    let mut text = format!(
        r#"
        schema = 1
        [gateway]
        name = "vpn.example.se"
        public_key = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
        [[endpoint]]
        address = "198.51.100.2:51820"
        [internal]
        prefixes = ["10.20.0.0/16"]
        [location]
        {location}
        "#
    );
    for (n, (name, site, kind)) in [
        ("hall 1", "hall", "beacon"),
        ("hall 2", "hall", "beacon"),
        ("hall web", "hall", "tls"),
        ("library 1", "library", "beacon"),
        ("library 2", "library", "beacon"),
    ]
    .into_iter()
    .enumerate()
    {
        text += &format!(
            "[[beacon]]\nname = \"{name}\"\nsite = \"{site}\"\nkind = \"{kind}\"\n\
             addresses = [\"10.20.0.{n}:8443\"]\n{PIN}\n"
        );
    }
    let source = Source {
        file: "policy.toml",
        text: &text,
    };
    Policy::parse(&[source]).expect("it is right")
}

fn link() -> Link {
    Link {
        id: LinkId {
            index: 2,
            name: "eth0".to_owned(),
        },
        carrier: true,
        addresses: vec!["10.20.5.7/24".parse().expect("an address")],
        gateways: Vec::new(),
        medium: Medium::Wired,
        metered: false,
        neighbours: Vec::new(),
    }
}

fn said(outcome: Outcome, beacons: &[&str]) -> Vec<Evidence> {
    let one = |beacon: &&str| Evidence {
        link: link().id,
        beacon: (*beacon).to_owned(),
        address: ([10, 20, 0, 1], 8443).into(),
        outcome,
        at: Time::since_boot(Duration::ZERO),
    };
    beacons.iter().map(one).collect()
}

fn proved(beacons: &[&str]) -> Vec<Evidence> {
    said(Outcome::Proved, beacons)
}

#[test]
fn one_of_any_kind_is_enough_where_nothing_more_is_asked_for() {
    let policy = policy("");
    assert!(suffices(&policy, &proved(&["hall web"])));
    assert!(suffices(&policy, &proved(&["library 2"])));
    assert!(!suffices(&policy, &[]));
    assert!(
        !suffices(&policy, &proved(&["town hall of another town"])),
        "only the policy's own"
    );
}

#[test]
fn a_web_server_is_no_proof_where_a_beacon_is_wanted() {
    let policy = policy("require = \"beacon\"");
    let web = proved(&["hall web"]);
    assert!(!suffices(&policy, &web));
    assert_eq!(
        shortfall(&policy, &[link()], &web),
        OutsideReason::WeakProof
    );
    assert!(suffices(&policy, &proved(&["hall web", "hall 1"])));
}

#[test]
fn a_quorum_is_one_sites_and_counts_each_beacon_once() {
    let policy = policy("quorum = 2");
    assert!(suffices(&policy, &proved(&["library 1", "library 2"])));
    for too_few in [&["hall 1", "library 1"][..], &["hall 1", "hall 1"]] {
        assert!(!suffices(&policy, &proved(too_few)), "{too_few:?}");
        assert_eq!(
            shortfall(&policy, &[link()], &proved(too_few)),
            OutsideReason::TooFewProofs {
                proved: 1,
                needed: 2
            }
        );
    }
}

#[test]
fn nothing_but_proof_is_proof() {
    let policy = policy("");
    let own = ([10, 20, 5, 7], 40_000).into();
    let seen = ([198, 51, 100, 1], 40_000).into();
    for outcome in [
        Outcome::Relayed { seen, own },
        Outcome::WrongKey,
        Outcome::Expired {
            not_after: 1,
            clock: 2,
        },
        Outcome::NotYetValid {
            not_before: 2,
            clock: 1,
        },
        Outcome::NotTls,
        Outcome::NotABeacon,
        Outcome::Refused,
        Outcome::Unreachable,
        Outcome::NoAnswer,
    ] {
        let evidence = said(outcome, &["hall 1", "hall 2", "hall web"]);
        assert!(!suffices(&policy, &evidence), "{outcome:?}");
        assert_eq!(
            shortfall(&policy, &[link()], &evidence),
            OutsideReason::NoProof
        );
    }
}
