//! Scripts: commands that say what happens in a world, and below each what was sent and written. One command a line;
//! what nothing holds up happens by itself. `scripts/README.md` lists the commands.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use ostler_wire::{ServerId, Zxid};

use super::actions::Action;
use super::show;
use super::world::{Setup, World};
use crate::{LinkId, Quorum};

/// A script that is being run.
struct Script {
    world: World,
    /// Servers whose log, or whose epochs, are not written until they are let go.
    held_logs: BTreeSet<usize>,
    held_epochs: BTreeSet<usize>,
    /// The ways on which nothing is delivered until they are let go.
    held_ways: BTreeSet<(usize, usize)>,
    votes: bool,
}

/// Runs a script; gives it back with what happened below each command.
///
/// # Panics
/// On a command that is none.
#[must_use]
pub fn run(text: &str) -> String {
    let mut out = String::new();
    let mut script: Option<Script> = None;
    for line in text.lines() {
        if line.starts_with(' ') {
            continue;
        }
        out.push_str(line);
        out.push('\n');
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [] | ["#", ..] => continue,
            ["cluster", rest @ ..] => script = Some(Script::new(rest)),
            words => script.as_mut().expect("`cluster` comes first").command(words),
        }
        let world = &mut script.as_mut().expect("it was just made").world;
        for said in world.trace.as_mut().expect("scripts are traced").drain(..) {
            writeln!(out, "    {}", said.trim_start()).expect("a string takes everything");
        }
        assert_eq!(world.violation, None, "{out}");
    }
    out
}

fn number<T: std::str::FromStr>(word: &str) -> T {
    word.parse().unwrap_or_else(|_| panic!("{word} is no number"))
}

fn node(word: &str) -> usize {
    number::<usize>(word.strip_prefix('s').unwrap_or_else(|| panic!("{word} is no server"))) - 1
}

fn way(word: &str) -> (usize, usize) {
    let (from, to) = word.split_once("->").unwrap_or_else(|| panic!("{word} is no way"));
    (node(from), node(to))
}

pub(super) fn zxid(word: &str) -> Zxid {
    let (epoch, counter) = word.split_once(':').unwrap_or_else(|| panic!("{word} is no zxid"));
    Zxid::new(number(epoch), number(counter))
}

impl Script {
    fn new(words: &[&str]) -> Self {
        let mut setup = Setup::default();
        let mut weightless = BTreeSet::new();
        let mut groups = std::collections::BTreeMap::new();
        for word in words {
            match word.split_once('=') {
                None if *word == "snapshots" => setup.force_snapshot = true,
                None if *word == "masters" => setup.masters = true,
                None => setup.voters = number(word),
                Some(("observers", n)) => setup.observers = number(n),
                Some(("kept", n)) => setup.kept = number(n),
                Some(("log", n)) => setup.log_sync = Some(number(n)),
                Some(("last-counter", n)) => setup.last_counter = number(n),
                Some(("weightless", ids)) => {
                    weightless = ids.split(',').map(|id| ServerId(number(id))).collect();
                }
                Some((group, ids)) if group.starts_with("group.") => {
                    let ids: BTreeSet<ServerId> = ids.split(',').map(|id| ServerId(number(id))).collect();
                    groups.insert(number::<i64>(&group[6..]), ids);
                }
                _ => panic!("{word} is no setting"),
            }
        }
        if !groups.is_empty() {
            let voters: BTreeSet<ServerId> = groups.values().flatten().copied().collect();
            let weights = weightless.into_iter().map(|id| (id, 0)).collect();
            setup.quorum = Some(Quorum::hierarchical(voters, &groups, &weights).expect("groups fit"));
        }
        let mut world = World::new(setup);
        world.trace = Some(Vec::new());
        Self {
            world,
            held_logs: BTreeSet::new(),
            held_epochs: BTreeSet::new(),
            held_ways: BTreeSet::new(),
            votes: false,
        }
    }

