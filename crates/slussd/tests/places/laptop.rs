//! A laptop in those networks: the whole engine, and everything around it as it would answer.

use std::time::Duration;

use sluss_card::{Algorithm, CardInfo, CardKind, KeyMode};
use sluss_policy::{Policy, Source};
use sluss_supervisor::{self as sup, Evidence, HostMode, HostRules, Link, Outcome, Portal};
use slussd::engine::{CallId, Effect, Engine, Input, TunnelOrder};

use crate::networks::{Network, Port, Truth};

const POLICY: &str = r#"
schema = 1
[gateway]
name = "vpn.example.se"
public_key = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
[[endpoint]]
address = "198.51.100.2:51820"
[internal]
prefixes = ["10.20.0.0/15"]
[[beacon]]
name = "city hall"
addresses = ["10.20.0.53:8443"]
pins = ["sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="]
[[beacon]]
name = "library"
addresses = ["10.20.0.54:8443"]
pins = ["sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="]
[portal]
probe = "http://192.0.2.80/"
"#;

/// Whatever is quicker than this is no place that anybody went to: the network was not even quiet for so long.
const NO_PLACE: Duration = Duration::from_millis(250);
const UNANSWERED: Duration = Duration::from_secs(5);

/// What will come to pass.
enum Later {
    Input(Input),
    /// The gateway's link-layer address becomes known on this interface.
    Learnt(u32),
    Handshake {
        op: sup::Op,
        attempts: u32,
    },
}

pub(crate) struct Laptop {
    pub(crate) rng: fastrand::Rng,
    pub(crate) now: Duration,
    pub(crate) engine: Engine,
    pub(crate) anyway: bool,
    /// Best first.
    pub(crate) ports: Vec<Port>,
    pub(crate) logged_in: bool,
    pub(crate) rules: Option<HostRules>,
    pub(crate) tunnel: Option<sup::Op>,
    /// Starts and stops of the tunnel.
    pub(crate) switches: u32,
    /// Changes of the place that were long enough to be one.
    pub(crate) moves: u32,
    pub(crate) probes: u32,
    place: Truth,
    truth: (Truth, Duration),
    later: Vec<(Duration, Later)>,
    peer: sluss_wg::PeerId,
}

impl Laptop {
    /// Switched on, with a card that answers.
    pub(crate) fn new(seed: u64) -> Self {
        let rules = [
            "",
            "[location]\nquorum = 2\n",
            "[location]\ninside = \"tunnel-anyway\"\n",
        ];
        let rules = rules[seed as usize % rules.len()];
        let policy = Policy::parse(&[Source {
            file: "policy.toml",
            text: &format!("{POLICY}{rules}"),
        }]);
        let now = Duration::from_secs(100);
        let mut laptop = Self {
            rng: fastrand::Rng::with_seed(seed),
            now,
            engine: Engine::new(policy.expect("the policy is right"), Vec::new()),
            anyway: rules.contains("anyway"),
            ports: Vec::new(),
            logged_in: false,
            rules: None,
            tunnel: None,
            switches: 0,
            moves: 0,
            probes: 0,
            place: Truth::Nowhere,
            truth: (Truth::Nowhere, now),
            later: Vec::new(),
            peer: peer(),
        };
        laptop.tell(Input::LinksChanged(Vec::new()));
        laptop.tell(Input::Card(sluss_card::Event::ServiceFound));
        laptop.tell(Input::Card(inserted()));
        laptop
    }

    /// The network has changed: the kernel tells.
    pub(crate) fn changed(&mut self) {
        let links = self.ports.iter().map(Port::link).collect();
        self.tell(Input::LinksChanged(links));
        self.look();
    }

    pub(crate) fn tell(&mut self, input: Input) {
        let now = sup::Time::since_boot(self.now);
        for effect in self.engine.handle(input, now) {
            self.begin(effect);
        }
        self.check();
    }

