//! Framing on the client port: a 4-byte length, then that many bytes; and before the handshake perhaps a
//! four-letter word in the place of the length.

/// What the bytes at hand begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// Fewer than 4 bytes, or a frame that has not arrived whole.
    Partial {
        /// How many bytes the whole takes, as far as is known.
        wanted: usize,
    },
    /// A whole frame: `len` bytes of payload after the 4-byte length.
    Frame {
        /// Bytes of the payload.
        len: usize,
    },
    /// A length below zero or above the limit: close the connection without an answer.
    BadLength(i32),
}

/// What `bytes` begin with, when a frame may hold at most `max` bytes.
#[must_use]
pub fn head(bytes: &[u8], max: usize) -> Head {
    let Some(length) = bytes.first_chunk::<4>() else { return Head::Partial { wanted: 4 } };
    let length = i32::from_be_bytes(*length);
    match usize::try_from(length) {
        Ok(len) if len <= max && bytes.len() >= 4 + len => Head::Frame { len },
        Ok(len) if len <= max => Head::Partial { wanted: 4 + len },
        _ => Head::BadLength(length),
    }
}

/// The commands that a connection may send instead of a handshake, and the interrupt sequence of telnet.
pub const FOUR_LETTER_WORDS: [[u8; 4]; 19] = [
    *b"conf",
    *b"cons",
    *b"crst",
    *b"dirs",
    *b"dump",
    *b"envi",
    *b"gtmk",
    *b"hash",
    *b"isro",
    *b"mntr",
    *b"ruok",
    *b"srst",
    *b"srvr",
    *b"stat",
    *b"stmk",
    *b"wchc",
    *b"wchp",
    *b"wchs",
    [0xff, 0xf4, 0xff, 0xfd],
];

/// Whether the first four bytes of a connection are a command.
#[must_use]
pub fn is_four_letter_word(first: [u8; 4]) -> bool {
    FOUR_LETTER_WORDS.contains(&first)
}

/// Reserves the place of a frame's length; what is then appended is the payload. Give the result to [`finish`].
pub fn start(out: &mut Vec<u8>) -> usize {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    at
}

/// Writes the length of the frame that was begun at `at`.
#[inline]
pub fn finish(out: &mut [u8], at: usize) {
    let length = i32::try_from(out.len() - at - 4).expect("what we send is far below 2 GiB");
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_checked_before_anything_else() {
        let max = 0xf_ffff;
        assert_eq!(head(&[0, 0], max), Head::Partial { wanted: 4 });
        assert_eq!(head(&[0, 0, 0, 2, 9], max), Head::Partial { wanted: 6 });
        assert_eq!(head(&[0, 0, 0, 2, 9, 9, 7], max), Head::Frame { len: 2 });
        assert_eq!(head(&[0, 0, 0, 0], max), Head::Frame { len: 0 });
        assert_eq!(head(&[0, 0x0f, 0xff, 0xff], max), Head::Partial { wanted: 4 + 0xf_ffff });
        assert_eq!(head(&[0, 0x10, 0, 0], max), Head::BadLength(0x10_0000));
        assert_eq!(head(&[0xff; 4], max), Head::BadLength(-1));
    }

    #[test]
    fn a_frame_is_measured_when_it_is_finished() {
        let mut out = vec![1];
        let at = start(&mut out);
        out.extend_from_slice(b"abc");
        finish(&mut out, at);
        assert_eq!(out, [1, 0, 0, 0, 3, b'a', b'b', b'c']);
    }
}
