//! Opcodes: what a request asks for. Answers to `ZooDefs.OpCode`.

/// The kind of a request. The numbers are those of the wire, of transactions too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i32)]
#[allow(missing_docs, reason = "the names are the documentation of the protocol")]
pub enum OpCode {
    Create = 1,
    Delete = 2,
    Exists = 3,
    GetData = 4,
    SetData = 5,
    GetAcl = 6,
    SetAcl = 7,
    GetChildren = 8,
    Sync = 9,
    Ping = 11,
    GetChildren2 = 12,
    /// Valid inside a multi only.
    Check = 13,
    Multi = 14,
    Create2 = 15,
    Reconfig = 16,
    CheckWatches = 17,
    RemoveWatches = 18,
    CreateContainer = 19,
    DeleteContainer = 20,
    CreateTtl = 21,
    MultiRead = 22,
    Auth = 100,
    SetWatches = 101,
    Sasl = 102,
    GetEphemerals = 103,
    GetAllChildrenNumber = 104,
    SetWatches2 = 105,
    AddWatch = 106,
    WhoAmI = 107,
    CreateSession = -10,
    CloseSession = -11,
    /// A transaction that failed; never a request.
    Error = -1,
}

impl OpCode {
    /// Every opcode.
    pub const ALL: [Self; 32] = [
        Self::Create,
        Self::Delete,
        Self::Exists,
        Self::GetData,
        Self::SetData,
        Self::GetAcl,
        Self::SetAcl,
        Self::GetChildren,
        Self::Sync,
        Self::Ping,
        Self::GetChildren2,
        Self::Check,
        Self::Multi,
        Self::Create2,
        Self::Reconfig,
        Self::CheckWatches,
        Self::RemoveWatches,
        Self::CreateContainer,
        Self::DeleteContainer,
        Self::CreateTtl,
        Self::MultiRead,
        Self::Auth,
        Self::SetWatches,
        Self::Sasl,
        Self::GetEphemerals,
        Self::GetAllChildrenNumber,
        Self::SetWatches2,
        Self::AddWatch,
        Self::WhoAmI,
        Self::CreateSession,
        Self::CloseSession,
        Self::Error,
    ];

    /// The number on the wire.
    #[must_use]
    pub const fn to_int(self) -> i32 {
        self as i32
    }

    /// The opcode of this number.
    #[must_use]
    pub fn from_int(value: i32) -> Option<Self> {
        Some(match value {
            1 => Self::Create,
            2 => Self::Delete,
            3 => Self::Exists,
            4 => Self::GetData,
            5 => Self::SetData,
            6 => Self::GetAcl,
            7 => Self::SetAcl,
            8 => Self::GetChildren,
            9 => Self::Sync,
            11 => Self::Ping,
            12 => Self::GetChildren2,
            13 => Self::Check,
            14 => Self::Multi,
            15 => Self::Create2,
            16 => Self::Reconfig,
            17 => Self::CheckWatches,
            18 => Self::RemoveWatches,
            19 => Self::CreateContainer,
            20 => Self::DeleteContainer,
            21 => Self::CreateTtl,
            22 => Self::MultiRead,
            100 => Self::Auth,
            101 => Self::SetWatches,
            102 => Self::Sasl,
            103 => Self::GetEphemerals,
            104 => Self::GetAllChildrenNumber,
            105 => Self::SetWatches2,
            106 => Self::AddWatch,
            107 => Self::WhoAmI,
            -10 => Self::CreateSession,
            -11 => Self::CloseSession,
            -1 => Self::Error,
            _ => return None,
        })
    }

    /// Whether it becomes a transaction: it goes to the node, in order, and its answer comes when it is applied.
    #[must_use]
    pub fn is_write(self) -> bool {
        matches!(
            self,
            Self::Create
                | Self::Create2
                | Self::CreateContainer
                | Self::CreateTtl
                | Self::Delete
                | Self::DeleteContainer
                | Self::SetData
                | Self::SetAcl
                | Self::Check
                | Self::Multi
                | Self::Reconfig
                | Self::CreateSession
                | Self::CloseSession
        )
    }

    /// The four letters by which `cons` names the last operation of a connection.
    #[must_use]
    pub fn short_name(self) -> &'static str {
        match self {
            Self::CreateSession => "SESS",
            Self::Ping => "PING",
            Self::Create | Self::Create2 | Self::CreateTtl | Self::CreateContainer => "CREA",
            Self::Delete | Self::DeleteContainer => "DELE",
            Self::Exists => "EXIS",
            Self::GetData => "GETD",
            Self::SetData => "SETD",
            Self::GetAcl => "GETA",
            Self::SetAcl => "SETA",
            Self::GetChildren | Self::GetChildren2 => "GETC",
            Self::Sync => "SYNC",
            Self::Multi => "MULT",
            Self::MultiRead => "MLTR",
            Self::Reconfig => "RECO",
            Self::Check => "CHEC",
            Self::CloseSession => "CLOS",
            Self::SetWatches => "SETW",
            Self::SetWatches2 => "STW2",
            Self::AddWatch => "ADDW",
            Self::CheckWatches => "CHKW",
            Self::RemoveWatches => "REMW",
            Self::GetEphemerals => "GETE",
            Self::GetAllChildrenNumber => "GETACN",
            Self::WhoAmI => "HOMI",
            Self::Auth | Self::Sasl | Self::Error => "NA",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_opcodes_agree() {
        for op in OpCode::ALL {
            assert_eq!(OpCode::from_int(op.to_int()), Some(op));
        }
        for unknown in [0, 10, 23, 99, 108, -2, i32::MAX, i32::MIN] {
            assert_eq!(OpCode::from_int(unknown), None, "{unknown}");
        }
    }
}
