//! The connections between the election ports of an ensemble: votes under way, who meets whom, and what is lost when a
//! connection breaks.

use ostler_wire::quorum::Notification;

use super::cluster::{Cluster, Event, Machine};
use super::settings::id_of;
use crate::check::{Violation, violation};

impl Cluster {
    pub(super) fn vote(&mut self, from: usize, to: usize, notification: Notification) {
        if self.trace.prints() {
            let vote = notification.vote;
            self.trace.say(
                self.now_us,
                format_args!(
                    "s{} tells s{} {:?} {vote:?} in {}",
                    from + 1,
                    to + 1,
                    notification.state,
                    notification.round
                ),
            );
        }
        let votes = self.votes.entry((from, to)).or_default();
        votes.queued = Some(notification);
        self.flush_votes(from, to);
    }

    /// Sends the newest vote if there is a connection and not too much on it already.
    pub(super) fn flush_votes(&mut self, from: usize, to: usize) {
        if !self.channels.get(&(from, to)).is_some_and(|channel| channel.up) {
            return;
        }
        let at = self.now_us + self.latency(from, to);
        let votes = self.votes.entry((from, to)).or_default();
        if votes.coming.len() >= 3 {
            return;
        }
        let Some(notification) = votes.queued.take() else { return };
        let at = votes.push(at, notification);
        self.at(at, Event::Vote(from, to));
    }

    pub(super) fn vote_arrives(&mut self, from: usize, to: usize) -> Result<(), Violation> {
        if self.net.is_blocked(from, to) || !self.channels.get(&(to, from)).is_some_and(|channel| channel.up)
        {
            return Ok(());
        }
        let now_us = self.now_us;
        loop {
            let votes = self.votes.entry((from, to)).or_default();
            if votes.coming.front().is_none_or(|(at, _)| *at > now_us) {
                break;
            }
            let (_, frame) = votes.coming.pop_front().expect("it was just seen");
            let (body, _) = ostler_wire::quorum::notification::read_frame(&frame)
                .map_err(|error| violation!("a vote from {}: {error}", from + 1))?
                .ok_or_else(|| violation!("a vote from {} is cut off", from + 1))?;
            let notification = Notification::decode(body)
                .map_err(|error| violation!("a vote from {}: {error}", from + 1))?;
            self.give_peer(to, ostler_zab::Input::Notification { from: id_of(from), notification });
        }
        self.flush_votes(from, to);
        Ok(())
    }

    /// Two servers connect for votes, if they can.
    pub(super) fn greet(&mut self, a: usize, b: usize) -> Result<(), Violation> {
        let up = |machine: &Machine| machine.member.is_some();
        if !up(&self.machines[a]) || !up(&self.machines[b]) {
            // Whoever starts tries again.
            return Ok(());
        }
        let whole =
            [(a, b), (b, a)].iter().all(|key| self.channels.get(key).is_some_and(|channel| channel.up));
        if whole {
            return Ok(());
        }
        if self.net.is_blocked(a, b)
            || self.net.is_blocked(b, a)
            || self.machines[a].paused_until_us > self.now_us
            || self.machines[b].paused_until_us > self.now_us
        {
            let at = self.now_us + self.rng.range(200_000, 1_000_000);
            self.at(at, Event::Greet(a, b));
            return Ok(());
        }
        greeting(a)?;
        for (from, to) in [(a, b), (b, a)] {
            let channel = self.channels.entry((from, to)).or_default();
            channel.number += 1;
            if std::mem::replace(&mut channel.up, true) {
                self.give_peer(from, ostler_zab::Input::ElectionLink { server: id_of(to), up: false });
            }
            self.give_peer(from, ostler_zab::Input::ElectionLink { server: id_of(to), up: true });
            let votes = self.votes.entry((from, to)).or_default();
            votes.coming.clear();
            if votes.queued.is_none() {
                votes.queued = votes.last.clone();
            }
            self.flush_votes(from, to);
        }
        Ok(())
    }

    /// A server finds that its connection for votes is gone.
    pub(super) fn found_broken(&mut self, place: usize, other: usize, number: u64) -> Result<(), Violation> {
        let channel = self.channels.entry((place, other)).or_default();
        if !channel.up || channel.number != number {
            return Ok(());
        }
        channel.up = false;
        self.give_peer(place, ostler_zab::Input::ElectionLink { server: id_of(other), up: false });
        let at = self.now_us + self.rng.range(1_000, 300_000);
        let (a, b) = (place.min(other), place.max(other));
        self.at(at, Event::Greet(a, b));
        Ok(())
    }

    /// Breaks a connection for votes; `place` finds out after a while.
    pub(super) fn break_votes(&mut self, place: usize, other: usize, most_us: u64) {
        let Some(channel) = self.channels.get(&(place, other)).filter(|channel| channel.up) else { return };
        let number = channel.number;
        if let Some(votes) = self.votes.get_mut(&(other, place)) {
            let kept = self.rng.index(votes.coming.len() + 1);
            votes.coming.truncate(kept);
        }
        let at = self.now_us + self.rng.range(50, most_us);
        self.at(at, Event::Break(place, other, number));
    }

    // Machines.
}

/// The first words on a connection for votes, there and back.
fn greeting(from: usize) -> Result<(), Violation> {
    use ostler_wire::quorum::Greeting;
    let greeting = Greeting { server: id_of(from), addresses: vec![(format!("10.0.1.{}", from + 1), 3888)] };
    let mut bytes = Vec::new();
    greeting.encode(true, &mut bytes);
    match Greeting::decode(&bytes) {
        Ok(Some((read, len))) if read == greeting && len == bytes.len() => Ok(()),
        other => Err(violation!("a greeting is read as {other:?}")),
    }
}
