//! A snapshot in memory, as a tree that the tools walk. Children come in the order of the file; Java's tools show them
//! in the order of a Java hash set.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result};
use ostler_store::disk::Dir;
use ostler_store::names::{self, Named};
use ostler_store::snapshot::{self, Limits, SnapshotInfo, SnapshotVisitor};
use ostler_wire::disk::StatPersisted;
use ostler_wire::{Acl, SessionId};

use crate::files::Folder;
use crate::java::hash_order;

/// What a snapshot holds.
#[derive(Debug)]
pub(super) struct Content {
    /// The file and the zxid in its name.
    pub(super) named: Named,
    /// What it says of itself.
    pub(super) info: SnapshotInfo,
    /// Sessions and their timeouts in milliseconds, in the order of the file.
    pub(super) sessions: Vec<(SessionId, i32)>,
    /// The table of ACLs.
    pub(super) acls: HashMap<i64, Vec<Acl>>,
    nodes: Vec<Node>,
    by_path: HashMap<String, usize>,
}

/// A node of it.
#[derive(Debug)]
pub(super) struct Node {
    /// Its name; "" for the root.
    pub(super) name: String,
    pub(super) data: Option<Vec<u8>>,
    pub(super) acl_id: i64,
    pub(super) stat: StatPersisted,
    children: Vec<usize>,
}

/// In which order children are walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// As Java's tools print them.
    Java,
    /// By name.
    Name,
}

/// Reads a snapshot whole, or says what is wrong with it.
pub(super) fn read(path: &Path) -> Result<Content> {
    let (folder, file) = Folder::of_file(path, Dir::Snap)?;
    read_named(&folder, names::given_snapshot(file)).with_context(|| path.display().to_string())
}

fn read_named(folder: &Folder, named: Named) -> Result<Content> {
    let mut content = Content {
        named: named.clone(),
        info: SnapshotInfo::default(),
        sessions: Vec::new(),
        acls: HashMap::new(),
        nodes: Vec::new(),
        by_path: HashMap::new(),
    };
    content.info = snapshot::read(folder, &named, Limits::default(), &mut content)?;
    Ok(content)
}

impl Content {
    /// How many nodes there are.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The node of this path, "/" for the root.
    pub(super) fn find(&self, path: &str) -> Option<usize> {
        self.by_path.get(if path == "/" { "" } else { path }).copied()
    }

    pub(super) fn node(&self, id: usize) -> &Node {
        &self.nodes[id]
    }

    /// Its children.
    pub(super) fn children(&self, id: usize, order: Order) -> Vec<usize> {
        let mut children = self.nodes[id].children.clone();
        match order {
            // Java gives a set of children eight buckets at first.
            Order::Java => {
                hash_order::sort(&mut children, 8, |child| hash_order::of_text(&self.nodes[*child].name));
            }
            Order::Name => children.sort_by(|a, b| self.nodes[*a].name.cmp(&self.nodes[*b].name)),
        }
        children
    }

    /// Visits a node and everything below it, parents first, with the path ("/" for the root) and the depth.
    pub(super) fn walk(
        &self,
        from: usize,
        path: &str,
        order: Order,
        visit: &mut impl FnMut(usize, &str, usize),
    ) {
        // A stack of its own: nodes may be nested as deep as a path is long.
        let mut stack = vec![(from, path.to_owned(), 0)];
        while let Some((id, path, depth)) = stack.pop() {
            visit(id, &path, depth);
            for child in self.children(id, order).into_iter().rev() {
                stack.push((child, join(&path, &self.nodes[child].name), depth + 1));
            }
        }
    }
}

/// The path of a child.
pub(super) fn join(path: &str, name: &str) -> String {
    if path == "/" { format!("/{name}") } else { format!("{path}/{name}") }
}

impl SnapshotVisitor for Content {
    fn session(&mut self, id: SessionId, timeout_ms: i32) -> Result<(), String> {
        self.sessions.push((id, timeout_ms));
        Ok(())
    }

    fn acl(&mut self, id: i64, list: Vec<Acl>) -> Result<(), String> {
        self.acls.insert(id, list);
        Ok(())
    }

    fn node(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl_id: i64,
        stat: &StatPersisted,
    ) -> Result<(), String> {
        let data = data.map(<[u8]>::to_vec);
        if let Some(known) = self.by_path.get(path) {
            let node = &mut self.nodes[*known];
            (node.data, node.acl_id, node.stat) = (data, acl_id, *stat);
            return Ok(());
        }
        let id = self.nodes.len();
        let name = match path.rsplit_once('/') {
            None => path.to_owned(),
            Some((parent, name)) => {
                let parent =
                    self.by_path.get(parent).ok_or_else(|| format!("the parent of {path} is missing"))?;
                self.nodes[*parent].children.push(id);
                name.to_owned()
            }
        };
        self.by_path.insert(path.to_owned(), id);
        self.nodes.push(Node { name, data, acl_id, stat: *stat, children: Vec::new() });
        Ok(())
    }
}
