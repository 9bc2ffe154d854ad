//! What logind tells: sleep and wake, and whose session is at the keyboard.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use futures_util::StreamExt;
use tokio::sync::mpsc;
use tracing::{debug, info};
use zbus::OwnedObjectPath;

/// What logind said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionEvent {
    /// The laptop is about to sleep.
    Suspending,
    /// It woke.
    Resumed,
}

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

    fn set(&self, uid: Option<u32>) {
        if self.0.swap(uid.unwrap_or(NOBODY), Ordering::Relaxed) != uid.unwrap_or(NOBODY) {
            debug!(?uid, "the active session's user changed");
        }
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
}

/// Watches logind until the receiver is dropped. A host without it is served too: then only root operates.
pub fn watch(events: mpsc::Sender<SessionEvent>) -> ActiveUser {
    let active = ActiveUser::new();
    tokio::spawn({
        let active = active.clone();
        async move {
            if let Err(error) = follow(&events, &active).await {
                active.set(None);
                info!(%error, "no word from logind: sleep is not announced, and only root may operate");
            }
        }
    });
    active
}

async fn follow(events: &mpsc::Sender<SessionEvent>, active: &ActiveUser) -> zbus::Result<()> {
    let bus = zbus::Connection::system().await?;
    let manager = ManagerProxy::new(&bus).await?;
    let mut sleeps = manager.receive_prepare_for_sleep().await?;
    // A server has no seat; it can still sleep.
    let seat = SeatProxy::new(&bus).await?;
    let mut sessions = seat.receive_active_session_changed().await;
    loop {
        tokio::select! {
            signal = sleeps.next() => {
                let Some(signal) = signal else { return Err(zbus::Error::InputOutput(Arc::new(std::io::ErrorKind::BrokenPipe.into()))) };
                let event = if signal.args()?.start { SessionEvent::Suspending } else { SessionEvent::Resumed };
                if events.send(event).await.is_err() {
                    return Ok(());
                }
            }
            Some(change) = sessions.next() => {
                active.set(match change.get().await {
                    Ok((_, path)) => owner(&bus, path).await,
                    Err(_) => None,
                });
            }
            () = events.closed() => return Ok(()),
        }
    }
}

/// Whose the session is. "/" stands for no session.
async fn owner(bus: &zbus::Connection, session: OwnedObjectPath) -> Option<u32> {
    if session.as_str() == "/" {
        return None;
    }
    let session = SessionProxy::builder(bus)
        .path(session)
        .build()
        .await
        .ok()?;
    session.user().await.ok().map(|(uid, _)| uid)
}
