//! The tunnel's interface as the host sees it: addresses, largest packet, up.

use std::net::IpAddr;

use ipnet::IpNet;
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use rtnetlink::LinkUnspec;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use rtnetlink::packet_route::link::{AfSpecInet6, AfSpecUnspec, In6AddrGenMode, LinkAttribute};

use super::netlink::{Netlink, collect, errno, refused, unless};
use crate::{Error, Result, TunConfig};

/// Gives the device its addresses and size and sets it up; answers its index.
///
/// It gets no link-local address, so that the kernel has nothing of its own to say into the tunnel, and no route into the
/// main table.
pub(super) async fn configure(netlink: &Netlink, tun: &TunConfig) -> Result<u32> {
    let index =
        if_nametoindex(tun.name.as_str()).map_err(|_| Error::NoInterface(tun.name.clone()))?;
    let quiet =
        LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(
            In6AddrGenMode::None,
        )])]);
    let size = LinkUnspec::new_with_index(index)
        .mtu(tun.mtu.into())
        .append_extra_attribute(quiet)
        .build();
    let doing = format!("set {} to {} bytes", tun.name, tun.mtu);
    netlink
        .handle
        .link()
        .set(size)
        .execute()
        .await
        .map_err(refused(doing))?;

    address(netlink, index, &tun.addresses).await?;

    let up = LinkUnspec::new_with_index(index).up().build();
    let doing = format!("set {} up", tun.name);
    netlink
        .handle
        .link()
        .set(up)
        .execute()
        .await
        .map_err(refused(doing))?;
    Ok(index)
}

/// Changes the largest packet of a device that is there.
pub(super) async fn resize(netlink: &Netlink, name: &str, mtu: u16) -> Result<()> {
    let index = if_nametoindex(name).map_err(|_| Error::NoInterface(name.to_owned()))?;
    let size = LinkUnspec::new_with_index(index).mtu(mtu.into()).build();
    let doing = format!("set {name} to {mtu} bytes");
    let request = netlink.handle.link().set(size);
    request.execute().await.map_err(refused(doing))
}

async fn address(netlink: &Netlink, index: u32, wanted: &[IpNet]) -> Result<()> {
    let dump = netlink
        .handle
        .address()
        .get()
        .set_link_index_filter(index)
        .execute();
    let found = collect("read the tunnel's addresses", dump).await?;
    for message in &found {
        let kept = own_address(message).is_some_and(|net| wanted.contains(&net));
        if !kept {
            let request = netlink.handle.address().del(message.clone());
            unless(Errno::EADDRNOTAVAIL, request.execute().await)
                .map_err(refused("take an old address off the tunnel"))?;
        }
    }
    for net in wanted {
        if found
            .iter()
            .any(|message| own_address(message) == Some(*net))
        {
            continue;
        }
        let mut request = netlink
            .handle
            .address()
            .add(index, net.addr(), net.prefix_len());
        request
            .message_mut()
            .attributes
            .push(AddressAttribute::Flags(
                AddressFlags::Noprefixroute | AddressFlags::Nodad,
            ));
        match (net, request.execute().await) {
            // IPv6 is switched off on this interface, as some administrators have it: the tunnel goes without.
            (IpNet::V6(_), Err(error)) if errno(&error) == Some(Errno::EACCES) => {
                tracing::debug!("no {net} for the tunnel: IPv6 is switched off");
            }
            (_, result) => result.map_err(refused(format!("give the tunnel the address {net}")))?,
        }
    }
    Ok(())
}

/// The interface's own address with its prefix length. On a point-to-point link IPv4 calls it "local", and "address" the peer.
pub(super) fn own_address(message: &AddressMessage) -> Option<IpNet> {
    let mut address: Option<IpAddr> = None;
    let mut local = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Address(value) => address = Some(*value),
            AddressAttribute::Local(value) => local = Some(*value),
            _ => {}
        }
    }
    let own = match message.header.family {
        AddressFamily::Inet => local.or(address),
        _ => address,
    };
    IpNet::new(own?, message.header.prefix_len).ok()
}
