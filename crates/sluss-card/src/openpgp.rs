//! The OpenPGP card application 3.4: serial number, X25519 key, PIN tries, and the Diffie-Hellman itself.
//!
//! A [`Session`] lasts for one PC/SC transaction, in which no other program can talk to the card. Each one starts by
//! making sure that this application is the selected one: another program may have selected its own in between.

mod bench;

use crate::apdu::{Apdu, Response, StatusWord, Transmit, exchange};
use crate::applet::{Answer, Applet, Challenge, Description, PinEntry, PinStatus};
use crate::key::CardKey;
use crate::{CardKind, Error, PadVerify, SharedSecret, tlv};

/// RID of FSFE and the application's PIX (4.2.1).
const APPLICATION: [u8; 6] = [0xD2, 0x76, 0x00, 0x01, 0x24, 0x01];
/// Algorithm attributes of the decryption key (4.4.3.9): ECDH, then the curve's OID: GnuPG's Curve25519, or RFC 8410's X25519.
const X25519_ATTRIBUTES: [&[u8]; 2] = [
    &[
        0x12, 0x2B, 0x06, 0x01, 0x04, 0x01, 0x97, 0x55, 0x01, 0x05, 0x01,
    ],
    &[0x12, 0x2B, 0x65, 0x6E],
];
/// VERIFY's P2 for "PW1 for everything but signing" (7.2.2).
const PW1_OTHER: u8 = 0x82;
/// Shortest PW1 (4.3.1).
const SHORTEST_PIN: usize = 6;

/// The application, selected, for as long as nobody else can talk to the card.
pub struct Session<'a, T> {
    card: &'a mut T,
    serial: String,
}

impl<'a, T: Transmit> Session<'a, T> {
    /// Makes sure that the application is selected (7.2.1), without a SELECT where it is: selecting it anew would cost
    /// the verified state, ours and other programs'.
    ///
    /// # Errors
    /// [`Error::NoApplet`], [`Error::Refused`], [`Error::Nonsense`], and what the reader says.
    pub fn open(card: &'a mut T) -> Result<Self, Error> {
        if let Some(serial) = read_serial(card)? {
            return Ok(Self { card, serial });
        }
        let step = "select the OpenPGP application";
        let select = Apdu {
            header: [0x00, 0xA4, 0x04, 0x00],
            data: &APPLICATION,
            answered: true,
        };
        match exchange(card, step, &select)?.status {
            StatusWord::SUCCESS => {}
            StatusWord::NOT_FOUND | StatusWord::UNKNOWN_INSTRUCTION | StatusWord::UNKNOWN_CLASS => {
                return Err(Error::NoApplet(CardKind::OpenPgp));
            }
            status => return Err(Error::Refused { step, status }),
        }
        let serial = read_serial(card)?.ok_or(Error::Nonsense {
            step: "read the serial number",
            what: "not an OpenPGP application identifier",
        })?;
        Ok(Self { card, serial })
    }

    /// Whether the PIN is verified now: an empty VERIFY asks without trying (7.2.2).
    fn verified(&mut self) -> Result<bool, Error> {
        let apdu = Apdu {
            header: [0x00, 0x20, 0x00, PW1_OTHER],
            data: &[],
            answered: false,
        };
        Ok(
            exchange(self.card, "tell whether it is unlocked", &apdu)?.status
                == StatusWord::SUCCESS,
        )
    }

