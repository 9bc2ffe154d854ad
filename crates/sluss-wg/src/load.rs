//! How many handshakes others may make us compute: token buckets and the gate that says "under load" (whitepaper 5.3).

use core::time::Duration;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use crate::Time;

/// A token bucket as one instant, the one at which it would be full again (the "virtual scheduling" of ATM's GCRA).
#[derive(Clone, Copy, Default)]
pub(crate) struct Bucket {
    full_at: Time,
}

/// How fast a bucket fills, and how many tokens it holds.
pub(crate) struct Rate {
    pub(crate) every: Duration,
    pub(crate) burst: u32,
}

impl Bucket {
    /// Takes a token if there is one.
    pub(crate) fn take(&mut self, rate: &Rate, now: Time) -> bool {
        let full_at = self.full_at.max(now) + rate.every;
        let has_token = full_at.saturating_since(now) <= rate.every * rate.burst;
        if has_token {
            self.full_at = full_at;
        }
        has_token
    }
}

/// Handshake messages beyond this mean load: a laptop sees one in two minutes, and a core can do some thousands a second.
const CALM: Rate = Rate {
    every: Duration::from_millis(20),
    burst: 50,
};

/// How long load is taken to last after the calm rate was last exceeded.
const STICKS: Duration = Duration::from_secs(1);

/// What one source may ask under load, once its cookie has shown that it is there.
const PER_SOURCE: Rate = Rate {
    every: Duration::from_millis(50),
    burst: 5,
};

/// Sources remembered at most.
const SOURCES: usize = 1024;

/// Tells calm from load, and shares out what is left under load.
#[derive(Default)]
pub(crate) struct Gate {
    calm: Bucket,
    loaded_until: Time,
    sources: BTreeMap<u128, Bucket>,
}

impl Gate {
    /// Counts one message that has a valid mac1; says whether we are under load.
    pub(crate) fn is_loaded(&mut self, now: Time) -> bool {
        if !self.calm.take(&CALM, now) {
            self.loaded_until = now + STICKS;
        }
        now < self.loaded_until
    }

    /// Whether the sender of a message with a valid mac2 may have it answered.
    pub(crate) fn allows(&mut self, from: SocketAddr, now: Time) -> bool {
        if self.sources.len() >= SOURCES {
            self.sources.retain(|_, bucket| bucket.full_at > now);
        }
        let source = source(from.ip());
        let has_room = self.sources.len() < SOURCES || self.sources.contains_key(&source);
        has_room
            && self
                .sources
                .entry(source)
                .or_default()
                .take(&PER_SOURCE, now)
    }
}

/// An IPv4 address, or the /64 of an IPv6 one: what one sender is sure to share with nobody.
fn source(ip: IpAddr) -> u128 {
    match ip.to_canonical() {
        IpAddr::V4(ip) => u32::from(ip).into(),
        IpAddr::V6(ip) => u128::from(ip) >> 64 << 64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::since_boot(Duration::from_millis(1_000_000 + millis))
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let (mut bucket, rate) = (
            Bucket::default(),
            Rate {
                every: Duration::from_secs(1),
                burst: 3,
            },
        );
        let taken = |bucket: &mut Bucket, now| (0..10).filter(|_| bucket.take(&rate, now)).count();
        assert_eq!(taken(&mut bucket, at(0)), 3);
        assert_eq!(taken(&mut bucket, at(999)), 0);
        assert_eq!(taken(&mut bucket, at(1000)), 1);
        assert_eq!(
            taken(&mut bucket, at(60_000)),
            3,
            "never more than the burst"
        );
    }

    #[test]
    fn load_begins_with_a_flood_and_ends_after_it() {
        let mut gate = Gate::default();
        assert!(!gate.is_loaded(at(0)));
        assert!((0..200).any(|_| gate.is_loaded(at(1))));
        assert!(gate.is_loaded(at(900)));
        assert!(!gate.is_loaded(at(10_000)));
    }

    #[test]
    fn one_source_cannot_use_up_what_another_has_and_memory_is_bounded() {
        let mut gate = Gate::default();
        let from = |n: u32| SocketAddr::from((n.to_be_bytes(), 1));
        assert_eq!((0..100).filter(|_| gate.allows(from(1), at(0))).count(), 5);
        assert!(gate.allows(from(2), at(0)));
        for n in 0..2_000 {
            gate.allows(from(n), at(1));
        }
        assert!(gate.sources.len() <= SOURCES);
        assert!(gate.allows(from(77), at(60_000)), "old sources make room");
    }
}
