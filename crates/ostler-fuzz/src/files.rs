//! The files of a data directory: logs, snapshots and both together; and the tree that a leader sends.

use ostler_node::recover::recover as recover_store;
use ostler_node::tree_stream::{Progress, TreeError, TreeReceiver, TreeSender};
use ostler_store::log::{LogReader, encode_record, named};
use ostler_store::snapshot::{self, is_plausible};
use ostler_store::{Compression, Dir, FilePath, Limits, Named, RestoreOptions};
use ostler_tree::{Store, TreeConfig, Walk};
use ostler_wire::Zxid;
use ostler_wire::disk::{SNAPSHOT_END, log_header, snapshot_header};
use ostler_wire::txn::TxnEntry;

use crate::MAX_INPUT;
use crate::disk::MemDisk;

/// A snapshot of 64 KiB can unpack to much more; a server reads it in pieces, a test need not read all of them.
const MAX_UNPACKED: u64 = 4 << 20;

/// One log, as it is or behind a good header.
pub(crate) fn log(input: &[u8]) {
    let Some((mode, bytes)) = input.split_first() else { return };
    let mut file = if mode & 1 == 1 { log_header().to_vec() } else { Vec::new() };
    let mut first = Zxid(1);
    if mode & 2 == 2 {
        // The fuzzer cannot know checksums: cut the input into records that hold.
        let entries = entries(bytes);
        if let Some(zxid) = entries.first().and_then(|entry| TxnEntry::peek_zxid(entry).ok()) {
            first = zxid;
        }
        for entry in entries {
            encode_record(entry, &mut file);
        }
        file.resize(file.len() + usize::from(mode >> 2), 0);
    } else {
        file.extend_from_slice(bytes);
    }
    let length = file.len() as u64;
    let disk = MemDisk::default();
    disk.put(Dir::Log, "log.1", file);
    let Ok(mut reader) = LogReader::open(&disk, &named(FilePath::new(Dir::Log, "log.1"), first)) else {
        return;
    };
    loop {
        match reader.read() {
            Ok(Some(record)) => {
                assert!(record.offset < record.end && record.end <= length);
                let _ = TxnEntry::decode(&record.bytes);
            }
            Ok(None) => {
                assert!(reader.end().is_some());
                break;
            }
            Err(error) => {
                assert!(!error.to_string().is_empty());
                break;
            }
        }
    }
}

/// A snapshot without compression, loaded into a tree.
pub(crate) fn snapshot_plain(input: &[u8]) {
    let Some((mode, bytes)) = input.split_first() else { return };
    let file = match mode % 3 {
        0 => bytes.to_vec(),
        1 => [&snapshot_header(), bytes].concat(),
        _ => sealed(bytes),
    };
    let disk = MemDisk::default();
    disk.put(Dir::Snap, "snapshot.1", file);
    load(&disk, RestoreOptions::default());
}

/// A snapshot in the format of gzip.
pub(crate) fn snapshot_gzip(input: &[u8]) {
    verify("snapshot.1.gz", Compression::Gzip, input);
}

/// A snapshot in the format of snappy-java.
pub(crate) fn snapshot_snappy(input: &[u8]) {
    verify("snapshot.1.snappy", Compression::Snappy, input);
}

fn verify(name: &str, compression: Compression, input: &[u8]) {
    let disk = MemDisk::default();
    disk.put(Dir::Snap, name, input.to_vec());
    let snapshot = Named { path: FilePath::new(Dir::Snap, name), zxid: Zxid(1), compression };
    let _ = is_plausible(&disk, &snapshot);
    let limits = Limits { max_total_bytes: MAX_UNPACKED, ..Limits::default() };
    let _ = snapshot::verify(&disk, &snapshot, limits);
}

