//! `cargo xtask interop ensemble`: Java and Ostler servers in one ensemble, in every mixture and every role.
//!
//! Each case runs twice. First each way of bringing a member up to date is forced, from each kind of leader to each
//! kind of learner. Then clients work through all members while leaders are stopped and killed; in the end all members
//! must hold the same tree with the same digests, everything acknowledged must be in it, and no log may complain.

pub(super) mod agree;
mod load;
pub(super) mod logs;
mod sync;
mod watchers;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::apache::{self, Apache};
use crate::differential::content::SUPER;
use crate::ensemble::{End, Ensemble};
use crate::server::{Kind, Setup, build_ostler};
use load::Load;
use sync::Way;
use watchers::Watchers;

/// Options of the stage.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only cases whose name contains this, or whose members are these letters; may be given several times.
    #[arg(long)]
    only: Vec<String>,
    /// Operations a case, at least.
    #[arg(long, default_value_t = 100_000)]
    ops: u64,
    /// How often the leader is stopped or killed in a case.
    #[arg(long, default_value_t = 10)]
    leader_changes: u32,
    /// The seed of what the clients send.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Release of the Java members.
    #[arg(long, default_value = apache::VERSION)]
    java_version: String,
    /// Ostler's lanes.
    #[arg(long, default_value_t = 1)]
    lanes: u32,
    /// Check the checker: Java members everywhere.
    #[arg(long)]
    java_only: bool,
    /// Leave out the forced ways of synchronisation.
    #[arg(long)]
    no_sync: bool,
    /// Leave out the load.
    #[arg(long)]
    no_load: bool,
}

/// One mixture; member 1 is the first letter: J for Java, O for Ostler, small for an observer.
struct Case {
    name: &'static str,
    members: &'static str,
    /// Leader and learner of each forced synchronisation.
    pairs: &'static [(u32, u32)],
    /// Observers learn from followers.
    masters: bool,
}

/// The member with the largest id leads first. Member 1 cannot be made to lead, so roles move by moving letters.
const CASES: [Case; 11] = [
    Case {
        name: "2 Java + 1 Ostler, led by Ostler",
        members: "JJO",
        pairs: &[(3, 2), (2, 3)],
        masters: false,
    },
    Case { name: "2 Java + 1 Ostler, led by Java", members: "JOJ", pairs: &[(3, 2), (2, 3)], masters: false },
    Case { name: "1 Java + 2 Ostler, led by Java", members: "OOJ", pairs: &[(3, 2), (2, 3)], masters: false },
    Case {
        name: "1 Java + 2 Ostler, led by Ostler",
        members: "OJO",
        pairs: &[(3, 2), (2, 3)],
        masters: false,
    },
    Case { name: "3 Ostler", members: "OOO", pairs: &[(3, 2), (2, 3)], masters: false },
    Case { name: "2 Java + 1 Ostler observer", members: "JJo", pairs: &[(2, 3)], masters: false },
    Case { name: "2 Ostler + 1 Java observer", members: "OOj", pairs: &[(2, 3)], masters: false },
    Case { name: "2 Java + 3 Ostler", members: "OJOJO", pairs: &[], masters: false },
    Case { name: "3 Ostler masters + 1 Java observer", members: "OOOj", pairs: &[(3, 4)], masters: true },
    Case { name: "3 Java masters + 1 Ostler observer", members: "JJJo", pairs: &[(3, 4)], masters: true },
    Case { name: "masters and observers of both", members: "OJOjo", pairs: &[], masters: true },
];

/// What a case counted.
#[derive(Debug, Default)]
struct Outcome {
    acked: u64,
    refused: u64,
    unknown: u64,
    reconnects: u64,
    leaders: BTreeMap<char, u32>,
    changes: u32,
    syncs: Vec<String>,
    nodes: usize,
    kept: usize,
    digests: usize,
    events: u64,
}

