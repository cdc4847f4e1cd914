//! Whether all members hold the same tree: every node with every field of its Stat, every digest, and clean logs.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::super::client::Client;
use super::super::fill::{self, Tree};
use super::logs;
use crate::differential::op;
use crate::differential::raw::Enc;
use crate::ensemble::{Ensemble, Member};
use crate::server::four_letter_word;

/// Each member writes this node by itself from its own member list, with the time of its own clock.
const LOCAL: &str = "/zookeeper/config";

/// What was compared.
#[derive(Debug)]
pub(crate) struct Agreement {
    /// The tree that all members hold.
    pub(crate) tree: Tree,
    /// Digests that at least two members listed for the same zxid.
    pub(crate) digests: usize,
}

/// Compares all members that run. Nodes with a time to live and abandoned sessions may still go: members that differ
/// are looked at again until `patience` is over.
pub(crate) fn check(ensemble: &Ensemble, patience: Duration) -> Result<Agreement> {
    let deadline = Instant::now() + patience;
    let tree = loop {
        match same_tree(ensemble) {
            Ok(tree) => break tree,
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_secs(2)),
        }
    };
    let mut lists = Vec::new();
    for member in running(ensemble) {
        // The name differs with the release and stands for the same counter.
        let mismatches = member.metric("zk_digest_mismatches_count");
        ensure!(
            mismatches.is_some_and(|count| count == 0.0 || logs::has_own_mismatches(ensemble, member)),
            "member {} ({}) counts digest mismatches: {mismatches:?}",
            member.id,
            member.kind.name()
        );
        lists.push((member, digests(member)?));
    }
    let mut known: BTreeMap<&str, (&str, u32)> = BTreeMap::new();
    let mut common = 0;
    for (member, list) in &lists {
        let mixtures = mixtures(member);
        for (zxid, digest) in list {
            if mixtures.iter().any(|mixture| mixture.contains(&i64::from_str_radix(zxid, 16).unwrap_or(0))) {
                continue;
            }
            match known.get(zxid.as_str()) {
                None => {
                    known.insert(zxid, (digest, member.id));
                }
                Some((other, _)) if other == digest => common += 1,
                Some((other, id)) => bail!(
                    "digest at zxid 0x{zxid}: member {id} has {other}, member {} ({}) has {digest}",
                    member.id,
                    member.kind.name()
                ),
            }
        }
    }
    Ok(Agreement { tree, digests: common })
}

/// Where Java lists digests of a tree of mixed times: behind a tree that it was sent while the leader went on, up to its
/// own snapshot of it, and behind that what a leader of Java had written into the tree already.
fn mixtures(member: &Member) -> Vec<Range<i64>> {
    if !member.is_java() {
        return Vec::new();
    }
    mixed_times(&member.log_since(0))
}

fn mixed_times(log: &str) -> Vec<Range<i64>> {
    const AT_LEAST: i64 = 0x2000;
    let mut mixtures: Vec<Range<i64>> = Vec::new();
    let mut open = false;
    for line in log.lines() {
        if let Some(start) = logs::zxid_behind(line, "Getting a snapshot from leader 0x") {
            mixtures.push(start..start + AT_LEAST);
            open = true;
        } else if let Some(end) = logs::zxid_behind(line, "Snapshotting: 0x")
            && std::mem::take(&mut open)
            && let Some(mixture) = mixtures.last_mut()
        {
            mixture.end = mixture.end.max(end + 1);
        }
    }
    mixtures
}

/// Reads the trees of all members that run; the one that all hold.
fn same_tree(ensemble: &Ensemble) -> Result<Tree> {
    let (path, mut trees) = (barrier(ensemble)?, Vec::new());
    for member in running(ensemble) {
        let mut tree = fill::dump(member.address)
            .with_context(|| format!("read the tree of member {} ({})", member.id, member.kind.name()))?;
        tree.remove(LOCAL);
        ensure!(tree.contains_key(&path), "member {} does not show {path} after a sync", member.id);
        trees.push((member, tree));
    }
    compare(&trees)?;
    Ok(trees.pop().context("no member runs")?.1)
}

fn running(ensemble: &Ensemble) -> impl Iterator<Item = &Member> {
    ensemble.members().iter().filter(|member| ensemble.is_running(member.id))
}

/// A write that every member has then seen: written through the first, and a `sync` on each.
fn barrier(ensemble: &Ensemble) -> Result<String> {
    let mut path = String::new();
    for member in running(ensemble) {
        let what = || format!("a barrier through member {} ({})", member.id, member.kind.name());
        let mut client = Client::connect(member.address).with_context(what)?;
        if path.is_empty() {
            path = format!("/barrier-{}", client.session().last_zxid + i64::from(member.id));
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_nanos();
            path = format!("{path}-{now}");
            let open = crate::differential::content::open_acl();
            let reply = client.call(op::CREATE, &fill::create(&path, None, &open, 0)).with_context(what)?;
            ensure!(reply.err == 0, "{}: create answered {}", what(), reply.err);
        }
        let reply = client.call(op::SYNC, &Enc::new().string("/").0).with_context(what)?;
        ensure!(reply.err == 0, "{}: sync answered {}", what(), reply.err);
        client.close().with_context(what)?;
    }
    Ok(path)
}

fn compare(trees: &[(&Member, Tree)]) -> Result<()> {
    let Some(((first, tree), others)) = trees.split_first() else { bail!("no member runs") };
    let mut differing = Vec::new();
    for (member, other) in others {
        for path in tree.keys().chain(other.keys().filter(|path| !tree.contains_key(*path))) {
            let (left, right) = (tree.get(path), other.get(path));
            if left != right {
                differing.push(format!(
                    "{path:?}\n  member {} ({}): {}\n  member {} ({}): {}",
                    first.id,
                    first.kind.name(),
                    show(left),
                    member.id,
                    member.kind.name(),
                    show(right)
                ));
            }
        }
    }
    let count = differing.len();
    differing.truncate(6);
    ensure!(count == 0, "{count} nodes differ between members:\n{}", differing.join("\n"));
    Ok(())
}

fn show(node: Option<&(Vec<u8>, Vec<u8>)>) -> String {
    let hex = |bytes: &[u8]| {
        let from = bytes.len().saturating_sub(90);
        bytes[from..].iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    node.map_or_else(|| "not there".to_owned(), |(data, acl)| format!("data {} acl {}", hex(data), hex(acl)))
}

/// The word `hash`: zxid to digest.
fn digests(member: &Member) -> Result<BTreeMap<String, String>> {
    let text = four_letter_word(member.address, "hash")?;
    Ok(text
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(zxid, digest)| (zxid.trim_start_matches("0x").to_owned(), digest.to_owned()))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_of_mixed_times_until_the_learners_own_snapshot() {
        let log = "\
x INFO [main:Snap] - Snapshotting: 0x2 to /d/snapshot.2
x INFO [QuorumPeer] - Getting a snapshot from leader 0xa00009e43
x INFO [QuorumPeer] - Snapshotting: 0xa0000c29d to /d/snapshot.a0000c29d
x INFO [Snapshot Thread] - Snapshotting: 0xa000103fc to /d/snapshot.a000103fc
x INFO [QuorumPeer] - Getting a snapshot from leader 0xb00000010
";
        let known = [0xa_0000_9e43..0xa_0000_c29e, 0xb_0000_0010..0xb_0000_2010];
        assert_eq!(mixed_times(log), known);
    }
}
