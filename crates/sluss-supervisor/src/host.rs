//! What is asked of the host: routes, firewall, and who is let by it.

use std::net::IpAddr;

use crate::{Link, LinkId, Op, Time, Visitor};

/// Routes and firewall: what was asked for and what is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// The daemon has just started; its predecessor's rules may be there.
    Unknown,
    Applying {
        op: Op,
        rules: HostRules,
        deadline: Time,
    },
    Applied(HostRules),
    /// The last attempt to apply `rules` failed: what is there is not known.
    Failed {
        rules: HostRules,
        retry_at: Time,
    },
}

/// What routes and firewall shall be. Equal rules always make the same host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostRules {
    pub mode: HostMode,
    /// Gateways with an internal address on links that are not known to lead inside, as at home where somebody chose the
    /// same network: what the link needs of them, names and addresses, is not internal traffic. Sorted.
    pub routers: Vec<Router>,
    /// Whom a captive portal may be shown.
    pub opening: Option<Opening>,
}

/// What routes and firewall do with the internal prefixes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostMode {
    /// They lead nowhere.
    Closed,
    /// They leave by this link only; with its facts, since the routes are made of them.
    Inside { link: Link },
    /// They leave by the tunnel only.
    Tunnelled,
}

/// The next hop of a default route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Router {
    pub link: LinkId,
    pub address: IpAddr,
}

/// The way to a captive portal: TCP 80 and 443 and the link's resolver, for one visitor, on one link. The kernel itself is
/// to close it at `until`, whatever becomes of the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Opening {
    pub link: LinkId,
    pub visitor: Visitor,
    pub until: Time,
}
