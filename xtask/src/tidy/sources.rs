//! What a source file may not contain, how it opens, and how long it may be.
//!
//! Clippy holds most of this where it runs; this holds it everywhere. Strings and comments are not told apart from
//! code by parsing: a line comment is cut off, and everything behind `#[cfg(test)]` counts as tests.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Tidy;
use super::imports::is_pure;

/// Lines from which a file needs a second noun.
const LONGEST: usize = 800;

/// Words that a pure crate does not say outside its tests, each with what to do instead.
const PURE_BANS: [(&str, &str); 12] = [
    ("Instant::now", "take `now` as an argument"),
    ("SystemTime::now", "take `now` as an argument"),
    ("std::fs", "go through `Disk`"),
    ("std::net", "emit an Output"),
    ("std::env::var", "configuration is an argument"),
    ("thread::spawn", "emit an Output"),
    ("thread::sleep", "emit a deadline"),
    ("std::sync::Mutex", "one owner"),
    ("std::sync::RwLock", "one owner"),
    ("RandomState", "order must not depend on a hasher's seed"),
    (".unwrap()", "say why it holds: expect(\"…\")"),
    ("tokio::", "no runtime here"),
];

/// The checks' own files: they must be able to name what they look for.
const SELF: &str = "xtask/src/tidy/";

/// Checks every Rust file, and every text for words that do not belong; the answer is how many Rust files there were.
pub(crate) fn check(tidy: &mut Tidy, root: &Path, files: &[PathBuf]) -> Result<usize> {
    let mut count = 0;
    for file in files {
        let place = file.display().to_string();
        if place.starts_with(SELF) {
            continue;
        }
        let Some(extension) = file.extension().and_then(|extension| extension.to_str()) else { continue };
        if !["rs", "md", "toml", "sh", "yml", "yaml"].contains(&extension) {
            continue;
        }
        let text = std::fs::read_to_string(root.join(file)).with_context(|| format!("read {place}"))?;
        check_words(tidy, &place, &text);
        if extension == "rs" {
            count += 1;
            check_rust(tidy, &place, &text);
        }
    }
    Ok(count)
}

/// Words that belong in no file of the project.
fn check_words(tidy: &mut Tidy, place: &str, text: &str) {
    // Paths of one machine, spelled in two parts so that this file may pass its own check.
    let workplace = [concat!("/wo", "rk/"), concat!("/tmp/", "team")];
    for (number, line) in text.lines().enumerate() {
        for word in workplace {
            // "/network/" and the like contain the word; a path of the machine starts with it.
            let hit = line.match_indices(word).any(|(at, _)| {
                at == 0
                    || !line[..at]
                        .ends_with(|c: char| c.is_alphanumeric() || matches!(c, '/' | '_' | '-' | '.'))
            });
            if hit {
                tidy.find(format!("{place}:{}", number + 1), format!("names a path of one machine: {word}"));
            }
        }
    }
}

fn check_rust(tidy: &mut Tidy, place: &str, text: &str) {
    let lines = text.lines().count();
    if lines > LONGEST {
        tidy.find(place, format!("{lines} lines; look for the second noun in it (at most {LONGEST})"));
    }
    let in_tests = place.contains("/tests/")
        || ["/tests.rs", "_tests.rs", "/testing/scripts.rs", "/testing/models.rs"]
            .iter()
            .any(|end| place.ends_with(end));
    if place.contains("/src/") && !in_tests && !opens_with_paragraph(text) {
        tidy.find(place, "does not open with a `//!` paragraph: what it is and what it may assume");
    }
    let pure = place.strip_prefix("crates/").and_then(|rest| rest.split('/').next()).is_some_and(is_pure);
    let mut tests = in_tests;
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("#[cfg(test)]") {
            tests = true;
        }
        let code = line.split("//").next().unwrap_or_default();
        let at = || format!("{place}:{}", number + 1);
        for word in ["TODO", "FIXME"] {
            if line.contains(word) {
                tidy.find(at(), format!("{word}: file an issue, or do it"));
            }
        }
        if code.contains("dbg!(") {
            tidy.find(at(), "dbg! left behind");
        }
        if pure && !tests && place.contains("/src/") {
            for (word, instead) in PURE_BANS {
                if code.contains(word) {
                    tidy.find(at(), format!("{word} in a pure crate: {instead}"));
                }
            }
        }
    }
}

/// True if the first thing said is a `//!` paragraph.
fn opens_with_paragraph(text: &str) -> bool {
    let first = text.lines().find(|line| !line.trim().is_empty() && !line.starts_with("#!["));
    first.is_some_and(|line| line.strip_prefix("//!").is_some_and(|rest| rest.trim().len() > 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(place: &str, text: &str) -> usize {
        let mut tidy = Tidy::default();
        check_words(&mut tidy, place, text);
        check_rust(&mut tidy, place, text);
        tidy.findings.len()
    }

    #[test]
    fn bans_bite_in_pure_crates_only_and_not_in_tests() {
        let clock = "//! A module about time.\nfn now() { std::time::Instant::now(); }\n";
        assert_eq!(findings("crates/ostler-node/src/node.rs", clock), 1);
        assert_eq!(findings("crates/ostler-server/src/run.rs", clock), 0);
        let tested =
            "//! A module about time.\n#[cfg(test)]\nmod tests { fn now() { std::time::Instant::now(); } }\n";
        assert_eq!(findings("crates/ostler-node/src/node.rs", tested), 0);
    }

    #[test]
    fn a_file_opens_with_its_paragraph_and_ends_in_time() {
        assert_eq!(findings("crates/ostler/src/a.rs", "fn main() {}\n"), 1);
        let long = format!("//! A long story, told in full.\n{}", "fn f() {}\n".repeat(LONGEST));
        assert_eq!(findings("crates/ostler/src/a.rs", &long), 1);
    }

    #[test]
    fn a_path_of_the_machine_is_found_and_a_longer_word_is_not() {
        let text = format!("//! See {} for it, but net{}x.\n", concat!("/wo", "rk/x"), "work/");
        assert_eq!(findings("crates/ostler/src/a.rs", &text), 1);
    }
}
