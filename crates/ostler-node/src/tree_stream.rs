//! The whole tree on its way from a leader to a learner, behind the packet SNAP: sessions, lists and nodes as in the
//! body of a snapshot file, then the string "BenWasHere" and at once the packets that follow. [`TreeSender`] writes
//! it slice by slice while the tree goes on changing; [`TreeReceiver`] takes it in pieces of any size and builds a
//! store, which what follows then makes exact. Answers to Java's `ZKDatabase.serializeSnapshot` and
//! `deserializeSnapshot`.

use ostler_tree::{LoadError, Loader, Store, TreeConfig, Walk};
use ostler_wire::disk::StatPersisted;
use ostler_wire::jute::{Reader, Writer, decode_utf8};
use ostler_wire::txn::{DIGEST_VERSION, TxnDigest};
use ostler_wire::{Acl, SessionId, Zxid};

/// What the tree ends with.
const SIGNATURE: &str = "BenWasHere";
/// Nodes and bytes that are read under one borrow of the store.
const SLICE_NODES: usize = 256;
const SLICE_BYTES: usize = 64 << 10;

/// A tree that is being sent.
#[derive(Debug)]
pub struct TreeSender {
    walk: Walk,
}

impl TreeSender {
    /// Begins at the state that the store is in.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        Self { walk: Walk::new(store) }
    }

    /// What the packet SNAP has to say: all transactions after this one have to follow.
    #[must_use]
    pub fn zxid(&self) -> Zxid {
        self.walk.zxid()
    }

    /// Appends the next slice; between two of them the store may change. Says whether that was the last: then the
    /// packets follow.
    pub fn next(&mut self, store: &Store, out: &mut Vec<u8>) -> bool {
        self.next_slice(store, SLICE_NODES, SLICE_BYTES, out)
    }

    /// As [`Self::next`], with a bound on the slice.
    pub fn next_slice(&mut self, store: &Store, nodes: usize, bytes: usize, out: &mut Vec<u8>) -> bool {
        let done = self.walk.next(store, nodes, bytes, out);
        if done {
            out.put_string(SIGNATURE);
        }
        done
    }
}

/// Why a tree cannot be received. The link is of no use then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// A string or buffer longer than is allowed, or of a negative length.
    #[error("unreasonable length {length} of {what} (jute.maxbuffer allows {limit})")]
    Length {
        /// Of what.
        what: &'static str,
        /// The length.
        length: i32,
        /// The longest that is allowed.
        limit: usize,
    },
    /// The nodes do not make a tree.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// What follows the nodes is something else.
    #[error("the tree does not end with its signature")]
    Signature,
    /// Bytes after the end.
    #[error("the tree has ended already")]
    Ended,
}

/// How far a tree has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Progress {
    /// All of the piece belonged to it, and more is to come.
    Wanted,
    /// It is whole. So many bytes of the last piece belonged to it; the rest are packets.
    Done {
        /// How many bytes.
        used: usize,
    },
}

/// A tree that is being received. Beside the tree it holds no more than one field may take, and takes memory only for
/// bytes that are there.
#[derive(Debug)]
pub struct TreeReceiver {
    loader: Loader,
    /// The longest string or buffer in bytes.
    limit: usize,
    stage: Stage,
    /// What was received and not read: less than one item, between calls.
    waiting: Vec<u8>,
    received: u64,
    nodes: u64,
}

/// What comes next.
#[derive(Debug)]
enum Stage {
    SessionCount,
    Sessions {
        left: u32,
    },
    ListCount,
    /// The id of a list and the count of its entries.
    Lists {
        left: u32,
    },
    /// An entry of a list; so many lists come after it.
    Entries {
        lists_left: u32,
        id: i64,
        list: Vec<Acl>,
        left: u32,
        bytes: usize,
    },
    Nodes,
    Signature,
    Done,
}

impl TreeReceiver {
    /// Nothing yet. `limit` bounds each string, each buffer and each list, in bytes: `jute.maxbuffer` and its extra.
    #[must_use]
    pub fn new(config: TreeConfig, limit: usize) -> Self {
        Self {
            loader: Loader::new(config),
            limit,
            stage: Stage::SessionCount,
            waiting: Vec::new(),
            received: 0,
            nodes: 0,
        }
    }

