//! Connections between clients and lanes: bytes in both directions, with the times at which they arrive.

use std::collections::VecDeque;

use ostler_node::io::CloseReason as Why;
use ostler_node::{ConnId, LaneOutput};

use super::cluster::{Cluster, Event};
use crate::check::Violation;
use crate::client::micros;

/// A connection.
#[derive(Debug)]
pub(super) struct Pipe {
    pub client: usize,
    pub place: usize,
    pub lane: usize,
    /// As the lane knows it; `None` once the lane is done with it.
    pub conn: Option<ConnId>,
    pub to_server: VecDeque<(u64, Vec<u8>)>,
    /// An empty piece is the end.
    pub to_client: VecDeque<(u64, Vec<u8>)>,
    pub client_gone: bool,
    last_in_us: u64,
    last_out_us: u64,
}

impl Cluster {
    /// A client makes a connection to a server.
    pub(super) fn open_pipe(&mut self, client: usize, place: usize) -> Option<usize> {
        let now = self.now(place);
        let id = self.next_pipe;
        let member = self.machines[place].member.as_mut()?;
        let lane = id % member.seats.len();
        let port = u16::try_from(1024 + id % 60_000).expect("a port");
        let conn = member.seats[lane].lane.accept(now, format!("10.0.0.{}", client % 250 + 1), port);
        member.seats[lane].pipes.insert(conn, id);
        self.next_pipe += 1;
        let pipe = Pipe {
            client,
            place,
            lane,
            conn: Some(conn),
            to_server: VecDeque::new(),
            to_client: VecDeque::new(),
            client_gone: false,
            last_in_us: 0,
            last_out_us: 0,
        };
        self.pipes.insert(id, pipe);
        Some(id)
    }

    /// A client sends; an empty piece is the end.
    pub(super) fn send_to_server(&mut self, id: usize, bytes: Vec<u8>) {
        let (low, high) = self.settings.latency_us;
        let at = self.now_us + self.rng.range(low, high);
        let Some(pipe) = self.pipes.get_mut(&id) else { return };
        pipe.last_in_us = pipe.last_in_us.max(at);
        let (at, first) = (pipe.last_in_us, pipe.to_server.is_empty());
        pipe.to_server.push_back((at, bytes));
        if first {
            self.at(at, Event::ToServer(id));
        }
    }

    fn send_to_client(&mut self, id: usize, bytes: Vec<u8>) {
        let (low, high) = self.settings.latency_us;
        let at = self.now_us + self.rng.range(low, high);
        let Some(pipe) = self.pipes.get_mut(&id) else { return };
        if pipe.client_gone {
            return;
        }
        pipe.last_out_us = pipe.last_out_us.max(at);
        let (at, first) = (pipe.last_out_us, pipe.to_client.is_empty());
        pipe.to_client.push_back((at, bytes));
        if first {
            self.at(at, Event::ToClient(id));
        }
    }

    /// Bytes of a client arrive at its lane.
    pub(super) fn on_bytes_to_server(&mut self, id: usize) -> Result<(), Violation> {
        loop {
            let Some(pipe) = self.pipes.get_mut(&id) else { return Ok(()) };
            let (place, lane, client) = (pipe.place, pipe.lane, pipe.client);
            let Some(conn) = pipe.conn else {
                self.refuse_bytes(id);
                return Ok(());
            };
            let Some((at, _)) = pipe.to_server.front() else { return Ok(()) };
            let (at, node) = (*at, self.net.client(client));
            let paused = self.machines[place].paused_until_us;
            if self.net.is_blocked(node, place) {
                return Ok(());
            }
            if at.max(paused) > self.now_us {
                self.at(at.max(paused), Event::ToServer(id));
                return Ok(());
            }
            let now = self.now(place);
            let pipe = self.pipes.get_mut(&id).expect("it was just there");
            let Some(member) = self.machines[place].member.as_mut() else { return Ok(()) };
            let front_is_end = pipe.to_server.front().is_some_and(|(_, bytes)| bytes.is_empty());
            if !front_is_end && !member.seats[lane].lane.wants_bytes(conn) {
                if !member.seats[lane].stalled.contains(&conn) {
                    member.seats[lane].stalled.push(conn);
                }
                return Ok(());
            }
            let (_, mut bytes) = pipe.to_server.pop_front().expect("it was just seen");
            if bytes.len() > 1 && self.rng.percent(self.settings.choppy) {
                let cut = 1 + self.rng.index(bytes.len() - 1);
                let rest = bytes.split_off(cut);
                pipe.to_server.push_front((at + self.rng.below(1_000), rest));
            }
            let outputs = member.lane_turn(lane, now, |lane, store| {
                if bytes.is_empty() {
                    lane.disconnected(conn);
                } else {
                    lane.receive(now, conn, &bytes, store);
                }
            });
            self.after_lane(place, lane, outputs)?;
        }
    }

