//! The tokio shell around a session. [`Client`] is a handle that puts requests into the session's buffer, one task
//! moves bytes between that and the socket and asks the clock; what the protocol says is decided in
//! [`session`](crate::session).

mod answers;
mod batch;
pub mod blocking;
mod builder;
mod client;
mod connector;
mod hosts;
mod mailbox;
mod random;
mod reply;
mod shared;
mod state;
mod task;
#[cfg(test)]
mod tests;
mod transaction;
mod watch;

pub use batch::Batch;
pub use builder::ClientBuilder;
pub use client::{ANY_VERSION, Client, Created};
pub use connector::{Connecting, Connector, TcpConnector, Transport, connect_tcp};
pub(crate) use mailbox::Mailbox;
pub(crate) use random::Random;
pub use reply::Reply;
pub use state::{SessionState, Status, Statuses};
pub use transaction::Transaction;
pub use watch::{Events, OneshotWatch, WatchEvent, WatchStream, WatchedEvent};