    /// Bytes so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Nodes so far.
    #[must_use]
    pub fn nodes(&self) -> u64 {
        self.nodes
    }

    /// Takes the next piece of the stream.
    ///
    /// # Errors
    /// What comes is no tree. Nothing more can be read then.
    pub fn feed(&mut self, piece: &[u8]) -> Result<Progress, TreeError> {
        if matches!(self.stage, Stage::Done) {
            return Err(TreeError::Ended);
        }
        let before = self.waiting.len();
        let used = if before == 0 {
            let used = self.read(piece)?;
            if !matches!(self.stage, Stage::Done) {
                self.waiting.extend_from_slice(&piece[used..]);
            }
            used
        } else {
            let mut joined = std::mem::take(&mut self.waiting);
            joined.extend_from_slice(piece);
            let used = self.read(&joined)?;
            joined.drain(..used);
            if !matches!(self.stage, Stage::Done) {
                self.waiting = joined;
            }
            used
        };
        if matches!(self.stage, Stage::Done) {
            // What waited was less than an item, so the end is within this piece.
            let used = used - before;
            self.received += used as u64;
            return Ok(Progress::Done { used });
        }
        self.received += piece.len() as u64;
        Ok(Progress::Wanted)
    }

    /// The store, once the tree is whole; `zxid` is that of the packet SNAP. It is a mixture of times until what
    /// follows has been applied.
    ///
    /// # Errors
    /// The tree is not whole.
    pub fn finish(self, zxid: Zxid) -> Result<Store, TreeError> {
        if !matches!(self.stage, Stage::Done) {
            return Err(TreeError::Signature);
        }
        let unknown = TxnDigest { version: DIGEST_VERSION, digest: 0 };
        let mut store = self.loader.finish(zxid, Some((Zxid::ZERO, unknown)))?;
        store.ensure_config_node();
        Ok(store)
    }

    /// Reads items for as long as they are whole; says how many bytes they took.
    fn read(&mut self, bytes: &[u8]) -> Result<usize, TreeError> {
        let mut at = 0;
        while let Some(used) = self.read_item(&bytes[at..])? {
            at += used;
            if matches!(self.stage, Stage::Done) {
                break;
            }
        }
        Ok(at)
    }

    /// The next item, if it is there as a whole: its length.
    fn read_item(&mut self, bytes: &[u8]) -> Result<Option<usize>, TreeError> {
        let used = match &mut self.stage {
            Stage::SessionCount => {
                let Some(count) = int_at(bytes, 0) else { return Ok(None) };
                self.stage = Stage::Sessions { left: u32::try_from(count).unwrap_or(0) };
                4
            }
            Stage::Sessions { left: 0 } => {
                self.stage = Stage::ListCount;
                0
            }
            Stage::Sessions { left } => {
                let (Some(id), Some(timeout_ms)) = (long_at(bytes, 0), int_at(bytes, 8)) else {
                    return Ok(None);
                };
                *left -= 1;
                self.loader.session(SessionId(id), timeout_ms);
                12
            }
            Stage::ListCount => {
                let Some(count) = int_at(bytes, 0) else { return Ok(None) };
                self.stage = Stage::Lists { left: u32::try_from(count).unwrap_or(0) };
                4
            }
            Stage::Lists { left: 0 } => {
                self.stage = Stage::Nodes;
                0
            }
            Stage::Lists { left } => {
                let (Some(id), Some(count)) = (long_at(bytes, 0), int_at(bytes, 8)) else { return Ok(None) };
                // A null list grants nothing, as in Java.
                let entries = u32::try_from(count).unwrap_or(0);
                self.stage =
                    Stage::Entries { lists_left: *left - 1, id, list: Vec::new(), left: entries, bytes: 0 };
                12
            }
            Stage::Entries { lists_left, id, list, left: 0, .. } => {
                self.loader.acl(*id, std::mem::take(list));
                self.stage = Stage::Lists { left: *lists_left };
                0
            }
            Stage::Entries { list, left, bytes: taken, .. } => {
                let Some((entry, used)) = read_entry(bytes, self.limit)? else { return Ok(None) };
                *taken += used;
                if *taken > self.limit {
                    let length = i32::try_from(*taken).unwrap_or(i32::MAX);
                    return Err(TreeError::Length { what: "an ACL", length, limit: self.limit });
                }
                list.push(entry);
                *left -= 1;
                used
            }
            Stage::Nodes => return self.read_node(bytes),
            Stage::Signature => {
                let Some(length) = int_at(bytes, 0) else { return Ok(None) };
                if length != SIGNATURE.len() as i32 {
                    return Err(TreeError::Signature);
                }
                let Some(text) = bytes.get(4..4 + SIGNATURE.len()) else { return Ok(None) };
                if text != SIGNATURE.as_bytes() {
                    return Err(TreeError::Signature);
                }
                self.stage = Stage::Done;
                4 + SIGNATURE.len()
            }
            Stage::Done => return Ok(None),
        };
        Ok(Some(used))
    }

