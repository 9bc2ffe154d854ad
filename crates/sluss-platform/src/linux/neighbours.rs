//! Who answers for the gateways' addresses on their links, and word of it when that is somebody else.
//!
//! The kernel tells of every neighbour that is found, confirmed or forgotten: on a large network several times a second. A
//! filter on the socket lets pass only what says another link-layer address of a gateway than the one we know. The rest
//! ends in the kernel, and wakes nobody.

mod filter;

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use nix::libc;
use rtnetlink::packet_core::{NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::neighbour::{NeighbourAttribute, NeighbourMessage};
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};
use sluss_supervisor::{Link, LinkLayerAddress, Neighbour};
use socket2::SockRef;
use tokio::time::{Instant, sleep_until};

use self::filter::filter;
use super::netlink::{Family, Netlink};
use crate::{Error, Result};

/// How often a gateway's neighbour is looked at, at the most: whoever forges without end shall not wake us without end.
const HOLD: Duration = Duration::from_secs(1);

/// More gateways than these no laptop has; the rest are not watched.
const MOST: usize = 32;

/// A gateway: the index of its link, and its address.
type Gateway = (u32, IpAddr);

/// The gateways' link-layer addresses as they were known last.
pub(super) struct Neighbours {
    socket: TokioSocket,
    known: BTreeMap<Gateway, Option<LinkLayerAddress>>,
    held_until: Instant,
}

impl Neighbours {
    pub(super) fn open() -> Result<Neighbours> {
        Ok(Neighbours {
            socket: listening().map_err(Error::system("listen to neighbours"))?,
            known: BTreeMap::new(),
            held_until: Instant::now(),
        })
    }

    /// Waits until a gateway seems to have another link-layer address. Safe to cancel.
    pub(super) async fn changed(&mut self) {
        sleep_until(self.held_until).await;
        // Only that something came counts. Messages that were lost for want of room may have said it, too.
        let mut message = Vec::with_capacity(512);
        let _ = self.socket.recv(&mut message).await;
        while let Some(Ok(())) = self.socket.recv(&mut message).now_or_never() {
            message.clear();
        }
        self.held_until = Instant::now() + HOLD;
    }

    /// Fills in the neighbours of `links`, and watches those from now on.
    ///
    /// A neighbour that the kernel has forgotten stays known as long as its link keeps its carrier and its gateway: silence
    /// is no news.
    pub(super) async fn fill_in(&mut self, kernel: &Netlink, links: &mut [Link]) -> Result<()> {
        let mut watched: BTreeMap<Gateway, _> = links
            .iter()
            .filter(|link| link.carrier)
            .flat_map(|link| {
                link.gateways
                    .iter()
                    .map(|gateway| (link.id.index, *gateway))
            })
            .take(MOST)
            .map(|gateway| (gateway, self.known.get(&gateway).copied().flatten()))
            .collect();
        // What changes between the question and the watch is told then.
        self.watch(&watched)?;
        for (gateway, address) in &mut watched {
            *address = found(kernel, *gateway).await.or(*address);
        }
        self.watch(&watched)?;
        if !watched.keys().eq(self.known.keys()) {
            // Whoever forged elsewhere does not make us slow here.
            self.held_until = Instant::now();
        }
        self.known = watched;
        for link in links {
            let neighbour = |gateway: &IpAddr| {
                let address = self.known.get(&(link.id.index, *gateway))?;
                Some(Neighbour {
                    gateway: *gateway,
                    address: (*address)?,
                })
            };
            link.neighbours = link.gateways.iter().filter_map(neighbour).collect();
        }
        Ok(())
    }

    fn watch(&self, gateways: &BTreeMap<Gateway, Option<LinkLayerAddress>>) -> Result<()> {
        if *gateways == self.known {
            return Ok(());
        }
        SockRef::from(self.socket.socket_ref())
            .attach_filter(&filter(gateways))
            .map_err(Error::system("watch the gateways"))
    }
}

/// A socket that hears of neighbours, and lets nothing pass yet.
fn listening() -> io::Result<TokioSocket> {
    let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
    SockRef::from(socket.socket_ref()).attach_filter(&filter(&BTreeMap::new()))?;
    let group = 1 << (libc::RTNLGRP_NEIGH - 1);
    socket.socket_mut().bind(&SocketAddr::new(0, group))?;
    Ok(socket)
}

/// The link-layer address that the kernel uses for a gateway now.
async fn found(kernel: &Netlink, (index, gateway): Gateway) -> Option<LinkLayerAddress> {
    let mut message = NeighbourMessage::default();
    message.header.ifindex = index;
    message.header.family = Family::of(gateway).address_family();
    message.attributes = vec![NeighbourAttribute::Destination(gateway.into())];
    let mut request = NetlinkMessage::from(RouteNetlinkMessage::GetNeighbour(message));
    request.header.flags = NLM_F_REQUEST;
    // A neighbour that the kernel does not know is an error.
    let answer = kernel.handle.clone().request(request).ok()?.next().await?;
    let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNeighbour(neighbour)) = answer.payload
    else {
        return None;
    };
    neighbour.attributes.iter().find_map(|it| match it {
        NeighbourAttribute::LinkLayerAddress(bytes) => {
            Some(LinkLayerAddress(bytes.as_slice().try_into().ok()?))
        }
        _ => None,
    })
}
