//! What the policy says of cards: contradictions, and what would make the user type all day, are refused.

use std::time::Duration;

use sluss_policy::{AfterUse, CardRules, KeyMode, OnRemoval, PinLife, PolicyError, Problem};

use crate::{FULL, parse};

/// The rules of a policy whose sections from `[card]` on are these.
fn rules(sections: &str) -> Result<CardRules, Vec<PolicyError>> {
    let (rest, _) = FULL.split_once("[card]").expect("it is there");
    parse(&format!("{rest}{sections}")).map(|policy| policy.card)
}

/// The first mistake, with its line in `sections` and its column.
fn mistake(sections: &str) -> String {
    let errors = rules(sections).expect_err(sections);
    let (rest, _) = FULL.split_once("[card]").expect("it is there");
    let PolicyError {
        line,
        column,
        problem,
        ..
    } = &errors[0];
    assert_eq!(errors.len(), 1, "{errors:#?}");
    format!("{}:{column}: {problem}", line - rest.matches('\n').count())
}

#[test]
fn a_pin_at_every_rekey_is_refused_and_nothing_else() {
    let modes = [
        (r#"["held"]"#, true),
        (r#"["sealed"]"#, false),
        (r#"["held", "sealed"]"#, true),
        (r#"["sealed", "held"]"#, true),
    ];
    let lives = [("ask", PinLife::Ask), ("until-lock", PinLife::UntilLock)];
    let uses = [
        ("keep", AfterUse::Keep),
        ("unverify", AfterUse::Unverify),
        ("reset", AfterUse::Reset),
    ];
    for (modes, held) in modes {
        for (pin, life) in lives {
            for (after_use, after) in uses {
                let found = rules(&format!(
                    "[card]\nmodes = {modes}\npin = \"{pin}\"\nafter_use = \"{after_use}\""
                ));
                // Each handshake of a held key is an operation of a card that has just forgotten its PIN.
                let prompts = held && life == PinLife::Ask && after != AfterUse::Keep;
                match found {
                    Ok(rules) => {
                        assert!(!prompts, "{modes} {pin} {after_use}");
                        assert_eq!((rules.pin, rules.after_use), (life, after));
                    }
                    Err(errors) => {
                        assert!(prompts, "{modes} {pin} {after_use}: {}", errors[0]);
                        assert_eq!((errors.len(), errors[0].column), (1, 13));
                    }
                }
            }
        }
    }
    assert_eq!(
        mistake("[card]\npin = \"ask\"\nafter_use = \"reset\""),
        "3:13: 'card.after_use': with 'pin' as \"ask\", a key that the card holds would want its PIN at every rekey, \
         some 240 times in a working day: take \"keep\", or 'pin' as \"until-lock\", or leave \"held\" out of 'modes'; \
         for example: after_use = \"keep\""
    );
}

#[test]
fn the_key_that_is_in_the_way_is_named_wherever_it_stands() {
    let later = crate::Source {
        file: "/etc/sluss/policy.d/20-cards.toml",
        text: "[card]\npin = \"ask\"",
    };
    let (rest, _) = FULL.split_once("[card]").expect("it is there");
    let first = format!("{rest}[card]\nafter_use = \"unverify\"");
    let first = crate::Source {
        file: "/etc/sluss/policy.toml",
        text: &first,
    };
    let errors = crate::Policy::parse(&[first, later]).expect_err("together they prompt");
    assert_eq!(errors[0].file, "/etc/sluss/policy.toml");
}

#[test]
fn grace_has_its_time_and_its_bounds() {
    let removal = |sections: &str| rules(sections).map(|rules| rules.on_removal);
    assert_eq!(removal("[card]"), Ok(OnRemoval::Disconnect));
    assert_eq!(
        removal("[card]\non_removal = \"lock-session\""),
        Ok(OnRemoval::LockSession)
    );
    for (text, seconds) in [("1s", 1), ("60s", 60), ("1m", 60)] {
        assert_eq!(
            removal(&format!(
                "[card]\non_removal = \"grace\"\ngrace = \"{text}\""
            )),
            Ok(OnRemoval::Grace(Duration::from_secs(seconds)))
        );
    }
    for (sections, message) in [
        (
            "[card]\non_removal = \"grace\"",
            "1:2: 'card.grace' is missing, for example: grace = \"10s\"",
        ),
        (
            "[card]\non_removal = \"grace\"\ngrace = \"61s\"",
            "3:9: 'card.grace': must lie between 1s and 1m; for example: grace = \"10s\"",
        ),
        (
            "[card]\non_removal = \"grace\"\ngrace = \"900ms\"",
            "3:9: 'card.grace': must lie between 1s and 1m; for example: grace = \"10s\"",
        ),
        (
            "[card]\ngrace = \"10s\"",
            "2:9: 'card.grace': means nothing without on_removal = \"grace\"; for example: grace = \"10s\"",
        ),
        (
            "[card]\non_removal = \"lock-session\"\ngrace = \"10s\"",
            "3:9: 'card.grace': means nothing without on_removal = \"grace\"; for example: grace = \"10s\"",
        ),
        (
            "[card]\non_removal = \"explode\"",
            "2:14: 'card.on_removal': not one of disconnect, lock-session, grace; for example: on_removal = \"grace\"",
        ),
    ] {
        assert_eq!(mistake(sections), message);
    }
}

#[test]
fn what_means_nothing_is_refused() {
    for (sections, message) in [
        (
            "[card]\nmodes = [\"held\"]\nsignature_wrap = true",
            "3:18: 'card.signature_wrap': means nothing without modes = [\"sealed\"]; for example: signature_wrap = false",
        ),
        (
            "[login]\nhand_over = false\nwait = \"5s\"",
            "3:8: 'login.wait': means nothing without hand_over = true; for example: wait = \"10s\"",
        ),
        (
            "[card]\nmodes = []",
            "2:9: 'card.modes': must not be empty; for example: modes = [\"held\", \"sealed\"]",
        ),
        (
            "[card]\npkcs11_module = \"opensc-pkcs11.so\"",
            "2:17: 'card.pkcs11_module': not an absolute path; for example: \
             pkcs11_module = \"/usr/lib/x86_64-linux-gnu/opensc-pkcs11.so\"",
        ),
    ] {
        assert_eq!(mistake(sections), message);
    }
}

#[test]
fn certificate_rules_without_an_issuer_are_none() {
    for section in ["", "subject = \"*,C=SE\"", "crls = [\"/a.crl\"]"] {
        assert_eq!(
            mistake(&format!("[card.certificate]\n{section}")),
            "1:7: 'card.certificate.issuers' is missing, for example: issuers = [\"/etc/sluss/service-cards.pem\"]"
        );
    }
    let rules = rules("[card.certificate]\nissuers = [\"/etc/sluss/root.pem\"]").expect("enough");
    let certificate = rules.certificate.expect("its section is there");
    assert_eq!(certificate.subject, None);
    assert!(certificate.key_usage.is_empty() && certificate.crls.is_empty());
    assert_eq!(rules.modes, [KeyMode::Held, KeyMode::Sealed]);
}

#[test]
fn object_identifiers_are_read_as_x660_writes_them() {
    let usage = |oid: &str| {
        rules(&format!(
            "[card.certificate]\nissuers = [\"/etc/sluss/root.pem\"]\nextended_key_usage = [\"{oid}\"]"
        ))
    };
    for right in [
        "1.3.6.1.5.5.7.3.2",
        "2.999",
        "0.9.2342",
        "1.39.0",
        "2.16.840.1",
    ] {
        assert!(usage(right).is_ok(), "{right}");
    }
    for wrong in [
        "",
        "1",
        "1.",
        ".1",
        "1..3",
        "3.1",
        "1.40",
        "1.03",
        "1.3.x",
        "1.3.-1",
        "1.3.+1",
        "1.3.99999999999999999999",
        "clientAuth",
    ] {
        let errors = usage(wrong).expect_err(wrong);
        assert!(
            matches!(errors[0].problem, Problem::BadValue { .. }),
            "{wrong}: {}",
            errors[0]
        );
    }
}

#[test]
fn a_mistyped_key_of_a_section_in_a_section_is_found() {
    let certificate = "[card.certificate]\nissuers = [\"/etc/sluss/root.pem\"]\n";
    assert_eq!(
        mistake(&format!("{certificate}eku = [\"2.999\"]")),
        "3:1: unknown key 'card.certificate.eku'"
    );
    assert_eq!(
        mistake(&format!("{certificate}key_usgae = []")),
        "3:1: unknown key 'card.certificate.key_usgae', did you mean 'card.certificate.key_usage'?"
    );
    assert_eq!(
        mistake("[card.certficate]"),
        "1:7: unknown key 'card.certficate', did you mean 'card.certificate'?"
    );
}