    /// Lets so much time pass, with all that comes to pass in it.
    pub(crate) fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            let deadline = self.engine.deadline().map(|it| it.at.as_duration());
            let forwarding = self.ports.iter().map(|port| port.forwards_at);
            let forwarding = forwarding.filter(|at| *at > self.now).min();
            let next = self.later.iter().map(|(at, _)| *at).min();
            let first = [deadline, forwarding, next].into_iter().flatten().min();
            let Some(at) = first.filter(|at| *at <= end) else {
                break;
            };
            self.now = self.now.max(at);
            if let Some(found) = self.later.iter().position(|(it, _)| *it <= self.now) {
                let (_, later) = self.later.remove(found);
                self.come_to_pass(later);
            } else if deadline.is_some_and(|at| at <= self.now) {
                self.tell(Input::Tick);
            }
            self.look();
        }
        self.now = end;
        self.look();
    }

    /// Where the laptop truly is.
    pub(crate) fn truth(&self) -> Truth {
        let mut usable = self.ports.iter().filter(|port| port.forwards(self.now));
        let truths: Vec<Truth> = usable.by_ref().map(|port| port.network.truth()).collect();
        match truths.as_slice() {
            [] => Truth::Nowhere,
            some if some.contains(&Truth::Inside) => Truth::Inside,
            _ => Truth::Outside,
        }
    }

    /// Counts the places that were one.
    fn look(&mut self) {
        let (truth, since) = self.truth;
        let lasted = self.now.saturating_sub(since) >= NO_PLACE;
        if lasted && truth != Truth::Nowhere && truth != self.place {
            self.place = truth;
            self.moves += 1;
        }
        let truth = self.truth();
        if truth != self.truth.0 {
            self.truth = (truth, self.now);
        }
    }

    /// What must hold at any moment.
    fn check(&self) {
        let Some(HostRules {
            mode: HostMode::Inside { link },
            ..
        }) = &self.rules
        else {
            return;
        };
        assert!(!self.anyway, "in the clear");
        assert_eq!(self.tunnel, None, "open beside a tunnel");
        let there = self.ports.iter().any(|port| {
            let now = port.link();
            now.id == link.id && now.carrier && now.gateways == link.gateways
        });
        assert!(there, "open on {link:?}: {:?}", self.ports);
    }

    fn begin(&mut self, effect: Effect) {
        match effect {
            Effect::Probe {
                op,
                links,
                deadline,
            } => self.probe(op, &links, deadline.as_duration()),
            Effect::CheckPortal { op, links, .. } => {
                let checks = links.iter().map(|link| self.portal(link)).collect();
                self.soon(30, Input::PortalChecked { op, checks });
            }
            Effect::StartTunnel { op } => {
                assert_eq!(self.tunnel, None, "one tunnel at a time");
                self.switches += 1;
                self.tunnel = Some(op);
                self.soon(5, Input::TunnelStarted { op });
                self.call_gateway(op, 0);
            }
            Effect::StopTunnel { op } => {
                self.switches += u32::from(self.tunnel.is_some());
                self.tunnel = None;
                self.soon(5, Input::TunnelStopped { op });
            }
            Effect::Tunnel(TunnelOrder::Kick | TunnelOrder::NetworkChanged) => {
                if let Some(op) = self.tunnel {
                    self.call_gateway(op, 0);
                }
            }
            Effect::ApplyHost { op, rules } => {
                self.rules = Some(rules);
                self.soon(25, Input::HostApplied { op });
            }
            Effect::ResizeTunnel { .. } => self.soon(1, Input::TunnelResized),
            // Who is answered, asked or told is not of interest here, and a worker that was called off answers in vain.
            Effect::CancelProbe { .. }
            | Effect::CancelPortalCheck { .. }
            | Effect::Resolve { .. }
            | Effect::Card { .. }
            | Effect::DiscardTunnel { .. }
            | Effect::Tunnel(_)
            | Effect::LockSession
            | Effect::Answer { .. }
            | Effect::Status { .. }
            | Effect::Why { .. }
            | Effect::Observe { .. }
            | Effect::Diagnosis { .. }
            | Effect::Monitor { .. }
            | Effect::Agent { .. }
            | Effect::Prompt(_)
            | Effect::WithdrawPrompt { .. }
            | Effect::ReadyToSleep
            | Effect::Reachable(_)
            | Effect::Survey { .. }
            | Effect::Enroll { .. } => {}
        }
    }

    fn probe(&mut self, op: sup::Op, links: &[Link], deadline: Duration) {
        self.probes += 1;
        let mut done = self.now;
        let mut evidence = Vec::new();
        for link in links {
            let Some(port) = self.ports.iter().find(|port| port.index == link.id.index) else {
                continue;
            };
            // There is a second attempt.
            let heard = self.now + Duration::from_millis(250);
            let silent = !port.forwards(heard) || heard < port.swallowed_until;
            let (outcome, delay) = match silent {
                true => (Outcome::NoAnswer, Duration::from_secs(1)),
                false => port.network.answer(),
            };
            if !silent && port.neighbour.is_none() {
                let at = self.now.max(port.forwards_at) + Duration::from_millis(2);
                self.later.push((at, Later::Learnt(port.index)));
            }
            done = done.max((self.now + delay).min(deadline));
            for (beacon, address) in [("city hall", 53), ("library", 54)] {
                evidence.push(Evidence {
                    link: link.id.clone(),
                    beacon: beacon.to_owned(),
                    address: ([10, 20, 0, address], 8443).into(),
                    outcome,
                    at: sup::Time::since_boot(done),
                });
            }
        }
        let finished = Input::ProbeFinished { op, evidence };
        self.later.push((done, Later::Input(finished)));
    }

    fn portal(&self, link: &Link) -> sup::PortalCheck {
        let port = self.ports.iter().find(|port| port.index == link.id.index);
        let answer = match port.filter(|port| port.forwards(self.now)) {
            None => sup::PortalAnswer::Silent,
            Some(port) if port.network == Network::Hotel && !self.logged_in => {
                let url = Some("http://login.hotel.example/".to_owned());
                sup::PortalAnswer::Intercepted { url }
            }
            Some(_) => sup::PortalAnswer::Expected,
        };
        sup::PortalCheck {
            link: link.id.clone(),
            answer,
        }
    }

    /// The gateway is heard, or not heard for a while.
    fn call_gateway(&mut self, op: sup::Op, attempts: u32) {
        self.later
            .retain(|(_, later)| !matches!(later, Later::Handshake { .. }));
        let (after, attempts) = match self.best() {
            Some(Network::Hotel) if !self.logged_in => (UNANSWERED, attempts + 1),
            None => (UNANSWERED, attempts + 1),
            Some(_) => (Duration::from_millis(80), 0),
        };
        let handshake = Later::Handshake { op, attempts };
        self.later.push((self.now + after, handshake));
    }

    fn best(&self) -> Option<Network> {
        let mut forwarding = self.ports.iter().filter(|port| port.forwards(self.now));
        forwarding.next().map(|port| port.network)
    }

    fn come_to_pass(&mut self, later: Later) {
        match later {
            Later::Input(input) => self.tell(input),
            Later::Learnt(index) => {
                let now = self.now;
                let mut ports = self.ports.iter_mut();
                if let Some(port) = ports.find(|port| port.index == index)
                    && port.neighbour.is_none()
                    && port.forwards(now)
                {
                    port.neighbour = Some(1);
                    self.changed();
                }
            }
            Later::Handshake { op, attempts } if self.tunnel == Some(op) => {
                let peer = self.peer;
                let event = match attempts {
                    0 => {
                        let role = sluss_wg::Role::Initiator;
                        sluss_wg::Event::SessionEstablished { peer, role }
                    }
                    attempts => sluss_wg::Event::HandshakeUnanswered { peer, attempts },
                };
                if attempts > 0 {
                    self.call_gateway(op, attempts);
                }
                let event = sluss_tunnel::Event::Peer(event);
                self.tell(Input::Tunnel { op, event });
            }
            Later::Handshake { .. } => {}
        }
    }

    /// The user asks for the portal.
    pub(crate) fn asks_for_portal(&mut self) {
        let (call, visitor) = (CallId(1), sup::Visitor::Uid(1000));
        let renew = false;
        self.tell(Input::PortalCalled {
            call,
            visitor,
            renew,
        });
    }

    pub(crate) fn portal_is_open(&self) -> bool {
        matches!(self.engine.state().portal, Portal::Open { .. })
    }

    /// Something else than we uses the link: so the kernel looks for the gateway.
    pub(crate) fn learns_soon(&mut self, index: u32, forwards_at: Duration) {
        let at = forwards_at.max(self.now) + Duration::from_millis(self.rng.u64(1..900));
        self.later.push((at, Later::Learnt(index)));
    }

    fn soon(&mut self, most_ms: u64, input: Input) {
        let at = self.now + Duration::from_millis(self.rng.u64(1..=most_ms));
        self.later.push((at, Later::Input(input)));
    }
}

