//! `cargo xtask interop trials`: what happens to ensembles in daily life, each on a mixture of Java and Ostler servers.
//!
//! Every trial lays out an ensemble, does one thing to it that operators and clients do, and ends with the comparison
//! of all members' trees. A trial that has nothing to show in the end fails.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;

use super::client::{Client, Session, Welcome};
use super::ensemble::{agree, kinds, logs, setup};
use super::fill;
use crate::apache::{self, Apache};
use crate::differential::content::open_acl;
use crate::differential::raw::Enc;
use crate::differential::{op, words};
use crate::ensemble::{End, Ensemble, Mode};
use crate::server::{Kind, build_ostler};

/// Options of the stage.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only trials whose name contains this.
    #[arg(long)]
    only: Option<String>,
    /// Ostler's lanes.
    #[arg(long, default_value_t = 1)]
    lanes: u32,
    /// Check the checker: Java members everywhere.
    #[arg(long)]
    java_only: bool,
}

/// The two kinds of server.
struct Kinds {
    java: Kind,
    ours: Kind,
}

/// One trial: its name, the members by letter, and what is done. It says what it counted.
struct Trial {
    name: &'static str,
    members: &'static str,
    /// Further lines for every member's `zoo.cfg`.
    config: &'static [&'static str],
    run: fn(&mut Ensemble) -> Result<String>,
}

const TRIALS: [Trial; 12] = [
    Trial { name: "a wiped follower of Java comes back", members: "OJO", config: &[], run: wiped_second },
    Trial { name: "a wiped follower of Ostler comes back", members: "JOJ", config: &[], run: wiped_second },
    Trial { name: "a majority is away and comes back", members: "OJO", config: &[], run: majority_away },
    Trial { name: "a frozen leader comes back", members: "OJO", config: &[], run: frozen_leader },
    Trial {
        name: "a frozen leader comes back, Ostler alone",
        members: "OOO",
        config: &[],
        run: frozen_leader,
    },
    Trial {
        name: "a follower of Java with data of a newer epoch",
        members: "OJO",
        config: &[],
        run: from_elsewhere,
    },
    Trial {
        name: "a follower of Ostler with data of a newer epoch",
        members: "OOO",
        config: &[],
        run: from_elsewhere,
    },
    Trial { name: "big nodes", members: "JOJo", config: &[], run: big_nodes },
    Trial {
        name: "nodes as big as jute.maxbuffer was raised to",
        members: "JOJo",
        config: &["jute.maxbuffer=4194304"],
        run: raised_buffer,
    },
    Trial { name: "clients that are killed", members: "OJOo", config: &[], run: killed_clients },
    Trial {
        name: "groups and weights",
        members: "JOJOO",
        config: &["group.1=1:2:3", "group.2=4", "group.3=5", "weight.1=1", "weight.2=1", "weight.3=1"],
        run: groups,
    },
    Trial { name: "sessions move through all members", members: "JOOj", config: &[], run: moving_sessions },
];

/// Runs the trials and prints a table.
pub(crate) fn run(options: &Options) -> Result<()> {
    let java = Kind::Apache(Apache::install_version(apache::VERSION)?);
    let ours = if options.java_only {
        java.clone()
    } else {
        Kind::Ostler { binary: build_ostler()?, lanes: options.lanes }
    };
    let both = Kinds { java, ours };
    let wanted = |name: &str| options.only.as_ref().is_none_or(|only| name.contains(only.as_str()));
    let mut table = Vec::new();
    for trial in TRIALS.iter().filter(|trial| wanted(trial.name)) {
        let started = Instant::now();
        println!("==== {} ({})", trial.name, trial.members);
        let ending = attempt(trial, &both);
        table.push((trial.name, trial.members, started.elapsed(), ending));
    }
    let words = "four-letter words of every role";
    if wanted(words) {
        println!("==== {words}");
        let started = Instant::now();
        let ending = compare_words(&both);
        table.push((words, "JJJj and OOOo", started.elapsed(), ending));
    }
    ensure!(!table.is_empty(), "no trial has that name");
    println!("| trial | members | time | result |\n|---|---|---|---|");
    let mut failed = 0;
    for (name, members, took, ending) in &table {
        let result = match ending {
            Ok(note) => format!("pass: {note}"),
            Err(error) => {
                failed += 1;
                format!("FAIL: {error:#}")
            }
        };
        println!("| {name} | {members} | {:.0} s | {result} |", took.as_secs_f64());
    }
    println!("trials: {} of {} passed", table.len() - failed, table.len());
    ensure!(failed == 0, "{failed} of {} trials failed", table.len());
    Ok(())
}

