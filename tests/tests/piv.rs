//! PIV cards through a real pcscd: each kind of key opens what was sealed to it, once, and only after the PIN.

use std::ffi::CString;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, RSA_PKCS1_2048_8192_SHA256,
    RsaPublicKeyComponents, UnparsedPublicKey,
};
use pcsc::{Disposition, Protocols, ReaderState, Scope, ShareMode, State};
use sluss_card::apdu::{StatusWord, Transmit};
use sluss_card::applet::{Answer, Applet, Padding};
use sluss_card::key::{Algorithm, CardKey};
use sluss_card::piv::{ManagementKey, Session};
use sluss_card::sealed::{Error as SealedError, Method, SealedKey, SignatureSeal, seal};
use sluss_card::{
    Access, AfterUse, Binding, CardInfo, CardKind, Config, Error, KeyId, KeyMode, KeySource, Pin,
    PinEntry, PinLife,
};
use sluss_tests::authority::Authority;
use sluss_tests::cardholder::Cardholder;
use sluss_tests::moment::eventually;
use sluss_tests::netns::Netns;
use sluss_tests::rig::{PivIdentity, Rig, VirtualCard};
use sluss_tests::{trial, trials};
use x25519_dalek::{X25519_BASEPOINT_BYTES, x25519};
use zeroize::Zeroizing;

/// How long anything may take that a trial does not measure.
const PATIENCE: Duration = Duration::from_secs(20);
/// WireGuard's private key, as software makes it.
const SECRET: [u8; 32] = [0x51; 32];
/// Every kind of key, and how a WireGuard key is sealed to it by preference.
const KINDS: [(Algorithm, Method); 4] = [
    (Algorithm::P256, Method::EcdhP256),
    (Algorithm::P384, Method::EcdhP384),
    (Algorithm::Rsa2048, Method::RsaOaepSha256),
    (Algorithm::Rsa3072, Method::RsaOaepSha256),
];
/// The management key of a card from the factory.
const FACTORY_KEY: [u8; 24] = [
    1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8,
];

fn main() -> ExitCode {
    trials::main(&[
        trial!(each_kind_of_key_opens_what_was_sealed_to_it),
        trial!(the_card_is_asked_once_and_not_for_each_handshake),
        trial!(wrong_pins_count_down_to_the_last_try),
        trial!(a_pull_a_lock_and_sleep_wipe_the_key),
        trial!(another_program_may_reset_the_card),
        trial!(another_cards_seal_is_refused_before_the_pin),
        trial!(every_seal_opens_with_the_raw_operation),
        trial!(the_card_tells_its_key_and_certificate),
        trial!(each_kind_of_key_signs),
        trial!(an_empty_card_gets_a_key_and_a_certificate),
    ])
}

fn each_kind_of_key_opens_what_was_sealed_to_it() -> Result<()> {
    let rig = Rig::start(Netns::own("own")?, Path::new("/run/rig"))?;
    let authority = Authority::new()?;
    for (algorithm, method) in KINDS {
        let mut card = rig.piv_card(0, algorithm, &authority)?;
        card.insert()?;
        let mut user = Cardholder::start(bound_to(&card, method)?)?;
        let info = user.inserted()?;
        let expected = CardInfo {
            serial: card.identity().serial.clone(),
            kind: CardKind::Piv,
            mode: KeyMode::Sealed,
            algorithm,
            public_key: x25519(SECRET, X25519_BASEPOINT_BYTES),
            subject: None,
            tries_left: 3,
            ready: false,
            pin_pad: false,
        };
        ensure!(info == expected, "{info:?}");
        ensure!(
            user.dh([9; 32])? == Err(Error::Locked),
            "{algorithm}: before the PIN"
        );
        let asked = Instant::now();
        ensure!(user.unlock(&card.identity().pin)? == Ok(()), "{algorithm}");
        let took = asked.elapsed();
        ensure!(
            user.dh([9; 32])? == Ok(x25519(SECRET, [9; 32])),
            "{algorithm}"
        );
        println!(
            "measured {algorithm}: PIN verified and key opened in {} ms",
            took.as_millis()
        );
        pull(&rig, &mut card)?;
    }
    Ok(())
}

fn the_card_is_asked_once_and_not_for_each_handshake() -> Result<()> {
    let (_rig, mut card, mut user) = verified(Algorithm::P256, Method::EcdhP256)?;
    let before = card.stats()?;
    ensure!(before.dh == 1, "{before:?}");
    for peer in 1..=20 {
        ensure!(user.dh([peer; 32])? == Ok(x25519(SECRET, [peer; 32])));
    }
    let after = card.stats()?;
    ensure!(
        after.dh == 1,
        "{} operations for 20 handshakes",
        after.dh - before.dh
    );
    ensure!(
        user.dh([0; 32])? == Err(Error::ZeroSecret),
        "a key of small order"
    );
    Ok(())
}

