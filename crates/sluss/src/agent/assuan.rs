//! The Assuan protocol as pinentry speaks it: what its lines mean, and how to write one ("Developing with Assuan", 2).
//!
//! A calculation without any I/O. What a line holds may be a PIN: it is wiped.

use zeroize::{Zeroize as _, Zeroizing};

/// The longest line, its end not counted ("Developing with Assuan", 2.2).
pub(crate) const LONGEST: usize = 1000;

/// What pinentry says.
pub(crate) enum Reply {
    /// The command is done.
    Ok,
    /// The command failed.
    Failed { code: u32 },
    /// A part of the answer, such as the PIN.
    Data(Zeroizing<Vec<u8>>),
    /// It asks back, which must be answered.
    Inquiry,
    /// A status or a comment, for those who know it.
    Aside,
}

/// It is not Assuan.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("pinentry sent a line that is not of its protocol")]
pub(crate) struct Malformed;

impl Reply {
    /// Reads one line without its end.
    pub(crate) fn parse(line: &[u8]) -> Result<Self, Malformed> {
        if line.len() > LONGEST {
            return Err(Malformed);
        }
        let (word, rest) = match line.iter().position(|byte| *byte == b' ') {
            Some(at) => (&line[..at], &line[at + 1..]),
            None => (line, &[][..]),
        };
        match word {
            b"OK" => Ok(Self::Ok),
            b"ERR" => {
                let digits = rest.split(|byte| *byte == b' ').next().unwrap_or_default();
                let digits = str::from_utf8(digits).map_err(|_| Malformed)?;
                let code = digits.parse().map_err(|_| Malformed)?;
                Ok(Self::Failed { code })
            }
            b"D" => unescape(rest).map(Self::Data),
            b"INQUIRE" => Ok(Self::Inquiry),
            b"S" => Ok(Self::Aside),
            _ if line.first() == Some(&b'#') => Ok(Self::Aside),
            _ => Err(Malformed),
        }
    }
}

/// Whether an error's code says that the user did not want to, or did nothing for long (libgpg-error, `err-codes.h`).
pub(crate) fn is_cancel(code: u32) -> bool {
    const TIMEOUT: u32 = 62;
    const CANCELED: u32 = 99;
    const NOT_CONFIRMED: u32 = 114;
    const FULLY_CANCELED: u32 = 198;
    // The upper half says which program it was.
    [TIMEOUT, CANCELED, NOT_CONFIRMED, FULLY_CANCELED].contains(&(code & 0xffff))
}

/// `text` as a command's argument, cut to what fits in a line.
pub(crate) fn escape(text: &str) -> String {
    // The command's name and the space after it.
    const ROOM: usize = LONGEST - 32;
    let mut escaped = String::new();
    for character in text.chars() {
        let piece = match character {
            // A backslash at a line's end would continue it.
            '%' | '\\' | '\0'..='\x1f' | '\x7f' => format!("%{:02X}", u32::from(character)),
            _ => character.to_string(),
        };
        if escaped.len() + piece.len() > ROOM {
            break;
        }
        escaped += &piece;
    }
    escaped
}

fn unescape(data: &[u8]) -> Result<Zeroizing<Vec<u8>>, Malformed> {
    // Never grown: a reallocation would leave a copy behind.
    let mut plain = Zeroizing::new(Vec::with_capacity(data.len()));
    let mut rest = data;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'%' {
            plain.push(*byte);
            continue;
        }
        let (Some(high), Some(low)) = (digit(rest.first()), digit(rest.get(1))) else {
            return Err(Malformed);
        };
        plain.push(high << 4 | low);
        rest = &rest[2..];
    }
    Ok(plain)
}

fn digit(byte: Option<&u8>) -> Option<u8> {
    let digit = char::from(*byte?).to_digit(16)?;
    u8::try_from(digit).ok()
}

/// Takes a stream apart into lines, in one buffer that is wiped.
pub(crate) struct Lines {
    buffer: Zeroizing<Vec<u8>>,
    filled: usize,
}

impl Lines {
    pub(crate) fn new() -> Self {
        // A line and its end, CR LF.
        let buffer = Zeroizing::new(vec![0; LONGEST + 2]);
        Self { buffer, filled: 0 }
    }

