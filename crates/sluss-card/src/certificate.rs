//! Which certificate makes a card's key good: from whom, to whom, for what, until when, and not revoked.
//!
//! The rule picks; nobody is shown a list to choose from. Chains, validity and revocation are checked by webpki, as for TLS; what
//! it leaves to its caller, the key usage and the subject, is checked here (RFC 5280, 4.2.1.3 and 4.1.2.6).

mod subject;

use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, TrustAnchor, UnixTime};
use webpki::{
    BorrowedCertRevocationList, CertRevocationList, EndEntityCert, ExpirationPolicy,
    ExtendedKeyUsageValidator, KeyPurposeIdIter, RequiredEkuNotFoundContext, RevocationCheckDepth,
    RevocationOptionsBuilder, UnknownStatusPolicy,
};
use x509_cert::der::oid::AssociatedOid;
use x509_cert::der::{DateTime, Decode, Encode};
use x509_cert::ext::pkix;
use x509_cert::ext::pkix::KeyUsages;
use x509_cert::name::Name;

pub use subject::{BadPattern, Pattern};
/// An object identifier, written in dots.
pub use x509_cert::der::asn1::ObjectIdentifier as Oid;

/// No card has room for more, and no certificate of a person needs it. In bytes.
const LONGEST: usize = 16 * 1024;

/// What a certificate must be like. The empty rule trusts nobody.
#[derive(Clone, Default)]
pub struct Rule {
    /// To whom it was issued.
    pub subject: Option<Pattern>,
    /// What the key may be used for: all of these.
    pub key_usage: Vec<KeyUsage>,
    /// For what purposes: all of these, each in the certificate itself.
    pub extended_key_usage: Vec<Oid>,
    issuers: Vec<Issuer>,
    crls: Vec<CertificateRevocationListDer<'static>>,
}

/// Gives the rule anew for each check, so that a revocation list that has been replaced counts from then on.
#[derive(Clone)]
pub struct Source(Arc<dyn Fn() -> Result<Rule, Refusal> + Send + Sync>);

impl Source {
    /// `read` fails with what is to be said of every certificate then.
    pub fn new(read: impl Fn() -> Result<Rule, Refusal> + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// The rule as it is now.
    ///
    /// # Errors
    /// What is to be said of every certificate now.
    pub fn rule(&self) -> Result<Rule, Refusal> {
        (self.0)()
    }
}

/// A certificate that may stand above another.
#[derive(Clone)]
struct Issuer {
    der: CertificateDer<'static>,
    /// Its own name and its issuer's.
    names: [Name; 2],
}

/// A bit of the key usage (RFC 5280, 4.2.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyUsage {
    DigitalSignature,
    NonRepudiation,
    KeyEncipherment,
    DataEncipherment,
    KeyAgreement,
}

/// What a certificate says, as far as we need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// As RFC 4514 writes it, control characters escaped.
    pub subject: String,
    /// SubjectPublicKeyInfo in DER.
    pub public_key: Vec<u8>,
    /// First second of its validity, since 1970-01-01 UTC.
    pub not_before: u64,
    /// Last second of its validity, since 1970-01-01 UTC.
    pub not_after: u64,
}

/// Why a certificate does not make its key good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The key has no certificate.
    #[error("the card has no certificate for its key")]
    Missing,
    /// It is not a certificate, or too large for one.
    #[error("the certificate on the card cannot be read")]
    Unreadable,
    /// It is somebody else's, or another one of the same person.
    #[error("the certificate is not the kind that is asked for: its subject is {subject}")]
    WrongSubject {
        /// As in [`Certificate::subject`].
        subject: String,
    },
    /// It is for something else.
    #[error("the certificate is not for {missing}")]
    WrongUsage {
        /// The usage it lacks: the RFC's name or an object identifier.
        missing: String,
    },
    /// No issuer whom the rule names stands behind it.
    #[error("the certificate is not trusted: {why}")]
    Untrusted {
        /// What is wrong with its chain.
        why: &'static str,
    },
    /// It will be valid later, or the laptop's clock is wrong.
    #[error("the certificate is not valid before {}", date(*not_before))]
    NotYetValid {
        /// As in [`Certificate::not_before`].
        not_before: u64,
    },
    /// It was valid once, or the laptop's clock is wrong.
    #[error("the certificate has expired on {}", date(*not_after))]
    Expired {
        /// As in [`Certificate::not_after`].
        not_after: u64,
    },
    /// Its issuer, or an issuer of that one, has taken it back.
    #[error("the certificate has been revoked")]
    Revoked,
    /// There are revocation lists, but none that says whether it is revoked.
    #[error("nobody can say whether the certificate has been revoked: {why}")]
    RevocationUnknown {
        /// What is wrong with the lists.
        why: &'static str,
    },
    /// The rule fits certificates of several keys.
    #[error("{count} certificates on the card fit, for different keys")]
    Ambiguous {
        /// How many keys there are to choose from.
        count: usize,
    },
}

