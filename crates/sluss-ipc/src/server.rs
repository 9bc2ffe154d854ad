//! The daemon's end of the socket: accepts, authorises, and hands the engine nothing that it may not answer.

use std::{
    collections::HashMap,
    fs,
    io::{self, ErrorKind},
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use nix::errno::Errno;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::mpsc,
    time::{sleep, timeout},
};

use crate::{Decoder, Error, Peer, Refusal, Request, RequestFault, Response, Role, encode};

/// How many connections one user may hold: enough for a desktop, too few to exhaust the daemon.
const CONNECTIONS_PER_USER: usize = 16;

/// How many answers wait for a monitor that does not read; one that falls further behind is hung up on.
const BACKLOG: usize = 64;

/// How long a frame may pause on its way, or an answer may wait to be taken.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long to leave callers waiting when the host has no room for one more connection.
const BREATH: Duration = Duration::from_millis(200);

/// Who is what at this moment: the session at the keyboard changes.
type Roles = Arc<dyn Fn(Peer) -> Role + Send + Sync>;

/// A request whose caller may make it.
pub struct Incoming {
    pub peer: Peer,
    pub request: Request,
    pub answer: Answer,
}

/// The way back to one caller. Dropping it ends the answer; the connection stays open for the next call, unless the
/// answer was a stream, or there was none at all.
pub struct Answer {
    peer: Peer,
    roles: Roles,
    responses: mpsc::Sender<Response>,
}

impl Answer {
    /// Sends `response`, redacted for the role that the caller has now. Never blocks. False if the caller has gone, or reads so
    /// slowly that it is given up: drop the answer then.
    pub fn send(&self, response: Response) -> bool {
        match response.redact_for(self.role()) {
            Some(response) => self.responses.try_send(response).is_ok(),
            None => !self.is_closed(),
        }
    }

    /// What the caller is at this moment.
    pub fn role(&self) -> Role {
        (self.roles)(self.peer)
    }

    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// Whether the caller has hung up.
    pub fn is_closed(&self) -> bool {
        self.responses.is_closed()
    }
}

/// The bound socket; its file goes when this is dropped.
pub struct Listener {
    inner: UnixListener,
    path: PathBuf,
}

