//! OpenSC's module over the rig's cards: what middleware for real cards is like.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use sluss_card::key::{Algorithm, CardKey};
use sluss_card::pkcs11::{Key, Module, Token};
use sluss_card::sealed::{Method, SealedKey, seal};
use sluss_card::{Config, Error, KeyMode, KeySource};
use sluss_tests::authority::Authority;
use sluss_tests::cardholder::Cardholder;
use sluss_tests::moment::{self, median, millis};
use sluss_tests::netns::Netns;
use sluss_tests::rig::{Rig, VirtualCard};
use sluss_tests::skip;
use x25519_dalek::{PublicKey, StaticSecret};

use crate::{bound_to, first_of, launch};

const OURS: [u8; 32] = [0x5A; 32];
const THEIRS: [u8; 32] = [0x3C; 32];
/// From the pull to its report; the rig's reader looks every 400 ms.
const PULL: u64 = 1000;

pub(crate) fn a_held_key_on_an_openpgp_card() -> Result<()> {
    let (rig, mut card, mut user, config) = held()?;
    let binding = config.binding.context("a binding")?;
    let told = user.inserted()?;
    ensure!(told.mode == KeyMode::Held && told.algorithm == Algorithm::X25519);
    ensure!(told.public_key == card.identity().public_key && told.tries_left == 3);

    let theirs = StaticSecret::from(THEIRS);
    let with = PublicKey::from(&theirs).to_bytes();
    let expected = theirs.diffie_hellman(&PublicKey::from(told.public_key));
    ensure!(user.dh(with)? == Err(Error::Locked));
    ensure!(user.verify(&binding.serial, &card.identity().pin)? == Ok(()));
    let before = card.stats()?;
    let mut times = Vec::new();
    for _ in 0..10 {
        let asked = moment::now();
        ensure!(user.dh(with)?.as_ref() == Ok(expected.as_bytes()));
        times.push(millis(asked, moment::now()));
    }
    let after = card.stats()?;
    ensure!(
        after.dh == before.dh + 10,
        "one use of the card's key for each"
    );
    let (apdus, median) = ((after.apdu - before.apdu) / 10, median(times));
    println!("measured {median:?} ms and {apdus} commands for a Diffie-Hellman through OpenSC");

    let pulled = card.remove()?;
    user.removed(&rig.reader(0))?;
    let took = millis(pulled, moment::now());
    println!("measured {took} ms from a pull behind OpenSC to its report");
    ensure!(took < PULL);
    ensure!(user.dh(with)? == Err(Error::Gone));
    card.insert()?;
    ensure!(!user.inserted()?.ready, "a PIN outlasted the pull");
    ensure!(user.dh(with)? == Err(Error::Locked));
    ensure!(user.verify(&binding.serial, &card.identity().pin)? == Ok(()));
    ensure!(user.dh(with)?.as_ref() == Ok(expected.as_bytes()));
    Ok(())
}

pub(crate) fn a_wrong_pin_costs_one_try() -> Result<()> {
    let (_rig, mut card, mut user, config) = held()?;
    let serial = config.binding.context("a binding")?.serial;
    user.inserted()?;
    let before = card.stats()?.verify;
    ensure!(user.verify(&serial, "654321")? == Err(Error::WrongPin { left: 2 }));
    ensure!(
        card.stats()?.verify == before + 1,
        "more than one try was spent"
    );
    ensure!(user.verify(&serial, "654321")? == Err(Error::WrongPin { left: 1 }));
    // the last one is not spent by itself
    ensure!(user.verify(&serial, &card.identity().pin)? == Err(Error::OneTryLeft));
    ensure!(card.stats()?.verify == before + 2, "the last try was spent");
    Ok(())
}

/// In the bound card's reader is somebody else's card of the same make.
pub(crate) fn another_card_is_told() -> Result<()> {
    let (rig, mut card, mut user, _) = held()?;
    user.inserted()?;
    card.remove()?;
    user.removed(&rig.reader(0))?;
    drop(card);
    let mut other = rig.card(0)?;
    other.insert()?;
    let reason = user.unusable()?;
    // the rig's cards have the same serial number, and each its own key
    ensure!(reason == Error::OtherKey, "{reason:?}");
    Ok(())
}

