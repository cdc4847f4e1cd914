//! The order in which Java's `HashMap` and `HashSet` yield what was put into them: by bucket, and within a bucket as it
//! was put in. The tables that Java turns into trees (more than eight keys in one bucket) keep that order here.

/// Sorts keys into Java's order. `first_buckets` is the size of the table when the first key comes: 16 for a plain
/// map, 8 for the children of a znode.
pub(crate) fn sort<T>(keys: &mut [T], first_buckets: usize, hash_of: impl Fn(&T) -> i32) {
    let mut buckets = first_buckets.max(1);
    while keys.len() > buckets / 4 * 3 {
        buckets *= 2;
    }
    let mask = u32::try_from(buckets - 1).unwrap_or(u32::MAX);
    keys.sort_by_key(|key| {
        let hash = hash_of(key).cast_unsigned();
        (hash ^ (hash >> 16)) & mask
    });
}

/// `String.hashCode`.
pub(crate) fn of_text(text: &str) -> i32 {
    text.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

/// `Long.hashCode`.
pub(crate) fn of_long(value: i64) -> i32 {
    let bits = value.cast_unsigned();
    u32::try_from((bits ^ (bits >> 32)) & u64::from(u32::MAX)).expect("32 bits").cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_java() {
        assert_eq!(of_text("zookeeper"), 1_600_681_804);
        assert_eq!(of_text(""), 0);
        assert_eq!(of_long(0x1_0000_0001), 0);
        assert_eq!(of_long(-1), 0);
    }

    #[test]
    fn a_set_yields_its_members_by_bucket() {
        // Twenty keys in a set of Java with room for eight at first.
        let mut keys: Vec<String> = (1..=20).map(|n| format!("k{n}")).collect();
        sort(&mut keys, 8, |key| of_text(key));
        assert_eq!(keys.len(), 20);
        let mut few = ["b", "a", "c"];
        sort(&mut few, 8, |key| of_text(key));
        assert_eq!(few, ["a", "b", "c"]);
    }
}
