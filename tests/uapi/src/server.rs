//! The socket: one loop that waits for requests, for a signal, and for the end of the device or of the socket's file.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use zeroize::{Zeroize, Zeroizing};

use crate::interface::Interface;
use crate::protocol::{Answer, Parser, Setting};

/// Where `wg` looks.
const DIRECTORY: &str = "/var/run/wireguard";

/// How long a reader may take for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest line that is read; wireguard-go's, too.
const LONGEST: usize = 64 * 1024;

/// The signals that end the device. Blocked in every thread, they are read from a descriptor.
///
/// Call it before there is a second thread.
pub fn signals() -> Result<SignalFd> {
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM].into_iter().collect();
    signals.thread_block()?;
    Ok(SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC)?)
}

/// The socket file of a device, which lives as long as this.
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    watch: Inotify,
}

impl Socket {
    /// Listens where `wg` looks for a device of this name.
    ///
    /// # Errors
    /// There is one already, or the right is missing.
    pub fn open(name: &str) -> Result<Socket> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(DIRECTORY)
            .context(DIRECTORY)?;
        let path = Path::new(DIRECTORY).join(format!("{name}.sock"));
        if path.exists() {
            let is_served = UnixStream::connect(&path).is_ok();
            ensure!(!is_served, "{} is in use", path.display());
            fs::remove_file(&path)?;
        }
        let listener = UnixListener::bind(&path).with_context(|| path.display().to_string())?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        // Its removal is a change of its number of links.
        watch.add_watch(&path, AddWatchFlags::IN_ATTRIB)?;
        Ok(Socket {
            listener,
            path,
            watch,
        })
    }

    /// Whether the file is still there. Call it when the watch has seen something.
    fn is_there(&self) -> bool {
        let _ = self.watch.read_events();
        self.path.exists()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Somebody may have removed it: that is one way to end a device.
        let _ = fs::remove_file(&self.path);
    }
}

/// Serves until a signal, the removal of the TUN device, or the removal of the socket's file.
pub fn serve(mut interface: Interface, socket: &Socket, signals: &SignalFd) -> Result<()> {
    let mut clients: Vec<Client> = Vec::new();
    loop {
        let mut sources = vec![
            signals.as_fd(),
            interface.failed(),
            socket.watch.as_fd(),
            socket.listener.as_fd(),
        ];
        sources.extend(clients.iter().map(|client| client.stream.as_fd()));
        sources.extend(interface.unread());
        let ready = wait(&sources)?;
        let [signal, failed, touched, connected, rest @ ..] = &ready[..] else {
            unreachable!("a flag for each source");
        };
        let (called, unread) = rest.split_at(clients.len());
        let is_over = *signal
            || *failed
            || *touched && !socket.is_there()
            || unread.contains(&true) && !interface.discard();
        if is_over {
            return Ok(());
        }
        let mut called = called.iter();
        clients.retain_mut(|client| called.next() != Some(&true) || client.serve(&mut interface));
        if *connected {
            clients.extend(accept(&socket.listener)?);
        }
    }
}

/// Which of them are ready to be read, or have ended.
fn wait(sources: &[BorrowedFd<'_>]) -> Result<Vec<bool>> {
    let mut fds: Vec<PollFd<'_>> = sources
        .iter()
        .map(|source| PollFd::new(*source, PollFlags::POLLIN))
        .collect();
    match poll(&mut fds, PollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(fds.iter().map(|fd| fd.any().unwrap_or(false)).collect())
}

fn accept(listener: &UnixListener) -> Result<Option<Client>> {
    match listener.accept() {
        Ok((stream, _)) => {
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(Some(Client {
                stream,
                input: Zeroizing::default(),
                request: Request::None,
            }))
        }
        // Who has gone again is no client.
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error).context("accept"),
    }
}

/// Somebody who asks.
struct Client {
    stream: UnixStream,
    /// What came after the last whole line.
    input: Zeroizing<Vec<u8>>,
    request: Request,
}

/// What a client is in the middle of.
enum Request {
    None,
    Get,
    Set {
        parser: Parser,
        settings: Vec<Setting>,
    },
}

impl Client {
    /// Reads what has come, and answers what is whole. Says whether the client stays.
    fn serve(&mut self, interface: &mut Interface) -> bool {
        let mut bytes = Zeroizing::new([0; 4096]);
        let count = self.stream.read(&mut *bytes).unwrap_or(0);
        self.input.extend_from_slice(&bytes[..count]);
        while let Some(end) = self.input.iter().position(|byte| *byte == b'\n') {
            let line = Zeroizing::new(self.input[..end].to_vec());
            self.input[..=end].zeroize();
            self.input.drain(..=end);
            if !self.accept_line(&line, interface) {
                return false;
            }
        }
        if count == 0 {
            self.end(interface);
        }
        count != 0 && self.input.len() < LONGEST
    }

    /// The end of the input ends its last line, and a request as well as an empty line does.
    fn end(&mut self, interface: &mut Interface) {
        let line = std::mem::take(&mut self.input);
        let is_whole = line.is_empty() || self.accept_line(&line, interface);
        if let (true, Request::Set { .. }) = (is_whole, &self.request) {
            self.accept_line(b"", interface);
        }
    }

    fn accept_line(&mut self, line: &[u8], interface: &mut Interface) -> bool {
        match std::mem::replace(&mut self.request, Request::None) {
            Request::None => {
                self.request = match line {
                    b"get=1" => Request::Get,
                    b"set=1" => Request::Set {
                        parser: Parser::default(),
                        settings: Vec::new(),
                    },
                    _ => return false,
                };
                true
            }
            Request::Get => {
                let mut answer = Answer::default();
                if line.is_empty() {
                    interface.describe(&mut answer);
                    self.answer(answer, Ok(()))
                } else {
                    self.refuse(Errno::EINVAL)
                }
            }
            Request::Set { settings, .. } if line.is_empty() => {
                let outcome = interface.set(settings);
                self.answer(Answer::default(), outcome)
            }
            Request::Set {
                mut parser,
                mut settings,
            } => {
                let line = std::str::from_utf8(line).unwrap_or_default();
                match parser.line(line) {
                    Ok(setting) => {
                        settings.push(setting);
                        self.request = Request::Set { parser, settings };
                        true
                    }
                    // What came before it is done all the same.
                    Err(errno) => match interface.set(settings) {
                        Ok(()) => self.refuse(errno),
                        Err(earlier) => self.refuse(earlier),
                    },
                }
            }
        }
    }

    /// What else has come belongs to the request that is refused.
    fn refuse(&mut self, errno: Errno) -> bool {
        self.input.zeroize();
        self.answer(Answer::default(), Err(errno))
    }

    fn answer(&mut self, answer: Answer, outcome: Result<(), Errno>) -> bool {
        self.stream
            .write_all(answer.end(outcome).as_bytes())
            .is_ok()
    }
}
