//! `cargo xtask ci` (alias `cargo ci`): exactly what CI runs, stage by stage, with one table at the end.
//!
//! Every stage runs even if one before it failed. A stage that had next to nothing to do counts as failed: green must
//! mean that something was looked at.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use super::scratch;

/// So many random ensembles are simulated: about 70 seconds on two processors.
const ENSEMBLES: u64 = 1_500;

/// How much must have happened in each thousand simulated ensembles: less would not be a search under load.
const LEAST_OF_A_THOUSAND: [(&str, u64); 6] = [
    ("client operations", 500_000),
    ("crashes", 1_000),
    ("leader changes", 1_000),
    ("DIFF", 100),
    ("TRUNC", 100),
    ("SNAP", 100),
];

/// Fewest tests that `cargo test --workspace` must have run.
const LEAST_TESTS: u64 = 50;

/// So many recipes of the client must `cargo test --workspace` have run under faults, each of them so often.
const LEAST_RECIPES: usize = 23;
const LEAST_SCHEDULES: u64 = 1_000;

/// Options of the stage.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Also run `cargo deny check bans licenses sources` (installs cargo-deny if it is missing, which takes minutes).
    #[arg(long)]
    with_deny: bool,
    /// Run only stages whose name contains this.
    #[arg(long)]
    only: Option<String>,
    /// Also run the stages that want a quiet machine.
    #[arg(long)]
    all: bool,
}

/// How a stage ended, with what it counted or why not.
enum Ending {
    Pass(String),
    Fail(String),
    Skipped(String),
}

/// One stage: its name and what it does.
type Stage = (&'static str, fn(&Options) -> Result<Ending>);

const STAGES: [Stage; 14] = [
    ("fmt", fmt),
    ("clippy", clippy),
    ("doc", doc),
    ("test", test),
    ("tidy", tidy),
    ("deny", deny),
    ("interop", interop),
    ("ensemble", ensemble),
    ("migrate", migrate),
    ("shell", shell),
    ("differential", differential),
    ("sim", sim),
    ("sim ensembles", sim_ensembles),
    ("chaos", chaos),
];

/// What only `--all` and `--only` run: real ensembles, whose elections and clients a busy machine can starve.
const WITH_ALL: [&str; 3] = ["ensemble", "migrate", "chaos"];

/// Runs all stages and prints the table.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut table: Vec<(&str, Duration, Ending)> = Vec::new();
    for (name, stage) in STAGES {
        if options.only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
            continue;
        }
        if options.only.is_none() && !options.all && WITH_ALL.contains(&name) {
            println!("==== {name}: not run without --all");
            continue;
        }
        println!("==== {name}");
        let started = Instant::now();
        let ending = stage(options).unwrap_or_else(|error| Ending::Fail(format!("{error:#}")));
        table.push((name, started.elapsed(), ending));
    }
    println!("==== summary");
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for (name, took, ending) in &table {
        let (word, note) = match ending {
            Ending::Pass(note) => {
                passed += 1;
                ("PASS", note)
            }
            Ending::Fail(note) => {
                failed += 1;
                ("FAIL", note)
            }
            Ending::Skipped(note) => {
                skipped += 1;
                ("SKIPPED", note)
            }
        };
        println!("{word:<8} {name:<13} {:>6.1} s  {note}", took.as_secs_f64());
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    ensure!(!table.is_empty(), "no stage ran");
    ensure!(failed == 0, "{failed} stages failed");
    Ok(())
}

// ---- stages

fn fmt(_: &Options) -> Result<Ending> {
    if !has("fmt") {
        return Ok(missing("rustfmt"));
    }
    cargo(&["fmt", "--all", "--check"], &[])?;
    Ok(Ending::Pass("formatted".to_owned()))
}

fn clippy(_: &Options) -> Result<Ending> {
    if !has("clippy") {
        return Ok(missing("clippy"));
    }
    cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"], &[])?;
    Ok(Ending::Pass("no warnings".to_owned()))
}

fn doc(_: &Options) -> Result<Ending> {
    cargo(
        &["doc", "--workspace", "--no-deps", "--document-private-items", "--quiet"],
        &[("RUSTDOCFLAGS", "-D warnings")],
    )?;
    Ok(Ending::Pass("no warnings".to_owned()))
}

fn test(_: &Options) -> Result<Ending> {
    let output = cargo_output(&["test", "--workspace"])?;
    print!("{}", output.text);
    let (passed, failed, ignored) = count_tests(&output.text);
    ensure!(output.success && failed == 0, "{failed} of {} tests failed, or cargo did", passed + failed);
    ensure!(passed >= LEAST_TESTS, "only {passed} tests ran; at least {LEAST_TESTS} must");
    let recipes = count_schedules(&output.text);
    ensure!(recipes.len() >= LEAST_RECIPES, "schedules of {} recipes only; {recipes:?}", recipes.len());
    let least = recipes.iter().map(|(_, count)| *count).min().unwrap_or(0);
    ensure!(least >= LEAST_SCHEDULES, "fewer than {LEAST_SCHEDULES} schedules of a recipe: {recipes:?}");
    let (kinds, schedules) = (recipes.len(), recipes.iter().map(|(_, count)| count).sum::<u64>());
    Ok(Ending::Pass(format!(
        "{passed} tests passed, {ignored} ignored; {schedules} schedules of {kinds} recipes"
    )))
}

