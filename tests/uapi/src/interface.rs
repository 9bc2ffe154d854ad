//! The device behind the socket: what is configured, and an engine that runs as soon as there is a private key.
//!
//! Peers come, go and change under a running engine. A new private key or port needs a new one; it takes over everything but
//! the sessions.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use anyhow::Result;
use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};
use sluss_platform::{TunDevice, UdpOffload, UdpSocket, clock, tunnel_io};
use sluss_tunnel::{Command, Event, Key, Offload, Tun, Tunnel};
use sluss_wg::{
    Config, Device, PeerId, PeerStatus, PublicKey, Respond, SoftwareKey, Tai64n, Time, Timing,
};

use crate::peers::{Change, Peers, Selection};
use crate::protocol::{Answer, Secret, Setting};

/// What every implementation starts with.
const MTU: u16 = 1420;

/// Which of the kernel's offloads to use, as far as it has them.
#[derive(Clone, Copy)]
pub struct Offloads {
    pub tun: Offload,
    pub udp: UdpOffload,
}

/// A WireGuard device.
pub struct Interface {
    tun: Arc<TunDevice>,
    udp: Arc<UdpSocket>,
    offload: UdpOffload,
    private_key: Option<Secret>,
    own: Option<PublicKey>,
    fwmark: u32,
    peers: Peers,
    engine: Option<Tunnel>,
    failed: Arc<EventFd>,
}

impl Interface {
    /// Makes the TUN device and binds a port.
    pub fn new(name: &str, offloads: Offloads) -> Result<Interface> {
        let tun = TunDevice::create(name, offloads.tun)?;
        tun.set_mtu(MTU)?;
        Ok(Interface {
            tun: Arc::new(tun),
            udp: Arc::new(bind(0, 0, offloads.udp)?),
            offload: offloads.udp,
            private_key: None,
            own: None,
            fwmark: 0,
            peers: Peers::default(),
            engine: None,
            failed: Arc::new(EventFd::from_flags(
                EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC,
            )?),
        })
    }

    /// Readable once the device cannot go on: somebody removed it.
    pub fn failed(&self) -> BorrowedFd<'_> {
        self.failed.as_fd()
    }

    /// The TUN device, for as long as no engine reads it.
    pub fn unread(&self) -> Option<BorrowedFd<'_>> {
        self.engine.is_none().then(|| self.tun.as_fd())
    }

    /// Drops what comes out of a TUN device that no engine reads. Says whether the device is still there.
    pub fn discard(&self) -> bool {
        let mut frame = vec![0; usize::from(u16::MAX) + 1];
        loop {
            match self.tun.recv(&mut frame) {
                Ok(_) => {}
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
    }

    /// Carries out a request, up to the first setting that cannot be.
    ///
    /// # Errors
    /// Why that one could not be.
    pub fn set(&mut self, settings: impl IntoIterator<Item = Setting>) -> Result<(), Errno> {
        let mut selection = Selection::default();
        let outcome = settings
            .into_iter()
            .try_for_each(|setting| self.apply(setting, &mut selection));
        self.settle().and(outcome)
    }

    fn apply(&mut self, setting: Setting, selection: &mut Selection) -> Result<(), Errno> {
        match setting {
            Setting::PrivateKey(key) => self.set_private_key(key),
            Setting::ListenPort(port) => return self.listen(port),
            Setting::Fwmark(mark) => {
                self.udp.set_mark(mark).map_err(|_| Errno::EPERM)?;
                self.fwmark = mark;
            }
            Setting::ReplacePeers => self.peers.clear(),
            Setting::PublicKey(key) => *selection = self.peers.select(key, self.own),
            peers @ (Setting::UpdateOnly
            | Setting::Remove
            | Setting::PresharedKey(_)
            | Setting::Endpoint(_)
            | Setting::PersistentKeepalive(_)
            | Setting::ReplaceAllowedIps
            | Setting::AllowedIp(_)
            | Setting::DisallowedIp(_)
            | Setting::ProtocolVersion) => self.peers.set(selection, peers),
        }
        Ok(())
    }

    /// Another key is another device, but for its settings. A peer with our own key is none.
    fn set_private_key(&mut self, key: Option<Secret>) {
        if self.private_key == key {
            return;
        }
        self.stop();
        self.own = key.as_ref().map(|key| SoftwareKey::new(**key).public());
        self.private_key = key;
        if let Some(own) = self.own {
            self.peers.remove(&own);
        }
    }

    fn listen(&mut self, port: u16) -> Result<(), Errno> {
        if port != 0 && self.udp.port().is_ok_and(|bound| bound == port) {
            return Ok(());
        }
        let udp = bind(port, self.fwmark, self.offload).map_err(|_| Errno::EADDRINUSE)?;
        self.stop();
        self.udp = Arc::new(udp);
        Ok(())
    }

    /// Tells the engine what has changed, or starts one.
    fn settle(&mut self) -> Result<(), Errno> {
        let changes = self.peers.take_changes();
        match (&self.engine, &self.private_key) {
            (Some(engine), _) => tell(engine, &mut self.peers, changes),
            (None, Some(key)) => {
                let key = SoftwareKey::new(**key);
                self.engine = Some(self.start(key).map_err(|_| Errno::EIO)?);
            }
            (None, None) => {}
        }
        if let Some(engine) = &self.engine {
            wake(engine, &mut self.peers);
        }
        Ok(())
    }

    fn start(&mut self, key: SoftwareKey) -> Result<Tunnel> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        let config = Config {
            public_key: key.public(),
            respond: Respond::Freely,
            timing: Timing::default(),
            // Beyond every stamp of an engine before.
            stamp_floor: Tai64n::from_unix(clock::wall()),
            mtu: self.tun.mtu()?,
            seed,
        };
        let peers = self.peers.iter_mut();
        let peers = peers.map(|(key, peer)| {
            peer.is_wanted |= peer.persistent_keepalive != 0;
            peer.config(*key)
        });
        let now = Time::since_boot(clock::boottime());
        let device = Device::new(config, peers.collect(), now)?;
        let failed = self.failed.clone();
        let events = move |event| {
            if let Event::Failed(error) = event {
                eprintln!("sluss-uapi: {error}");
                // It has room for more failures than there are threads.
                let _ = failed.write(1);
            }
        };
        let io = tunnel_io(self.tun.clone(), self.udp.clone())?;
        Ok(sluss_tunnel::start(device, Key::Software(key), io, events)?)
    }

    /// Ends the engine, and keeps what it knew.
    fn stop(&mut self) {
        let Some(engine) = self.engine.take() else {
            return;
        };
        for status in engine.stats().peers {
            if let Some(peer) = self.peers.peer_mut(&status.public_key) {
                peer.endpoint = peer.endpoint.or(status.endpoint);
                peer.past.received += status.received;
                peer.past.sent += status.sent;
                // Who had a session will want to have one.
                peer.is_wanted |= status.last_handshake.is_some();
                peer.past.last_handshake = status.last_handshake.or(peer.past.last_handshake);
            }
        }
        engine.stop();
    }

    /// All that there is to tell.
    pub fn describe(&self, answer: &mut Answer) {
        if let Some(key) = &self.private_key {
            answer.key("private_key", key);
        }
        if let Ok(port) = self.udp.port() {
            answer.line("listen_port", port);
        }
        if self.fwmark != 0 {
            answer.line("fwmark", self.fwmark);
        }
        let live = statuses(self.engine.as_ref());
        for (key, peer) in self.peers.iter() {
            let live = live.get(key);
            answer.key("public_key", &key.0);
            let none = Secret::default();
            answer.key(
                "preshared_key",
                peer.preshared_key.as_ref().unwrap_or(&none),
            );
            answer.line("protocol_version", 1);
            if let Some(endpoint) = peer.endpoint.or(live.and_then(|live| live.endpoint)) {
                answer.line("endpoint", endpoint);
            }
            let handshake = live.and_then(|live| live.last_handshake);
            let handshake = handshake.or(peer.past.last_handshake).map(wall_time);
            let handshake = handshake.unwrap_or_default();
            answer.line("last_handshake_time_sec", handshake.as_secs());
            answer.line("last_handshake_time_nsec", handshake.subsec_nanos());
            let (received, sent) = live.map_or((0, 0), |live| (live.received, live.sent));
            answer.line("tx_bytes", peer.past.sent + sent);
            answer.line("rx_bytes", peer.past.received + received);
            answer.line("persistent_keepalive_interval", peer.persistent_keepalive);
            for net in &peer.allowed_ips {
                answer.line("allowed_ip", net);
            }
        }
    }
}

