//! WireGuard's two ends: the real protocol, on a wire that loses nothing.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use sluss_wg::{
    Config, Device, Endpoints, HEADER, Inbound, Input, Notice, Now, Outbound, Output, PeerConfig,
    PublicKey, Respond, SoftwareKey, TAIL, Tai64n, Time, Timing, is_transport,
};
use slussd::engine::TunnelOrder;

use crate::card::Card;

const LAPTOP: ([u8; 4], u16) = ([192, 168, 1, 20], 40_000);
const GATEWAY: ([u8; 4], u16) = ([198, 51, 100, 2], 51_820);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 20, 255, 7);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 5);
/// 2026-11-23, some time in the night.
const MONDAY: Duration = Duration::from_secs(1_795_400_000);

pub(crate) struct End {
    at: SocketAddr,
    /// The gateway has its key in memory; the laptop has to ask.
    key: Option<SoftwareKey>,
    device: Device,
    outbound: Outbound,
    inbound: Inbound,
    wire: Vec<Vec<u8>>,
    /// What the daemon is told.
    told: Vec<sluss_tunnel::Event>,
    /// Packets that came out of the tunnel.
    pub(crate) heard: u32,
}

impl End {
    pub(crate) fn gateway() -> Self {
        let laptop = PublicKey(Card::public_key());
        Self::new(GATEWAY, Some(gateway_key()), laptop, None, Duration::ZERO)
    }

    /// The laptop's, which begins by calling the gateway.
    pub(crate) fn laptop(now: Duration) -> Self {
        let gateway = gateway_key().public();
        let mut end = Self::new(LAPTOP, None, gateway, Some(GATEWAY.into()), now);
        end.obey(TunnelOrder::Kick, now);
        end
    }

    fn new(
        at: ([u8; 4], u16),
        key: Option<SoftwareKey>,
        other: PublicKey,
        endpoint: Option<SocketAddr>,
        now: Duration,
    ) -> Self {
        let own = key.as_ref().map(SoftwareKey::public);
        let config = Config {
            public_key: own.unwrap_or(PublicKey(Card::public_key())),
            respond: match own {
                Some(_) => Respond::Freely,
                None => Respond::Never,
            },
            timing: Timing::default(),
            stamp_floor: Tai64n::default(),
            mtu: 1420,
            seed: [u8::try_from(now.as_secs() % 251).unwrap_or(0); 32],
        };
        let inner = if own.is_some() { CLIENT } else { SERVER };
        let peer = PeerConfig {
            public_key: other,
            preshared_key: None,
            endpoints: endpoint.into(),
            allowed_ips: vec![ipnet::IpNet::from(std::net::IpAddr::from(inner))],
            persistent_keepalive: None,
        };
        let (device, outbound, inbound) =
            Device::new(config, vec![peer], clocks(now).boot).expect("the peer is another");
        Self {
            at: at.into(),
            key,
            device,
            outbound,
            inbound,
            wire: Vec::new(),
            told: Vec::new(),
            heard: 0,
        }
    }

    pub(crate) fn deadline(&self) -> Option<Duration> {
        let deadline = self.device.deadline()?;
        Some(deadline.at.elapsed_since_boot())
    }

    pub(crate) fn tick(&mut self, now: Duration) {
        self.handle(Input::Tick, now);
    }

    pub(crate) fn obey(&mut self, order: TunnelOrder, now: Duration) {
        let peer = self.device.status().next().expect("it has a peer").id;
        let input = match order {
            TunnelOrder::Dh { id, result } => Input::Dh { id, result },
            TunnelOrder::Kick => Input::Kick(peer),
            TunnelOrder::NetworkChanged => Input::NetworkChanged(peer),
            TunnelOrder::SetEndpoints { groups } => Input::SetEndpoints {
                peer,
                endpoints: Endpoints::new(groups),
            },
            TunnelOrder::SetKeepalive { every } => Input::SetKeepalive { peer, every },
            TunnelOrder::Resized => return,
            TunnelOrder::ForgetKey => Input::ForgetKey,
        };
        self.handle(input, now);
    }

    /// A program on the laptop sends a packet to a server inside.
    pub(crate) fn send(&mut self, now: Duration) {
        let mut packet = vec![0x45, 0, 0, 20, 0, 0, 0, 0, 64, 17, 0, 0];
        packet.extend([CLIENT.octets(), SERVER.octets()].concat());
        let mut buffer = vec![0; HEADER + packet.len() + TAIL];
        buffer[HEADER..][..packet.len()].copy_from_slice(&packet);
        let mut notices = Vec::new();
        let boot = clocks(now).boot;
        let sealed = self
            .outbound
            .seal(&mut buffer, packet.len(), boot, &mut notices);
        if let Ok(sealed) = sealed {
            self.wire.push(buffer[..sealed.len].to_vec());
        }
        self.notify(notices, now);
    }

    /// What the daemon has not been told yet.
    pub(crate) fn told(&mut self) -> Vec<sluss_tunnel::Event> {
        std::mem::take(&mut self.told)
    }

    fn receive(&mut self, from: SocketAddr, mut datagram: Vec<u8>, now: Duration) {
        if !is_transport(&datagram) {
            let bytes = &datagram;
            return self.handle(Input::Datagram { from, bytes }, now);
        }
        let mut notices = Vec::new();
        let boot = clocks(now).boot;
        let opened = self.inbound.open(from, &mut datagram, boot, &mut notices);
        self.heard += u32::from(opened.is_ok_and(|opened| !opened.packet.is_empty()));
        self.notify(notices, now);
    }

    fn notify(&mut self, notices: Vec<Notice>, now: Duration) {
        for notice in notices {
            self.handle(Input::Notice(notice), now);
        }
    }

    fn handle(&mut self, input: Input<'_>, now: Duration) {
        let mut outputs = Vec::new();
        match &self.key {
            Some(key) => self
                .device
                .handle_with(key, input, clocks(now), &mut outputs),
            None => self.device.handle(input, clocks(now), &mut outputs),
        }
        for output in outputs {
            match output {
                Output::Send { datagram, .. } => self.wire.push(datagram.to_vec()),
                Output::Dh { id, with, deadline } => {
                    let wanted = sluss_tunnel::Event::DhWanted { id, with, deadline };
                    self.told.push(wanted);
                }
                Output::Outbound(update) => {
                    let (mut notices, wire) = (Vec::new(), &mut self.wire);
                    let mut send = |_, bytes: &[u8]| wire.push(bytes.to_vec());
                    let boot = clocks(now).boot;
                    self.outbound.apply(update, boot, &mut notices, &mut send);
                    self.notify(notices, now);
                }
                Output::Inbound(update) => self.inbound.apply(update),
                Output::PersistStamp { .. } => {}
                Output::Event(event) => self.told.push(sluss_tunnel::Event::Peer(event)),
            }
        }
    }
}

/// Carries datagrams both ways until there are none.
pub(crate) fn carry(laptop: &mut End, gateway: &mut End, now: Duration) {
    loop {
        let (out, back) = (
            std::mem::take(&mut laptop.wire),
            std::mem::take(&mut gateway.wire),
        );
        if out.is_empty() && back.is_empty() {
            return;
        }
        for datagram in out {
            gateway.receive(laptop.at, datagram, now);
        }
        for datagram in back {
            laptop.receive(gateway.at, datagram, now);
        }
    }
}

fn gateway_key() -> SoftwareKey {
    SoftwareKey::new([7; 32])
}

fn clocks(now: Duration) -> Now {
    Now {
        boot: Time::since_boot(now),
        wall: MONDAY + now,
    }
}
