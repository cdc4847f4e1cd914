//! Requests as a client writes them: the encoders that answer to the decoders of `read` and `write`. The functions
//! that take borrowed parts allocate nothing but the output, so that a load generator can use them directly.

use crate::acl::{self, Acl, RawAcl};
use crate::client::read::{MultiReadOp, Read};
use crate::client::reply::MultiHeader;
use crate::client::write::{Create, Write};
use crate::client::{AuthRequest, RequestHeader};
use crate::frame;
use crate::jute::Writer;
use crate::op::OpCode;

impl RequestHeader {
    /// Appends the record.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_int(self.xid);
        out.put_int(self.op);
    }
}

impl AuthRequest<'_> {
    /// Appends the record.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_int(0);
        put_optional_string(self.scheme.as_deref(), out);
        out.put_buffer(self.auth);
    }
}

impl RawAcl {
    /// Appends the record.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_int(self.perms);
        put_optional_string(self.scheme.as_deref(), out);
        put_optional_string(self.id.as_deref(), out);
    }
}

/// Appends a whole frame: a header, and what `body` appends.
#[inline]
pub fn encode_frame(xid: i32, op: OpCode, out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    // In one piece: this is done for every request.
    let at = out.len();
    let mut head = [0; 4 + RequestHeader::LEN];
    head[4..8].copy_from_slice(&xid.to_be_bytes());
    head[8..].copy_from_slice(&op.to_int().to_be_bytes());
    out.extend_from_slice(&head);
    body(out);
    frame::finish(out, at);
}

/// Bytes of the frame of a getData or exists besides its path: length, header, length of the path, `watch`.
pub const PLAIN_READ_BYTES: usize = PLAIN_READ_HEAD + 1;
const PLAIN_READ_HEAD: usize = 4 + RequestHeader::LEN + 4;

/// Appends the whole frame of a getData or exists without a watch, of the path that `prefix` and `path` make in a row.
#[inline]
pub fn plain_read_frame(xid: i32, op: OpCode, prefix: &str, path: &str, out: &mut Vec<u8>) {
    let count = |len: usize| i32::try_from(len).expect("a path is shorter than 2 GiB").to_be_bytes();
    let path_len = prefix.len() + path.len();
    let mut head = [0; PLAIN_READ_HEAD];
    head[..4].copy_from_slice(&count(PLAIN_READ_BYTES - 4 + path_len));
    head[4..8].copy_from_slice(&xid.to_be_bytes());
    head[8..12].copy_from_slice(&op.to_int().to_be_bytes());
    head[12..].copy_from_slice(&count(path_len));
    out.extend_from_slice(&head);
    if !prefix.is_empty() {
        out.extend_from_slice(prefix.as_bytes());
    }
    out.extend_from_slice(path.as_bytes());
    out.push(0);
}

/// Appends the body of such a frame.
pub fn plain_read_body(prefix: &str, path: &str, out: &mut Vec<u8>) {
    out.put_count(prefix.len() + path.len());
    out.extend_from_slice(prefix.as_bytes());
    out.extend_from_slice(path.as_bytes());
    out.put_bool(false);
}

/// Appends the body of create, create2 and createContainer.
pub fn create_body(path: &str, data: &[u8], acl: &[Acl], flags: i32, out: &mut Vec<u8>) {
    out.put_string(path);
    out.put_buffer(Some(data));
    acl::encode_list(acl, out);
    out.put_int(flags);
}

/// Appends the body of delete and of check.
pub fn path_version_body(path: &str, version: i32, out: &mut Vec<u8>) {
    out.put_string(path);
    out.put_int(version);
}

/// Appends the body of exists, getData, getChildren and getChildren2.
pub fn path_watch_body(path: &str, watch: bool, out: &mut Vec<u8>) {
    out.put_string(path);
    out.put_bool(watch);
}

/// Appends the body of setData.
pub fn set_data_body(path: &str, data: &[u8], version: i32, out: &mut Vec<u8>) {
    out.put_string(path);
    out.put_buffer(Some(data));
    out.put_int(version);
}

