//! The policy as IT writes it: what it means, what is refused and how that is said.

mod bad_input;
mod card;
mod device;
mod places;
mod request;

use std::time::Duration;

use sluss_policy::{
    AfterUse, CardRules, DEVICE_KEYS, DeviceBinding, KeyInfo, KeyMode, KeyUsage, LocationRules,
    OnRemoval, POLICY_KEYS, PinLife, Policy, PolicyError, Problem, Source, Timing,
};

const DOCUMENTATION: &str = include_str!("../../../../docs/policy.md");

const FULL: &str = r#"
schema = 1

[gateway]
name = "vpn.example.se"
public_key = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="

[[endpoint]]
address = "vpn.example.se:51820"
fallback = ["198.51.100.2", "2001:db8::2"]

[[endpoint]]
address = "[2001:db8::3]:443"
priority = 2

[internal]
prefixes = ["10.20.0.0/16", "fd20::/48"]

[location]
require = "beacon"
quorum = 2
inside = "tunnel-anyway"

[[beacon]]
name = "city hall"
kind = "beacon"
addresses = ["10.20.0.53:8443", "[fd20::53]:8443"]
pins = ["sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="]
site = "south"
nat = ["10.20.255.9", "fd20:0:0:255::9"]

[[beacon]]
name = "Rådhuset \"norr\""
addresses = ["[fd20::54]:8443"]
site = "south"
pins = [
    "sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
    "certificate:sha256:xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=",
]

[[beacon]]
name = "intranet"
kind = "tls"
site = "south"
addresses = ["10.20.0.80:443"]
pins = ["sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="]

[portal]
probe = "http://192.0.2.80/generate_204"
expect = "open"
open = false

[tunnel]
mtu = 1380
keepalive = "25s"
metered_keepalive = "2m"
respond = true
[user]
may_disconnect = false

[timing]
settle_quiet = "100ms"
settle_limit = "1s"
probe_timeout = "500ms"
retry_first = "2s"
retry_limit = "2m"

[support]
phone = "08-123 45 67"
web = "https://www.example.se/vpn"
detour = "Post och filer: https://arbete.example.se, med kortet"

[doctor]
internal_name = "Intranet.Example.se"

[card]
pkcs11_module = "/usr/lib/pkcs11/netid.so"
modes = ["sealed", "held"]
signature_wrap = true
pin = "ask"
after_use = "keep"
on_removal = "grace"
grace = "20s"
allow_factory_pin = true

[card.certificate]
issuers = ["/etc/sluss/root.pem", "/etc/sluss/issuing.pem"]
subject = "*,O=Göta \\, norra,C=SE"
key_usage = ["keyAgreement", "digitalSignature"]
extended_key_usage = ["1.3.6.1.5.5.7.3.2", "2.999"]
crls = ["/var/lib/sluss/issuing.crl"]

[login]
hand_over = true
wait = "5s"
"#;

fn parse(text: &str) -> Result<Policy, Vec<PolicyError>> {
    Policy::parse(&[Source {
        file: "policy.toml",
        text,
    }])
}

fn mistakes(text: &str) -> Vec<String> {
    parse(text)
        .expect_err("it has a mistake")
        .iter()
        .map(ToString::to_string)
        .collect()
}

/// The full policy with one piece replaced.
fn with(piece: &str, replacement: &str) -> String {
    assert!(FULL.contains(piece), "{piece} is not in the example");
    FULL.replacen(piece, replacement, 1)
}

