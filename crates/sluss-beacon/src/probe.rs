//! One probe of one server: bytes in, bytes out, and at the end proof or what is wrong with it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{ServerName, UnixTime};
use rustls::{AlertDescription, CertificateError, ClientConnection, Error, PeerIncompatible};
use sluss_policy::{Beacon, BeaconKind, Pin};
use x509_cert::der::DateTime;

use crate::answer::plain;
use crate::trust::{NotPinned, client};
use crate::{Answer, MalformedAnswer};

/// All that a server may send: a long chain of certificates is some 10,000 bytes, a beacon's whole side 300.
const LONGEST_CONVERSATION: usize = 64 * 1024;

/// A server has proved itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// What it said, if it is a beacon.
    pub answer: Option<Answer>,
}

/// Why there is no proof. Dates are Unix times.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoProof {
    #[error(
        "it was called from {seen}, and this laptop called from {own}: a relay or address translation is in between"
    )]
    Relayed { seen: SocketAddr, own: SocketAddr },
    #[error("it shows another key than the pinned one: {shown}")]
    WrongKey { shown: Pin },
    #[error("it shows the pinned key and cannot sign with it")]
    BadSignature,
    #[error("its certificate expired on {}, and this laptop's clock says {}", Date(.not_after), Date(.clock))]
    Expired {
        not_after: Duration,
        clock: Duration,
    },
    #[error("its certificate is valid from {} on, and this laptop's clock says {}", Date(.not_before), Date(.clock))]
    NotYetValid {
        not_before: Duration,
        clock: Duration,
    },
    #[error("it does not speak TLS 1.3 with us: {0}")]
    NotTls(String),
    #[error("it speaks TLS, and has no bare key to show")]
    NoRawKey,
    #[error("it holds the pinned key, but {0}")]
    BadAnswer(#[from] MalformedAnswer),
}

/// The laptop's side of one connection.
///
/// Whatever [`Probe::output`] gives goes to the server, also after the end: it is how the server learns that it is over.
pub struct Probe {
    tls: ClientConnection,
    kind: BeaconKind,
    raw_key: bool,
    nat: Vec<IpAddr>,
    own: SocketAddr,
    heard: usize,
    said: Vec<u8>,
}

impl Probe {
    /// Begins on a fresh connection whose own end is `own`, at `now` since the Unix epoch by the wall clock.
    ///
    /// # Errors
    /// When the library cannot speak TLS, or has no randomness.
    pub fn new(beacon: &Beacon, own: SocketAddr, now: Duration) -> Result<Self, NoProof> {
        let config = client(beacon, now)?;
        // An address as the name of the server: it is not sent (RFC 6066, 3), and nothing compares it.
        let nobody = ServerName::IpAddress(IpAddr::from(Ipv4Addr::UNSPECIFIED).into());
        Ok(Self {
            tls: ClientConnection::new(Arc::new(config), nobody)?,
            kind: beacon.kind,
            raw_key: beacon.shows_key_alone(),
            nat: beacon.nat.clone(),
            own: plain(own),
            heard: 0,
            said: Vec::new(),
        })
    }

    /// What to send now; often nothing.
    pub fn output(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.tls.wants_write() {
            // A vector takes everything.
            let _ = self.tls.write_tls(&mut bytes);
        }
        bytes
    }

    /// Takes what the server sent. Gives the end, once.
    pub fn receive(&mut self, mut bytes: &[u8]) -> Option<Result<Proof, NoProof>> {
        self.heard = self.heard.saturating_add(bytes.len());
        if self.heard > LONGEST_CONVERSATION {
            return Some(Err(NoProof::NotTls("it talks without end".to_owned())));
        }
        while !bytes.is_empty() {
            if let Err(error) = self.tls.read_tls(&mut bytes) {
                return Some(Err(NoProof::NotTls(error.to_string())));
            }
            if let Some(end) = self.proceed().transpose() {
                self.tls.send_close_notify();
                return Some(end);
            }
        }
        None
    }

