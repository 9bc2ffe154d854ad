//! Keys and certificates as other implementations write them.

use super::*;
use aws_lc_rs::agreement::{self, PrivateKey};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeySize, PrivateDecryptingKey};
use rcgen::CertificateParams as Params;

/// What aws-lc writes for new keys of every kind.
fn foreign() -> Vec<(Algorithm, Vec<u8>)> {
    let curves = [
        (Algorithm::X25519, &agreement::X25519),
        (Algorithm::P256, &agreement::ECDH_P256),
        (Algorithm::P384, &agreement::ECDH_P384),
    ];
    let sizes = [
        (Algorithm::Rsa2048, KeySize::Rsa2048),
        (Algorithm::Rsa3072, KeySize::Rsa3072),
        (Algorithm::Rsa4096, KeySize::Rsa4096),
    ];
    let curves = curves.into_iter().map(|(algorithm, curve)| {
        let key = PrivateKey::generate(curve)
            .unwrap()
            .compute_public_key()
            .unwrap();
        let der: PublicKeyX509Der<'_> = key.as_der().unwrap();
        (algorithm, der.as_ref().to_vec())
    });
    let sizes = sizes.into_iter().map(|(algorithm, size)| {
        let key = PrivateDecryptingKey::generate(size).unwrap().public_key();
        let der: PublicKeyX509Der<'_> = key.as_der().unwrap();
        (algorithm, der.as_ref().to_vec())
    });
    curves.chain(sizes).collect()
}

#[test]
fn another_implementations_keys_are_read_and_written_alike() {
    for (algorithm, der) in foreign() {
        let key = CardKey::from_spki(&der).unwrap_or_else(|| panic!("{algorithm:?}"));
        assert_eq!(key.algorithm(), algorithm);
        assert_eq!(key.to_spki(), der, "{algorithm:?}");
        assert_eq!(key.fingerprint(), digest(&SHA256, &der).as_ref());
    }
}

#[test]
fn the_key_is_found_in_a_certificate() {
    let issuer = rcgen::Issuer::new(Params::default(), rcgen::KeyPair::generate().unwrap());
    for (algorithm, der) in foreign() {
        if algorithm == Algorithm::X25519 {
            continue; // the library knows no such certificates
        }
        let subject = rcgen::SubjectPublicKeyInfo::from_der(&der).unwrap();
        let certificate = Params::default().signed_by(&subject, &issuer).unwrap();
        let key = CardKey::from_certificate(certificate.der());
        assert_eq!(key, CardKey::from_spki(&der), "{algorithm:?}");
        for length in 0..der.len() {
            assert_eq!(
                CardKey::from_certificate(&certificate.der()[..length]),
                None
            );
        }
    }
}

#[test]
fn a_key_that_is_cut_off_or_goes_on_is_none() {
    for (algorithm, der) in foreign() {
        for length in 0..der.len() {
            assert_eq!(
                CardKey::from_spki(&der[..length]),
                None,
                "{algorithm:?} up to {length}"
            );
        }
        assert_eq!(CardKey::from_spki(&[der, vec![0]].concat()), None);
    }
}

#[test]
fn rsa_keys_of_other_sizes_and_shapes_are_none() {
    let modulus = |length: usize, last: u8| {
        let mut modulus = vec![0xC0; length];
        modulus[length - 1] = last;
        modulus
    };
    let e = [1, 0, 1];
    assert!(CardKey::from_rsa(&modulus(256, 1), &e).is_some());
    let leading_zero = [vec![0], modulus(256, 1)].concat();
    assert_eq!(
        CardKey::from_rsa(&leading_zero, &[0, 1, 0, 1]),
        CardKey::from_rsa(&modulus(256, 1), &e)
    );
    for length in [1, 128, 255, 257, 320, 1024] {
        assert_eq!(
            CardKey::from_rsa(&modulus(length, 1), &e),
            None,
            "{length} bytes"
        );
    }
    assert_eq!(
        CardKey::from_rsa(&modulus(256, 2), &e),
        None,
        "an even modulus"
    );
    assert_eq!(
        CardKey::from_rsa(&[&[0x7F], &modulus(255, 1)[..]].concat(), &e),
        None,
        "2047 bits"
    );
    for exponent in [&[][..], &[0], &[1], &[2], &[1, 0, 0, 0, 1]] {
        assert_eq!(
            CardKey::from_rsa(&modulus(256, 1), exponent),
            None,
            "{exponent:?}"
        );
    }
}

#[test]
fn only_uncompressed_points_of_the_two_curves_are_taken() {
    let point = |first: u8, length: usize| {
        let mut point = vec![7; length];
        point[0] = first;
        CardKey::from_point(&point).map(|key| key.algorithm())
    };
    assert_eq!(point(4, 65), Some(Algorithm::P256));
    assert_eq!(point(4, 97), Some(Algorithm::P384));
    assert_eq!(point(2, 33), None, "compressed");
    assert_eq!(point(6, 65), None, "hybrid");
    assert_eq!(point(4, 133), None, "P-521");
    assert_eq!(CardKey::from_point(&[]), None);
}
