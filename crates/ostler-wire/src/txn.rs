//! Transactions: what is replicated and logged. Encoded exactly as Java encodes them, since Java servers read the
//! same log and take part in the same broadcast.

use std::sync::Arc;

use bytes::Bytes;

use crate::acl::{self, Acl};
use crate::error::DecodeError;
use crate::ids::{SessionId, Zxid};
use crate::jute::{Reader, Writer};
use crate::op::OpCode;

/// A shared access control list.
pub type AclList = Arc<[Acl]>;

/// Who asked for a transaction, when, and its place in the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TxnHeader {
    /// The session that asked; 0 for the server itself.
    pub session: SessionId,
    /// The request's xid; 0 for the server itself.
    pub cxid: i32,
    /// Its place in the order.
    pub zxid: Zxid,
    /// The leader's wall clock, in milliseconds since 1970.
    pub time_ms: i64,
}

impl TxnHeader {
    /// Encoded bytes, with the type.
    pub const LEN: usize = 32;
}

/// What a transaction does.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are named as in the protocol")]
pub enum Txn {
    CreateSession {
        timeout_ms: i32,
    },
    /// `None`: the list is not in the log (3.5 and older), delete by owner.
    CloseSession {
        paths: Option<Vec<String>>,
    },
    /// The request failed; the zxid is used all the same.
    Error {
        code: i32,
    },
    Create(CreateTxn),
    Delete {
        path: String,
    },
    DeleteContainer {
        path: String,
    },
    SetData {
        path: String,
        data: Option<Bytes>,
        version: i32,
    },
    Reconfig {
        path: String,
        data: Option<Bytes>,
        version: i32,
    },
    SetAcl {
        path: String,
        acl: Option<AclList>,
        version: i32,
    },
    /// Inside a multi only; at top level (written by old servers) it does nothing.
    Check {
        path: String,
        version: i32,
    },
    Multi(Vec<Self>),
}

/// What is stored of a create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateTxn {
    /// The kind, and with it the type of the transaction.
    pub kind: CreateKind,
    /// The final path.
    pub path: String,
    /// The data.
    pub data: Option<Bytes>,
    /// Who may do what; `None` is everybody everything.
    pub acl: Option<AclList>,
    /// The parent's count of creations after this one; -1 in logs of 3.3, where it is to be counted.
    pub parent_cversion: i32,
}

/// The kinds of create transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreateKind {
    /// Types 1 and 15: persistent, or ephemeral of the header's session.
    Plain {
        /// Whether the type is 15 rather than 1.
        second: bool,
        /// Whether it goes with its session.
        ephemeral: bool,
    },
    /// Type 19.
    Container,
    /// Type 21.
    Ttl {
        /// Milliseconds.
        ttl_ms: i64,
    },
}

/// The digest of the whole tree after a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TxnDigest {
    /// The version of the algorithm, 2.
    pub version: i32,
    /// The digest.
    pub digest: i64,
}

impl TxnDigest {
    /// Its length in bytes; it comes last in an entry.
    pub const LEN: usize = 12;
}

/// The version of the digest that is written.
pub const DIGEST_VERSION: i32 = 2;

/// One entry of the log or of a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TxnEntry {
    /// Who, when, where.
    pub header: TxnHeader,
    /// What.
    pub txn: Txn,
    /// What the tree's digest is then, if it was recorded.
    pub digest: Option<TxnDigest>,
}

impl Txn {
    /// The type on the wire.
    #[must_use]
    pub fn op(&self) -> OpCode {
        match self {
            Self::CreateSession { .. } => OpCode::CreateSession,
            Self::CloseSession { .. } => OpCode::CloseSession,
            Self::Error { .. } => OpCode::Error,
            Self::Create(create) => match create.kind {
                CreateKind::Plain { second: false, .. } => OpCode::Create,
                CreateKind::Plain { second: true, .. } => OpCode::Create2,
                CreateKind::Container => OpCode::CreateContainer,
                CreateKind::Ttl { .. } => OpCode::CreateTtl,
            },
            Self::Delete { .. } => OpCode::Delete,
            Self::DeleteContainer { .. } => OpCode::DeleteContainer,
            Self::SetData { .. } => OpCode::SetData,
            Self::Reconfig { .. } => OpCode::Reconfig,
            Self::SetAcl { .. } => OpCode::SetAcl,
            Self::Check { .. } => OpCode::Check,
            Self::Multi(_) => OpCode::Multi,
        }
    }

