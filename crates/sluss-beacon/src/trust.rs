//! Which server a probe believes: one that shows a pinned key or certificate, and signs this very handshake with its key.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, aws_lc_rs, verify_tls13_signature, verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::time_provider::TimeProvider;
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, PeerIncompatible,
    SignatureScheme,
};
use sluss_policy::{Beacon, Pin};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use crate::{certificate_pin, key_pin};

/// The server holds another key than those that are pinned.
#[derive(Debug, thiserror::Error)]
#[error("not pinned: {shown}")]
pub(crate) struct NotPinned {
    pub(crate) shown: Pin,
}

/// What a probe says to a server: TLS 1.3, no name, no resumption, no early data, no protocol of ours.
pub(crate) fn client(beacon: &Beacon, now: Duration) -> Result<ClientConfig, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let trust = Trust {
        pins: beacon.pins.clone(),
        raw_key: beacon.shows_key_alone(),
        provider: provider.clone(),
    };
    let clock = Arc::new(WallClock(now));
    let mut config = ClientConfig::builder_with_details(provider, clock)
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(trust))
        .with_no_client_auth();
    config.enable_sni = false;
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// The time that the caller gave, since the Unix epoch.
#[derive(Debug)]
struct WallClock(Duration);

impl TimeProvider for WallClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(self.0))
    }
}

#[derive(Debug)]
struct Trust {
    pins: Vec<Pin>,
    /// Bare (RFC 7250): nothing in it expires, and nothing names its owner. Else in a certificate, whose dates count
    /// and whose names do not.
    raw_key: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.raw_key {
            self.knows(&[key_pin(end_entity)])?;
        } else {
            let key = ParsedCertificate::try_from(end_entity)?.subject_public_key_info();
            self.knows(&[key_pin(&key), certificate_pin(end_entity)])?;
            is_valid(end_entity, now)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::ServerDoesNotSupportTls12Or13.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        if self.raw_key {
            let key = SubjectPublicKeyInfoDer::from(cert.as_ref());
            verify_tls13_signature_with_raw_key(message, &key, dss, algorithms)
        } else {
            verify_tls13_signature(message, cert, dss, algorithms)
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.raw_key
    }
}

impl Trust {
    /// Whether one of these is pinned. The first is the key's, for who has to look at it.
    fn knows(&self, shown: &[Pin]) -> Result<(), Error> {
        match shown.iter().any(|pin| self.pins.contains(pin)) {
            true => Ok(()),
            false => {
                let stranger = NotPinned { shown: shown[0] };
                Err(CertificateError::Other(OtherError(Arc::new(stranger))).into())
            }
        }
    }
}

/// Judges the dates of a certificate (RFC 5280, 4.1.2.5: both belong to the time in which it is valid).
fn is_valid(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), CertificateError> {
    let certificate =
        Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let validity = certificate.tbs_certificate().validity();
    let date = |time: &x509_cert::time::Time| UnixTime::since_unix_epoch(time.to_unix_duration());
    let (not_before, not_after) = (date(&validity.not_before), date(&validity.not_after));
    if now < not_before {
        let time = now;
        return Err(CertificateError::NotValidYetContext { time, not_before });
    }
    if now > not_after {
        let time = now;
        return Err(CertificateError::ExpiredContext { time, not_after });
    }
    Ok(())
}
