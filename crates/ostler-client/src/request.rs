//! What a caller asks a session to do: a request of the protocol, checked for what only the session itself may send.

use std::borrow::Cow;

use bytes::Bytes;
use ostler_wire::acl::{Acl, RawAcl};
use ostler_wire::client::read::{AddWatchMode, Read, WatcherType};
use ostler_wire::client::write::{Create, CreateMode, Write};
use ostler_wire::{OpCode, path};

use crate::error::{Error, ErrorKind};

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// One that changes nothing: asking twice is harmless.
    Read(Read<'static>),
    /// One that becomes a transaction.
    Write(Write),
}

impl Request {
    /// Data and Stat of a znode; with `watch` the session is told once when the data changes.
    pub fn get_data(path: impl Into<String>, watch: bool) -> Self {
        Self::Read(Read::GetData { path: Cow::Owned(path.into()), watch })
    }

    /// The Stat of a znode; with `watch` also one that does not exist is watched.
    pub fn exists(path: impl Into<String>, watch: bool) -> Self {
        Self::Read(Read::Exists { path: Cow::Owned(path.into()), watch })
    }

    /// The names of a znode's children, and its Stat.
    pub fn children(path: impl Into<String>, watch: bool) -> Self {
        Self::Read(Read::GetChildren2 { path: Cow::Owned(path.into()), watch })
    }

    /// Waits until the server is as new as the leader was.
    pub fn sync(path: impl Into<String>) -> Self {
        Self::Read(Read::Sync { path: Some(Cow::Owned(path.into())) })
    }

    /// A watch that stays.
    pub fn add_watch(path: impl Into<String>, mode: AddWatchMode) -> Self {
        Self::Read(Read::AddWatch { path: Some(Cow::Owned(path.into())), mode })
    }

    /// Takes watches away.
    pub fn remove_watches(path: impl Into<String>, kind: WatcherType) -> Self {
        Self::Read(Read::RemoveWatches { path: Some(Cow::Owned(path.into())), kind })
    }

    /// A new znode; the answer holds its path and Stat. TTL nodes have [`Request::create_ttl`].
    pub fn create(path: impl Into<String>, data: impl Into<Bytes>, acl: &[Acl], mode: CreateMode) -> Self {
        let op = if mode == CreateMode::Container { OpCode::CreateContainer } else { OpCode::Create2 };
        Self::Write(Write::Create(Create {
            op,
            path: Some(path.into()),
            data: Some(data.into()),
            acl: Some(acl.iter().cloned().map(RawAcl::from).collect()),
            flags: mode as i32,
            ttl: -1,
        }))
    }

    /// A new znode that goes away `ttl_ms` after its last change, when it has no children.
    pub fn create_ttl(
        path: impl Into<String>,
        data: impl Into<Bytes>,
        acl: &[Acl],
        sequential: bool,
        ttl_ms: i64,
    ) -> Self {
        let mode =
            if sequential { CreateMode::PersistentSequentialWithTtl } else { CreateMode::PersistentWithTtl };
        Self::Write(Write::Create(Create {
            op: OpCode::CreateTtl,
            path: Some(path.into()),
            data: Some(data.into()),
            acl: Some(acl.iter().cloned().map(RawAcl::from).collect()),
            flags: mode as i32,
            ttl: ttl_ms,
        }))
    }

    /// New data for a znode, if its version is `version` (-1: whatever it is).
    pub fn set_data(path: impl Into<String>, data: impl Into<Bytes>, version: i32) -> Self {
        Self::Write(Write::SetData { path: Some(path.into()), data: Some(data.into()), version })
    }

    /// Deletes a znode without children, if its version is `version` (-1: whatever it is).
    pub fn delete(path: impl Into<String>, version: i32) -> Self {
        Self::Write(Write::Delete { path: Some(path.into()), version })
    }

    /// Several writes, all or none.
    #[must_use]
    pub fn multi(writes: Vec<Write>) -> Self {
        Self::Write(Write::Multi(writes))
    }

    /// The opcode under which it travels.
    #[must_use]
    pub fn op(&self) -> OpCode {
        match self {
            Self::Read(read) => read.op(),
            Self::Write(write) => write.op(),
        }
    }

    /// Appends the body.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Read(read) => read.encode(out),
            Self::Write(write) => write.encode(out),
        }
    }

    /// Whether a caller may send it, and whether its path is one.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let misuse = |what: String| Err(Error::new(ErrorKind::Misuse, what));
        match self {
            Self::Read(read) => match read {
                Read::Ping | Read::SetWatches(_) => misuse(format!("{:?} is sent by the session", read.op())),
                Read::Exists { path, .. }
                | Read::GetData { path, .. }
                | Read::GetChildren { path, .. }
                | Read::GetChildren2 { path, .. }
                | Read::GetAcl { path }
                | Read::GetAllChildrenNumber { path } => check_path(path),
                Read::AddWatch { path, .. }
                | Read::CheckWatches { path, .. }
                | Read::RemoveWatches { path, .. } => match path {
                    Some(path) => check_path(path),
                    None => misuse("a path is missing".to_owned()),
                },
                Read::GetEphemerals { .. } | Read::Sync { .. } | Read::MultiRead(_) | Read::WhoAmI => Ok(()),
            },
            Self::Write(write) => match write {
                Write::CreateSession { .. } | Write::CloseSession | Write::DeleteContainer { .. } => {
                    misuse(format!("{:?} is not a caller's request", write.op()))
                }
                Write::Check { .. } => misuse("check is valid inside a multi only".to_owned()),
                Write::SetData { path, .. } | Write::Delete { path, .. } | Write::SetAcl { path, .. } => {
                    match path {
                        Some(path) => check_path(path),
                        None => misuse("a path is missing".to_owned()),
                    }
                }
                // A sequential node's path may end in a slash, so the server has the last word.
                Write::Create(create) => match &create.path {
                    Some(path) if path.starts_with('/') => Ok(()),
                    Some(path) => Err(wrong_path(path)),
                    None => misuse("a path is missing".to_owned()),
                },
                Write::Multi(_) | Write::MalformedMulti | Write::Reconfig { .. } => Ok(()),
            },
        }
    }
}

/// Whether a path names a znode.
pub(crate) fn check_path(path: &str) -> Result<(), Error> {
    if path::is_valid(path) { Ok(()) } else { Err(wrong_path(path)) }
}

fn wrong_path(path: &str) -> Error {
    Error::new(ErrorKind::Misuse, format!("{path:?} is not a valid path"))
}