/// A whole directory: a snapshot whose seal holds, epochs, and a log whose checksums hold. What comes up is written
/// as a snapshot again and read back to the same tree.
pub(crate) fn recover(input: &[u8]) {
    let mut rest = input;
    let mode = take(&mut rest, 1).first().copied().unwrap_or_default();
    let length = take_length(&mut rest);
    let body = take(&mut rest, length);
    let length = usize::from(take(&mut rest, 1).first().copied().unwrap_or_default() & 15);
    let epoch = take(&mut rest, length);
    let disk = MemDisk::default();
    if mode & 1 == 1 {
        disk.put(Dir::Snap, "snapshot.0", sealed(body));
    }
    if mode & 2 == 2 {
        disk.put(Dir::Snap, "currentEpoch", epoch.to_vec());
        disk.put(Dir::Snap, "acceptedEpoch", epoch.to_vec());
    }
    let entries = entries(rest);
    let first = entries.first().and_then(|entry| TxnEntry::peek_zxid(entry).ok()).unwrap_or(Zxid(1));
    let mut log = log_header().to_vec();
    for entry in entries {
        encode_record(entry, &mut log);
    }
    if mode & 4 == 4 {
        log.truncate(log.len().saturating_sub(1));
    }
    disk.put(Dir::Log, &format!("log.{:x}", first.0), log);
    let limits = Limits { max_total_bytes: MAX_UNPACKED, ..Limits::default() };
    let options = RestoreOptions { trust_empty: true, allow_gaps: mode & 8 == 8, limits };
    let Some(store) = load(&disk, options) else { return };
    let _ = ostler_store::epochs::load_epochs(&disk, store.last_zxid());
    // A start that follows finds the same.
    if let Ok(again) = recover_store(&disk, options, &TreeConfig::default()) {
        assert_eq!(again.store.digest(), store.digest(), "a second start finds another tree");
        assert_eq!(again.store.node_count(), store.node_count());
    }
}

/// A tree from a leader, in pieces of the size that the first byte says. However it is cut, the same comes out; what
/// is taken is sent on as a tree that reads as the same.
pub(crate) fn tree_stream(input: &[u8]) {
    let Some((size, stream)) = input.split_first() else { return };
    let whole = receive(stream, stream.len().max(1));
    let cut = receive(stream, usize::from(*size).max(1));
    match (whole, cut) {
        (Ok(whole), Ok(cut)) => {
            assert_eq!(whole.is_some(), cut.is_some(), "whether it is whole depends on how it is cut");
            let (Some((whole, used)), Some((cut, used_cut))) = (whole, cut) else { return };
            assert_eq!((used, whole.digest()), (used_cut, cut.digest()), "the tree depends on how it is cut");
            let (mut sender, mut again) = (TreeSender::new(&whole), Vec::new());
            while !sender.next(&whole, &mut again) {}
            let again = receive(&again, again.len()).expect("an own tree is one");
            let (again, _) = again.expect("an own tree has an end");
            assert_eq!((again.digest(), again.node_count()), (whole.digest(), whole.node_count()));
        }
        (whole, cut) => assert_eq!(whole.err(), cut.err(), "the error depends on how it is cut"),
    }
}

/// The tree and how many bytes it took, if it is whole.
fn receive(stream: &[u8], size: usize) -> Result<Option<(Store, usize)>, TreeError> {
    let mut receiver = TreeReceiver::new(TreeConfig::default(), MAX_INPUT / 2);
    let mut at = 0;
    for piece in stream.chunks(size) {
        match receiver.feed(piece)? {
            Progress::Wanted => at += piece.len(),
            Progress::Done { used } => return Ok(Some((receiver.finish(Zxid(5))?, at + used))),
        }
    }
    Ok(None)
}

fn load(disk: &MemDisk, options: RestoreOptions) -> Option<Store> {
    let recovered = match recover_store(disk, options, &TreeConfig::default()) {
        Ok(recovered) => recovered,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return None;
        }
    };
    let mut out = Vec::new();
    let mut walk = Walk::new(&recovered.store);
    while !walk.next(&recovered.store, 256, 64 << 10, &mut out) {}
    Some(recovered.store)
}

/// A snapshot around a body: header, body, end mark and a seal that holds.
fn sealed(body: &[u8]) -> Vec<u8> {
    let mut file = [&snapshot_header(), body, &SNAPSHOT_END].concat();
    let checksum = simd_adler32::adler32(&file.as_slice());
    file.extend_from_slice(&i64::from(checksum).to_be_bytes());
    file.extend_from_slice(&SNAPSHOT_END);
    file
}

/// The input as pieces, each behind its length in two bytes.
fn entries(mut input: &[u8]) -> Vec<&[u8]> {
    let mut entries = Vec::new();
    while !input.is_empty() {
        let length = take_length(&mut input);
        entries.push(take(&mut input, length));
    }
    entries
}

fn take_length(input: &mut &[u8]) -> usize {
    take(input, 2).iter().fold(0, |length, byte| length << 8 | usize::from(*byte))
}

fn take<'a>(input: &mut &'a [u8], n: usize) -> &'a [u8] {
    let (taken, rest) = input.split_at(n.min(input.len()));
    *input = rest;
    taken
}
