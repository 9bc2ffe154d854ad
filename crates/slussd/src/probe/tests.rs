//! What a beacon can show and what it proves; over pipes in memory. Real links are in `tests/tests/platform.rs`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rcgen::{CertificateParams, KeyPair, PublicKeyData, date_time_ymd};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::{Acceptor, ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::TLS12;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor};

use sluss_policy::BeaconKind;

use super::*;

#[tokio::test]
async fn a_pinned_key_is_proof() {
    let key = KeyPair::generate().unwrap();
    let server = tls13(identity(certificate(&key), &key));
    assert_eq!(met(server, &[&key]).await, Outcome::Proved);
}

#[tokio::test]
async fn any_of_several_pins_is_proof_so_that_a_key_can_be_changed() {
    let (old, new) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let server = tls13(identity(certificate(&new), &new));
    assert_eq!(met(server, &[&old, &new]).await, Outcome::Proved);
}

#[tokio::test]
async fn an_expired_certificate_of_a_pinned_key_is_proof() {
    let key = KeyPair::generate().unwrap();
    let mut expired = CertificateParams::new(vec!["beacon".to_owned()]).unwrap();
    expired.not_before = date_time_ymd(2001, 1, 1);
    expired.not_after = date_time_ymd(2002, 1, 1);
    let server = tls13(identity(
        expired.self_signed(&key).unwrap().der().clone(),
        &key,
    ));
    assert_eq!(met(server, &[&key]).await, Outcome::Proved);
}

#[tokio::test]
async fn another_key_is_no_proof() {
    let (pinned, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let server = tls13(identity(certificate(&other), &other));
    assert_eq!(met(server, &[&pinned]).await, Outcome::WrongKey);
}

#[tokio::test]
async fn the_certificate_without_its_key_is_no_proof() {
    let (pinned, thief) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let server = tls13(identity(certificate(&pinned), &thief));
    assert_eq!(met(server, &[&pinned]).await, Outcome::WrongKey);
}

#[tokio::test]
async fn tls_1_2_is_no_proof_even_with_the_pinned_key() {
    let key = KeyPair::generate().unwrap();
    let server = server(&[&TLS12], identity(certificate(&key), &key));
    assert_eq!(met(server, &[&key]).await, Outcome::NotTls);
}

#[tokio::test]
async fn what_does_not_speak_tls_is_named_so() {
    let key = KeyPair::generate().unwrap();
    let (ours, mut theirs) = duplex(4096);
    let portal = async move {
        theirs.read_u8().await.unwrap();
        theirs
            .write_all(b"HTTP/1.1 302 Found\r\nLocation: http://portal/\r\n\r\n")
            .await
            .unwrap();
        // Held open, as portals do.
        theirs
    };
    let beacon = beacon(&[&key]);
    let (outcome, _open) = tokio::join!(handshake(ours, &beacon), portal);
    assert_eq!(outcome, Outcome::NotTls);

    let (ours, theirs) = duplex(4096);
    drop(theirs);
    assert_eq!(handshake(ours, &beacon).await, Outcome::NotTls);
}

#[tokio::test]
async fn a_stranger_learns_no_name_and_can_resume_nothing() {
    let key = KeyPair::generate().unwrap();
    let (ours, theirs) = duplex(4096);
    let beacon = beacon(&[&key]);
    let stranger = async {
        let start = LazyConfigAcceptor::new(Acceptor::default(), theirs)
            .await
            .unwrap();
        let hello = start.client_hello();
        assert_eq!(hello.server_name(), None);
        assert!(hello.alpn().is_none());
    };
    tokio::join!(
        async {
            handshake(ours, &beacon).await;
        },
        stranger
    );

    // A server that hands out tickets, and a client that had the time to take them.
    let acceptor = TlsAcceptor::from(Arc::new(tls13(identity(certificate(&key), &key))));
    let connector = TlsConnector::from(Arc::new(client(&beacon.pins).unwrap()));
    for _ in 0..2 {
        let (ours, theirs) = duplex(1 << 16);
        let name = ServerName::IpAddress(beacon.addresses[0].ip().into());
        let (connected, accepted) =
            tokio::join!(connector.connect(name, ours), acceptor.accept(theirs));
        let (mut connected, mut accepted) = (connected.unwrap(), accepted.unwrap());
        accepted.write_u8(1).await.unwrap();
        assert_eq!(connected.read_u8().await.unwrap(), 1);
        let kind = accepted.get_ref().1.handshake_kind();
        assert_eq!(kind, Some(rustls::HandshakeKind::Full));
    }
}

#[test]
fn failures_to_connect_say_who_refuses_and_who_is_silent() {
    use io::ErrorKind::*;
    let outcome = |kind: io::ErrorKind| no_connection(&kind.into());
    assert_eq!(outcome(ConnectionRefused), Outcome::Refused);
    assert_eq!(outcome(TimedOut), Outcome::NoAnswer);
    for kind in [NetworkUnreachable, HostUnreachable, AddrNotAvailable] {
        assert_eq!(outcome(kind), Outcome::Unreachable, "{kind}");
    }
}

/// What a probe with these keys pinned makes of this server.
async fn met(server: ServerConfig, pinned: &[&KeyPair]) -> Outcome {
    let (ours, theirs): (DuplexStream, DuplexStream) = duplex(1 << 16);
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let beacon = beacon(pinned);
    let (outcome, _) = tokio::join!(handshake(ours, &beacon), acceptor.accept(theirs));
    outcome
}

fn beacon(pinned: &[&KeyPair]) -> Beacon {
    let pin = |key: &&KeyPair| {
        let hash = digest(&SHA256, &key.subject_public_key_info());
        format!("sha256:{}", BASE64.encode(hash)).parse().unwrap()
    };
    Beacon {
        name: "stadshuset".to_owned(),
        kind: BeaconKind::Tls,
        addresses: vec!["10.20.0.53:8443".parse().unwrap()],
        pins: pinned.iter().map(pin).collect(),
        site: None,
        nat: Vec::new(),
    }
}

fn certificate(key: &KeyPair) -> CertificateDer<'static> {
    let params = CertificateParams::new(vec!["beacon".to_owned()]).unwrap();
    params.self_signed(key).unwrap().der().clone()
}

fn identity(certificate: CertificateDer<'static>, key: &KeyPair) -> CertifiedKey {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let key = aws_lc_rs::sign::any_supported_type(&key).unwrap();
    CertifiedKey::new(vec![certificate], key)
}

fn tls13(identity: CertifiedKey) -> ServerConfig {
    server(&[&TLS13], identity)
}

fn server(
    versions: &[&'static rustls::SupportedProtocolVersion],
    identity: CertifiedKey,
) -> ServerConfig {
    let provider: CryptoProvider = aws_lc_rs::default_provider();
    ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Always(Arc::new(identity))))
}

/// Shows one identity to everybody, also one whose key does not fit.
#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesServerCert for Always {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}
