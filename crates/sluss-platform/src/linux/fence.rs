//! The fence: an nftables ruleset that keeps internal traffic off every interface that is not entitled to it.
//!
//! It is text for `nft`, so that an administrator reads in `nft list table inet sluss` what is written here.
//! `docs/decisions/0005-nft-program.md` has the reasons and the figures.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use ipnet::IpNet;
use sluss_supervisor::HostMode;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::{Error, HostConfig, MARK, Result};

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

/// The whole fence for `config`; it takes the place of the one in force.
///
/// `Closed` and `Tunnelled` have the same fence: without its device nothing enters the tunnel. So the way from the
/// verdict to the first packet has no ruleset to wait for.
pub(super) fn ruleset(config: &HostConfig) -> String {
    let tun = &config.tun.name;
    let verified = match &config.rules.mode {
        // By index: a name can be taken over by the next adapter that is plugged in.
        HostMode::Inside { link } => format!("meta oif {} accept", link.id.index),
        HostMode::Closed | HostMode::Tunnelled => String::new(),
    };
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
    //   is for the daemon's own sockets takes over their mark, and so do the requests by which the link finds us and the
    //   answers of its DHCP server: unmarked, those from internal addresses would fail the reverse path check.
    // - internal: the fence itself, for what this host sends and for what it forwards for containers. What keeps
    //   the link alive is let by: neighbour discovery, which ordinary users cannot send, and DHCP, whose ports
    //   they cannot bind.
    format!(
        "
table inet sluss {{
  chain arrivals {{
    type filter hook prerouting priority mangle; policy accept;
    iifname {{ \"lo\", \"{tun}\" }} accept
    {keep_out}
    socket mark {MARK:#x} meta mark set {MARK:#x}
    udp sport 67 udp dport 68 meta mark set {MARK:#x}
  }}
  chain departures {{
    type filter hook output priority filter; policy accept;
    meta mark {MARK:#x} accept
    ip6 hoplimit 255 icmpv6 type {{ nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert }} accept
    udp sport 68 udp dport 67 accept
    udp sport 546 udp dport 547 accept
    jump internal
  }}
  chain transit {{
    type filter hook forward priority filter; policy accept;
    jump internal
  }}
  chain internal {{
    oifname {{ \"lo\", \"{tun}\" }} accept
    {verified}
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

/// Puts a ruleset in force: all of it at once, or nothing has changed.
pub(super) async fn load(ruleset: &str) -> Result<()> {
    match transaction(&format!("{EXCHANGE}{ruleset}")).await {
        // Another release may have hooked its chains elsewhere: rather a gap of microseconds than a fence that stays as it is.
        Err(_) => transaction(&format!("{REMOVAL}{ruleset}")).await,
        Ok(()) => Ok(()),
    }
}

/// Takes the fence off.
pub(super) async fn remove() -> Result<()> {
    transaction(REMOVAL).await
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
