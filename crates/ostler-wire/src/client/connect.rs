//! The handshake: the first frame in each direction, without a header.

use crate::error::DecodeError;
use crate::ids::SessionId;
use crate::jute::{Reader, Writer};

/// Bytes of a session's password.
pub const PASSWORD_LEN: usize = 16;

/// What a client says first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectRequest<'a> {
    /// The version of the protocol, 0; servers ignore it.
    pub protocol_version: i32,
    /// The newest zxid that the client has seen in a reply.
    pub last_zxid_seen: i64,
    /// The session timeout it wishes, in milliseconds; signed, and any value is clamped.
    pub timeout_ms: i32,
    /// The session to resume, 0 for a new one.
    pub session: SessionId,
    /// The password of the session to resume.
    pub password: &'a [u8],
    /// Whether a read-only server will do; `None` from clients that do not know of it, whose answer must not
    /// mention it either.
    pub read_only: Option<bool>,
}

impl<'a> ConnectRequest<'a> {
    /// Reads the record. Bytes behind it are ignored.
    pub fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self {
            protocol_version: reader.int("connect.protocolVersion")?,
            last_zxid_seen: reader.long("connect.lastZxidSeen")?,
            timeout_ms: reader.int("connect.timeOut")?,
            session: SessionId(reader.long("connect.sessionId")?),
            password: reader.buffer("connect.passwd")?.unwrap_or_default(),
            read_only: if reader.remaining() > 0 { Some(reader.bool("connect.readOnly")?) } else { None },
        })
    }

    /// Appends the record.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_int(self.protocol_version);
        out.put_long(self.last_zxid_seen);
        out.put_int(self.timeout_ms);
        out.put_long(self.session.0);
        out.put_buffer(Some(self.password));
        if let Some(read_only) = self.read_only {
            out.put_bool(read_only);
        }
    }
}

/// What the server says first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectResponse {
    /// The negotiated timeout in milliseconds; 0 says that the session is gone.
    pub timeout_ms: i32,
    /// The session, 0 if it is gone.
    pub session: SessionId,
    /// Its password.
    pub password: [u8; PASSWORD_LEN],
    /// Whether this is a read-only server; `None` to a client that did not ask.
    pub read_only: Option<bool>,
}

impl ConnectResponse {
    /// The answer that the session is gone.
    #[must_use]
    pub fn expired(read_only: Option<bool>) -> Self {
        Self { timeout_ms: 0, session: SessionId(0), password: [0; PASSWORD_LEN], read_only }
    }

    /// Appends the record.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_int(0);
        out.put_int(self.timeout_ms);
        out.put_long(self.session.0);
        out.put_buffer(Some(&self.password));
        if let Some(read_only) = self.read_only {
            out.put_bool(read_only);
        }
    }

    /// Reads the record.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.int("connect.protocolVersion")?;
        let timeout_ms = reader.int("connect.timeOut")?;
        let session = SessionId(reader.long("connect.sessionId")?);
        let at = reader.position();
        let password = reader.buffer("connect.passwd")?.unwrap_or_default();
        let password = <[u8; PASSWORD_LEN]>::try_from(password).map_err(|_| {
            DecodeError::length(
                "connect.passwd",
                at,
                password.len().try_into().unwrap_or(i64::MAX),
                PASSWORD_LEN,
            )
        })?;
        let read_only = if reader.remaining() > 0 { Some(reader.bool("connect.readOnly")?) } else { None };
        Ok(Self { timeout_ms, session, password, read_only })
    }
}

/// The password of a session. Every server can compute it from the id alone: the generator of `java.util.Random`,
/// seeded with the id and a constant. It is a checksum rather than a secret.
#[must_use]
pub fn session_password(session: SessionId) -> [u8; PASSWORD_LEN] {
    const MASK: u64 = (1 << 48) - 1;
    const MULTIPLIER: u64 = 0x5_deec_e66d;
    let mut state = ((session.0.cast_unsigned() ^ 0xb341_5c00) ^ MULTIPLIER) & MASK;
    let mut password = [0; PASSWORD_LEN];
    for word in password.chunks_exact_mut(4) {
        state = state.wrapping_mul(MULTIPLIER).wrapping_add(0xb) & MASK;
        let bits = u32::try_from(state >> 16).expect("48 bits less 16");
        // Java's nextBytes takes each word from its low end: the one place where the protocol is not big-endian.
        word.copy_from_slice(&bits.swap_bytes().to_be_bytes());
    }
    password
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn passwords_are_those_of_java() {
        for (id, password) in [
            (0x0100_000a_4e33_0000, "8f2892c070f0148185cb2f35396e7120"),
            (0x0100_000a_4e33_0001, "a2498cc0103cf4c57a0e97600df785ed"),
            (1, "054cc74a37327db215e702e20c73f005"),
        ] {
            assert_eq!(hex(&session_password(SessionId(id))), password);
        }
    }

    #[test]
    fn the_read_only_byte_is_optional() {
        for read_only in [None, Some(false), Some(true)] {
            let request = ConnectRequest {
                protocol_version: 0,
                last_zxid_seen: 7,
                timeout_ms: -5,
                session: SessionId(9),
                password: &[1; 16],
                read_only,
            };
            let mut bytes = Vec::new();
            request.encode(&mut bytes);
            assert_eq!(bytes.len(), 44 + usize::from(read_only.is_some()));
            assert_eq!(ConnectRequest::decode(&mut Reader::new(&bytes)).unwrap(), request);

            let response =
                ConnectResponse { timeout_ms: 4000, session: SessionId(9), password: [2; 16], read_only };
            let mut bytes = Vec::new();
            response.encode(&mut bytes);
            assert_eq!(bytes.len(), 36 + usize::from(read_only.is_some()));
            assert_eq!(ConnectResponse::decode(&mut Reader::new(&bytes)).unwrap(), response);
        }
    }
}