impl Read<'_> {
    /// The opcode under which it travels. Watches to be set again go as setWatches when there is no persistent one
    /// among them, which older servers know too.
    #[must_use]
    pub fn op(&self) -> OpCode {
        match self {
            Self::Ping => OpCode::Ping,
            Self::Exists { .. } => OpCode::Exists,
            Self::GetData { .. } => OpCode::GetData,
            Self::GetChildren { .. } => OpCode::GetChildren,
            Self::GetChildren2 { .. } => OpCode::GetChildren2,
            Self::GetAcl { .. } => OpCode::GetAcl,
            Self::GetAllChildrenNumber { .. } => OpCode::GetAllChildrenNumber,
            Self::GetEphemerals { .. } => OpCode::GetEphemerals,
            Self::Sync { .. } => OpCode::Sync,
            Self::MultiRead(_) => OpCode::MultiRead,
            Self::SetWatches(watches)
                if watches.persistent.is_empty() && watches.persistent_recursive.is_empty() =>
            {
                OpCode::SetWatches
            }
            Self::SetWatches(_) => OpCode::SetWatches2,
            Self::AddWatch { .. } => OpCode::AddWatch,
            Self::CheckWatches { .. } => OpCode::CheckWatches,
            Self::RemoveWatches { .. } => OpCode::RemoveWatches,
            Self::WhoAmI => OpCode::WhoAmI,
        }
    }

    /// Appends the body of the request.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Ping | Self::WhoAmI => {}
            Self::Exists { path, watch }
            | Self::GetData { path, watch }
            | Self::GetChildren { path, watch }
            | Self::GetChildren2 { path, watch } => path_watch_body(path, *watch, out),
            Self::GetAcl { path } | Self::GetAllChildrenNumber { path } => out.put_string(path),
            Self::GetEphemerals { prefix: path } | Self::Sync { path } => {
                put_optional_string(path.as_deref(), out);
            }
            Self::MultiRead(ops) => {
                for op in ops {
                    let (op, path) = match op {
                        MultiReadOp::GetData { path } => (OpCode::GetData, path),
                        MultiReadOp::GetChildren { path } => (OpCode::GetChildren, path),
                    };
                    multi_header(op, out);
                    path_watch_body(path, false, out);
                }
                MultiHeader::END.encode(out);
            }
            Self::SetWatches(watches) => watches.encode(self.op() == OpCode::SetWatches2, out),
            Self::AddWatch { path, mode } => {
                put_optional_string(path.as_deref(), out);
                out.put_int(*mode as i32);
            }
            Self::CheckWatches { path, kind } | Self::RemoveWatches { path, kind } => {
                put_optional_string(path.as_deref(), out);
                out.put_int(*kind as i32);
            }
        }
    }
}

impl Write {
    /// Appends the body of the request. What only servers make (createSession, deleteContainer) has the form of
    /// its record too.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Create(create) => encode_create(create, out),
            Self::Delete { path, version } | Self::Check { path, version } => {
                put_optional_string(path.as_deref(), out);
                out.put_int(*version);
            }
            Self::DeleteContainer { path } => out.put_string(path),
            Self::SetData { path, data, version } => {
                put_optional_string(path.as_deref(), out);
                out.put_buffer(data.as_deref());
                out.put_int(*version);
            }
            Self::SetAcl { path, acl, version } => {
                put_optional_string(path.as_deref(), out);
                encode_raw_acls(acl.as_deref(), out);
                out.put_int(*version);
            }
            Self::Multi(ops) => {
                for op in ops {
                    multi_header(op.op(), out);
                    op.encode(out);
                }
                MultiHeader::END.encode(out);
            }
            Self::Reconfig { joining, leaving, members, config_id } => {
                put_optional_string(joining.as_deref(), out);
                put_optional_string(leaving.as_deref(), out);
                put_optional_string(members.as_deref(), out);
                out.put_long(*config_id);
            }
            Self::CreateSession { timeout_ms } => out.put_int(*timeout_ms),
            Self::CloseSession | Self::MalformedMulti => {}
        }
    }
}

fn encode_create(create: &Create, out: &mut Vec<u8>) {
    put_optional_string(create.path.as_deref(), out);
    out.put_buffer(create.data.as_deref());
    encode_raw_acls(create.acl.as_deref(), out);
    out.put_int(create.flags);
    if create.op == OpCode::CreateTtl {
        out.put_long(create.ttl);
    }
}

