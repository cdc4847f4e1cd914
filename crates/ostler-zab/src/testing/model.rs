//! Bounded worlds for [`super::explore`]: where they begin, what may happen in them and how often. The servers in them
//! are the real peers; time is taken out, so that a timer is one more thing that can happen at any moment.
//!
//! Two kinds, since everything at once is too much: in one the votes go every way and what follows an election happens
//! at once; in the other votes are counted at once, and packets are taken at once where that hides nothing.

use std::collections::BTreeSet;
use std::hash::Hash;

use ostler_wire::Zxid;
use ostler_wire::quorum::{Packet, PeerState};

use super::actions::Action;
use super::net::Wire;
use super::world::{Setup, World};
use crate::{LinkId, Peer};

/// What goes every way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Free {
    /// Votes: each is delivered whenever it likes, after those that were sent before.
    Votes,
    /// Packets and what disks do.
    Packets,
}

/// How often things may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// Transactions.
    pub txns: u8,
    /// Crashes; a server that fell may start again at any time.
    pub crashes: u8,
    /// Links that break.
    pub cuts: u8,
    /// Roles that end because somebody lost patience.
    pub timeouts: u8,
    /// Rounds of elections, where votes go every way.
    pub rounds: u8,
    /// Epochs that are accepted, where packets go every way.
    pub epochs: u8,
}

/// A bounded world.
#[derive(Debug, Clone)]
pub struct Model {
    /// Its name.
    pub name: &'static str,
    /// What goes every way.
    pub free: Free,
    /// How often things may happen.
    pub bounds: Bounds,
    /// What the disks may hold at first: for each beginning, for each server, its log and its current epoch.
    pub disks: Vec<Vec<(Vec<Zxid>, i64)>>,
}

/// A state of a model.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// The servers and what lies between them.
    pub world: World,
    /// What may still happen.
    pub left: Bounds,
    /// Who fell just now.
    fell: Option<usize>,
}

impl Model {
    /// Three servers elect, from every beginning with up to one transaction of epoch 1 and up to one of epoch 2, and one
    /// of them may fall.
    #[must_use]
    pub fn election(bounds: Bounds) -> Self {
        let (a, b) = (Zxid::new(1, 1), Zxid::new(2, 1));
        let disk = [(vec![], 0), (vec![a], 1), (vec![a], 2), (vec![a, b], 2)];
        let mut disks = Vec::new();
        for one in &disk {
            for two in &disk {
                for three in &disk {
                    disks.push(vec![one.clone(), two.clone(), three.clone()]);
                }
            }
        }
        Self { name: "election", free: Free::Votes, bounds, disks }
    }

    /// Three servers come to one history: what may be left of two transactions that a leader of epoch 1 proposed. One
    /// is on all disks, on two, on one, or on none; the other on no more.
    #[must_use]
    pub fn sync(bounds: Bounds) -> Self {
        let (a, b) = (Zxid::new(1, 1), Zxid::new(1, 2));
        let logs = |one: &[Zxid], two: &[Zxid], three: &[Zxid]| {
            [one, two, three].into_iter().map(|log| (log.to_vec(), 1)).collect()
        };
        let disks = vec![
            logs(&[a, b], &[a], &[]),
            logs(&[], &[a], &[a, b]),
            logs(&[a], &[], &[a, b]),
            logs(&[a, b], &[a, b], &[]),
            logs(&[a, b], &[a], &[a]),
            logs(&[a], &[a], &[a, b]),
        ];
        Self { name: "sync", free: Free::Packets, bounds, disks }
    }

    /// Three servers come to one history and go on with it, from empty disks.
    #[must_use]
    pub fn broadcast(bounds: Bounds) -> Self {
        Self { name: "broadcast", free: Free::Packets, bounds, disks: vec![vec![(vec![], 0); 3]] }
    }

    /// Where it begins.
    #[must_use]
    pub fn beginnings(&self) -> Vec<State> {
        let begin = |disks: &Vec<(Vec<Zxid>, i64)>| {
            let setup =
                Setup { voters: disks.len(), tick_ms: 0, kept: 2, reuse_ids: true, ..Setup::default() };
            let mut world = World::new(setup);
            for (node, (log, current)) in disks.iter().enumerate() {
                world.preset(node, log, *current, *current, 0);
            }
            for node in 0..disks.len() {
                world.apply(Action::Start(node));
            }
            let mut state = State { world, left: self.bounds, fell: None };
            self.settle(&mut state.world);
            state
        };
        self.disks.iter().map(begin).collect()
    }

