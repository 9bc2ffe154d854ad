//! The boot clock of a program of the lab: real, until the lab makes it jump, as it does while a laptop sleeps.
//!
//! The program is started with `tests/clock-shim` preloaded. It adds the offset in a shared file to CLOCK_BOOTTIME, and
//! moves its boot-time timers when the file changes.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use crate::artifacts;

pub struct BootClock {
    path: PathBuf,
    file: File,
    offset: Duration,
}

impl BootClock {
    /// A clock that does not yet differ from the real one; its file is in `directory`.
    pub fn new(directory: &Path) -> Result<BootClock> {
        let path = directory.join("boot-clock");
        let file = File::create(&path)?;
        let clock = BootClock {
            path,
            file,
            offset: Duration::ZERO,
        };
        clock.write()?;
        Ok(clock)
    }

    /// The environment of a program that is to live by this clock.
    pub fn environment(&self) -> Result<[(&'static str, PathBuf); 2]> {
        Ok([
            ("LD_PRELOAD", artifacts::clock_shim()?),
            ("SLUSS_LAB_CLOCK", self.path.clone()),
        ])
    }

    /// So much time passes at once.
    pub fn jump(&mut self, by: Duration) -> Result<()> {
        self.offset += by;
        self.write()
    }

    fn write(&self) -> Result<()> {
        let nanoseconds = i64::try_from(self.offset.as_nanos())?;
        Ok(self.file.write_all_at(&nanoseconds.to_ne_bytes(), 0)?)
    }
}
