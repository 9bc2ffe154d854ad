//! A laptop without a laptop: network, card, user and workers, which delay, fail, hang and answer late.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use fastrand::Rng;
use ipnet::IpNet;
use sluss_policy::{Policy, Source};
use sluss_supervisor::{
    Action, Event, Evidence, HostMode, Key, Link, LinkId, LinkLayerAddress, Location, LossReason,
    Medium, Neighbour, Op, Outcome, PinCheck, PinSource, State, Time, Tunnel, step,
};

use crate::judge::{Judge, Sight};

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

pub(crate) const BEACON: SocketAddr =
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(10, 20, 0, 53), 8443));

pub(crate) fn policy(text: &str) -> Policy {
    Policy::parse(&[Source {
        file: "policy.toml",
        text,
    }])
    .expect("the test's policy is right")
}

/// A link, and whether beacons can be reached by it.
#[derive(Clone, Debug)]
pub(crate) struct TrueLink {
    pub(crate) link: Link,
    pub(crate) inside: bool,
}

pub(crate) fn link(index: u32, network: u8, host: u8, inside: bool) -> TrueLink {
    let octets = if inside {
        [10, 20, network, host]
    } else {
        [192, 168, network, host]
    };
    let gateway = Ipv4Addr::new(octets[0], octets[1], octets[2], 1);
    let address = IpNet::new(IpAddr::V4(octets.into()), 24).expect("24 bits fit");
    let id = LinkId {
        index,
        name: format!("eth{index}"),
    };
    TrueLink {
        link: Link {
            id,
            carrier: true,
            addresses: vec![address],
            gateways: vec![gateway.into()],
            medium: Medium::Wired,
            metered: false,
            neighbours: vec![Neighbour {
                gateway: gateway.into(),
                address: LinkLayerAddress([2, 0, 0, 0, network, 1]),
            }],
        },
        inside,
    }
}

#[derive(Clone, Debug)]
pub(crate) struct TrueCard {
    pub(crate) tries_left: u8,
    pub(crate) verified: bool,
}

/// What will happen, or be answered, later.
#[derive(Clone, Debug)]
enum Later {
    Event(Event),
    Start(Op),
    Stop(Op),
    Apply(Op, HostMode),
    Verify(Op),
    Probed { op: Op, links: Vec<Link> },
}

/// How much goes wrong by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    /// Workers are quick and succeed.
    Fair,
    /// They fail, hang, and answer when nobody waits any more.
    Foul,
}

pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) now: Time,
    pub(crate) policy: Policy,
    pub(crate) state: State,
    pub(crate) weather: Weather,
    pub(crate) judge: Judge,

    pub(crate) links: Vec<TrueLink>,
    pub(crate) card: Option<TrueCard>,
    pub(crate) asleep: bool,
    /// The tunnel that really runs, by the op that started it.
    pub(crate) running: Option<Op>,
    /// What routes and firewall really are; `None` before anything was applied.
    pub(crate) host: Option<HostMode>,
    pub(crate) prompt: Option<Op>,

    later: Vec<(Time, u64, Later)>,
    sequence: u64,
    tunnel_free: Time,
    host_free: Time,
    card_free: Time,
    /// Answers that were given. Whoever gives them again is late.
    pub(crate) given: Vec<Event>,
    pub(crate) told: usize,
}

impl World {
    pub(crate) fn new(seed: u64, weather: Weather) -> Self {
        let now = Time::since_boot(Duration::from_secs(100));
        let removal = ["disconnect", "lock-session", "grace\"\ngrace = \"60s"][seed as usize % 3];
        let policy = policy(&format!("{POLICY}\n[card]\non_removal = \"{removal}\""));
        Self {
            rng: Rng::with_seed(seed),
            now,
            state: State::new(),
            weather,
            judge: Judge::new(policy.card.on_removal),
            policy,
            links: Vec::new(),
            card: None,
            asleep: false,
            running: None,
            host: None,
            prompt: None,
            later: Vec::new(),
            sequence: 0,
            tunnel_free: now,
            host_free: now,
            card_free: now,
            given: Vec::new(),
            told: 0,
        }
    }

    /// Tells the supervisor, lets the judge look, and lets the workers begin.
    pub(crate) fn tell(&mut self, event: Event) {
        self.told += 1;
        let (state, actions) = step(&self.policy, self.state.clone(), event.clone(), self.now);

        let (again, more) = step(&self.policy, state.clone(), Event::Tick, self.now);
        assert_eq!(more, [], "decided twice after {event:?}");
        assert_eq!(again, state, "changed its mind after {event:?}");
        if let Some(deadline) = state.deadline(&self.policy) {
            assert!(
                deadline.at > self.now,
                "{deadline:?} does not lie ahead of {:?} after {event:?}",
                self.now
            );
        }

        self.state = state;
        let sight = Sight {
            now: self.now,
            running: self.running,
            host: self.host.clone(),
            host_idle: self.host_free <= self.now,
        };
        self.judge.hear(&event, &sight);
        for action in &actions {
            self.judge.weigh(action, &sight);
        }
        self.judge.conclude(&event, &actions, &self.state, self.now);
        for action in actions {
            self.begin(action);
        }
    }

