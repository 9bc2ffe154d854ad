//! The evidence of being inside: asks every beacon, on every link, at every address that it has.
//!
//! Each connection is bound to one link and goes round our own tunnel. It tells a stranger that somebody asked for an
//! address, and no more. What is said on it, and what it proves, is `sluss-beacon`'s matter.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use sluss_beacon::{NoProof, Probe, Proof};
use sluss_platform::{clock, net};
use sluss_policy::{Beacon, Policy};
use sluss_supervisor::{Evidence, Link, LinkId, Outcome, Time};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::debug;

/// When a second connection is tried. TCP itself repeats a lost packet after a second (RFC 6298): too late for us.
const SECOND_ATTEMPT: Duration = Duration::from_millis(250);

/// What the other links get once one link has its proof: room for their second attempt, not for a timeout.
const AFTER_PROOF: Duration = Duration::from_millis(350);

/// Asks everybody at once, and tells what each beacon said on each link: at its best address, if it has several.
///
/// A link is done with as many proofs as the policy wants. The answer comes when every link is done, or every beacon has
/// spoken, and after `patience` at the latest; who has not spoken until then gave no answer. Stops when it is dropped.
pub async fn evidence(policy: &Policy, links: &[Link], patience: Duration) -> Vec<Evidence> {
    gather(policy, links, patience, attempt).await
}

async fn gather<Attempt>(
    policy: &Policy,
    links: &[Link],
    patience: Duration,
    attempt: impl Fn(Beacon, SocketAddr, LinkId) -> Attempt + Copy + Send + Sync + 'static,
) -> Vec<Evidence>
where
    Attempt: Future<Output = Outcome> + Send + 'static,
{
    let began = Instant::now();
    let mut until = began + patience;
    let mut asking = JoinSet::new();
    let mut places: Vec<_> = links
        .iter()
        .map(|link| Place::new(policy, link.id.clone()))
        .collect();
    for (place, link) in links.iter().enumerate() {
        for (witness, beacon) in policy.beacons.iter().enumerate() {
            for &address in &beacon.addresses {
                let (beacon, link) = (beacon.clone(), link.id.clone());
                asking.spawn(async move {
                    let once = || attempt(beacon.clone(), address, link.clone());
                    (place, witness, address, ask(once).await)
                });
            }
        }
    }

    while places.iter().any(|place| !place.is_done(policy)) {
        let (place, witness, address, outcome) = match timeout_at(until, asking.join_next()).await {
            Ok(Some(Ok(answer))) => answer,
            // Whoever panicked stays silent.
            Ok(Some(Err(_))) => continue,
            Ok(None) | Err(_) => break,
        };
        let place = &mut places[place];
        place.witnesses[witness].hear(address, outcome);
        if place.suffices(policy) {
            until = until.min(began + AFTER_PROOF.max(began.elapsed()));
        }
    }
    places
        .into_iter()
        .flat_map(|place| place.conclude(policy))
        .collect()
}

/// Two attempts at one address, a quarter of a second apart; the first that settles the matter counts.
async fn ask<Attempt: Future<Output = Outcome>>(attempt: impl Fn() -> Attempt) -> Outcome {
    let second = async {
        sleep(SECOND_ATTEMPT).await;
        attempt().await
    };
    let first = attempt();
    tokio::pin!(first, second);
    tokio::select! {
        biased;
        outcome = &mut first => if is_final(outcome) { outcome } else { second.await },
        outcome = &mut second => if is_final(outcome) { outcome } else { first.await },
    }
}

/// A failure to connect may be the network's that is still coming up; what a server shows is the server's.
fn is_final(outcome: Outcome) -> bool {
    match outcome {
        Outcome::Proved
        | Outcome::Relayed { .. }
        | Outcome::WrongKey
        | Outcome::Expired { .. }
        | Outcome::NotYetValid { .. }
        | Outcome::NotTls
        | Outcome::NotABeacon => true,
        Outcome::Refused | Outcome::Unreachable | Outcome::NoAnswer => false,
    }
}

/// One link, and all that is said there.
struct Place {
    link: LinkId,
    witnesses: Vec<Witness>,
}

/// One beacon on one link.
struct Witness {
    beacon: String,
    /// The addresses that have not spoken.
    silent: Vec<SocketAddr>,
    best: Option<(SocketAddr, Outcome, Time)>,
}

impl Place {
    fn new(policy: &Policy, link: LinkId) -> Self {
        let witness = |beacon: &Beacon| Witness {
            beacon: beacon.name.clone(),
            silent: beacon.addresses.clone(),
            best: None,
        };
        let witnesses = policy.beacons.iter().map(witness).collect();
        Self { link, witnesses }
    }

    fn is_done(&self, policy: &Policy) -> bool {
        self.witnesses.iter().all(Witness::has_spoken) || self.suffices(policy)
    }

    fn suffices(&self, policy: &Policy) -> bool {
        sluss_supervisor::suffices(policy, &self.evidence())
    }

