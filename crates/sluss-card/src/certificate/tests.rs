//! Chains that a rule must take or refuse, made by rcgen and by OpenSSL.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SerialNumber, date_time_ymd,
};

use super::*;

const CLIENT_AUTH: &str = "1.3.6.1.5.5.7.3.2";

/// Somebody who issues: what it says of itself, and its key.
struct Authority {
    params: CertificateParams,
    key: KeyPair,
    der: Vec<u8>,
}

impl Authority {
    fn root(name: &str) -> Authority {
        let (params, key) = (authority(name), key());
        let der = params.self_signed(&key).unwrap().der().to_vec();
        Authority { params, key, der }
    }

    fn below(&self, name: &str) -> Authority {
        self.below_with(authority(name))
    }

    fn below_with(&self, params: CertificateParams) -> Authority {
        let key = key();
        let der = self.issue(&params, &key);
        Authority { params, key, der }
    }

    fn issue(&self, params: &CertificateParams, key: &KeyPair) -> Vec<u8> {
        params
            .signed_by(key, &self.issuer())
            .unwrap()
            .der()
            .to_vec()
    }

    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }

    /// A revocation list, good until 2028.
    fn revokes(&self, serials: &[u64]) -> Vec<u8> {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2026, 6, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 6, 1),
            next_update: date_time_ymd(2028, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer()).unwrap().der().to_vec()
    }
}

fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

fn authority(name: &str) -> CertificateParams {
    let mut params = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.serial_number = Some(SerialNumber::from(7));
    params
}

/// A person's certificate, number 42, for key agreement and client authentication.
fn person() -> CertificateParams {
    let mut params = named("Anna Ek");
    params.key_usages = vec![KeyUsagePurpose::KeyAgreement];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.serial_number = Some(SerialNumber::from(42));
    params
}

/// Valid in 2026 and 2027.
fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CountryName, "SE");
    params
        .distinguished_name
        .push(DnType::OrganizationName, "Exempel kommun");
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2028, 1, 1);
    params
}

fn trusting(authorities: &[&Authority]) -> Rule {
    let mut rule = Rule::default();
    for authority in authorities {
        rule.trust(&authority.der).unwrap();
    }
    rule
}

fn day(year: u64, month: u64) -> Duration {
    // To a day or two, which is all that is asked of it.
    Duration::from_secs(((year - 1970) * 31_556_952) + (month - 1) * 2_629_746 + 86_400)
}

fn today() -> Duration {
    day(2027, 3)
}

fn untrusted<T>(checked: &Result<T, Refusal>) -> bool {
    matches!(checked, Err(Refusal::Untrusted { .. }))
}

#[test]
fn what_a_trusted_issuer_signed_is_good_and_tells_whose_it_is() {
    let root = Authority::root("Root");
    let key = key();
    let rule = trusting(&[&root]);
    let good = rule
        .check(&root.issue(&person(), &key), &[], today())
        .unwrap();
    assert_eq!(good.subject, "CN=Anna Ek,O=Exempel kommun,C=SE");
    use rcgen::PublicKeyData;
    assert_eq!(good.public_key, key.subject_public_key_info());
    assert_eq!(date(good.not_before), "2026-01-01T00:00:00Z");
}

#[test]
fn nobody_is_trusted_unasked() {
    let (root, other) = (Authority::root("Root"), Authority::root("Root"));
    let leaf = root.issue(&person(), &key());
    assert!(untrusted(&Rule::default().check(&leaf, &[], today())));
    // The same name, another key.
    assert!(untrusted(&trusting(&[&other]).check(&leaf, &[], today())));
    // What comes with the card is not trusted because it came.
    assert!(untrusted(&trusting(&[&other]).check(
        &leaf,
        &[&root.der],
        today()
    )));
    let own = person().self_signed(&key()).unwrap();
    assert!(untrusted(&trusting(&[&root]).check(
        own.der(),
        &[],
        today()
    )));
    assert!(untrusted(&trusting(&[&root]).check(
        &root.der,
        &[],
        today()
    )));
}

#[test]
fn an_intermediate_may_come_from_the_policy_or_the_card_and_is_needed() {
    let root = Authority::root("Root");
    let between = root.below("Issuer");
    let leaf = between.issue(&person(), &key());
    assert!(untrusted(&trusting(&[&root]).check(&leaf, &[], today())));
    assert!(
        trusting(&[&root])
            .check(&leaf, &[&between.der], today())
            .is_ok()
    );
    assert!(
        trusting(&[&root, &between])
            .check(&leaf, &[], today())
            .is_ok()
    );
    assert!(
        trusting(&[&between, &root])
            .check(&leaf, &[], today())
            .is_ok()
    );
}

