//! What a user, a policy and a card's PIN counter can rely on, with a card made of words.

use super::*;
use crate::applet::{Answer, Challenge};
use crate::key::Algorithm;
use crate::sealed::{self, Method};
use crate::{CardKind, HeapVault, Pin, SharedSecret, x25519};
use aws_lc_rs::agreement::{ECDH_P256, PrivateKey, UnparsedPublicKey, agree};
use zeroize::Zeroizing;

const SERIAL: &str = "0006:12345678";
const PIN: &str = "271828";
/// WireGuard's private key, on the card or sealed to it.
const PRIVATE: [u8; 32] = [0x42; 32];

/// A card with one key and a PIN, which notes what it was asked.
struct Card {
    serial: &'static str,
    key: Key,
    pin: &'static str,
    tries_left: u8,
    verified: bool,
    pad: bool,
    /// Whether it knows VERIFY with P1 FF.
    forgets: bool,
    certificate: Option<Vec<u8>>,
    asked: Vec<&'static str>,
}

enum Key {
    X25519([u8; 32]),
    P256(PrivateKey),
}

/// 2027-01-15, when all clocks of these tests stand.
const NOW: Duration = Duration::from_secs(1_800_000_000);

impl Card {
    fn new(key: Key) -> Self {
        Self {
            serial: SERIAL,
            key,
            pin: PIN,
            tries_left: 3,
            verified: false,
            pad: false,
            forgets: true,
            certificate: None,
            asked: Vec::new(),
        }
    }

    fn held() -> Self {
        Self::new(Key::X25519(PRIVATE))
    }

    fn for_sealed() -> Self {
        Self::new(Key::P256(PrivateKey::generate(&ECDH_P256).unwrap()))
    }

    fn public(&self) -> CardKey {
        match &self.key {
            Key::X25519(private) => CardKey::X25519(x25519::public_key(private)),
            Key::P256(private) => {
                CardKey::from_point(private.compute_public_key().unwrap().as_ref()).unwrap()
            }
        }
    }

    /// What is asked from now on.
    fn asked(&mut self) -> Vec<&'static str> {
        std::mem::take(&mut self.asked)
    }
}

impl Applet for Card {
    fn serial(&self) -> &str {
        self.serial
    }

    fn describe(&mut self) -> Result<Description, Error> {
        Ok(Description {
            serial: self.serial.into(),
            kind: CardKind::OpenPgp,
            key: self.public(),
            certificate: self.certificate.clone(),
            pin: self.pin_status()?,
        })
    }

    fn pin_status(&mut self) -> Result<PinStatus, Error> {
        Ok(PinStatus {
            tries_left: self.tries_left,
            shortest: 6,
            longest: 8,
            verified: self.verified,
            pad: self.pad,
        })
    }

    fn verify(&mut self, pin: &PinEntry) -> Result<(), Error> {
        self.asked.push("verify");
        let right = match pin {
            PinEntry::Typed(pin) => pin.as_bytes() == self.pin.as_bytes(),
            PinEntry::OnPad => true,
        };
        self.verified = right && self.tries_left > 0;
        if self.verified {
            self.tries_left = 3;
            return Ok(());
        }
        self.tries_left = self.tries_left.saturating_sub(1);
        Err(match self.tries_left {
            0 => Error::Blocked,
            left => Error::WrongPin { left },
        })
    }

    fn unverify(&mut self) -> Result<(), Error> {
        self.asked.push("unverify");
        if self.forgets {
            self.verified = false;
            Ok(())
        } else {
            let status = crate::apdu::StatusWord(0x6B00);
            Err(Error::Refused {
                step: "forget",
                status,
            })
        }
    }

    fn agree(&mut self, with: &[u8; 32]) -> Result<SharedSecret, Error> {
        self.asked.push("agree");
        match &self.key {
            _ if !self.verified => Err(Error::Locked),
            Key::X25519(private) => x25519::agree(private, with),
            Key::P256(_) => Err(Error::Unsupported),
        }
    }

