//! A hotel's captive portal, laid over any router of the lab: whoever has not logged in gets the hotel's own pages.
//!
//! Web pages are answered by a redirect to the login page, every other TCP connection (and so HTTPS, and the beacon's port) by the
//! hotel's own TLS server, whatever the address. UDP goes nowhere, but for the hotel's resolver and DHCP. After the login
//! everything passes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;

use crate::impostor::{self, Certificate};
use crate::netns::Netns;
use crate::servers::serve;

/// Where the router sends its guests' connections.
const PAGES: u16 = 8080;
const TLS: u16 = 8081;

/// The pages of the internet's own that portals are looked for by.
pub const CHECK: &str = "http://198.51.100.80/sluss.txt";
pub const CHECK_ANSWER: &str = "sluss: nothing in between\n";

/// Where its answers send browsers, unless told otherwise.
pub const LOGIN: &str = "http://portal.hotel.example/login";

/// A router whose guests are captive until they log in.
pub struct Hotel {
    router: Netns,
    desk: Arc<Mutex<Desk>>,
}

/// What the hotel's web server knows.
struct Desk {
    /// What it answers to whoever asks for anything but its own page.
    answer: Vec<u8>,
    /// What was asked, headers and all.
    requests: Vec<String>,
}

impl Hotel {
    /// Takes over a router. Guests already there are captive, too.
    pub fn open(router: &Netns) -> Result<Hotel> {
        let desk = Arc::new(Mutex::new(Desk {
            answer: redirect(LOGIN),
            requests: Vec::new(),
        }));
        let any = |port| SocketAddr::new([0; 16].into(), port);
        let (at_desk, house) = (Arc::clone(&desk), router.clone());
        serve(router, any(PAGES), move |stream| {
            // A guest who hangs up is his own affair.
            let _ = answer(stream, &at_desk, &house);
        })?;
        impostor::tls((router, any(TLS)), &Certificate::new()?, |_| Ok(()))?;
        router.nft(&format!(
            "table inet hotel {{
               set guests {{ type ipv4_addr; }};
               chain pages {{ type nat hook prerouting priority dstnat;
                 iifname != \"lan\" return; ip saddr @guests return;
                 tcp dport 80 redirect to :{PAGES};
                 tcp dport != 53 redirect to :{TLS}; }};
               chain way {{ type filter hook forward priority 0;
                 iifname \"lan\" ip saddr != @guests drop; iifname \"lan\" meta nfproto ipv6 drop; }};
             }}\n"
        ))?;
        Ok(Hotel {
            router: router.clone(),
            desk,
        })
    }

    /// Answers everything but the login page by these bytes from now on.
    pub fn answer(&self, bytes: impl Into<Vec<u8>>) {
        lock(&self.desk).answer = bytes.into();
    }

    /// What has been asked of its web server, each with its headers.
    pub fn requests(&self) -> Vec<String> {
        lock(&self.desk).requests.clone()
    }

    /// Lets a guest through, as his login does.
    pub fn let_in(&self, guest: IpAddr) -> Result<()> {
        let_in(&self.router, guest)
    }

    /// Throws all guests out again, as hotels do at noon.
    pub fn throw_out(&self) -> Result<()> {
        self.router.sh("nft flush set inet hotel guests").map(drop)
    }
}

/// The answer that sends a browser, and a probe, somewhere else.
pub fn redirect(to: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
    .into_bytes()
}

/// The answer that shows a page.
pub fn page(text: &str) -> Vec<u8> {
    let length = text.len();
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}")
        .into_bytes()
}

/// The internet's page by which portals are looked for ([`CHECK`]): reached, nothing is in between.
pub fn serve_check(internet: &Netns) -> Result<()> {
    internet.ip("addr add 198.51.100.80/24 dev wan")?;
    serve(internet, "198.51.100.80:80".parse()?, |stream| {
        let _ = read_request(&stream);
        let _ = (&stream).write_all(&page(CHECK_ANSWER));
    })
}

fn answer(stream: TcpStream, desk: &Mutex<Desk>, router: &Netns) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let guest = stream.peer_addr()?.ip().to_canonical();
    let request = read_request(&stream)?;
    let answer = {
        let mut desk = lock(desk);
        desk.requests.push(request.clone());
        desk.answer.clone()
    };
    let answer = if request.starts_with("GET /login ") {
        page(
            "<h1>Grand Hotel</h1><form action=/agree><button>I agree to everything</button></form>",
        )
    } else if request.starts_with("GET /agree") {
        let_in(router, guest)?;
        page("Welcome!")
    } else {
        answer
    };
    Ok((&stream).write_all(&answer)?)
}

fn read_request(stream: &TcpStream) -> Result<String> {
    let mut reader = BufReader::new(stream).take(1 << 16);
    let mut request = String::new();
    while reader.read_line(&mut request)? > 2 {}
    Ok(request)
}

fn let_in(router: &Netns, guest: IpAddr) -> Result<()> {
    router.nft(&format!("add element inet hotel guests {{ {guest} }}\n"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
