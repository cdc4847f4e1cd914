//! Everything that can happen to a peer and everything that it can want: two closed enums, and the plain data in
//! them.

use std::sync::Arc;

use bytes::Bytes;
use ostler_wire::quorum::{Members, Notification, Packet};
use ostler_wire::{ServerId, Zxid};

/// A transaction on its way to a quorum. What it does to the tree is not known here.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Proposal {
    /// Its place in the order.
    pub zxid: Zxid,
    /// The encoded transaction.
    pub bytes: Bytes,
}

/// Counts the roles that a peer has had. What was asked for in an earlier role and arrives in a later one is stale
/// and is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Generation(pub u64);

/// One connection on the learner port, unique in the life of the process. What comes from a link that is closed is
/// stale and is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

impl LinkId {
    /// The id of an observer that has none: no member has it.
    pub(crate) fn unlisted_server(self) -> ServerId {
        ServerId(-1 - i64::try_from(self.0).unwrap_or(i64::MAX - 1))
    }
}

/// What can happen to a peer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Input {
    /// The node decided on a transaction; only while [`crate::Peer::next_zxid`] names its zxid.
    Propose(Proposal),
    /// The own log is durable up to here.
    Persisted {
        /// All up to and including this one are on disk.
        zxid: Zxid,
        /// The generation in which they were appended.
        generation: Generation,
    },
    /// What [`Output::WriteEpoch`] asked for is durable.
    EpochWritten {
        /// Which of the two.
        which: EpochKind,
        /// What it is now.
        epoch: i64,
        /// As it came with the output.
        generation: Generation,
    },
    /// What [`Output::Truncate`] asked for is done and durable, and the store is read anew from disk.
    Truncated {
        /// The last zxid of the history that is left; `None` if there is no snapshot low enough to begin from: then
        /// nothing was changed.
        last: Option<Zxid>,
        /// As it came with the output.
        generation: Generation,
    },
    /// The whole tree that [`Packet::Snap`] announced has arrived and is held aside.
    SnapshotArrived {
        /// The link that it came by.
        link: LinkId,
    },
    /// What [`Output::SaveSnapshot`] asked for is done and durable.
    SnapshotSaved {
        /// As it came with the output.
        generation: Generation,
    },
    /// What [`Output::SendSnapshot`] asked for is written to the connection.
    SnapshotSent {
        /// The learner's link.
        link: LinkId,
    },
    /// What [`Output::SearchLog`] asked for is known.
    LogSearched {
        /// The learner's link.
        link: LinkId,
        /// Where the learner stands; `None` if the log does not hold all that the learner lacks, or if that is more
        /// than a tree is worth.
        place: Option<LogPlace>,
    },
    /// The disk is full: what was appended waits for room.
    LogFull,
    /// A member says how it votes.
    Notification {
        /// The member.
        from: ServerId,
        /// What it says.
        notification: Notification,
    },
    /// A connection for notifications is there, or gone.
    ElectionLink {
        /// The member at the other end.
        server: ServerId,
        /// Whether it is there.
        up: bool,
    },
    /// A learner connected to the port of the leader.
    LearnerArrived {
        /// Its link.
        link: LinkId,
    },
    /// An observer connected to the port where followers take observers.
    ObserverArrived {
        /// Its link.
        link: LinkId,
    },
    /// The connection that [`Output::Connect`] asked for is there.
    LeaderReached {
        /// Its link.
        link: LinkId,
        /// As it came with the output.
        generation: Generation,
    },
    /// The connection that [`Output::Connect`] asked for cannot be made.
    LeaderUnreachable {
        /// As it came with the output.
        generation: Generation,
    },
    /// Bytes arrived that do not make a packet yet: the other side is alive.
    Heard {
        /// The link.
        link: LinkId,
    },
    /// A link failed, or was closed by the other side, or fell too far behind.
    LinkDown {
        /// The link.
        link: LinkId,
    },
    /// The transaction of this zxid, which a packet behind this brings, changes the members to these.
    MembersProposed {
        /// The link that it comes by.
        link: LinkId,
        /// The transaction.
        zxid: Zxid,
        /// Who the members are to be.
        members: Arc<Members>,
    },
    /// A packet arrived.
    Packet {
        /// The link.
        link: LinkId,
        /// The packet.
        packet: Packet,
    },
}