    fn answer(&mut self, challenge: &Challenge) -> Result<Answer, Error> {
        self.asked.push("answer");
        let (Key::P256(private), Challenge::Agree(point)) = (&self.key, challenge) else {
            return Err(Error::Unsupported);
        };
        if !self.verified {
            return Err(Error::Locked);
        }
        let point = UnparsedPublicKey::new(&ECDH_P256, point);
        agree(private, point, Error::Unsupported, |secret| {
            Ok(Answer::Agreed(Zeroizing::new(secret.to_vec())))
        })
    }
}

/// An attendant, its keeper, and the rules it was given.
struct Post {
    keeper: Arc<Keeper>,
    attendant: Attendant,
}

impl Post {
    fn new(card: &Card, pin: PinLife, after_use: AfterUse) -> Self {
        let source = match card.key {
            Key::X25519(_) => KeySource::Held,
            Key::P256(_) => {
                let file = sealed::seal(&PRIVATE, Method::EcdhP256, &card.public(), SERIAL);
                KeySource::Sealed(SealedKey::parse(&file.unwrap()).unwrap())
            }
        };
        let binding = Binding {
            serial: SERIAL.into(),
            public_key: x25519::public_key(&PRIVATE),
            id: KeyId::OpenPgp,
            source,
        };
        let keeper = Arc::new(Keeper::new(Box::new(HeapVault::default())));
        let attendant = Attendant {
            binding,
            pin,
            after_use,
            allow_factory_pin: false,
            certificate: None,
            keeper: keeper.clone(),
        };
        Self { keeper, attendant }
    }

    fn look(&self, card: &mut Card) -> Result<CardInfo, Error> {
        self.attendant.recognize(card)?;
        self.attendant.look(card, NOW)
    }

    /// Types the PIN, and does to the card what is to be done when its transaction ends.
    fn verify(&self, card: &mut Card, pin: &str, consent: bool) -> Result<(), Error> {
        let typed = PinEntry::Typed(Pin::new(pin.as_bytes().to_vec().into()).unwrap());
        self.enter(card, &typed, consent)
    }

    fn enter(&self, card: &mut Card, pin: &PinEntry, consent: bool) -> Result<(), Error> {
        let era = self.keeper.era();
        let (result, parting) = self.attendant.verify(card, era, pin, consent);
        leave(card, parting);
        result
    }

    /// Whether the next one would be answered, too; the secret is compared with another way to the same.
    fn dh(&self, card: &mut Card) -> Result<bool, Error> {
        let (theirs, era) = (x25519::public_key(&[3; 32]), self.keeper.era());
        let (result, parting) = self.attendant.agree(card, era, &theirs);
        leave(card, parting);
        let agreed = result?;
        let expected = x25519::agree(&[3; 32], &x25519::public_key(&PRIVATE))?;
        assert_eq!(agreed.secret.as_bytes(), expected.as_bytes());
        Ok(agreed.ready)
    }
}

fn leave(card: &mut Card, parting: Parting) {
    match parting {
        Parting::Leave => {}
        Parting::Reset => {
            card.asked.push("reset");
            card.verified = false;
        }
    }
}

#[test]
fn a_held_key_computes_after_the_pin_and_a_sealed_one_opens() {
    let mut card = Card::held();
    let post = Post::new(&card, PinLife::Ask, AfterUse::Keep);
    assert_eq!(post.dh(&mut card), Err(Error::Locked));
    assert_eq!(post.verify(&mut card, PIN, false), Ok(()));
    assert_eq!(post.dh(&mut card), Ok(true));
    assert_eq!(card.asked(), ["agree", "verify", "agree"]);
    assert!(!post.keeper.has_pin() && !post.keeper.has_key());

    let mut card = Card::for_sealed();
    let post = Post::new(&card, PinLife::Ask, AfterUse::Keep);
    assert_eq!(post.dh(&mut card), Err(Error::Locked));
    assert_eq!(post.verify(&mut card, PIN, false), Ok(()));
    assert_eq!(card.asked(), ["answer", "verify", "answer"]);
    assert!(post.keeper.has_key() && !post.keeper.has_pin());
    // what another program does with the card is of no consequence
    card.verified = false;
    assert!(post.look(&mut card).unwrap().ready);
}

