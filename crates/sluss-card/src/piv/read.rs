//! What lies on a PIV card for everyone to read: discovery object, serial number, certificate, and what it tells of its keys.

use super::{APPLICATION, reference};
use crate::apdu::{Apdu, StatusWord, Transmit, exchange};
use crate::key::{Algorithm, CardKey};
use crate::{Error, tlv};
use flate2::read::GzDecoder;
use std::io::Read;
use zeroize::Zeroizing;

/// Objects by their tags (SP 800-73-4 part 1, table 3).
const DISCOVERY: &[u8] = &[0x7E];
const CHUID: &[u8] = &[0x5F, 0xC1, 0x02];
/// The certificate of the key management key.
pub(super) const CERTIFICATE: &[u8] = &[0x5F, 0xC1, 0x0B];
/// What every object but the discovery object is wrapped in (part 2, 3.1.2).
pub(super) const OBJECT: u16 = 0x53;
/// In the object of a certificate (part 1, table 15): the certificate, how it is stored, and its end.
pub(super) const DER: u16 = 0x70;
pub(super) const INFO: u16 = 0x71;
/// `INFO` of a certificate that is compressed with gzip.
const COMPRESSED: u8 = 0x01;
/// More than any certificate that fits on a card, uncompressed.
const LONGEST_CERTIFICATE: u64 = 16 * 1024;
/// The application's own PIN, and the one that the whole card may have (part 2, table 3).
const APPLICATION_PIN: u8 = 0x80;
const GLOBAL_PIN: u8 = 0x00;

/// What matters here of the discovery object (part 1, 3.3.2).
pub(super) struct Discovery {
    /// Key reference of the PIN that the cardholder knows.
    pub(super) pin: u8,
}

impl Default for Discovery {
    fn default() -> Self {
        Self {
            pin: APPLICATION_PIN,
        }
    }
}

/// What YubiKeys from firmware 5.3 on tell of a key or a PIN (Yubico's PIV extensions, GET METADATA).
pub(super) struct Metadata {
    pub(super) key: Option<CardKey>,
    pub(super) tries_left: Option<u8>,
}

/// The discovery object, or `None` when another application answers, or a card that has none.
pub(super) fn discovery(card: &mut impl Transmit) -> Result<Option<Discovery>, Error> {
    let step = "describe its PIN";
    let Some(object) = read_object(card, step, DISCOVERY)? else {
        return Ok(None);
    };
    let object = find(step, &object, 0x7E)?.unwrap_or(&object);
    let Some(application) = find(step, object, 0x4F)? else {
        return Ok(None);
    };
    let policy = find(step, object, 0x5F2F)?;
    let pin = match policy {
        // the second byte says which of the two is the one to ask for
        Some([allowed, 0x20]) if allowed & 0x20 != 0 => GLOBAL_PIN,
        Some(_) | None => APPLICATION_PIN,
    };
    Ok(application
        .starts_with(&APPLICATION)
        .then_some(Discovery { pin }))
}

/// What tells this card from all others: the number on a YubiKey, else the card's UUID, else its FASC-N (part 1, 3.1.2).
pub(super) fn serial(card: &mut impl Transmit) -> Result<String, Error> {
    let step = "read the serial number";
    let get_serial = Apdu {
        header: [0x00, 0xF8, 0x00, 0x00],
        data: &[],
        answered: true,
    };
    let answer = exchange(card, step, &get_serial)?;
    if let (StatusWord::SUCCESS, Ok(number)) =
        (answer.status, <[u8; 4]>::try_from(answer.data.as_slice()))
    {
        return Ok(u32::from_be_bytes(number).to_string());
    }
    let none = Error::Nonsense {
        step,
        what: "it has no unique identifier (CHUID)",
    };
    let object = read_object(card, step, CHUID)?.ok_or(none.clone())?;
    let chuid = find(step, &object, OBJECT)?.unwrap_or(&object);
    let number = |tag| {
        let value = find(step, chuid, tag);
        value.map(|value| value.filter(|value| value.iter().any(|&byte| byte != 0)))
    };
    match (number(0x34)?, number(0x30)?) {
        (Some(uuid), _) if uuid.len() == 16 => {
            let part = |from: usize, to: usize| hex(&uuid[from..to]);
            let parts = [
                part(0, 4),
                part(4, 6),
                part(6, 8),
                part(8, 10),
                part(10, 16),
            ];
            Ok(parts.join("-"))
        }
        (_, Some(fasc_n)) if fasc_n.len() == 25 => Ok(hex(fasc_n)),
        _ => Err(none),
    }
}

