//! Asks for the difference between what is wanted and what is.
//!
//! What makes the laptop safer comes first in the list of actions. A tunnel starts only once the host is closed, and
//! internal prefixes open inside only once the tunnel is down, so that they are never open at the wrong place.

use std::time::Duration;

use sluss_policy::Policy;

use crate::{
    Action, Confirmation, Deadline, DeadlineReason, Host, HostMode, HostRules, Intent, Key,
    Location, LossReason, OutsideReason, Retry, State, Time, Tunnel,
};

/// What the probe worker has beyond its own deadline before it is given up.
const PROBE_GRACE: Duration = Duration::from_millis(500);
/// From a verdict for want of proof to the question that may correct it. A switch port that has just come up can
/// swallow the first ARP request, and Linux sends the next one a second later, when the probe is over.
pub(crate) const PROBE_AGAIN: Duration = Duration::from_secs(5);
const TUNNEL_START: Duration = Duration::from_secs(10);
const TUNNEL_STOP: Duration = Duration::from_secs(5);
const HOST_APPLY: Duration = Duration::from_secs(5);
pub(crate) const HOST_RETRY: Duration = Duration::from_secs(1);
/// The slowest card takes a second; another program may hold it for ten.
pub(crate) const PIN_CHECK: Duration = Duration::from_secs(30);
/// A user who types on the reader's keys takes longer than a card.
pub(crate) const PAD_CHECK: Duration = Duration::from_secs(90);
/// From the announcement to sleep, or to the insight that it was called off.
pub(crate) const SLEEP: Duration = Duration::from_secs(30);

impl State {
    /// When to step with [`crate::Event::Tick`] at the latest, and why. After a step it lies ahead.
    pub fn deadline(&self) -> Option<Deadline> {
        let location = match &self.location {
            Location::Asleep { until } => Some((*until, DeadlineReason::SleepOverdue)),
            Location::Settling { quiet_at, .. } => {
                Some((*quiet_at, DeadlineReason::NetworkSettled))
            }
            Location::Probing { deadline, .. } => {
                Some((*deadline + PROBE_GRACE, DeadlineReason::ProbeOverdue))
            }
            Location::Outside { again_at, .. } => {
                again_at.map(|again_at| (again_at, DeadlineReason::ProbeAgain))
            }
            Location::Offline | Location::Inside(_) => None,
        };
        let key = match &self.key {
            Key::Verifying { deadline, .. } => Some((*deadline, DeadlineReason::PinCheckOverdue)),
            Key::Away { until, .. } => Some((*until, DeadlineReason::GraceOver)),
            Key::Absent
            | Key::Unusable(_)
            | Key::Locked(_)
            | Key::AwaitingPin { .. }
            | Key::Declined { .. }
            | Key::Withdrawn(_)
            | Key::Unlocked(_)
            | Key::Blocked(_) => None,
        };
        let tunnel = match &self.tunnel {
            Tunnel::Starting { deadline, .. } => {
                Some((*deadline, DeadlineReason::TunnelStartOverdue))
            }
            Tunnel::Stopping { deadline, .. } => {
                Some((*deadline, DeadlineReason::TunnelStopOverdue))
            }
            // An unwanted tunnel need not wake anybody.
            Tunnel::Down { retry: Some(retry) } if self.wants_tunnel() => {
                Some((retry.at, DeadlineReason::TunnelRetry))
            }
            Tunnel::Down { .. } | Tunnel::Up { .. } => None,
        };
        let host = match &self.host {
            Host::Applying { deadline, .. } => Some((*deadline, DeadlineReason::HostOverdue)),
            Host::Failed { retry_at, .. } => Some((*retry_at, DeadlineReason::HostRetry)),
            Host::Unknown | Host::Applied(_) => None,
        };
        [location, key, tunnel, host]
            .into_iter()
            .flatten()
            .map(|(at, reason)| Deadline { at, reason })
            .min()
    }

    pub(crate) fn decide(&mut self, policy: &Policy, now: Time, actions: &mut Vec<Action>) {
        self.decide_location(policy, now);
        self.decide_grace(now);
        self.decide_secrets(actions);
        self.decide_tunnel(policy, now, actions);
        self.decide_host(now, actions);
        self.decide_probe(actions);
        self.decide_pin(now, actions);
    }

