//! A pattern for the subject of a certificate: a distinguished name with wildcards.

use std::str::FromStr;

use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::der::asn1::{Any, ObjectIdentifier};
use x509_cert::der::oid::db::DB;
use x509_cert::der::{Tag, Tagged};
use x509_cert::name::Name;

/// A distinguished name as RFC 4514 writes it, most particular part first, with `*` for whatever one does not know.
///
/// `*,O=Exempel kommun,C=SE` fits everybody in that organisation. A `*` that stands alone between commas fits any number of parts, also
/// none; within a value it fits any characters, but never goes beyond the value: no name that a person chose can contain another part.
/// Everything else must be as in the certificate, capitals too. A comma, a plus sign, a backslash or a star that is meant itself comes
/// after a backslash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// What stands between the stars: parts, each with its attributes, which are seldom more than one.
    pieces: Vec<Vec<Vec<Attribute>>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Attribute {
    kind: ObjectIdentifier,
    /// What stands between the stars.
    pieces: Vec<Vec<char>>,
}

/// What is wrong with a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPattern {
    /// Neither `*` nor `TYPE=VALUE`.
    #[error(
        "{part:?} is neither a star nor a type, an equals sign and a value, as in O=Exempel kommun"
    )]
    NoAttribute {
        /// The part as written.
        part: String,
    },
    /// A type that has neither a known short name nor an object identifier.
    #[error(
        "{name:?} is no type of attribute; known are CN, O, OU, C, serialNumber, ..., and numbers as in 2.5.4.3"
    )]
    UnknownType {
        /// The type as written.
        name: String,
    },
    /// A backslash with nothing behind it.
    #[error("there is a backslash at the end")]
    LooseBackslash,
}

impl Pattern {
    /// Whether a name is such a one.
    pub fn matches(&self, name: &Name) -> bool {
        // A certificate lists the most general part first, RFC 4514 writes it last.
        let mut parts: Vec<Vec<&AttributeTypeAndValue>> =
            name.iter_rdn().map(|part| part.iter().collect()).collect();
        parts.reverse();
        let pieces: Vec<&[Vec<Attribute>]> = self.pieces.iter().map(Vec::as_slice).collect();
        in_order(&pieces, &parts, |wanted, part| {
            // Each has its counterpart, so that none stands for two.
            wanted.len() == part.len()
                && wanted
                    .iter()
                    .all(|one| part.iter().any(|other| one.fits(other)))
                && part
                    .iter()
                    .all(|other| wanted.iter().any(|one| one.fits(other)))
        })
    }
}

impl FromStr for Pattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        let mut pieces = vec![Vec::new()];
        for part in split(text, ',')? {
            if part.trim() == "*" {
                pieces.push(Vec::new());
            } else if let Some(piece) = pieces.last_mut() {
                let attributes = split(part, '+')?.into_iter().map(Attribute::parse);
                piece.push(attributes.collect::<Result<_, _>>()?);
            }
        }
        Ok(Pattern { pieces })
    }
}

impl Attribute {
    fn parse(text: &str) -> Result<Attribute, BadPattern> {
        let no_attribute = || BadPattern::NoAttribute {
            part: text.trim().to_owned(),
        };
        let (name, value) = text.split_once('=').ok_or_else(no_attribute)?;
        let name = name.trim();
        let kind = type_of_name(name).or_else(|| name.parse().ok());
        let kind = kind.ok_or_else(|| BadPattern::UnknownType {
            name: name.to_owned(),
        })?;
        let pieces = split(value.trim(), '*')?.into_iter().map(unescape);
        Ok(Attribute {
            kind,
            pieces: pieces.collect::<Result<_, _>>()?,
        })
    }

    fn fits(&self, attribute: &AttributeTypeAndValue) -> bool {
        let pieces: Vec<&[char]> = self.pieces.iter().map(Vec::as_slice).collect();
        attribute.oid == self.kind
            && text(&attribute.value).is_some_and(|value| {
                let value: Vec<char> = value.chars().collect();
                in_order(&pieces, &value, |one, other| one == other)
            })
    }
}

/// The type of attribute that has this name, in capitals or not.
fn type_of_name(name: &str) -> Option<ObjectIdentifier> {
    // X.520's attributes, the directory pilot's (DC, UID), and PKCS #9's (emailAddress); the list of names has others, too.
    const FAMILIES: [&str; 3] = ["2.5.4", "0.9.2342.19200300.100.1", "1.2.840.113549.1.9"];
    let found = DB.by_name(name)?;
    let is_in = |family| found.parent().is_some_and(|parent| parent == family);
    let families = FAMILIES.map(ObjectIdentifier::new_unwrap);
    families.into_iter().any(is_in).then_some(*found)
}

/// Whether `whole` consists of these pieces in this order, with anything between them.
fn in_order<P, T>(pieces: &[&[P]], whole: &[T], same: impl Fn(&P, &T) -> bool) -> bool {
    let equals = |piece: &[P], part: &[T]| {
        piece.len() == part.len() && piece.iter().zip(part).all(|(one, other)| same(one, other))
    };
    let [first, middle @ .., last] = pieces else {
        return pieces.iter().all(|only| equals(only, whole));
    };
    let Some(end) = whole
        .len()
        .checked_sub(last.len())
        .filter(|end| first.len() <= *end)
    else {
        return false;
    };
    let (start, mut rest) = whole[..end].split_at(first.len());
    equals(first, start)
        && equals(last, &whole[end..])
        && middle
            .iter()
            .filter(|piece| !piece.is_empty())
            .all(|piece| {
                let found = rest
                    .windows(piece.len())
                    .position(|part| equals(piece, part));
                rest = found.map_or(&[], |at| &rest[at + piece.len()..]);
                found.is_some()
            })
}

/// The text between separators that have no backslash before them. Backslashes stay.
fn split(text: &str, separator: char) -> Result<Vec<&str>, BadPattern> {
    let (mut parts, mut start) = (Vec::new(), 0);
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        if character == '\\' {
            characters.next().ok_or(BadPattern::LooseBackslash)?;
        } else if character == separator {
            parts.push(&text[start..at]);
            start = at + separator.len_utf8();
        }
    }
    parts.push(&text[start..]);
    Ok(parts)
}

fn unescape(text: &str) -> Result<Vec<char>, BadPattern> {
    let mut characters = text.chars();
    let mut plain = Vec::new();
    while let Some(character) = characters.next() {
        plain.push(match character {
            '\\' => characters.next().ok_or(BadPattern::LooseBackslash)?,
            other => other,
        });
    }
    Ok(plain)
}

/// The text of an attribute's value, in whichever of the five encodings of a DirectoryString or as IA5 (RFC 5280, 4.1.2.4).
fn text(value: &Any) -> Option<String> {
    let bytes = value.value();
    match value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String => {
            String::from_utf8(bytes.to_vec()).ok()
        }
        // In practice Latin-1.
        Tag::TeletexString => Some(bytes.iter().copied().map(char::from).collect()),
        Tag::BmpString => {
            let (pairs, []) = bytes.as_chunks::<2>() else {
                return None;
            };
            let units: Vec<u16> = pairs.iter().copied().map(u16::from_be_bytes).collect();
            String::from_utf16(&units).ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
