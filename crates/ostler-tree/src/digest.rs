//! The digest of the tree, version 2: the sum of one CRC-32 per node over path, data and Stat. Each node keeps the
//! CRC of path and data, so that a change of its Stat costs 60 bytes. Answers to Java's `DigestCalculator` and
//! `AdHash`.

use crc32fast::Hasher;
use ostler_wire::disk::StatPersisted;

/// The CRC of path (empty for the root) and data, with which a node's digest begins.
pub(crate) fn prefix(path: &str, data: Option<&[u8]>) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(path.as_bytes());
    hasher.update(data.unwrap_or_default());
    hasher.finalize()
}

/// The digest of a node, from its prefix on.
pub(crate) fn of(prefix: u32, stat: &StatPersisted) -> u64 {
    let mut bytes = [0; StatPersisted::LEN];
    let longs = [stat.czxid, stat.mzxid, stat.pzxid, stat.ctime, stat.mtime];
    for (place, long) in bytes.chunks_exact_mut(8).zip(longs) {
        place.copy_from_slice(&long.to_be_bytes());
    }
    let ints = [stat.version, stat.cversion, stat.aversion];
    for (place, int) in bytes[40..52].chunks_exact_mut(4).zip(ints) {
        place.copy_from_slice(&int.to_be_bytes());
    }
    bytes[52..].copy_from_slice(&stat.ephemeral_owner.to_be_bytes());
    let mut hasher = Hasher::new_with_initial(prefix);
    hasher.update(&bytes);
    u64::from(hasher.finalize())
}

/// Whether the node at this path counts at all.
pub(crate) fn covers(path: &str) -> bool {
    !path.starts_with("/zookeeper/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_tree_has_the_digest_that_java_computes() {
        let stat = StatPersisted::default();
        let sum = of(prefix("", Some(b"")), &stat) + of(prefix("/zookeeper", None), &stat);
        assert_eq!(sum, 1_371_985_504);
    }

    #[test]
    fn the_prefix_can_be_kept() {
        let stat =
            StatPersisted { czxid: 3, pzxid: 5, version: 7, ephemeral_owner: -9, ..Default::default() };
        let mut whole = Vec::new();
        whole.extend_from_slice(b"/path");
        whole.extend_from_slice(b"data");
        for long in [3_i64, 0, 5, 0, 0] {
            whole.extend_from_slice(&long.to_be_bytes());
        }
        for int in [7_i32, 0, 0] {
            whole.extend_from_slice(&int.to_be_bytes());
        }
        whole.extend_from_slice(&(-9_i64).to_be_bytes());
        assert_eq!(of(prefix("/path", Some(b"data")), &stat), u64::from(crc32fast::hash(&whole)));
    }
}
