//! The data directory of a server in the format of Apache ZooKeeper: transaction logs, snapshots, epochs, and how a
//! tree is restored from them. Pure: the only way to the operating system is the trait [`disk::Disk`], which the
//! caller gives; the simulator gives a disk in memory that can fail and lose power at every call.

pub mod disk;
pub mod epochs;
pub mod error;
pub mod log;
pub mod names;
pub mod part;
pub mod purge;
pub mod replay;
pub mod restore;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
pub mod snapshot;
pub mod supersede;
pub mod truncate;
pub mod writer;

pub use disk::{Dir, Disk, DiskError, DiskErrorKind, DiskOp, DiskResult, FilePath};
pub use error::{Damage, Error, Result};
pub use names::{Compression, Named};
pub use part::LogPart;
pub use replay::{Replay, Replayed, Tail, Warning, mend};
pub use restore::{Origin, RestoreOptions, RestoreSink, Restored, restore};
pub use snapshot::{
    Limits, SealedSnapshot, SnapshotDigest, SnapshotInfo, SnapshotOptions, SnapshotVisitor, SnapshotWriter,
};
pub use supersede::supersede;
pub use truncate::{Truncation, truncate};
pub use writer::{LogOptions, LogWriter};
