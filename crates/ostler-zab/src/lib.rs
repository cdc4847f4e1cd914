//! Who leads, and in what order transactions happen: the ensemble protocol as a value. It knows zxids and opaque
//! bytes; no znodes, files, sockets or clocks.
//!
//! [`Peer`] is the whole of it: [`Input`] is everything that can happen to it, [`Output`] everything that it can
//! want. Contract: `handle`, then `poll_output` until `None`, and only then wait. Time is an argument, in
//! milliseconds of a clock that never goes back.

mod core;
mod election;
mod handover;
mod history;
mod io;
mod leader;
mod learner;
mod master;
mod masters;
pub mod membership;
pub mod peer;
pub mod quorum;
mod solo;
mod sync;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use crate::core::{Epochs, Observing, PeerConfig};
pub use election::{Elected, is_better};
pub use history::{History, Limit};
pub use io::{Door, EpochKind, Generation, Input, LinkId, LogPlace, Output, Proposal, Reason, Standing};
pub use membership::Membership;
pub use peer::Peer;
pub use quorum::{JointQuorum, Quorum, QuorumError};
pub use sync::{Plan, decide, decide_by_log};
