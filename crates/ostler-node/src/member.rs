//! The node as a member of an ensemble: what it does for learners as a leader, what it hands to a leader as a
//! learner, and how it goes from one standing to the other. Answers to Java's `LearnerHandler` and
//! `LeaderRequestProcessor` on the one side, `FollowerRequestProcessor`, `Follower` and `Observer` on the other.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use ostler_tree::{Asker, Outstanding, Store};
use ostler_wire::client::write::Write;
use ostler_wire::jute::Reader;
use ostler_wire::quorum::{Forwarded as Request, Members, Packet};
use ostler_wire::txn::{Txn, TxnEntry};
use ostler_wire::zoo::{self, Mutation};
use ostler_wire::{Code, Id, OpCode, SessionId, Zxid};
use ostler_zab::{LinkId, Proposal, Standing};

use crate::applier::Origin;
use crate::forward::{Forwarded, Waiter};
use crate::io::{CloseReason, ConnId, LaneId, Letter, Output, Service, Touch};
use crate::node::Node;
use crate::tally::Tally;
use crate::time::Now;

/// What a member keeps beside what every server has.
#[derive(Debug, Default)]
pub(crate) struct Member {
    /// The member list as text, and its version.
    pub(crate) members: Option<(i64, Bytes)>,
    /// Entries that were proposed to this learner, until the log takes them.
    decoded: VecDeque<TxnEntry>,
    /// The tree that a leader sent, until its packet's turn comes.
    arrived: Option<(LinkId, Box<Store>)>,
    pub(crate) forwarded: Forwarded,
    /// Pings that wait for the lanes to say who was heard from.
    pings: VecDeque<(LinkId, Zxid)>,
    /// Sessions that were heard from since the last ping, with their timeouts.
    touched: BTreeMap<SessionId, i32>,
    /// Syncs of learners that wait for a commit.
    learner_syncs: VecDeque<(Zxid, LinkId)>,
    pub(crate) tally: Tally,
}

impl Member {
    /// Syncs that wait for the leader, or at a leader for a commit.
    pub(crate) fn pending_syncs(&self) -> usize {
        self.forwarded.pending_syncs() + self.learner_syncs.len()
    }
}

impl Node {
    /// Something of the peer's: from other members, or from the disk.
    pub(crate) fn on_peer(&mut self, now: Now, input: ostler_zab::Input, store: &Store) {
        self.member.tally.on_input(&input);
        if let ostler_zab::Input::Packet {
            link,
            packet:
                Packet::Proposal { entry, .. }
                | Packet::Inform { entry, .. }
                | Packet::InformAndActivate { entry, .. },
        } = &input
            // Anybody may connect and say such a thing.
            && self.peer.learns_by(*link)
        {
            let link = *link;
            match TxnEntry::decode(entry).ok().and_then(|entry| Some((new_members(&entry)?, entry))) {
                Some((members, entry)) => {
                    if let Some(members) = members {
                        let zxid = entry.header.zxid;
                        let proposed = ostler_zab::Input::MembersProposed { link, zxid, members };
                        self.hand_to_peer(now, proposed, store);
                    }
                    self.member.decoded.push_back(entry);
                }
                None => {
                    // A leader that sends what nobody can read, or a line that is broken: begin anew.
                    self.outputs.push_back(Output::Peer(ostler_zab::Output::Close {
                        link,
                        reason: ostler_zab::Reason::Violation("a transaction that does not decode"),
                    }));
                    self.hand_to_peer(now, ostler_zab::Input::LinkDown { link }, store);
                    return;
                }
            }
        }
        self.hand_to_peer(now, input, store);
    }

    /// A whole tree came from the leader. It is held until the peer says that it is to be the store.
    pub(crate) fn on_tree_arrived(&mut self, now: Now, link: LinkId, tree: Box<Store>, store: &Store) {
        if self.peer.learns_by(link) {
            self.member.arrived = Some((link, tree));
        }
        self.hand_to_peer(now, ostler_zab::Input::SnapshotArrived { link }, store);
    }

    /// Everything of a transaction that the log takes: a leader knows it from deciding on it, a learner from the
    /// packet that proposed it.
    pub(crate) fn note_appended(&mut self, proposal: &Proposal) {
        if self.applier.last() >= proposal.zxid {
            return;
        }
        while let Some(entry) = self.member.decoded.pop_front() {
            if entry.header.zxid != proposal.zxid {
                // It was in the tree already that the leader sent.
                continue;
            }
            let (origin, behind_reads) = self
                .member
                .forwarded
                .take(entry.header.session, entry.header.cxid)
                .unwrap_or((Origin::Expiry, false));
            self.applier.push(entry, origin, behind_reads);
            return;
        }
        unreachable!("a learner logs what was proposed to it");
    }