    /// Does one thing, and then what goes only one way.
    pub fn step(&self, state: &mut State, action: Action) {
        let left = &mut state.left;
        state.fell = None;
        match action {
            Action::Propose(_) => left.txns -= 1,
            Action::Crash { .. } => left.crashes -= 1,
            Action::Cut(_) => left.cuts -= 1,
            Action::Fire(node) if !is_looking(&state.world, node) => left.timeouts -= 1,
            _ => {}
        }
        if let Action::Crash { node, .. } = action {
            state.world.lose_links(node);
            state.fell = Some(node);
        }
        state.world.apply(action);
        self.settle(&mut state.world);
    }

    fn settle(&self, world: &mut World) {
        let mut enabled = Vec::new();
        for _ in 0..1_000 {
            world.progress(&mut enabled);
            let Some(action) = enabled.iter().find(|action| !self.is_free(world, **action)) else {
                world.forget_counts();
                if self.free == Free::Packets {
                    world.lower_rounds();
                }
                return;
            };
            world.apply(*action);
            if world.violation.is_some() {
                return;
            }
        }
        world.fail(|| "it goes round and round".to_owned());
    }

    fn is_free(&self, world: &World, action: Action) -> bool {
        match action {
            Action::VoteDeliver(..) => self.free == Free::Votes,
            Action::Log { .. } | Action::Epoch(_) | Action::Search(_) => self.free == Free::Packets,
            Action::Deliver { link, to_leader } => {
                self.free == Free::Packets && !self.is_silent(world, link, to_leader)
            }
            _ => false,
        }
    }

    /// Whether what comes next on this link is taken at once, since when it is taken makes no difference that
    /// something else does not make as well.
    ///
    /// What a learner only notes, or has written: nobody can see whether it fell before or after. What a learner sends
    /// when its disk is done: the disk may as well have been slower, and if it falls in between, its disk was done
    /// and it had not said so, which is one of the ways to fall. UPTODATE, where nothing is outstanding.
    fn is_silent(&self, world: &World, link: LinkId, to_leader: bool) -> bool {
        let link = &world.links[&link];
        let queue = if to_leader { &link.to_leader } else { &link.to_learner };
        match queue.front() {
            Some(Wire::Hello | Wire::End | Wire::Tree(_)) => true,
            Some(Wire::Packet(packet)) => match packet {
                Packet::FollowerInfo { .. } => false,
                Packet::UpToDate => self.bounds.txns == 0,
                Packet::LeaderInfo { epoch } => *epoch > world.nodes[link.dialer].disk.epochs.accepted,
                _ => true,
            },
            None => false,
        }
    }

    /// What can happen next. `false` if nothing would without a fault: then everybody waits.
    pub fn next(&self, state: &State, into: &mut Vec<Action>) -> bool {
        let State { world, left, fell } = state;
        world.progress(into);
        for action in into.iter_mut() {
            if let Action::Log { n, .. } = action {
                *n = 1;
            }
        }
        let servers = 0..world.servers();
        into.extend(servers.clone().filter(|node| is_deciding(world, *node)).map(Action::Fire));
        let goes_on = !into.is_empty();
        if !goes_on {
            // Votes are told again only when nothing else happens.
            into.extend(servers.clone().filter(|node| may_repeat(world, *node)).map(Action::Fire));
        }
        for node in servers {
            let Some(peer) = world.peer(node) else {
                // At once, or when the others are done with what they do.
                if !goes_on || *fell == Some(node) {
                    into.push(Action::Start(node));
                }
                continue;
            };
            if left.txns > 0 && peer.next_zxid().is_some() {
                into.push(Action::Propose(node));
            }
            if left.timeouts > 0 && !is_looking(world, node) {
                into.push(Action::Fire(node));
            }
            if left.crashes > 0 {
                let (logs, epochs) = world.pending(node);
                // Of what was to be written nothing is there, or all of it; something is after some of it was written.
                for log in BTreeSet::from([0, logs]) {
                    let epochs = BTreeSet::from([0, epochs]);
                    into.extend(epochs.into_iter().map(|epochs| Action::Crash { node, log, epochs }));
                }
            }
        }
        if left.cuts > 0 {
            into.extend(world.links().map(Action::Cut));
        }
        goes_on
    }

