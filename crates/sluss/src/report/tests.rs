//! Golden sentences: what a person reads in each situation, in both languages.

use std::net::{IpAddr, SocketAddr};

use sluss_ipc::{
    Algorithm, BeaconKind, CardFault, CardKind, Deadline, DeadlineReason, Endpoint, EndpointState,
    Evidence, Gateway, InsideRule, Intent, KeyMode, Link, LocationRules, Medium, Outcome,
    OutsideReason, PacketReport, PathMtu, PathVerdict, PortalPage, Refusal, Resolution, SCHEMA,
    Segmentation, Traffic, TunOffload,
};

use super::*;
use crate::text::{English, Swedish};

pub(super) const LANGUAGES: [&dyn Text; 2] = [&English, &Swedish];

/// At home on Wi-Fi with the card in: the tunnel is up.
pub(super) fn home() -> Status {
    Status {
        schema: SCHEMA,
        location: Location::Outside {
            reason: OutsideReason::NoProof,
            links: vec!["wlan0".to_owned()],
        },
        location_age_ms: Some(12_000),
        rules: Some(LocationRules {
            require: BeaconKind::Tls,
            quorum: 1,
            inside: InsideRule::NoTunnel,
            probe_timeout_ms: 800,
        }),
        links: vec![Link {
            name: "wlan0".to_owned(),
            medium: Medium::Wireless { open: false },
            metered: false,
            addresses: vec![IpAddr::from([192, 168, 1, 50])],
        }],
        portal: Portal::Absent,
        key: Key::Unlocked,
        tunnel: Tunnel::Up,
        intent: Intent::Automatic,
        host: Host::Applied {
            mode: HostMode::Tunnelled,
        },
        gateway: Some(Gateway {
            name: "vpn.example.se".to_owned(),
            address: Some(SocketAddr::from(([198, 51, 100, 2], 51820))),
            endpoints: vec![Endpoint {
                name: "vpn.example.se:51820".to_owned(),
                priority: 1,
                resolution: Resolution::Resolved { age_ms: 60_000 },
                addresses: vec![SocketAddr::from(([198, 51, 100, 2], 51820))],
                state: EndpointState::InUse,
            }],
        }),
        card: Some(Card {
            reader: "ACS ACR39U 00 00".to_owned(),
            serial: "0006:12345678".to_owned(),
            kind: CardKind::OpenPgp,
            mode: KeyMode::Held,
            algorithm: Algorithm::X25519,
            tries_left: Some(3),
        }),
        traffic: Some(Traffic {
            received_bytes: 1_440_000,
            sent_bytes: 84_000,
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
            tun: TunOffload::TcpAndUdp,
            send: Segmentation::Offloaded,
            receive: true,
        }),
        evidence: vec![Evidence {
            link: "wlan0".to_owned(),
            beacon: "city hall".to_owned(),
            kind: BeaconKind::Beacon,
            site: None,
            address: SocketAddr::from(([10, 20, 0, 53], 8443)),
            outcome: Outcome::NoAnswer,
            age_ms: 12_000,
        }],
        deadline: None,
        warnings: Vec::new(),
        version: "0.1.0".to_owned(),
    }
}

/// In the office, on the cable.
pub(super) fn office() -> Status {
    Status {
        location: Location::Inside {
            link: Some("eth0".to_owned()),
            beacon: Some("city hall".to_owned()),
        },
        location_age_ms: Some(180_000),
        tunnel: Tunnel::Down {
            reason: DownReason::NotNeeded,
        },
        host: Host::Applied {
            mode: HostMode::Inside {
                link: Some("eth0".to_owned()),
            },
        },
        traffic: None,
        packets: None,
        evidence: vec![Evidence {
            link: "eth0".to_owned(),
            beacon: "city hall".to_owned(),
            kind: BeaconKind::Beacon,
            site: None,
            address: SocketAddr::from(([10, 20, 0, 53], 8443)),
            outcome: Outcome::Proved,
            age_ms: 180_000,
        }],
        ..home()
    }
}

/// At home, and the tunnel shut because of the key.
pub(super) fn shut(key: Key) -> Status {
    let reason = if key == Key::Absent {
        DownReason::NoCard
    } else {
        DownReason::KeyLocked
    };
    Status {
        key,
        tunnel: Tunnel::Down { reason },
        host: Host::Applied {
            mode: HostMode::Closed,
        },
        traffic: None,
        packets: None,
        ..home()
    }
}

