//! Memory for secrets: never on disk, not in core dumps, not inherited, wiped before it is given back.

use std::fmt;

use zeroize::Zeroize;

use crate::Result;

/// How far memory is kept from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// memfd_secret(2): mapped nowhere but in this process, so that neither a debugger nor the kernel's own
    /// `/proc/PID/mem` can read it. Linux 5.14, where it is switched on. While one exists the machine cannot hibernate.
    Hidden,
    /// mlock(2): cannot be swapped out. Root can read it as it can read any memory.
    Locked,
}

/// A few pages for secrets, zero at first. Wiped and given back when dropped.
///
/// Locked memory is kept from swap, but hibernation writes it to disk: drop areas before the laptop sleeps.
pub struct Area {
    pages: pages::Pages,
    kind: Kind,
}

impl Area {
    /// An area of `length` bytes, at least one, of the best kind that this kernel has.
    ///
    /// # Errors
    /// [`Error::System`](crate::Error::System) if no memory may be locked (RLIMIT_MEMLOCK).
    pub fn new(length: usize) -> Result<Area> {
        Area::of_kind(Kind::Hidden, length).or_else(|_| Area::of_kind(Kind::Locked, length))
    }

    /// An area of this kind or none.
    ///
    /// # Errors
    /// As [`Area::new`], and if the kernel does not have this kind.
    pub fn of_kind(kind: Kind, length: usize) -> Result<Area> {
        let pages = match kind {
            Kind::Hidden => pages::hidden(length),
            Kind::Locked => pages::locked(length),
        }?;
        Ok(Area { pages, kind })
    }

    /// What it came to be.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Lets `use_it` see the content.
    pub fn read<T>(&self, use_it: impl FnOnce(&[u8]) -> T) -> T {
        use_it(self.pages.bytes())
    }

    /// Lets `change` write the content.
    pub fn write<T>(&mut self, change: impl FnOnce(&mut [u8]) -> T) -> T {
        change(self.pages.bytes_mut())
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        self.pages.bytes_mut().zeroize();
    }
}

impl fmt::Debug for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Area")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// Whole pages of a mapping that this process made.
mod pages {
    #![allow(unsafe_code)]

    use std::ffi::c_void;
    use std::io;
    use std::num::NonZeroUsize;
    use std::os::fd::{FromRawFd, OwnedFd, RawFd};
    use std::ptr::NonNull;

    use nix::errno::Errno;
    use nix::libc;
    use nix::sys::mman::{
        MapFlags, MmapAdvise, ProtFlags, madvise, mlock, mmap, mmap_anonymous, munmap,
    };
    use nix::unistd::ftruncate;

    use crate::{Error, Result};

    pub(super) struct Pages {
        start: NonNull<c_void>,
        length: NonZeroUsize,
    }

    // SAFETY: the mapping belongs to this value alone, and memory may be used from any thread.
    unsafe impl Send for Pages {}
    // SAFETY: as above; through a shared reference it can only be read.
    unsafe impl Sync for Pages {}

    const READ_WRITE: ProtFlags = ProtFlags::PROT_READ.union(ProtFlags::PROT_WRITE);

    /// Pages behind a descriptor that is closed again: the mapping keeps them.
    pub(super) fn hidden(length: usize) -> Result<Pages> {
        let length = at_least_one(length)?;
        let file = memfd_secret().map_err(Error::system("make hidden memory"))?;
        let size = i64::try_from(length.get()).map_err(|_| no_such_length())?;
        ftruncate(&file, size).map_err(Error::system("size hidden memory"))?;
        // SAFETY: a new mapping at an address that the kernel chooses touches no memory of ours.
        let start = unsafe { mmap(None, length, READ_WRITE, MapFlags::MAP_SHARED, &file, 0) };
        let start = start.map_err(Error::system("map hidden memory"))?;
        Pages { start, length }.kept_here()
    }

    /// Anonymous pages that stay in memory.
    pub(super) fn locked(length: usize) -> Result<Pages> {
        let length = at_least_one(length)?;
        // SAFETY: as above.
        let start = unsafe { mmap_anonymous(None, length, READ_WRITE, MapFlags::MAP_PRIVATE) };
        let start = start.map_err(Error::system("map memory"))?;
        let pages = Pages { start, length };
        // SAFETY: exactly the pages that were mapped.
        unsafe { mlock(pages.start, length.get()) }.map_err(Error::system("lock memory"))?;
        pages.kept_here()
    }

    impl Pages {
        /// Keeps the pages out of core dumps and child processes.
        fn kept_here(self) -> Result<Pages> {
            for advice in [MmapAdvise::MADV_DONTDUMP, MmapAdvise::MADV_DONTFORK] {
                // SAFETY: neither advice changes what this process sees of its own mapping.
                unsafe { madvise(self.start, self.length.get(), advice) }
                    .map_err(Error::system("keep memory from dumps and children"))?;
            }
            Ok(self)
        }

        pub(super) fn bytes(&self) -> &[u8] {
            // SAFETY: mapped for reading as long as `self` lives, zeroed by the kernel, and borrowed as `self` is.
            unsafe { std::slice::from_raw_parts(self.start.cast().as_ptr(), self.length.get()) }
        }

        pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
            // SAFETY: as above, mapped for writing, and borrowed alone.
            unsafe { std::slice::from_raw_parts_mut(self.start.cast().as_ptr(), self.length.get()) }
        }
    }

    impl Drop for Pages {
        fn drop(&mut self) {
            // SAFETY: mapped by us with this length, and nothing borrows it any more. Failing would mean otherwise.
            let _ = unsafe { munmap(self.start, self.length.get()) };
        }
    }

    /// nix does not have the call.
    fn memfd_secret() -> nix::Result<OwnedFd> {
        // SAFETY: takes flags by value and touches no memory.
        let answer = unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) };
        let descriptor = RawFd::try_from(Errno::result(answer)?).map_err(|_| Errno::EBADF)?;
        // SAFETY: the kernel has just opened it for us.
        Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
    }

    fn at_least_one(length: usize) -> Result<NonZeroUsize> {
        NonZeroUsize::new(length).ok_or_else(no_such_length)
    }

    fn no_such_length() -> Error {
        Error::system("map memory of this length")(io::Error::from(io::ErrorKind::InvalidInput))
    }
}

#[cfg(test)]
mod tests;
