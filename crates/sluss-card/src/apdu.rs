//! Commands and responses of ISO 7816-4: chaining in both directions, and every answer bounded.

use crate::Error;
use crate::pinpad::PadVerify;
use std::fmt;
use zeroize::Zeroizing;

/// The way to a card: one command in, one response out, both raw.
pub trait Transmit {
    /// Sends one short command and gives the whole response, SW1 SW2 last.
    ///
    /// # Errors
    /// What the reader or service says. A card's refusal is not an error here: it is a status word.
    fn transmit(&mut self, command: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error>;

    /// Whether the reader has keys of its own to type a PIN on.
    fn has_pad(&self) -> bool {
        false
    }

    /// Lets the user type the PIN on the reader, and gives the card's answer.
    ///
    /// # Errors
    /// [`Error::NoPinPad`], [`Error::Declined`], [`Error::PinLength`], and what the reader or service says.
    fn verify_on_pad(&mut self, _: &PadVerify) -> Result<StatusWord, Error> {
        Err(Error::NoPinPad)
    }
}

/// A command (ISO 7816-4, 5.1). Longer data than 255 bytes goes out by command chaining.
#[derive(Clone, Copy)]
pub struct Apdu<'a> {
    /// CLA INS P1 P2.
    pub header: [u8; 4],
    /// The command's data field; none when empty.
    pub data: &'a [u8],
    /// Whether data is expected back (Le 00: as much as there is).
    pub answered: bool,
}

/// What a card answered, put together from all its parts.
pub struct Response {
    /// The data field, without status.
    pub data: Zeroizing<Vec<u8>>,
    /// The last status word; never 61xx.
    pub status: StatusWord,
}

/// SW1 SW2 of a response (ISO 7816-4, 5.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusWord(pub u16);

impl StatusWord {
    /// Done, nothing to add.
    pub const SUCCESS: Self = Self(0x9000);
    /// Security status not satisfied: verify the PIN first.
    pub const NOT_VERIFIED: Self = Self(0x6982);
    /// Authentication method blocked: no tries left.
    pub const BLOCKED: Self = Self(0x6983);
    /// Conditions of use not satisfied.
    pub const CONDITIONS: Self = Self(0x6985);
    /// File or application not found.
    pub const NOT_FOUND: Self = Self(0x6A82);
    /// Referenced data not found.
    pub const NO_DATA: Self = Self(0x6A88);
    /// Instruction code not supported.
    pub const UNKNOWN_INSTRUCTION: Self = Self(0x6D00);
    /// Class not supported.
    pub const UNKNOWN_CLASS: Self = Self(0x6E00);

    /// The counter of 63Cx: tries left.
    pub fn tries_left(self) -> Option<u8> {
        (self.0 & 0xFFF0 == 0x63C0).then_some(self.0.to_be_bytes()[1] & 0x0F)
    }
}

impl fmt::Display for StatusWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04X}", self.0)
    }
}

/// More than any object of the cards we read; a card that goes on and on is cut off here.
const LONGEST_ANSWER: usize = 4096;
/// Parts that one answer may come in; also ends a card that says "61xx" for ever and delivers nothing.
const MOST_PARTS: usize = 32;
/// Set in the class byte of every link of a command chain but the last (ISO 7816-4, 5.3.3).
const CHAINED: u8 = 0x10;

/// Sends a command and collects the answer. `step` says what for, in words that follow "refused to".
///
/// # Errors
/// Whatever [`Transmit`] says; [`Error::Refused`] when a chained command is refused half-way; [`Error::Nonsense`].
pub fn exchange(
    card: &mut impl Transmit,
    step: &'static str,
    apdu: &Apdu<'_>,
) -> Result<Response, Error> {
    let [class, instruction, p1, p2] = apdu.header;
    let mut rest = apdu.data;
    while rest.len() > 255 {
        let (link, more) = rest.split_at(255);
        let status = transmit(
            card,
            step,
            &encode([class | CHAINED, instruction, p1, p2], link, None),
        )?
        .status;
        if status != StatusWord::SUCCESS {
            return Err(Error::Refused { step, status });
        }
        rest = more;
    }
    let last = encode(apdu.header, rest, apdu.answered.then_some(0));
    let mut part = transmit(card, step, &last)?;
    if let [0x6C, length] = part.status.0.to_be_bytes() {
        part = transmit(card, step, &encode(apdu.header, rest, Some(length)))?;
    }
    let mut data = Zeroizing::new(Vec::with_capacity(LONGEST_ANSWER));
    for _ in 0..MOST_PARTS {
        if data.len() + part.data.len() > LONGEST_ANSWER {
            return Err(Error::Nonsense {
                step,
                what: "the answer has no end",
            });
        }
        data.extend_from_slice(&part.data);
        let [0x61, waiting] = part.status.0.to_be_bytes() else {
            return Ok(Response {
                data,
                status: part.status,
            });
        };
        part = transmit(card, step, &encode([class, 0xC0, 0, 0], &[], Some(waiting)))?;
    }
    Err(Error::Nonsense {
        step,
        what: "the answer has no end",
    })
}

