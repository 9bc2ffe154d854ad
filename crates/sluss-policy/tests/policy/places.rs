//! Where the gateway answers and how a laptop knows where it is: what it means, what is refused and how that is said.

use std::time::Duration;

use sluss_policy::{
    Beacon, BeaconKind, Host, LocationRules, Pin, Policy, PortalAnswer, PortalRules, WhenInside,
};

use crate::{FULL, mistakes, parse, with};

const PINS: &str = "pins = [\"sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\"]\n";

/// The full policy, with these lines in the place of everything from `[location]` to the last beacon.
fn located(lines: &str) -> String {
    let (before, rest) = FULL.split_once("[location]").expect("it is there");
    let (_, after) = rest.split_once("[portal]").expect("it is there");
    format!("{before}{lines}\n[portal]{after}")
}

fn beacon(name: &str, address: &str, more: &str) -> String {
    format!("[[beacon]]\nname = \"{name}\"\naddresses = [\"{address}\"]\n{PINS}{more}\n")
}

fn refused(text: &str, message: &str) {
    let found = mistakes(text);
    assert!(
        found.iter().any(|it| it.contains(message)),
        "{message}\nis not among\n{}",
        found.join("\n")
    );
}

#[test]
fn endpoints_are_names_and_addresses_in_an_order() {
    let Policy { endpoints, .. } = parse(FULL).expect("it is right");
    let [name, address] = endpoints.as_slice() else {
        panic!("{endpoints:?}")
    };
    assert_eq!(name.address(), "vpn.example.se:51820");
    assert!(matches!(&name.host, Host::Name(name) if name.as_str() == "vpn.example.se"));
    assert_eq!(name.priority, 1, "the first, unless it says otherwise");
    let written: Vec<String> = name.written().map(|it| it.to_string()).collect();
    assert_eq!(written, ["198.51.100.2:51820", "[2001:db8::2]:51820"]);
    assert_eq!(address.address(), "[2001:db8::3]:443");
    assert_eq!(address.priority, 2);
    assert_eq!(address.written().count(), 1);
}

#[test]
fn a_beacon_is_what_it_says() {
    let Policy {
        location, beacons, ..
    } = parse(FULL).expect("it is right");
    assert_eq!(
        location,
        LocationRules {
            require: BeaconKind::Beacon,
            quorum: 2,
            inside: WhenInside::TunnelAnyway
        }
    );
    let [hall, north, intranet] = beacons.as_slice() else {
        panic!("{beacons:?}")
    };
    assert_eq!(hall.addresses.len(), 2);
    assert_eq!(hall.nat.len(), 2);
    assert_eq!(hall.site.as_deref(), Some("south"));
    // SHA-256 of nothing, as `sha256sum </dev/null` prints it.
    assert!(matches!(
        hall.pins[0],
        Pin::Key([0xe3, 0xb0, 0xc4, 0x42, ..])
    ));
    assert_eq!(north.name, "Rådhuset \"norr\"");
    assert_eq!(north.kind, BeaconKind::Beacon, "unless it says otherwise");
    assert!(matches!(north.pins[1], Pin::Certificate(_)));
    assert_eq!(intranet.kind, BeaconKind::Tls);
    let alone = [hall, north, intranet].map(Beacon::shows_key_alone);
    assert_eq!(alone, [true, false, false]);
}

#[test]
fn the_better_evidence_counts_where_less_is_asked_for_and_not_the_other_way_round() {
    let rules = |require| LocationRules {
        require,
        ..LocationRules::default()
    };
    assert_eq!(LocationRules::default(), rules(BeaconKind::Tls));
    for (require, kind, counts) in [
        (BeaconKind::Tls, BeaconKind::Tls, true),
        (BeaconKind::Tls, BeaconKind::Beacon, true),
        (BeaconKind::Beacon, BeaconKind::Beacon, true),
        (BeaconKind::Beacon, BeaconKind::Tls, false),
    ] {
        assert_eq!(rules(require).accepts(kind), counts, "{kind} for {require}");
    }
}

