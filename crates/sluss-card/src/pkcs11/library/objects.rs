//! A token's keys, put together from the objects that show.

use super::fault::fault;
use crate::key::{Algorithm, CardKey};
use crate::pkcs11::wire::{Fault, Key, Uses};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use std::collections::BTreeMap;

/// `CKA_EC_PARAMS` of the curves, DER of their object identifiers (RFC 8410, 3; RFC 5480, 2.1.1.1).
const X25519: &[u8] = &[0x06, 0x03, 0x2B, 0x65, 0x6E];
const P256: &[u8] = &[0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x06, 0x05, 0x2B, 0x81, 0x04, 0x00, 0x22];
/// Other names of X25519: the curve's in PKCS#11 3.0 (2.3.7), and GnuPG's object identifier.
const CURVE25519: &[u8] = b"\x13\x0acurve25519";
const GNUPG_CURVE25519: &[u8] = &[
    0x06, 0x0A, 0x2B, 0x06, 0x01, 0x04, 0x01, 0x97, 0x55, 0x01, 0x05, 0x01,
];
/// No certificate that a card has room for is longer.
const LONGEST_CERTIFICATE: usize = 16 * 1024;

/// What is known of a key so far.
#[derive(Default)]
struct Draft {
    label: Option<String>,
    public: Option<CardKey>,
    uses: Option<Uses>,
    certificate: Option<Vec<u8>>,
}

/// All keys of kinds that can serve, by `CKA_ID`. Before login there are public keys and certificates only.
pub(super) fn keys(session: &Session, mechanisms: &[MechanismType]) -> Result<Vec<Key>, Fault> {
    let oaep = mechanisms.contains(&MechanismType::RSA_PKCS_OAEP);
    let mut drafts: BTreeMap<Vec<u8>, Draft> = BTreeMap::new();
    for (id, object) in named(session, ObjectClass::PUBLIC_KEY)? {
        let draft = drafts.entry(id).or_default();
        draft.public = public(session, object);
        draft.label = label(session, object);
    }
    for (id, object) in named(session, ObjectClass::CERTIFICATE)? {
        let certificate = certificate(session, object);
        let draft = drafts.entry(id).or_default();
        let told = || CardKey::from_certificate(certificate.as_deref()?);
        draft.public = draft.public.take().or_else(told);
        draft.certificate = certificate;
    }
    for (id, object) in named(session, ObjectClass::PRIVATE_KEY)? {
        let draft = drafts.entry(id).or_default();
        draft.public = draft.public.take().or_else(|| public(session, object));
        draft.label = label(session, object).or(draft.label.take());
        draft.uses = Some(uses(session, object, oaep));
    }
    let finished = |(id, draft): (Vec<u8>, Draft)| {
        let public = draft.public?;
        Some(Key {
            id,
            label: draft.label.unwrap_or_default(),
            uses: draft.uses.map(|uses| possible(uses, &public)),
            public,
            certificate: draft.certificate,
        })
    };
    Ok(drafts.into_iter().filter_map(finished).collect())
}

/// What can be made by these mechanisms, as far as they tell.
pub(super) fn makes(mechanisms: &[MechanismType]) -> Vec<Algorithm> {
    let mut makes = vec![Algorithm::X25519, Algorithm::P256, Algorithm::P384];
    makes.retain(|&algorithm| key_pair_generation(algorithm, mechanisms).is_some());
    makes
}

/// How a key pair is made, and `CKA_EC_PARAMS`.
pub(super) fn key_pair_generation(
    algorithm: Algorithm,
    mechanisms: &[MechanismType],
) -> Option<(Mechanism<'static>, &'static [u8])> {
    let (mechanism, curve) = match algorithm {
        Algorithm::P256 => (Mechanism::EccKeyPairGen, P256),
        Algorithm::P384 => (Mechanism::EccKeyPairGen, P384),
        Algorithm::X25519 if mechanisms.contains(&MechanismType::ECC_MONTGOMERY_KEY_PAIR_GEN) => {
            (Mechanism::EccMontgomeryKeyPairGen, X25519)
        }
        // what SoftHSM calls it
        Algorithm::X25519 => (Mechanism::EccEdwardsKeyPairGen, X25519),
        Algorithm::Rsa2048 | Algorithm::Rsa3072 | Algorithm::Rsa4096 => return None,
    };
    mechanisms
        .contains(&mechanism.mechanism_type())
        .then_some((mechanism, curve))
}

/// A key pair that was just made.
pub(super) fn key(
    session: &Session,
    public_half: ObjectHandle,
    private_half: ObjectHandle,
) -> Result<Key, Fault> {
    let nonsense = |what: &str| Fault::Nonsense(what.to_owned());
    let public = public(session, public_half)
        .ok_or_else(|| nonsense("a new key of another kind than asked for"))?;
    Ok(Key {
        id: id(session, public_half).ok_or_else(|| nonsense("a new key without its CKA_ID"))?,
        label: label(session, public_half).unwrap_or_default(),
        uses: Some(possible(uses(session, private_half, false), &public)),
        public,
        certificate: None,
    })
}

/// `CKA_ALWAYS_AUTHENTICATE`.
pub(super) fn wants_pin_each_time(session: &Session, key: ObjectHandle) -> bool {
    attributes(session, key, &[AttributeType::AlwaysAuthenticate])
        .contains(&Attribute::AlwaysAuthenticate(true))
}

