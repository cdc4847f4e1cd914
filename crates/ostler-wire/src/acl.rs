//! Access control lists: permission bits and identities, on the wire and on disk.

use crate::error::DecodeError;
use crate::jute::{Reader, Writer};

/// Permission bits.
pub mod perms {
    /// Read data, ACL and children.
    pub const READ: i32 = 1;
    /// Change data.
    pub const WRITE: i32 = 2;
    /// Create children.
    pub const CREATE: i32 = 4;
    /// Delete children.
    pub const DELETE: i32 = 8;
    /// Change the ACL.
    pub const ADMIN: i32 = 16;
    /// All of them.
    pub const ALL: i32 = 31;
}

/// Who somebody is: a scheme and an id in it, for example `digest` and `bob:hash`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// The scheme.
    pub scheme: String,
    /// The identity within the scheme.
    pub id: String,
}

impl Id {
    /// An identity.
    pub fn new(scheme: impl Into<String>, id: impl Into<String>) -> Self {
        Self { scheme: scheme.into(), id: id.into() }
    }
}

/// One entry of an access control list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Acl {
    /// Permission bits; unknown bits are kept and match nothing.
    pub perms: i32,
    /// Who has them.
    pub id: Id,
}

impl Acl {
    /// An entry.
    pub fn new(perms: i32, scheme: impl Into<String>, id: impl Into<String>) -> Self {
        Self { perms, id: Id::new(scheme, id) }
    }

    /// `world:anyone` with these permissions.
    #[must_use]
    pub fn world(perms: i32) -> Self {
        Self::new(perms, "world", "anyone")
    }

    /// The list that lets everybody do everything.
    #[must_use]
    pub fn open() -> Vec<Self> {
        vec![Self::world(perms::ALL)]
    }

    /// Appends the record.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_int(self.perms);
        out.put_string(&self.id.scheme);
        out.put_string(&self.id.id);
    }

    /// Reads the record as it stands on disk: a null text reads as empty.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            perms: reader.int("acl.perms")?,
            id: Id {
                scheme: reader.string("acl.scheme")?.unwrap_or_default().into_owned(),
                id: reader.string("acl.id")?.unwrap_or_default().into_owned(),
            },
        })
    }
}

/// Appends a list.
pub fn encode_list(list: &[Acl], out: &mut Vec<u8>) {
    out.put_count(list.len());
    for acl in list {
        acl.encode(out);
    }
}

/// One entry as a client sent it: texts may be missing, and whether that matters is for the ACL check to say.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RawAcl {
    /// Permission bits.
    pub perms: i32,
    /// The scheme, if any.
    pub scheme: Option<String>,
    /// The id, if any.
    pub id: Option<String>,
}

impl RawAcl {
    /// Reads the record.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            perms: reader.int("acl.perms")?,
            scheme: reader.string("acl.scheme")?.map(std::borrow::Cow::into_owned),
            id: reader.string("acl.id")?.map(std::borrow::Cow::into_owned),
        })
    }
}

impl From<Acl> for RawAcl {
    fn from(acl: Acl) -> Self {
        Self { perms: acl.perms, scheme: Some(acl.id.scheme), id: Some(acl.id.id) }
    }
}
