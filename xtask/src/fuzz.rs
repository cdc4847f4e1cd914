//! `cargo xtask fuzz`: builds the fuzzing binaries with the stable compiler and runs each for a number of executions.
//!
//! It may assume a C++ compiler, which libFuzzer needs to be built. New inputs go to `target/fuzz/corpus`; those that
//! are worth keeping for `cargo test` get into `crates/ostler-fuzz/corpus` by `--minimise`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use super::scratch;

/// What the compiler does to tell libFuzzer where an execution went; with [`COMPARES`] the same as cargo-fuzz asks for.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table --cfg fuzzing";
/// And what it was compared with on its way, which guesses keywords and lengths and takes three times as long.
const COMPARES: &str = "-Cllvm-args=-sanitizer-coverage-trace-compares";
/// Inputs are at most this long.
const MAX_INPUT: u32 = 64 << 10;
/// And those of most executions at most this.
const SHORT_INPUT: u32 = 1 << 10;
/// An execution that takes longer, in seconds, hangs.
const HANG_SECONDS: u32 = 5;
/// Of the minimised corpus, inputs above this size are left out.
const KEPT_INPUT_BYTES: u64 = 6 << 10;

/// Options of the task.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Executions of each target.
    #[arg(long, default_value_t = 100_000)]
    runs: u64,
    /// Only targets whose name contains this.
    #[arg(long)]
    target: Option<String>,
    /// How many targets run at a time.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// Afterwards, put the smallest inputs that reach everything into the committed corpora.
    #[arg(long)]
    minimise: bool,
    /// The most inputs that a committed corpus takes up by --minimise.
    #[arg(long, default_value_t = 30)]
    keep: usize,
}

/// What became of one target.
struct Verdict {
    target: String,
    executions: u64,
    corpus: usize,
    peak_bytes: u64,
    slowest_seconds: u64,
    seconds: f64,
    failed: Option<String>,
}

/// Runs the targets and prints a line for each.
pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(options.runs > 0 && options.jobs > 0, "at least one execution and one job");
    let root = scratch::workspace_root()?;
    let work = scratch::metadata()?.target_directory.clone().into_std_path_buf().join("fuzz");
    let binaries = Binaries {
        comparing: build(&root, &work.join("build"), &format!("{COVERAGE} {COMPARES}"))?,
        plain: build(&root, &work.join("build-plain"), COVERAGE)?,
    };
    let targets = targets(&root, options)?;
    let queue = Mutex::new(targets.iter().rev().cloned().collect::<Vec<_>>());
    let verdicts = Mutex::new(Vec::new());
    println!(
        "{:<17} {:>10} {:>7} {:>12} {:>8} {:>8}  verdict",
        "target", "executions", "corpus", "peak bytes", "slowest", "seconds"
    );
    std::thread::scope(|scope| {
        for _ in 0..options.jobs {
            scope.spawn(|| {
                while let Some(target) = next(&queue) {
                    let place = Place { root: &root, work: &work, binaries: &binaries };
                    let verdict = place.fuzz(&target, options.runs).unwrap_or_else(|error| Verdict {
                        target,
                        executions: 0,
                        corpus: 0,
                        peak_bytes: 0,
                        slowest_seconds: 0,
                        seconds: 0.0,
                        failed: Some(format!("{error:#}")),
                    });
                    print(&verdict);
                    verdicts.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(verdict);
                }
            });
        }
    });
    let verdicts = verdicts.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let executions: u64 = verdicts.iter().map(|verdict| verdict.executions).sum();
    let failed = verdicts.iter().filter(|verdict| verdict.failed.is_some()).count();
    println!("{} targets, {executions} executions, {failed} failed", verdicts.len());
    ensure!(failed == 0, "{failed} targets failed; the inputs are in {}", work.join("artifacts").display());
    if options.minimise {
        let place = Place { root: &root, work: &work, binaries: &binaries };
        for target in &targets {
            place.minimise(target, options.keep)?;
        }
    }
    Ok(())
}

fn next(queue: &Mutex<Vec<String>>) -> Option<String> {
    queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop()
}

fn print(verdict: &Verdict) {
    println!(
        "{:<17} {:>10} {:>7} {:>12} {:>6} s {:>8.0}  {}",
        verdict.target,
        verdict.executions,
        verdict.corpus,
        verdict.peak_bytes,
        verdict.slowest_seconds,
        verdict.seconds,
        verdict.failed.as_deref().unwrap_or("ok")
    );
}

/// Builds all binaries and says where they are.
fn build(root: &Path, into: &Path, flags: &str) -> Result<PathBuf> {
    let told = Command::new("rustc").arg("-vV").output().context("run rustc")?;
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    let host = told.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc tells no host")?;
    // With a target named, build scripts and macros are not instrumented.
    let status = Command::new("cargo")
        .args(["build", "--quiet", "--release", "--target", host, "--manifest-path"])
        .arg(root.join("fuzz/Cargo.toml"))
        .env("CARGO_TARGET_DIR", into)
        .env("RUSTFLAGS", flags)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .status()
        .context("run cargo")?;
    ensure!(status.success(), "the fuzzing binaries do not build");
    Ok(into.join(host).join("release"))
}

fn targets(root: &Path, options: &Options) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(root.join("fuzz/fuzz_targets")).context("list fuzz/fuzz_targets")? {
        let path = entry?.path();
        let Some(name) = path.file_stem().and_then(|name| name.to_str()) else { continue };
        if options.target.as_ref().is_none_or(|wanted| name.contains(wanted.as_str())) {
            names.push(name.to_owned());
        }
    }
    names.sort();
    ensure!(!names.is_empty(), "no target has such a name");
    Ok(names)
}

