//! Replies: a header, and a body when all went well. The server appends whole frames to a connection's buffer.

use crate::acl::Acl;
use crate::code::Code;
use crate::error::DecodeError;
use crate::frame;
use crate::ids::Zxid;
use crate::jute::{Reader, Writer};

/// What every reply begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyHeader {
    /// The xid of the request.
    pub xid: i32,
    /// For a write its transaction, otherwise how far the server was.
    pub zxid: Zxid,
    /// 0 or a code.
    pub err: i32,
}

impl ReplyHeader {
    /// Encoded bytes.
    pub const LEN: usize = 16;

    /// Appends the record.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_int(self.xid);
        out.put_long(self.zxid.0);
        out.put_int(self.err);
    }

    /// Reads the record.
    #[inline]
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            xid: reader.int("reply.xid")?,
            zxid: Zxid(reader.long("reply.zxid")?),
            err: reader.int("reply.err")?,
        })
    }
}

/// Appends a frame that holds a header and what `body` appends.
pub fn encode_frame(xid: i32, zxid: Zxid, out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let at = frame::start(out);
    ReplyHeader { xid, zxid, err: 0 }.encode(out);
    body(out);
    frame::finish(out, at);
}

/// Appends a frame that holds only a header with a code.
pub fn encode_error(xid: i32, zxid: Zxid, code: Code, out: &mut Vec<u8>) {
    let at = frame::start(out);
    ReplyHeader { xid, zxid, err: code.to_int() }.encode(out);
    frame::finish(out, at);
}

/// One entry of the answer to whoAmI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientInfo {
    /// The scheme.
    pub scheme: String,
    /// The user's name in it, without secrets.
    pub user: String,
}

/// The header before each result of a multi.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MultiHeader {
    /// The opcode of the result, -1 for an error and at the end.
    pub op: i32,
    /// Whether this is the end.
    pub done: bool,
    /// 0 or a code.
    pub err: i32,
}

impl MultiHeader {
    /// What ends a list.
    pub const END: Self = Self { op: -1, done: true, err: -1 };

    /// Appends the record.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_int(self.op);
        out.put_bool(self.done);
        out.put_int(self.err);
    }

    /// Reads the record.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            op: reader.int("multi.type")?,
            done: reader.bool("multi.done")?,
            err: reader.int("multi.err")?,
        })
    }
}

/// Appends the result of a failed or skipped operation of a multi.
pub fn encode_multi_error(err: i32, out: &mut Vec<u8>) {
    MultiHeader { op: -1, done: false, err }.encode(out);
    out.put_int(err);
}

/// Reads a list of ACL entries.
pub fn decode_acls(reader: &mut Reader<'_>) -> Result<Vec<Acl>, DecodeError> {
    Ok(reader.vector("acls", Acl::decode)?.unwrap_or_default())
}
