//! What resolvers answer, and what becomes of it.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use sluss_policy::Host;
use sluss_tests::capture::Capture;
use slussd::resolver::addresses::Objection;
use slussd::resolver::{Fault, How};

use crate::street::{Street, endpoints, ensure_groups, resolver};

const VPN: &str = "--host-record=vpn.example.se,198.51.100.2,2001:db8::2";
/// Nobody else would know.
pub(crate) const NO_OTHERS: &str = "--local=/se/";
const SECOND: &str = "--host-record=vpn2.example.se,203.0.113.2";

pub(crate) fn a_name_is_found_over_both_families() -> Result<()> {
    let street = Street::new()?;
    let alias = "--cname=away.example.se,vpn.example.se";
    let _dnsmasq = street.dnsmasq("192.168.7.1", &[VPN, SECOND, alias, NO_OTHERS])?;
    let endpoints = endpoints(&[
        "address = \"away.example.se:51820\"\nfallback = [\"198.51.100.2\", \"198.51.100.9\"]",
        "address = \"192.0.2.7:443\"\npriority = 3",
        "address = \"vpn2.example.se:51820\"\npriority = 2",
        "address = \"nowhere.example.se:51820\"\npriority = 2",
    ])?;
    let found = street.resolve(&endpoints, &["192.168.7.1"])?;
    ensure_groups(
        &found,
        &[
            &["[2001:db8::2]:51820", "198.51.100.2:51820"],
            &["203.0.113.2:51820"],
            &["192.0.2.7:443"],
            // Policy's own, in case that the resolver lied.
            &["198.51.100.9:51820"],
        ],
    )?;
    let by = "192.168.7.1:53".parse()?;
    let how: Vec<How> = found.located.iter().map(|it| it.how).collect();
    let nowhere = How::Failed(Fault::NoSuchName);
    let resolved = How::Resolved { by };
    ensure!(
        how == [resolved, How::Literal, resolved, nowhere],
        "{how:?}"
    );
    ensure!(found.servers == [by], "{found:?}");
    Ok(())
}

pub(crate) fn a_portal_is_believed_and_a_gateway_is_not_sought_inside() -> Result<()> {
    let street = Street::new()?;
    let _portal = street.dnsmasq("192.168.7.1", &["--address=/#/10.20.0.1"])?;
    let endpoints = endpoints(&["address = \"vpn.example.se:51820\""])?;
    let found = street.resolve(&endpoints, &["192.168.7.1"])?;
    ensure!(found.groups.is_empty(), "{found:?}");
    let lie = How::Failed(Fault::Astray {
        to: "10.20.0.1".parse()?,
        why: Objection::Internal("10.20.0.0/16".parse()?),
    });
    ensure!(found.located[0].how == lie, "{found:?}");

    let host = Host::Name("probe.example.se".parse()?);
    let (resolver, link) = (resolver(&["192.168.7.1"])?, street.link()?);
    let probe = street.on_laptop(resolver.addresses(&host, &link))?;
    ensure!(probe == ["10.20.0.1".parse::<IpAddr>()?], "{probe:?}");
    Ok(())
}

/// A tunnel that claims the whole network, the resolver's own address included.
pub(crate) fn questions_never_use_the_tunnel() -> Result<()> {
    let street = Street::new()?;
    let _dnsmasq = street.dnsmasq("192.168.7.1", &[VPN])?;
    for line in [
        "link add sluss0 type veth peer name nowhere",
        "link set sluss0 up",
        "route add 192.168.7.1/32 dev sluss0",
        "route add default dev sluss0",
    ] {
        street.laptop.ip(line)?;
    }
    let in_tunnel = Capture::start(&street.laptop, |packet| {
        &*packet.interface == "sluss0" && packet.ports.1 == 53
    })?;
    let on_link = Capture::start(&street.laptop, |packet| {
        &*packet.interface == "eth0" && packet.ports.1 == 53
    })?;
    let endpoints = endpoints(&["address = \"vpn.example.se:51820\""])?;
    let found = street.resolve(&endpoints, &["192.168.7.1"])?;
    ensure!(
        matches!(found.located[0].how, How::Resolved { .. }),
        "{found:?}"
    );
    let leaked = in_tunnel.packets();
    ensure!(on_link.count() >= 2 && leaked.is_empty(), "{leaked:?}");
    Ok(())
}

pub(crate) fn a_dead_resolver_leads_to_the_fallback() -> Result<()> {
    let street = Street::new()?;
    let with = endpoints(&[
        "address = \"vpn.example.se:51820\"\nfallback = [\"198.51.100.2\", \"2001:db8::2\"]",
    ])?;
    let fallback: &[&[&str]] = &[&["[2001:db8::2]:51820", "198.51.100.2:51820"]];
    let timed = |what: &str, servers: &[&str], fault| -> Result<Duration> {
        let began = Instant::now();
        let found = street.resolve(&with, servers)?;
        let took = began.elapsed();
        ensure_groups(&found, fallback)?;
        ensure!(found.located[0].how == How::Fallback(fault), "{found:?}");
        println!(
            "measured {} ms to the fallback with {what}",
            took.as_millis()
        );
        Ok(took)
    };
    timed("no resolver at all", &[], Fault::NoResolver)?;
    timed("nobody at the port", &["192.168.7.1"], Fault::NoAnswer)?;
    timed("no such neighbour", &["192.168.7.77"], Fault::NoAnswer)?;
    street.router.nft(
        "table inet dead { chain c { type filter hook input priority 0; udp dport 53 drop; }; }",
    )?;
    timed(
        "silent resolvers",
        &["192.168.7.1", "2001:db8:7::1"],
        Fault::NoAnswer,
    )?;

    let without = endpoints(&["address = \"vpn.example.se:51820\""])?;
    let found = street.resolve(&without, &["192.168.7.1"])?;
    ensure!(found.groups.is_empty(), "{found:?}");
    ensure!(
        found.located[0].how == How::Failed(Fault::NoAnswer),
        "{found:?}"
    );
    Ok(())
}

