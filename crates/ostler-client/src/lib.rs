//! A client for ZooKeeper and for Ostler.
//!
//! ```no_run
//! use ostler_client::{ANY_VERSION, Client, CreateMode};
//!
//! # async fn f() -> Result<(), ostler_client::Error> {
//! let client = Client::connect("zoo1:2181,zoo2:2181,zoo3:2181/app").await?;
//! client.create("/greeting", "hello", CreateMode::Persistent).await?;
//! let (data, stat, changed) = client.get_data_and_watch("/greeting").await?;
//! client.set_data("/greeting", "good evening", stat.version).await?;
//! let event = changed.await?;
//! println!("{:?} at {}", event.kind, event.path);
//! client.delete("/greeting", ANY_VERSION).await?;
//! client.close().await;
//! # Ok(()) }
//! ```
//!
//! It has two layers. [`session`] is the client as a value: bytes and the time go in, bytes, completions and events
//! come out; a simulator can drive exactly this. The feature `driver`, on by default, is a tokio shell around it with
//! [`Client`], watches as futures and streams, transactions, a [`blocking`] facade, and [`recipes`]. An [`Error`] says
//! by its [`kind`](Error::kind) who has to act.

mod connect_string;
mod error;
mod options;
mod request;
pub mod session;
mod watches;

#[cfg(feature = "driver")]
mod driver;
#[cfg(feature = "driver")]
pub mod recipes;

pub use connect_string::{ConnectString, DEFAULT_PORT, Host};
#[cfg(feature = "driver")]
pub use driver::blocking;
#[cfg(feature = "driver")]
pub use driver::{
    ANY_VERSION, Batch, Client, ClientBuilder, Connecting, Connector, Created, Events, OneshotWatch, Reply,
    SessionState, Status, Statuses, TcpConnector, Transaction, Transport, WatchEvent, WatchStream,
    WatchedEvent, connect_tcp,
};
pub use error::{Error, ErrorKind};
pub use options::Options;
pub use request::Request;
pub use session::{Ending, Event};

pub use ostler_wire::acl::{Acl, Id, perms};
pub use ostler_wire::client::connect::PASSWORD_LEN;
pub use ostler_wire::client::event::EventType;
pub use ostler_wire::client::read::{AddWatchMode, MultiReadOp, WatcherType};
pub use ostler_wire::client::reply::ClientInfo;
pub use ostler_wire::client::response::{MultiResult, Response};
pub use ostler_wire::client::write::CreateMode;
pub use ostler_wire::{Code, OpCode, SessionId, Stat, Zxid};
