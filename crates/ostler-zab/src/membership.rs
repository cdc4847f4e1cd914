//! The member lists that a server goes by: the one in force, and the one that was proposed last. While they differ a
//! change of membership is under way, and both must agree to whatever is decided. Answers to the two quorum verifiers
//! of Java's `QuorumPeer`, `lastSeenQuorumVerifier` among them, and to its `processReconfig`.

use std::sync::Arc;

use bytes::Bytes;
use ostler_wire::ServerId;
use ostler_wire::quorum::{Member, MemberRole, Members};

use crate::quorum::{JointQuorum, Quorum, QuorumError};

/// Both lists. Invariant: each of them makes a quorum.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Membership {
    current: Arc<Members>,
    last_seen: Arc<Members>,
    /// The list in force, as it is told to others.
    text: Bytes,
    /// Whether the members may change while the ensemble runs (`reconfigEnabled`).
    changeable: bool,
}

/// What became of a list that is to be in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    /// It is known, or older: nothing changed.
    Known,
    /// It is in force. `same` if it says the same as the one before, under another version.
    InForce { same: bool },
}

impl Membership {
    /// A list that stays as it is.
    ///
    /// # Errors
    /// Its groups do not fit its voters.
    pub fn fixed(members: Members) -> Result<Self, QuorumError> {
        Self::new(members, None, false)
    }

    /// A list that may change, with the one that was proposed last, if there is one.
    ///
    /// # Errors
    /// The groups of one of them do not fit its voters.
    pub fn changeable(current: Members, last_seen: Option<Members>) -> Result<Self, QuorumError> {
        Self::new(current, last_seen, true)
    }

    fn new(current: Members, last_seen: Option<Members>, changeable: bool) -> Result<Self, QuorumError> {
        Quorum::of(&current)?;
        let text = current.to_string().into();
        let current = Arc::new(current);
        let last_seen = match last_seen {
            Some(next) => {
                Quorum::of(&next)?;
                Arc::new(next)
            }
            None => Arc::clone(&current),
        };
        Ok(Self { current, last_seen, text, changeable })
    }

    /// The list in force.
    #[must_use]
    pub fn current(&self) -> &Arc<Members> {
        &self.current
    }

    /// The list that was proposed last; the one in force if no change is under way.
    #[must_use]
    pub fn last_seen(&self) -> &Arc<Members> {
        &self.last_seen
    }

    /// The list in force as text.
    #[must_use]
    pub fn text(&self) -> &Bytes {
        &self.text
    }

    /// Whether the members may change while the ensemble runs.
    #[must_use]
    pub fn is_changeable(&self) -> bool {
        self.changeable
    }

    /// Who decides: the voters in force, and those to come if a change is under way.
    #[must_use]
    pub fn quorum(&self) -> JointQuorum {
        let of = |members| Quorum::of(members).expect("both lists were checked when they came");
        let mut quorum = JointQuorum::new(of(&self.current));
        if self.last_seen.version > self.current.version {
            quorum.propose(of(&self.last_seen));
        }
        quorum
    }

    /// Whether this server observes by the list in force. One that is not in it follows without a vote.
    #[must_use]
    pub fn is_observer(&self, server: ServerId) -> bool {
        self.current.servers.get(&server).is_some_and(|member| member.role == MemberRole::Observer)
    }

    /// Whether this server votes by the list in force.
    #[must_use]
    pub fn is_voter(&self, server: ServerId) -> bool {
        self.voter(server).is_some()
    }

    fn voter(&self, server: ServerId) -> Option<&Member> {
        self.current.servers.get(&server).filter(|member| member.role == MemberRole::Participant)
    }

    /// A list was proposed, or a leader rolls back one that was lost. Whether it is another one than was known.
    pub(crate) fn see(&mut self, members: &Arc<Members>) -> bool {
        let fresh = self.changeable && self.last_seen.version != members.version;
        if fresh {
            self.last_seen = Arc::clone(members);
        }
        fresh
    }

    /// A list is to be in force.
    pub(crate) fn activate(&mut self, members: &Arc<Members>) -> Activation {
        if !self.changeable || members.version <= self.current.version {
            return Activation::Known;
        }
        let before = std::mem::replace(&mut self.current, Arc::clone(members));
        self.text = members.to_string().into();
        if members.version > self.last_seen.version {
            self.last_seen = Arc::clone(members);
        }
        Activation::InForce { same: before.is_same(members) }
    }

