//! Documents that must be there, and links in Markdown that must lead somewhere.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Tidy;

/// Pages that code, CI and people point to.
const PAGES: [&str; 2] = ["docs/compat.md", "docs/track-record.md"];

/// Checks pages and links; the answer is how many links there were.
pub(crate) fn check(tidy: &mut Tidy, root: &Path, files: &[PathBuf]) -> Result<usize> {
    for page in PAGES {
        if !root.join(page).is_file() {
            tidy.find(page, "this page must exist");
        }
    }
    let mut count = 0;
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "md")) {
        let text =
            std::fs::read_to_string(root.join(file)).with_context(|| format!("read {}", file.display()))?;
        let folder = root.join(file.parent().unwrap_or_else(|| Path::new("")));
        for (number, target) in targets(&text) {
            if target.contains("://") || target.starts_with('#') || target.starts_with("mailto:") {
                continue;
            }
            count += 1;
            let path = target.split('#').next().unwrap_or_default();
            let resolved = path.strip_prefix('/').map_or_else(|| folder.join(path), |rest| root.join(rest));
            if !resolved.exists() {
                tidy.find(
                    format!("{}:{number}", file.display()),
                    format!("link to a file that is not there: {path}"),
                );
            }
        }
    }
    Ok(count)
}

/// The targets of inline links, with their line numbers; fenced code is skipped.
fn targets(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        for part in line.split("](").skip(1) {
            if let Some((target, _)) = part.split_once(')') {
                let target = target.split_whitespace().next().unwrap_or_default();
                found.push((number + 1, target.to_owned()));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inline_links_are_found_and_code_is_not() {
        let text = "see [a](b.md#x) and [c](d/e.rs \"title\")\n```\n[no](code.md)\n```\n";
        assert_eq!(targets(text), [(1, "b.md#x".to_owned()), (1, "d/e.rs".to_owned())]);
    }
}
