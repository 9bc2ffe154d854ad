//! Workers made of paper: what is asked of them after they failed, and what never is.

use super::*;
use crate::key::{Algorithm, CardKey};
use crate::pkcs11::wire::{self, Request, Response};
use crate::pkcs11::{Token, Uses, Worker};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const KEY: &[u8] = b"wg";

/// What a worker does with one request.
enum Does {
    Answer(Response),
    /// Nothing, until the other end gives up.
    Hang,
    /// Ends.
    Crash,
    /// Says what is no response.
    Babble,
}

/// Requests in order, by a short name, and what comes of each.
type Play = Arc<Mutex<VecDeque<(&'static str, Does)>>>;

/// A worker that plays its part.
struct Actor {
    play: Play,
    /// Bytes on their way back.
    back: VecDeque<u8>,
    /// The request as far as it has come.
    request: Vec<u8>,
    silence: Option<ErrorKind>,
}

impl Read for Actor {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.silence {
            Some(kind) => Err(kind.into()),
            None => self.back.read(buffer),
        }
    }
}

impl Write for Actor {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.request.extend(bytes);
        if let Ok(payload) = wire::read_frame(&mut &self.request[..]) {
            self.request.clear();
            self.play(&Request::decode(&payload).unwrap());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Actor {
    fn play(&mut self, request: &Request) {
        let (expected, does) = self.play.lock().unwrap().pop_front().unwrap();
        assert_eq!(name(request), expected);
        match does {
            Does::Answer(response) => {
                wire::write_frame(&mut self.back, &response.encode()).unwrap()
            }
            Does::Hang => self.silence = Some(ErrorKind::WouldBlock),
            Does::Crash => self.silence = Some(ErrorKind::UnexpectedEof),
            Does::Babble => wire::write_frame(&mut self.back, b"?").unwrap(),
        }
    }
}

impl Worker for Actor {
    fn set_patience(&mut self, _: Duration) -> io::Result<()> {
        Ok(())
    }
}

fn name(request: &Request) -> &'static str {
    match request {
        Request::Look { .. } => "look",
        Request::Pin { .. } => "pin",
        Request::LogIn { .. } => "log in",
        Request::LogOut { .. } => "log out",
        Request::Derive { .. } => "derive",
        Request::Decrypt { .. } => "decrypt",
        Request::Sign { .. } => "sign",
        Request::Generate { .. } => "generate",
    }
}

/// The line to a token that plays this, and how many workers were started.
struct Stage {
    line: TokenLine,
    play: Play,
    started: Arc<Mutex<u32>>,
}

impl Stage {
    fn new(play: Vec<(&'static str, Does)>) -> Self {
        let play: Play = Arc::new(Mutex::new(play.into()));
        let started = Arc::new(Mutex::new(0));
        let (actors, count) = (Arc::clone(&play), Arc::clone(&started));
        let launch = Launch::new(move || {
            *count.lock().unwrap() += 1;
            Ok(Box::new(Actor {
                play: Arc::clone(&actors),
                back: VecDeque::new(),
                request: Vec::new(),
                silence: None,
            }))
        });
        let line = TokenLine::new("Reader".to_owned(), KEY.to_vec(), launch);
        Self {
            line,
            play,
            started,
        }
    }

    fn transact<T>(&mut self, mut work: impl FnMut(&mut dyn Applet) -> T) -> Result<T, Error> {
        let mut done = None;
        let deadline = Some(Instant::now() + Duration::from_secs(60));
        self.line.transact(deadline, &mut |applet| {
            done = Some(work(applet));
            Parting::Leave
        })?;
        Ok(done.unwrap())
    }

    /// All was played, by so many workers.
    fn ends_with(self, started: u32) {
        assert!(self.play.lock().unwrap().is_empty(), "not all was asked");
        assert_eq!(*self.started.lock().unwrap(), started);
    }
}

fn token(serial: &str) -> Response {
    Response::Tokens(vec![Token {
        slot: 1,
        place: "Reader".to_owned(),
        removable: true,
        serial: serial.to_owned(),
        label: String::new(),
        pin: PinState {
            tries: Tries::All,
            shortest: 4,
            longest: 8,
            pad: false,
            ready: false,
        },
        makes: Vec::new(),
        keys: vec![Key {
            id: KEY.to_vec(),
            label: String::new(),
            public: CardKey::X25519([9; 32]),
            uses: None::<Uses>,
            certificate: None,
        }],
    }])
}

fn failed(fault: Fault) -> Does {
    Does::Answer(Response::Failed(fault))
}

fn secret() -> Does {
    Does::Answer(Response::Bytes(vec![7; 32].into()))
}

fn agree(applet: &mut dyn Applet) -> Result<[u8; 32], Error> {
    applet.agree(&[9; 32]).map(|secret| *secret.as_bytes())
}

fn log_in(applet: &mut dyn Applet) -> Result<(), Error> {
    let pin = Pin::new(b"271828".to_vec().into()).unwrap();
    applet.verify(&PinEntry::Typed(pin))
}

#[test]
fn a_token_is_looked_at_once() {
    let mut stage = Stage::new(vec![
        ("look", Does::Answer(token("A"))),
        ("derive", secret()),
        ("derive", secret()),
    ]);
    let described = stage.transact(|applet| applet.describe()).unwrap().unwrap();
    assert_eq!(described.serial, "A");
    assert_eq!(described.key.algorithm(), Algorithm::X25519);
    for _ in 0..2 {
        assert_eq!(stage.transact(agree), Ok(Ok([7; 32])));
    }
    stage.ends_with(1);
}

/// Some modules call a card that another program reset removed, some just fail.
#[test]
fn a_token_that_is_there_after_all_is_locked() {
    for fault in [Fault::Gone, Fault::Failed("C_DeriveKey".to_owned())] {
        let mut stage = Stage::new(vec![
            ("look", Does::Answer(token("A"))),
            ("derive", failed(fault)),
            ("look", Does::Answer(token("A"))),
            ("derive", failed(Fault::NotLoggedIn)),
            ("log in", Does::Answer(Response::Done)),
            ("derive", secret()),
        ]);
        assert_eq!(stage.transact(agree), Ok(Err(Error::Locked)));
        assert_eq!(stage.transact(log_in), Ok(Ok(())));
        assert_eq!(stage.transact(agree), Ok(Ok([7; 32])));
        stage.ends_with(2);
    }
}

#[test]
fn another_token_in_its_place_is_asked_for_nothing() {
    let mut stage = Stage::new(vec![
        ("look", Does::Answer(token("A"))),
        ("derive", failed(Fault::Gone)),
        ("look", Does::Answer(token("B"))),
        ("look", Does::Answer(token("B"))),
    ]);
    assert_eq!(stage.transact(agree), Ok(Err(Error::Gone)));
    // the next transaction begins by telling who is there
    assert_eq!(
        stage
            .transact(|applet| applet.serial().to_owned())
            .as_deref(),
        Ok("B")
    );
    stage.ends_with(2);
}

/// Whatever becomes of the request: whether a try was spent is not known.
#[test]
fn a_pin_is_never_shown_twice() {
    for (does, error) in [
        (failed(Fault::Gone), Error::Gone),
        (
            failed(Fault::WrongPin(Tries::Last)),
            Error::WrongPin { left: 1 },
        ),
        (Does::Hang, Error::Timeout),
        (Does::Crash, Error::Module(Failure::Ended)),
        (Does::Babble, Error::Module(Failure::Ended)),
        (
            Does::Answer(Response::Tokens(Vec::new())),
            Error::Module(Failure::Ended),
        ),
    ] {
        let mut stage = Stage::new(vec![("look", Does::Answer(token("A"))), ("log in", does)]);
        assert_eq!(stage.transact(log_in), Ok(Err(error)));
        stage.ends_with(1);
    }
}

#[test]
fn a_worker_that_failed_is_replaced_for_the_next_request() {
    for (does, error) in [
        (Does::Hang, Error::Timeout),
        (Does::Crash, Error::Module(Failure::Ended)),
        (Does::Babble, Error::Module(Failure::Ended)),
        (Does::Answer(Response::Done), Error::Module(Failure::Ended)),
    ] {
        let mut stage = Stage::new(vec![
            ("look", Does::Answer(token("A"))),
            ("derive", does),
            ("look", Does::Answer(token("A"))),
            ("derive", failed(Fault::NotLoggedIn)),
        ]);
        assert_eq!(stage.transact(agree), Ok(Err(error)));
        assert_eq!(stage.transact(agree), Ok(Err(Error::Locked)));
        stage.ends_with(2);
    }
}

#[test]
fn locking_ends_the_worker() {
    let mut stage = Stage::new(vec![
        ("look", Does::Answer(token("A"))),
        ("log out", Does::Answer(Response::Done)),
        ("look", Does::Answer(token("A"))),
        ("derive", failed(Fault::NotLoggedIn)),
    ]);
    assert_eq!(stage.transact(|applet| applet.unverify()), Ok(Ok(())));
    assert_eq!(stage.transact(agree), Ok(Err(Error::Locked)));
    stage.ends_with(2);
}

/// `CKA_ALWAYS_AUTHENTICATE`: what was right a moment ago is shown for each use, and no longer than the transaction.
#[test]
fn a_pin_serves_each_use_of_one_transaction() {
    let mut stage = Stage::new(vec![
        ("look", Does::Answer(token("A"))),
        ("log in", Does::Answer(Response::Done)),
        ("derive", secret()),
        ("derive", failed(Fault::NotLoggedIn)),
        ("log in", Does::Answer(Response::Done)),
        ("derive", secret()),
        ("derive", failed(Fault::NotLoggedIn)),
    ]);
    let both = stage.transact(|applet| {
        log_in(applet)?;
        agree(applet)?;
        agree(applet)
    });
    assert_eq!(both, Ok(Ok([7; 32])));
    assert_eq!(stage.transact(agree), Ok(Err(Error::Locked)));
    stage.ends_with(1);
}

#[test]
fn what_a_token_derives_has_to_be_a_secret() {
    for (bytes, error) in [
        (vec![0; 32], Error::ZeroSecret),
        (
            vec![7; 31],
            Error::Nonsense {
                step: "compute the Diffie-Hellman",
                what: "not 32 bytes",
            },
        ),
    ] {
        let mut stage = Stage::new(vec![
            ("look", Does::Answer(token("A"))),
            ("derive", Does::Answer(Response::Bytes(bytes.into()))),
        ]);
        assert_eq!(stage.transact(agree), Ok(Err(error)));
        stage.ends_with(1);
    }
}
