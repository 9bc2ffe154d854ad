//! What the application does, against scripts taken from SP 800-73-4 and from Yubico's documentation.

use super::*;
use crate::Pin;
use crate::script::{Noise, Script, hex};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;

/// Questions and answers that recur.
const DISCOVERY: (&str, &str) = (
    "00CB3FFF 03 5C017E 00",
    "7E12 4F0B A000000308000010000100 5F2F02 4000 9000",
);
const SERIAL: (&str, &str) = ("00F8000000", "00BC614E 9000");
const CHUID: &str = "00CB3FFF 05 5C035FC102 00";
const CERTIFICATE: &str = "00CB3FFF 05 5C035FC10B 00";
const METADATA: &str = "00F7009D00";
const TRIES: &str = "00200080";
const X25519_METADATA: &str = "0101E1 0202 0201 030101 0422 8620 \
     0909090909090909090909090909090909090909090909090909090909090909 050100 9000";

fn typed(pin: &str) -> PinEntry {
    PinEntry::Typed(Pin::new(Zeroizing::new(pin.as_bytes().to_vec())).unwrap())
}

fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// Runs `work` on a card that has been opened already.
fn with<T>(
    exchanges: &[(&str, &str)],
    work: impl FnOnce(&mut Session<'_, Script>) -> Result<T, Error>,
) -> Result<T, Error> {
    let mut card = Script::new(&[&[DISCOVERY, SERIAL], exchanges].concat());
    work(&mut Session::open(&mut card)?)
}

/// A certificate for a new P-256 key, and the key.
fn certified() -> (Vec<u8>, CardKey) {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::default()
        .self_signed(&key)
        .unwrap();
    let key = CardKey::from_spki(&rcgen::PublicKeyData::subject_public_key_info(&key)).unwrap();
    (certificate.der().to_vec(), key)
}

/// The object that a certificate lies in (SP 800-73-4 part 1, table 15).
fn object(certificate: &[u8], info: u8) -> String {
    let content = [
        tlv::wrap(0x70, certificate),
        tlv::wrap(0x71, &[info]),
        tlv::wrap(0xFE, &[]),
    ];
    digits(&tlv::wrap(0x53, &content.concat())) + "9000"
}

fn describe(metadata: &str, certificate: &str) -> Result<Description, Error> {
    let answers = [
        (METADATA, metadata),
        (CERTIFICATE, certificate),
        (TRIES, "63C3"),
    ];
    with(&answers, |session| session.describe())
}

/// Why there is no key; the card is not asked for its PIN then.
fn lack(certificate: &str) -> Option<Error> {
    let answers = [(METADATA, "6D00"), (CERTIFICATE, certificate)];
    with(&answers, |session| session.describe()).err()
}

#[test]
fn the_application_is_selected_only_when_it_is_not() {
    let select = (
        "00A40400 09 A00000030800001000 00",
        "6109 4F0700001000010079 9000",
    );
    for elsewhere in ["6D00", "6A82", "6A88", "7E0A 4F08 D276000124010304 9000"] {
        let mut card = Script::new(&[(DISCOVERY.0, elsewhere), select, DISCOVERY, SERIAL]);
        assert_eq!(Session::open(&mut card).unwrap().serial(), "12345678");
    }
    // cards from before the discovery object are selected each time
    let mut card = Script::new(&[(DISCOVERY.0, "6A82"), select, (DISCOVERY.0, "6A82"), SERIAL]);
    assert!(Session::open(&mut card).is_ok());
}

#[test]
fn a_card_without_the_application_is_named() {
    let open = |status| {
        let select = ("00A40400 09 A00000030800001000 00", status);
        Session::open(&mut Script::new(&[(DISCOVERY.0, "6D00"), select])).err()
    };
    assert_eq!(open("6A82"), Some(Error::NoApplet(CardKind::Piv)));
    let step = "select the PIV application";
    let status = StatusWord(0x6985);
    assert_eq!(open("6985"), Some(Error::Refused { step, status }));
}

#[test]
fn a_card_is_known_by_its_number_its_uuid_or_its_fasc_n() {
    let serial = |chuid: &str| {
        let answers = [DISCOVERY, (SERIAL.0, "6D00"), (CHUID, chuid)];
        Session::open(&mut Script::new(&answers)).map(|session| session.serial().to_owned())
    };
    // part 1, 3.1.2, with the FASC-N of FIPS 201 and the UUID of RFC 9562
    let fasc_n = "3019 D4E739DA739CED39CE739D836858210842108421C84210C3EB";
    let uuid = "3410 550E8400E29B41D4A716446655440000";
    let expiry = "3508 3230333030313031 3E00 FE00 9000";
    assert_eq!(
        serial(&format!("533B {fasc_n} {uuid} {expiry}")).as_deref(),
        Ok("550e8400-e29b-41d4-a716-446655440000")
    );
    let no_uuid = format!("533B {fasc_n} 3410 {} {expiry}", "00".repeat(16));
    assert_eq!(
        serial(&no_uuid).as_deref(),
        Ok("d4e739da739ced39ce739d836858210842108421c84210c3eb")
    );
    for nameless in [
        "6A82",
        "5300 9000",
        &format!("5312 3410 {} 9000", "00".repeat(16)),
    ] {
        assert!(
            matches!(serial(nameless), Err(Error::Nonsense { .. })),
            "{nameless}"
        );
    }
}

#[test]
fn a_yubikey_tells_its_x25519_key() {
    let card = describe(X25519_METADATA, "6A82").unwrap();
    assert_eq!(card.key, CardKey::X25519([9; 32]));
    assert_eq!((card.certificate, card.kind), (None, CardKind::Piv));
    assert_eq!((card.pin.tries_left, card.pin.verified), (3, false));
}

#[test]
fn elsewhere_the_key_is_that_of_the_certificate() {
    let (certificate, key) = certified();
    for silent in ["6D00", "6A88", "9000"] {
        let card = describe(silent, &object(&certificate, 0)).unwrap();
        assert_eq!(
            (card.key, card.certificate.as_ref()),
            (key.clone(), Some(&certificate))
        );
    }
}

#[test]
fn a_compressed_certificate_is_unpacked() {
    let (certificate, key) = certified();
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(&certificate).unwrap();
    let packed = packed.finish().unwrap();
    let card = describe("6D00", &object(&packed, 1)).unwrap();
    assert_eq!((card.key, card.certificate), (key, Some(certificate)));

    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    bomb.write_all(&vec![0; 1 << 20]).unwrap();
    for wrong in [
        packed[..packed.len() / 2].to_vec(),
        vec![0x1F, 0x8B],
        bomb.finish().unwrap(),
    ] {
        let what = "it does not decompress";
        let step = "read its certificate";
        assert_eq!(
            lack(&object(&wrong, 1)),
            Some(Error::Nonsense { step, what })
        );
    }
}

#[test]
fn a_replaced_keys_certificate_is_left_out() {
    let (certificate, _) = certified();
    let card = describe(X25519_METADATA, &object(&certificate, 0)).unwrap();
    assert_eq!(
        (card.key, card.certificate),
        (CardKey::X25519([9; 32]), None)
    );
}

#[test]
fn cards_that_cannot_serve_say_why() {
    for empty in ["6A82", "5300 9000", "5307 7000 710100 FE00 9000"] {
        assert_eq!(lack(empty), Some(Error::NoKey), "{empty}");
    }
    let no_certificate = object(b"not a certificate", 0);
    assert_eq!(lack(&no_certificate), Some(Error::Unsupported));
    // RSA-1024
    let old = format!("010106 0422 8120 {} 9000", "C1".repeat(32));
    assert_eq!(
        with(&[(METADATA, &old)], |session| session.describe()),
        Err(Error::Unsupported)
    );
}

#[test]
fn the_card_says_which_pin_its_holder_knows() {
    for (policy, reference) in [
        ("4000", "80"),
        ("4010", "80"),
        ("6010", "80"),
        ("6020", "00"),
        ("4020", "80"),
    ] {
        let discovery = DISCOVERY.1.replace("4000 9000", &format!("{policy} 9000"));
        let tries = format!("002000{reference}");
        let mut card = Script::new(&[(DISCOVERY.0, &discovery), SERIAL, (&tries, "63C5")]);
        let status = Session::open(&mut card).unwrap().pin_status().unwrap();
        assert_eq!((status.tries_left, status.verified), (5, false), "{policy}");
    }
}

#[test]
fn tries_are_told_without_spending_one() {
    let status = |exchanges: &[(&str, &str)]| {
        let status = with(exchanges, |session| session.pin_status())?;
        Ok((status.tries_left, status.verified))
    };
    assert_eq!(status(&[(TRIES, "63C1")]), Ok((1, false)));
    assert_eq!(status(&[(TRIES, "63C0")]), Ok((0, false)));
    assert_eq!(status(&[(TRIES, "6983")]), Ok((0, false)));
    // a verified card does not say, unless it has metadata of its PIN: 8 tries, all of them left
    assert_eq!(
        status(&[(TRIES, "9000"), ("00F7008000", "6D00")]),
        Ok((3, true))
    );
    let metadata = "0101FF 050101 06020808 9000";
    assert_eq!(
        status(&[(TRIES, "9000"), ("00F7008000", metadata)]),
        Ok((8, true))
    );
    let step = "tell the PIN tries left";
    let strange = Error::Refused {
        step,
        status: StatusWord(0x6A80),
    };
    assert_eq!(status(&[(TRIES, "6A80")]), Err(strange));
}

#[test]
fn a_pin_is_filled_up_to_eight_bytes() {
    let verify = |pin: &str, command: &str, status: &str| {
        with(&[(command, status)], |session| session.verify(&typed(pin)))
    };
    let six = "00200080 08 313233343536FFFF";
    assert_eq!(verify("123456", six, "9000"), Ok(()));
    assert_eq!(
        verify("12345678", "00200080 08 3132333435363738", "9000"),
        Ok(())
    );
    assert_eq!(
        verify("123456", six, "63C2"),
        Err(Error::WrongPin { left: 2 })
    );
    assert_eq!(verify("123456", six, "63C0"), Err(Error::Blocked));
    assert_eq!(verify("123456", six, "6983"), Err(Error::Blocked));
    let too_long = Err(Error::PinLength { min: 6, max: 8 });
    assert_eq!(
        with(&[], |session| session.verify(&typed("123456789"))),
        too_long
    );
}

#[test]
fn locking_is_believed_only_when_seen() {
    let forget = "0020FF80";
    let lock = |exchanges: &[(&str, &str)]| with(exchanges, |session| session.unverify());
    assert_eq!(lock(&[(forget, "9000"), (TRIES, "63C3")]), Ok(()));
    assert_eq!(lock(&[(forget, "6A86"), (TRIES, "63C3")]), Ok(()));
    let refused = Error::Refused {
        step: "forget the PIN",
        status: StatusWord(0x6A86),
    };
    assert_eq!(lock(&[(forget, "6A86"), (TRIES, "9000")]), Err(refused));
}

/// Yubico's PIV extensions: algorithm E1, the point under 85 as RFC 7748 has it.
#[test]
fn a_diffie_hellman_with_x25519_is_32_bytes_and_not_zero() {
    let command = format!("0087E19D 26 7C24 8200 8520 {} 00", "42".repeat(32));
    let agree = |answer: &str| {
        with(&[(&command, answer)], |session| session.agree(&[0x42; 32]))
            .map(|secret| *secret.as_bytes())
    };
    let step = "compute the Diffie-Hellman";
    let right = format!("7C22 8220 {} 9000", "07".repeat(32));
    assert_eq!(agree(&right), Ok([7; 32]));
    assert_eq!(agree(&right.replace("07", "00")), Err(Error::ZeroSecret));
    assert_eq!(agree("6982"), Err(Error::Locked));
    let status = StatusWord(0x6A86);
    assert_eq!(agree("6A86"), Err(Error::Refused { step, status }));
    let what = "not 32 bytes";
    assert_eq!(
        agree("7C03 820107 9000"),
        Err(Error::Nonsense { step, what })
    );
    for nothing in ["9000", "7C00 9000", "7C02 8200 9000", "8220 9000"] {
        assert!(
            matches!(agree(nothing), Err(Error::Nonsense { .. })),
            "{nothing}"
        );
    }
}

/// SP 800-73-4 part 2, appendix A.5: the point under 85, the X coordinate back under 82.
#[test]
fn a_sealed_key_is_agreed_on_with_either_curve() {
    for (reference, header, length) in [
        ("11", "47 7C45 8200 8541", 32),
        ("14", "67 7C65 8200 8561", 48),
    ] {
        let point = [vec![4], vec![0x33; 2 * length]].concat();
        let command = format!("0087{reference}9D {header} {} 00", digits(&point));
        let answer = format!(
            "7C{:02X} 82{length:02X} {} 9000",
            length + 2,
            "05".repeat(length)
        );
        let challenge = Challenge::Agree(point);
        let answered = with(&[(&command, &answer)], |session| session.answer(&challenge)).unwrap();
        assert!(matches!(answered, Answer::Agreed(secret) if secret.as_slice() == vec![5; length]));
        let longer = format!(
            "7C{:02X} 82{:02X} {} 9000",
            length + 3,
            length + 1,
            "05".repeat(length + 1)
        );
        let refused = with(&[(&command, &longer)], |session| session.answer(&challenge));
        assert!(matches!(refused, Err(Error::Nonsense { .. })));
    }
    let strange = with(&[], |session| {
        session.answer(&Challenge::Agree(vec![4; 133]))
    });
    assert_eq!(strange.err(), Some(Error::Unsupported), "P-521");
}

/// SP 800-73-4 part 2, appendix A.4: 256 bytes do not fit a short command, nor a short response.
#[test]
fn an_rsa_block_goes_both_ways_in_parts() {
    let ciphertext = vec![0x66; 256];
    let template = format!("7C820106 8200 81820100 {}", digits(&ciphertext));
    let template = digits(&hex(&template));
    let (first, second) = template.split_at(2 * 255);
    let first = format!("1087079D FF {first}");
    let second = format!("0087079D {:02X} {second} 00", second.len() / 2);
    let answer = digits(&hex(&format!("7C820104 82820100 {}", "08".repeat(256))));
    let (part, rest) = answer.split_at(2 * 256);
    let challenge = Challenge::Decrypt(ciphertext, crate::applet::Padding::OaepSha256);
    let exchanges = [
        (first.as_str(), "9000"),
        (&second, &format!("{part} 6108")),
        ("00C0000008", &format!("{rest} 9000")),
    ];
    let answered = with(&exchanges, |session| session.answer(&challenge)).unwrap();
    assert!(matches!(answered, Answer::Block(block) if block.as_slice() == [8; 256]));
}

#[test]
fn an_rsa_key_signs_what_verifies() {
    let key = rsa::raw::RawRsa::shared();
    let card_key = key.card_key();
    let mut received = Vec::new();
    let mut card = |command: &[u8]| {
        let answer = match hex(DISCOVERY.0) == command {
            true => hex(DISCOVERY.1),
            false if command == hex(SERIAL.0) => hex(SERIAL.1),
            false => {
                let length = usize::from(command[4]);
                received.extend_from_slice(&command[5..5 + length]);
                if command[0] == 0x10 {
                    return Ok(vec![0x90, 0x00]);
                }
                let template = tlv::find(&received, 0x7C).unwrap().unwrap();
                let block = tlv::find(template, 0x81).unwrap().unwrap();
                let response = tlv::wrap(0x7C, &tlv::wrap(0x82, &key.raw(block)));
                [response, vec![0x90, 0x00]].concat()
            }
        };
        Ok(answer)
    };
    let signature = Session::open(&mut card)
        .unwrap()
        .sign(&card_key, b"a request")
        .unwrap();
    let (n, e) = key.components();
    aws_lc_rs::signature::RsaPublicKeyComponents { n, e }
        .verify(
            &aws_lc_rs::signature::RSA_PKCS1_2048_8192_SHA256,
            b"a request",
            &signature,
        )
        .unwrap();
}

/// What the management key makes of a challenge, by the standards' own examples.
#[test]
fn a_challenge_is_answered_as_the_standards_say() {
    let cases = [
        // SP 800-67, appendix B
        (
            "03",
            "0123456789ABCDEF23456789ABCDEF01456789ABCDEF0123",
            "5468652071756663",
            "A826FD8CE53B855F",
        ),
        // FIPS 197, appendix C
        (
            "08",
            "000102030405060708090A0B0C0D0E0F",
            FIPS_197,
            "69C4E0D86A7B0430D8CDB78070B4C55A",
        ),
        (
            "0A",
            "000102030405060708090A0B0C0D0E0F1011121314151617",
            FIPS_197,
            "DDA97CA4864CDFE06EAF70A0EC0D7191",
        ),
        (
            "0C",
            "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F",
            FIPS_197,
            "8EA2B7CA516745BFEAFC49904B496089",
        ),
    ];
    for (algorithm, key, challenge, response) in cases {
        let key = ManagementKey::new(Zeroizing::new(hex(key))).unwrap();
        let length = challenge.len() / 2;
        let (outer, metadata) = (length + 2, format!("0101{algorithm} 0202 0001 050100 9000"));
        let asked = format!("0087{algorithm}9B 04 7C028100 00");
        let challenged = format!("7C{outer:02X} 81{length:02X} {challenge} 9000");
        let answered = format!(
            "0087{algorithm}9B {:02X} 7C{outer:02X} 82{length:02X} {response} 00",
            outer + 2
        );
        let exchanges = [
            ("00F7009B00", metadata.as_str()),
            (&asked, &challenged),
            (&answered, "9000"),
        ];
        assert_eq!(
            with(&exchanges, |session| session.authenticate(&key)),
            Ok(()),
            "{algorithm}"
        );
        // a card that does not tell its algorithm has the one of the key's length; AES-192 is rare among these
        if algorithm != "0A" {
            let silent = [("00F7009B00", "6D00"), exchanges[1], exchanges[2]];
            assert_eq!(
                with(&silent, |session| session.authenticate(&key)),
                Ok(()),
                "{algorithm}"
            );
        }
        let wrong = [exchanges[0], exchanges[1], (&answered, "6982")];
        assert!(with(&wrong, |session| session.authenticate(&key)).is_err());
    }
}

const FIPS_197: &str = "00112233445566778899AABBCCDDEEFF";

#[test]
fn a_management_key_that_does_not_fit_is_refused() {
    for length in [0, 8, 15, 17, 33] {
        assert_eq!(
            ManagementKey::new(Zeroizing::new(vec![1; length])).err(),
            Some(BadManagementKey)
        );
    }
    let key = ManagementKey::new(Zeroizing::new(vec![1; 16])).unwrap();
    let exchanges = [
        ("00F7009B00", "010103 9000"),
        ("0087039B 04 7C028100 00", "7C0A 8108 5468652071756663 9000"),
    ];
    assert_eq!(
        with(&exchanges, |session| session.authenticate(&key)),
        Err(Error::Unsupported)
    );
}

#[test]
fn a_new_key_and_its_certificate_are_put_where_they_belong() {
    let answer = format!("7F4922 8620 {} 9000", "09".repeat(32));
    let generate = [("0047009D 05 AC038001E1 00", answer.as_str())];
    assert_eq!(
        with(&generate, |session| session.generate(Algorithm::X25519)),
        Ok(CardKey::X25519([9; 32]))
    );

    let put = "00DB3FFF 11 5C035FC10B 530A 7003ABCDEF 710100 FE00 00";
    assert_eq!(
        with(&[(put, "9000")], |session| session
            .put_certificate(&[0xAB, 0xCD, 0xEF])),
        Ok(())
    );
    let step = "keep a certificate";
    let status = StatusWord(0x6A84);
    let full = with(&[(put, "6A84")], |session| {
        session.put_certificate(&[0xAB, 0xCD, 0xEF])
    });
    assert_eq!(full, Err(Error::Refused { step, status }));
}

/// A card that is right up to a point and then answers noise, a truncated answer, one bit flipped, far too much, or for ever.
#[test]
fn noise_is_an_error_and_does_not_panic() {
    let (certificate, _) = certified();
    let object = object(&certificate, 0);
    let sound: Vec<(Vec<u8>, Vec<u8>)> = [
        DISCOVERY,
        SERIAL,
        (METADATA, X25519_METADATA),
        (CERTIFICATE, &object),
        (TRIES, "63C3"),
        ("00F7009B00", "010103 9000"),
        ("0087039B 04 7C028100 00", "7C0A 8108 5468652071756663 9000"),
    ]
    .map(|(command, response)| (hex(command), hex(response)))
    .to_vec();
    let key = ManagementKey::new(Zeroizing::new(vec![1; 24])).unwrap();
    let seed = 0x5049_5653_u64;
    println!("seed {seed:#x}");
    let mut noise = Noise(seed);
    let mut refused = 0;
    for _ in 0..5_000 {
        let mut card = |command: &[u8]| {
            let known = sound.iter().find(|(known, _)| known == command);
            Ok(noise.spoil(known.map_or(vec![0x90, 0], |(_, answer)| answer.clone())))
        };
        let outcome = Session::open(&mut card).and_then(|mut session| {
            session.describe()?;
            session.verify(&typed("123456"))?;
            session.answer(&Challenge::Agree(vec![4; 65]))?;
            session.answer(&Challenge::Sign(vec![1]))?;
            session.authenticate(&key)?;
            session.generate(Algorithm::Rsa2048)?;
            session.agree(&[9; 32])
        });
        refused += u32::from(outcome.is_err());
    }
    assert!(
        refused > 4_500,
        "only {refused} were noticed: nothing here ends well but by chance"
    );
}
