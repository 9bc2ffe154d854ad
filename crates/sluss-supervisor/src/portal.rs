//! The captive portal: whether one answers in place of others, and who may speak to it.

use std::time::Duration;

use sluss_policy::Policy;

use crate::{Action, Change, DeadlineReason, Link, LinkId, Op, State, Time};

/// What the worker may take for names, connections and answers on all links.
const CHECK: Duration = Duration::from_secs(4);
/// What it has beyond that before it is given up.
const CHECK_GRACE: Duration = Duration::from_millis(500);
/// After so many unanswered initiations something may be in the way that was not there, or not seen, before.
const SILENT_ATTEMPTS: u32 = 3;
/// How long the user is let through each time.
const OPEN: Duration = Duration::from_secs(300);
/// How often the user is let through at one place: once, and once more by consent.
pub const OPENINGS: u8 = 2;
/// From the opening to the first look whether the user got through.
const FIRST_RECHECK: Duration = Duration::from_secs(5);
/// The longest such pause is FIRST_RECHECK doubled so often.
const DOUBLINGS: u8 = 4;

/// Whether a captive portal stands between the laptop and the world.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Portal {
    /// Nobody looked, or nothing answered.
    Unknown,
    /// The first check at this place.
    Checking { op: Op, deadline: Time },
    /// The world answers.
    Clear { since: Time },
    Found {
        portal: CaptivePortal,
        check: Recheck,
        /// How often the user may still be let through.
        openings_left: u8,
    },
    /// The user asked to be let through, and is, until `until`.
    Open {
        portal: CaptivePortal,
        check: Recheck,
        openings_left: u8,
        visitor: Visitor,
        until: Time,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CaptivePortal {
    pub link: LinkId,
    /// The page to which it sends browsers, if it does: its own claim, for people.
    pub url: Option<String>,
    pub since: Time,
}

/// Whether a portal that was found is looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Recheck {
    /// When something happens.
    Idle,
    /// `step`: how many have been made since it was opened; the pause doubles with each.
    Due {
        at: Time,
        step: u8,
    },
    Running {
        op: Op,
        deadline: Time,
        step: u8,
    },
}

/// Who may speak to the portal, as the kernel can tell.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Visitor {
    /// All that this user runs.
    Uid(u32),
    /// What runs in this control group, by its path from the root of the hierarchy.
    Cgroup(String),
}

/// What came of one check on one link.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PortalCheck {
    pub link: LinkId,
    pub answer: PortalAnswer,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PortalAnswer {
    /// What the policy expects: nothing is in the way.
    Expected,
    /// Something else. `url`: the page to which it redirects.
    Intercepted { url: Option<String> },
    /// Nothing.
    Silent,
}

impl Portal {
    pub(crate) fn deadline(&self) -> Option<(Time, DeadlineReason)> {
        match self {
            Self::Unknown | Self::Clear { .. } => None,
            Self::Checking { deadline, .. } => Some(overdue(*deadline)),
            Self::Found { check, .. } => check.deadline(),
            Self::Open { check, until, .. } => {
                let closing = Some((*until, DeadlineReason::PortalClosing));
                closing.into_iter().chain(check.deadline()).min()
            }
        }
    }

    /// The check that is under way.
    fn running(&self) -> Option<(Op, Time)> {
        match self {
            Self::Checking { op, deadline }
            | Self::Found {
                check: Recheck::Running { op, deadline, .. },
                ..
            }
            | Self::Open {
                check: Recheck::Running { op, deadline, .. },
                ..
            } => Some((*op, *deadline)),
            Self::Unknown | Self::Clear { .. } | Self::Found { .. } | Self::Open { .. } => None,
        }
    }
}

impl Recheck {
    fn deadline(self) -> Option<(Time, DeadlineReason)> {
        match self {
            Self::Idle => None,
            Self::Due { at, .. } => Some((at, DeadlineReason::PortalCheckDue)),
            Self::Running { deadline, .. } => Some(overdue(deadline)),
        }
    }

    fn due(step: u8, now: Time) -> Self {
        Self::Due {
            at: now + FIRST_RECHECK * (1 << u32::from(step.min(DOUBLINGS))),
            step,
        }
    }

    /// After a check that found the portal still there, or nothing.
    fn again(self, now: Time) -> Self {
        match self {
            Self::Idle | Self::Due { .. } => self,
            Self::Running { step, .. } => Self::due(step.saturating_add(1), now),
        }
    }
}

fn overdue(deadline: Time) -> (Time, DeadlineReason) {
    (deadline + CHECK_GRACE, DeadlineReason::PortalCheckOverdue)
}

impl State {
    /// The laptop has come to count as outside, where there may be one.
    pub(crate) fn suspect_portal(&mut self, policy: &Policy, now: Time) {
        if policy.portal.is_some() {
            self.portal = Portal::Checking {
                op: self.op(),
                deadline: now + CHECK,
            };
        }
    }

    /// Its handshakes stay unanswered.
    pub(crate) fn gateway_silent(&mut self, policy: &Policy, attempts: u32, now: Time) {
        if attempts != SILENT_ATTEMPTS || self.location.outside_since().is_none() {
            return;
        }
        match self.portal {
            Portal::Unknown | Portal::Clear { .. } => self.suspect_portal(policy, now),
            Portal::Found {
                check: Recheck::Idle,
                ..
            } => self.recheck(now),
            Portal::Checking { .. } | Portal::Found { .. } | Portal::Open { .. } => {}
        }
    }

