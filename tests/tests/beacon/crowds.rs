//! Many at a time: laptops, and those who want them shut out.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use sluss_tests::beacon::{Beacon, Identity};
use sluss_tests::bench::meter;
use sluss_tests::netns::Netns;

use crate::guests::{self, Crowd};

const HERE: &str = "127.0.0.1:8443";
const A_WHILE: Duration = Duration::from_secs(4);

/// 2,000 a second is what the beacon is made for. How it keeps up is measured, on a machine that is also the laptops';
/// where there is room for all, all are served.
pub(crate) fn thousands_of_laptops_at_nine_o_clock() -> Result<()> {
    let (mut beacon, policy) = beacon()?;
    // A line for each would be what is measured.
    beacon.stop();
    beacon.log_level = "info";
    beacon.start_again()?;
    let process = beacon.process_id()?;
    println!("measured {} before anybody came", memory(process)?);

    let spent = meter::cpu_time(process)?;
    let crowd = guests::come(&policy, 2000, A_WHILE)?;
    tell("2,000 a second", &crowd, meter::cpu_time(process)? - spent);
    println!("measured {} after them", memory(process)?);

    let crowd = guests::throng(&policy, 900, Duration::ZERO)?;
    tell("900 at one moment", &crowd, Duration::ZERO);
    println!("measured {} after them", memory(process)?);

    let spent = meter::cpu_time(process)?;
    let crowd = guests::throng(&policy, 64, A_WHILE)?;
    tell("64 at a time", &crowd, meter::cpu_time(process)? - spent);
    println!("measured {} after them", memory(process)?);
    ensure!(crowd.failures.is_empty(), "{:?}", crowd.failures.first());
    Ok(())
}

/// More connections than there is room for, silent, talking slowly, or at their end; and a laptop that comes after them.
pub(crate) fn whoever_holds_connections_open_crowds_out_nobody_else() -> Result<()> {
    let (beacon, policy) = beacon()?;
    let process = beacon.process_id()?;
    let open = || -> Result<TcpStream> { Ok(TcpStream::connect(HERE.parse::<SocketAddr>()?)?) };
    let mut held = Vec::new();
    for number in 0..900 {
        let mut stream = open()?;
        if number % 3 > 0 {
            // The first bytes of a hello, and in one of two no more than one.
            stream
                .write_all(&b"\x16\x03\x01\x02\x00\x01"[..if number % 3 == 1 { 1 } else { 6 }])?;
        }
        held.push(stream);
    }
    let crowd = guests::throng(&policy, 1, Duration::from_secs(1))?;
    ensure!(crowd.failures.is_empty(), "{:?}", crowd.failures.first());
    tell("beside 900 that are held open", &crowd, Duration::ZERO);
    println!("measured {} with them", memory(process)?);
    // The oldest had to go at once, and the others are not waited for.
    for number in [0, held.len() - 1] {
        let stream = &mut held[number];
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let end = stream.read(&mut [0; 64]);
        ensure!(!matches!(end, Ok(1..)), "{end:?}");
        let waited = end
            .as_ref()
            .is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        ensure!(!waited, "still there after ten seconds");
    }
    Ok(())
}

pub(crate) fn told_to_end_it_ends_and_those_inside_are_served() -> Result<()> {
    let (mut beacon, policy) = beacon()?;
    let crowd = guests::throng(&policy, 1, Duration::ZERO)?;
    ensure!(crowd.failures.is_empty(), "{:?}", crowd.failures.first());
    // Somebody who never hangs up does not hold it back.
    let _held = TcpStream::connect(HERE.parse::<SocketAddr>()?)?;
    let status = beacon.end(Signal::SIGTERM, A_WHILE)?;
    ensure!(status.success(), "{status}");
    ensure!(TcpStream::connect(HERE.parse::<SocketAddr>()?).is_err());
    // Another one finds the door free at once.
    beacon.start_again()?;
    let crowd = guests::throng(&policy, 1, Duration::ZERO)?;
    ensure!(crowd.failures.is_empty(), "{:?}", crowd.failures.first());
    Ok(())
}

fn beacon() -> Result<(Beacon, sluss_policy::Beacon)> {
    let identity = Identity::new()?;
    let here = HERE.parse()?;
    let beacon = Beacon::run(&Netns::own("lab")?, &[here], &identity)?;
    Ok((beacon, guests::policy(here, identity.pin())?))
}

fn tell(who: &str, crowd: &Crowd, spent: Duration) {
    let each = spent.as_secs_f64() * 1e6 / crowd.proofs.len().max(1) as f64;
    println!(
        "measured {who}: {:.0} proofs a second, half of them within {:.1} ms, 99 of 100 within {:.1} ms, {} without one; \
         the beacon's processor time for one: {each:.0} us",
        crowd.per_second(),
        crowd.within(0.5),
        crowd.within(0.99),
        crowd.failures.len(),
    );
}

fn memory(process: u32) -> Result<String> {
    let resident = meter::resident(process)?;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    Ok(format!(
        "{:.1} MiB resident, {:.1} at most",
        mib(resident.now),
        mib(resident.peak)
    ))
}
