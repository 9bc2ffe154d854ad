//! One key bound, step by step: nothing is lost without leave, and nothing is believed that was not tried.

use super::{Bench, Enrolment, Error, Order, ProvenKey, Scheme, Signature, Terms};
use crate::applet::Description;
use crate::attend::permit;
use crate::certificate::{Certificate, Refusal};
use crate::key::CardKey;
use crate::sealed::{Method, SealedKey, SignatureSeal, seal};
use crate::{Algorithm, Binding, KeyMode, KeySource, x25519};
use aws_lc_rs::rand;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
    VerificationAlgorithm,
};
use zeroize::Zeroizing;

/// See [`super::perform`].
pub(super) fn perform(
    bench: &mut dyn Bench,
    terms: &Terms,
    order: &Order,
    compose: &mut dyn FnMut(&ProvenKey) -> String,
) -> Result<Enrolment, Error> {
    match order.make {
        Some(algorithm) => allow_making(bench, terms, order, algorithm)?,
        None => allow_taking(&bench.describe()?, terms, order)?,
    }
    let status = bench.pin_status()?;
    permit(
        &order.pin,
        &status,
        order.last_try_consented,
        terms.allow_factory_pin,
    )?;
    bench.verify(&order.pin)?;
    if let Some(algorithm) = order.make {
        bench.make(algorithm, order, terms)?;
    }
    let description = bench.describe()?;
    // it may be another by now, or newly made
    allow_taking(&description, terms, order)?;
    let binding = match kept(order, &description) {
        Some(bound) => {
            prove(bench, bound)?;
            bound.clone()
        }
        None => bind(bench, terms, order, &description)?,
    };
    let key = ProvenKey {
        certificate: judge(&description, terms)?,
        serial: description.serial,
        id: order.id.clone(),
        mode: mode(description.key.algorithm()),
        key: description.key,
        public_key: binding.public_key,
    };
    let signature = sign(bench, &key.key, &compose(&key))?;
    Ok(Enrolment {
        binding,
        key,
        made: order.make.is_some(),
        signature,
    })
}

/// How a key of this kind is used.
pub(super) fn mode(algorithm: Algorithm) -> KeyMode {
    match algorithm {
        Algorithm::X25519 => KeyMode::Held,
        Algorithm::P256
        | Algorithm::P384
        | Algorithm::Rsa2048
        | Algorithm::Rsa3072
        | Algorithm::Rsa4096 => KeyMode::Sealed,
    }
}

/// Whether policy lets this key serve, and what its certificate says: see [`ProvenKey::certificate`].
pub(super) fn judge(
    description: &Description,
    terms: &Terms,
) -> Result<Option<(String, Vec<u8>)>, Error> {
    if !terms.modes.contains(&mode(description.key.algorithm())) {
        return Err(Error::Forbidden);
    }
    let der = description.certificate.as_ref();
    let der = der.filter(|der| CardKey::from_certificate(der).as_ref() == Some(&description.key));
    let refused = crate::Error::Certificate;
    let certificate = match (&terms.certificate, der) {
        (Some(rule), Some(der)) => Some(rule.check(der, &[], terms.now).map_err(refused)?),
        (Some(_), None) => return Err(refused(Refusal::Missing).into()),
        // nobody asks for it: one that cannot be read is left out
        (None, der) => der.and_then(|der| Certificate::read(der).ok()),
    };
    // one that names nobody tells the reader of a request nothing
    let certificate = certificate.filter(|it| !it.subject.is_empty()).zip(der);
    Ok(certificate.map(|(it, der)| (it.subject, der.clone())))
}

/// What has to be so before a key is taken: policy allows it, and no binding is lost without leave.
fn allow_taking(description: &Description, terms: &Terms, order: &Order) -> Result<(), Error> {
    judge(description, terms)?;
    match kept(order, description) {
        Some(_) => Ok(()),
        None => allow_binding(order),
    }
}

/// What has to be so before a key is made: the card can, policy would take it, and nothing is lost without leave.
fn allow_making(
    bench: &mut dyn Bench,
    terms: &Terms,
    order: &Order,
    algorithm: Algorithm,
) -> Result<(), Error> {
    if !terms.modes.contains(&mode(algorithm)) {
        return Err(Error::Forbidden);
    }
    if terms.certificate.is_some() {
        // a new key has no certificate that anybody would believe
        return Err(crate::Error::Certificate(Refusal::Missing).into());
    }
    if !bench.makes()?.contains(&algorithm) {
        return Err(Error::CannotMake);
    }
    if bench.is_occupied()? && !order.replace.contains(&order.serial) {
        return Err(Error::KeyExists);
    }
    allow_binding(order)
}

/// A binding is lost with the next one, unless it is kept.
fn allow_binding(order: &Order) -> Result<(), Error> {
    match &order.bound {
        Some(bound) if !order.replace.contains(&bound.serial) => Err(Error::AlreadyBound),
        Some(_) | None => Ok(()),
    }
}

