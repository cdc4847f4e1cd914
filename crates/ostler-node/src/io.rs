//! Everything that can happen to a node and everything it can want: two closed enums, and the letters that travel
//! between node and lanes.

use std::sync::Arc;

use bytes::Bytes;
use ostler_tree::{Change, Outcome, Store};
use ostler_wire::client::write::Write;
use ostler_wire::{Id, SessionId, Zxid};
use ostler_zab::{Generation, LinkId, Proposal};

/// One I/O thread, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId(pub usize);

/// A connection, unique in the life of the process. The number tells the lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

impl ConnId {
    const LANE_SHIFT: u32 = 48;

    /// The `count`th connection of a lane.
    #[must_use]
    pub fn new(lane: LaneId, count: u64) -> Self {
        assert!(count < 1 << Self::LANE_SHIFT, "connections of a lane are counted in 48 bits");
        Self((lane.0 as u64) << Self::LANE_SHIFT | count)
    }

    /// The lane that holds it.
    #[must_use]
    pub fn lane(self) -> LaneId {
        LaneId((self.0 >> Self::LANE_SHIFT) as usize)
    }
}

/// What can happen to a node.
#[derive(Debug)]
pub enum Input {
    /// A handshake, its timeout already negotiated, the password already checked if a session is to be resumed.
    Connect {
        /// The connection, which says nothing more until it is answered.
        conn: ConnId,
        /// The session to resume, or `None` for a new one.
        resume: Option<SessionId>,
        /// The negotiated timeout in milliseconds.
        timeout_ms: i32,
    },
    /// A request to change the tree.
    Request {
        /// The connection to answer.
        conn: ConnId,
        /// Its session.
        session: SessionId,
        /// The client's number for it.
        xid: i32,
        /// What is asked for.
        write: Write,
        /// Who asks, as known when the request arrived.
        ids: Arc<[Id]>,
        /// Whether reads of this connection still wait in front of it: they must not see what it does.
        behind_reads: bool,
        /// The body as it was sent, if it may have to be forwarded to a leader.
        body: Option<Bytes>,
    },
    /// A client wants to see everything that was committed before it asks.
    Sync {
        /// The connection to answer.
        conn: ConnId,
        /// Its session.
        session: SessionId,
        /// The client's number for it.
        xid: i32,
    },
    /// A lane answers [`Letter::Fence`]: the reads in front of this transaction are answered.
    FencePassed {
        /// The transaction.
        zxid: Zxid,
    },
    /// A connection is gone; its session lives on until it expires.
    Disconnected {
        /// The connection.
        conn: ConnId,
        /// Its session.
        session: SessionId,
        /// When it was last heard from, if the node was not told yet.
        touch: Option<Touch>,
    },
    /// A lane answers [`Letter::CollectTouches`].
    Touches {
        /// The lane.
        lane: LaneId,
        /// The number of the question.
        round: u64,
        /// Sessions that were heard from since the last question, when, and their timeout.
        touches: Vec<Touch>,
    },
    /// The log is durable up to here.
    Persisted {
        /// All up to and including this one are on disk.
        zxid: Zxid,
        /// As it came with [`Output::Append`].
        generation: Generation,
    },
    /// The disk is full: nothing can be appended at the moment.
    LogFull,
    /// There is room again.
    LogRoom,
    /// The snapshot that was asked for is written, or given up.
    SnapshotDone,
    /// What other members do, and what was asked for with [`Output::Peer`].
    Peer(ostler_zab::Input),
    /// The whole tree that the leader announced has arrived.
    TreeArrived {
        /// The link that it came by.
        link: LinkId,
        /// The tree.
        store: Box<Store>,
    },
    /// What [`Output::SaveTree`] asked for is done and durable.
    TreeSaved {
        /// The tree, given back.
        store: Box<Store>,
        /// As it came with the output.
        generation: Generation,
    },
    /// What [`Output::Truncate`] asked for is done and durable.
    Truncated {
        /// The store as it was read from the disk afterwards, and the history that it goes on from; `None` if no
        /// snapshot is low enough to begin from: then nothing was changed.
        result: Option<Box<Store>>,
        /// As it came with the output.
        generation: Generation,
    },
}

/// When a session was last heard from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Touch {
    /// The session.
    pub session: SessionId,
    /// The monotonic time in milliseconds.
    pub heard_ms: u64,
    /// The timeout of the connection it came by, in milliseconds.
    pub timeout_ms: i32,
}

