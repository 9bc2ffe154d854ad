//! What a stranger learns from being asked: that somebody asked.

use std::collections::BTreeMap;

use sluss_beacon::Probe;
use sluss_policy::Beacon;

use crate::rig::{NOW, beacon, identity, laptop, server};

/// Extensions of TLS (IANA's numbers) that a probe may send.
const ALLOWED: [(u16, &str); 9] = [
    (5, "status_request"),
    (10, "supported_groups"),
    (11, "ec_point_formats"),
    (13, "signature_algorithms"),
    (20, "server_certificate_type"),
    (43, "supported_versions"),
    (45, "psk_key_exchange_modes"),
    (51, "key_share"),
    (23, "extended_master_secret"),
];

const KEY_SHARE: u16 = 51;

#[test]
fn a_hello_has_no_name_no_protocol_no_ticket_and_no_early_data() {
    for policy in policies() {
        let hello = Hello::of(&policy);
        for kind in hello.extensions.keys() {
            // Above all none of server_name (0), application_layer_protocol_negotiation (16), session_ticket (35),
            // pre_shared_key (41), early_data (42) and certificate_authorities (47).
            assert!(ALLOWED.iter().any(|(known, _)| known == kind), "{kind}");
        }
        // TLS 1.3 alone.
        assert_eq!(hello.extensions[&43], [2, 3, 4]);
    }
}

#[test]
fn two_hellos_differ_in_what_is_random_and_in_nothing_else() {
    for policy in policies() {
        let (one, other) = (Hello::of(&policy), Hello::of(&policy));
        assert_ne!(one.random, other.random);
        assert_ne!(one.extensions[&KEY_SHARE], other.extensions[&KEY_SHARE]);
        assert_eq!(one.without_random(), other.without_random());
    }
}

#[test]
fn a_hello_does_not_tell_which_beacon_is_looked_for() {
    let (one, other) = (identity(), identity());
    let hellos =
        [one, other].map(|identity| Hello::of(&beacon(&[identity.pin()])).without_random());
    assert_eq!(hellos[0], hellos[1]);
}

fn policies() -> [Beacon; 2] {
    let pin = identity().pin();
    [beacon(&[pin]), server(&[pin])]
}

/// A ClientHello (RFC 8446, 4.1.2) that was taken apart.
#[derive(Clone, Debug, PartialEq)]
struct Hello {
    random: Vec<u8>,
    session: Vec<u8>,
    suites: Vec<u8>,
    extensions: BTreeMap<u16, Vec<u8>>,
}

impl Hello {
    fn of(policy: &Beacon) -> Self {
        let mut probe = Probe::new(policy, laptop(), NOW).unwrap();
        let bytes = probe.output();
        assert_eq!(probe.output(), [0; 0], "one message");
        let mut rest = &bytes[..];
        // One record with one handshake message.
        assert_eq!(take(&mut rest, 1), [22]);
        take(&mut rest, 2);
        let mut rest = vector(&mut rest, 2);
        assert_eq!(take(&mut rest, 1), [1]);
        let mut rest = vector(&mut rest, 3);
        take(&mut rest, 2);
        let random = take(&mut rest, 32).to_vec();
        let session = vector(&mut rest, 1).to_vec();
        let suites = vector(&mut rest, 2).to_vec();
        vector(&mut rest, 1);
        let mut list = vector(&mut rest, 2);
        assert!(rest.is_empty());
        let mut extensions = BTreeMap::new();
        while !list.is_empty() {
            let kind = take(&mut list, 2);
            let kind = u16::from_be_bytes([kind[0], kind[1]]);
            let again = extensions.insert(kind, vector(&mut list, 2).to_vec());
            assert_eq!(again, None);
        }
        Self {
            random,
            session,
            suites,
            extensions,
        }
    }

    fn without_random(mut self) -> Self {
        self.random.clear();
        self.session.fill(0);
        // The last 32 bytes are the public key of this connection.
        let share = self.extensions.get_mut(&KEY_SHARE).unwrap();
        let key = share.len() - 32;
        share[key..].fill(0);
        self
    }
}

fn take<'a>(from: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (head, tail) = from.split_at(count);
    *from = tail;
    head
}

/// A vector with a length of so many bytes (RFC 8446, 3.4).
fn vector<'a>(from: &mut &'a [u8], length: usize) -> &'a [u8] {
    let length = take(from, length)
        .iter()
        .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    take(from, length)
}
