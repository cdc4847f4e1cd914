//! What servers say to each other: packets on the learner port, a greeting and notifications on the election port,
//! and the member list that travels in both. Answers to Java's `QuorumPacket`, `LearnerInfo`,
//! `FastLeaderElection.Notification`, `QuorumCnxManager.InitialMessage` and the text form of `QuorumVerifier`.

pub mod greeting;
mod java_map;
pub mod member;
pub mod members;
pub mod notification;
pub mod packet;
pub mod stream;

pub use greeting::Greeting;
pub use member::{Member, MemberError, MemberRole, PeerAddress};
pub use members::{Members, MembersError};
pub use notification::{Notification, PeerState, Vote};
pub use packet::{Forwarded, LearnerInfo, Packet};
pub use stream::{PacketStream, Side};