fn encode_raw_acls(acls: Option<&[RawAcl]>, out: &mut Vec<u8>) {
    match acls {
        None => out.put_int(-1),
        Some(acls) => {
            out.put_count(acls.len());
            for acl in acls {
                acl.encode(out);
            }
        }
    }
}

/// Appends the header before one operation of a multi.
pub fn multi_header(op: OpCode, out: &mut Vec<u8>) {
    MultiHeader { op: op.to_int(), done: false, err: -1 }.encode(out);
}

fn put_optional_string(text: Option<&str>, out: &mut Vec<u8>) {
    out.put_buffer(text.map(str::as_bytes));
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use bytes::Bytes;

    use super::*;
    use crate::client::read::{AddWatchMode, SetWatches, WatcherType};
    use crate::jute::Reader;

    fn create(op: OpCode, ttl: i64, flags: i32) -> Write {
        Write::Create(Create {
            op,
            path: Some("/a".to_owned()),
            data: Some(Bytes::from_static(b"hi")),
            acl: Some(Acl::open().into_iter().map(RawAcl::from).collect()),
            flags,
            ttl,
        })
    }

    #[test]
    fn writes_come_back_from_their_decoder() {
        let plain = [
            create(OpCode::Create, -1, 0),
            create(OpCode::Create2, -1, 3),
            create(OpCode::CreateContainer, -1, 4),
            create(OpCode::CreateTtl, 77, 5),
            Write::Delete { path: Some("/a".to_owned()), version: 3 },
            Write::SetData { path: Some("/a".to_owned()), data: None, version: -1 },
            Write::SetAcl { path: None, acl: None, version: 2 },
            Write::Check { path: Some("/c".to_owned()), version: 0 },
        ];
        let multi = Write::Multi(
            plain.iter().filter(|write| write.op() != OpCode::SetAcl).cloned().collect::<Vec<_>>(),
        );
        let reconfig = Write::Reconfig {
            joining: Some("server.1=x".to_owned()),
            leaving: None,
            members: Some(String::new()),
            config_id: 9,
        };
        for write in plain.into_iter().chain([multi, reconfig, Write::CloseSession]) {
            let mut body = Vec::new();
            write.encode(&mut body);
            assert_eq!(Write::decode(write.op(), &Bytes::from(body)).unwrap(), write);
        }
    }

    #[test]
    fn reads_come_back_from_their_decoder() {
        let path = || Cow::Borrowed("/a/b");
        let reads = [
            Read::Ping,
            Read::WhoAmI,
            Read::Exists { path: path(), watch: true },
            Read::GetData { path: path(), watch: false },
            Read::GetChildren { path: path(), watch: true },
            Read::GetChildren2 { path: path(), watch: false },
            Read::GetAcl { path: path() },
            Read::GetAllChildrenNumber { path: path() },
            Read::GetEphemerals { prefix: None },
            Read::Sync { path: Some(path()) },
            Read::MultiRead(vec![
                MultiReadOp::GetData { path: path() },
                MultiReadOp::GetChildren { path: path() },
            ]),
            Read::SetWatches(SetWatches {
                relative_zxid: 5,
                data: vec!["/d".to_owned()],
                ..SetWatches::default()
            }),
            Read::SetWatches(SetWatches {
                persistent_recursive: vec!["/p".to_owned()],
                ..SetWatches::default()
            }),
            Read::AddWatch { path: Some(path()), mode: AddWatchMode::PersistentRecursive },
            Read::CheckWatches { path: Some(path()), kind: WatcherType::Any },
            Read::RemoveWatches { path: Some(path()), kind: WatcherType::Persistent },
        ];
        for read in reads {
            let mut body = Vec::new();
            read.encode(&mut body);
            let mut reader = Reader::new(&body);
            assert_eq!(Read::decode(read.op(), &mut reader).unwrap(), read);
            assert_eq!(reader.remaining(), 0, "{read:?}");
        }
    }

    #[test]
    fn the_frame_of_a_captured_create() {
        let mut out = Vec::new();
        encode_frame(1, OpCode::Create, &mut out, |out| create_body("/a", b"hi", &Acl::open(), 0, out));
        let hex: String = out.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "00000033000000010000000100000002\
             2f61000000026869000000010000001f00000005776f726c6400000006616e796f6e6500000000"
        );
    }
}
