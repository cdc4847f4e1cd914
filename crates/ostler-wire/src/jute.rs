//! Jute, the record encoding of ZooKeeper: big-endian integers, length-prefixed buffers and strings, counted
//! vectors. `Reader` borrows from the bytes of one frame or record and never allocates from a length that it has
//! not seen the bytes for. Answers to Java's `BinaryInputArchive` and `BinaryOutputArchive`.

use std::borrow::Cow;

use crate::error::DecodeError;

/// The default of `jute.maxbuffer` in bytes: the longest frame that a server accepts.
pub const DEFAULT_MAX_BUFFER: usize = 0xf_ffff;

/// A cursor over encoded bytes.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The longest buffer or string that is accepted, in bytes.
    limit: usize,
}

impl<'a> Reader<'a> {
    /// A reader without a length limit of its own: what bounds a length are the bytes that are there.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, limit: usize::MAX }
    }

    /// A reader that also refuses buffers and strings longer than `limit` bytes.
    #[must_use]
    pub fn with_limit(bytes: &'a [u8], limit: usize) -> Self {
        Self { bytes, at: 0, limit }
    }

    /// The offset of the next byte.
    #[must_use]
    pub fn position(&self) -> usize {
        self.at
    }

    /// How many bytes are left.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The bytes that are left, without moving.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// Takes exactly `n` bytes.
    #[inline]
    pub fn take(&mut self, n: usize, what: &'static str) -> Result<&'a [u8], DecodeError> {
        if n > self.remaining() {
            return Err(DecodeError::end(what, self.at, n, self.remaining()));
        }
        let taken = &self.bytes[self.at..self.at + n];
        self.at += n;
        Ok(taken)
    }

    /// The next `N` bytes; `None`, and nothing is taken, if they are not all there.
    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let taken = self.bytes[self.at..].first_chunk()?;
        self.at += N;
        Some(taken)
    }

    /// One byte.
    pub fn byte(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        Ok(self.take(1, what)?[0])
    }

    /// A boolean: any byte but zero is true.
    pub fn bool(&mut self, what: &'static str) -> Result<bool, DecodeError> {
        Ok(self.byte(what)? != 0)
    }

    /// A 32-bit integer.
    #[inline]
    pub fn int(&mut self, what: &'static str) -> Result<i32, DecodeError> {
        let bytes = self.take(4, what)?;
        Ok(i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// A 64-bit integer.
    #[inline]
    pub fn long(&mut self, what: &'static str) -> Result<i64, DecodeError> {
        let b = self.take(8, what)?;
        Ok(i64::from_be_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]))
    }

    /// A buffer; `None` is null (length -1).
    #[inline]
    pub fn buffer(&mut self, what: &'static str) -> Result<Option<&'a [u8]>, DecodeError> {
        let at = self.at;
        let length = self.int(what)?;
        if length == -1 {
            return Ok(None);
        }
        match usize::try_from(length) {
            Ok(length) if length <= self.limit => Ok(Some(self.take(length, what)?)),
            _ => Err(DecodeError::length(what, at, i64::from(length), self.limit)),
        }
    }

    /// A string; `None` is null. Malformed UTF-8 becomes U+FFFD, as Java decodes it.
    pub fn string(&mut self, what: &'static str) -> Result<Option<Cow<'a, str>>, DecodeError> {
        Ok(self.buffer(what)?.map(decode_utf8))
    }

    /// A string that must be there.
    pub fn required_string(&mut self, what: &'static str) -> Result<Cow<'a, str>, DecodeError> {
        let at = self.at;
        self.string(what)?.ok_or_else(|| DecodeError::null(what, at))
    }

    /// The count of a vector; `None` is null (-1), other negative counts are an empty vector. The count is not to
    /// be trusted: read items until the bytes end, never reserve memory for it.
    pub fn count(&mut self, what: &'static str) -> Result<Option<u32>, DecodeError> {
        let count = self.int(what)?;
        Ok(if count == -1 { None } else { Some(u32::try_from(count).unwrap_or(0)) })
    }

    /// A vector of records; `None` is null.
    pub fn vector<T>(
        &mut self,
        what: &'static str,
        mut item: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<Vec<T>>, DecodeError> {
        let Some(count) = self.count(what)? else { return Ok(None) };
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(Some(items))
    }

    /// A vector of strings in which no string is null; a null vector is `None`.
    pub fn strings(&mut self, what: &'static str) -> Result<Option<Vec<String>>, DecodeError> {
        self.vector(what, |reader| Ok(reader.required_string(what)?.into_owned()))
    }
}

/// UTF-8 as Java's decoder reads it: each malformed sequence becomes one U+FFFD, and a surrogate that was written
/// as three bytes counts as one malformed sequence.
#[must_use]
pub fn decode_utf8(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(decode_malformed(bytes)),
    }
}

fn decode_malformed(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while !rest.is_empty() {
        match std::str::from_utf8(rest) {
            Ok(valid) => {
                text.push_str(valid);
                break;
            }
            Err(error) => {
                let (valid, bad) = rest.split_at(error.valid_up_to());
                text.push_str(std::str::from_utf8(valid).expect("valid up to here"));
                text.push(char::REPLACEMENT_CHARACTER);
                let skip = surrogate_len(bad).or_else(|| error.error_len()).unwrap_or(bad.len());
                rest = &bad[skip..];
            }
        }
    }
    text
}

/// How many bytes a surrogate takes up at the start of these, whole or broken off. Java takes such bytes together,
/// where Rust counts each.
fn surrogate_len(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [0xed, 0xa0..=0xbf, 0x80..=0xbf, ..] => Some(3),
        [0xed, 0xa0..=0xbf, ..] => Some(2),
        _ => None,
    }
}

/// Jute encoding onto a byte vector.
pub trait Writer {
    /// A boolean as one byte.
    fn put_bool(&mut self, value: bool);
    /// A 32-bit integer.
    fn put_int(&mut self, value: i32);
    /// A 64-bit integer.
    fn put_long(&mut self, value: i64);
    /// A buffer; `None` is null.
    fn put_buffer(&mut self, value: Option<&[u8]>);
    /// A string.
    fn put_string(&mut self, value: &str);
    /// The count of a vector.
    fn put_count(&mut self, count: usize);
    /// A vector of strings.
    fn put_strings<S: AsRef<str>>(&mut self, values: &[S]);
}

impl Writer for Vec<u8> {
    fn put_bool(&mut self, value: bool) {
        self.push(u8::from(value));
    }

    fn put_int(&mut self, value: i32) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn put_long(&mut self, value: i64) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn put_buffer(&mut self, value: Option<&[u8]>) {
        match value {
            None => self.put_int(-1),
            Some(bytes) => {
                self.put_count(bytes.len());
                self.extend_from_slice(bytes);
            }
        }
    }

    fn put_string(&mut self, value: &str) {
        self.put_buffer(Some(value.as_bytes()));
    }

    fn put_count(&mut self, count: usize) {
        self.put_int(i32::try_from(count).expect("what we encode is far below 2 GiB"));
    }

    fn put_strings<S: AsRef<str>>(&mut self, values: &[S]) {
        self.put_count(values.len());
        for value in values {
            self.put_string(value.as_ref());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn negative_and_huge_lengths_are_refused_without_allocating() {
        for length in [-2, i32::MIN, i32::MAX] {
            let mut bytes = Vec::new();
            bytes.put_int(length);
            assert!(Reader::new(&bytes).buffer("b").is_err(), "{length}");
        }
        let bytes = [0x7f, 0xff, 0xff, 0xff, 0, 0];
        assert!(Reader::new(&bytes).vector("v", |r| r.int("i")).is_err());
    }

    #[test]
    fn counts_below_minus_one_are_empty() {
        for (count, expected) in [(-1, None), (-2, Some(0)), (0, Some(0)), (3, Some(3))] {
            let mut bytes = Vec::new();
            bytes.put_int(count);
            assert_eq!(Reader::new(&bytes).count("c").unwrap(), expected);
        }
    }

    #[test]
    fn malformed_text_becomes_replacement_characters() {
        assert_eq!(decode_utf8(b"a\xffb"), "a\u{fffd}b");
        assert_eq!(decode_utf8(b"\xed\xa0\xbd\xed\xb8\x80"), "\u{fffd}\u{fffd}");
        assert_eq!(decode_utf8(b"\xe2\x82"), "\u{fffd}");
    }

    #[test]
    fn a_surrogate_that_breaks_off_is_one_malformed_sequence() {
        assert_eq!(decode_utf8(b"\xed\xa0\x01\xed\xb8\x80"), "\u{fffd}\u{1}\u{fffd}");
        assert_eq!(decode_utf8(b"\xed\xa0"), "\u{fffd}");
        assert_eq!(decode_utf8(b"\xed\xbf\xed\x41"), "\u{fffd}\u{fffd}A");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(i: i32, l: i64, b: bool, s: String, d: Option<Vec<u8>>) {
            let mut bytes = Vec::new();
            bytes.put_int(i);
            bytes.put_long(l);
            bytes.put_bool(b);
            bytes.put_string(&s);
            bytes.put_buffer(d.as_deref());
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.int("i").unwrap(), i);
            prop_assert_eq!(reader.long("l").unwrap(), l);
            prop_assert_eq!(reader.bool("b").unwrap(), b);
            prop_assert_eq!(reader.required_string("s").unwrap(), s.as_str());
            prop_assert_eq!(reader.buffer("d").unwrap(), d.as_deref());
            prop_assert_eq!(reader.remaining(), 0);
        }
    }
}
