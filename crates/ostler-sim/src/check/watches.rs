//! The rules of watches, for one session at a time. A watch is armed by a reply and covers what changed after the
//! zxid of that reply. Its event comes before any reply from a time at which the change had happened; it comes once
//! (one-shot) or every time (persistent); and after a reconnect nothing is missed that setWatches can know of.

use std::collections::BTreeMap;

use ostler_client::Request;
use ostler_wire::client::event::EventType;
use ostler_wire::client::read::{AddWatchMode, Read, WatcherType};
use ostler_wire::{Code, Zxid};

use super::{Violation, violation};
use crate::history::{Item, Op, Outcome, SessionStory};
use crate::model::Change;

/// A one-shot watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// Data or existence.
    Data,
    /// Existence, of a node that was not there.
    Exist,
    /// Children.
    Child,
}

/// A watch that stays.
#[derive(Debug)]
struct Lasting {
    recursive: bool,
    /// Every change before this place in the sequence was told or was not to be told.
    next: usize,
    /// Up to here it may have been unarmed, between two connections.
    excused: Zxid,
}

/// The watches of a session, as its client knows them.
#[derive(Debug)]
struct Watcher<'a> {
    changes: &'a [Change],
    /// Places in `changes`, by path.
    by_path: BTreeMap<&'a str, Vec<usize>>,
    once: BTreeMap<(String, Kind), Zxid>,
    lasting: BTreeMap<(String, bool), Lasting>,
    /// What was armed when the present connection began, for what setWatches tells.
    restored: BTreeMap<(String, Kind), Zxid>,
    /// No reply came on this connection yet.
    fresh: bool,
    last_event: Zxid,
    /// The newest reply; no server takes the client from here on that has not come so far.
    replied: Zxid,
}

/// Judges the story of a session.
pub(super) fn check(
    place: usize,
    story: &SessionStory,
    ops: &[Op],
    changes: &[Change],
) -> Result<(), Violation> {
    let mut by_path: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, change) in changes.iter().enumerate() {
        by_path.entry(&change.path).or_default().push(at);
    }
    let mut watcher = Watcher {
        changes,
        by_path,
        once: BTreeMap::new(),
        lasting: BTreeMap::new(),
        restored: BTreeMap::new(),
        fresh: false,
        last_event: Zxid::ZERO,
        replied: Zxid::ZERO,
    };
    for item in &story.items {
        let result = match item {
            Item::Reply(op) => watcher.on_reply(&ops[*op]),
            Item::Event { kind, path, zxid } => watcher.on_event(*kind, path, *zxid),
            Item::Connected(_) => {
                watcher.on_connected();
                Ok(())
            }
            Item::Disconnected | Item::Ended(_) => Ok(()),
        };
        result.map_err(|violation| violation!("session {place}: {violation}"))?;
    }
    Ok(())
}

