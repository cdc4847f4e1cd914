//! What goes wrong: faults at times that are drawn, of the classes that the seed has.

use ostler_store::sim::{Fault, FaultPlan, PowerCut, SimDisk};
use ostler_zab::LinkId;

use super::cluster::{Cluster, Event};
use crate::check::Violation;

/// One kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Kill,
    PowerCut,
    PowerCutOfAll,
    /// An observer comes back with an empty disk.
    Wipe,
    CrashInCall,
    Pause,
    Partition,
    IsolateLeader,
    OneWay,
    Bridge,
    Cut,
    HalfOpen,
    SlowLink,
    SlowDisk,
    DiskError,
    FullDisk,
    WallJump,
    HangUp,
    Deafness,
    Death,
    CloseSession,
}

impl Cluster {
    /// Plans the faults of a minute.
    pub(super) fn plan_faults(&mut self, for_us: u64) {
        for number in 0..self.settings.faults.count {
            let at = self.now_us + self.rng.below(for_us);
            self.at(at, Event::Fault(number));
        }
    }

    fn kinds(&self) -> Vec<Kind> {
        let faults = &self.settings.faults;
        [
            (faults.kills, Kind::Kill),
            (faults.kills, Kind::Kill),
            (faults.power_cuts, Kind::PowerCut),
            (faults.power_cut_of_all, Kind::PowerCutOfAll),
            (faults.wipes && self.settings.observers > 0, Kind::Wipe),
            (faults.crashes_in_calls, Kind::CrashInCall),
            (faults.pauses, Kind::Pause),
            (faults.partitions, Kind::Partition),
            // Twice: what a leader logs alone is what TRUNC is for.
            (faults.isolated_leader, Kind::IsolateLeader),
            (faults.isolated_leader, Kind::IsolateLeader),
            (faults.one_way, Kind::OneWay),
            (faults.bridge, Kind::Bridge),
            (faults.cuts, Kind::Cut),
            (faults.half_open, Kind::HalfOpen),
            (faults.slow_links, Kind::SlowLink),
            (faults.slow_disks, Kind::SlowDisk),
            (faults.disk_errors, Kind::DiskError),
            (faults.full_disks, Kind::FullDisk),
            (faults.wall_jumps, Kind::WallJump),
            (faults.hang_ups, Kind::HangUp),
            (faults.deafness, Kind::Deafness),
            (faults.deaths, Kind::Death),
            (faults.deaths, Kind::CloseSession),
        ]
        .into_iter()
        .filter_map(|(there, kind)| there.then_some(kind))
        .collect()
    }

    /// A server to hurt: often the leader.
    fn victim(&mut self) -> usize {
        match self.leader() {
            Some(leader) if self.rng.percent(40) => leader,
            _ => self.rng.index(self.machines.len()),
        }
    }

    pub(super) fn fault(&mut self, _number: u64) -> Result<(), Violation> {
        if self.healed {
            return Ok(());
        }
        let kinds = self.kinds();
        if kinds.is_empty() {
            return Ok(());
        }
        let kind = *self.rng.pick(&kinds);
        let place = self.victim();
        // What a leader alone has logged is what TRUNC is for, so there is to be something under way.
        if matches!(kind, Kind::IsolateLeader | Kind::Cut | Kind::Kill | Kind::PowerCut) && self.rng.one_in(2)
        {
            self.hurry_clients();
            let (latency_us, sync_us) = (self.settings.latency_us.1, self.settings.sync_us.1);
            let at = self.now_us + self.rng.below(6 * latency_us + 2 * sync_us + 100);
            self.at(at, Event::Strike(kind, place));
            return Ok(());
        }
        self.strike(kind, place)
    }

    /// Clients ask for something at once.
    fn hurry_clients(&mut self) {
        let most = self.settings.latency_us.1 + 100;
        for client in 0..self.patrons.len() {
            let at = self.now_us + self.rng.below(most);
            self.patrons[client].ask_at_us = self.patrons[client].ask_at_us.min(at);
            self.wake_client(client);
        }
    }

