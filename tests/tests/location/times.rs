//! How soon a laptop knows where it is, and how soon it shuts: medians of ten, none of them a limit of the test.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use sluss_tests::moment::{eventually, median, millis, now};
use sluss_tests::netns::Netns;
use sluss_tests::stage::{Boot, PATIENCE, Stage};
use sluss_tests::world::{Place, Port, WEB};

use crate::moves::{set_in_two_buildings, sleep, wake};

const ROUNDS: usize = 10;
/// From one place to the next: links that come and go faster than people walk are flapping, and waited for.
const WALK: Duration = Duration::from_secs(60);
const NIGHT: Duration = Duration::from_secs(8 * 3600);

/// From the last address event of a move to the command's own word.
pub(crate) fn verdicts_are_quick() -> Result<()> {
    let mut stage = Stage::set(Boot::LabClock)?;
    // Most routers send what they do not know on to somebody who drops it, and no answer comes at all.
    stage.world.router(Place::Home).nft(
        "table inet silence { chain way { type filter hook forward priority 0; \
         ip daddr 10.20.0.0/16 drop; }; }\n",
    )?;
    let (mut inside, mut refused, mut silent) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        for (port, place, location, times) in [
            (Port::Ethernet, Place::Office, "inside", &mut inside),
            (Port::WiFi, Place::Guest, "outside", &mut refused),
            (Port::WiFi, Place::Home, "outside", &mut silent),
        ] {
            stage.clock.jump(WALK)?;
            let plugged = stage.world.plug(port, place)?;
            times.push(millis(plugged, stage.verdict(location, plugged)?));
            stage.world.unplug(port)?;
        }
    }
    report("last address event to verdict inside", 700, inside)?;
    let what = "last address event to verdict outside";
    report(&format!("{what}, beacon refused"), 1150, refused)?;
    report(&format!("{what}, beacon silent"), 1150, silent)?;
    stage.no_leak()
}

/// From just before the carrier goes to the last packet that the laptop would have let out of the verified link.
pub(crate) fn a_lost_carrier_closes_at_once() -> Result<()> {
    let mut stage = Stage::set(Boot::LabClock)?;
    stage.world.plug(Port::WiFi, Place::Guest)?;
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        stage.clock.jump(WALK)?;
        let docked = stage.world.plug(Port::Ethernet, Place::Office)?;
        stage.verdict("inside", docked)?;
        let sender = Sender::start(&stage.world.laptop, Port::Ethernet, WEB)?;
        let inside = now();
        eventually("packets are let out", PATIENCE, || {
            Ok(sender.let_out().filter(|at| *at > inside))
        })?;
        let lost = stage.world.carrier(Port::Ethernet, false)?;
        eventually("packets are refused", PATIENCE, || {
            Ok(sender.refused().filter(|at| *at > lost))
        })?;
        let last = sender.end()?;
        times.push(millis(lost, last));
        stage.verdict("outside", lost)?;
        stage.world.unplug(Port::Ethernet)?;
        stage.world.carrier(Port::Ethernet, false)?;
    }
    report("carrier lost to prefixes closed", 150, times)?;
    stage.no_leak()
}

/// From the moment of waking, in the building where it fell asleep and in another one, where the lease is still to be had.
pub(crate) fn a_resumed_laptop_knows_soon_where_it_is() -> Result<()> {
    let (mut stage, _annex) = set_in_two_buildings(Boot::LabClock)?;
    let mut place = Place::Office;
    let plugged = stage.world.plug(Port::Ethernet, place)?;
    stage.verdict("inside", plugged)?;
    let (mut here, mut elsewhere) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        sleep(&mut stage)?;
        stage.clock.jump(NIGHT)?;
        let woke = wake(&mut stage)?;
        here.push(millis(woke, stage.verdict("inside", woke)?));

        sleep(&mut stage)?;
        stage.world.unplug(Port::Ethernet)?;
        stage.clock.jump(NIGHT)?;
        place = if place == Place::Office {
            Place::Annex
        } else {
            Place::Office
        };
        let woke = wake(&mut stage)?;
        stage.world.plug(Port::Ethernet, place)?;
        elsewhere.push(millis(woke, stage.verdict("inside", woke)?));
    }
    report("resume to verdict, same building", 1500, here)?;
    report(
        "resume to verdict, another building, DHCP included",
        1500,
        elsewhere,
    )
}

/// Prints the times, their median, and the median that is wanted.
fn report(what: &str, wanted: u64, times: Vec<u64>) -> Result<()> {
    let median = median(times.clone()).context("no round")?;
    println!("measured {what}, ms: {times:?}; median {median}, wanted: below {wanted}");
    Ok(())
}

/// A program that is bound to one link, as any user's may be, and sends 1,000 packets a second.
struct Sender {
    told: Arc<Mutex<Told>>,
    thread: thread::JoinHandle<()>,
}

/// What became of its packets.
#[derive(Clone, Copy, Default)]
struct Told {
    /// The moment of the last one that was let out.
    let_out: Option<Duration>,
    /// The same of the last one that a firewall refused. A link without a carrier swallows silently.
    refused: Option<Duration>,
    stop: bool,
}

impl Sender {
    fn start(laptop: &Netns, port: Port, to: IpAddr) -> Result<Sender> {
        let socket = laptop.run(|| {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
            socket.bind_device(Some(port.interface().as_bytes()))?;
            socket.connect(&SocketAddr::new(to, 9).into())?;
            anyhow::Ok(socket)
        })?;
        let told = Arc::new(Mutex::new(Told::default()));
        let thread = thread::spawn({
            let told = Arc::clone(&told);
            move || {
                while !lock(&told).stop {
                    let sent = socket.send(b"stream");
                    match sent.map_err(|error| error.kind()) {
                        Ok(_) => lock(&told).let_out = Some(now()),
                        Err(ErrorKind::PermissionDenied) => lock(&told).refused = Some(now()),
                        Err(_) => {}
                    }
                    thread::sleep(Duration::from_millis(1));
                }
            }
        });
        Ok(Sender { told, thread })
    }

    fn let_out(&self) -> Option<Duration> {
        lock(&self.told).let_out
    }

    fn refused(&self) -> Option<Duration> {
        lock(&self.told).refused
    }

    /// Ends it; gives the moment of the last packet that was let out.
    fn end(self) -> Result<Duration> {
        lock(&self.told).stop = true;
        self.thread.join().ok().context("the sender failed")?;
        lock(&self.told).let_out.context("no packet was let out")
    }
}

fn lock(told: &Mutex<Told>) -> MutexGuard<'_, Told> {
    told.lock().unwrap_or_else(PoisonError::into_inner)
}
