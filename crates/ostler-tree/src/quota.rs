//! Quotas: which paths have one, what their text means, and the statistics that are kept for them in
//! `/zookeeper/quota`. Statistics are computed by every server for itself; neither log nor digest knows of them.
//! Answers to Java's `Quotas`, `StatsTrack`, `PathTrie` and the quota half of `DataTree`.

use std::collections::{BTreeMap, BTreeSet};

use ostler_wire::Code;
use ostler_wire::path::{self, QUOTA};

use crate::namespaces::{MAX_NAMESPACES, namespace};
use crate::store::Store;

/// The name of the node that holds the limits.
pub(crate) const LIMITS: &str = "zookeeper_limits";
/// The name of the node that holds the usage.
pub(crate) const STATS: &str = "zookeeper_stats";

/// The paths that have a limits node.
#[derive(Debug, Default)]
pub(crate) struct QuotaPaths(BTreeSet<Box<str>>);

impl QuotaPaths {
    /// The deepest path with a quota that is `path` or above it.
    pub(crate) fn covering<'a>(&self, path: &'a str) -> Option<&'a str> {
        if self.0.is_empty() {
            return None;
        }
        let mut at = path;
        while !at.is_empty() {
            if self.0.contains(at) {
                return Some(at);
            }
            at = &at[..at.rfind('/')?];
        }
        None
    }

    /// No path has a quota.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn insert(&mut self, path: &str) {
        self.0.insert(path.into());
    }

    pub(crate) fn remove(&mut self, path: &str) {
        self.0.remove(path);
    }
}

/// The path that a node directly below `quota_parent` speaks of. The root can have no quota.
pub(crate) fn subject(quota_parent: &str) -> Option<&str> {
    quota_parent.strip_prefix(QUOTA).filter(|path| path.starts_with('/'))
}

/// The quotas of a namespace, added up; `None` for what no node says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QuotaFigures {
    /// Nodes and bytes allowed: the hard limit where there is one, -1 for any number.
    pub limits: Option<(i64, i64)>,
    /// Nodes and bytes used.
    pub usage: Option<(i64, i64)>,
}

/// A limit that a write goes beyond.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Excess {
    /// Whether the write is refused for it.
    pub(crate) hard: bool,
    /// What an operator is told.
    pub(crate) text: String,
}

/// The numbers of a limits or statistics node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Track(BTreeMap<String, i64>);

impl Track {
    /// Reads the text. `None` where Java throws.
    pub(crate) fn parse(data: Option<&[u8]>) -> Option<Self> {
        let text = String::from_utf8_lossy(data?);
        let mut numbers = BTreeMap::new();
        let mut pairs = text.trim_end_matches([',', ';']);
        while !pairs.is_empty() {
            let (pair, rest) = match pairs.find([',', ';']) {
                Some(end) => (&pairs[..end], pairs[end..].trim_start_matches([',', ';'])),
                None => (pairs, ""),
            };
            pairs = rest;
            let mut halves = pair.trim_end_matches('=').split('=');
            let (key, value) = (halves.next()?, halves.next()?);
            let value = if value.is_empty() { -1 } else { value.parse().ok()? };
            numbers.insert(key.to_owned(), value);
        }
        Some(Self(numbers))
    }

    /// A number, -1 if it is not there.
    fn number(&self, key: &str) -> i64 {
        self.0.get(key).copied().unwrap_or(-1)
    }

    /// The hard limit where there is one, else the soft one.
    fn limit(&self, hard: &str, soft: &str) -> i64 {
        if self.number(hard) > -1 { self.number(hard) } else { self.number(soft) }
    }

    fn add(&mut self, key: &str, delta: i64) {
        let sum = self.number(key).wrapping_add(delta);
        self.0.insert(key.to_owned(), sum);
    }

    /// The text: what old servers know first, the rest hidden from them behind a stray `=`.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("count={},bytes={}", self.number("count"), self.number("bytes"));
        let mut rest = self.0.iter().filter(|(key, _)| !matches!(key.as_str(), "count" | "bytes")).peekable();
        if rest.peek().is_some() {
            text.push('=');
        }
        for (key, value) in rest {
            text.push_str(&format!(";{key}={value}"));
        }
        text
    }
}

