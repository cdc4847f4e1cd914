//! `cargo xtask chaos`: ensembles of real servers, real clients, real faults, and a verdict from the logs.
//!
//! Each round runs in namespaces of its own (processes, mounts, network), which end with it whatever happens. A seed
//! decides the servers, the faults and what the clients ask for; how fast the machine is decides the rest. After a
//! round the transaction logs of all members are united into the one order of transactions, and everything that the
//! clients were told is held against it, by the same judges as in the simulator.

mod crowd;
mod facilities;
mod faults;
mod judge;
#[cfg(test)]
mod judge_tests;
mod member;
mod net;
mod plan;
mod round;
mod truth;

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Args;
use serde_json::Value;

use crate::apache::Apache;
use crate::scratch;
use crate::server::{Kind, build_ostler};
use plan::{Class, Plan};

/// Options of the task.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How many rounds.
    #[arg(long, default_value_t = 20)]
    rounds: u64,
    /// How long faults last in each, in seconds.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// What decides the schedules; drawn and printed if not given.
    #[arg(long)]
    seed: Option<u64>,
    /// Only this round of the seed.
    #[arg(long)]
    round: Option<u64>,
    /// Rounds at the same time.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// These servers in every round: a letter each, O for Ostler and J for Apache 3.9.5.
    #[arg(long, value_parser = shape)]
    shape: Option<String>,
    /// So many lanes in every round; 1 and 3 in turn if not given.
    #[arg(long)]
    lanes: Option<u32>,
    /// Check the checker: servers that do not sync their logs (`forceSync=no`), so that a power cut of a majority
    /// loses what was acknowledged, and rounds with one must fail.
    #[arg(long)]
    no_sync: bool,
    /// Keep the directories of rounds that passed, too.
    #[arg(long)]
    keep: bool,
    /// The directory of a round: this process is in namespaces of its own.
    #[arg(long, hide = true)]
    inside: Option<PathBuf>,
    /// Classes that this machine cannot do.
    #[arg(long, hide = true, value_delimiter = ',')]
    without: Vec<String>,
    /// Where Apache's jars are.
    #[arg(long, hide = true)]
    no_java: bool,
}

/// Runs the rounds, or one from inside.
pub(crate) fn run(options: &Options) -> Result<()> {
    match &options.inside {
        Some(home) => run_inside(options, home),
        None => run_all(options),
    }
}

fn run_all(options: &Options) -> Result<()> {
    let facilities = facilities::probe()?;
    for line in &facilities.skipped {
        println!("SKIPPED {line}");
    }
    let Some(without) = facilities.without else {
        println!("SKIPPED chaos: nothing was checked");
        return Ok(());
    };
    let seed = options.seed.unwrap_or_else(|| u64::from(std::process::id()));
    let binary = build_ostler()?;
    let has_java = Apache::install().map_err(|error| println!("SKIPPED Java members: {error:#}")).is_ok();
    let rounds: Vec<u64> = options.round.map_or_else(|| (0..options.rounds).collect(), |round| vec![round]);
    println!("seed {seed}, {} rounds of {} s, {} at a time", rounds.len(), options.seconds, options.jobs);
    let base = scratch::keep_dir()?.join("chaos").join(format!("seed-{seed}-{}", std::process::id()));
    let begin = Instant::now();
    let queue = Mutex::new(rounds.iter().copied().collect::<VecDeque<u64>>());
    let tally = Mutex::new(Tally::default());
    let worker = || {
        loop {
            let next = queue.lock().expect("nobody panics in it").pop_front();
            let Some(round) = next else { return };
            let started = Instant::now();
            let home = base.join(format!("round-{round}"));
            let outcome = run_outside(options, seed, round, &without, has_java, &binary, &home);
            let mut tally = tally.lock().expect("nobody panics in it");
            tally.note(options, seed, round, &home, outcome, started.elapsed());
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.clamp(1, 8) {
            scope.spawn(worker);
        }
    });
    let _ = std::fs::remove_dir(&base);
    tally.into_inner().expect("nobody panics in it").close(rounds.len(), &without, begin.elapsed())
}

