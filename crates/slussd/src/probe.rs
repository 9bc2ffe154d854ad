//! The evidence of being inside: TLS 1.3 servers that only the internal network can reach, known by their key.
//!
//! A beacon proves itself by the handshake alone: it shows a key that the policy pins and signs this very handshake
//! with it, which a recording cannot do. Names, chains and dates prove nothing and are not looked at: a certificate
//! that has expired over night must not lock an office out, and a key that is no longer trusted is taken out of the policy.
//!
//! Each connection is bound to one link and goes round our own tunnel. It tells a stranger that somebody asked for an
//! address, and no more: no name, no resumption, no early data, and nothing is sent after the handshake.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ::aws_lc_rs::digest::{SHA256, digest};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::version::TLS13;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use sluss_platform::{clock, net};
use sluss_policy::{Beacon, Pin};
use sluss_supervisor::{Evidence, Link, LinkId, Outcome, Time};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_rustls::TlsConnector;

/// When a second connection is tried. TCP itself repeats a lost packet after a second (RFC 6298): too late for us.
const SECOND_ATTEMPT: Duration = Duration::from_millis(250);

/// What the other links get once one link has its proof: room for their second attempt, not for a timeout.
const AFTER_PROOF: Duration = Duration::from_millis(350);

/// Asks every beacon on every link, all at once, and tells what each said.
///
/// A link is done with its first proof. The answer comes when every link is done, or every beacon has spoken, and after
/// `patience` at the latest; who has not spoken until then gave no answer. Stops when it is dropped.
pub async fn evidence(beacons: Vec<Beacon>, links: Vec<Link>, patience: Duration) -> Vec<Evidence> {
    let began = Instant::now();
    let mut until = began + patience;
    let mut asking = JoinSet::new();
    let mut silent = Vec::new();
    for link in &links {
        for beacon in &beacons {
            silent.push((link.id.clone(), beacon.name.clone(), beacon.addresses[0]));
            let (beacon, link) = (beacon.clone(), link.id.clone());
            asking.spawn(async move {
                let outcome = ask(&beacon, &link).await;
                (link, beacon.name, beacon.addresses[0], outcome)
            });
        }
    }

    let mut told = Vec::new();
    let mut proved = HashSet::new();
    while silent.iter().any(|(link, ..)| !proved.contains(link)) {
        let (link, beacon, address, outcome) = match timeout_at(until, asking.join_next()).await {
            Ok(Some(Ok(answer))) => answer,
            // Whoever panicked stays silent.
            Ok(Some(Err(_))) => continue,
            Ok(None) | Err(_) => break,
        };
        silent.retain(|it| *it != (link.clone(), beacon.clone(), address));
        if outcome == Outcome::Proved {
            proved.insert(link.clone());
            until = until.min(began + AFTER_PROOF.max(began.elapsed()));
        }
        told.push(said(link, beacon, address, outcome));
    }
    silent.retain(|(link, ..)| !proved.contains(link));
    told.extend(
        silent
            .into_iter()
            .map(|(link, beacon, address)| said(link, beacon, address, Outcome::NoAnswer)),
    );
    told
}

fn said(link: LinkId, beacon: String, address: SocketAddr, outcome: Outcome) -> Evidence {
    Evidence {
        link,
        beacon,
        address,
        outcome,
        at: Time::since_boot(clock::boottime()),
    }
}

/// Two attempts at one beacon, a quarter of a second apart; the first that settles the matter counts.
async fn ask(beacon: &Beacon, link: &LinkId) -> Outcome {
    let second = async {
        sleep(SECOND_ATTEMPT).await;
        attempt(beacon, link).await
    };
    let first = attempt(beacon, link);
    tokio::pin!(first, second);
    tokio::select! {
        biased;
        outcome = &mut first => if is_final(outcome) { outcome } else { second.await },
        outcome = &mut second => if is_final(outcome) { outcome } else { first.await },
    }
}

/// A failure to connect may be the network's that is still coming up; what a server shows is the server's.
fn is_final(outcome: Outcome) -> bool {
    match outcome {
        Outcome::Proved
        | Outcome::Relayed { .. }
        | Outcome::WrongKey
        | Outcome::Expired { .. }
        | Outcome::NotYetValid { .. }
        | Outcome::NotTls
        | Outcome::NotABeacon => true,
        Outcome::Refused | Outcome::Unreachable | Outcome::NoAnswer => false,
    }
}

async fn attempt(beacon: &Beacon, link: &LinkId) -> Outcome {
    match connect(beacon.addresses[0], link).await {
        Ok(stream) => handshake(stream, beacon).await,
        Err(error) => no_connection(&error),
    }
}

async fn connect(address: SocketAddr, link: &LinkId) -> io::Result<tokio::net::TcpStream> {
    net::probe_socket(&link.name, address.ip())?
        .connect(address)
        .await
}

fn no_connection(error: &io::Error) -> Outcome {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => Outcome::Refused,
        io::ErrorKind::TimedOut => Outcome::NoAnswer,
        // No route, no neighbour, no address, no such link any more.
        _ => Outcome::Unreachable,
    }
}

async fn handshake(stream: impl AsyncRead + AsyncWrite + Unpin, beacon: &Beacon) -> Outcome {
    let Ok(config) = client(&beacon.pins) else {
        return Outcome::NotTls;
    };
    // An address as the name of the server: it is not sent (RFC 6066, 3).
    let server = ServerName::IpAddress(beacon.addresses[0].ip().into());
    match TlsConnector::from(Arc::new(config))
        .connect(server, stream)
        .await
    {
        Ok(_) => Outcome::Proved,
        Err(error) => no_handshake(&error),
    }
}

fn no_handshake(error: &io::Error) -> Outcome {
    let tls = error.get_ref().and_then(|it| it.downcast_ref());
    match (tls, error.kind()) {
        (Some(rustls::Error::InvalidCertificate(_)), _) => Outcome::WrongKey,
        (Some(_), _) => Outcome::NotTls,
        (None, io::ErrorKind::ConnectionReset) => Outcome::Refused,
        // Among them a server that hangs up in the middle: it expected something else.
        (None, _) => Outcome::NotTls,
    }
}

fn client(pins: &[Pin]) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = PinnedKey {
        pins: pins.to_vec(),
        provider: provider.clone(),
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.enable_sni = false;
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Accepts whoever holds one of the pinned keys.
#[derive(Debug)]
struct PinnedKey {
    pins: Vec<Pin>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedKey {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let key = ParsedCertificate::try_from(end_entity)?.subject_public_key_info();
        let shown = |pin: &Pin| match pin {
            Pin::Key(hash) => digest(&SHA256, &key).as_ref() == hash,
            Pin::Certificate(hash) => digest(&SHA256, end_entity).as_ref() == hash,
        };
        if self.pins.iter().any(shown) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::PeerIncompatible::ServerDoesNotSupportTls12Or13.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests;
