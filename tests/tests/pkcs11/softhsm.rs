//! A token that cannot be pulled, with keys of every kind.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use sluss_card::applet::{Answer, Padding};
use sluss_card::key::Algorithm;
use sluss_card::pkcs11::{Failure, Fault, KeyAt, Launch, Module, Scheme};
use sluss_card::sealed::{Method, SealedKey, SignatureSeal, seal};
use sluss_card::{CardKind, Error, KeyMode, KeySource};
use sluss_tests::cardholder::Cardholder;
use x25519_dalek::{PublicKey, StaticSecret};

use crate::token::{self, PIN};
use crate::{bound_to, launch};

/// WireGuard's private key where it is a software key, and somebody's at the other side.
const OURS: [u8; 32] = [0x5A; 32];
const THEIRS: [u8; 32] = [0x3C; 32];

pub(crate) fn keys_are_listed_with_what_they_may_do() -> Result<()> {
    let (_, launch) = token_with(&[
        (
            "01",
            &[
                "--key-type",
                "rsa:2048",
                "--usage-decrypt",
                "--label",
                "files",
            ],
        ),
        (
            "02",
            &["--key-type", "rsa:3072", "--usage-sign", "--always-auth"],
        ),
        ("03", &["--key-type", "EC:prime256v1", "--usage-derive"]),
        ("04", &["--key-type", "EC:secp384r1", "--usage-derive"]),
    ])?;
    let mut module = Module::new(launch);
    let before = module.look(None, None)?;
    let token = &before[0];
    ensure!(!token.removable && !token.pin.ready && !token.pin.pad);
    let algorithms = [
        (vec![1], Algorithm::Rsa2048),
        (vec![2], Algorithm::Rsa3072),
        (vec![3], Algorithm::P256),
        (vec![4], Algorithm::P384),
    ];
    let seen = token.keys.iter();
    let seen: Vec<_> = seen
        .map(|key| (key.id.clone(), key.public.algorithm()))
        .collect();
    ensure!(seen == algorithms, "{seen:?}");
    ensure!(token.keys[0].label == "files");
    ensure!(
        token.keys.iter().all(|key| key.uses.is_none()),
        "no login was needed"
    );

    module.log_in(token.slot, Some(&token::pin(PIN)?), None)?;
    let after = module.look(None, None)?;
    ensure!(after[0].pin.ready);
    let uses: Vec<_> = after[0].keys.iter().filter_map(|key| key.uses).collect();
    ensure!(uses.len() == 4);
    ensure!(uses[0].decrypt && !uses[0].derive && !uses[0].pin_each_time);
    ensure!(uses[1].sign && uses[1].pin_each_time);
    ensure!(uses[2].derive && !uses[2].decrypt && uses[3].derive);
    Ok(())
}

/// The token makes the key, and its half of the Diffie-Hellman is x25519-dalek's.
pub(crate) fn a_held_key_computes_what_x25519_does() -> Result<()> {
    let (path, launch) = token_with(&[])?;
    let mut module = Module::new(launch);
    let slot = module.look(None, None)?[0].slot;
    let too_early = module.generate(slot, Algorithm::X25519, b"wg", "WireGuard", None);
    ensure!(too_early.is_err(), "a key was made without a PIN");
    module.log_in(slot, Some(&token::pin(PIN)?), None)?;
    let key = module.generate(slot, Algorithm::X25519, b"wg", "WireGuard", None)?;
    let serial = module.look(None, None)?[0].serial.clone();
    drop(module);
    let sluss_card::key::CardKey::X25519(public_key) = key.public else {
        anyhow::bail!("{:?} was made", key.public)
    };
    ensure!(key.uses.is_some_and(|uses| uses.derive && !uses.sign));

    let mut user = Cardholder::start(bound_to(&path, &serial, b"wg", public_key, KeySource::Held))?;
    let card = user.inserted()?;
    ensure!((card.kind, card.mode) == (CardKind::Pkcs11, KeyMode::Held));
    ensure!(card.serial == serial && card.public_key == public_key);
    ensure!(card.algorithm == Algorithm::X25519 && card.tries_left == 3 && !card.ready);

    let theirs = StaticSecret::from(THEIRS);
    let with = PublicKey::from(&theirs).to_bytes();
    ensure!(user.dh(with)? == Err(Error::Locked));
    ensure!(user.verify(&serial, "161803")? == Err(Error::WrongPin { left: 2 }));
    ensure!(
        user.refresh()?
            .is_ok_and(|card| card.tries_left == 2 && !card.ready)
    );
    ensure!(user.verify(&serial, PIN)? == Ok(()));
    ensure!(
        user.refresh()?
            .is_ok_and(|card| card.tries_left == 3 && card.ready)
    );
    let expected = theirs.diffie_hellman(&PublicKey::from(public_key));
    for _ in 0..3 {
        ensure!(user.dh(with)?.as_ref() == Ok(expected.as_bytes()));
    }
    // a point of small order
    ensure!(user.dh([0; 32])?.is_err());
    ensure!(user.lock()? == Ok(()));
    ensure!(user.dh(with)? == Err(Error::Locked));
    ensure!(user.verify(&serial, PIN)? == Ok(()));
    ensure!(user.dh(with)?.as_ref() == Ok(expected.as_bytes()));
    Ok(())
}

