//! Keys and certificates: which of them prove something, and when.

use std::time::Duration;

use rustls::version::{TLS12, TLS13};
use sluss_beacon::{Identity, NoProof};
use sluss_policy::Pin;

use crate::rig::{Certified, NOW, Stranger, beacon, identity, laptop, met, met_at, server, visit};

/// A certificate for these years holds at [`NOW`].
const TODAY: (i32, i32) = (2026, 2028);

#[test]
fn a_beacon_with_the_pinned_key_that_sees_this_socket_is_proof() {
    let identity = identity();
    let proof = met(
        &beacon(&[identity.pin()]),
        &mut visit(&identity, &laptop().to_string()),
    )
    .unwrap();
    let answer = proof.answer.unwrap();
    assert_eq!(answer.name().to_string(), "stadshuset");
    assert_eq!(answer.seen(), laptop());
}

#[test]
fn any_of_several_pins_is_proof_so_that_a_key_can_be_changed() {
    let (old, new) = (identity(), identity());
    let policy = beacon(&[old.pin(), new.pin()]);
    for key in [&old, &new] {
        assert!(met(&policy, &mut visit(key, &laptop().to_string())).is_ok());
    }
    assert!(
        met(
            &beacon(&[old.pin()]),
            &mut visit(&new, &laptop().to_string())
        )
        .is_err()
    );
}

#[test]
fn another_key_is_named() {
    let (pinned, other) = (identity(), identity());
    let told = met(
        &beacon(&[pinned.pin()]),
        &mut visit(&other, &laptop().to_string()),
    );
    let shown = other.pin();
    assert_eq!(told, Err(NoProof::WrongKey { shown }));
}

#[test]
fn a_beacon_shows_its_certificate_to_whoever_pins_it_and_its_bare_key_to_all_others() {
    let certified = Certified::new(TODAY);
    let identity = certified.identity();
    for policy in [
        beacon(&[certified.key_pin()]),
        beacon(&[certified.certificate_pin()]),
        beacon(&[certified.certificate_pin(), certified.key_pin()]),
        server(&[certified.key_pin()]),
        server(&[certified.certificate_pin()]),
    ] {
        let told = met(&policy, &mut visit(&identity, &laptop().to_string()));
        assert!(told.is_ok(), "{policy:?}: {told:?}");
    }
}

#[test]
fn without_a_certificate_there_is_none_to_show() {
    let identity = identity();
    let told = met(
        &server(&[identity.pin()]),
        &mut visit(&identity, &laptop().to_string()),
    );
    assert!(matches!(told, Err(NoProof::NotTls(_))), "{told:?}");
}

#[test]
fn any_server_with_a_pinned_key_or_certificate_is_proof_where_that_is_enough() {
    let certified = Certified::new(TODAY);
    for pin in [certified.key_pin(), certified.certificate_pin()] {
        let proof = met(&server(&[pin]), &mut certified.says(&[])).unwrap();
        assert_eq!(proof.answer, None);
    }
}

#[test]
fn another_certificate_for_the_pinned_key_is_another_certificate() {
    let (pinned, renewed) = (Certified::new(TODAY), Certified::new(TODAY));
    let told = met(&server(&[pinned.certificate_pin()]), &mut renewed.says(&[]));
    assert!(matches!(told, Err(NoProof::WrongKey { .. })), "{told:?}");
}

#[test]
fn the_hash_of_a_key_pins_no_certificate_and_the_other_way_round() {
    let certified = Certified::new(TODAY);
    let (Pin::Key(key), Pin::Certificate(certificate)) =
        (certified.key_pin(), certified.certificate_pin())
    else {
        panic!("pins of two kinds");
    };
    for pin in [Pin::Key(certificate), Pin::Certificate(key)] {
        let told = met(&server(&[pin]), &mut certified.says(&[]));
        assert!(matches!(told, Err(NoProof::WrongKey { .. })), "{told:?}");
    }
}

#[test]
fn the_certificate_without_its_key_is_no_proof() {
    let (pinned, thief) = (Certified::new(TODAY), Certified::new(TODAY));
    let mut stranger = Stranger::new(&[&TLS13], &pinned, &thief.key, &[]);
    let told = met(&server(&[pinned.key_pin()]), &mut stranger);
    assert_eq!(told, Err(NoProof::BadSignature));
}

#[test]
fn an_expired_certificate_is_refused_with_its_date_and_the_clocks() {
    let expired = Certified::new((2001, 2002));
    for pin in [expired.key_pin(), expired.certificate_pin()] {
        let why = met(&server(&[pin]), &mut expired.says(&[])).unwrap_err();
        assert!(matches!(why, NoProof::Expired { .. }), "{why:?}");
        assert_eq!(
            why.to_string(),
            "its certificate expired on 2002-01-01 00:00 UTC, and this laptop's clock says 2026-11-23 08:00 UTC"
        );
    }
}