#[test]
fn every_key_means_what_it_says() {
    let policy = parse(FULL).expect("it is right");
    assert_eq!(policy.gateway.name, "vpn.example.se");
    assert_eq!(
        policy.gateway.public_key.to_string(),
        "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
    );
    assert_eq!(policy.internal[1].to_string(), "fd20::/48");
    assert_eq!(policy.tunnel.mtu, 1380);
    assert_eq!(policy.tunnel.keepalive, Some(Duration::from_secs(25)));
    assert_eq!(
        policy.tunnel.metered_keepalive,
        Some(Duration::from_secs(120))
    );
    assert!(policy.tunnel.respond);
    assert!(!policy.user.may_disconnect);
    let CardRules {
        pkcs11_module,
        modes,
        signature_wrap,
        pin,
        after_use,
        on_removal,
        allow_factory_pin,
        certificate,
    } = policy.card;
    assert_eq!(pkcs11_module, Some("/usr/lib/pkcs11/netid.so".into()));
    assert_eq!(modes, [KeyMode::Sealed, KeyMode::Held]);
    assert!(signature_wrap && allow_factory_pin);
    assert_eq!((pin, after_use), (PinLife::Ask, AfterUse::Keep));
    assert_eq!(on_removal, OnRemoval::Grace(Duration::from_secs(20)));
    let certificate = certificate.expect("its section is there");
    assert_eq!(
        certificate.issuers[1],
        std::path::Path::new("/etc/sluss/issuing.pem")
    );
    assert_eq!(
        certificate.subject.as_deref(),
        Some(r"*,O=Göta \, norra,C=SE")
    );
    assert_eq!(
        certificate.key_usage,
        [KeyUsage::KeyAgreement, KeyUsage::DigitalSignature]
    );
    assert_eq!(certificate.extended_key_usage[1].as_str(), "2.999");
    assert_eq!(certificate.crls.len(), 1);
    assert_eq!(policy.login.wait, Some(Duration::from_secs(5)));
    assert_eq!(policy.timing.settle_quiet, Duration::from_millis(100));
    assert_eq!(policy.timing.retry_limit, Duration::from_secs(120));
    assert_eq!(policy.support.phone.as_deref(), Some("08-123 45 67"));
}

#[test]
fn the_examples_of_the_documentation_are_right() {
    let blocks: Vec<&str> = DOCUMENTATION
        .split("```toml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    let [policy, device] = blocks[..] else {
        panic!("{} examples", blocks.len())
    };
    let policy = parse(policy).expect("the policy is right");
    assert_eq!(policy.tunnel.mtu, 1420);
    assert_eq!(policy.tunnel.keepalive, None);
    assert_eq!(policy.tunnel.metered_keepalive, None);
    assert_eq!(policy.location, LocationRules::default());
    assert_eq!(
        policy.portal, None,
        "portals are looked for only where IT runs a probe"
    );
    assert!(
        !policy.tunnel.respond,
        "a held key does not respond unless told to"
    );
    assert!(policy.user.may_disconnect);
    assert_eq!(policy.card, CardRules::default());
    assert!(policy.login.hand_over);
    assert_eq!(policy.login.wait, None, "a login does not wait");
    assert_eq!(policy.timing, Timing::default());
    let device = DeviceBinding::parse(Source {
        file: "device.toml",
        text: device,
    })
    .expect("the binding is right");
    assert_eq!(device.card.serial, "0006:12345678");
    assert_eq!(device.addresses[0].to_string(), "10.20.255.7/32");
    assert!(device.preshared_key.is_none());
}

#[test]
fn the_documentation_has_every_key_and_no_other() {
    let (policy, device) = DOCUMENTATION
        .split_once("## The device binding")
        .expect("both parts are there");
    for (part, keys) in [(policy, POLICY_KEYS), (device, DEVICE_KEYS)] {
        let documented: Vec<&str> = part
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
            .map(|(key, _)| key)
            .collect();
        let known: Vec<&str> = keys.iter().map(|key| key.path).collect();
        assert_eq!(documented, known);
    }
}

#[test]
fn the_example_in_each_message_is_right() {
    for KeyInfo { path, example } in POLICY_KEYS {
        let text = match path.rsplit_once('.') {
            Some((section, key)) => example_at(section, key, example),
            None if example.starts_with('[') => with(example, example),
            None => example_at("", path, example),
        };
        assert!(
            parse(&text).is_ok(),
            "{path}: {example}: {:?}",
            parse(&text)
        );
    }
}

/// The full policy with the first such key of such a section as the example has it.
fn example_at(section: &str, key: &str, example: &str) -> String {
    let start = match section {
        "" => 0,
        section => FULL
            .find(&format!("[{section}]"))
            .expect("its section is there"),
    };
    let (before, rest) = FULL.split_at(start);
    let line = rest
        .lines()
        .find(|line| line.starts_with(&format!("{key} = ")))
        .expect("the full policy has every key");
    before.to_owned() + &rest.replacen(line, example, 1)
}

