//! What a beacon says inside the TLS channel: one line, as soon as there are keys for it.
//!
//! ```text
//! sluss-beacon/1 10.20.3.7:51532 stadshuset
//! ```
//!
//! The protocol's name and version, the address and port that the beacon was called from, the beacon's name, and a
//! line feed. There is one way to write an answer, and anything else is refused.

use std::fmt;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::str::FromStr;

/// The word that every answer begins with.
const PROTOCOL: &str = "sluss-beacon";
const VERSION: &str = "1";

/// One beacon's answer to one caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    name: Name,
    seen: SocketAddr,
}

/// What a beacon calls itself: 1 to 64 bytes of UTF-8, without control characters and without space at its ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(String);

/// Why bytes are no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedAnswer {
    #[error("it says something else than a beacon does")]
    NotABeacon,
    #[error("it speaks version {0} of the beacon's protocol, and this program version {VERSION}")]
    Version(String),
    #[error("its answer ends too early")]
    Truncated,
    #[error("its answer is longer than {} bytes", Answer::LONGEST)]
    TooLong,
    #[error(
        "a beacon's name has 1 to {} bytes, no control characters, and no space at its ends",
        Name::LONGEST
    )]
    Name,
}

impl Answer {
    /// Bytes of the longest answer: the longest name, and an IPv6 address and port written out.
    pub const LONGEST: usize = 15 + 47 + 1 + Name::LONGEST + 1;

    /// The answer of the beacon `name` to a caller at `seen`, who may come by an IPv4-mapped IPv6 address (RFC 4291, 2.5.5.2).
    pub fn new(name: Name, seen: SocketAddr) -> Self {
        let seen = plain(seen);
        Self { name, seen }
    }

    /// Reads a whole answer.
    ///
    /// # Errors
    /// When it is not, to the byte, what [`Answer::to_bytes`] writes.
    pub fn parse(bytes: &[u8]) -> Result<Self, MalformedAnswer> {
        use MalformedAnswer::{NotABeacon, TooLong, Truncated};

        if bytes.len() > Self::LONGEST {
            return Err(TooLong);
        }
        let text = str::from_utf8(bytes).map_err(|_| NotABeacon)?;
        let (version, rest) = text
            .strip_prefix(PROTOCOL)
            .and_then(|rest| rest.strip_prefix('/'))
            .and_then(|rest| rest.split_once(' '))
            .ok_or(NotABeacon)?;
        if version != VERSION {
            return Err(other(version));
        }
        let line = rest.strip_suffix('\n').ok_or(Truncated)?;
        let (seen, name) = line.split_once(' ').ok_or(NotABeacon)?;
        let seen = SocketAddr::from_str(seen).map_err(|_| NotABeacon)?;
        let answer = Self::new(name.parse()?, seen);
        match answer.to_bytes() == bytes {
            true => Ok(answer),
            false => Err(NotABeacon),
        }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let Self { name, seen } = self;
        format!("{PROTOCOL}/{VERSION} {seen} {name}\n").into_bytes()
    }

    /// What the beacon calls itself.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Who called, as the beacon saw it.
    pub fn seen(&self) -> SocketAddr {
        self.seen
    }
}

/// The version of a later beacon, or nonsense.
fn other(version: &str) -> MalformedAnswer {
    match version.parse::<u16>() {
        Ok(number) if number.to_string() == version => MalformedAnswer::Version(version.to_owned()),
        Ok(_) | Err(_) => MalformedAnswer::NotABeacon,
    }
}

impl Name {
    /// Bytes.
    pub const LONGEST: usize = 64;
}

impl FromStr for Name {
    type Err = MalformedAnswer;

    fn from_str(text: &str) -> Result<Self, MalformedAnswer> {
        let good = (1..=Self::LONGEST).contains(&text.len())
            && text.trim() == text
            && !text.contains(char::is_control);
        match good {
            true => Ok(Self(text.to_owned())),
            false => Err(MalformedAnswer::Name),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An address as both sides write it: IPv4 as IPv4, and without what IPv6 sockets say about one machine's own links.
pub(crate) fn plain(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(v4) => SocketAddr::new(v4.into(), address.port()),
        IpAddr::V6(v6) => SocketAddrV6::new(v6, address.port(), 0, 0).into(),
    }
}

#[cfg(test)]
mod tests;
