//! One member of the ensemble: its role and the one place where it takes input. A proposal is a zxid and opaque
//! bytes: what they do to the tree is not known here.

use std::collections::VecDeque;

use bytes::Bytes;
use ostler_wire::{ServerId, Zxid};

use crate::solo::Solo;

/// A transaction on its way to a quorum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// Its place in the order.
    pub zxid: Zxid,
    /// The encoded transaction.
    pub bytes: Bytes,
}

/// What can happen to a peer.
#[derive(Debug)]
pub enum Input {
    /// The node decided on a transaction; only in a role that proposes. The zxid is [`Peer::next_zxid`].
    Propose(Proposal),
    /// The own log is durable up to here, in this generation of the role.
    Persisted {
        /// All up to and including this one are on disk.
        zxid: Zxid,
        /// The generation in which they were appended.
        generation: Generation,
    },
}

/// What a peer wants done.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Append to the own log and say when it is durable.
    Append {
        /// What to append.
        proposal: Proposal,
        /// To be given back with [`Input::Persisted`].
        generation: Generation,
    },
    /// A quorum has all up to here: apply them.
    Commit {
        /// The newest committed zxid.
        upto: Zxid,
    },
}

/// Counts the roles that a peer has had. What was asked for in an earlier role and arrives in a later one is stale
/// and is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Generation(pub u64);

/// What a peer is at the moment.
#[derive(Debug)]
enum Role {
    /// An ensemble of one.
    Solo(Solo),
}

/// One member of the ensemble. Contract: `handle`, then `poll_output` until `None`, and only then wait.
#[derive(Debug)]
pub struct Peer {
    role: Role,
    generation: Generation,
    outputs: VecDeque<Output>,
}

impl Peer {
    /// A standalone server whose log is durable, and wholly committed, up to `last`.
    #[must_use]
    pub fn solo(server: ServerId, last: Zxid) -> Self {
        Self {
            role: Role::Solo(Solo::new(server, last)),
            generation: Generation(1),
            outputs: VecDeque::new(),
        }
    }

    /// The zxid that the next proposal takes; `None` in a role that does not propose.
    #[must_use]
    pub fn next_zxid(&self) -> Option<Zxid> {
        match &self.role {
            Role::Solo(solo) => Some(solo.next_zxid()),
        }
    }

    /// Takes one input.
    pub fn handle(&mut self, input: Input) {
        match (&mut self.role, input) {
            (Role::Solo(solo), Input::Propose(proposal)) => {
                solo.on_propose(&proposal);
                self.outputs.push_back(Output::Append { proposal, generation: self.generation });
            }
            (Role::Solo(solo), Input::Persisted { zxid, generation }) => {
                if generation == self.generation
                    && let Some(upto) = solo.on_persisted(zxid)
                {
                    self.outputs.push_back(Output::Commit { upto });
                }
            }
        }
    }

    /// The next thing that the peer wants done.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn propose(peer: &mut Peer) -> Zxid {
        let zxid = peer.next_zxid().unwrap();
        peer.handle(Input::Propose(Proposal { zxid, bytes: Bytes::new() }));
        assert!(matches!(peer.poll_output(), Some(Output::Append { .. })));
        zxid
    }

    #[test]
    fn nothing_is_committed_before_it_is_durable() {
        let mut peer = Peer::solo(ServerId(1), Zxid(4));
        assert_eq!((propose(&mut peer), propose(&mut peer), propose(&mut peer)), (Zxid(5), Zxid(6), Zxid(7)));
        assert_eq!(peer.poll_output(), None);
        peer.handle(Input::Persisted { zxid: Zxid(6), generation: Generation(1) });
        assert_eq!(peer.poll_output(), Some(Output::Commit { upto: Zxid(6) }));
        peer.handle(Input::Persisted { zxid: Zxid(6), generation: Generation(1) });
        assert_eq!(peer.poll_output(), None);
    }

    #[test]
    fn what_an_earlier_role_asked_for_is_dropped() {
        let mut peer = Peer::solo(ServerId(1), Zxid(0));
        propose(&mut peer);
        peer.handle(Input::Persisted { zxid: Zxid(1), generation: Generation(0) });
        assert_eq!(peer.poll_output(), None);
    }
}