pub(crate) fn a_sealed_key_by_piv() -> Result<()> {
    let path = module()?;
    let rig = Rig::start(Netns::own("own")?, Path::new("/run/rig"))?;
    let issuer = Authority::new()?;
    for (algorithm, methods) in [
        (Algorithm::P256, &[Method::EcdhP256][..]),
        (Algorithm::P384, &[Method::EcdhP384]),
        (
            Algorithm::Rsa2048,
            &[Method::RsaOaepSha256, Method::RsaPkcs1],
        ),
    ] {
        let mut card = rig.piv_card(0, algorithm, &issuer)?;
        card.insert()?;
        let (token, key) = find(&path, &rig, &card.identity().public_key)?;
        ensure!(key.certificate.is_some(), "the certificate does not show");
        for method in methods {
            let file = seal(&OURS, *method, &key.public, &token.serial)?;
            let source = KeySource::Sealed(SealedKey::parse(&file)?);
            let ours = StaticSecret::from(OURS);
            let public = PublicKey::from(&ours).to_bytes();
            let config = bound_to(&path, &token.serial, &key.id, public, source);
            let mut user = Cardholder::start(config)?;
            ensure!(user.inserted()?.algorithm == algorithm);
            let theirs = StaticSecret::from(THEIRS);
            let with = PublicKey::from(&theirs).to_bytes();
            ensure!(user.dh(with)? == Err(Error::Locked));
            let asked = moment::now();
            ensure!(
                user.verify(&token.serial, &card.identity().pin)? == Ok(()),
                "{method:?}"
            );
            let took = millis(asked, moment::now());
            println!("measured {took} ms to verify and open by {method:?} through OpenSC");
            let expected = theirs.diffie_hellman(&PublicKey::from(public));
            let before = card.stats()?;
            ensure!(user.dh(with)?.as_ref() == Ok(expected.as_bytes()));
            ensure!(
                card.stats()?.dh == before.dh,
                "the card was asked for an open key"
            );
        }
        card.remove()?;
    }
    Ok(())
}

/// An OpenPGP card in the first reader, and a worker that is bound to it.
fn held() -> Result<(Rig, VirtualCard, Cardholder, Config)> {
    let path = module()?;
    let rig = Rig::start(Netns::own("own")?, Path::new("/run/rig"))?;
    let mut card = rig.card(0)?;
    card.insert()?;
    let public_key = card.identity().public_key;
    let (token, key) = find(&path, &rig, &CardKey::X25519(public_key))?;
    let config = bound_to(&path, &token.serial, &key.id, public_key, KeySource::Held);
    let user = Cardholder::start(config.clone())?;
    Ok((rig, card, user, config))
}

/// The token with this key in the first reader, once pcscd has seen the card.
fn find(module: &Path, rig: &Rig, key: &CardKey) -> Result<(Token, Key)> {
    let mut module = Module::new(launch(module));
    let reader = rig.reader(0);
    moment::eventually(
        "the module shows the key",
        std::time::Duration::from_secs(10),
        || {
            let tokens = module.look(Some(&reader), None).unwrap_or_default();
            Ok(tokens.into_iter().find_map(|token| {
                ensure_named_after(&token, &reader);
                let found = token.keys.iter().find(|it| it.public == *key)?.clone();
                Some((token, found))
            }))
        },
    )
}

fn ensure_named_after(token: &Token, reader: &str) {
    assert_eq!(
        token.place, reader,
        "the slot is named after another reader"
    );
    assert!(token.removable, "a card that nobody can pull");
}

fn module() -> Result<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib")?;
    let below = folders.filter_map(|folder| Some(folder.ok()?.path().join("opensc-pkcs11.so")));
    let Some(module) = first_of(below) else {
        skip!("OpenSC is not installed: apt-get install opensc")
    };
    Ok(module)
}
