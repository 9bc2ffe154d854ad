//! A private system bus with stand-ins for logind, who is at the keyboard and when the laptop sleeps, and for systemd's units.

use std::io::{self, PipeReader};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::runtime::Runtime;
use zbus::object_server::{Interface, SignalEmitter};
use zbus::{Connection, ObjectPath, OwnedFd, OwnedObjectPath, fdo};

use crate::moment::eventually;
use crate::netns::{Netns, Process};

const NAME: &str = "org.freedesktop.login1";
const PATH: &str = "/org/freedesktop/login1";
const MANAGER: &str = "org.freedesktop.login1.Manager";
const SEAT: &str = "/org/freedesktop/login1/seat/seat0";
const SESSION: &str = "/org/freedesktop/login1/session/_31";
const SYSTEMD: &str = "org.freedesktop.systemd1";
const SYSTEMD_PATH: &str = "/org/freedesktop/systemd1";

/// The bus, and logind and systemd on it, until dropped.
pub struct Logind {
    address: String,
    runtime: Runtime,
    connection: Connection,
    told: Arc<Mutex<Told>>,
    _bus: Process,
}

/// What the daemon has asked for.
#[derive(Default)]
struct Told {
    /// The far ends of the delays of sleep that it holds or has held.
    delays: Vec<PipeReader>,
    /// Sessions to lock.
    locked: Vec<String>,
    /// "start" or "stop", and the unit.
    units: Vec<(&'static str, String)>,
}

impl Logind {
    /// Starts all of it, with its files in `directory`. Nobody is at the keyboard.
    pub fn start(netns: &Netns, directory: &Path) -> Result<Logind> {
        let socket = directory.join("bus");
        let address = format!("unix:path={}", socket.display());
        let configuration = configure(directory, &address)?;
        let bus = netns.spawn(
            Command::new("dbus-daemon")
                .arg(format!("--config-file={}", configuration.display()))
                .args(["--nofork", "--nopidfile"])
                .stdout(Stdio::null())
                .stderr(Stdio::null()),
        )?;
        eventually("the bus", Duration::from_secs(5), || {
            Ok(socket.exists().then_some(()))
        })?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let told = Arc::new(Mutex::new(Told::default()));
        let connect = zbus::connection::Builder::address(address.as_str())
            .serve_at(PATH, Manager(Arc::clone(&told)))
            .serve_at(SEAT, Seat { session: "/" })
            .serve_at(
                SESSION,
                Session {
                    uid: 0,
                    locked: false,
                },
            )
            .serve_at(SYSTEMD_PATH, Systemd(Arc::clone(&told)))
            .name(NAME)
            .name(SYSTEMD)
            .build();
        let connection = runtime.block_on(connect)?;
        Ok(Logind {
            address,
            runtime,
            connection,
            told,
            _bus: bus,
        })
    }

    /// For `DBUS_SYSTEM_BUS_ADDRESS`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Signals `PrepareForSleep`: true before the laptop sleeps, false after it woke.
    pub fn prepare_for_sleep(&self, start: bool) -> Result<()> {
        let body = (start,);
        let signal =
            self.connection
                .emit_signal(None::<&str>, PATH, MANAGER, "PrepareForSleep", &body);
        Ok(self.runtime.block_on(signal)?)
    }

    /// Whether somebody holds up the laptop's sleep.
    pub fn sleep_is_delayed(&self) -> Result<bool> {
        lock(&self.told)
            .delays
            .iter()
            .try_fold(
                false,
                |delayed, far_end| Ok(delayed || !is_closed(far_end)?),
            )
    }

    /// A user sits down at the keyboard.
    pub fn log_in(&self, uid: u32) -> Result<()> {
        self.change(SESSION, async |session: &mut Session, _| {
            session.uid = uid;
            Ok(())
        })?;
        self.seat(SESSION)
    }

    /// The user at the keyboard leaves.
    pub fn log_out(&self) -> Result<()> {
        self.seat("/")
    }

    fn seat(&self, session: &'static str) -> Result<()> {
        self.change(SEAT, async |seat: &mut Seat, emitter| {
            seat.session = session;
            seat.active_session_changed(emitter).await
        })
    }

