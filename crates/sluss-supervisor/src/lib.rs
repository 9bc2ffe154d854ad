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
//! wanted and what is: each is cut by subject into [`Location`], [`Portal`], [`Key`], [`Tunnel`] and [`Host`]. Workers do what the actions say and answer with an event that carries the same [`Op`];
//! an answer with any other `Op` comes too late and changes nothing. Each worker does its actions in order.
//! The caller steps once more, with [`Event::Tick`], when [`State::deadline`] has come.

mod card;
mod decide;
mod event;
mod host;
mod key;
mod link;
mod location;
mod observe;
mod portal;
mod proof;
mod state;
#[cfg(test)]
mod tests;
mod time;
mod tunnel;
mod unrest;

pub use card::{Card, CardFault, CertificateFault, Insertion};
pub use event::{Action, Event, LossReason, PinCheck, PinSource};
pub use host::{Host, HostMode, HostRules, Opening, Router};
pub use key::Key;
pub use link::{Evidence, Link, LinkId, LinkLayerAddress, Medium, Neighbour, Outcome};
pub use location::{Confirmation, Location, OutsideReason, Verified};
pub use portal::{CaptivePortal, OPENINGS, Portal, PortalAnswer, PortalCheck, Recheck, Visitor};
pub use proof::suffices;
pub use state::{Intent, Op, State};
pub use time::{Deadline, DeadlineReason, Time};
pub use tunnel::{Change, Retry, Session, Tunnel};

use sluss_policy::Policy;

/// One turn: fold the event into the picture of the world, then act on what it changes.
pub fn step(policy: &Policy, mut state: State, event: Event, now: Time) -> (State, Vec<Action>) {
    let mut actions: Vec<Action> = state.observe(policy, event, now).into_iter().collect();
    state.decide(policy, now, &mut actions);
    (state, actions)
}