#[test]
fn an_issuer_alone_is_trusted_without_its_siblings() {
    let root = Authority::root("Root");
    let (chosen, sibling) = (root.below("Chosen"), root.below("Sibling"));
    let rule = trusting(&[&chosen]);
    assert!(
        rule.check(&chosen.issue(&person(), &key()), &[], today())
            .is_ok()
    );
    let theirs = sibling.issue(&person(), &key());
    assert!(untrusted(&rule.check(
        &theirs,
        &[&sibling.der, &root.der],
        today()
    )));
}

#[test]
fn somebody_who_may_not_issue_does_not() {
    let root = Authority::root("Root");
    let clerk = root.below_with(person());
    let leaf = clerk.issue(&named("Friend"), &key());
    assert!(untrusted(&trusting(&[&root]).check(
        &leaf,
        &[&clerk.der],
        today()
    )));
}

#[test]
fn before_and_after_its_time_it_is_told_when_that_is() {
    let root = Authority::root("Root");
    let leaf = root.issue(&person(), &key());
    let rule = trusting(&[&root]);
    let early = rule.check(&leaf, &[], day(2025, 6)).unwrap_err();
    assert_eq!(
        early.to_string(),
        "the certificate is not valid before 2026-01-01T00:00:00Z"
    );
    let late = rule.check(&leaf, &[], day(2028, 6)).unwrap_err();
    assert_eq!(
        late.to_string(),
        "the certificate has expired on 2028-01-01T00:00:00Z"
    );
    // A laptop that has lost its clock.
    assert!(matches!(
        rule.check(&leaf, &[], Duration::ZERO),
        Err(Refusal::NotYetValid { .. })
    ));
}

#[test]
fn an_issuer_that_has_expired_is_not_blamed_on_the_card() {
    let root = Authority::root("Root");
    let mut params = authority("Issuer");
    params.not_after = date_time_ymd(2027, 1, 1);
    let between = root.below_with(params);
    let leaf = between.issue(&person(), &key());
    let rule = trusting(&[&root, &between]);
    assert!(rule.check(&leaf, &[], day(2026, 6)).is_ok());
    assert!(untrusted(&rule.check(&leaf, &[], today())));
}

#[test]
fn what_its_issuer_revoked_is_revoked() {
    let root = Authority::root("Root");
    let leaf = root.issue(&person(), &key());
    let mut rule = trusting(&[&root]);
    rule.revoke(&root.revokes(&[41, 43])).unwrap();
    assert!(rule.check(&leaf, &[], today()).is_ok());
    let mut rule = trusting(&[&root]);
    rule.revoke(&root.revokes(&[41, 42])).unwrap();
    assert_eq!(rule.check(&leaf, &[], today()), Err(Refusal::Revoked));
}

#[test]
fn a_revoked_issuer_takes_its_people_with_it() {
    let root = Authority::root("Root");
    let between = root.below("Issuer");
    let leaf = between.issue(&person(), &key());
    let mut rule = trusting(&[&root, &between]);
    rule.revoke(&between.revokes(&[])).unwrap();
    assert!(
        rule.check(&leaf, &[], today()).is_ok(),
        "the root has no list, and needs none"
    );
    rule.revoke(&root.revokes(&[7])).unwrap();
    assert_eq!(rule.check(&leaf, &[], today()), Err(Refusal::Revoked));
}

#[test]
fn lists_that_say_nothing_are_no_comfort() {
    let (root, other) = (Authority::root("Root"), Authority::root("Other"));
    let namesake = Authority::root("Root");
    let leaf = root.issue(&person(), &key());
    for (list, when) in [
        (other.revokes(&[]), today()),
        (namesake.revokes(&[]), today()),
        // The list is good until 2028, the certificate for longer.
        (root.revokes(&[]), day(2028, 2)),
    ] {
        let mut params = person();
        params.not_after = date_time_ymd(2030, 1, 1);
        let leaf_until_2030 = root.issue(&params, &key());
        let leaf = if when > today() {
            &leaf_until_2030
        } else {
            &leaf
        };
        let mut rule = trusting(&[&root]);
        rule.revoke(&list).unwrap();
        let checked = rule.check(leaf, &[], when);
        assert!(
            matches!(checked, Err(Refusal::RevocationUnknown { .. })),
            "{checked:?}"
        );
    }
}