fn tidy(_: &Options) -> Result<Ending> {
    super::tidy::run().map(Ending::Pass)
}

fn deny(options: &Options) -> Result<Ending> {
    if !options.with_deny {
        return Ok(Ending::Skipped("ask for it with --with-deny".to_owned()));
    }
    if !has("deny") {
        cargo(&["install", "cargo-deny", "--locked", "--quiet"], &[])?;
    }
    cargo(&["deny", "check", "bans", "licenses", "sources"], &[])?;
    Ok(Ending::Pass("bans, licenses, sources".to_owned()))
}

fn interop(_: &Options) -> Result<Ending> {
    let text = xtask(&["interop", "kazoo", "--smoke", "--lanes", "3"])?;
    let lines = text.lines().filter(|line| line.contains(" passed, ") || line.starts_with("Java shell"));
    Ok(Ending::Pass(lines.collect::<Vec<_>>().join("; ")))
}

/// Two of the mixtures, shortly: Java and Ostler as leader and follower of one another, and a Java observer.
fn ensemble(_: &Options) -> Result<Ending> {
    let short = ["--ops", "4000", "--leader-changes", "2", "--only", "JJO", "--only", "OOj"];
    let text = xtask(&[["interop", "ensemble"].as_slice(), short.as_slice()].concat())?;
    let line = text.lines().find(|line| line.starts_with("ensembles: ")).context("no counts were printed")?;
    let counts: Vec<u64> = numbers(line).collect();
    let enough = matches!(counts[..], [2, acked, 4, 13] if acked >= 4_000);
    ensure!(enough, "too little ran: {line}");
    Ok(Ending::Pass(line.to_owned()))
}

/// Three servers of Java become Ostler and Java again; one of Ostler becomes three and one again.
fn migrate(_: &Options) -> Result<Ending> {
    let mut notes = Vec::new();
    for (task, start) in [("migrate", "migration: "), ("grow", "one server, three, one: ")] {
        let text = xtask(&["interop", task, "--rest", "2"])?;
        let line = text.lines().find(|line| line.starts_with(start)).context("no counts were printed")?;
        notes.push(line.to_owned());
    }
    Ok(Ending::Pass(notes.join("; ")))
}

fn shell(_: &Options) -> Result<Ending> {
    let text = xtask(&["interop", "shell", "--lanes", "3"])?;
    let lines = text.lines().filter(|line| line.starts_with("shell: "));
    Ok(Ending::Pass(lines.collect::<Vec<_>>().join("; ")))
}

fn differential(_: &Options) -> Result<Ending> {
    let seed = std::process::id().to_string();
    println!("seed {seed}");
    let text = xtask(&["differential", "--ops", "5000", "--segment-ops", "1250", "--seed", &seed])?;
    let line = text.lines().find(|line| line.starts_with("compared: ")).context("no counts were printed")?;
    Ok(Ending::Pass(format!("seed {seed}: {line}")))
}

fn sim(_: &Options) -> Result<Ending> {
    let output = cargo_output(&["sim", "--recoveries", "2000"])?;
    print!("{}", output.text);
    ensure!(output.success, "cargo sim failed");
    let line = output.text.lines().rev().find(|line| line.contains("recoveries"));
    let Some(line) = line else { bail!("cargo sim told no count of recoveries") };
    let most = numbers(line).max().unwrap_or(0);
    ensure!(most >= 2_000, "fewer than 2000 recoveries: {line}");
    Ok(Ending::Pass(line.trim().to_owned()))
}

fn chaos(_: &Options) -> Result<Ending> {
    let text = xtask(&["chaos", "--rounds", "4", "--seconds", "12"])?;
    if let Some(line) = text.lines().find(|line| line.starts_with("SKIPPED chaos")) {
        return Ok(Ending::Skipped(line.to_owned()));
    }
    let line = text.lines().find(|line| line.starts_with("chaos: ")).context("no counts were printed")?;
    Ok(Ending::Pass(line.to_owned()))
}

