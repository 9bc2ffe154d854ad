//! What comes of logind's word, with a logind that was made up for it.

use std::io::{PipeReader, Read};
use std::sync::Mutex;
use std::time::Duration;

use zbus::object_server::{InterfaceRef, SignalEmitter};
use zbus::{ObjectPath, fdo};

use super::*;

const ROOT: &str = "/org/freedesktop/login1";
const SEAT: &str = "/org/freedesktop/login1/seat/seat0";
const ANNA: &str = "/org/freedesktop/login1/session/_31";
const BO: &str = "/org/freedesktop/login1/session/_32";
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Default)]
struct FakeLogind {
    /// The far ends of the inhibitors that were given; none are given if it is `None`.
    inhibitors: Option<Arc<Mutex<Vec<PipeReader>>>>,
    locked: Arc<Mutex<Vec<String>>>,
}

#[zbus::interface(name = "org.freedesktop.login1.Manager")]
impl FakeLogind {
    fn inhibit(&self, what: &str, who: &str, _why: &str, mode: &str) -> fdo::Result<OwnedFd> {
        assert_eq!((what, who, mode), ("sleep", "slussd", "delay"));
        let inhibitors = self.inhibitors.as_ref();
        let inhibitors = inhibitors.ok_or_else(|| fdo::Error::AccessDenied("no".to_owned()))?;
        let (reader, writer) = io::pipe().unwrap();
        inhibitors.lock().unwrap().push(reader);
        Ok(std::os::fd::OwnedFd::from(writer).into())
    }

    fn lock_session(&self, id: &str) {
        self.locked.lock().unwrap().push(id.to_owned());
    }

