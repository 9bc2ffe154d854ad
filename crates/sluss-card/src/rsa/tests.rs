//! Paddings against aws-lc's encryption and signatures; the raw operation in between is the test's own arithmetic.

use super::raw::RawRsa;
use super::*;
use aws_lc_rs::rsa::{
    KeySize, OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, Pkcs1PublicEncryptingKey,
};
use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};

const SECRET: [u8; 32] = *b"0123456789abcdef0123456789abcdef";
const SIZES: [KeySize; 3] = [KeySize::Rsa2048, KeySize::Rsa3072, KeySize::Rsa4096];

fn sound(unpadded: Option<(Choice, Message)>) -> Option<[u8; 32]> {
    let (sound, message) = unpadded?;
    bool::from(sound).then_some(*message)
}

fn oaep_block(key: &RawRsa) -> Vec<u8> {
    let public = OaepPublicEncryptingKey::new(key.public()).unwrap();
    let mut ciphertext = vec![0; key.length()];
    public
        .encrypt(&OAEP_SHA256_MGF1SHA256, &SECRET, &mut ciphertext, None)
        .unwrap();
    key.raw(&ciphertext)
}

fn pkcs1_block(key: &RawRsa) -> Vec<u8> {
    let public = Pkcs1PublicEncryptingKey::new(key.public()).unwrap();
    let mut ciphertext = vec![0; key.length()];
    public.encrypt(&SECRET, &mut ciphertext).unwrap();
    key.raw(&ciphertext)
}

#[test]
fn what_aws_lc_padded_is_unpadded() {
    for size in SIZES {
        let key = RawRsa::generate(size);
        assert_eq!(sound(unpad_oaep(&oaep_block(&key))), Some(SECRET));
        assert_eq!(sound(unpad_pkcs1(&pkcs1_block(&key))), Some(SECRET));
    }
}

#[test]
fn a_bit_that_is_wrong_anywhere_spoils_oaep() {
    let block = oaep_block(RawRsa::shared());
    for bit in 0..block.len() * 8 {
        let mut spoilt = block.clone();
        spoilt[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(sound(unpad_oaep(&spoilt)), None, "bit {bit}");
    }
}

/// RFC 8017, 7.1.1, step 2, around a data block that has one byte wrong.
#[test]
fn oaep_is_refused_for_each_thing_that_it_says() {
    let data = [
        digest(&SHA256, &[]).as_ref(),
        &[0; 256 - 33 - 32 - 33],
        &[1],
        &SECRET,
    ]
    .concat();
    let encode = |mut data: Vec<u8>| {
        let mut seed = [0x5E; 32];
        mask(&mut data, &seed);
        mask(&mut seed, &data);
        [&[0][..], &seed, &data].concat()
    };
    assert_eq!(sound(unpad_oaep(&encode(data.clone()))), Some(SECRET));
    for at in 0..data.len() - SECRET.len() {
        let mut spoilt = data.clone();
        spoilt[at] ^= 0x10;
        assert_eq!(sound(unpad_oaep(&encode(spoilt))), None, "byte {at}");
    }
}

#[test]
fn pkcs1_is_refused_for_each_thing_that_it_says() {
    let block = pkcs1_block(RawRsa::shared());
    let secret_at = block.len() - 32;
    for at in [0, 1, secret_at - 1] {
        let mut spoilt = block.clone();
        spoilt[at] ^= 1;
        assert_eq!(sound(unpad_pkcs1(&spoilt)), None, "byte {at}");
    }
    for at in 2..secret_at - 1 {
        let mut shorter = block.clone();
        shorter[at] = 0;
        assert_eq!(
            sound(unpad_pkcs1(&shorter)),
            None,
            "an end of the filler at {at}"
        );
    }
}

#[test]
fn each_unpads_only_its_own() {
    let key = RawRsa::shared();
    assert_eq!(sound(unpad_oaep(&pkcs1_block(key))), None);
    assert_eq!(sound(unpad_pkcs1(&oaep_block(key))), None);
    for short in [0, 1, 2, 33, 65, 255] {
        assert!(unpad_oaep(&vec![0; short]).is_none() && unpad_pkcs1(&vec![0; short]).is_none());
    }
}

#[test]
fn an_unsound_block_selects_zeros() {
    assert_eq!(*select(Choice::from(0), &Zeroizing::new(SECRET)), [0; 32]);
    assert_eq!(*select(Choice::from(1), &Zeroizing::new(SECRET)), SECRET);
}

#[test]
fn aws_lc_takes_the_signature_that_the_raw_operation_makes() {
    for size in SIZES {
        let key = RawRsa::generate(size);
        let signature = key.raw(&signature_block(b"a message", key.length()));
        let (n, e) = key.components();
        RsaPublicKeyComponents { n, e }
            .verify(&RSA_PKCS1_2048_8192_SHA256, b"a message", &signature)
            .unwrap();
    }
}

#[test]
fn leading_zeros_that_a_card_leaves_out_are_put_back() {
    assert_eq!(whole_block(&[1, 2], 4).unwrap().as_slice(), [0, 0, 1, 2]);
    assert_eq!(whole_block(&[1, 2], 2).unwrap().as_slice(), [1, 2]);
    assert!(whole_block(&[0, 1, 2], 2).is_none());
}
