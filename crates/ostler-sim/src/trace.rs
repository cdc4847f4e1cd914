//! What happened, line by line: hashed always, printed on demand. Two runs of a seed must have the same hash.

use std::fmt::{Arguments, Write as _};

/// The trace of a world.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    hash: u64,
    print: bool,
    line: String,
}

impl Trace {
    /// An empty trace.
    #[must_use]
    pub(crate) fn new(print: bool) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, print, line: String::new() }
    }

    /// One line at a time of the world, in microseconds.
    #[expect(clippy::print_stdout, reason = "the trace is what was asked for")]
    pub(crate) fn note(&mut self, now_us: u64, what: Arguments<'_>) {
        self.line.clear();
        // Writing to a string does not fail.
        let _ = write!(self.line, "{now_us} {what}");
        self.hash = hash_bytes(self.hash, self.line.as_bytes());
        if self.print {
            println!("{:>6}.{:06} {what}", now_us / 1_000_000, now_us % 1_000_000);
        }
    }

    /// Something that happened, as numbers.
    pub(crate) fn mix(&mut self, what: [u64; 4]) {
        for word in what {
            self.hash = (self.hash ^ word).wrapping_mul(0x0000_0100_0000_01b3);
            self.hash ^= self.hash >> 29;
        }
    }

    /// Whether lines are printed.
    #[must_use]
    pub(crate) fn prints(&self) -> bool {
        self.print
    }

    /// A line that is only for who reads.
    #[expect(clippy::print_stdout, reason = "the trace is what was asked for")]
    pub(crate) fn say(&self, now_us: u64, what: Arguments<'_>) {
        if self.print {
            println!("{:>6}.{:06} {what}", now_us / 1_000_000, now_us % 1_000_000);
        }
    }

    /// The hash of all lines so far.
    #[must_use]
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }
}

/// Goes on with a hash (FNV-1a, eight bytes at a time).
#[must_use]
pub(crate) fn hash_bytes(mut hash: u64, bytes: &[u8]) -> u64 {
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        hash = (hash ^ u64::from_be_bytes(*word)).wrapping_mul(PRIME);
        hash ^= hash >> 29;
    }
    for byte in rest {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(PRIME);
    }
    (hash ^ bytes.len() as u64).wrapping_mul(PRIME)
}