#[test]
fn a_clock_that_lags_behind_is_named_beside_the_certificates_first_day() {
    let certified = Certified::new(TODAY);
    let flat_battery = Duration::from_secs(60);
    let policy = server(&[certified.key_pin()]);
    let why = met_at(flat_battery, &policy, &mut certified.says(&[])).unwrap_err();
    assert!(matches!(why, NoProof::NotYetValid { .. }), "{why:?}");
    assert_eq!(
        why.to_string(),
        "its certificate is valid from 2026-01-01 00:00 UTC on, and this laptop's clock says 1970-01-01 00:01 UTC"
    );
}

#[test]
fn the_first_and_the_last_second_of_a_certificate_are_its_own() {
    let certified = Certified::new(TODAY);
    let policy = server(&[certified.key_pin()]);
    let year = |year: i32| {
        let date = rcgen::date_time_ymd(year, 1, 1).unix_timestamp();
        Duration::from_secs(u64::try_from(date).unwrap())
    };
    let second = Duration::from_secs(1);
    for (now, good) in [
        (year(TODAY.0) - second, false),
        (year(TODAY.0), true),
        (year(TODAY.1), true),
        (year(TODAY.1) + second, false),
    ] {
        let told = met_at(now, &policy, &mut certified.says(&[]));
        assert_eq!(told.is_ok(), good, "{now:?}: {told:?}");
    }
}

#[test]
fn a_bare_key_knows_no_dates() {
    let identity = identity();
    for now in [
        Duration::ZERO,
        NOW,
        Duration::from_secs(u64::from(u32::MAX) * 2),
    ] {
        let seen = laptop().to_string();
        assert!(
            met_at(
                now,
                &beacon(&[identity.pin()]),
                &mut visit(&identity, &seen)
            )
            .is_ok()
        );
    }
}

#[test]
fn whoever_has_only_a_certificate_is_no_beacon_by_its_bare_key() {
    let certified = Certified::new(TODAY);
    let told = met(&beacon(&[certified.key_pin()]), &mut certified.says(&[]));
    assert_eq!(told, Err(NoProof::NoRawKey));
}

#[test]
fn tls_1_2_is_no_proof_even_with_the_pinned_key() {
    let certified = Certified::new(TODAY);
    let mut stranger = Stranger::new(&[&TLS12], &certified, &certified.key, &[]);
    let told = met(&server(&[certified.key_pin()]), &mut stranger);
    assert!(matches!(told, Err(NoProof::NotTls(_))), "{told:?}");
}

#[test]
fn keys_are_read_as_openssl_writes_them_and_others_refused_by_their_reason() {
    use sluss_beacon::BadIdentity::*;

    let (one, other) = (Certified::new(TODAY), Certified::new(TODAY));
    let key = one.key.serialize_pem();
    let refused = |key: &str, chain: Option<&str>| {
        Identity::from_pem(key.as_bytes(), chain.map(str::as_bytes)).unwrap_err()
    };
    assert_eq!(refused("", None), NoKey);
    assert_eq!(refused(&one.certificate.pem(), None), NoKey);
    assert_eq!(refused(&key, Some("")), NoCertificate);
    assert_eq!(refused(&key, Some(&key)), NoCertificate);
    assert_eq!(
        refused(&key, Some(&other.certificate.pem())),
        OtherKey(other.key_pin())
    );
    // What `openssl x509 -req -signkey` makes without extensions.
    let version_1 = "-----BEGIN CERTIFICATE-----\nMIHeMIGRAhRPrDkq5bImF0Gp52/+Ll/di4CrjjAFBgMrZXAwETEPMA0GA1UEAwwG\nYmVhY29uMCAXDTI2MTEyMzAzMzU0M1oYDzIxMjYxMDMwMDMzNTQzWjARMQ8wDQYD\nVQQDDAZiZWFjb24wKjAFBgMrZXADIQAFz6bAwFTIY2IQsux+umAcWKMljWoFZFm8\nd/7NmC5j+jAFBgMrZXADQQA26RujthgzqCyqtDk1MaPuE8jOY67V1TvldJ2otgNi\nu3LVG9215e/AhSZM7HP2PM/6Lu/QsXpEMcOhw78ImxgI\n-----END CERTIFICATE-----\n";
    let told = refused(&key, Some(version_1)).to_string();
    assert!(
        told.ends_with("a certificate of version 1; it must be version 3"),
        "{told}"
    );
    let x25519 = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VuBCIEIHcHbQpzGKV9PBbBclGyZkXfTC+H68CZKrF3+6UduSwq\n-----END PRIVATE KEY-----\n";
    assert_eq!(refused(x25519, None), UnknownKey);
    let identity = Identity::from_pem(key.as_bytes(), None).unwrap();
    assert_eq!(identity.pin(), one.key_pin());
    assert!(!format!("{identity:?}").contains("Key([48"), "no key in it");
}
