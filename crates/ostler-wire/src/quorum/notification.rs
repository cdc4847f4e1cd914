//! What the election port carries: the greeting of a connection, then notifications.

use bytes::Bytes;

use crate::{ServerId, Zxid};

/// A vote as it is told to the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// What the sender does at the moment.
    pub state: PeerState,
    /// Whom it votes for or follows.
    pub vote: Vote,
    /// The round of the election in which the vote was cast.
    pub round: i64,
    /// The member list of the sender, as text; `None` from versions that sent none.
    pub members: Option<Bytes>,
}

/// Who should lead, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vote {
    /// The server.
    pub leader: ServerId,
    /// The last zxid of its log.
    pub zxid: Zxid,
    /// The epoch whose history it has.
    pub epoch: i64,
}

/// What a server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerState {
    /// It looks for a leader.
    Looking,
    /// It follows one.
    Following,
    /// It leads.
    Leading,
    /// It follows without a vote.
    Observing,
}
