//! What a caller may choose about a session. Every queue has its bound here.

use std::time::Duration;

/// The options of a session.
#[derive(Debug, Clone)]
pub struct Options {
    /// The session timeout to ask for; the server clamps it.
    pub session_timeout: Duration,
    /// Whether a read-only server will do.
    pub read_only: bool,
    /// How many servers there are to try: the time for one connection is the session timeout divided by it.
    pub servers: u32,
    /// The longest frame that is accepted from a server, in bytes.
    pub max_frame_bytes: usize,
    /// How many requests may wait for their answer, whether sent or not.
    pub max_pending: usize,
    /// How many bytes of requests may wait to be sent.
    pub max_unsent_bytes: usize,
    /// Whether watches are set again after a reconnect.
    pub restore_watches: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            session_timeout: Duration::from_secs(30),
            read_only: false,
            servers: 1,
            max_frame_bytes: 4 << 20,
            max_pending: 10_000,
            max_unsent_bytes: 16 << 20,
            restore_watches: true,
        }
    }
}
