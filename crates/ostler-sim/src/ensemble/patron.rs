//! The clients of an ensemble: the real client's sessions, with a user who asks for something now and then and a
//! driver that goes from server to server.

use ostler_client::session::State;
use ostler_client::{Request, session::Ending};
use ostler_zab::Standing;

use super::cluster::{Cluster, Event};
use super::settings::{ClientPlan, place_of};
use crate::check::{Violation, violation};
use crate::client::{Client, Wish, micros};
use crate::history::{History, Item};

/// A client with its user.
pub(super) struct Patron {
    pub client: Client,
    pub plan: ClientPlan,
    /// When it asks for something next.
    pub ask_at_us: u64,
    /// The server that it is, or was, connected to.
    pub place: usize,
    wake_at_us: u64,
}

impl Patron {
    pub(super) fn new(plan: ClientPlan, history: &mut History) -> Self {
        let client = Client::new(plan.timeout_ms, Some(plan.habits.clone()), history);
        Self { client, plan, ask_at_us: 0, place: 0, wake_at_us: u64::MAX }
    }

    /// When it wants to be called.
    fn deadline_us(&self) -> u64 {
        let client = &self.client;
        if client.dead {
            return u64::MAX;
        }
        let mut next = client
            .session
            .poll_timeout()
            .map_or(u64::MAX, |at| u64::try_from(at.as_micros()).expect("not for ever"));
        match client.session.state() {
            State::Disconnected if client.pipe.is_none() => next = next.min(client.retry_at_us),
            State::Ended(_) => next = next.min(client.retry_at_us),
            State::Connected
                if client.habits.as_ref().is_some_and(|habits| client.pending() < habits.depth) =>
            {
                next = next.min(self.ask_at_us);
            }
            _ => {}
        }
        next
    }
}

impl Cluster {
    /// A client is called by time.
    pub(super) fn client_turn(&mut self, id: usize) -> Result<(), Violation> {
        if self.patrons[id].wake_at_us != self.now_us {
            return Ok(());
        }
        self.patrons[id].wake_at_us = u64::MAX;
        let now = micros(self.now_us);
        let patron = &mut self.patrons[id];
        if patron.client.dead {
            return Ok(());
        }
        if patron.client.session.poll_timeout().is_some_and(|at| at <= now) {
            patron.client.session.handle_timeout(now);
            self.drain_client(id)?;
        }
        let patron = &mut self.patrons[id];
        let retry = patron.client.retry_at_us <= self.now_us;
        match patron.client.session.state() {
            State::Disconnected if patron.client.pipe.is_none() && retry => self.connect(id)?,
            State::Ended(_) if retry => {
                // A session that is closed before it began leaves its connection to the driver.
                if let Some(pipe) = self.patrons[id].client.pipe.take() {
                    self.leave_pipe(pipe);
                }
                let Self { patrons, history, .. } = self;
                patrons[id].client.renew(history);
                self.trace.say(self.now_us, format_args!("c{id} begins a new session"));
            }
            State::Connected if patron.ask_at_us <= self.now_us => self.ask(id)?,
            _ => {}
        }
        self.wake_client(id);
        Ok(())
    }

    pub(super) fn wake_client(&mut self, id: usize) {
        let at = self.patrons[id].deadline_us().max(self.now_us + 1);
        let patron = &mut self.patrons[id];
        if at < patron.wake_at_us {
            patron.wake_at_us = at;
            self.at(at, Event::Client(id));
        }
    }

    /// A burst of requests.
    fn ask(&mut self, id: usize) -> Result<(), Violation> {
        let think_us = self.patrons[id].plan.think_us;
        self.patrons[id].ask_at_us = self.now_us + self.rng.below(2 * think_us) + 1;
        let Some(habits) = self.patrons[id].client.habits.clone() else { return Ok(()) };
        let room = habits.depth.saturating_sub(self.patrons[id].client.pending());
        if room == 0 {
            return Ok(());
        }
        let most = if self.rng.one_in(4) { room } else { room.min(4) };
        for _ in 0..=self.rng.index(most) {
            let serial = self.history.ops.len();
            let request = habits.request(&mut self.rng, serial);
            self.submit(id, request);
        }
        self.drain_client(id)
    }

    /// Asks for something on behalf of a client; where it is in the history.
    pub(super) fn submit(&mut self, id: usize, request: Request) -> Option<usize> {
        let Self { patrons, history, now_us, .. } = self;
        let place = patrons[id].client.submit(*now_us, request, history)?;
        self.trace.say(self.now_us, format_args!("c{id} asks {place} {:?}", self.history.ops[place].request));
        Some(place)
    }