    fn decide_location(&mut self, policy: &Policy, now: Time) {
        match &self.location {
            Location::Asleep { until } if *until <= now => self.settle(policy, None, now),
            Location::Settling { quiet_at, held, .. } if *quiet_at <= now => {
                let confirmation = held.clone().map_or(Confirmation::First, Confirmation::Held);
                self.probe(policy, confirmation, now);
            }
            // No proof of being inside means outside.
            Location::Probing { deadline, .. } if *deadline + PROBE_GRACE <= now => {
                self.arrive_outside(OutsideReason::ProbeOverdue, now);
            }
            Location::Outside {
                again_at: Some(again_at),
                ..
            } if *again_at <= now => self.probe(policy, Confirmation::First, now),
            Location::Offline
            | Location::Asleep { .. }
            | Location::Settling { .. }
            | Location::Probing { .. }
            | Location::Inside(_)
            | Location::Outside { .. } => {}
        }
    }

    /// Wants the beacons asked, if there are any. Until they have answered, who is outside stays so.
    pub(crate) fn probe(&mut self, policy: &Policy, confirmation: Confirmation, now: Time) {
        if policy.beacons.is_empty() {
            self.evidence.clear();
            self.arrive_outside(OutsideReason::NoBeacon, now);
        } else {
            let deadline = now + policy.timing.probe_timeout;
            self.location = Location::Probing {
                op: self.op(),
                deadline,
                confirmation,
                outside_since: self.location.outside_since(),
            };
        }
    }

    /// A card that is away is waited for only for the sake of a tunnel that may live on.
    fn decide_grace(&mut self, now: Time) {
        if let Key::Away { until, .. } = &self.key {
            let up = matches!(self.tunnel, Tunnel::Up { .. });
            let asleep = matches!(self.location, Location::Asleep { .. });
            if *until <= now || !up || asleep || !self.bears_tunnel() {
                self.key = Key::Absent;
            }
        }
    }

    fn decide_secrets(&mut self, actions: &mut Vec<Action>) {
        let entitled = match &self.key {
            Key::Absent | Key::Unusable(_) | Key::Withdrawn(_) => None,
            Key::Away { card, .. }
            | Key::Locked(card)
            | Key::AwaitingPin { card, .. }
            | Key::Declined { card, .. }
            | Key::Verifying { card, .. }
            | Key::Unlocked(card)
            | Key::Blocked(card) => Some(card.insertion),
        };
        if self.secrets.is_some() && self.secrets != entitled {
            self.secrets = None;
            actions.push(Action::ForgetKeys);
        }
    }

    fn decide_tunnel(&mut self, policy: &Policy, now: Time, actions: &mut Vec<Action>) {
        let bearable = self.bears_tunnel();
        match &mut self.tunnel {
            Tunnel::Down { retry } => {
                *retry = retry.filter(|retry| retry.at > now);
                if retry.is_none() {
                    self.start_tunnel(now, actions);
                }
            }
            Tunnel::Starting { .. } | Tunnel::Up { .. } if !bearable => {
                self.stop_tunnel(None, now, actions)
            }
            Tunnel::Starting { deadline, .. } if *deadline <= now => {
                let retry = self.retry(policy, LossReason::Overdue, now);
                self.stop_tunnel(Some(retry), now, actions);
            }
            Tunnel::Stopping {
                deadline, retry, ..
            } if *deadline <= now => {
                let retry = *retry;
                self.stop_tunnel(retry, now, actions);
            }
            Tunnel::Up { refresh, .. }
                if *refresh && matches!(self.location, Location::Outside { .. }) =>
            {
                *refresh = false;
                actions.push(Action::RefreshTunnel);
            }
            Tunnel::Starting { .. } | Tunnel::Up { .. } | Tunnel::Stopping { .. } => {}
        }
    }

    fn start_tunnel(&mut self, now: Time, actions: &mut Vec<Action>) {
        if let Key::Unlocked(card) = &self.key
            && self.wants_tunnel()
            && self.is_closed()
        {
            self.secrets = Some(card.insertion);
            let op = self.op();
            self.tunnel = Tunnel::Starting {
                op,
                deadline: now + TUNNEL_START,
            };
            actions.push(Action::StartTunnel { op });
        }
    }

    fn stop_tunnel(&mut self, retry: Option<Retry>, now: Time, actions: &mut Vec<Action>) {
        let op = self.op();
        self.tunnel = Tunnel::Stopping {
            op,
            deadline: now + TUNNEL_STOP,
            retry,
        };
        actions.push(Action::StopTunnel { op });
    }

    /// Whether the tunnel should be up. Only a verdict of being outside calls for it.
    fn wants_tunnel(&self) -> bool {
        let outside = matches!(self.location, Location::Outside { .. });
        outside && self.intent == Intent::Automatic && matches!(self.key, Key::Unlocked(_))
    }