fn bind(port: u16, fwmark: u32, offload: UdpOffload) -> sluss_platform::Result<UdpSocket> {
    let mut udp = UdpSocket::bind(port, Some(fwmark).filter(|mark| *mark != 0))?;
    udp.limit(offload)?;
    Ok(udp)
}

fn tell(engine: &Tunnel, peers: &mut Peers, changes: Vec<Change>) {
    let ids = if changes
        .iter()
        .any(|change| matches!(change, Change::Removed(_)))
    {
        ids(engine)
    } else {
        BTreeMap::new()
    };
    for change in changes {
        match change {
            Change::Changed(key) => {
                if let Some(peer) = peers.peer_mut(&key) {
                    engine.command(Command::SetPeer(peer.config(key)));
                }
            }
            Change::Removed(key) => {
                if let Some(id) = ids.get(&key) {
                    engine.command(Command::RemovePeer(*id));
                }
            }
        }
    }
}

/// Has something sent to each peer that wants it.
fn wake(engine: &Tunnel, peers: &mut Peers) {
    let wanted: Vec<PublicKey> = peers
        .iter_mut()
        .filter_map(|(key, peer)| std::mem::take(&mut peer.is_wanted).then_some(*key))
        .collect();
    if wanted.is_empty() {
        return;
    }
    let ids = ids(engine);
    for id in wanted.iter().filter_map(|key| ids.get(key)) {
        engine.command(Command::Kick(*id));
    }
}

fn ids(engine: &Tunnel) -> BTreeMap<PublicKey, PeerId> {
    let statuses = statuses(Some(engine)).into_values();
    statuses
        .map(|status| (status.public_key, status.id))
        .collect()
}

fn statuses(engine: Option<&Tunnel>) -> BTreeMap<PublicKey, PeerStatus> {
    let peers = engine.map(|engine| engine.stats().peers);
    let peers = peers.into_iter().flatten();
    peers.map(|status| (status.public_key, status)).collect()
}

/// When that was, since 1970.
fn wall_time(at: Time) -> std::time::Duration {
    let age = Time::since_boot(clock::boottime()).saturating_since(at);
    clock::wall().saturating_sub(age)
}
