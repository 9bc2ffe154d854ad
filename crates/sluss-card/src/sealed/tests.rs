//! Seals against cards made of paper: every method, every way to spoil a file or an answer, and the published vectors.

use super::*;
use crate::rsa::raw::RawRsa;
use crate::script::{Noise, hex};
use aws_lc_rs::agreement::Algorithm as Curve;
use aws_lc_rs::rsa::KeySize;

const SECRET: [u8; 32] = [0x5A; 32];
const SERIAL: &str = "0006:12345678";

/// A card with one key.
enum Paper {
    Curve(&'static Curve, PrivateKey),
    Rsa(&'static RawRsa),
}

impl Paper {
    fn curve(curve: &'static Curve) -> Self {
        Self::Curve(curve, PrivateKey::generate(curve).unwrap())
    }

    fn rsa() -> Self {
        Self::Rsa(RawRsa::shared())
    }

    fn key(&self) -> CardKey {
        match self {
            Self::Curve(_, key) => {
                CardKey::from_point(key.compute_public_key().unwrap().as_ref()).unwrap()
            }
            Self::Rsa(key) => key.card_key(),
        }
    }

    fn answer(&self, challenge: &Challenge) -> Answer {
        match (self, challenge) {
            (Self::Curve(curve, key), Challenge::Agree(point)) => {
                let point = UnparsedPublicKey::new(curve, point);
                let secret = agree(key, point, (), |secret| Ok(secret.to_vec())).unwrap();
                Answer::Agreed(Zeroizing::new(secret))
            }
            (Self::Rsa(key), Challenge::Decrypt(ciphertext, _)) => {
                Answer::Block(Zeroizing::new(key.raw(ciphertext)))
            }
            (Self::Rsa(key), Challenge::Sign(message)) => {
                let block = rsa::signature_block(message, key.length());
                Answer::Signed(Zeroizing::new(key.raw(&block)))
            }
            (Self::Curve(..) | Self::Rsa(_), _) => panic!("{challenge:?} is not for this card"),
        }
    }

    fn seal(&self, method: Method) -> Vec<u8> {
        if method == Method::RsaSignature {
            let seal =
                SignatureSeal::begin(x25519::public_key(&SECRET), &self.key(), SERIAL).unwrap();
            seal.finish(&SECRET, &self.answer(&seal.challenge()))
                .unwrap()
        } else {
            seal(&SECRET, method, &self.key(), SERIAL).unwrap()
        }
    }
}

fn every_method() -> [(Method, Paper); 5] {
    [
        (Method::EcdhP256, Paper::curve(&ECDH_P256)),
        (Method::EcdhP384, Paper::curve(&ECDH_P384)),
        (Method::RsaOaepSha256, Paper::rsa()),
        (Method::RsaPkcs1, Paper::rsa()),
        (Method::RsaSignature, Paper::rsa()),
    ]
}

fn open(file: &[u8], answer: &Answer) -> Result<[u8; 32], Error> {
    let mut key = [0xEE; 32];
    let result = SealedKey::parse(file)?.open(answer, &mut key);
    assert!(result.is_ok() || key == [0; 32], "something was left of it");
    result.map(|()| key)
}

#[test]
fn what_is_sealed_opens_with_its_card() {
    for (method, card) in every_method() {
        let file = card.seal(method);
        let sealed = SealedKey::parse(&file).unwrap();
        assert_eq!((sealed.method(), sealed.serial()), (method, SERIAL));
        assert_eq!(*sealed.public_key(), x25519::public_key(&SECRET));
        assert!(sealed.is_for(&card.key()));
        assert!(method.suits(card.key().algorithm()));
        assert_eq!(
            open(&file, &card.answer(&sealed.challenge())),
            Ok(SECRET),
            "{method:?}"
        );
    }
}

#[test]
fn longer_rsa_keys_open_as_well() {
    for size in [KeySize::Rsa3072, KeySize::Rsa4096] {
        let card = RawRsa::generate(size);
        for method in [Method::RsaOaepSha256, Method::RsaPkcs1] {
            let file = seal(&SECRET, method, &card.card_key(), SERIAL).unwrap();
            let Challenge::Decrypt(ciphertext, _) = SealedKey::parse(&file).unwrap().challenge()
            else {
                panic!("nothing to decrypt");
            };
            let block = Answer::Block(Zeroizing::new(card.raw(&ciphertext)));
            assert_eq!(open(&file, &block), Ok(SECRET), "{method:?}");
        }
    }
}

#[test]
fn middleware_may_take_the_padding_off() {
    let card = RawRsa::shared();
    for method in [Method::RsaOaepSha256, Method::RsaPkcs1] {
        let file = seal(&SECRET, method, &card.card_key(), SERIAL).unwrap();
        let Challenge::Decrypt(ciphertext, padding) = SealedKey::parse(&file).unwrap().challenge()
        else {
            panic!("nothing to decrypt");
        };
        let block = card.raw(&ciphertext);
        let (_, plain) = match padding {
            Padding::OaepSha256 => rsa::unpad_oaep(&block).unwrap(),
            Padding::Pkcs1 => rsa::unpad_pkcs1(&block).unwrap(),
        };
        let plain = Answer::Plain(Zeroizing::new(plain.to_vec()));
        assert_eq!(open(&file, &plain), Ok(SECRET), "{method:?}");
    }
}

#[test]
fn the_published_vectors_open() {
    let page = include_str!("../../../../docs/sealed-key.md");
    let mut opened = Vec::new();
    for section in page.split("\n### ").skip(1) {
        let part = |name: &str| {
            let (_, after) = section.split_once(&format!("\n{name}:\n"))?;
            let digits = after.lines().take_while(|line| line.starts_with("  "));
            Some(hex(&digits.collect::<String>()))
        };
        let sealed = SealedKey::parse(&part("file").unwrap()).unwrap();
        assert!(sealed.is_for(&CardKey::from_spki(&part("card key").unwrap()).unwrap()));
        let answer = ["agreed", "block", "signed"].into_iter().find_map(|name| {
            let secret = Zeroizing::new(part(name)?);
            Some(match name {
                "agreed" => Answer::Agreed(secret),
                "block" => Answer::Block(secret),
                _ => Answer::Signed(secret),
            })
        });
        let mut key = [0; 32];
        sealed.open(&answer.unwrap(), &mut key).unwrap();
        assert_eq!(key.as_slice(), part("private key").unwrap());
        opened.push(sealed.method());
    }
    let all = [
        Method::EcdhP256,
        Method::EcdhP384,
        Method::RsaOaepSha256,
        Method::RsaPkcs1,
        Method::RsaSignature,
    ];
    assert_eq!(opened, all);
}

/// With the right card's answer to the file as it was: the best that a forger could hope for.
#[test]
fn a_bit_that_is_wrong_anywhere_is_refused() {
    for (method, card) in every_method() {
        let file = card.seal(method);
        let answer = card.answer(&SealedKey::parse(&file).unwrap().challenge());
        for bit in 0..file.len() * 8 {
            let mut flipped = file.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&flipped, &answer).is_err(), "{method:?}, bit {bit}");
        }
    }
}