    fn connect(&mut self, id: usize) -> Result<(), Violation> {
        let place = self.rng.index(self.machines.len());
        let node = self.net.client(id);
        let open = !self.net.is_blocked(node, place) && !self.net.is_blocked(place, node);
        let pipe = if open { self.open_pipe(id, place) } else { None };
        let Some(pipe) = pipe else {
            self.patrons[id].client.retry_at_us = self.now_us + self.rng.range(5_000, 300_000);
            return Ok(());
        };
        if self.patrons[id].place != place && self.patrons[id].client.session.credentials().0.0 != 0 {
            self.counts.moved += 1;
        }
        self.patrons[id].place = place;
        self.trace.say(self.now_us, format_args!("c{id} connects to s{} as p{pipe}", place + 1));
        self.patrons[id].client.connected(self.now_us, pipe);
        self.drain_client(id)
    }

    /// The connection of a client is gone.
    pub(super) fn lost_pipe(&mut self, id: usize) -> Result<(), Violation> {
        self.patrons[id].client.pipe = None;
        self.patrons[id].client.session.handle_disconnected(micros(self.now_us));
        self.patrons[id].client.retry_at_us = self.now_us + self.rng.range(1_000, 200_000);
        self.trace.say(self.now_us, format_args!("c{id} lost its connection"));
        self.drain_client(id)
    }

    /// A client leaves its connection.
    pub(super) fn hang_up(&mut self, id: usize) -> Result<(), Violation> {
        let Some(pipe) = self.patrons[id].client.pipe else { return Ok(()) };
        self.leave_pipe(pipe);
        self.lost_pipe(id)
    }

    /// A client closes its session.
    pub(super) fn close_session(&mut self, id: usize) -> Result<(), Violation> {
        self.patrons[id].client.session.close(micros(self.now_us));
        self.drain_client(id)
    }

    /// Whether the leader of a client's server was deposed and neither knows it yet, or may have been since a time.
    fn is_deposed(&self, id: usize, since_us: u64) -> bool {
        self.is_deposed_at(self.patrons[id].place, since_us)
    }

    fn is_deposed_at(&self, place: usize, since_us: u64) -> bool {
        let machine = &self.machines[place];
        if machine.standing_since_us > since_us {
            return true;
        }
        match machine.standing {
            Standing::Leading { .. } => self.ledger.newest_leader() != Some(place),
            // What its master knows of a leader counts.
            Standing::Following { leader, master, .. } if leader != master => {
                self.is_deposed_at(place_of(master), since_us)
            }
            Standing::Following { leader, .. } => self.ledger.newest_leader() != Some(place_of(leader)),
            Standing::Looking | Standing::Solo => true,
        }
    }

    /// Carries out what a client's session wants.
    pub(super) fn drain_client(&mut self, id: usize) -> Result<(), Violation> {
        let mut wishes = Vec::new();
        let story = self.patrons[id].client.story;
        let known = self.history.sessions[story].items.len();
        let Self { patrons, history, now_us, .. } = self;
        patrons[id].client.drain(*now_us, history, &mut wishes).map_err(|what| violation!("{what}"))?;
        for at in known..self.history.sessions[story].items.len() {
            match &self.history.sessions[story].items[at] {
                Item::Reply(place) => {
                    let place = *place;
                    self.history.ops[place].by_deposed =
                        self.is_deposed(id, self.history.ops[place].asked_us);
                    self.trace.mix([self.now_us, 6, id as u64, place as u64]);
                    let op = &self.history.ops[place];
                    self.trace
                        .say(self.now_us, format_args!("c{id} {place} {:?} is {:?}", op.request, op.outcome));
                }
                other => {
                    self.trace.mix([self.now_us, 7, id as u64, at as u64]);
                    self.trace.say(self.now_us, format_args!("c{id} {other:?}"));
                    if matches!(other, Item::Ended(Ending::Closed | Ending::Expired | Ending::AuthFailed)) {
                        self.patrons[id].client.retry_at_us = self.now_us + self.rng.range(1_000, 500_000);
                    }
                }
            }
        }
        let mut hang_up = false;
        for wish in wishes {
            match wish {
                Wish::Send(bytes) => {
                    if let Some(pipe) = self.patrons[id].client.pipe {
                        self.send_to_server(pipe, bytes);
                    }
                }
                Wish::HangUp => hang_up = true,
            }
        }
        if hang_up {
            self.hang_up(id)?;
        }
        self.wake_client(id);
        Ok(())
    }
}