#[test]
fn a_portal_is_looked_for_where_it_says() {
    let portal = |lines: &str| {
        let (before, rest) = FULL.split_once("[portal]").expect("it is there");
        let (_, after) = rest.split_once("[tunnel]").expect("it is there");
        parse(&format!("{before}[portal]\n{lines}\n[tunnel]{after}"))
            .unwrap_or_else(|errors| panic!("{lines}: {errors:?}"))
            .portal
            .expect("its section is there")
    };
    let PortalRules {
        probe,
        expect,
        open,
    } = parse(FULL)
        .expect("it is right")
        .portal
        .expect("it is there");
    assert_eq!((probe.port, probe.path.as_str()), (80, "/generate_204"));
    assert_eq!(expect, PortalAnswer::Text("open".to_owned()));
    assert!(!open);

    let rules = portal("probe = \"http://Probe.Example.se:8080\"");
    assert_eq!(rules.probe.to_string(), "http://probe.example.se:8080/");
    assert_eq!(rules.expect, PortalAnswer::NoContent);
    assert!(
        rules.open,
        "a user in a hotel gets online unless IT forbids it"
    );
    let rules = portal("probe = \"http://[2001:db8::80]/a?b=c\"");
    assert_eq!(rules.probe.to_string(), "http://[2001:db8::80]/a?b=c");

    let (before, _) = FULL.split_once("[portal]").expect("it is there");
    assert_eq!(parse(before).expect("it is right").portal, None);
}

#[test]
fn a_probe_is_no_longer_than_a_request_should_be() {
    let long = format!("http://probe.example.se/{}", "a".repeat(500));
    refused(
        &with("http://192.0.2.80/generate_204", &long),
        "'portal.probe': more than 500 characters",
    );
}

#[test]
fn a_metered_network_is_as_any_other_unless_it_is_said() {
    let metered = |lines: &str| {
        let policy = parse(&with("metered_keepalive = \"2m\"\n", lines));
        policy.expect("it is right").tunnel.metered_keepalive
    };
    assert_eq!(
        metered(""),
        Some(Duration::from_secs(25)),
        "as the keepalive"
    );
    assert_eq!(metered("metered_keepalive = \"off\"\n"), None);
}

#[test]
fn sites_of_their_own_are_counted_on_their_own() {
    let two_sites = |quorum: usize| {
        located(&format!(
            "[location]\nquorum = {quorum}\n{}{}{}",
            beacon("a", "10.20.0.1:1", "site = \"north\""),
            beacon("b", "10.20.0.2:1", "site = \"north\""),
            beacon("c", "10.20.0.3:1", "")
        ))
    };
    let names = |beacons: Vec<Beacon>| beacons.into_iter().map(|it| it.name).collect::<Vec<_>>();
    let policy = parse(&two_sites(1)).expect("each has one");
    assert_eq!(names(policy.beacons), ["a", "b", "c"]);
    refused(
        &two_sites(2),
        "'location.quorum': nobody could be inside at the site without a name: beacons that count there: 1, needed: 2",
    );
    refused(
        &located(&format!(
            "[location]\nrequire = \"beacon\"\n{}{}",
            beacon("a", "10.20.0.1:1", "site = \"south\""),
            beacon("b", "10.20.0.2:1", "site = \"north\"\nkind = \"tls\""),
        )),
        "'location.quorum': nobody could be inside at site 'north': beacons that count there: 0, needed: 1",
    );
    parse(&located("")).expect("a laptop without beacons is always outside");
}

#[test]
fn the_packaged_example_is_a_policy() {
    let policy = parse(include_str!("../../../../packaging/examples/policy.toml"))
        .unwrap_or_else(|errors| panic!("{errors:#?}"));
    assert_eq!((policy.endpoints.len(), policy.beacons.len()), (2, 6));
}

#[test]
fn what_nobody_could_prove_is_refused() {
    for lines in [
        "[location]\nrequire = \"beacon\"\n".to_owned()
            + &beacon("a", "10.20.0.1:1", "kind = \"tls\""),
        "[location]\nrequire = \"beacon\"\n".to_owned(),
    ] {
        refused(
            &located(&lines),
            "'location.require': no beacon here is of the kind 'beacon', so nobody could be inside; \
             for example: require = \"beacon\"",
        );
    }
    refused(
        &located("[location]\nquorum = 2"),
        "'location.quorum': nobody could be inside at the site without a name: beacons that count there: 0, needed: 2",
    );
}

