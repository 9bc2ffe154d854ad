//! A laptop in which everything around the engine does at once what it is told.

use std::net::IpAddr;
use std::time::Duration;

use sluss_card::{Algorithm, CardInfo, CardKind, Command, KeyMode};
use sluss_ipc::{Pin, Prompt, Request, Response};
use sluss_policy::{Policy, Source};
use sluss_supervisor::{self as sup, Evidence, HostMode, Link, LinkId, Outcome};
use sluss_wg::SoftwareKey;
use slussd::engine::{CallId, Effect, Engine, Figures, Input, TunnelOrder};
use zeroize::Zeroizing;

pub(crate) const READER: &str = "Reader 00 00";

pub(crate) const POLICY: &str = r#"
schema = 1
[gateway]
name = "vpn.example.se"
public_key = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
[[endpoint]]
address = "198.51.100.2:51820"
[internal]
prefixes = ["10.20.0.0/16"]
[[beacon]]
name = "city hall"
addresses = ["10.20.0.53:8443"]
pins = ["sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="]
"#;

/// A laptop whose host does at once what it is told, and whose beacon answers where `beacon` says so.
pub(crate) struct Laptop {
    pub(crate) engine: Engine,
    pub(crate) now: Duration,
    pub(crate) beacon: bool,
    pub(crate) host: Option<HostMode>,
    /// The login page of the network, if it has one.
    pub(crate) portal: Option<String>,
    /// Whom the host lets through to it.
    pub(crate) opening: Option<sup::Opening>,
    /// How often the gateway was looked for.
    pub(crate) searches: usize,
    pub(crate) tunnel: Option<sup::Op>,
    /// What the tunnel's device was given since it was made.
    pub(crate) mtu: Option<u16>,
    /// When the gateway answered last.
    pub(crate) handshake: Option<Duration>,
    pub(crate) calls: u64,
    /// What nobody has taken care of yet.
    pub(crate) card: Vec<(sluss_card::Op, Command)>,
    pub(crate) orders: Vec<TunnelOrder>,
    pub(crate) answers: Vec<(CallId, Response)>,
    /// The prompt on the screen.
    pub(crate) prompt: Option<Prompt>,
    /// Whether systemd believes that the internal network can be reached.
    pub(crate) reachable: bool,
    pub(crate) session_locked: bool,
    pub(crate) asleep: bool,
}