/// Runs the cases and prints the table.
pub(crate) fn run(options: &Options) -> Result<()> {
    let java = Kind::Apache(Apache::install_version(&options.java_version)?);
    let ours = if options.java_only {
        java.clone()
    } else {
        Kind::Ostler { binary: build_ostler()?, lanes: options.lanes }
    };
    let wanted = |case: &&Case| {
        let named = |only: &String| case.name.contains(only.as_str()) || case.members == only;
        options.only.is_empty() || options.only.iter().any(named)
    };
    let mut table = Vec::new();
    for case in CASES.iter().filter(wanted) {
        let started = Instant::now();
        println!("==== {} ({})", case.name, case.members);
        let mut outcome = Outcome::default();
        let ending = run_case(options, case, &java, &ours, &mut outcome);
        if let Err(error) = &ending {
            println!("FAILED: {error:#}");
        }
        table.push((case, started.elapsed(), outcome, ending.is_ok()));
    }
    ensure!(!table.is_empty(), "no case has that name");
    println!(
        "\nensembles with Apache {}{}",
        options.java_version,
        if options.java_only { " (Java only)" } else { "" }
    );
    println!(
        "| case | members | acknowledged | refused | unknown | leader changes | led by | synchronised | nodes equal | digests equal | kept writes found | events | time | result |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    let mut failed = 0;
    for (case, took, outcome, passed) in &table {
        let leaders: Vec<String> =
            outcome.leaders.iter().map(|(kind, times)| format!("{kind} {times}x")).collect();
        failed += usize::from(!passed);
        println!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {:.0} s | {} |",
            case.name,
            case.members,
            outcome.acked,
            outcome.refused,
            outcome.unknown,
            outcome.changes,
            leaders.join(", "),
            outcome.syncs.join(", "),
            outcome.nodes,
            outcome.digests,
            outcome.kept,
            outcome.events,
            took.as_secs_f64(),
            if *passed { "pass" } else { "FAIL" }
        );
    }
    println!(
        "ensembles: {} cases, {} requests acknowledged, {} leader changes, {} synchronisations forced",
        table.len(),
        table.iter().map(|(_, _, outcome, _)| outcome.acked).sum::<u64>(),
        table.iter().map(|(_, _, outcome, _)| outcome.changes).sum::<u32>(),
        table.iter().map(|(_, _, outcome, _)| outcome.syncs.len()).sum::<usize>()
    );
    ensure!(failed == 0, "{failed} of {} cases failed", table.len());
    Ok(())
}

fn run_case(options: &Options, case: &Case, java: &Kind, ours: &Kind, outcome: &mut Outcome) -> Result<()> {
    let kinds = kinds(case.members, java, ours);
    if !options.no_sync && !case.pairs.is_empty() {
        // Without the log on disk, and then with any length of it: 0 times the size of a snapshot is no limit.
        let runs: [(&str, &str, &[Way]); 2] =
            [("sync", "-1", &[Way::Diff, Way::Snap, Way::Trunc, Way::Forked]), ("log", "0", &[Way::Log])];
        for (name, factor, ways) in runs {
            let setup = Setup { observer_master_port: master_port(case)?, ..setup(Some(factor)) };
            let mut ensemble = Ensemble::new(name, &kinds, &setup)?;
            let ending = synchronise(case, ways, &mut ensemble, outcome).and_then(|()| check_logs(&ensemble));
            keep(&ensemble, case, name, ending)?;
        }
    }
    if !options.no_load {
        let mut setup = Setup { observer_master_port: master_port(case)?, ..setup(None) };
        if case.members.matches(['J', 'j']).count() > 1 {
            // A tree that Java sends under load is a mixture of times, and Java takes that for a digest mismatch: among
            // themselves Java members are to get along without.
            setup.java_flags.push("-Dzookeeper.commitLogCount=1000000".to_owned());
        }
        if case.masters && case.members.contains('j') && case.members.contains('J') {
            // An observer loses its master with each leader, and a Java learner that lost a Java master before it was up
            // to date counts mismatches after the tree: here it gets the log, however long.
            setup.jvm_flags.push("-Dzookeeper.snapshotSizeFactor=0".to_owned());
        }
        let mut ensemble = Ensemble::new("mixed", &kinds, &setup)?;
        let ending = work(options, &mut ensemble, outcome).and_then(|()| check_logs(&ensemble));
        keep(&ensemble, case, "load", ending)?;
    }
    Ok(())
}

fn master_port(case: &Case) -> Result<Option<u16>> {
    case.masters.then(crate::scratch::free_port).transpose()
}

/// The programs of the members, and who observes, from their letters.
pub(super) fn kinds(members: &str, java: &Kind, ours: &Kind) -> Vec<(Kind, bool)> {
    let kind = |letter: char| if letter.eq_ignore_ascii_case(&'J') { java } else { ours };
    members.chars().map(|letter| (kind(letter).clone(), letter.is_ascii_lowercase())).collect()
}

