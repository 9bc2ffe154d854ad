//! Knows what may be asked for at all. It looks at events and actions only, and follows rules of its own: those of the
//! design, written down as what must never be, not as how to get there.

use std::collections::HashSet;
use std::time::Duration;

use sluss_policy::OnRemoval;
use sluss_supervisor::{
    Action, Event, Evidence, HostMode, Key, Link, LinkId, Location, Op, Outcome, PinCheck,
    PinSource, State, Time, Tunnel,
};

/// What can be seen of the world from outside at one moment.
pub(crate) struct Sight {
    pub(crate) now: Time,
    /// The tunnel that really runs.
    pub(crate) running: Option<Op>,
    pub(crate) host: Option<HostMode>,
    /// Nothing asked of the host is still to be done.
    pub(crate) host_idle: bool,
}

/// What the answers given so far prove about the place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Place {
    #[default]
    Unknown,
    /// One success, on these links.
    Once(Vec<LinkId>),
    Inside(Link),
    Outside,
}

/// Whether the verdict of being outside is still to be asked about. Each is so once, five seconds after it was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Again {
    #[default]
    No,
    At(Time),
    /// The second verdict is awaited.
    Asked,
}

/// What was last asked of the tunnel worker and is not over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Asked {
    #[default]
    Nothing,
    Start(Op),
    Stop(Op),
}

#[derive(Debug)]
pub(crate) struct Judge {
    pub(crate) place: Place,
    /// A usable card is in: does it answer without a PIN?
    pub(crate) unlocked: Option<bool>,
    pub(crate) stopped: bool,
    again: Again,
    /// How often the proof was lost since the links changed.
    lapses: u32,
    /// The gateway is to be told of a new place, or the card can make the handshake that waits for it.
    news: bool,
    usable: Vec<Link>,
    tunnel: Asked,
    host: Option<(Op, HostMode)>,
    probe: Option<(Op, Time)>,
    prompt: Option<Op>,
    check: Option<(Op, Time)>,
    /// What the policy says of a pulled card.
    on_removal: OnRemoval,
    /// Which card was in last, and how many tries it has left.
    card: (String, u8),
    /// A pulled card that may come back until then.
    pub(crate) away: Option<Time>,
    /// The tunnel that was last asked for has started.
    started: bool,
    /// Sleep was announced, and is over then at the latest.
    asleep: Option<Time>,
    /// The PIN that was offered last may be tried.
    pin_good: bool,
    /// How long its check may take.
    patience: Duration,
    lock_due: bool,
    /// A tunnel was started since keys were wiped last.
    secrets: bool,
    wipe_due: bool,
    used: HashSet<Op>,
}

impl Judge {
    pub(crate) fn new(on_removal: OnRemoval) -> Self {
        Self {
            place: Place::Unknown,
            unlocked: None,
            stopped: false,
            again: Again::No,
            lapses: 0,
            news: false,
            usable: Vec::new(),
            tunnel: Asked::Nothing,
            host: None,
            probe: None,
            prompt: None,
            check: None,
            on_removal,
            card: (String::new(), 0),
            away: None,
            started: false,
            asleep: None,
            pin_good: false,
            patience: Duration::ZERO,
            lock_due: false,
            secrets: false,
            wipe_due: false,
            used: HashSet::new(),
        }
    }

