//! A road from a laptop to a gateway, with a router on it whose far side can be made narrow, and silent about it.

use std::net::{IpAddr, SocketAddr};
use std::process::Command as Shell;
use std::time::Duration;

use anyhow::{Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sluss_platform::clock::boottime;
use sluss_tests::end::{End, Offloads, PORT, Settings, TUN, add_address, public};
use sluss_tests::netns::{Netns, veth};
use sluss_tests::uapi::{Device, Program};
use sluss_tunnel::{Command, Conditions, Discovery, Event, PathMtu, Verdict};
use sluss_wg::Timing;

pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

const LAPTOP: [u8; 32] = [1; 32];
const GATEWAY: [u8; 32] = [2; 32];

/// The tunnel's MTU where nothing is in its way.
pub(crate) const CEILING: u16 = 1420;

/// WireGuard, UDP and IP around a packet.
const OVER_IPV4: u16 = 32 + 8 + 20;
const OVER_IPV6: u16 = 32 + 8 + 40;

/// Which addresses are met by the datagrams outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outside {
    Ipv4,
    Ipv6,
}

impl Outside {
    pub(crate) const BOTH: [Outside; 2] = [Outside::Ipv4, Outside::Ipv6];

    /// The largest packet in the tunnel that passes a link of this MTU.
    pub(crate) fn inside(self, mtu: u16) -> u16 {
        mtu - match self {
            Outside::Ipv4 => OVER_IPV4,
            Outside::Ipv6 => OVER_IPV6,
        }
    }

    fn gateway(self) -> Result<SocketAddr> {
        let address: IpAddr = match self {
            Outside::Ipv4 => "198.51.100.2".parse()?,
            Outside::Ipv6 => "2001:db8:2::2".parse()?,
        };
        Ok(SocketAddr::new(address, PORT))
    }
}

/// Three networks in a row.
pub(crate) struct Road {
    pub(crate) laptop: Netns,
    router: Netns,
    pub(crate) gateway: Netns,
}

impl Road {
    pub(crate) fn new() -> Result<Road> {
        let [laptop, router, gateway] = ["laptop", "router", "gateway"].map(Netns::new);
        let (laptop, router, gateway) = (laptop?, router?, gateway?);
        veth((&laptop, "eth0"), (&router, "near"))?;
        veth((&router, "far"), (&gateway, "eth0"))?;
        for network in [&router, &gateway] {
            network.sysctl("ipv4.ip_forward", "1")?;
            network.sysctl("ipv6.conf.all.forwarding", "1")?;
        }
        for (network, device, addresses) in [
            (&laptop, "eth0", ["192.0.2.1/24", "2001:db8:1::1/64"]),
            (&router, "near", ["192.0.2.9/24", "2001:db8:1::9/64"]),
            (&router, "far", ["198.51.100.9/24", "2001:db8:2::9/64"]),
            (&gateway, "eth0", ["198.51.100.2/24", "2001:db8:2::2/64"]),
        ] {
            for address in addresses {
                add_address(network, device, address)?;
            }
            // As a network card that has to be given packets one by one: the router must see each.
            network.sh(&format!(
                "ethtool -K {device} tx-udp-segmentation off tso off gso on gro off"
            ))?;
        }
        laptop.ip("route add default via 192.0.2.9")?;
        laptop.ip("-6 route add default via 2001:db8:1::9")?;
        // The way to the gateway's inside leads out by the same wire; nobody is there, and nobody need be.
        gateway.ip("route add default via 198.51.100.9")?;
        gateway.ip("-6 route add default via 2001:db8:2::9")?;
        Ok(Road {
            laptop,
            router,
            gateway,
        })
    }

    /// Makes the far link so narrow. The router cuts what it may, and says what it may not.
    pub(crate) fn narrow(&self, mtu: u16) -> Result<()> {
        self.router.ip(&format!("link set far mtu {mtu}"))?;
        self.gateway.ip(&format!("link set eth0 mtu {mtu}"))?;
        Ok(())
    }

