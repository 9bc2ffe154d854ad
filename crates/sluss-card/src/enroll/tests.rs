//! What an administrator with a drawer full of cards relies on.

mod paper;
mod token;

use super::*;
use crate::certificate::Certificate;
use crate::sealed::Method;
use crate::{KeySource, openpgp, x25519};
use paper::{ADMIN_PIN, PIN, PaperCard, Pulled, SERIAL};
use token::{PaperToken, Use};
use zeroize::Zeroizing;

const OLD_KEY: [u8; 32] = [0x0D; 32];

fn terms() -> Terms {
    Terms {
        modes: vec![KeyMode::Held, KeyMode::Sealed],
        signature_wrap: false,
        allow_factory_pin: false,
        certificate: None,
        now: Duration::from_secs(1_795_373_220),
        deadline: Instant::now() + Duration::from_secs(60),
    }
}

fn pin(bytes: &[u8]) -> Pin {
    Pin::new(Zeroizing::new(bytes.to_vec())).unwrap()
}

/// To take what is there.
fn order() -> Order {
    Order {
        serial: SERIAL.to_owned(),
        id: KeyId::OpenPgp,
        make: None,
        replace: Vec::new(),
        bound: None,
        pin: PinEntry::Typed(pin(PIN)),
        last_try_consented: false,
        admin_pin: None,
    }
}

/// To make a key.
fn making() -> Order {
    Order {
        make: Some(Algorithm::X25519),
        admin_pin: Some(pin(ADMIN_PIN)),
        ..order()
    }
}

fn carry_out(card: &mut PaperCard, order: &Order) -> Result<Enrolment, Error> {
    let mut session = openpgp::Session::open(card)?;
    perform::perform(&mut session, &terms(), order, &mut |_| String::new())
}

fn bound_to(public_key: [u8; 32], serial: &str) -> Binding {
    Binding {
        serial: serial.to_owned(),
        public_key,
        id: KeyId::OpenPgp,
        source: KeySource::Held,
    }
}

#[test]
fn a_key_that_is_there_is_taken_and_nothing_on_the_card_changes() {
    let mut card = PaperCard::with_key(OLD_KEY);
    let done = carry_out(&mut card, &order()).unwrap();
    assert_eq!(done.binding.public_key, x25519::public_key(&OLD_KEY));
    assert_eq!(done.binding.serial, SERIAL);
    assert!(!done.made && done.signature.is_none());
    assert_eq!((card.generated, card.tried), (0, 1));
}

#[test]
fn a_blank_card_gets_a_key_with_a_fingerprint_that_others_see() {
    let mut card = PaperCard::blank();
    assert_eq!(
        carry_out(&mut card, &order()).err(),
        Some(Error::Card(crate::Error::Unsupported)),
        "its slot is for RSA"
    );
    let done = carry_out(&mut card, &making()).unwrap();
    assert_eq!(Some(done.binding.public_key), card.public_key());
    assert!(done.made);
    assert_ne!(card.fingerprint, [0; 20]);
}

#[test]
fn no_key_is_overwritten_without_leave_for_that_very_card() {
    let mut card = PaperCard::with_key(OLD_KEY);
    for replace in [
        vec![],
        vec!["FFFE:00000008".to_owned()],
        vec![String::new()],
    ] {
        let order = Order {
            replace,
            ..making()
        };
        assert_eq!(carry_out(&mut card, &order).err(), Some(Error::KeyExists));
    }
    assert_eq!(
        (card.key, card.tried),
        (Some(OLD_KEY), 0),
        "nor a PIN tried"
    );

    let order = Order {
        replace: vec![SERIAL.to_owned()],
        ..making()
    };
    carry_out(&mut card, &order).unwrap();
    assert_eq!(card.generated, 1);
}

#[test]
fn a_binding_to_another_card_is_not_lost_without_leave() {
    let mut card = PaperCard::with_key(OLD_KEY);
    let other = || Some(bound_to([9; 32], "FFFE:00000008"));
    for mut order in [order(), making()] {
        order.bound = other();
        order.replace = vec![SERIAL.to_owned()];
        assert_eq!(
            carry_out(&mut card, &order).err(),
            Some(Error::AlreadyBound)
        );
    }
    assert_eq!((card.key, card.tried), (Some(OLD_KEY), 0));
    let order = Order {
        bound: other(),
        replace: vec!["FFFE:00000008".to_owned()],
        ..order()
    };
    assert!(carry_out(&mut card, &order).is_ok());
}

