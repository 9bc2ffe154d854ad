//! What the application does, against scripts taken from the specification and from recorded cards.

use super::*;
use crate::Pin;
use crate::script::{Noise, Script, hex};
use zeroize::Zeroizing;

const AID: (&str, &str) = ("00CA004F00", "D276000124010304 0006 12345678 0000 9000");
const DESCRIPTION: &str = "6E 36 4F10 D276000124010304000612345678 0000 \
     73 22 C20B 122B060104019755010501 C407 00 7F 7F 7F 03 00 03 C50A 00000000000000000000 9000";
const KEY: &str =
    "7F4922 8620 0909090909090909090909090909090909090909090909090909090909090909 9000";

fn pin(text: &str) -> PinEntry {
    PinEntry::Typed(Pin::new(Zeroizing::new(text.as_bytes().to_vec())).unwrap())
}

fn describe(exchanges: &[(&str, &str)]) -> Result<Description, Error> {
    Session::open(&mut Script::new(exchanges))?.describe()
}

#[test]
fn a_card_describes_itself_without_a_try_spent() {
    let card = describe(&[
        AID,
        ("00CA006E00", DESCRIPTION),
        ("00CA00F900", "6A88"),
        ("00478100 02 B800 00", KEY),
        ("00CA00C400", "00 7F 7F 7F 03 00 03 9000"),
        ("00200082", "63C3"),
    ]);
    let expected = Description {
        serial: "0006:12345678".into(),
        kind: CardKind::OpenPgp,
        key: CardKey::X25519([9; 32]),
        certificate: None,
        pin: PinStatus {
            tries_left: 3,
            shortest: 6,
            longest: 127,
            verified: false,
            pad: false,
        },
    };
    assert_eq!(card, Ok(expected));
}

#[test]
fn another_programs_application_is_switched_away_from() {
    let select = ("00A40400 06 D27600012401 00", "9000");
    for elsewhere in ["6D00", "6A88", "A000000308 9000"] {
        let mut card = Script::new(&[("00CA004F00", elsewhere), select, AID]);
        assert_eq!(Session::open(&mut card).unwrap().serial(), "0006:12345678");
    }
}

#[test]
fn a_card_without_the_application_is_named() {
    let open = |status| {
        Session::open(&mut Script::new(&[
            ("00CA004F00", "6D00"),
            ("00A4040006D2760001240100", status),
        ]))
        .err()
    };
    assert_eq!(open("6A82"), Some(Error::NoApplet(CardKind::OpenPgp)));
    let terminated = Error::Refused {
        step: "select the OpenPGP application",
        status: StatusWord(0x6285),
    };
    assert_eq!(open("6285"), Some(terminated));
}

#[test]
fn cards_that_cannot_serve_say_why() {
    let rsa = DESCRIPTION.replace(
        "C20B 122B060104019755010501",
        "C20B 01080000200001020304 05",
    );
    assert_eq!(
        describe(&[AID, ("00CA006E00", &rsa)]),
        Err(Error::Unsupported)
    );

    let hashed = "8101 03 8201 08 8304 00000100 9000";
    assert_eq!(
        describe(&[AID, ("00CA006E00", DESCRIPTION), ("00CA00F900", hashed)]),
        Err(Error::HashedPin)
    );

    let empty = [
        AID,
        ("00CA006E00", DESCRIPTION),
        ("00CA00F900", "8101 00 9000"),
        ("00478100 02 B800 00", "6A88"),
    ];
    assert_eq!(describe(&empty), Err(Error::NoKey));
}

#[test]
fn a_prefixed_key_and_the_newer_curve_name_are_taken() {
    let newer = DESCRIPTION
        .replace(
            "73 22 C20B 122B060104019755010501",
            "73 1C C205 122B656E FF",
        )
        .replace("6E 36", "6E 30");
    let prefixed = KEY.replace("7F4922 8620", "7F4923 8621 40");
    let card = describe(&[
        AID,
        ("00CA006E00", &newer),
        ("00CA00F900", "9000"),
        ("00478100 02 B800 00", &prefixed),
        ("00CA00C400", "00 7F 7F 7F 03 00 03 9000"),
        ("00200082", "9000"),
    ]);
    assert_eq!(
        card.map(|card| (card.key, card.pin.verified)),
        Ok((CardKey::X25519([9; 32]), true))
    );
}

/// What VERIFY answers, and the tries left if they have to be read.
fn verify(answer: &str, after: Option<u8>) -> Result<(), Error> {
    let after = after.map(|left| format!("00 20 20 20 {left:02X} 00 03 9000"));
    let mut script = vec![AID, ("00200082 06 313233343536", answer)];
    if let Some(after) = &after {
        script.extend([("00CA00C400", after.as_str()), ("00200082", "6982")]);
    }
    Session::open(&mut Script::new(&script))
        .unwrap()
        .verify(&pin("123456"))
}