    /// Where the next bytes go. Never empty while [`Lines::next`] has nothing to give.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        &mut self.buffer[self.filled..]
    }

    /// Takes note that `count` bytes of the space are filled.
    pub(crate) fn advance(&mut self, count: usize) {
        self.filled = (self.filled + count).min(self.buffer.len());
    }

    /// The next whole line, understood.
    pub(crate) fn next(&mut self) -> Result<Option<Reply>, Malformed> {
        let filled = &self.buffer[..self.filled];
        let Some(end) = filled.iter().position(|byte| *byte == b'\n') else {
            return match self.filled == self.buffer.len() {
                true => Err(Malformed),
                false => Ok(None),
            };
        };
        let line = &filled[..end];
        let reply = Reply::parse(line.strip_suffix(b"\r").unwrap_or(line));
        self.buffer.copy_within(end + 1..self.filled, 0);
        let left = self.filled - (end + 1);
        self.buffer[left..self.filled].zeroize();
        self.filled = left;
        reply.map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a reply says, with data as text.
    fn said(line: &[u8]) -> String {
        match Reply::parse(line) {
            Ok(Reply::Ok) => "ok".to_owned(),
            Ok(Reply::Failed { code }) => format!("failed {code}"),
            Ok(Reply::Data(data)) => format!("data {:?}", String::from_utf8_lossy(&data)),
            Ok(Reply::Inquiry) => "inquiry".to_owned(),
            Ok(Reply::Aside) => "aside".to_owned(),
            Err(Malformed) => "malformed".to_owned(),
        }
    }

    #[test]
    fn reads_what_pinentry_1_2_1_says() {
        for (line, meaning) in [
            ("OK Pleased to meet you, process 4711", "ok"),
            ("OK", "ok"),
            ("D 1234%25%0A5", r#"data "1234%\n5""#),
            ("D ", r#"data """#),
            ("D  two  spaces ", r#"data " two  spaces ""#),
            (
                "ERR 83886179 Operation cancelled <Pinentry>",
                "failed 83886179",
            ),
            ("ERR 83886194 Not confirmed <Pinentry>", "failed 83886194"),
            (
                "ERR 83918950 Inappropriate ioctl for device <Pinentry>",
                "failed 83918950",
            ),
            ("S PIN_REPEATED", "aside"),
            ("# a comment", "aside"),
            ("INQUIRE QUALITY 1234", "inquiry"),
        ] {
            assert_eq!(said(line.as_bytes()), meaning, "{line}");
        }
    }

    #[test]
    fn what_is_not_of_the_protocol_is_refused() {
        let long = [b"D ".as_slice(), &[b'1'; LONGEST]].concat();
        for line in [
            &b""[..],
            b" OK",
            b"ok",
            b"OKAY",
            b"ERR",
            b"ERR -1",
            b"ERR 99999999999",
            b"ERR \xff",
            b"D %",
            b"D 1%2",
            b"D %zz",
            b"D %+1",
            b"\xff\xfe",
            &long,
        ] {
            assert_eq!(
                said(line),
                "malformed",
                "{:?}",
                String::from_utf8_lossy(line)
            );
        }
    }

    #[test]
    fn a_cancel_is_one_whichever_program_says_it() {
        // GPG_ERR_SOURCE_PINENTRY is 5, GPG_ERR_SOURCE_USER_1 is 32.
        for source in [0, 5 << 24, 32 << 24] {
            for code in [62, 99, 114, 198] {
                assert!(is_cancel(source | code), "{source} {code}");
            }
            // No terminal; no such command.
            for code in [32_870, 275] {
                assert!(!is_cancel(source | code), "{source} {code}");
            }
        }
    }

    #[test]
    fn text_stays_in_its_line() {
        assert_eq!(escape("100 %\r\nBYE\\"), "100 %25%0D%0ABYE%5C");
        assert_eq!(escape("Läsare"), "Läsare");
        let long = escape(&"ö%".repeat(2000));
        assert!(
            long.len() <= LONGEST && long.ends_with(['ö', '5']),
            "{long}"
        );
    }

    fn lines(stream: &[u8], step: usize) -> Vec<String> {
        let mut lines = Lines::new();
        let mut told = Vec::new();
        for bytes in stream.chunks(step) {
            let mut rest = bytes;
            while !rest.is_empty() {
                let space = lines.space();
                let count = rest.len().min(space.len());
                space[..count].copy_from_slice(&rest[..count]);
                lines.advance(count);
                rest = &rest[count..];
                loop {
                    match lines.next() {
                        Ok(None) => break,
                        Ok(Some(Reply::Ok)) => told.push("ok".to_owned()),
                        Ok(Some(Reply::Data(data))) => {
                            told.push(String::from_utf8_lossy(&data).into_owned());
                        }
                        Ok(Some(Reply::Failed { .. } | Reply::Inquiry | Reply::Aside)) => {
                            told.push("other".to_owned());
                        }
                        Err(Malformed) => {
                            told.push("malformed".to_owned());
                            return told;
                        }
                    }
                }
            }
        }
        told
    }

    #[test]
    fn lines_come_whole_however_they_are_cut() {
        let stream = b"OK hello\r\nD 1234\nOK\n# end";
        for step in 1..stream.len() {
            assert_eq!(lines(stream, step), ["ok", "1234", "ok"], "{step}");
        }
    }

    #[test]
    fn a_line_without_end_is_refused_and_memory_stays_bounded() {
        let endless = vec![b'D'; 1_000_000];
        assert_eq!(lines(&endless, 4096), ["malformed"]);
        let longest = [b"D ".as_slice(), &[b'1'; LONGEST - 2], b"\r\n"].concat();
        assert_eq!(lines(&longest, 100), ["1".repeat(LONGEST - 2)]);
    }

    #[test]
    fn what_was_read_is_wiped() {
        let mut lines = Lines::new();
        lines.space()[..9].copy_from_slice(b"D 123456\n");
        lines.advance(9);
        drop(lines.next());
        assert!(lines.buffer.iter().all(|byte| *byte == 0));
    }
}
