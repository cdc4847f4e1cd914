//! The sessions of this server: who is alive, until when, and by which connection. Deadlines are rounded up to
//! ticks, so that sessions expire in buckets. Answers to Java's `SessionTrackerImpl` and `ExpiryQueue`.

use std::collections::{BTreeMap, BTreeSet};

use ostler_wire::zoo::{self, Mutation};
use ostler_wire::{Code, SessionId};
use ostler_zab::LinkId;

use crate::io::{ConnId, Touch};

/// One session.
#[derive(Debug)]
struct Session {
    /// The negotiated timeout that a touch grants, in milliseconds.
    timeout_ms: i32,
    /// When it was last heard from.
    heard_ms: u64,
    /// The bucket it is in; `u64::MAX` before the first.
    deadline_ms: u64,
    /// Whether its closing transaction is under way.
    closing: bool,
    /// Who speaks for it.
    owner: Option<Owner>,
    /// Whether this server alone knows of it.
    local: bool,
}

/// Who speaks for a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// A connection of this server.
    Conn(ConnId),
    /// A connection of a learner.
    Learner(LinkId),
}

impl Owner {
    /// The connection, if it is one of this server.
    fn conn(self) -> Option<ConnId> {
        match self {
            Self::Conn(conn) => Some(conn),
            Self::Learner(_) => None,
        }
    }
}

/// All sessions.
#[derive(Debug)]
pub struct Sessions {
    tick_ms: u64,
    next_id: i64,
    sessions: BTreeMap<SessionId, Session>,
    /// Sessions that are not closing, by deadline.
    buckets: BTreeMap<u64, BTreeSet<SessionId>>,
}

/// How a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Alive.
    Live,
    /// Its closing transaction is under way.
    Closing,
    /// Not known.
    Unknown,
}

impl Sessions {
    /// No sessions; ids are made from the server's id and a clock that moved on since the last start.
    #[must_use]
    pub fn new(tick_ms: u32, server_id: i64, clock_ms: u64) -> Self {
        Self {
            tick_ms: u64::from(tick_ms).max(1),
            next_id: first_id(server_id, clock_ms),
            sessions: BTreeMap::new(),
            buckets: BTreeMap::new(),
        }
    }

    /// A new id.
    pub fn allocate(&mut self) -> SessionId {
        loop {
            let id = SessionId(self.next_id);
            self.next_id = self.next_id.wrapping_add(1);
            // After a restart within the same millisecond of the clock an id could still be in use.
            if !self.sessions.contains_key(&id) && id.0 != 0 {
                return id;
            }
        }
    }

    /// Takes up a session, new or from the log.
    pub fn track(&mut self, id: SessionId, timeout_ms: i32, now_ms: u64, conn: Option<ConnId>) {
        self.hold(id, timeout_ms, conn);
        self.touch(Touch { session: id, heard_ms: now_ms, timeout_ms });
    }

    /// Takes up a session that only this server knows of.
    pub fn track_local(&mut self, id: SessionId, timeout_ms: i32, now_ms: u64, conn: ConnId) {
        self.track(id, timeout_ms, now_ms, Some(conn));
        if let Some(session) = self.sessions.get_mut(&id) {
            session.local = true;
        }
    }

    /// Takes up a session whose time somebody else looks after.
    pub fn hold(&mut self, id: SessionId, timeout_ms: i32, conn: Option<ConnId>) {
        let owner = conn.map(Owner::Conn);
        let session =
            Session { timeout_ms, heard_ms: 0, deadline_ms: u64::MAX, closing: false, owner, local: false };
        if let Some(old) = self.sessions.insert(id, session) {
            self.leave_bucket(id, old.deadline_ms);
        }
    }

    /// Whether only this server knows of a session.
    #[must_use]
    pub fn is_local(&self, id: SessionId) -> bool {
        self.sessions.get(&id).is_some_and(|session| session.local)
    }

    /// A local session becomes one of the whole ensemble; yields its timeout. Unless this server leads (`expires_here`)
    /// the leader looks after its time from now on.
    pub fn upgrade(&mut self, id: SessionId, expires_here: bool) -> Option<i32> {
        let session = self.sessions.get_mut(&id).filter(|session| session.local)?;
        session.local = false;
        let timeout_ms = session.timeout_ms;
        if !expires_here {
            let deadline_ms = std::mem::replace(&mut session.deadline_ms, u64::MAX);
            self.leave_bucket(id, deadline_ms);
        }
        Some(timeout_ms)
    }

    /// How many only this server knows of.
    #[must_use]
    pub fn local_count(&self) -> usize {
        self.sessions.values().filter(|session| session.local).count()
    }

    /// How a session stands.
    #[must_use]
    pub fn standing(&self, id: SessionId) -> Standing {
        match self.sessions.get(&id) {
            None => Standing::Unknown,
            Some(session) if session.closing => Standing::Closing,
            Some(_) => Standing::Live,
        }
    }

    /// The connection that speaks for a session.
    #[must_use]
    pub fn conn(&self, id: SessionId) -> Option<ConnId> {
        self.sessions.get(&id)?.owner?.conn()
    }