/// The certificate beside the key, DER, if there is one.
pub(super) fn certificate(card: &mut impl Transmit) -> Result<Option<Vec<u8>>, Error> {
    let step = "read its certificate";
    let Some(object) = read_object(card, step, CERTIFICATE)? else {
        return Ok(None);
    };
    let object = find(step, &object, OBJECT)?.unwrap_or(&object);
    let certificate = match find(step, object, DER)? {
        Some(certificate) if !certificate.is_empty() => certificate,
        Some(_) | None => return Ok(None),
    };
    match find(step, object, INFO)? {
        Some([info]) if info & COMPRESSED != 0 => {
            decompress(certificate).map(Some).ok_or(Error::Nonsense {
                step,
                what: "it does not decompress",
            })
        }
        Some(_) | None => Ok(Some(certificate.to_vec())),
    }
}

/// What the card tells of a key or a PIN, if it does such things.
pub(super) fn metadata(card: &mut impl Transmit, reference: u8) -> Result<Option<Metadata>, Error> {
    let step = "describe its key";
    let apdu = Apdu {
        header: [0x00, 0xF7, 0x00, reference],
        data: &[],
        answered: true,
    };
    let answer = exchange(card, step, &apdu)?;
    if answer.status != StatusWord::SUCCESS {
        return Ok(None);
    }
    let algorithm = match find(step, &answer.data, 0x01)? {
        Some(&[algorithm]) => algorithm,
        Some(_) | None => return Ok(None),
    };
    let key = find(step, &answer.data, 0x04)?.map(|key| public_key(step, algorithm, key));
    let tries_left = match find(step, &answer.data, 0x06)? {
        Some(&[_, left]) => Some(left),
        Some(_) | None => None,
    };
    Ok(Some(Metadata {
        key: key.transpose()?,
        tries_left,
    }))
}

/// A public key as GENERATE ASYMMETRIC KEY PAIR has it (part 2, 3.3.2), without the tag around it.
pub(super) fn public_key(
    step: &'static str,
    algorithm: u8,
    template: &[u8],
) -> Result<CardKey, Error> {
    let kind = ALGORITHMS
        .into_iter()
        .find(|&kind| reference(kind) == algorithm)
        .ok_or(Error::Unsupported)?;
    let part = |tag| find(step, template, tag).map(Option::unwrap_or_default);
    let key = match kind {
        Algorithm::X25519 => part(0x86)?.try_into().ok().map(CardKey::X25519),
        Algorithm::P256 | Algorithm::P384 => CardKey::from_point(part(0x86)?),
        Algorithm::Rsa2048 | Algorithm::Rsa3072 | Algorithm::Rsa4096 => {
            CardKey::from_rsa(part(0x81)?, part(0x82)?)
        }
    };
    key.filter(|key| key.algorithm() == kind)
        .ok_or(Error::Nonsense {
            step,
            what: "not a public key of its kind",
        })
}

const ALGORITHMS: [Algorithm; 6] = [
    Algorithm::X25519,
    Algorithm::P256,
    Algorithm::P384,
    Algorithm::Rsa2048,
    Algorithm::Rsa3072,
    Algorithm::Rsa4096,
];

/// GET DATA (part 2, 3.1.2); `None` for an object that is not there, or that another application does not know.
fn read_object(
    card: &mut impl Transmit,
    step: &'static str,
    object: &[u8],
) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
    let apdu = Apdu {
        header: [0x00, 0xCB, 0x3F, 0xFF],
        data: &tlv::wrap(0x5C, object),
        answered: true,
    };
    let answer = exchange(card, step, &apdu)?;
    Ok((answer.status == StatusWord::SUCCESS).then_some(answer.data))
}

/// [`tlv::find`] in what the card answered.
pub(super) fn find<'d>(
    step: &'static str,
    data: &'d [u8],
    tag: u16,
) -> Result<Option<&'d [u8]>, Error> {
    tlv::find(data, tag).map_err(|tlv::Malformed| Error::Nonsense {
        step,
        what: "not well-formed TLV",
    })
}

fn decompress(data: &[u8]) -> Option<Vec<u8>> {
    let mut certificate = Vec::new();
    GzDecoder::new(data)
        .take(LONGEST_CERTIFICATE)
        .read_to_end(&mut certificate)
        .ok()?;
    (certificate.len() < LONGEST_CERTIFICATE as usize).then_some(certificate)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
