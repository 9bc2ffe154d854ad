//! A laptop on one cable, with whatever resolvers stand at its other end.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use sluss_policy::{Endpoint, Policy, Source};
use sluss_supervisor::{Link, LinkId, Medium};
use sluss_tests::moment::eventually;
use sluss_tests::netns::{Netns, Process, veth};
use slussd::resolver::{Resolution, Resolver};
use tokio::runtime;

pub(crate) const DIRECTORY: &str = "/run/names";

pub(crate) struct Street {
    pub(crate) laptop: Netns,
    /// The network's own router.
    pub(crate) router: Netns,
    addresses: Vec<IpNet>,
}

impl Street {
    /// Both families: the laptop is .50, and the router, whose every address answers, .1 and .2.
    pub(crate) fn new() -> Result<Self> {
        Self::with(&["192.168.7.50/24", "2001:db8:7::50/64"])
    }

    pub(crate) fn only_ipv6() -> Result<Self> {
        Self::with(&["2001:db8:7::50/64"])
    }

    fn with(addresses: &[&str]) -> Result<Self> {
        let (laptop, router) = (Netns::new("c-laptop")?, Netns::new("c-router")?);
        veth((&laptop, "eth0"), (&router, "lan"))?;
        for address in addresses {
            laptop.ip(&format!("addr add {address} dev eth0 nodad"))?;
        }
        for address in [
            "192.168.7.1/24",
            "192.168.7.2/24",
            "2001:db8:7::1/64",
            "2001:db8:7::2/64",
        ] {
            router.ip(&format!("addr add {address} dev lan nodad"))?;
        }
        for (netns, device) in [(&laptop, "eth0"), (&router, "lan")] {
            netns.ip(&format!("link set {device} up"))?;
        }
        fs::create_dir_all(DIRECTORY)?;
        let addresses = addresses.iter().map(|it| Ok(it.parse()?));
        Ok(Self {
            laptop,
            router,
            addresses: addresses.collect::<Result<_>>()?,
        })
    }

    pub(crate) fn link(&self) -> Result<Link> {
        let index = self.laptop.sh("cat /sys/class/net/eth0/ifindex");
        let index = match index {
            Ok(index) => index.trim().parse()?,
            // Where /sys is another network's.
            Err(_) => 2,
        };
        Ok(Link {
            id: LinkId {
                index,
                name: "eth0".to_owned(),
            },
            carrier: true,
            addresses: self.addresses.clone(),
            gateways: Vec::new(),
            medium: Medium::Wired,
            metered: false,
            neighbours: Vec::new(),
        })
    }

    /// A resolver on this address of the router that knows these names, as dnsmasq's arguments give them, and refuses others.
    pub(crate) fn dnsmasq(&self, listen: &str, names: &[&str]) -> Result<Process> {
        let (address, port) = listen.rsplit_once('@').unwrap_or((listen, "53"));
        let mut command = Command::new("dnsmasq");
        command
            .args(["--no-daemon", "--conf-file=/dev/null", "--no-hosts"])
            .args(["--no-resolv", "--bind-interfaces"])
            .arg(format!("--listen-address={address}"))
            .arg(format!("--port={port}"))
            .args(names)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = self.router.spawn(&mut command).context("dnsmasq")?;
        self.listens(address.parse()?, port.parse()?)?;
        Ok(process)
    }

    /// Until somebody listens for questions there.
    pub(crate) fn listens(&self, address: IpAddr, port: u16) -> Result<()> {
        let socket = SocketAddr::new(address, port).to_string();
        eventually("a resolver", Duration::from_secs(10), || {
            let listening = self.router.sh("ss -Hlun")?;
            let is_there = listening.split_ascii_whitespace().any(|it| it == socket);
            Ok(is_there.then_some(()))
        })
    }

    /// What the daemon finds on this network, whose DHCP has handed out these resolvers.
    pub(crate) fn resolve(&self, endpoints: &[Endpoint], servers: &[&str]) -> Result<Resolution> {
        let (resolver, link) = (resolver(servers)?, self.link()?);
        self.on_laptop(resolver.resolve(endpoints, &[link]))
    }

    /// Drives `future` in the laptop's network.
    pub(crate) fn on_laptop<T: Send>(&self, future: impl Future<Output = T> + Send) -> Result<T> {
        self.laptop.run(|| {
            let runtime = runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            Ok(runtime.block_on(future))
        })
    }
}

pub(crate) fn resolver(servers: &[&str]) -> Result<Resolver> {
    let resolv_conf = PathBuf::from(DIRECTORY).join("resolv.conf");
    let lines = servers.iter().map(|it| format!("nameserver {it}\n"));
    fs::write(&resolv_conf, lines.collect::<String>())?;
    Ok(Resolver {
        internal: vec!["10.20.0.0/16".parse()?, "fd20::/48".parse()?],
        resolv_conf,
    })
}

/// Endpoints as a policy has them: the lines of each section.
pub(crate) fn endpoints(sections: &[&str]) -> Result<Vec<Endpoint>> {
    let sections = sections.iter().map(|it| format!("[[endpoint]]\n{it}\n"));
    let text = format!(
        "schema = 1\n[gateway]\nname = \"vpn\"\npublic_key = \"xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=\"\n\
         [internal]\nprefixes = [\"10.20.0.0/16\"]\n{}",
        sections.collect::<String>()
    );
    let source = Source {
        file: "policy.toml",
        text: &text,
    };
    let policy = Policy::parse(&[source]).map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    Ok(policy.endpoints)
}

/// That these are the groups, in this order.
pub(crate) fn ensure_groups(resolution: &Resolution, expected: &[&[&str]]) -> Result<()> {
    let parse = |group: &&[&str]| group.iter().map(|it| Ok(it.parse()?)).collect();
    let expected: Vec<Vec<SocketAddr>> = expected.iter().map(parse).collect::<Result<_>>()?;
    ensure!(resolution.groups == expected, "{resolution:#?}");
    Ok(())
}