pub(crate) fn a_sealed_key_opens_by_every_kind_of_key() -> Result<()> {
    let (path, launch) = token_with(&[
        ("01", &["--key-type", "rsa:2048", "--usage-decrypt"]),
        ("03", &["--key-type", "EC:prime256v1", "--usage-derive"]),
        ("04", &["--key-type", "EC:secp384r1", "--usage-derive"]),
    ])?;
    let token = token::look(&launch)?;
    for (id, method) in [
        (1, Method::RsaPkcs1),
        (3, Method::EcdhP256),
        (4, Method::EcdhP384),
    ] {
        let key = token::key(&token, &[id])?;
        let file = seal(&OURS, method, &key.public, &token.serial)?;
        opens(&path, &token.serial, &[id], &file)?;
    }
    Ok(())
}

/// Such a key signs, and so can wrap the WireGuard key where policy allows that: once for each PIN.
pub(crate) fn a_key_may_want_the_pin_for_each_use() -> Result<()> {
    let arguments = ["--key-type", "rsa:2048", "--usage-sign", "--always-auth"];
    let (path, launch) = token_with(&[("02", &arguments)])?;
    let token = token::look(&launch)?;
    let key = token::key(&token, &[2])?;
    let seal = SignatureSeal::begin(public(), &key.public, &token.serial)?;
    let sluss_card::applet::Challenge::Sign(message) = seal.challenge() else {
        anyhow::bail!("not a challenge to sign")
    };
    let mut module = Module::new(launch);
    module.look(None, None)?;
    module.log_in(token.slot, Some(&token::pin(PIN)?), None)?;
    let at = KeyAt {
        slot: token.slot,
        id: &[2],
    };
    let mut sign = || module.sign(at, Scheme::RsaPkcs1Sha256, &message, None);
    let signature = sign()?;
    ensure!(
        sign() == Err(Failure::Fault(Fault::NotLoggedIn)),
        "a PIN served twice"
    );
    drop(module);
    let file = seal.finish(&OURS, &Answer::Signed(signature))?;
    opens(&path, &token.serial, &[2], &file)
}

/// SoftHSM lists the mechanism and knows it with SHA-1 only: enrolment has to try, and hears "unsupported", no riddle.
pub(crate) fn oaep_is_refused_where_the_token_has_none() -> Result<()> {
    let arguments = ["--key-type", "rsa:2048", "--usage-decrypt"];
    let (_, launch) = token_with(&[("01", &arguments)])?;
    let mut module = Module::new(launch);
    let slot = module.look(None, None)?[0].slot;
    module.log_in(slot, Some(&token::pin(PIN)?), None)?;
    let at = KeyAt { slot, id: &[1] };
    let mut decrypt = |padding| module.decrypt(at, padding, &[1; 256], None);
    ensure!(decrypt(Padding::OaepSha256) == Err(Failure::Fault(Fault::Unsupported)));
    // and what was never encrypted opens to nothing, as if nothing had been in it
    ensure!(decrypt(Padding::Pkcs1)?.is_empty());
    Ok(())
}

/// A user with this file gets the Diffie-Hellman of the key in it, after the PIN and not before.
pub(crate) fn opens(path: &std::path::Path, serial: &str, id: &[u8], file: &[u8]) -> Result<()> {
    let source = KeySource::Sealed(SealedKey::parse(file)?);
    let mut user = Cardholder::start(bound_to(path, serial, id, public(), source))?;
    let card = user.inserted()?;
    ensure!(card.mode == KeyMode::Sealed && card.public_key == public());
    let theirs = StaticSecret::from(THEIRS);
    let with = PublicKey::from(&theirs).to_bytes();
    ensure!(user.dh(with)? == Err(Error::Locked));
    ensure!(user.verify(serial, PIN)? == Ok(()));
    let expected = theirs.diffie_hellman(&PublicKey::from(public()));
    ensure!(user.dh(with)?.as_ref() == Ok(expected.as_bytes()));
    ensure!(user.lock()? == Ok(()));
    ensure!(user.dh(with)? == Err(Error::Locked));
    Ok(())
}

fn public() -> [u8; 32] {
    PublicKey::from(&StaticSecret::from(OURS)).to_bytes()
}

/// A token with keys of these names, made as pkcs11-tool is told.
pub(crate) fn token_with(keys: &[(&str, &[&str])]) -> Result<(PathBuf, Launch)> {
    let path = token::module()?;
    token::make()?;
    for (id, arguments) in keys {
        token::make_key(id, arguments)?;
    }
    let launch = launch(&path);
    Ok((path, launch))
}
