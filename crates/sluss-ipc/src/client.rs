//! The command's end of the socket: blocking, and sure of whom it talks to.

use std::{
    io::{self, ErrorKind, Read, Write},
    os::{fd::AsRawFd, unix::net::UnixStream},
    path::Path,
    time::{Duration, Instant},
};

use nix::{
    sys::{
        socket::{
            AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, setsockopt, socket,
            sockopt::{PeerCredentials, SendTimeout},
        },
        time::TimeVal,
    },
    unistd::{Uid, User},
};

use crate::{Decoder, Error, Request, Response, SERVICE_USER, encode};

/// How long a working daemon takes at most; only a card may take longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection to the daemon.
pub struct Client {
    stream: UnixStream,
    decoder: Decoder<Response>,
    patience: Patience,
}

/// How long the daemon may take.
enum Patience {
    /// For each answer; for ever if there is no limit.
    Each(Option<Duration>),
    /// For everything.
    Until(Instant),
}

impl Client {
    /// Connects to the daemon at `path`, and to nobody else: the listener must be root, [`SERVICE_USER`], or the
    /// caller itself (who gains nothing by deceiving itself).
    pub fn connect(path: &Path) -> Result<Self, Error> {
        Self::open(path, PATIENCE, Patience::Each(Some(PATIENCE)))
    }

    /// The same, but this and every call that follows must be done within `budget`, after which all is
    /// [`Error::Silent`]: for callers who must not be held up by a daemon that hangs.
    pub fn connect_within(path: &Path, budget: Duration) -> Result<Self, Error> {
        let end = Instant::now() + budget;
        Self::open(path, budget, Patience::Until(end))
    }

    /// How long to wait for an answer; `None` is for ever. Ten seconds if never set.
    pub fn set_patience(&mut self, patience: Option<Duration>) {
        self.patience = Patience::Each(patience);
    }

    /// Asks, and waits for the answer.
    pub fn call(&mut self, request: &Request) -> Result<Response, Error> {
        self.send(request)?;
        self.receive()
    }

    /// Asks, and leaves the answer to [`Client::receive`].
    pub fn send(&mut self, request: &Request) -> Result<(), Error> {
        let left = self.left()?.unwrap_or(PATIENCE).min(PATIENCE);
        self.stream.set_write_timeout(Some(left))?;
        self.stream.write_all(&encode(request)?).map_err(timed)
    }

    /// The next answer; [`Request::Monitor`] and [`Request::Agent`] have many.
    pub fn receive(&mut self) -> Result<Response, Error> {
        loop {
            self.stream.set_read_timeout(self.left()?)?;
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

    /// The connection for a caller that waits in a way of its own. Between two answers: of one that has begun, the beginning
    /// is lost.
    pub fn into_stream(self) -> UnixStream {
        self.stream
    }

    fn open(path: &Path, limit: Duration, patience: Patience) -> Result<Self, Error> {
        let stream = connect_stream(path, limit).map_err(|source| match source.kind() {
            ErrorKind::WouldBlock => Error::Silent,
            _ => Error::NoDaemon {
                path: path.to_owned(),
                source,
            },
        })?;
        let uid = Uid::from_raw(
            getsockopt(&stream, PeerCredentials)
                .map_err(io::Error::from)?
                .uid(),
        );
        if !is_trusted(uid) {
            return Err(Error::Impostor {
                path: path.to_owned(),
                uid: uid.as_raw(),
            });
        }
        Ok(Self {
            stream,
            decoder: Decoder::new(),
            patience,
        })
    }

    /// How long the next step may take; None is for ever.
    fn left(&self) -> Result<Option<Duration>, Error> {
        match self.patience {
            Patience::Each(limit) => Ok(limit),
            Patience::Until(end) => match end.saturating_duration_since(Instant::now()) {
                Duration::ZERO => Err(Error::Silent),
                left => Ok(Some(left)),
            },
        }
    }
}

/// The standard library would wait without limit for a daemon that does not accept.
fn connect_stream(path: &Path, limit: Duration) -> io::Result<UnixStream> {
    let stream = UnixStream::from(socket(
        AddressFamily::Unix,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?);
    let limit = TimeVal::new(
        limit.as_secs().try_into().unwrap_or(i64::MAX),
        limit.subsec_micros().into(),
    );
    // It limits connect(2) as well (socket(7)).
    setsockopt(&stream, SendTimeout, &limit)?;
    connect(stream.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(stream)
}

fn is_trusted(uid: Uid) -> bool {
    uid.is_root()
        || uid == Uid::effective()
        || User::from_name(SERVICE_USER).is_ok_and(|user| user.is_some_and(|user| user.uid == uid))
}

/// A socket's timeout as the silence that it is.
fn timed(error: io::Error) -> Error {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Error::Silent,
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => Error::Closed,
        _ => Error::Io(error),
    }
}
