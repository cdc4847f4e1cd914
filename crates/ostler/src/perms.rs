//! Permissions as letters, in Java's order, and back.

use ostler_wire::acl::perms;

const LETTERS: [(char, i32); 5] = [
    ('c', perms::CREATE),
    ('d', perms::DELETE),
    ('r', perms::READ),
    ('w', perms::WRITE),
    ('a', perms::ADMIN),
];

/// The letters of the bits that are set.
pub(crate) fn letters(bits: i32) -> String {
    LETTERS.iter().filter(|(_, bit)| bits & bit != 0).map(|(letter, _)| letter).collect()
}

/// The bit of a letter.
pub(crate) fn bit(letter: char) -> Option<i32> {
    LETTERS.iter().find(|(known, _)| *known == letter).map(|(_, bit)| *bit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_come_in_the_order_of_java() {
        assert_eq!(letters(31), "cdrwa");
        assert_eq!(letters(perms::READ | perms::ADMIN), "ra");
        assert_eq!(bit('w'), Some(perms::WRITE));
        assert_eq!(bit('x'), None);
    }
}
