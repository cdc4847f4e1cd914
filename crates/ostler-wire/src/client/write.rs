//! Requests that become transactions: decoded where they arrive, then handed to the node, so they own what they
//! hold. Data stays a shared slice of the frame it came in until the tree takes its own copy.

use bytes::Bytes;

use crate::acl::RawAcl;
use crate::client::reply::MultiHeader;
use crate::error::DecodeError;
use crate::jute::Reader;
use crate::op::OpCode;

/// A request to change the tree. A path may be missing (null): that is answered by a transaction that failed, as
/// Java does, and not by the decoder.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are named as in the protocol")]
pub enum Write {
    Create(Create),
    Delete {
        path: Option<String>,
        version: i32,
    },
    /// Made by the server only, for containers and TTL nodes that ran out.
    DeleteContainer {
        path: String,
    },
    SetData {
        path: Option<String>,
        data: Option<Bytes>,
        version: i32,
    },
    SetAcl {
        path: Option<String>,
        acl: Option<Vec<RawAcl>>,
        version: i32,
    },
    /// Inside a multi only.
    Check {
        path: Option<String>,
        version: i32,
    },
    Multi(Vec<Self>),
    /// A multi that does not decode: answered, other than every other such request, by a transaction that failed.
    MalformedMulti,
    Reconfig {
        joining: Option<String>,
        leaving: Option<String>,
        members: Option<String>,
        config_id: i64,
    },
    /// Made by the server only, from a handshake.
    CreateSession {
        timeout_ms: i32,
    },
    CloseSession,
}

/// A request to create a znode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Create {
    /// Create, Create2, CreateContainer or CreateTtl: what is stored, and how the answer looks.
    pub op: OpCode,
    /// The path, to which a sequential node's number is appended.
    pub path: Option<String>,
    /// The data.
    pub data: Option<Bytes>,
    /// Who may do what.
    pub acl: Option<Vec<RawAcl>>,
    /// The `CreateMode` as a number, perhaps an unknown one.
    pub flags: i32,
    /// Milliseconds to live; -1 unless the opcode is CreateTtl.
    pub ttl: i64,
}

/// The kinds of znode that a client can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i32)]
#[allow(missing_docs, reason = "the names are the documentation of the protocol")]
pub enum CreateMode {
    Persistent = 0,
    Ephemeral = 1,
    PersistentSequential = 2,
    EphemeralSequential = 3,
    Container = 4,
    PersistentWithTtl = 5,
    PersistentSequentialWithTtl = 6,
}

impl CreateMode {
    /// The mode of this number.
    #[must_use]
    pub fn from_flags(flags: i32) -> Option<Self> {
        Some(match flags {
            0 => Self::Persistent,
            1 => Self::Ephemeral,
            2 => Self::PersistentSequential,
            3 => Self::EphemeralSequential,
            4 => Self::Container,
            5 => Self::PersistentWithTtl,
            6 => Self::PersistentSequentialWithTtl,
            _ => return None,
        })
    }

    /// Whether the name gets a number.
    #[must_use]
    pub fn is_sequential(self) -> bool {
        matches!(
            self,
            Self::PersistentSequential | Self::EphemeralSequential | Self::PersistentSequentialWithTtl
        )
    }

    /// Whether it goes with its session.
    #[must_use]
    pub fn is_ephemeral(self) -> bool {
        matches!(self, Self::Ephemeral | Self::EphemeralSequential)
    }

    /// Whether it has a time to live.
    #[must_use]
    pub fn is_ttl(self) -> bool {
        matches!(self, Self::PersistentWithTtl | Self::PersistentSequentialWithTtl)
    }
}

impl Write {
    /// Reads the body of a request that a client may send, `body` being the bytes behind the header. Bytes behind the
    /// record are ignored.
    pub fn decode(op: OpCode, body: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        match op {
            OpCode::Multi => decode_multi(body, &mut reader),
            OpCode::CloseSession => Ok(Self::CloseSession),
            OpCode::Reconfig => Ok(Self::Reconfig {
                joining: owned_string(&mut reader, "joiningServers")?,
                leaving: owned_string(&mut reader, "leavingServers")?,
                members: owned_string(&mut reader, "newMembers")?,
                config_id: reader.long("curConfigId")?,
            }),
            OpCode::Create
            | OpCode::Create2
            | OpCode::CreateContainer
            | OpCode::CreateTtl
            | OpCode::Delete
            | OpCode::SetData
            | OpCode::SetAcl
            | OpCode::Check => decode_single(op, body, &mut reader),
            _ => Err(DecodeError::unknown("type", 0, i64::from(op.to_int()))),
        }
    }

