//! One round, inside namespaces of its own: servers up, clients at work, fault after fault, everything healed, and
//! then the verdict. What it counted goes into a file for the one who started it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use ostler_sim::history::History;
use serde_json::{Value, json};

use super::crowd::{self, Closed, Crowd, Server};
use super::faults;
use super::judge;
use super::member::{Member, TICK_MS};
use super::net::Net;
use super::plan::{Class, Plan};
use super::truth;
use crate::server::Kind;

/// How many clients there are.
const CLIENTS: usize = 10;
/// Two rounds with so many faults each meet every class.
const LEAST_EPISODES: usize = 5;
/// The file with what a round counted.
pub(super) const RESULT: &str = "result.json";
/// A leader that was cut off may not know it for so long: syncLimit, and what its clients had under way.
const DEPOSED_US: u64 = (4 * TICK_MS + 500) * 1000;

/// Runs a round in a directory of its own.
pub(super) fn run(
    plan: &Plan,
    kinds: &[Kind],
    config: &str,
    without: &[Class],
    seconds: u64,
    home: &Path,
) -> Result<()> {
    let mut members = Vec::new();
    for (place, kind) in kinds.iter().enumerate() {
        members.push(Member::new(place, kind.clone(), config, home)?);
    }
    let mut net = Net::lay(members.len(), CLIENTS)?;
    let outcome = play(plan, without, seconds, home, &mut members, &mut net);
    if outcome.is_err() {
        // The mounts end with this process: what they hold must be copied out.
        for member in &members {
            let to = home.join(format!("member-{}/data", member.place + 1));
            let _ = std::process::Command::new("cp").arg("-r").arg(member.data()).arg(to).status();
        }
    }
    outcome
}

fn play(
    plan: &Plan,
    without: &[Class],
    seconds: u64,
    home: &Path,
    members: &mut [Member],
    net: &mut Net,
) -> Result<()> {
    faults::end(members, net)?;
    await_all(members, Duration::from_secs(150)).context("at the start")?;
    let servers: Vec<Server> = members
        .iter()
        .map(|member| Server { address: member.address(), has_true_sync: member.is_ostler() })
        .collect();
    let crowd = Crowd::start(plan.seed, CLIENTS, &servers)?;
    let mut hits: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut ends = Vec::new();
    let until = Instant::now() + Duration::from_secs(seconds);
    let episodes = plan.episodes.iter().filter(|episode| !without.contains(&episode.class));
    for (met, episode) in episodes.enumerate() {
        std::thread::sleep(Duration::from_millis(episode.gap_ms));
        watch_for_ends(members, &mut ends)?;
        // A slow machine gets more time rather than fewer faults, within bounds.
        let late = Instant::now().saturating_duration_since(until);
        if !late.is_zero() && (met >= LEAST_EPISODES || late > Duration::from_secs(seconds)) {
            break;
        }
        let from_us = crowd.now_us();
        for (class, what) in faults::begin(episode, without, members, net, CLIENTS)? {
            println!(
                "{:7.3} s  {:<12} {what}  for {} ms ({} answers so far)",
                from_us as f64 / 1e6,
                class.name(),
                episode.lasts_ms,
                crowd.answered()
            );
            *hits.entry(class.name()).or_default() += 1;
        }
        std::thread::sleep(Duration::from_millis(episode.lasts_ms));
        watch_for_ends(members, &mut ends)?;
        faults::end(members, net)?;
        crowd.note_unsettled(from_us, crowd.now_us() + DEPOSED_US);
    }
    println!("{:7.3} s  healed", crowd.now_us() as f64 / 1e6);
    crowd.stay();
    let healed_us = crowd.now_us();
    let healed = Instant::now();
    let whole = await_all(members, Duration::from_secs(45));
    crowd.note_unsettled(healed_us, crowd.now_us() + 500_000);
    let whole_ms = healed.elapsed().as_millis();
    // Some seconds in which nothing is in doubt.
    std::thread::sleep(Duration::from_millis(DEPOSED_US / 1000 + 1_000));
    watch_for_ends(members, &mut ends)?;
    let (epoch_ms, closing) = (crowd.epoch_ms, crowd.close(Duration::from_secs(15)));
    let Closed { mut history, connections, stuck } = closing?;
    std::fs::write(home.join("history.txt"), tell(&history, &connections))?;
    whole.context("after everything was healed (L1)")?;
    ensure!(stuck.is_empty(), "clients {stuck:?} did not come to an end after everything was healed (L4)");
    ensure!(ends.is_empty(), "servers ended by themselves: {}", ends.join("; "));
    let expired_ms = await_expiry(members)?;
    await_level(members)?;
    for member in members.iter() {
        let mismatches = member.metric("zk_digest_mismatches_count");
        ensure!(
            mismatches == Some(0.0) || (!member.is_ostler() && is_own_mismatch(&member.log_since_start()?)),
            "member {} counts digest mismatches: {mismatches:?}",
            member.place + 1
        );
    }
    for member in members.iter_mut() {
        member.kill()?;
    }
    let mut report = verdict(members, &mut history, epoch_ms)?;
    report["hits"] = json!(hits);
    report["whole_ms"] = json!(u64::try_from(whole_ms)?);
    report["expired_ms"] = json!(expired_ms);
    std::fs::write(home.join(RESULT), report.to_string())?;
    Ok(())
}

