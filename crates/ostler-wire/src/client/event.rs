//! Watch events as the server sends them.

use std::borrow::Cow;

use crate::error::DecodeError;
use crate::frame;
use crate::ids::{Xid, Zxid};
use crate::jute::{Reader, Writer};

/// What happened to a znode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i32)]
pub enum EventType {
    /// It was created.
    NodeCreated = 1,
    /// It was deleted.
    NodeDeleted = 2,
    /// Its data changed.
    NodeDataChanged = 3,
    /// A child came or went.
    NodeChildrenChanged = 4,
}

impl EventType {
    /// The type of this number.
    #[must_use]
    pub fn from_int(value: i32) -> Option<Self> {
        Some(match value {
            1 => Self::NodeCreated,
            2 => Self::NodeDeleted,
            3 => Self::NodeDataChanged,
            4 => Self::NodeChildrenChanged,
            _ => return None,
        })
    }
}

/// The state that a server always reports: connected.
pub const STATE_SYNC_CONNECTED: i32 = 3;

/// A watch event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatcherEvent<'a> {
    /// What happened.
    pub kind: EventType,
    /// Where.
    pub path: Cow<'a, str>,
}

/// Appends a whole frame with an event. `zxid` is that of the transaction, -1 for one that setWatches replays.
pub fn encode_frame(kind: EventType, path: &str, zxid: Zxid, out: &mut Vec<u8>) {
    let at = frame::start(out);
    out.put_int(Xid::NOTIFICATION.0);
    out.put_long(zxid.0);
    out.put_int(0);
    out.put_int(kind as i32);
    out.put_int(STATE_SYNC_CONNECTED);
    out.put_string(path);
    frame::finish(out, at);
}

impl<'a> WatcherEvent<'a> {
    /// Reads the record behind the reply header.
    pub fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let at = reader.position();
        let kind = reader.int("event.type")?;
        let kind = EventType::from_int(kind)
            .ok_or_else(|| DecodeError::unknown("event.type", at, i64::from(kind)))?;
        reader.int("event.state")?;
        Ok(Self { kind, path: reader.required_string("event.path")? })
    }
}