/// The present binding, where the order is for the same key again and does not say that it may be replaced.
fn kept<'o>(order: &'o Order, description: &Description) -> Option<&'o Binding> {
    order.bound.as_ref().filter(|bound| {
        let same_key = match &bound.source {
            KeySource::Held => description.key == CardKey::X25519(bound.public_key),
            KeySource::Sealed(sealed) => sealed.is_for(&description.key),
        };
        let same_place = bound.serial == description.serial && bound.id == order.id;
        same_place && same_key && !order.replace.contains(&bound.serial)
    })
}

/// Binds the key, and shows that the binding works.
fn bind(
    bench: &mut dyn Bench,
    terms: &Terms,
    order: &Order,
    description: &Description,
) -> Result<Binding, Error> {
    let (public_key, source) = match &description.key {
        CardKey::X25519(public_key) => (*public_key, KeySource::Held),
        key @ (CardKey::P256(_) | CardKey::P384(_) | CardKey::Rsa(_)) => {
            let sealed = seal_new(bench, terms, key, &description.serial)?;
            (*sealed.public_key(), KeySource::Sealed(sealed))
        }
    };
    let binding = Binding {
        serial: description.serial.clone(),
        public_key,
        id: order.id.clone(),
        source,
    };
    prove(bench, &binding)?;
    Ok(binding)
}

/// A WireGuard key that did not exist before, sealed by the best method that the card's key can serve.
fn seal_new(
    bench: &mut dyn Bench,
    terms: &Terms,
    card: &CardKey,
    serial: &str,
) -> Result<SealedKey, Error> {
    let private_key = random()?;
    let mut refused = Error::Card(crate::Error::Unsupported);
    for method in bench.methods(card) {
        let file = match method {
            Method::EcdhP256 | Method::EcdhP384 | Method::RsaOaepSha256 | Method::RsaPkcs1 => {
                seal(&private_key, method, card, serial)
            }
            Method::RsaSignature if !terms.signature_wrap => continue,
            Method::RsaSignature => {
                let public_key = x25519::public_key(&private_key);
                SignatureSeal::begin(public_key, card, serial).and_then(|seal| {
                    let signature = bench.answer(&seal.challenge());
                    seal.finish(
                        &private_key,
                        &signature.map_err(|_| crate::sealed::Error::Signature)?,
                    )
                })
            }
        };
        let sealed = file
            .and_then(|file| SealedKey::parse(&file))
            .map_err(crate::Error::SealedKey)?;
        // middleware may offer a method that it has not: what counts is whether it opens
        match open(bench, &sealed) {
            Ok(()) => return Ok(sealed),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

/// Whether the card does what the binding needs of it.
fn prove(bench: &mut dyn Bench, binding: &Binding) -> Result<(), Error> {
    match &binding.source {
        KeySource::Sealed(sealed) => open(bench, sealed),
        KeySource::Held => {
            let ours = random()?;
            let theirs = bench.agree(&x25519::public_key(&ours))?;
            let expected = x25519::agree(&ours, &binding.public_key)?;
            if theirs.as_bytes() == expected.as_bytes() {
                Ok(())
            } else {
                Err(Error::Unproven)
            }
        }
    }
}

fn open(bench: &mut dyn Bench, sealed: &SealedKey) -> Result<(), Error> {
    let answer = bench.answer(&sealed.challenge())?;
    let mut key = Zeroizing::new([0; 32]);
    sealed.open(&answer, &mut key).map_err(|_| Error::Unproven)
}

fn random() -> Result<Zeroizing<[u8; 32]>, Error> {
    let mut bytes = Zeroizing::new([0; 32]);
    rand::fill(&mut *bytes).map_err(|_| crate::Error::NoMemory)?;
    Ok(bytes)
}

/// The card's signature, if it gives one. A wrong one is worse than none.
fn sign(bench: &mut dyn Bench, key: &CardKey, text: &str) -> Result<Option<Signature>, Error> {
    let (scheme, algorithm): (_, &dyn VerificationAlgorithm) = match key {
        CardKey::X25519(_) => return Ok(None),
        CardKey::P256(_) => (Scheme::EcdsaP256Sha256, &ECDSA_P256_SHA256_ASN1),
        CardKey::P384(_) => (Scheme::EcdsaP384Sha384, &ECDSA_P384_SHA384_ASN1),
        CardKey::Rsa(_) => (Scheme::RsaPkcs1Sha256, &RSA_PKCS1_2048_8192_SHA256),
    };
    let value = match bench.sign(key, text.as_bytes()) {
        Ok(value) => value,
        // a key for Diffie-Hellman or decryption need not sign
        Err(crate::Error::Refused { .. } | crate::Error::Unsupported) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    UnparsedPublicKey::new(algorithm, key.to_spki())
        .verify(text.as_bytes(), &value)
        .map_err(|_| Error::Unproven)?;
    Ok(Some(Signature { scheme, value }))
}