#[test]
fn a_mistake_says_where_it_stands_and_what_would_be_right() {
    for (piece, replacement, message) in [
        (
            "\"vpn.example.se:51820\"",
            "\"vpn.example.se\"",
            "policy.toml:9:11: 'endpoint.address': not a name or address with its port; for example: address = \"vpn.example.se:51820\"",
        ),
        (
            "\"vpn.example.se:51820\"",
            "\"2001:db8::2:51820\"",
            "policy.toml:9:11: 'endpoint.address': not a name or address with its port",
        ),
        (
            "\"vpn.example.se:51820\"",
            "\"vpn.example.se:0\"",
            "policy.toml:9:11: 'endpoint.address': not a name or address with its port",
        ),
        (
            "\"vpn.example.se:51820\"",
            "\"vpn.example.se:+443\"",
            "policy.toml:9:11: 'endpoint.address': not a name or address with its port",
        ),
        (
            "\"vpn.example.se:51820\"",
            "\"vpn.göteborg.example:51820\"",
            "policy.toml:9:11: 'endpoint.address': not a whole host name (RFC 1123): letters, digits and hyphens between dots, other letters in their 'xn--' form",
        ),
        (
            "\"vpn.example.se:51820\"",
            "\"0.0.0.0:51820\"",
            "policy.toml:9:11: 'endpoint.address': not an address of one host that can be reached",
        ),
        (
            "[2001:db8::3]:443",
            "vpn.EXAMPLE.se:51820",
            "policy.toml:13:11: 'endpoint.address': 'vpn.example.se:51820' stands there twice",
        ),
        (
            "priority = 2",
            "fallback = [\"198.51.100.3\"]",
            "policy.toml:14:12: 'endpoint.fallback': means nothing without a name in 'address'",
        ),
        (
            "priority = 2",
            "priority = 0",
            "policy.toml:14:12: 'endpoint.priority': must lie between 1 and 100",
        ),
        (
            "\"198.51.100.2\", ",
            "\"198.51.100.2:51820\", ",
            "policy.toml:10:13: 'endpoint.fallback': not an address; for example: fallback = [\"198.51.100.2\"]",
        ),
        (
            "[\"198.51.100.2\", \"2001:db8::2\"]",
            "[]",
            "policy.toml:10:12: 'endpoint.fallback': must not be empty",
        ),
        (
            "require = \"beacon\"",
            "require = \"ssid\"",
            "policy.toml:20:11: 'location.require': not one of beacon, tls",
        ),
        (
            "inside = \"tunnel-anyway\"",
            "inside = true",
            "policy.toml:22:10: 'location.inside' is boolean where a string is expected, for example: inside = \"no-tunnel\"",
        ),
        (
            "quorum = 2",
            "quorum = 3",
            "policy.toml:21:10: 'location.quorum': nobody could be inside at site 'south': beacons that count there: 2, needed: 3",
        ),
        (
            "addresses = [\"10.20.0.53",
            "address = [\"10.20.0.53",
            "policy.toml:27:1: unknown key 'beacon.address', did you mean 'beacon.addresses'?",
        ),
        (
            "\"10.20.0.53:8443\"",
            "\"beacon.example.se:8443\"",
            "policy.toml:27:14: 'beacon.addresses': not an address and port, written out; for example: addresses = [\"10.20.0.53:8443\"]",
        ),
        (
            "\"10.20.0.80:443\"",
            "\"10.20.0.53:8443\"",
            "policy.toml:45:13: 'beacon.addresses': '10.20.0.53:8443' stands there twice",
        ),
        (
            "\"[fd20::54]:8443\"",
            "\"[fe80::54%3]:8443\"",
            "policy.toml:34:14: 'beacon.addresses': not an address and port, written out",
        ),
        (
            "\"[fd20::54]:8443\"",
            "\"[::ffff:10.20.0.54]:8443\"",
            "policy.toml:34:14: 'beacon.addresses': not an address of one host that can be reached",
        ),
        (
            "certificate:sha256:",
            "certificate:sha1:",
            "policy.toml:38:5: 'beacon.pins': a pin is 'sha256:' (or 'certificate:sha256:') and the base64 of the hash",
        ),
        (
            "kind = \"tls\"",
            "kind = \"tls\"\nnat = [\"10.20.255.9\"]",
            "policy.toml:44:7: 'beacon.nat': means nothing without kind = \"beacon\"",
        ),
        (
            "\"http://192.0.2.80/generate_204\"",
            "\"https://probe.example.se/\"",
            "policy.toml:49:9: 'portal.probe': a portal cannot answer for https, so it could not be told from a dead network: take an http:// address; for example: probe = \"http://probe.example.se/\"",
        ),
        (
            "\"http://192.0.2.80/generate_204\"",
            "\"http://me@probe.example.se/\"",
            "policy.toml:49:9: 'portal.probe': not a whole host name",
        ),
        (
            "\"http://192.0.2.80/generate_204\"",
            "\"probe.example.se\"",
            "policy.toml:49:9: 'portal.probe': not an http:// address of a host and a path",
        ),
        (
            "\"http://192.0.2.80/generate_204\"",
            "\"http://probe.example.se?generate\"",
            "'portal.probe': not an http:// address of a host and a path",
        ),
        (
            "\"http://192.0.2.80/generate_204\"",
            "\"http://probe.example.se/ GET\"",
            "policy.toml:49:9: 'portal.probe': not an http:// address of a host and a path",
        ),
        (
            "probe = \"http://192.0.2.80/generate_204\"\n",
            "",
            "policy.toml:48:2: 'portal.probe' is missing, for example: probe = \"http://probe.example.se/\"",
        ),
        (
            "metered_keepalive = \"2m\"",
            "metered_keepalive = \"5s\"",
            "policy.toml:56:21: 'tunnel.metered_keepalive': must not be shorter than 'keepalive'",
        ),
        (
            "keepalive = \"25s\"\n",
            "",
            "policy.toml:55:21: 'tunnel.metered_keepalive': means nothing without 'keepalive'",
        ),
        (
            "\"Intranet.Example.se\"",
            "\"intranet\"",
            "'doctor.internal_name': not a whole host name (RFC 1123)",
        ),
    ] {
        refused(&with(piece, replacement), message);
    }
}

