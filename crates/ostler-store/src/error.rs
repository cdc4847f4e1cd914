//! What can be wrong with a data directory. Each message names the file, the place in it, and what to do.

use ostler_wire::Zxid;

use crate::disk::DiskError;

/// The setting by which an operator lets a server start over a gap in its logs.
pub const ALLOW_GAPS_KEY: &str = "ostler.allowLogGaps";

/// Bytes in a file that are neither right nor explained by a crash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file} is damaged at byte {offset}, after zxid {after}: {what}")]
pub struct Damage {
    /// The file.
    pub file: String,
    /// Where the damaged record begins.
    pub offset: u64,
    /// The last good zxid before it in this file, 0 if there is none.
    pub after: Zxid,
    /// What is wrong.
    pub what: String,
}

/// Why a data directory cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum Error {
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Bit rot, a foreign file, or a file from the future.
    #[error("{0}; restore this file from a copy, or rebuild this server from another one")]
    Damaged(Damage),
    /// Transactions are missing.
    #[error(
        "transactions are missing: {file} goes on with zxid {next} where {last} came before it. Put the missing log \
         file back, or start with {ALLOW_GAPS_KEY}=true to accept the loss"
    )]
    Gap { file: String, last: Zxid, next: Zxid },
    /// Two different transactions with one zxid, or one that goes back.
    #[error("{file} has zxid {zxid} at byte {offset} after {last}: the log goes back")]
    OutOfOrder { file: String, offset: u64, zxid: Zxid, last: Zxid },
    /// Files are where the other kind belongs: `dataLogDir` was changed.
    #[error(
        "{found} does not belong there: dataDir and dataLogDir are different directories, and logs belong into the \
         one, snapshots into the other. Was dataLogDir changed? Move the files"
    )]
    Misplaced { found: String },
    /// Logs without a snapshot.
    #[error(
        "no snapshot found, but there are transaction logs ({first}): something is missing. If this is an upgrade \
         from ZooKeeper 3.4 or older, start once with snapshot.trust.empty=true"
    )]
    NoSnapshot { first: String },
    /// No snapshot can be read.
    #[error("no snapshot can be read: {}", tried.join("; "))]
    NoValidSnapshot { tried: Vec<String> },
    /// The logs do not make up for a broken snapshot.
    #[error(
        "{snapshot} cannot be read ({why}), and from the snapshot before it the logs reach only zxid {reached}, not \
         {wanted}: transactions would be lost"
    )]
    FellShort { snapshot: String, why: String, wanted: Zxid, reached: Zxid },
    /// A snapshot that does not hold what it should.
    #[error("{file} cannot be read: {what} (byte {offset} of its contents)")]
    BadSnapshot { file: String, offset: u64, what: String },
    /// An epoch file that is not a number, or contradicts the transactions.
    #[error("{0}")]
    Epoch(String),
    /// The tree does not take what is in the files.
    #[error("{file}: {what}")]
    Rejected { file: String, what: String },
    /// A write or sync failed before: nothing more may be written.
    #[error("the log is closed, since a write or sync failed before")]
    Broken,
    /// No space for the log; nothing was written, and a retry is fine.
    #[error("no space for the transaction log: {0}")]
    Full(DiskError),
}

impl Error {
    /// Whether no space is left, so that the same may succeed later.
    #[must_use]
    pub fn is_full(&self) -> bool {
        match self {
            Self::Disk(error) | Self::Full(error) => error.is_full(),
            _ => false,
        }
    }
}

/// The result of a call of the store.
pub type Result<T> = std::result::Result<T, Error>;
