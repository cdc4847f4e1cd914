//! The znodes and how they hang together, with the digest that every change of one moves. Paths are walked name
//! by name; the children of a node are a sorted set of hash and id, which grows without stalls and can be resumed
//! at any key. Answers to the inner half of Java's `DataTree` and to `NodeHashMapImpl`; what a transaction means is
//! not for here.

use std::hash::{BuildHasher, Hasher};

use foldhash::quality::FixedState;
use ostler_wire::disk::StatPersisted;

use crate::arena::Slab;
use crate::digest;
use crate::key_set::KeySet;
use crate::node::{Family, NONE, Node, Written};

/// The id of the root.
pub(crate) const ROOT: u32 = 0;

/// A tree that has at least its root.
#[derive(Debug)]
pub(crate) struct Tree {
    nodes: Slab<Node>,
    written: Slab<Written>,
    families: Slab<Family>,
    live: usize,
    hasher: FixedState,
    digest_enabled: bool,
    digest: u64,
}

impl Tree {
    /// A tree of nothing but a root.
    pub(crate) fn new(
        root_data: Option<&[u8]>,
        root_acl: u32,
        root_stat: &StatPersisted,
        seed: u64,
        digest_enabled: bool,
    ) -> Self {
        let mut tree = Self {
            nodes: Slab::default(),
            written: Slab::default(),
            families: Slab::default(),
            live: 1,
            hasher: FixedState::with_seed(seed),
            digest_enabled,
            digest: 0,
        };
        let mut root = Node::new(ROOT, "", root_data, root_acl, root_stat, digest_enabled);
        if digest_enabled {
            root.crc = digest::prefix("", root_data);
        }
        tree.digest = root.digest(root_stat);
        tree.nodes.insert(root);
        tree.write_records(ROOT, root_stat);
        tree
    }

    /// How many nodes there are.
    pub(crate) fn len(&self) -> usize {
        self.live
    }