    /// Has the router lose whatever is longer, and whatever is a fragment, both ways, without a word.
    pub(crate) fn black_hole(&self, mtu: u16) -> Result<()> {
        let rules = format!(
            "table inet hole\ndelete table inet hole\n\
             table inet hole {{\nchain forward {{\n\
             type filter hook forward priority 0\n\
             meta length > {mtu} drop\n\
             ip frag-off & 0x3fff != 0 drop\n\
             exthdr frag exists drop\n}}\n}}\n"
        );
        self.router
            .feed(Shell::new("nft").args(["-f", "/dev/stdin"]), &rules)
    }

    /// As wide as it was in the beginning.
    pub(crate) fn widen(&self) -> Result<()> {
        let rules = "table inet hole\ndelete table inet hole\n";
        self.router
            .feed(Shell::new("nft").args(["-f", "/dev/stdin"]), rules)?;
        self.narrow(1500)
    }

    /// The gateway answers no ICMP of any kind, on any way. Protocols go by number: the smallest systems do not know their names.
    pub(crate) fn silence_gateway(&self) -> Result<()> {
        let rules = "table inet mute {\nchain output {\n\
                     type filter hook output priority 0\n\
                     icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept\n\
                     meta l4proto { 1, 58 } drop\n}\n}\n";
        self.gateway
            .feed(Shell::new("nft").args(["-f", "/dev/stdin"]), rules)
    }
}