fn attempt(trial: &Trial, both: &Kinds) -> Result<String> {
    let mut setup = setup(None);
    for line in trial.config {
        setup.config.push((*line).to_owned());
        if line.starts_with("jute.") {
            // Java knows it as a property only.
            setup.java_flags.push(format!("-D{line}"));
        }
    }
    let mut ensemble = Ensemble::new("trial", &kinds(trial.members, &both.java, &both.ours), &setup)?;
    let ending = (trial.run)(&mut ensemble).and_then(|note| {
        ensemble.await_all()?;
        let agreement = agree::check(&ensemble, Duration::from_secs(60))?;
        let lines = logs::suspicious_lines(&ensemble);
        ensure!(lines.is_empty(), "lines in the logs that nobody explains:\n{}", lines.join("\n"));
        Ok(format!("{note}; {} nodes equal", agreement.tree.len()))
    });
    ending.or_else(|error| {
        let label = trial.name.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        let dir = ensemble.keep_logs(&label)?;
        Err(error.context(format!("logs in {}", dir.display())))
    })
}

// ---- what trials are made of

fn create(client: &mut Client, path: &str, data: &[u8], flags: i32) -> Result<()> {
    let reply = client.call(op::CREATE, &fill::create(path, Some(data), &open_acl(), flags))?;
    ensure!(reply.err == 0, "create of {path} answered {}", reply.err);
    Ok(())
}

fn exists(client: &mut Client, path: &str) -> Result<bool> {
    client.call(op::SYNC, &Enc::new().string("/").0)?;
    Ok(client.call(op::EXISTS, &Enc::new().string(path).byte(0).0)?.err == 0)
}

fn write_some(ensemble: &Ensemble, id: u32, name: &str, count: usize) -> Result<()> {
    let mut client = Client::connect(ensemble.member(id).address)?;
    for index in 0..count {
        create(&mut client, &format!("/{name}-{index}"), b"data", 0)?;
    }
    client.close()
}

// ---- the trials

fn wiped_second(ensemble: &mut Ensemble) -> Result<String> {
    ensemble.form(3)?;
    write_some(ensemble, 1, "before", 700)?;
    ensemble.await_level()?;
    ensemble.stop(2, End::Kill)?;
    write_some(ensemble, 1, "meanwhile", 100)?;
    ensemble.wipe(2)?;
    ensemble.start(2)?;
    ensemble.await_serving(2)?;
    write_some(ensemble, 2, "after", 50)?;
    // It must be worth a vote: with it alone the leader goes on.
    ensemble.await_level()?;
    ensemble.stop(1, End::Kill)?;
    write_some(ensemble, 2, "without-the-first", 50)?;
    ensemble.start(1)?;
    ensemble.await_all()?;
    Ok("900 writes".to_owned())
}

fn majority_away(ensemble: &mut Ensemble) -> Result<String> {
    ensemble.start_all()?;
    let mut client =
        Client::connect_within(ensemble.member(1).address, Duration::from_secs(10), Duration::from_secs(20))?;
    create(&mut client, "/mine", b"here", 1)?;
    let session = client.session().clone();
    ensemble.stop_many(&[2, 3], End::Kill)?;
    // The one that is left must not serve for long.
    let deadline = Instant::now() + Duration::from_secs(30);
    while ensemble.mode(1).is_some() {
        ensure!(Instant::now() < deadline, "one of three still serves");
        std::thread::sleep(Duration::from_millis(100));
    }
    ensure!(Client::connect(ensemble.member(1).address).is_err(), "one of three takes a new client");
    std::thread::sleep(Duration::from_secs(5));
    ensemble.start(2)?;
    ensemble.start(3)?;
    ensemble.await_all()?;
    let back = Client::resume(
        ensemble.member(2).address,
        &session,
        Duration::from_secs(10),
        Duration::from_secs(20),
    )?;
    let Welcome::Back(mut client) = back else {
        anyhow::bail!("the session expired while nobody could lead")
    };
    ensure!(exists(&mut client, "/mine")?, "the ephemeral is gone");
    create(&mut client, "/again", b"", 0)?;
    client.close()?;
    Ok("the session and its ephemeral lived on".to_owned())
}

