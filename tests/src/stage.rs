//! Everything at once: the world, its servers, the card, the laptop with the shipped binaries, and judges around them.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;
use sluss_policy::DeviceBinding;

use crate::beacon::Beacon;
use crate::boot_clock::BootClock;
use crate::capture::{Capture, Packet};
use crate::gateway::Gateway;
use crate::laptop::{Laptop, Monitor, Policy, endpoint};
use crate::logind::Logind;
use crate::moment;
use crate::rig::{Rig, VirtualCard};
use crate::servers::{self, Stream};
use crate::service_card::ServiceCard;
use crate::world::{
    ANNEX_BEACON, BEACON, BEACON_V6, GATEWAY, Place, Port, TUNNEL, TUNNEL_V6, WEB, World,
    is_internal,
};

/// More than anything that should happen takes, even on a machine that is busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A laptop in the lab, unplugged, its daemon running, its card out. Unless told otherwise it is an OpenPGP card that holds the key.
pub struct Stage<C = VirtualCard> {
    pub world: World,
    /// Readers, and pcscd behind them.
    pub rig: Rig,
    /// The service card, with a key that the lab knows.
    pub card: C,
    pub laptop: Laptop,
    pub monitor: Monitor,
    pub logind: Logind,
    pub beacon: Beacon,
    pub clock: BootClock,
    /// WireGuard as it arrives at and leaves the gateway.
    pub wire: Capture,
    /// What reaches the internal servers from the tunnel.
    pub inside: Capture,
    /// What should not be: packets to internal addresses on the clear sides of all places that are not inside.
    pub clear: Vec<Capture>,
    pub gateway: Gateway,
}

/// How the daemon is started.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Boot {
    /// With a boot clock that the lab can make jump.
    LabClock,
    #[default]
    /// As shipped, nothing preloaded: for measurements of the process itself.
    Plain,
}

/// What differs from stage to stage.
#[derive(Default)]
pub struct Setup {
    pub boot: Boot,
    /// Further lines of the policy's section `[card]`.
    pub card_policy: String,
    /// Further sections of the policy.
    pub policy: String,
    /// The policy's sections `[[endpoint]]`, if not the one of the stage's gateway.
    pub endpoints: Option<String>,
    /// The policy's sections `[[beacon]]`, if not the one of the stage's beacon.
    pub beacons: Option<String>,
    pub preshared_key: Option<[u8; 32]>,
    /// More in the daemon's environment.
    pub environment: Vec<(&'static str, OsString)>,
    /// More on the daemon's command line.
    pub arguments: Vec<&'static str>,
    /// What the daemon logs, if not as usual.
    pub log_level: Option<&'static str>,
}

impl Stage {
    pub fn set(boot: Boot) -> Result<Stage> {
        Stage::set_with(boot, &[])
    }

