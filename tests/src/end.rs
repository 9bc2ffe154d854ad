//! One end of a tunnel that runs our own engine, on a real TUN device and a real socket inside a namespace.

use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use sluss_platform::{MARK, TunDevice, UdpOffload, UdpSocket, clock, tunnel_io};
use sluss_tunnel::{Command, Event, Key, Offload, Tunnel};
use sluss_wg::{
    Config, Device, PeerConfig, PeerId, PresharedKey, PublicKey, Respond, SoftwareKey, Tai64n,
    Time, Timing,
};

use crate::moment::eventually;
use crate::netns::Netns;

/// The TUN device of every end; they are in different networks.
pub const TUN: &str = "sluss0";

/// The UDP port of every end.
pub const PORT: u16 = 51_820;

/// What an end may let the kernel do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offloads {
    pub tun: Offload,
    pub udp: UdpOffload,
}

impl Offloads {
    pub const ALL: Offloads = Offloads::new(Offload::TcpAndUdp, true, true);
    pub const NONE: Offloads = Offloads::new(Offload::None, false, false);

    pub const fn new(tun: Offload, send: bool, receive: bool) -> Offloads {
        Offloads {
            tun,
            udp: UdpOffload { send, receive },
        }
    }

    /// Every combination.
    pub fn every() -> impl Iterator<Item = Offloads> {
        let tuns = [Offload::TcpAndUdp, Offload::Tcp, Offload::None];
        let udps = [(true, true), (true, false), (false, true), (false, false)];
        tuns.into_iter()
            .flat_map(move |tun| udps.map(|(send, receive)| Offloads::new(tun, send, receive)))
    }
}

/// What an end is made from.
#[derive(Clone)]
pub struct Settings {
    /// The private key. Not secret: it is in the tests' source.
    pub private: [u8; 32],
    /// Whether the tunnel holds the key, or asks for each Diffie-Hellman by [`Event::DhWanted`].
    pub held: bool,
    /// Addresses of the TUN device, with prefix length, as `ip addr add` takes them.
    pub addresses: Vec<String>,
    pub mtu: u16,
    pub offloads: Offloads,
    pub timing: Timing,
    pub peer: PublicKey,
    pub preshared_key: Option<[u8; 32]>,
    /// Where the peer is; `None` to wait for it.
    pub endpoint: Option<SocketAddr>,
}

/// A running end.
pub struct End {
    pub tunnel: Tunnel,
    pub events: Receiver<Event>,
    pub peer: PeerId,
}

impl End {
    /// Makes the device and the socket in `network`, and starts the tunnel.
    pub fn start(network: &Netns, settings: Settings) -> Result<End> {
        let (tun, udp) = network.run(|| {
            let tun = TunDevice::create(TUN, settings.offloads.tun)?;
            let mut udp = UdpSocket::bind(PORT, Some(MARK))?;
            udp.limit(settings.offloads.udp)?;
            anyhow::Ok((tun, udp))
        })?;
        // Without an address of its own making, the kernel has nobody to look for routers with: an idle device is silent.
        network.ip(&format!("link set {TUN} addrgenmode none"))?;
        network.ip(&format!(
            "link set {TUN} mtu {} txqueuelen 2000 up",
            settings.mtu
        ))?;
        for address in &settings.addresses {
            add_address(network, TUN, address)?;
        }

        let key = SoftwareKey::new(settings.private);
        let config = Config {
            public_key: key.public(),
            respond: Respond::Freely,
            timing: settings.timing,
            stamp_floor: Tai64n::default(),
            mtu: settings.mtu,
            seed: seed()?,
        };
        let peer = PeerConfig {
            public_key: settings.peer,
            preshared_key: settings.preshared_key.map(PresharedKey::new),
            endpoints: settings.endpoint.into(),
            allowed_ips: vec!["0.0.0.0/0".parse()?, "::/0".parse()?],
            persistent_keepalive: None,
        };
        let now = Time::since_boot(clock::boottime());
        let engine = Device::new(config, vec![peer], now)?;
        let peer = engine
            .0
            .peer(&settings.peer)
            .context("the peer just added")?;
        let key = if settings.held {
            Key::Held
        } else {
            Key::Software(key)
        };
        let (sender, events) = channel();
        // Its threads belong to the network, as the daemon's do: what they ask of the host is about this one.
        let tunnel = network.run(|| {
            let io = tunnel_io(tun, udp)?;
            let tunnel = sluss_tunnel::start(engine, key, io, move |event| {
                // A test that no longer listens is fine.
                let _ = sender.send(event);
            })?;
            anyhow::Ok(tunnel)
        })?;
        Ok(End {
            tunnel,
            events,
            peer,
        })
    }

    /// Asks for a session now.
    pub fn kick(&self) {
        self.tunnel.command(Command::Kick(self.peer));
    }

    /// Waits for an event that `wanted` accepts; others are dropped.
    pub fn expect<T>(
        &self,
        within: Duration,
        mut wanted: impl FnMut(Event) -> Option<T>,
    ) -> Result<T> {
        let until = clock::boottime() + within;
        loop {
            let left = until.saturating_sub(clock::boottime());
            match self.events.recv_timeout(left) {
                Ok(event) => {
                    if let Some(value) = wanted(event) {
                        return Ok(value);
                    }
                }
                Err(_) => bail!("no such event within {within:?}"),
            }
        }
    }

    /// Waits until `true`, looking again after each event and at most every few milliseconds.
    pub fn until(&self, what: &str, is_so: impl Fn(&End) -> bool) -> Result<()> {
        let until = clock::boottime() + Duration::from_secs(10);
        while !is_so(self) {
            ensure!(clock::boottime() < until, "not within 10 s: {what}");
            let _ = self.events.recv_timeout(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Waits for the next session.
    pub fn established(&self, within: Duration) -> Result<()> {
        self.expect(within, |event| {
            matches!(
                event,
                Event::Peer(sluss_wg::Event::SessionEstablished { .. })
            )
            .then_some(())
        })
    }
}

/// Gives a device that is up an address, and waits until packets to it are taken: for IPv6 that is a moment later.
pub fn add_address(network: &Netns, device: &str, address: &str) -> Result<()> {
    if !address.contains(':') {
        network.ip(&format!("addr add {address} dev {device}"))?;
        return Ok(());
    }
    network.ip(&format!("addr add {address} dev {device} nodad"))?;
    let host = address.split('/').next().unwrap_or(address);
    eventually("the address in use", Duration::from_secs(5), || {
        let routes = network.ip(&format!("-6 route show table local dev {device}"))?;
        Ok(routes.contains(&format!("local {host} ")).then_some(()))
    })
}

/// The public half of a private key.
pub fn public(private: [u8; 32]) -> PublicKey {
    SoftwareKey::new(private).public()
}

/// `address` with the port that every end listens on.
pub fn endpoint(address: &str) -> Result<SocketAddr> {
    Ok(SocketAddr::new(address.parse::<IpAddr>()?, PORT))
}

fn seed() -> Result<[u8; 32]> {
    let mut seed = [0; 32];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut seed)?;
    Ok(seed)
}
