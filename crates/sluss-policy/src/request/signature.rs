//! The signature of an enrolment request, made by the card's key where that can sign.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
    VerificationAlgorithm,
};
use x509_cert::Certificate;
use x509_cert::der::{Decode as _, Encode as _};

use super::{CardCertificate, EnrolmentRequest, LONGEST_SIGNATURE};
use crate::document::Document;
use crate::values::{Words, base64, bytes, one_of, text, word};

/// The last section of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signature {
    Absent(Unsigned),
    Present {
        method: SignatureMethod,
        /// The card's, as a SubjectPublicKeyInfo in DER.
        public_key: Vec<u8>,
        /// RSA: as long as the modulus. ECDSA: `ECDSA-Sig-Value` in DER (RFC 3279, 2.2.3).
        value: Vec<u8>,
    },
}

/// Why a request has no signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsigned {
    /// The card's key is an X25519 key, which can do nothing but Diffie-Hellman.
    X25519,
    /// The card does not let its key sign.
    Refused,
}

/// How a request is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureMethod {
    /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017, 8.2).
    RsaPkcs1Sha256,
    /// ECDSA on P-256 with SHA-256.
    EcdsaP256Sha256,
    /// ECDSA on P-384 with SHA-384.
    EcdsaP384Sha384,
}

/// Whose signature it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// SHA-256 of the key's SubjectPublicKeyInfo in DER.
    pub fingerprint: [u8; 32],
}

/// Why a signature is not to be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureFault {
    /// It is not by this key, or not of this request.
    #[error("the signature is not that of this request")]
    Wrong,
    /// The certificate in the request is for another key, or for somebody else than the request says.
    #[error("the certificate is not that of the key that has signed, or names somebody else")]
    OtherCertificate,
}

const NONE: &str = "none";

const METHODS: Words<Option<SignatureMethod>> = &[
    ("rsa-pkcs1-sha256", Some(SignatureMethod::RsaPkcs1Sha256)),
    ("ecdsa-p256-sha256", Some(SignatureMethod::EcdsaP256Sha256)),
    ("ecdsa-p384-sha384", Some(SignatureMethod::EcdsaP384Sha384)),
    (NONE, None),
];

const REASONS: Words<Unsigned> = &[("x25519", Unsigned::X25519), ("refused", Unsigned::Refused)];

impl Signature {
    pub(super) fn build(document: &mut Document<'_>) -> Option<Self> {
        match document.required("signature.method", text(one_of(METHODS)))? {
            None => document
                .required("signature.reason", text(one_of(REASONS)))
                .map(Self::Absent),
            Some(method) => {
                let public_key =
                    document.required("signature.public_key", text(bytes(LONGEST_SIGNATURE)));
                let value = document.required("signature.value", text(bytes(LONGEST_SIGNATURE)));
                Some(Self::Present {
                    method,
                    public_key: public_key?,
                    value: value?,
                })
            }
        }
    }

    /// Who has signed `request`; `None` if nobody has.
    ///
    /// Whose key it is, its certificate's issuer knows, or whoever gave out the card: by the key's fingerprint.
    ///
    /// # Errors
    /// The signature is there and wrong.
    pub fn verify(&self, request: &EnrolmentRequest) -> Result<Option<Signer>, SignatureFault> {
        let Self::Present {
            method,
            public_key,
            value,
        } = self
        else {
            return Ok(None);
        };
        UnparsedPublicKey::new(method.algorithm(), public_key)
            .verify(request.to_string().as_bytes(), value)
            .map_err(|_| SignatureFault::Wrong)?;
        if let Some(certificate) = &request.card.certificate {
            certificate.is_of(public_key)?;
        }
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest(&SHA256, public_key).as_ref());
        Ok(Some(Signer { fingerprint }))
    }
}

impl CardCertificate {
    /// Makes sure that it is for this key (SubjectPublicKeyInfo, DER) and names whom we say. Who issued it is not looked at.
    fn is_of(&self, public_key: &[u8]) -> Result<(), SignatureFault> {
        let parsed = Certificate::from_der(&self.der).ok();
        let content = parsed.as_ref().map(Certificate::tbs_certificate);
        let same = content.is_some_and(|content| {
            let key = content.subject_public_key_info().to_der();
            key.is_ok_and(|key| key == public_key) && content.subject().to_string() == self.subject
        });
        same.then_some(()).ok_or(SignatureFault::OtherCertificate)
    }
}

impl SignatureMethod {
    fn algorithm(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::RsaPkcs1Sha256 => &RSA_PKCS1_2048_8192_SHA256,
            Self::EcdsaP256Sha256 => &ECDSA_P256_SHA256_ASN1,
            Self::EcdsaP384Sha384 => &ECDSA_P384_SHA384_ASN1,
        }
    }
}

/// What stands in the section `[signature]`.
impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent(reason) => {
                let reason = word(REASONS, *reason);
                writeln!(f, "method = \"{NONE}\"\nreason = \"{reason}\"")
            }
            Self::Present {
                method,
                public_key,
                value,
            } => {
                writeln!(f, "method = \"{}\"", word(METHODS, Some(*method)))?;
                writeln!(f, "public_key = \"{}\"", base64(public_key))?;
                writeln!(f, "value = \"{}\"", base64(value))
            }
        }
    }
}
