//! A follower between its observers and the leader: what they ask for goes up, in the order in which it comes, and the
//! answers find their way back. Answers to `revalidateSession` and `submitLearnerRequest` of Java's `ObserverMaster`.
//!
//! To the leader all of them are this follower, so it cannot tell one from another: that a session moved between them,
//! or between them and the follower's own clients, has to be seen here.

use ostler_wire::client::write::Write;
use ostler_wire::quorum::{Forwarded as Request, Packet};
use ostler_wire::zoo::{self, Mutation};
use ostler_wire::{Code, OpCode, SessionId};
use ostler_zab::LinkId;

use crate::forward::Waiter;
use crate::io::{CloseReason, Touch};
use crate::node::Node;
use crate::time::Now;

impl Node {
    pub(crate) fn on_from_observer(&mut self, now: Now, link: LinkId, packet: Packet) {
        let Some(leader) = self.peer.leader_link() else { return };
        match packet {
            Packet::Request(request) => {
                let request = self.checked(link, request);
                self.send_packet(leader, Packet::Request(request));
            }
            Packet::Revalidate { session, timeout_ms } => {
                self.member.forwarded.ask(session, Waiter::Observer(link), timeout_ms);
                self.send_packet(leader, packet);
            }
            Packet::Ping { .. } if zoo::is(Mutation::ObserversNotTold) => {}
            Packet::Ping { data, .. } => {
                // The leader is told with the next answer to its own ping.
                for (session, timeout_ms) in Packet::touches(&data) {
                    self.note_touch(Touch { session, heard_ms: now.mono_ms, timeout_ms });
                }
            }
            _ => {}
        }
    }

    /// What the leader is asked in the name of an observer's client.
    fn checked(&mut self, link: LinkId, request: Request) -> Request {
        match OpCode::from_int(request.op) {
            Some(OpCode::Sync) => self.member.forwarded.push_sync(Waiter::Observer(link)),
            // Whose a new session is follows from who has it; anybody may end one.
            Some(OpCode::CreateSession | OpCode::CloseSession) => {}
            _ => {
                if self.sessions.check_learner(request.session, link, true) == Err(Code::SessionMoved) {
                    return refused(request);
                }
            }
        }
        request
    }

    /// The leader says whether a session of an observer's client lives.
    pub(crate) fn on_observers_session(
        &mut self,
        now: Now,
        link: LinkId,
        session: SessionId,
        timeout_ms: Option<i32>,
    ) {
        if let Some(timeout_ms) = timeout_ms {
            if let Some(old) = self.sessions.conn(session) {
                self.close(old, CloseReason::SessionResumedElsewhere);
            }
            self.sessions.hold(session, timeout_ms, None);
            self.sessions.bind_learner(session, link);
            self.note_touch(Touch { session, heard_ms: now.mono_ms, timeout_ms });
        }
        self.send_packet(link, Packet::Revalidated { session, valid: timeout_ms.is_some() });
    }
}

/// A request of a session that moved away from the observer in the meantime. The observer waits for a transaction with
/// its number, and the leader would not refuse what it was asked: so it is asked for what it has to refuse.
fn refused(request: Request) -> Request {
    let mut body = Vec::new();
    Write::Delete { path: Some("/".to_owned()), version: -1 }.encode(&mut body);
    Request { op: OpCode::Delete.to_int(), body: body.into(), ..request }
}