#[test]
fn the_same_key_again_needs_no_leave() {
    let mut card = PaperCard::with_key(OLD_KEY);
    let public_key = x25519::public_key(&OLD_KEY);
    let again = Order {
        bound: Some(bound_to(public_key, SERIAL)),
        ..order()
    };
    assert_eq!(
        carry_out(&mut card, &again).unwrap().binding.public_key,
        public_key
    );
    // somebody else has made a new key on the card since
    let changed = Order {
        bound: Some(bound_to([9; 32], SERIAL)),
        ..order()
    };
    assert_eq!(
        carry_out(&mut card, &changed).err(),
        Some(Error::AlreadyBound)
    );
}

#[test]
fn a_wrong_pin_is_found_before_a_key_is_made() {
    let mut card = PaperCard::blank();
    let order = Order {
        pin: PinEntry::Typed(pin(b"111111")),
        ..making()
    };
    let wrong = Error::Card(crate::Error::WrongPin { left: 2 });
    assert_eq!(carry_out(&mut card, &order).err(), Some(wrong));
    assert_eq!((card.generated, card.tried), (0, 1));

    let factory = Order {
        pin: PinEntry::Typed(pin(b"123456")),
        ..making()
    };
    let refused = Error::Card(crate::Error::FactoryPin);
    assert_eq!(carry_out(&mut card, &factory).err(), Some(refused));
    assert_eq!(card.tried, 1);
}

#[test]
fn the_administrators_tries_are_not_spent_either() {
    let mut card = PaperCard::blank();
    let with = |admin_pin: Option<&[u8]>| Order {
        admin_pin: admin_pin.map(pin),
        ..making()
    };
    let tell = |card: &mut PaperCard, admin_pin| carry_out(card, &with(admin_pin)).err();
    assert_eq!(tell(&mut card, None), Some(Error::AdminPinNeeded));
    assert_eq!(
        tell(&mut card, Some(b"1234567")),
        Some(Error::AdminPinFormat)
    );
    assert_eq!(card.tries, [3, 3]);
    for left in [2, 1] {
        let wrong = Error::WrongAdminPin { left: Some(left) };
        assert_eq!(tell(&mut card, Some(b"11111111")), Some(wrong));
    }
    let last = Some(Error::Card(crate::Error::OneTryLeft));
    assert_eq!(tell(&mut card, Some(ADMIN_PIN)), last);
    let consented = Order {
        last_try_consented: true,
        ..with(Some(b"11111111"))
    };
    assert_eq!(
        carry_out(&mut card, &consented).err(),
        Some(Error::AdminPinBlocked)
    );
    assert_eq!(
        tell(&mut card, Some(ADMIN_PIN)),
        Some(Error::AdminPinBlocked)
    );
    assert_eq!(card.generated, 0);
}

#[test]
fn a_card_that_computes_something_else_is_not_bound() {
    let mut card = PaperCard::with_key(OLD_KEY);
    card.broken = true;
    assert_eq!(carry_out(&mut card, &order()).err(), Some(Error::Unproven));
}

#[test]
fn what_policy_forbids_is_not_tried() {
    let mut card = PaperCard::with_key(OLD_KEY);
    let sealed_only = Terms {
        modes: vec![KeyMode::Sealed],
        ..terms()
    };
    let certified = Terms {
        certificate: Some(Rule::default()),
        ..terms()
    };
    let missing = crate::Error::Certificate(crate::certificate::Refusal::Missing);
    for (terms, error) in [(sealed_only, Error::Forbidden), (certified, missing.into())] {
        for order in [order(), making()] {
            let mut session = openpgp::Session::open(&mut card).unwrap();
            let done = perform::perform(&mut session, &terms, &order, &mut |_| String::new());
            assert_eq!(done.err(), Some(error.clone()));
        }
    }
    assert_eq!((card.tried, card.generated), (0, 0));
}

/// Power cut, pulled card, killed daemon: at each command that goes to the card, before it is done and after.
#[test]
fn wherever_it_breaks_off_the_same_can_be_done_again_and_no_key_is_lost() {
    let mut whole = PaperCard::blank();
    carry_out(&mut whole, &making()).unwrap();
    assert!(whole.commands > 10, "{} commands", whole.commands);
    let mut finished_without_making = 0;
    for limit in 1..=whole.commands {
        for pulled in [Pulled::Before, Pulled::After] {
            let mut card = PaperCard::blank();
            card.pulled = Some((limit, pulled));
            let broken_off = carry_out(&mut card, &making()).err();
            let gone = Some(Error::Card(crate::Error::Gone));
            assert_eq!(broken_off, gone, "{pulled:?} command {limit}");
            assert_eq!(card.tries, [3, 3], "{pulled:?} command {limit}");

            card.insert();
            let before = card.generated;
            let again = match carry_out(&mut card, &making()) {
                // a key is there, and is not made a second time: it is taken
                Err(Error::KeyExists) => {
                    finished_without_making += 1;
                    card.insert();
                    carry_out(&mut card, &order())
                }
                done => done,
            };
            let again = again.unwrap_or_else(|error| panic!("{pulled:?} {limit}: {error}"));
            assert_eq!(Some(again.binding.public_key), card.public_key());
            assert_eq!(card.generated, 1, "{pulled:?} command {limit}");
            assert!(before <= 1);
        }
    }
    assert!(finished_without_making > 0, "it never broke off late");
}

