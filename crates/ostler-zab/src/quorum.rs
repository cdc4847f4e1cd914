//! Which sets of servers may decide: a majority of the voters, or, with weights and groups, a majority of the
//! weight in a majority of the groups. Answers to Java's `QuorumVerifier`, `QuorumMaj` and `QuorumHierarchical`.

use std::collections::{BTreeMap, BTreeSet};

use ostler_wire::quorum::Members;
use ostler_wire::{ServerId, Zxid};

/// Who votes, and what makes a quorum of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Quorum {
    voters: BTreeSet<ServerId>,
    rule: Rule,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Rule {
    Majority,
    Hierarchical(BTreeMap<i64, Group>),
}

/// A group of voters; a voter without a weight counts 1, one of weight 0 never counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Group {
    weights: BTreeMap<ServerId, u64>,
}

/// Groups that do not fit the voters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuorumError {
    /// A voter belongs to two groups.
    #[error("server {server} is in group {first} and in group {second}; a server belongs to one group")]
    InTwoGroups {
        /// The voter.
        server: ServerId,
        /// The group that has it first.
        first: i64,
        /// The other one.
        second: i64,
    },
    /// A voter belongs to no group.
    #[error("server {0} is in no group; with groups every voter needs one")]
    InNoGroup(ServerId),
    /// A group names a server that does not vote.
    #[error("group {group} names server {server}, which is no voter")]
    NotAVoter {
        /// The group.
        group: i64,
        /// The server.
        server: ServerId,
    },
}

impl Quorum {
    /// What a member list says.
    ///
    /// # Errors
    /// Its groups do not fit its voters.
    pub fn of(members: &Members) -> Result<Self, QuorumError> {
        let voters = members.voters().collect();
        if !members.is_hierarchical() {
            return Ok(Self::majority(voters));
        }
        let groups = members
            .groups
            .iter()
            .map(|(group, servers)| (*group, servers.iter().copied().collect()))
            .collect();
        Self::hierarchical(voters, &groups, &members.weights)
    }

    /// More than half of the voters.
    #[must_use]
    pub fn majority(voters: BTreeSet<ServerId>) -> Self {
        Self { voters, rule: Rule::Majority }
    }

    /// The quorum of a server alone.
    #[must_use]
    pub fn solo(server: ServerId) -> Self {
        Self::majority(BTreeSet::from([server]))
    }

    /// More than half of the weight in more than half of the groups that have weight.
    pub fn hierarchical(
        voters: BTreeSet<ServerId>,
        groups: &BTreeMap<i64, BTreeSet<ServerId>>,
        weights: &BTreeMap<ServerId, u64>,
    ) -> Result<Self, QuorumError> {
        let mut home: BTreeMap<ServerId, i64> = BTreeMap::new();
        let mut rule: BTreeMap<i64, Group> = BTreeMap::new();
        for (&group, members) in groups {
            for &server in members {
                if !voters.contains(&server) {
                    return Err(QuorumError::NotAVoter { group, server });
                }
                if let Some(first) = home.insert(server, group) {
                    return Err(QuorumError::InTwoGroups { server, first, second: group });
                }
                let weight = weights.get(&server).copied().unwrap_or(1);
                rule.entry(group).or_default().weights.insert(server, weight);
            }
        }
        if let Some(&lone) = voters.iter().find(|voter| !home.contains_key(voter)) {
            return Err(QuorumError::InNoGroup(lone));
        }
        Ok(Self { voters, rule: Rule::Hierarchical(rule) })
    }

    /// Who votes.
    #[must_use]
    pub fn voters(&self) -> &BTreeSet<ServerId> {
        &self.voters
    }

    /// What a server's vote for itself weighs; one that weighs nothing cannot lead (ZOOKEEPER-498).
    #[must_use]
    pub fn weight(&self, server: ServerId) -> u64 {
        match &self.rule {
            Rule::Majority => 1,
            Rule::Hierarchical(groups) => {
                groups.values().find_map(|group| group.weights.get(&server)).copied().unwrap_or(0)
            }
        }
    }

