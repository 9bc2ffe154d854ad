//! Asks for the difference between what is wanted and what is.
//!
//! What makes the laptop safer comes first in the list of actions. A tunnel starts only once the host is closed, and
//! internal prefixes open inside only once the tunnel is down, so that they are never open at the wrong place.

use sluss_policy::Policy;

use crate::{Action, Deadline, State, Time};

impl State {
    pub(crate) fn decide(&mut self, policy: &Policy, now: Time, actions: &mut Vec<Action>) {
        self.decide_location(policy, now);
        self.decide_grace(policy, now);
        self.decide_secrets(actions);
        self.decide_portal(now);
        self.decide_tunnel(policy, now, actions);
        self.decide_host(policy, now, actions);
        self.decide_probe(actions);
        self.decide_portal_check(actions);
        self.decide_pin(policy, now, actions);
    }

    /// When to step with [`crate::Event::Tick`] at the latest, and why. After a step it lies ahead.
    pub fn deadline(&self, policy: &Policy) -> Option<Deadline> {
        [
            self.location.deadline(),
            self.portal.deadline(),
            self.key.deadline(),
            self.tunnel.deadline(self.wants_tunnel(policy)),
            self.host.deadline(),
        ]
        .into_iter()
        .flatten()
        .map(|(at, reason)| Deadline { at, reason })
        .min()
    }
}