/// At home behind a router that blocks UDP.
pub(super) fn blocked() -> Status {
    let mut status = Status {
        tunnel: Tunnel::Starting,
        traffic: Some(Traffic {
            unanswered_handshakes: 4,
            ..Traffic::default()
        }),
        warnings: vec![Warning::GatewaySilent],
        ..home()
    };
    let gateway = status.gateway.as_mut().unwrap();
    gateway.endpoints[0].state = EndpointState::Silent { age_ms: 40_000 };
    status
}

#[track_caller]
pub(super) fn reads(actual: impl Fn(&dyn Text) -> String, english: &str, swedish: &str) {
    assert_eq!(actual(&English), english);
    assert_eq!(actual(&Swedish), swedish);
}

#[track_caller]
fn status_reads(status: &Status, english: &str, swedish: &str) {
    reads(
        |text| super::status(status, text, Paint::Plain),
        english,
        swedish,
    );
}

#[test]
fn connected_at_home_is_one_line() {
    status_reads(
        &home(),
        "Connected to vpn.example.se (outside: no beacon on wlan0), card present\n",
        "Ansluten till vpn.example.se (utanför: ingen fyr på wlan0), kortet sitter i\n",
    );
}

#[test]
fn the_office_needs_no_tunnel() {
    status_reads(
        &office(),
        "No tunnel needed (inside: city hall proved it on eth0), card present\n",
        "Ingen tunnel behövs (innanför: city hall bevisade det på eth0), kortet sitter i\n",
    );
}

#[test]
fn without_a_card_the_user_is_told_to_insert_it() {
    let status = Status {
        card: None,
        ..shut(Key::Absent)
    };
    status_reads(
        &status,
        "Not connected (outside: no beacon on wlan0), no card\nPut your card in the reader.\n",
        "Inte ansluten (utanför: ingen fyr på wlan0), inget kort\nSätt ditt kort i läsaren.\n",
    );
}

#[test]
fn a_locked_card_asks_for_the_pin_and_few_tries_are_told() {
    let mut status = shut(Key::Locked);
    status.card.as_mut().unwrap().tries_left = Some(2);
    status_reads(
        &status,
        "Not connected (outside: no beacon on wlan0), card present, PIN needed\n\
         Give the PIN with `sluss unlock`.\n2 PIN tries left.\n",
        "Inte ansluten (utanför: ingen fyr på wlan0), kortet sitter i, PIN-kod behövs\n\
         Ange PIN-koden med `sluss unlock`.\n2 PIN-försök kvar.\n",
    );
}

#[test]
fn a_silent_gateway_is_told_with_its_address() {
    status_reads(
        &blocked(),
        "Connecting to vpn.example.se (outside: no beacon on wlan0), card present\n\
         UDP to vpn.example.se:51820 gets no answer from this network, for 40 seconds now.\n\
         Try another network; if it is so everywhere, the gateway may not know this laptop.\n",
        "Ansluter till vpn.example.se (utanför: ingen fyr på wlan0), kortet sitter i\n\
         UDP till vpn.example.se:51820 får inget svar från det här nätet, sedan 40 sekunder.\n\
         Pröva ett annat nätverk; om det är så överallt, känner gatewayen kanske inte datorn.\n",
    );
}

#[test]
fn an_observer_reads_state_words_only() {
    status_reads(
        &home().redact(),
        "Connected (outside: no beacon), card present\n",
        "Ansluten (utanför: ingen fyr), kortet sitter i\n",
    );
    status_reads(
        &office().redact(),
        "No tunnel needed (inside), card present\n",
        "Ingen tunnel behövs (innanför), kortet sitter i\n",
    );
}

#[test]
fn two_links_are_both_named() {
    let links = vec!["eth0".to_owned(), "wlan0".to_owned()];
    let status = Status {
        location: Location::Outside {
            reason: OutsideReason::NoProof,
            links,
        },
        ..home()
    };
    status_reads(
        &status,
        "Connected to vpn.example.se (outside: no beacon on eth0 and wlan0), card present\n",
        "Ansluten till vpn.example.se (utanför: ingen fyr på eth0 och wlan0), kortet sitter i\n",
    );
}

