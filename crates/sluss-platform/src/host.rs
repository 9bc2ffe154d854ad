//! What the host's routes, addresses and firewall shall be, as a value.

use ipnet::IpNet;
use sluss_supervisor::{HostRules, Router};

/// The whole of what Sluss wants of the host. The same value always leads to the same host, whatever was there before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostConfig {
    /// Where internal traffic may go, and who is let by. For [`HostMode::Tunnelled`] the TUN device must exist.
    ///
    /// [`HostMode::Tunnelled`]: sluss_supervisor::HostMode::Tunnelled
    pub rules: HostRules,
    /// Resolvers that were handed out by the networks of the rules' routers or of the portal. Those with an internal
    /// address are as reachable as the routers are: for names, and nothing else.
    pub resolvers: Vec<Router>,
    /// The prefixes that only the internal network may see, IPv4 and IPv6. They may overlap.
    pub internal: Vec<IpNet>,
    pub tun: TunConfig,
}

impl HostConfig {
    /// Who is asked for names on a physical link although its address is internal.
    pub(crate) fn name_servers(&self) -> impl Iterator<Item = &Router> {
        let internal = |it: &&Router| self.internal.iter().any(|net| net.contains(&it.address));
        let resolvers = self.resolvers.iter().filter(internal);
        let others = resolvers.filter(|it| !self.rules.routers.contains(it));
        self.rules.routers.iter().chain(others)
    }
}

/// The tunnel's interface; the device itself is made by whoever reads and writes its packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TunConfig {
    /// The interface's name; the product uses [`TunConfig::NAME`]. Letters, digits, `-` and `_`.
    pub name: String,
    /// The laptop's own addresses inside the tunnel, with their prefix lengths (usually /32 and /128).
    pub addresses: Vec<IpNet>,
    /// Bytes of the largest packet inside the tunnel.
    pub mtu: u16,
}

impl TunConfig {
    pub const NAME: &str = "sluss0";
}
