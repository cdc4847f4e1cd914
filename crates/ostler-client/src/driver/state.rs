//! How the session stands, as its users see it: whoever holds something by it learns at once that the connection is
//! gone, and in time that the servers may have let the session expire. Answers to `KeeperState` and to Curator's
//! `ConnectionState`.

use std::time::Duration;

use ostler_wire::SessionId;
use tokio::sync::watch;

use crate::session::Ending;

/// How a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionState {
    /// It was never connected.
    Connecting,
    /// Connected.
    Connected,
    /// Connected to a server that has no quorum and only answers reads.
    ConnectedReadOnly,
    /// Without a connection. The session lives on, perhaps: see [`Status::lapses`].
    Suspended,
    /// Over.
    Ended(Ending),
}

/// How a session stands, and what happened to it so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// How it stands.
    pub state: SessionState,
    /// The session's id, 0 before the first connection.
    pub session: SessionId,
    /// The negotiated timeout.
    pub timeout: Duration,
    /// How often it was connected.
    pub connections: u64,
    /// How often the session timeout passed without an answer, so that the servers may have let it expire; its end
    /// counts, too. Whoever holds a lock notes this number when it acquires; once the number has grown the lock must
    /// be taken for lost, even if the session turns out to live.
    pub lapses: u64,
}

impl Default for Status {
    fn default() -> Self {
        Self {
            state: SessionState::Connecting,
            session: SessionId(0),
            timeout: Duration::ZERO,
            connections: 0,
            lapses: 0,
        }
    }
}

impl Status {
    /// Whether requests are answered now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(self.state, SessionState::Connected | SessionState::ConnectedReadOnly)
    }

    /// Whether the session is over.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        matches!(self.state, SessionState::Ended(_))
    }
}

/// Follows how a session stands. It always shows the newest: what came and went in between is seen in the counters.
#[derive(Debug, Clone)]
pub struct Statuses(watch::Receiver<Status>);

impl Statuses {
    pub(crate) fn new(receiver: watch::Receiver<Status>) -> Self {
        Self(receiver)
    }

    /// How it stands now.
    #[must_use]
    pub fn current(&self) -> Status {
        *self.0.borrow()
    }

    /// How it stands once that has changed since the last call; `None` when it will not change any more.
    pub async fn changed(&mut self) -> Option<Status> {
        if self.0.borrow().is_ended() && !self.0.has_changed().unwrap_or(false) {
            return None;
        }
        self.0.changed().await.ok()?;
        Some(*self.0.borrow_and_update())
    }

    /// Waits until it is as wanted, or over.
    pub async fn wait_until(&mut self, wanted: impl Fn(&Status) -> bool) -> Status {
        let found = self.0.wait_for(|status| wanted(status) || status.is_ended()).await.map(|status| *status);
        // The client's task is gone without a word: its runtime was stopped.
        found.unwrap_or_else(|_| Status { state: SessionState::Ended(Ending::Closed), ..self.current() })
    }
}
