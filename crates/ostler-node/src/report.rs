//! Plain figures of nodes and lanes, for four-letter words and metrics.

use ostler_tree::Namespaces;
use ostler_wire::{OpCode, ServerId, SessionId, Zxid};
use ostler_zab::{Epochs, LinkId, Reason, Standing};

use crate::tally::Tally;

/// Figures of the node.
#[derive(Debug, Clone, Default)]
pub struct NodeReport {
    /// What the server is to its clients; `None` only in an empty report.
    pub standing: Option<Standing>,
    /// Whom the server serves.
    pub service: crate::io::Service,
    /// Whether clients are served.
    pub serves_clients: bool,
    /// Sessions that only this server knows of.
    pub local_sessions: usize,
    /// A leader's learners, or the observers of a follower: link, server, whether it observes, whether it is in sync.
    pub learners: Vec<(LinkId, ServerId, bool, bool)>,
    /// The members, as far as they are an ensemble.
    pub members: Option<std::sync::Arc<ostler_wire::quorum::Members>>,
    /// Who leads, as far as is known.
    pub leader: Option<ServerId>,
    /// Whom this server learns from.
    pub master: Option<ServerId>,
    /// The members with which a connection for votes stands.
    pub connected: Vec<ServerId>,
    /// Why the last role ended.
    pub last_end: Option<Reason>,
    /// The epochs on disk.
    pub epochs: Epochs,
    /// The last proposal.
    pub last_proposed: Zxid,
    /// What happened to it as a member of an ensemble.
    pub tally: Tally,
    /// Syncs that wait for the leader, or at a leader for a commit.
    pub pending_syncs: usize,
    /// Sessions, closing ones included.
    pub sessions: usize,
    /// Transactions that are decided and not applied.
    pub outstanding: usize,
    /// Deadlines (monotonic milliseconds) and the sessions that expire then.
    pub session_buckets: Vec<(u64, Vec<SessionId>)>,
    /// The chance that a new connection is dropped.
    pub connection_drop_chance: f64,
    /// Whether the disk is full and writes are refused.
    pub log_full: bool,
    /// Writes that a hard quota refused.
    pub quota_refusals: Namespaces,
}

/// Latency in milliseconds and packets, of a lane or of one connection.
#[derive(Debug, Clone, Copy, Default)]
pub struct Traffic {
    /// Frames received, four-letter words included.
    pub received: u64,
    /// Frames sent, events included.
    pub sent: u64,
    /// Requests whose latency was measured.
    pub requests: u64,
    /// The least latency.
    pub latency_min_ms: u64,
    /// The greatest latency.
    pub latency_max_ms: u64,
    /// The sum of all latencies.
    pub latency_sum_ms: u64,
    /// Bytes received.
    pub bytes_received: u64,
    /// Bytes sent.
    pub bytes_sent: u64,
}

impl Traffic {
    /// A request was answered after so long.
    pub fn add_latency(&mut self, ms: u64) {
        self.latency_min_ms = if self.requests == 0 { ms } else { self.latency_min_ms.min(ms) };
        self.latency_max_ms = self.latency_max_ms.max(ms);
        self.latency_sum_ms += ms;
        self.requests += 1;
    }

    /// Both together.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        Self {
            received: self.received + other.received,
            sent: self.sent + other.sent,
            requests: self.requests + other.requests,
            latency_min_ms: match (self.requests, other.requests) {
                (0, _) => other.latency_min_ms,
                (_, 0) => self.latency_min_ms,
                _ => self.latency_min_ms.min(other.latency_min_ms),
            },
            latency_max_ms: self.latency_max_ms.max(other.latency_max_ms),
            latency_sum_ms: self.latency_sum_ms + other.latency_sum_ms,
            bytes_received: self.bytes_received + other.bytes_received,
            bytes_sent: self.bytes_sent + other.bytes_sent,
        }
    }
}

/// Figures of one connection.
#[derive(Debug, Clone)]
pub struct ConnReport {
    /// The peer, as `address:port`.
    pub peer: String,
    /// Its session, if it has one.
    pub session: Option<SessionId>,
    /// The negotiated timeout in milliseconds.
    pub timeout_ms: i32,
    /// Since when, in milliseconds since 1970.
    pub established_wall_ms: i64,
    /// Requests that are not answered.
    pub queued: usize,
    /// Packets and latencies.
    pub traffic: Traffic,
    /// The latency of the last answered request.
    pub last_latency_ms: u64,
    /// What was asked for last.
    pub last_op: Option<OpCode>,
    /// The xid of the last request, negative for none.
    pub last_xid: i32,
    /// The zxid of the last reply.
    pub last_zxid: i64,
    /// When the last reply was sent (monotonic milliseconds).
    pub last_reply_ms: u64,
    /// Whether it is read from.
    pub readable: bool,
}

/// Figures of a lane.
#[derive(Debug, Clone, Default)]
pub struct LaneReport {
    /// Its connections.
    pub conns: Vec<ConnReport>,
    /// Packets and latencies, of connections that are gone too.
    pub traffic: Traffic,
    /// Data watches by session: whose, and where.
    pub data_watches: Vec<(SessionId, Vec<String>)>,
    /// Watches of all kinds.
    pub watch_count: usize,
    /// What was read.
    pub reads: Namespaces,
    /// Connections that were closed for reasons of their own.
    pub auth_failed: u64,
    /// Connections that never shook hands in time.
    pub sessionless_expired: u64,
    /// Large requests that were refused.
    pub large_rejected: u64,
    /// Operations that were answered -127.
    pub throttled_ops: u64,
    /// Handshakes.
    pub connection_requests: u64,
    /// Bytes of the last, greatest and least answer.
    pub response_last: u64,
    /// See above.
    pub response_max: u64,
    /// See above.
    pub response_min: u64,
}
