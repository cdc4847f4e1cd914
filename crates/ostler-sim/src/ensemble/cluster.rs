//! A whole ensemble in one thread: machines, clients and what lies between them, moved by events in the order of
//! their times. An actor that has something to do is called a little later; how much later is drawn, and with it the
//! order in which the threads of a server, the servers and the clients come.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::rc::Rc;

use ostler_node::{ConnId, Input, Now};
use ostler_store::sim::{FaultPlan, SimDisk};
use ostler_wire::Zxid;
use ostler_wire::quorum::Packet;
use ostler_wire::txn::{Txn, TxnEntry, TxnHeader};
use ostler_zab::{Door, Generation, LinkId, Standing};

use super::faults::Kind;
use super::ledger::Ledger;
use super::links::{Heard, Link, Piece, Votes};
use super::member::{LogTurn, Member, Parcel, Wake, Wants};
use super::patron::Patron;
use super::pipes::Pipe;
use super::settings::{Settings, place_of};
use crate::check::{Violation, violation};
use crate::history::{Expiry, History};
use crate::rng::Rng;
use crate::trace::Trace;

/// The wall clock at the beginning.
const WALL_MS: i64 = 1_700_000_000_000;

/// What happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    Node(usize),
    Log(usize),
    Snapshot(usize),
    Sender(usize),
    Lane(usize, usize),
    /// Something may have arrived at an end of a connection.
    Link(u64, usize),
    /// A vote may have arrived, from one at another.
    Vote(usize, usize),
    /// Two servers try to connect for votes.
    Greet(usize, usize),
    /// A channel for votes is found dead by the first.
    Break(usize, usize, u64),
    /// A learner tries to connect.
    Dial(usize, u64, (usize, Door), u64, u64),
    ToServer(usize),
    ToClient(usize),
    Client(usize),
    Start(usize),
    Fault(u64),
    /// A fault that was waiting for something to be under way.
    Strike(Kind, usize),
    /// The network is whole again, if no other fault of it came since.
    Heal(u64),
    /// The disk of a server has room again.
    Room(usize, u64),
}

/// A machine.
pub(super) struct Machine {
    pub disk: SimDisk,
    pub member: Option<Box<Member>>,
    /// Counts its starts.
    pub life: u64,
    pub start_at_us: u64,
    pub paused_until_us: u64,
    /// How much longer a sync takes.
    pub slow_us: u64,
    pub wall_jump_ms: i64,
    pub standing: Standing,
    pub standing_since_us: u64,
    /// The zxid of the digest that was compared last.
    pub(super) compared: Zxid,
}

/// Votes between two servers: whether each of them believes that there is a connection.
#[derive(Debug, Default)]
pub(super) struct Channel {
    pub up: bool,
    /// Counts connections.
    pub number: u64,
}

/// What was counted.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub events: u64,
    pub crashes: u64,
    pub power_cuts: u64,
    pub diffs: u64,
    pub truncs: u64,
    pub snaps: u64,
    pub moved: u64,
    /// Observers that began to serve with the leader, and with a follower.
    pub observers: u64,
    pub by_masters: u64,
    pub expired: u64,
}

/// The ensemble.
pub(super) struct Cluster {
    pub rng: Rng,
    pub trace: Trace,
    pub now_us: u64,
    pub settings: Rc<Settings>,
    pub machines: Vec<Machine>,
    pub patrons: Vec<Patron>,
    pub history: History,
    pub ledger: Ledger,
    pub counts: Counts,
    pub net: super::net::Net,
    pub pipes: BTreeMap<usize, Pipe>,
    pub next_pipe: usize,
    pub(super) queue: BinaryHeap<Reverse<(u64, u64, Event)>>,
    pub(super) next_event: u64,
    pub links: BTreeMap<u64, Link>,
    pub(super) next_link: u64,
    pub votes: BTreeMap<(usize, usize), Votes>,
    pub channels: BTreeMap<(usize, usize), Channel>,
    pub healed: bool,
}

