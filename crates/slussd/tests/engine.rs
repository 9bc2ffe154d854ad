//! The whole engine through a day: what a user, a card, a network and a gateway do, and what must come of it.

use std::net::IpAddr;
use std::time::Duration;

use sluss_card::{Algorithm, CardInfo, CardKind, Command, KeyMode};
use sluss_ipc::{DownReason, Key, Location, Pin, Refusal, Request, Response, Tunnel, Warning};
use sluss_policy::{Policy, Source};
use sluss_supervisor::{self as sup, Evidence, HostMode, Link, LinkId, Outcome};
use sluss_wg::{DhError, PublicKey, SoftwareKey};
use slussd::engine::{CallId, Effect, Engine, Figures, Input, TunnelOrder};
use zeroize::Zeroizing;

const READER: &str = "Reader 00 00";

const POLICY: &str = r#"
schema = 1
[gateway]
name = "vpn.example.se"
endpoints = ["198.51.100.2:51820"]
public_key = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
[internal]
prefixes = ["10.20.0.0/16"]
[[beacon]]
name = "city hall"
address = "10.20.0.53:8443"
pins = ["sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="]
"#;

/// A laptop whose host does at once what it is told, and whose beacon answers where `beacon` says so.
struct Laptop {
    engine: Engine,
    now: Duration,
    beacon: bool,
    host: Option<HostMode>,
    tunnel: Option<sup::Op>,
    /// When the gateway answered last.
    handshake: Option<Duration>,
    calls: u64,
    /// What nobody has taken care of yet.
    card: Vec<(sluss_card::Op, Command)>,
    orders: Vec<TunnelOrder>,
    answers: Vec<(CallId, Response)>,
}

impl Laptop {
    fn with_policy(text: &str) -> Self {
        let policy = Policy::parse(&[Source {
            file: "policy.toml",
            text,
        }])
        .expect("the policy is right");
        Self {
            engine: Engine::new(policy, vec!["policy.toml".into()]),
            now: Duration::from_secs(1000),
            beacon: false,
            host: None,
            tunnel: None,
            handshake: None,
            calls: 0,
            card: Vec::new(),
            orders: Vec::new(),
            answers: Vec::new(),
        }
    }

    /// At home, on Wi-Fi, with the verdict outside and the card locked.
    fn at_home_with_card() -> Self {
        let mut laptop = Self::with_policy(POLICY);
        laptop.does(Input::Card(sluss_card::Event::ServiceFound));
        laptop.joins("wlan0", "192.168.1.20/24", "192.168.1.1");
        laptop.does(Input::Card(inserted(READER)));
        laptop
    }

    /// The same, and the tunnel is up.
    fn connected() -> Self {
        let mut laptop = Self::at_home_with_card();
        let call = laptop.types("123456");
        laptop.card_accepts();
        assert_eq!(laptop.answer(call), Some(Response::Done));
        laptop.gateway_answers();
        laptop
    }

