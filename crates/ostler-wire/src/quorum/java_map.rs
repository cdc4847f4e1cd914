//! The order in which Java's `HashMap` yields keys of type `Long`. The lines of the member list stand in it, and
//! since servers compare that text as bytes in places, so do ours.

/// Puts what was inserted in this order into the order in which a map yields it. The map has grown as far as the
/// items demand; keys that share a place stay in the order of insertion.
pub(super) fn sort<T>(items: &mut [T], key: impl Fn(&T) -> i64) {
    let mut places = 16;
    while items.len() > places / 4 * 3 {
        places *= 2;
    }
    items.sort_by_key(|item| spread(key(item)) & (places - 1));
}

/// What a map makes of a key.
#[expect(clippy::cast_possible_truncation, reason = "the hash of a Long folds its halves")]
fn spread(key: i64) -> usize {
    let key = key.cast_unsigned();
    let hash = (key ^ (key >> 32)) as u32;
    (hash ^ (hash >> 16)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sets of ids that were put into a `HashMap` in ascending order, as OpenJDK 17 yielded them.
    const YIELDED: [&[i64]; 7] = [
        &[104, 25, 187],
        &[53, 85, 104, 168, 9],
        &[240, 1, 242, 181, 246, 39, 247, 40, 233, 124, 141, 239],
        &[129, 101, 197, 40, 168, 233, 138, 75, 149, 88, 29, 221, 94],
        &[
            96, 1, 225, 194, 35, 36, 5, 133, 70, 40, 10, 139, 206, 177, 19, 115, 147, 180, 244, 218, 123,
            156, 190, 159,
        ],
        &[
            0, 2, 133, 70, 138, 216, 159, 32, 33, 227, 100, 104, 41, 45, 110, 174, 47, 48, 243, 52, 55, 249,
            59, 124, 62,
        ],
        &[
            129, 3, 67, 68, 69, 71, 9, 74, 139, 13, 78, 85, 150, 87, 151, 28, 92, 29, 30, 95, 224, 161, 35,
            99, 163, 167, 232, 109, 46, 113, 52, 118, 246, 183, 58, 251, 125, 253, 126, 255,
        ],
    ];

    #[test]
    fn the_order_of_a_java_map() {
        for yielded in YIELDED {
            let mut sorted = yielded.to_vec();
            sorted.sort_unstable();
            sort(&mut sorted, |id| *id);
            assert_eq!(sorted, yielded);
        }
        let odd = [i64::MIN, -1, -17, 0x1_0000_0000, 0x1_0000, 0x1_2345, 5];
        let mut sorted = odd;
        sort(&mut sorted, |id| *id);
        assert_eq!(sorted, odd);
    }
}
