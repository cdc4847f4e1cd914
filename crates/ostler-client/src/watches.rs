//! The client's own record of its watches, from which they are set again on a new connection. Answers to
//! `ZKWatchManager`. A watch enters when the reply of the request that set it arrives, not before.

use std::collections::BTreeSet;

use ostler_wire::Code;
use ostler_wire::client::event::EventType;
use ostler_wire::client::read::{AddWatchMode, Read, SetWatches, WatcherType};

/// Bytes of paths after which a batch of watches to set again is full.
const BATCH_BYTES: usize = 128 << 10;

/// A watch that a request sets if it is answered well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wish {
    /// exists.
    Exists(String),
    /// getData.
    Data(String),
    /// getChildren, getChildren2.
    Child(String),
    /// addWatch.
    Persistent(String, AddWatchMode),
    /// removeWatches: what is to go.
    Remove(String, WatcherType),
}

impl Wish {
    /// What a request asks for.
    pub(crate) fn of(read: &Read<'_>) -> Option<Self> {
        match read {
            Read::Exists { path, watch: true } => Some(Self::Exists(path.clone().into_owned())),
            Read::GetData { path, watch: true } => Some(Self::Data(path.clone().into_owned())),
            Read::GetChildren { path, watch: true } | Read::GetChildren2 { path, watch: true } => {
                Some(Self::Child(path.clone().into_owned()))
            }
            Read::AddWatch { path, mode } => Some(Self::Persistent(path.clone()?.into_owned(), *mode)),
            Read::RemoveWatches { path, kind } => Some(Self::Remove(path.clone()?.into_owned(), *kind)),
            Read::Exists { .. }
            | Read::GetData { .. }
            | Read::GetChildren { .. }
            | Read::GetChildren2 { .. }
            | Read::Ping
            | Read::GetAcl { .. }
            | Read::GetAllChildrenNumber { .. }
            | Read::GetEphemerals { .. }
            | Read::Sync { .. }
            | Read::MultiRead(_)
            | Read::SetWatches(_)
            | Read::CheckWatches { .. }
            | Read::WhoAmI => None,
        }
    }
}

/// The watches of a session.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    data: BTreeSet<String>,
    exist: BTreeSet<String>,
    child: BTreeSet<String>,
    persistent: BTreeSet<String>,
    recursive: BTreeSet<String>,
}