/// Whether a key shows that has `CKA_ALWAYS_AUTHENTICATE`.
pub(super) fn any_wants_pin_each_time(session: &Session) -> bool {
    let keys = session.find_objects(&[Attribute::Class(ObjectClass::PRIVATE_KEY)]);
    let keys = keys.unwrap_or_default();
    keys.into_iter()
        .any(|key| wants_pin_each_time(session, key))
}

/// The objects of a class that have a `CKA_ID`; the others belong to no key.
fn named(session: &Session, class: ObjectClass) -> Result<Vec<(Vec<u8>, ObjectHandle)>, Fault> {
    let objects = session
        .find_objects(&[Attribute::Class(class)])
        .map_err(fault)?;
    let named = |object| Some((id(session, object)?, object));
    Ok(objects.into_iter().filter_map(named).collect())
}

fn id(session: &Session, object: ObjectHandle) -> Option<Vec<u8>> {
    find(session, object, AttributeType::Id, |it| match it {
        Attribute::Id(id) if !id.is_empty() => Some(id),
        _ => None,
    })
}

fn label(session: &Session, object: ObjectHandle) -> Option<String> {
    find(session, object, AttributeType::Label, |it| match it {
        Attribute::Label(label) => Some(String::from_utf8_lossy(&label).into_owned()),
        _ => None,
    })
}

fn certificate(session: &Session, object: ObjectHandle) -> Option<Vec<u8>> {
    find(session, object, AttributeType::Value, |it| match it {
        Attribute::Value(der) if (1..=LONGEST_CERTIFICATE).contains(&der.len()) => Some(der),
        _ => None,
    })
}

fn uses(session: &Session, key: ObjectHandle, oaep: bool) -> Uses {
    let may = attributes(
        session,
        key,
        &[
            AttributeType::Derive,
            AttributeType::Decrypt,
            AttributeType::Sign,
            AttributeType::AlwaysAuthenticate,
        ],
    );
    let decrypt = may.contains(&Attribute::Decrypt(true));
    Uses {
        derive: may.contains(&Attribute::Derive(true)),
        decrypt,
        decrypt_oaep: decrypt && oaep,
        sign: may.contains(&Attribute::Sign(true)),
        pin_each_time: may.contains(&Attribute::AlwaysAuthenticate(true)),
    }
}

/// Some tokens allow every key everything, whatever it can do.
fn possible(uses: Uses, key: &CardKey) -> Uses {
    let (rsa, signs) = match key {
        CardKey::Rsa(_) => (true, true),
        CardKey::P256(_) | CardKey::P384(_) => (false, true),
        CardKey::X25519(_) => (false, false),
    };
    Uses {
        derive: uses.derive && !rsa,
        decrypt: uses.decrypt && rsa,
        decrypt_oaep: uses.decrypt_oaep && rsa,
        sign: uses.sign && signs,
        pin_each_time: uses.pin_each_time,
    }
}

/// The public half that an object tells: a public key's, or what a private RSA key tells of itself.
fn public(session: &Session, object: ObjectHandle) -> Option<CardKey> {
    let wanted = [
        AttributeType::EcParams,
        AttributeType::EcPoint,
        AttributeType::Modulus,
        AttributeType::PublicExponent,
    ];
    let (mut curve, mut point, mut modulus, mut exponent) = (None, None, None, None);
    for attribute in attributes(session, object, &wanted) {
        match attribute {
            Attribute::EcParams(it) => curve = Some(it),
            Attribute::EcPoint(it) => point = Some(it),
            Attribute::Modulus(it) => modulus = Some(it),
            Attribute::PublicExponent(it) => exponent = Some(it),
            _ => {}
        }
    }
    match (curve, point, modulus, exponent) {
        (Some(curve), Some(point), _, _) => on_curve(&curve, &point),
        (_, _, Some(modulus), Some(exponent)) => CardKey::from_rsa(&modulus, &exponent),
        _ => None,
    }
}

/// X25519 is known by its curve: tokens disagree about its key type.
fn on_curve(curve: &[u8], point: &[u8]) -> Option<CardKey> {
    match curve {
        X25519 | CURVE25519 | GNUPG_CURVE25519 => {
            Some(CardKey::X25519(raw(point, 32)?.try_into().ok()?))
        }
        P256 => CardKey::from_point(raw(point, 65)?),
        P384 => CardKey::from_point(raw(point, 97)?),
        _ => None,
    }
}

/// `CKA_EC_POINT` is an OCTET STRING in DER, but some tokens give what is inside.
fn raw(point: &[u8], length: usize) -> Option<&[u8]> {
    match point {
        raw if raw.len() == length => Some(raw),
        [0x04, said, raw @ ..] if usize::from(*said) == length && raw.len() == length => Some(raw),
        _ => None,
    }
}

/// Those of the attributes that the object has and shows.
fn attributes(session: &Session, object: ObjectHandle, wanted: &[AttributeType]) -> Vec<Attribute> {
    // one by one: what a token says of one must not cost the others
    let one = |&it| session.get_attributes(object, &[it]).unwrap_or_default();
    wanted.iter().flat_map(one).collect()
}

fn find<T>(
    session: &Session,
    object: ObjectHandle,
    wanted: AttributeType,
    pick: impl FnMut(Attribute) -> Option<T>,
) -> Option<T> {
    attributes(session, object, &[wanted])
        .into_iter()
        .find_map(pick)
}