#[test]
fn a_policy_needs_an_endpoint() {
    let (before, rest) = FULL.split_once("[[endpoint]]").expect("it is there");
    let (_, after) = rest.split_once("[internal]").expect("it is there");
    refused(
        &format!("{before}[internal]{after}"),
        "policy.toml:1:1: 'endpoint' is missing, for example: [[endpoint]]",
    );
    refused(
        &format!("endpoint = []\n{before}[internal]{after}"),
        "'endpoint': must not be empty; for example: [[endpoint]]",
    );
}

#[test]
fn names_are_host_names() {
    let with_host = |host: &str| parse(&with("vpn.example.se:51820", &format!("{host}:51820")));
    let longest_label = "a".repeat(63);
    for name in [
        "a.b",
        "3com.example",
        "vpn-1.example.se",
        "xn--gteborg-90a.example",
        "VPN.Example.SE",
        &format!("{longest_label}.example"),
    ] {
        let policy = with_host(name).unwrap_or_else(|errors| panic!("{name}: {errors:?}"));
        let expected = format!("{}:51820", name.to_lowercase());
        assert_eq!(policy.endpoints[0].address(), expected);
    }
    for name in [
        "",
        "vpn",
        "vpn..se",
        ".example.se",
        "vpn.example.se.",
        "-vpn.example.se",
        "vpn-.example.se",
        "vpn_1.example.se",
        "vpn example.se",
        "*.example.se",
        "10.20.0.256",
        "198.51.100",
        &format!("a{longest_label}.example"),
        &format!("{}se", "abcdefg.".repeat(32)),
    ] {
        assert!(with_host(name).is_err(), "{name}");
    }
}