    /// Whether it is a multi of which a part failed, so that nothing of it is to be applied.
    #[must_use]
    pub fn is_failed_multi(&self) -> bool {
        matches!(self, Self::Multi(parts) if parts.iter().any(|part| matches!(part, Self::Error { .. })))
    }

    fn encode_body(&self, out: &mut Vec<u8>) {
        match self {
            Self::CreateSession { timeout_ms } => out.put_int(*timeout_ms),
            Self::CloseSession { paths } => {
                if let Some(paths) = paths {
                    out.put_strings(paths);
                }
            }
            Self::Error { code } => out.put_int(*code),
            Self::Create(create) => create.encode(out),
            Self::Delete { path } | Self::DeleteContainer { path } => out.put_string(path),
            Self::SetData { path, data, version } | Self::Reconfig { path, data, version } => {
                out.put_string(path);
                out.put_buffer(data.as_deref());
                out.put_int(*version);
            }
            Self::SetAcl { path, acl, version } => {
                out.put_string(path);
                encode_acl(acl.as_deref(), out);
                out.put_int(*version);
            }
            Self::Check { path, version } => {
                out.put_string(path);
                out.put_int(*version);
            }
            Self::Multi(parts) => {
                out.put_count(parts.len());
                for part in parts {
                    out.put_int(part.op().to_int());
                    let at = out.len();
                    out.put_int(0);
                    part.encode_body(out);
                    let length = i32::try_from(out.len() - at - 4).expect("a part of a frame");
                    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
                }
            }
        }
    }

    fn decode_body(op: i32, at: usize, body: &Bytes, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let Some(op) = OpCode::from_int(op) else {
            return Err(DecodeError::unknown("txn.type", at, i64::from(op)));
        };
        let path = |reader: &mut Reader<'_>| -> Result<String, DecodeError> {
            Ok(reader.string("txn.path")?.unwrap_or_default().into_owned())
        };
        Ok(match op {
            OpCode::CreateSession => Self::CreateSession { timeout_ms: reader.int("txn.timeOut")? },
            OpCode::CloseSession => Self::CloseSession { paths: decode_closed_paths(reader)? },
            OpCode::Error => Self::Error { code: reader.int("txn.err")? },
            OpCode::Create | OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl => {
                Self::Create(CreateTxn::decode(op, body, reader)?)
            }
            OpCode::Delete => Self::Delete { path: path(reader)? },
            OpCode::DeleteContainer => Self::DeleteContainer { path: path(reader)? },
            OpCode::SetData => Self::SetData {
                path: path(reader)?,
                data: decode_data(body, reader)?,
                version: reader.int("txn.version")?,
            },
            OpCode::Reconfig => Self::Reconfig {
                path: path(reader)?,
                data: decode_data(body, reader)?,
                version: reader.int("txn.version")?,
            },
            OpCode::SetAcl => Self::SetAcl {
                path: path(reader)?,
                acl: reader.vector("txn.acl", Acl::decode)?.map(Into::into),
                version: reader.int("txn.version")?,
            },
            OpCode::Check => Self::Check { path: path(reader)?, version: reader.int("txn.version")? },
            OpCode::Multi => Self::Multi(decode_parts(body, reader)?),
            _ => return Err(DecodeError::unknown("txn.type", at, i64::from(op.to_int()))),
        })
    }
}

