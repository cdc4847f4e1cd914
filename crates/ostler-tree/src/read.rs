//! Reads: answered from the applied state, without allocating but for what is handed out. Paths are not validated:
//! one that is malformed names no node. Answers to the reads of Java's `FinalRequestProcessor`.

use ostler_wire::acl::perms;
use ostler_wire::{Acl, Code, Id, SessionId, Stat};

use crate::acl;
use crate::owner::Lifetime;
use crate::store::Store;
use crate::tree::{ROOT, Tree};

/// The names of a node's children, in an order of no meaning.
#[derive(Clone, Copy)]
pub struct Children<'a> {
    tree: &'a Tree,
    id: u32,
}

impl<'a> Children<'a> {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tree.child_count(self.id)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a str> + use<'a> {
        let tree = self.tree;
        tree.children(self.id).map(|id| tree.node(id).name())
    }
}

impl std::fmt::Debug for Children<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Store {
    /// The Stat of a node (exists).
    pub fn exists(&self, path: &str, ids: &[Id]) -> Result<Stat, Code> {
        if path.contains('\0') {
            return Err(Code::BadArguments);
        }
        let id = self.readable(path, ids)?;
        Ok(self.stat(id))
    }

    /// The data of a node, `None` for null, and its Stat (getData).
    pub fn data(&self, path: &str, ids: &[Id]) -> Result<(Option<&[u8]>, Stat), Code> {
        let id = self.readable(path, ids)?;
        Ok((self.tree.node(id).data(), self.stat(id)))
    }

    /// The children of a node and its Stat (getChildren, getChildren2).
    pub fn children(&self, path: &str, ids: &[Id]) -> Result<(Children<'_>, Stat), Code> {
        let id = self.readable(path, ids)?;
        Ok((Children { tree: &self.tree, id }, self.stat(id)))
    }

    /// The list of a node and its Stat (getACL); without ADMIN the hashes in it are hidden.
    pub fn acl(&self, path: &str, ids: &[Id]) -> Result<(Vec<Acl>, Stat), Code> {
        let id = self.tree.find(path).ok_or(Code::NoNode)?;
        self.permit(id, perms::READ | perms::ADMIN, ids)?;
        let list = acl::entries(&self.acl_of(id));
        let list = if self.permit(id, perms::ADMIN, ids).is_ok() { list } else { acl::mask(&list) };
        Ok((list, self.stat(id)))
    }

    /// How many nodes are below a node, at any depth (getAllChildrenNumber).
    pub fn all_children_number(&self, path: &str, ids: &[Id]) -> Result<i32, Code> {
        let id = self.readable(path, ids)?;
        let count = match (id, path) {
            // Java finds the root's second name below its first.
            (ROOT, "") => self.tree.len(),
            (ROOT, _) => self.tree.len() - 1,
            _ => self.tree.subtree(id).count() - 1,
        };
        Ok(i32::try_from(count).unwrap_or(i32::MAX))
    }

    /// The ephemerals of a session whose paths begin with a text; without one, or with a blank one or `/`, all.
    #[must_use]
    pub fn ephemerals_under(&self, session: SessionId, prefix: Option<&str>) -> Vec<String> {
        // Java trims what it compares with "/", and by its own idea of white space, but not what it then looks for.
        let blank = |text: &str| matches!(text.trim_matches(|c| c <= ' '), "" | "/");
        let prefix = prefix.filter(|text| !blank(text)).unwrap_or_default();
        let paths = self.ephemerals.get(&session).into_iter().flatten();
        paths.filter(|path| path.starts_with(prefix)).map(|path| path.to_string()).collect()
    }

    /// The Stat of a node whoever asks, for setWatches, which compares zxids and checks no list.
    #[must_use]
    pub fn peek(&self, path: &str) -> Option<Stat> {
        self.tree.find(path).map(|id| self.stat(id))
    }

    /// The list of a node whoever asks, `None` if there is no such node.
    #[must_use]
    pub fn peek_acl(&self, path: &str) -> Option<acl::AclRef> {
        self.tree.find(path).map(|id| self.acl_of(id))
    }

    /// The containers and TTL nodes that may go now, for which the reaper is to ask one by one.
    #[must_use]
    pub fn expired_containers(&self, wall_ms: i64, max_never_used_ms: i64) -> Vec<String> {
        let containers = self.containers.iter().filter(|path| {
            self.leaf_stat(path).is_some_and(|stat| {
                stat.cversion > 0
                    || max_never_used_ms > 0 && wall_ms.wrapping_sub(stat.mtime) > max_never_used_ms
            })
        });
        let ttls = self.ttls.iter().filter(|path| {
            self.leaf_stat(path).is_some_and(|stat| match self.lifetime(stat.ephemeral_owner) {
                Lifetime::Ttl(ttl_ms) => ttl_ms != 0 && wall_ms.wrapping_sub(stat.mtime) > ttl_ms,
                Lifetime::Persistent | Lifetime::Session(_) | Lifetime::Container => false,
            })
        });
        containers.chain(ttls).map(|path| path.to_string()).collect()
    }

    /// What clients see of a node's bookkeeping.
    pub(crate) fn stat(&self, id: u32) -> Stat {
        let node = self.tree.node(id);
        let stat = self.tree.stat(id);
        let children = i32::try_from(self.tree.child_count(id)).unwrap_or(i32::MAX);
        Stat {
            czxid: stat.czxid,
            mzxid: stat.mzxid,
            ctime: stat.ctime,
            mtime: stat.mtime,
            version: stat.version,
            // Only creations are stored; with each deletion a child is missing.
            cversion: stat.cversion.wrapping_mul(2).wrapping_sub(children),
            aversion: stat.aversion,
            ephemeral_owner: self.lifetime(stat.ephemeral_owner).reported(),
            data_length: i32::try_from(node.data_len()).unwrap_or(i32::MAX),
            num_children: children,
            pzxid: stat.pzxid,
        }
    }

    fn readable(&self, path: &str, ids: &[Id]) -> Result<u32, Code> {
        let id = self.tree.find(path).ok_or(Code::NoNode)?;
        self.permit(id, perms::READ, ids)?;
        Ok(id)
    }

    fn leaf_stat(&self, path: &str) -> Option<ostler_wire::disk::StatPersisted> {
        let id = self.tree.find(path)?;
        (self.tree.child_count(id) == 0).then(|| self.tree.stat(id))
    }
}
