//! What IT reads of its own policy.

use sluss_ipc::{PortalPolicy, SCHEMA, doctor::Support};

use super::*;
use crate::text::English;

#[test]
fn policy_shows_what_is_in_force() {
    let report = PolicyReport {
        schema: SCHEMA,
        files: vec!["/etc/sluss/policy.toml".to_owned()],
        gateway: "vpn.example.se".to_owned(),
        endpoints: vec![
            PolicyEndpoint {
                address: "vpn.example.se:51820".to_owned(),
                priority: 1,
                fallback: vec!["198.51.100.2".parse().unwrap()],
            },
            PolicyEndpoint {
                address: "[2001:db8::1]:51820".to_owned(),
                priority: 2,
                fallback: Vec::new(),
            },
        ],
        public_key: "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=".to_owned(),
        internal_prefixes: vec!["10.20.0.0/16".to_owned(), "fd20::/48".to_owned()],
        location: LocationRules {
            require: BeaconKind::Beacon,
            quorum: 2,
            inside: InsideRule::NoTunnel,
            probe_timeout_ms: 800,
        },
        beacons: vec![
            Beacon {
                name: "city hall".to_owned(),
                kind: BeaconKind::Beacon,
                addresses: vec![
                    "10.20.0.53:8443".parse().unwrap(),
                    "[fd20::53]:8443".parse().unwrap(),
                ],
                site: Some("centre".to_owned()),
                nat: vec!["10.20.255.9".parse().unwrap()],
            },
            Beacon {
                name: "library".to_owned(),
                kind: BeaconKind::Tls,
                addresses: vec!["10.20.1.53:443".parse().unwrap()],
                site: None,
                nat: Vec::new(),
            },
        ],
        portal: Some(PortalPolicy {
            probe: "http://192.0.2.80/".to_owned(),
            open: true,
        }),
        mtu: 1420,
        keepalive_s: Some(25),
        metered_keepalive_s: Some(120),
        respond: false,
        may_disconnect: true,
        card: CardPolicy {
            modes: vec![KeyMode::Held, KeyMode::Sealed],
            signature_wrap: false,
            pin: PinLife::UntilLock,
            after_use: AfterUse::Keep,
            on_removal: OnRemoval::Grace,
            grace_ms: Some(10_000),
            allow_factory_pin: false,
            pkcs11_module: None,
            certificate_issuers: vec!["/etc/sluss/service-cards.pem".to_owned()],
            certificate_subject: Some("*,O=Exempel kommun,C=SE".to_owned()),
        },
        hand_over: true,
        login_wait_ms: None,
        internal_name: Some("intranet.example.se".to_owned()),
        support: Some(Support {
            phone: Some("+46 8 123 45".to_owned()),
            web: None,
            detour: Some("Webmail works everywhere: mail.example.se".to_owned()),
        }),
    };
    assert_eq!(
        policy(&report, &English),
        "  Files                /etc/sluss/policy.toml
  Gateway              vpn.example.se
  Endpoint             vpn.example.se:51820, priority 1, fallback 198.51.100.2
                       [2001:db8::1]:51820, priority 2
  Public key           xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=
  Internal             10.20.0.0/16, fd20::/48
  Proof                require beacon, quorum 2, inside no-tunnel
  Beacons              city hall (10.20.0.53:8443, [fd20::53]:8443), beacon, site centre, nat 10.20.255.9
                       library (10.20.1.53:443), tls
  Login page           http://192.0.2.80/, open
  MTU                  1420
  Keepalive            25 seconds
  Keepalive, metered   2 minutes
  Gateway may call     no
  User may disconnect  yes
  Keys                 held, sealed
  PIN                  until-lock
  Card after use       keep
  Pulled card          grace (10 seconds)
  Certificates         /etc/sluss/service-cards.pem
                       *,O=Exempel kommun,C=SE
  PIN from login       yes
  Internal name        intranet.example.se
  Support              +46 8 123 45
                       Webmail works everywhere: mail.example.se
"
    );
}
