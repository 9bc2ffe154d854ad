//! A laptop, two gateways with one key, and the roads between them, each of which can be closed.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sluss_platform::clock::boottime;
use sluss_tests::end::{End, Offloads, PORT, Settings, add_address, public};
use sluss_tests::netns::{Netns, veth};
use sluss_tests::uapi::{Device, Program};
use sluss_tunnel::{Command, Event};
use sluss_wg::{EndpointStatus, Endpoints, SoftwareKey, Timing};

const LAPTOP: [u8; 32] = [1; 32];
const GATEWAYS: [u8; 32] = [2; 32];

/// How long anything here may take that is not measured.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Closes nothing, one family, or both.
#[derive(Clone, Copy)]
pub(crate) enum Road {
    Open,
    NoIpv4,
    NoIpv6,
    Closed,
}

/// One of the gateways, in a network of its own; the laptop reaches it by both families.
pub(crate) struct Gateway {
    network: Netns,
    pub(crate) device: Device,
    /// IPv6 first.
    pub(crate) addresses: [SocketAddr; 2],
}

impl Gateway {
    fn start(laptop: &Netns, name: &str, site: u8) -> Result<Gateway> {
        let network = Netns::new(name)?;
        let link = format!("eth{site}");
        veth((laptop, &link), (&network, "eth0"))?;
        for (at, link, host) in [(laptop, link.as_str(), 1), (&network, "eth0", 2)] {
            add_address(at, link, &format!("192.0.{site}.{host}/24"))?;
            add_address(at, link, &format!("2001:db8:{site}::{host}/64"))?;
        }
        let device = Device::start(Program::Boringtun, &network, name)?;
        device.wg_conf(
            "setconf",
            &format!(
                "[Interface]\nPrivateKey = {}\nListenPort = {PORT}\n\
                 [Peer]\nPublicKey = {}\nAllowedIPs = 10.9.0.1/32\n",
                STANDARD.encode(GATEWAYS),
                STANDARD.encode(public(LAPTOP).0),
            ),
        )?;
        network.ip(&format!("link set {name} mtu 1420 up"))?;
        add_address(&network, name, "10.9.0.2/24")?;
        let addresses = [
            format!("[2001:db8:{site}::2]:{PORT}").parse()?,
            format!("192.0.{site}.2:{PORT}").parse()?,
        ];
        Ok(Gateway {
            network,
            device,
            addresses,
        })
    }

    /// Drops what comes to the gateway, without a word.
    pub(crate) fn set(&self, road: Road) -> Result<()> {
        let dropped = match road {
            Road::Open => "",
            Road::NoIpv4 => "meta nfproto ipv4 meta l4proto 17 iifname eth0 drop",
            Road::NoIpv6 => "meta nfproto ipv6 meta l4proto 17 iifname eth0 drop",
            Road::Closed => "meta l4proto 17 iifname eth0 drop",
        };
        self.network.nft(&format!(
            "table inet road {{}}\ndelete table inet road\n\
             table inet road {{\nchain input {{\ntype filter hook input priority 0\n\
             {dropped}\n}}\n}}\n"
        ))
    }

    /// Answers each datagram that comes to its inner address.
    fn echo(&self) -> Result<()> {
        let socket = self.network.run(|| UdpSocket::bind("10.9.0.2:7"))?;
        // ends with the trial's process
        std::thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(&buffer[..length], from);
            }
        });
        Ok(())
    }
}

/// The laptop, its tunnel, its card, and the gateways.
pub(crate) struct Town {
    pub(crate) end: End,
    pub(crate) gateways: [Gateway; 2],
    card: SoftwareKey,
    /// Diffie-Hellmans that the card has done.
    pub(crate) operations: u32,
    pub(crate) sessions: u32,
    /// Initiations that nobody answered in time.
    pub(crate) unanswered: u32,
    traffic: UdpSocket,
    /// Datagrams that came back through the tunnel.
    echoes: u32,
}