fn inserted() -> sluss_card::Event {
    sluss_card::Event::Inserted {
        reader: "Reader 00 00".into(),
        card: CardInfo {
            serial: "0006:12345678".into(),
            kind: CardKind::OpenPgp,
            mode: KeyMode::Held,
            algorithm: Algorithm::X25519,
            public_key: [9; 32],
            subject: None,
            tries_left: 3,
            ready: true,
            pin_pad: false,
        },
    }
}

/// Only a device can name a peer.
fn peer() -> sluss_wg::PeerId {
    let gateway = sluss_wg::SoftwareKey::new([7; 32]).public();
    let config = sluss_wg::Config {
        public_key: sluss_wg::SoftwareKey::new([8; 32]).public(),
        respond: sluss_wg::Respond::Never,
        timing: sluss_wg::Timing::default(),
        stamp_floor: sluss_wg::Tai64n::default(),
        mtu: 1420,
        seed: [1; 32],
    };
    let peer = sluss_wg::PeerConfig {
        public_key: gateway,
        preshared_key: None,
        endpoints: std::net::SocketAddr::from(([198, 51, 100, 2], 51820)).into(),
        allowed_ips: Vec::new(),
        persistent_keepalive: None,
    };
    let (device, ..) =
        sluss_wg::Device::new(config, vec![peer], sluss_wg::Time::default()).expect("a device");
    device.peer(&gateway).expect("the peer was added")
}
