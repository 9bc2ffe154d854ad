//! What a beacon is told by its one file.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::Name;

/// `/etc/sluss-beacon.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What it calls itself to laptops.
    #[serde(deserialize_with = "name")]
    pub name: Name,
    /// Where laptops find it: 1 to 16 different addresses with ports, IPv4 and IPv6.
    #[serde(deserialize_with = "listen")]
    pub listen: Vec<SocketAddr>,
    /// Its private key, in PEM.
    #[serde(default = "default_key")]
    pub key: PathBuf,
    /// The chain that begins with the certificate of its key, in PEM, for those who do not ask for the bare key.
    pub certificate: Option<PathBuf>,
}

/// What cannot be understood, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct BadConfig(#[from] toml::de::Error);

/// No address with a port, and how one is written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an address with a port, as \"10.20.0.53:8443\" or \"[fd20::53]:8443\"")]
pub struct BadAddress(String);

/// Reads where a beacon listens.
///
/// # Errors
/// When it is no address, or has no port.
pub fn address(text: &str) -> Result<SocketAddr, BadAddress> {
    text.parse().map_err(|_| BadAddress(text.to_owned()))
}

impl FromStr for Config {
    type Err = BadConfig;

    fn from_str(text: &str) -> Result<Self, BadConfig> {
        Ok(toml::from_str(text)?)
    }
}

fn default_key() -> PathBuf {
    "/etc/sluss-beacon.key".into()
}

fn name<'de, D: Deserializer<'de>>(from: D) -> Result<Name, D::Error> {
    let name = String::deserialize(from)?;
    name.parse().map_err(D::Error::custom)
}

fn listen<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<SocketAddr>, D::Error> {
    let mut addresses = Vec::new();
    for text in from.deserialize_seq(Texts)? {
        let address = address(&text).map_err(D::Error::custom)?;
        let ip = address.ip();
        // Also one outside, and then the beacon proves that a laptop there is inside.
        if ip.to_canonical().is_unspecified() {
            return Err(D::Error::custom(format!(
                "{ip} is every address of this host: name the internal one"
            )));
        }
        if address.port() == 0 || ip.is_multicast() {
            return Err(D::Error::custom(format!("nobody can be called at {text}")));
        }
        if addresses.contains(&address) {
            return Err(D::Error::custom(format!("{text} stands there twice")));
        }
        addresses.push(address);
    }
    match addresses.len() {
        1..=16 => Ok(addresses),
        count => Err(D::Error::custom(format!(
            "a beacon listens at 1 to 16 addresses, not {count}"
        ))),
    }
}

/// A list, and what to say to who forgot its brackets.
struct Texts;

impl<'de> Visitor<'de> for Texts {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of addresses, as [\"10.20.0.53:8443\"]")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Vec<String>, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beacon_needs_a_name_and_addresses() {
        let config: Config =
            "name = \"stadshuset\"\nlisten = [\"10.20.0.53:8443\", \"[fd20::53]:8443\"]"
                .parse()
                .unwrap();
        assert_eq!(config.name.to_string(), "stadshuset");
        assert_eq!(config.listen.len(), 2);
        assert_eq!(config.key, PathBuf::from("/etc/sluss-beacon.key"));
        assert_eq!(config.certificate, None);
    }

    #[test]
    fn a_mistake_is_told_with_its_line() {
        let cases = [
            (
                "name = \"a\"\nlisten = [\"10.20.0.53\"]",
                "line 2",
                "is not an address with a port",
            ),
            (
                "name = \"a\"\nlisten = \"10.0.0.1:1\"",
                "line 2",
                "expected a list of addresses, as [\"10.20.0.53:8443\"]",
            ),
            (
                "name = \"a\"\nlisten = [\"10.0.0.1:1\", \"0.0.0.0:8443\"]",
                "line 2",
                "0.0.0.0 is every address of this host: name the internal one",
            ),
            (
                "name = \"a\"\nlisten = [\"[::]:8443\"]",
                "line 2",
                ":: is every address of this host: name the internal one",
            ),
            (
                "name = \"a\"\nlisten = [\"[::ffff:0.0.0.0]:8443\"]",
                "line 2",
                "is every address of this host",
            ),
            ("name = \"a\"\nlisten = []", "line 2", "1 to 16 addresses"),
            (
                "name = \"a\"\nlisten = [\"10.0.0.1:0\"]",
                "line 2",
                "nobody can be called",
            ),
            (
                "name = \"a\"\nlisten = [\"10.0.0.1:1\", \"10.0.0.1:1\"]",
                "line 2",
                "twice",
            ),
            (
                "name = \"\"\nlisten = [\"10.0.0.1:1\"]",
                "line 1",
                "1 to 64 bytes",
            ),
            (
                "name = \"a\\nb\"\nlisten = [\"10.0.0.1:1\"]",
                "line 1",
                "no control characters",
            ),
            (
                "name = \"a\"\nlisten = [\"10.0.0.1:1\"]\n\nkei = \"/k\"",
                "line 4",
                "unknown field `kei`",
            ),
            (
                "listen = [\"10.0.0.1:1\"]",
                "line 1",
                "missing field `name`",
            ),
        ];
        for (text, place, reason) in cases {
            let told = text.parse::<Config>().unwrap_err().to_string();
            assert!(
                told.contains(place) && told.contains(reason),
                "{text}: {told}"
            );
        }
    }
}
