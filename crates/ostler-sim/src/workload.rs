//! What clients ask for: a mix of all operations on a small set of paths, so that they meet.

use std::borrow::Cow;

use ostler_client::Request;
use ostler_wire::acl::Acl;
use ostler_wire::client::read::{AddWatchMode, MultiReadOp, Read, WatcherType};
use ostler_wire::client::write::{CreateMode, Write};

use crate::rng::Rng;

/// The habits of a client.
#[derive(Debug, Clone)]
pub struct Habits {
    /// How many requests it keeps under way.
    pub depth: usize,
    /// Percent of requests that are writes.
    pub writes: u64,
    /// Percent of reads that leave a watch.
    pub watches: u64,
    /// Names to choose from, for both levels of the tree.
    pub names: u64,
    /// The longest value, in bytes.
    pub value: u64,
    /// Whether it makes containers and TTL nodes.
    pub lifetimes: bool,
    /// Whether it leaves watches that stay.
    pub lasting: bool,
}

impl Habits {
    /// Habits of a client of a random world.
    pub fn draw(rng: &mut Rng, lifetimes: bool) -> Self {
        Self {
            depth: *rng.pick(&[1, 1, 2, 4, 16, 64]),
            writes: *rng.pick(&[10, 30, 50, 80, 100]),
            watches: *rng.pick(&[0, 20, 60]),
            names: *rng.pick(&[2, 4, 8]),
            value: *rng.pick(&[8, 40, 700, 3000]),
            lifetimes,
            lasting: rng.one_in(2),
        }
    }

    /// The next request. `serial` makes its value one that no other request has.
    pub fn request(&self, rng: &mut Rng, serial: usize) -> Request {
        if rng.percent(self.writes) { self.write(rng, serial) } else { Request::Read(self.read(rng)) }
    }

    fn write(&self, rng: &mut Rng, serial: usize) -> Request {
        if rng.one_in(8) {
            let count = rng.range(1, 5);
            let parts = (0..count).map(|part| self.multi_part(rng, serial, part)).collect();
            return Request::multi(parts);
        }
        match rng.below(20) {
            0..=7 => self.create(rng, serial),
            8..=13 => Request::set_data(self.path(rng), self.value(rng, serial, 0), self.version(rng)),
            14..=17 => Request::delete(self.path(rng), self.version(rng)),
            _ => {
                // READ stays, since watches and reads of everybody are judged.
                let acl = if rng.one_in(2) { Acl::open() } else { vec![Acl::world(15), Acl::world(16)] };
                let path = Some(self.path(rng));
                let acl = Some(acl.into_iter().map(Into::into).collect());
                Request::Write(Write::SetAcl { path, acl, version: self.version(rng) })
            }
        }
    }

    fn create(&self, rng: &mut Rng, serial: usize) -> Request {
        let value = self.value(rng, serial, 0);
        let acl = Acl::open();
        if self.lifetimes && rng.one_in(4) {
            if rng.one_in(2) {
                return Request::create(self.path(rng), value, &acl, CreateMode::Container);
            }
            let ttl_ms = i64::try_from(rng.range(1, 20_000)).expect("small");
            return Request::create_ttl(self.path(rng), value, &acl, false, ttl_ms);
        }
        match rng.below(8) {
            0 => Request::create(self.parent(rng) + "/seq-", value, &acl, CreateMode::PersistentSequential),
            1 => Request::create(self.parent(rng) + "/seq-", value, &acl, CreateMode::EphemeralSequential),
            2 | 3 => Request::create(self.path(rng), value, &acl, CreateMode::Ephemeral),
            _ => Request::create(self.path(rng), value, &acl, CreateMode::Persistent),
        }
    }

    fn multi_part(&self, rng: &mut Rng, serial: usize, part: u64) -> Write {
        let request = match rng.below(6) {
            0 | 1 => {
                let mode = *rng.pick(&[
                    CreateMode::Persistent,
                    CreateMode::Ephemeral,
                    CreateMode::PersistentSequential,
                ]);
                let path = if mode.is_sequential() { self.parent(rng) + "/seq-" } else { self.path(rng) };
                Request::create(path, self.value(rng, serial, part), &Acl::open(), mode)
            }
            2 | 3 => Request::set_data(self.path(rng), self.value(rng, serial, part), self.version(rng)),
            4 => Request::delete(self.path(rng), self.version(rng)),
            _ => return Write::Check { path: Some(self.path(rng)), version: self.version(rng) },
        };
        match request {
            Request::Write(write) => write,
            Request::Read(_) => unreachable!("all of these are writes"),
        }
    }

    fn read(&self, rng: &mut Rng) -> Read<'static> {
        let path = Cow::Owned(self.path(rng));
        let watch = rng.percent(self.watches);
        match rng.below(if self.lasting { 26 } else { 24 }) {
            0..=5 => Read::GetData { path, watch },
            6..=10 => Read::Exists { path, watch },
            11..=13 => Read::GetChildren { path: Cow::Owned(self.parent(rng)), watch },
            14..=16 => Read::GetChildren2 { path, watch },
            17 => Read::GetAcl { path },
            18 => Read::GetAllChildrenNumber { path },
            19 => Read::GetEphemerals { prefix: None },
            20 => Read::Sync { path: Some(path) },
            21 => {
                let ops = (0..rng.range(1, 3)).map(|_| {
                    let path = Cow::Owned(self.path(rng));
                    if rng.one_in(2) {
                        MultiReadOp::GetData { path }
                    } else {
                        MultiReadOp::GetChildren { path }
                    }
                });
                Read::MultiRead(ops.collect())
            }
            22 => Read::CheckWatches { path: Some(path), kind: WatcherType::Any },
            23 => {
                let kind = *rng.pick(&[WatcherType::Any, WatcherType::Data, WatcherType::Children]);
                if self.watches == 0 { Read::WhoAmI } else { Read::RemoveWatches { path: Some(path), kind } }
            }
            24 => Read::AddWatch { path: Some(path), mode: AddWatchMode::Persistent },
            _ => Read::AddWatch { path: Some(path), mode: AddWatchMode::PersistentRecursive },
        }
    }

    fn parent(&self, rng: &mut Rng) -> String {
        format!("/n{}", rng.below(self.names))
    }

    fn path(&self, rng: &mut Rng) -> String {
        let parent = self.parent(rng);
        if rng.one_in(3) { parent } else { format!("{parent}/c{}", rng.below(self.names)) }
    }

    fn version(&self, rng: &mut Rng) -> i32 {
        if rng.one_in(4) { i32::try_from(rng.below(3)).expect("small") } else { -1 }
    }

    /// A value that tells the request it comes from.
    fn value(&self, rng: &mut Rng, serial: usize, part: u64) -> Vec<u8> {
        let mut value = format!("v{serial}.{part} ").into_bytes();
        let more = usize::try_from(rng.below(self.value)).expect("small");
        // Zeros too: what was not written reads as zeros, and must not be taken for it.
        let filler = if rng.one_in(4) { 0 } else { b'a' + (serial % 26) as u8 };
        value.resize(value.len() + more, filler);
        value
    }
}
