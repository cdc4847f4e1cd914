//! The throttle of new connections: a token bucket, and in front of it a chance to be dropped that rises while the
//! bucket is empty and falls while it is full. Answers to Java's `BlueThrottle`.

/// Settings (`zookeeper.connection_throttle_*`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ThrottleConfig {
    /// The size of the bucket; 0 turns the throttle off.
    pub max_tokens: i64,
    /// How often it is filled, in milliseconds.
    pub fill_time_ms: u64,
    /// How many tokens are added each time.
    pub fill_count: i64,
    /// How often the chance to be dropped is adapted, in milliseconds; negative: never.
    pub freeze_time_ms: i64,
    /// What the chance gains while the bucket is empty.
    pub drop_increase: f64,
    /// What it loses while the bucket is full enough.
    pub drop_decrease: f64,
    /// How full that is, as a part of the bucket.
    pub decrease_ratio: f64,
    /// Whether kinds of sessions cost different numbers of tokens.
    pub weight_enabled: bool,
    /// What a new session costs.
    pub global_session_weight: i64,
    /// What a resumed session costs.
    pub renew_session_weight: i64,
}

impl Default for ThrottleConfig {
    fn default() -> Self {
        Self {
            max_tokens: 0,
            fill_time_ms: 1,
            fill_count: 1,
            freeze_time_ms: -1,
            drop_increase: 0.02,
            drop_decrease: 0.002,
            decrease_ratio: 0.0,
            weight_enabled: false,
            global_session_weight: 3,
            renew_session_weight: 2,
        }
    }
}

/// The state of the throttle.
#[derive(Debug)]
pub struct ConnectionThrottle {
    config: ThrottleConfig,
    tokens: i64,
    last_fill_ms: u64,
    last_freeze_ms: u64,
    drop_chance: f64,
    random: crate::gate::Random,
}

impl ConnectionThrottle {
    /// A full bucket.
    #[must_use]
    pub fn new(config: ThrottleConfig, seed: u64) -> Self {
        Self {
            config,
            tokens: config.max_tokens,
            last_fill_ms: 0,
            last_freeze_ms: 0,
            drop_chance: 0.0,
            random: crate::gate::Random::new(seed),
        }
    }

    /// Whether a handshake may go on now; takes its tokens if so.
    pub fn admit(&mut self, mono_ms: u64, resumes: bool) -> bool {
        if self.config.max_tokens == 0 {
            return true;
        }
        let cost = match (self.config.weight_enabled, resumes) {
            (false, _) => 1,
            (true, true) => self.config.renew_session_weight,
            (true, false) => self.config.global_session_weight,
        };
        self.fill(mono_ms);
        self.adapt(mono_ms);
        if cost > self.tokens || self.random.chance() < self.drop_chance {
            return false;
        }
        self.tokens -= cost;
        true
    }

    /// The chance to be dropped, for `mntr`.
    #[must_use]
    pub fn drop_chance(&self) -> f64 {
        self.drop_chance
    }

    fn fill(&mut self, mono_ms: u64) {
        let passed = mono_ms.saturating_sub(self.last_fill_ms);
        let times = passed / self.config.fill_time_ms.max(1);
        if times > 0 {
            let added = i64::try_from(times).unwrap_or(i64::MAX).saturating_mul(self.config.fill_count);
            self.tokens = self.tokens.saturating_add(added).min(self.config.max_tokens);
            self.last_fill_ms = mono_ms;
        }
    }

    fn adapt(&mut self, mono_ms: u64) {
        let Ok(freeze_ms) = u64::try_from(self.config.freeze_time_ms) else { return };
        if mono_ms.saturating_sub(self.last_freeze_ms) <= freeze_ms {
            return;
        }
        self.last_freeze_ms = mono_ms;
        #[expect(clippy::cast_precision_loss, reason = "a bucket holds few tokens")]
        let enough = self.config.max_tokens as f64 * self.config.decrease_ratio;
        #[expect(clippy::cast_precision_loss, reason = "a bucket holds few tokens")]
        let tokens = self.tokens as f64;
        if self.tokens == 0 {
            self.drop_chance = (self.drop_chance + self.config.drop_increase).min(1.0);
        } else if tokens > enough {
            self.drop_chance = (self.drop_chance - self.config.drop_decrease).max(0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn off_by_default_and_a_bucket_when_on() {
        let mut off = ConnectionThrottle::new(ThrottleConfig::default(), 1);
        assert!((0..1000).all(|_| off.admit(0, false)));
        let config =
            ThrottleConfig { max_tokens: 2, fill_time_ms: 100, fill_count: 1, ..ThrottleConfig::default() };
        let mut bucket = ConnectionThrottle::new(config, 1);
        assert!(bucket.admit(0, false) && bucket.admit(0, false) && !bucket.admit(50, false));
        assert!(bucket.admit(120, false) && !bucket.admit(130, false));
    }

    #[test]
    fn kinds_of_sessions_cost_what_they_are_said_to() {
        let config = ThrottleConfig { max_tokens: 5, weight_enabled: true, ..ThrottleConfig::default() };
        let mut bucket = ConnectionThrottle::new(config, 1);
        assert!(bucket.admit(0, false) && bucket.admit(0, true) && !bucket.admit(0, true));
    }
}
