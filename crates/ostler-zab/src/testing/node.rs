//! A server of the world: its disk, and while it runs its peer and a stub of the node above the peer, which applies
//! what is committed and knows of it only the order.

use std::collections::{BTreeMap, VecDeque};

use super::disk::{Disk, Pending};
use super::net::Dial;
use crate::{LinkId, Peer, Proposal, Standing};

/// A server, running or not.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Node {
    pub(super) disk: Disk,
    pub(super) running: Option<Box<Running>>,
    /// How many links it has dialed in all its lives.
    pub(super) dialed: u64,
}

/// What is lost when it stops.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Running {
    pub(super) peer: Peer,
    pub(super) pending: Pending,
    pub(super) dials: VecDeque<Dial>,
    /// Trees that arrived and are held aside.
    pub(super) held: BTreeMap<LinkId, Vec<Proposal>>,
    /// The tree: as much of the log as was committed here.
    pub(super) applied: Vec<Proposal>,
    pub(super) standing: Standing,
}

impl Running {
    pub(super) fn is_serving(&self) -> bool {
        self.standing != Standing::Looking
    }

    pub(super) fn is_leading(&self) -> bool {
        matches!(self.standing, Standing::Leading { .. })
    }
}
