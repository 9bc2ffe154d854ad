//! How restless the network has been, and so how long to hold still before the beacons are asked.
//!
//! Whoever shares a link can make its carrier, or its gateway's link-layer address, come and go. Each of these may be a
//! change of place and is looked into, but the more there are of them, the later.

use std::time::Duration;

use sluss_policy::Timing;

use crate::Time;

/// Carriers that are lost so soon after each other are one that flaps.
const FLAPPING: Duration = Duration::from_secs(10);
/// After so many in a row a person is told.
const TOLD_AFTER: u8 = 3;
/// From one question for a neighbour's sake to the next.
const BETWEEN_QUESTIONS: Duration = Duration::from_secs(5);
/// Each doubt lasts five seconds, and the slowest switch takes thirty.
const DOUBTS: u8 = 6;
/// A carrier that has been lost so often in a row is judged as it is: it may flap for ever.
const WAITED_OUT: u8 = 32;
/// A pause is doubled so often at most: five minutes.
const DOUBLINGS: u8 = 6;

/// What disturbed the network of late.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Unrest {
    /// Carriers lost in a row, and when the last one was.
    flaps: u8,
    lost_at: Option<Time>,
    /// How often the verdict was put off since the links changed.
    doubts: u8,
    /// How often the proof of being inside was lost since the links changed.
    lapses: u8,
    /// The last question for a neighbour's sake.
    asked_at: Option<Time>,
}

impl Unrest {
    pub(crate) fn carrier_lost(&mut self, now: Time) {
        let soon = self
            .lost_at
            .is_some_and(|lost_at| now.since(lost_at) < FLAPPING);
        self.flaps = if soon {
            self.flaps.saturating_add(1)
        } else {
            1
        };
        self.lost_at = Some(now);
    }

    /// The links are others: what went before was another place.
    pub(crate) fn moved(&mut self) {
        (self.doubts, self.lapses) = (0, 0);
    }

    pub(crate) fn doubted(&mut self) {
        self.doubts = self.doubts.saturating_add(1);
    }

    pub(crate) fn decided(&mut self) {
        self.doubts = 0;
    }

    pub(crate) fn lapsed(&mut self) {
        self.lapses = self.lapses.saturating_add(1);
    }

    pub(crate) fn in_doubt(&self) -> bool {
        self.doubts > 0
    }

    pub(crate) fn may_doubt(&self) -> bool {
        self.doubts < DOUBTS
    }

    pub(crate) fn is_flapping(&self, now: Time) -> bool {
        let lately = self
            .lost_at
            .is_some_and(|lost_at| now.since(lost_at) < FLAPPING);
        lately && self.flaps >= TOLD_AFTER
    }

    pub(crate) fn may_wait(&self) -> bool {
        self.flaps < WAITED_OUT
    }

    /// How long it must be quiet, and how long that is waited for. Doubles while carriers come and go.
    pub(crate) fn patience(&self, timing: &Timing) -> (Duration, Duration) {
        let doublings = u32::from(self.flaps.saturating_sub(1).min(DOUBLINGS));
        let quiet = timing
            .settle_quiet
            .saturating_mul(1 << doublings)
            .min(timing.settle_limit * 2)
            .max(timing.settle_quiet);
        (quiet, timing.settle_limit.max(quiet * 2))
    }

    /// Doubles with each proof that was lost without a change of links, so that nobody can make a tunnel come and go.
    pub(crate) fn pause(&self, pause: Duration) -> Duration {
        pause.saturating_mul(1 << u32::from(self.lapses.min(DOUBLINGS)))
    }

    /// Without what only lengthens a pause.
    #[cfg(test)]
    pub(crate) fn flatten(&mut self) {
        *self = Self {
            doubts: self.doubts.min(1),
            ..Self::default()
        };
    }

    /// When the proof of being inside may be asked about for a neighbour's sake.
    pub(crate) fn question_about_inside(&mut self, now: Time) -> Time {
        self.question(BETWEEN_QUESTIONS, now)
    }

    /// The same of the verdict of being outside.
    pub(crate) fn question_about_outside(&mut self, now: Time) -> Time {
        self.question(self.pause(BETWEEN_QUESTIONS), now)
    }

    fn question(&mut self, pause: Duration, now: Time) -> Time {
        let at = match self.asked_at {
            Some(planned) if planned > now => planned,
            Some(asked_at) => now.max(asked_at + pause),
            None => now,
        };
        self.asked_at = Some(at);
        at
    }
}
