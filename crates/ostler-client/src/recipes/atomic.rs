//! A value that processes change one at a time, and a counter.
//!
//! **Layout**: `<path>`, persistent; a counter's data is the number as text, as kazoo's `Counter` writes it. While a
//! change is under way there is an ephemeral marker in `<path>-pending/`.
//!
//! **Guarantees**: every change that returns happened exactly once, on top of the value that it was given; also when
//! the connection is lost at any step. When the session is lost the last change may have happened.

use bytes::Bytes;

use super::commit::commit_once;
use super::common::{again, ensure_kept, unless};
use crate::{Client, Code, CreateMode, Error, ErrorKind, Stat};

/// A value.
#[derive(Debug, Clone)]
pub struct AtomicValue {
    client: Client,
    path: String,
}

impl AtomicValue {
    /// The value at this path, which need not exist.
    #[must_use]
    pub fn new(client: &Client, path: &str) -> Self {
        Self { client: client.clone(), path: path.to_owned() }
    }

    /// The value and its Stat, `None` if there is none.
    pub async fn get(&self) -> Result<Option<(Bytes, Stat)>, Error> {
        unless(Code::NoNode, again(&self.client, || self.client.get_data(&self.path)).await)
    }

    /// Sets it, whatever it was.
    pub async fn set(&self, value: impl Into<Bytes>) -> Result<(), Error> {
        let value = value.into();
        self.update(|_| value.clone()).await.map(drop)
    }

    /// Sets it if its version is `version`; whether it was.
    pub async fn compare_and_set(&self, version: i32, value: impl Into<Bytes>) -> Result<bool, Error> {
        let value = value.into();
        let set = commit_once(&self.client, &self.path, |transaction| {
            transaction.set_data(&self.path, value.clone(), version)
        });
        match set.await {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.code(), Some(Code::BadVersion | Code::NoNode)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes the new value of the old one (`None`: there is none), as often as others get in between. The answer is
    /// the new value.
    pub async fn update(&self, mut change: impl FnMut(Option<&[u8]>) -> Bytes) -> Result<Bytes, Error> {
        loop {
            let old = self.get().await?;
            let new = change(old.as_ref().map(|(data, _)| &data[..]));
            if let Some((_, stat)) = old {
                if self.compare_and_set(stat.version, new.clone()).await? {
                    return Ok(new);
                }
                continue;
            }
            let created = commit_once(&self.client, &self.path, |transaction| {
                transaction.create(&self.path, new.clone(), CreateMode::Persistent)
            });
            match created.await {
                Ok(_) => return Ok(new),
                Err(error) if error.code() == Some(Code::NodeExists) => {}
                Err(error) if error.code() == Some(Code::NoNode) => {
                    ensure_kept(&self.client, crate::recipes::common::parent(&self.path)).await?;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// A counter.
#[derive(Debug, Clone)]
pub struct Counter(AtomicValue);

impl Counter {
    /// The counter at this path; 0 if it does not exist.
    #[must_use]
    pub fn new(client: &Client, path: &str) -> Self {
        Self(AtomicValue::new(client, path))
    }

    /// The number.
    pub async fn get(&self) -> Result<i64, Error> {
        match self.0.get().await? {
            Some((data, _)) => number(&data).ok_or_else(|| self.not_a_number(&data)),
            None => Ok(0),
        }
    }

    /// Adds to it, exactly once; the answer is the sum. Refused when it does not fit 64 bits.
    pub async fn add(&self, amount: i64) -> Result<i64, Error> {
        let mut wrong = None;
        let mut sum = 0;
        self.0
            .update(|old| {
                let old = old.unwrap_or_default();
                match number(old).and_then(|number| number.checked_add(amount)) {
                    Some(new) => {
                        sum = new;
                        Bytes::from(new.to_string())
                    }
                    None => {
                        wrong = Some(self.not_a_number(old));
                        Bytes::copy_from_slice(old)
                    }
                }
            })
            .await?;
        wrong.map_or(Ok(sum), Err)
    }

    fn not_a_number(&self, data: &[u8]) -> Error {
        let text = String::from_utf8_lossy(data);
        Error::new(ErrorKind::Misuse, format!("{} holds {text:?}, which does not count", self.0.path))
    }
}

fn number(data: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(data).ok()?.trim();
    if text.is_empty() { Some(0) } else { text.parse().ok() }
}