impl CreateTxn {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_string(&self.path);
        out.put_buffer(self.data.as_deref());
        encode_acl(self.acl.as_deref(), out);
        if let CreateKind::Plain { ephemeral, .. } = self.kind {
            out.put_bool(ephemeral);
        }
        out.put_int(self.parent_cversion);
        if let CreateKind::Ttl { ttl_ms } = self.kind {
            out.put_long(ttl_ms);
        }
    }

    fn decode(op: OpCode, body: &Bytes, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let path = reader.string("txn.path")?.unwrap_or_default().into_owned();
        let data = decode_data(body, reader)?;
        let acl = reader.vector("txn.acl", Acl::decode)?.map(Into::into);
        let mut kind = match op {
            OpCode::CreateContainer => CreateKind::Container,
            OpCode::CreateTtl => CreateKind::Ttl { ttl_ms: 0 },
            _ => {
                CreateKind::Plain { second: op == OpCode::Create2, ephemeral: reader.bool("txn.ephemeral")? }
            }
        };
        // Logs of 3.3 end here.
        let old = reader.remaining() == 0 && op == OpCode::Create;
        let parent_cversion = if old { -1 } else { reader.int("txn.parentCVersion")? };
        if let CreateKind::Ttl { ttl_ms } = &mut kind {
            *ttl_ms = reader.long("txn.ttl")?;
        }
        Ok(Self { kind, path, data, acl, parent_cversion })
    }
}

/// The list of a closeSession: logs of 3.5 and older have none, and what follows it may be a digest of 12 bytes.
fn decode_closed_paths(reader: &mut Reader<'_>) -> Result<Option<Vec<String>>, DecodeError> {
    if matches!(reader.remaining(), 0 | 12) && !looks_like_list(reader) {
        return Ok(None);
    }
    reader.strings("txn.paths2Delete")
}

/// Whether 12 bytes are a list of paths and not a digest: no digest begins with the count of a list that then
/// takes up all 12 bytes.
fn looks_like_list(reader: &Reader<'_>) -> bool {
    let mut ahead = reader.clone();
    ahead.remaining() == 12
        && ahead.rest().first_chunk() != Some(&DIGEST_VERSION.to_be_bytes())
        && ahead.strings("txn.paths2Delete").is_ok()
        && ahead.remaining() == 0
}

fn decode_parts(body: &Bytes, reader: &mut Reader<'_>) -> Result<Vec<Txn>, DecodeError> {
    let parts = reader.vector("txn.multi", |reader| {
        let at = reader.position();
        let op = reader.int("txn.multi.type")?;
        if op == OpCode::Multi.to_int() {
            return Err(DecodeError::unknown("txn.multi.type", at, i64::from(op)));
        }
        let part = reader.buffer("txn.multi.data")?.unwrap_or_default();
        let part = if part.is_empty() { Bytes::new() } else { body.slice_ref(part) };
        Txn::decode_body(op, at, &part, &mut Reader::new(&part))
    })?;
    Ok(parts.unwrap_or_default())
}

fn decode_data(body: &Bytes, reader: &mut Reader<'_>) -> Result<Option<Bytes>, DecodeError> {
    let Some(slice) = reader.buffer("txn.data")? else { return Ok(None) };
    Ok(Some(if slice.is_empty() { Bytes::new() } else { body.slice_ref(slice) }))
}

fn encode_acl(list: Option<&[Acl]>, out: &mut Vec<u8>) {
    match list {
        None => out.put_int(-1),
        Some(list) => acl::encode_list(list, out),
    }
}

