//! Every input of the corpora goes through its target, without a fuzzer.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ostler_fuzz::{MAX_INPUT, TARGETS};

fn corpora() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

#[test]
fn every_input_of_every_corpus() {
    let (mut files, mut total) = (0, 0);
    for target in TARGETS {
        let mut of_target = 0;
        let dir = corpora().join(target.name);
        let entries = std::fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        for path in paths {
            let input = std::fs::read(&path).unwrap();
            assert!(input.len() <= MAX_INPUT, "{}", path.display());
            // Captured by the test's output: the last line names the input that failed.
            println!("{}", path.display());
            let started = Instant::now();
            (target.run)(&input);
            assert!(started.elapsed() < Duration::from_secs(5), "{} takes too long", path.display());
            of_target += 1;
            total += input.len();
        }
        assert!(of_target > 0, "the corpus of {} is empty", target.name);
        files += of_target;
    }
    println!("{files} inputs, {total} bytes");
    assert!(total < 1 << 20, "corpora of {total} bytes: cargo xtask fuzz --minimise");
}

#[test]
fn corpora_belong_to_targets() {
    for entry in std::fs::read_dir(corpora()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(ostler_fuzz::find(&name).is_some(), "corpus {name} has no target");
    }
}

#[test]
fn short_and_simple_inputs() {
    for target in TARGETS {
        (target.run)(&[]);
        for byte in 0..=u8::MAX {
            (target.run)(&[byte]);
            if byte % 16 > 1 {
                continue;
            }
            for fill in [0, 1, 0x7f, 0xff] {
                let mut input = vec![fill; 40];
                input[0] = byte;
                (target.run)(&input);
            }
        }
    }
}
