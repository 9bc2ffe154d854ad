//! The shipped command against a daemon that answers from a script: what users, scripts and helpdesks rely on.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod daemon;
mod doctor;
mod enroll;
mod portal;
mod terminal;

use std::{fs, process::Output};

use daemon::{Daemon, home, office, wlan_lost};
use serde_json::{Value, json};
use sluss_ipc::{
    AfterUse, Algorithm, BeaconKind, CardFault, CardKind, CardPolicy, CardReport, Change,
    DownReason, InsideRule, Intent, Key, KeyMode, LocationRules, OnRemoval, PinLife,
    PolicyEndpoint, PolicyReport, Reader, ReaderCard, Refusal, Response, Role, SCHEMA, Status,
    Tunnel, What,
};
use terminal::Terminal;

const DONE: i32 = 0;
const NOT_SO: i32 = 1;
const USAGE: i32 = 2;
const NO_DAEMON: i32 = 3;
const REFUSED: i32 = 4;

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[track_caller]
fn ends(output: &Output, code: i32) {
    assert_eq!(
        output.status.code(),
        Some(code),
        "said: {}{}",
        out(output),
        err(output)
    );
}

#[test]
fn status_is_one_sentence_in_the_users_language() {
    let daemon = Daemon::serving(|_| vec![Response::Status(home())]);
    let english = daemon.sluss(&["status"]);
    ends(&english, DONE);
    assert_eq!(
        out(&english),
        "Connected to vpn.example.se (outside: no beacon on wlan0), card present\n"
    );

    let swedish = daemon
        .command(&["status"])
        .env("LC_ALL", "sv_SE.UTF-8")
        .output()
        .unwrap();
    assert_eq!(
        out(&swedish),
        "Ansluten till vpn.example.se (utanför: ingen fyr på wlan0), kortet sitter i\n"
    );
}

#[test]
fn status_reports_and_check_judges() {
    let down = || Status {
        tunnel: Tunnel::Down {
            reason: DownReason::NoCard,
        },
        key: Key::Absent,
        ..home()
    };
    let daemon = Daemon::serving(move |_| vec![Response::Status(down())]);
    ends(&daemon.sluss(&["status"]), DONE);
    ends(&daemon.sluss(&["status", "--check"]), NOT_SO);

    for good in [home, office] {
        let daemon = Daemon::serving(move |_| vec![Response::Status(good())]);
        ends(&daemon.sluss(&["status", "--check"]), DONE);
    }
}

#[test]
fn a_pipe_gets_no_colours() {
    let daemon = Daemon::serving(|_| vec![Response::Status(home())]);
    let output = daemon
        .command(&["status"])
        .env("TERM", "xterm-256color")
        .output()
        .unwrap();
    assert!(!out(&output).contains('\x1b'));
}

#[test]
fn json_is_as_the_published_schema_says() {
    let daemon = Daemon::serving(|request| {
        vec![match request {
            sluss_ipc::Call::Status => Response::Status(home()),
            sluss_ipc::Call::Why => Response::Why(office().why()),
            sluss_ipc::Call::Card => Response::Card(locked_card(3)),
            sluss_ipc::Call::Policy => Response::Policy(policy()),
            other => panic!("{other:?} was not asked for"),
        }]
    });
    for (args, schema) in [
        (&["status", "--json"][..], "status.json"),
        (&["why", "--json"], "why.json"),
        (&["card", "--json"], "card.json"),
        (&["policy", "show", "--json"], "policy.json"),
    ] {
        let output = daemon.sluss(args);
        ends(&output, DONE);
        conforms(&serde_json::from_slice(&output.stdout).unwrap(), schema);
    }
}

#[test]
fn the_schema_refuses_what_is_no_status() {
    let mut status = serde_json::to_value(home()).unwrap();
    conforms(&status, "status.json");
    status["location"]["state"] = json!("atlantis");
    assert!(!is_valid(&status, "status.json"));
    assert!(!is_valid(&json!({ "schema": 2 }), "status.json"));
}

