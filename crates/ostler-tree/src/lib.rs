//! The replicated thing itself, what ZooKeeper is without network or disk: a tree of znodes with the sessions that
//! own its ephemerals. It decides what a request becomes (`prepare`), applies what was agreed (`Store::apply`),
//! answers reads, keeps the watches of a lane and writes and reads the body of a snapshot. No clock, no
//! randomness, no locks: the time and the zxid come in with the request, and readers share `&Store`.

pub mod acl;
mod apply;
mod arena;
pub mod config;
mod digest;
mod ip;
mod key_set;
pub mod namespaces;
mod node;
pub mod outcome;
pub mod outstanding;
pub mod owner;
pub mod prepare;
mod prepare_create;
pub mod quota;
pub mod read;
pub mod snapshot;
pub mod store;
mod tree;
pub mod watch;

pub use acl::{AclRef, Schemes};
pub use config::TreeConfig;
pub use namespaces::Namespaces;
pub use outcome::{Change, Outcome, Part};
pub use outstanding::Outstanding;
pub use prepare::{Asker, prepare, refuse};
pub use read::Children;
pub use snapshot::{LoadError, Loader, Walk};
pub use store::Store;
pub use watch::{ConnId, WatchTable};