    fn does(&mut self, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            for effect in self.engine.handle(input, sup::Time::since_boot(self.now)) {
                match effect {
                    Effect::Probe { op, links, .. } => {
                        let evidence = links.iter().map(|link| self.evidence(link)).collect();
                        inputs.insert(0, Input::ProbeFinished { op, evidence });
                    }
                    Effect::CancelProbe { .. } => {}
                    Effect::Card { op, command, .. } => self.card.push((op, command)),
                    Effect::StartTunnel { op } => {
                        assert!(self.tunnel.is_none(), "one tunnel at a time");
                        self.tunnel = Some(op);
                        inputs.insert(0, Input::TunnelStarted { op });
                    }
                    Effect::StopTunnel { op } => {
                        self.tunnel = None;
                        inputs.insert(0, Input::TunnelStopped { op });
                    }
                    Effect::DiscardTunnel { .. } => self.tunnel = None,
                    Effect::Tunnel(order) => self.orders.push(order),
                    Effect::ApplyHost { op, mode } => {
                        self.host = Some(mode);
                        inputs.insert(0, Input::HostApplied { op });
                    }
                    Effect::Answer { call, response } => self.answers.push((call, *response)),
                    Effect::Status { call } | Effect::Why { call } | Effect::Monitor { call } => {
                        let status = self
                            .engine
                            .status(Figures::default(), sup::Time::since_boot(self.now));
                        self.answers.push((call, Response::Status(status)));
                    }
                }
            }
        }
    }

    fn evidence(&self, link: &Link) -> Evidence {
        Evidence {
            link: link.id.clone(),
            beacon: "city hall".into(),
            outcome: if self.beacon {
                Outcome::Proved
            } else {
                Outcome::NoAnswer
            },
            at: sup::Time::since_boot(self.now),
        }
    }

    /// Lets time pass up to each deadline that lies within `span`.
    fn waits(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(deadline) = self
            .engine
            .deadline()
            .filter(|deadline| deadline.at.as_duration() <= end)
        {
            self.now = deadline.at.as_duration();
            self.does(Input::Tick);
        }
        self.now = end;
    }

    fn joins(&mut self, name: &str, address: &str, gateway: &str) {
        let link = Link {
            id: LinkId {
                index: 2,
                name: name.into(),
            },
            carrier: true,
            addresses: vec![address.parse().expect("a prefix")],
            gateways: vec![gateway.parse::<IpAddr>().expect("an address")],
        };
        self.does(Input::LinksChanged(vec![link]));
        self.waits(Duration::from_secs(3));
    }

    fn calls(&mut self, request: Request) -> CallId {
        self.calls += 1;
        let call = CallId(self.calls);
        self.does(Input::Called { call, request });
        call
    }

    fn types(&mut self, pin: &str) -> CallId {
        let pin = Pin::new(Zeroizing::new(pin.as_bytes().to_vec())).expect("a PIN");
        self.calls(Request::Unlock {
            pin: Some(pin),
            last_try: false,
        })
    }

    fn answer(&mut self, call: CallId) -> Option<Response> {
        let at = self
            .answers
            .iter()
            .position(|(answered, _)| *answered == call)?;
        Some(self.answers.remove(at).1)
    }

    /// The command that the card was given last.
    fn asked_of_card(&mut self) -> (sluss_card::Op, Command) {
        self.card.pop().expect("the card was asked")
    }

    fn card_says(&mut self, result: Result<(), sluss_card::Error>) {
        let (op, command) = self.asked_of_card();
        assert!(matches!(command, Command::Verify { .. }));
        self.does(Input::Card(sluss_card::Event::Verified { op, result }));
    }

    fn card_accepts(&mut self) {
        self.card_says(Ok(()));
    }

    fn gateway_answers(&mut self) {
        self.handshake = Some(self.now);
        let (_, peer) = device();
        self.peer(sluss_wg::Event::SessionEstablished {
            peer,
            role: sluss_wg::Role::Initiator,
        });
    }

    fn peer(&mut self, event: sluss_wg::Event) {
        let op = self.tunnel.expect("a tunnel runs");
        self.does(Input::Tunnel {
            op,
            event: sluss_tunnel::Event::Peer(event),
        });
    }

    fn status(&self) -> sluss_ipc::Status {
        let age = |at: Duration| u64::try_from((self.now - at).as_millis()).expect("a short time");
        let traffic = sluss_ipc::Traffic {
            handshake_age_ms: self.handshake.map(age),
            ..Default::default()
        };
        let figures = Figures {
            traffic: self.tunnel.map(|_| traffic),
            endpoint: None,
        };
        self.engine.status(figures, sup::Time::since_boot(self.now))
    }
}

fn inserted(reader: &str) -> sluss_card::Event {
    sluss_card::Event::Inserted {
        reader: reader.into(),
        card: CardInfo {
            serial: "0006:12345678".into(),
            kind: CardKind::OpenPgp,
            mode: KeyMode::Held,
            algorithm: Algorithm::X25519,
            public_key: [9; 32],
            subject: None,
            tries_left: 3,
            ready: false,
            pin_pad: false,
        },
    }
}

