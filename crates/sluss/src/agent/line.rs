//! The agent's line to the daemon, which may come and go.

use std::{
    io,
    os::unix::net::UnixStream as StdStream,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use sluss_ipc::{Client, Decoder, Error, Request, Response};
use tokio::{
    io::AsyncReadExt as _,
    net::UnixStream,
    sync::mpsc,
    task::spawn_blocking,
    time::{Instant, sleep_until},
};

/// A daemon that hangs up sooner than this is not asked again at once.
const SHORT: Duration = Duration::from_secs(5);

/// Passes on what the daemon says until nobody listens, and None when it has gone, which makes void whatever it asked;
/// waits for the daemon whenever there is none.
pub(super) async fn attend(
    socket: PathBuf,
    said: mpsc::Sender<Option<Response>>,
) -> Result<(), Error> {
    loop {
        let place = socket.clone();
        let stream = spawn_blocking(move || connect(&place)).await;
        let mut stream = UnixStream::from_std(stream.map_err(io::Error::other)??)?;
        let again = Instant::now() + SHORT;
        let mut decoder = Decoder::new();
        loop {
            let heard = match receive(&mut stream, &mut decoder).await {
                Ok(response) => Some(response),
                Err(Error::Closed | Error::Io(_)) => None,
                Err(error) => return Err(error),
            };
            let is_lost = heard.is_none();
            if said.send(heard).await.is_err() {
                return Ok(());
            }
            if is_lost {
                break;
            }
        }
        sleep_until(again).await;
    }
}

/// Connects as soon as a daemon listens: told by the file system, not by trying again and again.
fn connect(socket: &Path) -> Result<StdStream, Error> {
    loop {
        // Watched before it is tried, so that a daemon which comes in between is seen.
        let watch = watch(nearest(socket))?;
        match call(socket) {
            Err(Error::NoDaemon { .. } | Error::Closed | Error::Silent) => {}
            called => return called,
        }
        watch.read_events().map_err(io::Error::from)?;
    }
}

fn call(socket: &Path) -> Result<StdStream, Error> {
    let mut client = Client::connect(socket)?;
    client.send(&Request::Agent)?;
    let stream = client.into_stream();
    stream.set_nonblocking(true)?;
    Ok(stream)
}

async fn receive(
    stream: &mut UnixStream,
    decoder: &mut Decoder<Response>,
) -> Result<Response, Error> {
    loop {
        match stream.read(decoder.space()).await? {
            0 => return Err(Error::Closed),
            count => {
                if let Some(response) = decoder.advance(count)? {
                    return Ok(response);
                }
            }
        }
    }
}

/// The directory of `socket`, or the nearest above it that there is.
fn nearest(socket: &Path) -> &Path {
    let mut directories = socket.ancestors().skip(1);
    match directories.find(|directory| directory.as_os_str().is_empty() || directory.is_dir()) {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        Some(_) | None => Path::new("."),
    }
}

/// Tells when something appears in `directory`, or gets its permissions as a bound socket does.
fn watch(directory: &Path) -> io::Result<Inotify> {
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC)?;
    let flags = AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_MOVED_TO
        | AddWatchFlags::IN_ATTRIB
        | AddWatchFlags::IN_DELETE_SELF
        | AddWatchFlags::IN_ONLYDIR;
    inotify.add_watch(directory, flags)?;
    Ok(inotify)
}
