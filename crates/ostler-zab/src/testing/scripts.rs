//! Every script in `scripts/` says what happened when it was written. `UPDATE_GOLDEN=1` writes it anew; the diff is
//! the review.

use std::path::Path;

use super::script;

#[test]
fn scripts_say_what_they_said() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut paths: Vec<_> = std::fs::read_dir(dir)
        .expect("the scripts are there")
        .map(|entry| entry.expect("a name").path())
        .collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    let mut wrong = Vec::new();
    for path in &paths {
        let golden = std::fs::read_to_string(path).expect("text");
        let Ok(said) = std::panic::catch_unwind(|| script::run(&golden)) else {
            wrong.push(path);
            continue;
        };
        if said == golden {
            continue;
        }
        if update {
            std::fs::write(path, said).expect("the golden file can be written");
        } else {
            println!("{} says now:\n{said}", path.display());
            wrong.push(path);
        }
    }
    println!("{} scripts", paths.len());
    assert!(wrong.is_empty(), "{wrong:?} say something else");
    assert!(paths.len() >= 45, "{} scripts", paths.len());
}

/// The table of replays names what is there: every script of a bug, and tests of other crates.
#[test]
fn every_replay_in_the_table_is_there() {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = crate_dir.join("../../docs");
    let table = std::fs::read_to_string(docs.join("replays.md")).expect("the table is there");
    let (mut rows, mut bugs, mut open, mut listed) = (0, 0, 0, Vec::new());
    for line in table.lines().filter(|line| line.starts_with("| ") && line.contains("](../")) {
        let ids = line.split('|').nth(1).expect("a first column");
        rows += 1;
        open += usize::from(ids.contains("open"));
        bugs += ids.split(',').filter(|id| id.trim().parse::<u32>().is_ok()).count();
        let (_, target) = line.split_once("](").expect("a link");
        let (path, rest) = target.split_once(')').expect("a link that ends");
        let text = std::fs::read_to_string(docs.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        match rest.split('`').nth(1) {
            Some(test) => assert!(text.contains(&format!("fn {test}(")), "{path} has no test {test}"),
            None => listed.push(path.rsplit('/').next().expect("a name").to_owned()),
        }
    }
    for entry in std::fs::read_dir(crate_dir.join("scripts")).expect("the scripts are there") {
        let name = entry.expect("a name").file_name().into_string().expect("text");
        assert!(!name.starts_with("zk_") || listed.contains(&name), "{name} is not in the table");
    }
    println!("{rows} replays of {bugs} bugs, {open} of them open upstream; {} are scripts", listed.len());
    assert!(rows >= 53 && open >= 9, "{rows} replays, {open} open");
}