    /// The server has closed the connection, and has not said so inside of it.
    pub fn hung_up(&self) -> NoProof {
        match self.tls.is_handshaking() {
            true => NoProof::NotTls("it hung up".to_owned()),
            false => MalformedAnswer::Truncated.into(),
        }
    }

    fn proceed(&mut self) -> Result<Option<Proof>, NoProof> {
        let state = self
            .tls
            .process_new_packets()
            .map_err(|error| match error {
                // What servers say that know certificates alone (RFC 7250, 4.2).
                Error::AlertReceived(
                    AlertDescription::HandshakeFailure | AlertDescription::UnsupportedCertificate,
                ) if self.raw_key => NoProof::NoRawKey,
                error => error.into(),
            })?;
        if self.tls.is_handshaking() {
            return Ok(None);
        }
        match self.kind {
            BeaconKind::Tls => Ok(Some(Proof { answer: None })),
            BeaconKind::Beacon => {
                self.listen()?;
                // The line feed ends it. Nobody waits for more, nor for a good-bye.
                match self.said.contains(&b'\n') || state.peer_has_closed() {
                    true => self.compare().map(Some),
                    false => Ok(None),
                }
            }
        }
    }

    fn listen(&mut self) -> Result<(), NoProof> {
        let mut piece = [0; Answer::LONGEST + 1];
        loop {
            match std::io::Read::read(&mut self.tls.reader(), &mut piece) {
                Ok(count @ 1..) => self.said.extend_from_slice(&piece[..count]),
                // Nothing more for now, or for ever.
                Ok(0) | Err(_) => return Ok(()),
            }
            if self.said.len() > Answer::LONGEST {
                return Err(MalformedAnswer::TooLong.into());
            }
        }
    }

    fn compare(&self) -> Result<Proof, NoProof> {
        let answer = Answer::parse(&self.said)?;
        let seen = answer.seen();
        match seen == self.own || self.nat.contains(&seen.ip()) {
            true => Ok(Proof {
                answer: Some(answer),
            }),
            false => Err(NoProof::Relayed {
                seen,
                own: self.own,
            }),
        }
    }
}

impl From<Error> for NoProof {
    fn from(error: Error) -> Self {
        match error {
            Error::InvalidCertificate(CertificateError::ExpiredContext { time, not_after }) => {
                Self::Expired {
                    not_after: since_epoch(not_after),
                    clock: since_epoch(time),
                }
            }
            Error::InvalidCertificate(CertificateError::NotValidYetContext {
                time,
                not_before,
            }) => Self::NotYetValid {
                not_before: since_epoch(not_before),
                clock: since_epoch(time),
            },
            Error::InvalidCertificate(CertificateError::Other(ref other)) => {
                match other.0.downcast_ref() {
                    Some(NotPinned { shown }) => Self::WrongKey { shown: *shown },
                    None => Self::NotTls(error.to_string()),
                }
            }
            Error::InvalidCertificate(CertificateError::BadSignature) => Self::BadSignature,
            Error::PeerIncompatible(PeerIncompatible::IncorrectCertificateTypeExtension) => {
                Self::NoRawKey
            }
            _ => Self::NotTls(error.to_string()),
        }
    }
}

fn since_epoch(time: UnixTime) -> Duration {
    Duration::from_secs(time.as_secs())
}

/// As people write it: `2026-11-23 08:00 UTC`.
struct Date<'a>(&'a Duration);

impl fmt::Display for Date<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match DateTime::from_unix_duration(*self.0) {
            Ok(date) => write!(
                f,
                "{}-{:02}-{:02} {:02}:{:02} UTC",
                date.year(),
                date.month(),
                date.day(),
                date.hour(),
                date.minutes()
            ),
            Err(_) => f.write_str("the far future"),
        }
    }
}