    pub(crate) fn hear(&mut self, event: &Event, sight: &Sight) {
        match event {
            Event::LinksChanged(links) => self.links_changed(links),
            Event::Suspending => {
                self.nothing_is_known();
                self.lapses = 0;
                self.asleep = Some(sight.now + Duration::from_secs(30));
            }
            Event::Resumed => {
                self.nothing_is_known();
                self.lapses = 0;
                self.asleep = None;
            }
            Event::ProbeFinished { op, evidence } => {
                if self.probe.is_some_and(|(probe, _)| probe == *op) {
                    self.probe = None;
                    self.probed(evidence, sight.now);
                }
            }

            Event::CardInserted {
                serial,
                tries_left,
                verified,
            } => {
                let swapped = self.unlocked.is_some() && self.card.0 != *serial;
                self.lock_due = swapped && self.on_removal == OnRemoval::LockSession;
                if self.away.take().is_some() && self.card.0 == *serial {
                    self.unlocked = Some(*verified);
                } else {
                    self.card_changed(Some(*verified));
                }
                self.news |= *verified;
                self.card = (serial.clone(), *tries_left);
            }
            Event::CardUnusable(_) => {
                self.away = None;
                self.card_changed(None);
            }
            Event::CardRemoved => self.card_removed(sight.now),
            Event::CardLocked => {
                if self.check.is_none() && self.unlocked.is_some() {
                    self.unlocked = Some(false);
                }
            }
            Event::SessionLocked => {
                self.wipe_due |= self.secrets && self.away.take().is_some();
            }
            Event::LockRequested => {
                self.wipe_due |= self.secrets && self.away.take().is_some();
                if self.unlocked.is_some() {
                    self.card_changed(Some(false));
                }
            }
            Event::PinChecked { op, check } => {
                if self.check.is_some_and(|(waited_for, _)| waited_for == *op) {
                    self.check = None;
                    self.unlocked = Some(*check == PinCheck::Accepted);
                    match check {
                        PinCheck::Wrong { tries_left } => self.card.1 = *tries_left,
                        PinCheck::Blocked => self.card.1 = 0,
                        PinCheck::Accepted
                        | PinCheck::Withheld
                        | PinCheck::Declined
                        | PinCheck::Failed => {}
                    }
                    self.news |= *check == PinCheck::Accepted;
                }
            }
            Event::PinDeclined { op } => self.prompt = self.prompt.filter(|prompt| prompt != op),
            Event::TriesCounted { tries_left } => {
                if self.unlocked.is_some() {
                    self.card.1 = *tries_left;
                }
            }
            Event::PinOffered { source, .. } => {
                let least = match source {
                    PinSource::User | PinSource::Pad => 1,
                    PinSource::Login => 3,
                };
                // These policies keep PINs until the screen is locked, and so a login renews one.
                let unlocked_by_login = self.unlocked == Some(true) && *source == PinSource::Login;
                let wanted = self.unlocked == Some(false) || unlocked_by_login;
                let wanted = wanted && self.check.is_none();
                self.patience = match source {
                    PinSource::User | PinSource::Login => Duration::from_secs(30),
                    PinSource::Pad => Duration::from_secs(90),
                };
                self.pin_good = wanted && self.card.1 >= least;
            }

            Event::TunnelStartFailed { op, .. } | Event::TunnelLost { op, .. } => {
                if self.tunnel == Asked::Start(*op) {
                    self.tunnel = Asked::Nothing;
                }
            }
            Event::TunnelStopped { op } => {
                if self.tunnel == Asked::Stop(*op) {
                    self.tunnel = Asked::Nothing;
                }
            }
            Event::TunnelStarted { op } => self.started |= self.tunnel == Asked::Start(*op),
            Event::SessionEstablished { .. }
            | Event::HandshakeUnanswered { .. }
            | Event::HostApplied { .. }
            | Event::HostFailed { .. } => {}

            Event::UserUp => self.stopped = false,
            Event::UserDown => self.stopped = true,
            Event::PortalChecked { .. } | Event::PortalRequested { .. } | Event::Tick => {}
        }
        if self.asleep.is_some_and(|until| until <= sight.now) {
            self.asleep = None;
        }
        // A probe without an answer proves nothing, and a card without one cannot be relied on.
        if self
            .probe
            .is_some_and(|(_, given_up)| given_up <= sight.now)
        {
            match self.place {
                Place::Inside(_) => self.lose_proof(),
                Place::Unknown | Place::Once(_) | Place::Outside => self.outside(sight.now),
            }
        }
        if self
            .check
            .is_some_and(|(_, given_up)| given_up <= sight.now)
        {
            self.check = None;
        }
        self.wait_for_card(sight.now);
    }

    /// Only the tunnel that is up is a reason to wait for a card that was pulled.
    fn card_removed(&mut self, now: Time) {
        if self.away.is_some() {
            return;
        }
        self.lock_due = self.unlocked.is_some() && self.on_removal == OnRemoval::LockSession;
        match self.on_removal {
            OnRemoval::Grace(grace) if self.unlocked.is_some() && self.secrets => {
                (self.unlocked, self.check) = (None, None);
                self.away = Some(now + grace);
            }
            OnRemoval::Grace(_) | OnRemoval::Disconnect | OnRemoval::LockSession => {
                self.card_changed(None);
            }
        }
    }