impl Listener {
    /// Binds `path` for every local user, in a directory (made if missing) that only the daemon can write.
    ///
    /// A socket that a dead daemon left behind is removed; anything else that is in the way is left alone.
    pub fn bind(path: &Path) -> Result<Self, Error> {
        if let Some(parent) = path.parent().filter(|parent| !parent.exists()) {
            fs::create_dir_all(parent)?;
            fs::set_permissions(parent, fs::Permissions::from_mode(0o755))?;
        }
        remove_stale(path)?;
        let inner = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
        Ok(Self {
            inner,
            path: path.to_owned(),
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn remove_stale(path: &Path) -> Result<(), Error> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => Err(Error::NotASocket {
            path: path.to_owned(),
        }),
        Ok(_) => match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => Err(Error::InUse {
                path: path.to_owned(),
            }),
            Err(_) => Ok(fs::remove_file(path)?),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Serves `listener` until the receiver of `calls` is dropped or the host fails.
///
/// `role` is asked anew for every call and every answer.
pub async fn serve(
    listener: Listener,
    role: impl Fn(Peer) -> Role + Send + Sync + 'static,
    calls: mpsc::Sender<Incoming>,
) -> Result<(), Error> {
    let roles: Roles = Arc::new(role);
    let tally = Tally::default();
    loop {
        let accepted = tokio::select! {
            accepted = listener.inner.accept() => accepted,
            () = calls.closed() => return Ok(()),
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) if is_passing(&error) => {
                sleep(BREATH).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        // Who cannot be known gets nothing.
        let Ok(credentials) = stream.peer_cred() else {
            continue;
        };
        let peer = Peer {
            uid: credentials.uid(),
            gid: credentials.gid(),
            pid: credentials.pid(),
        };
        let place = tally.take(peer.uid);
        let mut connection = Connection {
            stream,
            decoder: Decoder::new(),
            peer,
            roles: Arc::clone(&roles),
        };
        let calls = calls.clone();
        tokio::spawn(async move {
            let parting = match place {
                Some(_place) => connection.attend(calls).await,
                None => Err(Parting::Refused(Refusal::TooManyConnections)),
            };
            if let Err(Parting::Refused(refusal)) = parting {
                // The connection ends anyway.
                let _ = connection.send(&Response::Refused(refusal)).await;
            }
        });
    }
}

/// Whether the next caller may have more luck (accept(2)).
fn is_passing(error: &io::Error) -> bool {
    let passing = [
        Errno::EMFILE,
        Errno::ENFILE,
        Errno::ENOMEM,
        Errno::ENOBUFS,
        Errno::ECONNABORTED,
    ];
    error
        .raw_os_error()
        .is_some_and(|code| passing.contains(&Errno::from_raw(code)))
}

struct Connection {
    stream: UnixStream,
    decoder: Decoder<Request>,
    peer: Peer,
    roles: Roles,
}

/// Why a connection ends, other than by the client's wish.
enum Parting {
    /// Worth a last word.
    Refused(Refusal),
    /// There is nobody, or no time, to tell.
    Lost,
}

impl Connection {
    /// Takes one call after the other until the client hangs up.
    async fn attend(&mut self, calls: mpsc::Sender<Incoming>) -> Result<(), Parting> {
        while let Some(request) = self.receive().await? {
            let call = request.call();
            let needs = request.needs(self.peer);
            if (self.roles)(self.peer) < needs {
                self.send(&Response::Refused(Refusal::NotAllowed { needs }))
                    .await?;
                continue;
            }
            let (responses, answers) = mpsc::channel(BACKLOG);
            let answer = Answer {
                peer: self.peer,
                roles: Arc::clone(&self.roles),
                responses,
            };
            let incoming = Incoming {
                peer: self.peer,
                request,
                answer,
            };
            calls.send(incoming).await.map_err(|_| Parting::Lost)?;
            self.forward(answers).await?;
            if call.is_stream() {
                // Without an end of its own, a stream ends with the connection.
                return Ok(());
            }
        }
        Ok(())
    }

    /// Passes on what the engine answers to one call.
    async fn forward(&mut self, mut answers: mpsc::Receiver<Response>) -> Result<(), Parting> {
        let mut answered = false;
        loop {
            tokio::select! {
                biased;
                answer = answers.recv() => match answer {
                    Some(response) => {
                        self.send(&response).await?;
                        answered = true;
                    }
                    None if answered => return Ok(()),
                    None => return Err(Parting::Lost),
                },
                ending = silence(&self.stream) => return Err(ending),
            }
        }
    }

    /// The next request; None when the client has hung up between two.
    async fn receive(&mut self) -> Result<Option<Request>, Parting> {
        loop {
            let is_mid_frame = self.decoder.is_mid_frame();
            let read = self.stream.read(self.decoder.space());
            let read = if is_mid_frame {
                timeout(PATIENCE, read)
                    .await
                    .map_err(|_| Parting::bad(RequestFault::Truncated))?
            } else {
                read.await
            };
            match read.map_err(|_| Parting::Lost)? {
                0 if is_mid_frame => return Err(Parting::bad(RequestFault::Truncated)),
                0 => return Ok(None),
                count => match self.decoder.advance(count) {
                    Ok(None) => {}
                    Ok(request) => return Ok(request),
                    Err(Error::Oversized { .. }) => {
                        return Err(Parting::bad(RequestFault::Oversized));
                    }
                    Err(_) => return Err(Parting::bad(RequestFault::Malformed)),
                },
            }
        }
    }

    async fn send(&mut self, response: &Response) -> Result<(), Parting> {
        let frame = encode(response).map_err(|_| Parting::Lost)?;
        match timeout(PATIENCE, self.stream.write_all(&frame)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Parting::Lost),
        }
    }
}

impl Parting {
    fn bad(fault: RequestFault) -> Self {
        Self::Refused(Refusal::BadRequest { fault })
    }
}

/// Ends when the client hangs up, or says something although an answer is due.
async fn silence(stream: &UnixStream) -> Parting {
    loop {
        if stream.readable().await.is_err() {
            return Parting::Lost;
        }
        // One byte cannot hold a PIN, and the connection ends with it.
        match stream.try_read(&mut [0]) {
            Ok(0) => return Parting::Lost,
            Ok(_) => return Parting::bad(RequestFault::OutOfTurn),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return Parting::Lost,
        }
    }
}

/// How many connections each user holds.
#[derive(Clone, Default)]
struct Tally(Arc<Mutex<HashMap<u32, usize>>>);

impl Tally {
    fn take(&self, uid: u32) -> Option<Place> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(uid).or_default();
        (*count < CONNECTIONS_PER_USER).then(|| {
            *count += 1;
            Place {
                tally: self.clone(),
                uid,
            }
        })
    }
}

/// One connection's place in the [`Tally`].
struct Place {
    tally: Tally,
    uid: u32,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.tally.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.uid) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.uid);
            }
        }
    }
}