fn frozen_leader(ensemble: &mut Ensemble) -> Result<String> {
    ensemble.form(3)?;
    write_some(ensemble, 1, "before", 50)?;
    let mut held = Client::connect(ensemble.member(3).address)?;
    create(&mut held, "/held", b"", 0)?;
    ensemble.pause(3);
    let deadline = Instant::now() + Duration::from_secs(60);
    let next = loop {
        let found = [1, 2].into_iter().find(|id| ensemble.mode(*id) == Some(Mode::Leader));
        if let Some(id) = found {
            break id;
        }
        ensure!(Instant::now() < deadline, "nobody else leads while the leader is frozen");
        std::thread::sleep(Duration::from_millis(100));
    };
    write_some(ensemble, next, "meanwhile", 50)?;
    // What the old leader is asked in the moment of its waking must not be answered by it as leader.
    let _ = held.send(op::CREATE, &fill::create("/ghost", Some(b""), &open_acl(), 0));
    ensemble.resume(3);
    ensemble.await_all()?;
    ensemble.await_level()?;
    ensure!(ensemble.mode(3) == Some(Mode::Follower), "the old leader is {:?}", ensemble.mode(3));
    write_some(ensemble, 3, "after", 50)?;
    Ok(format!("member {next} led meanwhile"))
}

fn from_elsewhere(ensemble: &mut Ensemble) -> Result<String> {
    ensemble.form(3)?;
    write_some(ensemble, 1, "before", 50)?;
    ensemble.await_level()?;
    ensemble.stop(2, End::Term)?;
    write_some(ensemble, 1, "meanwhile", 100)?;
    ensemble.pretend_epoch(2, 77)?;
    ensemble.start(2)?;
    // Long enough for many attempts: each member that has a quorum goes on, and what it acknowledged stays.
    let until = Instant::now() + Duration::from_secs(12);
    let mut written = 0;
    while Instant::now() < until {
        write_some(ensemble, 1, &format!("beside-{written}"), 1)?;
        written += 1;
        ensure!(ensemble.mode(3) == Some(Mode::Leader), "member 3 has lost its lead to data from elsewhere");
    }
    let mut client = Client::connect(ensemble.member(3).address)?;
    for path in ["/before-49".to_owned(), "/meanwhile-99".to_owned(), format!("/beside-{}-0", written - 1)] {
        ensure!(exists(&mut client, &path)?, "{path} is gone");
    }
    client.close()?;
    // What an operator does then.
    ensemble.stop(2, End::Kill)?;
    ensemble.wipe(2)?;
    ensemble.start(2)?;
    ensemble.await_serving(2)?;
    Ok(format!("{written} writes while it stayed outside"))
}

fn big_nodes(ensemble: &mut Ensemble) -> Result<String> {
    // As much as a packet of the default size can take beside its other fields.
    carry(ensemble, 1_040_000, 1_100_000)
}

fn raised_buffer(ensemble: &mut Ensemble) -> Result<String> {
    carry(ensemble, 4_100_000, 4_250_000)
}