#[test]
fn status_json_tells_a_program_what_a_person_reads() {
    let daemon = Daemon::serving(|_| vec![Response::Status(home())]);
    let status: Value =
        serde_json::from_slice(&daemon.sluss(&["status", "--json"]).stdout).unwrap();
    assert_eq!(status["schema"], 1);
    assert_eq!(status["tunnel"]["state"], "up");
    assert_eq!(
        status["location"],
        json!({ "state": "outside", "reason": "no-proof", "links": ["wlan0"] })
    );
    assert_eq!(status["key"]["state"], "unlocked");
    assert_eq!(status["gateway"]["address"], "198.51.100.2:51820");
    assert_eq!(status["traffic"]["handshake_age_ms"], 40_000);
}

#[test]
fn monitor_prints_a_line_or_an_object_for_each_change() {
    let daemon = Daemon::serving(|_| {
        home()
            .changes(Some(&wlan_lost()), 1_795_363_200_000)
            .into_iter()
            .map(Response::Change)
            .collect()
    });
    // The scripted daemon hangs up after its last word, as a daemon does that is stopped.
    let output = daemon.sluss(&["monitor"]);
    ends(&output, NO_DAEMON);
    assert_eq!(out(&output), "Location: outside: no beacon on wlan0\n");

    let output = daemon.sluss(&["monitor", "--json"]);
    let change: Value = serde_json::from_str(out(&output).trim_end()).unwrap();
    conforms(&change, "monitor.json");
    assert_eq!(change["changed"], "location");
    assert_eq!(change["now"]["state"], "outside");
    assert_eq!(change["unix_ms"], 1_795_363_200_000_u64);
}

#[test]
fn up_and_down_say_how_things_are_then() {
    let daemon = Daemon::serving(|request| {
        vec![match request {
            sluss_ipc::Call::Up | sluss_ipc::Call::Down => Response::Done,
            _ => Response::Status(home()),
        }]
    });
    for command in ["up", "down"] {
        let output = daemon.sluss(&[command]);
        ends(&output, DONE);
        assert!(out(&output).starts_with("Connected to vpn.example.se"));
    }
    assert_eq!(daemon.calls()[0], sluss_ipc::Call::Up);
}

#[test]
fn up_waits_until_the_internal_network_is_reached() {
    let mut looks = 0;
    let daemon = Daemon::serving(move |request| match request {
        sluss_ipc::Call::Up => vec![Response::Done],
        // Each change makes the command look again.
        sluss_ipc::Call::Monitor => {
            let changes = [
                Tunnel::Down {
                    reason: DownReason::Deciding,
                },
                Tunnel::Starting,
                Tunnel::Up,
            ];
            changes.map(|tunnel| change(What::Tunnel(tunnel))).into()
        }
        _ => {
            looks += 1;
            vec![Response::Status(if looks < 3 {
                Status {
                    tunnel: Tunnel::Starting,
                    ..home()
                }
            } else {
                home()
            })]
        }
    });
    let output = daemon.sluss(&["up", "--wait=20"]);
    ends(&output, DONE);
    assert!(
        out(&output).starts_with("Connected to vpn.example.se"),
        "{}",
        out(&output)
    );
}

#[test]
fn waiting_has_an_end() {
    let daemon = Daemon::serving(|request| match request {
        sluss_ipc::Call::Down => vec![Response::Done],
        sluss_ipc::Call::Monitor => vec![change(What::Intent(Intent::Stopped))],
        _ => vec![Response::Status(home())],
    })
    .holding_monitors();
    let output = daemon.sluss(&["down", "--wait=1"]);
    ends(&output, NOT_SO);
    assert_eq!(err(&output), "sluss: Not so after 1 second.\n");
}

