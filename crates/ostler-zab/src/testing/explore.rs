//! Every state of a [`Model`], each once: the search remembers their hashes and goes deep first, so that it holds few
//! whole worlds at a time. Some threads search together: whoever has nothing left takes what another put on the pile.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::actions::Action;
use super::model::{Model, State};

/// What was seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Unique states.
    pub states: u64,
    /// Steps from one to another, or to one that was seen before.
    pub steps: u64,
    /// States at the bounds, behind which nothing was looked at.
    pub beyond: u64,
    /// States in which everybody waits, and came to serve when patience ended.
    pub waiting: u64,
}

/// What was found.
#[derive(Debug)]
pub struct Found {
    /// Counts.
    pub seen: Seen,
    /// Whether all there is was seen: not if there were more states than asked for.
    pub complete: bool,
    /// What must not be, and the way to it.
    pub violation: Option<(String, Vec<String>)>,
}

/// The way to a state, newest first.
struct Way {
    action: Action,
    before: Option<Arc<Self>>,
}

/// A state to be looked at: the number of the beginning that it came from, and the way from there.
struct Item {
    state: State,
    beginning: usize,
    way: Option<Arc<Way>>,
}

/// So many sets share the hashes, so that threads seldom wait for one another.
const SHARDS: usize = 64;

/// So many states on a thread's own stack make it leave some to others.
const PLENTY: usize = 32;

/// What the threads share.
struct Search<'a> {
    model: &'a Model,
    /// The most states to look at.
    most: u64,
    known: Vec<Mutex<HashSet<u64, BuildHasherDefault<Same>>>>,
    pile: Mutex<Vec<Item>>,
    /// So many states are on the pile.
    piled: AtomicUsize,
    /// Threads that look at a state, or may soon.
    busy: AtomicUsize,
    states: AtomicU64,
    stopped: AtomicBool,
    violation: Mutex<Option<Wrong>>,
}

/// What must not be, the number of the beginning, and the way from there.
type Wrong = (String, usize, Option<Arc<Way>>);

/// Looks at every state, or at the first `most`.
#[must_use]
pub fn explore(model: &Model, most: u64, threads: usize) -> Found {
    let search = Search {
        model,
        most,
        known: (0..SHARDS).map(|_| Mutex::default()).collect(),
        pile: Mutex::default(),
        piled: AtomicUsize::new(0),
        busy: AtomicUsize::new(0),
        states: AtomicU64::new(0),
        stopped: AtomicBool::new(false),
        violation: Mutex::new(None),
    };
    let beginnings = model.beginnings().into_iter().enumerate();
    let items = beginnings.map(|(beginning, state)| Item { state, beginning, way: None });
    search.leave(items.filter(|item| search.is_new(&item.state)).collect());
    let seen = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(|| search.work())).collect();
        threads.into_iter().map(|thread| thread.join().expect("no state makes a thread panic")).fold(
            Seen::default(),
            |sum, seen| Seen {
                states: sum.states + seen.states,
                steps: sum.steps + seen.steps,
                beyond: sum.beyond + seen.beyond,
                waiting: sum.waiting + seen.waiting,
            },
        )
    });
    let violation = search.violation.into_inner().expect("no thread panicked");
    let violation =
        violation.map(|(violation, beginning, way)| (violation, retrace(model, beginning, way.as_deref())));
    let complete = violation.is_none() && !search.stopped.into_inner();
    Found { seen, complete, violation }
}

