//! What the activity cells are made of: the standard library's here, loom's in `tests/loom`, which tries every order of events.

pub(crate) use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