    #[zbus(signal)]
    async fn prepare_for_sleep(emitter: &SignalEmitter<'_>, start: bool) -> zbus::Result<()>;
}

struct FakeSeat(&'static str);

#[zbus::interface(name = "org.freedesktop.login1.Seat")]
impl FakeSeat {
    #[zbus(property)]
    fn active_session(&self) -> (String, ObjectPath<'static>) {
        let id = self.0.rsplit('_').next().unwrap().to_owned();
        (id, ObjectPath::try_from(self.0).unwrap())
    }
}

struct FakeSession {
    uid: u32,
    locked: bool,
}

#[zbus::interface(name = "org.freedesktop.login1.Session")]
impl FakeSession {
    #[zbus(property)]
    fn user(&self) -> (u32, ObjectPath<'static>) {
        (self.uid, ObjectPath::try_from("/user").unwrap())
    }

    #[zbus(property)]
    fn locked_hint(&self) -> bool {
        self.locked
    }

    #[zbus(signal)]
    async fn lock(emitter: &SignalEmitter<'_>) -> zbus::Result<()>;
}

/// Logind's end, and what the daemon hears at the other.
struct Stage {
    ours: Connection,
    theirs: Connection,
    events: mpsc::Receiver<SessionEvent>,
    active: ActiveUser,
}

impl Stage {
    async fn set(manager: FakeLogind, active_session: &'static str) -> Stage {
        let session = |uid| FakeSession { uid, locked: false };
        let (ours, theirs) = bus::pair(|builder| {
            builder
                .serve_at(ROOT, manager)
                .serve_at(SEAT, FakeSeat(active_session))
                .serve_at(ANNA, session(1001))
                .serve_at(BO, session(1002))
        })
        .await;
        let (sender, events) = mpsc::channel(4);
        let active = ActiveUser::new();
        tokio::spawn({
            let (ours, active) = (ours.clone(), active.clone());
            async move { follow(&ours, &sender, &active).await }
        });
        let mut stage = Stage {
            ours,
            theirs,
            events,
            active,
        };
        if active_session != "/" {
            assert!(matches!(
                stage.event().await,
                SessionEvent::UserChanged { left: false }
            ));
        }
        stage
    }

    async fn interface<I: zbus::object_server::Interface>(&self, path: &str) -> InterfaceRef<I> {
        self.theirs.object_server().interface(path).await.unwrap()
    }

    async fn prepare_for_sleep(&self, start: bool) {
        let manager = self.interface::<FakeLogind>(ROOT).await;
        let emitter = manager.signal_emitter();
        FakeLogind::prepare_for_sleep(emitter, start).await.unwrap();
    }

    async fn switch_to(&self, session: &'static str) {
        let seat = self.interface::<FakeSeat>(SEAT).await;
        let mut state = seat.get_mut().await;
        state.0 = session;
        state
            .active_session_changed(seat.signal_emitter())
            .await
            .unwrap();
    }

    async fn event(&mut self) -> SessionEvent {
        let event = tokio::time::timeout(PATIENCE, self.events.recv()).await;
        event.expect("nothing was told").expect("nobody watches")
    }

    async fn until(&self, is_so: impl Fn() -> bool) {
        let wait = async {
            while !is_so() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, wait)
            .await
            .expect("it did not come to be");
    }
}

#[tokio::test]
async fn sleep_waits_until_the_delay_is_dropped_and_the_next_one_does_too() {
    let inhibitors = Arc::new(Mutex::new(Vec::new()));
    let manager = FakeLogind {
        inhibitors: Some(Arc::clone(&inhibitors)),
        ..FakeLogind::default()
    };
    let mut stage = Stage::set(manager, ANNA).await;
    for night in 1..=2 {
        stage
            .until(|| inhibitors.lock().unwrap().len() == night)
            .await;
        stage.prepare_for_sleep(true).await;
        let SessionEvent::Suspending(delay) = stage.event().await else {
            panic!("not asleep");
        };
        let mut far_end = inhibitors.lock().unwrap()[night - 1].try_clone().unwrap();
        assert!(!at_end(&far_end), "it sleeps before the keys are gone");
        drop(delay);
        // Logind sees the end of the pipe.
        assert_eq!(far_end.read(&mut [0]).unwrap(), 0);
        stage.prepare_for_sleep(false).await;
        assert!(matches!(stage.event().await, SessionEvent::Resumed));
    }
}

#[tokio::test]
async fn sleep_is_told_also_where_nobody_waits_for_us() {
    let mut stage = Stage::set(FakeLogind::default(), ANNA).await;
    stage.prepare_for_sleep(true).await;
    assert!(matches!(stage.event().await, SessionEvent::Suspending(_)));
}

#[tokio::test]
async fn the_user_at_the_keyboard_is_known_and_each_change_told() {
    let mut stage = Stage::set(FakeLogind::default(), ANNA).await;
    assert_eq!(stage.active.uid(), Some(1001));
    stage.switch_to(BO).await;
    assert!(matches!(
        stage.event().await,
        SessionEvent::UserChanged { left: true }
    ));
    assert_eq!(stage.active.uid(), Some(1002));
    stage.switch_to("/").await;
    assert!(matches!(
        stage.event().await,
        SessionEvent::UserChanged { left: true }
    ));
    assert_eq!(stage.active.uid(), None);
    // Nobody leaves when somebody comes.
    stage.switch_to(ANNA).await;
    assert!(matches!(
        stage.event().await,
        SessionEvent::UserChanged { left: false }
    ));
    assert_eq!(stage.active.uid(), Some(1001));
}

#[tokio::test]
async fn a_locked_screen_is_told_whoever_locked_it() {
    let mut stage = Stage::set(FakeLogind::default(), ANNA).await;
    let anna = stage.interface::<FakeSession>(ANNA).await;
    let bo = stage.interface::<FakeSession>(BO).await;
    anna.get_mut().await.locked = true;
    anna.get()
        .await
        .locked_hint_changed(anna.signal_emitter())
        .await
        .unwrap();
    assert!(matches!(stage.event().await, SessionEvent::ScreenLocked));
    // Unlocked is no news; another session's lock is none of ours.
    anna.get_mut().await.locked = false;
    anna.get()
        .await
        .locked_hint_changed(anna.signal_emitter())
        .await
        .unwrap();
    FakeSession::lock(bo.signal_emitter()).await.unwrap();
    stage.prepare_for_sleep(true).await;
    assert!(matches!(stage.event().await, SessionEvent::Suspending(_)));
    FakeSession::lock(anna.signal_emitter()).await.unwrap();
    assert!(matches!(stage.event().await, SessionEvent::ScreenLocked));
}

#[tokio::test]
async fn the_session_at_the_keyboard_is_locked_if_there_is_one() {
    let manager = FakeLogind::default();
    let locked = Arc::clone(&manager.locked);
    let stage = Stage::set(manager, BO).await;
    assert!(lock_on(&stage.ours).await.unwrap());
    assert_eq!(*locked.lock().unwrap(), ["32"]);
    stage.switch_to("/").await;
    assert!(!lock_on(&stage.ours).await.unwrap());
    assert_eq!(locked.lock().unwrap().len(), 1);
}

/// Whether the other end has been closed.
fn at_end(reader: &PipeReader) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd;

    let mut fds = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).unwrap() > 0
}
