//! A random run: faults and deliveries in an order that a seed decides, then everything heals and the ensemble must
//! come back.

use super::actions::Action;
use super::rng::Rng;
use super::world::{Setup, Stats, World};
use crate::Quorum;

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// What must not be, if it was.
    pub violation: Option<String>,
    /// What happened.
    pub stats: Stats,
    /// The end of the trace, if it was asked for.
    pub trace: Vec<String>,
}

/// How this run likes to go wrong, in cases of 1000.
#[derive(Debug)]
struct Manner {
    faults: usize,
    time: usize,
    propose: usize,
    crash: usize,
    power: usize,
    cut: usize,
    votes: usize,
    block: usize,
    full: usize,
    strand: usize,
    restart: usize,
    /// Servers whose disk is slow, and links that are.
    slow_disks: usize,
    slow_links: usize,
    steps: usize,
}

/// Runs a seed.
#[must_use]
pub fn run(seed: u64) -> Outcome {
    Run::new(seed, false).finish()
}

/// Runs a seed and keeps what happened in words.
#[must_use]
pub fn trace(seed: u64) -> Outcome {
    Run::new(seed, true).finish()
}

/// How long nothing is proposed after a leader came back that was stranded.
const BACK_STEPS: usize = 100;

struct Run {
    rng: Rng,
    world: World,
    manner: Manner,
    enabled: Vec<Action>,
    /// For how many steps nothing is proposed, and who comes back before they are over.
    quiet: (usize, usize),
}

fn setup(rng: &mut Rng) -> Setup {
    let voters = *rng.pick(&[3, 3, 3, 3, 3, 5, 5, 4, 2]);
    let mut quorum = None;
    if voters == 5 && rng.permille(250) {
        let ids = |of: &[i64]| of.iter().map(|id| ostler_wire::ServerId(*id)).collect();
        let groups = [(1, ids(&[1, 2, 3])), (2, ids(&[4, 5]))].into();
        let weights = [(ostler_wire::ServerId(5), 0)].into();
        quorum = Some(Quorum::hierarchical(ids(&[1, 2, 3, 4, 5]), &groups, &weights).expect("groups fit"));
    }
    let observers = *rng.pick(&[0, 0, 0, 1]);
    Setup {
        voters,
        observers,
        quorum,
        tick_ms: 1000,
        init_limit_ticks: 10,
        sync_limit_ticks: 5,
        kept: *rng.pick(&[2, 4, 100]),
        force_snapshot: rng.permille(50),
        log_sync: *rng.pick(&[None, Some(5), Some(1000)]),
        last_counter: *rng.pick(&[u32::MAX - 1, u32::MAX - 1, u32::MAX - 1, 7]),
        reuse_ids: false,
        masters: observers > 0 && rng.permille(500),
    }
}

fn manner(rng: &mut Rng) -> Manner {
    let some = |rng: &mut Rng, n: usize| if rng.permille(500) { rng.below(n) } else { 0 };
    Manner {
        faults: *rng.pick(&[2, 8, 20, 60]),
        time: *rng.pick(&[2, 10, 40]),
        propose: *rng.pick(&[5, 30, 100, 200]),
        crash: 20 + some(rng, 100),
        power: some(rng, 30),
        cut: some(rng, 100),
        votes: some(rng, 60),
        block: some(rng, 60),
        full: some(rng, 20),
        strand: 10 + some(rng, 150),
        restart: 50 + rng.below(100),
        slow_disks: if rng.permille(700) { rng.below(32) } else { 0 },
        slow_links: if rng.permille(500) { rng.below(32) } else { 0 },
        steps: 300 + rng.below(900),
    }
}

impl Run {
    fn new(seed: u64, traced: bool) -> Self {
        let mut rng = Rng::new(seed);
        let mut world = World::new(setup(&mut rng));
        let manner = manner(&mut rng);
        if traced {
            world.trace = Some(vec![format!("{:?}", world.setup), format!("{manner:?}")]);
        }
        Self { rng, world, manner, enabled: Vec::new(), quiet: (0, 0) }
    }

    fn finish(mut self) -> Outcome {
        for node in 0..self.world.servers() {
            if self.rng.permille(900) {
                self.world.apply(Action::Start(node));
            }
        }
        for _ in 0..self.manner.steps {
            if self.world.violation.is_some() {
                break;
            }
            self.step();
        }
        if self.world.violation.is_none() {
            self.heal();
        }
        let Self { mut world, .. } = self;
        Outcome {
            violation: world.violation.take(),
            stats: world.stats,
            trace: world.trace.take().unwrap_or_default(),
        }
    }

