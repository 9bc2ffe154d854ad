//! What logind tells and does: sleep and wake, whose session is at the keyboard, and its screen lock.

use std::io;
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use futures_util::StreamExt;
use tokio::sync::mpsc;
use tracing::{debug, info};
use zbus::proxy::{PropertyStream, SignalStream};
use zbus::{Connection, OwnedFd, OwnedObjectPath};

use super::bus;
use crate::{Error, Result};

/// What logind said.
#[derive(Debug)]
pub enum SessionEvent {
    /// The laptop is about to sleep, and waits until the [`Delay`] is dropped.
    Suspending(Delay),
    /// It woke.
    Resumed,
    /// The screen of the session at the keyboard was locked. May be told twice.
    ScreenLocked,
    /// Another user is at the keyboard, or nobody any more. `left`: somebody was there before.
    UserChanged { left: bool },
}

/// Holds up the sleep that is about to come; drop it when no secret is left in memory.
///
/// Logind waits `InhibitDelayMaxSec` for it, 5 s unless configured, and then sleeps all the same.
#[derive(Debug)]
pub struct Delay(
    // Dropping it is what it is for.
    #[expect(dead_code)] Option<OwnedFd>,
);

/// The user of the session at the keyboard, kept up to date by [`watch`].
#[derive(Clone)]
pub struct ActiveUser(Arc<AtomicU32>);

/// No user has this id: the kernel keeps it for "none" (credentials(7)).
const NOBODY: u32 = u32::MAX;

impl ActiveUser {
    fn new() -> Self {
        Self(Arc::new(AtomicU32::new(NOBODY)))
    }

    /// The user id; none at the login screen, or without logind.
    pub fn uid(&self) -> Option<u32> {
        Some(self.0.load(Ordering::Relaxed)).filter(|uid| *uid != NOBODY)
    }

    /// What there is to tell, if it is another than before.
    fn replace(&self, uid: Option<u32>) -> Option<SessionEvent> {
        let uid = uid.unwrap_or(NOBODY);
        let before = self.0.swap(uid, Ordering::Relaxed);
        if before == uid {
            return None;
        }
        debug!(uid, before, "the active session's user changed");
        let left = before != NOBODY;
        Some(SessionEvent::UserChanged { left })
    }
}

#[zbus::proxy(
    interface = "org.freedesktop.login1.Manager",
    default_service = "org.freedesktop.login1",
    default_path = "/org/freedesktop/login1"
)]
trait Manager {
    #[zbus(signal)]
    fn prepare_for_sleep(&self, start: bool) -> zbus::Result<()>;
    fn inhibit(&self, what: &str, who: &str, why: &str, mode: &str) -> zbus::Result<OwnedFd>;
    fn lock_session(&self, id: &str) -> zbus::Result<()>;
}

#[zbus::proxy(
    interface = "org.freedesktop.login1.Seat",
    default_service = "org.freedesktop.login1",
    default_path = "/org/freedesktop/login1/seat/seat0"
)]
trait Seat {
    #[zbus(property)]
    fn active_session(&self) -> zbus::Result<(String, OwnedObjectPath)>;
}

#[zbus::proxy(
    interface = "org.freedesktop.login1.Session",
    default_service = "org.freedesktop.login1"
)]
trait Session {
    #[zbus(property(emits_changed_signal = "false"))]
    fn user(&self) -> zbus::Result<(u32, OwnedObjectPath)>;
    #[zbus(property)]
    fn locked_hint(&self) -> zbus::Result<bool>;
    #[zbus(signal)]
    fn lock(&self) -> zbus::Result<()>;
}

/// Watches logind until the receiver is dropped. A host without it is served too: then only root operates.
pub fn watch(events: mpsc::Sender<SessionEvent>) -> ActiveUser {
    let active = ActiveUser::new();
    tokio::spawn({
        let active = active.clone();
        async move {
            let watched = match bus::system().await {
                Ok(bus) => follow(&bus, &events, &active).await,
                Err(error) => Err(error),
            };
            if let Err(error) = watched {
                active.replace(None);
                info!(%error, "no word from logind: sleep is not announced, and only root may operate");
            }
        }
    });
    active
}