/// Nodes of this size get everywhere, by every way; one that is too big breaks the connection and nothing else.
fn carry(ensemble: &mut Ensemble, size: usize, too_big: usize) -> Result<String> {
    ensemble.form(3)?;
    let ids = ensemble.ids();
    let big = vec![b'x'; size];
    let mut made = Vec::new();
    for id in &ids {
        let mut client = Client::connect(ensemble.member(*id).address)?;
        let path = format!("/big-{id}");
        create(&mut client, &path, &big, 0)?;
        made.push(path);
        let body = fill::create("/too-big", Some(&vec![0; too_big]), &open_acl(), 0);
        ensure!(client.call(op::CREATE, &body).is_err(), "member {id} took a request that is too long");
    }
    // By a difference, then by a whole tree.
    ensemble.await_level()?;
    for (count, name) in [(3, "few"), (700, "many")] {
        ensemble.stop_many(&[2, 4], End::Kill)?;
        let mut client = Client::connect(ensemble.member(3).address)?;
        for index in 0..3 {
            let path = format!("/{name}-big-{index}");
            create(&mut client, &path, &big, 0)?;
            made.push(path);
        }
        client.close()?;
        write_some(ensemble, 3, name, count)?;
        ensemble.start(2)?;
        ensemble.start(4)?;
        ensemble.await_all()?;
    }
    ensemble.await_level()?;
    for id in ids {
        let mut client = Client::connect(ensemble.member(id).address)?;
        for path in &made {
            let reply = client.call(op::GET_DATA, &Enc::new().string(path).byte(0).0)?;
            ensure!(reply.body.len() > big.len(), "{path} is short on member {id}");
        }
        client.close()?;
    }
    Ok(format!("{} nodes of {size} bytes", made.len()))
}

