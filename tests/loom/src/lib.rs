//! Where the tunnel's threads meet, tried in every order of events that the memory model allows.
//!
//! The two files are those of the product. They take their atomics and locks from `crate::sync`, which is the standard
//! library's there and loom's here; so no build of the product knows that loom exists.

#![cfg(test)]

#[path = "../../../crates/sluss-wg/src/activity.rs"]
#[expect(dead_code, unreachable_pub, reason = "the notices are for others")]
mod activity;
#[path = "../../../crates/sluss-tunnel/src/mailbox.rs"]
mod mailbox;

mod activity_model;
mod mailbox_model;

use sluss_tunnel::Waker;
use sluss_wg::{PeerId, Time};

/// What `crate::sync` is in both crates.
mod sync {
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    pub(crate) use loom::sync::{Mutex, MutexGuard};
}

/// Tries `model` in every order of events in which a thread is interrupted thrice at most.
fn explore(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}