/// A file that should have held certificates or revocation lists, in DER or PEM, did not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadFile(&'static str);

impl Rule {
    /// Adds the certificates of a file, DER or PEM, to those that may stand above a card's.
    ///
    /// One whose own issuer is among them, too, is a step on the way there, and may expire or be revoked. One whose issuer is not is
    /// trusted as it is, root or not: to trust one issuer of a large organisation, add only that one.
    pub fn trust(&mut self, file: &[u8]) -> Result<(), BadFile> {
        for der in items::<CertificateDer<'static>>(file, "there is no certificate in it")? {
            let unreadable = |_| BadFile("a certificate in it cannot be read");
            let certificate = x509_cert::Certificate::from_der(&der).map_err(unreadable)?;
            let tbs = certificate.tbs_certificate();
            let names = [tbs.subject().clone(), tbs.issuer().clone()];
            webpki::anchor_from_trusted_cert(&der)
                .map_err(|_| BadFile("a certificate in it cannot be used as an issuer's"))?;
            self.issuers.push(Issuer { der, names });
        }
        Ok(())
    }

    /// Adds the revocation lists of a file, DER or PEM. With at least one, each card's certificate must be covered by one.
    pub fn revoke(&mut self, file: &[u8]) -> Result<(), BadFile> {
        for der in items::<CertificateRevocationListDer<'static>>(file, "there is no CRL in it")? {
            BorrowedCertRevocationList::from_der(&der)
                .map_err(|_| BadFile("a CRL in it cannot be read"))?;
            self.crls.push(der);
        }
        Ok(())
    }

    /// What a certificate says, if it is good now, in time since 1970-01-01 UTC.
    ///
    /// `others` are certificates that came with it and may lead to an issuer that is trusted; they are not trusted themselves.
    pub fn check(
        &self,
        der: &[u8],
        others: &[&[u8]],
        now: Duration,
    ) -> Result<Certificate, Refusal> {
        let parsed = parse(der)?;
        let certificate = Certificate::of(&parsed)?;
        self.check_purpose(&parsed, &certificate)?;
        self.check_chain(der, &certificate, others, now)?;
        Ok(certificate)
    }

    /// Which of several certificates, each with its number, is the good one.
    ///
    /// If the same key has several, it is the one that was issued last. If none is good, the refusal of the one that came closest
    /// is given; if several keys have a good one, none is taken.
    pub fn choose(
        &self,
        candidates: &[&[u8]],
        others: &[&[u8]],
        now: Duration,
    ) -> Result<(usize, Certificate), Refusal> {
        let mut best: Option<(usize, Certificate)> = None;
        let mut keys = Vec::new();
        let mut refusal = Refusal::Missing;
        for (number, der) in candidates.iter().enumerate() {
            match self.check(der, others, now) {
                Ok(good) => {
                    if !keys.contains(&good.public_key) {
                        keys.push(good.public_key.clone());
                    }
                    if best
                        .as_ref()
                        .is_none_or(|(_, best)| best.not_before < good.not_before)
                    {
                        best = Some((number, good));
                    }
                }
                Err(other) if other.closeness() > refusal.closeness() => refusal = other,
                Err(_) => {}
            }
        }
        match keys.len() {
            0 | 1 => best.ok_or(refusal),
            count => Err(Refusal::Ambiguous { count }),
        }
    }

    fn check_purpose(
        &self,
        parsed: &x509_cert::Certificate,
        certificate: &Certificate,
    ) -> Result<(), Refusal> {
        let tbs = parsed.tbs_certificate();
        if self
            .subject
            .as_ref()
            .is_some_and(|pattern| !pattern.matches(tbs.subject()))
        {
            let subject = certificate.subject.clone();
            return Err(Refusal::WrongSubject { subject });
        }
        let usage = extension::<pkix::KeyUsage>(parsed)?;
        // RFC 5280: without the extension a key may be used for anything.
        let lacks = |wanted: &&KeyUsage| usage.is_some_and(|usage| !usage.0.contains(wanted.bit()));
        if let Some(missing) = self.key_usage.iter().find(lacks) {
            let missing = missing.name().to_owned();
            return Err(Refusal::WrongUsage { missing });
        }
        let purposes =
            extension::<pkix::ExtendedKeyUsage>(parsed)?.map_or_else(Vec::new, |all| all.0);
        match self
            .extended_key_usage
            .iter()
            .find(|wanted| !purposes.contains(wanted))
        {
            Some(missing) => Err(Refusal::WrongUsage {
                missing: missing.to_string(),
            }),
            None => Ok(()),
        }
    }

    fn check_chain(
        &self,
        der: &[u8],
        certificate: &Certificate,
        others: &[&[u8]],
        now: Duration,
    ) -> Result<(), Refusal> {
        let (between, top): (Vec<_>, Vec<_>) = self
            .issuers
            .iter()
            .partition(|issuer| self.is_below_another(issuer));
        let anchors: Vec<TrustAnchor<'_>> = top
            .iter()
            .filter_map(|issuer| webpki::anchor_from_trusted_cert(&issuer.der).ok())
            .collect();
        let others = others.iter().map(|der| CertificateDer::from(*der));
        let between: Vec<CertificateDer<'_>> = between
            .iter()
            .map(|issuer| issuer.der.clone())
            .chain(others)
            .collect();
        let crls: Vec<CertRevocationList<'_>> = self
            .crls
            .iter()
            .filter_map(|der| {
                BorrowedCertRevocationList::from_der(der)
                    .ok()
                    .map(Into::into)
            })
            .collect();
        let crls: Vec<&CertRevocationList<'_>> = crls.iter().collect();

        let der = CertificateDer::from(der);
        let refused = |error| refusal(&error, certificate, now.as_secs());
        let leaf = EndEntityCert::try_from(&der).map_err(refused)?;
        let verify = |revocation| {
            leaf.verify_for_usage(
                webpki::ALL_VERIFICATION_ALGS,
                &anchors,
                &between,
                UnixTime::since_unix_epoch(now),
                Purposes(&self.extended_key_usage),
                revocation,
                None,
            )
            .map(drop)
            .map_err(refused)
        };
        let Ok(options) = RevocationOptionsBuilder::new(&crls) else {
            return verify(None);
        };
        let options = options.with_expiration_policy(ExpirationPolicy::Enforce);
        // The card's own certificate must be covered by a list; an issuer's counts where there is one.
        let own = options.with_depth(RevocationCheckDepth::EndEntity);
        let issuers = options.with_status_policy(UnknownStatusPolicy::Allow);
        verify(Some(own.build())).and_then(|()| verify(Some(issuers.build())))
    }

    fn is_below_another(&self, issuer: &Issuer) -> bool {
        let [own, above] = &issuer.names;
        own != above && self.issuers.iter().any(|other| other.names[0] == *above)
    }
}

