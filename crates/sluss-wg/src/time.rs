//! Time as the protocol sees it: instants since boot, the section 6 constants, and TAI64N stamps.

use core::ops::{Add, Sub};
use core::time::Duration;

/// An instant since boot, time asleep included (CLOCK_BOOTTIME): a 180 second key must not survive the night.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(Duration);

impl Time {
    pub const fn since_boot(elapsed: Duration) -> Self {
        Self(elapsed)
    }

    pub const fn elapsed_since_boot(self) -> Duration {
        self.0
    }

    /// How long ago `earlier` was; zero if it has not come yet.
    pub fn saturating_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

impl Sub<Duration> for Time {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(duration))
    }
}

/// The two clocks that control needs, read once per turn by the caller.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    pub boot: Time,
    /// Since the UNIX epoch. Used for TAI64N stamps and nothing else, so that a wrong wall clock hurts nothing else.
    pub wall: Duration,
}

/// The constants of whitepaper section 6.1, and the few that an implementation chooses. [`Default`] gives the paper's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// REKEY-AFTER-TIME: the initiator of a session starts the next handshake when it sends after this.
    pub rekey_after: Duration,
    /// REJECT-AFTER-TIME: a session neither sends nor receives after this.
    pub reject_after: Duration,
    /// REKEY-ATTEMPT-TIME: give up a handshake that nobody answers after this.
    pub rekey_attempt: Duration,
    /// REKEY-TIMEOUT: send the initiation again after this, plus jitter.
    pub rekey_timeout: Duration,
    /// The most that is added at random to `rekey_timeout` (whitepaper 6.1: a third of a second).
    pub jitter: Duration,
    /// KEEPALIVE-TIMEOUT: answer data with a keepalive if nothing else was sent for this long.
    pub keepalive: Duration,
    /// REKEY-AFTER-MESSAGES.
    pub rekey_after_messages: u64,
    /// REJECT-AFTER-MESSAGES.
    pub reject_after_messages: u64,
    /// How long the holder of the static key may take for one Diffie-Hellman before the request is abandoned.
    pub dh_timeout: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            rekey_after: Duration::from_secs(120),
            reject_after: Duration::from_secs(180),
            rekey_attempt: Duration::from_secs(90),
            rekey_timeout: Duration::from_secs(5),
            jitter: Duration::from_nanos(1_000_000_000 / 3),
            keepalive: Duration::from_secs(10),
            rekey_after_messages: 1 << 60,
            reject_after_messages: u64::MAX - (1 << 13),
            dh_timeout: Duration::from_secs(15),
        }
    }
}

/// A TAI64N stamp: 8 bytes of seconds and 4 of nanoseconds, big-endian, so that bytes order as time does (whitepaper 5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tai64n(pub [u8; 12]);