#[test]
fn the_key_must_be_for_all_that_is_asked_and_the_missing_is_named() {
    let root = Authority::root("Root");
    let leaf = root.issue(&person(), &key());
    let lacks = |usages: &[KeyUsage], purposes: &[&str]| {
        let mut rule = trusting(&[&root]);
        rule.key_usage = usages.to_vec();
        rule.extended_key_usage = purposes.iter().map(|oid| oid.parse().unwrap()).collect();
        match rule.check(&leaf, &[], today()) {
            Ok(_) => None,
            Err(Refusal::WrongUsage { missing }) => Some(missing),
            Err(other) => panic!("{other}"),
        }
    };
    let server_auth = "1.3.6.1.5.5.7.3.1";
    assert_eq!(lacks(&[KeyUsage::KeyAgreement], &[CLIENT_AUTH]), None);
    let both = [KeyUsage::KeyAgreement, KeyUsage::DigitalSignature];
    assert_eq!(lacks(&both, &[]).as_deref(), Some("digitalSignature"));
    assert_eq!(
        lacks(&[], &[CLIENT_AUTH, server_auth]).as_deref(),
        Some(server_auth)
    );
}

#[test]
fn without_a_key_usage_everything_is_allowed_but_a_purpose_must_be_said() {
    let root = Authority::root("Root");
    let leaf = root.issue(&named("Anna Ek"), &key());
    let mut rule = trusting(&[&root]);
    rule.key_usage = vec![KeyUsage::KeyAgreement];
    assert!(rule.check(&leaf, &[], today()).is_ok());
    rule.extended_key_usage = vec![CLIENT_AUTH.parse().unwrap()];
    assert!(matches!(
        rule.check(&leaf, &[], today()),
        Err(Refusal::WrongUsage { .. })
    ));
}

#[test]
fn an_issuer_limited_to_other_purposes_cannot_give_ours() {
    let root = Authority::root("Root");
    for (purpose, good) in [
        (ExtendedKeyUsagePurpose::ServerAuth, false),
        (ExtendedKeyUsagePurpose::ClientAuth, true),
        (ExtendedKeyUsagePurpose::Any, true),
    ] {
        let mut params = authority("Issuer");
        params.extended_key_usages = vec![purpose];
        let between = root.below_with(params);
        let mut rule = trusting(&[&root, &between]);
        rule.extended_key_usage = vec![CLIENT_AUTH.parse().unwrap()];
        let checked = rule.check(&between.issue(&person(), &key()), &[], today());
        assert_eq!(checked.is_ok(), good, "{checked:?}");
    }
}

#[test]
fn somebody_elses_certificate_is_named() {
    let root = Authority::root("Root");
    let leaf = root.issue(&person(), &key());
    let mut rule = trusting(&[&root]);
    rule.subject = Some("*,O=Exempel kommun,C=SE".parse().unwrap());
    assert!(rule.check(&leaf, &[], today()).is_ok());
    rule.subject = Some("*,O=Annan kommun,C=SE".parse().unwrap());
    let subject = "CN=Anna Ek,O=Exempel kommun,C=SE".to_owned();
    assert_eq!(
        rule.check(&leaf, &[], today()),
        Err(Refusal::WrongSubject { subject })
    );
}

#[test]
fn the_rule_picks_and_nobody_is_asked() {
    let root = Authority::root("Root");
    let rule = trusting(&[&root]);
    let mine = key();
    let mut renewed = person();
    renewed.not_before = date_time_ymd(2027, 1, 1);
    let old = root.issue(&person(), &mine);
    let new = root.issue(&renewed, &mine);
    let second_key = root.issue(&person(), &key());
    let foreign = Authority::root("Other").issue(&person(), &key());

    let chosen = |candidates: &[&[u8]]| {
        rule.choose(candidates, &[], today())
            .map(|(number, _)| number)
    };
    assert_eq!(chosen(&[&foreign, &old]), Ok(1));
    assert_eq!(
        chosen(&[&old, &new, &foreign]),
        Ok(1),
        "the renewed one of the same key"
    );
    assert_eq!(chosen(&[&new, &old]), Ok(0));
    assert_eq!(
        chosen(&[&old, &second_key]),
        Err(Refusal::Ambiguous { count: 2 })
    );
    assert_eq!(chosen(&[]), Err(Refusal::Missing));
    assert!(
        untrusted(&chosen(&[b"rubbish", &foreign])),
        "the closest one is named"
    );
}

