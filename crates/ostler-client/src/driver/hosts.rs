//! Which server comes next, and after what delay. Answers to `StaticHostProvider`: a shuffled round. The first loss of
//! a connection is followed by an attempt almost at once; each round without success doubles the pause.

use std::time::Duration;

use super::random::Random;
use crate::connect_string::Host;

/// The pause after the first round in which no server answered.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The servers, in the order in which they are tried.
#[derive(Debug)]
pub(crate) struct Hosts {
    hosts: Vec<Host>,
    /// The one that comes next.
    next: usize,
    /// Attempts since the last one that succeeded.
    failures: usize,
    random: Random,
}

impl Hosts {
    pub(crate) fn new(mut hosts: Vec<Host>, shuffle: bool, mut random: Random) -> Self {
        if shuffle {
            for i in (1..hosts.len()).rev() {
                hosts.swap(i, random.below(i + 1));
            }
        }
        Self { hosts, next: 0, failures: 0, random }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.hosts.len()
    }

    /// The next server, and how long to wait before it is tried.
    pub(crate) fn next(&mut self) -> (Host, Duration) {
        let host = self.hosts[self.next].clone();
        self.next = (self.next + 1) % self.hosts.len();
        let round = self.failures / self.hosts.len();
        let begins = self.failures.is_multiple_of(self.hosts.len());
        self.failures += 1;
        if round == 0 || !begins {
            return (host, Duration::ZERO);
        }
        let doublings = u32::try_from(round - 1).unwrap_or(u32::MAX).min(16);
        let pause = (FIRST_PAUSE * 2_u32.pow(doublings)).min(LONGEST_PAUSE);
        (host, self.jitter(pause))
    }

    /// A connection lasted: the next loss is a first one.
    pub(crate) fn on_lasted(&mut self) {
        self.failures = 0;
    }

    /// This server is to come next, for it is better than the one that is connected.
    pub(crate) fn prefer(&mut self, host: &Host) {
        if let Some(place) = self.hosts.iter().position(|known| known == host) {
            self.next = place;
        }
    }

    /// The server that would come next, without a turn being taken.
    pub(crate) fn peek(&self, ahead: usize) -> &Host {
        &self.hosts[(self.next + ahead) % self.hosts.len()]
    }

    /// Between half of the pause and one and a half of it, so that many clients do not come at once.
    fn jitter(&mut self, pause: Duration) -> Duration {
        let percent = u32::try_from(50 + self.random.below(101)).expect("at most 150");
        pause * percent / 100
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(n: u16) -> Hosts {
        let hosts = (0..n).map(|port| Host { name: "h".to_owned(), port }).collect();
        Hosts::new(hosts, true, Random::new(3))
    }

    #[test]
    fn every_server_has_its_turn_and_pauses_grow() {
        let mut hosts = hosts(3);
        let mut last = Duration::ZERO;
        for round in 0..12 {
            let mut seen = Vec::new();
            let mut pauses = Vec::new();
            for _ in 0..3 {
                let (host, pause) = hosts.next();
                seen.push(host.port);
                pauses.push(pause);
            }
            seen.sort_unstable();
            assert_eq!(seen, [0, 1, 2]);
            assert_eq!(pauses[1..], [Duration::ZERO; 2]);
            assert_eq!(pauses[0].is_zero(), round == 0);
            assert!(pauses[0] <= LONGEST_PAUSE * 3 / 2);
            assert!(round == 0 || round > 6 || pauses[0] * 4 > last, "{round}: {pauses:?} after {last:?}");
            last = pauses[0];
        }
        assert!(last >= LONGEST_PAUSE / 2);
        hosts.on_lasted();
        assert_eq!(hosts.next().1, Duration::ZERO);
    }
}
