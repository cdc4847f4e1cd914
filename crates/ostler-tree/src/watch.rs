//! The watches of a lane's connections: two tables, one for data and one for children, as a client can tell them
//! apart. Which watches a change fires, in which order and how often, is decided here; who may read the node is for
//! the lane to ask. Answers to Java's `WatchManager` and the watch half of `DataTree`.

use std::collections::BTreeMap;

use ostler_wire::client::event::EventType;
use ostler_wire::client::read::WatcherType;
use ostler_wire::path;

use crate::acl::AclRef;
use crate::outcome::Change;

/// A connection, by a number that is never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// How many watches there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WatchCounts {
    /// Watches of both tables.
    pub all: usize,
    /// Paths in the data table. The commands that list watches know only this table.
    pub paths: usize,
    /// Connections in the data table.
    pub conns: usize,
    /// Watches in the data table.
    pub watches: usize,
}

/// Every watch of some connections.
#[derive(Debug, Default)]
pub struct WatchTable {
    data: Table,
    child: Table,
}

/// Ways in which one connection watches one path; several at once are possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Modes(u8);

const STANDARD: u8 = 1;
const PERSISTENT: u8 = 2;
const RECURSIVE: u8 = 4;
const ANY: u8 = 7;

#[derive(Debug, Default)]
struct Table {
    by_path: BTreeMap<Box<str>, BTreeMap<ConnId, Modes>>,
    by_conn: BTreeMap<ConnId, std::collections::BTreeSet<Box<str>>>,
    recursive: usize,
}

impl WatchTable {
    /// A one-shot watch on a node's data or existence.
    pub fn add_data(&mut self, conn: ConnId, path: &str) {
        self.data.add(conn, path, STANDARD);
    }

    /// A one-shot watch on a node's children.
    pub fn add_child(&mut self, conn: ConnId, path: &str) {
        self.child.add(conn, path, STANDARD);
    }

    /// A watch on a node and its children that stays.
    pub fn add_persistent(&mut self, conn: ConnId, path: &str) {
        self.data.add(conn, path, PERSISTENT);
        self.child.add(conn, path, PERSISTENT);
    }

    /// A watch on a node and everything below it that stays.
    pub fn add_recursive(&mut self, conn: ConnId, path: &str) {
        self.data.add(conn, path, RECURSIVE);
    }

    /// Whether a connection has such a watch on exactly this path (checkWatches).
    #[must_use]
    pub fn has(&self, conn: ConnId, path: &str, kind: WatcherType) -> bool {
        match kind {
            WatcherType::Children => self.child.has(conn, path, STANDARD),
            WatcherType::Data => self.data.has(conn, path, STANDARD),
            WatcherType::Persistent => self.data.has(conn, path, PERSISTENT),
            WatcherType::PersistentRecursive => self.data.has(conn, path, RECURSIVE),
            WatcherType::Any => self.child.has(conn, path, ANY) || self.data.has(conn, path, ANY),
        }
    }

    /// Removes a connection's watches of a kind from exactly this path; says whether there were any
    /// (removeWatches).
    pub fn remove(&mut self, conn: ConnId, path: &str, kind: WatcherType) -> bool {
        match kind {
            WatcherType::Children => self.child.remove(conn, path, STANDARD),
            WatcherType::Data => self.data.remove(conn, path, STANDARD),
            WatcherType::Persistent => {
                self.child.remove(conn, path, PERSISTENT) | self.data.remove(conn, path, PERSISTENT)
            }
            WatcherType::PersistentRecursive => self.data.remove(conn, path, RECURSIVE),
            WatcherType::Any => self.child.remove(conn, path, ANY) | self.data.remove(conn, path, ANY),
        }
    }

    /// Removes every watch of a connection.
    pub fn remove_conn(&mut self, conn: ConnId) {
        self.data.remove_conn(conn);
        self.child.remove_conn(conn);
    }

    /// Whether nobody watches anything, so that changes need not be looked at.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.data.by_path.is_empty() && self.child.by_path.is_empty()
    }

    /// How many watches there are.
    #[must_use]
    pub fn counts(&self) -> WatchCounts {
        let watches = self.data.watches();
        WatchCounts {
            all: watches + self.child.watches(),
            paths: self.data.by_path.len(),
            conns: self.data.by_conn.len(),
            watches,
        }
    }

    /// The data table, path by path.
    pub fn by_path(&self) -> impl Iterator<Item = (&str, impl Iterator<Item = ConnId>)> {
        self.data.by_path.iter().map(|(path, conns)| (path.as_ref(), conns.keys().copied()))
    }

    /// The data table, connection by connection.
    pub fn by_conn(&self) -> impl Iterator<Item = (ConnId, impl Iterator<Item = &str>)> {
        self.data.by_conn.iter().map(|(conn, paths)| (*conn, paths.iter().map(AsRef::as_ref)))
    }

    /// Hands out the events of a change in order, with the list on which READ is needed to get one, and uses up
    /// the one-shot watches among those that fired.
    pub fn fire(&mut self, change: &Change, deliver: &mut dyn FnMut(ConnId, EventType, &str, &AclRef)) {
        if self.is_empty() {
            return;
        }
        let path = &*change.path;
        let told = self.data.trigger(path);
        for conn in &told {
            deliver(*conn, change.kind, path, &change.acl);
        }
        if change.kind == EventType::NodeDeleted {
            for conn in self.child.trigger(path) {
                if told.binary_search(&conn).is_err() {
                    deliver(conn, change.kind, path, &change.acl);
                }
            }
        }
        if let Some(parent_acl) = &change.parent_acl {
            let parent = path::parent(path);
            for conn in self.child.trigger(parent) {
                deliver(conn, EventType::NodeChildrenChanged, parent, parent_acl);
            }
        }
    }
}

