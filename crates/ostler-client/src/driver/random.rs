//! A few random numbers: the order of servers, jitter, the names by which a lost create is found again. Nothing here
//! is a secret. Seeded by the hasher's keys, which the standard library takes from the system.

use std::hash::{BuildHasher, Hasher};

/// A generator (splitmix64).
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// With a seed, for tests that repeat.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// With a seed of the system.
    pub(crate) fn from_system() -> Self {
        Self(std::hash::RandomState::new().build_hasher().finish())
    }

    /// 64 random bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.bits() % u64::try_from(bound).expect("fits")).expect("below a usize")
    }
}