    /// Bytes for a connection that its server does not know, or not any more. Once the machine is up, its system says
    /// so; until then the client's system sends them again and again.
    fn refuse_bytes(&mut self, id: usize) {
        let Some(pipe) = self.pipes.get_mut(&id) else { return };
        let Some((at, _)) = pipe.to_server.front() else { return self.forget_pipe(id) };
        let (at, place, node) = (*at, pipe.place, self.net.client(pipe.client));
        if pipe.client_gone {
            pipe.to_server.clear();
            return self.forget_pipe(id);
        }
        if self.net.is_blocked(node, place) {
            return;
        }
        if at > self.now_us {
            self.at(at, Event::ToServer(id));
            return;
        }
        if self.machines[place].member.is_none() {
            let again = self.now_us + self.rng.range(200_000, 3_000_000);
            self.at(again, Event::ToServer(id));
            return;
        }
        pipe.to_server.clear();
        self.send_to_client(id, Vec::new());
    }

    /// A lane is called because of its inbox or of time.
    pub(super) fn lane_work(&mut self, place: usize, lane: usize) -> Result<(), Violation> {
        let now = self.now(place);
        let member = self.machines[place].member.as_mut().expect("it is up");
        let outputs = member.lane_turn(lane, now, |lane, store| lane.handle_timeout(now, store));
        self.after_lane(place, lane, outputs)?;
        // Those that had to wait may go on.
        let Some(member) = self.machines[place].member.as_mut() else { return Ok(()) };
        if member.seats[lane].stalled.is_empty() {
            return Ok(());
        }
        for conn in std::mem::take(&mut member.seats[lane].stalled) {
            let Some(seat) = self.lane_of(place, conn) else { return Ok(()) };
            if seat.lane.can_resume(conn) {
                let now = self.now(place);
                let member = self.machines[place].member.as_mut().expect("it is up");
                let outputs = member.lane_turn(lane, now, |lane, store| lane.resume(now, conn, store));
                self.after_lane(place, lane, outputs)?;
            }
            let Some(seat) = self.lane_of(place, conn) else { return Ok(()) };
            let pipe = seat.pipes.get(&conn).copied();
            if seat.lane.wants_bytes(conn) {
                if let Some(pipe) = pipe {
                    self.on_bytes_to_server(pipe)?;
                }
            } else if pipe.is_some() && !seat.stalled.contains(&conn) {
                seat.stalled.push(conn);
            }
        }
        Ok(())
    }

    /// What a turn of a lane leads to: bytes to clients, inputs of the node, ends of connections.
    fn after_lane(&mut self, place: usize, lane: usize, outputs: Vec<LaneOutput>) -> Result<(), Violation> {
        let member = self.machines[place].member.as_mut().expect("it is up");
        let mut sent = Vec::new();
        let seat = &mut member.seats[lane];
        while let Some(conn) = seat.lane.poll_dirty() {
            let bytes = seat.lane.unsent(conn).to_vec();
            seat.lane.sent(conn, bytes.len());
            if let Some(pipe) = seat.pipes.get(&conn)
                && !bytes.is_empty()
            {
                sent.push((*pipe, bytes));
            }
        }
        for (pipe, bytes) in sent {
            self.send_to_client(pipe, bytes);
        }
        for output in outputs {
            let LaneOutput::Close { conn, reason } = output else { continue };
            self.close_conn(place, lane, conn, reason);
        }
        if let Some(member) = &self.machines[place].member {
            // One that has to wait for all the others asks again and again.
            let next = (member.seats[lane].lane.poll_timeout() * 1000).max(self.now_us + 1_000);
            self.wake(place, Event::Lane(place, lane), next);
        }
        self.wake_node(place);
        Ok(())
    }

