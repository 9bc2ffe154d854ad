//! TCP through a tunnel: as fast as it goes, and what that costs.

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::socket::{MsgFlags, recv};

use super::contestant::{End, Tunnel};
use super::spinner::Spinners;

/// What a sender hands to the kernel at once.
const PIECE: usize = 128 << 10;

/// What a receiver takes from the kernel at once.
const GULP: usize = 1 << 20;

const PATIENCE: Duration = Duration::from_secs(10);

/// What was carried in a while, and at what cost.
#[derive(Clone, Copy, Debug)]
pub struct Carried {
    pub bytes: u64,
    pub elapsed: Duration,
    /// CPU time of the left end and of the right.
    pub ends: [Duration; 2],
    /// CPU time of the whole machine, spinners aside: both ends, the load itself, and whatever the kernel does elsewhere.
    pub machine: Duration,
}

/// Streams in one direction or both, given as (sender, receiver).
pub fn measure(
    tunnel: &Tunnel,
    streams: &[(usize, usize)],
    span: Duration,
    spinners: &Spinners,
) -> Result<Carried> {
    let received = Arc::new(AtomicU64::new(0));
    let streams = streams
        .iter()
        .map(|&(from, to)| Stream::open(&tunnel.ends[from], &tunnel.ends[to], &received))
        .collect::<Result<Vec<_>>>()?;
    thread::sleep(warm_up(span));
    let look = || -> Result<_> {
        Ok((
            Instant::now(),
            received.load(Ordering::Relaxed),
            [tunnel.ends[0].cpu_time()?, tunnel.ends[1].cpu_time()?],
            spinners.cpu_time()?,
        ))
    };
    let before = look()?;
    thread::sleep(span);
    let after = look()?;
    drop(streams);
    let elapsed = after.0 - before.0;
    let all = elapsed * u32::try_from(spinners.processors())?;
    Ok(Carried {
        bytes: after.1 - before.1,
        elapsed,
        ends: [0, 1].map(|end: usize| after.2[end] - before.2[end]),
        machine: all.saturating_sub(after.3 - before.3),
    })
}

/// How long a stream runs before a measurement of this length, so that its window has opened.
pub fn warm_up(span: Duration) -> Duration {
    span / 3
}

/// A sender and a receiver at work; dropping it ends both.
pub struct Stream {
    sockets: [TcpStream; 2],
    threads: Vec<JoinHandle<()>>,
}

impl Stream {
    pub fn open(from: &End, to: &End, received: &Arc<AtomicU64>) -> Result<Stream> {
        let listener = to.network.run(|| TcpListener::bind((to.address, 0)))?;
        let address: SocketAddr = listener.local_addr()?;
        let sender = from
            .network
            .run(|| TcpStream::connect_timeout(&address, PATIENCE))
            .with_context(|| format!("connect from {} to {address}", from.network.name()))?;
        let (receiver, _) = listener.accept()?;
        let mut source = sender.try_clone()?;
        let sink = receiver.try_clone()?;
        let received = Arc::clone(received);
        let threads = vec![
            thread::spawn(move || {
                let piece = vec![0x5a; PIECE];
                while source.write_all(&piece).is_ok() {}
            }),
            thread::spawn(move || {
                let mut gulp = vec![0; GULP];
                // Counted and thrown away: a copy here would be time that no tunnel can do anything about.
                while let Ok(length @ 1..) = recv(sink.as_raw_fd(), &mut gulp, MsgFlags::MSG_TRUNC)
                {
                    received.fetch_add(length as u64, Ordering::Relaxed);
                }
            }),
        ];
        Ok(Stream {
            sockets: [sender, receiver],
            threads,
        })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        for socket in &self.sockets {
            // One that is shut already is fine.
            let _ = socket.shutdown(Shutdown::Both);
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
