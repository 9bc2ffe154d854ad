//! Cards made of paper for the unit tests: a script of exchanges, or a closure.

use crate::{Error, apdu::Transmit};
use std::collections::VecDeque;
use zeroize::Zeroizing;

/// Answers exactly these commands in this order, and minds when it is dropped with some left.
pub(crate) struct Script(VecDeque<(Vec<u8>, Vec<u8>)>);

impl Script {
    /// Pairs of command and response in hexadecimal, blanks as you like.
    pub(crate) fn new(exchanges: &[(&str, &str)]) -> Self {
        Self(
            exchanges
                .iter()
                .map(|(command, response)| (hex(command), hex(response)))
                .collect(),
        )
    }
}

impl Transmit for Script {
    fn transmit(&mut self, command: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        let (expected, response) = self
            .0
            .pop_front()
            .unwrap_or_else(|| panic!("unexpected command {command:02X?}"));
        assert_eq!(
            command, expected,
            "{command:02X?} instead of {expected:02X?}"
        );
        Ok(Zeroizing::new(response))
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.0.is_empty(), "never sent: {:02X?}", self.0);
        }
    }
}

impl<F: FnMut(&[u8]) -> Result<Vec<u8>, Error>> Transmit for F {
    fn transmit(&mut self, command: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        self(command).map(Zeroizing::new)
    }
}

pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter_map(|c| c.to_digit(16))
        .map(|digit| digit as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}
