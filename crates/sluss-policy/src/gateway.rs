//! The WireGuard peer inside, and where it is called.

use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::document::Document;
use crate::hosts::{Host, host_and_port, reachable};
use crate::policy::{array, quoted};
use crate::values::{integer, label, list, text};
use crate::{PublicKey, ValueError};

/// Section `[gateway]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// What people call it; shown, never looked up.
    pub name: String,
    pub public_key: PublicKey,
}

/// Section `[[endpoint]]`: one place where the gateway answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub host: Host,
    /// UDP; never 0.
    pub port: u16,
    /// The lowest is called first; equal ones are called at once.
    pub priority: u8,
    /// What to call when no resolver answers for the name; empty for an address.
    pub fallback: Vec<IpAddr>,
}

impl Gateway {
    pub(crate) fn build(document: &mut Document<'_>) -> Option<Self> {
        let name = document.required("gateway.name", text(label));
        let public_key = document.required("gateway.public_key", text(str::parse));
        Some(Self {
            name: name?,
            public_key: public_key?,
        })
    }
}

impl Endpoint {
    /// All of them; at least one. `None` leaves a mistake behind.
    pub(crate) fn build_all(document: &mut Document<'_>) -> Option<Vec<Self>> {
        let mut seen = HashSet::new();
        document.required_sections("endpoint", 8, |document| {
            let endpoint = Self::build(document)?;
            let address = endpoint.address();
            if !seen.insert(address.clone()) {
                document.reject("endpoint.address", ValueError::Duplicate(address));
            }
            Some(endpoint)
        })
    }

    fn build(document: &mut Document<'_>) -> Option<Self> {
        let address = document.required("endpoint.address", text(host_and_port));
        let priority = document.optional("endpoint.priority", integer(1..=100));
        let fallback = document.optional("endpoint.fallback", list(8, reachable));
        let (host, port) = address?;
        if matches!(host, Host::Address(_)) && fallback.is_some() {
            let setting = "a name in 'address'";
            document.reject("endpoint.fallback", ValueError::OnlyWith { setting });
        }
        Some(Self {
            host,
            port,
            priority: priority
                .and_then(|priority| u8::try_from(priority).ok())
                .unwrap_or(1),
            fallback: fallback.unwrap_or_default(),
        })
    }

    /// As the policy writes it: host and port.
    pub fn address(&self) -> String {
        self.host.with_port(self.port)
    }

    /// What the policy itself says of where it is: its address, or the fallback of its name.
    pub fn written(&self) -> impl Iterator<Item = SocketAddr> {
        let literal = match &self.host {
            Host::Address(address) => Some(*address),
            Host::Name(_) => None,
        };
        let port = self.port;
        literal
            .into_iter()
            .chain(self.fallback.iter().copied())
            .map(move |address| SocketAddr::new(address, port))
    }
}

/// The section `[gateway]`.
impl fmt::Display for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, public_key } = self;
        writeln!(f, "[gateway]\nname = {}", quoted(name))?;
        writeln!(f, "public_key = \"{public_key}\"")
    }
}

/// One section `[[endpoint]]`.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "[[endpoint]]\naddress = \"{}\"", self.address())?;
        writeln!(f, "priority = {}", self.priority)?;
        match self.fallback.as_slice() {
            [] => Ok(()),
            fallback => writeln!(f, "fallback = {}", array(fallback)),
        }
    }
}
