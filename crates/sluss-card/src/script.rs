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

/// xorshift64*: repeatable, and enough to spoil answers with.
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    pub(crate) fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % below
    }

    /// A sound answer, or it cut off, with a bit flipped, replaced, or without end.
    pub(crate) fn spoil(&mut self, mut answer: Vec<u8>) -> Vec<u8> {
        match self.next(10) {
            0 => answer.truncate(self.next(answer.len() + 1)),
            1 => {
                let (at, bit) = (self.next(answer.len()), self.next(8));
                answer[at] ^= 1 << bit;
            }
            2 => answer = (0..self.next(300)).map(|_| self.next(256) as u8).collect(),
            3 => answer
                .splice(0..0, (0..self.next(40)).map(|_| 0x7F))
                .for_each(drop),
            4 => answer = vec![0x5A; 70_000],
            // "More is to come", whatever is asked next.
            5 => answer
                .splice(answer.len().saturating_sub(2).., [0x61, 0])
                .for_each(drop),
            _ => {}
        }
        answer
    }
}