    /// Whether this is beyond the bounds.
    #[must_use]
    pub fn is_beyond(&self, state: &State) -> bool {
        let servers = 0..state.world.servers();
        match self.free {
            Free::Votes => servers
                .filter_map(|node| state.world.peer(node))
                .any(|peer| peer.round() > i64::from(self.bounds.rounds)),
            Free::Packets => {
                let nodes = &state.world.nodes;
                nodes.iter().any(|node| node.disk.epochs.accepted > i64::from(self.bounds.epochs))
            }
        }
    }

    /// Everybody waits, and patience ends: do they come to serve? Why not, otherwise.
    #[must_use]
    pub fn is_stuck(&self, state: &State) -> Option<String> {
        let mut world = state.world.clone();
        let mut enabled = Vec::new();
        let up: Vec<usize> = (0..world.servers()).filter(|node| world.is_up(*node)).collect();
        if !world.may_decide(&up) {
            return None;
        }
        let mut why = None;
        for attempt in 1..=60 {
            for _ in 0..2_000 {
                world.progress(&mut enabled);
                let Some(action) = enabled.first() else { break };
                world.apply(*action);
            }
            if world.violation.is_some() {
                return world.violation;
            }
            why = world.disagreement(&up);
            why.as_ref()?;
            // A leader that has lost its quorum finds out later than the others lose patience.
            for node in &up {
                if attempt % 10 == 0 || world.peer(*node).is_some_and(|peer| !peer.is_serving()) {
                    world.apply(Action::Fire(*node));
                }
            }
        }
        why.map(|why| format!("they do not come to serve: {why}"))
    }
}

impl World {
    /// What a server that falls has sent and nobody has taken is lost, and so is what it was sent. That it could have
    /// been taken is another way: it fell later.
    fn lose_links(&mut self, node: usize) {
        let gone = |world: &Self, link: &LinkId| {
            let (dialer, acceptor) = world.ends(*link);
            dialer == node || acceptor == node
        };
        for link in self.links().filter(|link| gone(self, link)).collect::<Vec<_>>() {
            self.apply(Action::Cut(link));
        }
    }

    /// Roles are counted only to know what is stale. Where nothing is under way, nothing is.
    fn forget_counts(&mut self) {
        for node in &mut self.nodes {
            if let Some(running) = &mut node.running
                && running.pending.log.is_empty()
                && running.pending.epochs.is_empty()
                && running.dials.is_empty()
            {
                running.peer.forget_generation();
            }
            if let Some(running) = &mut node.running {
                running.peer.forget_past();
            }
        }
    }

    /// Rounds are only compared and counted up, and a server that starts takes the first. So if all that are known are
    /// above that, they may as well be lower by the same number.
    fn lower_rounds(&mut self) {
        let mut lowest = i64::MAX;
        self.each_round(&mut |round| lowest = lowest.min(*round));
        if (3..i64::MAX).contains(&lowest) {
            self.each_round(&mut |round| *round -= lowest - 2);
        }
    }

    fn each_round(&mut self, visit: &mut impl FnMut(&mut i64)) {
        for running in self.nodes.iter_mut().filter_map(|node| node.running.as_mut()) {
            running.peer.each_round(visit);
        }
        for votes in self.votes.values_mut() {
            let votes = votes.under_way.iter_mut().chain(&mut votes.waiting).chain(&mut votes.last);
            votes.for_each(|vote| visit(&mut vote.round));
        }
    }
}

fn is_looking(world: &World, node: usize) -> bool {
    world.peer(node).is_some_and(|peer| peer.state() == PeerState::Looking)
}

/// A quorum wants one server, and it need only last.
fn is_deciding(world: &World, node: usize) -> bool {
    world.peer(node).is_some_and(Peer::is_deciding)
}

/// Nothing was told again yet in this round.
fn may_repeat(world: &World, node: usize) -> bool {
    let Some(peer) = world.peer(node) else { return false };
    is_looking(world, node) && peer.poll_timeout().is_some_and(|(due_ms, _)| due_ms <= 200)
}
