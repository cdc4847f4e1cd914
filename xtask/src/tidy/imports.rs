//! Who may import whom: the table of the architecture, as data.

use std::collections::BTreeSet;

use anyhow::Result;
use cargo_metadata::DependencyKind;

use super::super::scratch;
use super::Tidy;

/// What one crate may depend on, development dependencies aside.
struct Rule {
    name: &'static str,
    /// Crates of this workspace.
    ours: &'static [&'static str],
    /// Crates of others; `None` leaves the choice free.
    others: Option<&'static [&'static str]>,
    /// Crates of this workspace that only its tests may use.
    tests: &'static [&'static str],
    /// Crates of others that only optional dependencies (features) may bring in.
    optional: &'static [&'static str],
}

const PURE: &[&str] = &["ostler-wire", "ostler-tree", "ostler-zab", "ostler-store", "ostler-node"];

const TABLE: [Rule; 11] = [
    Rule { name: "ostler-wire", ours: &[], tests: &[], others: Some(&["bytes", "thiserror"]), optional: &[] },
    Rule {
        name: "ostler-tree",
        ours: &["ostler-wire"],
        tests: &[],
        others: Some(&["bytes", "crc32fast", "foldhash", "hashbrown", "thiserror"]),
        optional: &[],
    },
    Rule {
        name: "ostler-zab",
        ours: &["ostler-wire"],
        tests: &[],
        others: Some(&["bytes", "thiserror"]),
        optional: &[],
    },
    Rule {
        name: "ostler-store",
        ours: &["ostler-wire"],
        tests: &[],
        others: Some(&["bytes", "flate2", "simd-adler32", "snap", "thiserror"]),
        optional: &[],
    },
    Rule {
        name: "ostler-node",
        ours: &["ostler-store", "ostler-tree", "ostler-wire", "ostler-zab"],
        tests: &[],
        others: Some(&["base64", "bytes", "sha1", "sha2", "thiserror"]),
        optional: &[],
    },
    Rule {
        name: "ostler-client",
        ours: &["ostler-wire"],
        tests: &["ostler-tree"],
        others: Some(&["bytes", "thiserror"]),
        optional: &["futures-core", "serde_json", "socket2", "tokio", "tracing"],
    },
    Rule {
        name: "ostler-server",
        ours: &["ostler-node", "ostler-store", "ostler-tree", "ostler-wire", "ostler-zab"],
        tests: &[],
        others: None,
        optional: &[],
    },
    Rule {
        name: "ostler",
        ours: &["ostler-client", "ostler-server", "ostler-store", "ostler-tree", "ostler-wire"],
        tests: &[],
        others: None,
        optional: &[],
    },
    Rule {
        name: "ostler-sim",
        ours: &["ostler-client", "ostler-node", "ostler-store", "ostler-tree", "ostler-wire", "ostler-zab"],
        tests: &[],
        others: None,
        optional: &[],
    },
    Rule {
        name: "ostler-fuzz",
        ours: &[
            "ostler-client",
            "ostler-node",
            "ostler-server",
            "ostler-store",
            "ostler-tree",
            "ostler-wire",
            "ostler-zab",
        ],
        tests: &[],
        others: None,
        optional: &[],
    },
    // The histories that chaos makes of real servers are judged by the simulator's judges.
    Rule {
        name: "xtask",
        ours: &["ostler-client", "ostler-node", "ostler-sim", "ostler-store", "ostler-tree", "ostler-wire"],
        tests: &[],
        others: None,
        optional: &[],
    },
];

/// Checks every dependency of every member; the answer is how many there were.
pub(crate) fn check(tidy: &mut Tidy) -> Result<usize> {
    let metadata = scratch::metadata()?;
    let members: BTreeSet<&str> =
        metadata.workspace_packages().iter().map(|package| package.name.as_str()).collect();
    let mut edges = 0;
    for package in metadata.workspace_packages() {
        let name = package.name.as_str();
        let Some(rule) = TABLE.iter().find(|rule| rule.name == name) else {
            tidy.find(
                name,
                "this crate is not in the table of who may import whom (xtask/src/tidy/imports.rs)",
            );
            continue;
        };
        for dependency in &package.dependencies {
            edges += 1;
            let wanted = dependency.name.as_str();
            let test_only = dependency.kind == DependencyKind::Development;
            if members.contains(wanted) {
                // Tests may look downwards only as well, except for the crate's own fixtures.
                let own_fixtures = test_only && wanted == name;
                let for_tests = test_only && rule.tests.contains(&wanted);
                if !own_fixtures && !for_tests && !rule.ours.contains(&wanted) {
                    tidy.find(name, format!("must not use {wanted}"));
                }
                if wanted == "ostler-client" && name == "ostler-sim" && dependency.uses_default_features {
                    tidy.find(name, "must take ostler-client without default features");
                }
                continue;
            }
            let allowed = rule.others.is_none_or(|others| others.contains(&wanted))
                || (dependency.optional && rule.optional.contains(&wanted))
                || (test_only && !is_runtime(wanted))
                || (test_only && rule.optional.contains(&wanted));
            if !allowed {
                tidy.find(name, format!("must not use {wanted}"));
            }
            if wanted == "tokio" && name == "ostler-sim" {
                tidy.find(name, "the simulator owns time: no tokio");
            }
        }
    }
    for rule in &TABLE {
        if !members.contains(rule.name) {
            tidy.find(rule.name, "this crate is in the table but not in the workspace");
        }
    }
    Ok(edges)
}

/// Crates that bring threads, sockets or a clock of their own, which even tests of a pure crate do without.
fn is_runtime(name: &str) -> bool {
    ["tokio", "mio", "async-std", "smol"].contains(&name)
}

/// True for the crates that know neither clock nor socket.
pub(crate) fn is_pure(name: &str) -> bool {
    PURE.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_no_way_back_up() {
        for rule in &TABLE {
            for below in rule.ours {
                let lower =
                    TABLE.iter().find(|other| other.name == *below).expect("every name is in the table");
                assert!(!lower.ours.contains(&rule.name), "{} and {below} import each other", rule.name);
            }
        }
    }
}
