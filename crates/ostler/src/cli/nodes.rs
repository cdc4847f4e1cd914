//! The operations of the protocol as commands use them: paths are checked as Java's client checks them, data may be
//! null, and failures are those that Java shows.

use std::borrow::Cow;

use bytes::Bytes;
use ostler_client::{Request, Response, WatcherType};
use ostler_wire::acl::RawAcl;
use ostler_wire::client::read::{AddWatchMode, Read};
use ostler_wire::client::write::{Create, CreateMode, Write};
use ostler_wire::{Acl, Code, OpCode, Stat};

use super::answer::{Failure, exception};
use super::connection::{Connection, watch};
use super::paths;

/// The names of a znode's children, and its Stat unless it has gone.
type Listed = (Vec<String>, Option<Stat>);
/// What a znode holds, and its Stat.
type Held = (Option<Bytes>, Stat);

/// How many requests are sent before the first answer is waited for.
const WINDOW: usize = 256;

/// Refuses what is no path.
pub(super) fn check(path: &str) -> Result<(), Failure> {
    paths::validate(path).map_err(Failure::new)
}

fn unexpected(response: &Response) -> Failure {
    Failure::new(format!("the server gave an answer of another kind: {response:?}"))
}

impl Connection {
    pub(super) fn data(&self, path: &str, watched: bool) -> Result<(Option<Bytes>, Stat), Failure> {
        check(path)?;
        let request = Request::get_data(self.absolute(path), watched);
        match self.ask(&request, Some(path))? {
            Response::Data { data, stat } => {
                if watched {
                    self.note_watch(path, watch::DATA);
                }
                Ok((data, stat))
            }
            other => Err(unexpected(&other)),
        }
    }