#[test]
fn details_hold_what_a_helpdesk_asks_for() {
    let status = Status {
        deadline: Some(Deadline {
            in_ms: 3_000,
            reason: DeadlineReason::HostRetry,
        }),
        ..home()
    };
    reads(
        |text| details(&status, text, Paint::Plain),
        "\
Connected to vpn.example.se (outside: no beacon on wlan0), card present

  Location     outside: no beacon on wlan0, 12 seconds ago
  Network      wlan0: Wi-Fi, 192.168.1.50
  Tunnel       Connected
  Gateway      vpn.example.se (198.51.100.2:51820)
  Endpoint     vpn.example.se:51820: in use, resolved to 198.51.100.2 60 seconds ago
  Traffic      1.4 MB received, 84.0 kB sent, last handshake 40 seconds ago
  MTU          1420 bytes
  Path         1420 bytes arrive in one piece, 40 seconds ago
  Offload      interface: TCP and UDP
               sending: yes
               receiving: yes
  Key          card present
  Card         OpenPGP 0006:12345678, ACS ACR39U 00 00
  Private key  held in the card (X25519)
  Wanted       a tunnel whenever one is needed
  Host         internal addresses by the tunnel only
  Evidence     wlan0, city hall (10.20.0.53:8443): gave no answer, 12 seconds ago
  Next         in 3 seconds, routes and firewall are set again
  Version      0.1.0
",
        "\
Ansluten till vpn.example.se (utanför: ingen fyr på wlan0), kortet sitter i

  Plats          utanför: ingen fyr på wlan0, för 12 sekunder sedan
  Nätverk        wlan0: trådlöst, 192.168.1.50
  Tunnel         Ansluten
  Andra änden    vpn.example.se (198.51.100.2:51820)
  Väg dit        vpn.example.se:51820: används, uppslagen till 198.51.100.2 för 60 sekunder sedan
  Trafik         1,4 MB mottaget, 84,0 kB skickat, senaste handskakning för 40 sekunder sedan
  MTU            1420 byte
  Väg            1420 byte kommer fram i ett stycke, för 40 sekunder sedan
  Avlastning     gränssnitt: TCP och UDP
                 sändning: ja
                 mottagning: ja
  Nyckel         kortet sitter i
  Kort           OpenPGP 0006:12345678, ACS ACR39U 00 00
  Privat nyckel  i kortet (X25519)
  Önskat         en tunnel när den behövs
  Datorn         interna adresser bara via tunneln
  Bevis          wlan0, city hall (10.20.0.53:8443): svarade inte, för 12 sekunder sedan
  Härnäst        om 3 sekunder ställs rutter och brandvägg in igen
  Version        0.1.0
",
    );
}

#[test]
fn a_hotel_is_told_before_anything_else() {
    let status = Status {
        portal: Portal::Found {
            page: Some(PortalPage {
                link: "wlan0".to_owned(),
                url: "http://192.0.2.80/".to_owned(),
                login: Some("https://wifi.hotel.example/login?id=\u{1b}[2J".to_owned()),
            }),
            may_open: true,
        },
        links: vec![Link {
            name: "wlan0".to_owned(),
            medium: Medium::Wireless { open: true },
            metered: true,
            addresses: vec![IpAddr::from([10, 7, 0, 50])],
        }],
        warnings: vec![Warning::GatewaySilent, Warning::OpenWifi],
        ..blocked()
    };
    status_reads(
        &status,
        "Connecting to vpn.example.se (outside: no beacon on wlan0), card present\n\
         The network on wlan0 wants a login first: http://192.0.2.80/; `sluss portal` opens the page.\n\
         This Wi-Fi has no password: others nearby can read what is not encrypted.\n\
         wlan0 is metered: what is sent there may cost.\n",
        "Ansluter till vpn.example.se (utanför: ingen fyr på wlan0), kortet sitter i\n\
         Nätverket på wlan0 kräver först en inloggning: http://192.0.2.80/; `sluss portal` öppnar sidan.\n\
         Det här trådlösa nätet saknar lösenord: andra i närheten kan läsa det som inte är krypterat.\n\
         wlan0 har datakostnad: det som skickas där kan kosta.\n",
    );
    let details = details(&status, &English, Paint::Plain);
    assert!(
        details.contains("wlan0: Wi-Fi without a password, metered, 10.7.0.50"),
        "{details}"
    );
    assert!(
        details.contains("https://wifi.hotel.example/login?id=\u{fffd}[2J"),
        "{details}"
    );
    status_reads(
        &status.redact(),
        "Connecting (outside: no beacon), card present\n\
         The network wants a login first; `sluss portal` opens the page.\n\
         This Wi-Fi has no password: others nearby can read what is not encrypted.\n",
        "Ansluter (utanför: ingen fyr), kortet sitter i\n\
         Nätverket kräver först en inloggning; `sluss portal` öppnar sidan.\n\
         Det här trådlösa nätet saknar lösenord: andra i närheten kan läsa det som inte är krypterat.\n",
    );
}

