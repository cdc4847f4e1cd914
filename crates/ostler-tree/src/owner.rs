//! What `ephemeralOwner` says of a node. Besides session ids it holds marks of containers and TTL nodes. Answers
//! to Java's `EphemeralType`.

pub use ostler_wire::disk::CONTAINER_OWNER;

const EXTENDED: i64 = 0xff << 56;
const TTL_BITS: u32 = 40;

/// The longest time to live, in milliseconds.
pub const MAX_TTL_MS: i64 = (1 << TTL_BITS) - 1;

/// How long a node lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// Until it is deleted.
    Persistent,
    /// As long as this session.
    Session(i64),
    /// Until it has lost its last child.
    Container,
    /// Until it was left alone, without children, for so many milliseconds.
    Ttl(i64),
}

impl Lifetime {
    /// Reads an owner. TTL nodes exist only where extended types are enabled, elsewhere their mark is a session's
    /// id. Java refuses an extended owner with unknown bits; here it is a session's, too.
    #[must_use]
    pub fn of(owner: i64, extended_types: bool) -> Self {
        match owner {
            0 => Self::Persistent,
            CONTAINER_OWNER => Self::Container,
            _ if extended_types && owner & !MAX_TTL_MS == EXTENDED => Self::Ttl(owner & MAX_TTL_MS),
            _ => Self::Session(owner),
        }
    }

    /// Whether it goes with a session.
    #[must_use]
    pub fn is_session(self) -> bool {
        matches!(self, Self::Session(_))
    }

    /// What clients are told.
    #[must_use]
    pub fn reported(self) -> i64 {
        if let Self::Session(id) = self { id } else { 0 }
    }
}

/// The owner of a node with this time to live; `None` if it is out of range.
#[must_use]
pub fn of_ttl(ttl_ms: i64) -> Option<i64> {
    (1..=MAX_TTL_MS).contains(&ttl_ms).then_some(EXTENDED | ttl_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners() {
        assert_eq!(Lifetime::of(0, true), Lifetime::Persistent);
        assert_eq!(Lifetime::of(i64::MIN, false), Lifetime::Container);
        assert_eq!(Lifetime::of(0x1234, true), Lifetime::Session(0x1234));
        let owner = of_ttl(5000).unwrap();
        assert_eq!(owner.cast_unsigned(), 0xff00_0000_0000_1388);
        assert_eq!(Lifetime::of(owner, true), Lifetime::Ttl(5000));
        assert_eq!(Lifetime::of(owner, false), Lifetime::Session(owner));
        assert_eq!(of_ttl(0), None);
        assert_eq!(of_ttl(MAX_TTL_MS).unwrap().cast_unsigned(), 0xff00_00ff_ffff_ffff);
        assert_eq!(of_ttl(MAX_TTL_MS + 1), None);
        assert_eq!(Lifetime::of(-1, true), Lifetime::Session(-1));
    }
}
