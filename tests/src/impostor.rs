//! What an attacker puts where a beacon should be: relays, recordings, and servers that answer slowly or without end.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection};

use crate::netns::Netns;
use crate::servers::serve;

/// Where an attacker listens, or has a foothold.
pub type Spot<'a> = (&'a Netns, SocketAddr);

/// A forwarder of TCP connections from one network into another, that takes note of what passes.
pub struct Forwarder {
    /// What each server said, one connection after the other.
    said: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Forwarder {
    /// Forwards what comes to `here` on to `there`, byte by byte as `pace` says.
    pub fn start(here: Spot<'_>, there: Spot<'_>, pace: Pace) -> Result<Forwarder> {
        let said: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let (foothold, server) = (there.0.clone(), there.1);
        let notes = Arc::clone(&said);
        serve(here.0, here.1, move |client| {
            let far = foothold.run(|| TcpStream::connect_timeout(&server, Duration::from_secs(2)));
            let Ok(far) = far else { return };
            let note = {
                let mut notes = lock(&notes);
                notes.push(Vec::new());
                notes.len() - 1
            };
            let (Ok(from_client), Ok(to_server)) = (client.try_clone(), far.try_clone()) else {
                return;
            };
            thread::spawn(move || pour(from_client, to_server, Pace::AtOnce, |_| ()));
            pour(far, client, pace, |bytes| lock(&notes)[note].extend(bytes));
        })?;
        Ok(Forwarder { said })
    }

    /// How many connections have reached the server.
    pub fn connections(&self) -> usize {
        lock(&self.said).len()
    }

    /// What the server said in the last connection.
    pub fn recording(&self) -> Vec<u8> {
        lock(&self.said).last().cloned().unwrap_or_default()
    }
}

/// How fast a forwarder hands on what the server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    AtOnce,
    /// One byte each time.
    Dribble(Duration),
}

/// Says these bytes to everybody who connects, as soon as he has said something; gives the number of those who came.
pub fn replay(here: Spot<'_>, bytes: Vec<u8>) -> Result<Arc<AtomicUsize>> {
    let visits = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&visits);
    serve(here.0, here.1, move |mut stream| {
        count.fetch_add(1, Ordering::Relaxed);
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(&bytes);
        // Until the other side hangs up.
        let _ = stream.read(&mut [0; 4096]);
    })?;
    Ok(visits)
}

/// A TLS server's key and certificate, made anew.
pub struct Certificate {
    config: Arc<ServerConfig>,
    hash: String,
}

impl Certificate {
    /// Good in these years.
    pub fn valid(years: RangeInclusive<i32>) -> Result<Certificate> {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let mut params = rcgen::CertificateParams::new(vec!["server.example".to_owned()])?;
        params.not_before = rcgen::date_time_ymd(*years.start(), 1, 1);
        params.not_after = rcgen::date_time_ymd(*years.end(), 12, 31);
        let certificate = params.self_signed(&key)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )?;
        Ok(Certificate {
            config: Arc::new(config),
            hash: STANDARD.encode(digest(&SHA256, certificate.der())),
        })
    }

    /// Good for longer than anybody tests.
    pub fn new() -> Result<Certificate> {
        Certificate::valid(2000..=2999)
    }

    /// The pin of the whole certificate, as a policy writes it.
    pub fn pin(&self) -> String {
        format!("certificate:sha256:{}", self.hash)
    }
}

/// A TLS server that shakes hands with everybody and then says what `say` writes, until an error; gives the number of handshakes.
pub fn tls(
    here: Spot<'_>,
    certificate: &Certificate,
    say: impl Fn(&mut dyn Write) -> io::Result<()> + Send + Sync + 'static,
) -> Result<Arc<AtomicUsize>> {
    let greeted = Arc::new(AtomicUsize::new(0));
    let (count, config) = (Arc::clone(&greeted), Arc::clone(&certificate.config));
    serve(here.0, here.1, move |mut stream| {
        let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
        let Ok(mut tls) = ServerConnection::new(Arc::clone(&config)) else {
            return;
        };
        while tls.is_handshaking() {
            if tls.complete_io(&mut stream).is_err() {
                return;
            }
        }
        count.fetch_add(1, Ordering::Relaxed);
        let mut both = rustls::Stream::new(&mut tls, &mut stream);
        if say(&mut both).is_ok() {
            both.conn.send_close_notify();
            let _ = both.flush();
            // Until the other side hangs up.
            let _ = both.read(&mut [0; 64]);
        }
    })?;
    Ok(greeted)
}

/// Says the same bytes again and again to everybody who connects, for as long as he listens; gives how many were taken.
pub fn flood(here: Spot<'_>, bytes: Vec<u8>) -> Result<Arc<AtomicUsize>> {
    let taken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&taken);
    serve(here.0, here.1, move |mut stream| {
        while stream.write_all(&bytes).is_ok() {
            count.fetch_add(bytes.len(), Ordering::Relaxed);
        }
    })?;
    Ok(taken)
}

fn pour(mut from: TcpStream, mut to: TcpStream, pace: Pace, note: impl Fn(&[u8])) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        note(&buffer[..length]);
        let passed = match pace {
            Pace::AtOnce => to.write_all(&buffer[..length]),
            Pace::Dribble(every) => buffer[..length].iter().try_for_each(|byte| {
                thread::sleep(every);
                to.write_all(&[*byte])
            }),
        };
        if passed.is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