    /// Whether a tunnel that exists may stay. It outlives doubt about the place and a card that wants its PIN again,
    /// not the card itself.
    fn bears_tunnel(&self) -> bool {
        let inside = matches!(self.location, Location::Inside(_));
        !inside && self.intent == Intent::Automatic && self.secrets.is_some()
    }

    fn is_closed(&self) -> bool {
        matches!(&self.host, Host::Applied(rules) if rules.mode == HostMode::Closed)
    }

    fn decide_host(&mut self, now: Time, actions: &mut Vec<Action>) {
        let wanted = HostRules {
            mode: self.host_mode(),
            routers: Vec::new(),
            opening: None,
        };
        let under_way = match &self.host {
            Host::Applied(rules) => *rules == wanted,
            Host::Applying {
                rules, deadline, ..
            } => *rules == wanted && *deadline > now,
            Host::Failed { rules, retry_at } => *rules == wanted && *retry_at > now,
            Host::Unknown => false,
        };
        if !under_way {
            let op = self.op();
            self.host = Host::Applying {
                op,
                rules: wanted.clone(),
                deadline: now + HOST_APPLY,
            };
            actions.push(Action::ApplyHost { op, rules: wanted });
        }
    }

    fn host_mode(&self) -> HostMode {
        match &self.tunnel {
            Tunnel::Up { .. } => HostMode::Tunnelled,
            Tunnel::Starting { .. } | Tunnel::Stopping { .. } => HostMode::Closed,
            Tunnel::Down { .. } => match self.location.verified() {
                Some(verified) => HostMode::Inside {
                    link: verified.link.clone(),
                },
                None => HostMode::Closed,
            },
        }
    }

    fn decide_probe(&mut self, actions: &mut Vec<Action>) {
        let wanted = match &self.location {
            Location::Probing { op, deadline, .. } => Some((*op, *deadline)),
            Location::Offline
            | Location::Asleep { .. }
            | Location::Settling { .. }
            | Location::Inside(_)
            | Location::Outside { .. } => None,
        };
        let op = wanted.map(|(op, _)| op);
        if self.asked.probe == op {
            return;
        }
        let earlier = std::mem::replace(&mut self.asked.probe, op);
        actions.extend(earlier.map(|op| Action::CancelProbe { op }));
        if let Some((op, deadline)) = wanted {
            let links = self
                .links
                .iter()
                .filter(|link| link.usable())
                .cloned()
                .collect();
            actions.push(Action::Probe {
                op,
                links,
                deadline,
            });
        }
    }

    fn decide_pin(&mut self, now: Time, actions: &mut Vec<Action>) {
        let inside = matches!(self.location, Location::Inside(_));
        let outside = matches!(self.location, Location::Outside { .. });
        let automatic = self.intent == Intent::Automatic;
        match &self.key {
            Key::Verifying { card, deadline, .. } if *deadline <= now => {
                self.key = Key::locked(card.clone())
            }
            // The prompt outlives doubt about the place: the user may be typing.
            Key::AwaitingPin { card, .. } if inside || !automatic => {
                self.key = Key::locked(card.clone())
            }
            Key::Declined { card, .. } if inside => self.key = Key::locked(card.clone()),
            Key::Absent
            | Key::Away { .. }
            | Key::Unusable(_)
            | Key::Locked(_)
            | Key::AwaitingPin { .. }
            | Key::Declined { .. }
            | Key::Withdrawn(_)
            | Key::Verifying { .. }
            | Key::Unlocked(_)
            | Key::Blocked(_) => {}
        }
        if let Key::Locked(card) = &self.key
            && outside
            && automatic
        {
            let card = card.clone();
            self.key = Key::AwaitingPin {
                card,
                op: self.op(),
            };
        }

        let wanted = match &self.key {
            Key::AwaitingPin { op, .. } => Some(*op),
            Key::Absent
            | Key::Away { .. }
            | Key::Unusable(_)
            | Key::Locked(_)
            | Key::Declined { .. }
            | Key::Withdrawn(_)
            | Key::Verifying { .. }
            | Key::Unlocked(_)
            | Key::Blocked(_) => None,
        };
        if self.asked.pin != wanted {
            let earlier = std::mem::replace(&mut self.asked.pin, wanted);
            actions.extend(earlier.map(|op| Action::CancelPin { op }));
            actions.extend(wanted.map(|op| Action::AskPin { op }));
        }
    }
}
