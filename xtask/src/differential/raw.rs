//! Jute bytes, written and read by hand.
//!
//! This is deliberately not `ostler-wire`: a second opinion that shares no line with the code under test, and one that
//! can also say what no well-behaved client would say (null vectors, negative counts, broken UTF-8).

/// Writes jute primitives.
#[derive(Debug, Default, Clone)]
pub(crate) struct Enc(pub(crate) Vec<u8>);

impl Enc {
    /// An empty buffer.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Four bytes, big endian.
    pub(crate) fn int(mut self, value: i32) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// Eight bytes, big endian.
    pub(crate) fn long(mut self, value: i64) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// One byte as it is, so that a boolean can also be 2.
    pub(crate) fn byte(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    /// A buffer or string; `None` is the null value, length -1.
    pub(crate) fn buffer(self, value: Option<&[u8]>) -> Self {
        match value {
            None => self.int(-1),
            Some(bytes) => {
                let mut next = self.int(i32::try_from(bytes.len()).expect("test data is small"));
                next.0.extend_from_slice(bytes);
                next
            }
        }
    }

    /// A string that is not null.
    pub(crate) fn string(self, value: &str) -> Self {
        self.buffer(Some(value.as_bytes()))
    }

    /// Bytes without a length.
    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// The bytes behind a frame length.
    pub(crate) fn frame(&self) -> Vec<u8> {
        frame(&self.0)
    }
}

/// Puts a frame length in front of bytes.
pub(crate) fn frame(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 4);
    out.extend_from_slice(&u32::try_from(payload.len()).expect("a frame is below 4 GiB").to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// Reads jute primitives; `None` means the bytes ran out or made no sense.
#[derive(Debug, Clone)]
pub(crate) struct Dec<'a> {
    rest: &'a [u8],
}

impl<'a> Dec<'a> {
    /// Reads from the start of `bytes`.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.rest.split_at_checked(count)?;
        self.rest = tail;
        Some(head)
    }

    /// Four bytes, big endian.
    pub(crate) fn int(&mut self) -> Option<i32> {
        Some(i32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    /// Eight bytes, big endian.
    pub(crate) fn long(&mut self) -> Option<i64> {
        Some(i64::from_be_bytes(self.take(8)?.try_into().ok()?))
    }

    /// One byte.
    pub(crate) fn byte(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    /// A buffer; the inner `None` is null.
    pub(crate) fn buffer(&mut self) -> Option<Option<&'a [u8]>> {
        match self.int()? {
            -1 => Some(None),
            length => Some(Some(self.take(usize::try_from(length).ok()?)?)),
        }
    }

    /// A string as text, null as `<null>`; bytes that are not UTF-8 are shown with replacement characters.
    pub(crate) fn string(&mut self) -> Option<String> {
        Some(self.buffer()?.map_or_else(|| "<null>".to_owned(), text))
    }

    /// A vector's count; null counts as 0.
    pub(crate) fn count(&mut self) -> Option<usize> {
        Some(usize::try_from(self.int()?).unwrap_or(0))
    }
}

/// A string's bytes as text. The reference writes characters beyond U+FFFF as two surrogates of three bytes each; they
/// are read as the one character they stand for, so that standard UTF-8 counts as the same answer.
pub(crate) fn text(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, tail)) = rest.split_first() {
        if let [0xed, a @ 0xa0..=0xaf, b, 0xed, c @ 0xb0..=0xbf, d, after @ ..] = rest {
            let part = |byte: &u8| u32::from(byte & 0x3f);
            let high = ((part(a) & 0x0f) << 6) | part(b);
            let low = ((part(c) & 0x0f) << 6) | part(d);
            if let Some(character) = char::from_u32(0x1_0000 + (high << 10) + low) {
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                rest = after;
                continue;
            }
        }
        out.push(*first);
        rest = tail;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Bytes as text for a report: printable ASCII as it is, the rest escaped, long runs cut.
pub(crate) fn show(bytes: &[u8]) -> String {
    let cut = bytes.len().min(120);
    let mut text: String = bytes[..cut].escape_ascii().to_string();
    if cut < bytes.len() {
        text.push_str(&format!("... ({} bytes)", bytes.len()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_surrogates_are_one_character() {
        assert_eq!(text(b"/\xed\xa0\xbd\xed\xb8\x80"), "/\u{1f600}");
        assert_eq!(text("/\u{1f600} \u{e9}".as_bytes()), "/\u{1f600} \u{e9}");
        assert_eq!(text(b"\xed\xa0\xbd"), "\u{fffd}\u{fffd}\u{fffd}");
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let bytes = Enc::new().int(-2).long(7).buffer(None).string("x").byte(2).0;
        let mut dec = Dec::new(&bytes);
        assert_eq!((dec.int(), dec.long(), dec.buffer()), (Some(-2), Some(7), Some(None)));
        assert_eq!((dec.string(), dec.byte(), dec.byte()), (Some("x".to_owned()), Some(2), None));
    }
}
