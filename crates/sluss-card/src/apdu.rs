//! Commands and responses of ISO 7816-4.

use std::fmt;

/// SW1 SW2 of a response (ISO 7816-4, 5.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusWord(pub u16);

impl fmt::Display for StatusWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04X}", self.0)
    }
}
