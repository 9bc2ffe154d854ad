//! The one table of keys: the parser, its messages and the test of `docs/policy.md` all read it.

/// A key, as its full path, and a line that would be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    /// `section.key`, or `key` alone at the top.
    pub path: &'static str,
    pub example: &'static str,
}

const fn key(path: &'static str, example: &'static str) -> KeyInfo {
    KeyInfo { path, example }
}

/// Keys of `policy.toml` and `policy.d/*.toml`.
pub const POLICY_KEYS: &[KeyInfo] = &[
    key("schema", "schema = 1"),
    key("gateway.name", "name = \"vpn.example.se\""),
    key(
        "gateway.public_key",
        "public_key = \"xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=\"",
    ),
    key("endpoint", "[[endpoint]]"),
    key("endpoint.address", "address = \"vpn.example.se:51820\""),
    key("endpoint.priority", "priority = 1"),
    key("endpoint.fallback", "fallback = [\"198.51.100.2\"]"),
    key(
        "internal.prefixes",
        "prefixes = [\"10.20.0.0/16\", \"fd20::/48\"]",
    ),
    key("location.require", "require = \"beacon\""),
    key("location.quorum", "quorum = 1"),
    key("location.inside", "inside = \"no-tunnel\""),
    key("beacon", "[[beacon]]"),
    key("beacon.name", "name = \"city hall\""),
    key("beacon.kind", "kind = \"beacon\""),
    key("beacon.addresses", "addresses = [\"10.20.0.53:8443\"]"),
    key(
        "beacon.pins",
        "pins = [\"sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\"]",
    ),
    key("beacon.site", "site = \"south\""),
    key("beacon.nat", "nat = [\"10.20.254.9\"]"),
    key("portal.probe", "probe = \"http://probe.example.se/\""),
    key("portal.expect", "expect = \"open\""),
    key("portal.open", "open = true"),
    key("tunnel.mtu", "mtu = 1420"),
    key("tunnel.keepalive", "keepalive = \"25s\""),
    key("tunnel.metered_keepalive", "metered_keepalive = \"2m\""),
    key("tunnel.respond", "respond = false"),
    key("user.may_disconnect", "may_disconnect = true"),
    key(
        "card.pkcs11_module",
        "pkcs11_module = \"/usr/lib/x86_64-linux-gnu/opensc-pkcs11.so\"",
    ),
    key("card.modes", "modes = [\"held\", \"sealed\"]"),
    key("card.signature_wrap", "signature_wrap = false"),
    key("card.pin", "pin = \"until-lock\""),
    key("card.after_use", "after_use = \"keep\""),
    key("card.on_removal", "on_removal = \"grace\""),
    key("card.grace", "grace = \"10s\""),
    key("card.allow_factory_pin", "allow_factory_pin = false"),
    key(
        "card.certificate.issuers",
        "issuers = [\"/etc/sluss/service-cards.pem\"]",
    ),
    key(
        "card.certificate.subject",
        "subject = \"*,O=Exempel kommun,C=SE\"",
    ),
    key(
        "card.certificate.key_usage",
        "key_usage = [\"digitalSignature\"]",
    ),
    key(
        "card.certificate.extended_key_usage",
        "extended_key_usage = [\"1.3.6.1.5.5.7.3.2\"]",
    ),
    key(
        "card.certificate.crls",
        "crls = [\"/var/lib/sluss/service-cards.crl\"]",
    ),
    key("login.hand_over", "hand_over = true"),
    key("login.wait", "wait = \"10s\""),
    key("timing.settle_quiet", "settle_quiet = \"250ms\""),
    key("timing.settle_limit", "settle_limit = \"2s\""),
    key("timing.probe_timeout", "probe_timeout = \"800ms\""),
    key("timing.retry_first", "retry_first = \"1s\""),
    key("timing.retry_limit", "retry_limit = \"1m\""),
    key(
        "doctor.internal_name",
        "internal_name = \"intranet.example.se\"",
    ),
    key("support.phone", "phone = \"08-123 45 67\""),
    key("support.web", "web = \"https://www.example.se/vpn\""),
    key(
        "support.detour",
        "detour = \"Mail and files: https://work.example.se, with your card\"",
    ),
];

/// Keys of `device.toml`.
pub const DEVICE_KEYS: &[KeyInfo] = &[
    key("schema", "schema = 1"),
    key(
        "addresses",
        "addresses = [\"10.20.255.7/32\", \"fd20::ff07/128\"]",
    ),
    key("preshared_key", "preshared_key = \"BASE64 OF 32 BYTES\""),
    key("card.serial", "serial = \"0006:12345678\""),
    key(
        "card.public_key",
        "public_key = \"xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=\"",
    ),
    key("card.key", "key = \"openpgp:dec\""),
    key(
        "card.sealed_key",
        "sealed_key = \"BASE64 OF THE SEALED KEY\"",
    ),
];
