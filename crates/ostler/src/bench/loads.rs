//! The loads: reads, sets and creates in a closed loop or by the clock, and the bulk writes with which a benchmark
//! prepares and fills.

use ostler_wire::client::encode;
use ostler_wire::client::response::{MultiResult, Response};
use ostler_wire::jute::Reader;
use ostler_wire::{Acl, OpCode};

use super::engine::{Issued, Load, Reply};
use super::handshake::code_name;
use super::stats::Recorder;

/// Tags of operations.
pub(super) const READ: usize = 0;
pub(super) const WRITE: usize = 1;

/// A small generator of pseudo-random numbers (SplitMix64): the same seed gives the same load.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        u64::try_from((u128::from(self.next()) * u128::from(n)) >> 64).expect("it is below n")
    }

    /// Bytes that do not compress.
    pub(super) fn bytes(&mut self, n: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..n.div_ceil(8)).flat_map(|_| self.next().to_be_bytes()).collect();
        bytes.truncate(n);
        bytes
    }
}

/// What an operation of a load is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Mix {
    /// New znodes below the subtree.
    Create,
    /// Reads with this probability, else sets.
    Ratio(f64),
}

/// Sends operations for each free place of a connection, or by the clock.
pub(super) struct Operations {
    pub(super) recorder: Recorder,
    mix: Mix,
    random: Random,
    paths: Vec<String>,
    value: Vec<u8>,
    acl: Vec<Acl>,
    name: String,
    created: u64,
    pace: Option<Pace>,
}

/// When operations are due: evenly, on the connections in turn.
#[derive(Debug, Clone)]
struct Pace {
    began: u64,
    rate: f64,
    issued: u64,
    connections: u64,
    ends: u64,
}

impl Pace {
    /// When the next operation is meant to be sent.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "2^53 ns are 104 days"
    )]
    fn next_at(&self) -> u64 {
        self.began + (self.issued as f64 * 1e9 / self.rate) as u64
    }
}

impl Operations {
    /// Operations on `paths`; for creates those are the parents, one per connection.
    pub(super) fn new(
        mix: Mix,
        paths: Vec<String>,
        value_size: usize,
        seed: u64,
        recorder: Recorder,
    ) -> Self {
        let mut random = Random::new(seed);
        let value = random.bytes(value_size);
        Self {
            recorder,
            mix,
            random,
            paths,
            value,
            acl: Acl::open(),
            name: String::new(),
            created: 0,
            pace: None,
        }
    }

    /// From `now` until `ends`, `rate` operations are sent a second, whether or not earlier ones were answered.
    pub(super) fn pace(&mut self, now: u64, ends: u64, rate: f64, connections: u64) {
        self.pace = Some(Pace { began: now, rate, issued: 0, connections, ends });
    }

    fn encode(&mut self, conn: usize, xid: i32, out: &mut Vec<u8>) -> usize {
        let reads = match self.mix {
            Mix::Create => {
                self.encode_create(conn, xid, out);
                return WRITE;
            }
            Mix::Ratio(reads) => reads,
        };
        let path =
            &self.paths[usize::try_from(self.random.below(self.paths.len() as u64)).expect("a small index")];
        #[expect(clippy::cast_precision_loss, reason = "a probability")]
        let read =
            reads >= 1.0 || (reads > 0.0 && (self.random.next() >> 11) as f64 / (1u64 << 53) as f64 <= reads);
        if read {
            encode::encode_frame(xid, OpCode::GetData, out, |out| encode::path_watch_body(path, false, out));
            READ
        } else {
            encode::encode_frame(xid, OpCode::SetData, out, |out| {
                encode::set_data_body(path, &self.value, -1, out);
            });
            WRITE
        }
    }