/// What runs at the far end. It ends when this is dropped.
pub(crate) enum Gateway {
    Ours(#[expect(dead_code, reason = "it only has to be there")] Box<End>),
    Theirs(#[expect(dead_code, reason = "it only has to be there")] Device),
}

impl Gateway {
    /// Our own engine, which is known best.
    pub(crate) fn ours(road: &Road) -> Result<Gateway> {
        let settings = settings(GATEWAY, LAPTOP, 2);
        Ok(Gateway::Ours(Box::new(End::start(
            &road.gateway,
            settings,
        )?)))
    }

    /// Somebody else's, with these addresses in the tunnel, if any.
    pub(crate) fn theirs(road: &Road, program: Program, addresses: &[&str]) -> Result<Gateway> {
        let device = Device::start(program, &road.gateway, TUN)?;
        device.wg_conf(
            "setconf",
            &format!(
                "[Interface]\nPrivateKey = {}\nListenPort = {PORT}\n\
                 [Peer]\nPublicKey = {}\nAllowedIPs = 10.9.0.1/32, fd09::1/128\n",
                STANDARD.encode(GATEWAY),
                STANDARD.encode(public(LAPTOP).0),
            ),
        )?;
        let network = &road.gateway;
        network.ip(&format!("link set {TUN} mtu {CEILING} up"))?;
        for address in addresses {
            add_address(network, TUN, address)?;
        }
        network.ip(&format!("route replace 10.9.0.1 dev {TUN}"))?;
        network.ip(&format!("-6 route replace fd09::1 dev {TUN}"))?;
        Ok(Gateway::Theirs(device))
    }
}

/// Our end, which asks for the path's MTU and does as it is told, as the daemon does.
pub(crate) struct Laptop {
    pub(crate) end: End,
    network: Netns,
}

/// What is particular about a laptop.
#[derive(Clone, Copy)]
pub(crate) struct Manner {
    pub(crate) outside: Outside,
    /// Whom it asks; its own address is of the same family.
    pub(crate) asks: &'static str,
    pub(crate) floor: u16,
    pub(crate) offloads: Offloads,
    /// A new session so soon.
    pub(crate) rekey_after: Duration,
}

impl Default for Manner {
    fn default() -> Self {
        Manner {
            outside: Outside::Ipv4,
            asks: "10.8.0.1",
            floor: 1280,
            offloads: Offloads::ALL,
            rekey_after: Timing::default().rekey_after,
        }
    }
}

impl Laptop {
    /// Starts it and asks for a session.
    pub(crate) fn start(road: &Road, manner: Manner) -> Result<Laptop> {
        let laptop = Laptop::unasking(road, manner)?;
        let to: IpAddr = manner.asks.parse()?;
        let from = if to.is_ipv4() { "10.9.0.1" } else { "fd09::1" };
        laptop.end.tunnel.command(Command::Discover(Discovery {
            peer: laptop.end.peer,
            from: from.parse()?,
            to,
            floor: manner.floor,
            ceiling: CEILING,
            seed: [9; 32],
        }));
        laptop.end.kick();
        Ok(laptop)
    }

    /// One that does not look at the path.
    pub(crate) fn unasking(road: &Road, manner: Manner) -> Result<Laptop> {
        let mut settings = settings(LAPTOP, GATEWAY, 1);
        settings.endpoint = Some(manner.outside.gateway()?);
        settings.offloads = manner.offloads;
        settings.timing.rekey_after = manner.rekey_after;
        if manner.floor < 1280 {
            settings.addresses.truncate(1);
        }
        let end = End::start(&road.laptop, settings)?;
        Ok(Laptop {
            end,
            network: road.laptop.clone(),
        })
    }

    pub(crate) fn conditions(&self) -> Result<Conditions> {
        let conditions = self.end.tunnel.stats().conditions;
        conditions.ok_or_else(|| anyhow::anyhow!("the tunnel has ended"))
    }

    pub(crate) fn known(&self) -> Result<PathMtu> {
        let known = self.conditions()?.path_mtu;
        known.ok_or_else(|| anyhow::anyhow!("nothing is known of the path"))
    }

    /// Gives the device the MTU that each event asks for, until `is_met` of what is known.
    pub(crate) fn follow(
        &self,
        what: &str,
        mut is_met: impl FnMut(PathMtu) -> bool,
    ) -> Result<PathMtu> {
        let until = boottime() + PATIENCE;
        loop {
            let known = self.known()?;
            self.obey()?;
            if is_met(known) && self.conditions()?.mtu == known.mtu {
                return Ok(known);
            }
            ensure!(
                boottime() < until,
                "not within {PATIENCE:?}: {what}; {known:?}"
            );
        }
    }

    /// Takes up what came within some milliseconds.
    fn obey(&self) -> Result<()> {
        while let Ok(event) = self.end.events.recv_timeout(Duration::from_millis(10)) {
            match event {
                Event::PathMtu(PathMtu { mtu, .. }) => {
                    self.network.ip(&format!("link set {TUN} mtu {mtu}"))?;
                    self.end.tunnel.command(Command::MtuChanged);
                }
                Event::Failed(error) => return Err(error.into()),
                Event::Peer(_) | Event::StampReserved { .. } | Event::DhWanted { .. } => {}
            }
        }
        Ok(())
    }

    /// Until the verdict, which must be the only one.
    pub(crate) fn finds(&self, verdict: Verdict, mtu: u16) -> Result<PathMtu> {
        let what = format!("{verdict:?}, {mtu} bytes");
        self.follow(&what, |known| (known.verdict, known.mtu) == (verdict, mtu))
    }

    /// Until the search in the dark has come as close as it goes.
    pub(crate) fn finds_about(&self, mtu: u16) -> Result<PathMtu> {
        self.follow(&format!("close to {mtu} bytes"), |known| {
            known.verdict == Verdict::Reduced && known.mtu <= mtu && mtu < known.mtu + 8
        })
    }
}

fn settings(private: [u8; 32], peer: [u8; 32], host: u8) -> Settings {
    Settings {
        private,
        held: false,
        addresses: vec![format!("10.9.0.{host}/24"), format!("fd09::{host}/64")],
        mtu: CEILING,
        offloads: Offloads::ALL,
        timing: Timing::default(),
        peer: public(peer),
        preshared_key: None,
        endpoint: None,
    }
}
