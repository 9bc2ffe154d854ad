//! A stretch of network that loses, holds back, repeats and damages datagrams, the same way for the same seed.

use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use anyhow::Result;
use fastrand::Rng;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt};

use crate::netns::Netns;

/// What happens to datagrams: how many of a thousand.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    pub lost: u32,
    /// Arrive twice.
    pub repeated: u32,
    /// Arrive with one bit changed.
    pub damaged: u32,
    /// Arrive after others that were sent later.
    pub held: u32,
    /// How many others, at most.
    pub held_by: u32,
    /// Are followed by one of those that passed long ago.
    pub replayed: u32,
}

impl Weather {
    pub const FINE: Weather = Weather {
        lost: 0,
        repeated: 0,
        damaged: 0,
        held: 0,
        held_by: 0,
        replayed: 0,
    };
}

/// What a relay has seen.
#[derive(Default)]
pub struct Log {
    /// Transport messages, by their length, that came to the relay.
    pub seen: HashMap<usize, u64>,
    /// Those that it has sent on whole, each counted once.
    pub passed: HashMap<usize, u64>,
    /// Receiver indices, and so sessions, in either direction.
    pub sessions: HashSet<(bool, u32)>,
    /// Counters that came twice in one session, which no sender may do (whitepaper 5.4.6).
    pub reused: Vec<(u32, u64)>,
    counters: HashSet<(bool, u32, u64)>,
}

impl Log {
    /// Messages of this length that came, and that were sent on.
    pub fn count(&self, length: usize) -> (u64, u64) {
        let of = |counts: &HashMap<usize, u64>| counts.get(&length).copied().unwrap_or(0);
        (of(&self.seen), of(&self.passed))
    }
}

/// Two sockets, and what is sent to one leaves by the other. It ends when it is dropped.
pub struct Relay {
    log: Arc<Mutex<Log>>,
    weather: Arc<Mutex<Weather>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Listens in `network` on `near` and `far`. `beyond` is where the far side goes; the near side is whoever speaks first.
    pub fn start(
        network: &Netns,
        near: SocketAddr,
        (far, beyond): (SocketAddr, SocketAddr),
        seed: u64,
    ) -> Result<Relay> {
        println!("relay's seed {seed}");
        let (near, far) = network.run(|| anyhow::Ok((open(near)?, open(far)?)))?;
        let (log, weather, stop) = (Arc::default(), Arc::default(), Arc::default());
        let worker = Worker {
            sides: [Side::new(near, None), Side::new(far, Some(beyond))],
            log: Arc::clone(&log),
            weather: Arc::clone(&weather),
            stop: Arc::clone(&stop),
            random: Rng::with_seed(seed),
        };
        Ok(Relay {
            log,
            weather,
            stop,
            thread: Some(std::thread::spawn(|| worker.run())),
        })
    }

    pub fn set(&self, weather: Weather) {
        *lock(&self.weather) = weather;
    }

    pub fn log(&self) -> MutexGuard<'_, Log> {
        lock(&self.log)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open(address: SocketAddr) -> Result<UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    // In a user namespace the limit holds; what is under way stays below it.
    let _ = setsockopt(&socket, sockopt::RcvBufForce, &(8 << 20));
    Ok(socket)
}

/// One direction begins here: what comes to this socket.
struct Side {
    socket: UdpSocket,
    /// Who is here.
    peer: Option<SocketAddr>,
    /// What came here and waits, and how many others it lets go first.
    held: Vec<(u32, Vec<u8>)>,
    /// Some of what went the same way.
    past: Vec<Vec<u8>>,
}

impl Side {
    fn new(socket: UdpSocket, peer: Option<SocketAddr>) -> Side {
        Side {
            socket,
            peer,
            held: Vec::new(),
            past: Vec::new(),
        }
    }

    fn send(&self, datagram: &[u8]) {
        let Some(peer) = self.peer else { return };
        // What is lost here would be counted as passed, and missed.
        while let Err(error) = self.socket.send_to(datagram, peer)
            && error.kind() == ErrorKind::WouldBlock
        {
            let mut room = [PollFd::new(self.socket.as_fd(), PollFlags::POLLOUT)];
            let _ = poll(&mut room, PollTimeout::from(20u8));
        }
    }
}