/// A device, since only one can name a peer and say which Diffie-Hellman it wants.
fn device() -> (sluss_wg::Device, sluss_wg::PeerId) {
    let gateway = SoftwareKey::new([7; 32]).public();
    let config = sluss_wg::Config {
        public_key: SoftwareKey::new([8; 32]).public(),
        respond: sluss_wg::Respond::Never,
        timing: sluss_wg::Timing::default(),
        stamp_floor: sluss_wg::Tai64n::default(),
        mtu: 1420,
        seed: [1; 32],
    };
    let peer = sluss_wg::PeerConfig {
        public_key: gateway,
        preshared_key: None,
        endpoint: Some("198.51.100.2:51820".parse().expect("an endpoint")),
        allowed_ips: Vec::new(),
        persistent_keepalive: None,
    };
    let (device, ..) =
        sluss_wg::Device::new(config, vec![peer], sluss_wg::Time::default()).expect("a device");
    let peer = device.peer(&gateway).expect("the peer was added");
    (device, peer)
}

/// The Diffie-Hellman with which a handshake begins.
fn dh_wanted() -> sluss_tunnel::Event {
    let (mut device, peer) = device();
    let now = sluss_wg::Now {
        boot: sluss_wg::Time::since_boot(Duration::from_secs(2000)),
        wall: Duration::from_secs(1_800_000_000),
    };
    let mut out = Vec::new();
    device.handle(sluss_wg::Input::Kick(peer), now, &mut out);
    let wanted = out.into_iter().find_map(|output| match output {
        sluss_wg::Output::Dh { id, with, deadline } => {
            Some(sluss_tunnel::Event::DhWanted { id, with, deadline })
        }
        sluss_wg::Output::Send { .. }
        | sluss_wg::Output::Outbound(_)
        | sluss_wg::Output::Inbound(_)
        | sluss_wg::Output::PersistStamp { .. }
        | sluss_wg::Output::Event(_) => None,
    });
    wanted.expect("a handshake begins with the static key")
}

#[test]
fn at_home_the_pin_opens_the_tunnel_and_the_pull_shuts_it() {
    let mut laptop = Laptop::at_home_with_card();
    assert_eq!(laptop.status().key, Key::AwaitingPin);
    assert!(laptop.tunnel.is_none(), "no tunnel before the PIN");
    assert_eq!(laptop.host, Some(HostMode::Closed));

    let call = laptop.types("123456");
    laptop.card_accepts();
    assert_eq!(laptop.answer(call), Some(Response::Done));
    assert_eq!(laptop.status().tunnel, Tunnel::Starting);
    laptop.gateway_answers();
    assert_eq!(laptop.status().tunnel, Tunnel::Up);
    assert_eq!(laptop.host, Some(HostMode::Tunnelled));

    laptop.orders.clear();
    laptop.does(Input::Card(sluss_card::Event::Removed {
        reader: READER.into(),
    }));
    assert!(laptop.tunnel.is_none());
    assert!(matches!(laptop.orders[..], [TunnelOrder::ForgetKey]));
    assert_eq!(laptop.host, Some(HostMode::Closed));
    assert_eq!(
        laptop.status().tunnel,
        Tunnel::Down {
            reason: DownReason::NoCard
        }
    );
}

#[test]
fn in_the_office_nothing_opens_and_nobody_asks_for_a_pin() {
    let mut laptop = Laptop::with_policy(POLICY);
    laptop.beacon = true;
    laptop.does(Input::Card(inserted(READER)));
    laptop.joins("eth0", "10.20.5.7/24", "10.20.5.1");
    let status = laptop.status();
    assert_eq!(
        status.location,
        Location::Inside {
            link: Some("eth0".into()),
            beacon: Some("city hall".into())
        }
    );
    assert_eq!(status.key, Key::Locked);
    assert!(laptop.tunnel.is_none());
    assert!(matches!(&laptop.host, Some(HostMode::Inside { link }) if link.id.name == "eth0"));
}

#[test]
fn a_wrong_pin_is_told_with_the_tries_left_and_the_next_one_serves() {
    let mut laptop = Laptop::at_home_with_card();
    let call = laptop.types("000000");
    laptop.card_says(Err(sluss_card::Error::WrongPin { left: 2 }));
    assert_eq!(
        laptop.answer(call),
        Some(Response::Refused(Refusal::WrongPin {
            tries_left: Some(2)
        }))
    );
    assert_eq!(
        laptop.status().card.and_then(|card| card.tries_left),
        Some(2)
    );
    assert!(laptop.card.is_empty(), "a wrong PIN is never tried again");

    let call = laptop.types("123456");
    laptop.card_accepts();
    assert_eq!(laptop.answer(call), Some(Response::Done));
    assert!(laptop.tunnel.is_some());
}