fn killed_clients(ensemble: &mut Ensemble) -> Result<String> {
    ensemble.start_all()?;
    let addresses = ensemble.addresses();
    let timeout = Duration::from_secs(4);
    let (mut kept, mut rounds, mut gone) = (Vec::new(), 0, 0);
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(30) {
        for index in 0..40 {
            let address = addresses[index % addresses.len()];
            let mut client = Client::connect_within(address, timeout, Duration::from_secs(20))?;
            let path = format!("/live-{rounds}-{index}");
            create(&mut client, &path, b"", 1)?;
            if index % 10 == 0 {
                kept.push((index, path, client));
            } else {
                gone += 1;
            }
        }
        for (index, _, client) in &mut kept {
            client
                .ping()
                .with_context(|| format!("a session that pings, through member {}", *index % 4 + 1))?;
        }
        rounds += 1;
        std::thread::sleep(Duration::from_millis(300));
    }
    let names: BTreeSet<&str> = kept.iter().map(|(_, path, _)| path.trim_start_matches('/')).collect();
    let names: BTreeSet<String> = names.into_iter().map(str::to_owned).collect();
    let deadline = Instant::now() + timeout * 3;
    loop {
        for (_, _, client) in &mut kept {
            client.ping()?;
        }
        let mut left = Vec::new();
        for address in &addresses {
            left.push(live(*address)?);
        }
        if left.iter().all(|found| *found == names) {
            break;
        }
        ensure!(
            Instant::now() < deadline,
            "of {} ephemerals these numbers are left: {:?}",
            names.len(),
            left.iter().map(BTreeSet::len).collect::<Vec<_>>()
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    for (_, _, client) in kept {
        client.close()?;
    }
    Ok(format!("{gone} clients killed, {} that pinged lived on", names.len()))
}

/// The nodes of sessions at one member.
fn live(address: std::net::SocketAddr) -> Result<BTreeSet<String>> {
    let mut client = Client::connect(address)?;
    client.call(op::SYNC, &Enc::new().string("/").0)?;
    let reply = client.call(op::GET_CHILDREN, &Enc::new().string("/").byte(0).0)?;
    client.close()?;
    let mut dec = crate::differential::raw::Dec::new(&reply.body);
    let count = dec.count().context("no count of children")?;
    let names: Option<Vec<String>> = (0..count).map(|_| dec.string()).collect();
    Ok(names.context("a short list")?.into_iter().filter(|name| name.starts_with("live-")).collect())
}

fn groups(ensemble: &mut Ensemble) -> Result<String> {
    ensemble.start_all()?;
    write_some(ensemble, 2, "all", 100)?;
    // Without 1 and 4 two of the three groups still have their majority: {2, 3} and {5}.
    ensemble.await_level()?;
    ensemble.stop_many(&[1, 4], End::Kill)?;
    ensemble.await_leader()?;
    ensemble.await_all()?;
    write_some(ensemble, 3, "two-groups", 100)?;
    // Without 5 as well one group is left, although three of five would be a majority with 4.
    ensemble.start(4)?;
    ensemble.await_all()?;
    ensemble.stop_many(&[4, 5], End::Kill)?;
    let deadline = Instant::now() + Duration::from_secs(30);
    while [2, 3].into_iter().any(|id| ensemble.mode(id).is_some()) {
        ensure!(Instant::now() < deadline, "one group of three still serves");
        std::thread::sleep(Duration::from_millis(100));
    }
    ensemble.start(4)?;
    ensemble.await_leader()?;
    ensemble.await_all()?;
    write_some(ensemble, 2, "again", 100)?;
    ensemble.start(1)?;
    ensemble.start(5)?;
    ensemble.await_all()?;
    Ok("300 writes".to_owned())
}

fn moving_sessions(ensemble: &mut Ensemble) -> Result<String> {
    ensemble.start_all()?;
    let addresses = ensemble.addresses();
    let mut sessions: Vec<Session> = Vec::new();
    for index in 0..20 {
        let address = addresses[index % addresses.len()];
        let mut client = Client::connect_within(address, Duration::from_secs(8), Duration::from_secs(20))?;
        create(&mut client, &format!("/moving-{index}"), b"", 1)?;
        sessions.push(client.session().clone());
    }
    let mut moves = 0;
    for round in 1..=12 {
        if round == 6 {
            let leader = ensemble.await_leader()?;
            ensemble.stop(leader, End::Kill)?;
            ensemble.await_leader()?;
            ensemble.start(leader)?;
            ensemble.await_all()?;
        }
        for (index, session) in sessions.iter_mut().enumerate() {
            let address = addresses[(index + round) % addresses.len()];
            let back = Client::resume(address, session, Duration::from_secs(8), Duration::from_secs(20))
                .with_context(|| format!("session {index} moves to {address}"))?;
            let Welcome::Back(mut client) = back else { anyhow::bail!("session {index} expired") };
            // Without a sync: whoever has seen its own write must find it wherever it goes.
            let path = format!("/moving-{index}");
            let reply = client.call(op::EXISTS, &Enc::new().string(&path).byte(0).0)?;
            ensure!(reply.err == 0, "{path} cannot be seen at {address}: {}", reply.err);
            create(&mut client, &format!("/trace-{index}-{round}"), b"", 0)?;
            *session = client.session().clone();
            moves += 1;
        }
    }
    Ok(format!("{moves} moves of {} sessions", sessions.len()))
}

/// Asks leader, follower and observer of an ensemble of each kind every word whose answer tells of the ensemble.
fn compare_words(both: &Kinds) -> Result<String> {
    let mut setup = setup(None);
    // One timeout for all: nothing may expire in between.
    setup.config.push("maxSessionTimeout=3600000".to_owned());
    let (java, ours) = (kinds("JJJj", &both.java, &both.ours), kinds("OOOo", &both.java, &both.ours));
    let mut pair = [Ensemble::new("words-java", &java, &setup)?, Ensemble::new("words-ours", &ours, &setup)?];
    let mut clients = Vec::new();
    for ensemble in &mut pair {
        ensemble.form(3)?;
        clients.extend(words::history(ensemble.member(1).address)?);
        // Java lists the connection that asks as well: that line is to have company everywhere.
        for address in ensemble.addresses() {
            clients.push(Client::connect(address)?);
        }
        ensemble.await_level()?;
    }
    let (mut asked, mut differing) = (0, 0);
    for (role, id) in [("leader", 3), ("follower", 1), ("other follower", 2), ("observer", 4)] {
        for word in ["srvr", "stat", "mntr", "conf", "isro", "ruok", "wchs", "dirs", "hash", "envi", "dump"] {
            let left = format!("Java {role}");
            let right = format!("Ostler {role}");
            asked += 1;
            differing += usize::from(words::differs(
                word,
                (&left, pair[0].member(id).address),
                (&right, pair[1].member(id).address),
            )?);
        }
    }
    ensure!(differing == 0, "{differing} of {asked} answers differ in shape");
    Ok(format!("{asked} answers have the same shape"))
}