#[test]
fn policy_and_role_refuse_with_their_own_code() {
    let daemon = Daemon::serving(|_| vec![Response::Refused(Refusal::ByPolicy)]);
    let output = daemon.sluss(&["down"]);
    ends(&output, REFUSED);
    assert_eq!(err(&output), "sluss: The policy does not allow this.\n");

    let daemon = Daemon::serving(|_| vec![Response::Status(home())]).with_role(Role::Observer);
    for args in [
        &["up"][..],
        &["down"],
        &["lock"],
        &["unlock"],
        &["why"],
        &["card"],
        &["policy", "show"],
    ] {
        let output = daemon.sluss(args);
        ends(&output, REFUSED);
        assert_eq!(
            err(&output),
            "sluss: Only the user at the keyboard may do this.\n"
        );
    }
    assert!(
        daemon.calls().is_empty(),
        "a refused call reached the daemon: {:?}",
        daemon.calls()
    );
}

#[test]
fn an_observer_sees_no_address_and_no_serial() {
    let daemon = Daemon::serving(|_| vec![Response::Status(home())]).with_role(Role::Observer);
    let output = daemon.sluss(&["status", "-v"]);
    ends(&output, DONE);
    assert!(out(&output).starts_with("Connected (outside: no beacon), card present\n"));
    for secret in [
        "198.51.100.2",
        "vpn.example.se",
        "12345678",
        "ACS",
        "wlan0",
        "city hall",
    ] {
        assert!(
            !out(&output).contains(secret),
            "{secret} in {}",
            out(&output)
        );
    }
}

#[test]
fn a_daemon_that_is_not_there_has_its_own_code() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("none.sock");
    for args in [&["status"][..], &["up"], &["unlock"], &["monitor"]] {
        let output = daemon::sluss(&socket, args).output().unwrap();
        ends(&output, NO_DAEMON);
        assert!(
            err(&output).contains("slussd does not run"),
            "{}",
            err(&output)
        );
    }
}

#[test]
fn a_wrong_command_line_is_told_with_the_nearest_right_one() {
    let directory = tempfile::tempdir().unwrap();
    for (args, english, swedish) in [
        (
            &["statsu"][..],
            "'statsu' is not known, did you mean 'status'?",
            "'statsu' är okänt, menade du 'status'?",
        ),
        (&[], "which command?", "vilket kommando?"),
        (
            &["policy", "check"],
            "<FILE>... is missing.",
            "<FIL>... saknas.",
        ),
        (
            &["status", "--jsno"],
            "'--jsno' is not known, did you mean '--json'?",
            "'--jsno' är okänt, menade du '--json'?",
        ),
    ] {
        for (locale, expected) in [("C", english), ("sv_SE.UTF-8", swedish)] {
            let output = daemon::sluss(directory.path(), args)
                .env("LC_ALL", locale)
                .output()
                .unwrap();
            ends(&output, USAGE);
            assert!(err(&output).contains(expected), "{}", err(&output));
        }
    }
}

#[test]
fn help_is_in_the_users_language() {
    let directory = tempfile::tempdir().unwrap();
    let help = |locale, args: &[&str]| {
        let output = daemon::sluss(directory.path(), args)
            .env("LC_ALL", locale)
            .output()
            .unwrap();
        ends(&output, DONE);
        out(&output)
    };
    for args in [
        &["--help"][..],
        &["status", "-h"],
        &["policy", "check", "--help"],
    ] {
        let swedish = help("sv_SE.UTF-8", args);
        assert!(swedish.contains("Användning: sluss"), "{swedish}");
        for english in [
            "Usage",
            "OPTIONS",
            "Options",
            "Commands",
            "COMMAND",
            "Print",
            "Arguments:",
        ] {
            assert!(!swedish.contains(english), "{english} in {swedish}");
        }
        assert!(help("C", args).contains("Usage: sluss"));
    }
}

