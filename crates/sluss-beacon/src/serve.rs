//! The server: accepts, answers, and never holds more callers than it has room for.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sluss_beacon::{Config, Identity, Name, Visit, VisitEnd};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use crate::check;
use crate::tally::{Outcome, Tally};

/// A caller is done by then, or is no laptop.
const PATIENCE: Duration = Duration::from_secs(3);

/// Callers at one time, below what a process may have open files.
const ROOM: usize = 512;

/// Nobody has to make room for others before: so long a laptop waits, unless its policy says otherwise.
const GRACE: Duration = Duration::from_millis(800);

/// Callers that the kernel keeps waiting at each address.
const QUEUE: i32 = 4096;

/// The service manager is told at most so often how many came.
const STATUS_EVERY: Duration = Duration::from_secs(1);

/// Visits under way have so long to end when the server is told to stop.
const FAREWELL: Duration = Duration::from_secs(1);

/// Serves until SIGTERM or SIGINT.
pub(crate) fn run(config: &Config, identity: Identity) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(serve(config, identity))
}

/// Those that this host does not have, at this moment.
pub(crate) fn absent(addresses: &[SocketAddr]) -> BTreeSet<IpAddr> {
    addresses
        .iter()
        .map(SocketAddr::ip)
        .filter(|ip| UdpSocket::bind((*ip, 0)).is_err())
        .collect()
}

async fn serve(config: &Config, identity: Identity) -> Result<()> {
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    if let Some(what) = check::certificate_out_of_date(&identity)? {
        tracing::warn!("{what}");
    }
    let pin = identity.pin();
    let (presence, mut all_gone) = mpsc::channel(1);
    let host = Arc::new(Host {
        name: config.name.clone(),
        listen: config.listen.clone(),
        identity: Arc::new(identity),
        guests: Mutex::default(),
        tally: Mutex::default(),
        counted: Notify::new(),
        left: Notify::new(),
        _presence: presence,
    });
    let mut doors = JoinSet::new();
    for address in &config.listen {
        let listener = listen(*address).with_context(|| format!("listen at {address}"))?;
        doors.spawn(accept(listener, Arc::clone(&host)));
    }
    for ip in absent(&config.listen) {
        tracing::warn!("this host does not have the address {ip} yet");
    }
    tracing::info!("{} answers with the key {pin}", config.name);
    // Without a service manager nobody listens.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    doors.spawn(tell(Arc::clone(&host)));

    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    doors.shutdown().await;
    drop(host);
    // Whoever has not gone by then is sent away.
    let _ = timeout(FAREWELL, all_gone.recv()).await;
    Ok(())
}

/// Listens also at an address that the host gets later: it may start before the network.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking(),
        Some(Protocol::TCP),
    )?;
    match address {
        SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
        SocketAddr::V6(_) => {
            socket.set_freebind_v6(true)?;
            socket.set_only_v6(true)?;
        }
    }
    // A new server takes over while the last one's connections linger.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(QUEUE)?;
    TcpListener::from_std(socket.into())
}

/// Tells the service manager how many came: soon after each, and not for each; and where nobody can come.
async fn tell(host: Arc<Host>) {
    loop {
        let mut status = lock(&host.tally).to_string();
        for ip in absent(&host.listen) {
            status += &format!("; this host does not have the address {ip}");
        }
        // Without a service manager nobody listens.
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Status(&status)]);
        host.counted.notified().await;
        sleep(STATUS_EVERY).await;
    }
}

async fn accept(listener: TcpListener, host: Arc<Host>) {
    loop {
        match listener.accept().await {
            Ok((stream, caller)) => {
                host.make_room().await;
                host.admit(stream, caller);
            }
            Err(error) => {
                tracing::warn!("cannot accept: {error}");
                // It is short of something that visits give back when they end.
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

struct Host {
    name: Name,
    listen: Vec<SocketAddr>,
    identity: Arc<Identity>,
    guests: Mutex<Guests>,
    tally: Mutex<Tally>,
    counted: Notify,
    left: Notify,
    /// Gone when the last visit is over, and nobody can come.
    _presence: mpsc::Sender<Infallible>,
}

/// Who is here, by order of arrival.
#[derive(Default)]
struct Guests {
    next: u64,
    present: BTreeMap<u64, Guest>,
}

struct Guest {
    caller: SocketAddr,
    since: Instant,
    visit: AbortHandle,
}

impl Host {
    /// Where there is no room the oldest has to go as soon as it has had its time: a laptop needs milliseconds, and who has
    /// been here for longer than all others wants something else. Until then the next ones wait in the kernel's queue.
    async fn make_room(&self) {
        loop {
            let wait = {
                let mut guests = lock(&self.guests);
                if guests.present.len() < ROOM {
                    return;
                }
                let Some(oldest) = guests.present.first_entry() else {
                    return;
                };
                let wait = GRACE.saturating_sub(oldest.get().since.elapsed());
                if wait.is_zero() {
                    let guest = oldest.remove();
                    guest.visit.abort();
                    self.count(guest.caller, &Outcome::CrowdedOut);
                    return;
                }
                wait
            };
            // Somebody leaves before, or the oldest has had its time.
            let _ = timeout(wait, self.left.notified()).await;
        }
    }

    fn admit(self: &Arc<Self>, stream: TcpStream, caller: SocketAddr) {
        let mut guests = lock(&self.guests);
        let number = guests.next;
        guests.next += 1;
        let host = Arc::clone(self);
        let visit = tokio::spawn(async move {
            let outcome = host.receive(stream, caller).await;
            lock(&host.guests).present.remove(&number);
            host.left.notify_one();
            host.count(caller, &outcome);
        });
        let guest = Guest {
            caller,
            since: Instant::now(),
            visit: visit.abort_handle(),
        };
        guests.present.insert(number, guest);
    }

    async fn receive(&self, mut stream: TcpStream, caller: SocketAddr) -> Outcome {
        let Ok(Ok(end)) = timeout(PATIENCE, self.talk(&mut stream, caller)).await else {
            return Outcome::Broken;
        };
        // Whoever hangs up first keeps the connection for a minute (RFC 9293, 3.6): that is the laptop's part.
        let mut piece = [0; 512];
        let gone = async { while matches!(stream.read(&mut piece).await, Ok(1..)) {} };
        // If it does not, it is left alone.
        let _ = timeout(PATIENCE, gone).await;
        Outcome::Ended(end)
    }

    async fn talk(&self, stream: &mut TcpStream, caller: SocketAddr) -> io::Result<VisitEnd> {
        stream.set_nodelay(true)?;
        let mut visit = Visit::new(Arc::clone(&self.identity), self.name.clone(), caller);
        let mut piece = [0; 2048];
        loop {
            let count = stream.read(&mut piece).await?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let end = visit.receive(&piece[..count]);
            stream.write_all(&visit.output()).await?;
            if let Some(end) = end {
                return Ok(end);
            }
        }
    }

    fn count(&self, caller: SocketAddr, outcome: &Outcome) {
        lock(&self.tally).count(caller, outcome, Instant::now());
        self.counted.notify_one();
    }
}

/// What it guards is counted and listed, and never half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
