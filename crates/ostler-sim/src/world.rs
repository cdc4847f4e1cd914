//! A world: one server, its disk, its clients and the connections between them, in one thread. What moves next is
//! drawn; time passes when nobody can move, and a little at each step.

use std::collections::BTreeMap;

use ostler_client::Request;
use ostler_client::session::State;
use ostler_node::{LaneOutput, Now};
use ostler_store::DiskOp;
use ostler_store::sim::{Fault, FaultPlan, PowerCut, SimDisk};
use ostler_tree::Store;
use ostler_wire::txn::TxnEntry;
use ostler_wire::{SessionId, Zxid};

use crate::check::{Violation, clients, state, violation};
use crate::client::{Client, Wish, micros};
use crate::history::{Expiry, History, Item};
use crate::model::Model;
use crate::net::Pipe;
use crate::rng::Rng;
use crate::server::{LogTurn, Server, ServerConfig, Stopped};
use crate::trace::Trace;
use crate::workload::Habits;

/// Nothing may take longer than this once all faults are healed, in microseconds.
const PATIENCE_US: u64 = 600_000_000;
/// The wall clock at the beginning.
const WALL_MS: i64 = 1_700_000_000_000;

/// A world.
pub(crate) struct World {
    /// What everything is drawn from.
    pub rng: Rng,
    /// What happened.
    pub trace: Trace,
    /// The monotonic clock, in microseconds.
    pub now_us: u64,
    /// How long the whole machine stood still, in microseconds.
    pub paused_us: u64,
    /// How far the wall clock is from where it began, besides the time that passed.
    pub wall_jump_ms: i64,
    /// The disk.
    pub disk: SimDisk,
    /// How servers are set up here.
    pub config: ServerConfig,
    /// The server, while it runs.
    pub server: Option<Server>,
    /// The clients.
    pub clients: Vec<Client>,
    /// What they saw.
    pub history: History,
    /// Every transaction that was decided and not lost, oldest first.
    pub truth: Vec<TxnEntry>,
    /// What no crash may take back.
    pub floor: Zxid,
    /// When a server starts again after a crash.
    pub restart_at_us: Option<u64>,
    /// Percent of lane reads that end anywhere in a frame.
    pub choppy: u64,
    /// How many servers were started, the first one included.
    pub starts: u64,
    /// Why the last server stopped.
    pub stopped: Option<Stopped>,
    /// How many steps were made.
    pub steps: u64,
    /// A fault at one call of the disk, counted over all disks that this world had.
    target: Option<(u64, Fault)>,
    /// How many calls there were before the first of the present disk.
    calls_before: u64,
    pipes: BTreeMap<usize, Link>,
    next_pipe: usize,
    next_lane: usize,
    capacity: usize,
}

/// A connection, and whether the lane is done with it.
struct Link {
    pipe: Pipe,
    /// The lane closes it; whether what is unsent goes out first.
    closing: Option<bool>,
}

/// Something that can happen next.
#[derive(Debug, Clone, Copy)]
enum Action {
    Node,
    Log,
    Snapshot,
    Lane(usize),
    Link(usize),
    Receive(usize),
    Submit(usize),
    Timer(usize),
    Connect(usize),
    Renew(usize),
    Restart,
}

impl World {
    /// A world with an empty disk and no server.
    #[must_use]
    pub(crate) fn new(seed: u64, config: ServerConfig, print: bool) -> Self {
        let mut rng = Rng::new(seed);
        let one_directory = rng.one_in(2);
        let capacity = usize::try_from(*rng.pick(&[200, 4_000, 200_000_u64])).expect("small");
        let choppy = *rng.pick(&[0, 20, 80]);
        Self {
            rng,
            trace: Trace::new(print),
            now_us: 1_000_000,
            paused_us: 0,
            wall_jump_ms: 0,
            disk: SimDisk::new(one_directory),
            config,
            server: None,
            clients: Vec::new(),
            history: History::default(),
            truth: Vec::new(),
            floor: Zxid::ZERO,
            restart_at_us: None,
            choppy,
            starts: 0,
            stopped: None,
            steps: 0,
            target: None,
            calls_before: 0,
            pipes: BTreeMap::new(),
            next_pipe: 0,
            next_lane: 0,
            capacity,
        }
    }

    /// The world after a crash of this one, as far as it can be known: another disk, no clients, and what must
    /// be there.
    #[must_use]
    pub(crate) fn successor(&self, disk: SimDisk) -> Self {
        let mut next = Self::new(7, self.config.clone(), false);
        next.disk = disk;
        next.now_us = self.now_us + 5_000_000;
        next.truth.clone_from(&self.truth);
        next.floor = self.floor;
        next.history.told = self.history.told;
        next
    }