#[test]
fn what_is_printed_reads_back_as_the_same() {
    for text in [
        FULL,
        FULL.split_once("[portal]").expect("it has one").0,
        &with("metered_keepalive = \"2m\"", "metered_keepalive = \"off\""),
    ] {
        let policy = parse(text).expect("it is right");
        assert_eq!(parse(&policy.to_string()), Ok(policy));
    }
}

#[test]
fn a_later_file_has_the_last_word() {
    let parse = |later: &'static str| {
        let sources = [
            Source {
                file: "/etc/sluss/policy.toml",
                text: FULL,
            },
            Source {
                file: "/etc/sluss/policy.d/10-north.toml",
                text: later,
            },
        ];
        Policy::parse(&sources)
    };
    let policy = parse("[user]\nmay_disconnect = true\n[internal]\nprefixes = [\"10.30.0.0/16\"]")
        .expect("it is right");
    assert!(policy.user.may_disconnect);
    assert_eq!(policy.internal.len(), 1, "a list is replaced as a whole");
    assert_eq!(policy.tunnel.mtu, 1380, "what is not said again stays");

    let policy = parse(
        "location.quorum = 1\n[[beacon]]\nname = \"north\"\naddresses = [\"10.30.0.1:443\"]\n\
         pins = [\"sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\"]\n\
         [[endpoint]]\naddress = \"vpn.north.example.se:443\"",
    )
    .expect("it is right");
    assert_eq!(policy.beacons.len(), 1, "that of the beacons too");
    assert_eq!(policy.endpoints.len(), 1, "and that of the endpoints");

    let errors = parse("\n[tunnel]\n  mtu = 99").expect_err("too small");
    assert_eq!(
        (errors[0].file.as_str(), errors[0].line, errors[0].column),
        ("/etc/sluss/policy.d/10-north.toml", 3, 9)
    );
}

#[test]
fn a_mistake_is_named_with_its_place_and_its_cure() {
    for (piece, replacement, message) in [
        (
            "public_key",
            "public_kye",
            "policy.toml:6:1: unknown key 'gateway.public_kye', did you mean 'gateway.public_key'?",
        ),
        (
            "[tunnel]\nmtu",
            "mtu",
            "policy.toml:53:1: unknown key 'portal.mtu', did you mean 'tunnel.mtu'?",
        ),
        (
            "[internal]",
            "[interna]",
            "policy.toml:16:2: unknown key 'interna', did you mean 'internal'?",
        ),
        (
            "may_disconnect",
            "post_up",
            "policy.toml:59:1: unknown key 'user.post_up'",
        ),
        (
            "mtu = 1380",
            "mtu = \"1380\"",
            "policy.toml:54:7: 'tunnel.mtu' is string where a number is expected, for example: mtu = 1420",
        ),
        (
            "mtu = 1380",
            "mtu = 70000",
            "policy.toml:54:7: 'tunnel.mtu': must lie between 1280 and 9000; for example: mtu = 1420",
        ),
        (
            "\"25s\"",
            "25",
            "policy.toml:55:13: 'tunnel.keepalive' is integer where a string is expected, for example: keepalive = \"25s\"",
        ),
        (
            "\"25s\"",
            "\"25\"",
            "policy.toml:55:13: 'tunnel.keepalive': not a time with its unit (ms, s, m or h); for example: keepalive = \"25s\"",
        ),
        (
            "\"500ms\"",
            "\"1m\"",
            "policy.toml:64:17: 'timing.probe_timeout': must lie between 100ms and 10s; for example: probe_timeout = \"800ms\"",
        ),
        (
            "\"1s\"",
            "\"50ms\"",
            "policy.toml:63:16: 'timing.settle_limit': must not be shorter than 'settle_quiet'; for example: settle_limit = \"2s\"",
        ),
        (
            "10.20.0.0/16",
            "10.20.0.1/16",
            "policy.toml:17:13: 'internal.prefixes': the address has bits beyond its prefix, the network is 10.20.0.0/16; for example: prefixes = [\"10.20.0.0/16\", \"fd20::/48\"]",
        ),
        (
            "10.20.0.0/16",
            "0.0.0.0/0",
            "policy.toml:17:13: 'internal.prefixes': 0.0.0.0/0 holds addresses that are not an internal network's own; for example: prefixes = [\"10.20.0.0/16\", \"fd20::/48\"]",
        ),
        (
            "fd20::/48",
            "10.20.0.0/16",
            "policy.toml:17:29: 'internal.prefixes': '10.20.0.0/16' stands there twice; for example: prefixes = [\"10.20.0.0/16\", \"fd20::/48\"]",
        ),
        (
            "name = \"vpn.example.se\"\n",
            "",
            "policy.toml:4:2: 'gateway.name' is missing, for example: name = \"vpn.example.se\"",
        ),
        (
            "\"vpn.example.se\"",
            "\"vpn\\u001b[2J\"",
            "policy.toml:5:8: 'gateway.name': holds a control character; for example: name = \"vpn.example.se\"",
        ),
        (
            "Rådhuset \\\"norr\\\"",
            "city hall",
            "policy.toml:33:8: 'beacon.name': 'city hall' stands there twice; for example: name = \"city hall\"",
        ),
        (
            "schema = 1",
            "schema = 2",
            "policy.toml:2:10: 'schema': schema 2 is not known, this version reads schema 1; for example: schema = 1",
        ),
        (
            "mtu = 1380\nkeepalive",
            "[tunnel.mtu]\nkeepalive",
            "policy.toml:54:1: 'tunnel.mtu' is table where a number is expected, for example: mtu = 1420",
        ),
        (
            "[user]\nmay_disconnect",
            "[tunnel.user]\nmay_disconnect",
            "policy.toml:58:9: unknown key 'tunnel.user', did you mean 'user'?",
        ),
    ] {
        let found = mistakes(&with(piece, replacement));
        assert!(
            found.contains(&message.to_owned()),
            "{message}\nis not among\n{}",
            found.join("\n")
        );
    }
}

