//! RSA paddings for cards that do no more than the raw operation: PIV has no other (SP 800-73-4 part 2, appendix A.4).
//!
//! What a card gives back for a ciphertext is unpadded without a branch or an index that depends on it: whoever can
//! offer ciphertexts and watch the time must not learn which ones were well formed (RFC 8017, 7.1.2, note; 7.2.2).
//! The message is 32 bytes long, always, which fixes the place of everything in the block.

use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use zeroize::Zeroizing;

/// What the block holds: a key of 32 bytes.
pub(crate) type Message = Zeroizing<[u8; 32]>;

/// `DigestInfo` in front of a SHA-256 hash (RFC 8017, 9.2, note 1).
const SHA256_DIGEST_INFO: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0D, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05,
    0x00, 0x04, 0x20,
];
/// Shorter blocks than any key of ours has; below it the formats would not fit.
const SHORTEST_BLOCK: usize = 256;

/// Takes 32 bytes out of an OAEP block with SHA-256 and an empty label (RFC 8017, 7.1.2, step 3). The message means
/// nothing when the choice is false. `None` for a block that is too short for any key of ours.
pub(crate) fn unpad_oaep(block: &[u8]) -> Option<(Choice, Message)> {
    if block.len() < SHORTEST_BLOCK {
        return None;
    }
    let (first, masked) = block.split_at(1);
    let (masked_seed, masked_data) = masked.split_at(SHA256_OUTPUT_LEN);
    let mut seed = Zeroizing::new(masked_seed.to_vec());
    mask(&mut seed, masked_data);
    let mut data = Zeroizing::new(masked_data.to_vec());
    mask(&mut data, &seed);

    let (label, rest) = data.split_at(SHA256_OUTPUT_LEN);
    let (zeros, rest) = rest.split_at(rest.len() - 33);
    let (separator, content) = rest.split_at(1);
    let sound = first.ct_eq(&[0])
        & label.ct_eq(digest(&SHA256, &[]).as_ref())
        & all(zeros, |byte| byte.ct_eq(&0))
        & separator.ct_eq(&[1]);
    Some((sound, message(content)))
}

/// Takes 32 bytes out of a PKCS #1 v1.5 encryption block (RFC 8017, 7.2.2, step 3), as [`unpad_oaep`] does.
pub(crate) fn unpad_pkcs1(block: &[u8]) -> Option<(Choice, Message)> {
    if block.len() < SHORTEST_BLOCK {
        return None;
    }
    let (first, rest) = block.split_at(2);
    let (filler, rest) = rest.split_at(rest.len() - 33);
    let (separator, content) = rest.split_at(1);
    let sound = first.ct_eq(&[0, 2]) & all(filler, |byte| !byte.ct_eq(&0)) & separator.ct_eq(&[0]);
    Some((sound, message(content)))
}

/// The block that is signed for a message: EMSA-PKCS1-v1_5 with SHA-256 (RFC 8017, 9.2), as long as the modulus.
pub(crate) fn signature_block(message: &[u8], length: usize) -> Vec<u8> {
    let hash = digest(&SHA256, message);
    let tail = [&[0x00], &SHA256_DIGEST_INFO[..], hash.as_ref()].concat();
    let mut block = vec![0xFF; length.max(SHORTEST_BLOCK)];
    block[..2].copy_from_slice(&[0x00, 0x01]);
    let tail_at = block.len() - tail.len();
    block[tail_at..].copy_from_slice(&tail);
    block
}

/// What the card gave back, at the block's length: some leave the leading zeros out. `None` when it is longer.
pub(crate) fn whole_block(answer: &[u8], length: usize) -> Option<Zeroizing<Vec<u8>>> {
    let missing = length.checked_sub(answer.len())?;
    let mut block = Zeroizing::new(vec![0; length]);
    block[missing..].copy_from_slice(answer);
    Some(block)
}

/// The message where the choice is true, and zeros, which open nothing, where it is not.
pub(crate) fn select(sound: Choice, message: &Message) -> Message {
    let mut selected = Message::default();
    for (selected, byte) in selected.iter_mut().zip(message.iter()) {
        *selected = u8::conditional_select(&0, byte, sound);
    }
    selected
}

/// MGF1 with SHA-256 of `seed`, added to `data` (RFC 8017, B.2.1).
fn mask(data: &mut [u8], seed: &[u8]) {
    for (counter, part) in (0_u32..).zip(data.chunks_mut(SHA256_OUTPUT_LEN)) {
        let input = Zeroizing::new([seed, &counter.to_be_bytes()].concat());
        for (byte, mask) in part.iter_mut().zip(digest(&SHA256, &input).as_ref()) {
            *byte ^= mask;
        }
    }
}

fn all(bytes: &[u8], test: impl Fn(&u8) -> Choice) -> Choice {
    bytes
        .iter()
        .fold(Choice::from(1), |all, byte| all & test(byte))
}

fn message(content: &[u8]) -> Message {
    let mut message = Message::default();
    message.copy_from_slice(content);
    message
}

#[cfg(test)]
pub(crate) mod raw;
#[cfg(test)]
mod tests;