    /// A fault happens.
    pub(super) fn strike(&mut self, kind: Kind, place: usize) -> Result<(), Violation> {
        if self.healed {
            return Ok(());
        }
        self.trace.mix([self.now_us, 8, kind as u64, place as u64]);
        self.trace.say(self.now_us, format_args!("FAULT {kind:?} s{}", place + 1));
        match kind {
            Kind::Kill => {
                self.stop(place, false)?;
                // More than one at a time, and sometimes all.
                while self.rng.one_in(4) {
                    let other = self.victim();
                    self.stop(other, false)?;
                }
            }
            Kind::PowerCut => self.cut_power(place)?,
            Kind::PowerCutOfAll => {
                for place in 0..self.machines.len() {
                    self.cut_power(place)?;
                }
            }
            Kind::Wipe => self.wipe()?,
            Kind::CrashInCall => {
                let fault = *self.rng.pick(&[Fault::CrashBefore, Fault::CrashAfter]);
                let at = self.machines[place].disk.ops() + self.rng.below(12);
                self.machines[place].disk.plan(FaultPlan::at(at, fault));
            }
            Kind::Pause => {
                let us = self.rng.range(10_000, 2 * self.settings.ticks_us(self.settings.sync_limit_ticks));
                self.machines[place].paused_until_us = self.now_us + us.min(40_000_000);
            }
            Kind::Partition | Kind::IsolateLeader | Kind::OneWay | Kind::Bridge => self.part(kind, place),
            Kind::Cut => self.cut_connections(place, false),
            Kind::HalfOpen => self.cut_connections(place, true),
            Kind::SlowLink => {
                let other = self.rng.index(self.machines.len());
                let most = *self.rng.pick(&[20_000, 200_000, 2_000_000]);
                self.net.slow(place, other, most);
                if self.rng.one_in(2) {
                    self.net.slow(other, place, most);
                }
                self.heal_later();
            }
            Kind::SlowDisk => {
                self.machines[place].slow_us =
                    if self.rng.one_in(3) { 0 } else { *self.rng.pick(&[20_000, 200_000, 3_000_000]) };
            }
            Kind::DiskError => {
                let fault = *self.rng.pick(&[Fault::Error, Fault::Short]);
                let at = self.machines[place].disk.ops() + self.rng.below(8);
                self.machines[place].disk.plan(FaultPlan::at(at, fault));
            }
            Kind::FullDisk => {
                self.machines[place].disk.plan(FaultPlan::default().space(Some(0)));
                let at = self.now_us + self.rng.range(100_000, 10_000_000);
                let life = self.machines[place].life;
                self.at(at, Event::Room(place, life));
            }
            Kind::WallJump => {
                let jump = i64::try_from(self.rng.range(1, 400_000_000)).expect("small");
                self.machines[place].wall_jump_ms += if self.rng.one_in(2) { jump } else { -jump };
            }
            Kind::HangUp | Kind::Deafness | Kind::Death | Kind::CloseSession => self.disturb(kind)?,
        }
        Ok(())
    }

    /// Something that clients do to servers.
    fn disturb(&mut self, kind: Kind) -> Result<(), Violation> {
        let client = self.rng.index(self.patrons.len());
        if self.patrons[client].client.dead {
            return Ok(());
        }
        match kind {
            Kind::HangUp => self.hang_up(client)?,
            Kind::Deafness => {
                self.patrons[client].client.deaf_until_us = self.now_us + self.rng.range(1_000, 8_000_000);
            }
            Kind::Death if self.patrons.iter().filter(|patron| !patron.client.dead).count() > 1 => {
                self.patrons[client].client.dead = true;
                if self.rng.one_in(2) {
                    // Its system says goodbye, which closes no session.
                    self.hang_up(client)?;
                }
            }
            _ => self.close_session(client)?,
        }
        Ok(())
    }

    fn cut_power(&mut self, place: usize) -> Result<(), Violation> {
        self.stop(place, true)?;
        let cut = *self.rng.pick(&PowerCut::ALL);
        let seed = self.rng.draw();
        let machine = &mut self.machines[place];
        machine.disk = machine.disk.power_cut(seed, cut);
        self.counts.power_cuts += 1;
        self.trace.say(self.now_us, format_args!("power cut {cut:?} of s{}", place + 1));
        Ok(())
    }

    /// Of a voter that is given an empty disk a quorum may count on what it had; of an observer nobody does.
    fn wipe(&mut self) -> Result<(), Violation> {
        let place = self.settings.voters + self.rng.index(self.settings.observers);
        self.stop(place, true)?;
        self.machines[place].disk = SimDisk::new(self.rng.one_in(2));
        self.ledger.on_wiped(place);
        Ok(())
    }

