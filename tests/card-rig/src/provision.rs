//! What the issuing office would do: the key, its fingerprint, its kind.

pub mod piv;

use anyhow::{Result, ensure};
use x25519_dalek::{PublicKey, StaticSecret};

use crate::applet::Applet;

/// The factory's PINs of an OpenPGP card: the user's, and the administrator's.
pub const PIN: &str = "123456";
const ADMIN_PIN: &[u8] = b"12345678";
/// The user's PIN of a card that an office has issued.
pub const ISSUED_PIN: &str = "583017";

/// Gives the card its X25519 key, and one to log in with, in a way that gpg and OpenSC see them too.
pub fn provision(applet: &mut Applet<'_>, key: &StaticSecret) -> Result<()> {
    // PUT DATA, extended header list (OpenPGP card 3.4, 4.4.3.12): scalar big-endian, point with the prefix of RFC 4880bis
    let public = PublicKey::from(key);
    let scalar = key.to_bytes().into_iter().rev();
    let point = std::iter::once(0x40).chain(*public.as_bytes());
    let key_data: Vec<u8> = scalar.chain(point).collect();
    let template = [
        &[
            0xB8, 0x00, 0x7F, 0x48, 0x04, 0x92, 32, 0x99, 33, 0x5F, 0x48, 65,
        ][..],
        &key_data,
    ]
    .concat();
    let header_list = [&[0x4D, u8::try_from(template.len())?][..], &template].concat();

    let x25519 = [
        0x12, 0x2B, 0x06, 0x01, 0x04, 0x01, 0x97, 0x55, 0x01, 0x05, 0x01,
    ];
    let ecdsa_p256 = [0x13, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07];
    // not the OpenPGP fingerprint, but one that is set: without it gpg takes the slot for empty
    let fingerprint = &public.as_bytes()[..20];
    for (header, data) in [
        (
            [0x00, 0xA4, 0x04, 0x00],
            &[0xD2, 0x76, 0x00, 0x01, 0x24, 0x01][..],
        ),
        ([0x00, 0x20, 0x00, 0x83], ADMIN_PIN),
        ([0x00, 0xDA, 0x00, 0xC2], &x25519),
        ([0x00, 0xDB, 0x3F, 0xFF], &header_list),
        ([0x00, 0xDA, 0x00, 0xC8], fingerprint),
        ([0x00, 0xDA, 0x00, 0xCF], &[0x5F, 0x00, 0x00, 0x00]),
        // the authentication key: P-256, made by the card
        ([0x00, 0xDA, 0x00, 0xC3], &ecdsa_p256),
        ([0x00, 0x47, 0x80, 0x00], &[0xA4, 0x00]),
        ([0x00, 0xDA, 0x00, 0xC9], &[0xA4; 20]),
        ([0x00, 0xDA, 0x00, 0xD0], &[0x5F, 0x00, 0x00, 0x00]),
    ] {
        let answer = applet.exchange(&[&header[..], &[u8::try_from(data.len())?], data].concat());
        ensure!(
            answer.ends_with(&[0x90, 0x00]),
            "{header:02X?} gave {answer:02X?}"
        );
    }
    Ok(())
}

/// Gives the card a PIN of its user's own (CHANGE REFERENCE DATA: OpenPGP card 3.4, 7.2.3).
pub fn issue(applet: &mut Applet<'_>) -> Result<()> {
    let select = b"\x00\xA4\x04\x00\x06\xD2\x76\x00\x01\x24\x01";
    let change = [
        b"\x00\x24\x00\x81\x0C",
        PIN.as_bytes(),
        ISSUED_PIN.as_bytes(),
    ]
    .concat();
    for command in [&select[..], &change] {
        let answer = applet.exchange(command);
        ensure!(
            answer.ends_with(&[0x90, 0x00]),
            "the PIN cannot be changed: {answer:02X?}"
        );
    }
    Ok(())
}