/// The simulator checks the totals itself, in proportion to the seeds, and says so with its exit status.
fn sim_ensembles(_: &Options) -> Result<Ending> {
    let output = cargo_output(&["sim", "--seeds", &ENSEMBLES.to_string()])?;
    print!("{}", output.text);
    ensure!(output.success, "cargo sim --seeds {ENSEMBLES} failed");
    let Some(line) = output.text.lines().find(|line| line.contains(" seeds, ")) else {
        bail!("cargo sim told no count of seeds")
    };
    let seeds = numbers(line).next().unwrap_or(0);
    ensure!(seeds >= ENSEMBLES, "fewer than {ENSEMBLES} seeds: {line}");
    let pairs = numbers(line).nth(1).unwrap_or(0);
    ensure!(pairs >= ENSEMBLES / 50, "fewer than {} pairs: {line}", ENSEMBLES / 50);
    for (what, of_a_thousand) in LEAST_OF_A_THOUSAND {
        let least = ENSEMBLES * of_a_thousand / 1_000;
        let count =
            count_of(&output.text, what).with_context(|| format!("cargo sim told no count of {what}"))?;
        ensure!(count >= least, "{count} {what} in {ENSEMBLES} seeds, fewer than {least}");
    }
    let totals = output.text.lines().filter(|line| line.starts_with("  ")).map(str::trim);
    Ok(Ending::Pass(format!("{line}; {}", totals.collect::<Vec<_>>().join("; "))))
}

// ---- running things

struct Output {
    success: bool,
    text: String,
}

fn cargo_command(arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new("cargo");
    command.args(arguments).current_dir(scratch::workspace_root()?).stdin(Stdio::null());
    Ok(command)
}

fn cargo(arguments: &[&str], environment: &[(&str, &str)]) -> Result<()> {
    let mut command = cargo_command(arguments)?;
    command.envs(environment.iter().copied());
    let status = command.status().context("run cargo")?;
    ensure!(status.success(), "cargo {} failed", arguments.join(" "));
    Ok(())
}

/// Runs cargo with standard error passed through and standard output kept.
fn cargo_output(arguments: &[&str]) -> Result<Output> {
    let output = cargo_command(arguments)?.stderr(Stdio::inherit()).output().context("run cargo")?;
    Ok(Output {
        success: output.status.success(),
        text: String::from_utf8_lossy(&output.stdout).into_owned(),
    })
}

/// Runs another task of this very program in a process of its own.
fn xtask(arguments: &[&str]) -> Result<String> {
    let output = Command::new(std::env::current_exe()?)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("run xtask")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    print!("{text}");
    ensure!(output.status.success(), "cargo xtask {} failed", arguments.join(" "));
    Ok(text)
}

fn has(subcommand: &str) -> bool {
    let found = Command::new("cargo")
        .args([subcommand, "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    found.is_ok_and(|status| status.success())
}

fn missing(component: &str) -> Ending {
    println!("!!!! {component} IS NOT INSTALLED: this stage checked nothing; tidy holds what bans it can");
    Ending::Skipped(format!("{component} is not installed; `rustup component add {component}`"))
}

/// Sums the closing lines of all test binaries: passed, failed, ignored.
fn count_tests(text: &str) -> (u64, u64, u64) {
    let mut sums = (0, 0, 0);
    for line in text.lines().filter(|line| line.starts_with("test result:")) {
        let mut found = numbers(line);
        sums.0 += found.next().unwrap_or(0);
        sums.1 += found.next().unwrap_or(0);
        sums.2 += found.next().unwrap_or(0);
    }
    sums
}

/// The recipes of the client, and how many schedules of each ran. The name of a test may stand before a count.
fn count_schedules(text: &str) -> Vec<(&str, u64)> {
    let counts = text.lines().filter_map(|line| {
        let (before, _) = line.split_once(" schedules, ")?;
        let (name, count) = before.rsplit_once(": ")?;
        Some((name.rsplit(' ').next()?, count.parse().ok()?))
    });
    counts.collect()
}

/// The number behind a name.
fn count_of(text: &str, name: &str) -> Option<u64> {
    let (_, behind) = text.split_once(&format!("{name} "))?;
    numbers(behind).next()
}

/// The whole numbers in a text; separators inside a number (`50,000`) do not part it.
fn numbers(text: &str) -> impl Iterator<Item = u64> + '_ {
    text.split_whitespace().filter_map(|word| {
        let word = word.trim_end_matches(['.', ':', ';', ',']);
        let digits: String = word.chars().filter(|c| !matches!(c, ',' | '_')).collect();
        digits.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_are_summed() {
        let text = "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
                    test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s\n";
        assert_eq!(count_tests(text), (5, 1, 1));
    }

    #[test]
    fn schedules_are_counted_by_recipe() {
        let text = "test locks::lock ... lock: 1000 schedules, 5 requests; lost before 3\nok\n\
                    ids: 1200 schedules, 7 requests; lost before 1\ntest values::ids ... ok\n";
        assert_eq!(count_schedules(text), [("lock", 1000), ("ids", 1200)]);
    }

    #[test]
    fn a_total_is_found_by_its_name() {
        let text = "  client operations 1621659, acknowledged 7\n  crashes 8759, of them power cuts 4, leader changes 6373\n";
        assert_eq!(count_of(text, "client operations"), Some(1_621_659));
        assert_eq!(count_of(text, "leader changes"), Some(6373));
        assert_eq!(count_of(text, "SNAP"), None);
    }

    #[test]
    fn numbers_keep_their_separators() {
        assert_eq!(numbers("done: 50,000 recoveries, 3_000 images").collect::<Vec<_>>(), [50_000, 3_000]);
    }
}