/// Reads all disks and judges.
fn verdict(members: &[Member], history: &mut History, epoch_ms: i64) -> Result<Value> {
    let mut disks = Vec::new();
    let mut books = Vec::new();
    for member in members {
        let disk = truth::load(&member.data())?;
        books.push(truth::read(&disk).with_context(|| format!("the logs of member {}", member.place + 1))?);
        disks.push(disk);
    }
    let truth = truth::unite(&books)?;
    let verdict = judge::judge(&truth.entries, history, epoch_ms, &epochs_led_by_us(members)?)?;
    let names = judge::check_names(history)?;
    let mut nodes = 0;
    for (place, disk) in disks.iter().enumerate() {
        nodes = judge::judge_disk(&truth.entries, disk, members[place].is_ostler())
            .with_context(|| format!("the disk of member {} at the end", place + 1))?;
    }
    let (accepted, refused) = judge::answers(history);
    let acknowledged = crowd::acknowledged_writes(history);
    let epochs = truth.entries.last().map_or(0, |entry| entry.header.zxid.epoch());
    ensure!(acknowledged >= 100, "only {acknowledged} writes were acknowledged: this round says little");
    Ok(json!({
        "transactions": truth.entries.len(), "stranded": truth.stranded, "epochs": epochs, "accepted": accepted,
        "refused": refused, "writes": acknowledged, "sessions": history.sessions.len(),
        "expired": verdict.expired, "syncs": judge::settled_syncs(history), "names": names, "nodes": nodes,
        "events": history.sessions.iter().flat_map(|story| &story.items)
            .filter(|item| matches!(item, ostler_sim::history::Item::Event { .. })).count(),
    }))
}

/// Whether the first mismatch that Apache's server tells of since its start is one of its own: it notes a transaction's
/// digest a moment after it has changed the tree, so a snapshot in that moment has the digest of one and the nodes of the
/// next, and it says so when it replays its log behind that. Nobody else has a part in that; its main thread tells it.
fn is_own_mismatch(log: &str) -> bool {
    log.lines()
        .find(|line| line.contains("Digests are not matching"))
        .is_some_and(|line| line.contains("[main:"))
}

