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