impl Table {
    fn add(&mut self, conn: ConnId, path: &str, mode: u8) {
        if !self.by_path.contains_key(path) {
            self.by_path.insert(path.into(), BTreeMap::new());
        }
        let conns = self.by_path.get_mut(path).expect("one was just made sure of");
        let modes = conns.entry(conn).or_default();
        if modes.0 == 0 {
            self.by_conn.entry(conn).or_default().insert(path.into());
        }
        if mode & !modes.0 & RECURSIVE != 0 {
            self.recursive += 1;
        }
        modes.0 |= mode;
    }

    fn has(&self, conn: ConnId, path: &str, modes: u8) -> bool {
        self.by_path.get(path).and_then(|conns| conns.get(&conn)).is_some_and(|have| have.0 & modes != 0)
    }

    fn remove(&mut self, conn: ConnId, path: &str, modes: u8) -> bool {
        let Some(conns) = self.by_path.get_mut(path) else { return false };
        let Some(have) = conns.get_mut(&conn) else { return false };
        let removed = have.0 & modes;
        have.0 &= !modes;
        if removed & RECURSIVE != 0 {
            self.recursive -= 1;
        }
        if have.0 == 0 {
            conns.remove(&conn);
            if conns.is_empty() {
                self.by_path.remove(path);
            }
            self.forget(conn, path);
        }
        removed != 0
    }

    fn remove_conn(&mut self, conn: ConnId) {
        for path in self.by_conn.remove(&conn).unwrap_or_default() {
            let Some(conns) = self.by_path.get_mut(&path) else { continue };
            if conns.remove(&conn).is_some_and(|modes| modes.0 & RECURSIVE != 0) {
                self.recursive -= 1;
            }
            if conns.is_empty() {
                self.by_path.remove(&path);
            }
        }
    }

    fn watches(&self) -> usize {
        self.by_path.values().map(BTreeMap::len).sum()
    }

    /// Who watches a path, sorted: in any way itself, or recursively from above. One-shot watches are used up.
    fn trigger(&mut self, path: &str) -> Vec<ConnId> {
        let mut told: Vec<ConnId> =
            self.by_path.get(path).map(|conns| conns.keys().copied().collect()).unwrap_or_default();
        for conn in &told {
            self.use_up(*conn, path);
        }
        if self.recursive > 0 {
            let mut at = path;
            while at != path::ROOT {
                at = path::parent(at);
                let conns = self.by_path.get(at).into_iter().flatten();
                told.extend(conns.filter(|(_, modes)| modes.0 & RECURSIVE != 0).map(|(conn, _)| *conn));
            }
            told.sort_unstable();
            told.dedup();
        }
        told
    }

    /// Removes a one-shot watch that fired. The connection stays listed, if without paths, until it closes or asks
    /// for a watch to be removed; the commands that count connections count it.
    fn use_up(&mut self, conn: ConnId, path: &str) {
        self.remove(conn, path, STANDARD);
        self.by_conn.entry(conn).or_default();
    }

