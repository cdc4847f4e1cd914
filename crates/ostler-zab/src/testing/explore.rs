//! Every state of a [`Model`], each once: the search remembers their hashes and goes deep first, so that it holds few
//! whole worlds at a time.

use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hasher};
use std::sync::Arc;

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
    /// The longest way from a beginning.
    pub depth: u64,
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

/// Looks at every state, or at the first `most`.
#[must_use]
pub fn explore(model: &Model, most: u64) -> Found {
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    let mut known: HashSet<u64, BuildHasherDefault<Same>> = HashSet::default();
    let mut seen = Seen::default();
    let mut actions = Vec::new();
    for (number, beginning) in model.beginnings().into_iter().enumerate() {
        known.insert(hasher.hash_one(&beginning));
        let mut stack: Vec<(State, Option<Arc<Way>>, u64)> = vec![(beginning, None, 0)];
        while let Some((state, way, depth)) = stack.pop() {
            seen.states += 1;
            seen.depth = seen.depth.max(depth);
            let mut violation = state.world.violation.clone();
            let goes_on = model.next(&state, &mut actions);
            if violation.is_none() && !goes_on {
                seen.waiting += 1;
                violation = model.is_stuck(&state);
            }
            if let Some(violation) = violation {
                let trace = retrace(model, number, way.as_deref());
                return Found { seen, complete: false, violation: Some((violation, trace)) };
            }
            if seen.states >= most {
                return Found { seen, complete: false, violation: None };
            }
            if model.is_beyond(&state) {
                seen.beyond += 1;
                continue;
            }
            for action in &actions {
                let mut next = state.clone();
                model.step(&mut next, *action);
                seen.steps += 1;
                if known.insert(hasher.hash_one(&next)) {
                    let way = Arc::new(Way { action: *action, before: way.clone() });
                    stack.push((next, Some(way), depth + 1));
                }
            }
        }
    }
    Found { seen, complete: true, violation: None }
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
