//! What the clients saw, in the order in which each of them saw it: the evidence that the checkers judge.

use ostler_client::Request;
use ostler_client::session::Ending;
use ostler_wire::client::event::EventType;
use ostler_wire::client::response::Response;
use ostler_wire::{Code, SessionId, Zxid};

/// One request of a client.
#[derive(Debug)]
pub struct Op {
    /// Which session, by its place in [`History::sessions`].
    pub owner: usize,
    /// What was asked.
    pub request: Request,
    /// The newest zxid that anybody had been told when this was asked: it cannot be answered from before.
    pub floor: Zxid,
    /// Session and xid under which it went out, and when; `None` if it was never sent.
    pub sent: Option<Sent>,
    /// When it was asked for, in monotonic microseconds.
    pub asked_us: u64,
    /// What became of it.
    pub outcome: Outcome,
    /// When that was known, in monotonic microseconds.
    pub done_us: u64,
    /// The leader behind the answer was deposed, and neither it nor the server that answered knew.
    pub by_deposed: bool,
}

/// How a request went out.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    /// The session.
    pub session: SessionId,
    /// The xid.
    pub xid: i32,
    /// When, in monotonic microseconds.
    pub at_us: u64,
}

/// What became of a request.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Nothing yet.
    Open,
    /// The server answered.
    Answered {
        /// The zxid in the header.
        zxid: Zxid,
        /// The answer.
        result: Result<Response, Code>,
    },
    /// The client says that it may have happened.
    Unknown,
    /// The client says that it did not happen, or that it was a read.
    NotDone,
}

/// Something that a session was told.
#[derive(Debug)]
pub enum Item {
    /// A request was answered, by its place in [`History::ops`].
    Reply(usize),
    /// A watch fired.
    Event {
        /// What happened.
        kind: EventType,
        /// Where.
        path: String,
        /// By which transaction, or -1.
        zxid: Zxid,
    },
    /// The session is established on a new connection.
    Connected(SessionId),
    /// The connection is gone.
    Disconnected,
    /// The session is over.
    Ended(Ending),
}

/// The story of one client session.
#[derive(Debug, Default)]
pub struct SessionStory {
    /// What it was told, in order.
    pub items: Vec<Item>,
    /// The session id, once there is one.
    pub id: Option<SessionId>,
    /// The timeout that was negotiated, in milliseconds.
    pub timeout_ms: u64,
    /// The xid of its closeSession, if it sent one.
    pub close_xid: Option<i32>,
}

/// An expiry: the server closed a session that had not asked for it.
#[derive(Debug, Clone, Copy)]
pub struct Expiry {
    /// The session.
    pub session: SessionId,
    /// When it was decided, in monotonic microseconds.
    pub at_us: u64,
    /// By which transaction, where a leader may decide what is never agreed on.
    pub zxid: Option<Zxid>,
}

/// Everything that the clients of a world saw.
#[derive(Debug, Default)]
pub struct History {
    /// Requests.
    pub ops: Vec<Op>,
    /// Sessions.
    pub sessions: Vec<SessionStory>,
    /// Expiries.
    pub expiries: Vec<Expiry>,
    /// The newest zxid that anybody was told.
    pub told: Zxid,
    /// Whether there is more than one server: reads may be of an earlier time then.
    pub many_servers: bool,
    /// When leaders were established, in monotonic microseconds.
    pub led_at_us: Vec<u64>,
    /// From when to when leaders may have changed, where nobody saw it as it happened: a sync that overlaps with it
    /// may have been answered by a leader that did not know yet that it was one no more.
    pub unsettled_us: Vec<(u64, u64)>,
}

impl History {
    /// Whether a leader was established between two times, or shortly before.
    #[must_use]
    pub fn leader_changed(&self, from_us: u64, to_us: u64) -> bool {
        self.led_at_us.iter().any(|at| (from_us..=to_us).contains(at))
            || self.unsettled_us.iter().any(|(begin, end)| *begin <= to_us && from_us <= *end)
    }

    /// How many requests were answered.
    #[must_use]
    pub fn answered(&self) -> usize {
        self.ops.iter().filter(|op| matches!(op.outcome, Outcome::Answered { .. })).count()
    }
}
