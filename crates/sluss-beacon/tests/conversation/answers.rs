//! What is said inside the channel, and what attackers do to it.

use sluss_beacon::{Answer, MalformedAnswer, NoProof, Probe, Visit};
use sluss_policy::Beacon;

use crate::rig::{Certified, Far, NOW, beacon, identity, laptop, met, visit};

#[test]
fn a_relay_is_told_by_the_source_that_the_beacon_sees() {
    let identity = identity();
    let policy = beacon(&[identity.pin()]);
    // Another address, another port, another family.
    for seen in ["10.20.9.9:51532", "10.20.3.7:51533", "[fd20::7]:51532"] {
        let why = met(&policy, &mut visit(&identity, seen)).unwrap_err();
        assert_eq!(
            why,
            NoProof::Relayed {
                seen: seen.parse().unwrap(),
                own: laptop()
            }
        );
        let told = why.to_string();
        assert!(
            told.contains(seen) && told.contains(&laptop().to_string()),
            "{told}"
        );
    }
}

#[test]
fn a_source_that_the_policy_expects_may_be_seen_from_any_port() {
    let identity = identity();
    let policy = Beacon {
        nat: vec!["10.20.255.9".parse().unwrap()],
        ..beacon(&[identity.pin()])
    };
    assert!(met(&policy, &mut visit(&identity, "10.20.255.9:4711")).is_ok());
    assert!(met(&policy, &mut visit(&identity, &laptop().to_string())).is_ok());
    assert!(met(&policy, &mut visit(&identity, "10.20.255.8:4711")).is_err());
}

#[test]
fn a_beacon_that_listens_for_both_families_sees_ipv4_as_it_is() {
    let identity = identity();
    let mapped = format!("[::ffff:{}]:{}", laptop().ip(), laptop().port());
    assert!(met(&beacon(&[identity.pin()]), &mut visit(&identity, &mapped)).is_ok());
}

#[test]
fn a_recording_proves_nothing_to_the_next_probe() {
    let identity = identity();
    let policy = beacon(&[identity.pin()]);
    let mut recorder = Recorder {
        visit: visit(&identity, &laptop().to_string()),
        said: Vec::new(),
    };
    assert!(met(&policy, &mut recorder).is_ok());
    let why = met(&policy, &mut Recording(recorder.said)).unwrap_err();
    assert!(matches!(why, NoProof::NotTls(_)), "{why:?}");
}

#[test]
fn a_conversation_that_breaks_off_anywhere_proves_nothing() {
    let identity = identity();
    let policy = beacon(&[identity.pin()]);
    let length = conversation(
        &policy,
        &mut visit(&identity, &laptop().to_string()),
        usize::MAX,
    )
    .1;
    assert!(length > 200);
    for end in 0..length {
        let seen = laptop().to_string();
        let (told, _) = conversation(&policy, &mut visit(&identity, &seen), end);
        assert!(told.is_err(), "after {end} of {length} bytes");
    }
}

#[test]
fn a_changed_byte_never_changes_what_is_proved() {
    let identity = identity();
    let policy = beacon(&[identity.pin()]);
    let seen = "10.20.9.9:51532";
    let length = conversation(&policy, &mut visit(&identity, seen), usize::MAX).1;
    for place in 0..length {
        let mut probe = Probe::new(&policy, laptop(), NOW).unwrap();
        let mut said = visit(&identity, seen).hear(&probe.output());
        said[place] ^= 1;
        let end = probe.receive(&said).unwrap_or_else(|| Err(probe.hung_up()));
        assert!(end.is_err(), "{place}: {end:?}");
    }
}

#[test]
fn bytes_may_come_one_by_one() {
    let identity = identity();
    let mut probe = Probe::new(&beacon(&[identity.pin()]), laptop(), NOW).unwrap();
    let mut visit = visit(&identity, &laptop().to_string());
    let mut said = Vec::new();
    for byte in probe.output() {
        said.extend(visit.hear(&[byte]));
    }
    let mut ends = said.iter().filter_map(|byte| probe.receive(&[*byte]));
    assert!(matches!(ends.next(), Some(Ok(_))));
    assert_eq!(ends.next(), None);
}

#[test]
fn only_an_answer_is_an_answer() {
    use MalformedAnswer::*;

    let certified = Certified::new((2026, 2028));
    let policy = beacon(&[certified.certificate_pin()]);
    let good = format!("sluss-beacon/1 {} stadshuset\n", laptop());
    let (start, rest) = good.as_bytes().split_at(20);
    assert!(met(&policy, &mut certified.says(&[start, rest])).is_ok());

    let endless = vec![b'x'; 1 << 14];
    let cases: [(&[&[u8]], _); 7] = [
        (&[], NotABeacon),
        (&[b"HTTP/1.1 400 Bad Request\r\n\r\n"], NotABeacon),
        (&[start], Truncated),
        (&[good.as_bytes(), good.as_bytes()], Name),
        (&[&endless], TooLong),
        (&[&endless[..Answer::LONGEST + 1]], TooLong),
        (
            &[b"sluss-beacon/2 something new\n"],
            Version("2".to_owned()),
        ),
    ];
    for (words, why) in cases {
        let told = met(&policy, &mut certified.says(words));
        assert_eq!(told, Err(NoProof::BadAnswer(why)), "{words:?}");
    }
}

#[test]
fn a_line_feed_ends_an_answer_and_nobody_waits_for_a_good_bye() {
    let certified = Certified::new((2026, 2028));
    let good = format!("sluss-beacon/1 {} stadshuset\n", laptop());
    let mut stranger = certified.says(&[good.as_bytes()]);
    stranger.polite = false;
    let told = met(&beacon(&[certified.certificate_pin()]), &mut stranger);
    assert!(told.is_ok(), "{told:?}");
}

#[test]
fn a_server_that_talks_without_end_is_not_listened_to() {
    let mut probe = Probe::new(&beacon(&[identity().pin()]), laptop(), NOW).unwrap();
    // Records of a handshake that never comes to anything.
    let record = [&[22, 3, 3, 0, 4][..], &[11, 255, 255, 255]].concat();
    let end = (0..20_000).find_map(|_| probe.receive(&record));
    assert!(matches!(end, Some(Err(NoProof::NotTls(_)))), "{end:?}");
}

/// Lets `end` bytes of what the beacon says through; also gives how many that were.
fn conversation(
    policy: &Beacon,
    visit: &mut Visit,
    end: usize,
) -> (Result<sluss_beacon::Proof, NoProof>, usize) {
    let mut probe = Probe::new(policy, laptop(), NOW).unwrap();
    let mut passed = 0;
    loop {
        let mut said = visit.hear(&probe.output());
        said.truncate(end - passed);
        passed += said.len();
        if said.is_empty() {
            return (Err(probe.hung_up()), passed);
        }
        if let Some(end) = probe.receive(&said) {
            return (end, passed);
        }
    }
}

struct Recorder {
    visit: Visit,
    said: Vec<u8>,
}

impl Far for Recorder {
    fn hear(&mut self, bytes: &[u8]) -> Vec<u8> {
        let said = self.visit.hear(bytes);
        self.said.extend(&said);
        said
    }
}

struct Recording(Vec<u8>);

impl Far for Recording {
    fn hear(&mut self, _: &[u8]) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}