#[test]
fn a_terminal_gets_colours_unless_the_user_wants_none() {
    let daemon = Daemon::serving(|_| vec![Response::Status(home())]);
    let shown = |no_color: Option<&str>| {
        let mut command = daemon.command(&["status"]);
        command.env("TERM", "xterm-256color").env_remove("NO_COLOR");
        if let Some(value) = no_color {
            command.env("NO_COLOR", value);
        }
        Terminal::run(command).ended(DONE)
    };
    assert!(shown(None).contains("\x1b[32mConnected to vpn.example.se\x1b[0m"));
    assert!(!shown(Some("1")).contains('\x1b'));
    // no-color.org: "when present and not an empty string".
    assert!(shown(Some("")).contains("\x1b[32m"));
}

#[test]
fn a_typed_pin_is_not_shown_and_the_terminal_is_put_back() {
    let daemon = Daemon::serving(unlocking(3, Response::Done));
    let mut terminal = Terminal::run(daemon.command(&["unlock"]));
    terminal.waits_for("PIN: ");
    assert!(!terminal.echoes());
    terminal.types("12345\x7f56\r");
    let shown = terminal.ended(DONE);
    assert!(shown.contains("The card is unlocked."), "{shown}");
    assert!(!shown.contains('1'), "{shown}");
    assert_eq!(daemon.pins(), [b"123456".to_vec()]);
}

#[test]
fn ctrl_c_at_the_pin_spends_nothing_and_the_terminal_is_put_back() {
    let daemon = Daemon::serving(unlocking(3, Response::Done));
    let mut terminal = Terminal::run(daemon.command(&["unlock"]));
    terminal.waits_for("PIN: ");
    terminal.types("1234\x03");
    assert!(terminal.ended(NOT_SO).contains("no try was spent"));
    assert!(daemon.pins().is_empty());
}

#[test]
fn the_last_try_is_consented_to_with_the_whole_word() {
    for (locale, question, yes, prompt) in [
        ("C", "Type yes to go on: ", "yes", "PIN: "),
        (
            "sv_SE.UTF-8",
            "Skriv ja för att gå vidare: ",
            "ja",
            "PIN-kod: ",
        ),
    ] {
        let daemon = Daemon::serving(unlocking(1, Response::Done));
        let ask = || {
            let mut command = daemon.command(&["unlock"]);
            command.env("LC_ALL", locale);
            let mut terminal = Terminal::run(command);
            terminal.waits_for(question);
            terminal
        };
        let mut terminal = ask();
        terminal.types("\r");
        terminal.ended(NOT_SO);
        assert!(daemon.pins().is_empty());

        let mut terminal = ask();
        terminal.types(&format!("{yes}\r"));
        terminal.waits_for(prompt);
        terminal.types("123456\r");
        terminal.ended(DONE);
        assert_eq!(daemon.pins(), [b"123456".to_vec()]);
    }
}

#[test]
fn unlock_reads_the_pin_of_a_script_and_gives_it_once() {
    let daemon = Daemon::serving(unlocking(3, Response::Done));
    let output = daemon.with_input(&["unlock"], "123456\n");
    ends(&output, DONE);
    assert_eq!(out(&output), "The card is unlocked.\n");
    assert_eq!(daemon.pins(), [b"123456".to_vec()]);
    assert!(!err(&output).contains("123456"));
}

#[test]
fn a_wrong_pin_is_told_with_the_tries_and_not_sent_again() {
    let daemon = Daemon::serving(unlocking(
        3,
        Response::Refused(Refusal::WrongPin {
            tries_left: Some(2),
        }),
    ));
    let output = daemon.with_input(&["unlock"], "000000\n000000\n");
    ends(&output, NOT_SO);
    assert_eq!(err(&output), "sluss: Wrong PIN. 2 PIN tries left.\n");
    assert_eq!(daemon.pins().len(), 1);
}

#[test]
fn the_last_try_is_spent_with_consent_only() {
    let daemon = Daemon::serving(unlocking(1, Response::Done));
    let output = daemon.with_input(&["unlock"], "123456\n");
    ends(&output, NOT_SO);
    assert!(err(&output).contains("--last-try"), "{}", err(&output));
    assert!(daemon.pins().is_empty());

    ends(
        &daemon.with_input(&["unlock", "--last-try"], "123456\n"),
        DONE,
    );
    assert_eq!(daemon.pins(), [b"123456".to_vec()]);
}

