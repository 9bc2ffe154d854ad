//! The daemon, as a login sees it: it takes a PIN within a second, and tells whether a wait is worth it.

use std::path::Path;
use std::time::Duration;

use sluss_ipc::{Client, Pin, Refusal, Request, Response};

use crate::error::Error;
use crate::outlook::{Outlook, Prospect};

/// What a daemon that is missing or hangs may cost a login.
const PATIENCE: Duration = Duration::from_secs(1);

/// The longest wait, whatever the policy says: a login that takes longer looks broken.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Who takes PINs.
pub(crate) trait Recipient {
    /// Hands over the PIN that this user has typed; gives how long to wait for the internal network, if at all.
    fn hand_over(&self, pin: Pin, uid: u32) -> Result<Option<Duration>, Error>;

    /// Waits until the internal network can be reached, or will not be; [`Prospect::Open`] if the time was too short.
    fn wait(&self, limit: Duration) -> Result<Prospect, Error>;
}

/// The daemon that listens at this socket.
pub(crate) struct Daemon<'a>(pub(crate) &'a Path);

impl Recipient for Daemon<'_> {
    fn hand_over(&self, pin: Pin, uid: u32) -> Result<Option<Duration>, Error> {
        let mut client = Client::connect_within(self.0, PATIENCE)?;
        match client.call(&Request::HandOver { pin, uid })? {
            Response::HandedOver { wait_ms } => Ok(wait_ms.map(Duration::from_millis)),
            other => Err(unwelcome(&other)),
        }
    }

    fn wait(&self, limit: Duration) -> Result<Prospect, Error> {
        match self.watch(limit.min(LONGEST_WAIT)) {
            Err(Error::Daemon(sluss_ipc::Error::Silent)) => Ok(Prospect::Open),
            settled => settled,
        }
    }
}

impl Daemon<'_> {
    fn watch(&self, limit: Duration) -> Result<Prospect, Error> {
        let mut client = Client::connect_within(self.0, limit)?;
        let mut outlook = Outlook::default();
        let mut told = client.call(&Request::Monitor)?;
        loop {
            match told {
                Response::Change(change) => outlook.note(change.what),
                other => return Err(unwelcome(&other)),
            }
            match outlook.prospect() {
                Prospect::Open => told = client.receive()?,
                settled @ (Prospect::Reached | Prospect::Closed) => return Ok(settled),
            }
        }
    }
}