#[test]
fn a_pin_without_a_card_is_refused_and_reaches_no_card() {
    let mut laptop = Laptop::with_policy(POLICY);
    let call = laptop.types("123456");
    assert_eq!(
        laptop.answer(call),
        Some(Response::Refused(Refusal::NoCard))
    );
    assert!(laptop.card.is_empty());
}

#[test]
fn two_pins_at_once_make_one_try() {
    let mut laptop = Laptop::at_home_with_card();
    let first = laptop.types("123456");
    let second = laptop.types("123456");
    assert_eq!(
        laptop.answer(second),
        Some(Response::Refused(Refusal::Busy))
    );
    assert_eq!(laptop.card.len(), 1);
    laptop.card_accepts();
    assert_eq!(laptop.answer(first), Some(Response::Done));
}

#[test]
fn the_handshake_is_computed_by_the_card() {
    let mut laptop = Laptop::connected();
    let op = laptop.tunnel.expect("up");
    laptop.does(Input::Tunnel {
        op,
        event: dh_wanted(),
    });
    let (asked, command) = laptop.asked_of_card();
    let Command::Dh { with } = command else {
        panic!("a Diffie-Hellman was wanted")
    };
    assert_eq!(
        PublicKey(with),
        SoftwareKey::new([7; 32]).public(),
        "the first is with the gateway's own key"
    );

    laptop.orders.clear();
    laptop.does(Input::Card(sluss_card::Event::Dh {
        op: asked,
        result: Err(sluss_card::Error::Timeout),
    }));
    assert!(matches!(
        laptop.orders[..],
        [TunnelOrder::Dh {
            result: Err(DhError::Unavailable),
            ..
        }]
    ));
}

#[test]
fn a_card_that_another_program_reset_is_not_asked_and_the_tunnel_lives_on() {
    let mut laptop = Laptop::connected();
    laptop.does(Input::Card(sluss_card::Event::Locked {
        reader: READER.into(),
    }));
    assert_eq!(laptop.status().key, Key::AwaitingPin);
    assert_eq!(laptop.status().tunnel, Tunnel::Up);

    laptop.orders.clear();
    let op = laptop.tunnel.expect("up");
    laptop.does(Input::Tunnel {
        op,
        event: dh_wanted(),
    });
    assert!(laptop.card.is_empty(), "a locked card is not asked");
    assert!(matches!(
        laptop.orders[..],
        [TunnelOrder::Dh {
            result: Err(DhError::Unavailable),
            ..
        }]
    ));

    laptop.orders.clear();
    laptop.types("123456");
    laptop.card_accepts();
    assert!(
        matches!(laptop.orders[..], [TunnelOrder::Kick]),
        "the handshake goes on at once"
    );
}

#[test]
fn what_a_pulled_card_still_answers_is_for_nobody() {
    let mut laptop = Laptop::connected();
    let op = laptop.tunnel.expect("up");
    laptop.does(Input::Tunnel {
        op,
        event: dh_wanted(),
    });
    let (asked, _) = laptop.asked_of_card();
    laptop.does(Input::Card(sluss_card::Event::Removed {
        reader: READER.into(),
    }));
    laptop.orders.clear();
    laptop.does(Input::Card(sluss_card::Event::Dh {
        op: asked,
        result: Err(sluss_card::Error::Gone),
    }));
    assert!(laptop.orders.is_empty());
}

#[test]
fn a_second_card_that_cannot_serve_takes_nothing_from_the_first() {
    let mut laptop = Laptop::connected();
    let other = sluss_card::Error::OtherCard {
        serial: "0006:00000001".into(),
    };
    laptop.does(Input::Card(sluss_card::Event::Unusable {
        reader: "Reader 00 01".into(),
        reason: other,
    }));
    assert_eq!(laptop.status().tunnel, Tunnel::Up);
    laptop.does(Input::Card(sluss_card::Event::Removed {
        reader: "Reader 00 01".into(),
    }));
    assert_eq!(laptop.status().tunnel, Tunnel::Up);
}

