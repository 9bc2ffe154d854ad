//! OpenSC's module over the rig's cards: what middleware for real cards is like.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sluss_card::key::{Algorithm, CardKey};
use sluss_card::pkcs11::{Key, Module, Token};
use sluss_card::sealed::{Method, SealedKey, seal};
use sluss_card::{AfterUse, Config, Error, Event, KeyMode, KeySource, PinLife};
use sluss_tests::authority::Authority;
use sluss_tests::cardholder::Cardholder;
use sluss_tests::moment::{self, median, millis};
use sluss_tests::netns::Netns;
use sluss_tests::rig::{Rig, VirtualCard};
use sluss_tests::skip;
use x25519_dalek::{PublicKey, StaticSecret};

use crate::{bound_to, first_of, launch, token};

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
    let (apdus, median) = (
        (after.apdu - before.apdu) / 10,
        median(times).unwrap_or_default(),
    );
    println!("measured {median} ms and {apdus} commands for a Diffie-Hellman through OpenSC");

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
    let right = card.identity().pin.clone();
    ensure!(user.verify(&serial, &right)? == Err(Error::OneTryLeft));
    ensure!(card.stats()?.verify == before + 2, "the last try was spent");
    ensure!(user.unlock_at_all_costs("654321")? == Err(Error::Blocked));
    ensure!(user.unlock_at_all_costs(&right)? == Err(Error::Blocked));
    ensure!(user.refresh()?.is_ok_and(|card| card.tries_left == 0));
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

/// Whatever others do to the card, it was not pulled: it is locked at most, one PIN makes it good, and none is spent unseen.
pub(crate) fn other_programs_never_look_like_a_pull() -> Result<()> {
    let (_rig, mut card, mut user, config) = held()?;
    let serial = config.binding.context("a binding")?.serial;
    let pin = card.identity().pin.clone();
    user.inserted()?;
    let with = PublicKey::from(&StaticSecret::from(THEIRS)).to_bytes();
    for (verified, disturb) in (1..).zip(DISTURBANCES) {
        ensure!(user.verify(&serial, &pin)? == Ok(()));
        ensure!(user.dh(with)?.is_ok());
        disturb(&mut card)?;
        ensure!(user.dh(with)? == Err(Error::Locked));
        user.locked()?;
        ensure!(card.stats()?.verify == verified, "a PIN was tried unseen");
    }
    ensure!(!user.heard_of("removed") && !user.heard_of("unusable"));
    Ok(())
}

/// The same where policy keeps the PIN: nobody notices.
pub(crate) fn a_kept_pin_outlasts_other_programs() -> Result<()> {
    let (_rig, mut card, mut config) = card()?;
    config.pin = PinLife::UntilLock;
    let serial = config.binding.as_ref().context("a binding")?.serial.clone();
    let mut user = Cardholder::start(config)?;
    user.inserted()?;
    let with = PublicKey::from(&StaticSecret::from(THEIRS)).to_bytes();
    ensure!(user.verify(&serial, &card.identity().pin)? == Ok(()));
    for disturb in DISTURBANCES {
        disturb(&mut card)?;
        let asked = moment::now();
        ensure!(user.dh(with)?.is_ok());
        let took = millis(asked, moment::now());
        println!("measured {took} ms for a Diffie-Hellman after another program, PIN included");
    }
    let verified = card.stats()?.verify;
    ensure!(verified == 1 + DISTURBANCES.len() as u64, "{verified} PINs");
    ensure!(!user.heard_of("removed") && !user.heard_of("lost its verified state"));
    Ok(())
}

/// What a laptop's other programs do to a card.
const DISTURBANCES: [fn(&mut VirtualCard) -> Result<()>; 3] = [
    VirtualCard::reset,
    |_| token::run(Command::new("opensc-tool").args(["--reader", "0", "--name"])),
    |_| token::run(Command::new("opensc-tool").args(["--reader", "0", "--reset"])),
];

