//! What a run counts: latencies in histograms, errors by code, both also by the second. Latencies are recorded in
//! nanoseconds and reported in microseconds.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::engine::{Issued, Reply};
use super::handshake::code_name;

const SECOND_NS: u64 = 1_000_000_000;
/// A latency above this counts as this.
const LONGEST_NS: u64 = 600 * SECOND_NS;

/// Latencies.
#[derive(Debug, Clone)]
pub(super) struct Latencies(Histogram<u64>);

/// What is said of latencies, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(super) struct Quantiles {
    pub(super) count: u64,
    pub(super) mean: f64,
    pub(super) p50: f64,
    pub(super) p95: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
    pub(super) max: f64,
}

impl Latencies {
    pub(super) fn new() -> Self {
        Self(Histogram::new_with_bounds(1000, LONGEST_NS, 3).expect("the bounds are valid"))
    }

    pub(super) fn record(&mut self, ns: u64) {
        self.0.saturating_record(ns);
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all have the same bounds");
    }

    pub(super) fn quantiles(&self) -> Quantiles {
        let at = |quantile| us(self.0.value_at_quantile(quantile));
        Quantiles {
            count: self.0.len(),
            mean: self.0.mean() / 1000.0,
            p50: at(0.5),
            p95: at(0.95),
            p99: at(0.99),
            p999: at(0.999),
            max: us(self.0.max()),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "latencies are far below 2^53 ns")]
pub(super) fn us(ns: u64) -> f64 {
    ns as f64 / 1000.0
}

/// Which moment of an operation decides whether, and in which second, it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CountBy {
    /// When its answer came: what a closed loop got done in an interval.
    Answer,
    /// When it was meant to be sent: so that an open loop misses no slow one.
    Start,
}

/// One second of a run.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Second {
    pub(super) second: u64,
    pub(super) ops: u64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    pub(super) max_us: f64,
    /// Whether a snapshot file appeared or grew in it, if that was watched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) snapshot: Option<bool>,
}

/// Counts operations within an interval.
pub(super) struct Recorder {
    by: CountBy,
    from: u64,
    until: u64,
    /// Stops by itself after so many operations.
    limit: u64,
    /// One per kind of operation (a load's tag).
    kinds: Vec<Latencies>,
    seconds: Option<Vec<Latencies>>,
    errors: BTreeMap<i32, u64>,
    lost: u64,
    ops: u64,
    all: u64,
}

impl Recorder {
    /// Counts nothing until [`Recorder::begin`].
    pub(super) fn new(by: CountBy, kinds: usize, per_second: bool) -> Self {
        Self {
            by,
            from: u64::MAX,
            until: u64::MAX,
            limit: u64::MAX,
            kinds: vec![Latencies::new(); kinds],
            seconds: per_second.then(Vec::new),
            errors: BTreeMap::new(),
            lost: 0,
            ops: 0,
            all: 0,
        }
    }

    /// Counts from `from` until `until` or until `limit` operations.
    pub(super) fn begin(&mut self, from: u64, until: u64, limit: u64) {
        (self.from, self.until, self.limit) = (from, until, limit);
    }

    /// An answer.
    pub(super) fn on_reply(&mut self, reply: &Reply<'_>) {
        self.all += 1;
        let Issued { tag, start } = reply.issued;
        let at = match self.by {
            CountBy::Answer => reply.now,
            CountBy::Start => start,
        };
        if at < self.from || at >= self.until || self.ops >= self.limit {
            return;
        }
        self.ops += 1;
        if reply.err != 0 {
            *self.errors.entry(reply.err).or_default() += 1;
        }
        let latency = reply.now.saturating_sub(start);
        self.kinds[tag as usize].record(latency);
        if let Some(seconds) = &mut self.seconds {
            let index = usize::try_from((at - self.from) / SECOND_NS).expect("runs are short");
            while seconds.len() <= index {
                seconds.push(Latencies::new());
            }
            seconds[index].record(latency);
        }
    }

    /// A request whose connection went away.
    pub(super) fn on_lost(&mut self) {
        self.lost += 1;
    }

    /// How many operations were answered, counted or not.
    pub(super) fn all(&self) -> u64 {
        self.all
    }

    /// How many counted.
    pub(super) fn ops(&self) -> u64 {
        self.ops
    }

    /// Whether the limit is reached.
    pub(super) fn is_full(&self) -> bool {
        self.ops >= self.limit
    }