    /// The opcode it came under.
    #[must_use]
    pub fn op(&self) -> OpCode {
        match self {
            Self::Create(create) => create.op,
            Self::Delete { .. } => OpCode::Delete,
            Self::DeleteContainer { .. } => OpCode::DeleteContainer,
            Self::SetData { .. } => OpCode::SetData,
            Self::SetAcl { .. } => OpCode::SetAcl,
            Self::Check { .. } => OpCode::Check,
            Self::Multi(_) | Self::MalformedMulti => OpCode::Multi,
            Self::Reconfig { .. } => OpCode::Reconfig,
            Self::CreateSession { .. } => OpCode::CreateSession,
            Self::CloseSession => OpCode::CloseSession,
        }
    }
}

fn decode_single(op: OpCode, body: &Bytes, reader: &mut Reader<'_>) -> Result<Write, DecodeError> {
    let path = owned_string(reader, "path")?;
    match op {
        OpCode::Create | OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl => {
            Ok(Write::Create(Create {
                op,
                path,
                data: shared_buffer(body, reader, "data")?,
                acl: reader.vector("acl", RawAcl::decode)?,
                flags: reader.int("flags")?,
                ttl: if op == OpCode::CreateTtl { reader.long("ttl")? } else { -1 },
            }))
        }
        OpCode::Delete => Ok(Write::Delete { path, version: reader.int("version")? }),
        OpCode::SetData => Ok(Write::SetData {
            path,
            data: shared_buffer(body, reader, "data")?,
            version: reader.int("version")?,
        }),
        OpCode::SetAcl => Ok(Write::SetAcl {
            path,
            acl: reader.vector("acl", RawAcl::decode)?,
            version: reader.int("version")?,
        }),
        OpCode::Check => Ok(Write::Check { path, version: reader.int("version")? }),
        _ => Err(DecodeError::unknown("type", 0, i64::from(op.to_int()))),
    }
}

/// A multi. What Java's decoder refuses as a whole (other opcodes, unknown or TTL flags in a plain create) is refused
/// as a whole here; only a null ACL goes another way there, before a zxid is taken.
fn decode_multi(body: &Bytes, reader: &mut Reader<'_>) -> Result<Write, DecodeError> {
    let mut ops = Vec::new();
    loop {
        match decode_part(body, reader) {
            Ok(Some(Write::Create(create))) if create.acl.is_none() && create.op != OpCode::CreateTtl => {
                return Err(DecodeError::null("multi.acl", reader.position()));
            }
            Ok(Some(Write::Create(mut create))) => {
                if !fix_multi_create(&mut create) {
                    return Ok(Write::MalformedMulti);
                }
                ops.push(Write::Create(create));
            }
            Ok(Some(write)) => ops.push(write),
            Ok(None) => return Ok(Write::Multi(ops)),
            Err(_) => return Ok(Write::MalformedMulti),
        }
    }
}

/// The next operation of a multi, `None` at its end.
fn decode_part(body: &Bytes, reader: &mut Reader<'_>) -> Result<Option<Write>, DecodeError> {
    let at = reader.position();
    let header = MultiHeader::decode(reader)?;
    if header.done {
        return Ok(None);
    }
    let unknown = || DecodeError::unknown("multi.type", at, i64::from(header.op));
    let op = OpCode::from_int(header.op).ok_or_else(unknown)?;
    match op {
        OpCode::Delete | OpCode::SetData | OpCode::Check | OpCode::CreateTtl => {}
        OpCode::Create | OpCode::Create2 | OpCode::CreateContainer => {
            let write = decode_single(op, body, reader)?;
            return match &write {
                Write::Create(create) if CreateMode::from_flags(create.flags).is_some() => Ok(Some(write)),
                _ => Err(DecodeError::unknown("multi.flags", at, i64::from(header.op))),
            };
        }
        _ => return Err(unknown()),
    }
    decode_single(op, body, reader).map(Some)
}

/// Inside a multi the flags decide what is made, for all but the container opcode. Whether they are allowed there.
fn fix_multi_create(create: &mut Create) -> bool {
    let mode = CreateMode::from_flags(create.flags);
    if create.op == OpCode::CreateTtl {
        // Java builds the operation from flags alone: an unknown flag makes a plain create that then fails on it.
        match mode {
            Some(mode) if mode.is_ttl() => {}
            Some(CreateMode::Container) => (create.op, create.ttl) = (OpCode::CreateContainer, -1),
            _ => (create.op, create.ttl) = (OpCode::Create, -1),
        }
        return true;
    }
    if mode == Some(CreateMode::Container) {
        create.op = OpCode::CreateContainer;
    }
    mode.is_some_and(|mode| !mode.is_ttl())
}

fn owned_string(reader: &mut Reader<'_>, what: &'static str) -> Result<Option<String>, DecodeError> {
    Ok(reader.string(what)?.map(std::borrow::Cow::into_owned))
}

fn shared_buffer(
    body: &Bytes,
    reader: &mut Reader<'_>,
    what: &'static str,
) -> Result<Option<Bytes>, DecodeError> {
    let Some(slice) = reader.buffer(what)? else { return Ok(None) };
    Ok(Some(if slice.is_empty() { Bytes::new() } else { body.slice_ref(slice) }))
}
