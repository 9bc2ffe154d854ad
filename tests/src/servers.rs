//! The internal servers: a web page that names who it sees, and an echo.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::netns::Netns;
use crate::world::World;

/// Ports of the internal server besides the web's 80.
const ECHO: u16 = 7;
const DISCARD: u16 = 9;

/// Starts the web page, the echo and the discard service; they last as long as the process.
pub fn start(world: &World) -> Result<()> {
    web(&world.servers)?;
    serve(
        &world.servers,
        SocketAddr::new([0; 16].into(), ECHO),
        |mut stream| {
            let _ = stream
                .try_clone()
                .and_then(|mut back| std::io::copy(&mut stream, &mut back));
        },
    )?;
    // Takes datagrams and never answers: without it, each would come back as an ICMP error.
    let discard = world.servers.run(|| UdpSocket::bind(("::", DISCARD)))?;
    thread::spawn(move || while discard.recv_from(&mut [0; 64]).is_ok() {});
    Ok(())
}

/// Starts the web page alone, in any network.
pub fn web(netns: &Netns) -> Result<()> {
    serve(netns, SocketAddr::new([0; 16].into(), 80), |stream| {
        let _ = greet(stream);
    })
}

/// A web page of that kind, fetched from a network; gives the address that the server saw.
pub fn fetch(from: &Netns, web: IpAddr, deadline: Duration) -> Result<IpAddr> {
    from.run(|| {
        let mut stream = TcpStream::connect_timeout(&SocketAddr::new(web, 80), deadline)?;
        stream.set_read_timeout(Some(deadline))?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: intranet\r\nConnection: close\r\n\r\n")?;
        let mut page = String::new();
        stream.read_to_string(&mut page)?;
        ensure!(page.starts_with("HTTP/1.1 200 "), "{page}");
        let seen = page
            .split("<b>")
            .nth(1)
            .and_then(|rest| rest.split("</b>").next())
            .context("it names nobody")?;
        Ok(seen.parse()?)
    })
}

/// An open connection to the echo service: it lives on, or it does not.
pub struct Conversation(BufReader<TcpStream>);

impl Conversation {
    pub fn open(from: &Netns, server: IpAddr) -> Result<Conversation> {
        let stream = from.run(|| {
            TcpStream::connect_timeout(&SocketAddr::new(server, ECHO), Duration::from_secs(5))
        })?;
        stream.set_nodelay(true)?;
        Ok(Conversation(BufReader::new(stream)))
    }

    /// Says something and hears it back within `deadline`.
    pub fn say(&mut self, line: &str, deadline: Duration) -> Result<()> {
        self.0.get_ref().set_read_timeout(Some(deadline))?;
        writeln!(self.0.get_mut(), "{line}")?;
        let mut heard = String::new();
        self.0.read_line(&mut heard)?;
        ensure!(heard.trim_end() == line, "said {line}, heard {heard}");
        Ok(())
    }
}

/// A continuous stream of datagrams to the discard service, until it is dropped.
pub struct Stream {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Stream {
    pub const PORT: u16 = DISCARD;

    pub fn start(from: &Netns, to: IpAddr, every: Duration) -> Result<Stream> {
        let wildcard: IpAddr = if to.is_ipv4() {
            [0; 4].into()
        } else {
            [0; 16].into()
        };
        let socket = from.run(|| UdpSocket::bind((wildcard, 0)))?;
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicUsize::new(0));
        let thread = thread::spawn({
            let (stop, sent) = (Arc::clone(&stop), Arc::clone(&sent));
            move || {
                while !stop.load(Ordering::Relaxed) {
                    // Refusals are expected while the tunnel is shut: the point is to keep trying.
                    let _ = socket.send_to(b"stream", (to, DISCARD));
                    sent.fetch_add(1, Ordering::Relaxed);
                    thread::sleep(every);
                }
            }
        });
        Ok(Stream {
            stop,
            sent,
            thread: Some(thread),
        })
    }

    /// Ends it, and says how many packets it tried to send.
    pub fn end(self) -> usize {
        let sent = Arc::clone(&self.sent);
        drop(self);
        sent.load(Ordering::Relaxed)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Answers each connection on a thread of its own, for as long as the process lives.
pub fn serve(
    netns: &Netns,
    at: SocketAddr,
    answer: impl Fn(TcpStream) + Send + Sync + 'static,
) -> Result<()> {
    let listener = netns
        .run(|| TcpListener::bind(at))
        .with_context(|| format!("listen at {at} in {}", netns.name()))?;
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            thread::spawn(move || answer(stream));
        }
    });
    Ok(())
}

/// One web page, whatever was asked for.
fn greet(stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let visitor = stream.peer_addr()?.ip().to_canonical();
    let mut request = BufReader::new(stream);
    let mut line = String::new();
    while request.read_line(&mut line)? > 2 {
        line.clear();
    }
    let page = format!("<h1>The town's intranet</h1>\n<p>Good day. You are <b>{visitor}</b></p>\n");
    write!(
        request.get_mut(),
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{page}",
        page.len()
    )
}