#[test]
fn few_tries_are_told_before_the_pin_is_read() {
    let daemon = Daemon::serving(unlocking(2, Response::Done));
    assert!(err(&daemon.with_input(&["unlock"], "123456\n")).contains("2 PIN tries left."));
    let daemon = Daemon::serving(unlocking(3, Response::Done));
    assert!(!err(&daemon.with_input(&["unlock"], "123456\n")).contains("left"));
}

#[test]
fn no_pin_is_read_when_no_card_could_take_it() {
    for (key, said) in [
        (Key::Absent, "There is no card to unlock."),
        (Key::Blocked, "The PIN is blocked."),
        (
            Key::Unusable {
                fault: CardFault::OtherCard,
            },
            "not the card of this laptop",
        ),
    ] {
        let report = CardReport {
            key,
            readers: Vec::new(),
            schema: SCHEMA,
        };
        let daemon = Daemon::serving(move |_| vec![Response::Card(report.clone())]);
        let output = daemon.with_input(&["unlock"], "123456\n");
        ends(&output, NOT_SO);
        assert!(err(&output).contains(said), "{}", err(&output));
        assert!(daemon.pins().is_empty());
    }
}

#[test]
fn an_empty_pin_spends_no_try() {
    for input in ["", "\n", &"1".repeat(500)] {
        let daemon = Daemon::serving(unlocking(3, Response::Done));
        let output = daemon.with_input(&["unlock"], input);
        ends(&output, NOT_SO);
        assert_eq!(err(&output), "sluss: No PIN was given; no try was spent.\n");
        assert!(daemon.pins().is_empty());
    }
}

#[test]
fn a_pin_pad_takes_the_pin_and_the_command_takes_none() {
    let report = || {
        let mut report = locked_card(3);
        for reader in &mut report.readers {
            if let ReaderCard::Usable { pin_pad, .. } = &mut reader.card {
                *pin_pad = true;
            }
        }
        report
    };
    let serving = |answer: Response| {
        Daemon::serving(move |call| match call {
            sluss_ipc::Call::Card => vec![Response::Card(report())],
            _ => vec![answer.clone()],
        })
    };
    let daemon = serving(Response::Done);
    let output = daemon.with_input(&["unlock"], "123456\n");
    ends(&output, DONE);
    assert_eq!(
        err(&output),
        "Type the PIN on the reader ACS ACR39U 00 00.\n"
    );
    assert!(daemon.calls().contains(&sluss_ipc::Call::Unlock));
    assert!(daemon.pins().is_empty(), "a PIN was sent");

    let daemon = serving(Response::Refused(Refusal::PinCancelled));
    let output = daemon.with_input(&["unlock"], "");
    ends(&output, NOT_SO);
    assert!(
        err(&output).contains("no try was spent"),
        "{}",
        err(&output)
    );
}

#[test]
fn a_factory_pin_is_refused_with_what_to_do() {
    let daemon = Daemon::serving(unlocking(3, Response::Refused(Refusal::FactoryPin)));
    let output = daemon.with_input(&["unlock"], "123456\n");
    ends(&output, NOT_SO);
    assert_eq!(
        err(&output),
        "sluss: This is the PIN that the card was delivered with. Change it first; no try was spent.\n"
    );
}