    fn forget(&mut self, conn: ConnId, path: &str) {
        if let Some(paths) = self.by_conn.get_mut(&conn) {
            paths.remove(path);
            if paths.is_empty() {
                self.by_conn.remove(&conn);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use EventType::{NodeChildrenChanged, NodeCreated, NodeDataChanged, NodeDeleted};
    use ostler_wire::Zxid;

    use super::*;

    const A: ConnId = ConnId(1);
    const B: ConnId = ConnId(2);

    fn fire(table: &mut WatchTable, kind: EventType, path: &str) -> Vec<(u64, EventType, String)> {
        let parent_acl = (kind != NodeDataChanged).then_some(None);
        let change = Change { zxid: Zxid(1), kind, path: path.into(), acl: None, parent_acl };
        let mut events = Vec::new();
        table.fire(&change, &mut |conn, kind, path, _| events.push((conn.0, kind, path.to_owned())));
        events
    }

    #[test]
    fn one_shot_watches_fire_once() {
        let mut table = WatchTable::default();
        table.add_data(A, "/a");
        table.add_data(A, "/a");
        table.add_data(B, "/a");
        assert_eq!(
            fire(&mut table, NodeCreated, "/a"),
            [(1, NodeCreated, "/a".into()), (2, NodeCreated, "/a".into())]
        );
        assert_eq!(fire(&mut table, NodeDataChanged, "/a"), []);
        assert!(table.is_empty());
        // As in Java, the connections are still counted.
        assert_eq!(table.counts(), WatchCounts { all: 0, paths: 0, conns: 2, watches: 0 });
        table.remove_conn(A);
        table.remove_conn(B);
        assert_eq!(table.counts(), WatchCounts::default());
    }

    #[test]
    fn a_deletion_is_told_once_and_to_watchers_of_children_too() {
        let mut table = WatchTable::default();
        table.add_data(A, "/a");
        table.add_child(A, "/a");
        table.add_child(B, "/a");
        table.add_child(B, "/");
        assert_eq!(
            fire(&mut table, NodeDeleted, "/a"),
            [
                (1, NodeDeleted, "/a".into()),
                (2, NodeDeleted, "/a".into()),
                (2, NodeChildrenChanged, "/".into())
            ]
        );
        assert!(table.is_empty());
    }

    #[test]
    fn persistent_watches_stay() {
        let mut table = WatchTable::default();
        table.add_persistent(A, "/a");
        for _ in 0..2 {
            assert_eq!(fire(&mut table, NodeCreated, "/a"), [(1, NodeCreated, "/a".into())]);
            assert_eq!(fire(&mut table, NodeDataChanged, "/a"), [(1, NodeDataChanged, "/a".into())]);
            assert_eq!(fire(&mut table, NodeCreated, "/a/b"), [(1, NodeChildrenChanged, "/a".into())]);
            assert_eq!(fire(&mut table, NodeDataChanged, "/a/b"), []);
            assert_eq!(fire(&mut table, NodeDeleted, "/a"), [(1, NodeDeleted, "/a".into())]);
        }
    }

    #[test]
    fn recursive_watches_cover_what_is_below() {
        let mut table = WatchTable::default();
        table.add_recursive(A, "/");
        table.add_recursive(A, "/a");
        table.add_data(A, "/a/b");
        table.add_child(A, "/a");
        assert_eq!(
            fire(&mut table, NodeCreated, "/a/b"),
            [(1, NodeCreated, "/a/b".into()), (1, NodeChildrenChanged, "/a".into())]
        );
        assert!(!table.has(A, "/a/b", WatcherType::Data) && !table.has(A, "/a", WatcherType::Children));
        assert_eq!(fire(&mut table, NodeDeleted, "/a/b"), [(1, NodeDeleted, "/a/b".into())]);
        assert_eq!(fire(&mut table, NodeDataChanged, "/"), [(1, NodeDataChanged, "/".into())]);
        assert_eq!(fire(&mut table, NodeDataChanged, "/ab"), [(1, NodeDataChanged, "/ab".into())]);
        assert!(table.remove(A, "/", WatcherType::PersistentRecursive));
        assert_eq!(fire(&mut table, NodeDataChanged, "/ab"), []);
        table.remove_conn(A);
        assert_eq!((table.data.recursive, table.is_empty()), (0, true));
    }

    #[test]
    fn kinds_are_found_and_removed_apart() {
        let mut table = WatchTable::default();
        table.add_data(A, "/a");
        table.add_child(A, "/a");
        table.add_persistent(A, "/a");
        table.add_recursive(A, "/a");
        assert_eq!(table.counts(), WatchCounts { all: 2, paths: 1, conns: 1, watches: 1 });
        for kind in [
            WatcherType::Children,
            WatcherType::Data,
            WatcherType::Persistent,
            WatcherType::PersistentRecursive,
        ] {
            assert!(table.has(A, "/a", kind) && !table.has(B, "/a", kind) && !table.has(A, "/", kind));
            assert!(!table.remove(B, "/a", kind) && table.remove(A, "/a", kind), "{kind:?}");
            assert!(!table.has(A, "/a", kind) && !table.remove(A, "/a", kind));
        }
        assert!(table.is_empty() && !table.has(A, "/a", WatcherType::Any));
        table.add_child(A, "/a");
        table.add_recursive(A, "/a");
        assert!(table.has(A, "/a", WatcherType::Any) && table.remove(A, "/a", WatcherType::Any));
        assert!(table.is_empty() && !table.remove(A, "/a", WatcherType::Any));
        assert_eq!(table.counts(), WatchCounts::default());
    }

    #[test]
    fn both_tables_can_be_listed() {
        let mut table = WatchTable::default();
        table.add_data(B, "/b");
        table.add_recursive(A, "/b");
        table.add_data(A, "/a");
        table.add_child(A, "/c");
        let by_path: Vec<_> =
            table.by_path().map(|(path, conns)| (path, conns.collect::<Vec<_>>())).collect();
        assert_eq!(by_path, [("/a", vec![A]), ("/b", vec![A, B])]);
        let by_conn: Vec<_> =
            table.by_conn().map(|(conn, paths)| (conn, paths.collect::<Vec<_>>())).collect();
        assert_eq!(by_conn, [(A, vec!["/a", "/b"]), (B, vec!["/b"])]);
    }
}