#[test]
fn a_card_that_is_still_verified_opens_its_key_without_a_pin() {
    let mut card = Card::for_sealed();
    card.verified = true;
    let post = Post::new(&card, PinLife::Ask, AfterUse::Keep);
    assert!(post.look(&mut card).unwrap().ready);
    assert_eq!(post.dh(&mut card), Ok(true));
    assert_eq!(card.asked(), ["answer"]);
}

#[test]
fn only_the_bound_card_with_the_bound_key_is_looked_at() {
    for mut card in [Card::held(), Card::for_sealed()] {
        let post = Post::new(&card, PinLife::Ask, AfterUse::Keep);
        let info = post.look(&mut card).unwrap();
        let expected = match card.key {
            Key::X25519(_) => (KeyMode::Held, Algorithm::X25519),
            Key::P256(_) => (KeyMode::Sealed, Algorithm::P256),
        };
        assert_eq!((info.mode, info.algorithm), expected);
        assert_eq!(info.public_key, x25519::public_key(&PRIVATE));
        for other in [Key::X25519([9; 32]), Card::for_sealed().key] {
            card.key = other;
            assert_eq!(post.look(&mut card), Err(Error::OtherKey));
        }
        card.serial = "0006:99999999";
        let serial = card.serial.into();
        assert_eq!(post.look(&mut card), Err(Error::OtherCard { serial }));
    }
}

#[test]
fn no_try_is_spent_in_vain() {
    let mut card = Card::held();
    let post = Post::new(&card, PinLife::Ask, AfterUse::Keep);
    let length = Error::PinLength { min: 6, max: 8 };
    for (typed, expected) in [
        ("12345", length.clone()),
        ("123456789", length),
        ("123456", Error::FactoryPin),
    ] {
        assert_eq!(post.verify(&mut card, typed, true), Err(expected));
    }
    card.tries_left = 1;
    assert_eq!(post.verify(&mut card, PIN, false), Err(Error::OneTryLeft));
    card.tries_left = 0;
    assert_eq!(post.verify(&mut card, PIN, true), Err(Error::Blocked));
    assert_eq!(card.asked(), [""; 0]);

    card.tries_left = 1;
    assert_eq!(post.verify(&mut card, PIN, true), Ok(()));
    assert_eq!(card.asked(), ["verify"]);
}

#[test]
fn policy_may_take_the_pin_of_every_new_card() {
    let mut card = Card::held();
    card.pin = "123456";
    let mut post = Post::new(&card, PinLife::Ask, AfterUse::Keep);
    assert_eq!(
        post.verify(&mut card, "123456", false),
        Err(Error::FactoryPin)
    );
    post.attendant.allow_factory_pin = true;
    assert_eq!(post.verify(&mut card, "123456", false), Ok(()));
}

#[test]
fn a_pin_pad_is_used_where_there_is_one_and_its_pin_is_never_kept() {
    let mut card = Card::held();
    let post = Post::new(&card, PinLife::UntilLock, AfterUse::Keep);
    let entered = post.enter(&mut card, &PinEntry::OnPad, false);
    assert_eq!(entered, Err(Error::NoPinPad));
    card.pad = true;
    assert_eq!(post.enter(&mut card, &PinEntry::OnPad, false), Ok(()));
    card.verified = false;
    assert!(!post.look(&mut card).unwrap().ready);
    assert_eq!(post.dh(&mut card), Err(Error::Locked));
}

