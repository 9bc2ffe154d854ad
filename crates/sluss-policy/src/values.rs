//! Values that cannot be wrong: keys and pins, each made from its text only, and how to read the rest.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ipnet::IpNet;
use toml::Spanned;
use toml::de::DeValue;
use toml::value::Datetime;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::document::TextRange;
use crate::hosts::is_host;
use crate::{Oid, Problem, ValueError};

/// An X25519 public key, written as WireGuard does: base64 of 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A key as a card tells it.
impl From<[u8; 32]> for PublicKey {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl FromStr for PublicKey {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let mut bytes = [0; 32];
        decode(text, &mut bytes)?;
        match bytes {
            [0, rest @ ..] if rest == [0; 31] => Err(ValueError::ZeroKey),
            bytes => Ok(Self(bytes)),
        }
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// A WireGuard preshared key. A secret: wiped on drop, and nothing prints it.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct PresharedKey([u8; 32]);

impl PresharedKey {
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<&[u8; 32]> for PresharedKey {
    fn from(bytes: &[u8; 32]) -> Self {
        Self(*bytes)
    }
}

/// Writes it as WireGuard does, without a copy elsewhere.
impl PresharedKey {
    pub(crate) fn append_base64(&self, text: &mut String) {
        BASE64.encode_string(self.0, text);
    }
}

impl FromStr for PresharedKey {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let mut key = Self([0; 32]);
        decode(text, &mut key.0)?;
        Ok(key)
    }
}

/// The SHA-256 of what a server shows, by which it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pin {
    /// Of its SubjectPublicKeyInfo in DER, as RFC 7469 pins keys: `sha256:BASE64`.
    Key([u8; 32]),
    /// Of its whole certificate in DER: `certificate:sha256:BASE64`.
    Certificate([u8; 32]),
}

impl FromStr for Pin {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let (kind, hash): (fn([u8; 32]) -> Self, &str) = match text.strip_prefix("certificate:") {
            Some(hash) => (Self::Certificate, hash),
            None => (Self::Key, text),
        };
        let hash = hash.strip_prefix("sha256:").ok_or(ValueError::NotAPin)?;
        let mut bytes = [0; 32];
        decode(hash, &mut bytes)?;
        Ok(kind(bytes))
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(hash) => write!(f, "sha256:{}", BASE64.encode(hash)),
            Self::Certificate(hash) => write!(f, "certificate:sha256:{}", BASE64.encode(hash)),
        }
    }
}

/// Decodes base64 straight into `bytes`, so that no copy of a secret is left behind.
fn decode(text: &str, bytes: &mut [u8; 32]) -> Result<(), ValueError> {
    let wrong_length = |found| ValueError::WrongLength {
        expected: 32,
        found,
    };
    match BASE64.decode_slice(text, bytes.as_mut_slice()) {
        Ok(32) => Ok(()),
        Ok(found) => Err(wrong_length(found)),
        Err(base64::DecodeSliceError::OutputSliceTooSmall) => {
            Err(wrong_length(base64::decoded_len_estimate(text.len())))
        }
        Err(base64::DecodeSliceError::DecodeError(_)) => Err(ValueError::NotBase64),
    }
}

/// A value that was refused, and where it stands.
pub(crate) struct Rejection {
    pub(crate) span: TextRange,
    why: Refused,
}

enum Refused {
    Type {
        expected: &'static str,
        found: &'static str,
    },
    Value(ValueError),
}

impl Rejection {
    pub(crate) fn problem(self, key: &'static str, example: &'static str) -> Problem {
        match self.why {
            Refused::Type { expected, found } => Problem::WrongType {
                key,
                expected,
                found,
                example,
            },
            Refused::Value(reason) => Problem::BadValue {
                key,
                reason,
                example,
            },
        }
    }

    fn wrong_type(value: &Spanned<DeValue<'_>>, expected: &'static str) -> Self {
        let found = value.get_ref().type_str();
        Self {
            span: value.span(),
            why: Refused::Type { expected, found },
        }
    }

    fn value(value: &Spanned<DeValue<'_>>, reason: ValueError) -> Self {
        Self {
            span: value.span(),
            why: Refused::Value(reason),
        }
    }
}

