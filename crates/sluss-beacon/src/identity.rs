//! What a beacon proves itself by: its key, and a certificate for those who ask for one.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustls::crypto::aws_lc_rs::{default_provider, sign::any_supported_type};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{
    Accepted, AcceptedAlert, AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage,
    ParsedCertificate, ResolvesServerCert,
};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{ServerConfig, ServerConnection};
use sluss_policy::Pin;
use x509_cert::certificate::{Certificate, Version};
use x509_cert::der::Decode as _;
use zeroize::Zeroizing;

use crate::{certificate_pin, key_pin};

/// A key, and perhaps a chain of certificates for it.
pub struct Identity {
    pin: Pin,
    bare: Arc<ServerConfig>,
    certified: Option<Certified>,
}

struct Certified {
    pin: Pin,
    not_before: Duration,
    not_after: Duration,
    config: Arc<ServerConfig>,
}

/// Why a key or a chain cannot serve.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadIdentity {
    #[error("holds no private key in PEM")]
    NoKey,
    #[error(
        "holds a key of a kind that TLS 1.3 servers do not have: Ed25519, ECDSA or RSA are needed"
    )]
    UnknownKey,
    #[error("holds no certificate in PEM")]
    NoCertificate,
    #[error("holds a certificate that cannot be read")]
    BadCertificate,
    #[error("begins with a certificate of version {0}; it must be version 3")]
    OldCertificate(u8),
    #[error("begins with a certificate for another key: {0}")]
    OtherKey(Pin),
    #[error("no randomness for a key")]
    NoRandomness,
}

impl Identity {
    /// Reads a private key (PEM: PKCS #8, SEC 1 or PKCS #1) and the chain that begins with its certificate (PEM).
    ///
    /// # Errors
    /// When one of them cannot be read, or they do not belong together.
    pub fn from_pem(key: &[u8], chain: Option<&[u8]>) -> Result<Self, BadIdentity> {
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| BadIdentity::NoKey)?;
        let key = any_supported_type(&key).map_err(|_| BadIdentity::UnknownKey)?;
        let spki = key.public_key().ok_or(BadIdentity::UnknownKey)?;
        let pin = key_pin(&spki);
        let bare = CertifiedKey::new(vec![CertificateDer::from(spki.to_vec())], key.clone());
        let certified = match chain {
            None => None,
            Some(chain) => {
                let chain = certificates(chain)?;
                let (not_before, not_after) = dates(&chain[0])?;
                let owner = owner(&chain[0])?;
                if owner != pin {
                    return Err(BadIdentity::OtherKey(owner));
                }
                Some(Certified {
                    pin: certificate_pin(&chain[0]),
                    not_before,
                    not_after,
                    config: config(Arc::new(SingleCertAndKey::from(CertifiedKey::new(
                        chain, key,
                    )))),
                })
            }
        };
        Ok(Self {
            pin,
            bare: config(Arc::new(AlwaysResolvesServerRawPublicKeys::new(Arc::new(
                bare,
            )))),
            certified,
        })
    }

    /// A new private key, Ed25519: PKCS #8 in PEM.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn generate() -> Result<Zeroizing<String>, BadIdentity> {
        let key = Ed25519KeyPair::generate().map_err(|_| BadIdentity::NoRandomness)?;
        // Version 1, which OpenSSL reads, too.
        let der = key.to_pkcs8v1().map_err(|_| BadIdentity::NoRandomness)?;
        let body = Zeroizing::new(BASE64.encode(der.as_ref()));
        Ok(Zeroizing::new(format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            *body
        )))
    }

    /// The pin of its key.
    pub fn pin(&self) -> Pin {
        self.pin
    }

    /// The pin of its certificate, and from when until when it is valid, in Unix time.
    pub fn certificate(&self) -> Option<(Pin, Duration, Duration)> {
        let certified = self.certified.as_ref()?;
        Some((certified.pin, certified.not_before, certified.not_after))
    }

    /// Goes on with a caller as it asked for: with the bare key or with the certificate.
    pub(crate) fn meet(
        &self,
        caller: Accepted,
    ) -> Result<ServerConnection, (rustls::Error, AcceptedAlert)> {
        let asks_for_key = caller.client_hello().server_cert_types().is_some();
        let config = match &self.certified {
            Some(certified) if !asks_for_key => &certified.config,
            Some(_) | None => &self.bare,
        };
        caller.into_connection(Arc::clone(config))
    }
}

/// Pins only: the key is nobody's business.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identity").field(&self.pin).finish()
    }
}

/// Reads the certificates of a PEM file; at least one.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, BadIdentity> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err(BadIdentity::NoCertificate),
        Ok(chain) => Ok(chain),
        Err(_) => Err(BadIdentity::BadCertificate),
    }
}

fn owner(certificate: &CertificateDer<'_>) -> Result<Pin, BadIdentity> {
    let parsed =
        ParsedCertificate::try_from(certificate).map_err(|_| BadIdentity::BadCertificate)?;
    Ok(key_pin(&parsed.subject_public_key_info()))
}

/// From when until when it is valid; only version 3 is for TLS.
fn dates(certificate: &CertificateDer<'_>) -> Result<(Duration, Duration), BadIdentity> {
    let parsed = Certificate::from_der(certificate).map_err(|_| BadIdentity::BadCertificate)?;
    match parsed.tbs_certificate().version() {
        Version::V1 => return Err(BadIdentity::OldCertificate(1)),
        Version::V2 => return Err(BadIdentity::OldCertificate(2)),
        Version::V3 => {}
    }
    let validity = parsed.tbs_certificate().validity();
    Ok((
        validity.not_before.to_unix_duration(),
        validity.not_after.to_unix_duration(),
    ))
}

/// TLS 1.3, and nothing that is remembered of a caller.
fn config(resolver: Arc<dyn ResolvesServerCert>) -> Arc<ServerConfig> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has suites of TLS 1.3")
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    // The answer goes out with the handshake: it is for whoever can read it, and saves the caller a round trip.
    config.send_half_rtt_data = true;
    Arc::new(config)
}
