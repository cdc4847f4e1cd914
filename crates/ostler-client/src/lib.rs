//! A client for ZooKeeper and for Ostler, in two layers. `session` is the client as a value: bytes and the time go
//! in, bytes, completions and events come out; the simulator drives exactly this. `driver` (a default feature) is a
//! tokio shell around it. What a request is and what it is answered with are the types of `ostler_wire::client`.

mod error;
mod options;
mod request;
pub mod session;
mod watches;

#[cfg(feature = "driver")]
mod driver;

#[cfg(feature = "driver")]
pub use driver::{Client, Events};
pub use error::{Error, ErrorKind};
pub use options::Options;
pub use request::Request;
