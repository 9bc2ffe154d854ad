//! The laptop's links as anybody may see them, for when the daemon cannot be asked.

use std::{
    collections::BTreeMap,
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

use nix::ifaddrs::getifaddrs;
use sluss_ipc::{Link, Medium, doctor::LinkFacts};

/// Every network card, and what may stand for one, but no tunnel. Empty where the system cannot say.
pub(crate) fn links() -> Vec<LinkFacts> {
    let mut addresses = addresses();
    let routers = default_routes();
    let entries = fs::read_dir("/sys/class/net").into_iter().flatten();
    let mut places: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    places.sort();
    let links = places.iter().filter_map(|place| {
        let name = place.file_name()?.to_str()?.to_owned();
        let is_link = name != "lo" && !place.join("tun_flags").exists();
        is_link.then(|| LinkFacts {
            carrier: fs::read_to_string(place.join("carrier")).is_ok_and(|it| it.trim() == "1"),
            has_router: routers.contains(&name),
            link: Link {
                medium: medium(place),
                metered: false,
                addresses: addresses.remove(&name).unwrap_or_default(),
                name,
            },
        })
    });
    links.collect()
}

/// Whether a Wi-Fi is open is not told here.
fn medium(place: &Path) -> Medium {
    let kind = fs::read_to_string(place.join("uevent")).unwrap_or_default();
    if place.join("phy80211").exists() {
        Medium::Wireless { open: false }
    } else if kind.lines().any(|line| line == "DEVTYPE=wwan") {
        Medium::Mobile
    } else {
        Medium::Wired
    }
}

fn addresses() -> BTreeMap<String, Vec<IpAddr>> {
    let mut addresses: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
    for interface in getifaddrs().into_iter().flatten() {
        let Some(address) = interface.address else {
            continue;
        };
        let v4 = address.as_sockaddr_in().map(|it| IpAddr::V4(it.ip()));
        let v6 = address.as_sockaddr_in6().map(|it| IpAddr::V6(it.ip()));
        let of_link = addresses.entry(interface.interface_name).or_default();
        of_link.extend(v4.or(v6));
    }
    addresses
}

/// The links that have a default route (proc(5): /proc/net/route, /proc/net/ipv6_route).
fn default_routes() -> Vec<String> {
    let read = |file| fs::read_to_string(file).unwrap_or_default();
    let (v4, v6) = (read("/proc/net/route"), read("/proc/net/ipv6_route"));
    let words = |line: &str| {
        line.split_ascii_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let v4 = v4
        .lines()
        .map(words)
        .filter_map(|words| match words.as_slice() {
            [link, destination, _, _, _, _, _, mask, ..]
                if is_zero(destination) && is_zero(mask) =>
            {
                Some(link.clone())
            }
            _ => None,
        });
    let v6 = v6
        .lines()
        .map(words)
        .filter_map(|words| match words.as_slice() {
            // The kernel has one of its own, on lo, that refuses.
            [destination, length, .., link]
                if is_zero(destination) && length == "00" && link != "lo" =>
            {
                Some(link.clone())
            }
            _ => None,
        });
    v4.chain(v6).collect()
}

fn is_zero(hexadecimal: &str) -> bool {
    hexadecimal.bytes().all(|digit| digit == b'0')
}