#[test]
fn a_file_that_is_cut_off_or_goes_on_is_damaged() {
    for (method, card) in every_method() {
        let file = card.seal(method);
        for length in 0..file.len() {
            let error = SealedKey::parse(&file[..length]).unwrap_err();
            assert!(
                matches!(error, Error::Foreign | Error::Damaged(_)),
                "{method:?} up to {length}: {error}"
            );
        }
        let longer = [file.as_slice(), &[0]].concat();
        assert!(matches!(SealedKey::parse(&longer), Err(Error::Damaged(_))));
    }
}

#[test]
fn a_later_version_is_named_as_such() {
    let mut file = Paper::curve(&ECDH_P256).seal(Method::EcdhP256);
    file[8] = 2;
    assert_eq!(SealedKey::parse(&file), Err(Error::Version(2)));
    file[8] = 0;
    assert!(matches!(SealedKey::parse(&file), Err(Error::Damaged(_))));
}

#[test]
fn every_answer_that_does_not_open_is_refused_alike() {
    let wrong = |length: usize| Zeroizing::new(vec![0x17; length]);
    for (method, card) in every_method() {
        let file = card.seal(method);
        for length in [0, 1, 31, 32, 33, 48, 255, 256, 384, 512, 513, 4096] {
            for answer in [
                Answer::Agreed(wrong(length)),
                Answer::Block(wrong(length)),
                Answer::Plain(wrong(length)),
                Answer::Signed(wrong(length)),
            ] {
                assert_eq!(
                    open(&file, &answer),
                    Err(Error::Closed),
                    "{method:?}, {length}"
                );
            }
        }
    }
    // zeros are what a wrong padding is taken for
    let card = Paper::rsa();
    let zeros = Answer::Plain(Zeroizing::new(vec![0; 32]));
    assert_eq!(
        open(&card.seal(Method::RsaPkcs1), &zeros),
        Err(Error::Closed)
    );
}

