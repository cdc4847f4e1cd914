//! The answers to a batch that came and were not taken yet. Those to getData stay as they came until somebody takes them.

use bytes::Bytes;
use ostler_wire::Stat;
use ostler_wire::client::response::{DataBody, Response};

use crate::error::Error;
use crate::session::answer::Answer;

/// In the order of the requests.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    items: Vec<Item>,
    /// How many of them were taken.
    taken: usize,
    /// What the data lie in. Mostly many lie in one.
    pieces: Vec<Bytes>,
}

#[derive(Debug)]
enum Item {
    /// In a piece, with the Stat behind them.
    Data {
        piece: u32,
        at: u32,
        len: u32,
    },
    Read(Box<Result<Response, Error>>),
}

/// An answer that is taken.
pub(crate) enum Taken<'a> {
    Data(RawData<'a>),
    Read(Result<Response, Error>),
}

/// Data and Stat where they arrived.
pub(crate) struct RawData<'a> {
    piece: &'a Bytes,
    at: usize,
    len: usize,
}

impl RawData<'_> {
    #[inline]
    pub(crate) fn read(&self) -> (Bytes, Stat) {
        let end = self.at + self.len;
        let stat = self.piece[end..].first_chunk().expect("the Stat lies behind the data");
        (self.piece.slice(self.at..end), Stat::of_bytes(stat))
    }
}

impl Taken<'_> {
    pub(crate) fn into_result(self) -> Result<Response, Error> {
        match self {
            Self::Data(raw) => {
                let (data, stat) = raw.read();
                Ok(Response::Data { data: Some(data), stat })
            }
            Self::Read(result) => result,
        }
    }
}

impl Answers {
    /// Room for so many.
    pub(crate) fn with_capacity(count: usize) -> Self {
        Self { items: Vec::with_capacity(count), ..Self::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len() - self.taken
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.taken == self.items.len()
    }

    #[inline]
    pub(crate) fn push(&mut self, answer: Answer<'_>) {
        let item = match answer {
            Answer::Data { body, whole: Some(whole) } => self.find(body, whole),
            Answer::Data { body, whole: None } => self.copy(body),
            Answer::Read(result) => Item::Read(Box::new(result)),
        };
        self.items.push(item);
    }

    #[inline]
    fn find(&mut self, body: DataBody<'_>, whole: &Bytes) -> Item {
        if self.pieces.last().is_none_or(|last| last.as_ptr() != whole.as_ptr()) {
            self.pieces.push(whole.clone());
        }
        let len = body.data.map_or(0, <[u8]>::len);
        self.item(body.stat.as_ptr().addr() - len - whole.as_ptr().addr(), len)
    }

    #[cold]
    fn copy(&mut self, body: DataBody<'_>) -> Item {
        let data = body.data.unwrap_or_default();
        self.pieces.push([data, body.stat].concat().into());
        self.item(0, data.len())
    }

    /// In the last piece.
    #[inline]
    fn item(&self, at: usize, len: usize) -> Item {
        let narrow = |number| u32::try_from(number).expect("a frame is shorter than 4 GiB");
        Item::Data { piece: narrow(self.pieces.len() - 1), at: narrow(at), len: narrow(len) }
    }

    /// The next one, which is then taken.
    #[inline]
    pub(crate) fn take(&mut self) -> Option<Taken<'_>> {
        let item = self.items.get_mut(self.taken)?;
        self.taken += 1;
        Some(match item {
            Item::Data { piece, at, len } => Taken::Data(RawData {
                piece: &self.pieces[*piece as usize],
                at: *at as usize,
                len: *len as usize,
            }),
            Item::Read(result) => Taken::Read(std::mem::replace(result, Ok(Response::Done))),
        })
    }

    /// Forgets what was taken; all of it must be.
    pub(crate) fn clear(&mut self) {
        debug_assert!(self.is_empty(), "an answer would be lost");
        self.items.clear();
        self.pieces.clear();
        self.taken = 0;
    }
}

#[cfg(test)]
mod tests {
    use bytes::BufMut;

    use super::*;
    use crate::error::ErrorKind;

    fn body(data: Option<&[u8]>, version: i32) -> Vec<u8> {
        let mut body = Vec::new();
        body.put_i32(data.map_or(-1, |data| i32::try_from(data.len()).unwrap()));
        body.extend_from_slice(data.unwrap_or_default());
        Stat { version, ..Stat::default() }.encode(&mut body);
        body
    }

    #[test]
    fn answers_come_out_in_order_wherever_they_lie() {
        let (first, second) = (body(Some(b"one"), 1), body(None, 2));
        let together = Bytes::from([&first[..], &second[..]].concat());
        let later = Bytes::from(body(Some(b"three"), 3));
        let alone = body(Some(b""), 4);
        let mut answers = Answers::with_capacity(5);
        let mut push =
            |body, whole| answers.push(Answer::Data { body: DataBody::find(body).unwrap(), whole });
        push(&together[..first.len()], Some(&together));
        push(&together[first.len()..], Some(&together));
        push(&later, Some(&later));
        push(&alone, None);
        answers.push(Answer::Read(Err(Error::new(ErrorKind::Retry, "lost"))));
        let mut seen = Vec::new();
        while let Some(answer) = answers.take() {
            seen.push(match answer {
                Taken::Data(raw) => {
                    let (data, stat) = raw.read();
                    Ok((data.to_vec(), stat.version))
                }
                Taken::Read(result) => Err(result.unwrap_err().to_string()),
            });
            assert_eq!(answers.len(), 5 - seen.len());
        }
        let data = |text: &[u8], version| Ok((text.to_vec(), version));
        assert_eq!(
            seen,
            [data(b"one", 1), data(b"", 2), data(b"three", 3), data(b"", 4), Err("lost".to_owned())]
        );
        answers.clear();
        assert!(answers.take().is_none() && answers.pieces.is_empty());
    }
}
