//! The log's thread: group commit. It takes all that is waiting, appends it, syncs once, and says how far the log
//! is durable. A failed write or sync ends the process: what is on disk is then unknown, and only a restart that
//! reads it back can tell. A full disk is another thing: nothing was written, so the thread waits for room.
//! Answers to Java's `SyncRequestProcessor`.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ostler_node::Input;
use ostler_store::{Disk, LogWriter};
use ostler_tree::Store;
use ostler_wire::Zxid;
use ostler_zab::{EpochKind, Generation, Proposal};
use tracing::{error, info, warn};

use crate::disk_work::DiskWork;
use crate::exit;
use crate::four_letter::report::Summary;
use crate::inbox::{Inbox, NodeLetter};
use crate::linger::Linger;
use crate::log_box::LogBox;

/// The pause between two looks at a full disk.
const RETRY: Duration = Duration::from_secs(1);

/// What the log's thread is told.
#[derive(Debug)]
pub(crate) enum LogLetter {
    /// Append these and say when they are durable.
    Append(Vec<(Proposal, Generation)>),
    /// Go on in a new file.
    Roll,
    /// Make what was appended and then this epoch durable.
    WriteEpoch { which: EpochKind, epoch: i64, generation: Generation },
    /// Cut the log behind this zxid and read the store anew.
    Truncate { to: Zxid, generation: Generation },
    /// Make this tree durable in place of the own history.
    SaveTree { store: Box<Store>, zxid: Zxid, generation: Generation },
    /// Everything before this is to be durable; then end.
    Stop,
}

/// How the log batches.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogPace {
    /// Wait so long for more before a sync.
    pub(crate) flush_delay: Duration,
    /// Sync at the latest after so many transactions.
    pub(crate) max_batch: usize,
    /// Warn about a sync that took longer.
    pub(crate) slow_sync: Duration,
}

/// Figures of the log.
#[derive(Debug, Default)]
pub(crate) struct LogStats {
    commits: AtomicU64,
    snapshots: AtomicU64,
    last_durable: AtomicI64,
    fsync_ms: Mutex<Summary>,
}

impl LogStats {
    pub(crate) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    pub(crate) fn snapshots(&self) -> u64 {
        self.snapshots.load(Ordering::Relaxed)
    }