    /// A fault at a call of the disk, whatever disk that is then. To be set before the start.
    pub(crate) fn aim(&mut self, call: u64, fault: Fault) {
        self.target = Some((call, fault));
        self.disk.plan(self.plan());
    }

    /// Whether the call was made that the fault is aimed at.
    #[must_use]
    pub(crate) fn is_hit(&self) -> bool {
        self.target.is_some_and(|(call, _)| self.calls() > call)
    }

    /// How many mutating calls there were, on all disks.
    #[must_use]
    pub(crate) fn calls(&self) -> u64 {
        self.calls_before + self.disk.ops()
    }

    /// One more fault, at the next call of a kind.
    pub(crate) fn also_at_next(&self, op: DiskOp, fault: Fault) {
        self.disk.plan(self.plan().and_next(op, fault));
    }

    /// Goes on with another disk, on which the aim is kept.
    pub(crate) fn change_disk(&mut self, disk: SimDisk) {
        let calls = self.calls();
        self.disk = disk;
        self.calls_before = calls - self.disk.ops();
        self.disk.plan(self.plan());
    }

    fn plan(&self) -> FaultPlan {
        match self.target {
            Some((call, fault)) if call >= self.calls() => FaultPlan::at(call - self.calls_before, fault),
            _ => FaultPlan::default(),
        }
    }

    /// What time it is.
    #[must_use]
    pub(crate) fn now(&self) -> Now {
        let mono_ms = self.now_us / 1000;
        Now { mono_ms, wall_ms: WALL_MS + i64::try_from(mono_ms).expect("not for ever") + self.wall_jump_ms }
    }

    /// Adds a client.
    pub(crate) fn add_client(&mut self, timeout_ms: u64, habits: Option<Habits>) -> usize {
        self.clients.push(Client::new(timeout_ms, habits, &mut self.history));
        self.clients.len() - 1
    }

    /// Starts a server on the disk and judges what it recovered. A refusal to start is a violation; a machine that
    /// crashes during the start is not.
    pub(crate) fn start(&mut self) -> Result<(), Violation> {
        self.restart_at_us = None;
        self.starts += 1;
        let now = self.now();
        let server = match Server::start(self.disk.clone(), self.config.clone(), now) {
            Ok(server) => server,
            Err(_) if self.disk.has_crashed() => {
                self.trace.note(self.now_us, format_args!("crash during the start"));
                self.stopped = Some(Stopped::Crashed);
                return Ok(());
            }
            // A disk that fails is reason enough not to start.
            Err(ostler_store::Error::Disk(_) | ostler_store::Error::Full(_)) if self.is_hit() => {
                self.trace.note(self.now_us, format_args!("the disk fails during the start"));
                self.stopped = Some(Stopped::LogFailed);
                return Ok(());
            }
            Err(error) => return Err(violation!("the server refuses to start: {error}")),
        };
        self.judge_recovered(&server.store)?;
        self.trace.note(self.now_us, format_args!("start at {}", server.store.last_zxid()));
        self.server = Some(server);
        self.stopped = None;
        Ok(())
    }

    /// Whether the server runs.
    #[must_use]
    pub(crate) fn is_up(&self) -> bool {
        self.server.is_some()
    }

    /// The server is gone at once; what the disk holds of its work is for the caller to say.
    pub(crate) fn stop(&mut self, why: Stopped) {
        self.trace.note(self.now_us, format_args!("stop: {why:?}"));
        self.absorb();
        self.server = None;
        self.stopped = Some(why);
        for link in self.pipes.values_mut() {
            link.pipe.conn = None;
            link.pipe.server_gone = true;
            let kept = self.rng.index(link.pipe.to_client.len() + 1);
            link.pipe.to_client.truncate(kept);
            link.closing = None;
        }
    }

    /// The process was killed: the machine, and what the system has of its files, live on.
    pub(crate) fn kill(&mut self) {
        if self.is_up() {
            self.stop(Stopped::Crashed);
        }
        self.change_disk(self.disk.revive());
    }

    /// The power failed.
    pub(crate) fn cut_power(&mut self, cut: PowerCut) {
        if self.is_up() {
            self.stop(Stopped::Crashed);
        }
        let seed = self.rng.draw();
        self.change_disk(self.disk.power_cut(seed, cut));
        self.trace.note(self.now_us, format_args!("power cut {cut:?} {seed:x}"));
    }

