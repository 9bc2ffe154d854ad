//! A daemon that takes note of every PIN and does nothing with it.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Result, bail};
use sluss_ipc::{Decoder, Request, Response};
use sluss_tests::container::Container;

/// A PIN, and whose it is said to be.
pub(crate) type Taken = (String, u32);

pub(crate) struct StandIn {
    taken: Arc<Mutex<Vec<Taken>>>,
}

impl StandIn {
    /// Listens where the daemon would.
    pub(crate) fn start(container: &Container) -> Result<StandIn> {
        std::fs::create_dir_all(container.path("run/sluss"))?;
        let listener = UnixListener::bind(container.path("run/sluss/slussd.sock"))?;
        let taken = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&taken);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if let Ok(note) = take(stream) {
                    notes
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(note);
                }
            }
        });
        Ok(StandIn { taken })
    }

    pub(crate) fn taken(&self) -> Vec<Taken> {
        self.notes().clone()
    }

    pub(crate) fn forget(&self) {
        self.notes().clear();
    }

    fn notes(&self) -> MutexGuard<'_, Vec<Taken>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn take(mut stream: UnixStream) -> Result<Taken> {
    let mut decoder = Decoder::new();
    loop {
        let count = stream.read(decoder.space())?;
        match decoder.advance(count)? {
            Some(Request::HandOver { pin, uid }) => {
                let response = Response::HandedOver { wait_ms: None };
                stream.write_all(&sluss_ipc::encode(&response)?)?;
                return Ok((String::from_utf8(pin.bytes().to_vec())?, uid));
            }
            Some(_) => bail!("something else was asked"),
            None if count == 0 => bail!("hung up"),
            None => {}
        }
    }
}
