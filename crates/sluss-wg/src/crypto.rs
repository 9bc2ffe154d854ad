//! The primitives of whitepaper 5.4 under the paper's own names, and a generator for ephemeral secrets.

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use blake2::digest::consts::U16;
use blake2::digest::{FixedOutput, KeyInit, Update};
use blake2::{Blake2s256, Blake2sMac, Digest};
use zeroize::{Zeroize, Zeroizing};

use crate::TAG;

/// 32 secret bytes that wipe themselves.
pub(crate) type Secret = Zeroizing<[u8; 32]>;

/// HASH of the concatenated parts: BLAKE2s-256.
pub(crate) fn hash(parts: &[&[u8]]) -> [u8; 32] {
    parts
        .iter()
        .fold(Blake2s256::new(), Digest::chain_update)
        .finalize()
        .into()
}

/// MAC: keyed BLAKE2s with 16 bytes of output. `key` is at most 32 bytes.
pub(crate) fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 16] {
    let keyed = <Blake2sMac<U16> as KeyInit>::new_from_slice(key)
        .expect("every key here is 16 or 32 bytes, and BLAKE2s takes 32");
    parts
        .iter()
        .fold(keyed, Update::chain)
        .finalize_fixed()
        .into()
}

/// KDF_n: HKDF over HMAC-BLAKE2s (RFC 5869, with the running key as salt).
pub(crate) fn kdf<const N: usize>(key: &[u8; 32], input: &[u8]) -> [Secret; N] {
    let mut outputs: [Secret; N] = core::array::from_fn(|_| Secret::default());
    let extracted = hmac(key, &[input]);
    let mut previous: &[u8] = &[];
    for (count, output) in (1u8..).zip(&mut outputs) {
        *output = hmac(&extracted, &[previous, &[count]]);
        previous = &output[..];
    }
    outputs
}

/// HMAC-BLAKE2s (RFC 2104) of the concatenated parts.
fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> Secret {
    const BLOCK: usize = 64;
    let mut pad = Zeroizing::new([0u8; BLOCK]);
    pad[..32].copy_from_slice(key);
    pad.iter_mut().for_each(|byte| *byte ^= 0x36);
    let inner = parts
        .iter()
        .fold(Blake2s256::new().chain_update(*pad), Digest::chain_update)
        .finalize();
    pad.iter_mut().for_each(|byte| *byte ^= 0x36 ^ 0x5c);
    Zeroizing::new(
        Blake2s256::new()
            .chain_update(*pad)
            .chain_update(inner)
            .finalize()
            .into(),
    )
}

/// A ChaCha20-Poly1305 key whose nonce is a counter. The key schedule is wiped when it drops.
pub(crate) struct Cipher(LessSafeKey);

impl Cipher {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(LessSafeKey::new(
            UnboundKey::new(&CHACHA20_POLY1305, key).expect("ChaCha20-Poly1305 takes 32 bytes"),
        ))
    }

    /// Encrypts `text[..len - TAG]` in place and writes the tag behind it.
    pub(crate) fn seal(&self, counter: u64, aad: &[u8], text: &mut [u8]) {
        let (plain, tag) = text.split_at_mut(text.len() - TAG);
        let computed = self
            .0
            .seal_in_place_separate_tag(nonce(counter), Aad::from(aad), plain);
        tag.copy_from_slice(
            computed
                .expect("a packet is far shorter than 256 GiB")
                .as_ref(),
        );
    }

    /// [`Cipher::seal`] for each text, under the counters from `first` on, without additional data: all that a cipher needs
    /// which works on several texts at once.
    pub(crate) fn seal_batch<'t>(&self, first: u64, texts: impl Iterator<Item = &'t mut [u8]>) {
        for (counter, text) in (first..).zip(texts) {
            self.seal(counter, &[], text);
        }
    }

    /// Decrypts ciphertext and tag in place; the plaintext is then the front of `text`.
    pub(crate) fn open<'a>(
        &self,
        counter: u64,
        aad: &[u8],
        text: &'a mut [u8],
    ) -> Option<&'a mut [u8]> {
        self.0
            .open_in_place(nonce(counter), Aad::from(aad), text)
            .ok()
    }

    /// [`Cipher::open`] for each text, under its own counter, without additional data: all that a cipher needs which works on
    /// several texts at once. Each text has a label; `forged` gets those whose tag does not fit.
    pub(crate) fn open_batch<'t, L>(
        &self,
        texts: impl Iterator<Item = (u64, &'t mut [u8], L)>,
        mut forged: impl FnMut(L),
    ) {
        for (counter, text, label) in texts {
            if self.open(counter, &[], text).is_none() {
                forged(label);
            }
        }
    }
}

/// Whitepaper 5.4: 32 zero bits and the counter, little-endian.
fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&counter.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}

/// A deterministic generator that forgets: each draw replaces the state, so that what was drawn cannot be computed again.
pub(crate) struct Rng(Secret);

impl Rng {
    pub(crate) fn new(mut seed: [u8; 32]) -> Self {
        let rng = Self(Zeroizing::new(seed));
        seed.zeroize();
        rng
    }

    pub(crate) fn draw(&mut self) -> Secret {
        let [next, drawn] = kdf(&self.0, b"sluss-wg draw");
        self.0 = next;
        drawn
    }

    pub(crate) fn word(&mut self) -> u32 {
        let [a, b, c, d, ..] = *self.draw();
        u32::from_le_bytes([a, b, c, d])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unhex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
            .collect()
    }

    /// RFC 7693, appendix B.
    #[test]
    fn hash_is_blake2s_256() {
        let expected = unhex("508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982");
        assert_eq!(hash(&[b"a", b"bc"]).as_slice(), expected);
    }

    /// The `hmac` crate is another implementation of RFC 2104, and here of RFC 5869's two steps.
    #[test]
    fn kdf_agrees_with_another_hmac() {
        use hmac::{Mac, SimpleHmac};
        let reference = |key: &[u8], input: &[u8]| -> [u8; 32] {
            <SimpleHmac<Blake2s256> as Mac>::new_from_slice(key)
                .unwrap()
                .chain_update(input)
                .finalize()
                .into_bytes()
                .into()
        };
        let (key, input) = ([7; 32], b"some input");
        let extracted = reference(&key, input);
        let first = reference(&extracted, &[1]);
        let second = reference(&extracted, &[&first[..], &[2]].concat());
        let [a, b] = kdf::<2>(&key, input);
        assert_eq!((*a, *b), (first, second));
    }

    /// RFC 8439, 2.8.2 uses a nonce that no counter gives, so only the layout is checked here: seal, open, and a flipped bit.
    #[test]
    fn a_sealed_text_opens_only_unchanged() {
        let cipher = Cipher::new(&[1; 32]);
        let mut text = [0u8; 5 + TAG];
        text[..5].copy_from_slice(b"hello");
        cipher.seal(9, b"aad", &mut text);
        for flipped in 0..text.len() {
            let mut forged = text;
            forged[flipped] ^= 1;
            assert!(cipher.open(9, b"aad", &mut forged).is_none());
        }
        assert!(cipher.open(8, b"aad", &mut text.clone()).is_none());
        assert_eq!(cipher.open(9, b"aad", &mut text).unwrap(), b"hello");
    }
}
