//! What the parsers make of bytes that somebody hostile has chosen: one target for each mouth that they come in by.
//!
//! A target must not panic, hang or grow, whatever the bytes; and what it takes for right it must write as it read it.
//! `cargo xtask soak` lets a fuzzer choose the bytes; the tests replay what it found worth keeping.

mod card;
mod files;

// The command is no library, and this part of it needs nothing else of it.
#[allow(dead_code, reason = "what is written to pinentry is not fuzzed")]
#[path = "../../../crates/sluss/src/agent/assuan.rs"]
mod assuan;

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
];

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