#[test]
fn rubbish_is_refused_and_a_flipped_bit_is_not_trusted() {
    let root = Authority::root("Root");
    let rule = trusting(&[&root]);
    let leaf = root.issue(&person(), &key());
    for end in 0..leaf.len() {
        assert_eq!(
            rule.check(&leaf[..end], &[], today()),
            Err(Refusal::Unreadable),
            "{end}"
        );
    }
    for bit in 0..leaf.len() * 8 {
        let mut flipped = leaf.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(rule.check(&flipped, &[], today()).is_err(), "bit {bit}");
    }
    let huge = vec![0x30; 1 << 20];
    assert_eq!(rule.check(&huge, &[], today()), Err(Refusal::Unreadable));
    assert_eq!(
        Certificate::read(&[leaf.clone(), vec![0]].concat()),
        Err(Refusal::Unreadable)
    );
    // Rubbish that came with it takes nothing away.
    assert!(rule.check(&leaf, &[b"", &huge, &leaf], today()).is_ok());
}

#[test]
fn a_file_holds_what_it_should_or_is_refused() {
    let (root, other) = (Authority::root("Root"), Authority::root("Other"));
    let leaf = other.issue(&person(), &key());
    let pem = |label: &str, der: &[u8]| {
        use base64::Engine;
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
    };
    let both = pem("CERTIFICATE", &root.der) + "a word\n" + &pem("CERTIFICATE", &other.der);
    let mut rule = Rule::default();
    rule.trust(both.as_bytes()).unwrap();
    rule.revoke(pem("X509 CRL", &other.revokes(&[])).as_bytes())
        .unwrap();
    assert!(rule.check(&leaf, &[], today()).is_ok());
    let list = other.revokes(&[]);
    for file in [
        b"".as_slice(),
        b"0",
        &list,
        pem("X509 CRL", &list).as_bytes(),
        &root.der[1..],
    ] {
        assert!(rule.trust(file).is_err());
    }
    for file in [
        b"".as_slice(),
        &root.der,
        both.as_bytes(),
        &list[..list.len() - 1],
    ] {
        assert!(rule.revoke(file).is_err());
    }
}

/// `person`, then its issuer, by OpenSSL: `fixtures/make.sh`.
fn openssl(pem: &str) -> (Rule, Vec<u8>) {
    let all: Vec<CertificateDer<'static>> = items(pem.as_bytes(), "").unwrap();
    let mut rule = Rule::default();
    rule.trust(&all[1]).unwrap();
    rule.key_usage = vec![KeyUsage::KeyAgreement];
    rule.extended_key_usage = vec![CLIENT_AUTH.parse().unwrap()];
    rule.subject = Some(
        "serialNumber=42,CN=Åsa *,O=Exempel kommun,C=SE"
            .parse()
            .unwrap(),
    );
    (rule, all[0].to_vec())
}

#[test]
fn the_usual_kinds_of_issuer_are_served() {
    for pem in [
        include_str!("fixtures/rsa-2048.pem"),
        include_str!("fixtures/rsa-3072.pem"),
        include_str!("fixtures/rsa-4096.pem"),
        include_str!("fixtures/p-256.pem"),
        include_str!("fixtures/p-384.pem"),
    ] {
        let (rule, leaf) = openssl(pem);
        rule.check(&leaf, &[], today()).unwrap();
    }
}

#[test]
fn signatures_that_can_be_forged_are_refused() {
    for (pem, expected) in [
        (include_str!("fixtures/sha-1.pem"), "no longer safe"),
        (include_str!("fixtures/rsa-1024.pem"), "too short a key"),
    ] {
        let (rule, leaf) = openssl(pem);
        let refusal = rule.check(&leaf, &[], today()).unwrap_err();
        assert!(refusal.to_string().contains(expected), "{refusal}");
    }
}

#[test]
fn a_list_of_openssls_is_understood() {
    let (mut rule, leaf) = openssl(include_str!("fixtures/rsa-2048.pem"));
    rule.revoke(include_bytes!("fixtures/rsa-2048.crl"))
        .unwrap();
    assert_eq!(rule.check(&leaf, &[], today()), Err(Refusal::Revoked));
}