fn length(data: usize) -> i64 {
    i64::try_from(data).expect("data is no longer than memory")
}

impl Store {
    /// The limits that a write goes beyond, none behind a hard one: one node more, or data that replaces `old`
    /// bytes. The usage it is compared with is what was applied. `old` is `None` for a create. Unreadable numbers
    /// are `MarshallingError`, as in Java.
    pub(crate) fn quota_excess(
        &self,
        path: &str,
        data: usize,
        old: Option<usize>,
    ) -> Result<Vec<Excess>, Code> {
        if !self.config.enforce_quota {
            return Ok(Vec::new());
        }
        let Some(prefix) = self.quotas.covering(path) else { return Ok(Vec::new()) };
        let creates = old.is_none();
        let bytes = length(data) - length(old.unwrap_or(0));
        let Some(limits) = self.tree.find(&format!("{QUOTA}{prefix}/{LIMITS}")) else {
            return Ok(Vec::new());
        };
        let limits = Track::parse(self.tree.node(limits).data()).ok_or(Code::MarshallingError)?;
        let limit = |soft: &str, hard: &str| {
            let (soft, hard) = (limits.number(soft), limits.number(hard));
            (soft > -1 || hard > -1).then_some(if hard > -1 { (hard, true) } else { (soft, false) })
        };
        let count_limit = limit("count", "countHardLimit").filter(|_| creates);
        let byte_limit = limit("bytes", "byteHardLimit").filter(|_| bytes != 0);
        if count_limit.is_none() && byte_limit.is_none() {
            return Ok(Vec::new());
        }
        let Some(stats) = self.tree.find(&format!("{QUOTA}{prefix}/{STATS}")) else { return Ok(Vec::new()) };
        let usage = Track::parse(self.tree.node(stats).data()).ok_or(Code::MarshallingError)?;
        let mut excess = Vec::new();
        for (key, noun, delta, limit) in
            [("count", "Count", 1, count_limit), ("bytes", "Byte", bytes, byte_limit)]
        {
            let Some((limit, hard)) = limit else { continue };
            let wanted = usage.number(key).wrapping_add(delta);
            if wanted > limit {
                let kind = if hard { "hard" } else { "soft" };
                let text =
                    format!("Quota exceeded: {prefix} [current {key}={wanted}, {kind}{noun}Limit={limit}]");
                excess.push(Excess { hard, text });
                if hard {
                    break;
                }
            }
        }
        Ok(excess)
    }

    /// Limits and usage by namespace, for the operator. A bounded number of namespaces; what cannot be read is
    /// left out.
    #[must_use]
    pub fn quota_figures(&self) -> BTreeMap<String, QuotaFigures> {
        let mut figures: BTreeMap<String, QuotaFigures> = BTreeMap::new();
        let Some(top) = self.tree.find(QUOTA) else { return figures };
        for id in self.tree.subtree(top) {
            let node = self.tree.node(id);
            let is_limits = node.name() == LIMITS;
            if !(is_limits || node.name() == STATS) || self.tree.child_count(id) > 0 {
                continue;
            }
            let path = self.tree.path(id);
            let Some(name) = path.strip_prefix(QUOTA).and_then(namespace) else { continue };
            let Some(track) = Track::parse(node.data()) else { continue };
            if figures.len() >= MAX_NAMESPACES && !figures.contains_key(name) {
                continue;
            }
            let figures = figures.entry(name.to_owned()).or_default();
            let numbers = if is_limits {
                (track.limit("countHardLimit", "count"), track.limit("byteHardLimit", "bytes"))
            } else {
                (track.number("count"), track.number("bytes"))
            };
            let sum = if is_limits { &mut figures.limits } else { &mut figures.usage };
            let (count, bytes) = sum.unwrap_or_default();
            *sum = Some((count.wrapping_add(numbers.0), bytes.wrapping_add(numbers.1)));
        }
        figures
    }

