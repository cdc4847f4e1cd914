//! The end of a world: no more faults, everybody who lives gets through, and then all is judged. Nothing may take
//! longer than its bound.

use std::rc::Rc;

use ostler_client::Request;
use ostler_client::session::{Ending, State};
use ostler_store::sim::FaultPlan;
use ostler_wire::txn::TxnEntry;
use ostler_wire::{SessionId, Zxid};
use ostler_zab::Standing;

use super::cluster::{Cluster, Event};
use super::patron::Patron;
use crate::check::{Violation, clients, state, violation};
use crate::history::Item;
use crate::model::Model;

impl Cluster {
    /// Ends all faults.
    fn heal(&mut self) {
        self.healed = true;
        self.trace.say(self.now_us, format_args!("HEAL"));
        self.net.number += 1;
        self.net.heal();
        let mut ends = Vec::new();
        for place in 0..self.machines.len() {
            let machine = &mut self.machines[place];
            machine.slow_us = 0;
            machine.paused_until_us = machine.paused_until_us.min(self.now_us);
            if machine.disk.has_crashed() && machine.member.is_none() {
                machine.disk = machine.disk.revive();
            }
            machine.disk.plan(FaultPlan::default());
            if machine.member.is_none() {
                machine.start_at_us = machine.start_at_us.min(self.now_us + 1_000);
                let at = machine.start_at_us;
                self.at(at, Event::Start(place));
            } else {
                // Whoever slept until later is awake now.
                let lanes = self.machines[place].member.as_ref().map_or(0, |member| member.seats.len());
                for event in
                    [Event::Node(place), Event::Log(place), Event::Snapshot(place), Event::Sender(place)]
                {
                    if self.machines[place].member.as_ref().is_some_and(|member| match event {
                        Event::Node(_) => member.wakes.node.at_us < u64::MAX,
                        Event::Log(_) => member.wakes.log.at_us < u64::MAX,
                        Event::Snapshot(_) => member.wakes.snapshot.at_us < u64::MAX,
                        _ => member.wakes.sender.at_us < u64::MAX,
                    }) {
                        let at = self.soon();
                        self.wake(place, event, at);
                    }
                }
                for lane in 0..lanes {
                    let at = self.soon();
                    self.wake(place, Event::Lane(place, lane), at);
                }
            }
        }
        // What is sent on a connection whose other end is closed is refused from now on, and does not just vanish.
        let soon = self.now_us + 200_000;
        for (id, link) in &mut self.links {
            for end in 0..2 {
                if link.ends[end].open && !link.ends[1 - end].open {
                    let at = link.ends[end].hurry(soon);
                    ends.push((at, Event::Link(*id, end)));
                }
            }
        }
        for (at, event) in ends {
            self.at(at, event);
        }
        for client in &mut self.patrons {
            client.client.habits = None;
            client.client.deaf_until_us = 0;
        }
        self.kick();
    }

    /// One leader, and everybody else in its wake with the same tree.
    fn is_whole(&self) -> bool {
        let Some(leader) = self.leader() else { return false };
        let Some(chief) = self.machines[leader].member.as_ref() else { return false };
        let last = chief.store.last_zxid();
        self.machines.iter().enumerate().all(|(place, machine)| {
            machine.member.as_ref().is_some_and(|member| {
                let follows = match machine.standing {
                    Standing::Following { leader: of, link, .. } => {
                        let stands =
                            self.links.get(&link.0).is_some_and(|link| link.ends.iter().all(|end| end.open));
                        // A master, if there is one, is looked at by itself.
                        let place = super::settings::place_of(of);
                        (place == leader || self.learns_elsewhere(machine.standing)) && stands
                    }
                    Standing::Leading { .. } => place == leader,
                    Standing::Looking | Standing::Solo => false,
                };
                follows && member.is_quiet() && member.store.last_zxid() == last
            })
        })
    }

    /// Whether a server learns from another one than whom it takes for the leader, which may have changed since.
    pub(super) fn learns_elsewhere(&self, standing: Standing) -> bool {
        matches!(standing, Standing::Following { leader, master, .. } if leader != master)
    }

