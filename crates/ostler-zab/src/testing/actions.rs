//! Everything that can happen in a world, and what of it can happen next.

use ostler_wire::quorum::PeerState;

use super::world::World;
use crate::{Door, LinkId};

/// One thing that happens. Servers are numbered from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// A server starts with what its disk holds.
    Start(usize),
    /// A server stops at once.
    Crash {
        /// The server.
        node: usize,
        /// How many of the log writes that it waits for are durable all the same.
        log: usize,
        /// The same for writes of epochs.
        epochs: usize,
    },
    /// The first log writes of a server are durable, `n` at the most.
    Log {
        /// The server.
        node: usize,
        /// How many.
        n: usize,
    },
    /// The first write of an epoch is durable.
    Epoch(usize),
    /// The first look into the log is done.
    Search(usize),
    /// A connection to a leader is there.
    Dial(usize),
    /// A connection to a leader cannot be made.
    Refuse(usize),
    /// The next thing on a link arrives.
    Deliver {
        /// The link.
        link: LinkId,
        /// Which way.
        to_leader: bool,
    },
    /// A link breaks and loses what is under way.
    Cut(LinkId),
    /// A connection for votes is made.
    VoteConnect(usize, usize),
    /// A connection for votes breaks and loses what is under way.
    VoteCut(usize, usize),
    /// A vote that waits is sent.
    VoteSend(usize, usize),
    /// A vote arrives.
    VoteDeliver(usize, usize),
    /// The last vote is sent again.
    VoteRepeat(usize, usize),
    /// The clock goes on to the next thing that waits for it.
    Time,
    /// A server's clock alone goes on.
    Fire(usize),
    /// The node above a leader proposes a transaction.
    Propose(usize),
    /// Nothing gets from one server to another until [`Action::Heal`].
    Block(usize, usize),
    /// Everything gets through again.
    Heal,
    /// A server gives its role up.
    Resign(usize),
    /// A server's disk is full.
    Full(usize),
}

impl World {
    /// What happens without a fault and without time.
    pub fn progress(&self, into: &mut Vec<Action>) {
        into.clear();
        for (node, state) in self.nodes.iter().enumerate() {
            let Some(running) = &state.running else { continue };
            if !running.pending.log.is_empty() {
                into.push(Action::Log { node, n: usize::MAX });
            }
            if !running.pending.epochs.is_empty() {
                into.push(Action::Epoch(node));
            }
            if !running.pending.searches.is_empty() {
                into.push(Action::Search(node));
            }
            if let Some(dial) = running.dials.front() {
                let open = !self.is_blocked(node, dial.leader) && !self.is_blocked(dial.leader, node);
                let listens = match dial.door {
                    Door::Leader => self.nodes[dial.leader].running.is_some(),
                    Door::Master => self
                        .peer(dial.leader)
                        .is_some_and(|peer| peer.is_serving() && peer.state() == PeerState::Following),
                };
                if !listens {
                    into.push(Action::Refuse(node));
                } else if open {
                    into.push(Action::Dial(node));
                }
            }
        }
        for (&link, state) in &self.links {
            if !state.to_leader.is_empty() && !self.is_blocked(state.dialer, state.acceptor) {
                into.push(Action::Deliver { link, to_leader: true });
            }
            if !state.to_learner.is_empty() && !self.is_blocked(state.acceptor, state.dialer) {
                into.push(Action::Deliver { link, to_leader: false });
            }
        }
        for (&(a, b), votes) in &self.votes {
            if a < b && !self.connected.contains(&(a, b)) {
                let up = self.nodes[a].running.is_some() && self.nodes[b].running.is_some();
                if up && !self.is_blocked(a, b) && !self.is_blocked(b, a) {
                    into.push(Action::VoteConnect(a, b));
                }
            }
            if self.is_connected(a, b) && !self.is_blocked(a, b) {
                if !votes.under_way.is_empty() {
                    into.push(Action::VoteDeliver(a, b));
                } else if votes.waiting.is_some() {
                    into.push(Action::VoteSend(a, b));
                }
            }
        }
    }
}
