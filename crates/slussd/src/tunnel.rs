//! The tunnel of this laptop: one gateway, a key that is held by the card, and a stamp that never goes back.

mod path;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sluss_ipc::Traffic;
use sluss_platform::{MARK, TunConfig, TunDevice, UdpSocket, clock, files, tunnel_io};
use sluss_policy::{DeviceBinding, Policy};
use sluss_supervisor::{self as sup, LossReason, Op};
use sluss_tunnel::{Command, Key, Offload, Tunnel};
use sluss_wg::{
    Config, Device, Endpoints, PeerConfig, PeerId, PresharedKey, PublicKey, Respond, Tai64n, Time,
    Timing,
};
use tokio::sync::mpsc::UnboundedSender;
use tracing::{error, info, warn};

use crate::engine::{Called, Figures, Input, TunnelOrder};

/// A tunnel that runs.
pub(crate) struct Running {
    op: Op,
    tunnel: Tunnel,
    gateway: PeerId,
    /// What its device has, or is about to have.
    mtu: u16,
    policy_mtu: u16,
}

impl Running {
    /// Makes the device, starts the threads and asks for the first handshake. What happens then comes as inputs.
    pub(crate) fn start(
        op: Op,
        policy: &Policy,
        binding: &DeviceBinding,
        preshared_key: Option<sluss_policy::PresharedKey>,
        stamp: Stamp,
        inputs: UnboundedSender<Input>,
    ) -> Result<Self, LossReason> {
        let gateway = PublicKey(*policy.gateway.public_key.as_bytes());
        let config = Config {
            public_key: PublicKey(*binding.card.public_key.as_bytes()),
            respond: if policy.tunnel.respond {
                Respond::Guarded
            } else {
                Respond::Never
            },
            timing: Timing::default(),
            stamp_floor: stamp.read(),
            mtu: policy.tunnel.mtu,
            seed: seed()?,
        };
        let peer = PeerConfig {
            public_key: gateway,
            preshared_key: preshared_key.map(|key| PresharedKey::new(*key.as_bytes())),
            endpoints: path::written(policy),
            allowed_ips: policy.internal.clone(),
            persistent_keepalive: policy.tunnel.keepalive,
        };
        let parts = Device::new(config, vec![peer], Time::since_boot(clock::boottime())).map_err(
            |error| {
                error!(%error, "the policy's gateway does not fit this laptop's card");
                LossReason::Binding
            },
        )?;
        let peer = parts.0.peer(&gateway).ok_or(LossReason::Internal)?;

        let device = TunDevice::create(TunConfig::NAME, Offload::TcpAndUdp).map_err(|error| {
            error!(%error, "the TUN device cannot be made");
            LossReason::Device
        })?;
        let socket = UdpSocket::bind(0, Some(MARK)).map_err(|error| {
            error!(%error, "the UDP socket cannot be made");
            LossReason::Socket
        })?;
        let io = tunnel_io(device, socket).map_err(|error| {
            error!(%error, "the tunnel cannot wait for packets");
            LossReason::Internal
        })?;
        let events = move |event| {
            // The initiation that bears the stamp goes out when this returns, and may be the last before a power cut.
            if let sluss_tunnel::Event::StampReserved { up_to } = event {
                stamp.write(up_to);
            }
            // The receiver is gone only when the daemon ends.
            drop(inputs.send(Input::Tunnel { op, event }));
        };
        let tunnel = sluss_tunnel::start(parts, Key::Held, io, events).map_err(|error| {
            error!(%error, "the tunnel cannot start");
            LossReason::Internal
        })?;
        match path::discovery(policy, binding, peer, seed()?) {
            Some(discovery) => tunnel.command(Command::Discover(discovery)),
            None => info!("no internal address to ask about the path's MTU"),
        }
        tunnel.command(Command::Kick(peer));
        Ok(Self {
            op,
            tunnel,
            gateway: peer,
            mtu: policy.tunnel.mtu,
            policy_mtu: policy.tunnel.mtu,
        })
    }

    /// What started it.
    pub(crate) fn op(&self) -> Op {
        self.op
    }

    /// The MTU of its device.
    pub(crate) fn mtu(&self) -> u16 {
        self.mtu
    }

    /// Its device shall have this MTU. Says whether that is new.
    pub(crate) fn resize(&mut self, mtu: u16) -> bool {
        std::mem::replace(&mut self.mtu, mtu) != mtu
    }

