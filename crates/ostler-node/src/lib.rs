//! One server as a value. [`Node`] decides: it turns requests into transactions, keeps the sessions and applies
//! what is committed. [`Lane`] answers: it holds the connections and watches of one I/O thread, reads the tree in
//! place and renders every reply. Neither knows a clock, a socket, a file or a thread.
//!
//! Contract, for both: hand in everything that has happened (`handle_*`), then take `poll_output` until it is
//! `None`, and only then wait, until `poll_timeout`. `now` never goes back in its monotonic part; its wall clock
//! may jump and is used for nothing but the times in transactions and the age of containers and TTL nodes.
//!
//! The order that clients rely on: a transaction's changes, and then its reply, enter the inbox of a lane before
//! the exclusive borrow of the store ends; a lane takes the shared borrow, then drains its inbox, then reads. So
//! whoever can see a change has already been handed its watch event.

pub mod applier;
pub mod auth;
pub mod config;
pub mod conn;
pub mod disk_work;
mod forward;
pub mod gate;
pub mod io;
pub mod lane;
mod lane_requests;
mod local;
mod member;
pub mod node;
mod observers;
pub mod reaper;
pub mod recover;
pub mod render;
pub mod report;
pub mod sessions;
pub mod tally;
pub mod throttle;
pub mod time;
pub mod tree_stream;

pub use config::NodeConfig;
pub use io::{ConnId, Input, LaneBatch, LaneId, Letter, Output, Service};
pub use lane::{Lane, LaneOutput};
pub use node::Node;
pub use time::Now;
