//! The identifiers of ZooKeeper as types of their own, so that none is taken for another.

use std::fmt;

/// A transaction id: epoch in the high 32 bits, counter in the low 32. Ordered as a signed 64-bit number, as Java
/// orders it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Zxid(pub i64);

impl Zxid {
    /// Before the first transaction.
    pub const ZERO: Self = Self(0);

    /// The zxid with this epoch and counter.
    #[must_use]
    pub fn new(epoch: u32, counter: u32) -> Self {
        Self(((u64::from(epoch) << 32) | u64::from(counter)).cast_signed())
    }

    /// The epoch of the leader that proposed it.
    #[must_use]
    pub fn epoch(self) -> u32 {
        (self.0.cast_unsigned() >> 32) as u32
    }

    /// Its place within the epoch.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the low half is what is asked for")]
    pub fn counter(self) -> u32 {
        self.0 as u32
    }

    /// The next zxid of the same epoch.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

impl fmt::Display for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}

/// A session id; its top byte is the id of the server that made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SessionId(pub i64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}

/// The id of a server in the ensemble (`myid`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ServerId(pub i64);

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A request's number on its connection, chosen by the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Xid(pub i32);

impl Xid {
    /// The xid of watch events.
    pub const NOTIFICATION: Self = Self(-1);
    /// The xid of pings, in both directions.
    pub const PING: Self = Self(-2);
    /// The xid of auth packets.
    pub const AUTH: Self = Self(-4);
    /// The xid that clients use for setWatches.
    pub const SET_WATCHES: Self = Self(-8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zxid_is_epoch_and_counter() {
        let zxid = Zxid::new(3, 7);
        assert_eq!((zxid.epoch(), zxid.counter(), zxid.0), (3, 7, 0x3_0000_0007));
        assert_eq!(zxid.to_string(), "0x300000007");
        assert_eq!(Zxid(-1).epoch(), u32::MAX);
    }
}
