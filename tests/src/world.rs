//! The laptop's world: home, phone, office and guest Wi-Fi, the internet between them, and what is inside.
//!
//! ```text
//!  home 192.168.1.0/24 ───NAT─┐                        ┌── gateway 198.51.100.2 ──┐
//!  phone 172.20.10.0/28 ──NAT─┤  internet              │        (WireGuard)       │
//!  cafe 192.168.178.0/24 ─NAT─┼─ 198.51.100.0/24 ──────┤                          ├── servers 10.20.0.0/24
//!  guest 192.168.77.0/24 ─┐   │                        ├── office, NAT ───────────┤   web .10, beacon .53
//!                         └───┼────────────────────────┤   lan 10.20.5.0/24       │
//!                             │                        ├── annex, NAT ────────────┤
//!                             │                        │   lan 10.20.6.0/24       │
//!                             │                        └── branch, NAT ──────NAT──┘
//!                                                          lan 192.168.30.0/24
//! ```
//!
//! The guest Wi-Fi leaves by the office's public address and has no way to the servers. The annex is another building, an
//! office like the first. The branch comes to the servers with an address that is not the laptop's, 10.20.255.9. The
//! laptop's two links are cables whose far ends are moved from place to place: carrier, addresses and routes change as
//! they do when one walks, and DHCP and router advertisements are real.

mod place;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::Result;
use ipnet::IpNet;

use crate::dhcp::{self, Offer, Server};
use crate::moment;
use crate::netns::{Netns, veth};

pub use place::{Place, Port};

pub const GATEWAY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 2)), 51820);
pub const WEB: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 20, 0, 10));
pub const WEB_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd20, 0, 0, 0, 0, 0, 0, 0x10));
pub const BEACON: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 20, 0, 53)), 8443);
/// Another address of the host where that beacon is.
pub const BEACON_V6: SocketAddr = SocketAddr::new(
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0, 0, 0, 0, 0, 0, 0x53)),
    8443,
);
/// Where the annex has one of its own.
pub const ANNEX_BEACON: SocketAddr =
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 20, 6, 53)), 8443);
/// The branch office's address, as the servers know it.
pub const BRANCH: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 20, 255, 9));
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

/// The places with a way to the internet of their own.
const CONNECTED: [Place; 6] = [
    Place::Home,
    Place::Phone,
    Place::Cafe,
    Place::Office,
    Place::Annex,
    Place::Branch,
];

/// All networks, with the laptop unplugged at first.
pub struct World {
    pub laptop: Netns,
    pub gateway: Netns,
    pub servers: Netns,
    pub internet: Netns,
    routers: Vec<Netns>,
    /// DHCP in each of them.
    leases: Vec<Server>,
    /// Holds the far end of a cable that is plugged in nowhere.
    drawer: Netns,
    plugged: [Option<Place>; 2],
}

impl World {
    pub fn new() -> Result<World> {
        let routers = Place::ALL.map(|place| Netns::new(place.name()));
        let mut world = World {
            laptop: Netns::new("laptop")?,
            gateway: Netns::new("gateway")?,
            servers: Netns::new("servers")?,
            internet: Netns::new("internet")?,
            routers: routers.into_iter().collect::<Result<_>>()?,
            leases: Vec::new(),
            drawer: Netns::new("drawer")?,
            plugged: [None, None],
        };
        world.lay_internet()?;
        world.lay_inside()?;
        world.lay_lans()?;
        world.lay_laptop()?;
        for place in Place::ALL {
            let server = Server::start(world.router(place), &place.offer())?;
            world.leases.push(server);
        }
        Ok(world)
    }

    /// The router of a place; its bridge `lan` is the clear side of the laptop.
    pub fn router(&self, place: Place) -> &Netns {
        &self.routers[place as usize]
    }

    pub fn place(&self, port: Port) -> Option<Place> {
        self.plugged[port as usize]
    }

    /// Lets the router of a place offer something else from now on.
    pub fn offer(&mut self, place: Place, offer: &Offer) -> Result<()> {
        // The old one has to let go of its ports first.
        self.leases[place as usize].end()?;
        self.leases[place as usize] = Server::start(self.router(place), offer)?;
        Ok(())
    }

    /// Plugs a link in somewhere, after pulling it from where it is, and gets an address there.
    ///
    /// The moment returned is that of the last address event.
    pub fn plug(&mut self, port: Port, place: Place) -> Result<Duration> {
        self.plug_bare(port, place)?;
        let leased = self.renew(port)?;
        if place.prefix_v6().is_none() {
            return Ok(leased);
        }
        let advertised = dhcp::advertised(&self.laptop, port.interface())?;
        Ok(leased.max(advertised))
    }