    /// The newest zxid that a quorum has, given what each server has; [`Zxid::ZERO`] if there is none.
    #[must_use]
    pub fn agreed(&self, acked: &BTreeMap<ServerId, Zxid>) -> Zxid {
        let mut candidates: Vec<Zxid> = acked.values().copied().collect();
        candidates.sort_unstable();
        for candidate in candidates.into_iter().rev() {
            let having = acked.iter().filter(|(_, zxid)| **zxid >= candidate).map(|(server, _)| *server);
            if self.is_quorum(&having.collect()) {
                return candidate;
            }
        }
        Zxid::ZERO
    }

    /// Whether these servers may decide. Servers that do not vote count for nothing.
    #[must_use]
    pub fn is_quorum(&self, servers: &BTreeSet<ServerId>) -> bool {
        match &self.rule {
            Rule::Majority => self.voters.intersection(servers).count() * 2 > self.voters.len(),
            Rule::Hierarchical(groups) => {
                let weighty = groups.values().filter(|group| group.total() > 0);
                let won =
                    weighty.clone().filter(|group| group.weight_of(servers) * 2 > group.total()).count();
                won * 2 > weighty.count()
            }
        }
    }
}

impl Group {
    // Wider than a weight, as others may tell us any.
    fn total(&self) -> u128 {
        self.weights.values().map(|weight| u128::from(*weight)).sum()
    }

    fn weight_of(&self, servers: &BTreeSet<ServerId>) -> u128 {
        let present = self.weights.iter().filter(|(server, _)| servers.contains(server));
        present.map(|(_, weight)| u128::from(*weight)).sum()
    }
}

/// The quorum in force and, while a change of membership is under way, the one that is to follow: then both must
/// agree.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct JointQuorum {
    current: Quorum,
    next: Option<Quorum>,
}

impl JointQuorum {
    /// One quorum, no change under way.
    #[must_use]
    pub fn new(current: Quorum) -> Self {
        Self { current, next: None }
    }

    /// Whether this server votes, now or after the change.
    #[must_use]
    pub fn has_voter(&self, server: ServerId) -> bool {
        self.current.voters.contains(&server)
            || self.next.as_ref().is_some_and(|next| next.voters.contains(&server))
    }

    /// Who votes, now or after the change.
    pub fn voters(&self) -> impl Iterator<Item = ServerId> {
        let next = self.next.iter().flat_map(|next| next.voters.difference(&self.current.voters));
        self.current.voters.iter().chain(next).copied()
    }

    /// What a server's vote for itself weighs; one that weighs nothing cannot lead.
    #[must_use]
    pub fn weight(&self, server: ServerId) -> u64 {
        self.current.weight(server)
    }

    /// The newest zxid that a quorum has, given what each server has.
    #[must_use]
    pub fn agreed(&self, acked: &BTreeMap<ServerId, Zxid>) -> Zxid {
        let agreed = self.current.agreed(acked);
        self.next.as_ref().map_or(agreed, |next| agreed.min(next.agreed(acked)))
    }

    /// Begins a change: from now on both quorums are needed.
    pub fn propose(&mut self, next: Quorum) {
        self.next = Some(next);
    }

    /// Ends a change: what was next is in force.
    pub fn activate(&mut self) {
        if let Some(next) = self.next.take() {
            self.current = next;
        }
    }