    /// Lets so much time pass, with all that happens in it.
    pub(crate) fn pass(&mut self, duration: Duration) {
        let until = self.now + duration;
        while self.coming().is_some_and(|at| at <= until) {
            self.next();
        }
        self.now = self.now.max(until);
    }

    fn coming(&self) -> Option<Time> {
        let later = self.later.iter().map(|(at, _, _)| *at).min();
        later
            .into_iter()
            .chain(
                self.state
                    .deadline(&self.policy)
                    .map(|deadline| deadline.at),
            )
            .min()
    }

    /// Does what comes next: a worker's turn, an answer, or a deadline. `false` if nothing is to come.
    pub(crate) fn next(&mut self) -> bool {
        let later = self
            .later
            .iter()
            .map(|(at, sequence, _)| (*at, *sequence))
            .min();
        let deadline = self
            .state
            .deadline(&self.policy)
            .map(|deadline| deadline.at);
        match (later, deadline) {
            (None, None) => return false,
            (Some((at, sequence)), deadline) if deadline.is_none_or(|deadline| at <= deadline) => {
                self.now = self.now.max(at);
                let index = self.later.iter().position(|(_, one, _)| *one == sequence);
                let (_, _, what) = self.later.remove(index.expect("it was found a moment ago"));
                self.happen(what);
            }
            (_, Some(deadline)) => {
                self.now = self.now.max(deadline);
                self.tell(Event::Tick);
            }
            (Some(_), None) => unreachable!("taken by the arm above"),
        }
        true
    }

    /// Lets everything run out. The sky clears: workers recover, the user answers each prompt as `answer` says.
    pub(crate) fn calm_down(&mut self, mut answer: impl FnMut(&mut Self, Op)) {
        self.weather = Weather::Fair;
        if self.asleep {
            self.wake();
        }
        for _ in 0..2_000 {
            if let Some(op) = self.prompt.take() {
                answer(self, op);
            } else if !self.next() {
                return;
            }
        }
        panic!("never comes to rest: {:#?}", self.state);
    }

    pub(crate) fn plug(&mut self, links: Vec<TrueLink>) {
        self.links = links;
        let links = self
            .links
            .iter()
            .map(|true_link| true_link.link.clone())
            .collect();
        self.tell(Event::LinksChanged(links));
    }

    pub(crate) fn insert(&mut self, serial: &'static str) {
        self.card = Some(TrueCard {
            tries_left: 3,
            verified: false,
        });
        self.tell(Event::CardInserted {
            serial: serial.to_owned(),
            tries_left: 3,
            verified: false,
        });
    }

    pub(crate) fn pull(&mut self) {
        self.card = None;
        self.tell(Event::CardRemoved);
    }

    pub(crate) fn reset_card(&mut self) {
        if let Some(card) = &mut self.card {
            card.verified = false;
            self.tell(Event::CardLocked);
        }
    }

    /// The user types the right PIN.
    pub(crate) fn type_pin(&mut self, source: PinSource) {
        self.prompt = None;
        self.tell(Event::PinOffered {
            source,
            last_try_consented: source == PinSource::User,
        });
    }

    pub(crate) fn sleep(&mut self) {
        self.asleep = true;
        self.tell(Event::Suspending);
    }

    /// Hours later. The card was without power, and nothing that ran has moved on.
    pub(crate) fn wake(&mut self) {
        self.asleep = false;
        let night = Duration::from_secs(self.rng.u64(1..40_000));
        self.now = self.now + night;
        for (at, _, _) in &mut self.later {
            *at = *at + night;
        }
        for free in [
            &mut self.tunnel_free,
            &mut self.host_free,
            &mut self.card_free,
        ] {
            *free = *free + night;
        }
        self.tell(Event::Resumed);
        self.reset_card();
    }

    /// The tunnel's device vanishes, or one of its threads ends.
    pub(crate) fn lose_tunnel(&mut self) {
        if let Some(op) = self.running.take() {
            self.tell(Event::TunnelLost {
                op,
                why: LossReason::Device,
            });
        }
    }

    fn begin(&mut self, action: Action) {
        match action {
            Action::Probe {
                op,
                links,
                deadline,
            } => {
                let at = match self.foul(10) {
                    true => deadline + Duration::from_secs(5),
                    false => self.now + self.delay(5, 700),
                };
                self.push(at, Later::Probed { op, links });
            }
            Action::CancelProbe { op } => {
                // The worker may have answered a moment before.
                if !self.foul(2) {
                    self.later.retain(|(_, _, later)| !matches!(later, Later::Probed { op: this, .. } if *this == op));
                }
            }
            Action::AskPin { op } => self.prompt = Some(op),
            Action::CancelPin { op } => self.prompt = self.prompt.filter(|prompt| *prompt != op),
            Action::VerifyPin { op, .. } => {
                let hang = if self.foul(10) {
                    Duration::from_secs(45)
                } else {
                    Duration::ZERO
                };
                let at = self.card_free.max(self.now) + self.delay(10, 1000) + hang;
                self.card_free = at;
                self.push(at, Later::Verify(op));
            }
            Action::DiscardPin | Action::LockSession => {}
            Action::LockCard => {
                if let Some(card) = &mut self.card {
                    card.verified = false;
                }
            }
            Action::ForgetKeys
            | Action::RefreshTunnel { .. }
            | Action::SetKeepalive { .. }
            | Action::CheckPortal { .. }
            | Action::CancelPortalCheck { .. } => {}
            Action::StartTunnel { op } => self.tunnel_work(Later::Start(op)),
            Action::StopTunnel { op } => self.tunnel_work(Later::Stop(op)),
            Action::ApplyHost { op, rules } => {
                let hang = if self.foul(20) {
                    Duration::from_secs(8)
                } else {
                    Duration::ZERO
                };
                let at = self.host_free.max(self.now) + self.delay(5, 120) + hang;
                self.host_free = at;
                self.push(at, Later::Apply(op, rules.mode));
            }
        }
    }

