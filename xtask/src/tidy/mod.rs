//! `cargo xtask tidy`: the rules of the house that a compiler does not know.
//!
//! Who may import whom, what a pure crate may not mention, how a source file opens, and whether the documents that
//! others link to are there. It reads `cargo metadata` and the files git knows; it changes nothing.

mod imports;
mod links;
mod sources;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::scratch;

/// A broken rule: where, and what.
#[derive(Debug)]
pub(crate) struct Finding {
    place: String,
    what: String,
}

/// Everything that is looked at, and what was found.
#[derive(Debug, Default)]
pub(crate) struct Tidy {
    findings: Vec<Finding>,
}

impl Tidy {
    /// Notes a broken rule.
    pub(crate) fn find(&mut self, place: impl Into<String>, what: impl Into<String>) {
        self.findings.push(Finding { place: place.into(), what: what.into() });
    }
}

/// Runs every check and prints what it found; the text is a line of counts.
pub(crate) fn run() -> Result<String> {
    let root = scratch::workspace_root()?;
    let files = tracked_files(&root)?;
    let mut tidy = Tidy::default();
    let edges = imports::check(&mut tidy)?;
    let sources = sources::check(&mut tidy, &root, &files)?;
    let links = links::check(&mut tidy, &root, &files)?;
    for Finding { place, what } in &tidy.findings {
        println!("{place}: {what}");
    }
    let counts = format!("{edges} dependency edges, {sources} source files, {links} links");
    println!("tidy: {counts} checked, {} findings", tidy.findings.len());
    ensure!(edges >= 10 && sources >= 10, "tidy looked at next to nothing ({counts})");
    ensure!(tidy.findings.is_empty(), "{} findings", tidy.findings.len());
    Ok(counts)
}

/// Files that git tracks or would track.
fn tracked_files(root: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("run git ls-files")?;
    ensure!(output.status.success(), "git ls-files failed");
    let text = String::from_utf8(output.stdout).context("file names are UTF-8")?;
    let mut files: Vec<PathBuf> =
        text.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from).collect();
    files.retain(|file| root.join(file).is_file());
    files.sort();
    Ok(files)
}
