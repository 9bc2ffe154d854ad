//! The enrolment request: read back as it was written, and worthless as soon as anything in it is changed.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

use fastrand::Rng;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, PublicKeyData as _, SignatureAlgorithm,
    SigningKey as _,
};
use sluss_policy::{
    CardCertificate, EnrolmentRequest, KeyMode, PolicyError, REQUEST_KEYS, RequestCard, Signature,
    SignatureFault, SignatureMethod, SignedRequest, Source, Unsigned,
};

const DOCUMENTATION: &str = include_str!("../../../../docs/enrolment.md");

/// As the daemon writes it for an OpenPGP card.
const UNSIGNED: &str = r#"# Sluss enrolment request. Check it before you use it: sluss enroll --verify FILE
schema = 1
device = "laptop-0417 \"väst\""
made = 2026-11-22T18:47:00Z
addresses = ["10.20.255.7/32", "fd20::ff07/128"]
public_key = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
preshared_key = false

[card]
serial = "0006:12345678"
key = "openpgp:dec"
mode = "held"
algorithm = "X25519"

[signature]
method = "none"
reason = "x25519"
"#;

fn parse(text: &str) -> Result<SignedRequest, Vec<PolicyError>> {
    let file = "request.toml";
    SignedRequest::parse(Source { file, text })
}

fn right(text: &str) -> SignedRequest {
    parse(text).unwrap_or_else(|errors| panic!("{}\n{text}", errors[0]))
}

/// A request for a sealed key, signed by a card's key of this kind.
fn signed(algorithm: &'static SignatureAlgorithm, method: SignatureMethod) -> SignedRequest {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let name = &mut params.distinguished_name;
    name.push(DnType::CountryName, "SE");
    name.push(DnType::OrganizationName, "Exempel kommun");
    name.push(DnType::CommonName, "Åsa \"Å\" Öberg, enhet 7");
    let der = params.self_signed(&key).unwrap().der().to_vec();
    let mut request = right(UNSIGNED).request;
    request.card = RequestCard {
        serial: "piv 4711".to_owned(),
        key: "piv:9d".to_owned(),
        mode: KeyMode::Sealed,
        algorithm: "P-256".to_owned(),
        certificate: Some(CardCertificate {
            // RFC 4514, 2.1 and 2.4: the last part first, and what separates parts is escaped
            subject: "CN=Åsa \\\"Å\\\" Öberg\\, enhet 7,O=Exempel kommun,C=SE".to_owned(),
            der,
        }),
    };
    let value = key.sign(request.to_string().as_bytes()).unwrap();
    SignedRequest {
        request,
        signature: Signature::Present {
            method,
            public_key: key.subject_public_key_info(),
            value,
        },
    }
}

fn verify(request: &SignedRequest) -> Result<bool, SignatureFault> {
    let signer = request.signature.verify(&request.request)?;
    Ok(signer.is_some())
}

#[test]
fn an_unsigned_request_is_written_as_it_is_read_and_says_why() {
    let request = right(UNSIGNED);
    assert_eq!(request.to_string(), UNSIGNED);
    assert_eq!(request.signature, Signature::Absent(Unsigned::X25519));
    assert_eq!(verify(&request), Ok(false));
    assert_eq!(request.request.device, "laptop-0417 \"väst\"");
}

#[test]
fn every_kind_of_card_key_that_signs_is_believed() {
    for (algorithm, method) in [
        (&PKCS_RSA_SHA256, SignatureMethod::RsaPkcs1Sha256),
        (&PKCS_ECDSA_P256_SHA256, SignatureMethod::EcdsaP256Sha256),
        (&PKCS_ECDSA_P384_SHA384, SignatureMethod::EcdsaP384Sha384),
    ] {
        let request = signed(algorithm, method);
        let read = right(&request.to_string());
        assert_eq!(read, request);
        assert_eq!(verify(&read), Ok(true), "{method:?}");
    }
}

