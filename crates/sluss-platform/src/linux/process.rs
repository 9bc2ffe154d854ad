//! What the daemon does to its own process before it holds a secret.

use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};

use crate::{Error, Result};

/// Makes this process undumpable: no core file, and no other process of the same user may read its memory.
pub fn harden() -> Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(Error::system("turn off core dumps"))?;
    prctl::set_dumpable(false).map_err(Error::system("make the process undumpable"))
}