/// Where the binaries lie.
struct Binaries {
    /// Those that look at comparisons.
    comparing: PathBuf,
    plain: PathBuf,
}

struct Place<'a> {
    root: &'a Path,
    work: &'a Path,
    binaries: &'a Binaries,
}

impl Place<'_> {
    fn seeds(&self, target: &str) -> PathBuf {
        self.root.join("crates/ostler-fuzz/corpus").join(target)
    }

    fn corpus(&self, target: &str) -> PathBuf {
        self.work.join("corpus").join(target)
    }

    /// Most executions are of short inputs, which are quick and find nearly all, a tenth of all with a look at
    /// comparisons; one in 25 lets them grow as they find something, and the last hundredth begins with long ones.
    fn fuzz(&self, target: &str, runs: u64) -> Result<Verdict> {
        let started = Instant::now();
        let (corpus, artifacts, logs) =
            (self.corpus(target), self.work.join("artifacts"), self.work.join("logs"));
        for dir in [&corpus, &artifacts, &logs] {
            std::fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
        }
        let (comparing, growing, long) = (runs / 10, runs / 25, runs / 100);
        let Binaries { comparing: slow, plain } = self.binaries;
        let phases = [
            ("comparing", slow, comparing, SHORT_INPUT, 100),
            ("short", plain, runs - comparing - growing - long, SHORT_INPUT, 100),
            ("growing", plain, growing, MAX_INPUT, 100),
            ("long", plain, long, MAX_INPUT, 0),
        ];
        let mut verdict = Verdict {
            target: target.to_owned(),
            executions: 0,
            corpus: 0,
            peak_bytes: 0,
            slowest_seconds: 0,
            seconds: 0.0,
            failed: None,
        };
        for (phase, binaries, runs, longest, growth) in phases {
            if runs == 0 || verdict.failed.is_some() {
                continue;
            }
            let log = logs.join(format!("{target}-{phase}.log"));
            let status = Command::new(binaries.join(target))
                .args([format!("-runs={runs}"), format!("-max_len={longest}")])
                .args([format!("-len_control={growth}"), format!("-timeout={HANG_SECONDS}")])
                .args(["-print_final_stats=1", "-rss_limit_mb=2048"])
                .arg(format!("-artifact_prefix={}/{target}-", artifacts.display()))
                .args([&corpus, &self.seeds(target)])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(File::create(&log).with_context(|| format!("create {}", log.display()))?)
                .status()
                .with_context(|| format!("run the target {target}"))?;
            let text = String::from_utf8_lossy(&std::fs::read(&log)?).into_owned();
            verdict.executions += number_after(&text, "stat::number_of_executed_units:").unwrap_or(0);
            verdict.slowest_seconds =
                verdict.slowest_seconds.max(number_after(&text, "stat::slowest_unit_time_sec:").unwrap_or(0));
            verdict.peak_bytes = verdict.peak_bytes.max(number_after(&text, "peak allocation:").unwrap_or(0));
            if !status.success() {
                let why = text.lines().find(|line| line.contains("panicked") || line.contains("ERROR"));
                verdict.failed = Some(format!("{} ({})", why.unwrap_or("it ended").trim(), log.display()));
            }
        }
        if verdict.failed.is_none() && verdict.executions < runs {
            verdict.failed = Some(format!("only {} executions", verdict.executions));
        }
        verdict.corpus = std::fs::read_dir(&corpus)?.count();
        verdict.seconds = started.elapsed().as_secs_f64();
        Ok(verdict)
    }

    /// The smallest inputs that together reach what the whole corpus reaches go into the committed corpus.
    fn minimise(&self, target: &str, keep: usize) -> Result<()> {
        let least = self.work.join("least").join(target);
        let _ = std::fs::remove_dir_all(&least);
        std::fs::create_dir_all(&least)?;
        let status = Command::new(self.binaries.plain.join(target))
            .args(["-set_cover_merge=1".to_owned(), format!("-max_len={MAX_INPUT}")])
            .args([&least, &self.corpus(target)])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        if !status.success() {
            bail!("the corpus of {target} cannot be merged");
        }
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&least)? {
            let entry = entry?;
            found.push((entry.metadata()?.len(), entry.path()));
        }
        found.sort();
        let mut kept = 0;
        for (bytes, path) in found.iter().filter(|(bytes, _)| *bytes <= KEPT_INPUT_BYTES).take(keep) {
            let name = path.file_name().context("a file has a name")?;
            std::fs::copy(path, self.seeds(target).join(name))?;
            kept += bytes;
        }
        println!(
            "{target}: {} inputs reach everything, the smallest of them kept, {kept} bytes",
            found.len()
        );
        Ok(())
    }
}

/// The number behind the last occurrence of a text.
fn number_after(text: &str, what: &str) -> Option<u64> {
    let rest = &text[text.rfind(what)? + what.len()..];
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_number_counts() {
        let text = "peak allocation: 10 bytes\nstat::number_of_executed_units: 77\npeak allocation: 30 bytes";
        assert_eq!(number_after(text, "peak allocation:"), Some(30));
        assert_eq!(number_after(text, "stat::number_of_executed_units:"), Some(77));
        assert_eq!(number_after(text, "nothing"), None);
    }
}
