//! A process for other people's code: the daemon's own program once more, with nothing of the daemon in it.
//!
//! The daemon has the near end of a socket pair, the worker the far end as its standard input. A worker never outlives the
//! daemon, and ends at once when its handle is dropped, whatever it is doing.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::dup2_stdin;

use super::process;
use crate::{Error, Result};

/// What a worker gets of the daemon's environment: where the card service listens, and where middleware is configured.
const ENVIRONMENT: [&str; 3] = ["PCSCLITE_CSOCK_NAME", "OPENSC_CONF", "SOFTHSM2_CONF"];

/// A running worker. Reading and writing speaks to it; dropping it kills it.
#[derive(Debug)]
pub struct Worker {
    stream: UnixStream,
    process: Child,
}

impl Worker {
    /// Runs `program`, which has to begin with [`confine`]; the daemon's own is `/proc/self/exe`.
    ///
    /// The worker also ends with the thread that starts it.
    pub fn start(program: &Path, arguments: &[&OsStr]) -> Result<Worker> {
        let (stream, far) = UnixStream::pair().map_err(Error::system("make a pair of sockets"))?;
        let kept = ENVIRONMENT
            .iter()
            .filter_map(|name| Some((name, std::env::var_os(name)?)));
        let process = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(kept)
            .stdin(OwnedFd::from(far))
            .stdout(Stdio::null())
            // middleware that explains itself may do so with a PIN
            .stderr(Stdio::null())
            .spawn()
            .map_err(Error::system("start a worker process"))?;
        Ok(Worker { stream, process })
    }

    /// The process's number.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// How long a read may wait from now on; then it fails with [`io::ErrorKind::WouldBlock`].
    pub fn set_patience(&self, patience: Duration) -> io::Result<()> {
        self.stream.set_read_timeout(Some(patience))
    }
}

impl Read for Worker {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl Write for Worker {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // both fail only when it is gone already
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// In the worker, before anything else: gives up what the daemon may do and has open, ends with the daemon, cannot be dumped.
/// Gives the far end of the daemon's stream.
pub fn confine() -> Result<UnixStream> {
    privileges::close_inherited().map_err(Error::system("close the daemon's files"))?;
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(Error::system("end with the daemon"))?;
    process::harden()?;
    privileges::drop_all().map_err(Error::system("give up privileges"))?;
    prctl::set_no_new_privs().map_err(Error::system("give up privileges for good"))?;

    far_end().map_err(Error::system("take over the daemon's stream"))
}

fn far_end() -> io::Result<UnixStream> {
    let stream = io::stdin().as_fd().try_clone_to_owned()?;
    // so that the module cannot read from it
    dup2_stdin(File::open("/dev/null")?)?;
    Ok(UnixStream::from(stream))
}

/// What libc has no safe name for.
mod privileges {
    #![allow(unsafe_code)]

    use std::io;
    use std::ptr;

    use nix::libc;

    /// `_LINUX_CAPABILITY_VERSION_3` (capset(2)): two sets of 32 bits each.
    const VERSION: u32 = 0x2008_0522;

    /// `struct __user_cap_header_struct`.
    #[repr(C)]
    struct Header {
        version: u32,
        process: libc::c_int,
    }

    /// Descriptors from 3 up: what a library of the daemon opened without close-on-exec.
    pub(super) fn close_inherited() -> io::Result<()> {
        // SAFETY: takes numbers only; at the start of the process nobody relies on a descriptor beyond the standard three.
        check(unsafe { libc::close_range(3, libc::c_uint::MAX, 0) }.into())
    }

    /// All capabilities, those that a program started from here would get included.
    pub(super) fn drop_all() -> io::Result<()> {
        let mut header = Header {
            version: VERSION,
            process: 0,
        };
        // effective, permitted and inheritable, twice
        let none = [0_u32; 6];
        // SAFETY: both point to what capset(2) describes, alive during the call; the kernel may write the header's version.
        check(unsafe { libc::syscall(libc::SYS_capset, ptr::from_mut(&mut header), none.as_ptr()) })
    }

    fn check(answer: libc::c_long) -> io::Result<()> {
        if answer == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}
