//! The binding of one laptop to one card: read, written, and its secret kept.

use sluss_policy::{CardBinding, DeviceBinding, KeyId, PolicyError, Problem, Source, ValueError};

const SECRET: &str = "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlYyE=";

const BINDING: &str = r#"
schema = 1
addresses = ["10.20.255.7/32", "fd20::ff07/128"]
preshared_key = "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlYyE="

[card]
serial = "Net iD \"väst\": 4711"
public_key = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
key = "pkcs11:2b1c"
sealed_key = "U2x1c3Mgd2FzIGhlcmU="
"#;

fn parse(text: &str) -> Result<DeviceBinding, Vec<PolicyError>> {
    let file = "device.toml";
    DeviceBinding::parse(Source { file, text })
}

fn right(text: &str) -> DeviceBinding {
    parse(text).unwrap_or_else(|errors| panic!("{}", errors[0]))
}

fn first_mistake(text: &str) -> PolicyError {
    let Err(mut errors) = parse(text) else {
        panic!("it has a mistake: {text}")
    };
    errors.swap_remove(0)
}

#[test]
fn what_enrolment_writes_reads_back_as_the_same() {
    let held = CardBinding {
        serial: "0006:12345678".to_owned(),
        public_key: [7; 32].into(),
        key: None,
        sealed_key: None,
    };
    let held = DeviceBinding {
        addresses: vec!["10.20.255.7/32".parse().expect("an address")],
        card: held,
        preshared_key: None,
    };
    let sealed = right(BINDING);
    for binding in [held, sealed] {
        let text = binding.to_toml();
        let again = right(&text);
        assert_eq!(again.addresses, binding.addresses);
        assert_eq!(again.card, binding.card);
        let bytes =
            |binding: &DeviceBinding| binding.preshared_key.as_ref().map(|key| *key.as_bytes());
        assert_eq!(bytes(&again), bytes(&binding));
    }
}

#[test]
fn a_sealed_key_and_its_place_on_the_card_are_read() {
    let card = right(BINDING).card;
    assert_eq!(card.serial, "Net iD \"väst\": 4711");
    assert_eq!(card.key.as_ref().map(KeyId::as_str), Some("pkcs11:2b1c"));
    let longest = format!("pkcs11:{}", "ab".repeat(255));
    let card = right(&BINDING.replace("pkcs11:2b1c", &longest)).card;
    assert_eq!(card.key.as_ref().map(KeyId::as_str), Some(longest.as_str()));
    // echo -n 'Sluss was here' | base64
    assert_eq!(card.sealed_key.as_deref(), Some(&b"Sluss was here"[..]));
}

#[test]
fn a_sealed_key_without_the_key_that_opens_it_is_refused() {
    let error = first_mistake(&BINDING.replace("key = \"pkcs11:2b1c\"\n", ""));
    assert_eq!(
        error.to_string(),
        "device.toml:6:2: 'card.key' is missing, for example: key = \"openpgp:dec\""
    );
}

#[test]
fn a_key_that_cannot_be_named_or_sealed_is_refused() {
    for (piece, replacement, reason) in [
        ("pkcs11:2b1c", "pkcs11:", ValueError::NotAKeyId),
        ("pkcs11:2b1c", "dec", ValueError::NotAKeyId),
        ("pkcs11:2b1c", "piv:9d:1", ValueError::NotAKeyId),
        ("pkcs11:2b1c", "piv:../9d", ValueError::NotAKeyId),
        ("U2x1c3Mgd2FzIGhlcmU=", "U2x1c3M*", ValueError::NotBase64),
        ("U2x1c3Mgd2FzIGhlcmU=", "", ValueError::Empty),
        (
            "U2x1c3Mgd2FzIGhlcmU=",
            &"QUJD".repeat(1400),
            ValueError::TooLong { limit: 4096 },
        ),
    ] {
        match first_mistake(&BINDING.replace(piece, replacement)).problem {
            Problem::BadValue { reason: found, .. } => assert_eq!(found, reason, "{replacement}"),
            problem => panic!("{replacement}: {problem}"),
        }
    }
}

#[test]
fn a_preshared_key_is_read_and_never_repeated() {
    let device = right(BINDING);
    assert_eq!(
        device.preshared_key.expect("it is there").as_bytes(),
        b"secret secret secret secret sec!"
    );

    let error = first_mistake(&BINDING.replace(SECRET, &SECRET[4..]));
    assert_eq!(
        error.problem,
        Problem::BadValue {
            key: "preshared_key",
            reason: ValueError::WrongLength {
                expected: 32,
                found: 29
            },
            example: "preshared_key = \"BASE64 OF 32 BYTES\""
        }
    );
    assert!(!error.to_string().contains(&SECRET[4..12]));
}