impl Cluster {
    pub(super) fn new(seed: u64, print: bool) -> Self {
        let settings = Rc::new(Settings::draw(seed));
        let mut rng = Rng::new(seed);
        let servers = settings.servers();
        let machines: Vec<Machine> = (0..servers)
            .map(|_| Machine {
                disk: SimDisk::new(rng.one_in(2)),
                member: None,
                life: 0,
                start_at_us: 0,
                paused_until_us: 0,
                slow_us: 0,
                wall_jump_ms: 0,
                standing: Standing::Looking,
                standing_since_us: 0,
                compared: Zxid::ZERO,
            })
            .collect();
        let mut history = History { many_servers: true, ..History::default() };
        let patrons: Vec<Patron> =
            settings.clients.iter().map(|plan| Patron::new(plan.clone(), &mut history)).collect();
        let net = super::net::Net::new(servers, patrons.len());
        let ledger = Ledger::new(settings.quorum.clone(), (settings.voters, servers), settings.last_counter);
        Self {
            rng,
            trace: Trace::new(print),
            now_us: 1_000_000,
            settings,
            machines,
            patrons,
            history,
            ledger,
            counts: Counts::default(),
            net,
            pipes: BTreeMap::new(),
            next_pipe: 0,
            queue: BinaryHeap::new(),
            next_event: 0,
            links: BTreeMap::new(),
            next_link: 1,
            votes: BTreeMap::new(),
            channels: BTreeMap::new(),
            healed: false,
        }
    }

    pub(super) fn now(&self, place: usize) -> Now {
        let mono_ms = self.now_us / 1000;
        let wall_ms =
            WALL_MS + i64::try_from(mono_ms).expect("not for ever") + self.machines[place].wall_jump_ms;
        Now { mono_ms, wall_ms }
    }

    pub(super) fn at(&mut self, at_us: u64, event: Event) {
        self.next_event += 1;
        self.queue.push(Reverse((at_us.max(self.now_us), self.next_event, event)));
    }

    /// Runs until a time.
    pub(super) fn run_until(&mut self, until_us: u64) -> Result<(), Violation> {
        while let Some(Reverse((at_us, _, event))) = self.queue.peek().copied() {
            if at_us > until_us {
                break;
            }
            self.queue.pop();
            self.now_us = at_us;
            self.act(event)?;
        }
        self.now_us = until_us;
        Ok(())
    }

    fn act(&mut self, event: Event) -> Result<(), Violation> {
        self.counts.events += 1;
        match event {
            Event::Node(place)
            | Event::Log(place)
            | Event::Snapshot(place)
            | Event::Sender(place)
            | Event::Lane(place, _) => self.actor(place, event)?,
            Event::Link(id, end) => self.arrive(id, end)?,
            Event::Vote(from, to) => self.vote_arrives(from, to)?,
            Event::Greet(a, b) => self.greet(a, b)?,
            Event::Break(place, other, number) => self.found_broken(place, other, number)?,
            Event::Dial(place, life, to, until_us, generation) => {
                self.dial(place, life, to, until_us, Generation(generation))?;
            }
            Event::ToServer(id) => self.on_bytes_to_server(id)?,
            Event::ToClient(id) => self.on_bytes_to_client(id)?,
            Event::Client(client) => self.client_turn(client)?,
            Event::Start(place) => self.start(place)?,
            Event::Fault(number) => self.fault(number)?,
            Event::Strike(kind, place) => self.strike(kind, place)?,
            Event::Heal(number) => self.heal_net(number),
            Event::Room(place, life) => {
                if self.machines[place].life == life {
                    self.machines[place].disk.plan(FaultPlan::default());
                }
            }
        }
        Ok(())
    }

