//! Reads a PIN without showing it, and without leaving a copy.

use std::{
    fs::File,
    io::{self, IsTerminal, Read, Write},
    os::fd::AsFd,
};

use nix::sys::{
    prctl,
    termios::{self, LocalFlags, SetArg, Termios},
};
use sluss_ipc::{Pin, Refusal};
use zeroize::Zeroizing;

use crate::{exit::Refused, report, text::Text};

/// Standard input without the standard library's buffer, which nobody would wipe.
pub(crate) struct Keyboard {
    input: File,
    is_terminal: bool,
}

impl Keyboard {
    pub(crate) fn open() -> io::Result<Self> {
        // From here on a PIN may be in memory: neither a core dump nor a debugger of the user's shall have it.
        prctl::set_dumpable(false)?;
        let stdin = io::stdin();
        let input = File::from(stdin.as_fd().try_clone_to_owned()?);
        Ok(Self {
            input,
            is_terminal: stdin.is_terminal(),
        })
    }

    /// Whether a person can be asked.
    pub(crate) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// One line that may be shown.
    pub(crate) fn answer(&mut self, question: &str) -> io::Result<String> {
        prompt(question)?;
        let line = read_line(&mut self.input)?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&line).trim().to_owned())
    }

    /// The PIN; None if the user cancelled, or typed what no card can take. Without a terminal: the first line.
    pub(crate) fn pin(&mut self, question: &str) -> io::Result<Option<Pin>> {
        let line = if self.is_terminal {
            // Silent before the question: who answers it at once must not be shown either.
            let _silence = Silence::new(&self.input)?;
            prompt(question)?;
            let line = read_keys(&mut &self.input)?;
            // The Enter was not shown either.
            eprintln!();
            line
        } else {
            read_line(&mut self.input)?
        };
        Ok(line.and_then(Pin::new))
    }

    /// Whether the last try may be spent, which a person is asked if it comes to that.
    ///
    /// # Errors
    /// [`Refusal::LastTry`] if it may not.
    pub(crate) fn consents(
        &mut self,
        tries: Option<u8>,
        last_try: bool,
        text: &dyn Text,
    ) -> anyhow::Result<bool> {
        let Some(tries) = tries.filter(|tries| *tries <= report::FEW_TRIES) else {
            return Ok(last_try);
        };
        eprintln!("{}", text.tries_left(tries));
        if tries != 1 || last_try {
            return Ok(last_try);
        }
        if self.is_terminal && text.is_consent(&self.answer(text.ask_last_try())?) {
            return Ok(true);
        }
        Err(Refused(Refusal::LastTry).into())
    }
}

fn prompt(question: &str) -> io::Result<()> {
    let mut stderr = io::stderr();
    write!(stderr, "{question}")?;
    stderr.flush()
}

/// The terminal shows nothing and passes on every key, until this is dropped.
///
/// Ctrl-C is a key as well: as a signal it would end the program before the terminal is put back.
struct Silence<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Silence<'a> {
    fn new(terminal: &'a File) -> io::Result<Self> {
        let before = termios::tcgetattr(terminal)?;
        let mut silent = before.clone();
        silent
            .local_flags
            .remove(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG);
        termios::tcsetattr(terminal, SetArg::TCSAFLUSH, &silent)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Silence<'_> {
    fn drop(&mut self) {
        // If the terminal has gone, there is nothing to put back.
        let _ = termios::tcsetattr(self.terminal, SetArg::TCSAFLUSH, &self.before);
    }
}

/// What was typed up to Enter; None if it was cancelled by Ctrl-C, Ctrl-D or Esc, or the terminal went away.
fn read_keys(input: &mut impl Read) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    const CANCEL: [u8; 3] = [0x03, 0x04, 0x1b];
    const ERASE: [u8; 2] = [0x08, 0x7f];
    const ERASE_LINE: u8 = 0x15;
    let mut line = Line::new();
    while let Some(key) = read_byte(input)? {
        match key {
            b'\r' | b'\n' => return Ok(Some(line.0)),
            ERASE_LINE => line.0.clear(),
            key if ERASE.contains(&key) => {
                line.0.pop();
            }
            key if CANCEL.contains(&key) => return Ok(None),
            key => line.push(key),
        }
    }
    Ok(None)
}

/// The bytes up to the line's end or the input's; None if there are none at all.
fn read_line(input: &mut impl Read) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let mut line = Line::new();
    let mut is_empty = true;
    while let Some(byte) = read_byte(input)? {
        is_empty = false;
        if byte == b'\n' {
            break;
        }
        line.push(byte);
    }
    if line.0.last() == Some(&b'\r') {
        line.0.pop();
    }
    Ok((!is_empty).then_some(line.0))
}

fn read_byte(input: &mut impl Read) -> io::Result<Option<u8>> {
    let mut byte = Zeroizing::new([0]);
    loop {
        match input.read(&mut *byte) {
            Ok(0) => return Ok(None),
            Ok(_) => return Ok(Some(byte[0])),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// A line that never grows, since a reallocation would leave a copy behind.
struct Line(Zeroizing<Vec<u8>>);

impl Line {
    /// One more than a PIN may have, so that a PIN which is too long is refused and not cut.
    const CAPACITY: usize = Pin::MAX + 1;

    fn new() -> Self {
        Self(Zeroizing::new(Vec::with_capacity(Self::CAPACITY)))
    }

    fn push(&mut self, byte: u8) {
        if self.0.len() < Self::CAPACITY {
            self.0.push(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &[u8]) -> Option<Vec<u8>> {
        read_keys(&mut &keys[..]).unwrap().map(|line| line.to_vec())
    }

    #[test]
    fn enter_ends_the_pin_and_backspace_corrects_it() {
        assert_eq!(typed(b"1235\x7f4\r"), Some(b"1234".to_vec()));
        assert_eq!(typed(b"999\x151234\n"), Some(b"1234".to_vec()));
        assert_eq!(typed(b"\x7f\x7f1\r"), Some(b"1".to_vec()));
    }

    #[test]
    fn ctrl_c_ctrl_d_and_escape_cancel() {
        assert_eq!(typed(b"1234\x03\r"), None);
        assert_eq!(typed(b"1234\x04\r"), None);
        assert_eq!(typed(b"1234\x1b\r"), None);
    }

    #[test]
    fn a_terminal_that_goes_away_gives_no_pin() {
        assert_eq!(typed(b"1234"), None);
    }

    #[test]
    fn a_script_gives_one_line_with_or_without_its_end() {
        for line in [
            &b"123456\n"[..],
            b"123456",
            b"123456\r\n",
            b"123456\nmore\n",
        ] {
            assert_eq!(
                read_line(&mut &line[..]).unwrap().unwrap().as_slice(),
                b"123456"
            );
        }
        assert!(read_line(&mut &b""[..]).unwrap().is_none());
    }

    #[test]
    fn a_pin_that_no_card_takes_is_refused_and_not_cut() {
        let long = [b'1'; 200];
        assert!(Pin::new(read_line(&mut &long[..]).unwrap().unwrap()).is_none());
        assert!(Pin::new(read_line(&mut &b"\n"[..]).unwrap().unwrap()).is_none());
    }
}
