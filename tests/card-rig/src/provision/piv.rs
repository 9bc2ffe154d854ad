//! What the issuing office of a PIV card would do: a key in slot 9D, a PIN of its own, and a certificate.

use anyhow::{Context, Result, bail, ensure};
use des::TdesEde3;
use des::cipher::{Block, BlockEncrypt, KeyInit};

use crate::applet::Applet;

/// The cardholder's PIN: not the factory's, as issuing offices see to.
pub const PIN: &str = "271828";
const FACTORY_PIN: &[u8] = b"123456\xFF\xFF";
/// The factory's management key (slot 9B, 3DES): eight bytes, three times.
const MANAGEMENT_KEY: [u8; 24] = [
    1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8,
];

/// How PIV names the kinds of key (SP 800-78-5, table 4-1).
pub fn algorithm(name: &str) -> Result<u8> {
    Ok(match name {
        "p256" => 0x11,
        "p384" => 0x14,
        "rsa2048" => 0x07,
        "rsa3072" => 0x05,
        "rsa4096" => 0x16,
        other => bail!("no such kind of key: {other}"),
    })
}

/// Sets the PIN and lets the card make a key, if it shall have one; gives its public half as the card tells it (SP 800-73-4
/// part 2, 3.3.2).
pub fn provision(applet: &mut Applet<'_>, algorithm: Option<u8>) -> Result<Vec<u8>> {
    become_administrator(applet)?;
    let pin = [PIN.as_bytes(), &[0xFF, 0xFF]].concat();
    exchange(
        applet,
        [0x00, 0x24, 0x00, 0x80],
        &[FACTORY_PIN, &pin].concat(),
    )?;
    // the PIN was verified by being set
    exchange(applet, [0x00, 0x20, 0xFF, 0x80], &[])?;
    let Some(algorithm) = algorithm else {
        return Ok(Vec::new());
    };
    let generate = [0xAC, 0x03, 0x80, 0x01, algorithm];
    let key = exchange(applet, [0x00, 0x47, 0x00, 0x9D], &generate)?;
    Ok(value(&key)?.to_vec())
}

/// Puts a certificate beside the key (SP 800-73-4 part 1, table 15).
pub fn certify(applet: &mut Applet<'_>, certificate: &[u8]) -> Result<()> {
    become_administrator(applet)?;
    let content = [&object(0x70, certificate)?[..], &[0x71, 1, 0, 0xFE, 0]].concat();
    let data = [&[0x5C, 3, 0x5F, 0xC1, 0x0B], &object(0x53, &content)?[..]].concat();
    exchange(applet, [0x00, 0xDB, 0x3F, 0xFF], &data).map(|_| ())
}

/// Answers the card's challenge with the management key (SP 800-73-4 part 2, A.1.1).
fn become_administrator(applet: &mut Applet<'_>) -> Result<()> {
    let select = [0xA0, 0x00, 0x00, 0x03, 0x08];
    exchange(applet, [0x00, 0xA4, 0x04, 0x00], &select)?;
    let challenge = exchange(applet, [0x00, 0x87, 0x03, 0x9B], &[0x7C, 2, 0x81, 0])?;
    let challenge = challenge.strip_prefix(&[0x7C, 10, 0x81, 8]);
    let mut block = Block::<TdesEde3>::clone_from_slice(challenge.context("no challenge")?);
    TdesEde3::new(&MANAGEMENT_KEY.into()).encrypt_block(&mut block);
    let response = [&[0x7C, 10, 0x82, 8], block.as_slice()].concat();
    exchange(applet, [0x00, 0x87, 0x03, 0x9B], &response).map(|_| ())
}

/// One command, in a chain if it is long, and its whole answer.
fn exchange(applet: &mut Applet<'_>, header: [u8; 4], data: &[u8]) -> Result<Vec<u8>> {
    let mut links = data.chunks(255).peekable();
    let mut answer = Vec::new();
    loop {
        let link = links.next().unwrap_or_default();
        let chained = if links.peek().is_some() { 0x10 } else { 0 };
        let mut command = vec![chained | header[0], header[1], header[2], header[3]];
        if !link.is_empty() {
            command.push(u8::try_from(link.len())?);
            command.extend(link);
        }
        let mut part = applet.exchange(&command);
        loop {
            let status = part.split_off(part.len() - 2);
            answer.extend(part);
            match *status.as_slice() {
                [0x90, 0x00] => break,
                [0x61, _] => part = applet.exchange(&[0x00, 0xC0, 0x00, 0x00, 0x00]),
                _ => bail!("{header:02X?} gave {status:02X?}"),
            }
        }
        if links.peek().is_none() {
            return Ok(answer);
        }
    }
}

/// BER-TLV with a tag of one byte and a length that fits two.
fn object(tag: u8, value: &[u8]) -> Result<Vec<u8>> {
    let length = u16::try_from(value.len())?.to_be_bytes();
    Ok([&[tag, 0x82], &length[..], value].concat())
}

/// What is in the public key template 7F49.
fn value(template: &[u8]) -> Result<&[u8]> {
    let rest = template
        .strip_prefix(&[0x7F, 0x49])
        .context("another tag")?;
    let (length, value) = match rest {
        [0x82, high, low, value @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), value),
        [0x81, length, value @ ..] | [length, value @ ..] => (usize::from(*length), value),
        [] => bail!("no length"),
    };
    ensure!(value.len() == length, "another length");
    Ok(value)
}