    /// As [`Stage::set`], with more in the daemon's environment.
    pub fn set_with(boot: Boot, environment: &[(&'static str, &str)]) -> Result<Stage> {
        let set_up = Setup {
            boot,
            environment: environment
                .iter()
                .map(|(name, value)| (*name, value.into()))
                .collect(),
            ..Setup::default()
        };
        Stage::set_up(set_up, |rig, _| rig.issued_card(0))
    }
}

impl<C: ServiceCard> Stage<C> {
    /// A stage for a laptop that is enrolled with the card that `make` makes, with its files in the directory that it is given.
    pub fn set_up(setup: Setup, make: impl FnOnce(&Rig, &Path) -> Result<C>) -> Result<Stage<C>> {
        let directory = Path::new("/run/lab");
        std::fs::create_dir_all(directory)?;
        let world = World::new()?;
        let rig = Rig::start(world.laptop.clone(), directory)?;
        let card = make(&rig, directory)?;
        let binding = card.binding();
        let gateway = Gateway::start(&world, *binding.public_key.as_bytes(), setup.preshared_key)?;
        let beacon = Beacon::start(&world.servers)?;
        servers::start(&world)?;
        let logind = Logind::start(&world.laptop, directory)?;
        let clock = BootClock::new(directory)?;
        let policy = Policy {
            endpoints: setup.endpoints.unwrap_or_else(|| endpoint(GATEWAY)),
            gateway_key: gateway.public_key(),
            beacons: setup.beacons.unwrap_or_else(|| beacon.section()),
            more: format!(
                "[card]\n{}{}{}",
                card.policy(),
                setup.card_policy,
                setup.policy
            ),
        };
        let preshared_key = setup.preshared_key.map(|key| STANDARD.encode(key).parse());
        let binding = DeviceBinding {
            addresses: vec![host(TUNNEL), host(TUNNEL_V6)],
            card: binding,
            preshared_key: preshared_key.transpose()?,
        };
        let mut laptop = Laptop::enrolled(world.laptop.clone(), directory, &policy, &binding)?;
        laptop.environment("PCSCLITE_CSOCK_NAME", rig.pcsc_socket());
        laptop.environment("DBUS_SYSTEM_BUS_ADDRESS", logind.address());
        for (name, value) in card.environment().into_iter().chain(setup.environment) {
            laptop.environment(name, value);
        }
        laptop.arguments(setup.arguments);
        if let Some(level) = setup.log_level {
            laptop.log_level = level.to_owned();
        }
        if setup.boot == Boot::LabClock {
            for (name, value) in clock.environment()? {
                laptop.environment(name, value);
            }
        }
        laptop.start()?;
        Ok(Stage {
            monitor: laptop.monitor()?,
            wire: Capture::start(&world.gateway, |packet| {
                &*packet.interface == "wan"
                    && (packet.ports.0 == GATEWAY.port() || packet.ports.1 == GATEWAY.port())
            })?,
            inside: Capture::start(&world.servers, |packet| {
                &*packet.interface == "dmz" && [TUNNEL, TUNNEL_V6].contains(&packet.source)
            })?,
            clear: clear_sides(&world)?,
            world,
            rig,
            card,
            laptop,
            logind,
            beacon,
            clock,
            gateway,
        })
    }

    /// The internal web page as the laptop gets it now; gives the address by which the server saw the laptop.
    pub fn page(&self) -> Result<IpAddr> {
        servers::fetch(&self.world.laptop, WEB, Duration::from_secs(5))
    }

    /// Fails if the internal page can be reached.
    pub fn no_page(&self) -> Result<()> {
        let reached = servers::fetch(&self.world.laptop, WEB, Duration::from_secs(2));
        ensure!(
            reached.is_err(),
            "the internal page was reached, as {reached:?}"
        );
        Ok(())
    }

    /// Fails if a packet for the internal network has left in the clear, anywhere but in the office.
    pub fn no_leak(&self) -> Result<()> {
        let leak = self.clear.iter().find_map(Capture::last);
        ensure!(leak.is_none(), "left in the clear: {leak:?}");
        Ok(())
    }

    /// A continuous stream of packets into the internal network, that has begun to arrive.
    pub fn stream(&self, every: Duration) -> Result<Stream> {
        let started = moment::now();
        let stream = Stream::start(&self.world.laptop, WEB, every)?;
        moment::eventually("the stream arrives", PATIENCE, || {
            Ok(self.first_of_stream(started))
        })?;
        Ok(stream)
    }

    /// The first packet of the stream that reached the internal network at or after a moment.
    pub fn first_of_stream(&self, since: Duration) -> Option<Packet> {
        self.inside
            .packets()
            .into_iter()
            .find(|packet| packet.at >= since && packet.ports.1 == Stream::PORT)
    }

    /// Waits until nothing has come through the tunnel for `quiet`, and gives the moment of the last packet: of
    /// transport data on the wire or of the stream inside, whichever came later.
    pub fn last_through_tunnel(&self, quiet: Duration) -> Result<Duration> {
        let last = || {
            let wire = self.wire.packets().into_iter().rfind(from_laptop);
            let inside = self.inside.last();
            [wire, inside]
                .into_iter()
                .flatten()
                .map(|packet| packet.at)
                .max()
        };
        moment::eventually("the tunnel falls silent", PATIENCE, || {
            let last = last().context("nothing has ever come through the tunnel")?;
            Ok((moment::now().saturating_sub(last) > quiet).then_some(last))
        })
    }

    /// Handshakes that the gateway has accepted at or after a moment.
    pub fn handshakes(&self, since: Duration) -> usize {
        let accepted =
            |packet: &Packet| packet.at >= since && packet.is_handshake_response(GATEWAY.port());
        self.wire
            .packets()
            .iter()
            .filter(|packet| accepted(packet))
            .count()
    }

    /// Brings the laptop from where it is to a tunnel that is up: plugged in, card in, PIN typed.
    pub fn open_tunnel(&mut self, port: Port, place: Place) -> Result<()> {
        self.world.plug(port, place)?;
        self.insert_and_unlock()
    }

    /// Waits for a verdict after a moment; if it does not come, the error has the daemon's evidence.
    pub fn verdict(&self, location: &str, since: Duration) -> Result<Duration> {
        let verdict = self.monitor.until("location", &[location], since, PATIENCE);
        verdict.with_context(|| {
            format!(
                "{:?}",
                self.laptop
                    .status()
                    .map(|status| status["evidence"].to_string())
            )
        })
    }

    /// Card in, PIN typed, and the tunnel up.
    pub fn insert_and_unlock(&mut self) -> Result<()> {
        let inserted = moment::now();
        self.card.insert()?;
        self.unlock(inserted)?;
        self.monitor.until("tunnel", &["up"], inserted, PATIENCE)?;
        Ok(())
    }

    /// Types the PIN as soon as the card that was put in at a moment asks for it.
    pub fn unlock(&self, inserted: Duration) -> Result<()> {
        self.monitor
            .until("key", &["locked", "awaiting-pin"], inserted, PATIENCE)?;
        self.laptop.unlock(self.card.pin())
    }
}

/// Transport data on its way from the laptop to the gateway.
fn from_laptop(packet: &Packet) -> bool {
    packet.is_transport_data(GATEWAY.port()) && packet.ports.1 == GATEWAY.port()
}

/// One address, alone.
fn host(address: IpAddr) -> IpNet {
    address.into()
}

fn clear_sides(world: &World) -> Result<Vec<Capture>> {
    let watch = |place| {
        // The daemon's own probe is to leave: it looks for the beacons on the physical link.
        let is_probe = |packet: &Packet| {
            [BEACON, BEACON_V6, ANNEX_BEACON]
                .contains(&SocketAddr::new(packet.destination, packet.ports.1))
        };
        let leaves = move |packet: &Packet| {
            &*packet.interface == "lan" && is_internal(packet.destination) && !is_probe(packet)
        };
        Capture::start(world.router(place), leaves)
    };
    [Place::Home, Place::Phone, Place::Cafe, Place::Guest]
        .into_iter()
        .map(watch)
        .collect()
}
