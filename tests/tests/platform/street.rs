//! A laptop on one or two networks that others run, and an ordinary user who tries to get out.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sluss_platform::links::Watcher;
use sluss_platform::{Host, HostConfig, TunConfig};
use sluss_supervisor::{HostMode, HostRules, Link};
use sluss_tests::capture::{Capture, Packet};
use sluss_tests::moment::eventually;
use sluss_tests::netns::{self, Netns};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::runtime::Runtime;

pub(crate) const INTERNAL: [&str; 2] = ["10.20.0.0/16", "fd20::/48"];
/// Internal hosts, which the networks outside pretend to be.
pub(crate) const TARGETS: [&str; 3] = ["10.20.0.10", "10.20.255.254", "fd20::10"];
pub(crate) const TUNNEL: [&str; 2] = ["10.99.0.2", "fd99::2"];

/// The port that ends a judgement.
const LAST_WORD: u16 = 4999;
/// Names the interface to break out of, in the environment of a process that attacks.
const ATTACK: &str = "SLUSS_TEST_ATTACK";
const ORDINARY_USER: u32 = 1000;

/// A network that the laptop is plugged into. It claims to be the internal network, and answers for it.
pub(crate) struct Street {
    pub(crate) netns: Netns,
    /// The laptop's interface on it.
    pub(crate) link: &'static str,
    far: SocketAddr,
}

impl Street {
    /// `number` sets the addresses apart: the laptop is 192.0.2.2 / 2001:db8:2::2 on street 2's `link`, or the like.
    pub(crate) fn new(laptop: &Netns, link: &'static str, number: u8) -> Result<Street> {
        let netns = Netns::new(&format!("street{number}"))?;
        netns::veth((laptop, link), (&netns, "far"))?;
        for line in [
            format!("addr add 192.0.{number}.1/24 dev far"),
            format!("addr add 2001:db8:{number}::1/64 dev far"),
        ] {
            netns.ip(&line)?;
        }
        for target in TARGETS {
            netns.ip(&format!("addr add {target} dev lo"))?;
        }
        netns.sysctl("ipv4.ip_forward", "1")?;
        for line in [
            format!("addr add 192.0.{number}.2/24 dev {link}"),
            format!("addr add 2001:db8:{number}::2/64 dev {link}"),
            format!("route add default via 192.0.{number}.1 dev {link} metric {number}00"),
            format!("-6 route add default via 2001:db8:{number}::1 dev {link} metric {number}00"),
        ] {
            laptop.ip(&line)?;
        }
        // Nobody else has these addresses, but the kernel is not sure of that before it has thought about it.
        soon("the addresses can be used", || {
            laptop
                .ip("-6 addr show tentative")
                .is_ok_and(|it| it.is_empty())
        })?;
        Ok(Street {
            netns,
            link,
            far: SocketAddr::new([192, 0, number, 1].into(), LAST_WORD),
        })
    }

    /// Starts to take note of everything that reaches this network for an internal address.
    pub(crate) fn judge(&self) -> Result<Judge> {
        let seen = Capture::start(&self.netns, |packet| {
            !packet.outgoing && (is_internal(packet.destination) || packet.ports.1 == LAST_WORD)
        })?;
        Ok(Judge {
            seen,
            link: self.link,
            far: self.far,
        })
    }
}

/// Sees what leaves the laptop by one link, on the other side of it.
pub(crate) struct Judge {
    seen: Capture,
    link: &'static str,
    far: SocketAddr,
}

impl Judge {
    /// All packets for internal addresses since the last time, once everything that was sent has arrived.
    pub(crate) fn leaks(&self) -> Result<Vec<Packet>> {
        // The wire keeps the order: what was sent before a last word is seen before it.
        let socket = socket(Type::DGRAM, self.far.ip(), Some(self.link))?;
        socket.send_to(b"end", &self.far.into())?;
        let is_last = |packet: &Packet| packet.ports.1 == LAST_WORD;
        soon("the last word arrives", || {
            self.seen.packets().iter().any(is_last)
        })?;
        let mut packets = self.seen.packets();
        self.seen.clear();
        packets.retain(|packet| !is_last(packet));
        Ok(packets)
    }
}

/// Waits until something holds, for a few seconds at most.
pub(crate) fn soon(what: &str, mut holds: impl FnMut() -> bool) -> Result<()> {
    eventually(what, Duration::from_secs(5), || Ok(holds().then_some(())))
}