/// Keeps the logs of a failure.
fn keep(ensemble: &Ensemble, case: &Case, part: &str, ending: Result<()>) -> Result<()> {
    ending.or_else(|error| {
        let dir = ensemble.keep_logs(&format!("{}-{part}", case.members))?;
        Err(error.context(format!("{part}; the members' logs are in {}", dir.display())))
    })
}

fn check_logs(ensemble: &Ensemble) -> Result<()> {
    let lines = logs::suspicious_lines(ensemble);
    ensure!(
        lines.is_empty(),
        "{} lines in the logs that nobody explains:\n{}",
        lines.len(),
        lines[..lines.len().min(12)].join("\n")
    );
    Ok(())
}

/// What all members are configured with; where a way of synchronisation is to be forced, sessions are kept alive, and the
/// log on disk is used for it if it is not longer than so many snapshots.
pub(super) fn setup(size_factor: Option<&str>) -> Setup {
    let mut config: Vec<String> = [
        "tickTime=500",
        "initLimit=40",
        "syncLimit=20",
        "maxClientCnxns=0",
        "4lw.commands.whitelist=*",
        "enforceQuota=true",
        "extendedTypesEnabled=true",
        "snapCount=20000",
        "preAllocSize=4096",
        "admin.enableServer=false",
    ]
    .map(str::to_owned)
    .to_vec();
    config.push(format!("DigestAuthenticationProvider.superDigest={}", SUPER.1));
    let mut jvm_flags = vec!["-Dzookeeper.log.level=INFO".to_owned()];
    if let Some(factor) = size_factor {
        config.push("maxSessionTimeout=3600000".to_owned());
        jvm_flags.push(format!("-Dzookeeper.snapshotSizeFactor={factor}"));
    }
    jvm_flags.push("-Dznode.container.checkIntervalMs=2000".to_owned());
    Setup { config, jvm_flags, ..Setup::default() }
}

fn synchronise(case: &Case, ways: &[Way], ensemble: &mut Ensemble, outcome: &mut Outcome) -> Result<()> {
    for &(leader, learner) in case.pairs {
        // An observer never led.
        let observes = ensemble.member(learner).observer;
        let ways = ways.iter().filter(|way| !observes || !matches!(way, Way::Trunc | Way::Forked));
        let names = (ensemble.member(leader).letter(), ensemble.member(learner).letter());
        for way in ways {
            let what = format!("{way:?} {}->{}", names.0, names.1);
            let started = Instant::now();
            sync::force(ensemble, leader, learner, *way)
                .with_context(|| format!("{what}, {leader} to {learner}"))?;
            println!(
                "  {what}, member {leader} to member {learner}: {:.1} s",
                started.elapsed().as_secs_f64()
            );
            outcome.syncs.push(what);
        }
    }
    Ok(())
}

/// How long the clients go on without the old leader, and then with all, before the next change.
const PAUSES: [Duration; 2] = [Duration::from_millis(1_200), Duration::from_millis(800)];

fn work(options: &Options, ensemble: &mut Ensemble, outcome: &mut Outcome) -> Result<()> {
    let first = *ensemble.voters().last().context("no voters")?;
    ensemble.form(first)?;
    let load = Load::start(&ensemble.addresses(), options.seed)?;
    let watchers = Watchers::start(&ensemble.addresses())?;
    let counts = load.counts.clone();
    let mut changed = Ok(());
    for round in 0..options.leader_changes {
        let due = options.ops * u64::from(round + 1) / u64::from(options.leader_changes + 1);
        changed = await_progress(&counts, due).and_then(|()| change_leader(ensemble, round, outcome));
        if changed.is_err() {
            break;
        }
    }
    if changed.is_ok() {
        changed = await_progress(&counts, options.ops);
    }
    let watched = watchers.finish();
    let finished = load.finish();
    outcome.acked = counts.acked.load(Ordering::Relaxed);
    outcome.refused = counts.refused.load(Ordering::Relaxed);
    outcome.unknown = counts.unknown.load(Ordering::Relaxed);
    outcome.reconnects = counts.reconnects.load(Ordering::Relaxed);
    changed?;
    let all_java = ensemble.voters().iter().all(|id| ensemble.member(*id).is_java());
    let (events, handed_in) = match watched {
        Err(error) if all_java => {
            // Java alone decided and told: seen once, on a machine with far too much to do.
            println!("  NOTE, with Java voters only: {error:#}");
            (0, 0)
        }
        watched => watched.context("watches")?,
    };
    outcome.events = events;
    let (kept, counts) = finished?;
    println!(
        "  {} acknowledged, {} refused, {} unknown; {} broken connections, sessions: {} closed, {} abandoned, {} moved; \
         {} events to clients, {events} to watchers, who handed {handed_in} watches in again",
        outcome.acked,
        outcome.refused,
        outcome.unknown,
        outcome.reconnects,
        counts.closed.load(Ordering::Relaxed),
        counts.abandoned.load(Ordering::Relaxed),
        counts.moved.load(Ordering::Relaxed),
        counts.events.load(Ordering::Relaxed)
    );
    ensemble.await_all()?;
    check_masters(ensemble)?;
    let agreement = agree::check(ensemble, Duration::from_secs(60))?;
    outcome.nodes = agreement.tree.len();
    outcome.digests = agreement.digests;
    for kept in &kept {
        outcome.kept += kept.check(&agreement.tree)?;
    }
    ensure!(options.ops < 5_000 || agreement.digests > 0, "no digest was listed by two members");
    ensure!(all_java || events > 50, "the watchers got only {events} events");
    ensure!(outcome.acked * 2 > outcome.refused, "most requests were refused: this run says little");
    println!(
        "  {} nodes and {} digests equal, {} kept writes found",
        outcome.nodes, outcome.digests, outcome.kept
    );
    Ok(())
}

