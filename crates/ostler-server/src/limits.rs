//! The limits that the system sets on the process: how many files it may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit on open files to the hard one: each client is a file, and the usual soft limit of 1024 is
/// a relic of `select`. Yields what holds then.
pub(crate) fn raise_max_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        // Not to be allowed to is no reason to refuse service.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
    max_files()
}

/// How many files may be open.
pub(crate) fn max_files() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
