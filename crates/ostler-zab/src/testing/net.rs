//! What lies between the servers: links on the learner port, which deliver in order until they are cut, and the
//! channels for votes with Java's habits: one vote waits for each member, a newer one replaces it, and the last one
//! is sent again on a new connection.

use std::collections::VecDeque;

use ostler_wire::Zxid;
use ostler_wire::quorum::{Notification, Packet};

use crate::{Door, Generation, Proposal};

/// What travels on a link.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Wire {
    /// The connection is there.
    Hello,
    Packet(Packet),
    Tree(Vec<Proposal>),
    /// The other side closed it, or it broke.
    End,
}

/// A connection of a learner (`dialer`) to a leader or to a follower that takes observers (`acceptor`), and what was
/// seen to go over it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Link {
    pub(super) dialer: usize,
    pub(super) acceptor: usize,
    pub(super) door: Door,
    pub(super) to_leader: VecDeque<Wire>,
    pub(super) to_learner: VecDeque<Wire>,
    pub(super) dialer_open: bool,
    pub(super) acceptor_open: bool,
    pub(super) seen: Seen,
}

/// What went over a link.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Seen {
    pub(super) epoch: Option<i64>,
    pub(super) plan: bool,
    /// The newest that the learner has or was sent.
    pub(super) proposed: Option<Zxid>,
    pub(super) committed: Zxid,
    /// Committed in front of NEWLEADER.
    pub(super) history: Zxid,
    pub(super) newleader: bool,
    /// The learner's acknowledgement of the history arrived.
    pub(super) synced: bool,
    pub(super) uptodate: bool,
    /// The learner took NEWLEADER off the link.
    pub(super) newleader_taken: bool,
    pub(super) acked: Zxid,
    /// The newest proposal that the learner took off the link.
    pub(super) taken: Zxid,
}

impl Link {
    pub(super) fn new(dialer: usize, acceptor: usize, door: Door) -> Self {
        Self {
            dialer,
            acceptor,
            door,
            to_leader: VecDeque::from([Wire::Hello]),
            to_learner: VecDeque::new(),
            dialer_open: true,
            acceptor_open: true,
            seen: Seen::default(),
        }
    }

    pub(super) fn queue(&mut self, to_leader: bool) -> &mut VecDeque<Wire> {
        if to_leader { &mut self.to_leader } else { &mut self.to_learner }
    }

    /// Closes one side; the other finds out once it has read what is under way.
    pub(super) fn close(&mut self, node: usize) {
        if node == self.dialer && self.dialer_open {
            self.dialer_open = false;
            self.to_learner.clear();
            self.to_leader.push_back(Wire::End);
        } else if node == self.acceptor && self.acceptor_open {
            self.acceptor_open = false;
            self.to_leader.clear();
            self.to_learner.push_back(Wire::End);
        }
    }

    /// Loses what is under way.
    pub(super) fn cut(&mut self) {
        // Whoever dialed knows already; the other side must have heard of the link to lose it.
        let hello = self.to_leader.front() == Some(&Wire::Hello);
        self.to_leader.clear();
        self.to_learner.clear();
        if hello {
            self.acceptor_open = false;
        } else if self.acceptor_open {
            self.to_leader.push_back(Wire::End);
        }
        if self.dialer_open {
            self.to_learner.push_back(Wire::End);
        }
    }

    pub(super) fn is_dead(&self) -> bool {
        !self.dialer_open && !self.acceptor_open
    }
}

/// A connection that is being made.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Dial {
    pub(super) leader: usize,
    pub(super) door: Door,
    pub(super) generation: Generation,
}

/// The way of votes from one server to another.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Votes {
    pub(super) waiting: Option<Notification>,
    pub(super) last: Option<Notification>,
    pub(super) under_way: VecDeque<Notification>,
}
