//! The laptop's world: home, phone, office and guest Wi-Fi, the internet between them, and what is inside.
//!
//! ```text
//!  home 192.168.1.0/24 ──NAT──┐                        ┌── gateway 198.51.100.2 ──┐
//!  phone 172.20.10.0/28 ─NAT──┤  internet              │        (WireGuard)       │
//!                             ├─ 198.51.100.0/24 ──────┤                          ├── servers 10.20.0.0/24
//!  guest 192.168.77.0/24 ─┐   │                        └── office, NAT ───────────┘   web .10, beacon .53
//!                         └───┼──────────────────────────  lan 10.20.5.0/24
//! ```
//!
//! The guest Wi-Fi leaves by the office's public address and has no way to the servers. The laptop's two links are
//! cables whose far ends are moved from place to place: carrier, addresses and default route change as they do when
//! one walks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::Result;
use ipnet::IpNet;

use crate::moment;
use crate::netns::{Netns, veth};

pub const GATEWAY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 2)), 51820);
pub const WEB: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 20, 0, 10));
pub const WEB_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd20, 0, 0, 0, 0, 0, 0, 0x10));
pub const BEACON: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 20, 0, 53)), 8443);
/// The laptop's addresses in the tunnel.
pub const TUNNEL: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 20, 200, 7));
pub const TUNNEL_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd20, 0, 0, 0x200, 0, 0, 0, 7));

/// What only the internal network holds.
pub fn internal() -> [IpNet; 2] {
    [
        IpNet::new(IpAddr::V4(Ipv4Addr::new(10, 20, 0, 0)), 16).expect("prefix"),
        IpNet::new(IpAddr::V6(Ipv6Addr::new(0xfd20, 0, 0, 0, 0, 0, 0, 0)), 48).expect("prefix"),
    ]
}

pub fn is_internal(address: IpAddr) -> bool {
    internal().iter().any(|prefix| prefix.contains(&address))
}

/// Where a link of the laptop can be plugged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Home,
    Phone,
    Office,
    Guest,
}

impl Place {
    pub const ALL: [Place; 4] = [Place::Home, Place::Phone, Place::Office, Place::Guest];

    fn name(self) -> &'static str {
        match self {
            Place::Home => "home",
            Place::Phone => "phone",
            Place::Office => "office",
            Place::Guest => "guest",
        }
    }

    /// Router, laptop on Ethernet, laptop on Wi-Fi.
    fn addresses(self) -> [&'static str; 3] {
        match self {
            Place::Home => ["192.168.1.1/24", "192.168.1.50/24", "192.168.1.51/24"],
            Place::Phone => ["172.20.10.1/28", "172.20.10.2/28", "172.20.10.3/28"],
            Place::Office => ["10.20.5.1/24", "10.20.5.50/24", "10.20.5.51/24"],
            Place::Guest => ["192.168.77.1/24", "192.168.77.50/24", "192.168.77.51/24"],
        }
    }

    /// The address by which the internet knows whoever is there.
    pub fn public_address(self) -> IpAddr {
        let host = match self {
            Place::Home => 11,
            Place::Phone => 12,
            Place::Office | Place::Guest => 20,
        };
        IpAddr::V4(Ipv4Addr::new(198, 51, 100, host))
    }

    /// Prefix of the place's IPv6 network, without the interface part. The office alone has IPv6, as many do.
    fn prefix_v6(self) -> Option<&'static str> {
        match self {
            Place::Office => Some("fd20:0:0:5::"),
            Place::Home | Place::Phone | Place::Guest => None,
        }
    }
}

/// A link of the laptop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    Ethernet,
    WiFi,
}

impl Port {
    pub const ALL: [Port; 2] = [Port::Ethernet, Port::WiFi];

    /// The interface's name on the laptop.
    pub fn interface(self) -> &'static str {
        match self {
            Port::Ethernet => "eth0",
            Port::WiFi => "wlan0",
        }
    }

    fn far_end(self) -> &'static str {
        match self {
            Port::Ethernet => "eth0-far",
            Port::WiFi => "wlan0-far",
        }
    }

    /// As NetworkManager sets them: cable before radio.
    fn metric(self) -> u32 {
        match self {
            Port::Ethernet => 100,
            Port::WiFi => 600,
        }
    }

    /// The address that the laptop has with this link in a place.
    pub fn address(self, place: Place) -> IpAddr {
        let [_, ethernet, wifi] = place.addresses();
        let net: IpNet = match self {
            Port::Ethernet => ethernet,
            Port::WiFi => wifi,
        }
        .parse()
        .expect("the table above holds addresses");
        net.addr()
    }
}