    /// Whether a server votes by the list in force, and is found where it was by the list before.
    pub(crate) fn keeps_leader(&self, leader: ServerId, before: &Self) -> bool {
        match (before.voter(leader), self.voter(leader)) {
            (Some(before), Some(now)) => before.addresses == now.addresses,
            _ => false,
        }
    }

    /// The first leader that may change members gives the list that all of them began with a version, so that
    /// whoever joins later can be told which one is newer (ZOOKEEPER-1783).
    pub(crate) fn establish(&mut self, version: i64) -> bool {
        if !self.changeable || self.current.version != 0 || self.last_seen.version != 0 {
            return false;
        }
        self.last_seen = Arc::new(Members { version, ..(*self.current).clone() });
        true
    }
}

/// Reads a list that another server sent; `None` if it is none, or makes no quorum.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<Arc<Members>> {
    let members = Members::decode(bytes).ok()?;
    let fits = Quorum::of(&members).is_ok() && members.voters().next().is_some();
    fits.then(|| Arc::new(members))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(text: &str) -> Members {
        Members::parse(text).unwrap()
    }

    const THREE: &str = "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2";

    #[test]
    fn a_list_that_stays_heeds_no_other() {
        let mut fixed = Membership::fixed(members(THREE)).unwrap();
        let other = Arc::new(members("server.1=a:1:2\nversion=100000001"));
        assert!(!fixed.see(&other));
        assert_eq!(fixed.activate(&other), Activation::Known);
        assert!(!fixed.establish(1 << 32));
        assert_eq!(fixed.current().version, 0);
    }

    #[test]
    fn a_change_needs_both_until_it_is_in_force() {
        let mut lists = Membership::changeable(members(&format!("{THREE}\nversion=5")), None).unwrap();
        let next = Arc::new(members("server.3=c:1:2\nserver.4=d:1:2\nserver.1=a:1:2:observer\nversion=6"));
        assert!(lists.see(&next) && !lists.see(&next));
        let ids = |ids: &[i64]| ids.iter().copied().map(ServerId).collect();
        assert!(!lists.quorum().is_quorum(&ids(&[1, 2])));
        assert!(lists.quorum().is_quorum(&ids(&[2, 3, 4])));
        assert!(lists.is_voter(ServerId(1)) && !lists.is_voter(ServerId(4)));

        let before = lists.clone();
        assert_eq!(lists.activate(&next), Activation::InForce { same: false });
        assert_eq!(lists.activate(&next), Activation::Known);
        assert!(lists.quorum().is_quorum(&ids(&[3, 4])));
        assert!(lists.is_observer(ServerId(1)) && !lists.is_voter(ServerId(2)));
        assert!(!lists.is_observer(ServerId(2)), "who is not listed follows without a vote");
        assert!(lists.keeps_leader(ServerId(3), &before));
        assert!(!lists.keeps_leader(ServerId(1), &before) && !lists.keeps_leader(ServerId(2), &before));
    }

    #[test]
    fn a_leader_takes_back_what_was_proposed_and_lost() {
        let mut lists = Membership::changeable(members(&format!("{THREE}\nversion=5")), None).unwrap();
        let lost = Arc::new(members("server.1=a:1:2\nversion=9"));
        assert!(lists.see(&lost));
        let leaders = Arc::new(members(&format!("{THREE}\nversion=5")));
        assert!(lists.see(&leaders));
        assert_eq!(lists.last_seen().version, 5);
        assert!(!lists.quorum().is_quorum(&[ServerId(1)].into()));
    }

    #[test]
    fn the_first_leader_numbers_the_list() {
        let mut lists = Membership::changeable(members(THREE), None).unwrap();
        assert!(lists.establish(3 << 32) && !lists.establish(4 << 32));
        let first = Arc::clone(lists.last_seen());
        assert_eq!((first.version, lists.current().version), (3 << 32, 0));
        assert_eq!(lists.activate(&first), Activation::InForce { same: true });
    }

    #[test]
    fn what_is_no_list_of_members_is_not_taken() {
        assert!(decode(b"server.1=a:1:2\nversion=1").is_some());
        for text in
            ["nonsense", "server.1=a:1:2:observer\nversion=1", "version=1", "server.1=a:1:2\nweight.1=2"]
        {
            assert!(decode(text.as_bytes()).is_none(), "{text}");
        }
    }
}
