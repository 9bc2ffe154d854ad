//! The daemon's end of a worker: started when it is needed, killed when it does not answer.

use super::wire::{self, Fault, Key, PinState, Request, Response, Scheme, Token};
use super::{Launch, Worker};
use crate::Pin;
use crate::applet::Padding;
use crate::key::Algorithm;
use std::io::ErrorKind;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// For what has no deadline of its own: long enough to load middleware and read a slow card's certificates.
const PATIENCE: Duration = Duration::from_secs(30);

/// A PKCS#11 module in a process of its own.
///
/// What was logged in, and every secret that the module may have kept, ends with the process: see [`Module::end`].
pub struct Module {
    launch: Launch,
    worker: Option<Box<dyn Worker>>,
}

/// One private key of one token.
#[derive(Debug, Clone, Copy)]
pub struct KeyAt<'a> {
    /// [`Token::slot`].
    pub slot: u64,
    /// [`Key::id`].
    pub id: &'a [u8],
}

impl Module {
    /// Starts nothing yet.
    pub fn new(launch: Launch) -> Self {
        Self {
            launch,
            worker: None,
        }
    }

    /// All tokens with their keys, or those in the slots that are named after this reader.
    ///
    /// # Errors
    /// [`Failure`], as everything here.
    pub fn look(
        &mut self,
        reader: Option<&str>,
        deadline: Option<Instant>,
    ) -> Result<Vec<Token>, Failure> {
        let reader = reader.map(str::to_owned);
        match self.ask(&Request::Look { reader }, deadline)? {
            Response::Tokens(tokens) => Ok(tokens),
            other => Err(self.unexpected(other)),
        }
    }

    /// How it stands with the PIN of the token that [`Module::look`] saw in this slot.
    ///
    /// # Errors
    /// [`Fault::Gone`], …
    pub fn pin(&mut self, slot: u64, deadline: Option<Instant>) -> Result<PinState, Failure> {
        match self.ask(&Request::Pin { slot }, deadline)? {
            Response::Pin(pin) => Ok(pin),
            other => Err(self.unexpected(other)),
        }
    }

    /// Shows the PIN, once, to the token that [`Module::look`] saw in this slot; `None` when it is typed on the reader.
    ///
    /// # Errors
    /// [`Fault::WrongPin`], [`Fault::Blocked`], [`Fault::BadPin`], [`Fault::Declined`], [`Fault::Gone`], …
    pub fn log_in(
        &mut self,
        slot: u64,
        pin: Option<&Pin>,
        deadline: Option<Instant>,
    ) -> Result<(), Failure> {
        let pin = pin.cloned();
        self.done(&Request::LogIn { slot, pin }, deadline)
    }

    /// # Errors
    /// [`Fault::Gone`], …
    pub fn log_out(&mut self, slot: u64, deadline: Option<Instant>) -> Result<(), Failure> {
        self.done(&Request::LogOut { slot }, deadline)
    }

