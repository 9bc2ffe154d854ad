//! Logins as PAM plays them, with a daemon that only takes notes.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use super::*;

/// A login before a PAM that keeps what it is given.
struct Login {
    service: &'static str,
    remote_host: Option<&'static str>,
    typed: Option<&'static [u8]>,
    uid: Option<u32>,
    stash: Cell<Option<Stash>>,
}

fn at_the_laptop() -> Login {
    Login {
        service: "gdm-smartcard",
        remote_host: None,
        typed: Some(b"123456"),
        uid: Some(1000),
        stash: Cell::new(None),
    }
}

impl Transaction for Login {
    fn entrance(&self) -> Entrance<'_> {
        Entrance {
            service: self.service,
            remote_host: self.remote_host,
            terminal: None,
        }
    }

    fn typed(&self) -> Option<&[u8]> {
        self.typed
    }

    fn uid(&self) -> Option<u32> {
        self.uid
    }

    fn put_by(&self, stash: Stash) -> Result<(), Error> {
        self.stash.set(Some(stash));
        Ok(())
    }

    fn take_back(&self) -> Option<Pin> {
        self.stash.take()?.pin()
    }
}

/// A daemon, and all that reached it.
#[derive(Default)]
struct Notes {
    wait: Option<Duration>,
    taken: RefCell<Vec<(Vec<u8>, u32)>>,
    waited: RefCell<Vec<Duration>>,
}

impl Recipient for Notes {
    fn hand_over(&self, pin: Pin, uid: u32) -> Result<Option<Duration>, Error> {
        self.taken.borrow_mut().push((pin.bytes().to_vec(), uid));
        Ok(self.wait)
    }

    fn wait(&self, limit: Duration) -> Result<Prospect, Error> {
        self.waited.borrow_mut().push(limit);
        Ok(Prospect::Reached)
    }
}

/// No daemon at all.
struct Nobody;

impl Recipient for Nobody {
    fn hand_over(&self, _pin: Pin, _uid: u32) -> Result<Option<Duration>, Error> {
        Err(sluss_ipc::Error::Silent.into())
    }

    fn wait(&self, _limit: Duration) -> Result<Prospect, Error> {
        panic!("there is nothing to wait for");
    }
}

fn all() -> Arguments {
    Arguments::default()
}

#[test]
fn a_login_hands_the_pin_over_once_and_when_its_session_opens() {
    let (login, daemon) = (at_the_laptop(), Notes::default());
    assert_eq!(authenticate(&login, &all()).unwrap(), Done::PutBy);
    assert_eq!(*daemon.taken.borrow(), []);
    let opened = open_session(&login, &all(), &daemon).unwrap();
    assert_eq!(opened, Done::HandedOver);
    let again = open_session(&login, &all(), &daemon).unwrap();
    assert!(matches!(again, Done::Nothing(_)));
    assert_eq!(*daemon.taken.borrow(), [(b"123456".to_vec(), 1000)]);
    assert_eq!(*daemon.waited.borrow(), []);
}

#[test]
fn an_unlocked_screen_hands_the_pin_over_without_a_session_and_never_waits() {
    let login = at_the_laptop();
    let daemon = Notes {
        wait: Some(Duration::from_secs(10)),
        ..Notes::default()
    };
    authenticate(&login, &all()).unwrap();
    let renewed = set_credentials(&login, &all(), &daemon, Credentials::Renewed).unwrap();
    assert_eq!(renewed, Done::HandedOver);
    assert_eq!(daemon.taken.borrow().len(), 1);
    assert_eq!(*daemon.waited.borrow(), []);
}

#[test]
fn a_login_waits_as_long_as_the_daemon_says() {
    let login = at_the_laptop();
    let daemon = Notes {
        wait: Some(Duration::from_secs(10)),
        ..Notes::default()
    };
    authenticate(&login, &all()).unwrap();
    let opened = open_session(&login, &all(), &daemon).unwrap();
    assert_eq!(opened, Done::Waited(Prospect::Reached));
    assert_eq!(*daemon.waited.borrow(), [Duration::from_secs(10)]);
}

#[test]
fn who_is_not_at_the_laptop_leaves_no_pin_behind() {
    let sudo = Login {
        service: "sudo",
        ..at_the_laptop()
    };
    let from_afar = Login {
        remote_host: Some("192.0.2.7"),
        ..at_the_laptop()
    };
    let by_pin_pad = Login {
        typed: None,
        ..at_the_laptop()
    };
    for login in [sudo, from_afar, by_pin_pad] {
        let done = authenticate(&login, &all()).unwrap();
        assert!(matches!(done, Done::Nothing(_)), "{done:?}");
        assert!(login.stash.take().is_none());
    }
}

#[test]
fn what_cannot_be_a_pin_is_not_kept() {
    let login = Login {
        typed: Some(&[b'x'; 200]),
        ..at_the_laptop()
    };
    assert!(matches!(authenticate(&login, &all()), Err(Error::NotAPin)));
    assert!(login.stash.take().is_none());
}

#[test]
fn the_session_line_can_forbid_what_the_auth_line_allowed() {
    let (login, daemon) = (at_the_laptop(), Notes::default());
    authenticate(&login, &all()).unwrap();
    let narrower = Arguments::parse(["services=login"]).unwrap();
    let opened = open_session(&login, &narrower, &daemon).unwrap();
    assert!(matches!(opened, Done::Nothing(_)));
    assert_eq!(*daemon.taken.borrow(), []);
    assert!(login.stash.take().is_none());
}

#[test]
fn the_end_of_a_login_forgets_the_pin() {
    let (login, daemon) = (at_the_laptop(), Notes::default());
    authenticate(&login, &all()).unwrap();
    set_credentials(&login, &all(), &daemon, Credentials::Deleted).unwrap();
    assert!(login.stash.take().is_none());
    assert_eq!(*daemon.taken.borrow(), []);
}

#[test]
fn without_a_daemon_the_pin_is_gone_and_nobody_waits() {
    let login = at_the_laptop();
    authenticate(&login, &all()).unwrap();
    assert!(open_session(&login, &all(), &Nobody).is_err());
    assert!(login.stash.take().is_none());
}

#[test]
fn a_user_that_the_host_does_not_know_hands_over_nothing() {
    let login = Login {
        uid: None,
        ..at_the_laptop()
    };
    let daemon = Notes::default();
    authenticate(&login, &all()).unwrap();
    assert!(matches!(
        open_session(&login, &all(), &daemon),
        Err(Error::UnknownUser)
    ));
    assert_eq!(*daemon.taken.borrow(), []);
}