    /// Whether these servers may decide.
    #[must_use]
    pub fn is_quorum(&self, servers: &BTreeSet<ServerId>) -> bool {
        self.current.is_quorum(servers) && self.next.as_ref().is_none_or(|next| next.is_quorum(servers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[i64]) -> BTreeSet<ServerId> {
        ids.iter().copied().map(ServerId).collect()
    }

    #[test]
    fn a_majority_is_more_than_half_of_the_voters() {
        let quorum = Quorum::majority(ids(&[1, 2, 3, 4]));
        assert!(!quorum.is_quorum(&ids(&[1, 2])));
        assert!(quorum.is_quorum(&ids(&[1, 2, 4])));
        assert!(!quorum.is_quorum(&ids(&[1, 2, 9, 10])), "observers count for nothing");
        assert!(Quorum::solo(ServerId(7)).is_quorum(&ids(&[7])));
        assert!(!Quorum::solo(ServerId(7)).is_quorum(&ids(&[])));
    }

    #[test]
    fn groups_decide_by_weight_and_then_by_number() {
        let voters = ids(&[1, 2, 3, 4, 5, 6, 7]);
        let groups = BTreeMap::from([(1, ids(&[1, 2, 3])), (2, ids(&[4, 5, 6])), (3, ids(&[7]))]);
        let weights = BTreeMap::from([(ServerId(1), 3), (ServerId(7), 0)]);
        let quorum = Quorum::hierarchical(voters.clone(), &groups, &weights).unwrap();
        assert!(quorum.is_quorum(&ids(&[1, 4, 5])), "group 3 has no weight, so two groups are all");
        assert!(!quorum.is_quorum(&ids(&[2, 3, 4, 5, 6])), "2 of 5 is no majority of the weight in group 1");
        assert!(!quorum.is_quorum(&ids(&[1, 4])));

        let twice = BTreeMap::from([(1, ids(&[1, 2])), (2, ids(&[2]))]);
        assert!(matches!(
            Quorum::hierarchical(ids(&[1, 2]), &twice, &weights),
            Err(QuorumError::InTwoGroups { server: ServerId(2), first: 1, second: 2 })
        ));
        assert_eq!(
            Quorum::hierarchical(voters, &BTreeMap::new(), &weights),
            Err(QuorumError::InNoGroup(ServerId(1)))
        );
    }

    #[test]
    fn a_member_list_tells_the_quorum() {
        let of = |text: &str| Quorum::of(&Members::parse(text).unwrap());
        let servers = "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\nserver.4=d:1:2:observer";
        let majority = of(servers).unwrap();
        assert_eq!(majority, Quorum::majority(ids(&[1, 2, 3])));
        assert_eq!([1, 4, 9].map(|server| majority.weight(ServerId(server))), [1, 1, 1]);

        let grouped = of(&format!("{servers}\ngroup.1=1:2\ngroup.2=3\nweight.2=0\nweight.3=5")).unwrap();
        assert_eq!([1, 2, 3, 4, 9].map(|server| grouped.weight(ServerId(server))), [1, 0, 5, 0, 0]);
        assert!(grouped.is_quorum(&ids(&[1, 3])));
        assert!(!grouped.is_quorum(&ids(&[2, 3])));

        assert_eq!(of(&format!("{servers}\nweight.1=2")), Err(QuorumError::InNoGroup(ServerId(1))));
        let observer = of(&format!("{servers}\ngroup.1=1:2:3:4"));
        assert_eq!(observer, Err(QuorumError::NotAVoter { group: 1, server: ServerId(4) }));

        let heavy = format!("weight.1={0}\nweight.2={0}\nweight.3={0}", i64::MAX);
        let heavy = of(&format!("{servers}\ngroup.1=1:2:3\n{heavy}")).unwrap();
        assert!(heavy.is_quorum(&ids(&[1, 3])));
        assert!(!heavy.is_quorum(&ids(&[1])));
    }

    #[test]
    fn any_two_quorums_meet() {
        let voters = ids(&[1, 2, 3, 4, 5]);
        let groups = BTreeMap::from([(1, ids(&[1, 2])), (2, ids(&[3, 4])), (3, ids(&[5]))]);
        let weights = BTreeMap::from([(ServerId(2), 4)]);
        let rules =
            [Quorum::majority(voters.clone()), Quorum::hierarchical(voters, &groups, &weights).unwrap()];
        for quorum in rules {
            for a in 0..32_i64 {
                for b in 0..32_i64 {
                    let set =
                        |bits: i64| (0..5).filter(|i| bits >> i & 1 == 1).map(|i| ServerId(i + 1)).collect();
                    let (a, b): (BTreeSet<_>, BTreeSet<_>) = (set(a), set(b));
                    if quorum.is_quorum(&a) && quorum.is_quorum(&b) {
                        assert!(a.intersection(&b).next().is_some(), "{a:?} {b:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn while_membership_changes_both_quorums_are_needed() {
        let mut joint = JointQuorum::new(Quorum::majority(ids(&[1, 2, 3])));
        joint.propose(Quorum::majority(ids(&[3, 4, 5])));
        assert!(!joint.is_quorum(&ids(&[1, 2])));
        assert!(!joint.is_quorum(&ids(&[4, 5])));
        assert!(joint.is_quorum(&ids(&[1, 3, 4])));
        joint.activate();
        assert!(joint.is_quorum(&ids(&[4, 5])));
    }
}