#[test]
fn a_pulled_card_beside_an_unusable_one_names_what_is_left() {
    let mut laptop = Laptop::connected();
    let other = sluss_card::Error::OtherCard {
        serial: "0006:00000001".into(),
    };
    laptop.does(Input::Card(sluss_card::Event::Unusable {
        reader: "Reader 00 01".into(),
        reason: other,
    }));
    laptop.does(Input::Card(sluss_card::Event::Removed {
        reader: READER.into(),
    }));
    assert!(laptop.tunnel.is_none());
    assert_eq!(
        laptop.status().key,
        Key::Unusable {
            fault: sluss_ipc::CardFault::OtherCard
        }
    );
}

#[test]
fn down_holds_until_up_and_only_where_policy_allows() {
    let mut laptop = Laptop::connected();
    let call = laptop.calls(Request::Down);
    assert_eq!(laptop.answer(call), Some(Response::Done));
    assert!(laptop.tunnel.is_none());
    assert_eq!(
        laptop.status().tunnel,
        Tunnel::Down {
            reason: DownReason::StoppedByUser
        }
    );
    assert_eq!(laptop.host, Some(HostMode::Closed), "down opens nothing");
    laptop.calls(Request::Up);
    assert!(laptop.tunnel.is_some());

    let mut laptop = Laptop::with_policy(&format!("{POLICY}\n[user]\nmay_disconnect = false\n"));
    let call = laptop.calls(Request::Down);
    assert_eq!(
        laptop.answer(call),
        Some(Response::Refused(Refusal::ByPolicy))
    );
}

#[test]
fn lock_wipes_the_keys_and_asks_nobody() {
    let mut laptop = Laptop::connected();
    laptop.orders.clear();
    laptop.calls(Request::Lock);
    assert!(matches!(laptop.orders[..], [TunnelOrder::ForgetKey]));
    assert!(laptop.tunnel.is_none());
    assert!(matches!(laptop.asked_of_card(), (_, Command::Lock)));
    assert_eq!(laptop.status().key, Key::Withdrawn);
}

#[test]
fn another_network_keeps_the_tunnel_and_tells_the_gateway() {
    let mut laptop = Laptop::connected();
    let before = laptop.tunnel;
    laptop.orders.clear();
    laptop.joins("wlan0", "172.20.10.3/28", "172.20.10.1");
    assert_eq!(laptop.tunnel, before, "the same tunnel all the time");
    assert!(matches!(laptop.orders[..], [TunnelOrder::Kick]));
}

#[test]
fn after_sleep_a_card_that_lost_power_is_asked_for_its_pin_again() {
    let mut laptop = Laptop::connected();
    laptop.does(Input::Suspending);
    assert_eq!(laptop.host, Some(HostMode::Tunnelled));
    laptop.now += Duration::from_secs(8 * 3600);
    laptop.does(Input::Resumed);
    let (op, command) = laptop.asked_of_card();
    assert!(matches!(command, Command::Refresh));
    let card = CardInfo {
        serial: "0006:12345678".into(),
        kind: CardKind::OpenPgp,
        mode: KeyMode::Held,
        algorithm: Algorithm::X25519,
        public_key: [9; 32],
        subject: None,
        tries_left: 3,
        ready: false,
        pin_pad: false,
    };
    laptop.does(Input::Card(sluss_card::Event::Refreshed {
        op,
        result: Ok(card),
    }));
    laptop.waits(Duration::from_secs(3));
    assert_eq!(laptop.status().key, Key::AwaitingPin);

    // Yesterday's session is worth nothing, and nobody is told that it is.
    assert_eq!(laptop.status().tunnel, Tunnel::Starting);
}

