//! The client port: handshake, requests, replies and watch events.

pub mod connect;
pub mod encode;
pub mod event;
pub mod read;
pub mod reply;
pub mod response;
pub mod write;

use crate::error::DecodeError;
use crate::jute::Reader;

/// What every request begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestHeader {
    /// The client's number for it.
    pub xid: i32,
    /// The opcode as it was sent, perhaps one that nobody knows.
    pub op: i32,
}

impl RequestHeader {
    /// Encoded bytes.
    pub const LEN: usize = 8;

    /// Reads the record.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { xid: reader.int("request.xid")?, op: reader.int("request.type")? })
    }
}

/// An auth packet (opcode 100): a scheme and what it wants to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthRequest<'a> {
    /// The scheme; `None` if it was null.
    pub scheme: Option<std::borrow::Cow<'a, str>>,
    /// The credentials, for digest `user:password`.
    pub auth: Option<&'a [u8]>,
}

impl<'a> AuthRequest<'a> {
    /// Reads the record.
    pub fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        reader.int("auth.type")?;
        Ok(Self { scheme: reader.string("auth.scheme")?, auth: reader.buffer("auth.auth")? })
    }
}
