//! A network without IPv4, as phone networks are: a translator (NAT64, tayga), and a resolver that says so (DNS64).
//!
//! The prefix is the network's own, so that nobody can know it who has not asked (RFC 7050).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result};
use ipnet::Ipv6Net;

use crate::dhcp::Offer;
use crate::netns::Process;
use crate::world::{GATEWAY, Place, World};

const LAN: &str = "2001:db8:64::/64";
const ROUTER: &str = "2001:db8:64::1";
/// The resolver's address there.
pub const RESOLVER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x64, 0, 0, 0, 0, 0x53);
/// What stands before each IPv4 address (RFC 6052).
pub const PREFIX: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x64, 0xff9b, 0, 0, 0, 0);
/// The addresses that its IPv6 hosts get on the other side.
const POOL: &str = "192.168.255.0/24";

/// The running translator.
pub struct Translator {
    _tayga: Process,
}

impl Translator {
    /// Takes IPv4 away from a place, and gives it this instead.
    pub fn start(world: &mut World, place: Place) -> Result<Translator> {
        let advertised: Ipv6Net = LAN.parse()?;
        let router = world.router(place).clone();
        router.ip("addr flush dev lan scope global")?;
        router.ip(&format!("addr add {ROUTER}/64 dev lan nodad"))?;
        let offer = Offer {
            prefix_v6: Some(advertised),
            ..Offer::default()
        };
        world.offer(place, &offer)?;
        router.ip(&format!("addr add {RESOLVER}/64 dev lan nodad"))?;
        let resolver = router.run(|| UdpSocket::bind((RESOLVER, 53)))?;
        thread::spawn(move || resolve(&resolver));

        let file = format!("/run/tayga-{}.conf", router.name());
        std::fs::create_dir_all("/run/tayga")?;
        std::fs::write(
            &file,
            format!(
                "tun-device nat64\nipv4-addr 192.168.255.1\nprefix {PREFIX}/96\n\
                 dynamic-pool {POOL}\ndata-dir /run/tayga\n"
            ),
        )?;
        router.sh(&format!("tayga --config {file} --mktun"))?;
        router.ip_batch(&format!(
            "link set nat64 up\nroute add {POOL} dev nat64\nroute add {PREFIX}/96 dev nat64\n"
        ))?;
        let mut tayga = Command::new("tayga");
        tayga
            .args(["--nodetach", "--config", &file])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Ok(Translator {
            _tayga: router.spawn(&mut tayga).context("tayga")?,
        })
    }
}

/// How a host behind the translator calls an IPv4 address.
pub fn translated(address: Ipv4Addr) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(PREFIX) | u128::from(u32::from(address)))
}

/// Answers for the names that it knows, which have IPv4 addresses alone, and translates those (RFC 6147).
fn resolve(socket: &UdpSocket) {
    let IpAddr::V4(gateway) = GATEWAY.ip() else {
        return;
    };
    let names = HashMap::from([
        (encoded("vpn.example.se"), vec![gateway]),
        // RFC 7050, 8.2.
        (
            encoded("ipv4only.arpa"),
            vec![Ipv4Addr::new(192, 0, 0, 170), Ipv4Addr::new(192, 0, 0, 171)],
        ),
    ]);
    let mut query = [0; 512];
    while let Ok((length, client)) = socket.recv_from(&mut query) {
        if let Some(answer) = answer(&query[..length], &names) {
            let _ = socket.send_to(&answer, client);
        }
    }
}

/// RFC 1035, 4; `None` to what is no query.
fn answer(query: &[u8], names: &HashMap<Vec<u8>, Vec<Ipv4Addr>>) -> Option<Vec<u8>> {
    const NO_SUCH_NAME: u8 = 3;
    let question = query.get(12..)?;
    let name = &question[..=question.iter().position(|byte| *byte == 0)?];
    let kind = question.get(name.len()..name.len() + 2)?;
    let question = question.get(..name.len() + 4)?;
    let addresses = names.get(&name.to_ascii_lowercase());
    let data: Vec<Vec<u8>> = match (kind, addresses) {
        ([0, 1], Some(known)) => known.iter().map(|it| it.octets().to_vec()).collect(),
        ([0, 28], Some(known)) => known
            .iter()
            .map(|it| translated(*it).octets().to_vec())
            .collect(),
        (_, Some(_) | None) => Vec::new(),
    };
    let code = if addresses.is_some() { 0 } else { NO_SUCH_NAME };
    let count = u8::try_from(data.len()).ok()?;
    // Its number; a response, recursion desired and available; one question, so many answers.
    let mut answer = [
        &query[..2],
        &[0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0],
        question,
    ]
    .concat();
    for data in data {
        // The name as in the question; its kind, class and time to live.
        answer.extend([&[0xc0, 12], kind, &[0, 1, 0, 0, 0, 60, 0]].concat());
        answer.push(u8::try_from(data.len()).ok()?);
        answer.extend(data);
    }
    Some(answer)
}

/// A name as messages have it: each label after its length.
fn encoded(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).expect("labels are short"));
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}
