//! Records that are longer than any client's request: what the log took, a restart reads.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use ostler_store::sim::{PowerCut, SimDisk};
use ostler_store::{LogOptions, LogWriter, Replay, mend};
use ostler_wire::txn::{Txn, TxnEntry, TxnHeader};
use ostler_wire::{SessionId, Zxid};

/// ZOOKEEPER-4306, open upstream. The end of a session names all of its ephemerals, and with enough of them, each made
/// by a legal request, it is longer than `jute.maxbuffer`: no server could read its log any more. No server of ours
/// writes such a record (see `prepare` of the tree), but a log of Java's may hold it.
#[test]
fn the_end_of_a_session_with_many_ephemerals_is_read_again() {
    let paths: Vec<String> =
        (0..40_000).map(|n| format!("/services/of-a-long-name/instance-{n:010}/lock")).collect();
    let header = |zxid| TxnHeader { session: SessionId(1), cxid: 1, zxid: Zxid(zxid), time_ms: 1 };
    let mut close = Vec::new();
    TxnEntry { header: header(1), txn: Txn::CloseSession { paths: Some(paths) }, digest: None }
        .encode(&mut close);
    assert!(close.len() > 2 * 0xf_ffff, "{} bytes", close.len());
    let mut after = Vec::new();
    TxnEntry { header: header(2), txn: Txn::CreateSession { timeout_ms: 4000 }, digest: None }
        .encode(&mut after);

    let disk = SimDisk::new(true);
    let options = LogOptions { reserve_bytes: 4096, ..LogOptions::default() };
    let mut log = LogWriter::new(disk.clone(), options, Zxid::ZERO);
    log.append(Zxid(1), &close);
    log.append(Zxid(2), &after);
    log.commit().unwrap();
    let disk = disk.power_cut(1, PowerCut::DropUnsynced);
    let mut replay = Replay::new(&disk, Zxid::ZERO, false).unwrap();
    let mut read = Vec::new();
    while let Some(replayed) = replay.read().unwrap() {
        read.push(replayed.record.zxid);
    }
    assert_eq!(read, [Zxid(1), Zxid(2)]);
    mend(&disk, replay.tail().unwrap()).unwrap();
}
