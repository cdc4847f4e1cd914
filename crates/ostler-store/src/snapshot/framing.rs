//! The framing of snappy-java's `SnappyOutputStream`: a magic, two versions, then blocks with their compressed
//! length in front, each of at most 32 KiB of input when Java writes it.

use std::io::{self, Read};

/// What the stream begins with.
pub(super) const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// The version that is written, and the oldest that reads it.
const VERSIONS: [u8; 8] = [0, 0, 0, 1, 0, 0, 0, 1];
/// Bytes of input in a block.
pub(super) const BLOCK: usize = 32 << 10;
/// The most that a block may hold: snappy-java allows other block sizes than its default.
const LONGEST_BLOCK: usize = 8 << 20;

/// What a stream begins with.
pub(super) fn header() -> [u8; 16] {
    let mut header = [0; 16];
    header[..8].copy_from_slice(&MAGIC);
    header[8..].copy_from_slice(&VERSIONS);
    header
}

/// Appends one block.
pub(super) fn encode_block(input: &[u8], out: &mut Vec<u8>) -> Result<(), snap::Error> {
    let compressed = snap::raw::Encoder::new().compress_vec(input)?;
    let length = u32::try_from(compressed.len()).expect("a block is 32 KiB");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&compressed);
    Ok(())
}

/// Uncompresses a stream.
pub(super) struct SnappyReader<R> {
    inner: R,
    begun: bool,
    compressed: Vec<u8>,
    block: Vec<u8>,
    at: usize,
}

impl<R: Read> SnappyReader<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, begun: false, compressed: Vec::new(), block: Vec::new(), at: 0 }
    }

    pub(super) fn get_mut(&mut self) -> &mut R {
        &mut self.inner
    }

    /// Reads the next block; false at the end of the stream.
    fn next_block(&mut self) -> io::Result<bool> {
        if !self.begun {
            let mut header = [0; 16];
            self.inner.read_exact(&mut header)?;
            if header[..8] != MAGIC {
                return Err(invalid("not a snappy stream"));
            }
            self.begun = true;
        }
        let mut length = [0; 4];
        let mut got = 0;
        while got < 4 {
            match self.inner.read(&mut length[got..])? {
                0 if got == 0 => return Ok(false),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => got += n,
            }
        }
        let length = u32::from_be_bytes(length) as usize;
        if length > LONGEST_BLOCK {
            return Err(invalid("unreasonable length of a snappy block"));
        }
        self.compressed.clear();
        // Read through `take`, so that memory is taken only for bytes that are there.
        let read = (&mut self.inner).take(length as u64).read_to_end(&mut self.compressed)?;
        if read < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let plain = snap::raw::decompress_len(&self.compressed).map_err(io::Error::other)?;
        // No snappy block expands more than this: an element of two bytes gives at most 64.
        if plain > LONGEST_BLOCK || plain > length.saturating_mul(64) {
            return Err(invalid("unreasonable length of a snappy block"));
        }
        self.block.resize(plain, 0);
        let written = snap::raw::Decoder::new()
            .decompress(&self.compressed, &mut self.block)
            .map_err(io::Error::other)?;
        self.block.truncate(written);
        self.at = 0;
        Ok(true)
    }
}

impl<R: Read> Read for SnappyReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.block.len() {
            if !self.next_block()? {
                return Ok(0);
            }
        }
        let n = buffer.len().min(self.block.len() - self.at);
        buffer[..n].copy_from_slice(&self.block[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_read_back() {
        let input: Vec<u8> = (0..100_000_u32).map(|i| (i / 7) as u8).collect();
        let mut stream = header().to_vec();
        for block in input.chunks(BLOCK) {
            encode_block(block, &mut stream).unwrap();
        }
        let mut output = Vec::new();
        SnappyReader::new(&stream[..]).read_to_end(&mut output).unwrap();
        assert_eq!(output, input);
        for cut in [8, 17, stream.len() - 1] {
            assert!(SnappyReader::new(&stream[..cut]).read_to_end(&mut Vec::new()).is_err(), "{cut}");
        }
    }

    #[test]
    fn a_block_that_claims_much_takes_no_memory() {
        let mut stream = header().to_vec();
        stream.extend_from_slice(&0x7fff_ffff_u32.to_be_bytes());
        assert!(SnappyReader::new(&stream[..]).read_to_end(&mut Vec::new()).is_err());
        let mut stream = header().to_vec();
        stream.extend_from_slice(&5_u32.to_be_bytes());
        stream.extend_from_slice(&[0xff, 0xff, 0xff, 0x03, 0]);
        assert!(SnappyReader::new(&stream[..]).read_to_end(&mut Vec::new()).is_err());
    }
}
