//! Connections between clients and lanes: two streams of bytes that arrive in pieces of any length, end when either
//! side ends them, and hold only so much.

use std::collections::VecDeque;

use ostler_node::ConnId;

/// A connection.
#[derive(Debug)]
pub(crate) struct Pipe {
    /// The lane that serves it.
    pub lane: usize,
    /// As the lane knows it; `None` once the lane has removed it.
    pub conn: Option<ConnId>,
    /// On the way to the server.
    pub to_server: VecDeque<u8>,
    /// On the way to the client.
    pub to_client: VecDeque<u8>,
    /// The client has hung up.
    pub client_gone: bool,
    /// The server has hung up; what is on the way still arrives.
    pub server_gone: bool,
    /// How many bytes may be on the way to the client.
    pub capacity: usize,
}

impl Pipe {
    /// Takes up to `most` bytes off the front of a stream.
    pub(crate) fn take(stream: &mut VecDeque<u8>, most: usize) -> Vec<u8> {
        let most = most.min(stream.len());
        stream.drain(..most).collect()
    }

    /// How many more bytes fit on the way to the client.
    #[must_use]
    pub(crate) fn room(&self) -> usize {
        self.capacity.saturating_sub(self.to_client.len())
    }
}