    /// One step; false if nothing can happen any more.
    pub(crate) fn step(&mut self) -> Result<bool, Violation> {
        self.steps += 1;
        let actions = self.actions();
        let Some(action) = (!actions.is_empty()).then(|| *self.rng.pick(&actions)) else {
            return Ok(self.pass_time());
        };
        self.now_us += self.rng.below(120);
        self.act(action)?;
        if self.disk.has_crashed() && self.is_up() {
            self.stop(Stopped::Crashed);
        }
        Ok(true)
    }

    /// Runs until no client waits for anything and the server has nothing left to do, or until it stopped.
    pub(crate) fn settle(&mut self) -> Result<(), Violation> {
        let until = self.now_us + PATIENCE_US;
        while !self.is_settled() {
            if !self.is_up() && self.restart_at_us.is_none() {
                return Ok(());
            }
            if self.now_us > until {
                return Err(violation!("nothing ends: {}", self.why_unsettled()));
            }
            self.step()?;
        }
        Ok(())
    }

    /// Lets so much time pass, with all that happens in it.
    pub(crate) fn run_for(&mut self, us: u64) -> Result<(), Violation> {
        let until = self.now_us + us;
        while self.now_us < until && self.step()? {}
        Ok(())
    }

    /// Asks for something on behalf of a client.
    pub(crate) fn submit(&mut self, client: usize, request: Request) -> Result<Option<usize>, Violation> {
        let place = self.clients[client].submit(self.now_us, request, &mut self.history);
        if let Some(place) = place {
            let op = &self.history.ops[place];
            self.trace.note(self.now_us, format_args!("c{client} asks {place} {:?}", op.request.op()));
        }
        self.drain_client(client)?;
        Ok(place)
    }

    /// A client closes its session.
    pub(crate) fn close(&mut self, client: usize) -> Result<(), Violation> {
        self.clients[client].session.close(micros(self.now_us));
        self.drain_client(client)
    }

    /// A client's connection breaks.
    pub(crate) fn hang_up(&mut self, client: usize) -> Result<(), Violation> {
        let Some(id) = self.clients[client].pipe.take() else { return Ok(()) };
        if let Some(link) = self.pipes.get_mut(&id) {
            link.pipe.client_gone = true;
            link.pipe.to_client.clear();
            // What was on the way may still arrive.
            let kept = self.rng.index(link.pipe.to_server.len() + 1);
            if self.rng.one_in(2) {
                link.pipe.to_server.truncate(kept);
            }
        }
        self.trace.note(self.now_us, format_args!("c{client} hangs up"));
        self.clients[client].session.handle_disconnected(micros(self.now_us));
        self.clients[client].retry_at_us = self.now_us + self.rng.range(1_000, 400_000);
        self.drain_client(client)
    }

    /// Takes over what the server decided.
    pub(crate) fn absorb(&mut self) {
        let Some(server) = &mut self.server else { return };
        self.truth.append(&mut server.decided);
        self.floor = self.floor.max(server.acknowledged);
    }

    /// Judges everything that the clients saw. To be asked when all is settled.
    pub(crate) fn judge(&mut self) -> Result<(), Violation> {
        self.absorb();
        clients::check(&self.truth, &self.history)?;
        if let Some(server) = &self.server {
            judge_store(&server.store, &self.truth)?;
            if server.requests_in_flight() != 0 {
                return Err(violation!("{} requests are under way for ever", server.requests_in_flight()));
            }
        }
        Ok(())
    }

    /// A recovered store: nothing that was acknowledged is missing, nothing was made up, and everything is as the
    /// transactions up to there make it.
    fn judge_recovered(&mut self, store: &Store) -> Result<(), Violation> {
        self.absorb();
        let last = store.last_zxid();
        if last < self.floor.max(self.history.told) {
            return Err(violation!(
                "recovered up to {last}, and {} was acknowledged",
                self.floor.max(self.history.told)
            ));
        }
        self.truth.retain(|entry| entry.header.zxid <= last);
        if self.truth.last().map_or(Zxid::ZERO, |entry| entry.header.zxid) != last {
            return Err(violation!("recovered up to {last}, which was never decided"));
        }
        judge_store(store, &self.truth)?;
        // It is served from now on: no later crash may take it back.
        self.floor = last;
        Ok(())
    }