struct Worker {
    sides: [Side; 2],
    log: Arc<Mutex<Log>>,
    weather: Arc<Mutex<Weather>>,
    stop: Arc<AtomicBool>,
    random: Rng,
}

/// Of what has passed, so many are kept to be replayed.
const PAST: usize = 4_000;

impl Worker {
    fn run(mut self) {
        let mut buffer = vec![0; 1 << 16];
        while !self.stop.load(Ordering::Relaxed) {
            let mut is_idle = true;
            for from in [0, 1] {
                while let Ok((length, peer)) = self.sides[from].socket.recv_from(&mut buffer) {
                    is_idle = false;
                    self.sides[from].peer = Some(peer);
                    self.handle(from, &buffer[..length]);
                }
            }
            if is_idle && !self.wait() {
                // Nothing follows that could let them go.
                for from in [0, 1] {
                    for (_, datagram) in std::mem::take(&mut self.sides[from].held) {
                        self.pass(from, &datagram);
                    }
                }
            }
        }
    }

    /// Waits for a datagram; says whether there is one.
    fn wait(&self) -> bool {
        let mut sides = self
            .sides
            .each_ref()
            .map(|side| PollFd::new(side.socket.as_fd(), PollFlags::POLLIN));
        poll(&mut sides, PollTimeout::from(20u8)).is_ok_and(|ready| ready > 0)
    }

    fn handle(&mut self, from: usize, datagram: &[u8]) {
        if let Some((receiver, counter)) = transport(datagram) {
            let mut log = lock(&self.log);
            *log.seen.entry(datagram.len()).or_default() += 1;
            log.sessions.insert((from == 0, receiver));
            if !log.counters.insert((from == 0, receiver, counter)) {
                log.reused.push((receiver, counter));
            }
        }
        let weather = *lock(&self.weather);
        if self.happens(weather.held) {
            let others = self.random.u32(..=weather.held_by);
            self.sides[from].held.push((others, datagram.to_vec()));
        } else if self.happens(weather.damaged) {
            let mut damaged = datagram.to_vec();
            let at = self.random.usize(..damaged.len());
            damaged[at] ^= 1 << self.random.u8(..8);
            self.sides[1 - from].send(&damaged);
        } else if !self.happens(weather.lost) {
            self.pass(from, datagram);
            if self.happens(weather.repeated) {
                self.sides[1 - from].send(datagram);
            }
        }
        if self.happens(weather.replayed)
            && let Some(old) = self.random.choice(&self.sides[from].past)
        {
            self.sides[1 - from].send(old);
        }
        for (others, _) in &mut self.sides[from].held {
            *others = others.saturating_sub(1);
        }
        let (due, held) = std::mem::take(&mut self.sides[from].held)
            .into_iter()
            .partition(|(others, _)| *others == 0);
        self.sides[from].held = held;
        let due: Vec<(u32, Vec<u8>)> = due;
        for (_, datagram) in due {
            self.pass(from, &datagram);
        }
    }

    /// Sends on what is whole, and has not been sent on before.
    fn pass(&mut self, from: usize, datagram: &[u8]) {
        if transport(datagram).is_some() {
            *lock(&self.log).passed.entry(datagram.len()).or_default() += 1;
        }
        self.sides[1 - from].send(datagram);
        let past = &mut self.sides[from].past;
        if past.len() < PAST {
            past.push(datagram.to_vec());
        } else if self.random.u8(..16) == 0 {
            let which = self.random.usize(..PAST);
            past[which] = datagram.to_vec();
        }
    }

    fn happens(&mut self, of_a_thousand: u32) -> bool {
        self.random.u32(..1_000) < of_a_thousand
    }
}

/// Receiver index and counter of a transport message (whitepaper 5.4.6).
fn transport(datagram: &[u8]) -> Option<(u32, u64)> {
    let rest = datagram.strip_prefix(&[4, 0, 0, 0])?;
    let (receiver, rest) = rest.split_first_chunk()?;
    let (counter, _) = rest.split_first_chunk()?;
    Some((u32::from_le_bytes(*receiver), u64::from_le_bytes(*counter)))
}
