//! A network that has IPv6 alone: unbound makes IPv6 addresses of IPv4 ones, for a NAT64 to translate.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use sluss_policy::Host;
use sluss_tests::netns::Process;
use slussd::resolver::{Fault, How};

use crate::answers::NO_OTHERS;
use crate::street::{DIRECTORY, Street, endpoints, ensure_groups, resolver};

const VPN: &str = "--host-record=vpn.example.se,198.51.100.2";

pub(crate) fn ipv4_is_reached_through_nat64() -> Result<()> {
    let street = Street::only_ipv6()?;
    let known = "--host-record=ipv4only.arpa,192.0.0.170";
    let both = "--host-record=vpn6.example.se,203.0.113.6,2001:db8::6";
    let _upstream = street.dnsmasq("127.0.0.1@5300", &[VPN, both, known, NO_OTHERS])?;
    let _dns64 = unbound(&street)?;
    let endpoints = endpoints(&[
        "address = \"vpn.example.se:51820\"",
        "address = \"203.0.113.2:443\"\npriority = 2",
        "address = \"vpn6.example.se:51820\"\npriority = 3",
        "address = \"nowhere.example.se:51820\"\npriority = 4\nfallback = [\"203.0.113.4\"]",
    ])?;
    let found = street.resolve(&endpoints, &["2001:db8:7::1"])?;
    ensure_groups(
        &found,
        &[
            &["[2001:db8:64::c633:6402]:51820"],
            &["[2001:db8:64::cb00:7102]:443"],
            &["[2001:db8::6]:51820"],
            &["[2001:db8:64::cb00:7104]:51820"],
        ],
    )?;
    let how = found.located[3].how;
    ensure!(how == How::Fallback(Fault::NoSuchName), "{found:?}");

    let (resolver, link) = (resolver(&["2001:db8:7::1"])?, street.link()?);
    let host = Host::Address("192.0.2.80".parse()?);
    let probe = street.on_laptop(resolver.addresses(&host, &link))?;
    ensure!(
        probe == ["2001:db8:64::c000:250".parse::<std::net::IpAddr>()?],
        "{probe:?}"
    );
    Ok(())
}

pub(crate) fn without_a_dns64_the_usual_prefix_is_tried() -> Result<()> {
    let street = Street::only_ipv6()?;
    let _dnsmasq = street.dnsmasq("2001:db8:7::1", &[VPN])?;
    let endpoints = endpoints(&[
        "address = \"vpn.example.se:51820\"",
        "address = \"203.0.113.2:443\"\npriority = 2",
    ])?;
    let found = street.resolve(&endpoints, &["2001:db8:7::1"])?;
    ensure_groups(
        &found,
        &[
            &["[64:ff9b::c633:6402]:51820"],
            &["[64:ff9b::cb00:7102]:443"],
        ],
    )
}

fn unbound(street: &Street) -> Result<Process> {
    let path = Path::new(DIRECTORY).join("unbound.conf");
    fs::write(
        &path,
        "server:\n interface: 2001:db8:7::1\n access-control: ::/0 allow\n do-daemonize: no\n\
         \x20username: \"\"\n chroot: \"\"\n directory: \"/run/names\"\n pidfile: \"\"\n use-syslog: no\n\
         \x20do-not-query-localhost: no\n module-config: \"dns64 iterator\"\n dns64-prefix: 2001:db8:64::/96\n\
         forward-zone:\n name: \".\"\n forward-addr: 127.0.0.1@5300\n\
         remote-control:\n control-enable: no\n",
    )?;
    let mut command = Command::new("unbound");
    command
        .args(["-d", "-p", "-c"])
        .arg(&path)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let process = street.router.spawn(&mut command).context("unbound")?;
    street.listens("2001:db8:7::1".parse()?, 53)?;
    Ok(process)
}