    /// The sum of the digests of all nodes.
    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }

    /// The node of a valid id.
    pub(crate) fn node(&self, id: u32) -> &Node {
        self.nodes.at(id)
    }

    /// The bookkeeping of a node.
    pub(crate) fn stat(&self, id: u32) -> StatPersisted {
        let node = self.node(id);
        let written = (node.written != NONE).then(|| self.written.at(node.written));
        node.stat(written, self.family(node))
    }

    /// What a node adds to the digest.
    pub(crate) fn digest_of(&self, id: u32) -> u64 {
        self.node(id).digest(&self.stat(id))
    }

    /// The node at a path; the empty path is the root's, too.
    pub(crate) fn find(&self, path: &str) -> Option<u32> {
        let Some(names) = path.strip_prefix('/') else {
            return path.is_empty().then_some(ROOT);
        };
        if names.is_empty() {
            return Some(ROOT);
        }
        // By bytes, which is quicker for short names; a slash is no part of another character.
        names.as_bytes().split(|byte| *byte == b'/').try_fold(ROOT, |id, name| self.child(id, name))
    }

    /// The child of this name.
    pub(crate) fn child(&self, parent: u32, name: &[u8]) -> Option<u32> {
        let low = self.key(name, 0);
        self.set(parent)?
            .at_or_above(low)
            .take_while(|key| *key <= low | u64::from(u32::MAX))
            .map(id_of)
            .find(|id| self.node(*id).name_bytes() == name)
    }

    /// How many children a node has.
    pub(crate) fn child_count(&self, id: u32) -> usize {
        self.set(id).map_or(0, KeySet::len)
    }

    /// The children of a node, in an order of no meaning.
    pub(crate) fn children(&self, id: u32) -> impl ExactSizeIterator<Item = u32> + Clone + use<'_> {
        self.set(id).map(KeySet::iter).unwrap_or_default().map(id_of)
    }

    /// The children of a node from a key on, each with the key from which to go on behind it.
    pub(crate) fn children_from(&self, id: u32, key: u64) -> impl Iterator<Item = (u32, u64)> + use<'_> {
        self.set(id).into_iter().flat_map(move |set| set.at_or_above(key)).map(|key| (id_of(key), key + 1))
    }

    /// Every node from this one down, parents first.
    pub(crate) fn subtree(&self, top: u32) -> impl Iterator<Item = u32> + use<'_> {
        let mut stack = vec![top];
        std::iter::from_fn(move || {
            let id = stack.pop()?;
            stack.extend(self.children(id));
            Some(id)
        })
    }

    /// The path of a node; the root's is empty.
    pub(crate) fn path(&self, id: u32) -> String {
        let mut ids = Vec::new();
        let mut at = id;
        while at != ROOT {
            ids.push(at);
            at = self.node(at).parent;
        }
        let mut path = String::new();
        for id in ids.into_iter().rev() {
            path.push('/');
            path.push_str(self.node(id).name());
        }
        path
    }

    /// Hangs a new node below `parent`, which must not have a child of this name. `path` is the whole path.
    pub(crate) fn insert(
        &mut self,
        parent: u32,
        path: &str,
        name: &str,
        data: Option<&[u8]>,
        acl: u32,
        stat: &StatPersisted,
    ) -> u32 {
        let digested = self.digest_enabled && digest::covers(path);
        let mut node = Node::new(parent, name, data, acl, stat, digested);
        if digested {
            node.crc = digest::prefix(path, data);
        }
        self.digest = self.digest.wrapping_add(node.digest(stat));
        let id = self.nodes.insert(node);
        self.write_records(id, stat);
        let key = self.key(name.as_bytes(), id);
        self.make_family(parent).children.insert(key);
        self.live += 1;
        id
    }

    /// Takes off a node that has no children and is not the root.
    pub(crate) fn remove(&mut self, id: u32) -> Node {
        assert!(id != ROOT && self.child_count(id) == 0, "callers take leaves");
        self.digest = self.digest.wrapping_sub(self.digest_of(id));
        let node = self.nodes.take(id);
        if node.written != NONE {
            self.written.take(node.written);
        }
        if node.family != NONE {
            self.families.take(node.family);
        }
        let key = self.key(node.name_bytes(), id);
        self.make_family(node.parent).children.remove(key);
        self.live -= 1;
        node
    }

    /// Changes the bookkeeping of a node.
    pub(crate) fn change_stat(&mut self, id: u32, change: impl FnOnce(&mut StatPersisted)) {
        self.change(id, |_| {}, change);
    }

    /// Replaces the data of the node at `path` (empty for the root), and changes its bookkeeping.
    pub(crate) fn set_data(
        &mut self,
        id: u32,
        path: &str,
        data: Option<&[u8]>,
        change: impl FnOnce(&mut StatPersisted),
    ) {
        let replace = |node: &mut Node| {
            node.set_data(data);
            if node.is_digested() {
                node.crc = digest::prefix(path, data);
            }
        };
        self.change(id, replace, change);
    }

    /// Changes a node and its bookkeeping, and moves the digest once for both.
    fn change(
        &mut self,
        id: u32,
        change_node: impl FnOnce(&mut Node),
        change_stat: impl FnOnce(&mut StatPersisted),
    ) {
        let mut stat = self.stat(id);
        let node = self.nodes.at_mut(id);
        let before = node.digest(&stat);
        change_node(node);
        change_stat(&mut stat);
        node.set_stat(&stat);
        let after = node.digest(&stat);
        self.digest = self.digest.wrapping_sub(before).wrapping_add(after);
        self.write_records(id, &stat);
    }

    /// Replaces the handle of a node's list and yields the old one.
    pub(crate) fn set_acl(&mut self, id: u32, acl: u32) -> u32 {
        std::mem::replace(&mut self.nodes.at_mut(id).acl, acl)
    }

    fn set(&self, id: u32) -> Option<&KeySet> {
        self.family(self.node(id)).map(|family| &family.children)
    }

    fn family(&self, node: &Node) -> Option<&Family> {
        (node.family != NONE).then(|| self.families.at(node.family))
    }

    /// Puts the bookkeeping of a node into the records that it has or needs.
    fn write_records(&mut self, id: u32, stat: &StatPersisted) {
        let node = self.nodes.at_mut(id);
        match (node.written, Written::of(stat)) {
            (NONE, None) => {}
            (NONE, Some(written)) => node.written = self.written.insert(written),
            (at, Some(written)) => *self.written.at_mut(at) = written,
            (at, None) => {
                self.written.take(at);
                node.written = NONE;
            }
        }
        if node.family != NONE || Family::is_needed(stat) {
            self.make_family(id).set_stat(stat);
        }
    }

    /// The record of a node's children, from now on if there was none.
    fn make_family(&mut self, id: u32) -> &mut Family {
        if self.node(id).family == NONE {
            let mut family = Family::default();
            family.set_stat(&self.stat(id));
            self.nodes.at_mut(id).family = self.families.insert(family);
        }
        self.families.at_mut(self.nodes.at(id).family)
    }

    #[expect(clippy::cast_possible_truncation, reason = "half of the hash is enough to sort by")]
    fn key(&self, name: &[u8], id: u32) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(name);
        u64::from(hasher.finish() as u32) << 32 | u64::from(id)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is the id")]