    /// From now on this connection speaks for the session; yields the one that did.
    pub fn bind(&mut self, id: SessionId, conn: ConnId) -> Option<ConnId> {
        self.own(id, Owner::Conn(conn))
    }

    /// From now on a learner speaks for the session; yields the connection of this server that did.
    pub fn bind_learner(&mut self, id: SessionId, link: LinkId) -> Option<ConnId> {
        self.own(id, Owner::Learner(link))
    }

    fn own(&mut self, id: SessionId, owner: Owner) -> Option<ConnId> {
        self.sessions.get_mut(&id)?.owner.replace(owner)?.conn()
    }

    /// Whether a learner may ask in the name of a session. The first that does so after an election speaks for it.
    /// With `local_elsewhere` a session that is not known may be one that only the learner knows of.
    pub fn check_learner(&mut self, id: SessionId, link: LinkId, local_elsewhere: bool) -> Result<(), Code> {
        match self.sessions.get_mut(&id) {
            None if local_elsewhere => Ok(()),
            None => Err(Code::SessionExpired),
            Some(session) if session.closing => Err(Code::SessionExpired),
            Some(session) => {
                let owner = *session.owner.get_or_insert(Owner::Learner(link));
                if owner == Owner::Learner(link) || zoo::is(Mutation::MovedIgnored) {
                    Ok(())
                } else {
                    Err(Code::SessionMoved)
                }
            }
        }
    }

    /// The connection is gone. A connection that lost the session to another changes nothing.
    pub fn unbind(&mut self, id: SessionId, conn: ConnId) {
        if let Some(session) = self.sessions.get_mut(&id)
            && session.owner == Some(Owner::Conn(conn))
        {
            session.owner = None;
        }
    }

    /// The session was heard from: its deadline moves, unless it was heard from later already.
    pub fn touch(&mut self, touch: Touch) {
        let tick = self.tick_ms;
        let Some(session) = self.sessions.get_mut(&touch.session) else { return };
        if session.closing || touch.heard_ms < session.heard_ms {
            return;
        }
        session.heard_ms = touch.heard_ms;
        let same_timeout = std::mem::replace(&mut session.timeout_ms, touch.timeout_ms) == touch.timeout_ms;
        let timeout = u64::try_from(touch.timeout_ms).unwrap_or(0);
        let mut deadline = ((touch.heard_ms + timeout) / tick + 1) * tick;
        if same_timeout && session.deadline_ms != u64::MAX {
            // It was given more time, and what it said before that comes to be known only now.
            deadline = deadline.max(session.deadline_ms);
        }
        if deadline == session.deadline_ms {
            return;
        }
        let old = std::mem::replace(&mut session.deadline_ms, deadline);
        self.leave_bucket(touch.session, old);
        self.buckets.entry(deadline).or_default().insert(touch.session);
    }

    /// The session asked for something: as a touch that grants what it has already.
    pub fn hear(&mut self, id: SessionId, heard_ms: u64) {
        if let Some(timeout_ms) = self.sessions.get(&id).map(|session| session.timeout_ms) {
            self.touch(Touch { session: id, heard_ms, timeout_ms });
        }
    }

    /// The closing transaction of a session is under way. Whether it was alive.
    pub fn close(&mut self, id: SessionId) -> bool {
        let Some(session) = self.sessions.get_mut(&id) else { return false };
        if std::mem::replace(&mut session.closing, true) {
            return false;
        }
        let deadline = session.deadline_ms;
        self.leave_bucket(id, deadline);
        true
    }

    /// The session is closed for good; yields the connection that spoke for it.
    pub fn remove(&mut self, id: SessionId) -> Option<ConnId> {
        let session = self.sessions.remove(&id)?;
        self.leave_bucket(id, session.deadline_ms);
        session.owner?.conn()
    }

    /// Forgets all of them, as when a role ends.
    pub fn clear(&mut self) {
        self.sessions.clear();
        self.buckets.clear();
    }

    /// The earliest deadline.
    #[must_use]
    pub fn next_deadline_ms(&self) -> Option<u64> {
        self.buckets.keys().next().copied()
    }

    /// The sessions whose deadline has come.
    #[must_use]
    pub fn due(&self, now_ms: u64) -> Vec<SessionId> {
        self.buckets.range(..=now_ms).flat_map(|(_, ids)| ids.iter().copied()).collect()
    }

    /// Gives every session that much more time: the server itself stood still and heard nobody.
    pub fn postpone(&mut self, by_ms: u64) {
        let by_ms = by_ms.div_ceil(self.tick_ms) * self.tick_ms;
        let buckets = std::mem::take(&mut self.buckets);
        for (deadline, ids) in buckets {
            for id in &ids {
                if let Some(session) = self.sessions.get_mut(id) {
                    session.deadline_ms = deadline + by_ms;
                }
            }
            self.buckets.insert(deadline + by_ms, ids);
        }
    }

