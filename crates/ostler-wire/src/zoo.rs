//! Planted bugs, to see that the simulator finds them. Compiled only with `--cfg ostler_zoo`, which no build of the
//! server sets; in every other build [`is`] is a constant `false`.

/// A bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mutation {
    /// None.
    None,
    /// The log is synced before the records are written and not after.
    AcknowledgeBeforeSync,
    /// The name of a new log is not made durable.
    NoDirSyncOfLog,
    /// The name of a new snapshot is not made durable.
    NoDirSyncOfSnapshot,
    /// Purge counts snapshots that nobody has read.
    PurgeCountsUnread,
    /// Purge removes the log in whose middle the oldest snapshot is.
    PurgeRemovesNeededLog,
    /// What a recovery reads is served without being made durable.
    ServeUnsyncedTail,
    /// A connection that closes takes with it that its session was heard from.
    ForgetTouch,
    /// A write is applied ahead of the client's own earlier reads.
    IgnoreFence,
    /// The leader commits what it alone has.
    CommitWithoutQuorum,
    /// A learner accepts an epoch that is not on its disk (ZOOKEEPER-335).
    AcceptWithoutWriting,
    /// A learner writes the epoch before its history is on disk (ZOOKEEPER-4643).
    EpochBeforeHistory,
    /// A learner acknowledges the history before it is on disk (ZOOKEEPER-4646).
    AckHistoryBeforeSync,
    /// A follower acknowledges a proposal before it is on disk.
    AckBeforeSync,
}

impl Mutation {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::AcknowledgeBeforeSync,
        Self::NoDirSyncOfLog,
        Self::NoDirSyncOfSnapshot,
        Self::PurgeCountsUnread,
        Self::PurgeRemovesNeededLog,
        Self::ServeUnsyncedTail,
        Self::ForgetTouch,
        Self::IgnoreFence,
    ];
}

#[cfg(ostler_zoo)]
static PLANTED: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(0);

/// Plants a bug in the whole process.
#[cfg(ostler_zoo)]
pub fn plant(mutation: Mutation) {
    PLANTED.store(mutation as u8, std::sync::atomic::Ordering::SeqCst);
}

/// Whether this bug is planted.
#[cfg(ostler_zoo)]
#[must_use]
pub fn is(mutation: Mutation) -> bool {
    PLANTED.load(std::sync::atomic::Ordering::Relaxed) == mutation as u8
}

/// Whether this bug is planted: no.
#[cfg(not(ostler_zoo))]
#[must_use]
pub const fn is(_: Mutation) -> bool {
    false
}