    fn wait_for_card(&mut self, now: Time) {
        let up = matches!(self.tunnel, Asked::Start(_)) && self.started;
        let inside = matches!(self.place, Place::Inside(_));
        let in_vain = !up || inside || self.stopped || self.asleep.is_some();
        if self.away.is_some_and(|until| until <= now || in_vain) {
            self.away = None;
            self.wipe_due = self.secrets;
        }
    }

    fn links_changed(&mut self, links: &[Link]) {
        let usable: Vec<Link> = links.iter().filter(|link| link.usable()).cloned().collect();
        let changed = usable != self.usable;
        self.usable = usable;
        if changed {
            self.lapses = 0;
        }
        let verified = match &self.place {
            Place::Inside(verified) => Some(verified),
            Place::Unknown | Place::Once(_) | Place::Outside => None,
        };
        // The proof stands while the link's gateways are the same and one of its addresses is.
        let stands = verified.is_some_and(|verified| {
            self.usable.iter().any(|link| {
                let kept = link
                    .addresses
                    .iter()
                    .any(|address| verified.addresses.contains(address));
                link.id == verified.id && link.gateways == verified.gateways && kept
            })
        });
        if changed && !stands {
            self.nothing_is_known();
        }
    }

    /// Nor will the probe that is under way tell.
    fn nothing_is_known(&mut self) {
        self.place = Place::Unknown;
        self.again = Again::No;
        if let Some((_, given_up)) = &mut self.probe {
            *given_up = Time::since_boot(Duration::MAX);
        }
    }

    fn lose_proof(&mut self) {
        self.nothing_is_known();
        self.lapses += 1;
    }

    /// A first verdict is asked about once more. A second one is no news.
    fn outside(&mut self, now: Time) {
        self.place = Place::Outside;
        self.again = match self.again {
            Again::Asked => Again::No,
            Again::No | Again::At(_) => {
                self.news = true;
                Again::At(now + Duration::from_secs(5) * 2_u32.pow(self.lapses.min(6)))
            }
        };
    }

    fn probed(&mut self, evidence: &[Evidence], now: Time) {
        let proved: Vec<LinkId> = evidence
            .iter()
            .filter(|evidence| evidence.outcome == Outcome::Proved)
            .map(|evidence| evidence.link.clone())
            .collect();
        let facts = |id: &LinkId| self.usable.iter().find(|link| link.id == *id).cloned();
        let inside = match &self.place {
            Place::Once(before) => proved.iter().find(|id| before.contains(id)).and_then(facts),
            Place::Inside(verified) => proved.iter().find(|id| **id == verified.id).and_then(facts),
            Place::Unknown | Place::Outside => None,
        };
        match (inside, &self.place) {
            (Some(link), _) => {
                self.place = Place::Inside(link);
                self.again = Again::No;
            }
            (None, Place::Once(_)) => self.outside(now),
            // Closed, and asked once more before it counts as outside.
            (None, Place::Inside(_)) if proved.is_empty() => self.lose_proof(),
            (None, _) if proved.is_empty() => self.outside(now),
            (None, _) => self.place = Place::Once(proved),
        }
    }

    fn card_changed(&mut self, unlocked: Option<bool>) {
        self.unlocked = unlocked;
        self.check = None;
        self.wipe_due = self.secrets;
    }

