//! Folds an event into the picture of the world.

use sluss_policy::Policy;

use crate::{Event, State, Time};

impl State {
    pub(crate) fn observe(&mut self, _policy: &Policy, _event: Event, _now: Time) {}
}