impl Certificate {
    /// What a certificate says, good or not.
    pub fn read(der: &[u8]) -> Result<Certificate, Refusal> {
        Certificate::of(&parse(der)?)
    }

    fn of(parsed: &x509_cert::Certificate) -> Result<Certificate, Refusal> {
        let tbs = parsed.tbs_certificate();
        let key = tbs.subject_public_key_info();
        Ok(Certificate {
            subject: tbs.subject().to_string(),
            public_key: key.to_der().map_err(|_| Refusal::Unreadable)?,
            not_before: tbs.validity().not_before.to_unix_duration().as_secs(),
            not_after: tbs.validity().not_after.to_unix_duration().as_secs(),
        })
    }
}

impl KeyUsage {
    fn bit(self) -> KeyUsages {
        match self {
            Self::DigitalSignature => KeyUsages::DigitalSignature,
            Self::NonRepudiation => KeyUsages::NonRepudiation,
            Self::KeyEncipherment => KeyUsages::KeyEncipherment,
            Self::DataEncipherment => KeyUsages::DataEncipherment,
            Self::KeyAgreement => KeyUsages::KeyAgreement,
        }
    }

    /// As RFC 5280 spells it.
    fn name(self) -> &'static str {
        match self {
            Self::DigitalSignature => "digitalSignature",
            Self::NonRepudiation => "nonRepudiation",
            Self::KeyEncipherment => "keyEncipherment",
            Self::DataEncipherment => "dataEncipherment",
            Self::KeyAgreement => "keyAgreement",
        }
    }
}

impl Refusal {
    /// How far the certificate came: with several of them, the help desk wants to hear of the one that was meant.
    fn closeness(&self) -> u8 {
        match self {
            Self::Missing => 0,
            Self::Unreadable => 1,
            Self::WrongSubject { .. } => 2,
            Self::WrongUsage { .. } => 3,
            Self::Untrusted { .. } => 4,
            Self::RevocationUnknown { .. } => 5,
            Self::NotYetValid { .. } | Self::Expired { .. } | Self::Revoked => 6,
            Self::Ambiguous { .. } => 7,
        }
    }
}

/// Above the card's certificate an issuer may be limited to purposes; then ours must be among them (RFC 5280, 4.2.1.12).
struct Purposes<'a>(&'a [Oid]);

