//! The test of the tester: bugs are planted in the real code, one at a time, and each has to be found.

/// Builds the simulator with the planted bugs, into a folder of its own, and runs it there.
#[cfg(not(ostler_zoo))]
pub(crate) fn run() -> anyhow::Result<bool> {
    use anyhow::Context as _;

    let variable = |name, other: &str| std::env::var_os(name).unwrap_or_else(|| other.into());
    let target = std::path::PathBuf::from(variable("CARGO_TARGET_DIR", "target")).join("zoo");
    let status = std::process::Command::new(variable("CARGO", "cargo"))
        .args(["run", "--quiet", "--profile", "sim", "--package", "ostler-sim", "--", "zoo"])
        .env("RUSTFLAGS", "--cfg ostler_zoo")
        .env("CARGO_TARGET_DIR", target)
        .status()
        .context("cannot run cargo to build the zoo")?;
    Ok(status.success())
}

/// Plants one bug after the other and looks for it, a minute at the most on one processor.
#[cfg(ostler_zoo)]
#[expect(clippy::print_stdout, reason = "the report of a command")]
#[expect(clippy::unnecessary_wraps, reason = "the other build can fail")]
pub(crate) fn run() -> anyhow::Result<bool> {
    use std::time::{Duration, Instant};

    use ostler_wire::zoo::{Mutation, plant};

    let mut missed = 0;
    for mutation in Mutation::ALL {
        plant(mutation);
        let began = Instant::now();
        let found = crate::crash::hunt(Duration::from_secs(60));
        let seconds = began.elapsed().as_secs_f64();
        missed += usize::from(found.is_none());
        let by = found.map_or_else(|| "NOT FOUND".to_owned(), |by| format!("found by {by}"));
        println!("{mutation:?}, {seconds:.1} s: {by}");
    }
    plant(Mutation::None);
    println!("{} planted, {missed} not found", Mutation::ALL.len());
    Ok(missed == 0)
}
