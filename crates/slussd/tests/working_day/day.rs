//! What happens when, and the loop that lets it happen.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use sluss_card::KeyMode;
use sluss_ipc::{Pin, PromptId, Request};
use sluss_policy::{Policy, Source};
use sluss_supervisor::{self as sup, Evidence, Link, LinkId, Outcome};
use slussd::engine::{CallId, Effect, Engine, Input};
use zeroize::Zeroizing;

use crate::card::Card;
use crate::tunnel::{End, carry};

const POLICY: &str = r#"
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

/// From the prompt to its answer, and from waking to the unlocked screen.
const TYPING: Duration = Duration::from_secs(15);
const UNLOCKING: Duration = Duration::from_secs(4);
/// Mail, a group drive, a chat: there is always something to send.
const TRAFFIC: Duration = Duration::from_secs(5);

#[derive(Clone, Copy)]
enum Happens {
    Boots,
    Wakes(Place),
    /// With the PIN: whether it is handed over is policy's to say.
    UnlocksScreen,
    LocksScreen,
    Sleeps,
    /// Selects the card's application once more, and uses the key for signing.
    Gpg,
    /// Selects another application, and logs in to a web page.
    Browser,
    /// Resets the card when it ends.
    PivTool,
    PullsCard,
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Home,
    Office,
}

/// The day by the clock: hour, minute.
const DAY: [(u64, u64, Happens); 27] = [
    (8, 0, Happens::Boots),
    (8, 20, Happens::Gpg),
    (8, 55, Happens::Browser),
    (9, 30, Happens::Gpg),
    (10, 0, Happens::LocksScreen),
    (10, 15, Happens::UnlocksScreen),
    (10, 20, Happens::PivTool),
    (10, 50, Happens::Browser),
    (11, 30, Happens::Gpg),
    // lunch
    (12, 0, Happens::Sleeps),
    (12, 45, Happens::Wakes(Place::Home)),
    (12, 50, Happens::Browser),
    (13, 10, Happens::Gpg),
    // to the office
    (13, 15, Happens::Sleeps),
    (13, 40, Happens::Wakes(Place::Office)),
    (13, 45, Happens::Browser),
    (14, 0, Happens::Gpg),
    (14, 10, Happens::PivTool),
    (14, 20, Happens::Browser),
    // and home
    (14, 30, Happens::Sleeps),
    (14, 55, Happens::Wakes(Place::Home)),
    (15, 5, Happens::Gpg),
    (15, 20, Happens::Browser),
    (15, 35, Happens::PivTool),
    (15, 45, Happens::Gpg),
    (15, 50, Happens::Browser),
    (16, 0, Happens::PullsCard),
];

/// What came of the day.
pub(crate) struct Figures {
    /// PINs typed for the tunnel alone.
    pub(crate) typed: u32,
    /// What the card computed for us.
    pub(crate) operations: u32,
    /// How often we took the card's verified state from everybody.
    pub(crate) closed: u32,
    /// Packets that were sent at home and never arrived.
    pub(crate) lost: u32,
}

pub(crate) struct Day {
    engine: Engine,
    card: Card,
    gateway: End,
    tunnel: Option<(sup::Op, End)>,
    now: Duration,
    agenda: VecDeque<(Duration, Happens)>,
    place: Place,
    awake: bool,
    /// Nobody answers a prompt behind it, or works.
    screen_locked: bool,
    prompt: Option<PromptId>,
    /// When the user will have typed the PIN, or a program sends something.
    typed_at: Duration,
    traffic: Duration,
    calls: u64,
    typed: u32,
    sent: u32,
}

