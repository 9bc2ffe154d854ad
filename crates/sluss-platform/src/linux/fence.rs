//! The fence: an nftables ruleset that keeps internal traffic off every interface that is not entitled to it.
//!
//! It is text for `nft`, so that an administrator reads in `nft list table inet sluss` what is written here.
//! `docs/decisions/0005-nft-program.md` has the reasons and the figures, `0022-captive-portal.md` those of the portal's opening.

use std::io;
use std::net::IpAddr;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use ipnet::IpNet;
use sluss_supervisor::{HostMode, Opening, Time, Visitor};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tracing::warn;

use super::clock;
use crate::{Error, HostConfig, MARK, Result};

pub(super) const DNS: u16 = 53;
/// HTTP and HTTPS: what a captive portal is visited by.
pub(super) const WEB: [u16; 2] = [80, 443];

/// By number: the smallest systems have no list of names.
const TCP: u8 = 6;
const UDP: u8 = 17;

/// A fixed path: the daemon never searches for a program.
const NFT: &str = "/usr/sbin/nft";

/// A ruleset takes some 20 ms; on a machine that is swapping itself to death it may take long.
const PATIENCE: Duration = Duration::from_secs(5);

/// Deletes both tables. Naming them first makes deletion succeed when they are not there.
const REMOVAL: &str = "\
table inet sluss
delete table inet sluss
table arp sluss
delete table arp sluss
";

/// What precedes the tables: their chains stay hooked where they are, and only the rules in them are exchanged.
///
/// A table that is deleted and made anew in one transaction does leak: its new chains are hooked before the old ones, so
/// a packet that meets the new one just before the change and the old one just after it meets no rule at all.
const EXCHANGE: &str = "\
table inet sluss
flush table inet sluss
table arp sluss
flush table arp sluss
";

/// Takes everybody off the list of visitors. The lists outlive an exchange of rules.
const NO_VISITORS: &str = "\
flush set inet sluss visiting_users
flush set inet sluss visiting_groups
";

/// The fence as this process has put it up; what nftables holds cannot be compared cheaply.
#[derive(Default)]
pub(super) struct Fence {
    up: Option<(String, Option<Opening>)>,
}

impl Fence {
    /// Makes the fence what `config` says, if it is not already.
    pub(super) async fn apply(&mut self, config: &HostConfig) -> Result<()> {
        let wanted = (ruleset(config), config.rules.opening.clone());
        if self.up.as_ref() != Some(&wanted) {
            // Forgotten first: after an error nobody knows which fence is up.
            self.up = None;
            let (rules, opening) = &wanted;
            let now = Time::since_boot(clock::boottime());
            load(
                rules,
                &opening
                    .as_ref()
                    .map_or_else(String::new, |it| visitors(it, now)),
            )
            .await?;
            self.up = Some(wanted);
        }
        Ok(())
    }

    /// Takes the fence down.
    pub(super) async fn remove(&mut self) -> Result<()> {
        self.up = None;
        transaction(REMOVAL).await
    }
}