/// One command, one response, status split off.
fn transmit(
    card: &mut impl Transmit,
    step: &'static str,
    command: &[u8],
) -> Result<Response, Error> {
    let mut data = card.transmit(command)?;
    let Some((_, &status)) = data.split_last_chunk::<2>() else {
        return Err(Error::Nonsense {
            step,
            what: "the answer has no status",
        });
    };
    let length = data.len() - status.len();
    data.truncate(length);
    Ok(Response {
        data,
        status: StatusWord(u16::from_be_bytes(status)),
    })
}

/// A short command; wiped when dropped, since it may hold a PIN. `data` has at most 255 bytes.
fn encode(header: [u8; 4], data: &[u8], expected: Option<u8>) -> Zeroizing<Vec<u8>> {
    let mut command = Zeroizing::new(Vec::with_capacity(4 + 1 + data.len() + 1));
    command.extend(header);
    if let Ok(length @ 1..) = u8::try_from(data.len()) {
        command.push(length);
        command.extend_from_slice(data);
    }
    command.extend(expected);
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::Script;

    const READ: Apdu<'_> = Apdu {
        header: [0, 0xCA, 0, 0x6E],
        data: &[],
        answered: true,
    };

    #[test]
    fn an_answer_in_parts_is_put_together() {
        let mut card = Script::new(&[
            ("00CA006E00", "0102 6102"),
            ("00C0000002", "0304 6101"),
            ("00C0000001", "05 9000"),
        ]);
        let answer = exchange(&mut card, "test", &READ).unwrap();
        assert_eq!(
            (answer.data.as_slice(), answer.status),
            (&[1, 2, 3, 4, 5][..], StatusWord::SUCCESS)
        );
    }

    #[test]
    fn a_wrong_le_is_corrected_once() {
        let mut card = Script::new(&[("00CA006E00", "6C02"), ("00CA006E02", "0102 9000")]);
        assert_eq!(
            exchange(&mut card, "test", &READ).unwrap().data.as_slice(),
            [1, 2]
        );
        let mut card = Script::new(&[("00CA006E00", "6C02"), ("00CA006E02", "6C03")]);
        assert_eq!(
            exchange(&mut card, "test", &READ).unwrap().status,
            StatusWord(0x6C03)
        );
    }

    #[test]
    fn long_data_goes_out_in_a_chain() {
        let data = [7; 300];
        let apdu = Apdu {
            header: [0, 0x2A, 0x80, 0x86],
            data: &data,
            answered: true,
        };
        let first = format!("102A8086FF{}", "07".repeat(255));
        let second = format!("002A80862D{}00", "07".repeat(45));
        let mut card = Script::new(&[(&first, "9000"), (&second, "AA9000")]);
        assert_eq!(
            exchange(&mut card, "test", &apdu).unwrap().data.as_slice(),
            [0xAA]
        );
        let mut card = Script::new(&[(&first, "6884")]);
        let refused = Error::Refused {
            step: "test",
            status: StatusWord(0x6884),
        };
        assert_eq!(exchange(&mut card, "test", &apdu).err(), Some(refused));
    }

    #[test]
    fn an_endless_answer_is_cut_off() {
        let nothing_more = Error::Nonsense {
            step: "test",
            what: "the answer has no end",
        };
        let mut patience = 0..1000;
        let mut parrot = |_: &[u8]| Ok(patience.next().map(|_| vec![0x61, 0x10]).unwrap());
        assert_eq!(
            exchange(&mut parrot, "test", &READ).err(),
            Some(nothing_more.clone())
        );
        let mut torrent = |_: &[u8]| Ok([vec![1; 256], vec![0x61, 0]].concat());
        assert_eq!(
            exchange(&mut torrent, "test", &READ).err(),
            Some(nothing_more)
        );
    }

    #[test]
    fn an_answer_without_status_is_nonsense() {
        for short in [vec![], vec![0x90]] {
            let mut card = |_: &[u8]| Ok(short.clone());
            let nonsense = Error::Nonsense {
                step: "test",
                what: "the answer has no status",
            };
            assert_eq!(exchange(&mut card, "test", &READ).err(), Some(nonsense));
        }
    }
}