impl ExtendedKeyUsageValidator for Purposes<'_> {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        let mut allowed = Vec::new();
        for purpose in purposes {
            allowed.push(purpose?.to_decoded_oid());
        }
        let allows = |wanted: &[usize]| allowed.iter().any(|allowed| allowed == wanted);
        let arcs = |oid: &Oid| -> Vec<usize> {
            oid.arcs()
                .filter_map(|arc| usize::try_from(arc).ok())
                .collect()
        };
        if allowed.is_empty()
            || allows(ANY_PURPOSE)
            || self.0.iter().all(|wanted| allows(&arcs(wanted)))
        {
            Ok(())
        } else {
            let required = webpki::KeyUsage::required(&[]);
            let context = RequiredEkuNotFoundContext {
                required,
                present: allowed,
            };
            Err(webpki::Error::RequiredEkuNotFoundContext(context))
        }
    }
}

/// anyExtendedKeyUsage (RFC 5280, 4.2.1.12).
const ANY_PURPOSE: &[usize] = &[2, 5, 29, 37, 0];

fn parse(der: &[u8]) -> Result<x509_cert::Certificate, Refusal> {
    if der.len() > LONGEST {
        return Err(Refusal::Unreadable);
    }
    x509_cert::Certificate::from_der(der).map_err(|_| Refusal::Unreadable)
}

/// An extension's value, if it is there.
fn extension<'a, T>(parsed: &'a x509_cert::Certificate) -> Result<Option<T>, Refusal>
where
    T: Decode<'a, Error = x509_cert::der::Error> + AssociatedOid,
{
    let found = parsed.tbs_certificate().get_extension::<T>();
    found
        .map(|found| found.map(|(_critical, value)| value))
        .map_err(|_| Refusal::Unreadable)
}

/// All items of a file: one in DER, or as many as there are in PEM, but at least one.
fn items<T: PemObject + From<Vec<u8>>>(file: &[u8], none: &'static str) -> Result<Vec<T>, BadFile> {
    // DER opens with a SEQUENCE and holds bytes that are no text.
    if file.first() == Some(&0x30) && std::str::from_utf8(file).is_err() {
        return Ok(vec![T::from(file.to_vec())]);
    }
    let items: Vec<T> = T::pem_slice_iter(file)
        .collect::<Result<_, _>>()
        .map_err(|_| BadFile("it is damaged"))?;
    if items.is_empty() {
        Err(BadFile(none))
    } else {
        Ok(items)
    }
}

/// Who is at fault when webpki refuses a certificate that is valid from and to these times.
fn refusal(error: &webpki::Error, certificate: &Certificate, now: u64) -> Refusal {
    use webpki::Error as E;
    let untrusted = |why| Refusal::Untrusted { why };
    let unknown = |why| Refusal::RevocationUnknown { why };
    match error {
        E::CertExpired { .. } if certificate.not_after < now => Refusal::Expired {
            not_after: certificate.not_after,
        },
        E::CertExpired { .. } => untrusted("its issuer's certificate has expired"),
        E::CertNotValidYet { .. } if now < certificate.not_before => Refusal::NotYetValid {
            not_before: certificate.not_before,
        },
        E::CertNotValidYet { .. } => untrusted("its issuer's certificate is not valid yet"),
        E::CertRevoked => Refusal::Revoked,
        E::UnknownRevocationStatus => unknown("its issuer's list is not there"),
        E::CrlExpired { .. } => unknown("its issuer's list is out of date"),
        E::InvalidCrlSignatureForPublicKey
        | E::IssuerNotCrlSigner
        | E::UnsupportedCrlSignatureAlgorithmContext(_)
        | E::UnsupportedCrlSignatureAlgorithmForPublicKeyContext(_) => {
            unknown("its issuer's list is not signed by the issuer")
        }
        E::UnsupportedSignatureAlgorithmContext(_)
        | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            untrusted("it is signed in a way that is no longer safe, such as SHA-1")
        }
        E::InvalidSignatureForPublicKey => {
            untrusted("its issuer did not sign it, or with too short a key")
        }
        E::RequiredEkuNotFoundContext(_) => untrusted("its issuer may not issue for this purpose"),
        E::UnsupportedCriticalExtension => {
            untrusted("it has a critical extension that is not known")
        }
        E::CaUsedAsEndEntity => untrusted("it is an issuer's own"),
        E::UnknownIssuer => untrusted("no issuer that policy names stands behind it"),
        // webpki's list grows; what has no words of its own is told as it is most often meant.
        _ => untrusted("its chain of issuers is not in order"),
    }
}

/// A day and a time, in UTC, as people read it.
fn date(unix: u64) -> String {
    let moment = DateTime::from_unix_duration(Duration::from_secs(unix));
    moment.map_or_else(
        |_| "a day out of reach".to_owned(),
        |moment| moment.to_string(),
    )
}

#[cfg(test)]
mod tests;