fn wrong_pins_count_down_to_the_last_try() -> Result<()> {
    let (_rig, mut card, mut user) = inserted(Algorithm::P256, Method::EcdhP256)?;
    user.inserted()?;
    let pin = card.identity().pin.clone();
    ensure!(user.unlock("12345")? == Err(Error::PinLength { min: 6, max: 8 }));
    ensure!(user.unlock("123456789")? == Err(Error::PinLength { min: 6, max: 8 }));
    ensure!(user.unlock("123456")? == Err(Error::FactoryPin));
    ensure!(card.stats()?.verify == 0, "a try was spent in vain");
    ensure!(user.unlock("111111")? == Err(Error::WrongPin { left: 2 }));
    ensure!(user.unlock("111111")? == Err(Error::WrongPin { left: 1 }));
    ensure!(user.unlock(&pin)? == Err(Error::OneTryLeft));
    ensure!(
        card.stats()?.verify == 2,
        "the last try went without consent"
    );
    ensure!(user.unlock_at_all_costs(&pin)? == Ok(()));
    ensure!(user.dh([9; 32])? == Ok(x25519(SECRET, [9; 32])));
    for _ in 0..3 {
        user.unlock_at_all_costs("111111")?
            .err()
            .context("a wrong PIN was taken")?;
    }
    ensure!(user.unlock_at_all_costs(&pin)? == Err(Error::Blocked));
    ensure!(card.stats()?.verify == 6, "a blocked card was tried");
    Ok(())
}

fn a_pull_a_lock_and_sleep_wipe_the_key() -> Result<()> {
    let (rig, mut card, mut user) = verified(Algorithm::P256, Method::EcdhP256)?;
    let pin = card.identity().pin.clone();
    let reader = rig.reader(0);
    card.remove()?;
    user.removed(&reader)?;
    card.insert()?;
    ensure!(!user.inserted()?.ready);
    ensure!(user.dh([9; 32])? == Err(Error::Locked), "after a pull");

    ensure!(user.unlock(&pin)? == Ok(()));
    ensure!(user.dh([9; 32])?.is_ok());
    ensure!(user.lock()? == Ok(()));
    ensure!(user.dh([9; 32])? == Err(Error::Locked), "after a lock");

    ensure!(user.unlock(&pin)? == Ok(()));
    user.forget()?;
    // the card was left as it is: verified, and asked again
    let operations = card.stats()?.dh;
    ensure!(user.dh([9; 32])? == Ok(x25519(SECRET, [9; 32])));
    ensure!(
        card.stats()?.dh == operations + 1,
        "the key was not wiped for sleep"
    );
    Ok(())
}

fn another_program_may_reset_the_card() -> Result<()> {
    let (rig, mut card, mut user) = verified(Algorithm::P384, Method::EcdhP384)?;
    let other = connect(&rig)?;
    other
        .disconnect(Disposition::ResetCard)
        .map_err(|(_, error)| error)?;
    ensure!(user.dh([9; 32])? == Ok(x25519(SECRET, [9; 32])));
    card.reset()?;
    ensure!(user.dh([9; 32])? == Ok(x25519(SECRET, [9; 32])));
    ensure!(
        !user.heard_of("lost its verified state"),
        "it matters to nobody"
    );
    Ok(())
}

fn another_cards_seal_is_refused_before_the_pin() -> Result<()> {
    let rig = Rig::start(Netns::own("own")?, Path::new("/run/rig"))?;
    let authority = Authority::new()?;
    let mine = rig.piv_card(0, Algorithm::P256, &authority)?;
    // the same serial number, since it is for the same slot, and another key
    let mut strangers = rig.piv_card(0, Algorithm::P256, &authority)?;
    strangers.insert()?;
    let mut user = Cardholder::start(bound_to(&mine, Method::EcdhP256)?)?;
    let reason = user.unusable()?;
    ensure!(reason == Error::OtherKey, "{reason}");
    ensure!(strangers.stats()?.verify == 0);
    Ok(())
}

