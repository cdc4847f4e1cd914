//! The bytes of ZooKeeper and the types they mean: client protocol, transactions, files. No state, no I/O, no clock;
//! every decoder takes untrusted bytes and either yields a value or says what is wrong and where.

pub mod acl;
pub mod client;
pub mod code;
pub mod disk;
pub mod error;
pub mod frame;
pub mod ids;
pub mod jute;
pub mod op;
pub mod path;
pub mod quorum;
pub mod stat;
pub mod txn;
pub mod zoo;

pub use acl::{Acl, Id};
pub use code::Code;
pub use error::DecodeError;
pub use ids::{ServerId, SessionId, Xid, Zxid};
pub use op::OpCode;
pub use stat::Stat;
