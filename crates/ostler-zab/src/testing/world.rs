//! The world: servers, links and the record of what must be true. One action at a time, nothing else moves.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use ostler_wire::quorum::Packet;
use ostler_wire::{ServerId, Zxid};

use super::actions::Action;
use super::check::Record;
use super::disk::{Disk, LogWrite, Pending};
use super::net::{Link, Votes, Wire};
use super::node::{Node, Running};
use crate::{
    Door, Input, JointQuorum, Limit, LinkId, Observing, Peer, PeerConfig, Proposal, Quorum, Standing,
};

/// What a world is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    /// How many servers vote; they come first.
    pub voters: usize,
    /// How many observe.
    pub observers: usize,
    /// Who decides; a majority if nothing is said.
    pub quorum: Option<Quorum>,
    /// The length of a tick in milliseconds. 0 takes time out of the world: then timers are [`Action::Fire`].
    pub tick_ms: u64,
    /// How long joining may take.
    pub init_limit_ticks: u64,
    /// How long silence may last.
    pub sync_limit_ticks: u64,
    /// How many transactions a leader keeps for learners.
    pub kept: usize,
    /// Always the whole tree.
    pub force_snapshot: bool,
    /// So many transactions of the log on disk at most, in place of a tree; `None` for none.
    pub log_sync: Option<usize>,
    /// Followers take observers.
    pub masters: bool,
    /// The last counter of an epoch that is used.
    pub last_counter: u32,
    /// The ids of links that are gone are used again, so that states do not differ by a count.
    pub reuse_ids: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            voters: 3,
            observers: 0,
            quorum: None,
            tick_ms: 1000,
            init_limit_ticks: 10,
            sync_limit_ticks: 5,
            kept: 100,
            force_snapshot: false,
            log_sync: None,
            masters: false,
            last_counter: u32::MAX - 1,
            reuse_ids: false,
        }
    }
}

impl Setup {
    fn quorum(&self) -> Quorum {
        self.quorum.clone().unwrap_or_else(|| Quorum::majority((0..self.voters).map(server).collect()))
    }
}

/// The id of a server.
pub(super) fn server(node: usize) -> ServerId {
    ServerId(i64::try_from(node).expect("few servers") + 1)
}

/// The number of a server.
pub(super) fn node_of(server: ServerId) -> usize {
    usize::try_from(server.0 - 1).expect("ids begin at 1")
}

/// What happened, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Stats {
    pub events: u64,
    pub elections: u64,
    pub established: u64,
    pub diffs: u64,
    pub truncs: u64,
    pub snaps: u64,
    pub crashes: u64,
    pub cuts: u64,
    pub commits: u64,
    pub proposals: u64,
    pub cannot_truncate: u64,
    pub exhausted: u64,
    pub from_logs: u64,
    pub by_masters: u64,
}

/// An ensemble and everything around it.
#[derive(Debug, Clone)]
pub struct World {
    pub(super) setup: Arc<Setup>,
    pub(super) quorum: Arc<JointQuorum>,
    pub(super) nodes: Vec<Node>,
    pub(super) links: BTreeMap<LinkId, Link>,
    pub(super) votes: BTreeMap<(usize, usize), Votes>,
    pub(super) connected: BTreeSet<(usize, usize)>,
    pub(super) blocked: BTreeSet<(usize, usize)>,
    pub(super) now_ms: u64,
    pub(super) record: Record,
    /// Servers for which a script speaks.
    pub(super) puppets: BTreeSet<usize>,
    /// What was seen that must not be.
    pub violation: Option<String>,
    /// What happened, in numbers.
    pub stats: Stats,
    /// What happened, in words, if somebody wants to know.
    pub trace: Option<Vec<String>>,
}

