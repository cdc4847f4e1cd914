//! What `mend` has to do for the records at the end of a log: found by the simulator.

use ostler_store::sim::{Fault, FaultPlan, PowerCut, SimDisk};
use ostler_store::{DiskOp, LogOptions, LogWriter, Replay, mend};
use ostler_wire::txn::{Txn, TxnEntry, TxnHeader};
use ostler_wire::{SessionId, Zxid};

const SMALL: LogOptions = LogOptions { reserve_bytes: 4096, roll_bytes: 0, force_sync: true };

/// A record that a recovery serves stays, also when the sync before the last start had failed, or never came.
#[test]
fn what_was_recovered_survives_the_next_power_cut() {
    for fault in [None, Some(Fault::Error)] {
        let disk = SimDisk::new(true);
        let mut log = LogWriter::new(disk.clone(), SMALL, Zxid::ZERO);
        log.append(Zxid(1), &entry_bytes(1));
        log.commit().unwrap();
        log.append(Zxid(2), &entry_bytes(2));
        match fault {
            None => disk.plan(FaultPlan::at_next(DiskOp::SyncData, Fault::CrashBefore)),
            Some(fault) => disk.plan(FaultPlan::at_next(DiskOp::SyncData, fault)),
        }
        log.commit().unwrap_err();
        let disk = disk.revive();
        let mut replay = Replay::new(&disk, Zxid::ZERO, false).unwrap();
        while replay.read().unwrap().is_some() {}
        assert_eq!(replay.last(), Zxid(2), "the system still has it");
        mend(&disk, replay.tail().unwrap()).unwrap();
        let disk = disk.power_cut(1, PowerCut::DropUnsynced);
        let mut replay = Replay::new(&disk, Zxid::ZERO, false).unwrap();
        while replay.read().unwrap().is_some() {}
        assert_eq!(replay.last(), Zxid(2), "{fault:?}");
    }
}

fn entry_bytes(zxid: i64) -> Vec<u8> {
    let header = TxnHeader { session: SessionId(1), cxid: 1, zxid: Zxid(zxid), time_ms: 1 };
    let entry = TxnEntry { header, txn: Txn::CreateSession { timeout_ms: 4000 }, digest: None };
    let mut bytes = Vec::new();
    entry.encode(&mut bytes);
    bytes
}