#[test]
fn a_section_is_no_value() {
    let found = mistakes("tunnel = 1420");
    let message =
        "policy.toml:1:1: 'tunnel' is integer where a section is expected, for example: mtu = 1420";
    assert!(found.contains(&message.to_owned()), "{found:?}");
    let found = mistakes(&FULL.replace(
        "[[beacon]]\nname = \"Rådhuset",
        "[support.beacon]\nname = \"Rådhuset",
    ));
    assert!(
        found[0]
            .starts_with("policy.toml:32:10: unknown key 'support.beacon', did you mean 'beacon'"),
        "{found:?}"
    );
}

#[test]
fn every_mistake_is_named_at_once_in_the_order_of_the_file() {
    let text = FULL
        .replace("mtu =", "mut =")
        .replace("may_disconnect = false", "may_disconnect = \"no\"")
        .replace("[internal]", "[interna]");
    let lines: Vec<usize> = parse(&text)
        .expect_err("it has four mistakes")
        .iter()
        .map(|error| error.line)
        .collect();
    assert_eq!(lines, [1, 16, 54, 59], "{:#?}", mistakes(&text));
}

#[test]
fn a_syntax_error_is_named_alone() {
    let errors = parse(&with("mtu = 1380", "mtu = = 1380")).expect_err("that is no TOML");
    assert!(
        errors
            .iter()
            .all(|error| matches!(error.problem, Problem::Syntax(_))),
        "{errors:#?}"
    );
    assert_eq!((errors[0].line, errors[0].column), (54, 7));
}

#[test]
fn what_a_file_says_cannot_reach_the_terminal() {
    let found = mistakes(&with(
        "[tunnel]",
        "\"\\u001b]0;owned\\u0007\" = 1\n[tunnel]",
    ));
    assert!(
        found
            .iter()
            .all(|message| !message.chars().any(char::is_control)),
        "{found:?}"
    );
}

#[test]
fn a_file_full_of_mistakes_is_answered_with_a_page() {
    let text: String = (0..3000).map(|n| format!("key{n} = 1\n")).collect();
    let errors = parse(&text).expect_err("none of them is known");
    assert_eq!(errors.len(), 51);
    assert!(
        matches!(errors[50].problem, Problem::More(2955)),
        "{:?}",
        errors[50]
    );
}