pub(crate) fn is_internal(address: IpAddr) -> bool {
    INTERNAL.iter().any(|net| {
        net.parse::<ipnet::IpNet>()
            .is_ok_and(|net| net.contains(&address))
    })
}

/// The laptop's host side: what the daemon would do.
pub(crate) struct Laptop {
    pub(crate) netns: Netns,
    runtime: Runtime,
    host: Host,
}

impl Laptop {
    pub(crate) fn new() -> Result<Laptop> {
        let runtime = runtime()?;
        let host = runtime.block_on(async { Host::open() })?;
        Ok(Laptop {
            netns: Netns::own("laptop")?,
            runtime,
            host,
        })
    }

    /// The daemon once more, with nothing in its memory.
    pub(crate) fn another(&self) -> Result<Laptop> {
        Laptop::new()
    }

    pub(crate) fn apply(&mut self, config: &HostConfig) -> Result<()> {
        Ok(self.runtime.block_on(self.host.apply(config))?)
    }

    pub(crate) fn remove(&mut self) -> Result<()> {
        Ok(self.runtime.block_on(self.host.remove())?)
    }

    /// The facts of one link, as the watcher tells them.
    pub(crate) fn link(&self, name: &str) -> Result<Link> {
        let links = self
            .runtime
            .block_on(async { Watcher::open(TunConfig::NAME)?.changed().await })?;
        links
            .into_iter()
            .find(|link| link.id.name == name)
            .with_context(|| format!("no link {name}"))
    }

    pub(crate) fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }
}

pub(crate) fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?)
}

pub(crate) fn config(mode: HostMode) -> HostConfig {
    let nets = |texts: &[&str]| {
        texts
            .iter()
            .map(|text| text.parse().expect("a prefix"))
            .collect()
    };
    HostConfig {
        rules: HostRules {
            mode,
            routers: Vec::new(),
            opening: None,
        },
        resolvers: Vec::new(),
        internal: nets(&INTERNAL),
        tun: TunConfig {
            name: TunConfig::NAME.to_owned(),
            addresses: nets(&["10.99.0.2/32", "fd99::2/128"]),
            mtu: 1420,
        },
    }
}

/// A socket that any user may make: bound to one interface, if it is given.
pub(crate) fn socket(kind: Type, to: IpAddr, link: Option<&str>) -> Result<Socket> {
    let (domain, any): (_, IpAddr) = match to {
        IpAddr::V4(_) => (Domain::IPV4, [0; 4].into()),
        IpAddr::V6(_) => (Domain::IPV6, [0; 16].into()),
    };
    let socket = Socket::new(domain, kind, None::<Protocol>)?;
    socket.bind_device(link.map(str::as_bytes))?;
    socket.bind(&SocketAddr::new(any, 0).into())?;
    Ok(socket)
}

/// What an ordinary user gets out of trying everything against every internal address, by `link` and by the routes.
///
/// One line for each attempt: `udp bound 10.20.0.10 sent`, or the error in place of `sent`.
pub(crate) fn attack(link: &str) -> Result<String> {
    let mut command = Command::new(std::env::current_exe()?);
    command.env(ATTACK, link);
    // Without a second user id root does it: no mark, so no other rights here than anybody's.
    if netns::has_several_users() {
        command.uid(ORDINARY_USER).gid(ORDINARY_USER);
    }
    let output = command.output()?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

pub(crate) fn attack_if_asked() -> Option<ExitCode> {
    let link = std::env::var(ATTACK).ok()?;
    for target in TARGETS {
        let target: IpAddr = target.parse().expect("an address");
        for bound in [Some(link.as_str()), None] {
            let way = if bound.is_some() { "bound" } else { "routed" };
            println!("udp {way} {target} {}", said(datagrams(target, bound)));
            println!("tcp {way} {target} {}", said(connection(target, bound)));
        }
    }
    Some(ExitCode::SUCCESS)
}

fn datagrams(to: IpAddr, link: Option<&str>) -> Result<()> {
    let socket = UdpSocket::from(socket(Type::DGRAM, to, link)?);
    for _ in 0..3 {
        socket.send_to(b"leak", SocketAddr::new(to, 4000))?;
    }
    Ok(())
}

fn connection(to: IpAddr, link: Option<&str>) -> Result<()> {
    let socket = socket(Type::STREAM, to, link)?;
    Ok(socket.connect_timeout(
        &SocketAddr::new(to, 4000).into(),
        Duration::from_millis(300),
    )?)
}

fn said(result: Result<()>) -> String {
    match result {
        Ok(()) => "sent".to_owned(),
        Err(error) => error.to_string(),
    }
}
