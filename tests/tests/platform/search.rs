//! The search for a captive portal on real links: each says for itself, and none is asked through the tunnel.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use sluss_platform::{TunConfig, TunDevice};
use sluss_policy::{PortalAnswer as Expected, PortalRules};
use sluss_supervisor::{HostMode, PortalAnswer};
use sluss_tests::capture::{Capture, Packet};
use sluss_tests::netns::Netns;
use sluss_tunnel::Offload;
use slussd::portal;
use slussd::resolver::Resolver;

use crate::street::{Laptop, Street, config, soon};

const SERVER: &str = "198.51.100.80";
const PATIENCE: Duration = Duration::from_secs(3);
const CLEAR: &str = "HTTP/1.1 204 No Content\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n";
const LOGIN: &str = "HTTP/1.1 302 Found\r\nLocation: http://login.hotel.example/\r\n\r\n";

/// Somebody answers at the server's address, whoever it is.
fn answer(netns: &Netns, answer: &'static str) -> Result<()> {
    netns.ip(&format!("addr add {SERVER} dev lo"))?;
    let address: SocketAddr = format!("{SERVER}:80").parse()?;
    let listener = netns.run(|| TcpListener::bind(address))?;
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    Ok(())
}

fn rules() -> Result<PortalRules> {
    Ok(PortalRules {
        probe: format!("http://{SERVER}/").parse()?,
        expect: Expected::NoContent,
        open: true,
    })
}

pub(crate) fn each_link_says_for_itself_whether_a_portal_is_there() -> Result<()> {
    let mut laptop = Laptop::new()?;
    let hotel = Street::new(&laptop.netns, "eth0", 2)?;
    let phone = Street::new(&laptop.netns, "wlan0", 3)?;
    let silent = Street::new(&laptop.netns, "eth1", 4)?;
    answer(&hotel.netns, LOGIN)?;
    answer(&phone.netns, CLEAR)?;
    silent.netns.nft("table ip quiet { chain c { type filter hook prerouting priority 0; ip daddr 198.51.100.80 drop; }; }")?;

    // A tunnel that takes all there is, as some policies have it: the search goes round it.
    let _tun = TunDevice::create(TunConfig::NAME, Offload::None)?;
    let mut config = config(HostMode::Tunnelled);
    config.internal.push("198.51.100.0/24".parse()?);
    laptop.apply(&config)?;
    let server: IpAddr = SERVER.parse()?;
    let to_server = move |packet: &Packet| packet.destination == server;
    let in_tunnel = Capture::start(&laptop.netns, move |packet| {
        &*packet.interface == TunConfig::NAME && to_server(packet)
    })?;
    let on_link = Capture::start(&hotel.netns, move |packet| {
        !packet.outgoing && to_server(packet)
    })?;

    let links = ["eth0", "wlan0", "eth1"].map(|name| laptop.link(name));
    let links = links.into_iter().collect::<Result<Vec<_>>>()?;
    let resolver = Resolver {
        internal: Vec::new(),
        resolv_conf: "/nonexistent".into(),
    };
    let began = Instant::now();
    let checks = laptop.run(portal::check(&rules()?, &resolver, &links, PATIENCE));
    println!(
        "measured {} ms for three links, one of them silent",
        began.elapsed().as_millis()
    );
    let url = Some("http://login.hotel.example/".to_owned());
    let said: Vec<_> = checks
        .iter()
        .map(|it| (it.link.name.as_str(), &it.answer))
        .collect();
    ensure!(
        said == [
            ("eth0", &PortalAnswer::Intercepted { url }),
            ("wlan0", &PortalAnswer::Expected),
            ("eth1", &PortalAnswer::Silent),
        ],
        "{checks:?}"
    );

    ensure!(in_tunnel.count() == 0, "{:?}", in_tunnel.packets());
    let request = || {
        on_link
            .packets()
            .into_iter()
            .find(|it| !it.segment.is_empty())
    };
    soon("the request is seen", || request().is_some())?;
    let request = request().map(|it| it.segment).unwrap_or_default();
    let expected: &[u8] = b"GET / HTTP/1.1\r\nHost: 198.51.100.80\r\nCache-Control: no-cache\r\nConnection: close\r\n\r\n";
    ensure!(
        *request == *expected,
        "{}",
        String::from_utf8_lossy(&request)
    );
    Ok(())
}

/// The same server by IPv4 and IPv6: free by one of them is free.
pub(crate) fn a_way_that_is_free_is_enough() -> Result<()> {
    let laptop = Laptop::new()?;
    let street = Street::new(&laptop.netns, "eth0", 2)?;
    answer(&street.netns, LOGIN)?;
    let address: IpAddr = "2001:db8:80::80".parse()?;
    street.netns.ip(&format!("addr add {address} dev lo"))?;
    let listener = street.netns.run(|| TcpListener::bind((address, 80)))?;
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(CLEAR.as_bytes());
        }
    });
    let link = laptop.link("eth0")?.id;
    let until = || tokio::time::Instant::now() + PATIENCE;
    let ask = |addresses: Vec<IpAddr>| {
        let rules = rules();
        let link = &link;
        laptop.run(async move {
            Ok::<_, anyhow::Error>(portal::ask(&rules?, link, &addresses, until()).await)
        })
    };
    let server: IpAddr = SERVER.parse()?;
    let by_both = ask(vec![server, address])?;
    ensure!(by_both.finding == portal::Finding::Clear, "{by_both:?}");
    ensure!(by_both.date == Some(784_111_777), "{by_both:?}");
    let by_ipv4 = ask(vec![server])?;
    ensure!(
        matches!(by_ipv4.finding, portal::Finding::Portal { url: Some(_) }),
        "{by_ipv4:?}"
    );
    let refused = ask(vec!["192.0.2.1".parse()?])?;
    ensure!(
        refused.finding == portal::Finding::Unreachable(portal::Reason::Refused),
        "{refused:?}"
    );
    let nowhere = ask(Vec::new())?;
    ensure!(
        nowhere.finding == portal::Finding::Unreachable(portal::Reason::NoAddress),
        "{nowhere:?}"
    );
    Ok(())
}
