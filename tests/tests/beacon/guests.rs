//! Laptops in great numbers: the client's side of the shipped protocol, as many at a time as are wanted.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sluss_beacon::Probe;
use sluss_policy::{Beacon, BeaconKind};
use sluss_tests::moment::now;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// A laptop waits 800 ms. Here a busy machine is measured, and not refused.
const PATIENCE: Duration = Duration::from_secs(20);

/// How it went for all of them.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    /// From the first to the last.
    pub(crate) took: Duration,
    /// How long each proof took; sorted.
    pub(crate) proofs: Vec<Duration>,
    pub(crate) failures: Vec<String>,
}

impl Crowd {
    pub(crate) fn per_second(&self) -> f64 {
        self.proofs.len() as f64 / self.took.as_secs_f64()
    }

    /// The time within which this share of the proofs came, in milliseconds.
    pub(crate) fn within(&self, share: f64) -> f64 {
        let last = self.proofs.len().saturating_sub(1) as f64;
        let proof = self.proofs.get((last * share) as usize);
        proof.copied().unwrap_or_default().as_secs_f64() * 1e3
    }
}

/// What a policy says of a beacon with this pin.
pub(crate) fn policy(address: SocketAddr, pin: &str) -> Result<Beacon> {
    Ok(Beacon {
        name: "stadshuset".to_owned(),
        kind: BeaconKind::Beacon,
        addresses: vec![address],
        pins: vec![pin.parse()?],
        site: None,
        nat: Vec::new(),
    })
}

/// Laptops come at this rate, each on its own, whether or not the earlier ones are done.
pub(crate) fn come(beacon: &Beacon, per_second: u32, for_as_long: Duration) -> Result<Crowd> {
    runtime()?.block_on(async {
        let mut ticks = interval(Duration::from_millis(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let (begin, mut laptops, mut come) = (Instant::now(), JoinSet::new(), 0);
        while begin.elapsed() < for_as_long {
            ticks.tick().await;
            let due = begin.elapsed().as_secs_f64() * f64::from(per_second);
            while f64::from(come) < due {
                come += 1;
                laptops.spawn(probe(beacon.clone()));
            }
        }
        gather(laptops, begin).await
    })
}

/// So many laptops at a time, each followed by the next; one each at least.
pub(crate) fn throng(beacon: &Beacon, at_a_time: usize, for_as_long: Duration) -> Result<Crowd> {
    runtime()?.block_on(async {
        let (begin, mut laptops) = (Instant::now(), JoinSet::new());
        for _ in 0..at_a_time {
            let beacon = beacon.clone();
            laptops.spawn(async move {
                let mut told = vec![probe(beacon.clone()).await];
                while begin.elapsed() < for_as_long {
                    told.push(probe(beacon.clone()).await);
                }
                told
            });
        }
        let mut crowd = Crowd::default();
        while let Some(told) = laptops.join_next().await {
            told?.into_iter().for_each(|one| crowd.add(one));
        }
        crowd.took = begin.elapsed();
        crowd.proofs.sort();
        Ok(crowd)
    })
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
}

async fn gather(mut laptops: JoinSet<Result<Duration>>, begin: Instant) -> Result<Crowd> {
    let mut crowd = Crowd::default();
    while let Some(told) = laptops.join_next().await {
        crowd.add(told?);
    }
    crowd.took = begin.elapsed();
    crowd.proofs.sort();
    Ok(crowd)
}

impl Crowd {
    fn add(&mut self, told: Result<Duration>) {
        match told {
            Ok(took) => self.proofs.push(took),
            Err(error) => self.failures.push(format!("{error:#}")),
        }
    }
}

async fn probe(beacon: Beacon) -> Result<Duration> {
    let begin = Instant::now();
    timeout(PATIENCE, meet(&beacon)).await??;
    Ok(begin.elapsed())
}

async fn meet(beacon: &Beacon) -> Result<()> {
    static LAPTOPS: AtomicU64 = AtomicU64::new(0);
    // One after the other from all of 127.0.0.0/8, so that no port is wanted twice.
    let [.., a, b] = LAPTOPS.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let home = IpAddr::from(Ipv4Addr::new(127, 9, a, b));
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(home, 0))?;
    let mut stream = socket
        .connect(beacon.addresses[0])
        .await
        .context("connect")?;
    let mut probe = Probe::new(beacon, stream.local_addr()?, now())?;
    let mut piece = [0; 4096];
    loop {
        stream.write_all(&probe.output()).await.context("say")?;
        let end = match stream.read(&mut piece).await.context("hear")? {
            0 => Some(Err(probe.hung_up())),
            count => probe.receive(&piece[..count]),
        };
        if let Some(end) = end {
            end?;
            stream.write_all(&probe.output()).await.context("thank")?;
            return Ok(());
        }
    }
}