    fn actions(&self) -> Vec<Action> {
        let mut actions = Vec::with_capacity(16);
        let now = self.now();
        if let Some(server) = &self.server {
            if server.node_is_ready(now) {
                actions.push(Action::Node);
            }
            if server.log_is_ready(self.now_us) {
                actions.push(Action::Log);
            }
            if server.snapshot_is_ready() {
                actions.push(Action::Snapshot);
            }
            for (index, seat) in server.seats.iter().enumerate() {
                if !seat.inbox.is_empty() || seat.lane.poll_timeout() <= now.mono_ms {
                    actions.push(Action::Lane(index));
                }
            }
            for (id, link) in &self.pipes {
                if link_is_ready(server, link) {
                    actions.push(Action::Link(*id));
                }
            }
        } else if self.restart_at_us.is_some_and(|at| at <= self.now_us) {
            actions.push(Action::Restart);
        }
        for (id, client) in self.clients.iter().enumerate() {
            self.client_actions(id, client, &mut actions);
        }
        actions
    }

    fn client_actions(&self, id: usize, client: &Client, actions: &mut Vec<Action>) {
        if client.dead {
            return;
        }
        let link = client.pipe.and_then(|pipe| self.pipes.get(&pipe));
        let readable = link.is_some_and(|link| !link.pipe.to_client.is_empty() || link.pipe.server_gone);
        if readable && client.deaf_until_us <= self.now_us {
            actions.push(Action::Receive(id));
        }
        if client.session.poll_timeout().is_some_and(|at| at <= micros(self.now_us)) {
            actions.push(Action::Timer(id));
        }
        let may = client.retry_at_us <= self.now_us;
        match client.session.state() {
            State::Disconnected if client.pipe.is_none() && may => actions.push(Action::Connect(id)),
            State::Ended(_) if may => actions.push(Action::Renew(id)),
            State::Connected
                if client.habits.as_ref().is_some_and(|habits| client.pending() < habits.depth) =>
            {
                actions.push(Action::Submit(id));
            }
            _ => {}
        }
    }

    fn act(&mut self, action: Action) -> Result<(), Violation> {
        match action {
            Action::Node => self.node_turn(),
            Action::Log => self.log_turn(),
            Action::Snapshot => {
                let server = self.server.as_mut().expect("only a server has snapshots");
                let crashed = server.snapshot_turn();
                self.trace.note(self.now_us, format_args!("snapshot {crashed}"));
            }
            Action::Lane(index) => {
                let now = self.now();
                let server = self.server.as_mut().expect("only a server has lanes");
                let outputs = server.lane_turn(index, now, |lane, store| lane.handle_timeout(now, store));
                self.take_lane_outputs(index, outputs);
            }
            Action::Link(id) => self.link_turn(id),
            Action::Receive(id) => self.receive(id)?,
            Action::Submit(id) => {
                let serial = self.history.ops.len();
                let habits = self.clients[id].habits.clone().expect("it has habits");
                let request = habits.request(&mut self.rng, serial);
                self.submit(id, request)?;
            }
            Action::Timer(id) => {
                self.clients[id].session.handle_timeout(micros(self.now_us));
                self.drain_client(id)?;
            }
            Action::Connect(id) => self.connect(id)?,
            Action::Renew(id) => {
                let Self { clients, history, .. } = self;
                clients[id].renew(history);
                self.trace.note(self.now_us, format_args!("c{id} begins a new session"));
            }
            Action::Restart => self.start()?,
        }
        Ok(())
    }

    fn node_turn(&mut self) {
        let now = self.now();
        let Self { server, rng, history, .. } = self;
        let server = server.as_mut().expect("only a server has a node");
        let expired: Vec<SessionId> = server.node_turn(now, rng);
        let applied = server.store.last_zxid();
        for session in expired {
            history.expiries.push(Expiry { session, at_us: self.now_us, zxid: None });
            self.trace.note(self.now_us, format_args!("expired {session}"));
        }
        self.trace.note(self.now_us, format_args!("node {applied}"));
        self.absorb();
    }

    fn log_turn(&mut self) {
        let Self { server, rng, .. } = self;
        let server = server.as_mut().expect("only a server has a log");
        let turn = server.log_turn(self.now_us, rng);
        self.trace.note(self.now_us, format_args!("log {turn:?}"));
        self.absorb();
        if let LogTurn::Stop(why) = turn {
            self.stop(why);
        }
    }

