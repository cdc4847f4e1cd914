//! Who can reach whom, and how fast. Servers come first, clients behind them.

use crate::rng::Rng;

/// The network.
#[derive(Debug)]
pub(super) struct Net {
    count: usize,
    servers: usize,
    blocked: Vec<bool>,
    slow_us: Vec<u64>,
    /// Counts changes, so that a fault ends only if no other came since.
    pub number: u64,
    /// A fault ends when there is another leader.
    pub until_led: bool,
}

impl Net {
    pub(super) fn new(servers: usize, clients: usize) -> Self {
        let count = servers + clients;
        Self {
            count,
            servers,
            blocked: vec![false; count * count],
            slow_us: vec![0; count * count],
            number: 0,
            until_led: false,
        }
    }

    /// The place of a client.
    pub(super) fn client(&self, client: usize) -> usize {
        self.servers + client
    }

    pub(super) fn is_blocked(&self, from: usize, to: usize) -> bool {
        self.blocked[from * self.count + to]
    }

    pub(super) fn block(&mut self, from: usize, to: usize) {
        self.blocked[from * self.count + to] = true;
    }

    pub(super) fn slow(&mut self, from: usize, to: usize, most_us: u64) {
        self.slow_us[from * self.count + to] = most_us;
    }

    pub(super) fn delay_us(&self, from: usize, to: usize, rng: &mut Rng) -> u64 {
        match self.slow_us[from * self.count + to] {
            0 => 0,
            most => rng.below(most),
        }
    }

    pub(super) fn heal(&mut self) {
        self.blocked.fill(false);
        self.slow_us.fill(0);
        self.until_led = false;
    }
}