    fn step(&mut self) {
        if self.rng.permille(self.manner.faults) {
            return self.fault();
        }
        match self.quiet {
            (0, _) if self.rng.permille(self.manner.propose) => self.propose(),
            (0, _) => {}
            (steps, node) => {
                self.quiet.0 -= 1;
                let replaced = self.leaders().any(|leader| leader != node);
                if steps == BACK_STEPS || steps > BACK_STEPS && replaced {
                    self.quiet.0 = BACK_STEPS - 1;
                    self.world.apply(Action::Heal);
                    self.world.apply(Action::Start(node));
                }
            }
        }
        if self.rng.permille(self.manner.time) {
            return self.world.apply(Action::Time);
        }
        self.revive();
        self.world.progress(&mut self.enabled);
        if self.enabled.is_empty() {
            return self.world.apply(Action::Time);
        }
        let action = *self.rng.pick(&self.enabled);
        let slow = match action {
            Action::Log { node, .. } | Action::Epoch(node) | Action::Search(node) => {
                self.manner.slow_disks >> node & 1 == 1
            }
            Action::Deliver { link, to_leader } => {
                let (dialer, acceptor) = self.world.ends(link);
                self.manner.slow_links >> (if to_leader { dialer } else { acceptor }) & 1 == 1
            }
            _ => false,
        };
        if slow && !self.rng.permille(50) {
            return;
        }
        let action = match action {
            Action::Log { node, .. } if self.rng.permille(500) => {
                Action::Log { node, n: 1 + self.rng.below(3) }
            }
            other => other,
        };
        self.world.apply(action);
    }

    fn propose(&mut self) {
        for node in 0..self.world.servers() {
            if self.world.peer(node).is_some_and(|peer| peer.next_zxid().is_some()) {
                for _ in 0..=self.rng.below(3) {
                    self.world.apply(Action::Propose(node));
                }
            }
        }
    }

    /// Where nobody can decide nothing happens any more, so that does not last.
    fn revive(&mut self) {
        let up: Vec<usize> = (0..self.world.servers()).filter(|node| self.world.is_up(*node)).collect();
        if !self.world.may_decide(&up) && self.rng.permille(100) {
            let node = self.rng.below(self.world.servers());
            self.world.apply(Action::Start(node));
        }
    }

    /// A leader writes what nobody else hears of, and is alone until the others have another one.
    fn strand(&mut self) {
        let Some(leader) = self.leaders().next() else { return };
        for _ in 0..=self.rng.below(2) {
            self.world.apply(Action::Propose(leader));
        }
        self.world.apply(Action::Log { node: leader, n: usize::MAX });
        let crashes = self.rng.permille(500);
        if crashes {
            self.world.apply(Action::Crash { node: leader, log: 0, epochs: 0 });
        }
        for link in self.world.links().collect::<Vec<_>>() {
            self.world.apply(Action::Cut(link));
        }
        if !crashes {
            self.isolate(leader);
        }
        self.quiet = (BACK_STEPS + self.rng.below(400), leader);
    }

    fn leaders(&self) -> impl Iterator<Item = usize> {
        let leads = |node: &usize| self.world.peer(*node).is_some_and(|peer| peer.next_zxid().is_some());
        (0..self.world.servers()).filter(leads)
    }

    fn isolate(&mut self, node: usize) {
        for other in (0..self.world.servers()).filter(|other| *other != node) {
            self.world.apply(Action::Block(node, other));
            self.world.apply(Action::Block(other, node));
        }
    }

    fn crash(&mut self, node: usize) {
        let (log, epochs) = self.world.pending(node);
        let log = if self.rng.permille(500) { 0 } else { self.rng.below(log + 1) };
        let epochs = if self.rng.permille(500) { 0 } else { self.rng.below(epochs + 1) };
        self.world.apply(Action::Crash { node, log, epochs });
    }

