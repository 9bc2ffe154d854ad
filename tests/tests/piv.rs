//! PIV cards through a real pcscd: each kind of key opens what was sealed to it, once, and only after the PIN.

use std::ffi::CString;
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver};
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
    Access, AfterUse, Binding, CardInfo, CardKind, Cards, Command, Config, Error, Event, HeapVault,
    KeyId, KeyMode, KeySource, Op, Pin, PinEntry, PinLife,
};
use sluss_tests::authority::Authority;
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
        let mut user = User::start(bound_to(&card, method)?)?;
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
        ensure!(user.verify(&card.identity().pin)? == Ok(()), "{algorithm}");
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
    ensure!(user.verify("12345")? == Err(Error::PinLength { min: 6, max: 8 }));
    ensure!(user.verify("123456789")? == Err(Error::PinLength { min: 6, max: 8 }));
    ensure!(user.verify("123456")? == Err(Error::FactoryPin));
    ensure!(card.stats()?.verify == 0, "a try was spent in vain");
    ensure!(user.verify("111111")? == Err(Error::WrongPin { left: 2 }));
    ensure!(user.verify("111111")? == Err(Error::WrongPin { left: 1 }));
    ensure!(user.verify(&pin)? == Err(Error::OneTryLeft));
    ensure!(
        card.stats()?.verify == 2,
        "the last try went without consent"
    );
    ensure!(user.verify_the_last(&pin)? == Ok(()));
    ensure!(user.dh([9; 32])? == Ok(x25519(SECRET, [9; 32])));
    for _ in 0..3 {
        user.verify_the_last("111111")?
            .err()
            .context("a wrong PIN was taken")?;
    }
    ensure!(user.verify_the_last(&pin)? == Err(Error::Blocked));
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

    ensure!(user.verify(&pin)? == Ok(()));
    ensure!(user.dh([9; 32])?.is_ok());
    ensure!(user.lock()? == Ok(()));
    ensure!(user.dh([9; 32])? == Err(Error::Locked), "after a lock");

    ensure!(user.verify(&pin)? == Ok(()));
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
    let mut user = User::start(bound_to(&mine, Method::EcdhP256)?)?;
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
fn inserted(algorithm: Algorithm, method: Method) -> Result<(Rig, VirtualCard<PivIdentity>, User)> {
    let (rig, card) = in_reader(algorithm)?;
    let user = User::start(bound_to(&card, method)?)?;
    Ok((rig, card, user))
}

/// The same after the PIN.
fn verified(algorithm: Algorithm, method: Method) -> Result<(Rig, VirtualCard<PivIdentity>, User)> {
    let (rig, card, mut user) = inserted(algorithm, method)?;
    user.inserted()?;
    ensure!(user.verify(&card.identity().pin)? == Ok(()));
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

/// Asks the worker and listens to it, as the daemon does.
struct User {
    cards: Cards,
    events: Receiver<Event>,
    serial: String,
    /// All that was ever heard.
    heard: Vec<String>,
    ops: u64,
}

impl User {
    fn start(config: Config) -> Result<User> {
        let (sender, events) = mpsc::channel();
        let serial = config
            .binding
            .as_ref()
            .context("no card is bound")?
            .serial
            .clone();
        let vault = Box::new(HeapVault::default());
        let cards = sluss_card::start(config, vault, move |event| drop(sender.send(event)))?;
        Ok(User {
            cards,
            events,
            serial,
            heard: Vec::new(),
            ops: 0,
        })
    }

    /// Listens until `pick` finds what it wants.
    fn expect<T>(&mut self, what: &str, mut pick: impl FnMut(Event) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(event) = self.events.recv_timeout(left) else {
                bail!(
                    "{what} did not come; heard so far:\n{}",
                    self.heard.join("\n")
                );
            };
            self.heard.push(event.to_string());
            if let Some(found) = pick(event) {
                return Ok(found);
            }
        }
    }

    fn heard_of(&self, words: &str) -> bool {
        self.heard.iter().any(|event| event.contains(words))
    }

    fn inserted(&mut self) -> Result<CardInfo> {
        self.expect("a card", |event| match event {
            Event::Inserted { card, .. } => Some(card),
            _ => None,
        })
    }

    fn removed(&mut self, from: &str) -> Result<()> {
        self.expect("the removal", |event| {
            matches!(event, Event::Removed { reader } if reader == from).then_some(())
        })
    }

    fn unusable(&mut self) -> Result<Error> {
        self.expect("word of an unusable card", |event| match event {
            Event::Unusable { reason, .. } => Some(reason),
            _ => None,
        })
    }

    fn verify(&mut self, pin: &str) -> Result<Result<(), Error>> {
        self.verify_if(pin, false)
    }

    /// With the user's consent to the last try.
    fn verify_the_last(&mut self, pin: &str) -> Result<Result<(), Error>> {
        self.verify_if(pin, true)
    }

    fn verify_if(&mut self, pin: &str, last_try_consented: bool) -> Result<Result<(), Error>> {
        let serial = self.serial.clone();
        let pin = typed(pin)?;
        let asked = self.send(Command::Verify {
            serial,
            pin,
            last_try_consented,
        });
        self.expect("the answer to the PIN", |event| match event {
            Event::Verified { op, result } if op == asked => Some(result),
            _ => None,
        })
    }

    fn dh(&mut self, with: [u8; 32]) -> Result<Result<[u8; 32], Error>> {
        let asked = self.send(Command::Dh { with });
        self.expect("the answer to a Diffie-Hellman", |event| match event {
            Event::Dh { op, result } if op == asked => {
                Some(result.map(|secret| *secret.as_bytes()))
            }
            _ => None,
        })
    }

    fn lock(&mut self) -> Result<Result<(), Error>> {
        let asked = self.send(Command::Lock);
        self.expect("the answer to locking", |event| match event {
            Event::Relocked { op, result } if op == asked => Some(result),
            _ => None,
        })
    }

    fn forget(&mut self) -> Result<()> {
        let asked = self.send(Command::Forget);
        self.expect("the answer to sleep", |event| {
            matches!(event, Event::Forgotten { op } if op == asked).then_some(())
        })
    }

    fn send(&mut self, command: Command) -> Op {
        self.ops += 1;
        self.cards.send(Op(self.ops), command, PATIENCE);
        Op(self.ops)
    }
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
