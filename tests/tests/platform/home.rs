//! A home whose network lies inside the internal prefix: names and the lease go on, and nothing else leaves for it.

use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sluss_platform::{HostConfig, MARK, TunConfig, TunDevice};
use sluss_supervisor::{HostMode, Router};
use sluss_tests::capture::{Capture, Packet};
use sluss_tests::moment::eventually;
use sluss_tests::netns::{self, Netns, Process};
use sluss_tunnel::Offload;
use socket2::Type;

use crate::street::{Laptop, attack, config, is_internal, socket, soon};

const ROUTER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 20, 5, 1));
/// Has its own web page, as printers and televisions do.
const NEIGHBOUR: &str = "10.20.5.99";
/// An intranet server; this network, too, has somebody who answers for it.
const INTRANET: &str = "10.20.0.10";
/// Somewhere in the Internet, and what its name is.
const WORLD: &str = "198.51.100.7";
const NAME: &str = "world.example";
/// Somewhere that the router does not know.
const NOWHERE: &str = "203.0.113.9";

const PATIENCE: Duration = Duration::from_secs(20);
const SOON: Duration = Duration::from_millis(500);

/// The router of the home, and all that is behind it.
struct Home {
    netns: Netns,
    _dnsmasq: Process,
}

impl Home {
    fn new(laptop: &Netns) -> Result<Home> {
        let netns = Netns::new("home")?;
        netns::veth((laptop, "eth0"), (&netns, "far"))?;
        netns.ip(&format!("addr add {ROUTER}/24 dev far"))?;
        netns.ip(&format!("addr add {NEIGHBOUR}/24 dev far"))?;
        for address in [INTRANET, "10.20.255.254", WORLD] {
            netns.ip(&format!("addr add {address} dev lo"))?;
        }
        netns.sysctl("ipv4.ip_forward", "1")?;
        netns.sysctl("ipv4.icmp_ratelimit", "0")?;
        for address in [&ROUTER.to_string(), NEIGHBOUR, WORLD] {
            let web: SocketAddr = format!("{address}:80").parse()?;
            let listener = netns.run(|| TcpListener::bind(web))?;
            thread::spawn(move || listener.incoming().for_each(drop));
        }
        let gateway = netns.run(|| UdpSocket::bind((WORLD, 51820)))?;
        thread::spawn(move || {
            let mut message = [0; 32];
            while let Ok((length, from)) = gateway.recv_from(&mut message) {
                let _ = gateway.send_to(&message[..length], from);
            }
        });
        let log = "/run/dnsmasq-home.log";
        let dnsmasq = netns.spawn(
            Command::new("dnsmasq")
                .args(["--no-daemon", "--conf-file=/dev/null", "--user=root"])
                .args(["--no-hosts", "--no-resolv", "--interface=far"])
                .args(["--bind-interfaces", "--leasefile-ro", "--no-ping"])
                // A lease is renewed after some three seconds, of the server alone.
                .args([
                    "--dhcp-range=10.20.5.50,10.20.5.60,2m",
                    "--dhcp-authoritative",
                ])
                .args(["--dhcp-option=option:T1,3", "--dhcp-option=option:T2,100"])
                .arg(format!("--address=/{NAME}/{WORLD}"))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(File::create(log)?),
        )?;
        soon("dnsmasq starts", || {
            fs::read_to_string(log).is_ok_and(|said| said.contains("started, version"))
        })?;
        Ok(Home {
            netns,
            _dnsmasq: dnsmasq,
        })
    }

    /// All that comes for an internal address by the link, and what goes back.
    fn judge(&self) -> Result<Capture> {
        Capture::start(&self.netns, |packet| {
            &*packet.interface == "far"
                && (is_internal(packet.destination) || is_internal(packet.source))
        })
    }
}

