//! Asks for the difference between what is wanted and what is.

use sluss_policy::Policy;

use crate::{Action, Deadline, State, Time};

impl State {
    /// When to step with [`crate::Event::Tick`] at the latest, and why. Never in the past after a step.
    pub fn deadline(&self) -> Option<Deadline> {
        None
    }

    pub(crate) fn decide(&mut self, _policy: &Policy, _now: Time) -> Vec<Action> {
        Vec::new()
    }
}