/// What mail programs do to a text, and what people write into one, changes no value.
#[test]
fn line_ends_comments_and_order_do_not_matter() {
    let request = signed(&PKCS_ECDSA_P256_SHA256, SignatureMethod::EcdsaP256Sha256);
    let text = request.to_string();
    let mailed = text.replace('\n', "\r\n");
    let annotated = text.replace("schema = 1\n", "\n# seen by Anna\nschema = 1 # one\n");
    for text in [mailed, annotated] {
        assert_eq!(verify(&right(&text)), Ok(true), "{text}");
    }
}

#[test]
fn any_changed_value_makes_the_signature_wrong() {
    let request = signed(&PKCS_ECDSA_P256_SHA256, SignatureMethod::EcdsaP256Sha256);
    let text = request.to_string();
    let other = signed(&PKCS_ECDSA_P256_SHA256, SignatureMethod::EcdsaP256Sha256);
    let line = |text: &str, key: &str| {
        let of_key = |line: &&str| line.starts_with(&format!("{key} = "));
        let found = text.lines().find(of_key);
        found
            .map(str::to_owned)
            .unwrap_or_else(|| panic!("no {key}"))
    };
    for (key, instead) in [
        ("device", "device = \"laptop-0418\""),
        ("made", "made = 2026-11-22T18:47:01Z"),
        (
            "addresses",
            "addresses = [\"10.20.255.7/32\", \"fd20::ff08/128\"]",
        ),
        ("addresses", "addresses = [\"10.20.255.7/32\"]"),
        (
            "public_key",
            "public_key = \"xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dk=\"",
        ),
        ("preshared_key", "preshared_key = true"),
        ("serial", "serial = \"piv 4712\""),
        ("key", "key = \"piv:9c\""),
        ("mode", "mode = \"held\""),
        ("algorithm", "algorithm = \"P-384\""),
        ("subject", "subject = \"CN=Eve,O=Exempel kommun,C=SE\""),
        ("certificate", &line(&other.to_string(), "certificate")),
        ("value", &line(&other.to_string(), "value")),
        ("method", "method = \"rsa-pkcs1-sha256\""),
        ("method", "method = \"ecdsa-p384-sha384\""),
    ] {
        let changed = text.replacen(&line(&text, key), instead, 1);
        assert_ne!(changed, text, "{key}");
        assert_eq!(
            verify(&right(&changed)),
            Err(SignatureFault::Wrong),
            "{key}"
        );
    }
}

#[test]
fn every_flipped_byte_is_refused_or_changes_nothing() {
    let request = signed(&PKCS_ECDSA_P256_SHA256, SignatureMethod::EcdsaP256Sha256);
    let text = request.to_string();
    let mut refused = 0;
    for at in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 0x01;
        let changed = String::from_utf8(bytes)
            .ok()
            .and_then(|text| parse(&text).ok());
        match changed {
            // in a comment or a blank, or an upper-case letter that means the same
            Some(same) if same == request => {}
            Some(changed) => {
                let verdict = verify(&changed);
                assert!(verdict.is_err(), "byte {at} of\n{text}");
                refused += 1;
            }
            None => refused += 1,
        }
    }
    assert!(refused > text.len() * 3 / 4, "{refused} of {}", text.len());
}

#[test]
fn a_certificate_of_another_key_or_person_is_refused_even_if_signed() {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let sign = |request: &EnrolmentRequest| Signature::Present {
        method: SignatureMethod::EcdsaP256Sha256,
        public_key: key.subject_public_key_info(),
        value: key.sign(request.to_string().as_bytes()).unwrap(),
    };
    let stolen = signed(&PKCS_ECDSA_P256_SHA256, SignatureMethod::EcdsaP256Sha256).request;
    let fault = Err(SignatureFault::OtherCertificate);
    assert_eq!(sign(&stolen).verify(&stolen).map(|_| ()), fault);

    let mut renamed = stolen;
    let der = CertificateParams::default().self_signed(&key).unwrap();
    let certificate = renamed.card.certificate.as_mut().unwrap();
    certificate.der = der.der().to_vec();
    assert_eq!(sign(&renamed).verify(&renamed).map(|_| ()), fault);

    let certificate = renamed.card.certificate.as_mut().unwrap();
    certificate.der = b"no certificate".to_vec();
    assert_eq!(sign(&renamed).verify(&renamed).map(|_| ()), fault);
}