#[test]
fn a_kept_pin_makes_up_for_what_another_program_does() {
    for mut card in [Card::held(), Card::for_sealed()] {
        let post = Post::new(&card, PinLife::UntilLock, AfterUse::Keep);
        assert_eq!(post.verify(&mut card, PIN, false), Ok(()));
        for _ in 0..5 {
            card.verified = false;
            assert!(post.look(&mut card).unwrap().ready);
            assert_eq!(post.dh(&mut card), Ok(true));
        }
        post.keeper.wipe();
        card.verified = false;
        assert!(!post.look(&mut card).unwrap().ready);
        assert_eq!(post.dh(&mut card), Err(Error::Locked));
    }
}

#[test]
fn a_kept_pin_that_is_refused_costs_one_try_and_is_never_tried_again() {
    let mut card = Card::held();
    let post = Post::new(&card, PinLife::UntilLock, AfterUse::Keep);
    assert_eq!(post.verify(&mut card, PIN, false), Ok(()));
    // changed by another program
    (card.pin, card.verified) = ("314159", false);
    assert_eq!(post.dh(&mut card), Err(Error::WrongPin { left: 2 }));
    for _ in 0..5 {
        assert_eq!(post.dh(&mut card), Err(Error::Locked));
    }
    assert_eq!(card.tries_left, 2);
}

#[test]
fn a_kept_pin_is_not_tried_when_a_try_is_lost_already() {
    let mut card = Card::held();
    let post = Post::new(&card, PinLife::UntilLock, AfterUse::Keep);
    assert_eq!(post.verify(&mut card, PIN, false), Ok(()));
    (card.tries_left, card.verified) = (2, false);
    assert!(!post.look(&mut card).unwrap().ready);
    assert_eq!(post.dh(&mut card), Err(Error::Locked));
    assert_eq!(card.asked(), ["verify", "agree"]);
    // and what was told to be locked stays so until somebody types
    card.tries_left = 3;
    assert_eq!(post.dh(&mut card), Err(Error::Locked));
}

/// How a card is left, and whether a second Diffie-Hellman would be answered without a word from the user.
#[test]
fn after_each_use_the_card_is_left_as_policy_wants_it() {
    let table: [(AfterUse, PinLife, &[&str], bool); 6] = [
        (AfterUse::Keep, PinLife::Ask, &[], true),
        (AfterUse::Unverify, PinLife::Ask, &["unverify"], false),
        (AfterUse::Reset, PinLife::Ask, &["reset"], false),
        (AfterUse::Keep, PinLife::UntilLock, &[], true),
        (AfterUse::Unverify, PinLife::UntilLock, &["unverify"], true),
        (AfterUse::Reset, PinLife::UntilLock, &["reset"], true),
    ];
    for (after_use, pin, parting, ready) in table {
        let mut card = Card::held();
        let post = Post::new(&card, pin, after_use);
        assert_eq!(post.verify(&mut card, PIN, false), Ok(()));
        assert_eq!(post.dh(&mut card), Ok(ready), "{after_use:?} {pin:?}");
        assert_eq!(card.asked(), [&["verify", "agree"], parting].concat());
        assert_eq!(post.dh(&mut card).is_ok(), ready);
        assert_eq!(card.verified, after_use == AfterUse::Keep);

        // an opened key needs no card any more, and so the user is not asked for this
        let mut card = Card::for_sealed();
        let post = Post::new(&card, pin, after_use);
        assert_eq!(post.verify(&mut card, PIN, false), Ok(()));
        assert_eq!(card.asked(), [&["verify", "answer"], parting].concat());
        assert!(post.look(&mut card).unwrap().ready);
    }
}

