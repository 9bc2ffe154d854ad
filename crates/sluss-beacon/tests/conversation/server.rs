//! The beacon's side: how visits end, and what callers cannot do.

use sluss_beacon::{Probe, VisitEnd};

use crate::rig::{NOW, beacon, identity, laptop, visit};

#[test]
fn an_answer_goes_out_with_the_handshake() {
    let identity = identity();
    let mut probe = Probe::new(&beacon(&[identity.pin()]), laptop(), NOW).unwrap();
    let mut visit = visit(&identity, &laptop().to_string());
    assert_eq!(visit.receive(&probe.output()), None);
    // One round trip, and the probe has all that it wants.
    assert!(matches!(probe.receive(&visit.output()), Some(Ok(_))));
    assert_eq!(visit.receive(&probe.output()), Some(VisitEnd::Answered));
}

#[test]
fn a_laptop_that_has_another_key_pinned_says_so() {
    let (ours, pinned) = (identity(), identity());
    let mut probe = Probe::new(&beacon(&[pinned.pin()]), laptop(), NOW).unwrap();
    let mut visit = visit(&ours, &laptop().to_string());
    visit.receive(&probe.output());
    probe.receive(&visit.output());
    let end = visit.receive(&probe.output());
    assert!(matches!(end, Some(VisitEnd::Declined(_))), "{end:?}");
}

#[test]
fn what_is_no_hello_is_refused_at_once_and_in_few_bytes() {
    for noise in [
        &b"GET / HTTP/1.1\r\nHost: beacon\r\n\r\n"[..],
        &[0; 64],
        &[0xff; 64],
        b"\x16\x03\x01\xff\xff",
        // A hello of TLS 1.2.
        b"\x16\x03\x01\x00\x2f\x01\x00\x00\x2b\x03\x03aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\x00\x00\x04\xc0\x2f\x00\xff\x01\x00",
    ] {
        let mut visit = visit(&identity(), "10.20.3.7:1");
        let end = visit.receive(noise);
        assert!(matches!(end, Some(VisitEnd::Garbled(_))), "{noise:?}: {end:?}");
        assert!(visit.output().len() <= 7, "an alert and no more");
    }
}

#[test]
fn a_caller_that_never_finishes_its_hello_is_cut_short() {
    let mut visit = visit(&identity(), "10.20.3.7:1");
    // A hello of 16,000 bytes in records of 256.
    let first = [&[22, 3, 1, 1, 0, 1, 0, 0x3e, 0x80][..], &[0; 252]].concat();
    let next = [&[22, 3, 1, 1, 0][..], &[0; 256]].concat();
    assert_eq!(visit.receive(&first), None);
    let taken = (1..100).find(|_| visit.receive(&next).is_some()).unwrap();
    assert!(taken <= 32, "{taken} records");
}

#[test]
fn a_caller_has_nothing_to_say() {
    let identity = identity();
    let mut probe = Probe::new(&beacon(&[identity.pin()]), laptop(), NOW).unwrap();
    let mut visit = visit(&identity, &laptop().to_string());
    visit.receive(&probe.output());
    probe.receive(&visit.output());
    // Something that is no record of this connection.
    let end = visit.receive(b"\x17\x03\x03\x00\x20aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    assert!(matches!(end, Some(VisitEnd::Garbled(_))), "{end:?}");
}