    pub(crate) fn on_standing(&mut self, now: Now, standing: Standing, store: &Store) {
        let service = match standing {
            Standing::Looking => Service::None,
            Standing::Solo => Service::Alone,
            Standing::Leading { .. } => Service::Leading,
            Standing::Following { .. } => Service::Learning,
        };
        self.standing = standing;
        self.member.tally.on_standing(now.mono_ms, standing);
        self.serve(service);
        if !zoo::is(Mutation::ForwardedOutlivesRole) {
            self.member.forwarded.clear();
        }
        self.member.pings.clear();
        self.member.touched.clear();
        self.member.learner_syncs.clear();
        if service == Service::None {
            self.member.decoded.clear();
            self.member.arrived = None;
            // A snapshot that is being written would hold what may have to be forgotten.
            self.outputs.push_back(Output::DiscardSnapshots);
        }
        if service == Service::Leading {
            if !zoo::is(Mutation::StaleOutstanding) {
                self.outstanding = Outstanding::new(store);
            }
            let sessions = store.sessions().filter(|_| !zoo::is(Mutation::SessionsNotFound));
            for (id, timeout_ms) in sessions {
                self.sessions.track(id, timeout_ms, now.mono_ms, None);
            }
        }
        if service != Service::None {
            self.show_members(now);
        }
        self.outputs.push_back(Output::Apply);
    }

    /// From now on these clients are served; sessions begin anew.
    pub(crate) fn serve(&mut self, service: Service) {
        self.service = service;
        let service = self.lane_service();
        for lane in (0..self.config.lanes).map(LaneId) {
            if service != Service::None || !zoo::is(Mutation::ServeWithoutRole) {
                self.send(lane, Letter::Service(service));
            }
        }
        self.applier.forget_conns();
        self.sessions.clear();
        self.collection.forget();
    }

    /// Whom the lanes serve: a leader may leave clients to the others.
    pub(crate) fn lane_service(&self) -> Service {
        let leaves_clients = self.service == Service::Leading && !self.config.services.leader_serves;
        if leaves_clients { Service::None } else { self.service }
    }

    pub(crate) fn on_from_learner(&mut self, now: Now, link: LinkId, packet: Packet, store: &Store) {
        if self.service == Service::Learning {
            return self.on_from_observer(now, link, packet);
        }
        match packet {
            Packet::Request(request) => self.on_forwarded(now, link, request, store),
            Packet::Revalidate { session, timeout_ms } => {
                let valid = self.sessions.check_learner(session, link, false) != Err(Code::SessionExpired);
                if valid {
                    if let Some(old) = self.sessions.bind_learner(session, link) {
                        self.close(old, CloseReason::SessionResumedElsewhere);
                    }
                    self.sessions.touch(Touch { session, heard_ms: now.mono_ms, timeout_ms });
                }
                self.send_packet(link, Packet::Revalidated { session, valid });
            }
            Packet::Ping { data, .. } => {
                for (session, timeout_ms) in Packet::touches(&data) {
                    self.sessions.touch(Touch { session, heard_ms: now.mono_ms, timeout_ms });
                }
            }
            _ => {}
        }
    }