/// Where followers take observers, each observer says that it learns from one, and they say so, too.
fn check_masters(ensemble: &mut Ensemble) -> Result<()> {
    if !ensemble.has_observer_masters() {
        return Ok(());
    }
    let leader = ensemble.await_leader()?;
    let observers: Vec<u32> = ensemble.ids().into_iter().filter(|id| ensemble.member(*id).observer).collect();
    for id in &observers {
        let master =
            ensemble.member(*id).metric("zk_observer_master_id").context("no zk_observer_master_id")?;
        println!(
            "  observer {id} ({}) learns from member {master}, {leader} leads",
            ensemble.member(*id).letter()
        );
        ensure!(master != f64::from(leader), "observer {id} learns from the leader");
    }
    let taken: f64 = ensemble
        .voters()
        .into_iter()
        .filter(|id| *id != leader)
        .map(|id| ensemble.member(id).metric("zk_synced_observers").unwrap_or_default())
        .sum();
    ensure!(
        taken == observers.len() as f64,
        "the followers speak of {taken} observers of {}",
        observers.len()
    );
    Ok(())
}

/// Waits until the clients have so many answers; fails when they get none for a minute.
fn await_progress(counts: &load::Counts, due: u64) -> Result<()> {
    let (mut last, mut since) = (counts.answered(), Instant::now());
    loop {
        let now = counts.answered();
        if now >= due {
            return Ok(());
        }
        if now > last {
            (last, since) = (now, Instant::now());
        }
        if since.elapsed() > Duration::from_secs(60) {
            bail!("the clients got no answer for a minute, after {now} answers");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Ends the leader, waits for the next one, and brings the old one back.
fn change_leader(ensemble: &mut Ensemble, round: u32, outcome: &mut Outcome) -> Result<()> {
    let old = ensemble.await_leader()?;
    let end = if round.is_multiple_of(2) { End::Term } else { End::Kill };
    let started = Instant::now();
    *outcome.leaders.entry(ensemble.member(old).letter()).or_default() += 1;
    ensemble.stop(old, end)?;
    let stopped = started.elapsed();
    // Of two voters one is no quorum: the old leader has to come back, and whoever has the longer log wins.
    let is_pair = ensemble.voters().len() == 2;
    if is_pair {
        std::thread::sleep(PAUSES[0]);
        ensemble.start(old)?;
    }
    let new = ensemble.await_leader()?;
    let elected = started.elapsed();
    if !is_pair {
        std::thread::sleep(PAUSES[0]);
        ensemble.start(old)?;
    }
    ensemble.await_serving(old).with_context(|| format!("after leader change {}", round + 1))?;
    outcome.changes += 1;
    println!(
        "  leader change {}: {end:?} of {old} ({}) took {:.1} s, {new} ({}) leads after {:.1} s, all back after {:.1} s",
        round + 1,
        ensemble.member(old).letter(),
        stopped.as_secs_f64(),
        ensemble.member(new).letter(),
        elected.as_secs_f64(),
        started.elapsed().as_secs_f64()
    );
    std::thread::sleep(PAUSES[1]);
    Ok(())
}