#[test]
fn the_peer_section_has_hosts_and_says_that_a_preshared_key_is_missing() {
    let mut request = right(UNSIGNED).request;
    request.addresses = vec![
        "10.20.255.7/24".parse().unwrap(),
        "fd20::7/64".parse().unwrap(),
    ];
    request.preshared_key = true;
    assert_eq!(
        request.peer(),
        "[Peer]\n\
         # laptop-0417 \"väst\", card 0006:12345678\n\
         PublicKey = xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=\n\
         AllowedIPs = 10.20.255.7/32, fd20::7/128\n\
         # and PresharedKey, as the laptop was given it\n"
    );
}

#[test]
fn the_time_is_that_of_the_calendar() {
    // from GNU date
    for (unix, text) in [
        (0, "1970-01-01T00:00:00Z"),
        (951_782_399, "2000-02-28T23:59:59Z"),
        (951_868_799, "2000-02-29T23:59:59Z"),
        (1_795_373_220, "2026-11-22T18:47:00Z"),
        (4_107_542_399, "2100-02-28T23:59:59Z"),
        (4_107_542_400, "2100-03-01T00:00:00Z"),
    ] {
        assert_eq!(EnrolmentRequest::time(unix).to_string(), text);
    }
}

#[test]
fn mistakes_are_named_with_their_place() {
    for (from, to, expected) in [
        (
            "schema = 1",
            "schema = 2",
            "request.toml:2:10: 'schema': schema 2 is not known",
        ),
        (
            "made = 2026-11-22T18:47:00Z",
            "made = \"today\"",
            "request.toml:4:8: 'made' is string where a date and time is expected",
        ),
        (
            "mode = \"held\"",
            "mode = \"lent\"",
            "request.toml:12:8: 'card.mode': not one of held, sealed",
        ),
        (
            "reason = \"x25519\"\n",
            "",
            "request.toml:15:2: 'signature.reason' is missing",
        ),
        (
            "algorithm = ",
            "subject = \"CN=A\"\nalgorithm = ",
            "request.toml:9:2: 'card.certificate' is missing",
        ),
        (
            "device = ",
            "devise = ",
            "unknown key 'devise', did you mean 'device'?",
        ),
        (
            "10.20.255.7/32",
            "10.20.255.7",
            "request.toml:5:14: 'addresses': not an address with a prefix length",
        ),
        (
            "laptop-0417",
            "laptop\\n[Peer]",
            "'device': holds a control character",
        ),
    ] {
        let text = UNSIGNED.replacen(from, to, 1);
        assert_ne!(text, UNSIGNED);
        let errors = parse(&text).unwrap_err();
        let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert!(
            said.iter().any(|said| said.contains(expected)),
            "{expected}: {said:#?}"
        );
    }
}

#[test]
fn random_changes_neither_panic_nor_are_believed() {
    const SEED: u64 = 0x656e726f;
    println!("seed {SEED:#x}");
    let mut rng = Rng::with_seed(SEED);
    let request = signed(&PKCS_ECDSA_P256_SHA256, SignatureMethod::EcdsaP256Sha256);
    let text = request.to_string();
    let pieces = [
        "\"",
        "[",
        "]",
        "[signature]\n",
        "\n",
        "=",
        "\\",
        "none",
        "#",
        "''",
        "\u{1F512}",
        "\0",
    ];
    for _ in 0..3000 {
        let mut changed = text.clone();
        for _ in 0..rng.usize(1..4) {
            let at = changed.floor_char_boundary(rng.usize(..changed.len()));
            let end = changed.floor_char_boundary(changed.len().min(at + rng.usize(..40)));
            changed.replace_range(at..end, pieces[rng.usize(..pieces.len())]);
        }
        if let Ok(read) = parse(&changed) {
            let verdict = verify(&read);
            assert!(read == request || verdict != Ok(true), "{changed}");
        }
    }
}

#[test]
fn each_key_is_documented_with_an_example() {
    for key in REQUEST_KEYS {
        let name = key.path.rsplit('.').next().unwrap();
        assert!(
            DOCUMENTATION.contains(&format!("`{name}`")),
            "docs/enrolment.md says nothing of {}",
            key.path
        );
    }
}