    /// The Diffie-Hellman of the key with a raw point: 32 bytes of X25519, or uncompressed (SEC 1, 2.3.3). Gives the shared X
    /// coordinate, as long as the curve's field.
    ///
    /// # Errors
    /// [`Fault::NotLoggedIn`], [`Fault::NoKey`], [`Fault::Unsupported`], …
    pub fn derive(
        &mut self,
        key: KeyAt<'_>,
        with: &[u8],
        deadline: Option<Instant>,
    ) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let KeyAt { slot, id } = key;
        let (key, with) = (id.to_vec(), with.to_vec());
        self.bytes(&Request::Derive { slot, key, with }, deadline)
    }

    /// RSA decryption; gives what was encrypted, without its padding.
    ///
    /// # Errors
    /// [`Fault::NotLoggedIn`], [`Fault::NoKey`], [`Fault::Unsupported`], …
    pub fn decrypt(
        &mut self,
        key: KeyAt<'_>,
        padding: Padding,
        ciphertext: &[u8],
        deadline: Option<Instant>,
    ) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let KeyAt { slot, id } = key;
        let (key, ciphertext) = (id.to_vec(), ciphertext.to_vec());
        let request = Request::Decrypt {
            slot,
            key,
            padding,
            ciphertext,
        };
        self.bytes(&request, deadline)
    }

    /// Signs a message.
    ///
    /// # Errors
    /// [`Fault::NotLoggedIn`], [`Fault::NoKey`], [`Fault::Unsupported`], …
    pub fn sign(
        &mut self,
        key: KeyAt<'_>,
        scheme: Scheme,
        message: &[u8],
        deadline: Option<Instant>,
    ) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let KeyAt { slot, id } = key;
        let (key, message) = (id.to_vec(), message.to_vec());
        let request = Request::Sign {
            slot,
            key,
            scheme,
            message,
        };
        self.bytes(&request, deadline)
    }

    /// Makes a key pair on a token that is logged in: X25519, P-256 or P-384. Its private half can never be read, and its
    /// `CKA_ID` must be new.
    ///
    /// # Errors
    /// [`Fault::NotLoggedIn`], [`Fault::Unsupported`], …
    pub fn generate(
        &mut self,
        slot: u64,
        algorithm: Algorithm,
        id: &[u8],
        label: &str,
        deadline: Option<Instant>,
    ) -> Result<Key, Failure> {
        let (id, label) = (id.to_vec(), label.to_owned());
        let request = Request::Generate {
            slot,
            algorithm,
            id,
            label,
        };
        match self.ask(&request, deadline)? {
            Response::Key(key) => Ok(key),
            other => Err(self.unexpected(other)),
        }
    }

    /// Ends the process, and so everything that the module keeps in memory. The next request starts another.
    pub fn end(&mut self) {
        self.worker = None;
    }

    fn done(&mut self, request: &Request, deadline: Option<Instant>) -> Result<(), Failure> {
        match self.ask(request, deadline)? {
            Response::Done => Ok(()),
            other => Err(self.unexpected(other)),
        }
    }

    fn bytes(
        &mut self,
        request: &Request,
        deadline: Option<Instant>,
    ) -> Result<Zeroizing<Vec<u8>>, Failure> {
        match self.ask(request, deadline)? {
            Response::Bytes(bytes) => Ok(bytes),
            other => Err(self.unexpected(other)),
        }
    }

    /// A worker that fails to answer is of no more use, whatever the reason.
    fn ask(&mut self, request: &Request, deadline: Option<Instant>) -> Result<Response, Failure> {
        let mut worker = match self.worker.take() {
            Some(worker) => worker,
            None => (self.launch.0)().map_err(|error| Failure::NotStarted(error.kind()))?,
        };
        let now = Instant::now();
        let deadline = deadline.unwrap_or(now + PATIENCE);
        let response = converse(
            &mut *worker,
            request,
            deadline.saturating_duration_since(now),
        )?;
        self.worker = Some(worker);
        match response {
            Response::Failed(fault) => Err(Failure::Fault(fault)),
            response => Ok(response),
        }
    }

    fn unexpected(&mut self, _: Response) -> Failure {
        self.end();
        Failure::Ended
    }
}

fn converse(
    worker: &mut dyn Worker,
    request: &Request,
    patience: Duration,
) -> Result<Response, Failure> {
    if patience.is_zero() {
        return Err(Failure::Hung);
    }
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => Failure::Hung,
        _ => Failure::Ended,
    };
    worker.set_patience(patience).map_err(failed)?;
    wire::write_frame(worker, &request.encode()).map_err(failed)?;
    let payload = wire::read_frame(worker).map_err(failed)?;
    Response::decode(&payload).map_err(|_| Failure::Ended)
}

/// Why a module did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The module said so.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// It did not answer in time and was killed.
    #[error("the PKCS#11 module did not answer in time")]
    Hung,
    /// Its process ended while it was asked: most likely the module crashed.
    #[error("the PKCS#11 module crashed")]
    Ended,
    /// The host started no process for it.
    #[error("the PKCS#11 module's process cannot be started: {0}")]
    NotStarted(ErrorKind),
}
