//! The call that has a captive portal shown: whether it may be, and what the caller hears once it is.

use sluss_ipc::{self as ipc, PortalOpened, Refusal, Response};
use sluss_supervisor as sup;

use super::calls::answer;
use super::{CallId, Effect, Engine};

/// Who waits at the door.
pub(super) struct Entering {
    call: CallId,
    visitor: sup::Visitor,
}

impl Engine {
    pub(super) fn portal_called(
        &mut self,
        call: CallId,
        visitor: sup::Visitor,
        renew: bool,
        now: sup::Time,
        effects: &mut Vec<Effect>,
    ) {
        let refusal = match self.entering {
            Some(_) => Some(Refusal::Busy),
            None => self.portal_refusal(renew),
        };
        if let Some(refusal) = refusal {
            effects.push(answer(call, Response::Refused(refusal)));
            return;
        }
        self.entering = Some(Entering {
            call,
            visitor: visitor.clone(),
        });
        let requested = sup::Event::PortalRequested { visitor, renew };
        self.step(requested, now, effects);
    }

    fn portal_refusal(&self, renew: bool) -> Option<Refusal> {
        match &self.policy.portal {
            None => return Some(Refusal::NoPortal),
            Some(rules) if !rules.open => return Some(Refusal::ByPolicy),
            Some(_) => {}
        }
        let (openings_left, costs_one) = match self.state.portal {
            sup::Portal::Unknown | sup::Portal::Checking { .. } | sup::Portal::Clear { .. } => {
                return Some(Refusal::NoPortal);
            }
            sup::Portal::Found { openings_left, .. } => (openings_left, true),
            sup::Portal::Open { openings_left, .. } => (openings_left, renew),
        };
        let spent = |renewable| Some(Refusal::PortalSpent { renewable });
        match openings_left {
            0 if costs_one => spent(false),
            left if costs_one && left < sup::OPENINGS && !renew => spent(true),
            _ => None,
        }
    }

    /// Tells who waits at the door that it is open, or will not be.
    pub(super) fn answer_entering(&mut self, now: sup::Time, effects: &mut Vec<Effect>) {
        let Some(entering) = self.entering.take() else {
            return;
        };
        let response = match (&self.state.portal, &self.state.host) {
            (sup::Portal::Open { visitor, until, .. }, host) if *visitor == entering.visitor => {
                match host {
                    sup::Host::Applied(rules) if opens(rules, visitor, *until) => self.opened(now),
                    sup::Host::Failed { .. } => Response::Refused(Refusal::PortalFailed),
                    sup::Host::Unknown | sup::Host::Applying { .. } | sup::Host::Applied(_) => {
                        self.entering = Some(entering);
                        return;
                    }
                }
            }
            (_, _) => Response::Refused(Refusal::NoPortal),
        };
        effects.push(answer(entering.call, response));
    }

    fn opened(&self, now: sup::Time) -> Response {
        match self.portal(now) {
            ipc::Portal::Open {
                page: Some(page),
                left_ms,
                renewable,
            } => Response::PortalOpened(PortalOpened {
                page,
                left_ms,
                renewable,
                confined: matches!(
                    self.state.portal,
                    sup::Portal::Open {
                        visitor: sup::Visitor::Cgroup(_),
                        ..
                    }
                ),
            }),
            ipc::Portal::Open { page: None, .. }
            | ipc::Portal::Absent
            | ipc::Portal::Found { .. } => Response::Refused(Refusal::NoPortal),
        }
    }
}

fn opens(rules: &sup::HostRules, visitor: &sup::Visitor, until: sup::Time) -> bool {
    let opening = rules.opening.as_ref();
    opening.is_some_and(|opening| opening.visitor == *visitor && opening.until == until)
}
