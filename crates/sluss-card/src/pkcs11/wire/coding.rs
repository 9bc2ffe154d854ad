//! Requests and responses to bytes and back: a number for the kind, then the fields in order.

use super::codec::{Decoder, Encoder, Malformed};
use super::message::{Fault, Key, PinState, Request, Response, Scheme, Token, Tries, Uses};
use crate::Pin;
use crate::applet::Padding;
use crate::key::{Algorithm, CardKey};
use zeroize::Zeroizing;

impl Request {
    pub(in crate::pkcs11) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut to = Encoder::new();
        match self {
            Self::Look { reader } => to.byte(0).option(reader.as_deref().map(str::as_bytes)),
            Self::Pin { slot } => to.byte(7).number(*slot),
            Self::LogIn { slot, pin } => {
                let pin = pin.as_ref().map(Pin::as_bytes);
                to.byte(1).number(*slot).option(pin)
            }
            Self::LogOut { slot } => to.byte(2).number(*slot),
            Self::Derive { slot, key, with } => to.byte(3).number(*slot).bytes(key).bytes(with),
            Self::Decrypt {
                slot,
                key,
                padding,
                ciphertext,
            } => {
                let padding = match padding {
                    Padding::OaepSha256 => 0,
                    Padding::Pkcs1 => 1,
                };
                to.byte(4).number(*slot).bytes(key).byte(padding);
                to.bytes(ciphertext)
            }
            Self::Sign {
                slot,
                key,
                scheme,
                message,
            } => {
                let scheme = match scheme {
                    Scheme::RsaPkcs1Sha256 => 0,
                    Scheme::EcdsaSha256 => 1,
                    Scheme::EcdsaSha384 => 2,
                };
                to.byte(5).number(*slot).bytes(key).byte(scheme);
                to.bytes(message)
            }
            Self::Generate {
                slot,
                algorithm,
                id,
                label,
            } => {
                to.byte(6).number(*slot).byte(encoded(*algorithm));
                to.bytes(id).text(label)
            }
        };
        to.finish()
    }

    pub(in crate::pkcs11) fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        let mut from = Decoder::new(payload);
        let request = match from.byte()? {
            0 => Self::Look {
                reader: from.optional_text()?,
            },
            1 => Self::LogIn {
                slot: from.number()?,
                pin: from.option()?.map(pin).transpose()?,
            },
            2 => Self::LogOut {
                slot: from.number()?,
            },
            3 => Self::Derive {
                slot: from.number()?,
                key: from.bytes()?.to_vec(),
                with: from.bytes()?.to_vec(),
            },
            4 => Self::Decrypt {
                slot: from.number()?,
                key: from.bytes()?.to_vec(),
                padding: match from.byte()? {
                    0 => Padding::OaepSha256,
                    1 => Padding::Pkcs1,
                    _ => return Err(Malformed),
                },
                ciphertext: from.bytes()?.to_vec(),
            },
            5 => Self::Sign {
                slot: from.number()?,
                key: from.bytes()?.to_vec(),
                scheme: match from.byte()? {
                    0 => Scheme::RsaPkcs1Sha256,
                    1 => Scheme::EcdsaSha256,
                    2 => Scheme::EcdsaSha384,
                    _ => return Err(Malformed),
                },
                message: from.bytes()?.to_vec(),
            },
            6 => Self::Generate {
                slot: from.number()?,
                algorithm: algorithm(&mut from)?,
                id: from.bytes()?.to_vec(),
                label: from.text()?,
            },
            7 => Self::Pin {
                slot: from.number()?,
            },
            _ => return Err(Malformed),
        };
        from.finish()?;
        Ok(request)
    }
}

impl Response {
    pub(in crate::pkcs11) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut to = Encoder::new();
        match self {
            Self::Tokens(tokens) => {
                to.byte(0).length(tokens.len());
                tokens.iter().for_each(|token| token.encode(&mut to));
            }
            Self::Pin(pin) => pin.encode(to.byte(5)),
            Self::Done => drop(to.byte(1)),
            Self::Bytes(bytes) => drop(to.byte(2).bytes(bytes)),
            Self::Key(key) => key.encode(to.byte(3)),
            Self::Failed(fault) => fault.encode(to.byte(4)),
        }
        to.finish()
    }

    pub(in crate::pkcs11) fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        let mut from = Decoder::new(payload);
        let response = match from.byte()? {
            0 => Self::Tokens(from.list(Token::decode)?),
            1 => Self::Done,
            2 => Self::Bytes(Zeroizing::new(from.bytes()?.to_vec())),
            3 => Self::Key(Key::decode(&mut from)?),
            4 => Self::Failed(Fault::decode(&mut from)?),
            5 => Self::Pin(PinState::decode(&mut from)?),
            _ => return Err(Malformed),
        };
        from.finish()?;
        Ok(response)
    }
}

