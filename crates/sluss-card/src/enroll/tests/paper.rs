//! An OpenPGP card of paper: keeps its state when it is pulled, and can be pulled at any command.

use crate::Error;
use crate::apdu::Transmit;
use crate::tlv;
use crate::x25519;
use zeroize::Zeroizing;

pub(super) const PIN: &[u8] = b"424242";
pub(super) const ADMIN_PIN: &[u8] = b"87654321";
pub(super) const SERIAL: &str = "FFFE:00000007";

/// What lasts, and what power keeps.
pub(super) struct PaperCard {
    pub(super) attributes: Vec<u8>,
    pub(super) key: Option<[u8; 32]>,
    pub(super) fingerprint: [u8; 20],
    pub(super) generated: u8,
    /// Tries left of PW1 and of PW3.
    pub(super) tries: [u8; 2],
    /// PINs that were tried.
    pub(super) tried: usize,
    /// Whether its Diffie-Hellmans are wrong.
    pub(super) broken: bool,
    /// After so many commands it is pulled: before it has done the last one, or after.
    pub(super) pulled: Option<(usize, Pulled)>,
    pub(super) commands: usize,
    power: Power,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Pulled {
    Before,
    After,
}

#[derive(Default)]
struct Power {
    selected: bool,
    pw1: bool,
    pw3: bool,
}

impl PaperCard {
    /// As it comes from the factory: for RSA, without a key.
    pub(super) fn blank() -> Self {
        Self {
            attributes: vec![0x01, 0x08, 0x00, 0x00, 0x20, 0x00],
            key: None,
            fingerprint: [0; 20],
            generated: 0,
            tries: [3, 3],
            tried: 0,
            broken: false,
            pulled: None,
            commands: 0,
            power: Power::default(),
        }
    }

    pub(super) fn with_key(key: [u8; 32]) -> Self {
        Self {
            attributes: vec![
                0x12, 0x2B, 0x06, 0x01, 0x04, 0x01, 0x97, 0x55, 0x01, 0x05, 0x01,
            ],
            key: Some(key),
            ..Self::blank()
        }
    }

    pub(super) fn public_key(&self) -> Option<[u8; 32]> {
        self.key.map(|key| x25519::public_key(&key))
    }

    /// Takes it out and puts it back, to stay.
    pub(super) fn insert(&mut self) {
        self.power = Power::default();
        self.pulled = None;
        self.commands = 0;
    }

    fn answer(&mut self, command: &[u8]) -> Vec<u8> {
        let data = match command {
            [_, _, _, _, length, data @ ..] => &data[..usize::from(*length).min(data.len())],
            _ => &[],
        };
        match command[..4] {
            [0, 0xA4, 4, 0] => {
                self.power = Power {
                    selected: true,
                    ..Power::default()
                };
                done(&[])
            }
            _ if !self.power.selected => vec![0x6D, 0x00],
            [0, 0xCA, 0, 0x4F] => done(&[
                0xD2, 0x76, 0x00, 0x01, 0x24, 0x01, 3, 4, 0xFF, 0xFE, 0, 0, 0, 7, 0, 0,
            ]),
            [0, 0xCA, 0, 0x6E] => {
                let objects = [
                    tlv::wrap(0xC0, &[0x04, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
                    tlv::wrap(0xC2, &self.attributes),
                ];
                done(&tlv::wrap(0x6E, &tlv::wrap(0x73, &objects.concat())))
            }
            [0, 0xCA, 0, 0xC4] => done(&[0, 127, 127, 127, self.tries[0], 0, self.tries[1]]),
            [0, 0xCA, ..] => vec![0x6A, 0x88],
            [0, 0x20, 0, 0x82] if data.is_empty() && self.power.pw1 => done(&[]),
            [0, 0x20, 0, 0x82] if data.is_empty() => vec![0x63, 0xC0 | self.tries[0]],
            [0, 0x20, 0, 0x82] => self.verify(0, data == PIN),
            [0, 0x20, 0, 0x83] => self.verify(1, data == ADMIN_PIN),
            [0, 0x47, 0x80, 0] | [0, 0xDA, ..] if !self.power.pw3 => vec![0x69, 0x82],
            [0, 0x47, 0x80, 0] => {
                self.generated += 1;
                self.key = Some([self.generated; 32]);
                self.fingerprint = [0; 20];
                self.public()
            }
            [0, 0x47, 0x81, 0] => self.public(),
            [0, 0xDA, 0, 0xC2] => {
                // another algorithm takes the key away
                self.attributes = data.to_vec();
                self.key = None;
                done(&[])
            }
            [0, 0xDA, 0, 0xC8] => {
                self.fingerprint.copy_from_slice(data);
                done(&[])
            }
            [0, 0xDA, 0, 0xCF] => done(&[]),
            [0, 0x2A, 0x80, 0x86] if !self.power.pw1 => vec![0x69, 0x82],
            [0, 0x2A, 0x80, 0x86] => {
                let mut point = [0; 32];
                point.copy_from_slice(&data[7..]);
                let key = if self.broken {
                    Some([0x55; 32])
                } else {
                    self.key
                };
                match key.and_then(|key| x25519::agree(&key, &point).ok()) {
                    Some(secret) => done(secret.as_bytes()),
                    None => vec![0x6A, 0x88],
                }
            }
            _ => vec![0x6D, 0x00],
        }
    }

    fn verify(&mut self, which: usize, right: bool) -> Vec<u8> {
        self.tried += 1;
        if self.tries[which] == 0 {
            return vec![0x69, 0x83];
        }
        if !right {
            self.tries[which] -= 1;
            return vec![0x63, 0xC0 | self.tries[which]];
        }
        self.tries[which] = 3;
        match which {
            0 => self.power.pw1 = true,
            _ => self.power.pw3 = true,
        }
        done(&[])
    }

    fn public(&self) -> Vec<u8> {
        match self.public_key() {
            Some(key) => done(&tlv::wrap(0x7F49, &tlv::wrap(0x86, &key))),
            None => vec![0x6A, 0x88],
        }
    }
}

impl Transmit for PaperCard {
    fn transmit(&mut self, command: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        self.commands += 1;
        match self.pulled {
            Some((limit, _)) if self.commands > limit => Err(Error::Gone),
            Some((limit, Pulled::Before)) if self.commands == limit => Err(Error::Gone),
            Some((limit, Pulled::After)) if self.commands == limit => {
                self.answer(command);
                Err(Error::Gone)
            }
            Some(_) | None => Ok(Zeroizing::new(self.answer(command))),
        }
    }
}

fn done(data: &[u8]) -> Vec<u8> {
    [data, &[0x90, 0x00]].concat()
}
