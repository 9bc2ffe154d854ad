//! A laptop for stories.

use std::time::Duration;

use sluss_policy::Policy;
use sluss_supervisor::{
    Action, DeadlineReason, Event, Evidence, Host, HostMode, Link, Location, LossReason, Outcome,
    PinCheck, PinSource, State, Time, Tunnel, step,
};

use crate::world::{POLICY, TrueLink, link, policy};

/// A laptop whose workers answer when the story says so.
pub(crate) struct Laptop {
    pub(crate) policy: Policy,
    pub(crate) state: State,
    pub(crate) now: Time,
}

impl Laptop {
    pub(crate) fn new() -> Self {
        let now = Time::since_boot(Duration::from_secs(60));
        let mut laptop = Self {
            policy: policy(POLICY),
            state: State::new(),
            now,
        };
        laptop.tell(Event::LinksChanged(Vec::new()));
        laptop.host();
        laptop
    }

    /// With these lines more in the section `[card]` of the policy.
    pub(crate) fn ruled_by(mut self, card: &str) -> Self {
        self.policy = policy(&format!("{POLICY}\n[card]\n{card}"));
        self
    }

    /// At home for a while.
    pub(crate) fn outside() -> Self {
        let mut laptop = Self::new();
        laptop.plug(&[home()]);
        laptop.pass_settling();
        laptop.probe(&[]);
        laptop.pass_doubt();
        laptop.probe(&[]);
        laptop
    }

    pub(crate) fn connected_at_home() -> Self {
        let mut laptop = Self::outside();
        laptop.insert("A");
        laptop.unlock();
        laptop.tunnel_starts();
        laptop.host();
        laptop
    }

    pub(crate) fn in_the_office() -> Self {
        let mut laptop = Self::new();
        laptop.plug(&[office()]);
        laptop.pass_settling();
        laptop.probe(&[1]);
        laptop.probe(&[1]);
        laptop.host();
        laptop
    }

    pub(crate) fn tell(&mut self, event: Event) -> Vec<Action> {
        let (state, actions) = step(&self.policy, self.state.clone(), event, self.now);
        self.state = state;
        actions
    }

    pub(crate) fn plug(&mut self, links: &[TrueLink]) -> Vec<Action> {
        self.tell(Event::LinksChanged(
            links.iter().map(|one| one.link.clone()).collect(),
        ))
    }

    pub(crate) fn insert(&mut self, serial: &str) -> Vec<Action> {
        self.tell(Event::CardInserted {
            serial: serial.to_owned(),
            tries_left: 3,
            verified: false,
        })
    }

    pub(crate) fn offer_pin(&mut self) -> Vec<Action> {
        self.offer_pin_from(PinSource::User)
    }

    pub(crate) fn offer_pin_from(&mut self, source: PinSource) -> Vec<Action> {
        self.tell(Event::PinOffered {
            source,
            last_try_consented: false,
        })
    }

    /// The right PIN.
    pub(crate) fn unlock(&mut self) -> Vec<Action> {
        let offered = self.offer_pin();
        let Some(Action::VerifyPin { op, .. }) = offered.first() else {
            panic!("{offered:?}")
        };
        self.tell(Event::PinChecked {
            op: *op,
            check: PinCheck::Accepted,
        })
    }

    /// The beacon proves itself on the links with these indices, and nowhere else.
    pub(crate) fn probe(&mut self, proved: &[u32]) -> Vec<Action> {
        let Location::Probing { op, .. } = self.state.location else {
            panic!("{:?}", self.state.location)
        };
        let outcome = |link: &Link| match proved.contains(&link.id.index) {
            true => Outcome::Proved,
            false => Outcome::NoAnswer,
        };
        let evidence = |link: &Link| Evidence {
            link: link.id.clone(),
            beacon: "city hall".to_owned(),
            address: crate::world::BEACON,
            outcome: outcome(link),
            at: self.now,
        };
        let evidence = self.state.links.iter().map(evidence).collect();
        self.tell(Event::ProbeFinished { op, evidence })
    }

    pub(crate) fn tunnel_starts(&mut self) -> Vec<Action> {
        let Tunnel::Starting { op, .. } = self.state.tunnel else {
            panic!("{:?}", self.state.tunnel)
        };
        self.tell(Event::TunnelStarted { op })
    }

    pub(crate) fn tunnel_fails(&mut self) -> Vec<Action> {
        let Tunnel::Starting { op, .. } = self.state.tunnel else {
            panic!("{:?}", self.state.tunnel)
        };
        self.tell(Event::TunnelStartFailed {
            op,
            why: LossReason::Socket,
        })
    }

    pub(crate) fn tunnel_stops(&mut self) -> Vec<Action> {
        let Tunnel::Stopping { op, .. } = self.state.tunnel else {
            panic!("{:?}", self.state.tunnel)
        };
        self.tell(Event::TunnelStopped { op })
    }

    /// The host does as it was told; says what that was.
    pub(crate) fn host(&mut self) -> HostMode {
        let Host::Applying { op, .. } = self.state.host else {
            panic!("{:?}", self.state.host)
        };
        self.tell(Event::HostApplied { op });
        let Host::Applied(rules) = &self.state.host else {
            panic!("{:?}", self.state.host)
        };
        rules.mode.clone()
    }

    pub(crate) fn deadline(&self, reason: DeadlineReason) -> Time {
        let deadline = self
            .state
            .deadline(&self.policy)
            .expect("something is waited for");
        assert_eq!(deadline.reason, reason);
        deadline.at
    }

    pub(crate) fn pass(&mut self, duration: Duration) {
        self.now = self.now + duration;
    }

    pub(crate) fn pass_deadline(&mut self, reason: DeadlineReason) -> Vec<Action> {
        self.now = self.deadline(reason);
        self.tell(Event::Tick)
    }

    pub(crate) fn pass_settling(&mut self) {
        let settled = self.pass_deadline(DeadlineReason::NetworkSettled);
        assert!(matches!(settled[..], [Action::Probe { .. }]), "{settled:?}");
    }

    /// The beacons are asked whether the laptop is really outside, and nothing else changes.
    pub(crate) fn pass_doubt(&mut self) {
        let State {
            key, tunnel, host, ..
        } = self.state.clone();
        let asked = self.pass_deadline(DeadlineReason::ProbeAgain);
        assert!(matches!(asked[..], [Action::Probe { .. }]), "{asked:?}");
        assert_eq!(
            (&key, &tunnel, &host),
            (&self.state.key, &self.state.tunnel, &self.state.host)
        );
    }
}

pub(crate) fn home() -> TrueLink {
    link(2, 1, 7, false)
}

pub(crate) fn office() -> TrueLink {
    link(1, 5, 7, true)
}

pub(crate) fn guest() -> TrueLink {
    link(2, 7, 7, false)
}
