//! The closed list of differences that are meant, each with its reason. Anything else fails the run.
//!
//! Three more are taken out before anything is compared: session ids and passwords (`Side::owner`), the order of sets
//! (`reply`), and how a character beyond U+FFFF is spelled in bytes (`raw::text`).

use super::op;
use super::reply::Item;

/// One meant difference.
pub(crate) struct Explained {
    /// A short name for the summary.
    pub(crate) name: &'static str,
    /// Why it is meant.
    pub(crate) reason: &'static str,
    /// True for the pair of answers it covers: operation, the reference's answer, ours.
    covers: fn(i32, &Item, &Item) -> bool,
}

/// The one difference after which ours has to spend a zxid to keep step.
pub(crate) const UNDECODABLE_MULTI: &str = "undecodable-multi";

/// All meant differences.
pub(crate) const LIST: [Explained; 3] = [
    Explained {
        name: "bytes-behind-error",
        reason: "the reference leaves parts of a half-built body behind the header of a failed multiRead; \
                 clients ignore bytes behind an error, and sending none is cleaner",
        covers: |code, java, ours| {
            code == op::MULTI_READ
                && java.err == ours.err
                && java.err != 0
                && java.zxid == ours.zxid
                && java.xid == ours.xid
        },
    },
    Explained {
        name: UNDECODABLE_MULTI,
        reason: "the reference spends a zxid and logs an error for a multi that it cannot decode; \
                 ours answers -5 without a transaction, as both do for every other undecodable write",
        covers: |code, java, ours| {
            code == op::MULTI && java.err == -5 && ours.err == -5 && java.zxid == ours.zxid + 1
        },
    },
    Explained {
        name: "ping-overtakes",
        reason: "a ping is answered ahead of the same connection's pending writes, with the zxid reached so far",
        covers: |code, java, ours| {
            code == op::PING && java.err == ours.err && java.xid == ours.xid && ours.zxid <= java.zxid
        },
    },
];

/// The entry that covers a pair of differing answers.
pub(crate) fn find(code: i32, java: &Item, ours: &Item) -> Option<&'static Explained> {
    LIST.iter().find(|entry| (entry.covers)(code, java, ours))
}
