//! Whom a probe asks, when it is content, and what it tells. What beacons say is tried out in `sluss-beacon`, and real
//! links in `tests/tests/platform`. Time is the test's own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sluss_beacon::{Identity, Visit};
use sluss_policy::Source;
use sluss_supervisor::Medium;
use tokio::io::{DuplexStream, duplex};

use super::*;

const LAPTOP: &str = "10.20.3.7:51532";
const PATIENCE: Duration = Duration::from_millis(800);

#[tokio::test]
async fn a_beacon_that_sees_this_very_socket_is_proof() {
    assert_eq!(met_by_one_who_sees(LAPTOP).await, Outcome::Proved);
}

#[tokio::test]
async fn a_beacon_that_sees_another_source_is_none() {
    let elsewhere = "10.20.255.9:4711";
    let outcome = met_by_one_who_sees(elsewhere).await;
    assert!(
        matches!(outcome, Outcome::Relayed { seen, .. } if seen.to_string() == elsewhere),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn what_does_not_speak_tls_is_named_so() {
    let (_, beacon) = beacon();
    let (ours, mut theirs) = duplex(4096);
    let portal = async move {
        theirs.read_u8().await.unwrap();
        theirs
            .write_all(b"HTTP/1.1 302 Found\r\nLocation: http://portal/\r\n\r\n")
            .await
            .unwrap();
        // Held open, as portals do.
        theirs
    };
    let (outcome, _open) = tokio::join!(heard(ours, &beacon), portal);
    assert_eq!(outcome, Outcome::NotTls);

    let (ours, theirs) = duplex(4096);
    drop(theirs);
    assert_eq!(heard(ours, &beacon).await, Outcome::NotTls);
}

#[test]
fn dates_are_told_in_unix_seconds() {
    let (not_after, clock) = (Duration::from_secs(1), Duration::from_millis(2_900));
    assert_eq!(
        no_proof(&NoProof::Expired { not_after, clock }),
        Outcome::Expired {
            not_after: 1,
            clock: 2
        }
    );
}

#[test]
fn failures_to_connect_say_who_refuses_and_who_is_silent() {
    use io::ErrorKind::*;
    let outcome = |kind: io::ErrorKind| no_connection(&kind.into());
    assert_eq!(outcome(ConnectionRefused), Outcome::Refused);
    assert_eq!(outcome(TimedOut), Outcome::NoAnswer);
    for kind in [NetworkUnreachable, HostUnreachable, AddrNotAvailable] {
        assert_eq!(outcome(kind), Outcome::Unreachable, "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_beacon_is_judged_by_its_best_address() {
    // IPv4 is silent, IPv6 proves itself.
    let told = asked("", |_, address, _| async move {
        match address.is_ipv6() {
            true => Outcome::Proved,
            false => silence().await,
        }
    })
    .await;
    assert_eq!(told, ["a at [fd20::53]:8443: Proved"]);
}

#[tokio::test(start_paused = true)]
async fn silence_is_told_after_the_patience_and_not_before() {
    let begin = Instant::now();
    let told = asked("", |_, _, _| silence()).await;
    assert_eq!(begin.elapsed(), PATIENCE);
    assert_eq!(told, ["a at 10.20.0.53:8443: NoAnswer"]);
}

#[tokio::test(start_paused = true)]
async fn a_second_attempt_after_a_quarter_of_a_second_saves_a_lost_packet() {
    static ATTEMPTS: AtomicUsize = AtomicUsize::new(0);
    let begin = Instant::now();
    let told = asked("", |_, _, _| async {
        match ATTEMPTS.fetch_add(1, Ordering::Relaxed) {
            // The first one at each of the two addresses is lost.
            0 | 1 => silence().await,
            _ => Outcome::Proved,
        }
    })
    .await;
    assert_eq!(begin.elapsed(), SECOND_ATTEMPT);
    assert!(told.iter().all(|it| it.ends_with("Proved")), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn what_a_server_shows_is_not_asked_for_twice_and_a_refusal_is() {
    static ATTEMPTS: AtomicUsize = AtomicUsize::new(0);
    let begin = Instant::now();
    asked("", |_, _, _| async { Outcome::WrongKey }).await;
    assert_eq!(begin.elapsed(), Duration::ZERO);
    let told = asked("", |_, _, _| async {
        ATTEMPTS.fetch_add(1, Ordering::Relaxed);
        Outcome::Refused
    })
    .await;
    assert_eq!(ATTEMPTS.load(Ordering::Relaxed), 4, "two at each address");
    assert_eq!(begin.elapsed(), SECOND_ATTEMPT);
    assert_eq!(told, ["a at 10.20.0.53:8443: Refused"]);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_the_rest_when_the_policy_has_what_it_wants() {
    let begin = Instant::now();
    let told = asked(SECOND, |beacon, _, _| async move {
        match beacon.name.as_str() {
            "a" => Outcome::Proved,
            _ => silence().await,
        }
    })
    .await;
    assert_eq!(begin.elapsed(), Duration::ZERO);
    assert_eq!(told.len(), 1, "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn where_the_policy_wants_two_one_is_not_enough() {
    let quorum = format!("{SECOND}[location]\nquorum = 2\n");
    let begin = Instant::now();
    let told = asked(&quorum, |beacon, _, _| async move {
        match beacon.name.as_str() {
            "a" => Outcome::Proved,
            _ => silence().await,
        }
    })
    .await;
    assert_eq!(begin.elapsed(), PATIENCE);
    assert_eq!(
        told,
        [
            "a at 10.20.0.53:8443: Proved",
            "b at 10.20.0.54:8443: NoAnswer"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_link_that_has_its_proof_gives_the_others_a_second_attempt_and_no_more() {
    let begin = Instant::now();
    let policy = policy("");
    let links = [link(2, "eth0"), link(3, "wlan0")];
    let told = gather(&policy, &links, PATIENCE, |_, _, link| async move {
        match link.name.as_str() {
            "eth0" => Outcome::Proved,
            _ => silence().await,
        }
    })
    .await;
    assert_eq!(begin.elapsed(), AFTER_PROOF);
    let told: Vec<_> = told
        .iter()
        .map(|it| (it.link.name.as_str(), it.outcome))
        .collect();
    assert_eq!(
        told,
        [("eth0", Outcome::Proved), ("wlan0", Outcome::NoAnswer)]
    );
}

/// Another beacon of the same site.
const SECOND: &str = "[[beacon]]\nname = \"b\"\naddresses = [\"10.20.0.54:8443\"]\npins = [\"sha256:R0nB0Ta24IaDcSsVMn0d6rbS4iH2LyktrQoZBO8VZmI=\"]\n";

/// What is told of one link, where all attempts go as `attempt` says.
async fn asked<Attempt>(
    more: &str,
    attempt: impl Fn(Beacon, SocketAddr, LinkId) -> Attempt + Copy + Send + Sync + 'static,
) -> Vec<String>
where
    Attempt: Future<Output = Outcome> + Send + 'static,
{
    let told = gather(&policy(more), &[link(2, "eth0")], PATIENCE, attempt).await;
    told.into_iter()
        .map(|it| format!("{} at {}: {:?}", it.beacon, it.address, it.outcome))
        .collect()
}

async fn silence() -> Outcome {
    std::future::pending().await
}

fn link(index: u32, name: &str) -> Link {
    Link {
        id: LinkId {
            index,
            name: name.to_owned(),
        },
        carrier: true,
        addresses: Vec::new(),
        gateways: Vec::new(),
        medium: Medium::Wired,
        metered: false,
        neighbours: Vec::new(),
    }
}

/// One whose beacon `a` has an address of each family.
fn policy(more: &str) -> Policy {
    let text = format!(
        r#"
schema = 1
[gateway]
name = "vpn.example.se"
public_key = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
[[endpoint]]
address = "198.51.100.2:51820"
[internal]
prefixes = ["10.20.0.0/16"]
[[beacon]]
name = "a"
addresses = ["10.20.0.53:8443", "[fd20::53]:8443"]
pins = ["sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="]
{more}"#
    );
    let (file, text) = ("policy.toml", text.as_str());
    Policy::parse(&[Source { file, text }]).expect("it is a policy")
}

/// The policy's beacon with the key of a real one.
fn beacon() -> (Arc<Identity>, Beacon) {
    let key = Identity::generate().unwrap();
    let identity = Identity::from_pem(key.as_bytes(), None).unwrap();
    let mut beacon = policy("").beacons.remove(0);
    beacon.pins = vec![identity.pin()];
    (Arc::new(identity), beacon)
}

/// What a probe from [`LAPTOP`] makes of a beacon that is called from `seen`.
async fn met_by_one_who_sees(seen: &str) -> Outcome {
    let (identity, beacon) = beacon();
    let visit = Visit::new(
        identity,
        "stadshuset".parse().unwrap(),
        seen.parse().unwrap(),
    );
    let (ours, theirs) = duplex(1 << 16);
    let (outcome, ()) = tokio::join!(heard(ours, &beacon), receive(theirs, visit));
    outcome
}

async fn heard(stream: DuplexStream, beacon: &Beacon) -> Outcome {
    match converse(stream, beacon, LAPTOP.parse().unwrap()).await {
        Ok(Ok(_)) => Outcome::Proved,
        Ok(Err(why)) => no_proof(&why),
        Err(outcome) => outcome,
    }
}

async fn receive(mut stream: DuplexStream, mut visit: Visit) {
    let mut piece = [0; 4096];
    loop {
        let count = stream.read(&mut piece).await.unwrap();
        let end = visit.receive(&piece[..count]);
        let _ = stream.write_all(&visit.output()).await;
        if end.is_some() || count == 0 {
            return;
        }
    }
}