    fn close_conn(&mut self, place: usize, lane: usize, conn: ConnId, reason: Why) {
        let Some(seat) = self.lane_of(place, conn) else { return };
        let pipe = seat.pipes.remove(&conn);
        seat.stalled.retain(|other| *other != conn);
        seat.lane.remove(conn);
        let member = self.machines[place].member.as_mut().expect("it is up");
        while let Some(output) = member.seats[lane].lane.poll_output() {
            if let LaneOutput::ToNode(input) = output {
                member.inbox.push_back(input);
            }
        }
        let Some(id) = pipe else { return };
        self.trace.say(self.now_us, format_args!("p{id} closed by s{}: {reason:?}", place + 1));
        if let Some(pipe) = self.pipes.get_mut(&id) {
            pipe.conn = None;
            pipe.to_server.clear();
        }
        self.send_to_client(id, Vec::new());
        self.forget_pipe(id);
    }

    /// Bytes arrive at a client.
    pub(super) fn on_bytes_to_client(&mut self, id: usize) -> Result<(), Violation> {
        loop {
            let Some(pipe) = self.pipes.get_mut(&id) else { return Ok(()) };
            let (place, client) = (pipe.place, pipe.client);
            if pipe.client_gone {
                pipe.to_client.clear();
                self.forget_pipe(id);
                return Ok(());
            }
            let Some((at, _)) = pipe.to_client.front() else { return Ok(()) };
            let (at, node) = (*at, self.net.client(client));
            if self.net.is_blocked(place, node) {
                return Ok(());
            }
            let at = at.max(self.patrons[client].client.deaf_until_us);
            if at > self.now_us {
                self.at(at, Event::ToClient(id));
                return Ok(());
            }
            let pipe = self.pipes.get_mut(&id).expect("it was just there");
            let (_, bytes) = pipe.to_client.pop_front().expect("it was just seen");
            if bytes.is_empty() {
                pipe.client_gone = true;
                self.lost_pipe(client)?;
                self.forget_pipe(id);
                return Ok(());
            }
            self.patrons[client].client.session.handle_bytes(micros(self.now_us), &bytes);
            self.drain_client(client)?;
        }
    }

    /// A client leaves its connection; what is on the way may still arrive.
    pub(super) fn leave_pipe(&mut self, id: usize) {
        let Some(pipe) = self.pipes.get_mut(&id) else { return };
        pipe.client_gone = true;
        pipe.to_client.clear();
        if self.rng.one_in(2) {
            let kept = self.rng.index(pipe.to_server.len() + 1);
            pipe.to_server.truncate(kept);
        }
        self.send_to_server(id, Vec::new());
        self.forget_pipe(id);
    }

    /// A server is gone, and with it its ends of all connections.
    pub(super) fn pipes_of_dead(&mut self, place: usize, silently: bool) {
        let ids: Vec<usize> =
            self.pipes.iter().filter(|(_, pipe)| pipe.place == place).map(|(id, _)| *id).collect();
        for id in ids {
            let pipe = self.pipes.get_mut(&id).expect("it was just listed");
            if pipe.conn.take().is_none() {
                continue;
            }
            pipe.to_server.clear();
            let kept = self.rng.index(pipe.to_client.len() + 1);
            pipe.to_client.truncate(kept);
            if !silently {
                self.send_to_client(id, Vec::new());
            } else if self.rng.one_in(2) {
                // Another machine takes its address and knows nothing of the connection.
                let pipe = self.pipes.get_mut(&id).expect("it was just listed");
                pipe.last_out_us = self.now_us + self.rng.range(100_000, 10_000_000);
                self.send_to_client(id, Vec::new());
            }
            self.forget_pipe(id);
        }
    }

    /// A connection that neither side knows any more is gone.
    fn forget_pipe(&mut self, id: usize) {
        if self.pipes.get(&id).is_some_and(|pipe| pipe.conn.is_none() && pipe.client_gone) {
            self.pipes.remove(&id);
        }
    }
}