type Value<'v, 'a> = &'v Spanned<DeValue<'a>>;

pub(crate) fn boolean(value: Value<'_, '_>) -> Result<bool, Rejection> {
    value
        .get_ref()
        .as_bool()
        .ok_or_else(|| Rejection::wrong_type(value, "true or false"))
}

pub(crate) fn integer(
    range: RangeInclusive<i64>,
) -> impl Fn(Value<'_, '_>) -> Result<i64, Rejection> {
    move |value| {
        let digits = value
            .get_ref()
            .as_integer()
            .ok_or_else(|| Rejection::wrong_type(value, "a number"))?;
        let out_of_range = ValueError::OutOfRange {
            least: *range.start(),
            most: *range.end(),
        };
        i64::from_str_radix(digits.as_str(), digits.radix())
            .ok()
            .filter(|number| range.contains(number))
            .ok_or_else(|| Rejection::value(value, out_of_range))
    }
}

pub(crate) fn datetime(value: Value<'_, '_>) -> Result<Datetime, Rejection> {
    value
        .get_ref()
        .as_datetime()
        .copied()
        .ok_or_else(|| Rejection::wrong_type(value, "a date and time"))
}

/// A string that `parse` can read.
pub(crate) fn text<T>(
    parse: impl Fn(&str) -> Result<T, ValueError>,
) -> impl Fn(Value<'_, '_>) -> Result<T, Rejection> {
    move |value| {
        let text = value
            .get_ref()
            .as_str()
            .ok_or_else(|| Rejection::wrong_type(value, "a string"))?;
        parse(text).map_err(|reason| Rejection::value(value, reason))
    }
}

/// One to `limit` different strings that `parse` can read.
pub(crate) fn list<T: PartialEq>(
    limit: usize,
    parse: impl Fn(&str) -> Result<T, ValueError>,
) -> impl Fn(Value<'_, '_>) -> Result<Vec<T>, Rejection> {
    let parse = text(parse);
    move |value| {
        let items = value
            .get_ref()
            .as_array()
            .ok_or_else(|| Rejection::wrong_type(value, "a list of strings"))?;
        match items.len() {
            0 => return Err(Rejection::value(value, ValueError::Empty)),
            len if len > limit => {
                return Err(Rejection::value(value, ValueError::TooLong { limit }));
            }
            _ => {}
        }
        let mut list = Vec::with_capacity(items.len());
        for item in items.iter() {
            let parsed = parse(item)?;
            if list.contains(&parsed) {
                let again = item.get_ref().as_str().unwrap_or_default().to_owned();
                return Err(Rejection::value(item, ValueError::Duplicate(again)));
            }
            list.push(parsed);
        }
        Ok(list)
    }
}

/// Text for people: one line, not too long.
pub fn label(text: &str) -> Result<String, ValueError> {
    line(text, 120)
}

/// A sentence or two for people, on one line.
pub(crate) fn paragraph(text: &str) -> Result<String, ValueError> {
    line(text, 400)
}

/// A distinguished name, which can be long.
pub(crate) fn distinguished_name(text: &str) -> Result<String, ValueError> {
    line(text, 1000)
}

/// A distinguished name with wildcards.
pub(crate) fn pattern(text: &str) -> Result<String, ValueError> {
    line(text, 500)
}

fn line(text: &str, limit: usize) -> Result<String, ValueError> {
    match text {
        text if text.trim().is_empty() => Err(ValueError::Empty),
        text if text.chars().any(char::is_control) => Err(ValueError::ControlCharacter),
        text if text.chars().count() > limit => Err(ValueError::TooLong { limit }),
        text => Ok(text.to_owned()),
    }
}

/// What each word of the policy stands for.
pub(crate) type Words<T> = &'static [(&'static str, T)];

pub(crate) fn one_of<T: Copy>(words: Words<T>) -> impl Fn(&str) -> Result<T, ValueError> {
    move |text| {
        let found = words.iter().find(|(word, _)| *word == text);
        found
            .map(|(_, meaning)| *meaning)
            .ok_or_else(|| ValueError::NotOneOf {
                words: words.iter().map(|(word, _)| *word).collect(),
            })
    }
}