    /// Counts a created, deleted or changed node for the quota above it.
    pub(crate) fn account(&mut self, path: &str, bytes: i64, count: i64) {
        let Some(prefix) = self.quotas.covering(path) else { return };
        let stats = format!("{QUOTA}{prefix}/{STATS}");
        let Some(id) = self.tree.find(&stats) else { return };
        // What cannot be read is left as it is, until it is set or loaded anew.
        let Some(mut usage) = Track::parse(self.tree.node(id).data()) else { return };
        usage.add("count", count);
        usage.add("bytes", bytes);
        self.tree.set_data(id, &stats, Some(usage.text().as_bytes()), |_| {});
    }

    /// Begins to watch over a path when its limits are created, and counts what is there when its statistics are.
    pub(crate) fn on_created_for_quota(&mut self, parent: &str, name: &str) {
        let Some(path) = subject(parent) else { return };
        match name {
            LIMITS => self.quotas.insert(path),
            STATS => self.count_usage(path),
            _ => {}
        }
    }

    /// Forgets a quota when its limits are deleted.
    pub(crate) fn on_deleted_for_quota(&mut self, parent: &str, name: &str) {
        if name == LIMITS
            && let Some(path) = subject(parent)
        {
            self.quotas.remove(path);
        }
    }

    /// Finds every quota of a tree that was just loaded.
    pub(crate) fn find_quotas(&mut self) {
        let Some(top) = self.tree.find(QUOTA) else { return };
        let limits: Vec<u32> = self
            .tree
            .subtree(top)
            .filter(|id| self.tree.node(*id).name() == LIMITS && self.tree.child_count(*id) == 0)
            .collect();
        for id in limits {
            let path = self.tree.path(id);
            if let Some(subject) = subject(path::parent(&path)) {
                self.quotas.insert(subject);
                self.count_usage(subject);
            }
        }
    }

    fn count_usage(&mut self, path: &str) {
        let stats = format!("{QUOTA}{path}/{STATS}");
        let Some(stats_id) = self.tree.find(&stats) else { return };
        let mut usage = Track(BTreeMap::from([("count".to_owned(), 0), ("bytes".to_owned(), 0)]));
        if let Some(top) = self.tree.find(path) {
            for id in self.tree.subtree(top) {
                usage.add("count", 1);
                usage.add("bytes", length(self.tree.node(id).data_len()));
            }
        }
        self.tree.set_data(stats_id, &stats, Some(usage.text().as_bytes()), |_| {});
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(data: &str) -> Option<String> {
        Track::parse(Some(data.as_bytes())).map(|track| track.text())
    }

    #[test]
    fn texts_are_read_as_java_reads_them() {
        assert_eq!(text("").as_deref(), Some("count=-1,bytes=-1"));
        assert_eq!(text(",;").as_deref(), Some("count=-1,bytes=-1"));
        assert_eq!(text("count=3,bytes=10").as_deref(), Some("count=3,bytes=10"));
        let full = "count=3,bytes=10=;byteHardLimit=12;countHardLimit=4";
        assert_eq!(text(full).as_deref(), Some(full));
        assert_eq!(text("count==5;bytes=+7;").as_deref(), Some("count=-1,bytes=7"));
        for bad in ["count=", "count", "=", "count=x", ",count=1", "count=1,bytes=99999999999999999999"] {
            assert_eq!(text(bad), None, "{bad}");
        }
        assert_eq!(Track::parse(None), None);
    }

    #[test]
    fn the_deepest_quota_counts() {
        let mut quotas = QuotaPaths::default();
        assert_eq!(quotas.covering("/a"), None);
        quotas.insert("/a");
        quotas.insert("/a/b");
        for (path, prefix) in [
            ("/a", Some("/a")),
            ("/a/x/y", Some("/a")),
            ("/a/b/c", Some("/a/b")),
            ("/ab", None),
            ("/", None),
            ("", None),
        ] {
            assert_eq!(quotas.covering(path), prefix, "{path}");
        }
        quotas.remove("/a");
        assert_eq!((quotas.covering("/a"), quotas.covering("/a/b")), (None, Some("/a/b")));
    }

    #[test]
    fn subjects() {
        assert_eq!(subject("/zookeeper/quota/a/b"), Some("/a/b"));
        assert_eq!(subject("/zookeeper/quota"), None);
        assert_eq!(subject("/zookeeper/quotas/a"), None);
    }
}