impl Search<'_> {
    /// Looks at states until there are none left anywhere.
    fn work(&self) -> Seen {
        let mut seen = Seen::default();
        let mut actions = Vec::new();
        let mut stack = Vec::new();
        loop {
            self.busy.fetch_add(1, Ordering::SeqCst);
            while let Some(item) = stack.pop().or_else(|| self.take()) {
                self.look(item, &mut seen, &mut actions, &mut stack);
                if self.stopped.load(Ordering::Relaxed) {
                    return seen;
                }
                if stack.len() > PLENTY && self.piled.load(Ordering::Relaxed) < 2 {
                    // The oldest have the most behind them.
                    self.leave(stack.drain(..PLENTY / 2).collect());
                }
            }
            self.busy.fetch_sub(1, Ordering::SeqCst);
            while self.piled.load(Ordering::SeqCst) == 0 {
                if self.busy.load(Ordering::SeqCst) == 0 || self.stopped.load(Ordering::Relaxed) {
                    return seen;
                }
                std::thread::yield_now();
            }
        }
    }

    fn look(&self, item: Item, seen: &mut Seen, actions: &mut Vec<Action>, stack: &mut Vec<Item>) {
        let Item { state, beginning, way } = item;
        seen.states += 1;
        let mut violation = state.world.violation.clone();
        let goes_on = self.model.next(&state, actions);
        if violation.is_none() && !goes_on {
            seen.waiting += 1;
            violation = self.model.is_stuck(&state);
        }
        if let Some(violation) = violation {
            *self.violation.lock().expect("no thread panics with it") = Some((violation, beginning, way));
            self.stopped.store(true, Ordering::Relaxed);
            return;
        }
        if self.states.fetch_add(1, Ordering::Relaxed) + 1 >= self.most {
            self.stopped.store(true, Ordering::Relaxed);
            return;
        }
        if self.model.is_beyond(&state) {
            seen.beyond += 1;
            return;
        }
        for action in &*actions {
            let mut next = state.clone();
            self.model.step(&mut next, *action);
            seen.steps += 1;
            if self.is_new(&next) {
                let way = Some(Arc::new(Way { action: *action, before: way.clone() }));
                stack.push(Item { state: next, beginning, way });
            }
        }
    }

    /// Whether a state was not seen before.
    fn is_new(&self, state: &State) -> bool {
        let mut hasher = Folding(0);
        state.hash(&mut hasher);
        let hash = hasher.finish();
        let shard = usize::try_from(hash >> 58).expect("six bits");
        self.known[shard].lock().expect("no thread panics with it").insert(hash)
    }

    fn leave(&self, items: Vec<Item>) {
        let mut pile = self.pile.lock().expect("no thread panics with it");
        pile.extend(items);
        self.piled.store(pile.len(), Ordering::SeqCst);
    }

    fn take(&self) -> Option<Item> {
        let mut pile = self.pile.lock().expect("no thread panics with it");
        let item = pile.pop();
        self.piled.store(pile.len(), Ordering::SeqCst);
        item
    }
}

/// What happened on the way, in words.
fn retrace(model: &Model, beginning: usize, mut way: Option<&Way>) -> Vec<String> {
    let mut actions = Vec::new();
    while let Some(Way { action, before }) = way {
        actions.push(*action);
        way = before.as_deref();
    }
    let mut state = model.beginnings().swap_remove(beginning);
    state.world.trace = Some(vec![format!("{:?}", model.disks[beginning])]);
    for action in actions.into_iter().rev() {
        if let Some(trace) = &mut state.world.trace {
            trace.push(format!("{action:?}"));
        }
        model.step(&mut state, action);
    }
    state.world.trace.take().unwrap_or_default()
}

/// Hashes need no further hashing.
#[derive(Debug, Default, Clone, Copy)]
struct Same(u64);

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("only hashes are kept")
    }
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// A hash of 64 bits by multiplication. States are made of thousands of small numbers, and hashing them is most of the
/// work of a search.
struct Folding(u64);

impl Folding {
    fn add(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * 0x9e37_79b9_7f4a_7c15 + 0xa076_1d64_78bd_642f;
        let [low, high] = [product, product >> 64].map(|half| half & u128::from(u64::MAX));
        self.0 = u64::try_from(low ^ high).expect("a half").rotate_left(29);
    }
}

impl Hasher for Folding {
    fn finish(&self) -> u64 {
        let mut last = Self(self.0);
        last.add(0x2545_f491_4f6c_dd1d);
        last.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.add(u64::from_le_bytes(word));
        }
        self.add(bytes.len() as u64);
    }
    fn write_u8(&mut self, number: u8) {
        self.add(u64::from(number));
    }
    fn write_u32(&mut self, number: u32) {
        self.add(u64::from(number));
    }
    fn write_u64(&mut self, number: u64) {
        self.add(number);
    }
    fn write_usize(&mut self, number: usize) {
        self.add(number as u64);
    }
}