#[test]
fn a_policy_is_checked_without_a_daemon_and_mistakes_have_their_place() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("none.sock");
    let file = directory.path().join("policy.toml");
    fs::write(&file, POLICY).unwrap();
    let check = |locale| {
        daemon::sluss(&socket, &["policy", "check"])
            .arg(&file)
            .env("LC_ALL", locale)
            .output()
            .unwrap()
    };
    let output = check("C");
    ends(&output, DONE);
    assert_eq!(out(&output), "The policy is valid.\n");

    fs::write(&file, POLICY.replace("public_key", "pubic_key")).unwrap();
    for (locale, words) in [
        (
            "C",
            "unknown key 'gateway.pubic_key', did you mean 'gateway.public_key'?",
        ),
        (
            "sv_SE.UTF-8",
            "okänd nyckel 'gateway.pubic_key', menade du 'gateway.public_key'?",
        ),
    ] {
        let output = check(locale);
        ends(&output, NOT_SO);
        let expected = format!("{}:4:1: {words}\n", file.display());
        assert!(
            err(&output).contains(&expected),
            "{expected} not in {}",
            err(&output)
        );
    }

    fs::remove_file(&file).unwrap();
    ends(&check("C"), NOT_SO);
}

const POLICY: &str = r#"schema = 1
[gateway]
name = "vpn.example.se"
public_key = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
[[endpoint]]
address = "198.51.100.2:51820"
[internal]
prefixes = ["10.20.0.0/16"]
"#;

fn change(what: What) -> Response {
    Response::Change(Change {
        schema: SCHEMA,
        unix_ms: 0,
        what,
    })
}

fn unlocking(
    tries: u8,
    answer: Response,
) -> impl FnMut(sluss_ipc::Call) -> Vec<Response> + Send + 'static {
    move |call| match call {
        sluss_ipc::Call::Card => vec![Response::Card(locked_card(tries))],
        _ => vec![answer.clone()],
    }
}

fn locked_card(tries: u8) -> CardReport {
    let card = ReaderCard::Usable {
        kind: CardKind::OpenPgp,
        serial: "0006:12345678".to_owned(),
        mode: KeyMode::Held,
        algorithm: Algorithm::X25519,
        subject: None,
        pin_pad: false,
        public_key: "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=".to_owned(),
        tries_left: Some(tries),
    };
    CardReport {
        schema: SCHEMA,
        key: Key::Locked,
        readers: vec![Reader {
            name: "ACS ACR39U 00 00".to_owned(),
            card,
        }],
    }
}

fn policy() -> PolicyReport {
    PolicyReport {
        schema: SCHEMA,
        files: vec!["/etc/sluss/policy.toml".to_owned()],
        gateway: "vpn.example.se".to_owned(),
        endpoints: vec![PolicyEndpoint {
            address: "198.51.100.2:51820".to_owned(),
            priority: 1,
            fallback: Vec::new(),
        }],
        public_key: "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=".to_owned(),
        internal_prefixes: vec!["10.20.0.0/16".to_owned()],
        location: LocationRules {
            require: BeaconKind::Tls,
            quorum: 1,
            inside: InsideRule::NoTunnel,
            probe_timeout_ms: 800,
        },
        beacons: Vec::new(),
        portal: None,
        mtu: 1420,
        keepalive_s: None,
        metered_keepalive_s: None,
        respond: false,
        may_disconnect: false,
        card: CardPolicy {
            modes: vec![KeyMode::Held],
            signature_wrap: false,
            pin: PinLife::Ask,
            after_use: AfterUse::Keep,
            on_removal: OnRemoval::LockSession,
            grace_ms: None,
            allow_factory_pin: false,
            pkcs11_module: Some("/usr/lib/opensc-pkcs11.so".to_owned()),
            certificate_issuers: Vec::new(),
            certificate_subject: None,
        },
        hand_over: false,
        login_wait_ms: Some(5_000),
        internal_name: None,
        support: None,
    }
}

#[track_caller]
fn conforms(instance: &Value, name: &str) {
    assert!(
        is_valid(instance, name),
        "{instance:#} is not what {name} says"
    );
}

fn is_valid(instance: &Value, name: &str) -> bool {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/schema/").to_owned() + name;
    let mut schemas = boon::Schemas::new();
    let mut compiler = boon::Compiler::new();
    let schema: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    compiler.add_resource(name, schema).unwrap();
    let index = compiler.compile(name, &mut schemas).unwrap();
    schemas.validate(instance, index).is_ok()
}
