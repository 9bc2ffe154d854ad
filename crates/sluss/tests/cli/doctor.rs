//! `sluss doctor` as a person and a script use it.

use serde_json::Value;
use sluss_ipc::{
    Response, Role, SCHEMA,
    doctor::{Check, Diagnosis, Finding, Seen, Support},
};

use crate::{
    DONE, NO_DAEMON, NOT_SO, REFUSED, conforms,
    daemon::{self, Daemon},
    ends, err, out,
};

fn diagnosis(findings: Vec<Finding>) -> Diagnosis {
    Diagnosis {
        schema: SCHEMA,
        findings,
        support: Some(Support {
            phone: Some("+46 8 123 45 67".to_owned()),
            web: None,
            detour: None,
        }),
        version: "0.1.0".to_owned(),
    }
}

fn serving(findings: Vec<Finding>) -> Daemon {
    let diagnosis = diagnosis(findings);
    Daemon::serving(move |_| vec![Response::Diagnosis(diagnosis.clone())])
}

#[test]
fn a_warning_is_no_failure_and_a_failure_ends_with_one() {
    let well = serving(vec![
        Seen::DaemonRuns.of(Check::Daemon),
        Seen::PortalUnknown.of(Check::CaptivePortal),
    ]);
    let output = well.sluss(&["doctor"]);
    ends(&output, DONE);
    assert!(!out(&output).contains("+46"), "{}", out(&output));

    let ill = serving(vec![
        Seen::NoCard.of(Check::Card),
        Finding::not_run(Check::Pin, Check::Card),
    ]);
    let output = ill.sluss(&["doctor"]);
    ends(&output, NOT_SO);
    assert_eq!(
        out(&output),
        "\
FAILED  card  No reader holds a card.
              You: Put your card in the reader.
-       pin   Not checked, since card failed.

1 check failed.
Call +46 8 123 45 67.
"
    );
}

#[test]
fn a_program_reads_the_codes() {
    let daemon = serving(vec![
        Seen::FewTries { tries_left: 2 }.of(Check::Pin),
        Finding::not_run(Check::Handshake, Check::GatewayUdp),
    ]);
    let output = daemon.sluss(&["doctor", "--json"]);
    ends(&output, DONE);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    conforms(&answer, "doctor.json");
    let findings = &answer["findings"];
    assert_eq!(findings[0]["check"], "pin");
    assert_eq!(findings[0]["verdict"], "warning");
    assert_eq!(findings[0]["seen"]["code"], "few-tries");
    assert_eq!(findings[0]["seen"]["tries_left"], 2);
    assert_eq!(findings[1]["verdict"], "not-run");
    assert_eq!(findings[1]["seen"]["because"], "gateway-udp");
}

#[test]
fn without_the_daemon_it_says_so_and_checks_what_it_can() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("none.sock");
    let output = daemon::sluss(&socket, &["doctor"]).output().unwrap();
    ends(&output, NO_DAEMON);
    let said = out(&output);
    assert!(
        said.starts_with("FAILED  daemon          slussd does not run, or does not answer.\n"),
        "{said}"
    );
    assert!(
        said.contains("-       card            Not checked, since daemon failed.\n"),
        "{said}"
    );

    let output = daemon::sluss(&socket, &["doctor", "--json"])
        .output()
        .unwrap();
    ends(&output, NO_DAEMON);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    conforms(&answer, "doctor.json");
    let findings = answer["findings"].as_array().unwrap();
    let seen = |check: &str| {
        let finding = findings.iter().find(|it| it["check"] == check).unwrap();
        finding["seen"]["code"].as_str().unwrap().to_owned()
    };
    // Whatever this machine has: it is looked at, and not passed over.
    assert!(
        ["link-up", "open-wifi", "no-link"].contains(&seen("link").as_str()),
        "{answer}"
    );
    assert_eq!(seen("gateway-udp"), "not-run");
}

#[test]
fn who_is_not_at_the_keyboard_is_told_so() {
    let daemon = serving(Vec::new()).with_role(Role::Observer);
    let output = daemon.sluss(&["doctor"]);
    ends(&output, REFUSED);
    assert_eq!(out(&output), "");
    assert!(err(&output).contains("at the keyboard"), "{}", err(&output));
}