    fn command(&mut self, words: &[&str]) {
        match *words {
            ["votes"] => self.votes = true,
            // disk s1 1:1..1:5 2:1 accepted=2 current=2 snapshot=3
            ["disk", server, ref rest @ ..] => self.disk(node(server), rest),
            ["committed", server] => self.world.preset_committed(node(server)),
            ["start", ref servers @ ..] => {
                for server in servers {
                    self.world.apply(Action::Start(node(server)));
                }
                self.run();
            }
            ["crash", ref servers @ ..] => {
                for server in servers {
                    self.world.apply(Action::Crash { node: node(server), log: 0, epochs: 0 });
                }
                self.run();
            }
            ["hold", "log", server] => drop(self.held_logs.insert(node(server))),
            ["hold", "epochs", server] => drop(self.held_epochs.insert(node(server))),
            ["isolate", server] => {
                for other in (0..self.world.servers()).filter(|other| *other != node(server)) {
                    self.world.apply(Action::Block(node(server), other));
                    self.world.apply(Action::Block(other, node(server)));
                }
            }
            ["heal"] => {
                self.world.apply(Action::Heal);
                self.run();
            }
            ["hold", ref ways @ ..] => self.held_ways.extend(ways.iter().map(|word| way(word))),
            ["release", "log", server] => {
                self.held_logs.remove(&node(server));
                self.run();
            }
            ["release", "epochs", server] => {
                self.held_epochs.remove(&node(server));
                self.run();
            }
            ["release", ref ways @ ..] => {
                for word in ways {
                    self.held_ways.remove(&way(word));
                }
                self.run();
            }
            // The first `n` things on this way arrive, although it is held.
            ["deliver", n, word] => {
                let (from, to) = way(word);
                for _ in 0..number::<usize>(n) {
                    let Some(action) = self.first_on(from, to) else {
                        return self.world.fail(|| "nothing is on its way".to_owned());
                    };
                    self.world.apply(action);
                    self.run();
                }
            }
            ["cut", a, b] => {
                for link in self.between(node(a), node(b)) {
                    self.world.apply(Action::Cut(link));
                }
                self.run();
            }
            ["propose", server, n] => {
                for _ in 0..number::<usize>(n) {
                    self.world.apply(Action::Propose(node(server)));
                }
                self.run();
            }
            ["wait", ms] => {
                let until_ms = self.world.now_ms() + number::<u64>(ms);
                while self.world.next_ms().is_some_and(|next_ms| next_ms <= until_ms) {
                    self.world.apply(Action::Time);
                    self.run();
                }
                self.world.now_ms = until_ms;
            }
            ["resign", server] => {
                self.world.apply(Action::Resign(node(server)));
                self.run();
            }
            ["full", server] => {
                self.world.apply(Action::Full(node(server)));
                self.run();
            }
            ["puppet", server] => self.world.make_puppet(node(server)),
            ["say", word, ref packet @ ..] => {
                let (from, to) = way(word);
                self.world.speak(from, to, packet);
                self.run();
            }
            ["show"] => self.show(),
            ["agree", ref servers @ ..] => {
                self.agree(&servers.iter().map(|word| node(word)).collect::<Vec<_>>())
            }
            _ => panic!("{words:?} is no command"),
        }
    }

    fn disk(&mut self, server: usize, words: &[&str]) {
        let (mut log, mut accepted, mut current, mut floor) = (Vec::new(), 0, 0, 0);
        for word in words {
            match word.split_once('=') {
                Some(("accepted", n)) => accepted = number(n),
                Some(("current", n)) => current = number(n),
                Some(("snapshot", n)) => floor = number(n),
                Some(_) => panic!("{word} is nothing on a disk"),
                None => {
                    let (first, last) = word.split_once("..").unwrap_or((word, word));
                    log.extend((zxid(first).0..=zxid(last).0).map(Zxid));
                }
            }
        }
        self.world.preset(server, &log, accepted.max(current), current, floor);
    }

    fn is_held(&self, action: Action) -> bool {
        match action {
            Action::Log { node, .. } | Action::Search(node) => self.held_logs.contains(&node),
            Action::Epoch(node) => self.held_epochs.contains(&node),
            Action::Deliver { link, to_leader } => {
                let (dialer, acceptor) = self.world.ends(link);
                let way = if to_leader { (dialer, acceptor) } else { (acceptor, dialer) };
                self.held_ways.contains(&way)
            }
            _ => false,
        }
    }

    /// Everything that nothing holds up, until nothing is left.
    fn run(&mut self) {
        let mut enabled = Vec::new();
        for _ in 0..10_000 {
            self.world.progress(&mut enabled);
            let Some(action) = enabled.iter().copied().find(|action| !self.is_held(*action)) else {
                if !self.votes {
                    let trace = self.world.trace.as_mut().expect("scripts are traced");
                    trace.retain(|said| !said.starts_with(' '));
                }
                return;
            };
            self.world.apply(action);
        }
        panic!("it goes round and round");
    }

    fn between(&self, a: usize, b: usize) -> Vec<LinkId> {
        let ends = |link: &LinkId| self.world.ends(*link);
        self.world.links().filter(|link| ends(link) == (a, b) || ends(link) == (b, a)).collect()
    }

    fn first_on(&self, from: usize, to: usize) -> Option<Action> {
        let mut enabled = Vec::new();
        self.world.progress(&mut enabled);
        enabled.into_iter().find(|action| {
            matches!(*action, Action::Deliver { link, to_leader }
                if self.world.ends(link) == if to_leader { (from, to) } else { (to, from) })
        })
    }

    /// These serve, and have all that is committed and nothing else.
    fn agree(&mut self, servers: &[usize]) {
        if let Some(why) = self.world.disagreement(servers) {
            return self.world.fail(|| why);
        }
        let truth: Vec<String> = self.world.record.truth.iter().map(|known| show::zxid(known.zxid)).collect();
        let truth = if truth.is_empty() { "nothing".to_owned() } else { truth.join(" ") };
        self.world.say(|| format!("they serve {truth}"));
    }

    fn show(&mut self) {
        for server in 0..self.world.servers() {
            let disk = &self.world.nodes[server].disk;
            let log: Vec<String> = disk.log.iter().map(|proposal| show::zxid(proposal.zxid)).collect();
            let epochs = disk.epochs;
            let doing = match &self.world.nodes[server].running {
                None => "down".to_owned(),
                Some(running) => format!(
                    "{}, {}, applied {}",
                    show::state(running.peer.state()),
                    show::standing(running.standing),
                    running.applied.last().map_or_else(|| "nothing".to_owned(), |last| show::zxid(last.zxid))
                ),
            };
            let log = log.join(" ");
            self.world.say(|| {
                format!(
                    "s{}: {doing}; on disk: accepted {} current {} log {log}",
                    server + 1,
                    epochs.accepted,
                    epochs.current
                )
            });
        }
    }
}
