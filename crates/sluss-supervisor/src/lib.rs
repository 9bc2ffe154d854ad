//! Should the tunnel be up? A pure function of policy and events.
//!
//! ```text
//!             +---------+   +--------+
//!  Event ---> | observe |-->| decide |---> Actions, each with an Op
//!             +---------+   +--------+
//!                  ^    State    |
//!                  +-------------+
//! ```
//!
//! `observe` folds an event into the picture of the world; `decide` asks for the difference between what is
//! wanted and what is. Workers do what the actions say and answer with an event that carries the same [`Op`];
//! an answer with any other `Op` comes too late and changes nothing. Each worker does its actions in order.
//! The caller steps once more, with [`Event::Tick`], when [`State::deadline`] has come.

mod decide;
mod event;
mod host;
mod link;
mod observe;
mod portal;
mod state;
#[cfg(test)]
mod tests;
mod time;

pub use event::{Action, Event, LossReason, PinCheck, PinSource};
pub use host::{Host, HostMode, HostRules, Opening, Router};
pub use link::{Evidence, Link, LinkId, LinkLayerAddress, Medium, Neighbour, Outcome};
pub use portal::{CaptivePortal, Portal, PortalAnswer, PortalCheck, Recheck, Visitor};
pub use state::{
    Card, CardFault, CertificateFault, Confirmation, Insertion, Intent, Key, Location, Op,
    OutsideReason, Retry, Session, State, Tunnel, Verified,
};
pub use time::{Deadline, DeadlineReason, Time};

use sluss_policy::Policy;

/// One turn: fold the event into the picture of the world, then act on what it changes.
pub fn step(policy: &Policy, mut state: State, event: Event, now: Time) -> (State, Vec<Action>) {
    let mut actions: Vec<Action> = state.observe(policy, event, now).into_iter().collect();
    state.decide(policy, now, &mut actions);
    (state, actions)
}