    fn encode_create(&mut self, conn: usize, xid: i32, out: &mut Vec<u8>) {
        use std::fmt::Write as _;
        let parent = &self.paths[conn % self.paths.len()];
        self.name.clear();
        write!(self.name, "{parent}/n{:09}", self.created).expect("a string takes all");
        self.created += 1;
        encode::encode_frame(xid, OpCode::Create, out, |out| {
            encode::create_body(&self.name, &self.value, &self.acl, 0, out);
        });
    }
}

impl Load for Operations {
    fn next(&mut self, conn: usize, now: u64, xid: i32, out: &mut Vec<u8>) -> Option<Issued> {
        let start = match &mut self.pace {
            None => now,
            Some(pace) => {
                let at = pace.next_at();
                if at > now || at >= pace.ends || pace.issued % pace.connections != conn as u64 {
                    return None;
                }
                pace.issued += 1;
                at
            }
        };
        let tag = u32::try_from(self.encode(conn, xid, out)).expect("a small tag");
        Some(Issued { tag, start })
    }

    fn on_reply(&mut self, _conn: usize, reply: &Reply<'_>) {
        self.recorder.on_reply(reply);
    }

    fn on_lost(&mut self, _conn: usize, _issued: Issued) {
        self.recorder.on_lost();
    }

    fn due(&self) -> Option<(u64, usize)> {
        let pace = self.pace.as_ref()?;
        let at = pace.next_at();
        let conn = usize::try_from(pace.issued % pace.connections).expect("a small index");
        (at < pace.ends).then_some((at, conn))
    }

    fn is_done(&self) -> bool {
        self.recorder.is_full()
    }

    fn completed(&self) -> u64 {
        self.recorder.all()
    }
}

/// One request of a bulk: an opcode, how many znodes it is about, and its body.
pub(super) struct BulkRequest {
    pub(super) op: OpCode,
    pub(super) items: u32,
}

/// Sends requests that an iterator makes, on whatever connection is free, and stops at the first that fails.
pub(super) struct Bulk<F> {
    /// Appends the next body.
    make: F,
    body: Vec<u8>,
    exhausted: bool,
    outstanding: u64,
    done: u64,
    /// Codes that are no failure.
    allowed: &'static [i32],
    pub(super) failure: Option<String>,
    pub(super) latencies: super::stats::Latencies,
}

impl<F: FnMut(&mut Vec<u8>) -> Option<BulkRequest>> Bulk<F> {
    pub(super) fn new(make: F, allowed: &'static [i32]) -> Self {
        Self {
            make,
            body: Vec::new(),
            exhausted: false,
            outstanding: 0,
            done: 0,
            allowed,
            failure: None,
            latencies: super::stats::Latencies::new(),
        }
    }

    fn fail(&mut self, err: i32) {
        if err != 0 && !self.allowed.contains(&err) && self.failure.is_none() {
            self.failure = Some(code_name(err));
        }
    }
}

/// The bit of a tag that marks a multi, whose answer holds its own codes.
const MULTI: u32 = 1 << 31;

impl<F: FnMut(&mut Vec<u8>) -> Option<BulkRequest>> Load for Bulk<F> {
    fn next(&mut self, _conn: usize, now: u64, xid: i32, out: &mut Vec<u8>) -> Option<Issued> {
        if self.exhausted || self.failure.is_some() {
            return None;
        }
        self.body.clear();
        let Some(BulkRequest { op, items }) = (self.make)(&mut self.body) else {
            self.exhausted = true;
            return None;
        };
        encode::encode_frame(xid, op, out, |out| out.extend_from_slice(&self.body));
        self.outstanding += 1;
        Some(Issued { tag: if op == OpCode::Multi { items | MULTI } else { items }, start: now })
    }

