//! How the visits went: counted, and told now and then.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sluss_beacon::VisitEnd;

/// The log is told at most so often how many there were.
const SUMMARY_EVERY: Duration = Duration::from_secs(60 * 60);

/// The log is told at most so often of a laptop that turned away: they come in thousands.
const COMPLAINT_EVERY: Duration = Duration::from_secs(60);

/// Since the start.
#[derive(Default)]
pub(crate) struct Tally {
    answered: u64,
    declined: u64,
    other: u64,
    crowded_out: u64,
    summary: Pace,
    complaint: Pace,
}

/// What became of a connection.
#[derive(Debug)]
pub(crate) enum Outcome {
    Ended(VisitEnd),
    /// The caller left before its end, or did not come to one.
    Broken,
    /// It was the oldest of too many.
    CrowdedOut,
}

impl Tally {
    /// Counts, and tells the log what is due. Nothing wakes to do so: it is told with a visit.
    pub(crate) fn count(&mut self, caller: SocketAddr, outcome: &Outcome, now: Instant) {
        match outcome {
            Outcome::Ended(VisitEnd::Answered) => self.answered += 1,
            Outcome::Ended(VisitEnd::Declined(alert)) => {
                self.declined += 1;
                if self.complaint.is_due(COMPLAINT_EVERY, now) {
                    tracing::warn!(
                        "{} did not want this beacon's key or certificate ({alert:?}): its policy may pin another one; {} did so",
                        caller.ip(),
                        self.declined,
                    );
                }
            }
            Outcome::Ended(VisitEnd::Garbled(_)) | Outcome::Broken => self.other += 1,
            Outcome::CrowdedOut => self.crowded_out += 1,
        }
        tracing::debug!("{caller}: {outcome:?}");
        if self.summary.is_due(SUMMARY_EVERY, now) {
            tracing::info!("{self}");
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            answered,
            declined,
            other,
            crowded_out,
            ..
        } = self;
        write!(
            f,
            "answered {answered}, declined {declined}, other {other}, crowded out {crowded_out}"
        )
    }
}

/// When something was told last.
#[derive(Default)]
struct Pace(Option<Instant>);

impl Pace {
    fn is_due(&mut self, every: Duration, now: Instant) -> bool {
        let due = self.0.is_none_or(|last| now.duration_since(last) >= every);
        if due {
            self.0 = Some(now);
        }
        due
    }
}
