//! Who leads, and in what order transactions happen: the ensemble protocol as a value. It knows zxids and opaque
//! bytes; no znodes, files, sockets or clocks. Today it holds the role of a server alone and the quorum types;
//! election, leader and learner join them here.

pub mod peer;
pub mod quorum;
mod solo;

pub use peer::{Generation, Input, Output, Peer, Proposal};
pub use quorum::{JointQuorum, Quorum, QuorumError};