    /// A request of a learner's client. Whatever becomes of it, a transaction answers it: that is what the learner
    /// waits for.
    fn on_forwarded(&mut self, now: Now, link: LinkId, request: Request, store: &Store) {
        let Request { session, cxid, op, body, ids } = request;
        let op = OpCode::from_int(op);
        if op == Some(OpCode::Sync) {
            let last = self.last_decided();
            if self.peer.committed() >= last {
                self.send_packet(link, Packet::Sync);
            } else {
                self.member.learner_syncs.push_back((last, link));
            }
            return;
        }
        // The leader may have ceased to be one with the packet before.
        let Some(zxid) = self.peer.next_zxid() else { return };
        let ids: Vec<Id> = ids.unwrap_or_default();
        let asker = Asker { session, cxid, ids: &ids, session_live: true, session_local: false };
        let may_be_local = self.may_be_local(session);
        let decided = match op {
            Some(OpCode::CreateSession) => match Reader::new(&body).int("timeout") {
                Ok(timeout_ms) => {
                    self.sessions.track(session, timeout_ms, now.mono_ms, None);
                    self.sessions.bind_learner(session, link);
                    Ok(Write::CreateSession { timeout_ms })
                }
                Err(_) => Err(Code::MarshallingError),
            },
            Some(OpCode::CloseSession) => Ok(Write::CloseSession),
            // Neither may come from a client (ZOOKEEPER-2623).
            None | Some(OpCode::Check | OpCode::DeleteContainer) => Err(Code::Unimplemented),
            Some(op) => self
                .sessions
                .check_learner(session, link, may_be_local)
                .and_then(|()| Write::decode(op, &body).map_err(|_| Code::MarshallingError)),
        };
        let entry = match decided {
            Ok(write) => {
                // Its server may be gone before it reports whom it heard; what was answered must count all the same.
                self.sessions.hear(session, now.mono_ms);
                self.decide(now, write, &asker, store)
            }
            Err(code) => ostler_tree::refuse(code, &asker, (zxid, now.wall_ms)),
        };
        self.propose(now, entry, Origin::Server, false, store);
    }

    /// What a sync waits for. Not the last zxid of the peer: that is the beginning of an epoch in which nothing was
    /// proposed, and no transaction.
    fn last_decided(&self) -> Zxid {
        if zoo::is(Mutation::SyncAwaitsEpoch) { self.peer.last_proposed() } else { self.applier.last() }
    }

    /// Answers the syncs of a learner that come before a commit that is about to be sent: it may be that of a write
    /// which the same client asked for behind its sync, and a learner's answers keep the order of what it hears.
    pub(crate) fn release_learner_syncs_before(&mut self, link: LinkId, zxid: Zxid) {
        if zoo::is(Mutation::SyncBehindCommits) {
            return;
        }
        let mut due = 0;
        self.member.learner_syncs.retain(|(after, of)| {
            let is_due = *of == link && *after < zxid;
            due += usize::from(is_due);
            !is_due
        });
        for _ in 0..due {
            self.send_packet(link, Packet::Sync);
        }
    }

    /// Answers the syncs of learners whose commit has come.
    pub(crate) fn release_learner_syncs(&mut self) {
        while let Some(&(zxid, link)) = self.member.learner_syncs.front() {
            if self.peer.committed() < zxid {
                return;
            }
            self.member.learner_syncs.pop_front();
            self.send_packet(link, Packet::Sync);
        }
    }

    pub(crate) fn on_from_leader(&mut self, now: Now, link: LinkId, packet: Packet) {
        match packet {
            Packet::Ping { zxid, .. } => {
                self.member.pings.push_back((link, zxid));
                self.collect_touches(now);
            }
            Packet::Revalidated { session, valid } => {
                let Some((waiter, timeout_ms)) = self.member.forwarded.answered(session) else { return };
                let conn = match waiter {
                    Waiter::Conn(conn) => conn,
                    Waiter::Observer(link) => {
                        return self.on_observers_session(now, link, session, valid.then_some(timeout_ms));
                    }
                };
                if !valid {
                    return self.tell(conn, Letter::Refused { conn });
                }
                if let Some(old) = self.sessions.conn(session).filter(|old| *old != conn) {
                    self.close(old, CloseReason::SessionResumedElsewhere);
                }
                self.sessions.hold(session, timeout_ms, Some(conn));
                self.tell(conn, Letter::Opened { conn, session, timeout_ms });
            }
            Packet::Sync => match self.member.forwarded.take_sync() {
                Some(Waiter::Conn(conn)) => self.tell(conn, Letter::Synced { conn }),
                Some(Waiter::Observer(link)) => self.send_packet(link, Packet::Sync),
                None => {}
            },
            _ => {}
        }
    }

    /// Sends a letter behind everything that is committed so far.
    fn tell(&mut self, conn: ConnId, letter: Letter) {
        let committed = if zoo::is(Mutation::SyncNotDeferred) { Zxid::ZERO } else { self.peer.committed() };
        self.send_after(committed, conn, letter);
    }

    /// Sends a letter behind everything up to a zxid.
    pub(crate) fn send_after(&mut self, zxid: Zxid, conn: ConnId, letter: Letter) {
        if let Some(letter) = self.applier.defer(zxid, conn, letter) {
            self.send(conn.lane(), letter);
        }
    }

