//! Replies as a client reads them: the body behind a header whose code is 0, by the opcode of the request. Answers
//! to the response records that Java's `ClientCnxn` and `ZooKeeper` decode.

use bytes::Bytes;

use crate::acl::Acl;
use crate::client::reply::{ClientInfo, MultiHeader, decode_acls};
use crate::error::DecodeError;
use crate::jute::Reader;
use crate::op::OpCode;
use crate::stat::Stat;

/// What a request that went well is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are named as in the protocol")]
pub enum Response {
    /// Nothing but that it went well.
    Done,
    /// create.
    Path(String),
    /// create2, createContainer and createTTL.
    Created { path: String, stat: Stat },
    /// exists, setData and setACL.
    Stat(Stat),
    /// getData and reconfig. `None` where the znode holds null.
    Data { data: Option<Bytes>, stat: Stat },
    /// getChildren, and with a Stat getChildren2.
    Children { names: Vec<String>, stat: Option<Stat> },
    /// getACL.
    Acl { acl: Vec<Acl>, stat: Stat },
    /// getAllChildrenNumber.
    Number(i32),
    /// getEphemerals.
    Ephemerals(Vec<String>),
    /// sync.
    Synced { path: Option<String> },
    /// multi and multiRead: one result an operation. A multi that failed has only results that are errors.
    Multi(Vec<MultiResult>),
    /// whoAmI.
    Who(Vec<ClientInfo>),
}

/// The result of one operation of a multi.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are named as in the protocol")]
pub enum MultiResult {
    /// delete and check.
    Done,
    /// create.
    Path(String),
    /// create2, createContainer and createTTL.
    Created { path: String, stat: Stat },
    /// setData.
    Stat(Stat),
    /// getData.
    Data { data: Option<Bytes>, stat: Stat },
    /// getChildren.
    Children(Vec<String>),
    /// A code: 0 for an operation that was undone since a later one failed, -2 for one that was not tried.
    Error(i32),
}

impl Response {
    /// Reads the body of a reply. Bytes behind it are ignored.
    pub fn decode(op: OpCode, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::decode_shared(op, reader, None)
    }

    /// The same, but the data of a znode are a slice of `whole`, within which the reader reads, and no copy.
    pub fn decode_shared(
        op: OpCode,
        reader: &mut Reader<'_>,
        whole: Option<&Bytes>,
    ) -> Result<Self, DecodeError> {
        Ok(match op {
            OpCode::Create => Self::Path(text(reader, "path")?),
            OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl => {
                Self::Created { path: text(reader, "path")?, stat: Stat::decode(reader)? }
            }
            OpCode::Exists | OpCode::SetData | OpCode::SetAcl => Self::Stat(Stat::decode(reader)?),
            OpCode::GetData | OpCode::Reconfig => {
                let data = reader.buffer("data")?.map(|data| share(data, whole));
                Self::Data { data, stat: Stat::decode(reader)? }
            }
            OpCode::GetChildren => Self::Children { names: names(reader)?, stat: None },
            OpCode::GetChildren2 => {
                Self::Children { names: names(reader)?, stat: Some(Stat::decode(reader)?) }
            }
            OpCode::GetAcl => Self::Acl { acl: decode_acls(reader)?, stat: Stat::decode(reader)? },
            OpCode::GetAllChildrenNumber => Self::Number(reader.int("totalNumber")?),
            OpCode::GetEphemerals => Self::Ephemerals(names(reader)?),
            OpCode::Sync => Self::Synced { path: reader.string("path")?.map(std::borrow::Cow::into_owned) },
            OpCode::Multi | OpCode::MultiRead => Self::Multi(decode_multi(reader)?),
            OpCode::WhoAmI => Self::Who(
                reader
                    .vector("clientInfo", |reader| {
                        Ok(ClientInfo {
                            scheme: reader.string("authScheme")?.unwrap_or_default().into_owned(),
                            user: reader.string("user")?.unwrap_or_default().into_owned(),
                        })
                    })?
                    .unwrap_or_default(),
            ),
            OpCode::Delete
            | OpCode::DeleteContainer
            | OpCode::Ping
            | OpCode::Check
            | OpCode::CheckWatches
            | OpCode::RemoveWatches
            | OpCode::Auth
            | OpCode::Sasl
            | OpCode::SetWatches
            | OpCode::SetWatches2
            | OpCode::AddWatch
            | OpCode::CreateSession
            | OpCode::CloseSession
            | OpCode::Error => Self::Done,
        })
    }
}

