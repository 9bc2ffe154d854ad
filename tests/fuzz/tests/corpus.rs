//! What the fuzzer found worth keeping is taken as before: without a panic, and soon.

use std::path::Path;
use std::time::{Duration, Instant};

use sluss_fuzz::TARGETS;

#[test]
fn the_corpus_of_every_target_is_taken() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for target in TARGETS {
        let folder = corpus.join(target.name);
        let entries = std::fs::read_dir(&folder).expect("every target has a corpus");
        let mut count = 0;
        for entry in entries {
            let path = entry.expect("it can be read").path();
            println!("{}", path.display());
            let bytes = std::fs::read(&path).expect("it can be read");
            let begin = Instant::now();
            (target.run)(&bytes);
            let took = begin.elapsed();
            assert!(took < Duration::from_secs(2), "took {took:?}");
            count += 1;
        }
        assert!(count >= 5, "{} has no corpus", target.name);
    }
}

#[test]
fn nothing_and_noise_are_taken() {
    for target in TARGETS {
        (target.run)(&[]);
        for byte in 0..=255 {
            for length in [1, 2, 16, 255, 5000] {
                (target.run)(&vec![byte; length]);
            }
        }
    }
}
