//! A sorted set of 64-bit keys in runs: short sorted vectors, each with the lowest key that belongs to it. It takes
//! little more than the keys themselves, where a B-tree leaves a third of each of its leaves empty, never moves more
//! than one run and the list of runs, and can be read from any key on. It holds the children of a znode, of which
//! there may be one or millions. Keys begin with a hash, so where one is can be guessed well; a search by halves would
//! wait for memory at each step.

use std::iter::FusedIterator;
use std::slice;

/// The most keys in a run.
const MOST: usize = 256;
/// Neighbours with no more keys than this together become one run.
const FEW: usize = MOST / 2;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct KeySet {
    /// By their lowest keys; the first begins at 0. None if there are no keys.
    runs: Vec<Run>,
    len: usize,
}

#[derive(Debug)]
struct Run {
    /// No key of it is below.
    from: u64,
    keys: Vec<u64>,
}

impl KeySet {
    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Adds a key that is not there.
    pub(crate) fn insert(&mut self, key: u64) {
        if self.runs.is_empty() {
            self.runs.reserve_exact(1);
            self.runs.push(Run { from: 0, keys: Vec::new() });
        }
        let mut at = self.run_of(key);
        if self.runs[at].keys.len() == MOST {
            self.split(at);
            at = self.run_of(key);
        }
        let place = self.place_of(at, key);
        let keys = &mut self.runs[at].keys;
        if keys.get(place) != Some(&key) {
            reserve(keys);
            keys.insert(place, key);
            self.len += 1;
        }
    }

    /// Takes a key out.
    pub(crate) fn remove(&mut self, key: u64) {
        if self.runs.is_empty() {
            return;
        }
        let at = self.run_of(key);
        let place = self.place_of(at, key);
        let keys = &mut self.runs[at].keys;
        if keys.get(place) != Some(&key) {
            return;
        }
        keys.remove(place);
        if keys.len() < keys.capacity() / 2 {
            keys.shrink_to(keys.len() + spare(keys.len()));
        }
        self.len -= 1;
        if self.len == 0 {
            self.runs = Vec::new();
        } else if at > 0 {
            self.join(at - 1);
        } else if self.runs.len() > 1 {
            self.join(0);
        }
    }

    /// All keys in order.
    pub(crate) fn iter(&self) -> Keys<'_> {
        Keys { rest: Rest { keys: [].iter(), runs: self.runs.iter() }, left: self.len }
    }

    /// The keys from this one on, in order.
    pub(crate) fn at_or_above(&self, key: u64) -> Rest<'_> {
        if self.runs.is_empty() {
            return Rest::default();
        }
        let at = self.run_of(key);
        let place = self.place_of(at, key);
        Rest { keys: self.runs[at].keys[place..].iter(), runs: self.runs[at + 1..].iter() }
    }

    /// The run to which a key belongs; there must be one.
    fn run_of(&self, key: u64) -> usize {
        self.runs.partition_point(|run| run.from <= key) - 1
    }

    /// The place of the first key of a run that is not below this one, which belongs to the run.
    fn place_of(&self, run: usize, key: u64) -> usize {
        let Run { from, keys } = &self.runs[run];
        let to = self.runs.get(run + 1).map_or(u64::MAX, |next| next.from);
        // By the upper halves, so that nothing overflows.
        let (before, width) = ((key >> 32) - (from >> 32), (to >> 32) - (from >> 32) + 1);
        let mut place = (before * keys.len() as u64 / width) as usize;
        while keys.get(place).is_some_and(|other| *other < key) {
            place += 1;
        }
        while place > 0 && keys[place - 1] >= key {
            place -= 1;
        }
        place
    }

    fn split(&mut self, at: usize) {
        let keys = &mut self.runs[at].keys;
        // Both get memory of their own: an allocator may leave a vector that shrinks to its half where it is.
        let (low, high) = keys.split_at(MOST / 2);
        let (low, high) = (with_spare(low), with_spare(high));
        let from = high[0];
        *keys = low;
        self.runs.insert(at + 1, Run { from, keys: high });
    }

    /// Joins a run and the next if there is little in them, or nothing in one of them.
    fn join(&mut self, at: usize) {
        let (len, next_len) = (self.runs[at].keys.len(), self.runs[at + 1].keys.len());
        if len + next_len <= FEW || len == 0 || next_len == 0 {
            let next = self.runs.remove(at + 1);
            let keys = &mut self.runs[at].keys;
            keys.reserve_exact(next_len);
            keys.extend(next.keys);
        }
    }
}