fn every_seal_opens_with_the_raw_operation() -> Result<()> {
    let (rig, card) = in_reader(Algorithm::Rsa2048)?;
    let identity = card.identity();
    let mut line = Line(connect(&rig)?);
    let mut session = Session::open(&mut line)?;
    session.verify(&typed(&identity.pin)?)?;

    let serial = &identity.serial;
    let mut files = Vec::new();
    for method in [Method::RsaOaepSha256, Method::RsaPkcs1] {
        files.push(seal(&SECRET, method, &identity.public_key, serial)?);
    }
    let public_key = x25519(SECRET, X25519_BASEPOINT_BYTES);
    let signature = SignatureSeal::begin(public_key, &identity.public_key, serial)?;
    let signed = session.answer(&signature.challenge())?;
    files.push(signature.finish(&SECRET, &signed)?);
    for file in files {
        let sealed = SealedKey::parse(&file)?;
        let answer = session.answer(&sealed.challenge())?;
        let mut key = [0; 32];
        sealed.open(&answer, &mut key)?;
        ensure!(key == SECRET, "{:?}", sealed.method());
    }

    // a ciphertext that is none: the card computes, and what comes of it is refused like any other
    let nonsense = [&[0][..], &[0x42; 255]].concat();
    let answer = session.answer(&sluss_card::applet::Challenge::Decrypt(
        nonsense,
        Padding::Pkcs1,
    ))?;
    ensure!(matches!(answer, Answer::Block(_)));
    let file = seal(&SECRET, Method::RsaPkcs1, &identity.public_key, serial)?;
    let mut key = [0; 32];
    ensure!(SealedKey::parse(&file)?.open(&answer, &mut key) == Err(SealedError::Closed));
    Ok(())
}

fn the_card_tells_its_key_and_certificate() -> Result<()> {
    let rig = Rig::start(Netns::own("own")?, Path::new("/run/rig"))?;
    let authority = Authority::new()?;
    for (algorithm, _) in KINDS {
        let mut card = rig.piv_card(0, algorithm, &authority)?;
        let certificate = authority.issue(&card.identity().public_key, Authority::employee())?;
        card.put_certificate(&certificate)?;
        card.insert()?;
        let mut line = Line(eventually_connected(&rig)?);
        let mut session = Session::open(&mut line)?;
        ensure!(session.serial() == card.identity().serial);
        let description = session.describe()?;
        ensure!(description.key == card.identity().public_key, "{algorithm}");
        ensure!(description.certificate.as_deref() == Some(certificate.as_slice()));
        ensure!((description.pin.tries_left, description.pin.verified) == (3, false));
        session.verify(&typed(&card.identity().pin)?)?;
        ensure!(session.pin_status()?.verified);
        session.unverify()?;
        ensure!(!session.pin_status()?.verified);
        pull(&rig, &mut card)?;
    }
    Ok(())
}

fn each_kind_of_key_signs() -> Result<()> {
    let message = b"a request";
    for (algorithm, _) in KINDS {
        let (rig, card) = in_reader(algorithm)?;
        let mut line = Line(connect(&rig)?);
        let mut session = Session::open(&mut line)?;
        let key = &card.identity().public_key;
        ensure!(
            session.sign(key, message) == Err(Error::Locked),
            "{algorithm}: before the PIN"
        );
        session.verify(&typed(&card.identity().pin)?)?;
        let signature = session.sign(key, message)?;
        let good = match key {
            CardKey::X25519(_) => bail!("not a kind of the rig's"),
            CardKey::P256(point) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &point[..])
                .verify(message, &signature),
            CardKey::P384(point) => UnparsedPublicKey::new(&ECDSA_P384_SHA384_ASN1, &point[..])
                .verify(message, &signature),
            CardKey::Rsa(key) => RsaPublicKeyComponents {
                n: key.modulus(),
                e: key.exponent(),
            }
            .verify(&RSA_PKCS1_2048_8192_SHA256, message, &signature),
        };
        ensure!(good.is_ok(), "{algorithm}");
    }
    Ok(())
}

