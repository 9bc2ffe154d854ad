//! Enrolment at tokens: the places that are offered, a key that is made, and keys of every kind bound.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sluss_card::enroll::{self, Enrolment, Found, Order, Scheme, Terms};
use sluss_card::sealed::Method;
use sluss_card::{Access, Algorithm, Binding, Config, KeyId, KeyMode, KeySource, PinEntry};
use sluss_tests::authority::Authority;
use sluss_tests::cardholder::Cardholder;
use sluss_tests::moment;
use sluss_tests::netns::Netns;
use sluss_tests::rig::Rig;
use x25519_dalek::{PublicKey, StaticSecret};

use crate::opensc;
use crate::softhsm::token_with;
use crate::token::{self, PIN};
use crate::{bound_to, launch};

const THEIRS: [u8; 32] = [0x3C; 32];

/// From an empty token to a Diffie-Hellman, and the same again.
pub(crate) fn a_token_makes_a_held_key() -> Result<()> {
    let (path, _) = token_with(&[])?;
    let survey = enroll::survey(&access(&path), &terms())?;
    let [card] = &survey.cards[..] else {
        anyhow::bail!("{} tokens", survey.cards.len())
    };
    let [place] = &card.keys[..] else {
        anyhow::bail!("{} places", card.keys.len())
    };
    ensure!(place.found == Found::Empty && place.makes[0] == Algorithm::X25519);

    let mut order = order(&card.serial, &place.id);
    order.make = Some(Algorithm::X25519);
    let enrolment = perform(&path, &order)?;
    ensure!(enrolment.made && enrolment.signature.is_none());
    ensure!(enrolment.key.mode == KeyMode::Held);
    serves(&path, &enrolment.binding, PIN)?;

    // again, as after a power cut: what is there is not made anew, whatever leave is given, and can be bound
    order.replace = vec![card.serial.clone()];
    let again = perform(&path, &order)
        .err()
        .context("a key was overwritten")?;
    ensure!(again == enroll::Error::CannotMake, "{again}");
    order.make = None;
    ensure!(perform(&path, &order)?.key.public_key == enrolment.key.public_key);

    // a new one gets a new name
    let survey = enroll::survey(&access(&path), &terms())?;
    let [found, new] = &survey.cards[0].keys[..] else {
        anyhow::bail!("{:?}", survey.cards[0].keys)
    };
    ensure!(found.id == place.id && new.id != place.id && new.found == Found::Empty);
    let mut order = self::order(&card.serial, &new.id);
    order.make = Some(Algorithm::P256);
    let second = perform(&path, &order)?;
    ensure!(second.key.mode == KeyMode::Sealed);
    ensure!(token::look(&launch(&path))?.keys.len() == 2);
    serves(&path, &second.binding, PIN)?;
    serves(&path, &enrolment.binding, PIN)
}

/// Three keys as an issuer may have made them: each is sealed to by the best way that it really has.
pub(crate) fn keys_that_are_there_are_bound() -> Result<()> {
    let (path, _) = token_with(&[
        ("01", &["--key-type", "rsa:2048", "--usage-decrypt"]),
        (
            "02",
            &["--key-type", "rsa:2048", "--usage-sign", "--always-auth"],
        ),
        ("04", &["--key-type", "EC:secp384r1", "--usage-derive"]),
    ])?;
    let survey = enroll::survey(&access(&path), &terms())?;
    let card = survey.cards.first().context("no token")?;
    ensure!(card.keys.len() == 4, "three keys and a place for one more");
    let best = [Method::RsaPkcs1, Method::RsaSignature, Method::EcdhP384];
    for (key, method) in card.keys.iter().zip(best) {
        let Found::Fit { algorithm, .. } = key.found else {
            anyhow::bail!("{:?}", key.found)
        };
        let enrolment = perform(&path, &order(&card.serial, &key.id))?;
        let KeySource::Sealed(sealed) = &enrolment.binding.source else {
            anyhow::bail!("not sealed")
        };
        ensure!(sealed.method() == method, "{:?}", sealed.method());
        let signed = enrolment.signature.as_ref().map(|it| it.scheme);
        let scheme = match algorithm {
            Algorithm::P384 => Scheme::EcdsaP384Sha384,
            _ => Scheme::RsaPkcs1Sha256,
        };
        ensure!(signed == Some(scheme), "{algorithm:?}: {signed:?}");
        serves(&path, &enrolment.binding, PIN)?;
    }
    Ok(())
}