    /// The buckets, for `dump`: deadline and sessions.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, Vec<SessionId>)> + '_ {
        self.buckets.iter().map(|(deadline, ids)| (*deadline, ids.iter().copied().collect()))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    fn leave_bucket(&mut self, id: SessionId, deadline_ms: u64) {
        if let Some(bucket) = self.buckets.get_mut(&deadline_ms) {
            bucket.remove(&id);
            if bucket.is_empty() {
                self.buckets.remove(&deadline_ms);
            }
        }
    }
}

/// The first session id of a server's life: the id of the server in the top byte, 40 bits of a clock, 16 zeros.
fn first_id(server_id: i64, clock_ms: u64) -> i64 {
    let next = (((clock_ms << 24) >> 8) | (server_id.cast_unsigned() << 56)).cast_signed();
    // This value marks containers.
    if next == i64::MIN { next + 1 } else { next }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: SessionId = SessionId(7);

    fn touch(heard_ms: u64, timeout_ms: i32) -> Touch {
        Touch { session: S, heard_ms, timeout_ms }
    }

    #[test]
    fn ids_are_made_as_java_makes_them() {
        assert_eq!(first_id(1, 0xa4e33), 0x0100_000a_4e33_0000);
        assert_eq!(first_id(0x80, 0), i64::MIN + 1);
    }

    #[test]
    fn a_session_expires_after_its_timeout_and_within_a_tick_more() {
        for heard in [0, 1, 999, 1000, 1234] {
            let mut sessions = Sessions::new(1000, 1, 0);
            sessions.track(S, 2000, heard, None);
            let deadline = sessions.next_deadline_ms().unwrap();
            assert!(deadline > heard + 2000 && deadline <= heard + 3000, "{heard} {deadline}");
            assert!(sessions.due(deadline - 1).is_empty());
            assert_eq!(sessions.due(deadline), [S]);
        }
    }

    #[test]
    fn a_touch_moves_the_deadline_and_an_older_one_does_not() {
        let mut sessions = Sessions::new(1000, 1, 0);
        sessions.track(S, 4000, 0, None);
        sessions.touch(touch(3000, 4000));
        assert_eq!(sessions.next_deadline_ms(), Some(8000));
        sessions.touch(touch(1000, 4000));
        assert_eq!(sessions.next_deadline_ms(), Some(8000));
    }

    #[test]
    fn a_server_that_stood_still_expires_nobody_for_it() {
        let mut sessions = Sessions::new(1000, 1, 0);
        sessions.track(S, 2000, 0, None);
        sessions.postpone(4500);
        assert_eq!(sessions.next_deadline_ms(), Some(8000));
        assert!(sessions.due(7000).is_empty());
    }

    #[test]
    fn a_late_touch_does_not_take_back_the_time_that_was_given() {
        let mut sessions = Sessions::new(1000, 1, 0);
        sessions.track(S, 2000, 0, None);
        sessions.postpone(30_000);
        assert_eq!(sessions.next_deadline_ms(), Some(33_000));
        sessions.touch(touch(500, 2000));
        assert_eq!(sessions.next_deadline_ms(), Some(33_000));
        sessions.touch(touch(32_000, 2000));
        assert_eq!(sessions.next_deadline_ms(), Some(35_000));
        // A client that comes back with a shorter timeout gets just that.
        sessions.touch(touch(32_500, 1000));
        assert_eq!(sessions.next_deadline_ms(), Some(34_000));
    }

    #[test]
    fn closing_sessions_do_not_expire_and_are_not_touched() {
        let mut sessions = Sessions::new(1000, 1, 0);
        sessions.track(S, 2000, 0, Some(ConnId(3)));
        assert!(sessions.close(S) && !sessions.close(S));
        sessions.touch(touch(100, 9000));
        assert_eq!((sessions.next_deadline_ms(), sessions.standing(S)), (None, Standing::Closing));
        assert_eq!(sessions.remove(S), Some(ConnId(3)));
        assert_eq!(sessions.standing(S), Standing::Unknown);
    }

    #[test]
    fn a_local_session_becomes_a_global_one() {
        let mut sessions = Sessions::new(1000, 1, 0);
        sessions.track_local(S, 2000, 0, ConnId(3));
        assert!(sessions.is_local(S) && sessions.next_deadline_ms().is_some());
        assert_eq!((sessions.upgrade(S, false), sessions.upgrade(S, false)), (Some(2000), None));
        assert_eq!((sessions.is_local(S), sessions.next_deadline_ms()), (false, None));
        assert_eq!((sessions.conn(S), sessions.local_count()), (Some(ConnId(3)), 0));
        sessions.track_local(SessionId(8), 2000, 0, ConnId(4));
        assert_eq!(sessions.upgrade(SessionId(8), true), Some(2000));
        assert!(sessions.next_deadline_ms().is_some(), "a leader expires it");
    }

    #[test]
    fn only_the_connection_that_speaks_for_a_session_can_leave_it() {
        let mut sessions = Sessions::new(1000, 1, 0);
        sessions.track(S, 2000, 0, Some(ConnId(3)));
        assert_eq!(sessions.bind(S, ConnId(4)), Some(ConnId(3)));
        sessions.unbind(S, ConnId(3));
        assert_eq!(sessions.conn(S), Some(ConnId(4)));
    }
}