/// What a peer wants done.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Output {
    /// Append to the own log and say when it is durable.
    Append {
        /// What to append.
        proposal: Proposal,
        /// To be given back with [`Input::Persisted`].
        generation: Generation,
    },
    /// All up to here are in the own log, durable, and belong to the history: apply them.
    Commit {
        /// The newest of them.
        upto: Zxid,
    },
    /// Make an epoch durable and answer with [`Input::EpochWritten`].
    WriteEpoch {
        /// Which of the two.
        which: EpochKind,
        /// What it becomes.
        epoch: i64,
        /// To be given back.
        generation: Generation,
    },
    /// Cut the log behind `to`, put newer snapshots aside, read the store anew, all of it durable; answer with
    /// [`Input::Truncated`].
    Truncate {
        /// The last zxid to keep.
        to: Zxid,
        /// To be given back.
        generation: Generation,
    },
    /// The tree held aside becomes the store. Make it durable as the snapshot of `zxid`, put everything older aside
    /// and answer with [`Input::SnapshotSaved`].
    SaveSnapshot {
        /// The link that it came by.
        link: LinkId,
        /// Everything up to here is in it.
        zxid: Zxid,
        /// To be given back.
        generation: Generation,
    },
    /// Tell a member how this one votes. What was not sent yet is replaced; what was sent last is sent again when a
    /// connection breaks.
    Notify {
        /// The member.
        to: ServerId,
        /// What to say.
        notification: Notification,
    },
    /// Connect to a member; answer with [`Input::LeaderReached`] or [`Input::LeaderUnreachable`].
    Connect {
        /// The member.
        server: ServerId,
        /// To which of its ports.
        door: Door,
        /// How long to try, in milliseconds.
        within_ms: u64,
        /// To be given back.
        generation: Generation,
    },
    /// Send a packet.
    Send {
        /// The link.
        link: LinkId,
        /// The packet.
        packet: Packet,
    },
    /// Send the whole tree, as it is once it has reached `zxid`, and answer with [`Input::SnapshotSent`]: what changed it
    /// meanwhile comes behind it.
    SendSnapshot {
        /// The link.
        link: LinkId,
        /// Everything up to here must be in it.
        zxid: Zxid,
    },
    /// Look into the log on disk, and answer with [`Input::LogSearched`]: where does a learner stand whose log ends with
    /// `peer`, does the log hold all from there up to `upto` without a hole, and is that little enough beside a tree?
    SearchLog {
        /// The learner's link.
        link: LinkId,
        /// The end of its log.
        peer: Zxid,
        /// If this is above `peer`, the log must hold this very one: up to it only counters tell whether there is a hole.
        through: Zxid,
        /// The last that is to be read from disk. It is durable, committed, and in the log.
        upto: Zxid,
    },
    /// Send what the log on disk holds behind `after` up to and including `upto`, each transaction as a proposal and
    /// its commit, in front of packets that come later. If that cannot be done to the end, close the link and say
    /// [`Input::LinkDown`].
    SendLog {
        /// The link.
        link: LinkId,
        /// The last that the learner has.
        after: Zxid,
        /// The last to send; it is durable and committed.
        upto: Zxid,
    },
    /// Close a link. No [`Input::LinkDown`] is needed for it.
    Close {
        /// The link.
        link: LinkId,
        /// Why, for the log.
        reason: Reason,
    },
    /// A packet for the node: a request, a question for a session, or the sessions that a learner heard from.
    FromLearner {
        /// The link.
        link: LinkId,
        /// The learner.
        server: ServerId,
        /// The packet.
        packet: Packet,
    },
    /// A packet for the node: the answer for a session, a sync that may complete, or a ping to be answered with the
    /// sessions that were heard from.
    FromLeader {
        /// The link.
        link: LinkId,
        /// The packet.
        packet: Packet,
    },
    /// A learner is gone; what it asked for is not answered any more.
    LearnerGone {
        /// The link.
        link: LinkId,
    },
    /// Keep this member list as the one that was proposed last; durable before what comes behind is.
    MembersSeen(Arc<Members>),
    /// This member list is in force: keep it, and go by it.
    MembersActivated {
        /// The list.
        members: Arc<Members>,
        /// Whether the history holds the transaction that says so, so that the tree learns of it by itself.
        in_history: bool,
    },
    /// The peer's standing changed.
    Standing(Standing),
}

