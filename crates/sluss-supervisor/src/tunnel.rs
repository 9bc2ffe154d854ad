//! The tunnel: when it is wanted, when it may stay, and what the tunnel worker said of it.

use std::time::Duration;

use sluss_policy::{Policy, WhenInside};

use crate::{Action, DeadlineReason, Intent, Key, Location, LossReason, Op, State, Time};

const TUNNEL_START: Duration = Duration::from_secs(10);
const TUNNEL_STOP: Duration = Duration::from_secs(5);

/// The tunnel as the tunnel worker told it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Tunnel {
    Down {
        retry: Option<Retry>,
    },
    Starting {
        op: Op,
        deadline: Time,
    },
    /// `op` is the one that started it. `refresh`: the gateway is still to be told of it. `keepalive`: what the
    /// tunnel was told of it.
    Up {
        op: Op,
        since: Time,
        session: Session,
        refresh: Option<Change>,
        keepalive: Option<Duration>,
    },
    Stopping {
        op: Op,
        deadline: Time,
        retry: Option<Retry>,
    },
}

/// A tunnel that failed is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Retry {
    pub at: Time,
    pub why: LossReason,
}

/// What gives a tunnel that is up something to say. The greater one says the lesser, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// The card answers again.
    Key,
    /// The way to the gateway is another.
    Place,
}

/// Whether the gateway answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Session {
    /// So many initiations in a row are unanswered; it goes on trying.
    Awaited { attempts: u32 },
    /// The last handshake succeeded.
    Established,
}

impl Tunnel {
    /// `wanted`: an unwanted tunnel need not wake anybody.
    pub(crate) fn deadline(&self, wanted: bool) -> Option<(Time, DeadlineReason)> {
        match self {
            Self::Starting { deadline, .. } => {
                Some((*deadline, DeadlineReason::TunnelStartOverdue))
            }
            Self::Stopping { deadline, .. } => Some((*deadline, DeadlineReason::TunnelStopOverdue)),
            Self::Down { retry } => retry
                .filter(|_| wanted)
                .map(|retry| (retry.at, DeadlineReason::TunnelRetry)),
            Self::Up { .. } => None,
        }
    }
}

impl State {
    pub(crate) fn tunnel_started(&mut self, policy: &Policy, op: Op, now: Time) {
        if let Tunnel::Starting { op: waited_for, .. } = self.tunnel
            && waited_for == op
        {
            self.tunnel = Tunnel::Up {
                op,
                since: now,
                session: Session::Awaited { attempts: 0 },
                refresh: None,
                keepalive: policy.tunnel.keepalive,
            };
        }
    }

    pub(crate) fn tunnel_failed(&mut self, policy: &Policy, op: Op, why: LossReason, now: Time) {
        match self.tunnel {
            Tunnel::Starting { op: ours, .. } | Tunnel::Up { op: ours, .. } if ours == op => {
                self.tunnel = Tunnel::Down {
                    retry: Some(self.retry(policy, why, now)),
                };
            }
            Tunnel::Down { .. }
            | Tunnel::Starting { .. }
            | Tunnel::Up { .. }
            | Tunnel::Stopping { .. } => {}
        }
    }

    /// Counts a failure; the pause doubles with each.
    fn retry(&mut self, policy: &Policy, why: LossReason, now: Time) -> Retry {
        let doubled = 2_u32.saturating_pow(self.failures);
        self.failures = self.failures.saturating_add(1);
        let pause = policy
            .timing
            .retry_first
            .saturating_mul(doubled)
            .min(policy.timing.retry_limit);
        Retry {
            at: now + pause,
            why,
        }
    }

    pub(crate) fn tunnel_stopped(&mut self, op: Op) {
        if let Tunnel::Stopping {
            op: waited_for,
            retry,
            ..
        } = self.tunnel
            && waited_for == op
        {
            self.tunnel = Tunnel::Down { retry };
        }
    }

