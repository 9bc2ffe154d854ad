//! The network as the laptop has it: every physical link with its carrier, addresses and gateways, in whole snapshots.
//!
//! The kernel's messages only say that something changed. What there is now is then read anew: a snapshot cannot drift
//! from the truth as a sum of differences can, and lost messages do no harm.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use ipnet::IpNet;
use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::{AddressHeaderFlags, AddressMessage};
use rtnetlink::packet_route::link::{
    InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage,
};
use rtnetlink::packet_route::route::{RouteAttribute, RouteMessage, RouteType};
use sluss_supervisor::{Link, LinkId};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::AbortHandle;

use super::media::Media;
use super::neighbours::Neighbours;
use super::netlink::{Family, Netlink, collect};
use super::routes::ip;
use super::tun_link::own_address;
use crate::{Error, Result};

/// What can change a snapshot. Of neighbours only the gateways count: see [`Neighbours`].
const GROUPS: [MulticastGroup; 5] = [
    MulticastGroup::Link,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
];
const MAIN: u8 = 254;

/// Tells of the physical links whenever one of them changes.
pub struct Watcher {
    snapshots: Receiver<Result<Vec<Link>>>,
    task: AbortHandle,
}

impl Watcher {
    /// `tun` is the name of the tunnel's interface, which is no link. Needs a tokio runtime.
    pub fn open(tun: &str) -> Result<Watcher> {
        let (connection, _, news) = rtnetlink::new_multicast_connection(&GROUPS)
            .map_err(Error::system("listen to netlink"))?;
        let reader = Reader {
            kernel: Netlink::open()?,
            news: news.map(|(message, _)| message.payload).boxed(),
            neighbours: Neighbours::open()?,
            media: Media::watch(),
            tun: Tun {
                name: tun.to_owned(),
                index: None,
            },
        };
        let (tell, snapshots) = channel(1);
        // A task of its own, since the kernel answers nothing else on a socket whose reader went away in the middle.
        let task = tokio::spawn(async {
            tokio::select! {
                () = connection => {}
                () = reader.run(tell) => {}
            }
        });
        Ok(Watcher {
            snapshots,
            task: task.abort_handle(),
        })
    }

    /// All physical links, the best first: at once when called first, then whenever the answer has become another one.
    /// Without their IPv6 link-local addresses.
    ///
    /// Several changes that came together are told once. Safe to cancel. After an error there is nothing more to come.
    pub async fn changed(&mut self) -> Result<Vec<Link>> {
        let closed = || {
            Err(Error::system("listen to netlink")(io::Error::from(
                io::ErrorKind::BrokenPipe,
            )))
        };
        self.snapshots.recv().await.unwrap_or_else(closed)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Hears the kernel's news and reads the snapshots.
struct Reader {
    kernel: Netlink,
    news: BoxStream<'static, NetlinkPayload<RouteNetlinkMessage>>,
    neighbours: Neighbours,
    media: Media,
    tun: Tun,
}

/// The tunnel's own interface.
struct Tun {
    name: String,
    index: Option<u32>,
}

impl Reader {
    /// Ends when nobody listens any more, or with the error that it told.
    async fn run(mut self, tell: Sender<Result<Vec<Link>>>) {
        let mut told = None;
        loop {
            match self.read().await {
                Ok(links) if told.as_ref() == Some(&links) => {}
                Ok(links) => {
                    told = Some(links.clone());
                    if tell.send(Ok(links)).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    let _ = tell.send(Err(error)).await;
                    return;
                }
            }
            let goes_on = tokio::select! {
                goes_on = self.tun.something_happened(&mut self.news) => goes_on,
                () = self.media.changed() => true,
                () = self.neighbours.changed() => true,
            };
            if !goes_on {
                return;
            }
        }
    }

    async fn read(&mut self) -> Result<Vec<Link>> {
        let handle = &self.kernel.handle;
        let interfaces = collect("read the links", handle.link().get().execute()).await?;
        let addresses = collect("read the addresses", handle.address().get().execute()).await?;
        let mut ways_out: BTreeMap<u32, WaysOut> = BTreeMap::new();
        for family in Family::present() {
            let mut filter = RouteMessage::default();
            filter.header.address_family = family.address_family();
            filter.header.table = MAIN;
            let routes = collect("read the routes", handle.route().get(filter).execute()).await?;
            for route in routes.iter().filter(|route| is_default(route)) {
                WaysOut::note(&mut ways_out, route);
            }
        }

        let mut links: Vec<(u32, Link)> = Vec::new();
        for interface in &interfaces {
            let index = interface.header.index;
            let Some(name) = name(interface) else {
                continue;
            };
            if name == self.tun.name {
                self.tun.index = Some(index);
                continue;
            }
            let mut out = ways_out.remove(&index).unwrap_or_default();
            if !is_physical(interface, out.exist()) {
                continue;
            }
            out.gateways.sort();
            out.gateways.dedup();
            let mut own: Vec<_> = addresses
                .iter()
                .filter(|it| it.header.index == index && is_settled(it))
                .filter_map(own_address)
                .filter(|net| !is_ipv6_link_local(net))
                .collect();
            own.sort();
            let kind = self.media.kind(name);
            let link = Link {
                id: LinkId {
                    index,
                    name: name.to_owned(),
                },
                carrier: has_carrier(interface),
                addresses: own,
                gateways: out.gateways,
                medium: kind.medium,
                metered: kind.metered,
                neighbours: Vec::new(),
            };
            links.push((out.metric.unwrap_or(u32::MAX), link));
        }
        links.sort_by_key(|(metric, link)| (!link.usable(), *metric, link.id.index));
        let mut links: Vec<_> = links.into_iter().map(|(_, link)| link).collect();
        self.neighbours.fill_in(&self.kernel, &mut links).await?;
        Ok(links)
    }
}

impl Tun {
    /// Waits for news that matter, and takes those that came with them; no more news ever is `false`. Safe to cancel.
    async fn something_happened(
        &self,
        news: &mut BoxStream<'static, NetlinkPayload<RouteNetlinkMessage>>,
    ) -> bool {
        while let Some(message) = news.next().await {
            if self.concerns_others(&message) {
                while let Some(Some(_)) = news.next().now_or_never() {}
                return true;
            }
        }
        false
    }

    /// Whether a message can mean that a snapshot would look different.
    fn concerns_others(&self, payload: &NetlinkPayload<RouteNetlinkMessage>) -> bool {
        let message = match payload {
            NetlinkPayload::InnerMessage(message) => message,
            // The kernel could not keep up with telling us: what we missed, we do not know.
            NetlinkPayload::Overrun(_) => return true,
            _ => return false,
        };
        match message {
            RouteNetlinkMessage::NewLink(link) | RouteNetlinkMessage::DelLink(link) => {
                // A Wi-Fi adapter tells of every scan this way.
                let wireless_event = |it: &LinkAttribute| matches!(it, LinkAttribute::Wireless(_));
                name(link) != Some(&self.name) && !link.attributes.iter().any(wireless_event)
            }
            RouteNetlinkMessage::NewAddress(address) | RouteNetlinkMessage::DelAddress(address) => {
                self.index != Some(address.header.index)
            }
            RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route) => {
                is_default(route)
            }
            _ => false,
        }
    }
}

/// The default routes of one interface.
#[derive(Default)]
struct WaysOut {
    gateways: Vec<IpAddr>,
    /// The smallest, which the kernel prefers; `None` when there is no default route.
    metric: Option<u32>,
}

impl WaysOut {
    fn exist(&self) -> bool {
        self.metric.is_some()
    }