/// A login for each use, since policy wants the card to forget: possible with a kept PIN, and what it costs.
pub(crate) fn a_card_may_be_told_to_forget_after_each_use() -> Result<()> {
    let (_rig, mut card, mut config) = card()?;
    config.pin = PinLife::UntilLock;
    config.after_use = AfterUse::Unverify;
    let serial = config.binding.as_ref().context("a binding")?.serial.clone();
    let mut user = Cardholder::start(config)?;
    user.inserted()?;
    let with = PublicKey::from(&StaticSecret::from(THEIRS)).to_bytes();
    ensure!(user.verify(&serial, &card.identity().pin)? == Ok(()));
    let mut times = Vec::new();
    for _ in 0..5 {
        let asked = moment::now();
        ensure!(user.dh(with)?.is_ok());
        times.push(millis(asked, moment::now()));
    }
    let median = median(times).unwrap_or_default();
    println!("measured {median} ms for a Diffie-Hellman with login and logout");
    // the first used the login that the user made
    ensure!(card.stats()?.verify == 5, "{} PINs", card.stats()?.verify);
    Ok(())
}

/// Ours is the second card.
pub(crate) fn the_card_in_the_right_reader_serves() -> Result<()> {
    let (rig, _first, config) = card()?;
    let theirs = config.binding.context("a binding")?.serial;
    let mut second = rig.card(1)?;
    second.insert()?;
    let path = module()?;
    let public_key = second.identity().public_key;
    let (token, key) = find_in(&path, &rig.reader(1), &CardKey::X25519(public_key))?;
    ensure!(token.serial != theirs);
    let config = bound_to(&path, &token.serial, &key.id, public_key, KeySource::Held);
    let mut user = Cardholder::start(config)?;
    let (mut mine, mut other) = (None, None);
    user.expect("word of both cards", |event| {
        match event {
            Event::Inserted { card, .. } => mine = Some(card.serial),
            Event::Unusable { reason, .. } => other = Some(reason),
            _ => {}
        }
        (mine.is_some() && other.is_some()).then_some(())
    })?;
    ensure!(mine.as_ref() == Some(&token.serial));
    ensure!(other == Some(Error::OtherCard { serial: theirs }));
    ensure!(user.verify(&token.serial, &second.identity().pin)? == Ok(()));
    second.remove()?;
    user.removed(&rig.reader(1))?;
    Ok(())
}

pub(crate) fn a_restart_of_pcscd_is_survived() -> Result<()> {
    let (mut rig, mut card, mut user, config) = held()?;
    let serial = config.binding.context("a binding")?.serial;
    user.inserted()?;
    ensure!(user.verify(&serial, &card.identity().pin)? == Ok(()));
    rig.stop_pcscd()?;
    user.removed(&rig.reader(0))?;
    rig.start_pcscd()?;
    card.insert()?;
    ensure!(!user.inserted()?.ready);
    ensure!(user.verify(&serial, &card.identity().pin)? == Ok(()));
    let with = PublicKey::from(&StaticSecret::from(THEIRS)).to_bytes();
    ensure!(user.dh(with)?.is_ok());
    Ok(())
}

/// An OpenPGP card in the first reader, and a worker that is bound to it.
fn held() -> Result<(Rig, VirtualCard, Cardholder, Config)> {
    let (rig, card, config) = card()?;
    let user = Cardholder::start(config.clone())?;
    Ok((rig, card, user, config))
}

/// The card, and the settings of a laptop that is bound to it.
fn card() -> Result<(Rig, VirtualCard, Config)> {
    let path = module()?;
    let rig = Rig::start(Netns::own("own")?, Path::new("/run/rig"))?;
    let mut card = rig.card(0)?;
    card.insert()?;
    let public_key = card.identity().public_key;
    let (token, key) = find(&path, &rig, &CardKey::X25519(public_key))?;
    let config = bound_to(&path, &token.serial, &key.id, public_key, KeySource::Held);
    Ok((rig, card, config))
}

/// The token with this key in the first reader, once pcscd has seen the card.
pub(crate) fn find(module: &Path, rig: &Rig, key: &CardKey) -> Result<(Token, Key)> {
    find_in(module, &rig.reader(0), key)
}

fn find_in(module: &Path, reader: &str, key: &CardKey) -> Result<(Token, Key)> {
    let mut module = Module::new(launch(module));
    moment::eventually("the module shows the key", Duration::from_secs(10), || {
        let tokens = module.look(Some(reader), None).unwrap_or_default();
        Ok(tokens.into_iter().find_map(|token| {
            let found = token.keys.iter().find(|it| it.public == *key)?.clone();
            Some((token, found))
        }))
    })
}

pub(crate) fn module() -> Result<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib")?;
    let below = folders.filter_map(|folder| Some(folder.ok()?.path().join("opensc-pkcs11.so")));
    let Some(module) = first_of(below) else {
        skip!("OpenSC is not installed: apt-get install opensc")
    };
    Ok(module)
}
