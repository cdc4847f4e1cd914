//! Machines that start, stop and crash.

use std::rc::Rc;

use ostler_zab::{LinkId, Standing};

use super::cluster::{Cluster, Event};
use super::links::Piece;
use super::member::{Member, Wants};
use crate::check::{Violation, violation};

impl Cluster {
    /// Starts a server on its disk.
    pub(super) fn start(&mut self, place: usize) -> Result<(), Violation> {
        if self.machines[place].member.is_some() || self.machines[place].start_at_us > self.now_us {
            return Ok(());
        }
        let settings = Rc::clone(&self.settings);
        let now = self.now(place);
        let machine = &mut self.machines[place];
        machine.life += 1;
        machine.paused_until_us = 0;
        let started = Member::start(machine.disk.clone(), &settings, place, machine.life, now);
        let (member, found) = match started {
            Ok(started) => started,
            Err(_) if machine.disk.has_crashed() => {
                machine.disk = machine.disk.revive();
                machine.start_at_us = self.now_us + self.rng.range(1_000, 2_000_000);
                let at = machine.start_at_us;
                self.at(at, Event::Start(place));
                return Ok(());
            }
            Err(ostler_store::Error::Disk(_) | ostler_store::Error::Full(_)) if !self.healed => {
                // A disk that fails is reason enough not to start.
                machine.disk = machine.disk.revive();
                machine.start_at_us = self.now_us + self.rng.range(1_000, 2_000_000);
                let at = machine.start_at_us;
                self.at(at, Event::Start(place));
                return Ok(());
            }
            Err(error) => return Err(violation!("server {} refuses to start: {error}", place + 1)),
        };
        machine.member = Some(Box::new(member));
        machine.standing = Standing::Looking;
        machine.compared = found.last;
        self.trace.mix([self.now_us, 4, place as u64, found.last.0.cast_unsigned()]);
        self.trace.say(
            self.now_us,
            format_args!("s{} starts at {} with {:?}", place + 1, found.last, found.epochs),
        );
        self.ledger.on_start(place, found.last, found.epochs)?;
        // The other ends of connections of its last life hear that nobody knows them.
        let stale: Vec<(u64, usize)> = self
            .links
            .iter()
            .flat_map(|(id, link)| (0..2).map(move |end| (*id, end, link)))
            .filter(|(_, end, link)| {
                link.ends[*end].open && link.ends[1 - end].place == place && !link.ends[1 - end].open
            })
            .map(|(id, end, _)| (id, end))
            .collect();
        for (id, end) in stale {
            let at = self.now_us + self.rng.range(1_000, 200_000);
            self.put(id, end, at, Piece::End);
        }
        for other in (0..self.machines.len()).filter(|other| *other != place) {
            if self.settings.observes(place) && self.settings.observes(other) {
                continue;
            }
            self.break_votes(other, place, 1_000);
            let at = self.now_us + self.rng.range(1_100, 100_000);
            self.at(at, Event::Greet(place.min(other), place.max(other)));
        }
        let mut wants = Wants::default();
        let member = self.machines[place].member.as_mut().expect("it just began");
        member.carry_out(&mut wants);
        let has_snapshot = member.has_snapshot();
        let lanes = member.seats.len();
        wants.lanes.extend(0..lanes);
        wants.snapshot |= has_snapshot;
        self.carry_out(place, wants)?;
        self.after_node(place)
    }

    /// The process is gone. `silently`: its machine too, so nobody is told.
    pub(super) fn stop(&mut self, place: usize, silently: bool) -> Result<(), Violation> {
        if self.machines[place].member.take().is_none() {
            return Ok(());
        }
        self.counts.crashes += 1;
        self.trace.mix([self.now_us, 5, place as u64, u64::from(silently)]);
        self.trace.say(self.now_us, format_args!("s{} stops, silently: {silently}", place + 1));
        self.machines[place].standing = Standing::Looking;
        let ids: Vec<u64> = self.links.keys().copied().collect();
        for id in ids {
            let Some(link) = self.links.get(&id) else { continue };
            if link.ends[0].place != place && link.ends[1].place != place {
                continue;
            }
            let end = link.end_of(place);
            if silently {
                self.close_end(id, end);
                self.forget_link(id);
            } else {
                self.close(place, LinkId(id), true);
            }
        }
        for other in (0..self.machines.len()).filter(|other| *other != place) {
            let channel = self.channels.entry((place, other)).or_default();
            channel.up = false;
            self.votes.remove(&(place, other));
            if !silently {
                self.break_votes(other, place, 5_000);
            }
        }
        self.pipes_of_dead(place, silently);
        if !silently {
            self.machines[place].disk = self.machines[place].disk.revive();
        }
        let most = if self.rng.one_in(4) { 20_000_000 } else { 3_000_000 };
        let at = self.now_us + self.rng.range(10_000, most);
        self.machines[place].start_at_us = at;
        self.at(at, Event::Start(place));
        Ok(())
    }

    pub(super) fn stop_if_crashed(&mut self, place: usize) -> Result<(), Violation> {
        if self.machines[place].disk.has_crashed() {
            self.stop(place, false)?;
        }
        Ok(())
    }
}
