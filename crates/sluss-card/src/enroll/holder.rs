//! A certificate that does nothing but hold a public key, for cards that keep their keys' public halves in certificates.

use super::Error;
use crate::key::CardKey;
use crate::tlv;
use aws_lc_rs::rand::{self, SystemRandom};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use std::time::Duration;
use x509_cert::der::Encode as _;
use x509_cert::der::asn1::{GeneralizedTime, UtcTime};

/// DER tags (X.690, 8).
const INTEGER: u16 = 0x02;
const BIT_STRING: u16 = 0x03;
const OID: u16 = 0x06;
const UTF8_STRING: u16 = 0x0C;
const SEQUENCE: u16 = 0x30;
const SET: u16 = 0x31;
/// `[0]`, the version in front of a certificate (RFC 5280, 4.1).
const VERSION: u16 = 0xA0;
/// `AlgorithmIdentifier` of ECDSA with SHA-256 (RFC 5758, 3.2), whole.
const ECDSA_SHA256: &[u8] = &[
    0x30, 0x0A, 0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x02,
];
/// commonName (RFC 5280, A.1).
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// "No well-defined expiration date" (RFC 5280, 4.1.2.5).
const NEVER: &[u8] = b"99991231235959Z";

/// X.509 in DER, valid from now on. Its issuer is a key that nobody has: it says nothing but what the public key is, and no
/// rule for certificates takes it for more. So the card's key need not be able to sign.
pub(crate) fn certificate(key: &CardKey, now: Duration) -> Result<Vec<u8>, Error> {
    let failed = |_| Error::Card(crate::Error::Unsupported);
    let issuer = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(failed)?;
    let not_before = UtcTime::from_unix_duration(now)
        .and_then(|time| time.to_der())
        .or_else(|_| GeneralizedTime::from_unix_duration(now)?.to_der())
        .map_err(|_| Error::Card(crate::Error::Unsupported))?;
    let mut serial = [0; 16];
    rand::fill(&mut serial).map_err(failed)?;
    // positive, and without leading zeros
    serial[0] = serial[0] & 0x7F | 0x40;
    let validity = [not_before, tlv::wrap(0x18, NEVER)].concat();
    let content = [
        tlv::wrap(VERSION, &tlv::wrap(INTEGER, &[2])),
        tlv::wrap(INTEGER, &serial),
        ECDSA_SHA256.to_vec(),
        name("Sluss enrolment"),
        tlv::wrap(SEQUENCE, &validity),
        name("Sluss"),
        key.to_spki(),
    ];
    let content = tlv::wrap(SEQUENCE, &content.concat());
    let signature = issuer
        .sign(&SystemRandom::new(), &content)
        .map_err(failed)?;
    let signature = tlv::wrap(BIT_STRING, &[&[0], signature.as_ref()].concat());
    let certificate = [content.as_slice(), ECDSA_SHA256, &signature].concat();
    Ok(tlv::wrap(SEQUENCE, &certificate))
}

/// A name of one part.
fn name(text: &str) -> Vec<u8> {
    let attribute = [
        tlv::wrap(OID, COMMON_NAME),
        tlv::wrap(UTF8_STRING, text.as_bytes()),
    ];
    let attribute = tlv::wrap(SEQUENCE, &attribute.concat());
    tlv::wrap(SEQUENCE, &tlv::wrap(SET, &attribute))
}
