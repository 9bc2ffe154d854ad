//! The resolvers that a link's network has handed out.
//!
//! systemd-resolved knows them by link and is asked first. Without it they stand in a file: NetworkManager's, which has
//! the network's own even where /etc/resolv.conf names a stub on this host, else /etc/resolv.conf. The files know no
//! links: what they name is asked on whichever link a question is bound to, and answers there or does not.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::path::Path;
use std::time::Duration;

use sluss_supervisor::LinkId;
use tokio::time::timeout;
use tracing::debug;
use zbus::Connection;

use super::{bus, files};

const PORT: u16 = 53;

/// Of one link, more are not asked; libc would ask three (resolv.conf(5)).
const MOST: usize = 6;

/// The service lives on this host and answers within milliseconds, or is no help to a question of two seconds.
const PATIENCE: Duration = Duration::from_millis(500);

const NETWORK_MANAGER: &str = "/run/NetworkManager/no-stub-resolv.conf";

/// Where programs look for the resolvers.
pub const RESOLV_CONF: &str = "/etc/resolv.conf";

/// The resolvers of `link`'s network, the preferred one first, at most six; those on this host itself are left out.
///
/// `resolv_conf`: [`RESOLV_CONF`], or what stands for it in a lab.
pub async fn of(link: &LinkId, resolv_conf: &Path) -> Vec<SocketAddr> {
    match timeout(PATIENCE, from_resolved(link)).await {
        Ok(Ok(servers)) if !servers.is_empty() => return servers,
        Ok(Ok(_)) => debug!(%link, "systemd-resolved knows no resolver of this link"),
        Ok(Err(error)) => debug!(%error, "systemd-resolved is not here to ask"),
        Err(_) => debug!("systemd-resolved does not answer"),
    }
    [Path::new(NETWORK_MANAGER), resolv_conf]
        .into_iter()
        .filter_map(text)
        .map(|text| named_in(&text, link))
        .find(|servers| !servers.is_empty())
        .unwrap_or_default()
}

/// The servers that a file of resolv.conf(5) names, as far as they can be reached by `link`.
pub fn named_in(text: &str, link: &LinkId) -> Vec<SocketAddr> {
    let named = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("nameserver") => words.next(),
            Some(_) | None => None,
        }
    });
    let addresses = named.filter_map(|address| match address.split_once('%') {
        None => address.parse().ok(),
        Some((address, zone)) => {
            let is_ours = zone == link.name || zone.parse() == Ok(link.index);
            address.parse().ok().filter(|_| is_ours)
        }
    });
    servers(addresses, link)
}

fn servers(addresses: impl IntoIterator<Item = IpAddr>, link: &LinkId) -> Vec<SocketAddr> {
    let mut servers = Vec::new();
    let useful = addresses.into_iter().filter(|address| {
        !address.is_loopback() && !address.is_unspecified() && !address.is_multicast()
    });
    for address in useful {
        let server = match address {
            IpAddr::V6(v6) if v6.is_unicast_link_local() => {
                SocketAddrV6::new(v6, PORT, 0, link.index).into()
            }
            address => SocketAddr::new(address, PORT),
        };
        if !servers.contains(&server) {
            servers.push(server);
        }
    }
    servers.truncate(MOST);
    servers
}

fn text(path: &Path) -> Option<String> {
    // Often a link to a file under /run; what it leads to has to be root's.
    let real = fs::canonicalize(path).ok()?;
    files::read_trusted(&real)
        .inspect_err(|error| debug!(%error, "not read for resolvers"))
        .ok()
}

#[zbus::proxy(
    interface = "org.freedesktop.resolve1.Manager",
    default_service = "org.freedesktop.resolve1",
    default_path = "/org/freedesktop/resolve1"
)]
trait Manager {
    /// Of each server the link's index, 0 for all links, then address family and address.
    #[zbus(property(emits_changed_signal = "false"), name = "DNS")]
    fn dns(&self) -> zbus::Result<Vec<(i32, i32, Vec<u8>)>>;
}

async fn from_resolved(link: &LinkId) -> zbus::Result<Vec<SocketAddr>> {
    resolved_on(&bus::system().await?, link).await
}

async fn resolved_on(bus: &Connection, link: &LinkId) -> zbus::Result<Vec<SocketAddr>> {
    let known = ManagerProxy::new(bus).await?.dns().await?;
    let of = |index: u32| {
        let same = move |other: &i32| u32::try_from(*other) == Ok(index);
        let of = known.iter().filter(move |(other, _, _)| same(other));
        of.filter_map(|(_, _, bytes)| address(bytes))
    };
    Ok(servers(of(link.index).chain(of(0)), link))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(bytes).map(|it| Ipv4Addr::from(it).into());
    let v6 = || <[u8; 16]>::try_from(bytes).map(|it| Ipv6Addr::from(it).into());
    v4().or_else(|_| v6()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link() -> LinkId {
        LinkId {
            index: 3,
            name: "wlan0".to_owned(),
        }
    }

    fn named(text: &str) -> Vec<String> {
        let servers = named_in(text, &link());
        servers.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_file_names_the_networks_own() {
        assert_eq!(
            named(
                "# made by a DHCP client\nsearch example.se\nnameserver 192.168.1.1\n\
                 nameserver  2001:db8::53\nnameserver 192.168.1.1\noptions edns0\n"
            ),
            ["192.168.1.1:53", "[2001:db8::53]:53"]
        );
        assert_eq!(named("nameserver 127.0.0.53\nnameserver ::1\n"), [""; 0]);
        assert_eq!(
            named("nameserver\nnameserver ns.example\n;nameserver 192.0.2.1"),
            [""; 0]
        );
        let many: String = (1..100)
            .map(|n| format!("nameserver 192.0.2.{n}\n"))
            .collect();
        assert_eq!(named(&many).len(), MOST);
    }

    #[test]
    fn a_link_local_resolver_is_of_one_link() {
        assert_eq!(named("nameserver fe80::1%wlan0"), ["[fe80::1%3]:53"]);
        assert_eq!(named("nameserver fe80::1%3"), ["[fe80::1%3]:53"]);
        assert_eq!(named("nameserver fe80::1"), ["[fe80::1%3]:53"]);
        assert_eq!(named("nameserver fe80::1%eth0"), [""; 0]);
    }

    struct Resolved;

    #[zbus::interface(name = "org.freedesktop.resolve1.Manager")]
    impl Resolved {
        #[zbus(property, name = "DNS")]
        fn dns(&self) -> Vec<(i32, i32, Vec<u8>)> {
            let local = "fe80::1".parse::<Ipv6Addr>().unwrap();
            vec![
                (0, 2, vec![192, 0, 2, 53]),
                (3, 2, vec![192, 168, 1, 1]),
                (3, 10, local.octets().to_vec()),
                (4, 2, vec![10, 20, 0, 53]),
                (3, 2, vec![127, 0, 0, 1]),
                (3, 2, vec![1, 2, 3]),
            ]
        }
    }

    #[tokio::test]
    async fn resolved_knows_them_by_link() {
        let (ours, _theirs) =
            bus::pair(|bus| bus.serve_at("/org/freedesktop/resolve1", Resolved)).await;
        let servers = resolved_on(&ours, &link()).await.unwrap();
        assert_eq!(
            servers.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["192.168.1.1:53", "[fe80::1%3]:53", "192.0.2.53:53"]
        );
    }
}
