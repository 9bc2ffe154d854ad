//! The other end of the tunnel: its endpoints, which of them answers, and how their names became addresses.

use std::net::{IpAddr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The other end of the tunnel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Gateway {
    /// The name that policy gives it.
    pub name: String,
    /// The address in use; None if none is.
    pub address: Option<SocketAddr>,
    /// In the order in which they are called.
    pub endpoints: Vec<Endpoint>,
}

/// One way to the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Endpoint {
    /// As policy writes it, `vpn.example.se:51820`.
    pub name: String,
    /// Lower ones are called first, equal ones at once.
    pub priority: u8,
    pub resolution: Resolution,
    /// What it has become.
    pub addresses: Vec<SocketAddr>,
    pub state: EndpointState,
}

/// How an endpoint's name became addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Resolution {
    /// Policy gives the address itself.
    Literal,
    /// Not asked for on this network yet.
    Pending,
    /// A resolver of this network knew it.
    Resolved { age_ms: u64 },
    /// None did, and the addresses that policy gives for this case are used.
    Fallback { fault: ResolutionFault, age_ms: u64 },
    /// None did, and policy gives no address for this case.
    Failed { fault: ResolutionFault, age_ms: u64 },
}

/// Why a name could not be resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "code", rename_all = "kebab-case")]
pub enum ResolutionFault {
    /// The network names no resolver.
    NoResolver,
    /// No resolver answers.
    NoAnswer,
    /// The resolver says that there is no such name.
    NoSuchName,
    /// There is such a name, but it has no address.
    NoAddress,
    /// The resolver answers that it cannot or will not say.
    ResolverFailed,
    /// The resolver leads to an address that cannot be the gateway's.
    Astray { to: IpAddr },
}

/// What an endpoint is to the tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum EndpointState {
    /// Not called: the tunnel is down, or one that comes first answers.
    Idle,
    /// Called, and not yet heard of.
    Calling,
    InUse,
    /// Called, and did not answer.
    Silent {
        age_ms: u64,
    },
}