/// The epochs in which a server of ours led, as their logs have it.
fn epochs_led_by_us(members: &[Member]) -> Result<BTreeSet<u32>> {
    let mut epochs = BTreeSet::new();
    for member in members.iter().filter(|member| member.is_ostler()) {
        let log = member.log_text()?;
        let led =
            log.lines().filter_map(|line| line.split_once(" leading epoch=")?.1.trim().parse::<u32>().ok());
        epochs.extend(led);
    }
    ensure!(!epochs.is_empty() || !members.iter().all(Member::is_ostler), "no log says who led");
    Ok(epochs)
}

/// A server may end by itself only if its disk was full, or if it is Apache's.
fn watch_for_ends(members: &mut [Member], ends: &mut Vec<String>) -> Result<()> {
    for member in members {
        if let Some(status) = member.has_ended()? {
            println!("           member {} ended with {status}", member.place + 1);
            if member.is_ostler() && !member.was_full {
                ends.push(format!("member {} with {status}", member.place + 1));
            }
        }
    }
    Ok(())
}

/// Waits until all serve.
fn await_all(members: &mut [Member], patience: Duration) -> Result<()> {
    let deadline = Instant::now() + patience;
    loop {
        let silent: Vec<usize> = members
            .iter()
            .filter(|member| member.standing().is_none())
            .map(|member| member.place + 1)
            .collect();
        if silent.is_empty() && faults::leader_of(members).is_some() {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("members {silent:?} do not serve after {patience:?}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// L5: clients that are gone leave nothing behind. How long it took, in milliseconds.
fn await_expiry(members: &[Member]) -> Result<u64> {
    let begin = Instant::now();
    loop {
        let leader = faults::leader_of(members);
        let left = leader.and_then(|place| members[place].metric("zk_global_sessions"));
        if left == Some(0.0) {
            return Ok(u64::try_from(begin.elapsed().as_millis())?);
        }
        ensure!(
            begin.elapsed() < Duration::from_secs(20),
            "sessions of clients that are gone do not expire (L5): the leader counts {left:?}"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// L3: all have applied the same, twice in a row.
fn await_level(members: &[Member]) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut last = None;
    loop {
        let zxids: Vec<Option<i64>> =
            members.iter().map(|member| member.standing().map(|standing| standing.zxid)).collect();
        let level = zxids[0].filter(|_| zxids.iter().all(|zxid| *zxid == zxids[0]));
        if level.is_some() && last == level {
            return Ok(());
        }
        last = level;
        ensure!(Instant::now() < deadline, "the members' zxids do not meet (L3): {zxids:x?}");
        std::thread::sleep(Duration::from_millis(150));
    }
}

/// The history in words, for whoever looks into a failure.
fn tell(history: &History, connections: &[(u64, usize, usize)]) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for (place, op) in history.ops.iter().enumerate() {
        let _ = writeln!(
            text,
            "op {place} of story {} at {} us, floor {}, sent {:?}: {:?} -> at {} us {:?}",
            op.owner, op.asked_us, op.floor, op.sent, op.request, op.done_us, op.outcome
        );
    }
    for (place, story) in history.sessions.iter().enumerate() {
        let _ = writeln!(
            text,
            "story {place}: session {:?}, {} ms, closed by {:?}: {:?}",
            story.id, story.timeout_ms, story.close_xid, story.items
        );
    }
    for (at_us, story, server) in connections {
        let _ = writeln!(text, "at {at_us} us story {story} went to server {}", server + 1);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mismatch_of_its_own_is_told_from_one_that_was_sent() {
        let line = |thread: &str| {
            format!(
                "2026 WARN  [{thread}:o.a.z.s.RateLogger@87] - Message:Digests are not matching. Value is Zxid. Value:7\n"
            )
        };
        let (own, sent) = (line("main"), line("QuorumPeer[myid=4](plain=10.99.0.14:2181)"));
        assert!(is_own_mismatch(&own));
        assert!(is_own_mismatch(&format!("{own}{sent}")));
        assert!(!is_own_mismatch(&format!("{sent}{own}")));
        assert!(!is_own_mismatch(""));
    }
}