    /// The public half of the decryption key (GENERATE ASYMMETRIC KEY PAIR, P1 81: read, 7.2.14).
    fn public_key(&mut self) -> Result<[u8; 32], Error> {
        let step = "read its public key";
        let apdu = Apdu {
            header: [0x00, 0x47, 0x81, 0x00],
            data: &[0xB8, 0x00],
            answered: true,
        };
        let answer = exchange(self.card, step, &apdu)?;
        match answer.status {
            StatusWord::SUCCESS => {}
            StatusWord::NO_DATA | StatusWord::NOT_FOUND | StatusWord::CONDITIONS => {
                return Err(Error::NoKey);
            }
            status => return Err(Error::Refused { step, status }),
        }
        let nonsense = |what| Error::Nonsense { step, what };
        let template = find(step, &answer.data, 0x7F49)?.ok_or(nonsense("no public key"))?;
        let point = find(step, template, 0x86)?.ok_or(nonsense("no public key"))?;
        // some cards prefix the native form, as OpenPGP does (RFC 9580, 11.2.1)
        let native = match point {
            [0x40, native @ ..] if native.len() == 32 => native,
            native => native,
        };
        match <[u8; 32]>::try_from(native) {
            Ok(key) if key == [0; 32] => Err(Error::NoKey),
            Ok(key) => Ok(key),
            Err(_) => Err(nonsense("the public key is not 32 bytes")),
        }
    }

    /// A KDF-DO that is switched on (4.3.2) makes every PIN wrong that is not hashed: refused before a try is lost.
    fn refuse_hashed_pin(&mut self) -> Result<(), Error> {
        let step = "tell how it wants its PIN";
        let apdu = Apdu {
            header: [0x00, 0xCA, 0x00, 0xF9],
            data: &[],
            answered: true,
        };
        let answer = exchange(self.card, step, &apdu)?;
        if answer.status != StatusWord::SUCCESS {
            return Ok(());
        }
        let settings = find(step, &answer.data, 0xF9)?.unwrap_or(&answer.data);
        match find(step, settings, 0x81)? {
            None | Some([0x00]) => Ok(()),
            Some(_) => Err(Error::HashedPin),
        }
    }

    /// GET DATA (7.2.6).
    fn read(&mut self, step: &'static str, tag: u8) -> Result<Response, Error> {
        let answer = exchange(
            self.card,
            step,
            &Apdu {
                header: [0x00, 0xCA, 0x00, tag],
                data: &[],
                answered: true,
            },
        )?;
        if answer.status == StatusWord::SUCCESS {
            Ok(answer)
        } else {
            Err(Error::Refused {
                step,
                status: answer.status,
            })
        }
    }
}