    /// Whatever was in the way lets us through.
    pub(crate) fn gateway_answered(&mut self, now: Time) {
        match self.portal {
            Portal::Checking { .. } | Portal::Found { .. } | Portal::Open { .. } => {
                self.portal = Portal::Clear { since: now };
            }
            Portal::Unknown | Portal::Clear { .. } => {}
        }
    }

    pub(crate) fn portal_requested(
        &mut self,
        policy: &Policy,
        visitor: Visitor,
        renew: bool,
        now: Time,
    ) {
        let allowed = policy.portal.as_ref().is_some_and(|rules| rules.open);
        if !allowed {
            return;
        }
        let (portal, openings_left) = match &mut self.portal {
            // The same time goes on, for another program of the user's.
            Portal::Open {
                visitor: earlier, ..
            } if !renew => {
                *earlier = visitor;
                return;
            }
            Portal::Found {
                portal,
                openings_left,
                ..
            } if renew || *openings_left == OPENINGS => (portal.clone(), *openings_left),
            Portal::Open {
                portal,
                openings_left,
                ..
            } => (portal.clone(), *openings_left),
            Portal::Unknown
            | Portal::Checking { .. }
            | Portal::Clear { .. }
            | Portal::Found { .. } => return,
        };
        if let Some(openings_left) = openings_left.checked_sub(1) {
            self.portal = Portal::Open {
                portal,
                check: Recheck::due(0, now),
                openings_left,
                visitor,
                until: now + OPEN,
            };
        }
    }

    pub(crate) fn portal_checked(&mut self, op: Op, checks: &[PortalCheck], now: Time) {
        if self
            .portal
            .running()
            .is_none_or(|(running, _)| running != op)
        {
            return;
        }
        self.asked.portal = None;
        match said(&self.links, checks) {
            Some((_, PortalAnswer::Expected)) => self.portal_gone(now),
            Some((link, PortalAnswer::Intercepted { url })) => {
                self.portal_seen(link.clone(), url.clone(), now);
            }
            Some((_, PortalAnswer::Silent)) | None => self.portal_unseen(now),
        }
    }

    fn portal_gone(&mut self, now: Time) {
        let was_there = matches!(self.portal, Portal::Found { .. } | Portal::Open { .. });
        self.portal = Portal::Clear { since: now };
        if was_there {
            self.forget_failures();
            self.gateway_to_be_told(Change::Place);
            self.look_again(now);
        }
    }

    fn portal_seen(&mut self, link: LinkId, url: Option<String>, now: Time) {
        match &mut self.portal {
            Portal::Found { portal, check, .. } => {
                portal.url = url.or(portal.url.take());
                *check = Recheck::Idle;
            }
            Portal::Open { portal, check, .. } => {
                portal.url = url.or(portal.url.take());
                *check = check.again(now);
            }
            Portal::Unknown | Portal::Checking { .. } | Portal::Clear { .. } => {
                self.portal = Portal::Found {
                    portal: CaptivePortal {
                        link,
                        url,
                        since: now,
                    },
                    check: Recheck::Idle,
                    openings_left: OPENINGS,
                };
            }
        }
    }

    /// Silence says nothing: what was known stands.
    fn portal_unseen(&mut self, now: Time) {
        match &mut self.portal {
            Portal::Found { check, .. } => *check = Recheck::Idle,
            Portal::Open { check, .. } => *check = check.again(now),
            Portal::Checking { .. } => self.portal = Portal::Unknown,
            Portal::Unknown | Portal::Clear { .. } => {}
        }
    }

    fn recheck(&mut self, now: Time) {
        let op = self.op();
        if let Portal::Found { check, .. } | Portal::Open { check, .. } = &mut self.portal {
            let step = match check {
                Recheck::Idle => 0,
                Recheck::Due { step, .. } | Recheck::Running { step, .. } => *step,
            };
            *check = Recheck::Running {
                op,
                deadline: now + CHECK,
                step,
            };
        }
    }

    pub(crate) fn decide_portal(&mut self, now: Time) {
        // What stands in the way of another network is that network's.
        if self.location.outside_since().is_none() {
            self.portal = Portal::Unknown;
        }
        if self
            .portal
            .running()
            .is_some_and(|(_, deadline)| deadline + CHECK_GRACE <= now)
        {
            self.portal_unseen(now);
        }
        if let Portal::Open {
            portal,
            openings_left,
            until,
            ..
        } = &self.portal
            && *until <= now
        {
            self.portal = Portal::Found {
                portal: portal.clone(),
                check: Recheck::Idle,
                openings_left: *openings_left,
            };
        }
        if let Portal::Open {
            check: Recheck::Due { at, .. },
            ..
        } = self.portal
            && at <= now
        {
            self.recheck(now);
        }
    }

    pub(crate) fn decide_portal_check(&mut self, actions: &mut Vec<Action>) {
        let wanted = self.portal.running();
        let op = wanted.map(|(op, _)| op);
        if self.asked.portal == op {
            return;
        }
        let earlier = std::mem::replace(&mut self.asked.portal, op);
        actions.extend(earlier.map(|op| Action::CancelPortalCheck { op }));
        if let Some((op, deadline)) = wanted {
            actions.push(Action::CheckPortal {
                op,
                links: self.usable_links(),
                deadline,
            });
        }
    }
}

/// What counts is the best link that says anything.
fn said<'a>(links: &[Link], checks: &'a [PortalCheck]) -> Option<(&'a LinkId, &'a PortalAnswer)> {
    let on = |link: &Link| checks.iter().find(|check| check.link == link.id);
    let mut told = links.iter().filter_map(on);
    told.find(|check| check.answer != PortalAnswer::Silent)
        .map(|check| (&check.link, &check.answer))
}
