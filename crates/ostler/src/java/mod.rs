//! What Java's tools show that comes from Java's own library rather than from ZooKeeper: dates, the order in which a
//! hash set yields its members, and how command lines are taken apart. Scripts compare outputs, so ours are the same.

pub(crate) mod dates;
pub(crate) mod hash_order;
pub(crate) mod options;