impl Watches {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.data.len() + self.exist.len() + self.child.len() + self.persistent.len() + self.recursive.len()
    }

    /// The reply of a request that asked for a watch: `err` is its code, 0 for success.
    pub(crate) fn on_reply(&mut self, wish: Wish, err: i32) {
        let ok = err == 0;
        let missing = err == Code::NoNode.to_int();
        match wish {
            Wish::Exists(path) if ok => drop(self.data.insert(path)),
            Wish::Exists(path) if missing => drop(self.exist.insert(path)),
            Wish::Data(path) if ok => drop(self.data.insert(path)),
            Wish::Child(path) if ok => drop(self.child.insert(path)),
            Wish::Persistent(path, mode) if ok || missing => match mode {
                AddWatchMode::Persistent => drop(self.persistent.insert(path)),
                AddWatchMode::PersistentRecursive => drop(self.recursive.insert(path)),
            },
            Wish::Remove(path, kind) if ok => drop(self.remove(&path, kind)),
            Wish::Exists(_) | Wish::Data(_) | Wish::Child(_) | Wish::Persistent(..) | Wish::Remove(..) => {}
        }
    }

    /// An event arrived: what fires once is gone.
    pub(crate) fn on_event(&mut self, kind: EventType, path: &str) {
        match kind {
            EventType::NodeCreated | EventType::NodeDataChanged => {
                self.data.remove(path);
                self.exist.remove(path);
            }
            EventType::NodeChildrenChanged => {
                self.child.remove(path);
            }
            EventType::NodeDeleted => {
                self.data.remove(path);
                self.exist.remove(path);
                self.child.remove(path);
            }
        }
    }

    /// The requests that set all watches again, in batches.
    pub(crate) fn batches(&self, relative_zxid: i64) -> Vec<SetWatches> {
        let empty = || SetWatches { relative_zxid, ..SetWatches::default() };
        let mut batches = Vec::new();
        let mut batch = empty();
        let mut bytes = 0;
        for list in 0..5 {
            let paths = match list {
                0 => &self.data,
                1 => &self.exist,
                2 => &self.child,
                3 => &self.persistent,
                _ => &self.recursive,
            };
            for path in paths {
                let slot = match list {
                    0 => &mut batch.data,
                    1 => &mut batch.exist,
                    2 => &mut batch.child,
                    3 => &mut batch.persistent,
                    _ => &mut batch.persistent_recursive,
                };
                slot.push(path.clone());
                bytes += path.len() + 4;
                if bytes >= BATCH_BYTES {
                    batches.push(std::mem::replace(&mut batch, empty()));
                    bytes = 0;
                }
            }
        }
        if bytes > 0 {
            batches.push(batch);
        }
        batches
    }

    /// Forgets those of this kind. Whether there were any.
    pub(crate) fn remove(&mut self, path: &str, kind: WatcherType) -> bool {
        let any = kind == WatcherType::Any;
        let mut removed = false;
        if any || kind == WatcherType::Children {
            removed |= self.child.remove(path);
        }
        if any || kind == WatcherType::Data {
            removed |= self.data.remove(path) | self.exist.remove(path);
        }
        if any || kind == WatcherType::Persistent {
            removed |= self.persistent.remove(path);
        }
        if any || kind == WatcherType::PersistentRecursive {
            removed |= self.recursive.remove(path);
        }
        removed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path() -> String {
        "/a".to_owned()
    }

    #[test]
    fn a_watch_counts_from_its_reply_and_until_its_event() {
        let mut watches = Watches::default();
        watches.on_reply(Wish::Data(path()), Code::NoNode.to_int());
        assert_eq!(watches.len(), 0);
        watches.on_reply(Wish::Exists(path()), Code::NoNode.to_int());
        watches.on_reply(Wish::Child(path()), 0);
        assert_eq!(watches.len(), 2);
        watches.on_event(EventType::NodeCreated, "/a");
        assert_eq!(watches.len(), 1);
        watches.on_event(EventType::NodeDeleted, "/a");
        assert_eq!(watches.len(), 0);
    }

    #[test]
    fn persistent_watches_stay_until_they_are_removed() {
        let mut watches = Watches::default();
        watches.on_reply(Wish::Persistent(path(), AddWatchMode::PersistentRecursive), 0);
        watches.on_reply(Wish::Persistent(path(), AddWatchMode::Persistent), 0);
        watches.on_event(EventType::NodeDeleted, "/a");
        assert_eq!(watches.len(), 2);
        watches.on_reply(Wish::Remove(path(), WatcherType::Persistent), Code::NoWatcher.to_int());
        assert_eq!(watches.len(), 2);
        watches.on_reply(Wish::Remove(path(), WatcherType::Persistent), 0);
        assert_eq!(watches.len(), 1);
        watches.on_reply(Wish::Remove(path(), WatcherType::Any), 0);
        assert_eq!(watches.len(), 0);
    }

    #[test]
    fn batches_hold_every_watch_once() {
        let mut watches = Watches::default();
        for i in 0..5000 {
            watches.on_reply(Wish::Data(format!("/{i:0>60}")), 0);
            watches.on_reply(Wish::Persistent(format!("/p{i:0>60}"), AddWatchMode::Persistent), 0);
        }
        let batches = watches.batches(7);
        // 655,000 bytes of paths and their lengths, 128 KiB each.
        assert_eq!(batches.len(), 5);
        let data: Vec<_> = batches.iter().flat_map(|batch| batch.data.clone()).collect();
        let persistent: usize = batches.iter().map(|batch| batch.persistent.len()).sum();
        assert_eq!((data.len(), persistent), (5000, 5000));
        assert!(data.is_sorted());
        assert!(Watches::default().batches(7).is_empty());
    }
}
