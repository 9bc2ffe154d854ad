//! Where the laptop is: what the links, the beacons and sleep do to the verdict.

use std::time::Duration;

use sluss_policy::Policy;

use crate::link::{Neighbourhood, next_hops};
use crate::{
    Action, Change, DeadlineReason, Evidence, Key, Link, LinkId, Medium, Op, Outcome, State, Time,
    proof,
};

/// What the probe worker has beyond its own deadline before it is given up.
const PROBE_GRACE: Duration = Duration::from_millis(500);
/// When the probe worker knocks at a beacon for the second and last time, from its beginning.
const SECOND_ATTEMPT: Duration = Duration::from_millis(250);
/// From a verdict for want of proof to the question that may correct it. A switch port that has just come up can
/// swallow the first ARP request, and Linux sends the next one a second later, when the probe is over.
const PROBE_AGAIN: Duration = Duration::from_secs(5);
/// From the announcement to sleep, or to the insight that it was called off.
const SLEEP: Duration = Duration::from_secs(30);

/// Where the laptop is. No proof of being inside means outside.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Location {
    /// No link can carry traffic.
    Offline,
    /// The laptop is about to sleep or sleeps: whatever was known is no longer.
    Asleep {
        until: Time,
    },
    /// Links are still changing, or do not carry yet; probed when quiet until `quiet_at`, or at `limit`.
    ///
    /// `held`: the laptop was inside and its link changed in small ways only, so that stands until it is asked again.
    Settling {
        quiet_at: Time,
        limit: Time,
        held: Option<Verified>,
    },
    /// The probe worker is asked.
    ///
    /// `outside_since`: the laptop counts as outside, and what is up stays so while that is asked once more.
    Probing {
        op: Op,
        deadline: Time,
        confirmation: Confirmation,
        outside_since: Option<Time>,
    },
    Inside(Verified),
    /// `again_at`: a fresh verdict for want of proof may be false, as when the first packet was lost.
    Outside {
        why: OutsideReason,
        since: Time,
        again_at: Option<Time>,
    },
}

/// The link on which a beacon proved itself, with the facts that held then.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Verified {
    pub link: Link,
    pub since: Time,
}

/// What a success of the running probe means.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Confirmation {
    /// A first hint: it is asked again.
    First,
    /// The second success on one of these links: inside.
    Second { proved: Vec<LinkId> },
    /// Inside goes on, as it did while the link was asked again.
    Held(Verified),
}

/// Why the laptop counts as outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutsideReason {
    /// The policy names no beacon.
    NoBeacon,
    /// No beacon proved itself; the evidence says how each failed.
    NoProof,
    /// Only beacons proved themselves whose rank the policy does not take for proof.
    WeakProof,
    /// Of no site did enough beacons prove themselves; `proved`: the most that any site had.
    TooFewProofs { proved: u8, needed: u8 },
    /// A beacon proved itself once, and then not again.
    NotConfirmed,
    /// The probe worker did not answer.
    ProbeOverdue,
}

impl Verified {
    /// Proved once more. Routes are made of the facts, so they stay the same while these do.
    fn renewed(&self, again: &Link) -> Self {
        let link = match self.link.is_unchanged(again) {
            true => self.link.clone(),
            false => again.clone(),
        };
        Self { link, ..*self }
    }
}

impl Location {
    /// The proof of being inside that stands, even while it is asked for again.
    pub fn verified(&self) -> Option<&Verified> {
        match self {
            Self::Inside(verified)
            | Self::Settling {
                held: Some(verified),
                ..
            }
            | Self::Probing {
                confirmation: Confirmation::Held(verified),
                ..
            } => Some(verified),
            Self::Settling { held: None, .. }
            | Self::Probing {
                confirmation: Confirmation::First | Confirmation::Second { .. },
                ..
            }
            | Self::Offline
            | Self::Asleep { .. }
            | Self::Outside { .. } => None,
        }
    }

