//! A window over a stream: fields are parsed from one piece of memory, and the checksum of all that was consumed is
//! at hand. The window grows only by bytes that were really read, so a length that is a lie costs nothing.

use std::io::Read;

use simd_adler32::Adler32;

/// Bytes read at a time.
const PIECE: usize = 256 << 10;

/// Why a field cannot be read.
#[derive(Debug)]
pub(super) enum Stop {
    /// The stream ends.
    End,
    /// Reading failed.
    Failed(std::io::Error),
}

pub(super) struct Window<R> {
    inner: R,
    buffer: Vec<u8>,
    /// The next byte to be consumed.
    at: usize,
    /// Where the checksum begins that is not computed yet.
    hashed: usize,
    /// The offset of the buffer in the stream.
    start: u64,
    ended: bool,
    adler: Adler32,
}

impl<R: Read> Window<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, buffer: Vec::new(), at: 0, hashed: 0, start: 0, ended: false, adler: Adler32::new() }
    }

    /// The offset of the next byte in the stream.
    pub(super) fn position(&self) -> u64 {
        self.start + self.at as u64
    }

    pub(super) fn inner_mut(&mut self) -> &mut R {
        &mut self.inner
    }

    /// Consumes `n` bytes.
    pub(super) fn take(&mut self, n: usize) -> Result<&[u8], Stop> {
        if self.available() < n {
            self.fill(n)?;
            if self.available() < n {
                return Err(Stop::End);
            }
        }
        self.at += n;
        Ok(&self.buffer[self.at - n..self.at])
    }

    /// The next bytes, as many as there are up to `n`, without consuming them.
    pub(super) fn peek(&mut self, n: usize) -> Result<&[u8], Stop> {
        if self.available() < n {
            self.fill(n)?;
        }
        Ok(&self.buffer[self.at..self.at + n.min(self.available())])
    }

    /// The checksum of everything consumed so far.
    pub(super) fn checksum(&mut self) -> u32 {
        self.adler.write(&self.buffer[self.hashed..self.at]);
        self.hashed = self.at;
        self.adler.finish()
    }

    fn available(&self) -> usize {
        self.buffer.len() - self.at
    }

    /// Reads on until `n` bytes are there or the stream ends.
    fn fill(&mut self, n: usize) -> Result<(), Stop> {
        self.checksum();
        self.buffer.drain(..self.at);
        self.start += self.at as u64;
        self.at = 0;
        self.hashed = 0;
        while self.buffer.len() < n && !self.ended {
            let filled = self.buffer.len();
            self.buffer.resize(filled + PIECE, 0);
            match self.inner.read(&mut self.buffer[filled..]) {
                Ok(read) => {
                    self.buffer.truncate(filled + read);
                    self.ended = read == 0;
                }
                Err(error) => {
                    self.buffer.truncate(filled);
                    return Err(Stop::Failed(error));
                }
            }
        }
        Ok(())
    }
}