impl Watcher<'_> {
    fn on_connected(&mut self) {
        self.fresh = true;
        self.last_event = Zxid::ZERO;
        self.restored = self.once.clone();
        // What this connection's server has still to apply is told once more, if the watch stays.
        let next = self.changes.partition_point(|change| change.zxid <= self.replied);
        for lasting in self.lasting.values_mut() {
            lasting.next = lasting.next.min(next);
        }
    }

    fn on_reply(&mut self, op: &Op) -> Result<(), Violation> {
        let Outcome::Answered { zxid, result } = &op.outcome else { return Ok(()) };
        self.nothing_missed_up_to(*zxid)?;
        self.fresh = false;
        self.replied = self.replied.max(*zxid);
        let Request::Read(read) = &op.request else { return Ok(()) };
        let code = result.as_ref().err().copied();
        match read {
            Read::Exists { path, watch: true } => match code {
                None => self.arm(path, Kind::Data, *zxid),
                Some(Code::NoNode) => self.arm(path, Kind::Exist, *zxid),
                Some(_) => {}
            },
            Read::GetData { path, watch: true } if code.is_none() => self.arm(path, Kind::Data, *zxid),
            Read::GetChildren { path, watch: true } | Read::GetChildren2 { path, watch: true }
                if code.is_none() =>
            {
                self.arm(path, Kind::Child, *zxid);
            }
            Read::AddWatch { path: Some(path), mode } if code.is_none() => {
                let next = self.changes.partition_point(|change| change.zxid <= *zxid);
                let recursive = *mode == AddWatchMode::PersistentRecursive;
                self.lasting.entry((path.clone().into_owned(), recursive)).or_insert(Lasting {
                    recursive,
                    next,
                    excused: *zxid,
                });
            }
            Read::CheckWatches { path: Some(path), kind } => return self.on_checked(path, *kind, code),
            Read::RemoveWatches { path: Some(path), kind } => {
                self.on_checked(path, *kind, code)?;
                if code.is_none() {
                    self.disarm(path, *kind);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn arm(&mut self, path: &str, kind: Kind, zxid: Zxid) {
        // One that is armed already stays as it is: nothing happened in between.
        self.once.entry((path.to_owned(), kind)).or_insert(zxid);
    }

    /// What checkWatches and removeWatches say must be what is armed. (The other way round nothing can be said: a
    /// watch whose reply was lost with its connection is known to nobody.)
    fn on_checked(&self, path: &str, kind: WatcherType, code: Option<Code>) -> Result<(), Violation> {
        let armed = self.once.keys().any(|(at, has)| at == path && is_of(*has, kind))
            || self.lasting.iter().any(|((at, recursive), _)| at == path && is_lasting(*recursive, kind));
        match code {
            Some(Code::NoWatcher) if armed => Err(violation!("the {kind:?} watch on {path} is gone untold")),
            None | Some(Code::NoWatcher) => Ok(()),
            Some(code) => Err(violation!("a question for watches on {path} was answered {code}")),
        }
    }

    fn disarm(&mut self, path: &str, kind: WatcherType) {
        self.once.retain(|(at, has), _| at != path || !is_of(*has, kind));
        self.lasting.retain(|(at, recursive), _| at != path || !is_lasting(*recursive, kind));
    }

    /// Before an answer of this time, every event of an earlier time must have come.
    fn nothing_missed_up_to(&mut self, zxid: Zxid) -> Result<(), Violation> {
        let mut quiet = Vec::new();
        for ((path, kind), since) in &self.once {
            let Some(first) = self.first_after(path, *kind, *since) else { continue };
            if first.zxid > zxid {
                continue;
            }
            // Came and went between two connections: setWatches finds the node missing, as it was.
            let last = self.fired_by(path, *kind).take_while(|change| change.zxid <= zxid).last();
            if self.fresh
                && *kind == Kind::Exist
                && last.is_some_and(|last| last.kind == EventType::NodeDeleted)
            {
                quiet.push((path.clone(), *kind));
                continue;
            }
            return Err(violation!(
                "an answer of {zxid} came before the event of {} ({:?} of {path}), awaited since {since}",
                first.zxid,
                first.kind
            ));
        }
        for key in quiet {
            self.once.insert(key, zxid);
        }
        for ((path, _), lasting) in &mut self.lasting {
            if self.fresh {
                lasting.excused = zxid;
            }
            while let Some(change) = self.changes.get(lasting.next)
                && change.zxid <= zxid
            {
                if change.zxid > lasting.excused && lasting.covers(path, change) {
                    return Err(violation!(
                        "an answer of {zxid} came before the event of {} ({:?} of {}) for the watch on {path}",
                        change.zxid,
                        change.kind,
                        change.path
                    ));
                }
                lasting.next += 1;
            }
        }
        Ok(())
    }

    fn on_event(&mut self, kind: EventType, path: &str, zxid: Zxid) -> Result<(), Violation> {
        if zxid.0 == -1 {
            return self.on_missed(kind, path);
        }
        if zxid < self.last_event {
            return Err(violation!("the event of {zxid} came after that of {}", self.last_event));
        }
        self.last_event = zxid;
        let mut wanted = false;
        for once in kinds_of(kind) {
            let key = (path.to_owned(), *once);
            let Some(since) = self.once.get(&key) else { continue };
            match self.first_after(path, *once, *since) {
                Some(first) if first.zxid == zxid && first.kind == kind => {
                    self.once.remove(&key);
                    wanted = true;
                }
                // It was armed again between two connections; what it was told there came first.
                Some(first) if self.fresh && first.zxid < zxid && *once == Kind::Exist => {
                    self.once.remove(&key);
                    wanted = true;
                }
                Some(first) if first.zxid < zxid => {
                    return Err(violation!(
                        "{kind:?} of {path} at {zxid} came, that of {} did not",
                        first.zxid
                    ));
                }
                _ => {}
            }
        }
        for ((at, _), lasting) in &mut self.lasting {
            let probe = Change { zxid, kind, path: path.to_owned() };
            if !lasting.covers(at, &probe) {
                continue;
            }
            while let Some(change) = self.changes.get(lasting.next)
                && change.zxid <= zxid
            {
                let covered = lasting.covers(at, change);
                if covered && *change == probe {
                    lasting.next += 1;
                    wanted = true;
                    break;
                }
                if covered && change.zxid > lasting.excused && !self.fresh {
                    return Err(violation!(
                        "{kind:?} of {path} at {zxid} came before {:?} of {} at {} for the watch on {at}",
                        change.kind,
                        change.path,
                        change.zxid
                    ));
                }
                lasting.next += 1;
            }
        }
        if wanted {
            Ok(())
        } else {
            Err(violation!("{kind:?} of {path} at {zxid} came, and nobody waited for it, or not twice"))
        }
    }

    /// An event that setWatches made up.
    fn on_missed(&mut self, kind: EventType, path: &str) -> Result<(), Violation> {
        let mut since = None;
        for once in kinds_of(kind) {
            let key = (path.to_owned(), *once);
            if let Some(armed) = self.restored.remove(&key) {
                self.once.remove(&key);
                since = Some(armed);
                if kind == EventType::NodeDeleted {
                    // One for data and one for children; both are used up by the first.
                    self.once.remove(&(path.to_owned(), Kind::Child));
                    self.once.remove(&(path.to_owned(), Kind::Data));
                }
                break;
            }
        }
        let Some(since) = since else {
            return Err(violation!("{kind:?} of {path} was made up for a watch that was not there"));
        };
        let changed = self.by_path.get(path).into_iter().flatten().any(|at| self.changes[*at].zxid > since);
        if changed {
            Ok(())
        } else {
            Err(violation!("{kind:?} of {path} was made up: nothing happened there after {since}"))
        }
    }

    fn fired_by<'s>(&'s self, path: &str, kind: Kind) -> impl Iterator<Item = &'s Change> + use<'s> {
        let places = self.by_path.get(path).map(Vec::as_slice).unwrap_or_default();
        places.iter().map(|at| &self.changes[*at]).filter(move |change| kinds_of(change.kind).contains(&kind))
    }

    fn first_after(&self, path: &str, kind: Kind, since: Zxid) -> Option<&Change> {
        self.fired_by(path, kind).find(|change| change.zxid > since)
    }
}

impl Lasting {
    fn covers(&self, path: &str, change: &Change) -> bool {
        if !self.recursive {
            return change.path == path;
        }
        let below = change.path.strip_prefix(path).is_some_and(|rest| path == "/" || rest.starts_with('/'));
        change.kind != EventType::NodeChildrenChanged && (change.path == path || below)
    }
}

/// Which one-shot watches an event uses up.
fn kinds_of(kind: EventType) -> &'static [Kind] {
    match kind {
        EventType::NodeCreated | EventType::NodeDataChanged => &[Kind::Data, Kind::Exist],
        EventType::NodeDeleted => &[Kind::Data, Kind::Exist, Kind::Child],
        EventType::NodeChildrenChanged => &[Kind::Child],
    }
}

fn is_of(kind: Kind, asked: WatcherType) -> bool {
    match asked {
        WatcherType::Any => true,
        WatcherType::Children => kind == Kind::Child,
        WatcherType::Data => kind != Kind::Child,
        WatcherType::Persistent | WatcherType::PersistentRecursive => false,
    }
}

fn is_lasting(recursive: bool, asked: WatcherType) -> bool {
    match asked {
        WatcherType::Any => true,
        WatcherType::Persistent => !recursive,
        WatcherType::PersistentRecursive => recursive,
        WatcherType::Children | WatcherType::Data => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ostler_client::session::Ending;
    use ostler_wire::SessionId;

    fn reply(zxid: i64, request: Request) -> Op {
        Op {
            owner: 0,
            request,
            floor: Zxid::ZERO,
            sent: None,
            asked_us: 0,
            outcome: Outcome::Answered {
                zxid: Zxid(zxid),
                result: Ok(ostler_wire::client::response::Response::Done),
            },
            done_us: 0,
            by_deposed: false,
        }
    }

    fn event(zxid: i64) -> Item {
        Item::Event { kind: EventType::NodeCreated, path: "/a/b".to_owned(), zxid: Zxid(zxid) }
    }

    #[test]
    fn a_server_that_lags_tells_again_what_no_reply_had_reached() {
        let watch = Read::AddWatch { path: Some("/a".into()), mode: AddWatchMode::PersistentRecursive };
        let look = Read::Exists { path: "/".into(), watch: false };
        let ops = [reply(1, Request::Read(watch)), reply(3, Request::Read(look))];
        let changes = [Change { zxid: Zxid(3), kind: EventType::NodeCreated, path: "/a/b".to_owned() }];
        let told = |middle: Vec<Item>| {
            let mut items = vec![Item::Connected(SessionId(1)), Item::Reply(0), event(3)];
            items.extend(middle);
            items.extend([event(3), Item::Ended(Ending::Closed)]);
            check(0, &SessionStory { items, ..SessionStory::default() }, &ops, &changes)
        };
        assert!(told(vec![Item::Disconnected, Item::Connected(SessionId(1))]).is_ok());
        assert!(told(vec![]).is_err(), "twice on one connection");
        assert!(
            told(vec![Item::Reply(1), Item::Disconnected, Item::Connected(SessionId(1))]).is_err(),
            "it is known"
        );
    }
}