fn an_empty_card_gets_a_key_and_a_certificate() -> Result<()> {
    let rig = Rig::start(Netns::own("own")?, Path::new("/run/rig"))?;
    let mut card = rig.blank_piv_card(0)?;
    card.insert()?;
    let mut line = Line(eventually_connected(&rig)?);
    let mut session = Session::open(&mut line)?;
    ensure!(session.describe() == Err(Error::NoKey));

    let not_allowed = |error: &Error| matches!(error, Error::Refused { .. });
    ensure!(
        session
            .generate(Algorithm::P256)
            .is_err_and(|error| not_allowed(&error)),
        "without the management key"
    );
    let wrong = ManagementKey::new(Zeroizing::new(vec![7; 24]))?;
    ensure!(
        session
            .authenticate(&wrong)
            .is_err_and(|error| not_allowed(&error))
    );
    session.authenticate(&ManagementKey::new(Zeroizing::new(FACTORY_KEY.to_vec()))?)?;
    let authority = Authority::new()?;
    for algorithm in [Algorithm::P256, Algorithm::P384, Algorithm::Rsa2048] {
        let key = session.generate(algorithm)?;
        ensure!(key.algorithm() == algorithm);
        let certificate = authority.issue(&key, Authority::employee())?;
        session.put_certificate(&certificate)?;
        let description = session.describe()?;
        ensure!(
            description.key == key && description.certificate == Some(certificate),
            "{algorithm}"
        );
    }
    let refused = session.generate(Algorithm::X25519);
    let none = Err(Error::Refused {
        step: "make a key",
        status: StatusWord(0x6A80),
    });
    ensure!(
        refused == none,
        "the rig's cards have no X25519: {refused:?}"
    );
    Ok(())
}

/// A card of this kind in the first reader, which nobody serves.
fn in_reader(algorithm: Algorithm) -> Result<(Rig, VirtualCard<PivIdentity>)> {
    let rig = Rig::start(Netns::own("own")?, Path::new("/run/rig"))?;
    let mut card = rig.piv_card(0, algorithm, &Authority::new()?)?;
    card.insert()?;
    eventually_connected(&rig)?
        .disconnect(Disposition::LeaveCard)
        .map_err(|(_, error)| error)?;
    Ok((rig, card))
}

/// A card in the reader, and a worker that has not yet been listened to.
fn inserted(
    algorithm: Algorithm,
    method: Method,
) -> Result<(Rig, VirtualCard<PivIdentity>, Cardholder)> {
    let (rig, card) = in_reader(algorithm)?;
    let user = Cardholder::start(bound_to(&card, method)?)?;
    Ok((rig, card, user))
}

/// The same after the PIN.
fn verified(
    algorithm: Algorithm,
    method: Method,
) -> Result<(Rig, VirtualCard<PivIdentity>, Cardholder)> {
    let (rig, card, mut user) = inserted(algorithm, method)?;
    user.inserted()?;
    ensure!(user.unlock(&card.identity().pin)? == Ok(()));
    Ok((rig, card, user))
}

/// The settings of a laptop that this card was enrolled on.
fn bound_to(card: &VirtualCard<PivIdentity>, method: Method) -> Result<Config> {
    let identity = card.identity();
    let sealed = seal(&SECRET, method, &identity.public_key, &identity.serial)?;
    let binding = Binding {
        serial: identity.serial.clone(),
        public_key: x25519(SECRET, X25519_BASEPOINT_BYTES),
        id: KeyId::Piv,
        source: KeySource::Sealed(SealedKey::parse(&sealed)?),
    };
    Ok(Config {
        binding: Some(binding),
        access: Access::Pcsc,
        pin: PinLife::Ask,
        after_use: AfterUse::Keep,
        allow_factory_pin: false,
        certificate: None,
    })
}

fn typed(pin: &str) -> Result<PinEntry> {
    Ok(PinEntry::Typed(Pin::new(pin.as_bytes().to_vec().into())?))
}

/// A program's connection to the card in the first reader.
fn connect(rig: &Rig) -> Result<pcsc::Card> {
    let context = pcsc::Context::establish(Scope::System)?;
    let reader = CString::new(rig.reader(0))?;
    Ok(context.connect(&reader, ShareMode::Shared, Protocols::ANY)?)
}

/// The same, as soon as the card is seen.
fn eventually_connected(rig: &Rig) -> Result<pcsc::Card> {
    eventually("the card is seen", PATIENCE, || Ok(connect(rig).ok()))
}

/// Takes the card out, and waits until the reader knows. Looks without connecting: that a connection ends resets the card.
fn pull(rig: &Rig, card: &mut VirtualCard<PivIdentity>) -> Result<()> {
    card.remove()?;
    let context = pcsc::Context::establish(Scope::System)?;
    let mut reader = [ReaderState::new(
        CString::new(rig.reader(0))?,
        State::PRESENT,
    )];
    while !reader[0].event_state().contains(State::EMPTY) {
        context.get_status_change(PATIENCE, &mut reader)?;
        reader[0].sync_current_state();
    }
    Ok(())
}

struct Line(pcsc::Card);

impl Transmit for Line {
    fn transmit(&mut self, command: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        let mut buffer = [0; 258];
        Ok(Zeroizing::new(
            self.0.transmit(command, &mut buffer)?.to_vec(),
        ))
    }
}
