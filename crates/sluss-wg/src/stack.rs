//! What finished calls leave behind on the stack, overwritten.

use core::hint::black_box;

use zeroize::Zeroize;

/// Deeper than any call that handles a key, in 64-bit words: 64 KiB.
const DEPTH: usize = 8 * 1024;

/// Overwrites the stack below the caller.
///
/// Owners wipe their keys, but a key that was moved, or lay in a register too many, has left copies behind that nobody owns; the cipher's
/// own code leaves one for every packet. Call it where secrets are at rest again, and at the end of a thread: its stack is kept for
/// the next one. Some microseconds.
#[inline(never)]
pub fn wipe_stack() {
    let mut stale = [0u64; DEPTH];
    // Volatile, so that it happens although nobody reads it.
    stale.zeroize();
    black_box(&stale);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Leaves a pattern behind, deeper than the test itself goes afterwards, and says where.
    #[inline(never)]
    fn litter() -> usize {
        let mut litter = [0u8; 32 * 1024];
        litter[..1024].fill(black_box(0xA7));
        black_box(&litter).as_ptr().addr()
    }

    /// Whether it is there, as the kernel sees it: no safe code can look at what no call owns.
    fn is_littered(at: usize) -> bool {
        use std::os::unix::fs::FileExt;
        let mut bytes = vec![0; 1024];
        let memory = std::fs::File::open("/proc/self/mem").unwrap();
        memory.read_exact_at(&mut bytes, at as u64).unwrap();
        bytes.windows(16).any(|window| window == [0xA7; 16])
    }

    #[test]
    fn what_a_call_left_is_gone() {
        let at = litter();
        assert!(is_littered(at));
        wipe_stack();
        assert!(!is_littered(at));
    }
}
