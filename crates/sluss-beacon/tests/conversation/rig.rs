//! Both sides of a connection, and servers that are no beacons.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair, PublicKeyData, date_time_ymd};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, ServerConnection, SupportedProtocolVersion};
use sluss_beacon::{Identity, NoProof, Probe, Proof, Visit, certificate_pin, key_pin};
use sluss_policy::{Beacon, BeaconKind, Pin};

/// 2026-11-23 08:00 UTC.
pub(crate) const NOW: Duration = Duration::from_secs(1_795_420_800);

pub(crate) fn laptop() -> SocketAddr {
    "10.20.3.7:51532".parse().unwrap()
}

/// What a policy says of a beacon with these pins.
pub(crate) fn beacon(pins: &[Pin]) -> Beacon {
    Beacon {
        name: "stadshuset".to_owned(),
        kind: BeaconKind::Beacon,
        addresses: vec!["10.20.0.53:8443".parse().unwrap()],
        pins: pins.to_vec(),
        site: None,
        nat: Vec::new(),
    }
}

/// What a policy says of any other TLS server.
pub(crate) fn server(pins: &[Pin]) -> Beacon {
    Beacon {
        kind: BeaconKind::Tls,
        ..beacon(pins)
    }
}

/// The far end of a connection, as far as a probe sees it.
pub(crate) trait Far {
    /// What it says to this; nothing for ever once it is over.
    fn hear(&mut self, bytes: &[u8]) -> Vec<u8>;
}

/// How it ends for a probe that begins at [`NOW`].
pub(crate) fn met(beacon: &Beacon, far: &mut dyn Far) -> Result<Proof, NoProof> {
    met_at(NOW, beacon, far)
}

/// How it ends, at some other time.
pub(crate) fn met_at(now: Duration, beacon: &Beacon, far: &mut dyn Far) -> Result<Proof, NoProof> {
    let mut probe = Probe::new(beacon, laptop(), now)?;
    loop {
        let said = far.hear(&probe.output());
        if said.is_empty() {
            return Err(probe.hung_up());
        }
        if let Some(end) = probe.receive(&said) {
            far.hear(&probe.output());
            return end;
        }
    }
}

/// A beacon of ours with this identity, which is called from `seen`.
pub(crate) fn visit(identity: &Arc<Identity>, seen: &str) -> Visit {
    let name = "stadshuset".parse().unwrap();
    Visit::new(Arc::clone(identity), name, seen.parse().unwrap())
}

impl Far for Visit {
    fn hear(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.receive(bytes);
        self.output()
    }
}

/// A new beacon.
pub(crate) fn identity() -> Arc<Identity> {
    Arc::new(Identity::from_pem(Identity::generate().unwrap().as_bytes(), None).unwrap())
}

/// A key with a certificate that is valid from the first to the second of these years.
pub(crate) struct Certified {
    pub(crate) key: KeyPair,
    pub(crate) certificate: rcgen::Certificate,
}

impl Certified {
    pub(crate) fn new((first, last): (i32, i32)) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["beacon".to_owned()]).unwrap();
        params.not_before = date_time_ymd(first, 1, 1);
        params.not_after = date_time_ymd(last, 1, 1);
        let certificate = params.self_signed(&key).unwrap();
        Self { key, certificate }
    }

    pub(crate) fn key_pin(&self) -> Pin {
        key_pin(&self.key.subject_public_key_info())
    }

    pub(crate) fn certificate_pin(&self) -> Pin {
        certificate_pin(self.certificate.der())
    }

    /// As a beacon of ours has it.
    pub(crate) fn identity(&self) -> Arc<Identity> {
        let key = self.key.serialize_pem();
        let chain = self.certificate.pem();
        Arc::new(Identity::from_pem(key.as_bytes(), Some(chain.as_bytes())).unwrap())
    }

    /// A server that shows this certificate, and says these words as soon as it may.
    pub(crate) fn says(&self, words: &[&[u8]]) -> Stranger {
        Stranger::new(&[&rustls::version::TLS13], self, &self.key, words)
    }
}

/// A TLS server that is none of ours.
pub(crate) struct Stranger {
    tls: ServerConnection,
    words: Vec<Vec<u8>>,
    /// Whether it says that it is done.
    pub(crate) polite: bool,
}

impl Stranger {
    /// One that shows a certificate, and signs with a key that need not belong to it.
    pub(crate) fn new(
        versions: &[&'static SupportedProtocolVersion],
        shown: &Certified,
        key: &KeyPair,
        words: &[&[u8]],
    ) -> Self {
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let key = aws_lc_rs::sign::any_supported_type(&key).unwrap();
        let identity = CertifiedKey::new(vec![shown.certificate.der().clone()], key);
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Always(Arc::new(identity))));
        config.send_half_rtt_data = true;
        Self {
            tls: ServerConnection::new(Arc::new(config)).unwrap(),
            words: words.iter().map(|words| words.to_vec()).collect(),
            polite: true,
        }
    }
}

impl Far for Stranger {
    fn hear(&mut self, mut bytes: &[u8]) -> Vec<u8> {
        let mut said = Vec::new();
        while !bytes.is_empty() && self.tls.read_tls(&mut bytes).is_ok() {
            let went_on = self.tls.process_new_packets();
            let _ = self.tls.reader().read(&mut [0; 64]);
            if went_on.is_ok() && self.tls.negotiated_key_exchange_group().is_some() {
                for words in self.words.drain(..) {
                    self.tls.writer().write_all(&words).unwrap();
                }
                if self.polite {
                    self.tls.send_close_notify();
                }
            }
            while self.tls.wants_write() {
                self.tls.write_tls(&mut said).unwrap();
            }
        }
        said
    }
}

/// Shows one identity to everybody, also one whose key does not fit.
#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesServerCert for Always {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}
