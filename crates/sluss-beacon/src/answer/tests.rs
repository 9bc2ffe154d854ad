//! One way to write an answer, and what becomes of all others.

use super::*;

fn answer(name: &str, seen: &str) -> Answer {
    Answer::new(name.parse().unwrap(), seen.parse().unwrap())
}

#[test]
fn an_answer_is_a_line_that_people_can_read() {
    for (name, seen, line) in [
        (
            "stadshuset",
            "10.20.3.7:51532",
            "sluss-beacon/1 10.20.3.7:51532 stadshuset\n",
        ),
        (
            "Räddningstjänsten 2",
            "[fd20::7]:1",
            "sluss-beacon/1 [fd20::7]:1 Räddningstjänsten 2\n",
        ),
        // A socket for both families sees IPv4 so; a link-local address comes with the beacon's own link.
        (
            "a",
            "[::ffff:10.20.3.7]:9",
            "sluss-beacon/1 10.20.3.7:9 a\n",
        ),
        ("a", "[fe80::1%3]:9", "sluss-beacon/1 [fe80::1]:9 a\n"),
    ] {
        let answer = answer(name, seen);
        assert_eq!(String::from_utf8(answer.to_bytes()).unwrap(), line);
        assert_eq!(Answer::parse(line.as_bytes()), Ok(answer));
    }
}

#[test]
fn the_longest_answer_is_as_long_as_it_says() {
    let seen = format!("[{}]:65535", ["fd20"; 8].join(":"));
    let longest = answer(&"x".repeat(Name::LONGEST), &seen).to_bytes();
    assert_eq!(longest.len(), Answer::LONGEST);
    assert!(Answer::parse(&longest).is_ok());
    let longer = [&longest[..], b"\n"].concat();
    assert_eq!(Answer::parse(&longer), Err(MalformedAnswer::TooLong));
}

#[test]
fn an_answer_that_stops_anywhere_is_none() {
    let whole = answer("stadshuset", "10.20.3.7:51532").to_bytes();
    for end in 0..whole.len() {
        assert!(Answer::parse(&whole[..end]).is_err(), "{end}");
    }
    assert_eq!(
        Answer::parse(&whole[..whole.len() - 1]),
        Err(MalformedAnswer::Truncated)
    );
}

#[test]
fn a_later_version_is_named() {
    let told = Answer::parse(b"sluss-beacon/2 anything at all\n");
    assert_eq!(told, Err(MalformedAnswer::Version("2".to_owned())));
    for version in ["", "01", "x", "70000", "-1"] {
        let line = format!("sluss-beacon/{version} 10.0.0.1:1 a\n");
        assert_eq!(
            Answer::parse(line.as_bytes()),
            Err(MalformedAnswer::NotABeacon),
            "{line}"
        );
    }
}

#[test]
fn what_is_written_otherwise_is_refused() {
    for line in [
        "HTTP/1.1 400 Bad Request\r\n\r\n",
        "sluss-beacon/1 10.20.3.7:51532 stadshuset\r\n",
        "sluss-beacon/1 10.20.3.7:51532 stadshuset\n\n",
        "sluss-beacon/1 10.20.3.7:51532 stadshuset \n",
        "sluss-beacon/1  10.20.3.7:51532 stadshuset\n",
        "sluss-beacon/1 10.20.3.7:51532\n",
        "sluss-beacon/1 10.20.3.7:51532 \n",
        "sluss-beacon/1 10.20.3.7:051532 stadshuset\n",
        "sluss-beacon/1 10.20.3.7 stadshuset\n",
        "sluss-beacon/1 [FD20::7]:1 stadshuset\n",
        "sluss-beacon/1 [fd20:0::7]:1 stadshuset\n",
        "sluss-beacon/1 [::ffff:10.20.3.7]:1 stadshuset\n",
        "sluss-beacon/1 10.20.3.7:51532 stads\thuset\n",
        "sluss-beacon/1 10.20.3.7:51532 stads\u{1b}[31mhuset\n",
        "Sluss-beacon/1 10.20.3.7:51532 stadshuset\n",
    ] {
        assert!(Answer::parse(line.as_bytes()).is_err(), "{line:?}");
    }
    assert!(Answer::parse(b"sluss-beacon/1 10.20.3.7:51532 stads\xff\n").is_err());
}