/// Starts this program again, in namespaces that end with it.
fn run_outside(
    options: &Options,
    seed: u64,
    round: u64,
    without: &[Class],
    has_java: bool,
    binary: &Path,
    home: &Path,
) -> Result<Value> {
    std::fs::create_dir_all(home).with_context(|| format!("create {}", home.display()))?;
    let log = File::create(home.join("round.log"))?;
    // Whoever kills this process ends the rounds as well: theirs die with it, and their namespaces with them.
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "unshare"])
        .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .arg(std::env::current_exe()?)
        .arg("--ostler")
        .arg(binary)
        .args(["chaos", "--seed", &seed.to_string(), "--round", &round.to_string()])
        .args(["--seconds", &options.seconds.to_string()])
        .arg("--inside")
        .arg(home);
    if let Some(shape) = &options.shape {
        command.args(["--shape", shape]);
    }
    if let Some(lanes) = options.lanes {
        command.args(["--lanes", &lanes.to_string()]);
    }
    if options.no_sync {
        command.arg("--no-sync");
    }
    if !has_java {
        command.arg("--no-java");
    }
    if !without.is_empty() {
        let names: Vec<&str> = without.iter().map(|class| class.name()).collect();
        command.args(["--without", &names.join(",")]);
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .current_dir(scratch::workspace_root()?)
        .spawn()
        .context("run setpriv and unshare (package util-linux)")?;
    let deadline = Instant::now() + Duration::from_secs(2 * options.seconds + 300);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            bail!("the round did not end in time");
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    if !status.success() {
        let text = std::fs::read_to_string(home.join("round.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let from = lines
            .iter()
            .rposition(|line| line.starts_with("error: "))
            .unwrap_or_else(|| lines.len().saturating_sub(5));
        bail!("{}", lines[from..].join("\n"));
    }
    let text = std::fs::read_to_string(home.join(round::RESULT))?;
    Ok(serde_json::from_str(&text)?)
}

fn run_inside(options: &Options, home: &Path) -> Result<()> {
    let (seed, round) = options.seed.zip(options.round).context("a seed and a round")?;
    let plan = plan_of(options, seed, round);
    let binary = build_ostler()?;
    let apache = if options.no_java { None } else { Some(Apache::install()?) };
    let kinds: Vec<Kind> = plan
        .shape
        .chars()
        .map(|letter| match (&apache, letter) {
            (Some(apache), 'J') => Kind::Apache(apache.clone()),
            _ => Kind::Ostler { binary: binary.clone(), lanes: plan.lanes },
        })
        .collect();
    let without: Vec<Class> = Class::ALL
        .into_iter()
        .filter(|class| options.without.iter().any(|name| name == class.name()))
        .collect();
    let config = if options.no_sync { "forceSync=no\n" } else { "" };
    round::run(&plan, &kinds, config, &without, options.seconds, home)
}

fn plan_of(options: &Options, seed: u64, round: u64) -> Plan {
    let mut plan = Plan::draw(seed, round);
    if let Some(shape) = &options.shape {
        plan.shape.clone_from(shape);
    }
    if let Some(lanes) = options.lanes {
        plan.lanes = lanes;
    }
    plan
}

fn shape(text: &str) -> Result<String> {
    let fits = matches!(text.len(), 3 | 5) && text.bytes().all(|letter| matches!(letter, b'O' | b'J'));
    if fits { Ok(text.to_owned()) } else { Err(anyhow!("three or five letters, each O or J")) }
}

/// What all rounds counted.
#[derive(Debug, Default)]
struct Tally {
    passed: usize,
    failed: usize,
    hits: BTreeMap<String, u64>,
    sums: BTreeMap<&'static str, u64>,
}

const SUMS: [&str; 10] = [
    "writes",
    "accepted",
    "refused",
    "transactions",
    "stranded",
    "epochs",
    "sessions",
    "expired",
    "events",
    "syncs",
];

impl Tally {
    fn note(
        &mut self,
        options: &Options,
        seed: u64,
        round: u64,
        home: &Path,
        outcome: Result<Value>,
        took: Duration,
    ) {
        let plan = plan_of(options, seed, round);
        let head =
            format!("round {round:>2} {:<5} lanes={} {:>5.1} s", plan.shape, plan.lanes, took.as_secs_f64());
        match outcome {
            Ok(report) => {
                self.passed += 1;
                let mut hits = Vec::new();
                for (class, count) in report["hits"].as_object().into_iter().flatten() {
                    let count = count.as_u64().unwrap_or(0);
                    *self.hits.entry(class.clone()).or_default() += count;
                    hits.push(format!("{class} {count}"));
                }
                for name in SUMS {
                    *self.sums.entry(name).or_default() += report[name].as_u64().unwrap_or(0);
                }
                println!(
                    "{head} ok: {} writes acknowledged, {} transactions, {} epochs, {} expired; whole after {} ms; {}",
                    report["writes"],
                    report["transactions"],
                    report["epochs"],
                    report["expired"],
                    report["whole_ms"],
                    hits.join(", ")
                );
                if !options.keep {
                    let _ = std::fs::remove_dir_all(home);
                }
            }
            Err(error) => {
                self.failed += 1;
                println!("{head} FAILED: {error:#}");
                println!("    data directories, logs and the history are in {}", home.display());
                let shape =
                    options.shape.as_ref().map(|shape| format!(" --shape {shape}")).unwrap_or_default();
                let lanes = options.lanes.map(|lanes| format!(" --lanes {lanes}")).unwrap_or_default();
                println!(
                    "    again: cargo xtask chaos --seed {seed} --round {round} --seconds {}{shape}{lanes}",
                    options.seconds
                );
            }
        }
    }

    /// Prints the table; an error if a round failed or a class was hit too little.
    fn close(self, rounds: usize, without: &[Class], took: Duration) -> Result<()> {
        // One round meets what its time allows; over more of them every class has its share.
        let least = (rounds as u64 * 2 / 5).max(1);
        let mut missing = Vec::new();
        println!("class          hits   at least");
        for class in Class::ALL {
            let hits = self.hits.get(class.name()).copied().unwrap_or(0);
            if without.contains(&class) {
                println!("{:<13} SKIPPED: this machine cannot do it", class.name());
                continue;
            }
            println!("{:<13} {hits:>5} {least:>10}", class.name());
            if hits < least && rounds >= 3 {
                missing.push(class.name());
            }
        }
        let sums: Vec<String> =
            SUMS.iter().map(|name| format!("{} {name}", self.sums.get(name).copied().unwrap_or(0))).collect();
        println!("sums: {}", sums.join(", "));
        println!(
            "chaos: {} rounds passed, {} failed, in {:.0} s; acknowledged writes lost 0 and order, watch and session \
             violations 0 in those that passed",
            self.passed,
            self.failed,
            took.as_secs_f64()
        );
        ensure!(self.failed == 0, "{} of {rounds} rounds failed", self.failed);
        ensure!(missing.is_empty(), "hit too little: {}", missing.join(", "));
        Ok(())
    }
}
