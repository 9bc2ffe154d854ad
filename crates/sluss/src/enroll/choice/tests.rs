//! What people with one card, two cards and used cards expect to be chosen.

use sluss_ipc::{CardKind, SCHEMA, enroll::Bound};

use super::*;

const SERIAL: &str = "0006:00000001";

fn place(id: &str, found: FoundKey, makes: &[Algorithm]) -> CandidateKey {
    CandidateKey {
        id: id.to_owned(),
        found,
        makes: makes.to_vec(),
    }
}

fn fit(mode: KeyMode, algorithm: Algorithm) -> FoundKey {
    FoundKey::Fit {
        mode,
        algorithm,
        subject: None,
        signs: false,
    }
}

fn card(reader: &str, serial: &str, key: CandidateKey) -> Candidate {
    Candidate {
        reader: reader.to_owned(),
        serial: serial.to_owned(),
        kind: CardKind::OpenPgp,
        tries_left: Some(3),
        pin_pad: false,
        keys: vec![key],
    }
}

fn held(reader: &str, serial: &str) -> Candidate {
    let found = fit(KeyMode::Held, Algorithm::X25519);
    card(
        reader,
        serial,
        place("openpgp:dec", found, &[Algorithm::X25519]),
    )
}

fn sealed(reader: &str, serial: &str) -> Candidate {
    let found = fit(KeyMode::Sealed, Algorithm::P256);
    card(reader, serial, place("piv:9d", found, &[Algorithm::P256]))
}

fn blank(reader: &str, serial: &str) -> Candidate {
    let key = place("openpgp:dec", FoundKey::Empty, &[Algorithm::X25519]);
    card(reader, serial, key)
}

fn survey(cards: Vec<Candidate>) -> Survey {
    Survey {
        schema: SCHEMA,
        bound: None,
        cards,
        others: Vec::new(),
    }
}

fn bound(cards: Vec<Candidate>, serial: &str, key: &str, mode: KeyMode) -> Survey {
    Survey {
        bound: Some(Bound {
            serial: serial.to_owned(),
            key: key.to_owned(),
            mode,
            public_key: String::new(),
            addresses: vec!["10.20.255.7/32".to_owned()],
            preshared_key: false,
        }),
        ..survey(cards)
    }
}

const MAKE: Wishes<'_> = Wishes {
    card: None,
    key: None,
    make: true,
    replace: false,
};

#[test]
fn a_held_key_is_taken_before_one_that_is_sealed_to() {
    // one card with two applications
    let survey = survey(vec![sealed("one", "piv 1"), held("one", SERIAL)]);
    let plan = choose(&survey, Wishes::default()).unwrap();
    assert_eq!(
        (plan.key.id.as_str(), plan.mode),
        ("openpgp:dec", KeyMode::Held)
    );
    assert!(!plan.make && plan.losses.is_empty());
    let wishes = Wishes {
        key: Some("piv:9d"),
        ..Wishes::default()
    };
    assert_eq!(choose(&survey, wishes).unwrap().mode, KeyMode::Sealed);
}

#[test]
fn between_two_cards_a_person_chooses() {
    let survey = survey(vec![held("one", SERIAL), sealed("two", "piv 2")]);
    let both = Undecided::SeveralCards(vec![SERIAL, "piv 2"]);
    assert_eq!(choose(&survey, Wishes::default()), Err(both));
    let wishes = Wishes {
        card: Some("piv 2"),
        ..Wishes::default()
    };
    assert_eq!(choose(&survey, wishes).unwrap().card.serial, "piv 2");
    let wishes = Wishes {
        card: Some("piv 3"),
        ..Wishes::default()
    };
    assert_eq!(choose(&survey, wishes), Err(Undecided::NoSuchCard));
    let wishes = Wishes {
        key: Some("pkcs11:01"),
        ..Wishes::default()
    };
    assert_eq!(choose(&survey, wishes), Err(Undecided::NoSuchKey));
}

#[test]
fn the_key_that_the_laptop_is_bound_to_is_kept() {
    let cards = || vec![held("one", SERIAL), sealed("two", "piv 2")];
    let survey = bound(cards(), "piv 2", "piv:9d", KeyMode::Sealed);
    let plan = choose(&survey, Wishes::default()).unwrap();
    assert_eq!(plan.card.serial, "piv 2");
    assert_eq!(plan.losses, []);
}

#[test]
fn a_new_card_costs_the_old_binding() {
    let survey = bound(
        vec![held("one", SERIAL)],
        "old",
        "openpgp:dec",
        KeyMode::Held,
    );
    let plan = choose(&survey, Wishes::default()).unwrap();
    assert_eq!(plan.losses, [Loss::Binding("old")]);
}

#[test]
fn a_sealed_key_is_made_anew_only_where_it_may_be_lost() {
    let replace = Wishes {
        replace: true,
        ..Wishes::default()
    };
    let survey = bound(
        vec![sealed("one", "piv 1")],
        "piv 1",
        "piv:9d",
        KeyMode::Sealed,
    );
    assert_eq!(choose(&survey, Wishes::default()).unwrap().losses, []);
    assert_eq!(
        choose(&survey, replace).unwrap().losses,
        [Loss::Binding("piv 1")]
    );

    let survey = bound(
        vec![held("one", SERIAL)],
        SERIAL,
        "openpgp:dec",
        KeyMode::Held,
    );
    assert_eq!(
        choose(&survey, replace).unwrap().losses,
        [],
        "it stays the same key"
    );
}

#[test]
fn a_key_is_made_where_there_is_none_and_only_when_told() {
    let survey = survey(vec![blank("one", SERIAL)]);
    let Err(Undecided::CouldMake(plan)) = choose(&survey, Wishes::default()) else {
        panic!("decided");
    };
    let told = choose(&survey, MAKE).unwrap();
    assert_eq!(*plan, told);
    assert!(told.make && told.losses.is_empty() && told.mode == KeyMode::Held);
}

#[test]
fn making_prefers_the_place_where_nothing_is_lost() {
    let used = survey(vec![held("one", SERIAL)]);
    assert_eq!(choose(&used, MAKE).unwrap().losses, [Loss::Key(SERIAL)]);
    let mut both = held("one", SERIAL);
    let empty = place("pkcs11:02", FoundKey::Empty, &[Algorithm::P256]);
    both.keys.push(empty);
    let both = survey(vec![both]);
    assert_eq!(choose(&both, MAKE).unwrap().key.id, "pkcs11:02");
}

#[test]
fn nothing_that_fits_is_told_with_the_reasons() {
    assert_eq!(choose(&survey(vec![]), MAKE), Err(Undecided::NoCard(&[])));
    let unfit = FoundKey::Unfit {
        fault: KeyFault::Forbidden,
    };
    let survey = survey(vec![card("one", SERIAL, place("piv:9d", unfit, &[]))]);
    let why = Undecided::Unfit(vec![("piv:9d", KeyFault::Forbidden)]);
    assert_eq!(choose(&survey, Wishes::default()), Err(why));
    assert_eq!(choose(&survey, MAKE), Err(Undecided::CannotMake));
}
