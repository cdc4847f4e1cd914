//! What waits for the log's thread. To wake a thread costs more than a small write does, so the thread says how much it
//! waits for, and is woken once for all of that.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::log_thread::LogLetter;

/// Letters to the log's thread. Bounded by what the node lets in, which counts what it has not heard to be durable.
#[derive(Debug, Default)]
pub(crate) struct LogBox {
    state: Mutex<State>,
    bell: Condvar,
}

#[derive(Debug, Default)]
struct State {
    letters: VecDeque<LogLetter>,
    /// How many transactions are in them.
    txns: usize,
    /// Whether there is a letter of another kind.
    urgent: bool,
    /// The thread sleeps until so many transactions wait.
    wanted: Option<usize>,
}

impl State {
    fn has(&self, wanted: usize) -> bool {
        self.urgent || self.txns >= wanted
    }
}

impl LogBox {
    /// Puts a letter in.
    pub(crate) fn push(&self, letter: LogLetter) {
        let mut state = self.lock();
        match &letter {
            LogLetter::Append(proposals) => state.txns += proposals.len(),
            _ => state.urgent = true,
        }
        state.letters.push_back(letter);
        let ring = state.wanted.is_some_and(|wanted| state.has(wanted));
        if ring {
            state.wanted = None;
        }
        drop(state);
        if ring {
            self.bell.notify_one();
        }
    }

    /// Takes all letters; `into` must be empty and lends its memory.
    pub(crate) fn take(&self, into: &mut VecDeque<LogLetter>) {
        debug_assert!(into.is_empty(), "what was taken before has been read");
        let mut state = self.lock();
        std::mem::swap(&mut state.letters, into);
        (state.txns, state.urgent) = (0, false);
    }

    /// Waits until so many transactions are in, or a letter of another kind is.
    pub(crate) fn wait(&self, wanted: usize) {
        let mut state = self.lock();
        state.wanted = Some(wanted);
        let waited = self.bell.wait_while(state, |state| !state.has(wanted));
        waited.unwrap_or_else(PoisonError::into_inner).wanted = None;
    }

    /// The same, but not for longer than that.
    pub(crate) fn wait_within(&self, wanted: usize, time: Duration) {
        let mut state = self.lock();
        state.wanted = Some(wanted);
        let waited = self.bell.wait_timeout_while(state, time, |state| !state.has(wanted));
        waited.unwrap_or_else(PoisonError::into_inner).0.wanted = None;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic aborts the process, so nobody ever sees a poisoned lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc;

    use ostler_wire::Zxid;
    use ostler_zab::{Generation, Proposal};

    use super::*;

    fn append(count: i64) -> LogLetter {
        let proposal = |zxid| Proposal { zxid: Zxid(zxid), bytes: bytes::Bytes::new() };
        LogLetter::Append((1..=count).map(|zxid| (proposal(zxid), Generation::default())).collect())
    }

    /// What a thread that waits for so many transactions finds.
    fn waiter(log: &Arc<LogBox>, wanted: usize, within: Option<Duration>) -> mpsc::Receiver<usize> {
        let (found, result) = mpsc::channel();
        let log = Arc::clone(log);
        std::thread::spawn(move || {
            within.map_or_else(|| log.wait(wanted), |time| log.wait_within(wanted, time));
            let mut letters = VecDeque::new();
            log.take(&mut letters);
            found.send(letters.len()).unwrap();
        });
        result
    }

    #[test]
    fn a_sleeper_is_woken_for_all_that_it_waits_for() {
        let log = Arc::new(LogBox::default());
        let found = waiter(&log, 5, None);
        for count in [1, 2, 2] {
            log.push(append(count));
        }
        assert_eq!(found.recv(), Ok(3));
        // A letter of another kind does not wait.
        let found = waiter(&log, 5, None);
        log.push(LogLetter::Roll);
        assert_eq!(found.recv(), Ok(1));
        // What is there already is not waited for.
        log.push(append(5));
        assert_eq!(waiter(&log, 5, None).recv(), Ok(1));
        assert_eq!(waiter(&log, 0, None).recv(), Ok(0));
    }

    #[test]
    fn a_wait_ends_in_time() {
        let log = Arc::new(LogBox::default());
        log.push(append(1));
        assert_eq!(waiter(&log, 2, Some(Duration::from_millis(1))).recv(), Ok(1));
        let found = waiter(&log, 2, Some(Duration::from_secs(3600)));
        log.push(append(2));
        assert_eq!(found.recv(), Ok(1));
    }
}