pub(crate) fn one_live_resolver_is_enough() -> Result<()> {
    let street = Street::new()?;
    let _ignorant = street.dnsmasq("192.168.7.1", &[NO_OTHERS])?;
    let _knowing = street.dnsmasq("2001:db8:7::2", &[VPN])?;
    let endpoints = endpoints(&["address = \"vpn.example.se:51820\""])?;
    let servers = ["192.168.7.77", "192.168.7.1", "2001:db8:7::2"];
    let began = Instant::now();
    let found = street.resolve(&endpoints, &servers)?;
    println!(
        "measured {} ms to an answer with one resolver dead and one ignorant",
        began.elapsed().as_millis()
    );
    ensure_groups(&found, &[&["[2001:db8::2]:51820", "198.51.100.2:51820"]])
}

pub(crate) fn a_lost_question_is_asked_again() -> Result<()> {
    let street = Street::new()?;
    let _dnsmasq = street.dnsmasq("192.168.7.1", &[VPN])?;
    // The first question of each socket is lost.
    street.router.nft(
        "table ip lossy { set seen { type inet_service; flags dynamic; size 64; }; \
         chain c { type filter hook prerouting priority 0; \
         udp dport 53 udp sport != @seen add @seen { udp sport } drop; }; }",
    )?;
    let endpoints = endpoints(&["address = \"vpn.example.se:51820\""])?;
    let found = street.resolve(&endpoints, &["192.168.7.1"])?;
    ensure_groups(&found, &[&["[2001:db8::2]:51820", "198.51.100.2:51820"]])
}

pub(crate) fn what_does_not_fit_comes_over_tcp() -> Result<()> {
    let street = Street::new()?;
    let many: Vec<String> = (1..=40)
        .map(|n| format!("--host-record=vpn.example.se,198.51.100.{n}"))
        .collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let _dnsmasq = street.dnsmasq("192.168.7.1", &many)?;
    const TCP: u8 = 6;
    let over_tcp = Capture::start(&street.router, |packet| {
        packet.protocol == TCP && packet.ports.1 == 53
    })?;
    let endpoints = endpoints(&["address = \"vpn.example.se:51820\""])?;
    let found = street.resolve(&endpoints, &["192.168.7.1"])?;
    ensure!(
        matches!(found.located[0].how, How::Resolved { .. }),
        "{found:?}"
    );
    ensure!(found.groups[0].len() == 8, "{found:?}");
    ensure!(over_tcp.count() > 0, "nothing was asked over TCP");
    Ok(())
}

/// A resolver's neighbour who floods the laptop with answers, to other questions than it has asked.
pub(crate) fn only_the_answer_to_our_question_counts() -> Result<()> {
    let street = Street::new()?;
    let address: SocketAddr = "192.168.7.1:53".parse()?;
    let socket = street.router.run(|| UdpSocket::bind(address))?;
    thread::spawn(move || {
        let mut question = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut question) {
            for answer in answers(&question[..length]) {
                let _ = socket.send_to(&answer, from);
            }
        }
    });
    let endpoints = endpoints(&["address = \"vpn.example.se:51820\""])?;
    let found = street.resolve(&endpoints, &["192.168.7.1"])?;
    ensure_groups(&found, &[&["198.51.100.2:51820"]])
}

/// Many that are none, and the right one at the end.
fn answers(question: &[u8]) -> Vec<Vec<u8>> {
    const AAAA: u8 = 28;
    let header = |id: [u8; 2], flags: [u8; 2], answers: u8| {
        [&id, &flags, &[0, 1, 0, answers, 0, 0, 0, 0][..]].concat()
    };
    let record = |last: u8| [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 198, 51, 100, last];
    let id = [question[0], question[1]];
    let (wrong_id, asked) = ([!id[0], id[1]], &question[12..]);
    let mut other = asked.to_vec();
    other[1] ^= 1;
    let answers = if asked[asked.len() - 3] == AAAA { 0 } else { 1 };
    let right = [&header(id, [0x81, 0x80], answers), asked, &record(2)[..]].concat();
    vec![
        Vec::new(),
        vec![0xff; 7],
        question.to_vec(),
        [&header(wrong_id, [0x81, 0x80], 1), asked, &record(66)[..]].concat(),
        [&header(id, [0x81, 0x80], 1), &other[..], &record(66)[..]].concat(),
        [&header(id, [0x01, 0x00], 1), asked, &record(66)[..]].concat(),
        right[..right.len() - 16 * usize::from(answers == 0)].to_vec(),
    ]
}
