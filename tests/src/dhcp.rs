//! Addresses as a laptop gets them: dnsmasq in a place's router, and busybox's client on the laptop.

use std::fs::Permissions;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ipnet::{IpNet, Ipv6Net};

use crate::moment::{self, eventually};
use crate::netns::{Netns, Process};

/// What a server offers on the bridge `lan` of a router, whose own address there is gateway and resolver.
#[derive(Clone, Debug, Default)]
pub struct Offer {
    /// Which card gets which address.
    pub hosts: Vec<(&'static str, IpAddr)>,
    /// Routes that are more specific than the default one (option 121, RFC 3442), each by its next hop.
    pub routes: Vec<(IpNet, IpAddr)>,
    /// Where the default route leads, with `routes`: who gets option 121 ignores the router option.
    pub gateway: Option<IpAddr>,
    /// The prefix that router advertisements give, if there is IPv6.
    pub prefix_v6: Option<Ipv6Net>,
    /// The suffix that names of the network end with.
    pub suffix: &'static str,
    /// What the resolver knows.
    pub names: Vec<(&'static str, IpAddr)>,
}

/// A running dnsmasq, until it is dropped.
pub struct Server {
    process: Process,
}

impl Server {
    /// Starts to serve on the bridge `lan` of a router. When this returns, a client is answered.
    pub fn start(router: &Netns, offer: &Offer) -> Result<Server> {
        let log = Path::new("/run").join(format!("dnsmasq-{}.log", router.name()));
        let mut command = Command::new("dnsmasq");
        command
            // No fork, no other user, and the log on standard error.
            .arg("--no-daemon")
            .args(["--conf-file=/dev/null", "--no-hosts", "--no-resolv"])
            .args(["--interface=lan", "--except-interface=lo"])
            .args(["--bind-interfaces", "--log-dhcp", "--leasefile-ro"])
            // A lab has nobody who sits on an address that was not given to them, and three seconds to look for them are long.
            .args(["--no-ping", "--dhcp-authoritative"])
            .args(offer.arguments())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log)?);
        let mut process = router
            .spawn(&mut command)
            .context("dnsmasq (package dnsmasq-base)")?;
        let said = || std::fs::read_to_string(&log).unwrap_or_default();
        let started = eventually("dnsmasq starts", Duration::from_secs(5), || {
            ensure!(process.is_running(), "dnsmasq ended");
            Ok(said().contains("started, version").then_some(()))
        });
        started.with_context(|| format!("in {}: {}", router.name(), said()))?;
        Ok(Server { process })
    }

    /// Ends it, and waits until it has.
    pub fn end(&mut self) -> Result<()> {
        self.process.kill()?;
        Ok(())
    }
}

impl Offer {
    fn arguments(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        if let Some((_, address)) = self.hosts.first() {
            arguments.push(format!("--dhcp-range={address},static,1h"));
        }
        for (card, address) in &self.hosts {
            arguments.push(format!("--dhcp-host={card},{address}"));
        }
        if !self.routes.is_empty() {
            let default = self.gateway.map(|gateway| format!("0.0.0.0/0,{gateway}"));
            let routes = self.routes.iter().map(|(net, via)| format!("{net},{via}"));
            let routes: Vec<String> = routes.chain(default).collect();
            arguments.push(format!("--dhcp-option=121,{}", routes.join(",")));
        }
        if let Some(prefix) = self.prefix_v6 {
            arguments.push("--enable-ra".to_owned());
            arguments.push(format!("--dhcp-range={},ra-only", prefix.network()));
        }
        if !self.suffix.is_empty() {
            arguments.push(format!("--domain={}", self.suffix));
        }
        for (name, address) in &self.names {
            arguments.push(format!("--host-record={name},{address}"));
        }
        arguments
    }
}

/// What the client does with a lease.
const SCRIPT: &str = include_str!("dhcp/lease.sh");

/// Gets an address for a link that has its carrier, and routes of that metric. The moment returned is that of the last
/// address event.
pub fn lease(laptop: &Netns, link: &str, metric: u32) -> Result<Duration> {
    let script = script()?;
    let mut client = Command::new("busybox");
    client
        .args(["udhcpc", "-f", "-q", "-n", "-i", link])
        .args(["-t", "20", "-T", "1", "-O", "staticroutes"])
        .arg("-s")
        .arg(script)
        .env("METRIC", metric.to_string())
        .stdin(Stdio::null());
    let output = laptop.run(|| client.output()).context("busybox")?;
    let at = moment::now();
    ensure!(
        output.status.success(),
        "no lease on {link}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(at)
}

/// Forgets what a link's lease has brought besides its address.
pub fn forget(laptop: &Netns, link: &str) -> Result<()> {
    let mut forget = Command::new(script()?);
    forget.arg("deconfig").env("interface", link);
    let output = laptop.output(&mut forget)?;
    ensure!(output.status.success(), "{output:?}");
    Ok(())
}

fn script() -> Result<&'static Path> {
    let script = Path::new("/run/dhcp-lease.sh");
    if !script.exists() {
        std::fs::write(script, SCRIPT)?;
        std::fs::set_permissions(script, Permissions::from_mode(0o755))?;
    }
    Ok(script)
}

/// Waits until a router has given the link a prefix; the moment is when that was seen.
pub fn advertised(laptop: &Netns, link: &str) -> Result<Duration> {
    eventually("a router's advertisement", Duration::from_secs(10), || {
        let addresses = laptop.ip(&format!("-6 -oneline addr show dev {link} scope global"))?;
        Ok((!addresses.is_empty()).then(moment::now))
    })
}