impl Day {
    pub(crate) fn new(mode: KeyMode, pin: &str, after_use: &str, hand_over: bool) -> Self {
        let modes = match mode {
            KeyMode::Held => "held",
            KeyMode::Sealed => "sealed",
        };
        let text = format!(
            "{POLICY}\n[card]\nmodes = [\"{modes}\"]\npin = \"{pin}\"\nafter_use = \"{after_use}\"\n\
             [login]\nhand_over = {hand_over}"
        );
        let file = "policy.toml";
        let policy = Policy::parse(&[Source { file, text: &text }]).expect("it is right");
        let mut agenda = Vec::new();
        for (hour, minute, what) in DAY {
            let at = Duration::from_secs(hour * 3600 + minute * 60);
            agenda.push((at, what));
            if let Happens::Boots | Happens::Wakes(_) = what {
                agenda.push((at + UNLOCKING, Happens::UnlocksScreen));
            }
        }
        agenda.sort_by_key(|(at, _)| *at);
        Self {
            card: Card::new(mode, policy.card.clone()),
            engine: Engine::new(policy, vec![file.to_owned()]),
            gateway: End::gateway(),
            tunnel: None,
            now: Duration::ZERO,
            agenda: agenda.into(),
            place: Place::Home,
            awake: false,
            screen_locked: true,
            prompt: None,
            typed_at: Duration::MAX,
            traffic: Duration::MAX,
            calls: 0,
            typed: 0,
            sent: 0,
        }
    }

    pub(crate) fn live(mut self) -> Figures {
        while self.next() {}
        Figures {
            typed: self.typed,
            operations: self.card.operations,
            closed: self.card.closed,
            lost: self.sent - self.gateway.heard,
        }
    }

    /// Lets the next thing happen; `false` when the day is over.
    fn next(&mut self) -> bool {
        let Some((at, _)) = self.agenda.front() else {
            return false;
        };
        let engine = self.engine.deadline();
        let tunnel = self.tunnel.as_ref().and_then(|(_, end)| end.deadline());
        let there = self.awake && !self.screen_locked;
        let prompt = self.prompt.map(|_| self.typed_at).filter(|_| there);
        let mut coming = vec![*at];
        coming.extend(self.gateway.deadline());
        if self.awake {
            coming.extend(engine.map(|deadline| deadline.at.as_duration()));
            coming.extend([tunnel, prompt, Some(self.traffic)].into_iter().flatten());
        }
        let soonest = coming.into_iter().min().unwrap_or(*at);
        self.now = self.now.max(soonest);
        let due = |at: Option<Duration>| at.is_some_and(|at| at <= soonest);

        if due(self.gateway.deadline()) {
            self.gateway.tick(self.now);
        } else if *at <= soonest {
            let (_, what) = self.agenda.pop_front().expect("it was there a moment ago");
            self.happen(what);
        } else if due(engine.map(|deadline| deadline.at.as_duration())) {
            self.tell(Input::Tick);
        } else if due(prompt) {
            self.type_pin();
        } else if let Some((_, end)) = &mut self.tunnel {
            if due(tunnel) {
                end.tick(self.now);
            } else {
                self.traffic = self.now + TRAFFIC;
                // In the office it goes another way, once that is known.
                if self.place == Place::Home && there {
                    self.sent += 1;
                    end.send(self.now);
                }
            }
            self.carry();
        } else {
            self.traffic = Duration::MAX;
        }
        true
    }

    fn happen(&mut self, what: Happens) {
        match what {
            Happens::Boots => {
                self.awake = true;
                self.tell(Input::Card(sluss_card::Event::ServiceFound));
                let inserted = self.card.inserted();
                self.tell(Input::Card(inserted));
                self.arrive(Place::Home);
            }
            Happens::Wakes(place) => {
                self.awake = true;
                self.arrive(place);
                self.tell(Input::Resumed);
            }
            Happens::UnlocksScreen => {
                self.screen_locked = false;
                self.typed_at = self.now + TYPING;
                let pin = pin();
                self.call(Request::HandOver { pin, uid: 1000 });
            }
            Happens::LocksScreen => {
                self.screen_locked = true;
                self.tell(Input::SessionLocked);
            }
            Happens::Sleeps => {
                self.happen(Happens::LocksScreen);
                self.tell(Input::Suspending);
                self.awake = false;
                self.card.disturb();
            }
            Happens::Gpg | Happens::Browser | Happens::PivTool => self.card.disturb(),
            Happens::PullsCard => {
                let reader = crate::card::READER.to_owned();
                self.tell(Input::Card(sluss_card::Event::Removed { reader }));
            }
        }
    }