/// Locks the screen of the session at the keyboard; false if nobody is there.
///
/// # Errors
/// [`Error::Bus`] without logind, or if it refuses.
pub async fn lock_session() -> Result<bool> {
    let locked = match bus::system().await {
        Ok(bus) => lock_on(&bus).await,
        Err(error) => Err(error),
    };
    locked.map_err(|cause| Error::Bus {
        doing: "lock the session".into(),
        cause,
    })
}

async fn lock_on(bus: &Connection) -> zbus::Result<bool> {
    let (id, path) = SeatProxy::new(bus).await?.active_session().await?;
    if is_none(&path) {
        return Ok(false);
    }
    ManagerProxy::new(bus).await?.lock_session(&id).await?;
    Ok(true)
}

async fn follow(
    bus: &Connection,
    events: &mpsc::Sender<SessionEvent>,
    active: &ActiveUser,
) -> zbus::Result<()> {
    let manager = ManagerProxy::new(bus).await?;
    let mut sleeps = manager.receive_prepare_for_sleep().await?;
    let mut delay = inhibit_sleep(&manager).await;
    // A server has no seat; it can still sleep.
    let seat = SeatProxy::new(bus).await?;
    let mut sessions = seat.receive_active_session_changed().await;
    let mut screen = None;
    loop {
        let event = tokio::select! {
            signal = sleeps.next() => {
                let signal = signal.ok_or_else(gone)?;
                if signal.args()?.start {
                    SessionEvent::Suspending(Delay(delay.take()))
                } else {
                    delay = inhibit_sleep(&manager).await;
                    SessionEvent::Resumed
                }
            }
            Some(change) = sessions.next() => {
                let path = change.get().await.ok().map(|(_, path)| path);
                let session = session(bus, path).await;
                let user = match &session {
                    Some(session) => session.user().await.ok().map(|(uid, _)| uid),
                    None => None,
                };
                screen = match &session {
                    Some(session) => Some(Screen::of(session).await?),
                    None => None,
                };
                match active.replace(user) {
                    Some(changed) => changed,
                    None => continue,
                }
            }
            () = locked(&mut screen) => SessionEvent::ScreenLocked,
            () = events.closed() => return Ok(()),
        };
        if events.send(event).await.is_err() {
            return Ok(());
        }
    }
}

/// Asks to be waited for before sleep. Where that is refused, sleep is still announced.
async fn inhibit_sleep(manager: &ManagerProxy<'_>) -> Option<OwnedFd> {
    manager
        .inhibit("sleep", "slussd", "Keys leave the memory", "delay")
        .await
        .inspect_err(|error| info!(%error, "the laptop will not wait for us before it sleeps"))
        .ok()
}

async fn session(bus: &Connection, path: Option<OwnedObjectPath>) -> Option<SessionProxy<'static>> {
    let path = path.filter(|path| !is_none(path))?;
    SessionProxy::builder(bus).path(path).build().await.ok()
}

/// "/" stands for no session.
fn is_none(session: &OwnedObjectPath) -> bool {
    session.as_str() == "/"
}

/// The two ways to hear that a screen was locked.
struct Screen {
    /// Somebody asks for it: `loginctl lock-session`, or we.
    asked: SignalStream<'static>,
    /// The desktop has done it.
    hints: PropertyStream<'static, bool>,
}

impl Screen {
    async fn of(session: &SessionProxy<'static>) -> zbus::Result<Screen> {
        Ok(Screen {
            asked: session.inner().receive_signal("Lock").await?,
            hints: session.receive_locked_hint_changed().await,
        })
    }
}

/// Waits until the screen is locked; for ever when there is none. Safe to cancel.
async fn locked(screen: &mut Option<Screen>) {
    let Some(Screen { asked, hints }) = screen else {
        return std::future::pending().await;
    };
    loop {
        tokio::select! {
            Some(_lock) = asked.next() => return,
            Some(hint) = hints.next() => {
                if hint.get().await.unwrap_or(false) {
                    return;
                }
            }
            else => return std::future::pending().await,
        }
    }
}

fn gone() -> zbus::Error {
    zbus::Error::InputOutput(Arc::new(io::ErrorKind::BrokenPipe.into()))
}

#[cfg(test)]
mod tests;
