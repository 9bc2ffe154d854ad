//! What a beacon and a probe can hear from each other, and what can stand in the beacon's file.

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use sluss_beacon::{Answer, Config, Identity, NoProof, Probe, Proof, Visit};
use sluss_policy::{Beacon, BeaconKind};

/// More than either side ever says: a probe its hello, a beacon its key and an answer.
const LONGEST_SPEECH: usize = 4096;

static IDENTITY: LazyLock<Arc<Identity>> = LazyLock::new(|| {
    let key = Identity::generate().expect("there is randomness");
    Arc::new(Identity::from_pem(key.as_bytes(), None).expect("a key as it makes them"))
});

pub(crate) fn read_answer(bytes: &[u8]) {
    match Answer::parse(bytes) {
        Ok(answer) => {
            assert_eq!(answer.to_bytes(), bytes, "written otherwise");
            assert!(!answer.name().to_string().contains(char::is_control));
        }
        Err(error) => is_readable(&error.to_string()),
    }
}

pub(crate) fn read_config(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    match text.parse::<Config>() {
        Ok(config) => assert!((1..=16).contains(&config.listen.len())),
        // It quotes the line.
        Err(error) => assert!(error.to_string().len() < 2 * text.len() + 2000),
    }
}

/// A server that is none of ours, or a beacon whose words are changed on the way. The first byte is the size of the
/// pieces that they come in, the second what the policy expects.
pub(crate) fn hear_a_server(bytes: &[u8]) {
    let [size, kind, stream @ ..] = bytes else {
        return;
    };
    let beacon = expected(match kind & 1 {
        0 => BeaconKind::Beacon,
        _ => BeaconKind::Tls,
    });
    let mut probe = Probe::new(&beacon, laptop(), NOW).expect("there is randomness");
    let said = match kind & 2 {
        0 => stream.to_vec(),
        _ => {
            let mut visit = visit();
            visit.receive(&probe.output());
            changed(visit.output(), stream)
        }
    };
    let mut spoken = probe.output().len();
    let mut end = None;
    for piece in said.chunks(usize::from(*size).max(1)) {
        end = probe.receive(piece);
        spoken += probe.output().len();
        if end.is_some() {
            break;
        }
    }
    assert!(spoken <= LONGEST_SPEECH, "{spoken} bytes");
    match end.unwrap_or_else(|| Err(probe.hung_up())) {
        // Only the beacon itself can have said so, and what it said was not changed.
        Ok(Proof { answer }) => {
            let answer = answer.expect("a beacon answers");
            assert!(kind & 2 != 0 && answer.seen() == laptop());
        }
        Err(why) => {
            assert!(!matches!(why, NoProof::Relayed { .. }), "nobody saw that");
            is_readable(&why.to_string());
        }
    }
}

/// A caller that is no laptop, or a laptop whose words are changed on the way. The first two bytes are as above.
pub(crate) fn hear_a_caller(bytes: &[u8]) {
    let [size, kind, stream @ ..] = bytes else {
        return;
    };
    let mut visit = visit();
    let said = match kind & 2 {
        0 => stream.to_vec(),
        _ => {
            let beacon = expected(BeaconKind::Beacon);
            let mut probe = Probe::new(&beacon, laptop(), NOW).expect("there is randomness");
            changed(probe.output(), stream)
        }
    };
    let mut spoken = 0;
    for piece in said.chunks(usize::from(*size).max(1)) {
        let end = visit.receive(piece);
        spoken += visit.output().len();
        if end.is_some() {
            break;
        }
    }
    assert!(spoken <= LONGEST_SPEECH, "{spoken} bytes");
}

/// 2026-11-23.
const NOW: Duration = Duration::from_secs(1_795_420_800);

fn laptop() -> SocketAddr {
    SocketAddr::from(([10, 20, 3, 7], 51532))
}

fn expected(kind: BeaconKind) -> Beacon {
    Beacon {
        name: "beacon".to_owned(),
        kind,
        addresses: vec![SocketAddr::from(([10, 20, 0, 53], 8443))],
        pins: vec![IDENTITY.pin()],
        site: None,
        nat: Vec::new(),
    }
}

fn visit() -> Visit {
    let name = "beacon".parse().expect("a name");
    Visit::new(Arc::clone(&IDENTITY), name, laptop())
}

/// Changes a byte for every three: the first two say where, the third how.
fn changed(mut said: Vec<u8>, changes: &[u8]) -> Vec<u8> {
    for change in changes.chunks_exact(3) {
        let place = usize::from(u16::from_be_bytes([change[0], change[1]]));
        if let Some(byte) = said.get_mut(place) {
            *byte ^= change[2];
        }
    }
    said
}

fn is_readable(text: &str) {
    assert!(
        text.len() < 500 && !text.contains(char::is_control),
        "{text}"
    );
}
