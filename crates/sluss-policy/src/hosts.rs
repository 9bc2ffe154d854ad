//! Hosts as a policy names them: addresses written out, host names, and plain HTTP addresses.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use crate::ValueError;

/// A name to look up, or an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    Name(HostName),
    Address(IpAddr),
}

/// A host name by RFC 1123, 2.1, whole: two labels or more, in lower case, without a final dot.
///
/// Other letters stand in it as A-labels (RFC 5890, 2.3.2.1), as they do in the DNS.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostName(String);

/// An `http://` address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpAddress {
    pub host: Host,
    pub port: u16,
    /// Begins with a slash; the query, if any, is part of it.
    pub path: String,
}

impl Host {
    /// As a policy and a URL write it; an IPv6 address stands in brackets.
    pub(crate) fn with_port(&self, port: u16) -> String {
        match self {
            Self::Name(name) => format!("{name}:{port}"),
            Self::Address(address) => SocketAddr::new(*address, port).to_string(),
        }
    }
}

impl HostName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostName {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        // The longest that the DNS can carry (RFC 1035, 3.1) once the length of each label is added.
        const LONGEST: usize = 253;

        let mut labels = text.split('.');
        let last = labels.next_back().unwrap_or_default();
        let domain_is_numeric = last.bytes().all(|byte| byte.is_ascii_digit());
        let is_right = text.len() <= LONGEST
            && text.contains('.')
            && !domain_is_numeric
            && text.split('.').all(is_label);
        match is_right {
            true => Ok(Self(text.to_ascii_lowercase())),
            false => Err(ValueError::NotAHostName),
        }
    }
}

fn is_label(label: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=63).contains(&label.len())
        && label.bytes().all(inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

impl FromStr for HttpAddress {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        // Longer than any probe, short enough for one request.
        const LONGEST: usize = 500;

        if text.len() > LONGEST {
            return Err(ValueError::TooLong { limit: LONGEST });
        }
        let rest = match text.split_once("://") {
            Some(("http", rest)) => rest,
            Some(("https", _)) => return Err(ValueError::EncryptedProbe),
            Some(_) | None => return Err(ValueError::NotAnHttpAddress),
        };
        let (authority, path) = match rest.find(['/', '?']) {
            Some(slash) => rest.split_at(slash),
            None => (rest, "/"),
        };
        // RFC 3986, 3.3 and 3.4, without a fragment, which is never sent.
        let is_of_a_path = |byte: u8| byte.is_ascii_graphic() && !b"#\"<>\\^`{|}".contains(&byte);
        if !path.starts_with('/') || !path.bytes().all(is_of_a_path) {
            return Err(ValueError::NotAnHttpAddress);
        }
        let has_port = authority
            .rsplit_once(':')
            .is_some_and(|(_, port)| !port.ends_with(']'));
        let (host, port) = match has_port {
            true => host_and_port(authority),
            false => host_and_port(&format!("{authority}:80")),
        }
        .map_err(|reason| match reason {
            ValueError::NotAnEndpoint => ValueError::NotAnHttpAddress,
            reason => reason,
        })?;
        Ok(Self {
            host,
            port,
            path: path.to_owned(),
        })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Address(address) => address.fmt(f),
        }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Without the port where it goes without saying (RFC 3986, 6.2.3): people read it.
impl fmt::Display for HttpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self.host.with_port(self.port);
        let authority = authority.strip_suffix(":80").unwrap_or(&authority);
        write!(f, "http://{authority}{}", self.path)
    }
}

/// A name or an address, with its port; an IPv6 address in brackets.
pub(crate) fn host_and_port(text: &str) -> Result<(Host, u16), ValueError> {
    let (host, port) = text.rsplit_once(':').ok_or(ValueError::NotAnEndpoint)?;
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    if bare.is_none() && host.contains(':') {
        return Err(ValueError::NotAnEndpoint);
    }
    let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port
        .parse()
        .ok()
        .filter(|port| is_number && *port != 0)
        .ok_or(ValueError::NotAnEndpoint)?;
    let host = match (bare, host.parse::<std::net::Ipv4Addr>()) {
        (Some(bare), _) => match bare.parse::<std::net::Ipv6Addr>() {
            Ok(_) => Host::Address(reachable(bare)?),
            Err(_) => return Err(ValueError::NotAnEndpoint),
        },
        (None, Ok(_)) => Host::Address(reachable(host)?),
        (None, Err(_)) => Host::Name(host.parse()?),
    };
    Ok((host, port))
}

/// Address and port of one host, written out: a name could be answered by anybody.
pub(crate) fn socket_address(text: &str) -> Result<SocketAddr, ValueError> {
    match host_and_port(text) {
        Ok((Host::Address(address), port)) => Ok(SocketAddr::new(address, port)),
        Ok((Host::Name(_), _)) | Err(ValueError::NotAnEndpoint | ValueError::NotAHostName) => {
            Err(ValueError::NotASocketAddress)
        }
        Err(reason) => Err(reason),
    }
}

/// The address of one host, without a port.
pub(crate) fn reachable(text: &str) -> Result<IpAddr, ValueError> {
    let address: IpAddr = text.parse().map_err(|_| ValueError::NotAnAddress)?;
    match is_host(address) {
        true => Ok(address),
        false => Err(ValueError::NotAHost),
    }
}

pub(crate) fn is_host(address: IpAddr) -> bool {
    let out_of_bounds = match address {
        IpAddr::V4(v4) => v4.is_broadcast(),
        // IPv4 in a dress: the sockets and the routes of the two families would disagree about it.
        IpAddr::V6(v6) => v6.to_ipv4_mapped().is_some(),
    };
    !address.is_unspecified() && !address.is_multicast() && !out_of_bounds
}