#[test]
fn another_card_of_the_same_kind_does_not_open() {
    let (mine, yours) = (Paper::curve(&ECDH_P256), Paper::curve(&ECDH_P256));
    let file = mine.seal(Method::EcdhP256);
    let sealed = SealedKey::parse(&file).unwrap();
    assert!(!sealed.is_for(&yours.key()));
    assert_eq!(
        open(&file, &yours.answer(&sealed.challenge())),
        Err(Error::Closed)
    );
}

/// Whoever knows the card's public key can seal to it, and claim what they like.
#[test]
fn a_file_that_belies_its_content_does_not_open() {
    let card = Paper::curve(&ECDH_P256);
    let CardKey::P256(point) = card.key() else {
        panic!("another curve");
    };
    let (wrap, secret) = agree_once(&ECDH_P256, &point[..]).unwrap();
    let claimed = x25519::public_key(&[1; 32]);
    let header = Header::new(Method::EcdhP256, claimed, &card.key(), SERIAL, &wrap).unwrap();
    let file = encrypt_key(&header, &secret, &SECRET).unwrap();
    let answer = card.answer(&SealedKey::parse(&file).unwrap().challenge());
    assert_eq!(open(&file, &answer), Err(Error::Closed));
}

#[test]
fn no_two_seals_are_alike() {
    for (method, card) in every_method() {
        let (one, other) = (card.seal(method), card.seal(method));
        let ciphertext = |file: &[u8]| file[file.len() - 48..].to_vec();
        assert_ne!(ciphertext(&one), ciphertext(&other), "{method:?}");
    }
}

#[test]
fn a_key_is_sealed_only_by_what_it_can_do() {
    let (p256, rsa) = (Paper::curve(&ECDH_P256).key(), Paper::rsa().key());
    let refused = |method, key| seal(&SECRET, method, key, SERIAL).unwrap_err();
    assert_eq!(refused(Method::EcdhP384, &p256), Error::Unsuitable);
    assert_eq!(refused(Method::RsaOaepSha256, &p256), Error::Unsuitable);
    assert_eq!(refused(Method::EcdhP256, &rsa), Error::Unsuitable);
    assert_eq!(refused(Method::RsaSignature, &rsa), Error::Unsuitable);
    assert_eq!(
        refused(Method::EcdhP256, &CardKey::X25519([9; 32])),
        Error::Unsuitable
    );
    assert_eq!(
        SignatureSeal::begin([9; 32], &p256, SERIAL).err(),
        Some(Error::Unsuitable)
    );
    let off_the_curve = CardKey::from_point(&[&[4], &[7; 64][..]].concat()).unwrap();
    assert_eq!(refused(Method::EcdhP256, &off_the_curve), Error::PublicKey);
}

#[test]
fn serial_numbers_are_short_and_printable() {
    let key = Paper::curve(&ECDH_P256).key();
    for serial in ["1", "Skåp 7: 0011", &"x".repeat(96)] {
        let file = seal(&SECRET, Method::EcdhP256, &key, serial).unwrap();
        assert_eq!(SealedKey::parse(&file).unwrap().serial(), serial);
    }
    for serial in ["", "line\nbreak", "nul\0", &"x".repeat(97)] {
        assert_eq!(
            seal(&SECRET, Method::EcdhP256, &key, serial),
            Err(Error::Serial)
        );
    }
}

#[test]
fn a_signature_has_to_be_the_cards_own() {
    let card = Paper::rsa();
    let begun = || SignatureSeal::begin(x25519::public_key(&SECRET), &card.key(), SERIAL).unwrap();
    let (seal, another) = (begun(), begun());
    let signature = card.answer(&seal.challenge());
    assert_eq!(
        another.finish(&SECRET, &signature),
        Err(Error::Signature),
        "of another challenge"
    );
    let zeros = Answer::Signed(Zeroizing::new(vec![0; 256]));
    assert_eq!(seal.finish(&SECRET, &zeros), Err(Error::Signature));
    assert_eq!(
        seal.finish(&[1; 32], &signature),
        Err(Error::Unsuitable),
        "another private key"
    );
    assert!(seal.finish(&SECRET, &signature).is_ok());
}

#[test]
fn noise_is_refused_and_nothing_else() {
    let seed = 0x5EA1_ED00_u64;
    println!("seed {seed:#x}");
    let mut noise = Noise(seed);
    for _ in 0..20_000 {
        let length = noise.next(300);
        let mut file: Vec<u8> = (0..length).map(|_| noise.next(256) as u8).collect();
        let header = b"SLUSSKEY\x01\x01";
        let kept = noise.next(header.len() + 1).min(file.len());
        file[..kept].copy_from_slice(&header[..kept]);
        assert!(SealedKey::parse(&file).is_err());
    }
}