    fn evidence(&self) -> Vec<Evidence> {
        let told = |witness: &Witness| {
            witness.best.map(|(address, outcome, at)| Evidence {
                link: self.link.clone(),
                beacon: witness.beacon.clone(),
                address,
                outcome,
                at,
            })
        };
        self.witnesses.iter().filter_map(told).collect()
    }

    /// Silence is told, unless nobody waits for it any more.
    fn conclude(mut self, policy: &Policy) -> Vec<Evidence> {
        if !self.suffices(policy) {
            for witness in &mut self.witnesses {
                for address in std::mem::take(&mut witness.silent) {
                    witness.hear(address, Outcome::NoAnswer);
                }
            }
        }
        self.evidence()
    }
}

impl Witness {
    fn hear(&mut self, address: SocketAddr, outcome: Outcome) {
        self.silent.retain(|silent| *silent != address);
        let better = |(_, best, _)| weight(outcome) > weight(best);
        if self.best.is_none_or(better) {
            self.best = Some((address, outcome, Time::since_boot(clock::boottime())));
        }
    }

    fn has_spoken(&self) -> bool {
        let proved = matches!(self.best, Some((_, Outcome::Proved, _)));
        proved || self.silent.is_empty()
    }
}

/// What says most about where the laptop is.
fn weight(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Proved => 5,
        Outcome::Relayed { .. } => 4,
        Outcome::WrongKey
        | Outcome::Expired { .. }
        | Outcome::NotYetValid { .. }
        | Outcome::NotTls
        | Outcome::NotABeacon => 3,
        Outcome::Refused => 2,
        Outcome::NoAnswer => 1,
        Outcome::Unreachable => 0,
    }
}

async fn attempt(beacon: Beacon, address: SocketAddr, link: LinkId) -> Outcome {
    let met = match connect(address, &link).await {
        Ok((stream, own)) => converse(stream, &beacon, own).await,
        Err(error) => Err(no_connection(&error)),
    };
    match met {
        Ok(Ok(proof)) => {
            if let Some(answer) = proof.answer {
                debug!(%link, beacon = beacon.name, %address, seen = %answer.seen(), name = %answer.name(), "proof of being inside");
            }
            Outcome::Proved
        }
        Ok(Err(why)) => {
            debug!(%link, beacon = beacon.name, %address, "no proof of being inside: {why}");
            no_proof(&why)
        }
        Err(outcome) => outcome,
    }
}

/// Also gives what the socket calls itself.
async fn connect(
    address: SocketAddr,
    link: &LinkId,
) -> io::Result<(tokio::net::TcpStream, SocketAddr)> {
    let socket = net::probe_socket(&link.name, address.ip())?;
    let stream = socket.connect(address).await?;
    let own = stream.local_addr()?;
    Ok((stream, own))
}

fn no_connection(error: &io::Error) -> Outcome {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => Outcome::Refused,
        io::ErrorKind::TimedOut => Outcome::NoAnswer,
        // No route, no neighbour, no address, no such link any more.
        _ => Outcome::Unreachable,
    }
}

async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    beacon: &Beacon,
    own: SocketAddr,
) -> Result<Result<Proof, NoProof>, Outcome> {
    let mut probe = match Probe::new(beacon, own, clock::wall()) {
        Ok(probe) => probe,
        Err(why) => return Ok(Err(why)),
    };
    let mut piece = [0; 4096];
    loop {
        let said = stream.write_all(&probe.output()).await;
        let heard = match said {
            Ok(()) => stream.read(&mut piece).await,
            Err(error) => Err(error),
        };
        let end = match heard {
            Ok(0) => Some(Err(probe.hung_up())),
            Ok(count) => probe.receive(&piece[..count]),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                return Err(Outcome::Refused);
            }
            Err(_) => Some(Err(probe.hung_up())),
        };
        if let Some(end) = end {
            // The server may not wait for it.
            let _ = stream.write_all(&probe.output()).await;
            return Ok(end);
        }
    }
}

fn no_proof(why: &NoProof) -> Outcome {
    match why {
        NoProof::Relayed { seen, own } => Outcome::Relayed {
            seen: *seen,
            own: *own,
        },
        // Whoever has no bare key to show is none of ours.
        NoProof::WrongKey { .. } | NoProof::BadSignature | NoProof::NoRawKey => Outcome::WrongKey,
        NoProof::Expired { not_after, clock } => Outcome::Expired {
            not_after: not_after.as_secs(),
            clock: clock.as_secs(),
        },
        NoProof::NotYetValid { not_before, clock } => Outcome::NotYetValid {
            not_before: not_before.as_secs(),
            clock: clock.as_secs(),
        },
        NoProof::NotTls(_) => Outcome::NotTls,
        NoProof::BadAnswer(_) => Outcome::NotABeacon,
    }
}

#[cfg(test)]
mod tests;