    /// Parts the network.
    fn part(&mut self, kind: Kind, place: usize) {
        let servers = self.machines.len();
        self.net.heal();
        let mut side: Vec<bool> = (0..servers).map(|_| self.rng.one_in(2)).collect();
        let (mut out, mut back) = (true, true);
        let mut bridge = None;
        match kind {
            Kind::IsolateLeader => {
                side.fill(false);
                side[self.leader().unwrap_or(place)] = true;
                // It comes back to a leader that did not commit anything yet.
                self.net.until_led = self.rng.percent(70);
            }
            Kind::OneWay => {
                side.fill(false);
                side[place] = true;
                out = self.rng.one_in(2);
                back = !out;
            }
            Kind::Bridge => bridge = Some(place),
            _ => {}
        }
        // Clients are on the side of the server that they are connected to.
        for client in 0..self.patrons.len() {
            let home = self.patrons[client].place;
            side.push(side[home]);
        }
        for from in 0..side.len() {
            for to in 0..side.len() {
                if from == to || Some(from) == bridge || Some(to) == bridge || side[from] == side[to] {
                    continue;
                }
                if (side[from] && out) || (!side[from] && back) {
                    self.net.block(from, to);
                }
            }
        }
        if kind as usize == Kind::OneWay as usize {
            // Between servers only.
            self.trace.say(self.now_us, format_args!("s{} is deaf or dumb", place + 1));
        }
        self.heal_later();
    }

    fn heal_later(&mut self) {
        self.net.number += 1;
        let ticks = self.settings.init_limit_ticks + self.settings.sync_limit_ticks;
        let most = (2 * self.settings.ticks_us(ticks)).clamp(1_000_000, 25_000_000);
        let at = self.now_us + self.rng.range(50_000, most);
        self.at(at, Event::Heal(self.net.number));
    }

    pub(super) fn heal_net(&mut self, number: u64) {
        if number != self.net.number {
            return;
        }
        self.net.heal();
        self.trace.say(self.now_us, format_args!("the network is whole"));
        self.kick();
    }

    /// What could not arrive does now.
    pub(super) fn kick(&mut self) {
        let now = self.now_us;
        let mut events: Vec<Event> = Vec::new();
        for (id, link) in &self.links {
            for end in 0..2 {
                if !link.ends[end].coming.is_empty() {
                    events.push(Event::Link(*id, end));
                }
            }
        }
        for ((from, to), votes) in &self.votes {
            if !votes.coming.is_empty() {
                events.push(Event::Vote(*from, *to));
            }
        }
        for (id, pipe) in &self.pipes {
            if !pipe.to_server.is_empty() {
                events.push(Event::ToServer(*id));
            }
            if !pipe.to_client.is_empty() {
                events.push(Event::ToClient(*id));
            }
        }
        for event in events {
            let at = now + self.rng.below(200_000);
            self.at(at, event);
        }
    }

    /// Breaks connections of a server. Half-open: only it, or only the others, find out.
    fn cut_connections(&mut self, place: usize, half: bool) {
        let other = self.rng.index(self.machines.len());
        let all = self.rng.one_in(3);
        let ids: Vec<u64> = self
            .links
            .iter()
            .filter(|(_, link)| {
                let places = [link.ends[0].place, link.ends[1].place];
                places.contains(&place) && (all || places.contains(&other))
            })
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            let first = self.rng.index(2);
            for end in [first, 1 - first] {
                let Some(link) = self.links.get_mut(&id) else { break };
                if !link.ends[end].open {
                    continue;
                }
                let kept = self.rng.index(link.ends[end].coming.len() + 1);
                link.ends[end].coming.truncate(kept);
                let delay = if half && end != first { 30_000_000 } else { 2_000 };
                let at = self.now_us + self.rng.below(delay);
                let at = link.ends[end].push(at, super::links::Piece::End);
                self.at(at, Event::Link(id, end));
            }
            self.trace.say(self.now_us, format_args!("link {:?} is cut", LinkId(id)));
        }
        for peer in 0..self.machines.len() {
            if peer != place && (all || peer == other) {
                self.break_votes(place, peer, 2_000);
                self.break_votes(peer, place, if half { 20_000_000 } else { 2_000 });
            }
        }
    }
}
