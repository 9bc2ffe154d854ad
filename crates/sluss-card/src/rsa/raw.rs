//! An RSA key on a card made of paper, which does the raw operation and nothing else, as PIV cards do.

use crate::key::CardKey;
use crate::tlv;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeySize, PrivateDecryptingKey, PublicEncryptingKey};
use num_bigint::BigUint;
use std::sync::OnceLock;

pub(crate) struct RawRsa {
    public: PublicEncryptingKey,
    modulus: Vec<u8>,
    exponent: Vec<u8>,
    private_exponent: Vec<u8>,
}

impl RawRsa {
    pub(crate) fn generate(size: KeySize) -> Self {
        let key = PrivateDecryptingKey::generate(size).unwrap();
        let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
        // PrivateKeyInfo (RFC 5208, 5) around RSAPrivateKey (RFC 8017, A.1.2)
        let info = tlv::find(der.as_ref(), 0x30).unwrap().unwrap();
        let octets = tlv::find(info, 0x04).unwrap().unwrap();
        let mut numbers = tlv::find(octets, 0x30).unwrap().unwrap();
        let mut number = || {
            let (_, number, rest) = tlv::split_object(numbers).unwrap();
            numbers = rest;
            BigUint::from_bytes_be(number).to_bytes_be()
        };
        number(); // version
        Self {
            public: key.public_key(),
            modulus: number(),
            exponent: number(),
            private_exponent: number(),
        }
    }

    /// RSA-2048, made once for all tests that do not need one of their own.
    pub(crate) fn shared() -> &'static Self {
        static KEY: OnceLock<RawRsa> = OnceLock::new();
        KEY.get_or_init(|| Self::generate(KeySize::Rsa2048))
    }

    /// RSADP and RSASP1 (RFC 8017, 5.1.2, 5.2.1).
    pub(crate) fn raw(&self, input: &[u8]) -> Vec<u8> {
        let [input, exponent, modulus] =
            [input, &self.private_exponent, &self.modulus].map(BigUint::from_bytes_be);
        let output = input.modpow(&exponent, &modulus).to_bytes_be();
        [vec![0; self.length() - output.len()], output].concat()
    }

    pub(crate) fn public(&self) -> PublicEncryptingKey {
        self.public.clone()
    }

    pub(crate) fn card_key(&self) -> CardKey {
        CardKey::from_rsa(&self.modulus, &self.exponent).unwrap()
    }

    /// Modulus and exponent.
    pub(crate) fn components(&self) -> (&[u8], &[u8]) {
        (&self.modulus, &self.exponent)
    }

    /// Of modulus, blocks and signatures.
    pub(crate) fn length(&self) -> usize {
        self.modulus.len()
    }
}