    /// Since when the laptop counts as outside, even while that is asked once more.
    pub fn outside_since(&self) -> Option<Time> {
        match self {
            Self::Outside { since, .. } => Some(*since),
            Self::Probing { outside_since, .. } => *outside_since,
            Self::Offline | Self::Asleep { .. } | Self::Settling { .. } | Self::Inside(_) => None,
        }
    }

    pub(crate) fn deadline(&self) -> Option<(Time, DeadlineReason)> {
        match self {
            Self::Asleep { until } => Some((*until, DeadlineReason::SleepOverdue)),
            Self::Settling { quiet_at, .. } => Some((*quiet_at, DeadlineReason::NetworkSettled)),
            Self::Probing { deadline, .. } => {
                Some((*deadline + PROBE_GRACE, DeadlineReason::ProbeOverdue))
            }
            Self::Outside { again_at, .. } => {
                again_at.map(|again_at| (again_at, DeadlineReason::ProbeAgain))
            }
            Self::Offline | Self::Inside(_) => None,
        }
    }
}

impl State {
    pub(crate) fn links_changed(&mut self, policy: &Policy, links: Vec<Link>, now: Time) {
        let before = std::mem::replace(&mut self.links, links);
        let usable = |links: &[Link]| -> Vec<Link> {
            links.iter().filter(|link| link.usable()).cloned().collect()
        };
        let (before, after) = (usable(&before), usable(&self.links));
        if before.len() == after.len() && before.iter().zip(&after).all(|(a, b)| a.is_unchanged(b))
        {
            return self.neighbours_changed(policy, &before, now);
        }
        let carried = |link: &&Link| !self.links.iter().any(|it| it.id == link.id && it.carrier);
        if before.iter().any(|link| carried(&link)) {
            self.unrest.carrier_lost(now);
            self.wait_out(policy, now);
        }
        self.unrest.moved();

        let verified = self.location.verified().cloned();
        match (&self.location, verified) {
            (Location::Asleep { .. }, _) => {}
            // Verdicts are per link: what another one does is of no interest.
            (Location::Inside(verified), _)
                if after.iter().any(|link| verified.link.is_unchanged(link)) => {}
            // Nothing else has changed that could still be changing.
            (Location::Inside(verified), _)
                if after
                    .iter()
                    .any(|link| verified.link.has_other_gateways(link)) =>
            {
                self.probe(policy, Confirmation::First, now);
            }
            (_, Some(verified)) if after.iter().any(|link| verified.link.same_place(link)) => {
                self.settle(policy, Some(verified), now);
            }
            (
                Location::Inside(_)
                | Location::Offline
                | Location::Settling { .. }
                | Location::Probing { .. }
                | Location::Outside { .. },
                _,
            ) => self.settle(policy, None, now),
        }
    }

    /// Somebody else answers for a gateway's address, or somebody does at last. That may be a forgery, so it decides nothing:
    /// the verdict stands, and the beacons are asked whether it is right.
    fn neighbours_changed(&mut self, policy: &Policy, before: &[Link], now: Time) {
        let change = |id: Option<&LinkId>| {
            let of_link = |link: &Link| {
                let later = self.links.iter().find(|later| later.id == link.id);
                later.map(|later| link.neighbours_in(later))
            };
            let asked = before
                .iter()
                .filter(|link| id.is_none_or(|id| link.id == *id));
            asked.filter_map(of_link).max()
        };
        let anywhere = change(None).unwrap_or(Neighbourhood::Same);
        match &self.location {
            Location::Inside(verified) => {
                if change(Some(&verified.link.id)) == Some(Neighbourhood::Replaced) {
                    let held = Some(verified.clone());
                    let at = self.unrest.question_about_inside(now);
                    self.location = Location::Settling {
                        quiet_at: at,
                        limit: at,
                        held,
                    };
                }
            }
            Location::Outside { why, .. } => {
                if anywhere != Neighbourhood::Same && *why != OutsideReason::NoBeacon {
                    let at = self.unrest.question_about_outside(now);
                    self.look_again(at);
                }
            }
            // The link that was waited for carries.
            Location::Settling { limit, held, .. } => {
                if anywhere == Neighbourhood::Learnt && self.unrest.in_doubt() {
                    self.location = Location::Settling {
                        quiet_at: now,
                        limit: *limit,
                        held: held.clone(),
                    };
                }
            }
            // It carries since a moment ago: too late for the attempts that were made.
            Location::Probing {
                confirmation: Confirmation::First,
                deadline,
                ..
            } => {
                let last_attempt = *deadline + SECOND_ATTEMPT;
                if anywhere == Neighbourhood::Learnt
                    && last_attempt < now + policy.timing.probe_timeout
                {
                    self.probe(policy, Confirmation::First, now);
                }
            }
            Location::Offline
            | Location::Asleep { .. }
            | Location::Probing {
                confirmation: Confirmation::Second { .. } | Confirmation::Held(_),
                ..
            } => {}
        }
    }