    /// Calls an actor of a server, if this is its time.
    fn actor(&mut self, place: usize, event: Event) -> Result<(), Violation> {
        let machine = &mut self.machines[place];
        let paused_until_us = machine.paused_until_us;
        let Some(member) = &mut machine.member else { return Ok(()) };
        let wake = wake_of(member, event);
        if !wake.rings(self.now_us) {
            if let Some(at) = wake.again() {
                self.at(at, event);
            }
            return Ok(());
        }
        if paused_until_us > self.now_us {
            self.wake(place, event, paused_until_us);
            return Ok(());
        }
        match event {
            Event::Node(_) => self.node_turn(place)?,
            Event::Log(_) => self.log_turn(place)?,
            Event::Snapshot(_) => {
                let settings = Rc::clone(&self.settings);
                let member = self.machines[place].member.as_mut().expect("it was just seen");
                if !member.snapshot_turn(&settings) {
                    let at = self.now_us + self.rng.range(20, 3_000);
                    self.wake(place, Event::Snapshot(place), at);
                } else if settings.faults.purges && self.rng.one_in(2) {
                    let retain = 3 + self.rng.index(3);
                    self.machines[place].member.as_mut().expect("it was just seen").purge_turn(retain);
                }
                self.wake_node(place);
            }
            Event::Sender(_) => {
                let settings = Rc::clone(&self.settings);
                let mut wants = Wants::default();
                let member = self.machines[place].member.as_mut().expect("it was just seen");
                if member.sender_turn(&settings, &mut wants) {
                    let at = self.now_us + self.rng.range(20, 2_000);
                    self.wake(place, Event::Sender(place), at);
                }
                self.carry_out(place, wants)?;
                self.wake_node(place);
            }
            Event::Lane(_, lane) => self.lane_work(place, lane)?,
            _ => {}
        }
        self.stop_if_crashed(place)
    }

    /// Calls an actor at a time, or sooner if it is to be called sooner anyway.
    pub(super) fn wake(&mut self, place: usize, event: Event, at_us: u64) {
        let at_us = at_us.max(self.now_us);
        let Some(member) = &mut self.machines[place].member else { return };
        if wake_of(member, event).set(at_us) {
            self.at(at_us, event);
        }
    }

    /// A thread is woken: soon, and sometimes not so soon.
    pub(super) fn soon(&mut self) -> u64 {
        let most = if self.rng.one_in(30) { 3_000 } else { 60 };
        self.now_us + 1 + self.rng.below(most)
    }

    pub(super) fn wake_node(&mut self, place: usize) {
        let Some(member) = &self.machines[place].member else { return };
        if member.inbox.is_empty() && !member.node.has_committed() {
            return;
        }
        let at = self.soon();
        self.wake(place, Event::Node(place), at);
    }

    pub(super) fn wake_lane(&mut self, place: usize, lane: usize) {
        let Some(member) = &self.machines[place].member else { return };
        if member.wakes.lanes[lane].at_us <= self.now_us + 60 {
            return;
        }
        let at = self.soon();
        self.wake(place, Event::Lane(place, lane), at);
    }

    /// Hands something to a node.
    pub(super) fn give(&mut self, place: usize, input: Input) {
        if let Some(member) = &mut self.machines[place].member {
            member.inbox.push_back(input);
            self.wake_node(place);
        }
    }

    pub(super) fn give_peer(&mut self, place: usize, input: ostler_zab::Input) {
        self.give(place, Input::Peer(input));
    }

    fn node_turn(&mut self, place: usize) -> Result<(), Violation> {
        let now = self.now(place);
        let most = if self.rng.one_in(6) { 1 + self.rng.index(3) } else { 64 };
        let mut wants = Wants::default();
        let member = self.machines[place].member.as_mut().expect("it is up");
        member.node_turn(now, most, &mut wants);
        self.carry_out(place, wants)?;
        self.after_node(place)
    }