impl Town {
    /// Nobody has been called yet. `name` sets the networks and devices apart from those of others in the same trial.
    pub(crate) fn new(name: &str, timing: Timing) -> Result<Town> {
        let laptop = Netns::new(name)?;
        let gateways = [
            Gateway::start(&laptop, &format!("{name}a"), 2)?,
            Gateway::start(&laptop, &format!("{name}b"), 3)?,
        ];
        let settings = Settings {
            private: LAPTOP,
            held: true,
            addresses: vec!["10.9.0.1/24".to_owned()],
            mtu: 1420,
            offloads: Offloads::ALL,
            timing,
            peer: public(GATEWAYS),
            preshared_key: None,
            endpoint: None,
        };
        let end = End::start(&laptop, settings)?;
        let traffic = laptop.run(|| UdpSocket::bind("10.9.0.1:7"))?;
        traffic.connect("10.9.0.2:7")?;
        traffic.set_nonblocking(true)?;
        for gateway in &gateways {
            gateway.echo()?;
        }
        let town = Town {
            end,
            gateways,
            card: SoftwareKey::new(LAPTOP),
            operations: 0,
            sessions: 0,
            unanswered: 0,
            traffic,
            echoes: 0,
        };
        town.list(town.gateways.iter().map(|it| it.addresses.to_vec()));
        Ok(town)
    }

    pub(crate) fn list(&self, groups: impl Iterator<Item = Vec<SocketAddr>>) {
        let (peer, endpoints) = (self.end.peer, Endpoints::new(groups));
        let command = Command::SetEndpoints { peer, endpoints };
        self.end.tunnel.command(command);
    }

    /// Lets the card answer and counts what is told, until the next session, which it gives the gateway of.
    pub(crate) fn session(&mut self) -> Result<usize> {
        let before = self.sessions;
        self.until("a session", |town| town.sessions > before)?;
        self.in_use().context("the session is with neither")
    }

    /// Sends until four answers more have come back through the tunnel.
    pub(crate) fn talk(&mut self) -> Result<()> {
        let before = self.echoes;
        self.until("traffic", |town| town.echoes >= before + 4)
    }

    /// Lets the card answer, and sends a small datagram through the tunnel every 50 ms, until `is_so`.
    pub(crate) fn until(&mut self, what: &str, is_so: impl Fn(&Town) -> bool) -> Result<()> {
        let until = boottime() + PATIENCE;
        let mut next = boottime();
        while !is_so(self) {
            let now = boottime();
            if now > until {
                bail!(
                    "not within {PATIENCE:?}: {what}; {:?}",
                    self.end.tunnel.stats()
                );
            }
            if now >= next {
                // refused while there is nobody to echo it
                let _ = self.traffic.send(&[0; 8]);
                next = now + Duration::from_millis(50);
            }
            if let Ok(event) = self.end.events.recv_timeout(next.saturating_sub(now)) {
                self.hear(event)?;
            }
            while self.traffic.recv(&mut [0; 64]).is_ok() {
                self.echoes += 1;
            }
        }
        Ok(())
    }

    fn hear(&mut self, event: Event) -> Result<()> {
        match event {
            Event::DhWanted { id, with, .. } => {
                self.operations += 1;
                let result = self.card.dh(&with);
                self.end.tunnel.command(Command::Dh { id, result });
            }
            Event::Peer(sluss_wg::Event::SessionEstablished { .. }) => self.sessions += 1,
            Event::Peer(sluss_wg::Event::HandshakeUnanswered { .. }) => self.unanswered += 1,
            Event::Peer(_) | Event::StampReserved { .. } | Event::PathMtu(_) => {}
            Event::Failed(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Where packets go.
    pub(crate) fn endpoint(&self) -> Option<SocketAddr> {
        self.end.tunnel.stats().peers.first()?.endpoint
    }

    /// Which gateway that is.
    pub(crate) fn in_use(&self) -> Option<usize> {
        let endpoint = self.endpoint()?;
        let mut gateways = self.gateways.iter();
        gateways.position(|gateway| gateway.addresses.contains(&endpoint))
    }

    pub(crate) fn endpoints(&self) -> Vec<EndpointStatus> {
        let peers = self.end.tunnel.stats().peers;
        peers.into_iter().flat_map(|peer| peer.endpoints).collect()
    }
}