fn id_of(key: u64) -> u32 {
    key as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree {
        Tree::new(Some(b""), 0, &StatPersisted::default(), 7, true)
    }

    fn add(tree: &mut Tree, path: &str) -> u32 {
        let (parent, name) = path.rsplit_once('/').unwrap();
        let parent = tree.find(parent).unwrap();
        tree.insert(parent, path, name, Some(path.as_bytes()), 0, &StatPersisted::default())
    }

    #[test]
    fn paths_lead_to_nodes() {
        let mut tree = tree();
        let a = add(&mut tree, "/a");
        let b = add(&mut tree, "/a/b");
        let c = add(&mut tree, "/a/c");
        assert_eq!((tree.find("/"), tree.find("")), (Some(ROOT), Some(ROOT)));
        assert_eq!((tree.find("/a"), tree.find("/a/b"), tree.find("/a/c")), (Some(a), Some(b), Some(c)));
        for missing in ["a", "/b", "/a/", "//", "//a", "/a//b", "/a/b/c", "/ab"] {
            assert_eq!(tree.find(missing), None, "{missing}");
        }
        assert_eq!((tree.path(b), tree.path(ROOT)), ("/a/b".into(), String::new()));
        assert_eq!((tree.len(), tree.child_count(a), tree.subtree(a).count()), (4, 2, 3));
    }

    #[test]
    fn names_with_one_hash_are_told_apart() {
        let mut tree = tree();
        let mut by_hash = std::collections::BTreeMap::new();
        let (one, two) = (0..)
            .find_map(|i: u32| {
                let name = i.to_string();
                Some((by_hash.insert(tree.key(name.as_bytes(), 0), name.clone())?, name))
            })
            .unwrap();
        let one_id = add(&mut tree, &format!("/{one}"));
        assert_eq!(tree.child(ROOT, two.as_bytes()), None);
        let two_id = add(&mut tree, &format!("/{two}"));
        assert_eq!(
            (tree.child(ROOT, one.as_bytes()), tree.child(ROOT, two.as_bytes())),
            (Some(one_id), Some(two_id))
        );
        tree.remove(one_id);
        assert_eq!(
            (tree.child(ROOT, one.as_bytes()), tree.child(ROOT, two.as_bytes())),
            (None, Some(two_id))
        );
    }

    #[test]
    fn removing_undoes_inserting() {
        let mut tree = tree();
        let before = tree.digest();
        let a = add(&mut tree, "/a");
        let b = add(&mut tree, "/a/b");
        assert_ne!(tree.digest(), before);
        tree.remove(b);
        tree.remove(a);
        assert_eq!((tree.digest(), tree.len(), tree.child_count(ROOT)), (before, 1, 0));
    }
}