    /// A client of this learner asks for a write: the leader decides.
    pub(crate) fn forward(
        &mut self,
        session: SessionId,
        cxid: i32,
        op: OpCode,
        body: Bytes,
        ids: Option<Vec<Id>>,
    ) {
        let Some(link) = self.peer.leader_link() else { return };
        self.send_packet(link, Packet::Request(Request { session, cxid, op: op.to_int(), body, ids }));
    }

    pub(crate) fn forward_connect(
        &mut self,
        now: Now,
        conn: ConnId,
        resume: Option<SessionId>,
        timeout_ms: i32,
    ) {
        let Some(link) = self.peer.leader_link() else {
            return self.close(conn, CloseReason::NotServing);
        };
        if let Some(session) = resume {
            if self.sessions.is_local(session) {
                return self.resume(now, conn, session, timeout_ms);
            }
            self.member.forwarded.ask(session, Waiter::Conn(conn), timeout_ms);
            return self.send_packet(link, Packet::Revalidate { session, timeout_ms });
        }
        if self.config.services.local_sessions {
            return self.open_local(now, conn, timeout_ms);
        }
        let session = self.sessions.allocate();
        self.sessions.hold(session, timeout_ms, Some(conn));
        self.forward_session(session, timeout_ms, Origin::Handshake { conn, timeout_ms });
    }

    /// Has the leader make a session.
    pub(crate) fn forward_session(&mut self, session: SessionId, timeout_ms: i32, origin: Origin) {
        self.member.forwarded.push(session, 0, origin, false);
        let body = Bytes::copy_from_slice(&timeout_ms.to_be_bytes());
        self.forward(session, 0, OpCode::CreateSession, body, None);
    }

    pub(crate) fn on_sync(&mut self, conn: ConnId, session: SessionId, xid: i32) {
        match self.service {
            Service::None | Service::ReadOnly => self.close(conn, CloseReason::NotServing),
            Service::Alone => self.send(conn.lane(), Letter::Synced { conn }),
            Service::Leading => self.send_after(self.last_decided(), conn, Letter::Synced { conn }),
            Service::Learning => {
                self.member.forwarded.push_sync(Waiter::Conn(conn));
                self.forward(session, xid, OpCode::Sync, Bytes::new(), Some(Vec::new()));
            }
        }
    }

    /// The lanes have said who was heard from: answers the leader's pings.
    pub(crate) fn answer_pings(&mut self) {
        for (link, zxid) in std::mem::take(&mut self.member.pings) {
            let mut touched = std::mem::take(&mut self.member.touched);
            if zoo::is(Mutation::TouchesNotTold) {
                touched.clear();
            }
            let data = Packet::touch_data(touched);
            self.send_packet(link, Packet::Ping { zxid, data });
        }
    }

    /// A session of this learner was heard from: the leader will be told.
    pub(crate) fn note_touch(&mut self, touch: Touch) {
        self.member.touched.insert(touch.session, touch.timeout_ms);
    }

    /// The tree that the leader sent is to be the store.
    pub(crate) fn save_tree(&mut self, link: LinkId, zxid: Zxid, generation: ostler_zab::Generation) {
        let (from, store) = self.member.arrived.take().expect("the peer was told that it arrived");
        assert_eq!(from, link, "the tree came by the link that the peer follows");
        self.outputs.push_back(Output::SaveTree { store, zxid, generation });
    }

    /// A member list is in force.
    pub(crate) fn on_members(&mut self, now: Now, members: &Members, in_history: bool) {
        self.member.members = Some((members.version, members.to_string().into()));
        if !in_history {
            self.show_members(now);
        }
    }

    /// `/zookeeper/config` is each server's own view of the members: the history need not hold the last change.
    pub(crate) fn show_members(&mut self, now: Now) {
        if let Some((version, text)) = &self.member.members {
            let (version, text, wall_ms) = (*version, text.clone(), now.wall_ms);
            self.outputs.push_back(Output::SetConfig { version, text, wall_ms });
        }
    }

    pub(crate) fn send_packet(&mut self, link: LinkId, packet: Packet) {
        self.outputs.push_back(Output::Peer(ostler_zab::Output::Send { link, packet }));
    }
}

/// The members that a transaction makes, if it changes them; `None` if it says nothing that can be.
#[expect(clippy::option_option, reason = "no list, or none that can be read")]
fn new_members(entry: &TxnEntry) -> Option<Option<Arc<Members>>> {
    let Txn::Reconfig { data, .. } = &entry.txn else { return Some(None) };
    Some(Some(ostler_zab::membership::decode(data.as_deref()?)?))
}
