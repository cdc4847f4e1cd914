//! How long the log waits for more before it syncs. Clients that were just answered send again at once, so right
//! after a sync as many writes are to be expected as became durable with it, beside those that have come meanwhile.
//! To sync without them would answer the clients in two halves that never meet, with a sync each. A wait of a
//! fraction of a sync is worth it then; where nothing more is expected (one client, or few that come by chance)
//! nobody waits. Java has a fixed `flushDelay` for this.

use std::time::Duration;

/// A wait takes at most this part of what syncs take lately.
const PART_OF_SYNC: u32 = 4;
/// And at most this.
const LONGEST: Duration = Duration::from_micros(500);
/// How slowly the average of the syncs follows.
const SLOWNESS: u32 = 8;

/// What is expected, and how long it is worth waiting for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Linger {
    recent_sync: Duration,
    expected: usize,
}

impl Linger {
    /// A sync made so many transactions durable and took so long; so many have come meanwhile.
    pub(crate) fn on_sync(&mut self, durable: usize, took: Duration, queued: usize) {
        self.expected = durable.saturating_add(queued);
        self.recent_sync = if self.recent_sync.is_zero() {
            took
        } else {
            self.recent_sync - self.recent_sync / SLOWNESS + took / SLOWNESS
        };
    }

    /// How many transactions are worth waiting for.
    pub(crate) fn expected(&self) -> usize {
        self.expected
    }

    /// How long to wait for them at most, with so many at hand.
    pub(crate) fn patience(&self, queued: usize) -> Duration {
        if queued >= self.expected { Duration::ZERO } else { (self.recent_sync / PART_OF_SYNC).min(LONGEST) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYNC: Duration = Duration::from_micros(400);

    #[test]
    fn a_lone_client_never_waits() {
        let mut linger = Linger::default();
        assert_eq!(linger.patience(1), Duration::ZERO, "nothing is known yet");
        for _ in 0..10 {
            linger.on_sync(1, SYNC, 0);
            assert_eq!(linger.patience(1), Duration::ZERO);
        }
    }

    #[test]
    fn half_groups_become_one() {
        let mut linger = Linger::default();
        linger.on_sync(8, SYNC, 8);
        assert_eq!((linger.expected(), linger.patience(8)), (16, SYNC / 4));
        assert_eq!(linger.patience(15), SYNC / 4);
        assert_eq!(linger.patience(16), Duration::ZERO);
        linger.on_sync(16, SYNC, 0);
        assert_eq!((linger.patience(3), linger.patience(16)), (SYNC / 4, Duration::ZERO));
    }

    #[test]
    fn those_who_stay_away_are_waited_for_once() {
        let mut linger = Linger::default();
        linger.on_sync(16, SYNC, 0);
        assert_eq!(linger.patience(2), SYNC / 4);
        linger.on_sync(2, SYNC, 0);
        assert_eq!(linger.patience(2), Duration::ZERO);
    }

    #[test]
    fn a_slow_disk_makes_nobody_wait_long() {
        let mut linger = Linger::default();
        linger.on_sync(4, Duration::from_secs(2), 4);
        assert_eq!(linger.patience(4), LONGEST);
        for _ in 0..100 {
            linger.on_sync(4, SYNC, 4);
        }
        assert!(linger.patience(4) < SYNC / 3, "{:?}", linger.patience(4));
    }
}
