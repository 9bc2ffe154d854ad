//! What a card, or whoever sits between us and it, can say.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sluss_card::apdu::Transmit;
use sluss_card::applet::{Applet, Challenge, Padding, PinEntry};
use sluss_card::certificate::Rule;
use sluss_card::key::CardKey;
use sluss_card::pkcs11::{KeyAt, Launch, Module, Scheme, Worker};
use sluss_card::{Error, Pin, openpgp, piv, tlv};
use zeroize::Zeroizing;

/// Gives one answer after the other, each with its length in front, 16 bits.
struct Answers<'a>(&'a [u8]);

impl Transmit for Answers<'_> {
    fn transmit(&mut self, _: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        let (length, rest) = self.0.split_first_chunk().ok_or(Error::Gone)?;
        let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
        let (answer, rest) = rest.split_at(length);
        self.0 = rest;
        Ok(Zeroizing::new(answer.to_vec()))
    }
}

/// A whole acquaintance with a card, as the daemon makes it. The first byte says which kind it is taken for.
pub(crate) fn speak(bytes: &[u8]) {
    let Some((kind, answers)) = bytes.split_first() else {
        return;
    };
    let mut card = Answers(answers);
    match kind % 2 {
        0 => openpgp::Session::open(&mut card).map(|mut applet| use_applet(&mut applet)),
        _ => piv::Session::open(&mut card).map(|mut applet| use_applet(&mut applet)),
    }
    .unwrap_or_default();
}

fn use_applet(applet: &mut dyn Applet) {
    assert!(applet.serial().len() <= 64 && !applet.serial().contains(char::is_control));
    let described = applet.describe();
    if let Ok(description) = &described {
        assert_eq!(description.serial, applet.serial());
        assert!(description.pin.shortest <= description.pin.longest);
    }
    let pin = Pin::new(Zeroizing::new(b"271828".to_vec())).map(PinEntry::Typed);
    let verified = pin.and_then(|pin| applet.verify(&pin));
    drop(applet.pin_status());
    if let Ok(secret) = applet.agree(&[9; 32]) {
        assert_ne!(secret.as_bytes(), &[0; 32], "a secret that everybody knows");
    }
    let key = described.map(|description| description.key);
    let length = match &key {
        Ok(CardKey::Rsa(key)) => key.modulus().len(),
        Ok(CardKey::X25519(_) | CardKey::P256(_) | CardKey::P384(_)) | Err(_) => 97,
    };
    for challenge in [
        Challenge::Agree(vec![4; length]),
        Challenge::Decrypt(vec![4; length], Padding::OaepSha256),
        Challenge::Decrypt(vec![4; length], Padding::Pkcs1),
        Challenge::Sign(b"sluss".to_vec()),
    ] {
        drop(applet.answer(&challenge));
    }
    drop((verified, applet.unverify()));
}

/// A PKCS#11 worker that its module has taken over: frames as they come.
pub(crate) fn hear_a_worker(bytes: &[u8]) {
    let stream = Arc::new(Mutex::new(VecDeque::from(bytes.to_vec())));
    let mut module = Module::new(Launch::new(move || Ok(Box::new(Possessed(stream.clone())))));
    let Ok(tokens) = module.look(None, None) else {
        return;
    };
    for token in tokens.iter().take(3) {
        assert!(
            !token.serial.contains(char::is_control) && !token.label.contains(char::is_control)
        );
        drop((
            module.pin(token.slot, None),
            module.log_in(token.slot, None, None),
        ));
        for key in token.keys.iter().take(3) {
            let at = KeyAt {
                slot: token.slot,
                id: &key.id,
            };
            drop(module.derive(at, &[9; 32], None));
            drop(module.sign(at, Scheme::RsaPkcs1Sha256, b"sluss", None));
        }
    }
}

/// Says the same bytes whatever it is asked, however often it is started.
struct Possessed(Arc<Mutex<VecDeque<u8>>>);

impl Worker for Possessed {
    fn set_patience(&mut self, _: Duration) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Possessed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut stream = self.0.lock().map_err(|_| io::ErrorKind::Other)?;
        stream.read(buffer)
    }
}

impl Write for Possessed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The first two bytes are the tag that is looked for.
pub(crate) fn read_objects(bytes: &[u8]) {
    let Some((tag, template)) = bytes.split_first_chunk() else {
        return;
    };
    let tag = u16::from_be_bytes(*tag);
    let Ok(Some(value)) = tlv::find(template, tag) else {
        return;
    };
    assert!(value.len() <= template.len());
    let written = tlv::wrap(tag, value);
    assert_eq!(tlv::find(&written, tag).ok().flatten(), Some(value));
}

/// A certificate from the card, the rules' own being sound.
pub(crate) fn read_certificate(bytes: &[u8]) {
    let now = Duration::from_secs(1_800_000_000);
    let key = CardKey::from_certificate(bytes);
    let checked = Rule::default().check(bytes, &[bytes], now);
    assert!(checked.is_err(), "believed without an issuer");
    if let Some(key) = key {
        assert_eq!(CardKey::from_spki(&key.to_spki()), Some(key));
    }
    let mut rule = Rule::default();
    drop((rule.trust(bytes), rule.revoke(bytes)));
}
