//! What the mailbox is made of: the standard library's here, loom's in `tests/loom`, which tries every order of events.

pub(crate) use std::sync::atomic::{AtomicBool, Ordering};
pub(crate) use std::sync::{Mutex, MutexGuard};
