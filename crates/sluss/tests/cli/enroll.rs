//! `sluss enroll` as root types it, and as an administrator checks what came of it.

use std::{fs, path::Path};

use sluss_ipc::{
    Algorithm, Call, CardFault, CardKind, KeyMode, Refusal, Response, SCHEMA,
    enroll::{
        Bound, Candidate, CandidateKey, Enrolled, EnrolmentFault, FoundKey, KeyFault, OtherCard,
        Survey,
    },
};
use tempfile::TempDir;

use crate::{
    DONE, NOT_SO, USAGE,
    daemon::{Daemon, sluss},
    ends, err, out,
    terminal::Terminal,
};

const SERIAL: &str = "0006:12345678";

/// As `sluss_policy` writes it for a held key.
const REQUEST: &str = r#"# Sluss enrolment request. Check it before you use it: sluss enroll --verify FILE
schema = 1
device = "laptop-0417"
made = 2026-11-22T18:47:00Z
addresses = ["10.20.255.7/32", "fd20::ff07/128"]
public_key = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
preshared_key = true

[card]
serial = "0006:12345678"
key = "openpgp:dec"
mode = "held"
algorithm = "X25519"

[signature]
method = "none"
reason = "x25519"
"#;

const PEER: &str = "[Peer]\n\
    # laptop-0417, card 0006:12345678\n\
    PublicKey = xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=\n\
    AllowedIPs = 10.20.255.7/32, fd20::ff07/128\n\
    # and PresharedKey, as the laptop was given it\n";

fn card(found: FoundKey, tries_left: u8) -> Candidate {
    Candidate {
        reader: "ACS ACR39U 00 00".to_owned(),
        serial: SERIAL.to_owned(),
        kind: CardKind::OpenPgp,
        tries_left: Some(tries_left),
        pin_pad: false,
        keys: vec![CandidateKey {
            id: "openpgp:dec".to_owned(),
            found,
            makes: vec![Algorithm::X25519],
        }],
    }
}

fn held() -> FoundKey {
    FoundKey::Fit {
        mode: KeyMode::Held,
        algorithm: Algorithm::X25519,
        subject: None,
        signs: false,
    }
}

fn bound_to(serial: &str) -> Option<Bound> {
    Some(Bound {
        serial: serial.to_owned(),
        key: "openpgp:dec".to_owned(),
        mode: KeyMode::Held,
        public_key: "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=".to_owned(),
        addresses: vec!["10.20.255.7/32".to_owned()],
        preshared_key: false,
    })
}

fn survey(cards: Vec<Candidate>) -> Survey {
    Survey {
        schema: SCHEMA,
        bound: None,
        cards,
        others: Vec::new(),
    }
}

/// A daemon that sees this and does what it is told.
fn enrolling(survey: Survey) -> Daemon {
    Daemon::serving(move |call| {
        vec![match call {
            Call::Survey => Response::Survey(survey.clone()),
            _ => Response::Enrolled(Enrolled {
                schema: SCHEMA,
                public_key: "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=".to_owned(),
                mode: KeyMode::Held,
                request: REQUEST.to_owned(),
                signed: false,
            }),
        }]
    })
}

/// A folder with the file that the request is to be saved in.
fn drawer() -> (TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("request.toml").display().to_string();
    (directory, file)
}

#[test]
fn a_person_is_asked_for_everything_that_is_missing_one_by_one() {
    let daemon = enrolling(survey(vec![card(FoundKey::Empty, 3)]));
    let (_directory, file) = drawer();
    let arguments = ["enroll", "--name", "laptop-0417", "--out", &file];
    let mut terminal = Terminal::run(daemon.command(&arguments));
    terminal.waits_for("Make one (X25519)? [yes/no] ");
    terminal.types("yes\n");
    terminal.waits_for("new key openpgp:dec, held in the card (X25519)");
    terminal.waits_for("such as 10.20.255.7/32: ");
    terminal.types("10.20.255.7/32, fd20::ff07/128\n");
    terminal.waits_for("PIN: ");
    assert!(!terminal.echoes());
    terminal.types("424242\r");
    terminal.waits_for("administrator PIN (PW3): ");
    assert!(!terminal.echoes());
    terminal.types("87654321\r");
    let shown = terminal.ended(DONE);
    assert!(
        !shown.contains("424242") && !shown.contains("87654321"),
        "{shown}"
    );
    assert!(shown.contains("could not sign the request"), "{shown}");
    assert_eq!(fs::read_to_string(&file).unwrap(), REQUEST);

    let [order] = &daemon.orders()[..] else {
        panic!("one order");
    };
    assert_eq!(
        (order.serial.as_str(), order.key.as_str()),
        (SERIAL, "openpgp:dec")
    );
    assert_eq!(order.make, Some(Algorithm::X25519));
    assert_eq!(order.addresses, ["10.20.255.7/32", "fd20::ff07/128"]);
    assert_eq!(order.pin.as_ref().unwrap().bytes(), b"424242");
    assert_eq!(order.admin_pin.as_ref().unwrap().bytes(), b"87654321");
    assert!(order.replace.is_empty() && !order.last_try);
}