/// What a node wants done.
#[derive(Debug)]
pub enum Output {
    /// Append to the log, sync, and answer with [`Input::Persisted`].
    Append {
        /// What to append.
        proposal: Proposal,
        /// To be given back.
        generation: Generation,
    },
    /// Go on in a new log file: a snapshot is about to be taken.
    RollLog,
    /// Take a snapshot, and answer with [`Input::SnapshotDone`].
    Snapshot,
    /// A snapshot that is being written must not come to be: it may hold what will be forgotten.
    DiscardSnapshots,
    /// For the other members, or for the disk: every output of the peer that has no variant here.
    Peer(ostler_zab::Output),
    /// Cut the log behind `to`, put newer snapshots aside, read a store anew from what is left, all of it durable;
    /// answer with [`Input::Truncated`].
    Truncate {
        /// The last zxid to keep.
        to: Zxid,
        /// To be given back.
        generation: Generation,
    },
    /// Make this tree durable as the snapshot of `zxid`, put everything older aside, and answer with
    /// [`Input::TreeSaved`].
    SaveTree {
        /// The tree.
        store: Box<Store>,
        /// Everything up to here is in it.
        zxid: Zxid,
        /// To be given back.
        generation: Generation,
    },
    /// Borrow the store exclusively and put this one in its place, before anything else is handled.
    Install(Box<Store>),
    /// Borrow the store exclusively and make this the content of `/zookeeper/config`.
    SetConfig {
        /// The version of the member list.
        version: i64,
        /// The member list.
        text: Bytes,
        /// Milliseconds since 1970.
        wall_ms: i64,
    },
    /// Something is committed: borrow the store exclusively and call [`crate::Node::apply`].
    Apply,
    /// Put this into a lane's inbox.
    Send(LaneId, LaneBatch),
}

/// What a lane finds in its inbox: what changed, and what concerns its own connections. A letter that belongs to
/// a transaction comes after the changes up to that transaction.
#[derive(Debug, Default)]
pub struct LaneBatch {
    /// The changes, oldest first; shared by all lanes that hold watches, absent for the others.
    pub changes: Option<Arc<[Change]>>,
    /// The letters, oldest first, each with the zxid up to which changes come before it.
    pub letters: Vec<(Zxid, Letter)>,
}

/// A message to a lane.
#[derive(Debug)]
pub enum Letter {
    /// The answer to the oldest write of a connection that is not answered yet.
    Reply {
        /// The connection.
        conn: ConnId,
        /// How it ended; its zxid is that of the letter.
        outcome: Outcome,
    },
    /// The answer to the oldest sync of a connection that is not answered yet.
    Synced {
        /// The connection.
        conn: ConnId,
    },
    /// Whom this server serves from now on.
    Service(Service),
    /// The handshake ends well.
    Opened {
        /// The connection.
        conn: ConnId,
        /// Its session.
        session: SessionId,
        /// The negotiated timeout in milliseconds.
        timeout_ms: i32,
    },
    /// The handshake ends with the news that the session is gone.
    Refused {
        /// The connection.
        conn: ConnId,
    },
    /// Close without a word: the session expired, moved to another connection, or cannot be served.
    Close {
        /// The connection.
        conn: ConnId,
        /// Why, for the log and the counters.
        reason: CloseReason,
    },
    /// A transaction is next whose connection had reads waiting in front of it. By the time this is read they are
    /// answered, since all earlier replies came before; say so.
    Fence {
        /// The transaction.
        zxid: Zxid,
    },
    /// Say which sessions were heard from.
    CollectTouches {
        /// The number of the question.
        round: u64,
    },
}

/// Why a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The session expired.
    SessionExpired,
    /// The session was resumed by another connection.
    SessionResumedElsewhere,
    /// The client asked for it.
    SessionClosed,
    /// The client's session is gone.
    NoSuchSession,
    /// The peer closed or the socket failed.
    Disconnected,
    /// A frame with a length out of bounds, or too short, or a handshake that does not decode.
    BadFrame,
    /// The client has seen a newer zxid than this server.
    ClientAhead,
    /// Too many handshakes at once.
    ConnectionThrottled,
    /// Too many bytes of large requests at once.
    LargeRequest,
    /// Authentication failed.
    AuthFailed,
    /// An opcode that nobody knows.
    UnknownOpcode,
    /// No handshake in time.
    NoHandshake,
    /// The client does not read what it is sent.
    SlowConsumer,
    /// The disk is full: writes are refused.
    DiskFull,
    /// A four-letter word has been answered.
    Word,
    /// The server stops.
    Stopping,
    /// The server does not serve: it has no leader.
    NotServing,
}

/// Whom a server serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Service {
    /// Nobody: it has no leader.
    #[default]
    None,
    /// Everybody, as the only server.
    Alone,
    /// Everybody, as the leader of an ensemble.
    Leading,
    /// Everybody, with a leader that decides on writes.
    Learning,
    /// Who is content to read: there is no leader.
    ReadOnly,
}
