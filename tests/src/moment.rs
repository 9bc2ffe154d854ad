//! Points in time that all of the lab shares, and waiting for something with a deadline.
//!
//! A moment is the time since 1970 on the real-time clock, since that is what the kernel stamps captured packets with.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};

pub fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Milliseconds from one moment to a later one; 0 where the order is the other way round.
pub fn millis(from: Duration, to: Duration) -> u64 {
    u64::try_from(to.saturating_sub(from).as_millis()).unwrap_or(u64::MAX)
}

/// Looks until `look` finds something, and fails with `what` after `deadline`.
pub fn eventually<T>(
    what: &str,
    deadline: Duration,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let started = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if started.elapsed() > deadline {
            bail!("not within {deadline:?}: {what}");
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// The median; of an even number the lower of the two in the middle.
pub fn median(mut values: Vec<u64>) -> Option<u64> {
    values.sort_unstable();
    values.get(values.len().checked_sub(1)? / 2).copied()
}