/// Room to be had at once beside so many keys.
fn spare(len: usize) -> usize {
    (len / 8).clamp(1, 16)
}

fn with_spare(keys: &[u64]) -> Vec<u64> {
    let mut copy = Vec::with_capacity(keys.len() + spare(keys.len()));
    copy.extend_from_slice(keys);
    copy
}

/// Makes room for one more.
fn reserve(keys: &mut Vec<u64>) {
    if keys.len() == keys.capacity() {
        keys.reserve_exact(spare(keys.len()));
    }
}

/// The keys of a set from one on: those of a run, and the runs behind it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rest<'a> {
    keys: slice::Iter<'a, u64>,
    runs: slice::Iter<'a, Run>,
}

impl Iterator for Rest<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        loop {
            if let Some(key) = self.keys.next() {
                return Some(*key);
            }
            self.keys = self.runs.next()?.keys.iter();
        }
    }
}

/// All keys of a set.
#[derive(Debug, Clone, Default)]
pub(crate) struct Keys<'a> {
    rest: Rest<'a>,
    left: usize,
}

impl Iterator for Keys<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let key = self.rest.next()?;
        self.left -= 1;
        Some(key)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Keys<'_> {}
impl FusedIterator for Keys<'_> {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn check(set: &KeySet, model: &BTreeSet<u64>, from: u64) {
        assert_eq!((set.len(), set.iter().len()), (model.len(), model.len()));
        assert!(set.iter().eq(model.iter().copied()));
        assert!(set.at_or_above(from).eq(model.range(from..).copied()));
        assert!(set.runs.first().is_none_or(|run| run.from == 0));
        for (at, run) in set.runs.iter().enumerate() {
            let end = set.runs.get(at + 1).map_or(u64::MAX, |next| next.from);
            assert!(!run.keys.is_empty(), "an empty run stays");
            assert!(run.keys.len() <= MOST && run.keys.iter().all(|key| run.from <= *key && *key < end));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn it_is_a_sorted_set(
            phases in prop::collection::vec((any::<u64>(), 1..1500_usize, 0..100_u64, 1..4000_u64), 1..5),
        ) {
            let (mut set, mut model) = (KeySet::default(), BTreeSet::new());
            for (seed, steps, inserts_of_100, range) in phases {
                let mut state = seed;
                let mut next = || {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    state >> 33
                };
                for _ in 0..steps {
                    let key = next() % range;
                    if next() % 100 < inserts_of_100 {
                        if model.insert(key) {
                            set.insert(key);
                        }
                    } else {
                        model.remove(&key);
                        set.remove(key);
                    }
                }
                check(&set, &model, next() % range);
            }
            for key in std::mem::take(&mut model) {
                set.remove(key);
            }
            check(&set, &model, 0);
            prop_assert!(set.runs.capacity() == 0);
        }
    }

    #[test]
    fn memory_is_little_more_than_the_keys() {
        for count in [1_u64, 2, 10, 1000, 100_000] {
            let mut set = KeySet::default();
            for i in 0..count {
                set.insert(i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            }
            let keys: usize = set.runs.iter().map(|run| run.keys.capacity()).sum();
            assert!(keys as u64 <= count + count / 8 + 1, "{keys} places for {count} keys");
        }
    }
}