    pub(crate) fn note_snapshot(&self) {
        self.snapshots.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn fsync_ms(&self) -> Summary {
        *self.fsync_ms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The log's thread.
pub(crate) struct LogThread<D: Disk> {
    pub(crate) writer: LogWriter<D>,
    pub(crate) letters: Arc<LogBox>,
    pub(crate) node: Arc<Inbox<NodeLetter>>,
    pub(crate) pace: LogPace,
    pub(crate) stats: Arc<LogStats>,
    pub(crate) work: DiskWork,
}

/// What was appended and is not durable.
#[derive(Default)]
struct Batch {
    newest: Option<(Zxid, Generation)>,
    txns: usize,
}

impl<D: Disk> LogThread<D> {
    /// Runs until told to stop.
    pub(crate) fn run(mut self) {
        let mut linger = Linger::default();
        let mut synced = (0, Duration::ZERO);
        // What was taken from the box and is in no batch yet.
        let mut taken = VecDeque::new();
        loop {
            let mut batch = Batch::default();
            let mut running = self.take_waiting(&mut taken, &mut batch);
            let (durable, took) = synced;
            if durable > 0 {
                linger.on_sync(durable, took, batch.txns);
            }
            if running && batch.txns == 0 {
                self.letters.wait(1);
                running = self.take_waiting(&mut taken, &mut batch);
            }
            running = running && self.linger(&linger, &mut taken, &mut batch);
            synced = (batch.txns, self.commit(&batch));
            if !running {
                // Gives back what is reserved, so that the next start need not look through it.
                self.writer.roll();
                return;
            }
        }
    }

    /// Takes what waits, up to a whole batch. Whether to go on.
    fn take_waiting(&mut self, taken: &mut VecDeque<LogLetter>, batch: &mut Batch) -> bool {
        while batch.txns < self.pace.max_batch {
            if taken.is_empty() {
                self.letters.take(taken);
            }
            let Some(letter) = taken.pop_front() else { break };
            if !self.take(letter, batch) {
                return false;
            }
        }
        true
    }

    /// Waits for what may come soon. Whether to go on.
    fn linger(&mut self, linger: &Linger, taken: &mut VecDeque<LogLetter>, batch: &mut Batch) -> bool {
        let (patience, wanted) = if self.pace.flush_delay.is_zero() {
            (linger.patience(batch.txns), linger.expected().min(self.pace.max_batch))
        } else {
            (self.pace.flush_delay, self.pace.max_batch)
        };
        let began = Instant::now();
        while batch.txns > 0 && batch.txns < wanted {
            let left = patience.saturating_sub(began.elapsed());
            if left.is_zero() {
                break;
            }
            self.letters.wait_within(wanted - batch.txns, left);
            if !self.take_waiting(taken, batch) {
                return false;
            }
        }
        true
    }

    /// Whether to go on.
    fn take(&mut self, letter: LogLetter, batch: &mut Batch) -> bool {
        match letter {
            LogLetter::Append(proposals) => {
                for (proposal, generation) in proposals {
                    batch.newest = Some((proposal.zxid, generation));
                    batch.txns += 1;
                    self.writer.append(proposal.zxid, &proposal.bytes);
                }
                true
            }
            LogLetter::Roll => {
                // What was appended before belongs into the old file.
                self.commit(&std::mem::take(batch));
                self.writer.roll();
                true
            }
            LogLetter::WriteEpoch { which, epoch, generation } => {
                self.commit(&std::mem::take(batch));
                self.insist("an epoch", |thread| thread.work.write_epoch(which, epoch));
                let written = ostler_zab::Input::EpochWritten { which, epoch, generation };
                self.node.push(NodeLetter::Input(Input::Peer(written)));
                true
            }
            LogLetter::Truncate { to, generation } => {
                self.commit(&std::mem::take(batch));
                self.writer.close();
                let result = self.insist("the end of the log", |thread| thread.work.truncate(to));
                if let Some(store) = &result {
                    self.go_on_after(store.last_zxid());
                }
                self.node.push(NodeLetter::Input(Input::Truncated { result, generation }));
                true
            }
            LogLetter::SaveTree { store, zxid, generation } => {
                self.commit(&std::mem::take(batch));
                self.writer.close();
                self.insist("the tree of the leader", |thread| thread.work.save_tree(&store, zxid));
                self.go_on_after(zxid);
                self.node.push(NodeLetter::Input(Input::TreeSaved { store, generation }));
                true
            }
            LogLetter::Stop => false,
        }
    }

    /// The files have changed under the writer: the log ends here now.
    fn go_on_after(&mut self, last: Zxid) {
        self.writer.continue_after(last);
        self.stats.last_durable.store(last.0, Ordering::Relaxed);
    }

    /// Does a piece of work that begins anew each time. While there is no room, writes are refused, and it is tried
    /// again.
    fn insist<T>(&mut self, what: &str, work: impl FnMut(&mut Self) -> ostler_store::Result<T>) -> T {
        self.try_while(what, ostler_store::Error::is_full, work)
    }

    /// Does a piece of work, again and again while its error says that there is no room and nothing was done.
    fn try_while<T>(
        &mut self,
        what: &str,
        no_room: impl Fn(&ostler_store::Error) -> bool,
        mut work: impl FnMut(&mut Self) -> ostler_store::Result<T>,
    ) -> T {
        let mut told_full = false;
        let done = loop {
            match work(self) {
                Ok(done) => break done,
                Err(cause) if no_room(&cause) => {
                    if !told_full {
                        error!(%cause, "no space for {what}: writes are refused, reads are served; looking again every second");
                        self.node.push(NodeLetter::Input(Input::LogFull));
                        told_full = true;
                    }
                    std::thread::sleep(RETRY);
                }
                Err(cause) => self.fail(&cause),
            }
        };
        if told_full {
            info!("there is space for {what} again");
            self.node.push(NodeLetter::Input(Input::LogRoom));
        }
        done
    }

    /// Makes a batch durable and says so; yields how long that took.
    fn commit(&mut self, batch: &Batch) -> Duration {
        let Some((zxid, generation)) = batch.newest else { return Duration::ZERO };
        // A sync that finds no room has failed like any other: only what was not written may be tried again.
        let nothing_written = |cause: &ostler_store::Error| matches!(cause, ostler_store::Error::Full(_));
        let took = self.try_while("the transaction log", nothing_written, |thread| {
            let began = Instant::now();
            thread.writer.commit().map(|_| began.elapsed())
        });
        self.note_sync(took, zxid);
        self.node.push(NodeLetter::Input(Input::Persisted { zxid, generation }));
        took
    }

    fn fail(&self, cause: &ostler_store::Error) -> ! {
        error!(%cause, last_durable = %Zxid(self.stats.last_durable.load(Ordering::Relaxed)),
            "cannot write the transaction log or what belongs to it; stopping, since nobody knows what is on disk now");
        std::process::exit(exit::LOG_FAILED);
    }

    fn note_sync(&self, took: Duration, zxid: Zxid) {
        self.stats.commits.fetch_add(1, Ordering::Relaxed);
        self.stats.last_durable.store(zxid.0, Ordering::Relaxed);
        let ms = i64::try_from(took.as_millis()).unwrap_or(i64::MAX);
        self.stats.fsync_ms.lock().unwrap_or_else(PoisonError::into_inner).add(ms);
        if took > self.pace.slow_sync {
            warn!(ms, "syncing the transaction log took long; all writes wait for it");
        }
    }
}