    fn on_reply(&mut self, _conn: usize, reply: &Reply<'_>) {
        self.outstanding -= 1;
        self.latencies.record(reply.now - reply.issued.start);
        self.fail(reply.err);
        if reply.err == 0 && reply.issued.tag & MULTI != 0 {
            match Response::decode(OpCode::Multi, &mut Reader::new(reply.body)) {
                Ok(Response::Multi(results)) => {
                    for result in results {
                        if let MultiResult::Error(err) = result
                            && err != ostler_wire::Code::RuntimeInconsistency.to_int()
                        {
                            self.fail(err);
                        }
                    }
                }
                _ => self.failure = Some("an answer to a multi that cannot be read".to_owned()),
            }
        }
        self.done += u64::from(reply.issued.tag & !MULTI);
    }

    fn on_lost(&mut self, _conn: usize, _issued: Issued) {
        self.outstanding -= 1;
        if self.failure.is_none() {
            self.failure = Some("the connection was lost".to_owned());
        }
    }

    fn is_done(&self) -> bool {
        self.outstanding == 0 && (self.exhausted || self.failure.is_some())
    }

    fn completed(&self) -> u64 {
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::stats::CountBy;

    fn operations(mix: Mix) -> Operations {
        let paths = vec!["/x/a".to_owned(), "/x/b".to_owned()];
        Operations::new(mix, paths, 10, 7, Recorder::new(CountBy::Start, 2, false))
    }

    #[test]
    fn random_numbers_are_even_and_repeat() {
        let mut random = Random::new(3);
        let mut counts = [0; 10];
        for _ in 0..10_000 {
            counts[usize::try_from(random.below(10)).unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| (900..1100).contains(count)), "{counts:?}");
        assert_eq!(Random::new(3).bytes(13), Random::new(3).bytes(13));
        assert_eq!(Random::new(3).bytes(13).len(), 13);
    }

    #[test]
    fn a_paced_load_counts_from_when_it_meant_to_send() {
        let mut load = operations(Mix::Ratio(0.8));
        load.pace(1000, 1000 + 10_000_000, 1_000_000.0, 2);
        let mut out = Vec::new();
        assert_eq!(load.due(), Some((1000, 0)));
        assert!(load.next(0, 999, 1, &mut out).is_none());
        // Late by 5000 ns: five are due, and each keeps its own start.
        let mut starts = Vec::new();
        while let Some((at, conn)) = load.due()
            && at < 6000
        {
            starts.push(load.next(conn, 6000, 1, &mut out).unwrap().start);
        }
        assert_eq!(starts, [1000, 2000, 3000, 4000, 5000]);
        assert_eq!(load.due(), Some((6000, 1)));
        let mut sent = starts.len();
        while let Some((at, conn)) = load.due() {
            assert!(load.next(conn, at, 1, &mut out).is_some());
            sent += 1;
        }
        assert_eq!(sent, 10_000);
    }

    #[test]
    fn the_share_of_reads_is_what_was_asked_for() {
        for (ratio, range) in [(0.0, 0..=0), (0.8, 7800..=8200), (1.0, 10_000..=10_000)] {
            let mut load = operations(Mix::Ratio(ratio));
            let mut out = Vec::new();
            let reads = (0..10_000).filter(|_| load.next(0, 0, 1, &mut out).unwrap().tag == 0).count();
            assert!(range.contains(&reads), "{ratio}: {reads}");
        }
    }

    #[test]
    fn a_bulk_stops_at_its_first_failure() {
        let mut left = 3;
        let mut bulk = Bulk::new(
            |_| {
                left -= 1;
                (left >= 0).then_some(BulkRequest { op: OpCode::Delete, items: 1 })
            },
            &[-110],
        );
        let mut out = Vec::new();
        let mut answer = |bulk: &mut Bulk<_>, err| {
            let issued = bulk.next(0, 0, 1, &mut out).unwrap();
            bulk.on_reply(0, &Reply { issued, now: 1, err, body: &[] });
        };
        answer(&mut bulk, -110);
        assert_eq!((bulk.is_done(), bulk.failure.clone()), (false, None));
        answer(&mut bulk, -101);
        assert_eq!((bulk.is_done(), bulk.failure.as_deref()), (true, Some("NoNode")));
    }
}
