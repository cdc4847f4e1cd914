//! Time as an argument.

/// What time it is. Taken once per turn by whoever drives the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Milliseconds of a clock that never goes back: timeouts and expiry.
    pub mono_ms: u64,
    /// Milliseconds since 1970 of a clock that may jump: times in transactions, ages of nodes.
    pub wall_ms: i64,
}
