//! Bytes as a table, as `get -x` prints them: sixteen in a row, with their offset and what is printable of them.

use std::fmt::Write as _;

const BYTES_IN_ROW: usize = 16;

/// The table, without a line end behind it; nothing for no bytes.
pub(super) fn dump(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return String::new();
    }
    let rule = format!("+--------+{}+{}+", "-".repeat(49), "-".repeat(16));
    let mut text = format!("         +{}+\n         |", "-".repeat(49));
    for column in 0..BYTES_IN_ROW {
        let _ = write!(text, "  {column:x}");
    }
    let _ = write!(text, " |\n{rule}");
    for (row, bytes) in bytes.chunks(BYTES_IN_ROW).enumerate() {
        let _ = write!(text, "\n|{:08x}|", row * BYTES_IN_ROW);
        for byte in bytes {
            let _ = write!(text, " {byte:02x}");
        }
        let missing = BYTES_IN_ROW - bytes.len();
        let shown: String = bytes
            .iter()
            .map(|byte| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' })
            .collect();
        let _ = write!(text, "{} |{shown}{}|", "   ".repeat(missing), " ".repeat(missing));
    }
    let _ = write!(text, "\n{rule}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_shows_offset_bytes_and_text() {
        let text = dump(b"hello\0world 12345");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "         +-------------------------------------------------+");
        assert_eq!(lines[1], "         |  0  1  2  3  4  5  6  7  8  9  a  b  c  d  e  f |");
        assert_eq!(lines[2], "+--------+-------------------------------------------------+----------------+");
        assert_eq!(lines[3], "|00000000| 68 65 6c 6c 6f 00 77 6f 72 6c 64 20 31 32 33 34 |hello.world 1234|");
        assert_eq!(lines[4], "|00000010| 35                                              |5               |");
        assert_eq!(lines[5], lines[2]);
        assert_eq!(dump(b""), "");
    }
}
