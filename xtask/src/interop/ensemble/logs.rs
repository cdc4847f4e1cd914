//! What the members' logs say that nobody can explain.

use std::collections::BTreeSet;

use crate::ensemble::{Ensemble, Member};

/// What Java says at ERROR while members come and go in the way that these runs make them: a part of the line, and
/// how the line below it starts, which is the exception, if there is one.
const EXPLAINED: [(&str, &str); 14] = [
    // A learner went away, or the leader is about to.
    ("Exception while sending packets in LearnerHandler", "java.net.SocketException"),
    ("Unexpected exception in LearnerHandler", "java.io.EOFException"),
    ("Unexpected exception in LearnerHandler", "java.net.Socket"),
    ("Unexpected exception in LearnerHandler", "java.io.IOException"),
    ("Unexpected exception in LearnerHandler", "java.lang.InterruptedException"),
    // A client's write met the connection to a leader that is gone; the processor says so and goes with its role.
    ("from thread : FollowerRequestProcessor", "java.net.SocketException"),
    ("from thread : ObserverRequestProcessor", "java.net.SocketException"),
    // 3.8 acknowledges to a leader that is gone.
    (
        "from thread : SyncThread",
        "java.lang.NullPointerException: Cannot invoke \"java.net.Socket.isClosed()\"",
    ),
    // A learner waits for a leader that is not there yet.
    ("Unexpected exception, retries exceeded", "java.net.ConnectException"),
    ("Failed connect to ", "java.net.ConnectException"),
    // The same between those who vote.
    ("Failed to send last message", "java.net.SocketException"),
    // A client hung up while it was written to.
    ("Error sending data synchronously", "java.nio.channels."),
    // A member with transactions of an epoch that ended otherwise: it gets everything.
    ("fall back to use snapshot", ""),
    // A follower of Java compares what an observer has with the first transaction of an epoch, and sends it away.
    ("LearnerHandler is too far behind", ""),
];

/// Lines of members' logs that nobody can explain, and every line about a digest that does not match, unless it is of a
/// tree that Java sent to Java.
pub(crate) fn suspicious_lines(ensemble: &Ensemble) -> Vec<String> {
    let sent = trees_of_java(ensemble);
    let mut found = Vec::new();
    for member in ensemble.members() {
        let log = member.log_since(0);
        let mut learner = Learner::new(&sent);
        let mut lines = log.lines().peekable();
        while let Some(line) = lines.next() {
            let below = lines.peek().copied().unwrap_or_default();
            learner.read(line);
            let explained =
                |&(part, exception): &(&str, &str)| line.contains(part) && below.starts_with(exception);
            let error = line.contains(" ERROR ") || line.contains("panicked at");
            let suspicious = if is_mismatch(line) {
                !learner.takes_javas_tree
            } else {
                error && !EXPLAINED.iter().any(explained)
            };
            if suspicious {
                found.push(format!("member {} ({}): {line}\n    {below}", member.id, member.kind.name()));
            }
        }
    }
    found
}

/// Whether a member of Java tells of mismatches, and all are of a tree that Java sent it.
pub(crate) fn has_own_mismatches(ensemble: &Ensemble, member: &Member) -> bool {
    member.is_java() && all_are_own(&trees_of_java(ensemble), &member.log_since(0))
}

fn all_are_own(sent: &BTreeSet<i64>, log: &str) -> bool {
    let mut learner = Learner::new(sent);
    let mut own = Vec::new();
    for line in log.lines() {
        learner.read(line);
        if is_mismatch(line) {
            own.push(learner.takes_javas_tree);
        }
    }
    !own.is_empty() && own.into_iter().all(|own| own)
}

fn is_mismatch(line: &str) -> bool {
    line.contains("igest mismatch") || line.contains("Digests are not matching")
}

/// The zxid in hexadecimal that follows some words.
pub(super) fn zxid_behind(line: &str, words: &str) -> Option<i64> {
    let (_, behind) = line.split_once(words)?;
    let end = behind.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(behind.len());
    i64::from_str_radix(&behind[..end], 16).ok()
}

/// Of which zxids leaders of Java sent trees. While they send one they go on, and then send what the tree has already:
/// a learner of Java that applies it twice counts mismatches until it is up to date.
fn trees_of_java(ensemble: &Ensemble) -> BTreeSet<i64> {
    let logs = ensemble.members().iter().map(|member| member.log_since(0));
    logs.flat_map(|log| {
        log.lines().filter_map(|line| zxid_behind(line, "send zxid of db as 0x")).collect::<Vec<_>>()
    })
    .collect()
}

/// A learner of Java, as its log tells of it.
struct Learner<'a> {
    sent: &'a BTreeSet<i64>,
    takes_javas_tree: bool,
}

impl<'a> Learner<'a> {
    fn new(sent: &'a BTreeSet<i64>) -> Self {
        Self { sent, takes_javas_tree: false }
    }

    fn read(&mut self, line: &str) {
        if let Some(zxid) = zxid_behind(line, "Getting a snapshot from leader 0x") {
            self.takes_javas_tree = self.sent.contains(&zxid);
        } else if line.contains("Learner received NEWLEADER") || line.contains("Peer state changed: looking")
        {
            self.takes_javas_tree = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_tree_of_java_explains_mismatches_and_only_until_the_learner_is_up_to_date() {
        let sent = BTreeSet::from([0x5_0000_66d8]);
        let mut learner = Learner::new(&sent);
        let mut explained = |line| {
            learner.read(line);
            learner.takes_javas_tree
        };
        let mismatch = "ERROR [QuorumPeer] - First digest mismatch on txn: 1";
        assert!(is_mismatch(mismatch) && !explained(mismatch));
        assert!(!explained("INFO [QuorumPeer] - Getting a snapshot from leader 0x100000003"));
        assert!(!explained(mismatch));
        assert!(explained("INFO [QuorumPeer] - Getting a snapshot from leader 0x5000066d8"));
        assert!(explained(mismatch));
        assert!(!explained("INFO [QuorumPeer] - Learner received NEWLEADER message"));
        assert!(!explained(mismatch));
        let tree = "Getting a snapshot from leader 0x5000066d8";
        assert!(all_are_own(&sent, &format!("{tree}\n{mismatch}")));
        assert!(!all_are_own(&sent, &format!("{mismatch}\n{tree}\n{mismatch}")));
        assert!(!all_are_own(&sent, tree), "a count that no line tells of");
    }
}
