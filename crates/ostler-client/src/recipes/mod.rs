//! Recipes: what programs want of a coordination service, built from znodes and watches. Answers to Curator's recipes,
//! whose layouts they share where other languages' users are likely to meet them.
//!
//! Each says in its own documentation what it guarantees. Common to all:
//!
//! * **A lost connection is no failure.** Every step is repeated, or looked for, until it is done or the session is
//!   over. A create that may have happened is found again by a GUID in its name, a transaction by a marker.
//! * **An expired session is an end.** What was held is lost, [`Holding::Lost`] says so no later than the servers can
//!   let the session expire, and errors have the kind [`SessionLost`](crate::ErrorKind::SessionLost).
//! * **Nothing is left behind.** A future that is dropped, a guard that is dropped, a process that dies: the znodes go
//!   at once or with the session. Directories are containers, which servers remove when they are empty.
//! * **A clock is no fence.** A process that was stopped for long does not know it. Where a holder acts on something
//!   outside, give that its [`token`](LockGuard::token), which grows from holder to holder, and let it refuse a lower
//!   one.

mod atomic;
mod barrier;
mod cache;
mod commit;
mod common;
mod config;
mod discovery;
mod election;
mod gathering;
mod group;
mod holding;
mod ids;
mod layout;
mod lock;
mod multi_lock;
mod progress;
mod queue;
mod rwlock;
mod seat;
mod semaphore;
mod two_phase;

pub use atomic::{AtomicValue, Counter};
pub use barrier::{Barrier, DoubleBarrier};
pub use cache::{Cache, CacheEvent, CachedNode, Scope};
pub use config::{ConfigValue, Configuration};
pub use discovery::{Balancer, Discovery, Registration, Registry, Strategy};
pub use election::{Candidate, Election, Leader, LeaderObserver, MasterElection, Role};
pub use gathering::{Gathering, Turn};
pub use group::{Group, MemberEvent, Members, Membership};
pub use holding::{Holding, Tenure};
pub use ids::IdGenerator;
pub use layout::{Instance, Layout};
pub use lock::{Lock, LockGuard};
pub use multi_lock::{MultiLock, MultiLockGuard};
pub use progress::{Monitor, Task, TaskEvent, TaskReporter};
pub use queue::Queue;
pub use rwlock::ReadWriteLock;
pub use semaphore::{Lease, Semaphore};
pub use two_phase::{Coordinator, Decision, Participant, Vote};
