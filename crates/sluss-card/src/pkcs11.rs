//! Tokens behind a PKCS#11 module: other people's C code, in a process of its own.
//!
//! Middleware may hang, crash or keep locks, so the daemon never loads it. A *worker* is a process that loads one module and
//! answers one request at a time ([`serve`]); a [`Module`] is the daemon's end of it. A worker that does not answer in time
//! is killed, and the next request starts another: nothing here blocks longer than its caller said.
//!
//! How a process is made and confined is the platform's business: it is handed in as a [`Launch`].

mod bench;
mod library;
mod line;
mod module;
mod serve;
mod wire;

pub(crate) use bench::visit;
pub(crate) use line::TokenLine;
pub use module::{Failure, KeyAt, Module};
pub use serve::serve;
pub use wire::{Fault, Key, PinState, Scheme, Token, Tries, Uses};

use std::fmt;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

/// Starts a worker process for the module that policy names.
#[derive(Clone)]
pub struct Launch(Arc<dyn Fn() -> io::Result<Box<dyn Worker>> + Send + Sync>);

/// The near end of a worker process. Dropping it ends the process, whatever that is doing.
pub trait Worker: Read + Write + Send {
    /// How long a read may wait from now on; then it fails with [`io::ErrorKind::TimedOut`] or `WouldBlock`.
    ///
    /// # Errors
    /// When the host refuses.
    fn set_patience(&mut self, patience: Duration) -> io::Result<()>;
}

impl Launch {
    /// `start` is called for the first request, and again after each worker that failed.
    pub fn new(start: impl Fn() -> io::Result<Box<dyn Worker>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(start))
    }
}

impl fmt::Debug for Launch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Launch")
    }
}