/// The rules of the fence for `config`; they take the place of those in force.
///
/// `Closed` and `Tunnelled` have the same fence: without its device nothing enters the tunnel. So the way from the
/// verdict to the first packet has no ruleset to wait for.
fn ruleset(config: &HostConfig) -> String {
    let tun = &config.tun.name;
    let verified = match &config.rules.mode {
        // By index: a name can be taken over by the next adapter that is plugged in.
        HostMode::Inside { link } => format!("meta oif {} accept", link.id.index),
        HostMode::Closed | HostMode::Tunnelled => String::new(),
    };
    let hear_routers = to_routers(config, |link, ip, router| {
        format!("meta iif {link} {ip} saddr {router} meta mark set {MARK:#x}")
    });
    let ask_routers = to_routers(config, |link, ip, router| {
        format!(
            "meta oif {link} {ip} daddr {router} meta l4proto {{ {TCP}, {UDP} }} th dport {DNS} accept"
        )
    });
    let (hear_portal, visit_portal) = config
        .rules
        .opening
        .as_ref()
        .map(portal)
        .unwrap_or_default();
    let internal = IpNet::aggregate(&config.internal);
    let turn_away = to_each(&internal, "reject with icmpx type admin-prohibited");
    let own: Vec<IpNet> = config
        .tun
        .addresses
        .iter()
        .map(|net| net.addr().into())
        .collect();
    let keep_out = to_each(&own, "drop");
    let keep_silent = rule("arp operation request arp daddr ip", v4(&own), "drop");
    // Chain by chain:
    // - arrivals: who shares the link with us may not address the tunnel, nor ask for it (CVE-2019-14899). What passes and
    //   is for the daemon's own sockets takes over their mark, and so do the requests by which the link finds us, the
    //   answers of its DHCP server, and what comes from a router or a portal that may be spoken to: unmarked, those from
    //   internal addresses would fail the reverse path check.
    // - internal: the fence itself, for what this host sends and for what it forwards for containers. What keeps
    //   the link alive is let by: neighbour discovery, which ordinary users cannot send, DHCP, whose ports
    //   they cannot bind, and names that are asked of a router whose address happens to be internal.
    // - visitors: no rule lets established connections by, so they end with the visit.
    format!(
        "
table inet sluss {{
  set visiting_users {{
    typeof meta skuid
    flags timeout
  }}
  set visiting_groups {{
    typeof socket cgroupv2 level 1
    flags timeout
  }}
  chain arrivals {{
    type filter hook prerouting priority mangle; policy accept;
    iifname {{ \"lo\", \"{tun}\" }} accept
    {keep_out}
    socket mark {MARK:#x} meta mark set {MARK:#x}
    udp sport 67 udp dport 68 meta mark set {MARK:#x}
    {hear_routers}
    {hear_portal}
  }}
  chain departures {{
    type filter hook output priority filter; policy accept;
    meta mark {MARK:#x} accept
    ip6 hoplimit 255 icmpv6 type {{ nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert }} accept
    udp sport 68 udp dport 67 accept
    udp sport 546 udp dport 547 accept
    {visit_portal}
    jump internal
  }}
  chain transit {{
    type filter hook forward priority filter; policy accept;
    jump internal
  }}
  chain internal {{
    oifname {{ \"lo\", \"{tun}\" }} accept
    {verified}
    {ask_routers}
    {turn_away}
  }}
}}
table arp sluss {{
  chain arrivals {{
    type filter hook input priority filter; policy accept;
    {keep_silent}
    meta mark set {MARK:#x}
  }}
}}
"
    )
}

/// What is heard of a portal, and who may speak to it.
fn portal(opening: &Opening) -> (String, String) {
    let link = opening.link.index;
    let [http, https] = WEB;
    let who = match &opening.visitor {
        Visitor::Uid(_) => "meta skuid @visiting_users".to_owned(),
        Visitor::Cgroup(path) => {
            format!("socket cgroupv2 level {} @visiting_groups", depth(path))
        }
    };
    (
        // Of a socket of this host: what is forwarded keeps its mark.
        format!(
            "meta iif {link} meta l4proto {TCP} th sport {{ {http}, {https} }} socket wildcard 0 meta mark set {MARK:#x}"
        ),
        format!("meta oif {link} meta l4proto {TCP} th dport {{ {http}, {https} }} {who} accept"),
    )
}

/// Puts the visitor on the list, from which the kernel takes it off by itself: also when the daemon is dead.
fn visitors(opening: &Opening, now: Time) -> String {
    let left = opening.until.since(now).as_millis();
    if left == 0 {
        return String::new();
    }
    match &opening.visitor {
        Visitor::Uid(user) => {
            format!("add element inet sluss visiting_users {{ {user} timeout {left}ms }}\n")
        }
        Visitor::Cgroup(path) if is_quotable(path) => {
            let path = path.trim_matches('/');
            format!("add element inet sluss visiting_groups {{ \"{path}\" timeout {left}ms }}\n")
        }
        Visitor::Cgroup(_) => String::new(),
    }
}

/// How far below the root a control group is; a socket belongs to one of each depth.
fn depth(path: &str) -> usize {
    path.trim_matches('/').split('/').count()
}

/// nft knows no escapes: a string ends at the next quotation mark.
fn is_quotable(path: &str) -> bool {
    path.bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'"')
}

/// Puts a ruleset in force: all of it at once, or nothing has changed.
async fn load(ruleset: &str, visitors: &str) -> Result<()> {
    let exchanged = |visitors| format!("{EXCHANGE}{ruleset}{NO_VISITORS}{visitors}");
    let Err(error) = transaction(&exchanged(visitors)).await else {
        return Ok(());
    };
    if !visitors.is_empty() && transaction(&exchanged("")).await.is_ok() {
        // Its control group has gone, as happens when the browser is closed.
        warn!(%error, "nobody is let through to the captive portal");
        return Ok(());
    }
    // Another release may have hooked its chains elsewhere: rather a gap of microseconds than a fence that stays as it is.
    transaction(&format!("{REMOVAL}{ruleset}")).await
}

async fn transaction(script: &str) -> Result<()> {
    match tokio::time::timeout(PATIENCE, run_nft(script)).await {
        Ok(Ok((status, _))) if status.success() => Ok(()),
        Ok(Ok((status, said))) => Err(Error::Firewall(format!("{status}: {}", said.trim()))),
        Ok(Err(source)) => Err(Error::Firewall(format!("{NFT}: {source}"))),
        Err(_) => Err(Error::Firewall(format!(
            "{NFT} did not end within {PATIENCE:?}"
        ))),
    }
}

/// Nothing of the daemon's environment reaches the program, and it does not outlive our waiting for it.
async fn run_nft(script: &str) -> io::Result<(ExitStatus, String)> {
    let mut nft = Command::new(NFT)
        .args(["-f", "-"])
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut stdin = nft.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let written = stdin.write_all(script.as_bytes()).await;
    drop(stdin);
    let output = nft.wait_with_output().await?;
    if output.status.success() {
        written?;
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok((output.status, said))
}

/// A line for each router and resolver, of its link, the name of its protocol, and its address.
fn to_routers(config: &HostConfig, line: impl Fn(u32, &str, IpAddr) -> String) -> String {
    let lines: Vec<_> = config
        .name_servers()
        .map(|router| match router.address {
            IpAddr::V4(_) => line(router.link.index, "ip", router.address),
            IpAddr::V6(_) => line(router.link.index, "ip6", router.address),
        })
        .collect();
    lines.join("\n    ")
}

/// A rule for what is sent to `nets`, for each family that they have.
fn to_each(nets: &[IpNet], verdict: &str) -> String {
    let ipv4 = rule("ip daddr", v4(nets), verdict);
    let ipv6 = rule("ip6 daddr", v6(nets), verdict);
    format!("{ipv4}\n    {ipv6}")
}

/// nft knows no empty set: no rule then.
fn rule(selector: &str, members: Vec<String>, verdict: &str) -> String {
    if members.is_empty() {
        String::new()
    } else {
        format!("{selector} {{ {} }} {verdict}", members.join(", "))
    }
}

fn v4(nets: &[IpNet]) -> Vec<String> {
    let ipv4 = nets.iter().filter(|net| net.addr().is_ipv4());
    ipv4.map(ToString::to_string).collect()
}

fn v6(nets: &[IpNet]) -> Vec<String> {
    let ipv6 = nets.iter().filter(|net| net.addr().is_ipv6());
    ipv6.map(ToString::to_string).collect()
}