    /// The rules that a server has to keep after each turn of its node.
    pub(super) fn after_node(&mut self, place: usize) -> Result<(), Violation> {
        let now_us = self.now_us;
        let mut heal = None;
        let machine = &mut self.machines[place];
        let Some(member) = &mut machine.member else { return Ok(()) };
        let (standing, applied) = (member.node.standing(), member.store.last_zxid());
        if standing != machine.standing {
            machine.standing = standing;
            machine.standing_since_us = now_us;
            self.trace.mix([now_us, 1, place as u64, applied.0.cast_unsigned()]);
            self.trace.say(now_us, format_args!("s{} is {standing:?} at {applied}", place + 1));
            if let Standing::Following { leader, master, observer: true, .. } = standing {
                self.counts.observers += u64::from(leader == master);
                self.counts.by_masters += u64::from(leader != master);
            }
            if matches!(standing, Standing::Leading { .. }) {
                self.history.led_at_us.push(now_us);
                if std::mem::take(&mut self.net.until_led) {
                    let at = now_us + self.rng.below(2_000);
                    heal = Some((at, Event::Heal(self.net.number)));
                }
            }
        }
        self.ledger.on_turn(place, member.node.peer(), standing, applied)?;
        if applied > machine.compared && member.store.config().digest_enabled {
            let check = member.store.digest_check();
            if check.mismatches > 0 {
                return Err(violation!(
                    "the digest of server {} differs, first at {:?} (Z14)",
                    place + 1,
                    check.first_mismatch
                ));
            }
            if !check.pending {
                machine.compared = applied;
                self.ledger.on_digest(place, applied, member.store.digest())?;
            }
        }
        let next = if member.inbox.is_empty() && !member.node.has_committed() {
            (member.node.poll_timeout().0 * 1000).max(now_us + 500)
        } else {
            now_us + 1 + self.rng.below(60)
        };
        self.wake(place, Event::Node(place), next);
        if let Some((at, event)) = heal {
            self.at(at, event);
        }
        Ok(())
    }

    fn log_turn(&mut self, place: usize) -> Result<(), Violation> {
        let settings = Rc::clone(&self.settings);
        let now_us = self.now_us;
        let machine = &mut self.machines[place];
        let slow_us = if machine.slow_us > 0 { self.rng.below(machine.slow_us) } else { 0 };
        let member = machine.member.as_mut().expect("it is up");
        let turn = member.log_turn(now_us, &settings, slow_us, &mut self.rng);
        let deadline = member.log_deadline_us(now_us);
        match turn {
            LogTurn::Idle => {}
            LogTurn::Durable(zxid) => {
                self.ledger.on_durable(place, zxid);
                self.trace.say(now_us, format_args!("s{} has {zxid} on disk", place + 1));
            }
            LogTurn::Epoch(which, epoch) => {
                self.trace.say(now_us, format_args!("s{} writes {which:?} {epoch}", place + 1));
                self.ledger.on_epoch(place, which, epoch)?;
            }
            LogTurn::Cut(to, last) => {
                self.trace.say(now_us, format_args!("s{} cuts its log to {to}: {last:?}", place + 1));
                self.ledger.on_cut(place, last);
                self.machines[place].compared = last.unwrap_or_default();
            }
            LogTurn::Saved(zxid) => {
                self.trace.say(now_us, format_args!("s{} takes the tree of {zxid}", place + 1));
                self.ledger.on_saved(place, zxid)?;
                self.machines[place].compared = zxid;
            }
            LogTurn::Failed => {
                if !self.machines[place].disk.has_crashed() {
                    self.trace.say(now_us, format_args!("s{}: its disk fails", place + 1));
                    return self.stop(place, false);
                }
            }
        }
        if deadline < u64::MAX {
            let at = deadline.max(self.now_us + 1) + self.rng.below(20);
            self.wake(place, Event::Log(place), at);
        }
        self.wake_node(place);
        Ok(())
    }