    /// Says whether that was news of the tunnel that is there.
    pub(crate) fn handshake(&mut self, op: Op, heard: Session) -> bool {
        if let Tunnel::Up {
            op: ours, session, ..
        } = &mut self.tunnel
            && *ours == op
        {
            *session = heard;
            if heard == Session::Established {
                self.failures = 0;
            }
            return true;
        }
        false
    }

    /// Something is to be sent at once.
    pub(crate) fn gateway_to_be_told(&mut self, of: Change) {
        if let Tunnel::Up { refresh, .. } = &mut self.tunnel {
            *refresh = (*refresh).max(Some(of));
        }
    }

    /// What failed before says nothing any more: the next attempt is made at once.
    pub(crate) fn forget_failures(&mut self) {
        self.failures = 0;
        match &mut self.tunnel {
            Tunnel::Down { retry } | Tunnel::Stopping { retry, .. } => *retry = None,
            Tunnel::Starting { .. } | Tunnel::Up { .. } => {}
        }
    }

    pub(crate) fn decide_tunnel(&mut self, policy: &Policy, now: Time, actions: &mut Vec<Action>) {
        let bearable = self.bears_tunnel(policy);
        let told = self.calls_for_tunnel(policy);
        let wanted = self.wanted_keepalive(policy);
        match &mut self.tunnel {
            Tunnel::Down { retry } => {
                *retry = retry.filter(|retry| retry.at > now);
                if retry.is_none() {
                    self.start_tunnel(policy, now, actions);
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
            Tunnel::Up {
                refresh, keepalive, ..
            } => {
                if let Some(every) = wanted
                    && *keepalive != every
                {
                    *keepalive = every;
                    actions.push(Action::SetKeepalive { every });
                }
                if told {
                    let after = refresh.take();
                    actions.extend(after.map(|after| Action::RefreshTunnel { after }));
                }
            }
            Tunnel::Starting { .. } | Tunnel::Stopping { .. } => {}
        }
    }

    fn start_tunnel(&mut self, policy: &Policy, now: Time, actions: &mut Vec<Action>) {
        if let Key::Unlocked(card) = &self.key
            && self.wants_tunnel(policy)
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

    /// By the link in use, the best one; `None` without a network: then there is nothing to save.
    fn wanted_keepalive(&self, policy: &Policy) -> Option<Option<Duration>> {
        let in_use = self.links.iter().find(|link| link.usable())?;
        Some(match in_use.metered {
            true => policy.tunnel.metered_keepalive,
            false => policy.tunnel.keepalive,
        })
    }

    /// Whether the tunnel should be up.
    pub(crate) fn wants_tunnel(&self, policy: &Policy) -> bool {
        self.calls_for_tunnel(policy)
            && self.intent == Intent::Automatic
            && matches!(self.key, Key::Unlocked(_))
    }

    /// Whether a tunnel that exists may stay. It outlives doubt about the place and a card that wants its PIN again,
    /// not the card itself.
    pub(crate) fn bears_tunnel(&self, policy: &Policy) -> bool {
        !self.forbids_tunnel(policy) && self.intent == Intent::Automatic && self.secrets.is_some()
    }

    /// Whether this is a place for a tunnel: outside by verdict, or inside by proof where policy trusts no network.
    pub fn calls_for_tunnel(&self, policy: &Policy) -> bool {
        match self.location {
            Location::Outside { .. } => true,
            Location::Inside(_) => tunnel_anyway(policy),
            Location::Offline
            | Location::Asleep { .. }
            | Location::Settling { .. }
            | Location::Probing { .. } => false,
        }
    }

    pub(crate) fn forbids_tunnel(&self, policy: &Policy) -> bool {
        matches!(self.location, Location::Inside(_)) && !tunnel_anyway(policy)
    }
}

pub(crate) fn tunnel_anyway(policy: &Policy) -> bool {
    match policy.location.inside {
        WhenInside::NoTunnel => false,
        WhenInside::TunnelAnyway => true,
    }
}