#[test]
fn a_wrong_pin_tells_the_tries_left() {
    assert_eq!(verify("9000", None), Ok(()));
    for (answer, after, left) in [("63C2", None, 2), ("6982", Some(2), 2), ("63C1", None, 1)] {
        assert_eq!(verify(answer, after), Err(Error::WrongPin { left }));
    }
    for (answer, after) in [("63C0", None), ("6983", None), ("6982", Some(0))] {
        assert_eq!(verify(answer, after), Err(Error::Blocked));
    }
}

fn dh(answer: &str) -> Result<[u8; 32], Error> {
    let command = format!("002A8086 27 A625 7F4922 8620 {} 00", "42".repeat(32));
    let mut card = Script::new(&[AID, (&command, answer)]);
    Session::open(&mut card)
        .unwrap()
        .agree(&[0x42; 32])
        .map(|secret| *secret.as_bytes())
}

#[test]
fn a_diffie_hellman_is_32_bytes_and_not_zero() {
    let step = "compute the Diffie-Hellman";
    assert_eq!(dh(&format!("{} 9000", "07".repeat(32))), Ok([7; 32]));
    assert_eq!(
        dh(&format!("{} 9000", "00".repeat(32))),
        Err(Error::ZeroSecret)
    );
    assert_eq!(dh("6982"), Err(Error::Locked));
    assert_eq!(
        dh("6A80"),
        Err(Error::Refused {
            step,
            status: StatusWord(0x6A80)
        })
    );
    for length in [0, 31, 33, 255] {
        assert_eq!(
            dh(&format!("{} 9000", "07".repeat(length))),
            Err(Error::Nonsense {
                step,
                what: "not 32 bytes"
            })
        );
    }
}

#[test]
fn locking_is_believed_only_when_seen() {
    let lock = |exchanges: [(&str, &str); 3]| {
        Session::open(&mut Script::new(&exchanges))
            .unwrap()
            .unverify()
    };
    assert_eq!(
        lock([AID, ("0020FF82", "9000"), ("00200082", "63C3")]),
        Ok(())
    );
    assert_eq!(
        lock([AID, ("0020FF82", "6B00"), ("00200082", "63C3")]),
        Ok(())
    );
    let refused = Error::Refused {
        step: "forget the PIN",
        status: StatusWord(0x6B00),
    };
    assert_eq!(
        lock([AID, ("0020FF82", "6B00"), ("00200082", "9000")]),
        Err(refused)
    );
}

/// A card that is right up to a point and then answers noise, a truncated answer, one bit flipped, far too much, or for ever.
#[test]
fn noise_is_an_error_and_neither_panics_nor_grows() {
    let sound: Vec<(Vec<u8>, Vec<u8>)> = [
        AID,
        ("00CA006E00", DESCRIPTION),
        ("00CA00F900", "6A88"),
        ("00478100 02 B800 00", KEY),
        ("00CA00C400", "00 7F 7F 7F 03 00 03 9000"),
        ("00200082", "63C3"),
    ]
    .map(|(command, response)| (hex(command), hex(response)))
    .to_vec();
    let seed = 0x5155_5353_u64;
    println!("seed {seed:#x}");
    let mut noise = Noise(seed);
    let mut refused = 0;
    let mut before = None;
    for conversation in 0..20_000 {
        if conversation == 5_000 {
            before = resident_pages();
        }
        let mut card = |command: &[u8]| {
            let answer = sound
                .iter()
                .find(|(known, _)| known == command)
                .map_or(vec![0x90, 0], |(_, answer)| answer.clone());
            Ok(noise.spoil(answer))
        };
        let outcome = Session::open(&mut card).and_then(|mut session| {
            session.describe()?;
            session.verify(&pin("123456"))?;
            session.agree(&[9; 32])?;
            session.unverify()
        });
        refused += u32::from(outcome.is_err());
    }
    assert!(
        refused > 10_000,
        "only {refused} were noticed: the noise is too quiet to show anything"
    );
    // Other tests of this process run meanwhile; keeping the answers would take ten times as much.
    if let (Some(before), Some(after)) = (before, resident_pages()) {
        assert!(
            after < before + 4_096,
            "grew from {before} to {after} pages"
        );
    }
}

/// The process's memory in pages (proc(5), statm), where the host tells it.
fn resident_pages() -> Option<u64> {
    std::fs::read_to_string("/proc/self/statm")
        .ok()?
        .split(' ')
        .nth(1)?
        .parse()
        .ok()
}
