//! `sluss-beacon probe`: asks a beacon as a laptop does, and says in words what came of it.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sluss_beacon::{NoProof, Probe, Proof};
use sluss_policy::{Beacon, BeaconKind};

use crate::{say, since_epoch};

/// Exits with success only if the server at the beacon's first address proved itself.
pub(crate) fn run(beacon: &Beacon, patience: Duration) -> Result<ExitCode> {
    let address = beacon.addresses[0];
    let begin = Instant::now();
    let stream = TcpStream::connect_timeout(&address, patience).context(address)?;
    let own = stream.local_addr()?;
    let met = meet(stream, beacon, begin + patience).context(address)?;
    let took = begin.elapsed().as_millis();
    match met {
        Ok(Proof { answer: None }) => {
            say(format_args!(
                "{address} holds a pinned key, and said so within {took} ms"
            ))?;
        }
        Ok(Proof {
            answer: Some(answer),
        }) => {
            say(format_args!(
                "{address} is the beacon {} and holds a pinned key; it answered within {took} ms",
                answer.name()
            ))?;
            match answer.seen() {
                seen if seen == own => say(format_args!("it saw this socket as it is: {own}"))?,
                seen => say(format_args!(
                    "it saw {seen} instead of {own}, which is allowed here"
                ))?,
            }
        }
        Err(NoProof::WrongKey { shown }) if beacon.pins.is_empty() => {
            say(format_args!("{address} shows the key {shown}"))?;
            let who = match beacon.kind {
                BeaconKind::Beacon => "`sluss-beacon key pin` says where the key is",
                BeaconKind::Tls => "its administrator says",
            };
            say(format_args!(
                "this proves nothing: compare it with what {who}"
            ))?;
            return Ok(ExitCode::FAILURE);
        }
        Err(why) => {
            say(format_args!("{address} is no proof of being inside: {why}"))?;
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn meet(
    mut stream: TcpStream,
    beacon: &Beacon,
    deadline: Instant,
) -> Result<Result<Proof, NoProof>> {
    let mut probe = Probe::new(beacon, stream.local_addr()?, since_epoch()?)?;
    let mut piece = [0; 4096];
    loop {
        stream.write_all(&probe.output())?;
        let left = deadline.saturating_duration_since(Instant::now());
        stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        let end = match stream.read(&mut piece) {
            Ok(0) => Some(Err(probe.hung_up())),
            Ok(count) => probe.receive(&piece[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => None,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                anyhow::bail!("it accepted the connection, and did not say anything in time")
            }
            Err(error) => return Err(error.into()),
        };
        if let Some(end) = end {
            // It may have gone already.
            let _ = stream.write_all(&probe.output());
            return Ok(end);
        }
    }
}
