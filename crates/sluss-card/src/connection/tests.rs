//! A reader with keys of its own, scripted at the boundary to PC/SC.

use super::*;
use crate::applet::PinEntry;
use crate::script::hex;
use std::cell::RefCell;
use std::collections::VecDeque;

/// Answers exactly these calls in this order: a control code (0: transmit), what is sent, and what comes back.
struct Script(RefCell<VecDeque<Expected>>);

type Expected = (u32, Vec<u8>, Result<Vec<u8>, pcsc::Error>);

type Call<'a> = (u32, &'a str, Result<&'a str, pcsc::Error>);

impl Script {
    fn new(calls: &[Call<'_>]) -> Self {
        let call = |&(code, sent, answer): &Call<'_>| (code, hex(sent), answer.map(hex));
        Self(RefCell::new(calls.iter().map(call).collect()))
    }

    fn call<'b>(
        &self,
        code: u32,
        data: &[u8],
        buffer: &'b mut [u8],
    ) -> Result<&'b [u8], pcsc::Error> {
        let (expected, sent, answer) = self.0.borrow_mut().pop_front().expect("one call more");
        assert_eq!((code, data), (expected, sent.as_slice()), "{data:02X?}");
        let answer = answer?;
        buffer[..answer.len()].copy_from_slice(&answer);
        Ok(&buffer[..answer.len()])
    }
}

impl Handle for Script {
    fn transmit<'b>(&self, command: &[u8], buffer: &'b mut [u8]) -> Result<&'b [u8], pcsc::Error> {
        self.call(0, command, buffer)
    }

    fn control<'b>(
        &self,
        code: u32,
        data: &[u8],
        buffer: &'b mut [u8],
    ) -> Result<&'b [u8], pcsc::Error> {
        self.call(code, data, buffer)
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.0.borrow().is_empty(), "calls that never came");
        }
    }
}

/// `SCARD_CTL_CODE(3400)` of pcsc-lite.
const FEATURES: u32 = 0x4200_0000 + 3400;
const PAD: u32 = 0x4233_0006;
const AID: Call<'_> = (
    0,
    "00CA004F00",
    Ok("D276000124010304 0006 12345678 0000 9000"),
);
const PIN_STATUS: Call<'_> = (0, "00CA00C400", Ok("00 20 20 20 03 00 03 9000"));
const NOT_VERIFIED: Call<'_> = (0, "00200082", Ok("63C3"));
/// VERIFY for 6 to 15 characters, 20 s of time.
const ASK: &str = "14 14 82 00 00 0F06 02 01 0904 00 000000 05000000 00200082 00";

/// What comes of a PIN typed on a reader that answers `answer`, given 20 s.
fn verify(answer: Result<&str, pcsc::Error>) -> Result<(), Error> {
    let script = Script::new(&[AID, PIN_STATUS, NOT_VERIFIED, (PAD, ASK, answer)]);
    let mut exchange = Exchange {
        card: &script,
        pad: Some(PAD),
        deadline: Some(Instant::now() + Duration::from_millis(20_900)),
    };
    openpgp::Session::open(&mut exchange)?.verify(&PinEntry::OnPad)
}

#[test]
fn a_reader_tells_whether_it_has_keys() {
    let with = [(FEATURES, "", Ok("06 04 42330006"))];
    assert_eq!(pad(&Script::new(&with)), Some(PAD));
    let without = [
        Ok(""),
        Ok("12 04 42330012"),
        Err(pcsc::Error::UnsupportedFeature),
        Err(pcsc::Error::NotTransacted),
    ];
    for answer in without {
        assert_eq!(pad(&Script::new(&[(FEATURES, "", answer)])), None);
    }
}

#[test]
fn a_pin_typed_on_the_reader_is_verified_by_the_card() {
    assert_eq!(verify(Ok("9000")), Ok(()));
    assert_eq!(verify(Ok("63C2")), Err(Error::WrongPin { left: 2 }));
    assert_eq!(verify(Ok("6983")), Err(Error::Blocked));
}

#[test]
fn a_user_who_types_nothing_has_spent_no_try() {
    for nothing in ["6400", "6401"] {
        assert_eq!(verify(Ok(nothing)), Err(Error::Declined));
    }
    let length = Error::PinLength { min: 6, max: 15 };
    assert_eq!(verify(Ok("6403")), Err(length));
}

#[test]
fn a_card_that_is_pulled_while_the_user_types_is_gone() {
    for error in [pcsc::Error::RemovedCard, pcsc::Error::NoSmartcard] {
        assert_eq!(verify(Err(error)), Err(Error::Gone));
    }
}

#[test]
fn after_the_deadline_nobody_is_asked_to_type() {
    let script = Script::new(&[]);
    let mut exchange = Exchange {
        card: &script,
        pad: Some(PAD),
        deadline: Some(Instant::now()),
    };
    let ask = PadVerify {
        reference: 0x82,
        shortest: 6,
        longest: 8,
        filled: false,
    };
    assert_eq!(exchange.verify_on_pad(&ask), Err(Error::Timeout));
    assert!(exchange.has_pad());
}
