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
    /// A learner is told that proposals are committed which are not.
    CommitAtSync,
    /// What is outstanding while a learner is synced never reaches it (ZOOKEEPER-962).
    RegisterLate,
    /// What a learner acknowledged still counts after it may have cut it off.
    KeepAcksAtSync,
    /// NEWLEADER overtakes the history (ZOOKEEPER-3104).
    NewLeaderBeforeHistory,
    /// A leader never finds out that nobody follows it.
    LeadWithoutFollowers,
    /// The new epoch is the last accepted one.
    EpochReused,
    /// An epoch is established although no quorum has its history.
    EstablishWithoutQuorum,
    /// The history is sent although no quorum accepted the epoch.
    SyncWithoutAcceptance,
    /// Commits are sent between NEWLEADER and UPTODATE (ZOOKEEPER-4394).
    CommitsNotHeld,
    /// The leader counts itself before its own disk did.
    LeaderAcksUnsynced,
    /// The counter of an epoch goes past its end (ZOOKEEPER-1277).
    CounterOverflow,
    /// The log is cut in memory only (ZOOKEEPER-5094).
    TruncateInMemory,
    /// A snapshot counts before it is on disk (ZOOKEEPER-2872).
    AckBeforeSnapshot,
    /// What comes between a snapshot and UPTODATE is dropped (ZOOKEEPER-1551).
    DropAfterSnapshot,
    /// A learner that is ahead keeps what nobody committed (ZOOKEEPER-1154).
    NoTrunc,
    /// A learner that lags too far is sent what is kept (ZOOKEEPER-2418).
    DiffAcrossHole,
    /// An empty learner is sent what is kept (ZOOKEEPER-4352).
    EmptyLearnerDiff,
    /// A learner with a tail of a dead epoch is sent what follows it (ZOOKEEPER-2832).
    DiffOverTail,
    /// What is committed is applied before the own disk has it (ZOOKEEPER-4882).
    ApplyUnsynced,
    /// A server votes while its log is not on disk (ZOOKEEPER-4712).
    RoleEndsUnsettled,
    /// A server votes for the end of its tree, not of its log (ZOOKEEPER-2845).
    TailNotDelivered,
    /// A candidate keeps the zxid of an epoch that failed (ZOOKEEPER-790).
    RaiseZxidEarly,
    /// Votes are compared without their epochs.
    EpochIgnored,
    /// Votes are compared without their zxids.
    ZxidIgnored,
    /// A server without weight can be elected (ZOOKEEPER-498).
    WeightIgnored,
    /// Members of one ensemble must report the same vote to the last bit (ZOOKEEPER-1732).
    StrictVotes,
    /// A vote of a later round is ignored.
    RoundIgnored,
    /// A server leads because of an old round (ZOOKEEPER-1514).
    SelfRoundIgnored,
    /// A server follows a leader that nobody has heard from (ZOOKEEPER-975).
    LeaderUnheard,
    /// A leader sends the syncs of a learner behind commits that are newer.
    SyncBehindCommits,
    /// A sync at a new leader waits for the start of its epoch, which is no transaction.
    SyncAwaitsEpoch,
    /// A new leader does not watch over the sessions that it finds (ZOOKEEPER-1367).
    SessionsNotFound,
    /// A new leader decides against what was outstanding when it last led.
    StaleOutstanding,
    /// The number of a sequential node is that of its siblings (ZOOKEEPER-1046).
    SequenceOfChildren,
    /// A snapshot above the place of a cut stays (ZOOKEEPER-4837).
    CutKeepsSnapshot,
    /// A learner that is ahead is sent a tree, and keeps its log beside it (ZOOKEEPER-3642).
    TreeBesideLog,
    /// The names of the files of epochs are not made durable (ZOOKEEPER-4269).
    NoDirSyncOfEpoch,
    /// The leader takes requests of a session from a server that the session has left.
    MovedIgnored,
    /// Clients are served after the end of a role.
    ServeWithoutRole,
    /// What clients waited for in one role is matched with transactions of the next (ZOOKEEPER-4541).
    ForwardedOutlivesRole,
    /// A learner does not tell the leader whom it heard from.
    TouchesNotTold,
    /// A reply carries the zxid of the one before (ZOOKEEPER-1412).
    ZxidOfLastReply,
    /// Changes are told only if the first lane has watches.
    OneLaneWatches,
    /// A sync is answered although what is committed is not applied.
    SyncNotDeferred,
    /// A follower tells its observers of what is proposed.
    MasterInformsEarly,
    /// A follower does not tell the leader whom its observers heard from.
    ObserversNotTold,
}

impl Mutation {
    /// Those of a server alone.
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

    /// Those of the ensemble protocol.
    pub const ENSEMBLE: [Self; 34] = [
        Self::CommitWithoutQuorum,
        Self::AcceptWithoutWriting,
        Self::EpochBeforeHistory,
        Self::AckHistoryBeforeSync,
        Self::AckBeforeSync,
        Self::CommitAtSync,
        Self::RegisterLate,
        Self::KeepAcksAtSync,
        Self::NewLeaderBeforeHistory,
        Self::LeadWithoutFollowers,
        Self::EpochReused,
        Self::EstablishWithoutQuorum,
        Self::SyncWithoutAcceptance,
        Self::CommitsNotHeld,
        Self::LeaderAcksUnsynced,
        Self::CounterOverflow,
        Self::TruncateInMemory,
        Self::AckBeforeSnapshot,
        Self::DropAfterSnapshot,
        Self::NoTrunc,
        Self::DiffAcrossHole,
        Self::EmptyLearnerDiff,
        Self::DiffOverTail,
        Self::ApplyUnsynced,
        Self::RoleEndsUnsettled,
        Self::TailNotDelivered,
        Self::RaiseZxidEarly,
        Self::EpochIgnored,
        Self::ZxidIgnored,
        Self::WeightIgnored,
        Self::StrictVotes,
        Self::RoundIgnored,
        Self::SelfRoundIgnored,
        Self::LeaderUnheard,
    ];

    /// Those of the servers of an ensemble: what lies between its protocol and the clients, or the disk.
    pub const SERVER: [Self; 17] = [
        Self::SyncBehindCommits,
        Self::SyncAwaitsEpoch,
        Self::SessionsNotFound,
        Self::StaleOutstanding,
        Self::SequenceOfChildren,
        Self::CutKeepsSnapshot,
        Self::TreeBesideLog,
        Self::NoDirSyncOfEpoch,
        Self::MovedIgnored,
        Self::ServeWithoutRole,
        Self::ForwardedOutlivesRole,
        Self::TouchesNotTold,
        Self::ZxidOfLastReply,
        Self::OneLaneWatches,
        Self::SyncNotDeferred,
        Self::MasterInformsEarly,
        Self::ObserversNotTold,
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
