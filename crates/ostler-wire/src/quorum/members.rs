//! The members of an ensemble and their text form, which is gossiped, stored in `/zookeeper/config` and written to
//! dynamic configuration files.

use std::collections::BTreeMap;

use crate::ServerId;

/// All members and what makes a quorum of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Members {
    /// Counts the changes of membership: the zxid of the change; 0 if there was none.
    pub version: i64,
    /// The members by id.
    pub servers: BTreeMap<ServerId, Member>,
    /// `group.G`: the voters by group; empty if a simple majority decides.
    pub groups: BTreeMap<i64, Vec<ServerId>>,
    /// `weight.N`; a voter that is not here weighs 1.
    pub weights: BTreeMap<ServerId, u64>,
}

/// One `server.N`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Where the others reach it; never empty.
    pub addresses: Vec<PeerAddress>,
    /// Does it vote?
    pub role: MemberRole,
    /// Where it listens to clients, host and port, if the line says so.
    pub client: Option<(String, u16)>,
}

/// One of the addresses at which a member meets the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerAddress {
    /// A name or an address without brackets.
    pub host: String,
    /// Where learners connect to it while it leads.
    pub quorum_port: u16,
    /// Where votes are exchanged.
    pub election_port: u16,
}

/// Does a member vote?
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MemberRole {
    /// It votes.
    #[default]
    Participant,
    /// It follows.
    Observer,
}

impl Members {
    /// Who votes.
    pub fn voters(&self) -> impl Iterator<Item = ServerId> {
        self.servers.iter().filter(|(_, member)| member.role == MemberRole::Participant).map(|(id, _)| *id)
    }
}