#[test]
fn a_silent_gateway_is_named_and_tried_for_ever() {
    let mut laptop = Laptop::at_home_with_card();
    laptop.types("123456");
    laptop.card_accepts();
    let (_, peer) = device();
    laptop.peer(sluss_wg::Event::HandshakeUnanswered { peer, attempts: 3 });
    assert_eq!(laptop.status().tunnel, Tunnel::Starting);
    assert_eq!(laptop.status().warnings, [Warning::GatewaySilent]);
    laptop.orders.clear();
    laptop.peer(sluss_wg::Event::GaveUp { peer });
    assert!(matches!(laptop.orders[..], [TunnelOrder::Kick]));
}

#[test]
fn a_silent_gateway_is_tried_on_while_the_beacons_are_asked_once_more() {
    let mut laptop = Laptop::connected();
    let (_, peer) = device();
    let due = laptop
        .engine
        .deadline()
        .expect("the verdict is a fresh one");
    assert_eq!(due.reason, sup::DeadlineReason::ProbeAgain);
    laptop.now = due.at.as_duration();
    let asked = laptop.engine.handle(Input::Tick, due.at);
    assert!(
        matches!(asked[..], [Effect::Probe { .. }]),
        "its answer is still to come"
    );
    laptop.orders.clear();
    laptop.peer(sluss_wg::Event::GaveUp { peer });
    assert!(matches!(laptop.orders[..], [TunnelOrder::Kick]));
}

#[test]
fn nobody_calls_a_gateway_in_vain() {
    let (_, peer) = device();
    let mut laptop = Laptop::connected();
    laptop.does(Input::Card(sluss_card::Event::Locked {
        reader: READER.into(),
    }));
    laptop.orders.clear();
    laptop.peer(sluss_wg::Event::GaveUp { peer });
    assert!(laptop.orders.is_empty(), "a locked card makes no handshake");

    let mut laptop = Laptop::connected();
    laptop.does(Input::LinksChanged(Vec::new()));
    laptop.orders.clear();
    laptop.peer(sluss_wg::Event::GaveUp { peer });
    assert!(laptop.orders.is_empty(), "there is no network");
}

#[test]
fn a_card_that_does_not_answer_in_time_is_named_and_shuts_nothing() {
    let mut laptop = Laptop::connected();
    let op = laptop.tunnel.expect("up");
    laptop.does(Input::Tunnel {
        op,
        event: dh_wanted(),
    });
    let (asked, _) = laptop.asked_of_card();
    laptop.does(Input::Card(sluss_card::Event::Dh {
        op: asked,
        result: Err(sluss_card::Error::Timeout),
    }));
    assert_eq!(laptop.status().warnings, [Warning::CardSlow]);
    assert_eq!(laptop.status().tunnel, Tunnel::Up);
    laptop.does(Input::Card(sluss_card::Event::Removed {
        reader: READER.into(),
    }));
    assert_eq!(
        laptop.status().warnings,
        [],
        "a card that is gone is not slow"
    );
}

#[test]
fn a_lost_rekey_is_no_lost_tunnel() {
    let (_, peer) = device();
    let mut laptop = Laptop::connected();
    laptop.now += Duration::from_secs(130);
    laptop.peer(sluss_wg::Event::HandshakeUnanswered { peer, attempts: 1 });
    let status = laptop.status();
    assert_eq!((status.tunnel, status.warnings), (Tunnel::Up, Vec::new()));

    laptop.now += Duration::from_secs(20);
    laptop.peer(sluss_wg::Event::HandshakeUnanswered { peer, attempts: 3 });
    let status = laptop.status();
    assert_eq!(
        (status.tunnel, status.warnings),
        (Tunnel::Up, vec![Warning::GatewaySilent])
    );

    laptop.now += Duration::from_secs(40);
    assert_eq!(laptop.status().tunnel, Tunnel::Starting);
}

#[test]
fn a_beacon_that_was_missed_in_the_office_is_asked_again_and_the_tunnel_shuts() {
    let mut laptop = Laptop::connected();
    laptop.joins("eth0", "10.20.5.7/24", "10.20.5.1");
    assert!(matches!(laptop.status().location, Location::Outside { .. }));
    laptop.beacon = true;
    laptop.waits(Duration::from_secs(5));
    assert!(matches!(laptop.status().location, Location::Inside { .. }));
    assert!(laptop.tunnel.is_none());
}
