//! What servers say to each other: packets on the learner port, notifications on the election port, and the member
//! list that travels in both. Answers to Java's `QuorumPacket`, `LearnerInfo`, `FastLeaderElection.Notification`,
//! `QuorumCnxManager.InitialMessage` and the text form of `QuorumVerifier`.

pub mod members;
pub mod notification;
pub mod packet;

pub use members::{Member, MemberRole, Members, PeerAddress};
pub use notification::{Notification, PeerState, Vote};
pub use packet::{Forwarded, LearnerInfo, Packet};