    /// Where the gateway may be found from now on, the best group first.
    pub(crate) fn endpoints(&self, groups: Vec<Vec<SocketAddr>>) {
        let (peer, endpoints) = (self.gateway, Endpoints::new(groups));
        self.tunnel
            .command(Command::SetEndpoints { peer, endpoints });
        // there may have been nobody to call before
        self.tunnel.command(Command::Kick(peer));
    }

    /// WireGuard's persistent keepalive from now on.
    pub(crate) fn keepalive(&self, every: Option<Duration>) {
        let peer = self.gateway;
        self.tunnel.command(Command::SetKeepalive { peer, every });
    }

    pub(crate) fn order(&self, order: TunnelOrder) {
        match order {
            TunnelOrder::Dh { id, result } => self.tunnel.command(Command::Dh { id, result }),
            TunnelOrder::Kick => self.tunnel.command(Command::Kick(self.gateway)),
            TunnelOrder::NetworkChanged => {
                self.tunnel.command(Command::NetworkChanged(self.gateway))
            }
            TunnelOrder::SetEndpoints { groups } => self.endpoints(groups),
            TunnelOrder::SetKeepalive { every } => self.keepalive(every),
            TunnelOrder::Resized => self.tunnel.command(Command::MtuChanged),
            TunnelOrder::ForgetKey => self.tunnel.command(Command::ForgetKey),
        }
    }

    /// What `status` shows of it.
    pub(crate) fn figures(&self, now: sup::Time) -> Figures {
        let stats = self.tunnel.stats();
        let Some(gateway) = stats.peers.iter().find(|peer| peer.id == self.gateway) else {
            return Figures::default();
        };
        let age_ms = |at: Time| {
            let at = sup::Time::since_boot(at.elapsed_since_boot());
            u64::try_from(now.since(at).as_millis()).unwrap_or(u64::MAX)
        };
        Figures {
            traffic: Some(Traffic {
                received_bytes: gateway.received,
                sent_bytes: gateway.sent,
                handshake_age_ms: gateway.last_handshake.map(age_ms),
                unanswered_handshakes: gateway.unanswered,
            }),
            endpoint: gateway.endpoint,
            called: gateway
                .endpoints
                .iter()
                .map(|it| Called {
                    address: it.address,
                    silent_ms: it.silent_since.map(age_ms),
                })
                .collect(),
            packets: stats
                .conditions
                .map(|conditions| path::report(conditions, self.policy_mtu, age_ms)),
        }
    }

    /// Ends it. Its keys are wiped when this returns.
    pub(crate) fn stop(self) {
        self.tunnel.stop();
    }
}

fn seed() -> Result<[u8; 32], LossReason> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| {
        error!(%error, "the system has no randomness");
        LossReason::Internal
    })?;
    Ok(seed)
}

/// Where the highest TAI64N stamp that may have been sent survives a restart.
///
/// A gateway refuses a stamp that does not increase, so one that went back would lock this laptop out.
pub(crate) struct Stamp(PathBuf);

impl Stamp {
    pub(crate) fn in_state_dir(directory: &Path) -> Self {
        Self(directory.join("stamp"))
    }

    /// The floor for new stamps. A missing or damaged file is no reason to stay down: the wall clock is above it almost surely.
    fn read(&self) -> Tai64n {
        if !self.0.exists() {
            return Tai64n::default();
        }
        match files::read_trusted(&self.0).map(|text| parse(text.trim_end())) {
            Ok(Some(stamp)) => stamp,
            Ok(None) => {
                warn!(file = %self.0.display(), "is not 24 hexadecimal digits; the wall clock alone keeps stamps increasing");
                Tai64n::default()
            }
            Err(error) => {
                warn!(%error, "the wall clock alone keeps stamps increasing");
                Tai64n::default()
            }
        }
    }

    fn write(&self, stamp: Tai64n) {
        let mut text: String = stamp.0.iter().map(|byte| format!("{byte:02x}")).collect();
        text.push('\n');
        if let Err(error) = files::write_private(&self.0, text.as_bytes()) {
            warn!(%error, "after a restart the wall clock alone keeps stamps increasing");
        }
    }
}

fn parse(text: &str) -> Option<Tai64n> {
    let mut stamp = [0; 12];
    if text.len() != 24 || !text.is_ascii() {
        return None;
    }
    for (byte, digits) in stamp.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(Tai64n(stamp))
}