    /// Whether this may be asked for now.
    pub(crate) fn weigh(&mut self, action: &Action, sight: &Sight) {
        match action {
            Action::Probe {
                op,
                links,
                deadline,
            } => {
                self.fresh(*op);
                assert_eq!(self.probe, None, "probed while a probe is under way");
                assert_eq!(*links, self.usable, "probed other links than there are");
                self.probe = Some((*op, *deadline + Duration::from_millis(500)));
                if self.place == Place::Outside {
                    assert_eq!(
                        self.again,
                        Again::At(sight.now),
                        "a verdict is asked about once, and then"
                    );
                    self.again = Again::Asked;
                }
            }
            Action::CancelProbe { op } => {
                assert_eq!(
                    self.probe.map(|(probe, _)| probe),
                    Some(*op),
                    "cancelled what was not asked"
                );
                self.probe = None;
            }
            Action::AskPin { op } => {
                self.fresh(*op);
                assert_eq!(self.prompt, None, "prompted twice");
                assert_eq!(self.unlocked, Some(false), "prompted without need");
                assert!(self.surely_outside(), "prompted where no tunnel is wanted");
                assert!(!self.stopped, "prompted although the user said down");
                self.prompt = Some(*op);
            }
            Action::CancelPin { op } => {
                assert_eq!(self.prompt, Some(*op), "closed what was not open");
                self.prompt = None;
            }
            Action::VerifyPin { op, .. } => {
                self.fresh(*op);
                assert!(self.pin_good, "a PIN tried that should not be: {self:?}");
                self.check = Some((*op, sight.now + self.patience));
                self.unlocked = Some(false);
            }
            Action::DiscardPin
            | Action::LockCard
            | Action::SetKeepalive { .. }
            | Action::CheckPortal { .. }
            | Action::CancelPortalCheck { .. } => {}
            Action::LockSession => {
                assert!(self.lock_due, "locked the session without cause");
                self.lock_due = false;
            }
            Action::ForgetKeys => {
                assert!(self.wipe_due, "wiped keys that may stay");
                (self.secrets, self.wipe_due) = (false, false);
            }
            Action::StartTunnel { op } => {
                self.fresh(*op);
                assert_eq!(self.unlocked, Some(true), "started without an unlocked key");
                assert!(
                    self.surely_outside(),
                    "started without a verdict of being outside"
                );
                assert!(!self.stopped, "started although the user said down");
                assert_eq!(
                    self.tunnel,
                    Asked::Nothing,
                    "started while another one is there"
                );
                assert_eq!(sight.running, None, "started while another one runs");
                assert_eq!(
                    sight.host,
                    Some(HostMode::Closed),
                    "started before the host was closed"
                );
                assert!(sight.host_idle, "started while the host changes");
                (self.tunnel, self.started) = (Asked::Start(*op), false);
                self.secrets = true;
                self.news = false;
            }
            Action::StopTunnel { op } => {
                self.fresh(*op);
                assert_ne!(self.tunnel, Asked::Nothing, "stopped what was not there");
                self.tunnel = Asked::Stop(*op);
            }
            Action::RefreshTunnel { .. } => {
                assert!(
                    matches!(self.tunnel, Asked::Start(_)),
                    "refreshed what is not there"
                );
                assert!(self.surely_outside(), "refreshed before the verdict");
                assert!(self.news, "refreshed without any news");
                self.news = false;
            }
            Action::ApplyHost { op, rules } => {
                self.fresh(*op);
                self.host = Some((*op, rules.mode.clone()));
            }
        }
    }

    /// Whether the verdict is there, and nobody is just asking whether it stands.
    fn surely_outside(&self) -> bool {
        self.place == Place::Outside && self.again != Again::Asked
    }

