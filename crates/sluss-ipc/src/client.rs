//! The command's end of the socket: blocking, and sure of whom it talks to.

use std::{
    io::{ErrorKind, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use nix::{
    sys::socket::{getsockopt, sockopt::PeerCredentials},
    unistd::{Uid, User},
};

use crate::{Decoder, Error, Request, Response, SERVICE_USER, encode};

/// How long a working daemon takes at most; only a card may take longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection to the daemon.
pub struct Client {
    stream: UnixStream,
    decoder: Decoder<Response>,
}

impl Client {
    /// Connects to the daemon at `path`, and to nobody else: the listener must be root, [`SERVICE_USER`], or the
    /// caller itself (who gains nothing by deceiving itself).
    pub fn connect(path: &Path) -> Result<Self, Error> {
        let stream = UnixStream::connect(path).map_err(|source| Error::NoDaemon {
            path: path.to_owned(),
            source,
        })?;
        let uid = Uid::from_raw(
            getsockopt(&stream, PeerCredentials)
                .map_err(std::io::Error::from)?
                .uid(),
        );
        if !is_trusted(uid) {
            return Err(Error::Impostor {
                path: path.to_owned(),
                uid: uid.as_raw(),
            });
        }
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream,
            decoder: Decoder::new(),
        })
    }

    /// How long to wait for an answer; `None` is for ever. Ten seconds if never set.
    pub fn set_patience(&self, patience: Option<Duration>) -> Result<(), Error> {
        Ok(self.stream.set_read_timeout(patience)?)
    }

    /// Asks, and waits for the answer.
    pub fn call(&mut self, request: &Request) -> Result<Response, Error> {
        self.stream.write_all(&encode(request)?).map_err(timed)?;
        self.receive()
    }

    /// The next answer; [`Request::Monitor`] has many.
    pub fn receive(&mut self) -> Result<Response, Error> {
        loop {
            match self.stream.read(self.decoder.space()) {
                Ok(0) if self.decoder.is_mid_frame() => return Err(Error::Truncated),
                Ok(0) => return Err(Error::Closed),
                Ok(count) => {
                    if let Some(response) = self.decoder.advance(count)? {
                        return Ok(response);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(timed(error)),
            }
        }
    }
}

fn is_trusted(uid: Uid) -> bool {
    uid.is_root()
        || uid == Uid::effective()
        || User::from_name(SERVICE_USER).is_ok_and(|user| user.is_some_and(|user| user.uid == uid))
}

/// A socket's timeout as the silence that it is.
fn timed(error: std::io::Error) -> Error {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Error::Silent,
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => Error::Closed,
        _ => Error::Io(error),
    }
}