    /// Does what a turn wants.
    pub(super) fn carry_out(&mut self, place: usize, wants: Wants) -> Result<(), Violation> {
        let standing = self.machines[place].member.as_ref().expect("it is up").node.standing();
        let leads = [standing, self.machines[place].standing]
            .iter()
            .any(|standing| matches!(standing, Standing::Leading { .. }));
        if matches!(standing, Standing::Leading { .. }) {
            self.ledger.note_standing(place, standing)?;
        }
        for proposal in &wants.appended {
            self.ledger.on_append(place, proposal)?;
            self.trace.mix([self.now_us, 2, place as u64, proposal.zxid.0.cast_unsigned()]);
            if leads {
                self.note_decided(&proposal.bytes)?;
            }
        }
        if let Some(to) = wants.cut {
            self.ledger.on_about_to_cut(place, to)?;
        }
        let mut touched = Vec::new();
        for (link, parcel) in wants.parcels {
            self.send(place, link, parcel)?;
            if !touched.contains(&link) {
                touched.push(link);
            }
        }
        for output in wants.net {
            self.net_output(place, output)?;
        }
        for lane in wants.lanes {
            self.wake_lane(place, lane);
        }
        if wants.log {
            let at = self.soon();
            self.wake(place, Event::Log(place), at);
        }
        if wants.snapshot {
            let at = self.soon();
            self.wake(place, Event::Snapshot(place), at);
        }
        if wants.sender {
            let at = self.soon();
            self.wake(place, Event::Sender(place), at);
        }
        Ok(())
    }

    fn note_decided(&mut self, bytes: &bytes::Bytes) -> Result<(), Violation> {
        let entry = TxnEntry::decode(bytes).map_err(|error| violation!("a leader proposes {error}"))?;
        self.trace.say(
            self.now_us,
            format_args!("{} {:?} {:?}", entry.header.zxid, entry.header.session, entry.txn),
        );
        if entry.header.cxid == 0 && matches!(entry.txn, Txn::CloseSession { .. }) {
            self.counts.expired += 1;
            let TxnHeader { session, zxid, .. } = entry.header;
            self.history.expiries.push(Expiry { session, at_us: self.now_us, zxid: Some(zxid) });
        }
        Ok(())
    }

    fn net_output(&mut self, place: usize, output: ostler_zab::Output) -> Result<(), Violation> {
        match output {
            ostler_zab::Output::Notify { to, notification } => {
                self.ledger.on_vote(place, notification.vote)?;
                self.vote(place, place_of(to), notification);
            }
            ostler_zab::Output::Connect { server, door, within_ms, generation } => {
                let until_us = self.now_us + within_ms * 1000;
                let at = self.now_us + self.latency(place, place_of(server));
                let life = self.machines[place].life;
                self.at(at, Event::Dial(place, life, (place_of(server), door), until_us, generation.0));
            }
            ostler_zab::Output::Close { link, reason } => {
                self.trace.say(self.now_us, format_args!("s{} closes link {}: {reason}", place + 1, link.0));
                self.close(place, link, false);
            }
            // The node takes them itself.
            other => return Err(violation!("server {} wants {other:?}", place + 1)),
        }
        Ok(())
    }

    // Links.

    pub(super) fn latency(&mut self, from: usize, to: usize) -> u64 {
        let (low, high) = self.settings.latency_us;
        self.rng.range(low, high) + self.net.delay_us(from, to, &mut self.rng)
    }