    fn fault(&mut self) {
        let servers = self.world.servers();
        let kinds = [
            self.manner.crash,
            self.manner.power,
            self.manner.cut,
            self.manner.votes,
            self.manner.block,
            self.manner.full,
            self.manner.strand,
            self.manner.restart,
        ];
        let mut draw = self.rng.below(kinds.iter().sum());
        let kind = kinds.iter().position(|weight| {
            let hit = draw < *weight;
            draw = draw.saturating_sub(*weight);
            hit
        });
        let (a, b) = (self.rng.below(servers), self.rng.below(servers));
        let pair = (a.min(b), a.max(b));
        match kind.expect("the draw is below the sum") {
            0 => self.crash(a),
            1 => {
                for node in 0..servers {
                    self.crash(node);
                }
            }
            2 => {
                let links: Vec<_> = self.world.links().collect();
                if !links.is_empty() {
                    let link = *self.rng.pick(&links);
                    self.world.apply(Action::Cut(link));
                }
            }
            3 if a != b => {
                let action = if self.rng.permille(500) {
                    Action::VoteCut(pair.0, pair.1)
                } else {
                    Action::VoteRepeat(a, b)
                };
                if self.world.talk(a, b) {
                    self.world.apply(action);
                }
            }
            4 => match self.rng.below(4) {
                0 if a != b => self.world.apply(Action::Block(a, b)),
                1 if a != b => {
                    self.world.apply(Action::Block(a, b));
                    self.world.apply(Action::Block(b, a));
                }
                2 => self.isolate(a),
                _ => self.world.apply(Action::Heal),
            },
            5 => {
                if self.rng.permille(500) {
                    self.world.apply(Action::Full(a));
                } else {
                    self.world.apply(Action::Resign(a));
                }
            }
            6 => self.strand(),
            7 => {
                for node in 0..servers {
                    if self.rng.permille(700) {
                        self.world.apply(Action::Start(node));
                    }
                }
            }
            _ => {}
        }
        if self.rng.permille(100) {
            self.manner.slow_disks = self.rng.below(32);
        }
    }

    /// Faults end. A quorum, perhaps all, must come to serve and to commit; then the others must join it.
    fn heal(&mut self) {
        self.world.say(|| "heal".to_owned());
        self.world.apply(Action::Heal);
        let servers: Vec<usize> = (0..self.world.servers()).collect();
        let mut core = servers.clone();
        // As few as still decide, by leaving out one after the other.
        if self.rng.permille(500) {
            for _ in 0..servers.len() {
                let out = self.rng.below(core.len());
                let mut fewer = core.clone();
                fewer.remove(out);
                if self.world.may_decide(&fewer) {
                    core = fewer;
                }
            }
        }
        for node in &servers {
            if core.contains(node) {
                self.world.apply(Action::Start(*node));
            } else {
                self.crash(*node);
            }
        }
        self.must_serve(&core, "a quorum that is left alone");
        if self.world.violation.is_some() || core == servers {
            return;
        }
        for node in &servers {
            self.world.apply(Action::Start(*node));
        }
        self.must_serve(&servers, "all, once all are there");
    }

    fn must_serve(&mut self, core: &[usize], who: &str) {
        let limit_ms = self.world.now_ms()
            + 10 * self.world.setup.tick_ms
                * (self.world.setup.init_limit_ticks + self.world.setup.sync_limit_ticks);
        let target = self.world.committed() + 3;
        let (mut since_ms, mut events) = (self.world.now_ms(), 0);
        loop {
            if self.world.violation.is_some() {
                return;
            }
            events += 1;
            if self.world.now_ms() != since_ms {
                (since_ms, events) = (self.world.now_ms(), 0);
            } else if events > 20_000 {
                return self.world.fail(|| format!("{who} go round and round"));
            }
            self.world.progress(&mut self.enabled);
            if !self.enabled.is_empty() {
                let action = *self.rng.pick(&self.enabled);
                self.world.apply(action);
                continue;
            }
            if self.world.committed() < target && self.rng.permille(500) {
                self.propose();
                self.world.progress(&mut self.enabled);
                if !self.enabled.is_empty() {
                    continue;
                }
            }
            let disagreement = self.world.disagreement(core);
            if disagreement.is_none() && self.world.committed() >= target {
                return;
            }
            if self.world.now_ms() > limit_ms {
                let why = disagreement.unwrap_or_else(|| "nothing is committed".to_owned());
                return self.world.fail(|| format!("{who} do not come to serve: {why}"));
            }
            self.world.apply(Action::Time);
        }
    }
}

impl World {
    pub(super) fn ends(&self, link: crate::LinkId) -> (usize, usize) {
        self.links.get(&link).map_or((0, 0), |link| (link.dialer, link.acceptor))
    }

    fn talk(&self, a: usize, b: usize) -> bool {
        self.votes.contains_key(&(a, b)) && self.votes.contains_key(&(b, a))
    }

    pub(super) fn may_decide(&self, nodes: &[usize]) -> bool {
        self.quorum.is_quorum(&nodes.iter().copied().map(super::world::server).collect())
            && nodes.iter().any(|node| self.quorum.weight(super::world::server(*node)) > 0)
    }
}