/// All networks, with the laptop unplugged at first.
pub struct World {
    pub laptop: Netns,
    pub gateway: Netns,
    pub servers: Netns,
    pub internet: Netns,
    routers: [Netns; 4],
    /// Holds the far end of a cable that is plugged in nowhere.
    drawer: Netns,
    plugged: [Option<Place>; 2],
}

impl World {
    pub fn new() -> Result<World> {
        let [home, phone, office, guest] = Place::ALL.map(|place| Netns::new(place.name()));
        let world = World {
            laptop: Netns::new("laptop")?,
            gateway: Netns::new("gateway")?,
            servers: Netns::new("servers")?,
            internet: Netns::new("internet")?,
            routers: [home?, phone?, office?, guest?],
            drawer: Netns::new("drawer")?,
            plugged: [None, None],
        };
        world.lay_internet()?;
        world.lay_inside()?;
        world.lay_lans()?;
        world.lay_laptop()?;
        Ok(world)
    }

    /// The router of a place; its bridge `lan` is the clear side of the laptop.
    pub fn router(&self, place: Place) -> &Netns {
        &self.routers[place as usize]
    }

    pub fn place(&self, port: Port) -> Option<Place> {
        self.plugged[port as usize]
    }

    /// Plugs a link in somewhere, after pulling it from where it is, and gives it what DHCP would.
    ///
    /// The moment returned is that of the last address event.
    pub fn plug(&mut self, port: Port, place: Place) -> Result<Duration> {
        self.unplug(port)?;
        let router = self.router(place);
        self.drawer.ip(&format!(
            "link set {} netns {}",
            port.far_end(),
            router.path().display()
        ))?;
        router.ip(&format!("link set {} master lan up", port.far_end()))?;
        // A lease comes over a link that works; an ARP request that is lost before is only repeated after a second.
        moment::eventually("the link works", Duration::from_secs(5), || {
            let link = router.ip(&format!("-oneline link show {}", port.far_end()))?;
            Ok(link.contains("state UP").then_some(()))
        })?;
        self.plugged[port as usize] = Some(place);
        self.lease(port, place)
    }

    /// Pulls a link: the carrier is lost, and with it, as under NetworkManager, addresses and routes.
    pub fn unplug(&mut self, port: Port) -> Result<Duration> {
        if let Some(place) = self.plugged[port as usize].take() {
            let (link, drawer) = (port.interface(), self.drawer.path());
            self.router(place).ip(&format!(
                "link set {} netns {}",
                port.far_end(),
                drawer.display()
            ))?;
            self.laptop
                .ip(&format!("addr flush dev {link} scope global"))?;
            // IPv4 routes go with their address, IPv6 routes stay with the link.
            if place.prefix_v6().is_some() {
                self.laptop
                    .ip(&format!("-6 route del default dev {link}"))?;
            }
        }
        Ok(moment::now())
    }

    fn lease(&self, port: Port, place: Place) -> Result<Duration> {
        let (link, metric) = (port.interface(), port.metric());
        let [router, ethernet, wifi] = place.addresses();
        let (address, host) = match port {
            Port::Ethernet => (ethernet, "50"),
            Port::WiFi => (wifi, "51"),
        };
        let router = router.split('/').next().unwrap_or(router);
        let mut batch = format!(
            "addr add {address} dev {link}\nroute add default via {router} dev {link} metric {metric}\n"
        );
        if let Some(prefix) = place.prefix_v6() {
            batch += &format!(
                "addr add {prefix}{host}/64 dev {link} nodad\nroute add default via {prefix}1 dev {link} metric {metric}\n"
            );
        }
        self.laptop.ip_batch(&batch)?;
        Ok(moment::now())
    }

