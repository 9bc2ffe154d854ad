//! A PIN that waits for its session: on a page of its own that is neither swapped nor dumped, and wiped when done.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::num::NonZero;
use std::ptr::NonNull;

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mlock, mmap_anonymous, munmap};
use sluss_ipc::Pin;
use zeroize::{Zeroize, Zeroizing};

use crate::error::Error;

/// The kernel's smallest unit; a PIN needs much less.
const PAGE: NonZero<usize> = NonZero::new(4096).unwrap();

/// The page: the PIN's length in its first byte, then the PIN.
///
/// A program that forks between the PIN and the session gives its child an empty page (`MADV_WIPEONFORK`), in which the
/// length is 0.
pub(crate) struct Stash(NonNull<c_void>);

impl Stash {
    pub(crate) fn new(pin: &[u8]) -> Result<Self, Error> {
        if !(1..=Pin::MAX).contains(&pin.len()) {
            return Err(Error::NotAPin);
        }
        let readable = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new private mapping wherever the kernel likes; no memory that exists is touched.
        let page = unsafe { mmap_anonymous(None, PAGE, readable, MapFlags::MAP_PRIVATE) };
        // From here on, dropping it unmaps the page.
        let mut stash = Self(page.map_err(Error::NoMemory)?);
        stash.protect().map_err(Error::NoMemory)?;
        let bytes = stash.bytes_mut();
        bytes[1..=pin.len()].copy_from_slice(pin);
        bytes[0] = pin.len() as u8;
        Ok(stash)
    }

    /// The PIN, for sending; None in the child of a fork.
    pub(crate) fn pin(&self) -> Option<Pin> {
        // SAFETY: the mapping is readable, of this size, and lives as long as `self`.
        let bytes = unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast::<u8>(), PAGE.get()) };
        let length = usize::from(bytes[0]);
        Pin::new(Zeroizing::new(bytes[1..=length].to_vec()))
    }

    fn protect(&self) -> nix::Result<()> {
        // SAFETY: the range is exactly our mapping, and none of these calls moves or removes it.
        unsafe {
            mlock(self.0, PAGE.get())?;
            madvise(self.0, PAGE.get(), MmapAdvise::MADV_DONTDUMP)?;
            madvise(self.0, PAGE.get(), MmapAdvise::MADV_WIPEONFORK)
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: the mapping is writable, of this size, lives as long as `self`, and is borrowed as `self` is.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_ptr().cast::<u8>(), PAGE.get()) }
    }
}

impl Drop for Stash {
    fn drop(&mut self) {
        self.bytes_mut().zeroize();
        // SAFETY: the range is exactly our mapping, and nobody borrows from it any more. A failure would leave zeros behind.
        let _ = unsafe { munmap(self.0, PAGE.get()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel says about the mapping that holds `address` (proc(5), smaps).
    fn flags_of(address: usize) -> Option<String> {
        let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut lines = smaps.lines().skip_while(|line| {
            let range = line
                .split(' ')
                .next()
                .and_then(|range| range.split_once('-'));
            let bound = |hex| usize::from_str_radix(hex, 16).ok();
            !range.is_some_and(|(from, to)| match (bound(from), bound(to)) {
                (Some(from), Some(to)) => (from..to).contains(&address),
                _ => false,
            })
        });
        let flags = lines.find_map(|line| line.strip_prefix("VmFlags:"))?;
        Some(format!("{flags} "))
    }

    #[test]
    fn gives_back_what_was_put_in() {
        for pin in [&b"1"[..], b"123456", &[0xff; Pin::MAX]] {
            let stash = Stash::new(pin).unwrap();
            assert_eq!(stash.pin().unwrap().bytes(), pin);
        }
    }

    #[test]
    fn takes_nothing_that_no_card_takes() {
        for not_a_pin in [&b""[..], &[b'1'; Pin::MAX + 1], &[b'1'; 300]] {
            assert!(matches!(Stash::new(not_a_pin), Err(Error::NotAPin)));
        }
    }

    #[test]
    fn lies_in_memory_that_is_locked_not_dumped_and_not_inherited() {
        let stash = Stash::new(b"123456").unwrap();
        let flags = flags_of(stash.0.as_ptr() as usize).expect("mapped");
        for flag in [" lo ", " dd ", " wf "] {
            assert!(flags.contains(flag), "{flag:?} is not in {flags:?}");
        }
    }
}
