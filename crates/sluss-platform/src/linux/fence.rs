//! The fence: an nftables ruleset that keeps internal traffic off every interface that is not entitled to it.
//!
//! It is text for `nft`, so that an administrator reads in `nft list table inet sluss` what is written here.
//! `docs/decisions/0005-nft-program.md` has the reasons and the figures.

use std::fmt::Write as _;
use std::io;
use std::net::IpAddr;
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
pub(super) const REMOVAL: &str = "\
table inet sluss
delete table inet sluss
table arp sluss
delete table arp sluss
";

/// The whole fence for `config`. It replaces the one in force in a single transaction.
///
/// `Closed` and `Tunnelled` have the same fence: without its device nothing enters the tunnel. So the way from the
/// verdict to the first packet has no ruleset to wait for.
pub(super) fn ruleset(config: &HostConfig) -> String {
    let tun = &config.tun.name;
    let own = config.tun.addresses.iter().map(IpNet::addr);
    let (internal4, internal6) =
        by_family(config.internal.iter().map(|net| (net.trunc(), net.addr())));
    let (own4, own6) = by_family(own.map(|address| (address, address)));
    let verified = match &config.mode {
        // By index: a name can be taken over by the next adapter that is plugged in.
        HostMode::Inside { link } => format!("meta oif {} accept\n", link.id.index),
        HostMode::Closed | HostMode::Tunnelled => String::new(),
    };

    let mut text = String::from(REMOVAL);
    text.push_str("table inet sluss {\n");
    declare_set(&mut text, "internal4", "ipv4_addr", &internal4);
    declare_set(&mut text, "internal6", "ipv6_addr", &internal6);
    declare_set(&mut text, "own4", "ipv4_addr", &own4);
    declare_set(&mut text, "own6", "ipv6_addr", &own6);
    // Chain by chain:
    // - arrivals: whoever shares the link with us may not address the tunnel (CVE-2019-14899). Then answers to the daemon's
    //   own sockets take over their mark, so that the reverse path check looks them up as the daemon's packets were.
    // - internal: the fence itself, shared by what this host sends and what it forwards for containers. What keeps
    //   the link itself alive is let by: neighbour discovery, which ordinary users cannot send, and DHCP renewal,
    //   whose ports they cannot bind.
    let _ = write!(
        text,
        "
  chain arrivals {{
    type filter hook prerouting priority mangle; policy accept;
    iifname != {{ \"lo\", \"{tun}\" }} ip daddr @own4 drop
    iifname != {{ \"lo\", \"{tun}\" }} ip6 daddr @own6 drop
    socket mark {MARK:#x} meta mark set {MARK:#x}
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
    {verified}ip daddr @internal4 reject with icmpx type admin-prohibited
    ip6 daddr @internal6 reject with icmpx type admin-prohibited
  }}
}}
table arp sluss {{
  set own4 {{ type ipv4_addr; {own4} }}
  chain arrivals {{
    type filter hook input priority filter; policy accept;
    arp operation request arp daddr ip @own4 drop
  }}
}}
",
        own4 = elements(&own4)
    );
    text
}

/// Loads a ruleset as one transaction: all of it is in force afterwards, or nothing has changed.
pub(super) async fn load(ruleset: &str) -> Result<()> {
    match tokio::time::timeout(PATIENCE, run_nft(ruleset)).await {
        Ok(Ok((status, _))) if status.success() => Ok(()),
        Ok(Ok((status, said))) => Err(Error::Firewall(format!("{status}: {}", said.trim()))),
        Ok(Err(source)) => Err(Error::Firewall(format!("{NFT}: {source}"))),
        Err(_) => Err(Error::Firewall(format!(
            "{NFT} did not end within {PATIENCE:?}"
        ))),
    }
}

/// Nothing of the daemon's environment reaches the program, and its death is certain.
async fn run_nft(ruleset: &str) -> io::Result<(ExitStatus, String)> {
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
    let written = stdin.write_all(ruleset.as_bytes()).await;
    drop(stdin);
    let output = nft.wait_with_output().await?;
    if output.status.success() {
        written?;
    }
    Ok((
        output.status,
        String::from_utf8_lossy(&output.stderr).into_owned(),
    ))
}

fn declare_set(text: &mut String, name: &str, kind: &str, members: &[String]) {
    let _ = writeln!(
        text,
        "  set {name} {{ type {kind}; flags interval; auto-merge; {} }}",
        elements(members)
    );
}

/// nft has no empty element list.
fn elements(members: &[String]) -> String {
    if members.is_empty() {
        String::new()
    } else {
        format!("elements = {{ {} }};", members.join(", "))
    }
}

fn by_family<T: ToString>(
    members: impl Iterator<Item = (T, IpAddr)>,
) -> (Vec<String>, Vec<String>) {
    let (v4, v6): (Vec<_>, Vec<_>) = members.partition(|(_, address)| address.is_ipv4());
    let texts =
        |half: Vec<(T, IpAddr)>| half.iter().map(|(member, _)| member.to_string()).collect();
    (texts(v4), texts(v6))
}