    fn clients_are_settled(&self) -> bool {
        self.patrons.iter().all(|patron| patron.client.is_settled())
    }

    /// Runs until something holds; whether it came to.
    fn run_until_true(&mut self, within_us: u64, done: impl Fn(&Self) -> bool) -> Result<bool, Violation> {
        let until = self.now_us + within_us;
        // Not in step with timers, or what they set going would be seen under way each time.
        let step = (within_us / 200).clamp(1_000, 200_000) + 137;
        while !done(self) {
            if self.now_us >= until {
                return Ok(false);
            }
            self.run_until(self.now_us + step)?;
        }
        Ok(true)
    }

    /// From faults to the end.
    pub(super) fn finish(&mut self) -> Result<(), Violation> {
        self.heal();
        let settings = Rc::clone(&self.settings);
        let limits = settings.init_limit_ticks + settings.sync_limit_ticks;
        // L1: a leader.
        let bound = settings.ticks_us(10 * limits) + 20_000_000;
        if !self.run_until_true(bound, |cluster| {
            cluster.leader().is_some_and(|leader| {
                cluster.machines[leader].member.as_ref().is_some_and(|member| member.node.peer().is_serving())
            })
        })? {
            return Err(violation!(
                "no leader {} s after all was healed (L1): {}",
                bound / 1_000_000,
                self.describe()
            ));
        }
        // L3, L4: everybody is in its wake, and every request has come to its end.
        let before = self.ledger.established;
        if !self.run_until_true(bound, |cluster| cluster.is_whole() && cluster.clients_are_settled())? {
            return Err(violation!(
                "not whole {} s after there was a leader (L3, L4): {}",
                bound / 1_000_000,
                self.describe()
            ));
        }
        // Each short epoch ends with an election.
        if self.ledger.established > before + 4 && settings.last_counter.is_none() {
            return Err(violation!(
                "{} elections after all was healed (L6)",
                self.ledger.established - before
            ));
        }
        let (stories, settled_us) = (self.steady_stories(), self.now_us);
        // L2: a commit, by every client that lives.
        let asked: Vec<usize> = (0..self.patrons.len()).filter(|id| !self.patrons[*id].client.dead).collect();
        for id in &asked {
            let request = Request::set_data("/", format!("end {id}").into_bytes(), -1);
            self.submit(*id, request);
            self.drain_client(*id)?;
        }
        let bound = settings.ticks_us(5) + 10_000_000;
        if !self.run_until_true(bound, |cluster| cluster.is_whole() && cluster.clients_are_settled())? {
            return Err(violation!(
                "no commit {} s after all was whole (L2): {}",
                bound / 1_000_000,
                self.describe()
            ));
        }
        if settings.await_expiry {
            self.await_expiry()?;
        }
        // Where the limits are tight beside a slow disk somebody may have been left behind and come back, which takes its
        // clients their time.
        let stayed = self.machines.iter().all(|machine| machine.standing_since_us <= settled_us);
        for story in stories.into_iter().filter(|_| stayed) {
            let items = &self.history.sessions[story].items;
            if items.iter().any(|item| matches!(item, Item::Ended(Ending::Expired))) {
                return Err(violation!("session {story} expired although all is well (C6)"));
            }
        }
        self.judge()
    }

    /// The sessions that nothing can expire: their clients live, on connections that both sides know, and their timeouts
    /// are long beside all delays.
    fn steady_stories(&self) -> Vec<usize> {
        let slack_ms =
            2 * u64::from(self.settings.node.tick_ms) + 12 * self.settings.latency_us.1 / 1000 + 100;
        let steady = |patron: &&Patron| {
            let timeout_ms = self.history.sessions[patron.client.story].timeout_ms;
            let pipe = patron.client.pipe.and_then(|pipe| self.pipes.get(&pipe));
            !patron.client.dead && timeout_ms > slack_ms && pipe.is_some_and(|pipe| pipe.conn.is_some())
        };
        self.patrons.iter().filter(steady).map(|patron| patron.client.story).collect()
    }

