//! What the parsers make of bytes that somebody hostile has chosen: one target for each mouth that they come in by.
//!
//! A target must not panic, hang or grow, whatever the bytes; and what it takes for right it must write as it read it.
//! `cargo xtask soak` lets a fuzzer choose the bytes; the tests replay what it found worth keeping.

mod beacon;
mod card;
mod files;

use sluss_policy::{PortalAnswer, PortalRules};

// The command is no library, and this part of it needs nothing else of it.
#[allow(dead_code, reason = "what is written to pinentry is not fuzzed")]
#[path = "../../../crates/sluss/src/agent/assuan.rs"]
mod assuan;

// A daemon is more than a fuzzer wants to link, and this part of it needs nothing else of it.
#[path = "../../../crates/slussd/src/resolver/question.rs"]
mod question;

// As above.
#[allow(
    dead_code,
    unreachable_pub,
    reason = "what comes of sockets is not fuzzed"
)]
#[path = "../../../crates/slussd/src/portal/answer.rs"]
mod answer;

/// One way in.
pub struct Target {
    /// Also the corpus's folder.
    pub name: &'static str,
    pub run: fn(&[u8]),
}

pub const TARGETS: &[Target] = &[
    Target {
        name: "apdu",
        run: card::speak,
    },
    Target {
        name: "pkcs11",
        run: card::hear_a_worker,
    },
    Target {
        name: "tlv",
        run: card::read_objects,
    },
    Target {
        name: "certificate",
        run: card::read_certificate,
    },
    Target {
        name: "sealed",
        run: files::read_sealed_key,
    },
    Target {
        name: "policy",
        run: files::read_policy,
    },
    Target {
        name: "request",
        run: files::read_request,
    },
    Target {
        name: "device",
        run: files::read_device,
    },
    Target {
        name: "assuan",
        run: read_pinentry,
    },
    Target {
        name: "beacon-answer",
        run: beacon::read_answer,
    },
    Target {
        name: "beacon-config",
        run: beacon::read_config,
    },
    Target {
        name: "beacon-probe",
        run: beacon::hear_a_server,
    },
    Target {
        name: "beacon-visit",
        run: beacon::hear_a_caller,
    },
    Target {
        name: "names",
        run: hear_a_resolver,
    },
    Target {
        name: "portal",
        run: read_portal,
    },
];

/// What a resolver says, or whoever answers in its place; the first byte is the family. The identifier is always the right
/// one: nobody has to guess it who floods the laptop for long enough.
fn hear_a_resolver(bytes: &[u8]) {
    let Some((first, [high, low, ..])) = bytes.split_first() else {
        return;
    };
    let family = match first % 2 {
        0 => question::Family::V4,
        _ => question::Family::V6,
    };
    let name = "vpn.example.se".parse().expect("a host name");
    let asked = question::Question::new(&name, family, u16::from_be_bytes([*high, *low]));
    if let Some(question::Answer::Addresses(addresses)) = asked.read(&bytes[1..]) {
        assert!((1..=8).contains(&addresses.len()));
        let is_ours = |it: &std::net::IpAddr| it.is_ipv4() == (family == question::Family::V4);
        assert!(addresses.iter().all(is_ours));
    }
    assert!(
        asked.read(asked.bytes()).is_none(),
        "a question is no answer"
    );
}

/// What a pinentry says, in pieces: the first byte is their size.
fn read_pinentry(bytes: &[u8]) {
    let Some((size, mut stream)) = bytes.split_first() else {
        return;
    };
    let mut lines = assuan::Lines::new();
    while !stream.is_empty() {
        let space = lines.space();
        assert!(!space.is_empty(), "no room, and no line");
        let count = usize::from(*size).clamp(1, space.len().min(stream.len()));
        let (piece, rest) = stream.split_at(count);
        space[..count].copy_from_slice(piece);
        lines.advance(count);
        stream = rest;
        loop {
            match lines.next() {
                Ok(Some(assuan::Reply::Data(data))) => assert!(data.len() <= assuan::LONGEST),
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(assuan::Malformed) => return,
            }
        }
    }
}

/// What somebody answers to the search for a portal, in pieces: the first byte is their size, the second what is expected.
fn read_portal(bytes: &[u8]) {
    let Some(([size, expect], mut stream)) = bytes.split_first_chunk() else {
        return;
    };
    let rules = PortalRules {
        probe: "http://probe.example.se/".parse().expect("an address"),
        expect: match expect % 2 {
            0 => PortalAnswer::NoContent,
            _ => PortalAnswer::Text("inside out".to_owned()),
        },
        open: true,
    };
    let mut page = answer::Page::default();
    loop {
        if let Some(answer) = answer::judge(&page, &rules) {
            if let answer::Finding::Portal { url: Some(url) } = answer.finding {
                assert!(url.len() <= 512 && url.bytes().all(|byte| byte.is_ascii_graphic()));
                let scheme = url
                    .split_once("://")
                    .map(|(scheme, _)| scheme.to_ascii_lowercase());
                assert!(matches!(scheme.as_deref(), Some("http" | "https")), "{url}");
            }
            return;
        }
        let space = page.space();
        assert!(!space.is_empty(), "wants more than it looks at");
        let count = usize::from(*size).max(1).min(space.len()).min(stream.len());
        let (piece, rest) = stream.split_at(count);
        space[..count].copy_from_slice(piece);
        page.advance(count);
        stream = rest;
    }
}