    /// Waits for the network to hold still, if there is one.
    fn settle(&mut self, policy: &Policy, held: Option<Verified>, now: Time) {
        self.location = if self.links.iter().any(Link::usable) {
            let (quiet, longest) = self.unrest.patience(&policy.timing);
            let limit = match self.location {
                Location::Settling { limit, .. } => limit,
                Location::Offline
                | Location::Asleep { .. }
                | Location::Probing { .. }
                | Location::Inside(_)
                | Location::Outside { .. } => now + longest,
            };
            Location::Settling {
                quiet_at: (now + quiet).min(limit),
                limit,
                held,
            }
        } else {
            Location::Offline
        };
    }

    /// A network that flaps is not judged in its short pauses.
    fn wait_out(&mut self, policy: &Policy, now: Time) {
        if let Location::Settling { limit, .. } = &mut self.location
            && self.unrest.may_wait()
        {
            *limit = (*limit).max(now + self.unrest.patience(&policy.timing).1);
        }
    }

    /// Nothing proves that this is the inside, and nothing says that it is not: it is closed, and asked once more before
    /// it counts as outside.
    fn doubt(&mut self, now: Time) {
        self.unrest.doubted();
        let at = now + PROBE_AGAIN;
        self.location = Location::Settling {
            quiet_at: at,
            limit: at,
            held: None,
        };
    }

    pub(crate) fn fall_asleep(&mut self, now: Time) {
        self.location = Location::Asleep { until: now + SLEEP };
        self.unrest.moved();
    }

    pub(crate) fn resume(&mut self, policy: &Policy, now: Time) {
        // Not the rest of a wait that began before: the network of another place may only be coming up.
        self.location = Location::Offline;
        self.unrest.moved();
        self.settle(policy, None, now);
        self.ask_again();
    }

    pub(crate) fn probe_finished(
        &mut self,
        policy: &Policy,
        op: Op,
        evidence: Vec<Evidence>,
        now: Time,
    ) {
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
        let proved = proof::proved(policy, &self.links, &evidence);
        let shortfall = proof::shortfall(policy, &self.links, &evidence);
        self.evidence = evidence;

        let confirmed = match &confirmation {
            Confirmation::First => None,
            Confirmation::Second { proved: before } => proved
                .iter()
                .find(|link| before.contains(&link.id))
                .map(|link| Verified {
                    link: link.clone(),
                    since: now,
                }),
            Confirmation::Held(held) => proved
                .iter()
                .find(|again| again.id == held.link.id)
                .map(|again| held.renewed(again)),
        };
        match (confirmed, confirmation) {
            (Some(verified), _) => self.arrive_inside(policy, verified),
            (None, Confirmation::First | Confirmation::Held(_)) if !proved.is_empty() => {
                let proved = proved.into_iter().map(|link| link.id).collect();
                self.probe(policy, Confirmation::Second { proved }, now);
            }
            (None, Confirmation::Held(_)) => self.lose_proof(now),
            (None, Confirmation::First) => self.arrive_outside(policy, shortfall, now),
            (None, Confirmation::Second { .. }) => {
                self.arrive_outside(policy, OutsideReason::NotConfirmed, now);
            }
        }
    }

