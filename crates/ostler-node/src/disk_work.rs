//! What a member of an ensemble asks of its disk beside appends: an epoch, a cut, a tree that takes the place of its
//! own; and, as a leader, where in its log a learner stands. Plain calls that return once it is done and durable. The
//! thread of the log makes those that write, between commits, with its file closed. A crash anywhere within leaves a
//! directory that a start understands (see `ostler_store::truncate` and `ostler_store::supersede`). After
//! `Error::Disk` with a full disk each may be done again; after any other error nothing is known of the disk until it
//! is read anew.

use ostler_store::epochs::{self, EpochFile};
use ostler_store::{Disk, Limits, RestoreOptions, SnapshotOptions, SnapshotWriter, Truncation, names, part};
use ostler_tree::{Store, TreeConfig, Walk};
use ostler_wire::Zxid;
use ostler_zab::{EpochKind, Limit, LogPlace};

use crate::recover::{Recovered, recover_member};

/// Nodes and bytes that are encoded at a time.
const SLICE_NODES: usize = 256;
const SLICE_BYTES: usize = 64 << 10;

/// Makes an epoch durable.
pub fn write_epoch<D: Disk>(disk: &D, which: EpochKind, epoch: i64) -> ostler_store::Result<()> {
    let file = match which {
        EpochKind::Accepted => EpochFile::Accepted,
        EpochKind::Current => EpochFile::Current,
    };
    epochs::write_epoch(disk, file, epoch)
}

/// What became of a wish to cut the history.
#[derive(Debug)]
pub enum Cut {
    /// Done: what the directory holds now.
    Done(Box<Recovered>),
    /// Nothing was changed, for this reason.
    Refused(&'static str),
}

/// Cuts the history behind `to` and reads anew what is left: the tree in memory has what was cut, and only the disk
/// knows the tree without it (ZOOKEEPER-5094).
pub fn truncate<D: Disk + Clone>(
    disk: &D,
    to: Zxid,
    options: RestoreOptions,
    config: &TreeConfig,
) -> ostler_store::Result<Cut> {
    match ostler_store::truncate(disk, to, options)? {
        Truncation::Refused(why) => Ok(Cut::Refused(why)),
        Truncation::Done(last) => {
            // The history in memory is cut by the peer itself.
            let recovered = recover_member(disk, options, config, Limit { count: 0, bytes: 0 })?;
            assert_eq!(recovered.last, last, "what was cut does not come back");
            Ok(Cut::Done(Box::new(recovered)))
        }
    }
}

/// Makes a tree that came from the leader durable as the snapshot of `zxid`, in place of the whole own history. Says
/// the name and the length of the snapshot.
pub fn save_tree<D: Disk + Clone>(
    disk: &D,
    store: &Store,
    zxid: Zxid,
    options: &SnapshotOptions,
    limits: Limits,
) -> ostler_store::Result<(String, u64)> {
    let mut writer = SnapshotWriter::create_received(disk.clone(), zxid, options)?;
    let mut walk = Walk::new(store);
    let mut slice = Vec::with_capacity(SLICE_BYTES * 2);
    let mut done = false;
    while !done {
        slice.clear();
        done = walk.next(store, SLICE_NODES, SLICE_BYTES, &mut slice);
        if let Err(error) = writer.write(&slice) {
            writer.abort();
            return Err(error);
        }
    }
    // The leader went on while it sent: the tree is that of no zxid, and its digest none to be compared with.
    let digest = store.config().digest_enabled.then_some((Zxid::ZERO, 0));
    let sealed = writer.seal(zxid, digest)?;
    ostler_store::supersede(sealed, zxid, limits)
}

/// Where a learner stands in the log whose own log ends with `peer`; `None` if the log on disk does not hold everything
/// from there, through `through` if that is above, up to `upto`, or if that takes more bytes than `size_factor` of the
/// newest snapshot. As in Java 0 bytes is none. Only reads, beside the thread of the log.
pub fn search_log<D: Disk + Clone>(
    disk: &D,
    (peer, through, upto): (Zxid, Zxid, Zxid),
    size_factor: f64,
) -> ostler_store::Result<Option<LogPlace>> {
    let snapshot_bytes = match names::snapshots(disk)?.pop() {
        Some(newest) => disk.length(&disk.open(&newest.path)?)?,
        None => 0,
    };
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rough limit"
    )]
    let most = (snapshot_bytes as f64 * size_factor) as u64;
    let place = part::search(disk, (peer, through, upto), (most > 0).then_some(most))?;
    Ok(place.map(|part::Place { before, next }| LogPlace { before, next }))
}