#[test]
fn monitor_says_one_line_for_each_change() {
    let changes = home().changes(Some(&office()), 1_795_363_200_000);
    let lines = |text: &dyn Text| {
        changes
            .iter()
            .map(|one| change(one, text) + "\n")
            .collect::<String>()
    };
    reads(
        lines,
        "Location: outside: no beacon on wlan0\nTunnel: Connected\nHost: internal addresses by the tunnel only\n",
        "Plats: utanför: ingen fyr på wlan0\nTunnel: Ansluten\nDatorn: interna adresser bara via tunneln\n",
    );
}

#[test]
fn card_shows_readers_and_what_is_wrong_in_them() {
    let report = CardReport {
        schema: SCHEMA,
        key: Key::Locked,
        readers: vec![
            Reader {
                name: "ACS ACR39U 00 00".to_owned(),
                card: ReaderCard::Usable {
                    kind: CardKind::OpenPgp,
                    serial: "0006:12345678".to_owned(),
                    mode: KeyMode::Held,
                    algorithm: Algorithm::X25519,
                    subject: None,
                    pin_pad: false,
                    public_key: "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=".to_owned(),
                    tries_left: Some(3),
                },
            },
            Reader {
                name: "Evil\u{1b}[31m".to_owned(),
                card: ReaderCard::Unusable {
                    fault: CardFault::OtherCard,
                },
            },
        ],
    };
    reads(
        |text| card(&report, text),
        "\
ACS ACR39U 00 00
  Card         OpenPGP 0006:12345678
  Private key  held in the card (X25519)
  Public key   xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=
  Key          card present, PIN needed
  Next         Give the PIN with `sluss unlock`.

Evil\u{fffd}[31m
  Card  not the card of this laptop
  Next  Put the card of this laptop in the reader.
",
        "\
ACS ACR39U 00 00
  Kort           OpenPGP 0006:12345678
  Privat nyckel  i kortet (X25519)
  Publik nyckel  xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=
  Nyckel         kortet sitter i, PIN-kod behövs
  Härnäst        Ange PIN-koden med `sluss unlock`.

Evil\u{fffd}[31m
  Kort     det är inte den här datorns kort
  Härnäst  Sätt den här datorns kort i läsaren.
",
    );
}

#[test]
fn card_names_the_holder_and_counts_the_last_two_tries() {
    let report = CardReport {
        schema: SCHEMA,
        key: Key::Unlocked,
        readers: vec![Reader {
            name: "Gemalto PC Pinpad".to_owned(),
            card: ReaderCard::Usable {
                kind: CardKind::Piv,
                serial: "9752278".to_owned(),
                mode: KeyMode::Sealed,
                algorithm: Algorithm::Rsa2048,
                subject: Some("CN=Åsa Öberg,O=Exempel kommun,C=SE\u{7}".to_owned()),
                pin_pad: true,
                public_key: "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=".to_owned(),
                tries_left: Some(2),
            },
        }],
    };
    reads(
        |text| card(&report, text),
        "\
Gemalto PC Pinpad
  Card            PIV 9752278
  Holder          CN=Åsa Öberg,O=Exempel kommun,C=SE\u{fffd}
  Private key     sealed to the card (RSA-2048)
  Public key      xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=
  PIN             typed on the reader
  PIN tries left  2
  Key             card present
",
        "\
Gemalto PC Pinpad
  Kort             PIV 9752278
  Innehavare       CN=Åsa Öberg,O=Exempel kommun,C=SE\u{fffd}
  Privat nyckel    förseglad till kortet (RSA-2048)
  Publik nyckel    xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=
  PIN-kod          skrivs på läsaren
  PIN-försök kvar  2
  Nyckel           kortet sitter i
",
    );
}

#[test]
fn card_without_a_card_says_so() {
    let empty = |key| CardReport {
        schema: SCHEMA,
        key,
        readers: Vec::new(),
    };
    reads(
        |text| card(&empty(Key::Absent), text),
        "No reader holds a card.\n",
        "Det sitter inget kort i någon läsare.\n",
    );
    reads(
        |text| card(&empty(Key::NoService), text),
        "The smart card service (pcscd) must be started.\n",
        "Kortläsartjänsten (pcscd) måste startas.\n",
    );
}

#[test]
fn wrong_pins_are_told_with_the_tries_that_are_left() {
    for (tries, english, swedish) in [
        (
            2,
            "Wrong PIN. 2 PIN tries left.",
            "Fel PIN-kod. 2 PIN-försök kvar.",
        ),
        (
            1,
            "Wrong PIN. One PIN try left: a wrong PIN blocks the card.",
            "Fel PIN-kod. Ett PIN-försök kvar: en felaktig PIN-kod spärrar kortet.",
        ),
    ] {
        reads(
            |text| {
                text.refusal(Refusal::WrongPin {
                    tries_left: Some(tries),
                })
            },
            english,
            swedish,
        );
    }
}

#[test]
fn the_verdict_holds_only_when_the_internal_network_is_reached_safely() {
    assert!(is_as_it_should_be(&home()));
    assert!(is_as_it_should_be(&office()));
    assert!(is_as_it_should_be(&home().redact()) && is_as_it_should_be(&office().redact()));

    assert!(!is_as_it_should_be(&shut(Key::Absent)));
    assert!(!is_as_it_should_be(&blocked()));
    let unprotected = Host::Failed {
        mode: HostMode::Tunnelled,
    };
    assert!(!is_as_it_should_be(&Status {
        host: unprotected,
        ..home()
    }));
    let not_yet = Host::Applying {
        mode: HostMode::Inside { link: None },
    };
    assert!(!is_as_it_should_be(&Status {
        host: not_yet,
        ..office()
    }));
    assert!(!is_as_it_should_be(&Status {
        warnings: vec![Warning::GatewaySilent],
        ..home()
    }));
}

#[test]
fn colours_follow_the_verdict_and_can_be_off() {
    let green = "\x1b[32mConnected to vpn.example.se\x1b[0m (outside";
    let red = "\x1b[31mNot connected\x1b[0m (outside";
    for (status, start) in [(home(), green), (shut(Key::Locked), red)] {
        assert!(super::status(&status, &English, Paint::Colours).starts_with(start));
        assert!(!super::status(&status, &English, Paint::Plain).contains('\x1b'));
    }
}

#[test]
fn every_state_ends_in_a_sentence_without_gaps() {
    let keys = [
        Key::NoService,
        Key::Absent,
        Key::Unusable {
            fault: CardFault::Silent,
        },
        Key::Locked,
        Key::AwaitingPin,
        Key::Declined,
        Key::Withdrawn,
        Key::Verifying,
        Key::Unlocked,
        Key::Blocked,
    ];
    let reasons = [
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
    ];
    let tunnels: Vec<Tunnel> = reasons
        .map(|reason| Tunnel::Down { reason })
        .into_iter()
        .chain([Tunnel::Starting, Tunnel::Up, Tunnel::Stopping])
        .collect();
    let locations = [
        Location::Offline,
        Location::Asleep,
        Location::Settling,
        Location::Probing,
        office().location,
        Location::Inside {
            link: None,
            beacon: None,
        },
        home().location,
        Location::Outside {
            reason: OutsideReason::NoBeacon,
            links: Vec::new(),
        },
        Location::Outside {
            reason: OutsideReason::NotConfirmed,
            links: vec!["wlan0".to_owned()],
        },
        Location::Outside {
            reason: OutsideReason::ProbeOverdue,
            links: vec!["wlan0".to_owned()],
        },
    ];
    for text in LANGUAGES {
        for location in &locations {
            for tunnel in &tunnels {
                for key in keys {
                    let status = Status {
                        location: location.clone(),
                        tunnel: *tunnel,
                        key,
                        ..home()
                    };
                    for status in [status.clone(), status.redact()] {
                        let sentences = why(&status.why(), text);
                        let line = headline(&status, text, Paint::Plain);
                        for gap in [
                            "  ", " .", " ,", "()", "..", ": ,", "on ,", "på ,", "on )", "\n\n",
                        ] {
                            assert!(!line.contains(gap), "{gap:?} in {line:?}");
                            assert!(!sentences.contains(gap), "{gap:?} in {sentences:?}");
                        }
                        assert!(sentences.ends_with(".\n"), "{sentences:?}");
                    }
                }
            }
        }
    }
}