/// OpenSC lets PIV's key decrypt with OAEP, and offers to make nothing on a card.
pub(crate) fn a_card_behind_middleware_is_bound() -> Result<()> {
    let path = opensc::module()?;
    let rig = Rig::start(Netns::own("own")?, Path::new("/run/rig"))?;
    let mut card = rig.piv_card(0, Algorithm::Rsa2048, &Authority::new()?)?;
    card.insert()?;
    opensc::find(&path, &rig, &card.identity().public_key)?;
    let survey = enroll::survey(&access(&path), &terms())?;
    let candidate = survey.cards.first().context("no card")?;
    ensure!(candidate.reader == rig.reader(0) && candidate.tries_left == 3);
    ensure!(candidate.keys.iter().all(|key| key.makes.is_empty()));
    let key = candidate.keys.first().context("no key")?;
    let Found::Fit { subject, .. } = &key.found else {
        anyhow::bail!("{:?}", key.found)
    };
    ensure!(
        subject
            .as_ref()
            .is_some_and(|it| it.contains("Kim Exempel")),
        "{subject:?}"
    );

    let mut order = order(&candidate.serial, &key.id);
    let pin = card.identity().pin.clone();
    order.pin = PinEntry::Typed(token::pin(&pin)?);
    let enrolment = perform(&path, &order)?;
    let KeySource::Sealed(sealed) = &enrolment.binding.source else {
        anyhow::bail!("not sealed")
    };
    ensure!(sealed.method() == Method::RsaOaepSha256);
    let asked = moment::now();
    serves(&path, &enrolment.binding, &pin)?;
    println!(
        "measured {} ms from an empty desk to a Diffie-Hellman",
        moment::millis(asked, moment::now())
    );
    Ok(())
}

/// A worker with this binding gives the Diffie-Hellman of its public key.
fn serves(path: &Path, binding: &Binding, pin: &str) -> Result<()> {
    let KeyId::Pkcs11(id) = &binding.id else {
        anyhow::bail!("{}", binding.id)
    };
    let config: Config = bound_to(
        path,
        &binding.serial,
        id,
        binding.public_key,
        binding.source.clone(),
    );
    let mut user = Cardholder::start(config)?;
    user.inserted()?;
    ensure!(user.verify(&binding.serial, pin)? == Ok(()));
    let theirs = StaticSecret::from(THEIRS);
    let expected = theirs.diffie_hellman(&PublicKey::from(binding.public_key));
    let computed = user.dh(PublicKey::from(&theirs).to_bytes())?;
    ensure!(computed.as_ref() == Ok(expected.as_bytes()));
    Ok(())
}

fn perform(path: &Path, order: &Order) -> Result<Enrolment, enroll::Error> {
    let compose = &mut |_: &enroll::ProvenKey| "a request".to_owned();
    enroll::perform(&access(path), &terms(), order, compose)
}

fn order(serial: &str, id: &KeyId) -> Order {
    Order {
        serial: serial.to_owned(),
        id: id.clone(),
        make: None,
        replace: Vec::new(),
        bound: None,
        pin: PinEntry::Typed(token::pin(PIN).expect("digits")),
        last_try_consented: false,
        admin_pin: None,
    }
}

fn terms() -> Terms {
    Terms {
        modes: vec![KeyMode::Held, KeyMode::Sealed],
        signature_wrap: true,
        allow_factory_pin: true,
        certificate: None,
        now: moment::now(),
        deadline: Instant::now() + Duration::from_secs(30),
    }
}

fn access(path: &Path) -> Access {
    Access::Pkcs11(launch(path))
}