#[test]
fn no_is_no() {
    let daemon = enrolling(survey(vec![card(FoundKey::Empty, 3)]));
    let mut terminal = Terminal::run(daemon.command(&["enroll"]));
    terminal.waits_for("[yes/no] ");
    terminal.types("y\n");
    terminal.ended(NOT_SO);
    assert_eq!(daemon.calls(), [Call::Survey]);
}

#[test]
fn what_would_be_lost_is_typed_back_or_kept() {
    let daemon = enrolling(Survey {
        bound: bound_to("0006:00000001"),
        ..survey(vec![card(held(), 3)])
    });
    let (_directory, file) = drawer();
    let without = daemon.sluss(&["enroll", "--out", &file]);
    ends(&without, NOT_SO);
    assert!(
        err(&without).contains("bound to card 0006:00000001"),
        "{}",
        err(&without)
    );
    assert!(
        err(&without).contains("--replace=0006:00000001"),
        "{}",
        err(&without)
    );

    let replacing = ["enroll", "--replace", "--out", &file];
    let mut wrong = Terminal::run(daemon.command(&replacing));
    wrong.waits_for("Type the serial number");
    wrong.types("0006:12345678\n");
    assert!(wrong.ended(NOT_SO).contains("not its serial number"));
    assert!(daemon.orders().is_empty());

    let mut right = Terminal::run(daemon.command(&replacing));
    right.waits_for("Type the serial number");
    right.types("0006:00000001\n");
    right.waits_for("PIN: ");
    right.types("424242\r");
    right.ended(DONE);
    let orders = daemon.orders();
    assert_eq!(orders[0].replace, ["0006:00000001"]);
    assert_eq!(orders[0].addresses, ["10.20.255.7/32"], "those that it has");

    let script = ["enroll", "--replace=0006:00000001", "--out", &file];
    ends(&daemon.with_input(&script, "424242\n"), DONE);
    assert_eq!(daemon.orders()[0].replace, ["0006:00000001"]);
}

#[test]
fn the_last_try_is_not_spent_by_enrolment_either() {
    let daemon = enrolling(survey(vec![card(held(), 1)]));
    let (_directory, file) = drawer();
    let arguments = ["enroll", "--address", "10.20.255.7/32", "--out", &file];
    let refused = daemon.with_input(&arguments, "424242\n");
    ends(&refused, NOT_SO);
    assert!(
        err(&refused).contains("One PIN try left"),
        "{}",
        err(&refused)
    );
    assert!(daemon.orders().is_empty());
    let consented = [&arguments[..], &["--last-try"]].concat();
    ends(&daemon.with_input(&consented, "424242\n"), DONE);
    assert!(daemon.orders()[0].last_try);
}

#[test]
fn a_pin_pad_takes_the_pin() {
    let card = Candidate {
        pin_pad: true,
        ..card(held(), 3)
    };
    let daemon = enrolling(survey(vec![card]));
    let (_directory, file) = drawer();
    let done = daemon.sluss(&["enroll", "--address", "10.20.255.7/32", "--out", &file]);
    ends(&done, DONE);
    assert!(err(&done).contains("ACS ACR39U"), "{}", err(&done));
    assert!(daemon.orders()[0].pin.is_none());
}

#[test]
fn the_survey_says_what_there_is_in_the_users_language() {
    let sealed = FoundKey::Fit {
        mode: KeyMode::Sealed,
        algorithm: Algorithm::P256,
        subject: Some("CN=Kim Exempel\u{1b}[2J".to_owned()),
        signs: true,
    };
    let unfit = FoundKey::Unfit {
        fault: KeyFault::Certificate {
            fault: CardFault::CertificateExpired,
        },
    };
    let daemon = enrolling(Survey {
        others: vec![OtherCard {
            reader: "Reader 3".to_owned(),
            fault: CardFault::Silent,
        }],
        bound: bound_to(SERIAL),
        ..survey(vec![card(held(), 3), card(sealed, 3), card(unfit, 3)])
    });
    let english = daemon.sluss(&["enroll", "--survey"]);
    ends(&english, DONE);
    for words in [
        "ACS ACR39U 00 00: OpenPGP 0006:12345678\n  openpgp:dec: X25519, can hold the tunnel's key\n",
        "P-256, the tunnel's key can be sealed to it, CN=Kim Exempel\u{fffd}[2J\n",
        "cannot serve: its certificate has expired\n",
        "Reader 3: it does not answer\n",
        "This laptop is bound to card 0006:12345678, key openpgp:dec, with 10.20.255.7/32.\n",
    ] {
        assert!(out(&english).contains(words), "{words}: {}", out(&english));
    }
    let mut swedish = daemon.command(&["enroll", "--survey"]);
    let swedish = swedish.env("LC_ALL", "sv_SE.UTF-8").output().unwrap();
    assert!(
        out(&swedish).contains("kan hålla tunnelns nyckel"),
        "{}",
        out(&swedish)
    );

    let json = daemon.sluss(&["enroll", "--survey", "--json"]);
    let survey: Survey = serde_json::from_str(&out(&json)).unwrap();
    assert_eq!(survey.cards.len(), 3);
}