    fn lay_internet(&self) -> Result<()> {
        bridge(&self.internet, "wan", "02:00:c6:33:64:01")?;
        self.internet.ip("addr add 198.51.100.1/24 dev wan")?;
        // So that what goes nowhere is told to be unreachable, and nobody waits for it.
        forwards(&self.internet)?;
        let home = |place: Place| (self.router(place), place.public_address());
        let sites = [Place::Home, Place::Phone, Place::Office].map(home);
        for (site, address) in sites.into_iter().chain([(&self.gateway, GATEWAY.ip())]) {
            veth((site, "wan"), (&self.internet, site.name()))?;
            self.internet
                .ip(&format!("link set {} master wan", site.name()))?;
            site.ip(&format!("addr add {address}/24 dev wan"))?;
            site.ip("route add default via 198.51.100.1")?;
        }
        Ok(())
    }

    fn lay_inside(&self) -> Result<()> {
        let office = self.router(Place::Office);
        bridge(&self.servers, "dmz", "02:00:0a:14:00:0a")?;
        for site in [office, &self.gateway] {
            veth((site, "inside"), (&self.servers, site.name()))?;
            self.servers
                .ip(&format!("link set {} master dmz", site.name()))?;
        }
        self.servers.ip_batch(
            "addr add 10.20.0.10/24 dev dmz\n\
             addr add 10.20.0.53/24 dev dmz\n\
             addr add fd20::10/64 dev dmz nodad\n\
             addr add fd20::53/64 dev dmz nodad\n\
             route add default via 10.20.0.1\n\
             route add default via fd20::1\n\
             route add 10.20.200.0/24 via 10.20.0.2\n\
             route add fd20:0:0:200::/64 via fd20::2\n",
        )?;
        self.gateway.ip_batch(
            "addr add 10.20.0.2/24 dev inside\n\
             addr add fd20::2/64 dev inside nodad\n\
             route add 10.20.0.0/16 via 10.20.0.1\n\
             route add fd20::/48 via fd20::1\n",
        )?;
        office
            .ip_batch("addr add 10.20.0.1/24 dev inside\naddr add fd20::1/64 dev inside nodad\n")?;
        forwards(&self.gateway)
    }

    fn lay_lans(&self) -> Result<()> {
        for (number, place) in (1..).zip(Place::ALL) {
            let router = self.router(place);
            bridge(router, "lan", &format!("02:00:00:00:01:{number:02x}"))?;
            router.ip(&format!("addr add {} dev lan", place.addresses()[0]))?;
            if let Some(prefix) = place.prefix_v6() {
                router.ip(&format!("addr add {prefix}1/64 dev lan nodad"))?;
            }
            forwards(router)?;
        }
        for place in [Place::Home, Place::Phone, Place::Office] {
            self.router(place).nft(
                "table ip nat { chain out { type nat hook postrouting priority 100; oifname \"wan\" masquerade; }; }\n",
            )?;
        }
        let (office, guest) = (self.router(Place::Office), self.router(Place::Guest));
        veth((guest, "uplink"), (office, "guest"))?;
        guest
            .ip_batch("addr add 172.31.77.2/30 dev uplink\nroute add default via 172.31.77.1\n")?;
        office.ip_batch(
            "addr add 172.31.77.1/30 dev guest\nroute add 192.168.77.0/24 via 172.31.77.2\n",
        )?;
        office.nft(
            "table inet guests { chain way { type filter hook forward priority 0; \
             iifname \"guest\" oifname != \"wan\" reject; }; }\n",
        )
    }

    fn lay_laptop(&self) -> Result<()> {
        for port in Port::ALL {
            veth(
                (&self.laptop, port.interface()),
                (&self.drawer, port.far_end()),
            )?;
            self.drawer
                .ip(&format!("link set {} down", port.far_end()))?;
        }
        // As systemd's default sysctl.d has it.
        self.laptop.sysctl("ipv4.conf.all.rp_filter", "2")?;
        self.laptop.sysctl("ipv4.conf.default.rp_filter", "2")
    }
}

fn bridge(netns: &Netns, name: &str, mac: &str) -> Result<()> {
    // A fixed address: a bridge otherwise takes another one whenever a cable comes or goes.
    netns.ip(&format!(
        "link add {name} address {mac} type bridge mcast_snooping 0"
    ))?;
    netns.ip(&format!("link set {name} up"))?;
    Ok(())
}

fn forwards(router: &Netns) -> Result<()> {
    router.sysctl("ipv4.ip_forward", "1")?;
    router.sysctl("ipv6.conf.all.forwarding", "1")
}