    fn send(&mut self, place: usize, id: LinkId, parcel: Parcel) -> Result<(), Violation> {
        if let Parcel::Packet(packet) = &parcel {
            self.ledger.on_send(place, id, packet)?;
            match packet {
                Packet::Diff { .. } => self.counts.diffs += 1,
                Packet::Trunc { .. } => self.counts.truncs += 1,
                Packet::Snap { .. } => self.counts.snaps += 1,
                _ => {}
            }
            if self.trace.prints() && !matches!(packet, Packet::Ping { .. }) {
                self.trace.say(self.now_us, format_args!("s{} sends on {}: {packet:?}", place + 1, id.0));
            }
        }
        let Some(link) = self.links.get(&id.0) else { return Ok(()) };
        let end = link.end_of(place);
        if !link.ends[end].open {
            return Ok(());
        }
        let other = link.ends[1 - end].place;
        let piece = match parcel {
            Parcel::Packet(packet) if self.settings.raw_packets => Piece::Packet(packet),
            Parcel::Tree(bytes) if self.settings.raw_packets => Piece::Tree(bytes),
            Parcel::Tree(bytes) => Piece::Bytes(bytes),
            Parcel::Packet(packet) => {
                let mut bytes = Vec::with_capacity(128);
                packet.encode(Link::side(end), &mut bytes);
                let bytes = bytes::Bytes::from(bytes);
                if bytes.len() > 1 && self.rng.percent(self.settings.choppy) {
                    let cut = 1 + self.rng.index(bytes.len() - 1);
                    let at = self.now_us + self.latency(place, other);
                    self.put(id.0, 1 - end, at, Piece::Bytes(bytes.slice(..cut)));
                    Piece::Bytes(bytes.slice(cut..))
                } else {
                    Piece::Bytes(bytes)
                }
            }
        };
        let at = self.now_us + self.latency(place, other);
        self.put(id.0, 1 - end, at, piece);
        Ok(())
    }

