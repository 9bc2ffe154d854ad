//! Truncated, oversized and random policies: refused, without a panic and without growing.

use std::fs;

use fastrand::Rng;
use sluss_policy::{DeviceBinding, Problem, Source};

use crate::{FULL, parse};

const SEED: u64 = 0x534c;

#[test]
fn cut_off_anywhere_it_is_refused_or_still_a_policy() {
    for end in (0..FULL.len()).filter(|end| FULL.is_char_boundary(*end)) {
        if let Ok(policy) = parse(&FULL[..end]) {
            assert_eq!(
                policy.internal.len(),
                2,
                "what is needed was there before byte {end}"
            );
        }
    }
}

#[test]
fn too_large_is_refused_before_it_is_parsed() {
    for text in ["#".repeat(64 * 1024 + 1), "a = [".repeat(4 << 20)] {
        let errors = parse(&text).expect_err("too large");
        assert!(
            matches!(errors[0].problem, Problem::TooLarge { limit: 65_536 }),
            "{:?}",
            errors[0]
        );
    }
}

#[test]
fn deep_wide_and_odd_documents_are_refused() {
    let bytes = 60 * 1024;
    for text in [
        "a = ".to_owned() + &"[".repeat(bytes),
        "a = ".to_owned() + &"{b=".repeat(bytes / 3),
        "a.".repeat(bytes / 2) + "b = 1",
        "[[beacon]]\n".repeat(bytes / 11),
        "[gateway]\n".repeat(bytes / 10),
        format!(
            "internal.prefixes = [{}]",
            "\"10.0.0.0/8\",".repeat(bytes / 13)
        ),
        format!("gateway.name = \"{}\"", "å".repeat(bytes / 2)),
        "\u{feff}schema = 1".to_owned(),
        "schema = 1\0".to_owned(),
        "\u{202e}schema = 1".to_owned(),
        "schema = 999999999999999999999999".to_owned(),
        "timing.settle_quiet = \"99999999999999999999h\"".to_owned(),
        "timing.settle_quiet = \"18446744073709551615h\"".to_owned(),
    ] {
        let errors = parse(&text).expect_err("no policy");
        assert!(!errors.is_empty() && errors.len() <= 51);
        assert!(
            errors.iter().all(|error| error.to_string().len() < 500),
            "{:.600}",
            errors[0].to_string()
        );
    }
}

#[test]
fn random_bytes_and_random_changes_neither_panic_nor_grow() {
    const ROUNDS: usize = 2_000;
    println!("seed {SEED:#x}");
    let mut rng = Rng::with_seed(SEED);
    let mut refused = 0;
    // Other tests share this process. What they take comes and goes; a leak would show each time.
    let growth: Vec<Option<u64>> = (0..4)
        .map(|_| {
            let before = resident_pages();
            refused += (0..ROUNDS)
                .filter(|round| refuses(&mut rng, *round))
                .count();
            Some(resident_pages()?.saturating_sub(before?))
        })
        .collect();
    assert!(refused > 3 * ROUNDS, "only {refused} refused");
    if let Some(growth) = growth.into_iter().collect::<Option<Vec<u64>>>() {
        assert!(growth.iter().any(|pages| *pages < 256), "{growth:?} pages");
    }
}

/// Whether that was no policy. A device binding it never is.
fn refuses(rng: &mut Rng, round: usize) -> bool {
    let text = match round % 3 {
        0 => {
            let bytes: Vec<u8> = (0..rng.usize(..400)).map(|_| rng.u8(..)).collect();
            String::from_utf8_lossy(&bytes).into_owned()
        }
        _ => mutated(rng),
    };
    let source = Source {
        file: "device.toml",
        text: &text,
    };
    assert!(DeviceBinding::parse(source).is_err());
    parse(&text).is_err()
}

/// The full policy after a few slips of the hand: bytes changed, doubled, dropped, lines swapped.
fn mutated(rng: &mut Rng) -> String {
    let mut bytes = FULL.as_bytes().to_vec();
    for _ in 0..rng.usize(1..6) {
        let at = rng.usize(..bytes.len());
        match rng.u32(..4) {
            0 => bytes[at] = rng.u8(..),
            1 => bytes[at] = b"\"[]={}.#\n'\\,"[rng.usize(..12)],
            2 => drop(bytes.drain(at..(at + rng.usize(..20)).min(bytes.len()))),
            _ => {
                let piece = bytes[at..(at + rng.usize(..40)).min(bytes.len())].to_vec();
                let to = rng.usize(..=bytes.len());
                bytes.splice(to..to, piece);
            }
        }
        if bytes.is_empty() {
            break;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Second field of `/proc/self/statm` (proc(5)), where there is one.
fn resident_pages() -> Option<u64> {
    fs::read_to_string("/proc/self/statm")
        .ok()?
        .split(' ')
        .nth(1)?
        .parse()
        .ok()
}
