//! Our own routing table T, which [`rules`](super::rules) have looked up before the main one.
//!
//! It holds each internal prefix twice: the way that the mode gives it, and `unreachable` with a metric that loses to every
//! way. So whatever takes the way off, be it the end of the daemon and its TUN device, leaves the prefix closed.
//! All of it carries routing protocol 83, which is how it is found again.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::net::IpAddr;

use ipnet::IpNet;
use nix::errno::Errno;
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use sluss_supervisor::{HostMode, Link};

use super::netlink::{Family, Netlink, collect, errno, refused, unless};
use crate::{HostConfig, Result};

/// T.
pub(super) const TABLE: u32 = 5340;
/// The tag of everything that is ours.
pub(super) const PROTOCOL: RouteProtocol = RouteProtocol::Other(83);
/// The metric of a way. IPv6 would choose it by itself for zero; saying it makes what is read equal what was written.
const WAY: u32 = 1024;
/// The metric of `unreachable`, as high as WireGuard clients put it by custom.
const LAST_RESORT: u32 = 4_278_198_272;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Route {
    prefix: IpNet,
    to: To,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum To {
    Interface(u32),
    Gateway { address: IpAddr, interface: u32 },
    Unreachable,
}

/// Makes the table what `config` wants; `tun` is the index of the tunnel's interface where the mode uses it.
///
/// Each route is replaced in one step, and under it lies `unreachable`: no order of steps opens a prefix.
pub(super) async fn apply(netlink: &Netlink, config: &HostConfig, tun: Option<u32>) -> Result<()> {
    let wanted = table(config, tun);
    for family in Family::present() {
        let of_family =
            |route: &&Route| matches!(route.prefix, IpNet::V4(_)) == (family == Family::V4);
        let wanted: Vec<&Route> = wanted.iter().filter(of_family).collect();
        let found = routes(netlink, family).await?;
        for route in &wanted {
            if !found.iter().any(|(it, _)| it.as_ref() == Some(route)) {
                add_route(netlink, route).await?;
            }
        }
        for (route, message) in found {
            // Another way to the same prefix has taken its place already.
            let replaced = |it: &Route| wanted.iter().any(|route| route.takes_the_place_of(it));
            if !route.is_some_and(|route| replaced(&route)) {
                delete_route(netlink, message).await?;
            }
        }
    }
    Ok(())
}

/// Takes away every route with our tag.
pub(super) async fn remove(netlink: &Netlink) -> Result<()> {
    for family in Family::present() {
        for (_, message) in routes(netlink, family).await? {
            delete_route(netlink, message).await?;
        }
    }
    Ok(())
}

/// Lets the reverse path check of arriving IPv4 packets take their mark into account.
///
/// The answer of a beacon comes from an internal address, and unmarked packets find no way back there: with `rp_filter` on,
/// as most distributions have it, the kernel would drop the answer and the laptop would never be inside. The fence puts
/// the mark on such answers. Where the daemon may not write here, the package has set it at boot.
pub(super) fn heed_marks_of_arrivals() {
    const KEY: &str = "/proc/sys/net/ipv4/conf/all/src_valid_mark";
    if fs::read_to_string(KEY).is_ok_and(|value| value.trim() == "1") {
        return;
    }
    if let Err(error) = fs::write(KEY, "1") {
        tracing::warn!("{KEY}: {error}; with rp_filter on, no beacon will be heard");
    }
}

/// What T shall hold.
fn table(config: &HostConfig, tun: Option<u32>) -> Vec<Route> {
    let mut routes = Vec::new();
    for prefix in IpNet::aggregate(&config.internal) {
        match (&config.rules.mode, tun) {
            (HostMode::Inside { link }, _) => routes.extend(ways_by(link, prefix)),
            (HostMode::Tunnelled, Some(tun)) => routes.push(Route {
                prefix,
                to: To::Interface(tun),
            }),
            (HostMode::Tunnelled, None) | (HostMode::Closed, _) => {}
        }
        routes.push(Route {
            prefix,
            to: To::Unreachable,
        });
    }
    routes
}

/// The ways to `prefix` by the verified link: its gateway, and before it what is on the link itself.
///
/// Made of the link's own facts; routes that a network pushed into the main table have no say.
fn ways_by(link: &Link, prefix: IpNet) -> impl Iterator<Item = Route> {
    let interface = link.id.index;
    let same_family = |address: &IpAddr| address.is_ipv4() == prefix.addr().is_ipv4();
    let gateway = link.gateways.iter().copied().find(same_family);
    let by_gateway = gateway.map(|address| (prefix, To::Gateway { address, interface }));
    let on_link = link
        .addresses
        .iter()
        .filter(|net| net.prefix_len() < net.max_prefix_len())
        .filter_map(|net| overlap(net.trunc(), prefix))
        .map(|net| (net, To::Interface(interface)));
    // Where the link is as wide as the prefix, the later entry wins: no gateway is needed.
    by_gateway
        .into_iter()
        .chain(on_link)
        .collect::<BTreeMap<_, _>>()
        .into_iter()
        .map(|(prefix, to)| Route { prefix, to })
}

/// Two prefixes have nothing in common, or one of them.
fn overlap(a: IpNet, b: IpNet) -> Option<IpNet> {
    if a.contains(&b) {
        Some(b)
    } else if b.contains(&a) {
        Some(a)
    } else {
        None
    }
}

/// Our routes; `None` for one that carries our tag and yet is none that we make.
async fn routes(netlink: &Netlink, family: Family) -> Result<Vec<(Option<Route>, RouteMessage)>> {
    let mut filter = RouteMessage::default();
    filter.header.address_family = family.address_family();
    filter.header.protocol = PROTOCOL;
    filter.attributes = vec![RouteAttribute::Table(TABLE)];
    let dump = netlink.handle.route().get(filter).execute();
    let found = collect("read our routes", dump).await?;
    // An old kernel ignores the filter.
    let ours = |route: &RouteMessage| {
        route.header.protocol == PROTOCOL
            && route.attributes.contains(&RouteAttribute::Table(TABLE))
    };
    Ok(found
        .into_iter()
        .filter(ours)
        .map(|it| (Route::parse(&it), it))
        .collect())
}

async fn add_route(netlink: &Netlink, route: &Route) -> Result<()> {
    let request = netlink.handle.route().add(route.message()).replace();
    match (&route.to, request.execute().await) {
        // IPv6 is switched off on that interface: no way, and the prefix stays unreachable.
        (To::Interface(_) | To::Gateway { .. }, Err(error))
            if route.prefix.addr().is_ipv6() && errno(&error) == Some(Errno::EACCES) =>
        {
            tracing::debug!("no route {route}: IPv6 is switched off");
            Ok(())
        }
        (_, result) => result.map_err(refused(format!("add the route {route}"))),
    }
}

/// A route whose interface has just gone is gone too.
async fn delete_route(netlink: &Netlink, message: RouteMessage) -> Result<()> {
    let request = netlink.handle.route().del(message);
    unless(Errno::ESRCH, request.execute().await).map_err(refused("take a route off"))
}

impl Route {
    /// The kernel tells routes apart by these two.
    fn takes_the_place_of(&self, other: &Route) -> bool {
        self.prefix == other.prefix && self.metric() == other.metric()
    }

    fn metric(&self) -> u32 {
        match self.to {
            To::Interface(_) | To::Gateway { .. } => WAY,
            To::Unreachable => LAST_RESORT,
        }
    }

    fn message(&self) -> RouteMessage {
        let mut message = RouteMessage::default();
        message.header.address_family = match self.prefix {
            IpNet::V4(_) => Family::V4.address_family(),
            IpNet::V6(_) => Family::V6.address_family(),
        };
        message.header.destination_prefix_length = self.prefix.prefix_len();
        message.header.protocol = PROTOCOL;
        message.header.kind = RouteType::Unicast;
        message.attributes = vec![
            RouteAttribute::Table(TABLE),
            RouteAttribute::Destination(self.prefix.addr().into()),
            RouteAttribute::Priority(self.metric()),
        ];
        match self.to {
            To::Interface(interface) => {
                message.header.scope = RouteScope::Link;
                message.attributes.push(RouteAttribute::Oif(interface));
            }
            To::Gateway { address, interface } => {
                // Else the kernel asks T whether it can reach the gateway, and T may say `unreachable`.
                message.header.flags = RouteFlags::Onlink;
                message.attributes.push(RouteAttribute::Oif(interface));
                message
                    .attributes
                    .push(RouteAttribute::Gateway(address.into()));
            }
            To::Unreachable => message.header.kind = RouteType::Unreachable,
        }
        message
    }

    fn parse(message: &RouteMessage) -> Option<Route> {
        let mut destination = None;
        let mut interface = None;
        let mut gateway = None;
        let mut metric = None;
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Priority(value) => metric = Some(*value),
                RouteAttribute::Destination(address) => destination = Some(ip(address)?),
                RouteAttribute::Gateway(address) => gateway = Some(ip(address)?),
                RouteAttribute::Oif(index) => interface = Some(*index),
                _ => {}
            }
        }
        let to = match (message.header.kind, gateway) {
            (RouteType::Unreachable, _) => To::Unreachable,
            (_, Some(address)) => To::Gateway {
                address,
                interface: interface?,
            },
            (_, None) => To::Interface(interface?),
        };
        let prefix = IpNet::new(destination?, message.header.destination_prefix_length).ok()?;
        let route = Route { prefix, to };
        (metric == Some(route.metric())).then_some(route)
    }
}

/// As `ip route` prints it, but for the interface's index.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to {
            To::Interface(interface) => write!(f, "{} dev {interface}", self.prefix),
            To::Gateway { address, interface } => {
                write!(f, "{} via {address} dev {interface}", self.prefix)
            }
            To::Unreachable => write!(f, "unreachable {}", self.prefix),
        }
    }
}

pub(super) fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some(IpAddr::V4(*v4)),
        RouteAddress::Inet6(v6) => Some(IpAddr::V6(*v6)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
