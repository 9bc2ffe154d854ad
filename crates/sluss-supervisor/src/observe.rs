//! Folds an event into the picture of the world.
//!
//! An answer changes something only if it carries the `Op` that is waited for.

mod key;

use sluss_policy::Policy;

use crate::decide::{HOST_RETRY, PROBE_AGAIN, SLEEP};
use crate::link::next_hops;
use crate::{
    Action, Confirmation, Event, Evidence, Host, Intent, Key, Link, LinkId, Location, LossReason,
    Op, Outcome, OutsideReason, Retry, Session, State, Time, Tunnel, Verified,
};

impl State {
    /// Returns what the user's own demand calls for at once. All else is `decide`'s to say.
    pub(crate) fn observe(&mut self, policy: &Policy, event: Event, now: Time) -> Option<Action> {
        match event {
            Event::LinksChanged(links) => self.links_changed(policy, links, now),
            Event::ProbeFinished { op, evidence } => self.probe_finished(policy, op, evidence, now),
            Event::PortalChecked { .. } | Event::PortalRequested { .. } => {}
            Event::Suspending => self.location = Location::Asleep { until: now + SLEEP },
            Event::Resumed => {
                // Not the rest of a wait that began before: the network of another place may only be coming up.
                self.location = Location::Offline;
                self.settle(policy, None, now);
                self.ask_again();
            }

            Event::CardInserted {
                serial,
                tries_left,
                verified,
            } => return self.card_inserted(policy, serial, tries_left, verified),
            Event::CardUnusable(fault) => self.key = Key::Unusable(fault),
            Event::CardRemoved => return self.card_removed(policy, now),
            Event::CardLocked => self.card_locked(),
            Event::TriesCounted { tries_left } => self.tries_counted(tries_left),

            Event::PinOffered {
                source,
                last_try_consented,
            } => return Some(self.pin_offered(policy, source, last_try_consented, now)),
            Event::PinChecked { op, check } => self.pin_checked(op, check),
            Event::PinDeclined { op } => self.pin_declined(op),
            Event::LockRequested => return self.lock_requested(),
            Event::SessionLocked => self.session_locked(),

            Event::TunnelStarted { op } => self.tunnel_started(op, now),
            Event::TunnelStartFailed { op, why } => self.tunnel_failed(policy, op, why, now),
            Event::TunnelLost { op, why } => self.tunnel_failed(policy, op, why, now),
            Event::TunnelStopped { op } => self.tunnel_stopped(op),
            Event::SessionEstablished { op } => self.handshake(op, Session::Established),
            Event::HandshakeUnanswered { op, attempts } => {
                self.handshake(op, Session::Awaited { attempts })
            }

            Event::HostApplied { op } => self.host_answered(op, true, now),
            Event::HostFailed { op } => self.host_answered(op, false, now),

            Event::UserUp => self.user_up(),
            Event::UserDown if policy.user.may_disconnect => self.intent = Intent::Stopped,
            Event::UserDown | Event::Tick => {}
        }
        None
    }

    fn links_changed(&mut self, policy: &Policy, links: Vec<Link>, now: Time) {
        let before = std::mem::replace(&mut self.links, links);
        if before
            .iter()
            .filter(|link| link.usable())
            .eq(self.links.iter().filter(|link| link.usable()))
        {
            return;
        }
        match &self.location {
            Location::Asleep { .. } => return,
            // Verdicts are per link: what another one does is of no interest.
            Location::Inside(verified) if self.links.contains(&verified.link) => return,
            Location::Inside(_)
            | Location::Offline
            | Location::Settling { .. }
            | Location::Probing { .. }
            | Location::Outside { .. } => {}
        }
        let stands =
            |verified: &&Verified| self.links.iter().any(|link| verified.link.same_place(link));
        let held = self.location.verified().filter(stands).cloned();
        self.settle(policy, held, now);
    }

    /// Waits for the network to hold still, if there is one.
    pub(crate) fn settle(&mut self, policy: &Policy, held: Option<Verified>, now: Time) {
        self.location = if self.links.iter().any(Link::usable) {
            let limit = match self.location {
                Location::Settling { limit, .. } => limit,
                Location::Offline
                | Location::Asleep { .. }
                | Location::Probing { .. }
                | Location::Inside(_)
                | Location::Outside { .. } => now + policy.timing.settle_limit,
            };
            Location::Settling {
                quiet_at: (now + policy.timing.settle_quiet).min(limit),
                limit,
                held,
            }
        } else {
            Location::Offline
        };
    }