/// The body of an answer to getData, looked at where it arrived.
#[derive(Debug, Clone, Copy)]
pub struct DataBody<'a> {
    /// The data of the znode; `None` for null.
    pub data: Option<&'a [u8]>,
    /// The encoded Stat. It lies right behind the data.
    pub stat: &'a [u8; Stat::LEN],
}

impl<'a> DataBody<'a> {
    /// Finds both. `None` if the body is not whole. Bytes behind it are ignored.
    #[inline]
    #[must_use]
    pub fn find(body: &'a [u8]) -> Option<Self> {
        let (len, rest) = body.split_first_chunk::<4>()?;
        let len = i32::from_be_bytes(*len);
        let (data, rest) = match usize::try_from(len) {
            Ok(len) => rest.split_at_checked(len).map(|(data, rest)| (Some(data), rest))?,
            Err(_) if len == -1 => (None, rest),
            Err(_) => return None,
        };
        Some(Self { data, stat: rest.first_chunk()? })
    }

    /// Reads it as [`Response::decode_shared`] does.
    #[must_use]
    pub fn read(self, whole: Option<&Bytes>) -> Response {
        Response::Data { data: self.data.map(|data| share(data, whole)), stat: Stat::of_bytes(self.stat) }
    }
}

fn share(data: &[u8], whole: Option<&Bytes>) -> Bytes {
    match whole {
        Some(whole) => whole.slice_ref(data),
        None => Bytes::copy_from_slice(data),
    }
}

fn decode_multi(reader: &mut Reader<'_>) -> Result<Vec<MultiResult>, DecodeError> {
    let mut results = Vec::new();
    loop {
        let at = reader.position();
        let header = MultiHeader::decode(reader)?;
        if header.done {
            return Ok(results);
        }
        results.push(match OpCode::from_int(header.op) {
            Some(OpCode::Error) => MultiResult::Error(reader.int("multi.error")?),
            Some(OpCode::Delete | OpCode::Check) => MultiResult::Done,
            Some(OpCode::Create) => MultiResult::Path(text(reader, "path")?),
            Some(OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl) => {
                MultiResult::Created { path: text(reader, "path")?, stat: Stat::decode(reader)? }
            }
            Some(OpCode::SetData) => MultiResult::Stat(Stat::decode(reader)?),
            Some(OpCode::GetData) => {
                let data = reader.buffer("data")?.map(Bytes::copy_from_slice);
                MultiResult::Data { data, stat: Stat::decode(reader)? }
            }
            Some(OpCode::GetChildren) => MultiResult::Children(names(reader)?),
            _ => return Err(DecodeError::unknown("multi.type", at, i64::from(header.op))),
        });
    }
}

fn text(reader: &mut Reader<'_>, what: &'static str) -> Result<String, DecodeError> {
    Ok(reader.required_string(what)?.into_owned())
}

fn names(reader: &mut Reader<'_>) -> Result<Vec<String>, DecodeError> {
    Ok(reader.strings("children")?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unhex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> =
            text.chars().filter_map(|c| c.to_digit(16)).map(|digit| u8::try_from(digit).unwrap()).collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    #[test]
    fn a_captured_multi_that_failed() {
        let body = unhex("ffffffff 00 00000000 00000000 ffffffff 00 ffffff9b ffffff9b ffffffff 01 ffffffff");
        let response = Response::decode(OpCode::Multi, &mut Reader::new(&body)).unwrap();
        assert_eq!(response, Response::Multi(vec![MultiResult::Error(0), MultiResult::Error(-101)]));
    }

    #[test]
    fn a_captured_multi_that_went_well() {
        let body =
            unhex("00000001 00 00000000 00000005 2f6d2f7731 00000002 00 00000000 ffffffff 01 ffffffff");
        let response = Response::decode(OpCode::Multi, &mut Reader::new(&body)).unwrap();
        assert_eq!(response, Response::Multi(vec![MultiResult::Path("/m/w1".to_owned()), MultiResult::Done]));
    }

    #[test]
    fn captured_identities() {
        let body =
            unhex("00000002 00000006 646967657374 00000003 626f62 00000002 6970 00000009 3132372e302e302e31");
        let response = Response::decode(OpCode::WhoAmI, &mut Reader::new(&body)).unwrap();
        let info = |scheme: &str, user: &str| ClientInfo { scheme: scheme.to_owned(), user: user.to_owned() };
        assert_eq!(response, Response::Who(vec![info("digest", "bob"), info("ip", "127.0.0.1")]));
    }

    #[test]
    fn bodies_that_end_early_are_errors() {
        for op in OpCode::ALL {
            let mut reader = Reader::new(&[0, 0]);
            let decoded = Response::decode(op, &mut reader);
            assert_eq!(decoded.is_ok(), decoded == Ok(Response::Done), "{op:?}");
        }
    }
}
