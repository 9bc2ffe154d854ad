//! Readers with keys of their own, by PC/SC part 10 (version 2.02.09): the PIN goes from the reader to the card, and the host
//! never sees it.

use crate::Error;
use crate::apdu::StatusWord;
use crate::applet::PinStatus;
use std::time::Duration;

/// `CM_IOCTL_GET_FEATURE_REQUEST` (2.2), before the host's own encoding of control codes.
pub(crate) const GET_FEATURES: u32 = 3400;
/// More than any reader's list of features.
pub(crate) const LONGEST_FEATURES: usize = 256;

/// `FEATURE_VERIFY_PIN_DIRECT` (2.3).
const VERIFY_DIRECT: u8 = 0x06;
/// Of a PIN that readers take; many refuse a request for more.
const MOST_DIGITS: u8 = 15;
/// For the first key when the caller has all the time in the world.
const USUAL_PATIENCE: u8 = 30;

/// VERIFY as a reader has to build it (ISO 7816-4, 11.5.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PadVerify {
    /// P2: which PIN.
    pub reference: u8,
    /// Fewest characters.
    pub shortest: u8,
    /// Most characters.
    pub longest: u8,
    /// Fill up with FF to `longest`.
    pub filled: bool,
}

impl PadVerify {
    pub(crate) fn new(reference: u8, pin: &PinStatus, filled: bool) -> Self {
        let byte = |length| u8::try_from(length).unwrap_or(u8::MAX);
        Self {
            reference,
            shortest: byte(pin.shortest),
            longest: byte(pin.longest),
            filled,
        }
    }
}

/// The control code by which the reader verifies a PIN, in what it answered to [`GET_FEATURES`]: tag, length, and a big-endian
/// code for each feature (2.2).
pub(crate) fn verify_code(mut features: &[u8]) -> Option<u32> {
    while let [tag, 4, c1, c2, c3, c4, rest @ ..] = features {
        if *tag == VERIFY_DIRECT {
            return Some(u32::from_be_bytes([*c1, *c2, *c3, *c4]));
        }
        features = rest;
    }
    None
}

/// `PIN_VERIFY_STRUCTURE` (2.5.2), little-endian as on every host we run on, asking for no longer than `time`.
pub(crate) fn request(verify: &PadVerify, time: Option<Duration>) -> Vec<u8> {
    let seconds = time.map_or(USUAL_PATIENCE, |time| {
        u8::try_from(time.as_secs()).unwrap_or(u8::MAX).max(1)
    });
    let fill: &[u8] = if verify.filled {
        &[0xFF; u8::MAX as usize][..usize::from(verify.longest)]
    } else {
        &[]
    };
    let block = u8::try_from(fill.len()).unwrap_or(0);
    let template = [&[0x00, 0x20, 0x00, verify.reference, block], fill].concat();
    // bTimerOut, bTimerOut2: to the first key, and between two
    let mut structure = vec![seconds, seconds];
    structure.extend([
        // bmFormatString: ASCII, left-justified, at the start of the data field, in bytes
        0x82,
        // bmPINBlockString: no length byte in front, and as long as the block (0: as the PIN)
        block & 0x0F,
        // bmPINLengthFormat
        0x00,
        // wPINMaxExtraDigit: most, fewest
        verify.longest.min(MOST_DIGITS),
        verify.shortest,
        // bEntryValidationCondition: the OK key
        0x02,
        // bNumberMessage: show one, wLangId: in English, bMsgIndex: "enter your PIN"
        0x01,
        0x09,
        0x04,
        0x00,
        // bTeoPrologue: for T=1 by hand only
        0x00,
        0x00,
        0x00,
    ]);
    let length = u32::try_from(template.len()).unwrap_or(0);
    structure.extend(length.to_le_bytes());
    structure.extend(template);
    structure
}

/// What the reader answered: the card's status, or a status of its own (2.5.2.2).
pub(crate) fn outcome(verify: &PadVerify, answer: &[u8]) -> Result<StatusWord, Error> {
    let step = "take a PIN on the reader";
    let Ok(status) = <[u8; 2]>::try_from(answer) else {
        return Err(Error::Nonsense {
            step,
            what: "the answer is not a status",
        });
    };
    let status = StatusWord(u16::from_be_bytes(status));
    match status.0 {
        // no key in time, the cancel key
        0x6400 | 0x6401 => Err(Error::Declined),
        0x6403 => Err(Error::PinLength {
            min: verify.shortest.into(),
            max: verify.longest.min(MOST_DIGITS).into(),
        }),
        // parameters that it does not like
        0x6B80 => Err(Error::Refused { step, status }),
        _ => Ok(status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::hex;

    const OPENPGP: PadVerify = PadVerify {
        reference: 0x82,
        shortest: 6,
        longest: 127,
        filled: false,
    };
    const PIV: PadVerify = PadVerify {
        reference: 0x80,
        shortest: 6,
        longest: 8,
        filled: true,
    };

    #[test]
    fn the_verify_feature_is_found_among_others() {
        // as pcsc-lite's CCID driver answers for a reader with a keypad
        let features = hex("06 04 42330006  07 04 42330007  0A 04 4233000A  12 04 42330012");
        assert_eq!(verify_code(&features), Some(0x4233_0006));
        let without = hex("0A 04 4233000A  12 04 42330012");
        for none in [
            &[][..],
            &[6],
            &[6, 4, 1, 2, 3],
            &[6, 3, 1, 2, 3],
            &[0xFF; 300],
            &without,
        ] {
            assert_eq!(verify_code(none), None, "{none:02X?}");
        }
    }

    /// Byte by byte as the structure is laid out in PC/SC part 10, 2.5.2.
    #[test]
    fn the_reader_is_told_to_ask_for_the_cards_pin() {
        let time = Some(Duration::from_secs(20));
        let expected = "14 14 82 00 00 0F06 02 01 0904 00 000000 05000000 00200082 00";
        assert_eq!(request(&OPENPGP, time), hex(expected));
        let expected =
            "1E 1E 82 08 00 0806 02 01 0904 00 000000 0D000000 00200080 08 FFFFFFFFFFFFFFFF";
        assert_eq!(request(&PIV, None), hex(expected));
    }

    #[test]
    fn the_user_gets_whole_seconds_and_at_least_one() {
        for (time, seconds) in [(0, 1), (999, 1), (2_999, 2), (3_600_000, 255)] {
            let asked = request(&PIV, Some(Duration::from_millis(time)));
            assert_eq!(asked[..2], [seconds; 2], "{time} ms");
        }
    }

    #[test]
    fn the_readers_own_statuses_are_no_wrong_pins() {
        let told = |status: u16| outcome(&PIV, &status.to_be_bytes());
        assert_eq!(told(0x9000), Ok(StatusWord::SUCCESS));
        assert_eq!(told(0x63C2), Ok(StatusWord(0x63C2)));
        assert_eq!(told(0x6400), Err(Error::Declined));
        assert_eq!(told(0x6401), Err(Error::Declined));
        assert_eq!(told(0x6403), Err(Error::PinLength { min: 6, max: 8 }));
        for nonsense in [&[][..], &[0x90], &[0x90, 0, 0]] {
            assert!(matches!(
                outcome(&PIV, nonsense),
                Err(Error::Nonsense { .. })
            ));
        }
    }
}