fn unwelcome(response: &Response) -> Error {
    match response {
        Response::Refused(Refusal::NotAllowed { .. }) => Error::NotAllowed,
        _ => Error::Nonsense,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::sync::mpsc;
    use std::time::Instant;

    use sluss_ipc::{Change, Decoder, Host, HostMode, Intent, Key, Location, SCHEMA, Tunnel, What};
    use zeroize::Zeroizing;

    use super::*;

    fn pin() -> Pin {
        Pin::new(Zeroizing::new(b"123456".to_vec())).unwrap()
    }

    fn request(stream: &mut UnixStream) -> Request {
        let mut decoder = Decoder::new();
        loop {
            let count = stream.read(decoder.space()).unwrap();
            assert_ne!(count, 0, "the login hung up");
            if let Some(request) = decoder.advance(count).unwrap() {
                return request;
            }
        }
    }

    fn tell(stream: &mut UnixStream, response: Response) {
        let frame = sluss_ipc::encode(&response).unwrap();
        stream.write_all(&frame).unwrap();
    }

    fn change(what: What) -> Response {
        Response::Change(Change {
            schema: SCHEMA,
            unix_ms: 0,
            what,
        })
    }

    /// A laptop at home whose card is checking the PIN.
    fn before() -> [Response; 5] {
        [
            What::Location(Location::Outside {
                reason: sluss_ipc::OutsideReason::NoProof,
                links: Vec::new(),
            }),
            What::Key(Key::Verifying),
            What::Tunnel(Tunnel::Starting),
            What::Intent(Intent::Automatic),
            What::Host(Host::Applied {
                mode: HostMode::Closed,
            }),
        ]
        .map(change)
    }

    /// Runs `login` against a daemon that behaves as `behave` says for one connection.
    fn against<T>(
        behave: impl FnOnce(UnixStream) + Send + 'static,
        login: impl FnOnce(Daemon<'_>) -> T,
    ) -> T {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("slussd.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let daemon = std::thread::spawn(move || behave(listener.accept().unwrap().0));
        let outcome = login(Daemon(&socket));
        daemon.join().unwrap();
        outcome
    }

    #[test]
    fn a_pin_arrives_with_whose_it_is() {
        let (told, heard) = mpsc::channel();
        let behave = move |mut stream: UnixStream| {
            let Request::HandOver { pin, uid } = request(&mut stream) else {
                panic!("something else was asked");
            };
            told.send((pin.bytes().to_vec(), uid)).unwrap();
            tell(
                &mut stream,
                Response::HandedOver {
                    wait_ms: Some(10_000),
                },
            );
        };
        let wait = against(behave, |daemon| daemon.hand_over(pin(), 1000).unwrap());
        assert_eq!(wait, Some(Duration::from_secs(10)));
        assert_eq!(heard.recv().unwrap(), (b"123456".to_vec(), 1000));
    }

    #[test]
    fn a_daemon_that_hangs_costs_a_second_and_one_that_is_missing_nothing() {
        let started = Instant::now();
        let missing = Daemon(Path::new("/nonexistent/slussd.sock")).hand_over(pin(), 1000);
        assert!(matches!(
            missing,
            Err(Error::Daemon(sluss_ipc::Error::NoDaemon { .. }))
        ));
        assert!(started.elapsed() < PATIENCE / 2);

        let (gone, waiting) = mpsc::channel::<()>();
        let hang = move |stream: UnixStream| {
            // Until the login has given up.
            let _ = waiting.recv();
            drop(stream);
        };
        let (hanging, took) = against(hang, |daemon| {
            let started = Instant::now();
            let hanging = daemon.hand_over(pin(), 1000);
            drop(gone);
            (hanging, started.elapsed())
        });
        assert!(matches!(
            hanging,
            Err(Error::Daemon(sluss_ipc::Error::Silent))
        ));
        assert!(took < PATIENCE * 2, "{took:?}");
    }

    #[test]
    fn a_daemon_that_hangs_up_or_refuses_is_no_trouble() {
        let hung_up = against(drop, |daemon| daemon.hand_over(pin(), 1));
        assert!(matches!(hung_up, Err(Error::Daemon(_))));
        let refuse = |mut stream: UnixStream| {
            request(&mut stream);
            let needs = sluss_ipc::Role::Admin;
            tell(
                &mut stream,
                Response::Refused(Refusal::NotAllowed { needs }),
            );
        };
        let refused = against(refuse, |daemon| daemon.hand_over(pin(), 1));
        assert!(matches!(refused, Err(Error::NotAllowed)));
    }

    #[test]
    fn a_wait_ends_when_the_tunnel_is_open() {
        let behave = |mut stream: UnixStream| {
            assert!(matches!(request(&mut stream), Request::Monitor));
            for response in before() {
                tell(&mut stream, response);
            }
            for what in [
                What::Key(Key::Unlocked),
                What::Tunnel(Tunnel::Up),
                What::Host(Host::Applied {
                    mode: HostMode::Tunnelled,
                }),
            ] {
                tell(&mut stream, change(what));
            }
        };
        let prospect = against(behave, |daemon| daemon.wait(Duration::from_secs(30)));
        assert_eq!(prospect.unwrap(), Prospect::Reached);
    }

    #[test]
    fn a_wait_ends_when_the_pin_was_wrong_and_when_its_time_is_up() {
        let wrong = |mut stream: UnixStream| {
            request(&mut stream);
            for response in before() {
                tell(&mut stream, response);
            }
            tell(&mut stream, change(What::Key(Key::Locked)));
        };
        let prospect = against(wrong, |daemon| daemon.wait(Duration::from_secs(30)));
        assert_eq!(prospect.unwrap(), Prospect::Closed);

        let (gone, waiting) = mpsc::channel::<()>();
        let slow = move |mut stream: UnixStream| {
            request(&mut stream);
            for response in before() {
                tell(&mut stream, response);
            }
            let _ = waiting.recv();
        };
        let prospect = against(slow, |daemon| {
            let prospect = daemon.wait(Duration::from_millis(200));
            drop(gone);
            prospect
        });
        assert_eq!(prospect.unwrap(), Prospect::Open);
    }
}