    fn note(ways: &mut BTreeMap<u32, WaysOut>, route: &RouteMessage) {
        let mut metric = 0;
        let mut hops = Vec::new();
        let (mut interface, mut gateway) = (None, None);
        for attribute in &route.attributes {
            match attribute {
                RouteAttribute::Priority(value) => metric = *value,
                RouteAttribute::Oif(index) => interface = Some(*index),
                RouteAttribute::Gateway(address) => gateway = ip(address),
                RouteAttribute::MultiPath(paths) => {
                    hops.extend(paths.iter().map(|path| {
                        let gateway = path.attributes.iter().find_map(|it| match it {
                            RouteAttribute::Gateway(address) => ip(address),
                            _ => None,
                        });
                        (path.interface_index, gateway)
                    }));
                }
                _ => {}
            }
        }
        hops.extend(interface.map(|interface| (interface, gateway)));
        for (interface, gateway) in hops {
            let out = ways.entry(interface).or_default();
            out.gateways.extend(gateway);
            out.metric = Some(out.metric.map_or(metric, |least| least.min(metric)));
        }
    }
}

fn name(interface: &LinkMessage) -> Option<&str> {
    interface.attributes.iter().find_map(|it| match it {
        LinkAttribute::IfName(name) => Some(name.as_str()),
        _ => None,
    })
}

/// Whether an interface leads out of the machine, as far as it can be told.
///
/// What is plugged into a bridge or a bond speaks through it. A bridge without a way out belongs to containers or virtual
/// machines. A virtual Ethernet cable is what a container, and the lab, has for a network card.
fn is_physical(interface: &LinkMessage, has_way_out: bool) -> bool {
    let is = |kind: &LinkInfo| match kind {
        LinkInfo::Kind(kind) => match kind {
            InfoKind::Bridge => Some(has_way_out),
            InfoKind::Other(kind) => Some(kind == "ppp"),
            InfoKind::Veth
            | InfoKind::Vlan
            | InfoKind::Bond
            | InfoKind::Team
            | InfoKind::MacVlan
            | InfoKind::IpVlan
            | InfoKind::MacSec
            | InfoKind::Wwan
            | InfoKind::RmNet
            | InfoKind::VirtWifi => Some(true),
            _ => Some(false),
        },
        _ => None,
    };
    let loopback = interface.header.link_layer_type == LinkLayerType::Loopback;
    let mut kind = None;
    for attribute in &interface.attributes {
        match attribute {
            LinkAttribute::Controller(_) => return false,
            LinkAttribute::LinkInfo(info) => kind = info.iter().find_map(is),
            _ => {}
        }
    }
    // A real network card has no kind.
    !loopback && kind.unwrap_or(true)
}

/// Up, with something at the other end, and let in by it (a Wi-Fi adapter has a carrier before that).
fn has_carrier(interface: &LinkMessage) -> bool {
    interface
        .header
        .flags
        .contains(LinkFlags::Up | LinkFlags::LowerUp | LinkFlags::Running)
}

/// An IPv6 address is of use once nobody else turned out to have it.
fn is_settled(address: &AddressMessage) -> bool {
    let unsettled = AddressHeaderFlags::Tentative | AddressHeaderFlags::Dadfailed;
    let optimistic = address
        .header
        .flags
        .contains(AddressHeaderFlags::Optimistic);
    optimistic || !address.header.flags.intersects(unsettled)
}

/// Every interface gives itself one, a second after it came up: news that say nothing about where we are.
fn is_ipv6_link_local(net: &IpNet) -> bool {
    match net {
        IpNet::V4(_) => false,
        IpNet::V6(net) => net.addr().is_unicast_link_local(),
    }
}

/// A way to everywhere, in the table that everybody uses.
fn is_default(route: &RouteMessage) -> bool {
    route.header.table == MAIN
        && route.header.destination_prefix_length == 0
        && route.header.kind == RouteType::Unicast
}