/// A port for learners.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Door {
    /// Where a leader takes all its learners.
    Leader,
    /// Where a follower takes observers: one that is not open will not be soon.
    Master,
}

/// Where a learner stands in the log on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LogPlace {
    /// The newest transaction that is not above the learner's last one; or that last one itself, if it is the start of
    /// an epoch and the log begins with that epoch.
    pub before: Zxid,
    /// The one that follows it.
    pub next: Zxid,
}

/// Which epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EpochKind {
    /// The highest that was promised to a leader.
    Accepted,
    /// The one whose history this server has.
    Current,
}

/// What a peer is to its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Looking for a leader, or on the way: no clients.
    Looking,
    /// The only server.
    Solo,
    /// Leads an epoch that a quorum has the history of.
    Leading {
        /// The epoch.
        epoch: i64,
    },
    /// Follows a leader, with all of its history.
    Following {
        /// The leader, as the last election told it.
        leader: ServerId,
        /// Whom it learns from: the leader, or a follower that takes observers.
        master: ServerId,
        /// The link to it.
        link: LinkId,
        /// Whether it takes part in decisions, or observes.
        observer: bool,
    },
}

/// Why a link is closed or a role ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Reason {
    /// Nothing was heard in time.
    #[error("nothing was heard in time")]
    TimedOut,
    /// The link is gone.
    #[error("the connection is gone")]
    LinkDown,
    /// A packet came that has no place here.
    #[error("it broke the protocol: {0}")]
    Violation(&'static str),
    /// The learner has a history that is ahead of the leader's.
    #[error("its history is ahead of the leader's")]
    LearnerAhead,
    /// The learner has a newer member list.
    #[error("it has a newer member list")]
    MembersAhead,
    /// The members changed, and with them the role of this server or its leader.
    #[error("the members changed")]
    MembersChanged,
    /// The leader offers an epoch older than one that was accepted.
    #[error("its epoch is older than one that was accepted")]
    OldEpoch,
    /// A voter accepted a newer epoch than the one of this leader.
    #[error("a voter accepted a newer epoch, and can join only a newer one")]
    NewerEpoch,
    /// A voter has a history of a newer epoch, which nobody here knows of.
    #[error(
        "its history is of a newer epoch, which no quorum here knows of: is its data directory from elsewhere?"
    )]
    Stranger,
    /// No quorum in time.
    #[error("no quorum in time")]
    NoQuorum,
    /// Those who elected this leader want another one by now.
    #[error("those who elected it want another leader by now")]
    Outvoted,
    /// The learner does not acknowledge proposals in time.
    #[error("it acknowledges too slowly")]
    TooSlow,
    /// The leader cannot be reached.
    #[error("the leader cannot be reached")]
    Unreachable,
    /// The log cannot be cut at the point that the leader wants.
    #[error("no snapshot is old enough to cut the log there")]
    CannotTruncate,
    /// The disk is full.
    #[error("the disk is full")]
    DiskFull,
    /// The counter of the epoch is used up.
    #[error("the epoch's counter is used up")]
    EpochExhausted,
    /// The role of this server ended.
    #[error("this server's role ended")]
    RoleEnded,
    /// The server does not lead.
    #[error("this server does not lead")]
    NotLeading,
    /// The server is not a follower that serves.
    #[error("this server takes no observers at the moment")]
    NoMaster,
    /// Another connection of the same server came.
    #[error("it connected again")]
    Replaced,
    /// More waits than there is room for.
    #[error("more waits than there is room for")]
    Overflow,
}