impl Laptop {
    pub(crate) fn with_policy(text: &str) -> Self {
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
            portal: None,
            opening: None,
            searches: 0,
            tunnel: None,
            mtu: None,
            handshake: None,
            calls: 0,
            card: Vec::new(),
            orders: Vec::new(),
            answers: Vec::new(),
            prompt: None,
            reachable: false,
            session_locked: false,
            asleep: false,
        }
    }

    /// At home, on Wi-Fi, with the verdict outside and the card locked.
    pub(crate) fn at_home_with_card() -> Self {
        let mut laptop = Self::with_policy(POLICY);
        laptop.does(Input::Card(sluss_card::Event::ServiceFound));
        laptop.joins("wlan0", "192.168.1.20/24", "192.168.1.1");
        laptop.does(Input::Card(inserted(READER)));
        laptop
    }

    /// The same, and the tunnel is up.
    pub(crate) fn connected() -> Self {
        let mut laptop = Self::at_home_with_card();
        let call = laptop.types("123456");
        laptop.card_accepts();
        assert_eq!(laptop.answer(call), Some(Response::Done));
        laptop.gateway_answers();
        laptop
    }

    pub(crate) fn does(&mut self, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            for effect in self.engine.handle(input, sup::Time::since_boot(self.now)) {
                match effect {
                    Effect::Probe { op, links, .. } => {
                        let evidence = links.iter().map(|link| self.evidence(link)).collect();
                        inputs.insert(0, Input::ProbeFinished { op, evidence });
                    }
                    Effect::CheckPortal { op, links, .. } => {
                        let answer = match &self.portal {
                            Some(url) => sup::PortalAnswer::Intercepted {
                                url: Some(url.clone()),
                            },
                            None => sup::PortalAnswer::Expected,
                        };
                        let checks = links.into_iter().map(|link| sup::PortalCheck {
                            link: link.id,
                            answer: answer.clone(),
                        });
                        let checks = checks.collect();
                        inputs.insert(0, Input::PortalChecked { op, checks });
                    }
                    Effect::Resolve { .. } => self.searches += 1,
                    Effect::CancelProbe { .. } | Effect::CancelPortalCheck { .. } => {}
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
                    Effect::ResizeTunnel { op, mtu } => {
                        assert_eq!(self.tunnel, Some(op));
                        self.mtu = Some(mtu);
                        inputs.insert(0, Input::TunnelResized);
                    }
                    Effect::ApplyHost { op, rules } => {
                        self.host = Some(rules.mode);
                        self.opening = rules.opening;
                        inputs.insert(0, Input::HostApplied { op });
                    }
                    Effect::Answer { call, response } => self.answers.push((call, *response)),
                    Effect::Status { call } | Effect::Why { call } | Effect::Monitor { call } => {
                        let status = self
                            .engine
                            .status(Figures::default(), sup::Time::since_boot(self.now));
                        self.answers.push((call, Response::Status(status)));
                    }
                    Effect::Prompt(prompt) => self.prompt = Some(prompt),
                    Effect::WithdrawPrompt { id } => {
                        self.prompt.take_if(|prompt| prompt.id == id);
                    }
                    Effect::LockSession => self.session_locked = true,
                    Effect::Reachable(reachable) => self.reachable = reachable,
                    Effect::ReadyToSleep => self.asleep = true,
                    // Cards that are not served yet are the edge's business.
                    Effect::Agent { .. }
                    | Effect::Survey { .. }
                    | Effect::Enroll { .. }
                    | Effect::Observe { .. }
                    | Effect::Diagnosis { .. } => {}
                }
            }
        }
    }

    pub(crate) fn evidence(&self, link: &Link) -> Evidence {
        Evidence {
            link: link.id.clone(),
            beacon: "city hall".into(),
            address: ([10, 20, 0, 53], 8443).into(),
            outcome: if self.beacon {
                Outcome::Proved
            } else {
                Outcome::NoAnswer
            },
            at: sup::Time::since_boot(self.now),
        }
    }

    /// Lets time pass up to each deadline that lies within `span`.
    pub(crate) fn waits(&mut self, span: Duration) {
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

    pub(crate) fn joins(&mut self, name: &str, address: &str, gateway: &str) {
        let gateway = gateway.parse::<IpAddr>().expect("an address");
        let link = Link {
            id: LinkId {
                index: 2,
                name: name.into(),
            },
            carrier: true,
            addresses: vec![address.parse().expect("a prefix")],
            gateways: vec![gateway],
            medium: sup::Medium::Wired,
            metered: false,
            neighbours: vec![sup::Neighbour {
                gateway,
                address: sup::LinkLayerAddress([2, 0, 0, 0, 0, 1]),
            }],
        };
        self.does(Input::LinksChanged(vec![link]));
        self.waits(Duration::from_secs(3));
    }

    pub(crate) fn calls(&mut self, request: Request) -> CallId {
        self.calls += 1;
        let call = CallId(self.calls);
        self.does(Input::Called { call, request });
        call
    }

    pub(crate) fn types(&mut self, pin: &str) -> CallId {
        let pin = Pin::new(Zeroizing::new(pin.as_bytes().to_vec())).expect("a PIN");
        self.calls(Request::Unlock {
            pin: Some(pin),
            last_try: false,
        })
    }

    pub(crate) fn answer(&mut self, call: CallId) -> Option<Response> {
        let at = self
            .answers
            .iter()
            .position(|(answered, _)| *answered == call)?;
        Some(self.answers.remove(at).1)
    }

    /// The command that the card was given last.
    pub(crate) fn asked_of_card(&mut self) -> (sluss_card::Op, Command) {
        self.card.pop().expect("the card was asked")
    }

    pub(crate) fn card_says(&mut self, result: Result<(), sluss_card::Error>) {
        let (op, command) = self.asked_of_card();
        assert!(matches!(command, Command::Verify { .. }));
        self.does(Input::Card(sluss_card::Event::Verified { op, result }));
    }

    pub(crate) fn card_accepts(&mut self) {
        self.card_says(Ok(()));
    }

    pub(crate) fn gateway_answers(&mut self) {
        self.handshake = Some(self.now);
        let (_, peer) = device();
        self.peer(sluss_wg::Event::SessionEstablished {
            peer,
            role: sluss_wg::Role::Initiator,
        });
    }

    pub(crate) fn peer(&mut self, event: sluss_wg::Event) {
        let op = self.tunnel.expect("a tunnel runs");
        self.does(Input::Tunnel {
            op,
            event: sluss_tunnel::Event::Peer(event),
        });
    }

    pub(crate) fn status(&self) -> sluss_ipc::Status {
        let age = |at: Duration| u64::try_from((self.now - at).as_millis()).expect("a short time");
        let traffic = sluss_ipc::Traffic {
            handshake_age_ms: self.handshake.map(age),
            ..Default::default()
        };
        let figures = Figures {
            traffic: self.tunnel.map(|_| traffic),
            ..Figures::default()
        };
        self.engine.status(figures, sup::Time::since_boot(self.now))
    }
}

pub(crate) fn inserted(reader: &str) -> sluss_card::Event {
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
pub(crate) fn device() -> (sluss_wg::Device, sluss_wg::PeerId) {
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
        endpoints: std::net::SocketAddr::from(([198, 51, 100, 2], 51820)).into(),
        allowed_ips: Vec::new(),
        persistent_keepalive: None,
    };
    let (device, ..) =
        sluss_wg::Device::new(config, vec![peer], sluss_wg::Time::default()).expect("a device");
    let peer = device.peer(&gateway).expect("the peer was added");
    (device, peer)
}

/// The Diffie-Hellman with which a handshake begins.
pub(crate) fn dh_wanted() -> sluss_tunnel::Event {
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