impl Token {
    fn encode(&self, to: &mut Encoder) {
        to.number(self.slot).text(&self.place);
        to.flag(self.removable).text(&self.serial);
        to.text(&self.label);
        self.pin.encode(to);
        to.length(self.makes.len());
        for algorithm in &self.makes {
            to.byte(encoded(*algorithm));
        }
        to.length(self.keys.len());
        self.keys.iter().for_each(|key| key.encode(to));
    }

    fn decode(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            slot: from.number()?,
            place: from.text()?,
            removable: from.flag()?,
            serial: from.text()?,
            label: from.text()?,
            pin: PinState::decode(from)?,
            makes: from.list(algorithm)?,
            keys: from.list(Key::decode)?,
        })
    }
}

impl PinState {
    fn encode(&self, to: &mut Encoder) {
        to.byte(self.tries.encoded());
        to.byte(self.shortest).byte(self.longest);
        to.flag(self.pad).flag(self.ready);
    }

    fn decode(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            tries: Tries::decode(from)?,
            shortest: from.byte()?,
            longest: from.byte()?,
            pad: from.flag()?,
            ready: from.flag()?,
        })
    }
}

impl Key {
    fn encode(&self, to: &mut Encoder) {
        to.bytes(&self.id).text(&self.label);
        to.bytes(&self.public.to_spki());
        to.flag(self.uses.is_some());
        if let Some(uses) = self.uses {
            to.flag(uses.derive).flag(uses.decrypt);
            to.flag(uses.decrypt_oaep).flag(uses.sign);
            to.flag(uses.pin_each_time);
        }
        to.option(self.certificate.as_deref());
    }

    fn decode(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let uses = |from: &mut Decoder<'_>| {
            Ok(Uses {
                derive: from.flag()?,
                decrypt: from.flag()?,
                decrypt_oaep: from.flag()?,
                sign: from.flag()?,
                pin_each_time: from.flag()?,
            })
        };
        Ok(Self {
            id: from.bytes()?.to_vec(),
            label: from.text()?,
            public: CardKey::from_spki(from.bytes()?).ok_or(Malformed)?,
            uses: from.flag()?.then(|| uses(from)).transpose()?,
            certificate: from.option()?.map(<[u8]>::to_vec),
        })
    }
}

impl Tries {
    fn encoded(self) -> u8 {
        match self {
            Self::All => 3,
            Self::Low => 2,
            Self::Last => 1,
            Self::None => 0,
        }
    }

    fn decode(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        match from.byte()? {
            3 => Ok(Self::All),
            2 => Ok(Self::Low),
            1 => Ok(Self::Last),
            0 => Ok(Self::None),
            _ => Err(Malformed),
        }
    }
}

impl Fault {
    fn encode(&self, to: &mut Encoder) {
        match self {
            Self::Gone => to.byte(0),
            Self::NotLoggedIn => to.byte(1),
            Self::WrongPin(tries) => to.byte(2).byte(tries.encoded()),
            Self::BadPin => to.byte(3),
            Self::Blocked => to.byte(4),
            Self::Declined => to.byte(5),
            Self::NoKey => to.byte(6),
            Self::Unsupported => to.byte(7),
            Self::Unusable(why) => to.byte(8).text(why),
            Self::Failed(what) => to.byte(9).text(what),
            Self::Nonsense(what) => to.byte(10).text(what),
            Self::Foreign => to.byte(11),
        };
    }

    fn decode(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(match from.byte()? {
            0 => Self::Gone,
            1 => Self::NotLoggedIn,
            2 => Self::WrongPin(Tries::decode(from)?),
            3 => Self::BadPin,
            4 => Self::Blocked,
            5 => Self::Declined,
            6 => Self::NoKey,
            7 => Self::Unsupported,
            8 => Self::Unusable(from.text()?),
            9 => Self::Failed(from.text()?),
            10 => Self::Nonsense(from.text()?),
            11 => Self::Foreign,
            _ => return Err(Malformed),
        })
    }
}

fn encoded(algorithm: Algorithm) -> u8 {
    match algorithm {
        Algorithm::X25519 => 0,
        Algorithm::P256 => 1,
        Algorithm::P384 => 2,
        Algorithm::Rsa2048 => 3,
        Algorithm::Rsa3072 => 4,
        Algorithm::Rsa4096 => 5,
    }
}

fn algorithm(from: &mut Decoder<'_>) -> Result<Algorithm, Malformed> {
    match from.byte()? {
        0 => Ok(Algorithm::X25519),
        1 => Ok(Algorithm::P256),
        2 => Ok(Algorithm::P384),
        3 => Ok(Algorithm::Rsa2048),
        4 => Ok(Algorithm::Rsa3072),
        5 => Ok(Algorithm::Rsa4096),
        _ => Err(Malformed),
    }
}

fn pin(bytes: &[u8]) -> Result<Pin, Malformed> {
    Pin::new(Zeroizing::new(bytes.to_vec())).map_err(|_| Malformed)
}