#[test]
fn a_card_that_cannot_forget_is_reset() {
    let mut card = Card::held();
    card.forgets = false;
    let post = Post::new(&card, PinLife::Ask, AfterUse::Unverify);
    post.verify(&mut card, PIN, false).unwrap();
    assert_eq!(post.dh(&mut card), Ok(false));
    assert!(!card.verified);

    card.verified = true;
    let (locked, parting) = post.attendant.lock(&mut card);
    assert_eq!((locked, parting), (Ok(()), Parting::Reset));
}

#[test]
fn a_seal_for_another_serial_number_is_refused_before_the_pin() {
    let mut card = Card::for_sealed();
    let mut post = Post::new(&card, PinLife::Ask, AfterUse::Keep);
    let file = sealed::seal(&PRIVATE, Method::EcdhP256, &card.public(), "0006:99999999");
    post.attendant.binding.source = KeySource::Sealed(SealedKey::parse(&file.unwrap()).unwrap());
    assert_eq!(post.look(&mut card), Err(Error::OtherKey));
}

#[test]
fn a_key_that_was_sealed_to_another_card_does_not_open() {
    let (card, mut other) = (Card::for_sealed(), Card::for_sealed());
    let post = Post::new(&card, PinLife::Ask, AfterUse::Keep);
    let closed = Error::SealedKey(sealed::Error::Closed);
    assert_eq!(post.verify(&mut other, PIN, false), Err(closed));
    assert!(!post.keeper.has_key());
}

/// A certificate for a public key, valid from then on for a year, and the rule that trusts its issuer.
fn certify(key: &CardKey, year: i32) -> (Vec<u8>, certificate::Rule) {
    let mut authority = rcgen::CertificateParams::default();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut rule = certificate::Rule::default();
    let root = authority.self_signed(&authority_key).unwrap();
    rule.trust(root.der()).unwrap();

    let mut leaf = rcgen::CertificateParams::default();
    leaf.distinguished_name = rcgen::DistinguishedName::new();
    leaf.distinguished_name
        .push(rcgen::DnType::CommonName, "Kim Svensson");
    leaf.not_before = rcgen::date_time_ymd(year, 1, 1);
    leaf.not_after = rcgen::date_time_ymd(year + 1, 1, 1);
    let public = rcgen::SubjectPublicKeyInfo::from_der(&key.to_spki()).unwrap();
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let leaf = leaf.signed_by(&public, &issuer).unwrap();
    (leaf.der().to_vec(), rule)
}

fn as_source(rule: certificate::Rule) -> certificate::Source {
    certificate::Source::new(move || Ok(rule.clone()))
}

#[test]
fn a_card_serves_only_with_the_certificate_that_policy_wants() {
    let mut card = Card::for_sealed();
    let (good, rule) = certify(&card.public(), 2027);
    let mut post = Post::new(&card, PinLife::Ask, AfterUse::Keep);
    card.certificate = Some(good.clone());
    assert_eq!(post.look(&mut card).unwrap().subject, None, "nobody asked");
    post.attendant.certificate = Some(as_source(rule));
    let subject = post.look(&mut card).unwrap().subject;
    assert_eq!(subject.as_deref(), Some("CN=Kim Svensson"));

    let missing = Err(Error::Certificate(certificate::Refusal::Missing));
    card.certificate = None;
    assert_eq!(post.look(&mut card), missing);
    // of a key that was replaced
    let (foreign, rule) = certify(&Card::for_sealed().public(), 2027);
    card.certificate = Some(foreign);
    post.attendant.certificate = Some(as_source(rule));
    assert_eq!(post.look(&mut card), missing);

    let (expired, rule) = certify(&card.public(), 2025);
    card.certificate = Some(expired);
    post.attendant.certificate = Some(as_source(rule));
    assert!(matches!(
        post.look(&mut card),
        Err(Error::Certificate(certificate::Refusal::Expired { .. }))
    ));
    card.certificate = Some(good);
    assert!(matches!(
        post.look(&mut card),
        Err(Error::Certificate(certificate::Refusal::Untrusted { .. }))
    ));
}
