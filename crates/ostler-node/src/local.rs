//! What this server does for clients without the others: sessions that nobody else knows of, and reads while there is
//! no leader. Answers to Java's `LocalSessionTracker`, `QuorumZooKeeperServer.checkUpgradeSession` and
//! `ReadOnlyZooKeeperServer`.

use ostler_tree::{Outcome, Store};
use ostler_wire::SessionId;
use ostler_wire::client::write::Write;
use ostler_wire::quorum::PeerState;

use crate::applier::Origin;
use crate::io::{CloseReason, ConnId, Letter, Service};
use crate::node::Node;
use crate::sessions::Standing;
use crate::time::Now;

/// How long to look for a leader before reads are served without one, in milliseconds, or a tick if that is longer.
const READ_ONLY_AFTER_MS: u64 = 2000;

impl Node {
    /// A new session that only this server knows of.
    pub(crate) fn open_local(&mut self, now: Now, conn: ConnId, timeout_ms: i32) {
        let session = self.sessions.allocate();
        self.sessions.track_local(session, timeout_ms, now.mono_ms, conn);
        self.send(conn.lane(), Letter::Opened { conn, session, timeout_ms });
    }

    /// A client comes while there is no leader. Its session of better times lives on at the others, perhaps: nobody
    /// here can tell, so that it is sent away without a word. A session that began here and is not known any more is
    /// gone.
    pub(crate) fn connect_read_only(
        &mut self,
        now: Now,
        conn: ConnId,
        resume: Option<SessionId>,
        timeout_ms: i32,
        store: &Store,
    ) {
        let Some(session) = resume else { return self.open_local(now, conn, timeout_ms) };
        let is_own = session.0 >> 56 == self.config.server_id;
        let is_global = store.session_timeout(session).is_some();
        if self.sessions.standing(session) == Standing::Live {
            self.resume(now, conn, session, timeout_ms);
        } else if is_own && !is_global {
            self.send(conn.lane(), Letter::Refused { conn });
        } else {
            self.close(conn, CloseReason::NotServing);
        }
    }

    /// Whether a session that is not known here may be one that only the learner knows of which asks for it.
    pub(crate) fn may_be_local(&self, session: SessionId) -> bool {
        self.config.services.local_sessions && session.0 >> 56 != self.config.server_id
    }

    /// Whether a local session can be closed here: nothing of it is on its way to the leader.
    pub(crate) fn closes_local(&self, session: SessionId) -> bool {
        self.service != Service::Learning || !self.member.forwarded.is_waiting(session)
    }

    pub(crate) fn close_local(&mut self, conn: ConnId, session: SessionId) {
        self.sessions.remove(session);
        self.send_after(self.applier.last(), conn, Letter::Reply { conn, outcome: Outcome::Done });
    }

    pub(crate) fn expire_local(&mut self, session: SessionId) {
        if let Some(conn) = self.sessions.remove(session) {
            self.close(conn, CloseReason::SessionExpired);
        }
    }

    /// The ensemble is told of a session that only this server knew of, ahead of what needs that.
    pub(crate) fn upgrade(&mut self, now: Now, session: SessionId, store: &Store) {
        let leads = self.service == Service::Leading;
        if leads && self.peer.next_zxid().is_none() {
            return;
        }
        let Some(timeout_ms) = self.sessions.upgrade(session, leads) else { return };
        if leads {
            return self.propose_own(
                now,
                session,
                Write::CreateSession { timeout_ms },
                Origin::Server,
                store,
            );
        }
        self.forward_session(session, timeout_ms, Origin::Server);
    }

    /// Begins to serve reads when no leader is found, and ends it when there may be one.
    pub(crate) fn poll_read_only(&mut self, now: Now) {
        if !self.config.services.read_only_mode || !self.config.member {
            return;
        }
        if self.peer.state() != PeerState::Looking {
            self.read_only_at_ms = None;
            if self.service == Service::ReadOnly {
                self.serve(Service::None);
            }
            return;
        }
        let patience_ms = READ_ONLY_AFTER_MS.max(u64::from(self.config.tick_ms));
        let at_ms = *self.read_only_at_ms.get_or_insert(now.mono_ms + patience_ms);
        if self.service == Service::None && at_ms <= now.mono_ms {
            self.serve(Service::ReadOnly);
        }
    }
}