fn seal(token: &mut PaperToken, terms: &Terms, order: &Order) -> Result<Enrolment, Error> {
    perform::perform(token, terms, order, &mut |key| {
        format!("{:?}", key.public_key)
    })
}

fn for_token() -> Order {
    Order {
        serial: token::SERIAL.to_owned(),
        id: KeyId::Pkcs11(vec![1]),
        ..order()
    }
}

fn method(done: &Enrolment) -> Method {
    match &done.binding.source {
        KeySource::Sealed(sealed) => sealed.method(),
        KeySource::Held => panic!("held"),
    }
}

#[test]
fn a_key_is_sealed_by_the_best_method_that_the_token_has() {
    use Use::{Oaep, Pkcs1, Sign};
    let wrap = Terms {
        signature_wrap: true,
        ..terms()
    };
    for (mut token, terms, expected) in [
        (PaperToken::p256(), &wrap, Some(Method::EcdhP256)),
        (PaperToken::rsa(&[]), &wrap, Some(Method::RsaOaepSha256)),
        (PaperToken::rsa(&[Oaep]), &wrap, Some(Method::RsaPkcs1)),
        (
            PaperToken::rsa(&[Oaep, Pkcs1]),
            &wrap,
            Some(Method::RsaSignature),
        ),
        // the last choice is policy's
        (PaperToken::rsa(&[Oaep, Pkcs1]), &terms(), None),
        (PaperToken::rsa(&[Oaep, Pkcs1, Sign]), &wrap, None),
    ] {
        let done = seal(&mut token, terms, &for_token());
        assert_eq!(
            done.as_ref().map(method).ok(),
            expected,
            "{:?}",
            token.refuses
        );
        if let Ok(done) = done {
            assert_eq!(done.signature.is_some(), expected != Some(Method::EcdhP256));
        }
    }
}

#[test]
fn a_token_that_does_not_open_what_was_sealed_to_it_is_not_bound() {
    for mut token in [PaperToken::p256(), PaperToken::rsa(&[Use::Sign])] {
        token.broken = true;
        let done = seal(&mut token, &terms(), &for_token());
        assert_eq!(done.err(), Some(Error::Unproven));
    }
}

#[test]
fn a_sealed_key_stays_the_same_until_it_may_be_replaced() {
    let mut token = PaperToken::p256();
    let first = seal(&mut token, &terms(), &for_token()).unwrap();
    let again = |replace: &[&str]| Order {
        bound: Some(first.binding.clone()),
        replace: replace.iter().map(|&serial| serial.to_owned()).collect(),
        ..for_token()
    };
    let second = seal(&mut token, &terms(), &again(&[])).unwrap();
    assert_eq!(second.binding.public_key, first.binding.public_key);
    assert_eq!(method(&second), method(&first));
    let third = seal(&mut token, &terms(), &again(&[token::SERIAL])).unwrap();
    assert_ne!(third.binding.public_key, first.binding.public_key);
    // another token with the same number
    let mut stranger = PaperToken::p256();
    let refused = seal(&mut stranger, &terms(), &again(&[]));
    assert_eq!(refused.err(), Some(Error::AlreadyBound));
}

#[test]
fn a_certificate_that_holds_a_key_is_one_that_others_can_read() {
    let now = Duration::from_secs(1_795_373_220);
    for key in [
        CardKey::X25519(x25519::public_key(&OLD_KEY)),
        CardKey::from_rsa(&[0xC5; 256], &[1, 0, 1]).unwrap(),
    ] {
        let der = holder::certificate(&key, now).unwrap();
        assert_eq!(CardKey::from_certificate(&der), Some(key.clone()));
        let certificate = Certificate::read(&der).unwrap();
        assert_eq!(certificate.subject, "CN=Sluss");
        assert_eq!(certificate.not_before, now.as_secs());
        let anyone = Rule::default();
        assert!(anyone.check(&der, &[], now).is_err(), "no rule believes it");
    }
}