    /// L5: the sessions of the dead expire, and their ephemerals go with them.
    fn await_expiry(&mut self) -> Result<(), Violation> {
        let longest = u64::try_from(self.settings.node.max_session_timeout_ms).expect("positive") * 1000;
        let bound = longest + self.settings.ticks_us(5) + 5_000_000;
        loop {
            let established = self.ledger.established;
            if self.run_until_true(bound, |cluster| cluster.dead_session().is_none() && cluster.is_whole())? {
                return Ok(());
            }
            // A new leader gives every session its time again.
            if self.ledger.established == established {
                break;
            }
        }
        match self.dead_session() {
            Some(session) => Err(violation!("session {session} of a client that is gone never expired (L5)")),
            None => Err(violation!("not whole after sessions expired (L3): {}", self.describe())),
        }
    }

    fn dead_session(&self) -> Option<SessionId> {
        let leader = self.leader()?;
        let member = self.machines[leader].member.as_ref()?;
        member.store.sessions().map(|(session, _)| session).find(|session| {
            !self
                .patrons
                .iter()
                .any(|patron| !patron.client.dead && patron.client.session.credentials().0 == *session)
        })
    }

    fn describe(&self) -> String {
        let servers: Vec<String> = self
            .machines
            .iter()
            .enumerate()
            .map(|(place, machine)| match &machine.member {
                None => format!("s{} is down", place + 1),
                Some(member) => format!(
                    "s{} {:?} at {} in {:?}, waits for {:?}, last end {:?}",
                    place + 1,
                    machine.standing,
                    member.store.last_zxid(),
                    member.node.peer().state(),
                    member.unfinished().collect::<Vec<_>>(),
                    member.node.peer().last_end(),
                ),
            })
            .collect();
        let clients: Vec<String> = self
            .patrons
            .iter()
            .enumerate()
            .filter(|(_, patron)| !patron.client.is_settled())
            .map(|(id, patron)| {
                let client = &patron.client;
                let state: State = client.session.state();
                format!("c{id} {state:?} waits for {}", client.pending())
            })
            .collect();
        format!("{}; {}", servers.join(", "), clients.join(", "))
    }

    /// Judges everything that the clients saw, and every tree.
    fn judge(&mut self) -> Result<(), Violation> {
        let mut truth: Vec<TxnEntry> = Vec::with_capacity(self.ledger.committed().len());
        for (zxid, bytes) in self.ledger.committed() {
            truth.push(TxnEntry::decode(bytes).map_err(|error| violation!("{zxid} is committed: {error}"))?);
        }
        clients::check(&truth, &self.history)?;
        let mut model = Model::new();
        let mut changes = Vec::new();
        for entry in &truth {
            model.apply(entry, &mut changes).map_err(|why| violation!("at {}: {why}", entry.header.zxid))?;
            changes.clear();
        }
        for place in 0..self.machines.len() {
            let Some(member) = self.machines[place].member.as_ref() else { continue };
            let of = |violation: Violation| violation!("server {}: {violation}", place + 1);
            state::compare(&member.store, &model).map_err(of)?;
            let config = member.store.data(ostler_wire::path::CONFIG, &[]).map(|(data, _)| data);
            if config != Ok(Some(&self.settings.members[..])) {
                return Err(of(violation!("its node of the configuration holds {config:?}")));
            }
            let check = member.store.digest_check();
            if check.mismatches > 0 {
                return Err(of(violation!("the digest differs, first at {:?} (Z14)", check.first_mismatch)));
            }
        }
        // What one of the disks holds is the same.
        let place = self.rng.index(self.machines.len());
        let disk = self.machines[place].disk.power_cut(7, ostler_store::sim::PowerCut::DropUnsynced);
        let options = ostler_store::RestoreOptions::default();
        let recovered = ostler_node::recover::recover(&disk, options, &self.settings.node.tree)
            .map_err(|error| violation!("the disk of server {} at the end: {error}", place + 1))?;
        if model.zxid() == Zxid::ZERO {
            return Ok(());
        }
        state::compare(&recovered.store, &model)
            .map_err(|violation| violation!("the disk of server {}: {violation}", place + 1))
    }
}
