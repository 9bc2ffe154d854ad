//! The table for each place that a laptop can be in.

use sluss_supervisor::{HostRules, LinkId, Medium};

use super::*;
use crate::TunConfig;

#[test]
fn closed_has_nothing_but_the_last_resort() {
    let lines = lines(&["10.20.0.0/16", "fd20::/48"], HostMode::Closed, None);
    assert_eq!(lines, ["unreachable 10.20.0.0/16", "unreachable fd20::/48"]);
}

#[test]
fn the_tunnel_takes_each_prefix_over_the_last_resort() {
    let lines = lines(&["10.20.0.0/16"], HostMode::Tunnelled, Some(7));
    assert_eq!(lines, ["10.20.0.0/16 dev 7", "unreachable 10.20.0.0/16"]);
}

#[test]
fn overlapping_prefixes_become_one() {
    let lines = lines(
        &[
            "10.20.4.0/24",
            "10.20.0.0/16",
            "10.21.0.0/16",
            "10.20.0.0/16",
        ],
        HostMode::Closed,
        None,
    );
    assert_eq!(lines, ["unreachable 10.20.0.0/15"]);
}

#[test]
fn an_office_is_reached_by_its_gateway_and_colleagues_directly() {
    let office = inside(&["10.20.5.2/24"], &["10.20.5.1"]);
    let lines = lines(&["10.20.0.0/16"], office, None);
    assert_eq!(
        lines,
        [
            "10.20.0.0/16 via 10.20.5.1 dev 3",
            "10.20.5.0/24 dev 3",
            "unreachable 10.20.0.0/16"
        ]
    );
}

#[test]
fn each_family_has_its_own_gateway() {
    let office = inside(
        &["192.0.2.7/24", "2001:db8::7/64"],
        &["192.0.2.1", "fe80::1"],
    );
    let lines = lines(&["10.20.0.0/16", "fd20::/48"], office, None);
    assert_eq!(
        lines,
        [
            "10.20.0.0/16 via 192.0.2.1 dev 3",
            "unreachable 10.20.0.0/16",
            "fd20::/48 via fe80::1 dev 3",
            "unreachable fd20::/48"
        ]
    );
}

#[test]
fn a_link_as_wide_as_the_prefix_needs_no_gateway() {
    for own in ["10.20.5.2/16", "10.20.5.2/8"] {
        let flat = inside(&[own], &["10.20.0.1"]);
        let lines = lines(&["10.20.0.0/16"], flat, None);
        assert_eq!(
            lines,
            ["10.20.0.0/16 dev 3", "unreachable 10.20.0.0/16"],
            "{own}"
        );
    }
}

#[test]
fn a_link_without_a_gateway_reaches_its_own_subnet_only() {
    let lab = inside(&["10.20.5.2/24", "10.20.6.6/32"], &[]);
    let lines = lines(&["10.20.0.0/16"], lab, None);
    assert_eq!(lines, ["10.20.5.0/24 dev 3", "unreachable 10.20.0.0/16"]);
}

#[test]
fn the_kernel_gives_back_what_it_was_given() {
    let office = inside(
        &["10.20.5.2/24", "2001:db8::7/64"],
        &["10.20.5.1", "fe80::1"],
    );
    for route in table(&config(&["10.20.0.0/16", "fd20::/48"], office), None) {
        assert_eq!(Route::parse(&route.message()), Some(route));
    }
}

fn lines(internal: &[&str], mode: HostMode, tun: Option<u32>) -> Vec<String> {
    table(&config(internal, mode), tun)
        .into_iter()
        .map(|route| route.to_string())
        .collect()
}

fn config(internal: &[&str], mode: HostMode) -> HostConfig {
    HostConfig {
        rules: HostRules {
            mode,
            routers: Vec::new(),
            opening: None,
        },
        resolvers: Vec::new(),
        internal: internal.iter().map(|net| net.parse().unwrap()).collect(),
        tun: TunConfig {
            name: TunConfig::NAME.to_owned(),
            addresses: Vec::new(),
            mtu: 1420,
        },
    }
}

fn inside(addresses: &[&str], gateways: &[&str]) -> HostMode {
    HostMode::Inside {
        link: Link {
            id: LinkId {
                index: 3,
                name: "eth0".to_owned(),
            },
            carrier: true,
            addresses: addresses.iter().map(|net| net.parse().unwrap()).collect(),
            gateways: gateways
                .iter()
                .map(|address| address.parse().unwrap())
                .collect(),
            medium: Medium::Wired,
            metered: false,
            neighbours: Vec::new(),
        },
    }
}