    pub(super) fn put(&mut self, id: u64, end: usize, at_us: u64, piece: Piece) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let first = link.ends[end].coming.is_empty();
        let at = link.ends[end].push(at_us, piece);
        if first {
            self.at(at, Event::Link(id, end));
        }
    }

    /// Things arrive at an end.
    fn arrive(&mut self, id: u64, end: usize) -> Result<(), Violation> {
        let tree = self.settings.node.tree.clone();
        loop {
            let Some(link) = self.links.get_mut(&id) else { return Ok(()) };
            let (to, from) = (link.ends[end].place, link.ends[1 - end].place);
            if !link.ends[end].open {
                link.ends[end].coming.clear();
                self.forget_link(id);
                return Ok(());
            }
            let Some((at, _)) = link.ends[end].coming.front() else { return Ok(()) };
            if self.net.is_blocked(from, to) {
                // It is asked again when the network is whole.
                return Ok(());
            }
            if *at > self.now_us {
                let at = *at;
                self.at(at, Event::Link(id, end));
                return Ok(());
            }
            let (_, piece) = link.ends[end].coming.pop_front().expect("it was just seen");
            let mut heard = Vec::new();
            let result = link.ends[end].hear(piece, &tree, &mut heard);
            for heard in heard {
                let link_id = LinkId(id);
                match heard {
                    Heard::Packet(packet) => {
                        self.give_peer(to, ostler_zab::Input::Packet { link: link_id, packet });
                    }
                    Heard::Tree(store) => self.give(to, Input::TreeArrived { link: link_id, store }),
                    Heard::Part => self.give_peer(to, ostler_zab::Input::Heard { link: link_id }),
                    Heard::End => {
                        self.trace.say(self.now_us, format_args!("s{} finds link {id} gone", to + 1));
                        self.close_end(id, end);
                        if let Some(member) = &mut self.machines[to].member {
                            member.forget_link(link_id);
                        }
                        self.give_peer(to, ostler_zab::Input::LinkDown { link: link_id });
                        self.forget_link(id);
                        return Ok(());
                    }
                }
            }
            result.map_err(|why| violation!("server {} reads from {}: {why}", to + 1, from + 1))?;
        }
    }

    pub(super) fn close_end(&mut self, id: u64, end: usize) {
        if let Some(link) = self.links.get_mut(&id) {
            link.ends[end].open = false;
            link.ends[end].coming.clear();
        }
    }

    /// A server closes its end. What is on the way still arrives, or, if it was cut off, a part of it.
    pub(super) fn close(&mut self, place: usize, id: LinkId, cut_off: bool) {
        let Some(link) = self.links.get_mut(&id.0) else { return };
        let end = link.end_of(place);
        if !link.ends[end].open {
            return;
        }
        self.close_end(id.0, end);
        let link = self.links.get_mut(&id.0).expect("it was just there");
        let other = link.ends[1 - end].place;
        if cut_off {
            let kept = self.rng.index(link.ends[1 - end].coming.len() + 1);
            link.ends[1 - end].coming.truncate(kept);
            if let Some((_, Piece::Bytes(bytes))) = link.ends[1 - end].coming.back_mut()
                && self.rng.one_in(2)
            {
                let keep = self.rng.index(bytes.len() + 1);
                bytes.truncate(keep);
            }
        }
        let at = self.now_us + self.latency(place, other);
        self.put(id.0, 1 - end, at, Piece::End);
        self.forget_link(id.0);
    }

    pub(super) fn forget_link(&mut self, id: u64) {
        if self.links.get(&id).is_some_and(|link| !link.ends[0].open && !link.ends[1].open) {
            self.links.remove(&id);
        }
    }

    fn dial(
        &mut self,
        place: usize,
        life: u64,
        (leader, door): (usize, Door),
        until_us: u64,
        generation: Generation,
    ) -> Result<(), Violation> {
        if self.machines[place].life != life || self.machines[place].member.is_none() {
            return Ok(());
        }
        let open = !self.net.is_blocked(place, leader) && !self.net.is_blocked(leader, place);
        let answers =
            self.machines[leader].member.is_some() && self.machines[leader].paused_until_us <= self.now_us;
        let follows = matches!(self.machines[leader].standing, Standing::Following { observer: false, .. });
        // A port that is being closed may still take a connection.
        let listens = answers && (door == Door::Leader || follows || self.rng.one_in(4));
        if open && listens {
            let id = self.next_link;
            self.next_link += 1;
            self.links.insert(id, Link::new(place, leader));
            self.trace.mix([self.now_us, 3, place as u64, leader as u64]);
            self.trace.say(self.now_us, format_args!("s{} reaches s{} by link {id}", place + 1, leader + 1));
            self.give_peer(place, ostler_zab::Input::LeaderReached { link: LinkId(id), generation });
            let link = LinkId(id);
            let arrived = match door {
                Door::Leader => ostler_zab::Input::LearnerArrived { link },
                Door::Master => ostler_zab::Input::ObserverArrived { link },
            };
            self.give_peer(leader, arrived);
            return Ok(());
        }
        if open && door == Door::Master && self.machines[leader].paused_until_us <= self.now_us {
            self.give_peer(place, ostler_zab::Input::LeaderUnreachable { generation });
            return Ok(());
        }
        let at = self.now_us + self.rng.range(50_000, 500_000);
        if at < until_us {
            self.at(at, Event::Dial(place, life, (leader, door), until_us, generation.0));
        } else {
            self.give_peer(place, ostler_zab::Input::LeaderUnreachable { generation });
        }
        Ok(())
    }

    // Votes.

    /// The place of the leader with the newest epoch.
    pub(super) fn leader(&self) -> Option<usize> {
        self.machines
            .iter()
            .enumerate()
            .filter_map(|(place, machine)| match machine.standing {
                Standing::Leading { epoch } if machine.member.is_some() => Some((epoch, place)),
                _ => None,
            })
            .max()
            .map(|(_, place)| place)
    }

    /// The connection of a pipe as its lane knows it.
    pub(super) fn lane_of(&mut self, place: usize, conn: ConnId) -> Option<&mut super::member::Seat> {
        self.machines[place].member.as_mut()?.seats.get_mut(conn.lane().0)
    }
}

fn wake_of(member: &mut Member, event: Event) -> &mut Wake {
    match event {
        Event::Node(_) => &mut member.wakes.node,
        Event::Log(_) => &mut member.wakes.log,
        Event::Snapshot(_) => &mut member.wakes.snapshot,
        Event::Sender(_) => &mut member.wakes.sender,
        Event::Lane(_, lane) => &mut member.wakes.lanes[lane],
        _ => unreachable!("these are the actors"),
    }
}