    /// The screen of the session at the keyboard is locked or unlocked.
    pub fn lock_screen(&self, locked: bool) -> Result<()> {
        self.change(SESSION, async |session: &mut Session, emitter| {
            session.locked = locked;
            session.locked_hint_changed(emitter).await
        })
    }

    /// The sessions that were told to lock their screen, in order.
    pub fn locked_sessions(&self) -> Vec<String> {
        lock(&self.told).locked.clone()
    }

    /// What systemd was told: "start" or "stop", and the unit; in order.
    pub fn unit_orders(&self) -> Vec<(&'static str, String)> {
        lock(&self.told).units.clone()
    }

    fn change<I: Interface>(
        &self,
        path: &str,
        change: impl AsyncFnOnce(&mut I, &SignalEmitter<'_>) -> zbus::Result<()>,
    ) -> Result<()> {
        self.runtime.block_on(async {
            let interface = self.connection.object_server().interface(path).await?;
            let mut state = interface.get_mut().await;
            Ok(change(&mut state, interface.signal_emitter()).await?)
        })
    }
}

struct Manager(Arc<Mutex<Told>>);

#[zbus::interface(name = "org.freedesktop.login1.Manager")]
impl Manager {
    fn inhibit(&self, _what: &str, _who: &str, _why: &str, _mode: &str) -> fdo::Result<OwnedFd> {
        let (far_end, delay) = io::pipe().map_err(|error| fdo::Error::Failed(error.to_string()))?;
        lock(&self.0).delays.push(far_end);
        Ok(std::os::fd::OwnedFd::from(delay).into())
    }

    fn lock_session(&self, id: String) {
        lock(&self.0).locked.push(id);
    }
}

struct Seat {
    session: &'static str,
}

#[zbus::interface(name = "org.freedesktop.login1.Seat")]
impl Seat {
    #[zbus(property)]
    fn active_session(&self) -> (&str, ObjectPath<'static>) {
        ("1", ObjectPath::from_static_str_unchecked(self.session))
    }
}

struct Session {
    uid: u32,
    locked: bool,
}

#[zbus::interface(name = "org.freedesktop.login1.Session")]
impl Session {
    #[zbus(property)]
    fn user(&self) -> (u32, ObjectPath<'static>) {
        (self.uid, ObjectPath::from_static_str_unchecked("/"))
    }

    #[zbus(property)]
    fn locked_hint(&self) -> bool {
        self.locked
    }
}

struct Systemd(Arc<Mutex<Told>>);

#[zbus::interface(name = "org.freedesktop.systemd1.Manager")]
impl Systemd {
    fn start_unit(&self, unit: String, _mode: &str) -> OwnedObjectPath {
        self.order("start", unit)
    }

    fn stop_unit(&self, unit: String, _mode: &str) -> OwnedObjectPath {
        self.order("stop", unit)
    }
}

impl Systemd {
    fn order(&self, verb: &'static str, unit: String) -> OwnedObjectPath {
        lock(&self.0).units.push((verb, unit));
        ObjectPath::from_static_str_unchecked("/org/freedesktop/systemd1/job/1").into()
    }
}

fn lock(told: &Mutex<Told>) -> MutexGuard<'_, Told> {
    told.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the other end of a pipe through which nothing ever comes has been closed.
fn is_closed(far_end: &PipeReader) -> Result<bool> {
    let mut fds = [PollFd::new(far_end.as_fd(), PollFlags::POLLIN)];
    Ok(poll(&mut fds, PollTimeout::ZERO)? > 0)
}

/// A bus on which everybody may own and hear everything.
fn configure(directory: &Path, address: &str) -> Result<PathBuf> {
    let path = directory.join("bus.conf");
    let text = format!(
        "<busconfig>\n<type>system</type>\n<listen>{address}</listen>\n<auth>EXTERNAL</auth>\n\
         <policy context=\"default\">\n<allow user=\"*\"/>\n<allow own=\"*\"/>\n\
         <allow send_destination=\"*\" eavesdrop=\"true\"/>\n<allow eavesdrop=\"true\"/>\n</policy>\n</busconfig>\n"
    );
    std::fs::write(&path, text)?;
    Ok(path)
}