    pub(super) fn exists(&self, path: &str, watched: bool) -> Result<Option<Stat>, Failure> {
        check(path)?;
        let request = Request::exists(self.absolute(path), watched);
        match self.ask(&request, Some(path)) {
            Ok(Response::Stat(stat)) => {
                if watched {
                    self.note_watch(path, watch::DATA);
                }
                Ok(Some(stat))
            }
            Ok(other) => Err(unexpected(&other)),
            Err(failure) if failure.code == Some(Code::NoNode) => {
                if watched {
                    self.note_watch(path, watch::EXISTS);
                }
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }

    pub(super) fn children(&self, path: &str, watched: bool) -> Result<(Vec<String>, Stat), Failure> {
        check(path)?;
        let request = Request::children(self.absolute(path), watched);
        let (names, stat) = names(self.ask(&request, Some(path))?)?;
        if watched {
            self.note_watch(path, watch::CHILDREN);
        }
        Ok((names, stat))
    }

    /// The children of many znodes, in their order; of one that has gone, none.
    pub(super) fn children_of(&self, paths: &[String]) -> Result<Vec<Listed>, Failure> {
        self.many(
            paths,
            |path| Request::children(path, false),
            |answer| {
                let (mut names, stat) = names(answer)?;
                names.sort();
                Ok((names, Some(stat)))
            },
        )
        .map(|found| found.into_iter().map(Option::unwrap_or_default).collect())
    }

    /// Data and Stat of many znodes; `None` for one that has gone.
    pub(super) fn data_of(&self, paths: &[String]) -> Result<Vec<Option<Held>>, Failure> {
        self.many(
            paths,
            |path| Request::get_data(path, false),
            |answer| match answer {
                Response::Data { data, stat } => Ok((data, stat)),
                other => Err(unexpected(&other)),
            },
        )
    }

    /// The ACLs of many znodes.
    pub(super) fn acl_of(&self, paths: &[String]) -> Result<Vec<Option<Vec<Acl>>>, Failure> {
        let request = |path| Request::Read(Read::GetAcl { path: Cow::Owned(path) });
        self.many(paths, request, |answer| match answer {
            Response::Acl { acl, .. } => Ok(acl),
            other => Err(unexpected(&other)),
        })
    }

    fn many<T>(
        &self,
        paths: &[String],
        request: impl Fn(String) -> Request,
        take: impl Fn(Response) -> Result<T, Failure>,
    ) -> Result<Vec<Option<T>>, Failure> {
        let mut found = Vec::with_capacity(paths.len());
        for paths in paths.chunks(WINDOW) {
            let requests = paths.iter().map(|path| (request(self.absolute(path)), path.clone())).collect();
            for answer in self.ask_all(requests)? {
                found.push(match answer {
                    Ok(answer) => Some(take(answer)?),
                    Err(failure) if failure.code == Some(Code::NoNode) => None,
                    Err(failure) => return Err(failure),
                });
            }
        }
        Ok(found)
    }

    pub(super) fn acl(&self, path: &str) -> Result<(Vec<Acl>, Stat), Failure> {
        check(path)?;
        let request = Request::Read(Read::GetAcl { path: Cow::Owned(self.absolute(path)) });
        match self.ask(&request, Some(path))? {
            Response::Acl { acl, stat } => Ok((acl, stat)),
            other => Err(unexpected(&other)),
        }
    }

    pub(super) fn set_acl(&self, path: &str, acl: &[Acl], version: i32) -> Result<Stat, Failure> {
        check(path)?;
        if acl.is_empty() {
            return Err(Failure::of_code(Code::InvalidAcl, None));
        }
        let acl = Some(acl.iter().cloned().map(RawAcl::from).collect());
        let request = Request::Write(Write::SetAcl { path: Some(self.absolute(path)), acl, version });
        self.stat(&request, path)
    }

    pub(super) fn set(&self, path: &str, data: Option<Bytes>, version: i32) -> Result<Stat, Failure> {
        check(path)?;
        let request = Request::Write(Write::SetData { path: Some(self.absolute(path)), data, version });
        self.stat(&request, path)
    }

    fn stat(&self, request: &Request, path: &str) -> Result<Stat, Failure> {
        match self.ask(request, Some(path))? {
            Response::Stat(stat) => Ok(stat),
            other => Err(unexpected(&other)),
        }
    }

    /// Creates a znode; the answer is its path, with the number if it is sequential.
    pub(super) fn create(
        &self,
        path: &str,
        data: Option<Bytes>,
        acl: &[Acl],
        mode: CreateMode,
        ttl_ms: Option<i64>,
    ) -> Result<String, Failure> {
        if mode.is_sequential() {
            check(&format!("{path}1"))?;
        } else {
            check(path)?;
        }
        let complaint = |failure: Failure, path| {
            let line = exception(Code::InvalidAcl, path);
            if failure.code == Some(Code::InvalidAcl) { failure.after(&line) } else { failure }
        };
        if acl.is_empty() {
            return Err(complaint(Failure::of_code(Code::InvalidAcl, None), None));
        }
        let request = self.create_request(path, data, acl, mode, ttl_ms);
        match self.ask(&request, Some(path)) {
            Ok(Response::Created { path, .. } | Response::Path(path)) => Ok(self.relative(&path)),
            Ok(other) => Err(unexpected(&other)),
            Err(failure) if failure.code == Some(Code::EphemeralOnLocalSession) => {
                Err(failure.after("Unable to create ephemeral node on a local session"))
            }
            Err(failure) => Err(complaint(failure, Some(path))),
        }
    }

    /// The request to create a znode.
    pub(super) fn create_request(
        &self,
        path: &str,
        data: Option<Bytes>,
        acl: &[Acl],
        mode: CreateMode,
        ttl_ms: Option<i64>,
    ) -> Request {
        let op = match (ttl_ms, mode) {
            (Some(_), _) => OpCode::CreateTtl,
            (None, CreateMode::Container) => OpCode::CreateContainer,
            (None, _) => OpCode::Create,
        };
        Request::Write(Write::Create(Create {
            op,
            path: Some(self.absolute(path)),
            data,
            acl: Some(acl.iter().cloned().map(RawAcl::from).collect()),
            flags: mode as i32,
            ttl: ttl_ms.unwrap_or(-1),
        }))
    }

    pub(super) fn delete(&self, path: &str, version: i32) -> Result<(), Failure> {
        check(path)?;
        self.ask(&Request::delete(self.absolute(path), version), Some(path)).map(drop)
    }

    pub(super) fn add_watch(&self, path: &str, mode: AddWatchMode) -> Result<(), Failure> {
        check(path)?;
        self.ask(&Request::add_watch(self.absolute(path), mode), Some(path))?;
        let kind = match mode {
            AddWatchMode::Persistent => watch::PERSISTENT,
            AddWatchMode::PersistentRecursive => watch::RECURSIVE,
        };
        self.note_watch(path, kind);
        Ok(())
    }

    pub(super) fn remove_watches(&self, path: &str, kind: WatcherType, local: bool) -> Result<(), Failure> {
        check(path)?;
        match self.ask(&Request::remove_watches(self.absolute(path), kind), Some(path)) {
            Ok(_) => {
                self.forget_watches(path, kind);
                Ok(())
            }
            Err(failure) if local && failure.lost => {
                if self.forget_watches(path, kind) {
                    Ok(())
                } else {
                    Err(Failure::of_code(Code::NoWatcher, Some(path)))
                }
            }
            Err(failure) => Err(failure),
        }
    }

    /// The paths of a subtree, parents before children, level by level.
    pub(super) fn subtree(&self, path: &str) -> Result<Vec<String>, Failure> {
        let mut tree = vec![path.to_owned()];
        let (mut names, _) = self.children(path, false)?;
        names.sort();
        let mut level: Vec<String> = names.iter().map(|name| paths::join(path, name)).collect();
        while !level.is_empty() {
            let found = self.children_of(&level)?;
            let next = level
                .iter()
                .zip(found)
                .flat_map(|(parent, (names, _))| {
                    names.into_iter().map(|name| paths::join(parent, &name)).collect::<Vec<_>>()
                })
                .collect();
            tree.append(&mut level);
            level = next;
        }
        Ok(tree)
    }
}

fn names(response: Response) -> Result<(Vec<String>, Stat), Failure> {
    match response {
        Response::Children { names, stat } => Ok((names, stat.unwrap_or_default())),
        other => Err(unexpected(&other)),
    }
}