    fn arrive(&mut self, place: Place) {
        self.place = place;
        let (address, gateway) = match place {
            Place::Home => ("192.168.1.20/24", [192, 168, 1, 1]),
            Place::Office => ("10.20.5.7/24", [10, 20, 5, 1]),
        };
        let link = Link {
            id: LinkId {
                index: 2,
                name: "wlan0".to_owned(),
            },
            carrier: true,
            addresses: vec![address.parse().expect("a prefix")],
            gateways: vec![IpAddr::from(gateway)],
            medium: sup::Medium::Wired,
            metered: false,
            neighbours: Vec::new(),
        };
        self.tell(Input::LinksChanged(vec![link]));
    }

    fn type_pin(&mut self) {
        self.prompt = None;
        self.typed += 1;
        let pin = Some(pin());
        let last_try = false;
        self.call(Request::Unlock { pin, last_try });
    }

    fn call(&mut self, request: Request) {
        self.calls += 1;
        let call = CallId(self.calls);
        self.tell(Input::Called { call, request });
    }

    /// Gives the engine its turn, and carries out what it says until there is no more.
    fn tell(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for effect in self.engine.handle(input, sup::Time::since_boot(self.now)) {
                inputs.extend(self.carry_out(effect));
            }
        }
        self.carry();
    }

    fn carry_out(&mut self, effect: Effect) -> Vec<Input> {
        match effect {
            Effect::Probe { op, links, .. } => {
                let evidence = links.iter().map(|link| self.evidence(link)).collect();
                vec![Input::ProbeFinished { op, evidence }]
            }
            Effect::Card { op, command, .. } => {
                let events = self.card.answer(op, command);
                events.into_iter().map(Input::Card).collect()
            }
            Effect::StartTunnel { op } => {
                self.tunnel = Some((op, End::laptop(self.now)));
                self.traffic = self.now;
                vec![Input::TunnelStarted { op }]
            }
            Effect::StopTunnel { op } => {
                self.tunnel = None;
                vec![Input::TunnelStopped { op }]
            }
            Effect::DiscardTunnel { .. } => panic!("no tunnel fails today"),
            Effect::Tunnel(order) => {
                if let Some((_, end)) = &mut self.tunnel {
                    end.obey(order, self.now);
                }
                Vec::new()
            }
            Effect::ApplyHost { op, .. } => vec![Input::HostApplied { op }],
            Effect::Prompt(prompt) => {
                self.prompt = Some(prompt.id);
                self.typed_at = self.now + TYPING;
                Vec::new()
            }
            Effect::WithdrawPrompt { id } => {
                self.prompt = self.prompt.filter(|open| *open != id);
                Vec::new()
            }
            Effect::CancelProbe { .. }
            | Effect::CheckPortal { .. }
            | Effect::CancelPortalCheck { .. }
            | Effect::Resolve { .. }
            | Effect::ResizeTunnel { .. }
            | Effect::LockSession
            | Effect::Answer { .. }
            | Effect::Status { .. }
            | Effect::Why { .. }
            | Effect::Monitor { .. }
            | Effect::Observe { .. }
            | Effect::Diagnosis { .. }
            | Effect::Agent { .. }
            | Effect::ReadyToSleep
            | Effect::Reachable(_)
            | Effect::Survey { .. }
            | Effect::Enroll { .. } => Vec::new(),
        }
    }

    fn evidence(&self, link: &Link) -> Evidence {
        Evidence {
            link: link.id.clone(),
            beacon: "city hall".to_owned(),
            address: ([10, 20, 0, 53], 8443).into(),
            outcome: match self.place {
                Place::Home => Outcome::Unreachable,
                Place::Office => Outcome::Proved,
            },
            at: sup::Time::since_boot(self.now),
        }
    }

    /// Lets the two ends talk, and the engine hear what the laptop's has to say.
    fn carry(&mut self) {
        let Some((op, end)) = &mut self.tunnel else {
            return;
        };
        if self.awake {
            carry(end, &mut self.gateway, self.now);
        }
        let (op, told) = (*op, end.told());
        for event in told {
            self.tell(Input::Tunnel { op, event });
        }
    }
}

fn pin() -> Pin {
    Pin::new(Zeroizing::new(b"271828".to_vec())).expect("it is one")
}