    fn tunnel_work(&mut self, work: Later) {
        let hang = if self.foul(20) {
            Duration::from_secs(15)
        } else {
            Duration::ZERO
        };
        let at = self.tunnel_free.max(self.now) + self.delay(1, 50) + hang;
        self.tunnel_free = at;
        self.push(at, work);
    }

    fn happen(&mut self, what: Later) {
        match what {
            Later::Event(event) => {
                self.tell(event.clone());
                self.given.push(event);
            }
            Later::Probed { op, links } => {
                let evidence = links.iter().map(|link| self.evidence(link)).collect();
                self.answer(Event::ProbeFinished { op, evidence });
            }
            Later::Verify(op) => self.verify(op),
            Later::Start(op) if self.foul(5) => self.answer(Event::TunnelStartFailed {
                op,
                why: LossReason::Device,
            }),
            Later::Start(op) => {
                assert_eq!(self.running, None, "started twice");
                assert!(
                    !matches!(self.host, Some(HostMode::Inside { .. })),
                    "started while the prefixes are open"
                );
                self.running = Some(op);
                self.answer(Event::TunnelStarted { op });
                let at = self.now + self.delay(60, 300);
                self.push(at, Later::Event(Event::SessionEstablished { op }));
            }
            Later::Stop(op) => {
                self.running = None;
                self.answer(Event::TunnelStopped { op });
            }
            Later::Apply(op, _) if self.foul(5) => self.answer(Event::HostFailed { op }),
            Later::Apply(op, mode) => {
                let open = matches!(mode, HostMode::Inside { .. });
                assert!(
                    !open || self.running.is_none(),
                    "opened while a tunnel runs"
                );
                self.host = Some(mode);
                self.answer(Event::HostApplied { op });
            }
        }
    }

    fn evidence(&mut self, link: &Link) -> Evidence {
        let inside = self
            .links
            .iter()
            .find(|one| one.link == *link)
            .map(|one| one.inside);
        let outcome = match inside {
            Some(true) if !self.foul(6) => Outcome::Proved,
            Some(_) => {
                [Outcome::NoAnswer, Outcome::WrongKey, Outcome::Refused][self.rng.usize(..3)]
            }
            None => Outcome::Unreachable,
        };
        Evidence {
            link: link.id.clone(),
            beacon: "city hall".to_owned(),
            address: BEACON,
            outcome,
            at: self.now,
        }
    }

    fn verify(&mut self, op: Op) {
        let mistyped = self.foul(4);
        let failed = self.foul(10);
        let check = match &mut self.card {
            None => PinCheck::Failed,
            Some(_) if failed => PinCheck::Failed,
            Some(TrueCard { tries_left: 0, .. }) => PinCheck::Blocked,
            Some(card) if mistyped => {
                card.tries_left -= 1;
                PinCheck::Wrong {
                    tries_left: card.tries_left,
                }
            }
            Some(card) => {
                (card.verified, card.tries_left) = (true, 3);
                PinCheck::Accepted
            }
        };
        self.answer(Event::PinChecked { op, check });
    }

    /// Answers travel for a moment, in which the world may change.
    fn answer(&mut self, event: Event) {
        let at = self.now + self.delay(0, 3);
        self.push(at, Later::Event(event));
    }

    fn push(&mut self, at: Time, later: Later) {
        self.sequence += 1;
        self.later.push((at, self.sequence, later));
    }

    fn delay(&mut self, least_ms: u64, most_ms: u64) -> Duration {
        Duration::from_micros(self.rng.u64(least_ms * 1000..=most_ms * 1000))
    }

    fn foul(&mut self, one_in: u32) -> bool {
        self.weather == Weather::Foul && self.rng.u32(..one_in) == 0
    }

    /// Whether something is under way that a user would call busy.
    pub(crate) fn busy(&self) -> bool {
        matches!(
            self.state.location,
            Location::Settling { .. } | Location::Probing { .. }
        ) || matches!(
            self.state.tunnel,
            Tunnel::Starting { .. } | Tunnel::Stopping { .. }
        ) || matches!(
            self.state.key,
            Key::Verifying { .. } | Key::AwaitingPin { .. }
        )
    }
}