    /// The same where there is no DHCP, but a router that advertises a prefix.
    pub fn plug_advertised(&mut self, port: Port, place: Place) -> Result<Duration> {
        self.plug_bare(port, place)?;
        dhcp::advertised(&self.laptop, port.interface())
    }

    /// Gets the lease of a link that is plugged in once more.
    pub fn renew(&self, port: Port) -> Result<Duration> {
        dhcp::lease(&self.laptop, port.interface(), port.metric())
    }

    /// Takes the carrier away or gives it back. Addresses and routes stay, as they do under NetworkManager for some seconds.
    ///
    /// The moment returned is just before that happens.
    pub fn carrier(&self, port: Port, is_there: bool) -> Result<Duration> {
        let at = moment::now();
        let holder = self.plugged[port as usize].map_or(&self.drawer, |place| self.router(place));
        let state = if is_there { "up" } else { "down" };
        holder.ip(&format!("link set {} {state}", port.far_end()))?;
        Ok(at)
    }

    /// The same, without an address: there is a carrier, and that is all.
    pub fn plug_bare(&mut self, port: Port, place: Place) -> Result<()> {
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
        self.listen_to_routers(port, true)
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
            self.listen_to_routers(port, false)?;
            dhcp::forget(&self.laptop, link)?;
        }
        Ok(moment::now())
    }

    /// Whether the link has IPv6. The kernel asks for routers when it gets it, not when a carrier comes back.
    fn listen_to_routers(&self, port: Port, listen: bool) -> Result<()> {
        let key = format!("ipv6.conf.{}.disable_ipv6", port.interface());
        self.laptop.sysctl(&key, if listen { "0" } else { "1" })
    }

    fn lay_internet(&self) -> Result<()> {
        bridge(&self.internet, "wan", "02:00:c6:33:64:01")?;
        self.internet.ip("addr add 198.51.100.1/24 dev wan")?;
        // So that what goes nowhere is told to be unreachable, and nobody waits for it.
        forwards(&self.internet)?;
        let sites = CONNECTED.map(|place| (self.router(place), place.public_address()));
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
        let [office, annex, branch] =
            [Place::Office, Place::Annex, Place::Branch].map(|place| self.router(place));
        bridge(&self.servers, "dmz", "02:00:0a:14:00:0a")?;
        for site in [office, annex, branch, &self.gateway] {
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
             route add fd20:0:0:200::/64 via fd20::2\n\
             route add 10.20.6.0/24 via 10.20.0.3\n\
             route add fd20:0:0:6::/64 via fd20::3\n\
             route add 10.20.255.9 via 10.20.0.4\n",
        )?;
        self.gateway.ip_batch(
            "addr add 10.20.0.2/24 dev inside\n\
             addr add fd20::2/64 dev inside nodad\n\
             route add 10.20.0.0/16 via 10.20.0.1\n\
             route add fd20::/48 via fd20::1\n",
        )?;
        office
            .ip_batch("addr add 10.20.0.1/24 dev inside\naddr add fd20::1/64 dev inside nodad\n")?;
        annex.ip_batch(
            "addr add 10.20.0.3/24 dev inside\n\
             addr add fd20::3/64 dev inside nodad\n\
             route add 10.20.0.0/16 via 10.20.0.1\n\
             route add fd20::/48 via fd20::1\n",
        )?;
        branch.ip_batch(&format!(
            "addr add 10.20.0.4/24 dev inside\n\
             addr add {BRANCH}/32 dev inside\n\
             route add 10.20.0.0/16 via 10.20.0.1\n"
        ))?;
        branch.nft(&format!(
            "table ip inside {{ chain out {{ type nat hook postrouting priority 100; \
             oifname \"inside\" snat to {BRANCH}; }}; }}\n"
        ))?;
        forwards(&self.gateway)
    }

    fn lay_lans(&self) -> Result<()> {
        for (number, place) in (1..).zip(Place::ALL) {
            let router = self.router(place);
            bridge(router, "lan", &format!("02:00:00:00:01:{number:02x}"))?;
            router.ip(&format!("addr add {} dev lan", place.router_address()))?;
            if let Some(prefix) = place.prefix_v6() {
                let router_v6 = format!("{}1/64", prefix.network());
                router.ip(&format!("addr add {router_v6} dev lan nodad"))?;
            }
            forwards(router)?;
        }
        for place in CONNECTED {
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
            let (link, metric) = (port.interface(), port.metric());
            self.laptop
                .ip(&format!("link set {link} address {}", port.mac()))?;
            let key = format!("ipv6.conf.{link}.ra_defrtr_metric");
            self.laptop.sysctl(&key, &metric.to_string())?;
            self.listen_to_routers(port, false)?;
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