/// The client that most of Debian has; it asks its server from a socket that is bound to no interface.
///
/// A copy, since some systems confine the program by its path.
fn lease(laptop: &Laptop) -> Result<Process> {
    const SCRIPT: &str = "#!/bin/sh
[ $reason = BOUND ] || exit 0
ip addr add $new_ip_address/24 dev $interface
ip route add default via $new_routers dev $interface
";
    fs::copy("/usr/sbin/dhclient", "/run/dhclient").context("package isc-dhcp-client")?;
    fs::write("/run/lease", SCRIPT)?;
    fs::set_permissions("/run/lease", Permissions::from_mode(0o755))?;
    fs::write("/run/dhclient.conf", "")?;
    let client = laptop.netns.spawn(
        Command::new("/run/dhclient")
            .args(["-4", "-d", "-cf", "/run/dhclient.conf"])
            .args(["-lf", "/run/leases", "-pf", "/run/dhclient.pid"])
            .args(["-sf", "/run/lease", "eth0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create("/run/dhclient.log")?),
    )?;
    eventually("an address and a gateway", PATIENCE, || {
        let link = laptop.link("eth0")?;
        Ok((link.usable() && link.gateways == [ROUTER]).then_some(()))
    })
    .with_context(|| fs::read_to_string("/run/dhclient.log").unwrap_or_default())?;
    Ok(client)
}

/// What the daemon asks for in such a home.
fn at_home(laptop: &Laptop, mode: HostMode, routers: &[IpAddr]) -> Result<HostConfig> {
    let link = laptop.link("eth0")?.id;
    let mut config = config(mode);
    config.rules.routers = routers
        .iter()
        .map(|address| Router {
            link: link.clone(),
            address: *address,
        })
        .collect();
    Ok(config)
}

pub(crate) fn a_home_inside_the_prefix_keeps_its_names_and_its_lease() -> Result<()> {
    let mut laptop = Laptop::new()?;
    let home = Home::new(&laptop.netns)?;
    // Shut since the daemon's start: the first lease comes all the same, and the default route with it.
    laptop.apply(&config(HostMode::Closed))?;
    let judge = home.judge()?;
    let _client = lease(&laptop)?;
    ensure!(ask(ROUTER, false).is_err(), "names before anybody said so");
    reach(WORLD, 80, None).context("the Internet needs no name of the router")?;

    let _tun = TunDevice::create(TunConfig::NAME, Offload::None)?;
    for mode in [HostMode::Closed, HostMode::Tunnelled] {
        laptop.apply(&at_home(&laptop, mode.clone(), &[ROUTER])?)?;
        for strictness in ["0", "1", "2"] {
            for scope in ["all", "eth0"] {
                let key = format!("ipv4.conf.{scope}.rp_filter");
                laptop.netns.sysctl(&key, strictness)?;
            }
            let context = || format!("{mode:?}, rp_filter {strictness}");
            ensure!(ask(ROUTER, false).with_context(context)? == *WORLD);
            ensure!(ask(ROUTER, true).with_context(context)? == *WORLD);
            reach(WORLD, 80, None).with_context(context)?;
            // The router has no way there, and its word of that is heard.
            let refusal = reach(NOWHERE, 80, None).err().map(|it| it.to_string());
            let is_heard = refusal
                .as_ref()
                .is_some_and(|it| it.contains("unreachable"));
            ensure!(is_heard, "{}: {refusal:?}", context());
            // The tunnel's own socket, by the same router.
            let ours = socket(Type::DGRAM, WORLD.parse()?, None)?;
            ours.set_mark(MARK)?;
            ours.set_read_timeout(Some(Duration::from_secs(2)))?;
            ours.send_to(
                b"initiation",
                &SocketAddr::new(WORLD.parse()?, 51820).into(),
            )?;
            UdpSocket::from(ours)
                .recv(&mut [0; 32])
                .with_context(context)?;
        }
        judge.clear();
        let renewal = |packet: &Packet| packet.source == ROUTER && packet.ports == (67, 68);
        eventually("the lease is renewed", PATIENCE, || {
            Ok(judge.packets().iter().any(renewal).then_some(()))
        })?;

        let said = attack("eth0")?;
        let bound: Vec<_> = said.lines().filter(|line| line.contains("bound")).collect();
        ensure!(!bound.iter().any(|line| line.ends_with("sent")), "{said}");
        for (address, port) in [(NEIGHBOUR, 80), (NEIGHBOUR, 53), ("10.20.5.1", 80)] {
            for link in [None, Some("eth0")] {
                let reached = reach(address, port, link);
                ensure!(reached.is_err(), "{mode:?}: {address}:{port} by {link:?}");
            }
        }
        // A resolver that the router has named is as good as the router.
        ensure!(ask(NEIGHBOUR.parse()?, false).is_err());
    }
    let stray: Vec<_> = judge
        .packets()
        .into_iter()
        .filter(|packet| !packet.outgoing && !is_allowed(packet))
        .collect();
    ensure!(stray.is_empty(), "{stray:?}");
    Ok(())
}

/// The network names a resolver of its own beside the router, and it has an internal address too.
pub(crate) fn the_resolver_that_a_network_names_is_asked_on_its_link() -> Result<()> {
    let mut laptop = Laptop::new()?;
    let home = Home::new(&laptop.netns)?;
    laptop.apply(&config(HostMode::Closed))?;
    let _client = lease(&laptop)?;
    let other: IpAddr = NEIGHBOUR.parse()?;
    let resolver = home.netns.spawn(
        Command::new("dnsmasq")
            .args(["--no-daemon", "--conf-file=/dev/null", "--user=root"])
            .args(["--no-hosts", "--no-resolv", "--bind-interfaces"])
            .args(["--pid-file=/run/second.pid", "--listen-address=10.20.5.99"])
            .arg(format!("--address=/{NAME}/{WORLD}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null()),
    )?;
    let mut config = at_home(&laptop, HostMode::Closed, &[ROUTER])?;
    laptop.apply(&config)?;
    ensure!(ask(other, false).is_err(), "asked without being named");
    let link = laptop.link("eth0")?.id;
    config.resolvers = [other, "192.0.2.53".parse()?]
        .map(|address| Router {
            link: link.clone(),
            address,
        })
        .to_vec();
    laptop.apply(&config)?;
    eventually("the second resolver answers", PATIENCE, || {
        Ok(ask(other, false).ok())
    })?;
    ensure!(reach(NEIGHBOUR, 80, None).is_err(), "more than names");
    drop(resolver);
    Ok(())
}

/// A café that says its router is our intranet server: it is asked for names, and sees nothing else.
pub(crate) fn a_router_that_takes_an_internal_address_gets_questions_only() -> Result<()> {
    let mut laptop = Laptop::new()?;
    let cafe = Home::new(&laptop.netns)?;
    laptop.netns.ip("addr add 10.20.0.77/16 dev eth0")?;
    laptop
        .netns
        .ip(&format!("route add default via {INTRANET} dev eth0"))?;
    let _tun = TunDevice::create(TunConfig::NAME, Offload::None)?;
    let entered = Capture::start(&laptop.netns, |packet| {
        packet.outgoing && &*packet.interface == TunConfig::NAME
    })?;
    let judge = cafe.judge()?;
    let router: IpAddr = INTRANET.parse()?;
    for mode in [HostMode::Closed, HostMode::Tunnelled] {
        laptop.apply(&at_home(&laptop, mode, &[router])?)?;
        attack("eth0")?;
        let _ = ask(router, false);
        for link in [None, Some("eth0")] {
            let _ = reach(INTRANET, 443, link);
        }
    }
    // What is meant for the intranet goes where it belongs.
    ensure!(entered.packets().iter().any(|it| it.destination == router));
    let arrived = || judge.packets().into_iter().filter(|it| !it.outgoing);
    soon("the question arrives", || {
        arrived().any(|it| it.ports.1 == 53)
    })?;
    let stray: Vec<_> = arrived()
        .filter(|it| it.destination != router || it.ports.1 != 53)
        .collect();
    ensure!(stray.is_empty(), "{stray:?}");
    Ok(())
}

/// Names of the router, and the lease.
fn is_allowed(packet: &Packet) -> bool {
    let broadcast = packet.destination == IpAddr::from([255; 4]);
    let names = packet.ports.1 == 53 && packet.destination == ROUTER;
    let lease = packet.ports == (68, 67) && (packet.destination == ROUTER || broadcast);
    // The Internet's answers come to our own internal address, and are answered to the Internet.
    names || lease || !is_internal(packet.destination)
}

/// Whether somebody can be spoken to by TCP, by the routes or bound to a link.
fn reach(address: &str, port: u16, link: Option<&str>) -> Result<()> {
    let address: IpAddr = address.parse()?;
    let socket = socket(Type::STREAM, address, link)?;
    Ok(socket.connect_timeout(&SocketAddr::new(address, port).into(), SOON)?)
}

/// Asks for the address of [`NAME`] (RFC 1035, 4).
fn ask(server: IpAddr, by_tcp: bool) -> Result<String> {
    let mut question = b"\x53\x4c\x01\0\0\x01\0\0\0\0\0\0".to_vec();
    for label in NAME.split('.') {
        question.push(u8::try_from(label.len())?);
        question.extend_from_slice(label.as_bytes());
    }
    question.extend_from_slice(b"\0\0\x01\0\x01");
    let server = SocketAddr::new(server, 53);
    let mut answer = vec![0; 512];
    let length = if by_tcp {
        let mut stream = TcpStream::connect_timeout(&server, SOON)?;
        stream.set_read_timeout(Some(SOON))?;
        let length = u16::try_from(question.len())?.to_be_bytes();
        stream.write_all(&[&length[..], &question].concat())?;
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        stream.read(&mut answer)?
    } else {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.set_read_timeout(Some(SOON))?;
        socket.send_to(&question, server)?;
        socket.recv(&mut answer)?
    };
    let address: [u8; 4] = answer[..length]
        .last_chunk()
        .copied()
        .context("an answer ends with an address")?;
    Ok(IpAddr::from(address).to_string())
}