impl<T: Transmit> Applet for Session<'_, T> {
    fn serial(&self) -> &str {
        &self.serial
    }

    fn describe(&mut self) -> Result<Description, Error> {
        let step = "describe itself";
        let answer = self.read(step, 0x6E)?;
        // cards of before 3.0 leave the outer tag out (4.4.1)
        let data = find(step, &answer.data, 0x6E)?.unwrap_or(&answer.data);
        let data = find(step, data, 0x73)?.unwrap_or(data);
        let attributes = find(step, data, 0xC2)?.ok_or(Error::Nonsense {
            step,
            what: "no algorithm attributes",
        })?;
        // an import format byte may follow the OID
        let algorithm = attributes.strip_suffix(&[0xFF]).unwrap_or(attributes);
        if !X25519_ATTRIBUTES.contains(&algorithm) {
            return Err(Error::Unsupported);
        }
        self.refuse_hashed_pin()?;
        Ok(Description {
            serial: self.serial.clone(),
            kind: CardKind::OpenPgp,
            key: CardKey::X25519(self.public_key()?),
            certificate: None,
            pin: self.pin_status()?,
        })
    }

    /// The PW status bytes (DO C4, 4.4.1), and an empty VERIFY.
    fn pin_status(&mut self) -> Result<PinStatus, Error> {
        let step = "tell the PIN tries left";
        let status = self.read(step, 0xC4)?;
        // validity of PW1, lengths of PW1, reset code and PW3, then the error counters in the same order
        let &[_, longest, _, _, tries_left, _, _] = status.data.as_slice() else {
            return Err(Error::Nonsense {
                step,
                what: "the PIN status is not 7 bytes",
            });
        };
        // the top bit says "PIN block format 2", which no card in use asks for
        let longest = usize::from(longest & 0x7F);
        if longest < SHORTEST_PIN {
            let what = "no PIN could be as short as it wants";
            return Err(Error::Nonsense { step, what });
        }
        Ok(PinStatus {
            tries_left,
            shortest: SHORTEST_PIN,
            longest,
            verified: self.verified()?,
            pad: self.card.has_pad(),
        })
    }

    /// VERIFY (7.2.2).
    fn verify(&mut self, pin: &PinEntry) -> Result<(), Error> {
        let step = "verify the PIN";
        let status = match pin {
            PinEntry::Typed(pin) => {
                let apdu = Apdu {
                    header: [0x00, 0x20, 0x00, PW1_OTHER],
                    data: pin.as_bytes(),
                    answered: false,
                };
                exchange(self.card, step, &apdu)?.status
            }
            PinEntry::OnPad => {
                let status = self.pin_status()?;
                let verify = PadVerify::new(PW1_OTHER, &status, false);
                self.card.verify_on_pad(&verify)?
            }
        };
        let left = match status {
            StatusWord::SUCCESS => return Ok(()),
            StatusWord::BLOCKED => 0,
            // this is how older cards say "wrong"
            StatusWord::NOT_VERIFIED => self.pin_status()?.tries_left,
            status => status.tries_left().ok_or(Error::Refused { step, status })?,
        };
        Err(if left == 0 {
            Error::Blocked
        } else {
            Error::WrongPin { left }
        })
    }

    /// VERIFY with P1 FF (7.2.2).
    fn unverify(&mut self) -> Result<(), Error> {
        let step = "forget the PIN";
        let apdu = Apdu {
            header: [0x00, 0x20, 0xFF, PW1_OTHER],
            data: &[],
            answered: false,
        };
        let status = exchange(self.card, step, &apdu)?.status;
        // before 3.4 the command did not exist: what counts is the state
        if self.verified()? {
            Err(Error::Refused { step, status })
        } else {
            Ok(())
        }
    }

    /// PSO: DECIPHER (7.2.11).
    fn agree(&mut self, with: &[u8; 32]) -> Result<SharedSecret, Error> {
        let step = "compute the Diffie-Hellman";
        let data = tlv::wrap(0xA6, &tlv::wrap(0x7F49, &tlv::wrap(0x86, with)));
        let apdu = Apdu {
            header: [0x00, 0x2A, 0x80, 0x86],
            data: &data,
            answered: true,
        };
        let answer = exchange(self.card, step, &apdu)?;
        match answer.status {
            StatusWord::SUCCESS => {}
            StatusWord::NOT_VERIFIED => return Err(Error::Locked),
            status => return Err(Error::Refused { step, status }),
        }
        SharedSecret::from_answer(&answer.data).ok_or(Error::Nonsense {
            step,
            what: "not 32 bytes",
        })?
    }

    /// A card whose key is not X25519 does not get so far.
    fn answer(&mut self, _: &Challenge) -> Result<Answer, Error> {
        Err(Error::Unsupported)
    }
}

/// [`tlv::find`] in what the card answered.
fn find<'d>(step: &'static str, data: &'d [u8], tag: u16) -> Result<Option<&'d [u8]>, Error> {
    tlv::find(data, tag).map_err(|tlv::Malformed| Error::Nonsense {
        step,
        what: "not well-formed TLV",
    })
}

/// The application identifier's manufacturer and serial number (4.2.1), or `None` when another application answers.
fn read_serial(card: &mut impl Transmit) -> Result<Option<String>, Error> {
    let apdu = Apdu {
        header: [0x00, 0xCA, 0x00, 0x4F],
        data: &[],
        answered: true,
    };
    let answer = exchange(card, "read the serial number", &apdu)?;
    if answer.status != StatusWord::SUCCESS {
        return Ok(None);
    }
    Ok(match answer.data.strip_prefix(&APPLICATION) {
        Some([_, _, m1, m2, s1, s2, s3, s4, _, _]) => {
            Some(format!("{m1:02X}{m2:02X}:{s1:02X}{s2:02X}{s3:02X}{s4:02X}"))
        }
        Some(_) | None => None,
    })
}

#[cfg(test)]
mod tests;