    fn read_node(&mut self, bytes: &[u8]) -> Result<Option<usize>, TreeError> {
        const REST: usize = 8 + StatPersisted::LEN;
        let Some(path) = string_at(bytes, 0, "node.path", self.limit)? else { return Ok(None) };
        if path.text == Some(b"/") {
            self.stage = Stage::Signature;
            return Ok(Some(path.end));
        }
        let Some(data) = string_at(bytes, path.end, "node.data", self.limit)? else { return Ok(None) };
        let Some(rest) = bytes.get(data.end..data.end + REST) else { return Ok(None) };
        let mut reader = Reader::new(rest);
        let (acl_id, stat) = reader
            .long("node.acl")
            .and_then(|acl_id| Ok((acl_id, StatPersisted::decode(&mut reader)?)))
            .expect("numbers of which all bytes are there");
        let Some(path) = path.text else {
            return Err(TreeError::Length { what: "node.path", length: -1, limit: self.limit });
        };
        self.loader.node(&decode_utf8(path), data.text, acl_id, &stat)?;
        self.nodes += 1;
        Ok(Some(data.end + REST))
    }
}

/// An entry of a list and its length.
fn read_entry(bytes: &[u8], limit: usize) -> Result<Option<(Acl, usize)>, TreeError> {
    let Some(perms) = int_at(bytes, 0) else { return Ok(None) };
    let Some(scheme) = string_at(bytes, 4, "acl.scheme", limit)? else { return Ok(None) };
    let Some(id) = string_at(bytes, scheme.end, "acl.id", limit)? else { return Ok(None) };
    let text = |field: Field<'_>| decode_utf8(field.text.unwrap_or_default()).into_owned();
    let end = id.end;
    Ok(Some((Acl::new(perms, text(scheme), text(id)), end)))
}

/// A string or buffer, `None` for null, and where it ends.
struct Field<'a> {
    text: Option<&'a [u8]>,
    end: usize,
}

fn string_at<'a>(
    bytes: &'a [u8],
    at: usize,
    what: &'static str,
    limit: usize,
) -> Result<Option<Field<'a>>, TreeError> {
    let Some(length) = int_at(bytes, at) else { return Ok(None) };
    let begin = at + 4;
    match usize::try_from(length) {
        Ok(len) if len <= limit => {
            Ok(bytes.get(begin..begin + len).map(|text| Field { text: Some(text), end: begin + len }))
        }
        _ if length == -1 => Ok(Some(Field { text: None, end: begin })),
        _ => Err(TreeError::Length { what, length, limit }),
    }
}

fn int_at(bytes: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_be_bytes(bytes.get(at..at + 4)?.try_into().expect("4 bytes")))
}

fn long_at(bytes: &[u8], at: usize) -> Option<i64> {
    Some(i64::from_be_bytes(bytes.get(at..at + 8)?.try_into().expect("8 bytes")))
}