    fn probe_finished(&mut self, policy: &Policy, op: Op, evidence: Vec<Evidence>, now: Time) {
        let Location::Probing {
            op: waited_for,
            confirmation,
            ..
        } = &self.location
        else {
            return;
        };
        if *waited_for != op {
            return;
        }
        let confirmation = confirmation.clone();
        self.asked.probe = None;
        let proved = proved(&self.links, &evidence);
        self.evidence = evidence;

        let second = matches!(confirmation, Confirmation::Second { .. });
        let (confirmed, since, doubt) = match &confirmation {
            Confirmation::First => (None, now, OutsideReason::NoProof),
            Confirmation::Second { proved: before } => (
                proved.iter().find(|link| before.contains(&link.id)),
                now,
                OutsideReason::NotConfirmed,
            ),
            Confirmation::Held(Verified { link, since }) => (
                proved.iter().find(|again| again.id == link.id),
                *since,
                OutsideReason::NoProof,
            ),
        };
        if let Some(link) = confirmed {
            self.location = Location::Inside(Verified {
                link: link.clone(),
                since,
            });
        } else if !proved.is_empty() && !second {
            let proved: Vec<LinkId> = proved.into_iter().map(|link| link.id).collect();
            self.probe(policy, Confirmation::Second { proved }, now);
        } else {
            self.arrive_outside(doubt, now);
        }
    }

    pub(crate) fn arrive_outside(&mut self, why: OutsideReason, now: Time) {
        if let Some(since) = self.location.outside_since() {
            // Asked once more, and still outside: nothing is new.
            self.location = Location::Outside {
                why,
                since,
                again_at: None,
            };
            return;
        }
        let again_at = match why {
            OutsideReason::NoBeacon => None,
            OutsideReason::NoProof | OutsideReason::NotConfirmed | OutsideReason::ProbeOverdue => {
                Some(now + PROBE_AGAIN)
            }
        };
        self.location = Location::Outside {
            why,
            since: now,
            again_at,
        };
        self.forget_failures();
        self.gateway_to_be_told();
        let here = next_hops(&self.links);
        if let Key::Declined { network, .. } = &self.key
            && *network != here
        {
            self.ask_again();
        }
    }

    /// The user's refusal to type the PIN has had its time.
    fn ask_again(&mut self) {
        if let Key::Declined { card, .. } = &self.key {
            self.key = Key::locked(card.clone());
        }
    }

    fn tunnel_started(&mut self, op: Op, now: Time) {
        if let Tunnel::Starting { op: waited_for, .. } = self.tunnel
            && waited_for == op
        {
            self.tunnel = Tunnel::Up {
                op,
                since: now,
                session: Session::Awaited { attempts: 0 },
                refresh: false,
            };
        }
    }

    fn tunnel_failed(&mut self, policy: &Policy, op: Op, why: LossReason, now: Time) {
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
    pub(crate) fn retry(&mut self, policy: &Policy, why: LossReason, now: Time) -> Retry {
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

    fn tunnel_stopped(&mut self, op: Op) {
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

    fn handshake(&mut self, op: Op, heard: Session) {
        if let Tunnel::Up {
            op: ours, session, ..
        } = &mut self.tunnel
            && *ours == op
        {
            *session = heard;
            if heard == Session::Established {
                self.failures = 0;
            }
        }
    }

    fn host_answered(&mut self, op: Op, applied: bool, now: Time) {
        if let Host::Applying {
            op: waited_for,
            rules,
            ..
        } = &self.host
            && *waited_for == op
        {
            let rules = rules.clone();
            self.host = match applied {
                true => Host::Applied(rules),
                false => Host::Failed {
                    rules,
                    retry_at: now + HOST_RETRY,
                },
            };
        }
    }

    fn user_up(&mut self) {
        self.intent = Intent::Automatic;
        self.forget_failures();
        if let Key::Declined { card, .. } | Key::Withdrawn(card) = &self.key {
            self.key = Key::locked(card.clone());
        }
    }

    /// There is a new place, or the card answers again: something is to be sent at once.
    fn gateway_to_be_told(&mut self) {
        if let Tunnel::Up { refresh, .. } = &mut self.tunnel {
            *refresh = true;
        }
    }

    /// What failed before says nothing any more: the next attempt is made at once.
    fn forget_failures(&mut self) {
        self.failures = 0;
        match &mut self.tunnel {
            Tunnel::Down { retry } | Tunnel::Stopping { retry, .. } => *retry = None,
            Tunnel::Starting { .. } | Tunnel::Up { .. } => {}
        }
    }
}

/// The links on which at least one beacon proved itself, best first.
fn proved(links: &[Link], evidence: &[Evidence]) -> Vec<Link> {
    let proves = |link: &Link| {
        evidence.iter().any(|evidence| match evidence.outcome {
            Outcome::Proved => evidence.link == link.id,
            Outcome::Relayed { .. }
            | Outcome::WrongKey
            | Outcome::Expired { .. }
            | Outcome::NotYetValid { .. }
            | Outcome::NotTls
            | Outcome::NotABeacon
            | Outcome::Refused
            | Outcome::Unreachable
            | Outcome::NoAnswer => false,
        })
    };
    links
        .iter()
        .filter(|link| link.usable() && proves(link))
        .cloned()
        .collect()
}