/// The word for `meaning`.
pub(crate) fn word<T: PartialEq>(words: Words<T>, meaning: T) -> &'static str {
    let found = words.iter().find(|(_, known)| *known == meaning);
    found.map_or("", |(word, _)| word)
}

/// A file by its absolute path. It is not looked for here.
pub(crate) fn path(text: &str) -> Result<PathBuf, ValueError> {
    let path = PathBuf::from(line(text, 500)?);
    match path.is_absolute() {
        true => Ok(path),
        false => Err(ValueError::NotAPath),
    }
}

/// As the policy would write it: it came from text.
pub(crate) fn shown(path: impl AsRef<Path>) -> String {
    path.as_ref().display().to_string()
}

/// Two or more numbers in dots, the first two within their bounds (X.660, 7.6).
pub(crate) fn oid(text: &str) -> Result<Oid, ValueError> {
    let arc = |digits: &str| {
        let canonical = digits == "0" || !digits.starts_with('0');
        let plain = canonical && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u64>().ok().filter(|_| plain)
    };
    let arcs: Option<Vec<u64>> = text.split('.').map(arc).collect();
    match arcs.as_deref() {
        Some([0 | 1, 0..40, ..] | [2, _, ..]) if text.len() <= 120 => Ok(Oid(text.to_owned())),
        Some(_) | None => Err(ValueError::NotAnOid),
    }
}

/// Base64 of one to `limit` bytes.
pub(crate) fn bytes(limit: usize) -> impl Fn(&str) -> Result<Vec<u8>, ValueError> {
    move |text| match BASE64.decode(text) {
        Ok(bytes) if bytes.is_empty() => Err(ValueError::Empty),
        Ok(bytes) if bytes.len() > limit => Err(ValueError::TooLong { limit }),
        Ok(bytes) => Ok(bytes),
        Err(_) => Err(ValueError::NotBase64),
    }
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

/// A time with its unit, within bounds.
pub(crate) fn duration(
    range: RangeInclusive<Duration>,
) -> impl Fn(&str) -> Result<Duration, ValueError> {
    move |text| {
        let unit = text
            .find(|c: char| !c.is_ascii_digit())
            .ok_or(ValueError::NotADuration)?;
        let number: u64 = text[..unit].parse().map_err(|_| ValueError::NotADuration)?;
        let in_ms: u64 = match &text[unit..] {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(ValueError::NotADuration),
        };
        let out_of_range = ValueError::DurationOutOfRange {
            least: *range.start(),
            most: *range.end(),
        };
        let duration = number.checked_mul(in_ms).map(Duration::from_millis);
        duration
            .filter(|duration| range.contains(duration))
            .ok_or(out_of_range)
    }
}

/// Our own address on a network, with its prefix length.
pub fn interface_address(text: &str) -> Result<IpNet, ValueError> {
    let address: IpNet = text.parse().map_err(|_| ValueError::NotAPrefix)?;
    match is_host(address.addr()) && !address.addr().is_loopback() {
        true => Ok(address),
        false => Err(ValueError::NotAHost),
    }
}

/// A network that can be internal: no host bits, and none of the addresses without which no link works.
pub(crate) fn internal_prefix(text: &str) -> Result<IpNet, ValueError> {
    const NEVER_INTERNAL: [&str; 7] = [
        "127.0.0.0/8",
        "169.254.0.0/16",
        "224.0.0.0/4",
        "255.255.255.255/32",
        "::1/128",
        "fe80::/10",
        "ff00::/8",
    ];

    let prefix: IpNet = text.parse().map_err(|_| ValueError::NotAPrefix)?;
    let network = prefix.trunc();
    if network != prefix {
        return Err(ValueError::HostBits { network });
    }
    let overlaps = |never: IpNet| network.contains(&never) || never.contains(&network);
    match NEVER_INTERNAL
        .iter()
        .filter_map(|never| never.parse().ok())
        .any(overlaps)
    {
        true => Err(ValueError::NotInternal { prefix }),
        false => Ok(prefix),
    }
}
