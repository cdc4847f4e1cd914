//! What the generator believes about the servers: which nodes exist, which sessions live, who is connected where.
//!
//! It is told by the first server's replies, and only steers the dice. A wrong belief costs a less telling request,
//! never a wrong comparison.

use std::collections::BTreeMap;

/// How many connections a segment plays with.
pub(crate) const SLOTS: usize = 6;

/// The connection that holds the super identity and repairs what the others lock up.
pub(crate) const SUPER_SLOT: usize = 0;

/// A session that was created.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    /// False once it was closed.
    pub(crate) alive: bool,
    /// The connection that it is bound to.
    pub(crate) slot: Option<usize>,
}

/// One open connection.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    /// Index of its session.
    pub(crate) session: usize,
    /// Steps since it was last used.
    pub(crate) idle: u32,
}

/// The generator's beliefs.
#[derive(Debug, Default)]
pub(crate) struct Model {
    paths: Vec<String>,
    ephemerals: BTreeMap<String, usize>,
    /// Open connections.
    pub(crate) slots: [Option<Slot>; SLOTS],
    /// All sessions of this segment in order of creation.
    pub(crate) sessions: Vec<Session>,
    /// The newest zxid seen in a reply.
    pub(crate) zxid: i64,
    /// Cleared when somebody changed the root's access list.
    pub(crate) root_open: bool,
}

impl Model {
    /// Nodes believed to exist, `/` and the built-in ones not counted.
    pub(crate) fn paths(&self) -> &[String] {
        &self.paths
    }

    /// A node was created.
    pub(crate) fn add_path(&mut self, path: String, ephemeral_of: Option<usize>) {
        if let Some(session) = ephemeral_of {
            self.ephemerals.insert(path.clone(), session);
        }
        // Quota trees are aimed at on purpose; as plain targets they would crowd out the rest.
        if !super::requests::is_quota_area(Some(path.as_bytes())) && !self.paths.contains(&path) {
            self.paths.push(path);
        }
    }

    /// A node is gone, or was never there.
    pub(crate) fn remove_path(&mut self, path: &str) {
        self.ephemerals.remove(path);
        if let Some(index) = self.paths.iter().position(|known| known == path) {
            self.paths.swap_remove(index);
        }
    }

    /// A session was closed: its ephemerals are gone.
    pub(crate) fn close_session(&mut self, session: usize) {
        self.sessions[session].alive = false;
        let gone: Vec<String> = self
            .ephemerals
            .iter()
            .filter(|(_, owner)| **owner == session)
            .map(|(path, _)| path.clone())
            .collect();
        for path in gone {
            self.remove_path(&path);
        }
    }

    /// A connection is gone; its session may live on.
    pub(crate) fn drop_slot(&mut self, slot: usize) {
        if let Some(old) = self.slots[slot].take() {
            self.sessions[old.session].slot = None;
        }
    }

    /// A connection was bound to a session; whatever connection had it before is gone.
    pub(crate) fn bind(&mut self, slot: usize, session: usize) {
        self.drop_slot(slot);
        if let Some(before) = self.sessions[session].slot {
            self.slots[before] = None;
        }
        self.sessions[session].slot = Some(slot);
        self.slots[slot] = Some(Slot { session, idle: 0 });
    }
}