    /// What must hold whenever the supervisor has spoken, whatever came before.
    pub(crate) fn conclude(&self, event: &Event, actions: &[Action], state: &State, now: Time) {
        if let Again::At(at) = self.again {
            assert!(at > now, "not asked again after {event:?}");
        }
        let up = matches!(self.tunnel, Asked::Start(_));
        assert!(
            !up || self.unlocked.is_some() || self.away.is_some(),
            "up without a card after {event:?}"
        );
        assert!(
            up || self.away.is_none(),
            "not waited for the card after {event:?}"
        );
        assert!(!up || self.secrets, "up with keys wiped after {event:?}");
        assert!(
            !up || !self.stopped,
            "up although the user said down, after {event:?}"
        );
        assert!(!self.wipe_due, "keys not wiped after {event:?}");

        let (_, mode) = self
            .host
            .as_ref()
            .expect("the first thing is to close the host");
        let proof = match &self.place {
            Place::Inside(link) => Some(link),
            Place::Unknown | Place::Once(_) | Place::Outside => None,
        };
        match mode {
            HostMode::Inside { link } => {
                assert_eq!(Some(link), proof, "open without proof after {event:?}");
                assert_eq!(
                    self.tunnel,
                    Asked::Nothing,
                    "open beside a tunnel after {event:?}"
                );
            }
            HostMode::Tunnelled => assert!(up, "tunnelled without a tunnel after {event:?}"),
            HostMode::Closed => {
                assert!(
                    proof.is_none() || self.tunnel != Asked::Nothing,
                    "closed inside after {event:?}"
                );
            }
        }

        let about_pin = actions
            .iter()
            .filter(|action| matches!(action, Action::VerifyPin { .. } | Action::DiscardPin));
        assert_eq!(
            about_pin.count(),
            usize::from(matches!(event, Event::PinOffered { .. })),
            "a PIN left lying about"
        );

        let offered = matches!(event, Event::PinOffered { .. });
        assert!(
            !(offered && self.pin_good && actions.contains(&Action::DiscardPin)),
            "a good PIN thrown away"
        );
        assert!(!self.lock_due, "the session not locked after {event:?}");

        self.compare(event, state);
    }

    /// What `sluss status` would say is what is.
    fn compare(&self, event: &Event, state: &State) {
        assert_eq!(
            state.key.card().is_some(),
            self.unlocked.is_some(),
            "card misreported after {event:?}"
        );
        assert_eq!(
            matches!(state.key, Key::Away { .. }),
            self.away.is_some(),
            "the wait for the card misreported after {event:?}"
        );
        match &self.place {
            Place::Inside(link) => {
                let verified = state.location.verified().map(|verified| &verified.link);
                assert_eq!(verified, Some(link), "place misreported after {event:?}");
                if matches!(state.location, Location::Inside(_)) {
                    assert!(
                        !matches!(self.tunnel, Asked::Start(_)),
                        "up while inside after {event:?}"
                    );
                }
            }
            Place::Outside => {
                assert_eq!(
                    matches!(state.location, Location::Outside { .. }),
                    self.surely_outside(),
                    "outside misreported after {event:?}: {state:?}"
                );
                assert!(
                    state.location.outside_since().is_some(),
                    "not outside after {event:?}: {state:?}"
                );
            }
            Place::Unknown | Place::Once(_) => {
                assert!(
                    state.location.verified().is_none(),
                    "inside without proof after {event:?}"
                );
                assert!(
                    !matches!(state.location, Location::Outside { .. }),
                    "a verdict without a probe: {event:?}"
                );
            }
        }
        let up = matches!(state.tunnel, Tunnel::Starting { .. } | Tunnel::Up { .. });
        assert_eq!(
            up,
            matches!(self.tunnel, Asked::Start(_)),
            "tunnel misreported after {event:?}"
        );
    }

    /// At rest, what is must be what is wanted.
    pub(crate) fn rest(&self, sight: &Sight) {
        let wanted = self.unlocked == Some(true) && self.place == Place::Outside && !self.stopped;
        // Offline, or with a card that wants its PIN again, a tunnel may be left as it is.
        let bearable =
            self.unlocked.is_some() && !matches!(self.place, Place::Inside(_)) && !self.stopped;
        let runs = sight.running.is_some();
        assert!(
            runs || !wanted,
            "at rest without the tunnel that is wanted: {self:?}"
        );
        assert!(
            !runs || bearable,
            "at rest with a tunnel that nobody wants: {self:?}"
        );
        let mode = match (&self.place, runs) {
            (_, true) => HostMode::Tunnelled,
            (Place::Inside(link), false) => HostMode::Inside { link: link.clone() },
            (Place::Unknown | Place::Once(_) | Place::Outside, false) => HostMode::Closed,
        };
        assert_eq!(
            sight.host,
            Some(mode),
            "at rest with the wrong routes: {self:?}"
        );
        assert_eq!(self.probe, None, "at rest with a probe under way");
        assert_eq!(self.again, Again::No, "at rest before it is asked again");
        assert!(
            !matches!(self.place, Place::Once(_)),
            "at rest before the verdict"
        );
    }

    fn fresh(&mut self, op: Op) {
        assert!(self.used.insert(op), "{op:?} was used before");
    }
}
