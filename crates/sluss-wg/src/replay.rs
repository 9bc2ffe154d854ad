//! The sliding window that lets each counter through once (whitepaper 5.4.6; RFC 6479's ring of words).

const WORDS: usize = 256;

/// Which of the last [`Window::SIZE`] counters have come. Reordering within that is fine, a repetition never.
pub(crate) struct Window {
    newest: Option<u64>,
    seen: [u64; WORDS],
}

impl Window {
    /// One word of the ring is always being cleared for what comes next.
    pub(crate) const SIZE: u64 = (WORDS as u64 - 1) * 64;

    pub(crate) const fn new() -> Self {
        Self {
            newest: None,
            seen: [0; WORDS],
        }
    }

    /// Whether `counter` could still be accepted. Asked before decrypting, to spare the work; it changes nothing.
    pub(crate) fn admits(&self, counter: u64) -> bool {
        match self.newest {
            None => true,
            Some(newest) if counter > newest => true,
            Some(newest) => {
                newest - counter < Self::SIZE && self.seen[word(counter)] & bit(counter) == 0
            }
        }
    }

    /// Marks an authenticated counter, and says whether it is the newest so far. `None` if it came before, or is too old.
    pub(crate) fn accept(&mut self, counter: u64) -> Option<bool> {
        if !self.admits(counter) {
            return None;
        }
        let is_newest = self.newest.is_none_or(|newest| counter > newest);
        if is_newest {
            let block = counter / 64;
            let first_new = self.newest.map_or(block, |newest| newest / 64 + 1);
            for passed in first_new.max(block.saturating_sub(WORDS as u64 - 1))..=block {
                self.seen[passed as usize % WORDS] = 0;
            }
            self.newest = Some(counter);
        }
        self.seen[word(counter)] |= bit(counter);
        Some(is_newest)
    }
}

fn word(counter: u64) -> usize {
    (counter / 64) as usize % WORDS
}

fn bit(counter: u64) -> u64 {
    1 << (counter % 64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::crypto::Rng;

    impl Window {
        fn takes(&mut self, counter: u64) -> bool {
            self.accept(counter).is_some()
        }
    }

    #[test]
    fn the_window_is_at_least_8192_wide() {
        let mut window = Window::new();
        assert!(window.takes(100_000));
        assert!(window.takes(100_000 - 8191));
        assert!(!window.takes(100_000 - 8191));
        assert!(
            !window.takes(100_000 - Window::SIZE),
            "older than the window"
        );
    }

    #[test]
    fn the_highest_counters_do_not_wrap() {
        let mut window = Window::new();
        assert!(window.takes(u64::MAX));
        assert!(!window.takes(u64::MAX));
        assert!(window.takes(u64::MAX - 1));
        assert!(!window.takes(0));
    }

    #[test]
    fn a_long_run_is_let_through_though_each_block_comes_backwards() {
        let mut window = Window::new();
        let blocks = (0..4 * Window::SIZE).step_by(64);
        let mut counters = blocks.flat_map(|first| (first..first + 64).rev());
        assert!(counters.all(|counter| window.takes(counter)));
    }

    /// Wherever the edge is: what is let through once is not let through twice, and nothing newer suffers for it.
    #[test]
    fn the_edge_of_the_window_is_sharp() {
        for newest in 100_000..100_064 {
            let mut window = Window::new();
            assert!(window.takes(newest));
            for distance in Window::SIZE - 130..Window::SIZE + 130 {
                window.takes(newest - distance);
                assert!(
                    !window.takes(newest - distance),
                    "{distance} before {newest}"
                );
            }
            let later = newest + 1..newest + 65;
            assert!(
                later.rev().all(|counter| window.takes(counter)),
                "after {newest}"
            );
        }
    }

    /// Against the plainest statement of the rule: a set of all that came, and the newest.
    #[test]
    fn random_walks_agree_with_a_set() {
        let seed = 20_261_122;
        println!("seed {seed}");
        let mut rng = Rng::new([seed as u8; 32]);
        for _ in 0..5 {
            let (mut window, mut seen, mut newest) = (Window::new(), BTreeSet::new(), 0u64);
            for _ in 0..3_000 {
                let reach = [10, 100, Window::SIZE, 2 * Window::SIZE, 50 * Window::SIZE]
                    [rng.word() as usize % 5];
                let counter = (newest + u64::from(rng.word()) % reach)
                    .saturating_sub(u64::from(rng.word()) % reach);
                let fresh = seen.is_empty() || counter > newest || newest - counter < Window::SIZE;
                assert_eq!(
                    window.takes(counter),
                    fresh && !seen.contains(&counter),
                    "{counter} after {newest}"
                );
                if fresh {
                    seen.insert(counter);
                    newest = newest.max(counter);
                }
            }
        }
    }
}
