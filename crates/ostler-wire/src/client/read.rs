//! Requests that change no znode: answered where they arrive, borrowed from the frame they came in.

use std::borrow::Cow;

use crate::client::reply::MultiHeader;
use crate::error::DecodeError;
use crate::jute::{Reader, Writer};
use crate::op::OpCode;

/// A request that is answered by the server it reached.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are named as in the protocol")]
pub enum Read<'a> {
    Ping,
    Exists { path: Cow<'a, str>, watch: bool },
    GetData { path: Cow<'a, str>, watch: bool },
    GetChildren { path: Cow<'a, str>, watch: bool },
    GetChildren2 { path: Cow<'a, str>, watch: bool },
    GetAcl { path: Cow<'a, str> },
    GetAllChildrenNumber { path: Cow<'a, str> },
    GetEphemerals { prefix: Option<Cow<'a, str>> },
    Sync { path: Option<Cow<'a, str>> },
    MultiRead(Vec<MultiReadOp<'a>>),
    SetWatches(SetWatches),
    AddWatch { path: Option<Cow<'a, str>>, mode: AddWatchMode },
    CheckWatches { path: Option<Cow<'a, str>>, kind: WatcherType },
    RemoveWatches { path: Option<Cow<'a, str>>, kind: WatcherType },
    WhoAmI,
}

/// One read inside a multiRead. Its watch flag is ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are named as in the protocol")]
pub enum MultiReadOp<'a> {
    GetData { path: Cow<'a, str> },
    GetChildren { path: Cow<'a, str> },
}

/// The watches that a client wants back after it reconnected (setWatches and setWatches2).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SetWatches {
    /// The newest zxid that the client has seen.
    pub relative_zxid: i64,
    /// Watches on data of nodes that existed.
    pub data: Vec<String>,
    /// Watches on nodes that did not exist.
    pub exist: Vec<String>,
    /// Watches on children.
    pub child: Vec<String>,
    /// Persistent watches.
    pub persistent: Vec<String>,
    /// Persistent recursive watches.
    pub persistent_recursive: Vec<String>,
    /// Whether a path or a list was null: what came before it is done, what came after it is not here, and the answer is -5.
    pub cut: bool,
}

/// How a watch of addWatch behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddWatchMode {
    /// It stays when it fires.
    Persistent = 0,
    /// It stays, and covers everything below.
    PersistentRecursive = 1,
}

/// Which watches checkWatches and removeWatches mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatcherType {
    /// One-shot child watches.
    Children = 1,
    /// One-shot data watches.
    Data = 2,
    /// All of them.
    Any = 3,
    /// Persistent watches.
    Persistent = 4,
    /// Persistent recursive watches.
    PersistentRecursive = 5,
}

impl WatcherType {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let at = reader.position();
        Ok(match reader.int("watches.type")? {
            1 => Self::Children,
            2 => Self::Data,
            3 => Self::Any,
            4 => Self::Persistent,
            5 => Self::PersistentRecursive,
            other => return Err(DecodeError::unknown("watches.type", at, i64::from(other))),
        })
    }
}

impl<'a> Read<'a> {
    /// Reads the body of a request. Bytes behind it are ignored. `op` must be one that is no write; auth and sasl
    /// have records of their own.
    pub fn decode(op: OpCode, reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let path = |reader: &mut Reader<'a>| reader.required_string("path");
        Ok(match op {
            OpCode::Ping => Self::Ping,
            OpCode::WhoAmI => Self::WhoAmI,
            OpCode::Exists => Self::Exists { path: path(reader)?, watch: reader.bool("watch")? },
            OpCode::GetData => Self::GetData { path: path(reader)?, watch: reader.bool("watch")? },
            OpCode::GetChildren => Self::GetChildren { path: path(reader)?, watch: reader.bool("watch")? },
            OpCode::GetChildren2 => Self::GetChildren2 { path: path(reader)?, watch: reader.bool("watch")? },
            OpCode::GetAcl => Self::GetAcl { path: path(reader)? },
            OpCode::GetAllChildrenNumber => Self::GetAllChildrenNumber { path: path(reader)? },
            OpCode::GetEphemerals => Self::GetEphemerals { prefix: reader.string("prefixPath")? },
            OpCode::Sync => Self::Sync { path: reader.string("path")? },
            OpCode::MultiRead => Self::MultiRead(decode_multi_read(reader)?),
            OpCode::SetWatches => Self::SetWatches(decode_set_watches(reader, false)?),
            OpCode::SetWatches2 => Self::SetWatches(decode_set_watches(reader, true)?),
            OpCode::AddWatch => {
                let path = reader.string("path")?;
                let at = reader.position();
                let mode = match reader.int("mode")? {
                    0 => AddWatchMode::Persistent,
                    1 => AddWatchMode::PersistentRecursive,
                    other => return Err(DecodeError::unknown("mode", at, i64::from(other))),
                };
                Self::AddWatch { path, mode }
            }
            OpCode::CheckWatches => {
                Self::CheckWatches { path: reader.string("path")?, kind: WatcherType::decode(reader)? }
            }
            OpCode::RemoveWatches => {
                Self::RemoveWatches { path: reader.string("path")?, kind: WatcherType::decode(reader)? }
            }
            _ => return Err(DecodeError::unknown("type", 0, i64::from(op.to_int()))),
        })
    }
}

fn decode_multi_read<'a>(reader: &mut Reader<'a>) -> Result<Vec<MultiReadOp<'a>>, DecodeError> {
    let mut ops = Vec::new();
    loop {
        let at = reader.position();
        let header = MultiHeader::decode(reader)?;
        if header.done {
            return Ok(ops);
        }
        let path = match OpCode::from_int(header.op) {
            Some(OpCode::GetData | OpCode::GetChildren) => reader.required_string("path")?,
            _ => return Err(DecodeError::unknown("multi.type", at, i64::from(header.op))),
        };
        reader.bool("watch")?;
        ops.push(if header.op == OpCode::GetData.to_int() {
            MultiReadOp::GetData { path }
        } else {
            MultiReadOp::GetChildren { path }
        });
    }
}

fn decode_set_watches(reader: &mut Reader<'_>, second: bool) -> Result<SetWatches, DecodeError> {
    let relative_zxid = reader.long("relativeZxid")?;
    let mut cut = false;
    let mut list = |what, null_cuts: bool| -> Result<Vec<String>, DecodeError> {
        let Some(paths) = reader.vector(what, |reader| reader.string(what))? else {
            // Nobody can go through a list that is not there, whichever it is.
            cut = true;
            return Ok(Vec::new());
        };
        let mut kept = Vec::new();
        for path in paths {
            match path {
                None => cut |= null_cuts,
                Some(_) if cut => {}
                Some(path) => kept.push(path.into_owned()),
            }
        }
        Ok(kept)
    };
    let data = list("dataWatches", true)?;
    let exist = list("existWatches", true)?;
    let child = list("childWatches", true)?;
    // A persistent watch on null is none.
    let persistent = if second { list("persistentWatches", false)? } else { Vec::new() };
    let persistent_recursive = if second { list("persistentRecursiveWatches", false)? } else { Vec::new() };
    Ok(SetWatches { relative_zxid, data, exist, child, persistent, persistent_recursive, cut })
}

impl SetWatches {
    /// Appends the record in its first form (setWatches), or in its second (setWatches2).
    pub fn encode(&self, second: bool, out: &mut Vec<u8>) {
        out.put_long(self.relative_zxid);
        out.put_strings(&self.data);
        out.put_strings(&self.exist);
        out.put_strings(&self.child);
        if second {
            out.put_strings(&self.persistent);
            out.put_strings(&self.persistent_recursive);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_null_among_watches_cuts_them_there() {
        let text = |out: &mut Vec<u8>, path: Option<&str>| out.put_buffer(path.map(str::as_bytes));
        // data: "/a", null, "/b"; exist: "/c"; child: none
        let mut bytes = Vec::new();
        bytes.put_long(5);
        bytes.put_count(3);
        text(&mut bytes, Some("/a"));
        text(&mut bytes, None);
        text(&mut bytes, Some("/b"));
        bytes.put_count(1);
        text(&mut bytes, Some("/c"));
        bytes.put_count(0);
        let read = Read::decode(OpCode::SetWatches, &mut Reader::new(&bytes));
        let wanted =
            SetWatches { relative_zxid: 5, data: vec!["/a".to_owned()], cut: true, ..SetWatches::default() };
        assert_eq!(read, Ok(Read::SetWatches(wanted)));
        // data: "/a"; exist: a null list; child: "/c"
        let mut bytes = Vec::new();
        bytes.put_long(5);
        bytes.put_count(1);
        text(&mut bytes, Some("/a"));
        bytes.put_int(-1);
        bytes.put_count(1);
        text(&mut bytes, Some("/c"));
        let read = Read::decode(OpCode::SetWatches, &mut Reader::new(&bytes));
        let wanted =
            SetWatches { relative_zxid: 5, data: vec!["/a".to_owned()], cut: true, ..SetWatches::default() };
        assert_eq!(read, Ok(Read::SetWatches(wanted)));
    }
}