#[test]
fn a_request_that_cannot_be_saved_is_printed_all_the_same() {
    let daemon = enrolling(survey(vec![card(held(), 3)]));
    let done = daemon.with_input(
        &[
            "enroll",
            "--address",
            "10.20.255.7/32",
            "--out",
            "/proc/request.toml",
        ],
        "424242\n",
    );
    ends(&done, NOT_SO);
    assert_eq!(out(&done), REQUEST);
    assert!(
        err(&done).contains("The laptop is bound, but"),
        "{}",
        err(&done)
    );
}

#[test]
fn where_no_card_can_serve_it_is_said_what_the_readers_hold() {
    let daemon = enrolling(Survey {
        others: vec![OtherCard {
            reader: "Reader 3".to_owned(),
            fault: CardFault::InUse,
        }],
        ..survey(Vec::new())
    });
    let refused = daemon.sluss(&["enroll", "--address", "10.20.255.7/32"]);
    ends(&refused, NOT_SO);
    assert_eq!(
        err(&refused),
        "sluss: There is no card in any reader that could serve. Reader 3: another program uses it.\n"
    );
}

#[test]
fn a_saved_request_replaces_an_older_one_and_follows_no_link() {
    let daemon = enrolling(survey(vec![card(held(), 3)]));
    let (directory, file) = drawer();
    let victim = directory.path().join("victim");
    fs::write(&victim, "old").unwrap();
    std::os::unix::fs::symlink(&victim, &file).unwrap();
    std::os::unix::fs::symlink(&victim, format!("{file}.new")).unwrap();
    let arguments = ["enroll", "--address", "10.20.255.7/32", "--out", &file];
    ends(&daemon.with_input(&arguments, "424242\n"), DONE);
    assert_eq!(fs::read_to_string(&file).unwrap(), REQUEST);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "old");
    assert!(!Path::new(&format!("{file}.new")).exists());
}

#[test]
fn what_the_daemon_refuses_is_said_with_what_to_do() {
    for (fault, words) in [
        (EnrolmentFault::KeyExists, "say --replace"),
        (EnrolmentFault::Unproven, "nothing was written"),
        (EnrolmentFault::NotWritten, "What held before holds now"),
        (
            EnrolmentFault::WrongAdminPin {
                tries_left: Some(1),
            },
            "One PIN try left",
        ),
    ] {
        let daemon = Daemon::serving(move |call| {
            vec![match call {
                Call::Survey => Response::Survey(survey(vec![card(held(), 3)])),
                _ => Response::Refused(Refusal::Enrolment { fault }),
            }]
        });
        let (_directory, file) = drawer();
        let arguments = ["enroll", "--address", "10.20.255.7/32", "--out", &file];
        let refused = daemon.with_input(&arguments, "424242\n");
        ends(&refused, NOT_SO);
        assert!(err(&refused).contains(words), "{}", err(&refused));
        assert!(out(&refused).is_empty() && !Path::new(&file).exists());
    }
}

#[test]
fn verify_needs_no_daemon_and_prints_the_section_alone() {
    let (_directory, file) = drawer();
    fs::write(&file, REQUEST).unwrap();
    let verify = |file: &str| sluss(Path::new("/nowhere"), &["enroll", "--verify", file]);
    let good = verify(&file).output().unwrap();
    // --verify is alone on its command line
    ends(&good, USAGE);
    let alone = |file: &str| {
        let mut command = sluss(Path::new("/nowhere"), &[]);
        command.args(["enroll", "--verify", file]);
        command
    };
    let good = alone(&file).output().unwrap();
    ends(&good, DONE);
    assert_eq!(out(&good), PEER);
    assert!(err(&good).contains("NOT SIGNED"), "{}", err(&good));
    let mut swedish = alone(&file);
    let swedish = swedish.env("LC_ALL", "sv_SE.UTF-8").output().unwrap();
    assert!(
        err(&swedish).contains("INTE UNDERSKRIVEN"),
        "{}",
        err(&swedish)
    );

    fs::write(&file, REQUEST.replace("schema = 1", "schema = 2")).unwrap();
    let later = alone(&file).output().unwrap();
    ends(&later, NOT_SO);
    assert!(
        out(&later).is_empty() && err(&later).contains(":2:10: "),
        "{}",
        err(&later)
    );

    fs::write(&file, "# \u{e4}".repeat(40_000)).unwrap();
    ends(&alone(&file).output().unwrap(), NOT_SO);
    ends(&alone("/nowhere/request.toml").output().unwrap(), NOT_SO);
}