impl TxnEntry {
    /// Appends header, body and digest.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_long(self.header.session.0);
        out.put_int(self.header.cxid);
        out.put_long(self.header.zxid.0);
        out.put_long(self.header.time_ms);
        out.put_int(self.txn.op().to_int());
        self.txn.encode_body(out);
        if let Some(digest) = self.digest {
            out.put_int(digest.version);
            out.put_long(digest.digest);
        }
    }

    /// Reads an entry. Bytes that are too few for a digest are ignored, as Java does.
    pub fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let session = SessionId(reader.long("txn.clientId")?);
        let cxid = reader.int("txn.cxid")?;
        let zxid = Zxid(reader.long("txn.zxid")?);
        let time_ms = reader.long("txn.time")?;
        let at = reader.position();
        let op = reader.int("txn.type")?;
        let txn = Txn::decode_body(op, at, bytes, &mut reader)?;
        let digest = if reader.remaining() >= TxnDigest::LEN {
            Some(TxnDigest {
                version: reader.int("digest.version")?,
                digest: reader.long("digest.treeDigest")?,
            })
        } else {
            None
        };
        Ok(Self { header: TxnHeader { session, cxid, zxid, time_ms }, txn, digest })
    }

    /// An encoded entry, its digest left out if it has one.
    #[must_use]
    pub fn without_digest(entry: &Bytes) -> Bytes {
        match Self::decode(entry) {
            Ok(Self { digest: Some(_), .. }) => entry.slice(..entry.len() - TxnDigest::LEN),
            _ => entry.clone(),
        }
    }

    /// The zxid of an encoded entry, without decoding the rest.
    pub fn peek_zxid(bytes: &[u8]) -> Result<Zxid, DecodeError> {
        let mut reader = Reader::new(bytes);
        reader.take(12, "txn.header")?;
        Ok(Zxid(reader.long("txn.zxid")?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(txn: Txn, digest: Option<i64>) -> TxnEntry {
        TxnEntry {
            header: TxnHeader { session: SessionId(0x55), cxid: 3, zxid: Zxid(9), time_ms: 77 },
            txn,
            digest: digest.map(|digest| TxnDigest { version: DIGEST_VERSION, digest }),
        }
    }

    #[test]
    fn every_kind_survives_encoding() {
        let data = Some(Bytes::from_static(b"data"));
        let acl: Option<AclList> = Some(Acl::open().into());
        let create = |kind| {
            Txn::Create(CreateTxn {
                kind,
                path: "/a".into(),
                data: data.clone(),
                acl: acl.clone(),
                parent_cversion: 4,
            })
        };
        let all = [
            Txn::CreateSession { timeout_ms: 4000 },
            Txn::CloseSession { paths: None },
            Txn::CloseSession { paths: Some(vec![]) },
            Txn::CloseSession { paths: Some(vec!["/e".into(), "/f".into()]) },
            Txn::Error { code: -101 },
            create(CreateKind::Plain { second: false, ephemeral: true }),
            create(CreateKind::Plain { second: true, ephemeral: false }),
            create(CreateKind::Container),
            create(CreateKind::Ttl { ttl_ms: 5 }),
            Txn::Delete { path: "/a".into() },
            Txn::DeleteContainer { path: "/a".into() },
            Txn::SetData { path: "/a".into(), data: None, version: 3 },
            Txn::Reconfig { path: "/zookeeper/config".into(), data: data.clone(), version: -1 },
            Txn::SetAcl { path: "/a".into(), acl: acl.clone(), version: 1 },
            Txn::Check { path: "/a".into(), version: 2 },
            Txn::Multi(vec![]),
            Txn::Multi(vec![Txn::Delete { path: "/a".into() }, Txn::Error { code: -2 }]),
        ];
        for txn in all {
            for digest in [None, Some(0x1234_5678_9abc)] {
                let entry = entry(txn.clone(), digest);
                let mut bytes = Vec::new();
                entry.encode(&mut bytes);
                let bytes = Bytes::from(bytes);
                assert_eq!(TxnEntry::decode(&bytes).unwrap(), entry);
                assert_eq!(TxnEntry::peek_zxid(&bytes).unwrap(), Zxid(9));
            }
        }
    }

    #[test]
    fn a_create_of_3_3_has_no_parent_version() {
        let txn = Txn::Create(CreateTxn {
            kind: CreateKind::Plain { second: false, ephemeral: false },
            path: "/a".into(),
            data: None,
            acl: None,
            parent_cversion: -1,
        });
        let mut bytes = Vec::new();
        entry(txn.clone(), None).encode(&mut bytes);
        bytes.truncate(bytes.len() - 4);
        assert_eq!(TxnEntry::decode(&Bytes::from(bytes)).unwrap().txn, txn);
    }

    #[test]
    fn a_multi_inside_a_multi_is_refused() {
        let mut bytes = Vec::new();
        entry(Txn::Multi(vec![Txn::Multi(vec![])]), None).encode(&mut bytes);
        assert!(TxnEntry::decode(&Bytes::from(bytes)).is_err());
    }
}