    /// Latencies of all kinds together.
    pub(super) fn total(&self) -> Quantiles {
        let mut total = Latencies::new();
        for kind in &self.kinds {
            total.add(kind);
        }
        total.quantiles()
    }

    /// Latencies of one kind.
    pub(super) fn kind(&self, tag: usize) -> Quantiles {
        self.kinds[tag].quantiles()
    }

    /// Errors by name.
    pub(super) fn errors(&self) -> BTreeMap<String, u64> {
        let mut errors: BTreeMap<String, u64> =
            self.errors.iter().map(|(err, count)| (code_name(*err), *count)).collect();
        if self.lost > 0 {
            errors.insert("connection lost".to_owned(), self.lost);
        }
        errors
    }

    /// The seconds, if they were asked for; `snapshots` says in which of them a snapshot was written.
    pub(super) fn seconds(&self, snapshots: Option<&dyn Fn(u64) -> bool>) -> Option<Vec<Second>> {
        let seconds = self.seconds.as_ref()?.iter().zip(0..);
        Some(
            seconds
                .map(|(latencies, second)| {
                    let quantiles = latencies.quantiles();
                    Second {
                        second,
                        ops: quantiles.count,
                        p50_us: quantiles.p50,
                        p99_us: quantiles.p99,
                        max_us: quantiles.max,
                        snapshot: snapshots.map(|written| written(second)),
                    }
                })
                .collect(),
        )
    }

    /// Latencies of the seconds for which `chosen` holds.
    pub(super) fn seconds_where(&self, chosen: impl Fn(u64) -> bool) -> Quantiles {
        let mut total = Latencies::new();
        for (latencies, second) in self.seconds.iter().flatten().zip(0..) {
            if chosen(second) {
                total.add(latencies);
            }
        }
        total.quantiles()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(start: u64, now: u64, err: i32) -> Reply<'static> {
        Reply { issued: Issued { tag: 0, start }, now, err, body: &[] }
    }

    #[test]
    fn quantiles_are_those_of_what_was_recorded() {
        let mut latencies = Latencies::new();
        for ms in 1..=1000 {
            latencies.record(ms * 1_000_000);
        }
        let quantiles = latencies.quantiles();
        assert_eq!(quantiles.count, 1000);
        for (found, wanted) in [
            (quantiles.p50, 500_000.0),
            (quantiles.p99, 990_000.0),
            (quantiles.p999, 999_000.0),
            (quantiles.max, 1_000_000.0),
        ] {
            assert!((found / wanted - 1.0).abs() < 0.002, "{found} for {wanted}");
        }
        latencies.record(u64::MAX);
        assert!(latencies.quantiles().max >= 599e6);
    }

    #[test]
    fn only_what_falls_in_the_interval_counts() {
        let s = SECOND_NS;
        let mut by_answer = Recorder::new(CountBy::Answer, 1, true);
        by_answer.on_reply(&reply(0, s, 0));
        by_answer.begin(s, 3 * s, u64::MAX);
        by_answer.on_reply(&reply(s / 2, s, 0));
        by_answer.on_reply(&reply(2 * s, 2 * s + 5, -101));
        by_answer.on_reply(&reply(2 * s, 3 * s, 0));
        assert_eq!((by_answer.ops(), by_answer.all()), (2, 4));
        assert_eq!(by_answer.errors(), BTreeMap::from([("NoNode".to_owned(), 1)]));
        let seconds = by_answer.seconds(Some(&|second| second == 1)).unwrap();
        assert_eq!(seconds.iter().map(|second| second.ops).collect::<Vec<_>>(), [1, 1]);
        assert_eq!(seconds[1].snapshot, Some(true));
        assert_eq!(by_answer.seconds_where(|second| second == 0).count, 1);

        let mut by_start = Recorder::new(CountBy::Start, 1, false);
        by_start.begin(s, 3 * s, u64::MAX);
        by_start.on_reply(&reply(3 * s - 1, 9 * s, 0));
        by_start.on_reply(&reply(s - 1, 2 * s, 0));
        assert_eq!(by_start.ops(), 1);
        assert!((by_start.total().max / 6e6 - 1.0).abs() < 0.002);
    }

    #[test]
    fn a_limit_ends_the_count() {
        let mut recorder = Recorder::new(CountBy::Answer, 1, false);
        recorder.begin(0, u64::MAX, 2);
        for _ in 0..5 {
            recorder.on_reply(&reply(0, 1, 0));
        }
        assert!(recorder.is_full());
        assert_eq!(recorder.ops(), 2);
    }
}
