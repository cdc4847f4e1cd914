//! Whether what is held by an ephemeral znode is still held. Suspended as soon as the connection is gone; Lost when the
//! session timeout has passed since the last request that was answered, which is before any server lets the session
//! expire; or Held again when the session was resumed in time.

use std::time::Duration;

use crate::{Client, SessionState, Status, Statuses};

/// Whether something is still held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holding {
    /// Yes.
    Held,
    /// There is no connection. It is still held, until `Lost` or `Held` says more; begin nothing that cannot be undone.
    Suspended,
    /// No: others may hold it already. This does not change any more.
    Lost,
}

/// The time during which something is held.
#[derive(Debug, Clone)]
pub struct Tenure {
    statuses: Statuses,
    lapses: u64,
    told: Holding,
}

impl Tenure {
    /// Begins with the status from before the last proof that the znode was there.
    pub(crate) fn since(client: &Client, status: &Status) -> Self {
        Self { statuses: client.statuses(), lapses: status.lapses, told: Holding::Held }
    }

    /// Whether it is still held.
    #[must_use]
    pub fn holding(&self) -> Holding {
        self.judge(&self.statuses.current())
    }

    /// Waits until that is another answer than the last time; after `Lost` it waits for ever.
    pub async fn changed(&mut self) -> Holding {
        loop {
            let now = self.holding();
            if now != self.told {
                self.told = now;
                return now;
            }
            if now == Holding::Lost || self.statuses.changed().await.is_none() {
                // Ended is lost, and was told.
                if self.holding() == self.told {
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    /// Waits until it is lost.
    pub async fn lost(&self) {
        let lapses = self.lapses;
        self.statuses.clone().wait_until(|status| status.lapses != lapses).await;
    }

    /// How long a session survives without a connection.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.statuses.current().timeout
    }

    fn judge(&self, status: &Status) -> Holding {
        match status.state {
            SessionState::Ended(_) => Holding::Lost,
            _ if status.lapses != self.lapses => Holding::Lost,
            SessionState::Connected => Holding::Held,
            SessionState::Connecting | SessionState::ConnectedReadOnly | SessionState::Suspended => {
                Holding::Suspended
            }
        }
    }
}
