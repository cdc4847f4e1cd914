//! Counts of what was compared, and the differences found, with enough context to look into one.

use std::collections::{BTreeMap, VecDeque};

use super::op;

/// How many exchanges of a connection are kept for the report of a difference.
const CONTEXT: usize = 12;

/// Totals over all segments.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Requests sent to both sides and compared.
    pub(crate) requests: u64,
    /// Requests sent to Ostler alone.
    pub(crate) ours_alone: u64,
    /// Notifications compared.
    pub(crate) events: u64,
    /// Handshakes compared.
    pub(crate) handshakes: u64,
    /// Connection endings compared.
    pub(crate) closings: u64,
    /// Nodes compared by the dump at the end of each segment.
    pub(crate) dumped_nodes: u64,
    /// Per operation: answers by error code.
    pub(crate) answers: BTreeMap<i32, BTreeMap<i32, u64>>,
    /// Meant differences by their names.
    pub(crate) explained: BTreeMap<&'static str, u64>,
    /// Unexplained differences, as text.
    pub(crate) differences: Vec<String>,
}

impl Report {
    /// Counts one compared answer.
    pub(crate) fn count_answer(&mut self, code: i32, err: i32) {
        *self.answers.entry(code).or_default().entry(err).or_default() += 1;
    }

    /// The summary for people.
    pub(crate) fn summary(&self) -> String {
        let mut text = format!(
            "compared: {} requests, {} notifications, {} handshakes, {} closings, {} dumped nodes; to Ostler alone: {}\n",
            self.requests, self.events, self.handshakes, self.closings, self.dumped_nodes, self.ours_alone
        );
        text.push_str("answers by operation and error code:\n");
        let mut codes: BTreeMap<i32, u64> = BTreeMap::new();
        for (code, errors) in &self.answers {
            let parts: Vec<String> =
                errors.iter().rev().map(|(err, count)| format!("{err}: {count}")).collect();
            text.push_str(&format!("  {:<24} {}\n", op::name(*code), parts.join(", ")));
            for (err, count) in errors {
                *codes.entry(*err).or_default() += count;
            }
        }
        let parts: Vec<String> = codes.iter().rev().map(|(err, count)| format!("{err}: {count}")).collect();
        text.push_str(&format!("  {:<24} {}\n", "all", parts.join(", ")));
        for (name, count) in &self.explained {
            let reason = super::explained::LIST
                .iter()
                .find(|entry| entry.name == *name)
                .map_or("", |entry| entry.reason);
            text.push_str(&format!("explained difference {name}: {count} ({reason})\n"));
        }
        text.push_str(&format!("unexplained differences: {}\n", self.differences.len()));
        text
    }
}

/// The last exchanges of one connection.
#[derive(Debug, Default, Clone)]
pub(crate) struct History(VecDeque<String>);

impl History {
    /// Adds a line and forgets the oldest.
    pub(crate) fn push(&mut self, line: String) {
        if self.0.len() == CONTEXT {
            self.0.pop_front();
        }
        self.0.push_back(line);
    }

    /// The lines, indented.
    pub(crate) fn text(&self) -> String {
        self.0.iter().map(|line| format!("    {line}\n")).collect()
    }
}