    fn link_turn(&mut self, id: usize) {
        let now = self.now();
        let Self { server, rng, pipes, .. } = self;
        let server = server.as_mut().expect("a link is served by a server");
        let Some(link) = pipes.get_mut(&id) else { return };
        let index = link.pipe.lane;
        let pipe = &mut link.pipe;
        let Some(conn) = pipe.conn else { return };
        let unsent = server.seats[index].lane.unsent(conn).len();
        if unsent > 0 && link.closing != Some(false) && (pipe.room() > 0 || pipe.client_gone) {
            if pipe.client_gone {
                // The socket is gone: the lane hears it when it writes.
                server.seats[index].lane.disconnected(conn);
                let sent = server.seats[index].lane.unsent(conn).len();
                server.seats[index].lane.sent(conn, sent);
                let outputs = server.lane_turn(index, now, |_, _| {});
                self.take_lane_outputs(index, outputs);
                return;
            }
            let most = unsent.min(pipe.room());
            let count = if rng.percent(self.choppy) { 1 + rng.index(most) } else { most };
            pipe.to_client.extend(&server.seats[index].lane.unsent(conn)[..count]);
            server.seats[index].lane.sent(conn, count);
            return;
        }
        if link.closing.is_some() {
            pipe.conn = None;
            pipe.server_gone = true;
            server.remove(index, conn);
            self.trace.note(self.now_us, format_args!("p{id} closed by the server"));
            self.forget_link(id);
            return;
        }
        let outputs = if server.seats[index].lane.can_resume(conn) && unsent == 0 {
            server.lane_turn(index, now, |lane, store| lane.resume(now, conn, store))
        } else if pipe.to_server.is_empty() {
            server.lane_turn(index, now, |lane, _| lane.disconnected(conn))
        } else {
            let most = pipe.to_server.len();
            let count = if rng.percent(self.choppy) { 1 + rng.index(most) } else { most };
            let bytes = Pipe::take(&mut pipe.to_server, count);
            self.trace.note(self.now_us, format_args!("p{id} brings {count}"));
            server.lane_turn(index, now, |lane, store| lane.receive(now, conn, &bytes, store))
        };
        self.take_lane_outputs(index, outputs);
    }

    fn take_lane_outputs(&mut self, index: usize, outputs: Vec<LaneOutput>) {
        for output in outputs {
            let LaneOutput::Close { conn, reason } = output else { continue };
            use ostler_node::io::CloseReason as Why;
            let goodbye = !matches!(
                reason,
                Why::Disconnected | Why::SlowConsumer | Why::SessionExpired | Why::SessionResumedElsewhere
            );
            let link = self
                .pipes
                .iter_mut()
                .find(|(_, link)| link.pipe.lane == index && link.pipe.conn == Some(conn));
            if let Some((id, link)) = link {
                link.closing = Some(goodbye);
                self.trace.note(self.now_us, format_args!("p{id} closing: {reason:?}"));
            }
        }
    }

    fn receive(&mut self, id: usize) -> Result<(), Violation> {
        let Some(pipe) = self.clients[id].pipe else { return Ok(()) };
        let Some(link) = self.pipes.get_mut(&pipe) else { return Ok(()) };
        if link.pipe.to_client.is_empty() {
            // Nothing more comes.
            self.clients[id].pipe = None;
            link.pipe.client_gone = true;
            self.clients[id].session.handle_disconnected(micros(self.now_us));
            self.clients[id].retry_at_us = self.now_us + self.rng.range(1_000, 300_000);
            self.trace.note(self.now_us, format_args!("c{id} lost its connection"));
            self.forget_link(pipe);
        } else {
            let most = link.pipe.to_client.len();
            let count = if self.rng.percent(self.choppy) { 1 + self.rng.index(most) } else { most };
            let bytes = Pipe::take(&mut link.pipe.to_client, count);
            self.clients[id].session.handle_bytes(micros(self.now_us), &bytes);
            self.trace.note(self.now_us, format_args!("c{id} hears {count}, {}", self.history.told));
        }
        self.drain_client(id)
    }

    fn connect(&mut self, id: usize) -> Result<(), Violation> {
        let now = self.now();
        let Some(server) = &mut self.server else {
            self.clients[id].retry_at_us = self.now_us + self.rng.range(10_000, 500_000);
            return Ok(());
        };
        let lane = self.next_lane % server.seats.len();
        self.next_lane += 1;
        let port = u16::try_from(1024 + self.next_pipe % 60_000).expect("a port");
        let conn = server.accept(lane, now, format!("10.0.0.{}", id % 250 + 1), port);
        let pipe = Pipe {
            lane,
            conn: Some(conn),
            to_server: std::collections::VecDeque::new(),
            to_client: std::collections::VecDeque::new(),
            client_gone: false,
            server_gone: false,
            capacity: self.capacity,
        };
        self.trace.note(self.now_us, format_args!("c{id} connects as p{} to lane {lane}", self.next_pipe));
        self.pipes.insert(self.next_pipe, Link { pipe, closing: None });
        self.clients[id].connected(self.now_us, self.next_pipe);
        self.next_pipe += 1;
        self.drain_client(id)
    }

