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
    /// While nobody answers an initiation, the next of a peer's endpoints are called after this, or sooner if there are many.
    pub call_gap: Duration,
    /// After this the best endpoints are tried again, with the next handshake.
    pub hold_down: Duration,
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
            call_gap: Duration::from_secs(1),
            hold_down: Duration::from_secs(300),
        }
    }
}

/// A TAI64N stamp: 8 bytes of seconds and 4 of nanoseconds, big-endian, so that bytes order as time does (whitepaper 5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tai64n(pub [u8; 12]);

/// TAI64N's label for 1970-01-01: 2^62 and the ten seconds that TAI was ahead of UTC then.
const EPOCH: u64 = (1 << 62) + 10;

/// Stamps are rounded to this, some 17 ms, so that they do not tell the exact time of this machine.
const GRAIN: Duration = Duration::from_nanos(1 << 24);

impl Tai64n {
    /// The stamp of an instant of the wall clock, given as the time since the UNIX epoch.
    pub fn from_unix(wall: Duration) -> Self {
        Self::from_parts(EPOCH.saturating_add(wall.as_secs()), wall.subsec_nanos())
    }

    fn from_parts(seconds: u64, nanos: u32) -> Self {
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&seconds.to_be_bytes());
        bytes[8..].copy_from_slice(&nanos.to_be_bytes());
        Self(bytes)
    }

    fn plus(self, duration: Duration) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = self.0;
        let seconds = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        let nanos =
            u64::from(u32::from_be_bytes([i, j, k, l])) + u64::from(duration.subsec_nanos());
        let (carry, nanos) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
        Self::from_parts(
            seconds
                .saturating_add(duration.as_secs())
                .saturating_add(carry),
            nanos as u32,
        )
    }
}

/// The stamps of one key: each later than all before it, across restarts too, whatever the wall clock does.
pub(crate) struct Stamps {
    last: Tai64n,
    persisted: Tai64n,
}

impl Stamps {
    /// How far ahead of the clock the persisted stamp lies. More would spare disk writes, but after a restart the stamps go on
    /// from there, and a card that then moves to another laptop is refused by the gateway until that one's clock gets there.
    const BLOCK: Duration = Duration::from_secs(300);

    /// The block while the stamps themselves are ahead of the clock, so that a crash loop does not push them on and on.
    const SMALL_BLOCK: Duration = Duration::from_secs(1);

    pub(crate) fn new(floor: Tai64n) -> Self {
        Self {
            last: floor,
            persisted: floor,
        }
    }

    /// The stamp to send now and, if it is beyond what was persisted, the stamp to persist first.
    pub(crate) fn next(&mut self, wall: Duration) -> (Tai64n, Option<Tai64n>) {
        let grains = wall.as_nanos() / GRAIN.as_nanos();
        let clock = Tai64n::from_unix(Duration::from_nanos_u128(grains * GRAIN.as_nanos()));
        self.last = clock.max(self.last.plus(GRAIN));
        let beyond = (self.last > self.persisted).then(|| {
            clock
                .plus(Self::BLOCK)
                .max(self.last.plus(Self::SMALL_BLOCK))
        });
        self.persisted = beyond.unwrap_or(self.persisted);
        (self.last, beyond)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Duration = Duration::from_secs(1_795_000_000);

    /// TAI64N as D. J. Bernstein writes it down: 1970-01-01 00:00:00 TAI, ten seconds before the UNIX epoch, is 2^62.
    #[test]
    fn the_unix_epoch_has_its_label() {
        assert_eq!(
            Tai64n::from_unix(Duration::new(1, 2)).0,
            [0x40, 0, 0, 0, 0, 0, 0, 11, 0, 0, 0, 2]
        );
    }

    #[test]
    fn stamps_rise_even_if_the_clock_stands_or_falls() {
        let mut stamps = Stamps::new(Tai64n::default());
        let mut last = Tai64n::default();
        for wall in [
            NOON,
            NOON,
            NOON - Duration::from_secs(86_400),
            Duration::ZERO,
            NOON,
            NOON + GRAIN,
        ] {
            let (stamp, _) = stamps.next(wall);
            assert!(stamp > last);
            last = stamp;
        }
    }

    /// Whatever was persisted when the daemon died, the next start's stamps are beyond all that were sent before.
    #[test]
    fn stamps_rise_across_restarts_with_the_clock_set_back() {
        let (mut floor, mut last) = (Tai64n::default(), Tai64n::default());
        for restart in 0..50u64 {
            let mut stamps = Stamps::new(floor);
            let wall = NOON - Duration::from_secs(restart * 1000);
            for handshake in 0..4 {
                let (stamp, persist) = stamps.next(wall + Duration::from_secs(handshake * 120));
                floor = persist.unwrap_or(floor);
                assert!(
                    stamp > last && stamp <= floor,
                    "never sent before it was persisted"
                );
                last = stamp;
            }
        }
    }

    /// Persisting is a disk write, and a laptop on battery has a handshake every two minutes.
    #[test]
    fn few_handshakes_need_a_write() {
        let mut stamps = Stamps::new(Tai64n::default());
        let handshakes = (0..30).map(|handshake| NOON + Duration::from_secs(handshake * 120));
        let writes = handshakes
            .filter(|&wall| stamps.next(wall).1.is_some())
            .count();
        assert_eq!(writes, 10, "one in three");
    }

    #[test]
    fn a_crash_loop_does_not_run_away_from_the_clock() {
        let (mut floor, mut last) = (Tai64n::default(), Tai64n::default());
        for restart in 0..100 {
            let (stamp, persist) = Stamps::new(floor).next(NOON + Duration::from_secs(restart));
            (floor, last) = (persist.unwrap_or(floor), stamp);
        }
        assert!(last < Tai64n::from_unix(NOON + Duration::from_secs(100) + 2 * Stamps::BLOCK));
    }
}
