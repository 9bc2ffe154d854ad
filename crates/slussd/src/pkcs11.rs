//! PKCS#11 modules run in worker processes: how the daemon starts one, and what one does.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sluss_card::pkcs11::{self, Launch};
use sluss_platform::worker::{self, Worker};

/// The argument that makes the daemon's program a worker; the module's path follows it.
pub const ROLE: &str = "pkcs11-worker";

/// Starts workers for this module, which nobody but root can have put there: `program` is the daemon's own.
pub fn launch(program: &Path, module: PathBuf) -> Launch {
    let program = program.to_owned();
    Launch::new(move || {
        let arguments = [ROLE.as_ref(), module.as_os_str()];
        let worker = Worker::start(&program, &arguments).map_err(io::Error::other)?;
        Ok(Box::new(Process(worker)))
    })
}

/// A worker's whole life. It keeps no log: all that there is to say is an answer to the daemon.
///
/// # Errors
/// When the process cannot be confined, or the daemon does not keep to the protocol.
pub fn work(module: &Path) -> anyhow::Result<()> {
    let mut daemon = worker::confine()?;
    Ok(pkcs11::serve(module, &mut daemon)?)
}

/// The platform's worker, as the card crate wants it.
struct Process(Worker);

impl pkcs11::Worker for Process {
    fn set_patience(&mut self, patience: Duration) -> io::Result<()> {
        self.0.set_patience(patience)
    }
}

impl Read for Process {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Process {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