    /// No link has changed, and yet the proof is gone: somebody disturbs, or the way to the beacons is broken.
    fn lose_proof(&mut self, now: Time) {
        self.unrest.lapsed();
        self.doubt(now);
    }

    fn arrive_inside(&mut self, policy: &Policy, verified: Verified) {
        let anew = self.location.verified().is_none();
        self.location = Location::Inside(verified);
        self.unrest.decided();
        if anew && self.calls_for_tunnel(policy) {
            self.arrived();
        }
    }

    fn arrive_outside(&mut self, policy: &Policy, why: OutsideReason, now: Time) {
        if let Some(since) = self.location.outside_since() {
            // Asked once more, and still outside: nothing is new.
            self.location = Location::Outside {
                why,
                since,
                again_at: None,
            };
            return;
        }
        let asked = why != OutsideReason::NoBeacon;
        if asked && self.nothing_passes_yet() && self.unrest.may_doubt() {
            return self.doubt(now);
        }
        let again_at = asked.then(|| now + self.unrest.pause(PROBE_AGAIN));
        self.location = Location::Outside {
            why,
            since: now,
            again_at,
        };
        self.unrest.decided();
        self.arrived();
        self.suspect_portal(policy, now);
    }

    /// A switch takes up to half a minute to forward what a port that has just come up brings (IEEE 802.1D): until then
    /// nobody answers for the gateway, and neither a beacon nor the tunnel's gateway could be heard.
    fn nothing_passes_yet(&self) -> bool {
        let silent = |link: &Link| {
            let mut said = self.evidence.iter().filter(|it| it.link == link.id);
            said.all(|it| it.outcome == Outcome::NoAnswer)
        };
        let mut usable = self.links.iter().filter(|link| link.usable());
        usable.all(|link| {
            link.medium == Medium::Wired
                && !link.gateways.is_empty()
                && link.neighbours.is_empty()
                && silent(link)
        })
    }

    /// This is a new place for a tunnel.
    fn arrived(&mut self) {
        self.forget_failures();
        self.gateway_to_be_told(Change::Place);
        let here = next_hops(&self.links);
        if let Key::Declined { network, .. } = &self.key
            && *network != here
        {
            self.ask_again();
        }
    }

    /// Something has opened that was in the way, perhaps of the beacons, too.
    pub(crate) fn look_again(&mut self, at: Time) {
        if let Location::Outside { why, again_at, .. } = &mut self.location
            && *why != OutsideReason::NoBeacon
        {
            *again_at = Some(again_at.map_or(at, |planned| planned.min(at)));
        }
    }

    pub(crate) fn decide_location(&mut self, policy: &Policy, now: Time) {
        match &self.location {
            Location::Asleep { until } if *until <= now => self.settle(policy, None, now),
            Location::Settling { quiet_at, held, .. } if *quiet_at <= now => {
                let confirmation = held.clone().map_or(Confirmation::First, Confirmation::Held);
                self.probe(policy, confirmation, now);
            }
            // No proof of being inside means outside.
            Location::Probing {
                deadline,
                confirmation,
                ..
            } if *deadline + PROBE_GRACE <= now => match confirmation {
                Confirmation::Held(_) => self.lose_proof(now),
                Confirmation::First | Confirmation::Second { .. } => {
                    self.evidence.clear();
                    self.arrive_outside(policy, OutsideReason::ProbeOverdue, now);
                }
            },
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
    fn probe(&mut self, policy: &Policy, confirmation: Confirmation, now: Time) {
        if policy.beacons.is_empty() {
            self.evidence.clear();
            self.arrive_outside(policy, OutsideReason::NoBeacon, now);
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

    pub(crate) fn decide_probe(&mut self, actions: &mut Vec<Action>) {
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
            let links = self.usable_links();
            actions.push(Action::Probe {
                op,
                links,
                deadline,
            });
        }
    }
}