    /// Carries out what a client's session wants.
    fn drain_client(&mut self, id: usize) -> Result<(), Violation> {
        let mut wishes = Vec::new();
        let story = self.clients[id].story;
        let known = self.history.sessions[story].items.len();
        self.clients[id]
            .drain(self.now_us, &mut self.history, &mut wishes)
            .map_err(|what| violation!("{what}"))?;
        for item in &self.history.sessions[story].items[known..] {
            match item {
                Item::Reply(place) => {
                    let op = &self.history.ops[*place];
                    self.trace.note(
                        self.now_us,
                        format_args!("c{id} {place} {:?} is {:?}", op.request, op.outcome),
                    );
                }
                other => self.trace.note(self.now_us, format_args!("c{id} {other:?}")),
            }
        }
        for wish in wishes {
            match wish {
                Wish::Send(bytes) => {
                    if let Some(link) = self.clients[id].pipe.and_then(|pipe| self.pipes.get_mut(&pipe)) {
                        link.pipe.to_server.extend(bytes);
                    }
                }
                Wish::HangUp => self.hang_up(id)?,
            }
        }
        Ok(())
    }

    /// A connection that neither side knows any more is gone.
    fn forget_link(&mut self, id: usize) {
        if self.pipes.get(&id).is_some_and(|link| link.pipe.conn.is_none() && link.pipe.client_gone) {
            self.pipes.remove(&id);
        }
    }

    /// Nobody can move: on to the next time at which somebody wants to.
    fn pass_time(&mut self) -> bool {
        let mut next = self.server.as_ref().map_or(u64::MAX, Server::next_deadline_us);
        if let Some(at) = self.restart_at_us {
            next = next.min(at);
        }
        for client in self.clients.iter().filter(|client| !client.dead) {
            if let Some(at) = client.session.poll_timeout() {
                next = next.min(u64::try_from(at.as_micros()).expect("not for ever"));
            }
            for at in [client.retry_at_us, client.deaf_until_us] {
                if at > self.now_us {
                    next = next.min(at);
                }
            }
        }
        if next == u64::MAX {
            return false;
        }
        self.now_us = next.max(self.now_us + 1);
        true
    }

    fn is_settled(&self) -> bool {
        self.server.as_ref().is_some_and(Server::is_quiet) && self.clients.iter().all(Client::is_settled)
    }

    fn why_unsettled(&self) -> String {
        let waiting: Vec<_> = self
            .clients
            .iter()
            .enumerate()
            .filter(|(_, client)| !client.is_settled())
            .map(|(id, client)| format!("c{id} {:?} waits for {}", client.session.state(), client.pending()))
            .collect();
        format!("server quiet: {:?}, {}", self.server.as_ref().map(Server::is_quiet), waiting.join(", "))
    }
}

/// Whether the lane can do something for a connection, or the network for the lane.
fn link_is_ready(server: &Server, link: &Link) -> bool {
    let Some(conn) = link.pipe.conn else { return false };
    let lane = &server.seats[link.pipe.lane].lane;
    let unsent = !lane.unsent(conn).is_empty();
    if unsent && (link.pipe.room() > 0 || link.pipe.client_gone) {
        return true;
    }
    if let Some(goodbye) = link.closing {
        return !unsent || !goodbye;
    }
    (lane.can_resume(conn) && !unsent)
        || (lane.wants_bytes(conn) && (!link.pipe.to_server.is_empty() || link.pipe.client_gone))
}

/// A store against the transactions up to it.
pub(crate) fn judge_store(store: &Store, truth: &[TxnEntry]) -> Result<(), Violation> {
    let mut model = Model::new();
    let mut changes = Vec::new();
    for entry in truth.iter().take_while(|entry| entry.header.zxid <= store.last_zxid()) {
        model.apply(entry, &mut changes).map_err(|why| violation!("at {}: {why}", entry.header.zxid))?;
        changes.clear();
    }
    state::compare(store, &model)?;
    state::check_sums(store, model.digest())
}