impl PartialEq for World {
    fn eq(&self, other: &Self) -> bool {
        self.nodes == other.nodes
            && self.links == other.links
            && self.votes == other.votes
            && self.connected == other.connected
            && self.blocked == other.blocked
            && self.now_ms == other.now_ms
            && self.record == other.record
            && self.violation == other.violation
    }
}
impl Eq for World {}
impl Hash for World {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.nodes.hash(state);
        self.links.hash(state);
        self.votes.hash(state);
        self.connected.hash(state);
        self.blocked.hash(state);
        self.now_ms.hash(state);
        self.record.hash(state);
        self.violation.hash(state);
    }
}

impl World {
    /// Servers with empty disks, none of them started.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let count = setup.voters + setup.observers;
        let mut votes = BTreeMap::new();
        for a in 0..count {
            for b in 0..count {
                // Observers have nothing to say to one another.
                if a != b && (a < setup.voters || b < setup.voters) {
                    votes.insert((a, b), Votes::default());
                }
            }
        }
        Self {
            quorum: Arc::new(JointQuorum::new(setup.quorum())),
            setup: Arc::new(setup),
            nodes: (0..count).map(|_| Node { disk: Disk::new(), running: None, dialed: 0 }).collect(),
            links: BTreeMap::new(),
            votes,
            connected: BTreeSet::new(),
            blocked: BTreeSet::new(),
            now_ms: 0,
            record: Record::default(),
            puppets: BTreeSet::new(),
            violation: None,
            stats: Stats::default(),
            trace: None,
        }
    }

    /// Puts a history on a disk before anything starts.
    pub fn preset(&mut self, node: usize, zxids: &[Zxid], accepted: i64, current: i64, floor: usize) {
        let disk = &mut self.nodes[node].disk;
        disk.log = zxids.iter().map(|zxid| Proposal { zxid: *zxid, bytes: bytes_of(*zxid) }).collect();
        disk.floor = floor;
        disk.epochs = crate::Epochs { accepted, current };
        for proposal in &disk.log {
            self.record.proposed.insert(proposal.zxid, proposal.bytes.clone());
        }
    }

    /// What is known to be committed before anything starts: the history of this server.
    pub fn preset_committed(&mut self, node: usize) {
        self.record.truth.clone_from(&self.nodes[node].disk.log);
    }

    pub(super) fn is_blocked(&self, from: usize, to: usize) -> bool {
        self.blocked.contains(&(from, to))
    }

    pub(super) fn is_connected(&self, a: usize, b: usize) -> bool {
        self.connected.contains(&(a.min(b), a.max(b)))
    }

    pub(super) fn say(&mut self, text: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(text());
        }
    }

    pub(super) fn fail(&mut self, what: impl FnOnce() -> String) {
        if self.violation.is_none() {
            let what = what();
            self.say(|| format!("VIOLATION: {what}"));
            self.violation = Some(what);
        }
    }

    /// The clock.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// How many servers there are.
    #[must_use]
    pub fn servers(&self) -> usize {
        self.nodes.len()
    }

    /// Whether a server runs.
    #[must_use]
    pub fn is_up(&self, node: usize) -> bool {
        self.nodes[node].running.is_some()
    }

    /// A server that runs.
    #[must_use]
    pub fn peer(&self, node: usize) -> Option<&Peer> {
        self.nodes[node].running.as_ref().map(|running| &running.peer)
    }

    /// How many writes of the log and of epochs a server waits for.
    #[must_use]
    pub fn pending(&self, node: usize) -> (usize, usize) {
        self.nodes[node]
            .running
            .as_ref()
            .map_or((0, 0), |running| (running.pending.log.len(), running.pending.epochs.len()))
    }

    /// The links that stand.
    pub fn links(&self) -> impl Iterator<Item = LinkId> {
        self.links.keys().copied()
    }

    /// What is on the disk of a server.
    #[must_use]
    pub fn durable(&self, node: usize) -> Vec<Zxid> {
        self.nodes[node].disk.log.iter().map(|proposal| proposal.zxid).collect()
    }

    /// How many transactions are known to be committed.
    #[must_use]
    pub fn committed(&self) -> usize {
        self.record.truth.len()
    }

    /// Does one thing.
    pub fn apply(&mut self, action: Action) {
        self.stats.events += 1;
        match action {
            Action::Start(node) => self.start(node),
            Action::Crash { node, log, epochs } => self.crash(node, log, epochs),
            Action::Log { node, n } => self.on_log_written(node, n),
            Action::Epoch(node) => self.on_epoch_written(node),
            Action::Search(node) => self.on_log_searched(node),
            Action::Dial(node) => self.on_dialed(node, true),
            Action::Refuse(node) => self.on_dialed(node, false),
            Action::Deliver { link, to_leader } => self.deliver(link, to_leader),
            Action::Cut(link) => {
                self.stats.cuts += 1;
                self.say(|| format!("link {} is cut", link.0));
                if let Some(link) = self.links.get_mut(&link) {
                    link.cut();
                }
                self.links.retain(|_, link| !link.is_dead());
            }
            Action::VoteConnect(a, b) => {
                self.connected.insert((a, b));
                for (from, to) in [(a, b), (b, a)] {
                    let votes = self.votes.get_mut(&(from, to)).expect("they talk");
                    if votes.waiting.is_none() {
                        votes.waiting.clone_from(&votes.last);
                    }
                    self.input(from, Input::ElectionLink { server: server(to), up: true });
                }
            }
            Action::VoteCut(a, b) => self.cut_votes(a, b),
            Action::VoteSend(from, to) => {
                let votes = self.votes.get_mut(&(from, to)).expect("they talk");
                if let Some(vote) = votes.waiting.take() {
                    votes.last = Some(vote.clone());
                    votes.under_way.push_back(vote);
                }
            }
            Action::VoteDeliver(from, to) => {
                let vote = self.votes.get_mut(&(from, to)).and_then(|votes| votes.under_way.pop_front());
                if let Some(notification) = vote {
                    self.input(to, Input::Notification { from: server(from), notification });
                }
            }
            Action::VoteRepeat(from, to) => {
                let votes = self.votes.get_mut(&(from, to)).expect("they talk");
                if let Some(last) = votes.last.clone() {
                    votes.under_way.push_back(last);
                }
            }
            Action::Time => self.pass_time(),
            Action::Fire(node) => {
                let due = self.peer(node).and_then(Peer::poll_timeout);
                if let Some((due_ms, _)) = due {
                    self.say(|| format!("s{} times out", node + 1));
                    self.with_peer(node, |peer| peer.handle_timeout(due_ms));
                }
            }
            Action::Propose(node) => self.propose(node),
            Action::Block(from, to) => {
                self.blocked.insert((from, to));
            }
            Action::Heal => self.blocked.clear(),
            Action::Resign(node) => {
                let now_ms = self.now_ms;
                self.with_peer(node, |peer| peer.resign(now_ms));
            }
            Action::Full(node) => self.input(node, Input::LogFull),
        }
    }

    fn start(&mut self, node: usize) {
        if self.nodes[node].running.is_some() {
            return;
        }
        self.say(|| format!("s{} starts", node + 1));
        let setup = Arc::clone(&self.setup);
        let config = PeerConfig {
            server: server(node),
            quorum: (*self.quorum).clone(),
            observer: node >= setup.voters,
            tick_ms: setup.tick_ms,
            init_limit_ticks: setup.init_limit_ticks,
            sync_limit_ticks: setup.sync_limit_ticks,
            max_waiting_bytes: 1 << 20,
            force_snapshot: setup.force_snapshot,
            log_sync: setup.log_sync.is_some(),
            observing: Observing {
                masters: setup.masters,
                connect_ms: setup.tick_ms,
                seed: node as u64,
                ..Observing::default()
            },
        };
        let disk = &self.nodes[node].disk;
        let limit = Limit { count: setup.kept, bytes: usize::MAX };
        let mut peer = Peer::member(config, disk.epochs, disk.history(limit));
        peer.set_last_counter(setup.last_counter);
        self.nodes[node].running = Some(Box::new(Running {
            peer,
            pending: Pending::default(),
            dials: VecDeque::new(),
            held: BTreeMap::new(),
            applied: self.nodes[node].disk.log.clone(),
            standing: Standing::Looking,
        }));
        let now_ms = self.now_ms;
        self.with_peer(node, |peer| peer.start(now_ms));
    }

    fn crash(&mut self, node: usize, log: usize, epochs: usize) {
        let Some(running) = self.nodes[node].running.take() else { return };
        self.stats.crashes += 1;
        self.say(|| format!("s{} crashes", node + 1));
        for write in running.pending.log.iter().take(log) {
            self.write_log(node, write);
        }
        for write in running.pending.epochs.iter().take(epochs) {
            self.write_epoch(node, write);
        }
        for link in self.links.values_mut() {
            link.close(node);
        }
        self.links.retain(|_, link| !link.is_dead());
        for other in 0..self.nodes.len() {
            if self.is_connected(node, other) {
                self.cut_votes(node.min(other), node.max(other));
            }
            if let Some(votes) = self.votes.get_mut(&(node, other)) {
                *votes = Votes::default();
            }
        }
        self.check_durable("a crash");
    }

    fn cut_votes(&mut self, a: usize, b: usize) {
        if !self.connected.remove(&(a, b)) {
            return;
        }
        for (from, to) in [(a, b), (b, a)] {
            self.votes.get_mut(&(from, to)).expect("they talk").under_way.clear();
            self.input(from, Input::ElectionLink { server: server(to), up: false });
        }
    }

    /// When the clock has something to do next.
    #[must_use]
    pub fn next_ms(&self) -> Option<u64> {
        let due = |node: &Node| node.running.as_ref()?.peer.poll_timeout().map(|(due, _)| due);
        self.nodes.iter().filter_map(due).min()
    }

    fn pass_time(&mut self) {
        let due = |node: &Node| node.running.as_ref()?.peer.poll_timeout().map(|(due, _)| due);
        let Some(next_ms) = self.next_ms() else { return };
        self.now_ms = self.now_ms.max(next_ms);
        let now_ms = self.now_ms;
        for node in 0..self.nodes.len() {
            if due(&self.nodes[node]).is_some_and(|due| due <= now_ms) {
                self.with_peer(node, |peer| peer.handle_timeout(now_ms));
            }
        }
    }

    fn propose(&mut self, node: usize) {
        let Some(zxid) = self.peer(node).and_then(Peer::next_zxid) else {
            return self.say(|| format!("s{} takes no proposal", node + 1));
        };
        self.stats.proposals += 1;
        if zxid.counter() > self.setup.last_counter {
            self.fail(|| format!("{zxid} is beyond the end of its epoch"));
        }
        let proposal = Proposal { zxid, bytes: bytes_of(zxid) };
        if self.record.proposed.insert(zxid, proposal.bytes.clone()).is_some() {
            self.fail(|| format!("{zxid} is proposed twice"));
        }
        self.input(node, Input::Propose(proposal));
    }

    fn on_dialed(&mut self, node: usize, reached: bool) {
        let Some(running) = &mut self.nodes[node].running else { return };
        let Some(dial) = running.dials.pop_front() else { return };
        if !reached {
            return self.input(node, Input::LeaderUnreachable { generation: dial.generation });
        }
        let number = |n: u64| LinkId(node as u64 * 1_000_000 + n);
        let link = if self.setup.reuse_ids {
            let mut free = (1..).map(number).filter(|link| !self.links.contains_key(link));
            free.next().expect("few links stand")
        } else {
            self.nodes[node].dialed += 1;
            number(self.nodes[node].dialed)
        };
        self.links.insert(link, Link::new(node, dial.leader, dial.door));
        self.input(node, Input::LeaderReached { link, generation: dial.generation });
    }

    fn deliver(&mut self, id: LinkId, to_leader: bool) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let Some(wire) = link.queue(to_leader).pop_front() else { return };
        let (node, open) =
            if to_leader { (link.acceptor, link.acceptor_open) } else { (link.dialer, link.dialer_open) };
        if open {
            match wire {
                Wire::Hello if link.door == Door::Master => {
                    self.input(node, Input::ObserverArrived { link: id });
                }
                Wire::Hello => self.input(node, Input::LearnerArrived { link: id }),
                Wire::Packet(packet) => {
                    self.on_taken(id, to_leader, &packet);
                    if self.puppets.contains(&node) {
                        return;
                    }
                    self.input(node, Input::Packet { link: id, packet });
                }
                Wire::Tree(tree) => {
                    if let Some(running) = &mut self.nodes[node].running {
                        running.held.insert(id, tree);
                    }
                    self.input(node, Input::SnapshotArrived { link: id });
                }
                Wire::End => {
                    if let Some(link) = self.links.get_mut(&id) {
                        link.close(node);
                    }
                    self.input(node, Input::LinkDown { link: id });
                }
            }
        }
        self.links.retain(|_, link| !link.is_dead());
    }

    fn on_log_written(&mut self, node: usize, n: usize) {
        let Some(running) = &mut self.nodes[node].running else { return };
        // Appends are made durable together; anything else is alone.
        let batch = running
            .pending
            .log
            .iter()
            .take(n)
            .take_while(|write| matches!(write, LogWrite::Append(..)))
            .count()
            .max(1)
            .min(running.pending.log.len());
        let writes: Vec<LogWrite> = running.pending.log.drain(..batch).collect();
        let mut answer = None;
        for write in &writes {
            let left = self.write_log(node, write);
            answer = Some(match write {
                LogWrite::Append(proposal, generation) => {
                    Input::Persisted { zxid: proposal.zxid, generation: *generation }
                }
                LogWrite::Truncate(_, generation) => Input::Truncated { last: left, generation: *generation },
                LogWrite::Save { generation, .. } => Input::SnapshotSaved { generation: *generation },
            });
            if !matches!(write, LogWrite::Append(..)) {
                // The tree is what the disk holds.
                let log = self.nodes[node].disk.log.clone();
                if let Some(running) = &mut self.nodes[node].running {
                    running.applied = log;
                }
                self.check_durable("a cut or a snapshot");
            }
        }
        if let Some(answer) = answer {
            self.input(node, answer);
        }
    }

    fn on_epoch_written(&mut self, node: usize) {
        let Some(running) = &mut self.nodes[node].running else { return };
        let Some(write) = running.pending.epochs.pop_front() else { return };
        self.write_epoch(node, &write);
        let answer =
            Input::EpochWritten { which: write.which, epoch: write.epoch, generation: write.generation };
        self.input(node, answer);
    }

    fn on_log_searched(&mut self, node: usize) {
        let Some(running) = &mut self.nodes[node].running else { return };
        let Some(search) = running.pending.searches.pop_front() else { return };
        let place = self.setup.log_sync.and_then(|most| self.nodes[node].disk.search(search, most));
        self.input(node, Input::LogSearched { link: search.link, place });
    }

    pub(super) fn input(&mut self, node: usize, input: Input) {
        let now_ms = self.now_ms;
        self.with_peer(node, |peer| peer.handle(now_ms, input));
    }

    fn with_peer(&mut self, node: usize, f: impl FnOnce(&mut Peer)) {
        let Some(running) = &mut self.nodes[node].running else { return };
        f(&mut running.peer);
        self.drain(node);
    }

    /// Packets on a link that go one way, for the record.
    fn on_taken(&mut self, link: LinkId, to_leader: bool, packet: &Packet) {
        let Some(link) = self.links.get_mut(&link) else { return };
        let seen = &mut link.seen;
        match packet {
            Packet::Ack { zxid } if to_leader && zxid.counter() == 0 => seen.synced = true,
            Packet::NewLeader { .. } if !to_leader => seen.newleader_taken = true,
            Packet::Proposal { zxid, .. } if !to_leader => seen.taken = *zxid,
            _ => {}
        }
    }
}

/// What a transaction says.
pub(super) fn bytes_of(zxid: Zxid) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(&zxid.0.to_be_bytes())
}
