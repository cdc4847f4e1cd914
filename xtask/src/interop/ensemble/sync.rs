//! A member that was away comes back, and the leader brings it up to date in the way that was meant.
//!
//! DIFF: away for fewer transactions than the leader keeps in memory. SNAP: away for more, with the log on disk not
//! used. Log: away for more, with the log on disk used, which is a DIFF again. TRUNC: it led, and logged what no other
//! member has; the next leader has written nothing yet. Forked: the same, but the next leader has gone on in its own
//! epoch, where the reference never cuts and sends a snapshot.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::super::client::Client;
use super::super::fill;
use super::agree;
use crate::differential::content::open_acl;
use crate::differential::op;
use crate::ensemble::{End, Ensemble, Member};

/// What the returning member has to go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Missing a few transactions.
    Diff,
    /// Missing many.
    Snap,
    /// Missing many that the leader has in its log.
    Log,
    /// Holding some that nobody else has.
    Trunc,
    /// Holding some that nobody else has, and missing others.
    Forked,
}

/// What the leader sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// The transactions that are missing.
    Diff,
    /// Everything.
    Snap,
    /// Where to cut.
    Trunc,
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Diff => "DIFF",
            Self::Snap => "SNAP",
            Self::Trunc => "TRUNC",
        })
    }
}

impl Way {
    fn wanted(self) -> Sent {
        match self {
            Self::Diff | Self::Log => Sent::Diff,
            Self::Snap | Self::Forked => Sent::Snap,
            Self::Trunc => Sent::Trunc,
        }
    }
}

/// More than a leader keeps in memory (`commitLogCount`, at least 500).
const MANY: usize = 2_000;

/// Sends the member `learner` through one way under `leader`; both must be able to lead where they have to.
pub(crate) fn force(ensemble: &mut Ensemble, leader: u32, learner: u32, way: Way) -> Result<()> {
    let lost = match way {
        Way::Diff | Way::Snap | Way::Log => {
            ensemble.form(leader)?;
            let mut client = Client::connect(ensemble.member(leader).address)?;
            write(&mut client, 30)?;
            ensemble.await_level()?;
            ensemble.stop(learner, End::Term)?;
            write(&mut client, if way == Way::Diff { 100 } else { MANY })?;
            client.close()?;
            None
        }
        Way::Trunc | Way::Forked => Some(isolate(ensemble, leader, learner, way)?),
    };
    let marks = [ensemble.member(leader).log_length(), ensemble.member(learner).log_length()];
    ensemble.start(learner)?;
    ensemble.await_serving(learner)?;
    let sent = observed(ensemble.member(leader), ensemble.member(learner), marks)?;
    ensure!(
        sent == way.wanted(),
        "member {learner} came back to member {leader} by {sent} where {} was meant",
        way.wanted()
    );
    let mut client = Client::connect(ensemble.member(learner).address)?;
    write(&mut client, 10).context("writes through the member that came back")?;
    client.close()?;
    let agreement = agree::check(ensemble, Duration::from_secs(20))?;
    if let Some(lost) = lost {
        for path in lost {
            ensure!(!agreement.tree.contains_key(&path), "{path} was never committed and is there");
        }
    }
    Ok(())
}

/// Lets `learner` lead, and log writes that reach nobody; then the others elect `leader`. The paths written in vain.
fn isolate(ensemble: &mut Ensemble, leader: u32, learner: u32, way: Way) -> Result<Vec<String>> {
    ensemble.form(learner)?;
    let mut client = Client::connect(ensemble.member(learner).address)?;
    write(&mut client, 30)?;
    ensemble.await_level()?;
    let others: Vec<u32> = ensemble.ids().into_iter().filter(|id| *id != learner).collect();
    for id in &others {
        ensemble.pause(*id);
    }
    // A thread that is in the kernel stops when it comes out.
    std::thread::sleep(Duration::from_millis(400));
    let mut lost = Vec::new();
    for index in 0..5 {
        let path = format!("/vain-{:x}-{index}", client.session().id);
        client.send(op::CREATE, &fill::create(&path, Some(b"nobody"), &open_acl(), 0))?;
        lost.push(path);
    }
    // Time to get them onto the leader's own disk.
    std::thread::sleep(Duration::from_millis(800));
    // What lies in the sockets of the frozen members must not reach them either.
    ensemble.stop_many(&others, End::Kill)?;
    ensemble.stop(learner, End::Kill)?;
    for id in &others {
        ensemble.start(*id)?;
    }
    let elected = ensemble.await_leader()?;
    ensure!(elected == leader, "member {elected} leads where {leader} was meant to");
    for id in &others {
        ensemble.await_serving(*id)?;
    }
    if way == Way::Forked {
        let mut client = Client::connect(ensemble.member(leader).address)?;
        write(&mut client, 20)?;
        client.close()?;
    }
    Ok(lost)
}

fn write(client: &mut Client, count: usize) -> Result<()> {
    let name = format!("/sync-{:x}-", client.session().id);
    let requests: Vec<_> =
        (0..count).map(|_| (op::CREATE, fill::create(&name, Some(b"data"), &open_acl(), 2))).collect();
    let refused = client.calls(&requests)?.iter().filter(|reply| reply.err != 0).count();
    ensure!(refused == 0, "{refused} of {count} creates were refused");
    Ok(())
}

/// What the two members wrote about it since they had logs of these lengths; the learner's word counts.
fn observed(leader: &Member, learner: &Member, marks: [u64; 2]) -> Result<Sent> {
    let seen =
        [said(&learner.log_since(marks[1]), &LEARNER_SAYS), said(&leader.log_since(marks[0]), &LEADER_SAYS)];
    match seen {
        [Some(sent), None] | [None, Some(sent)] => Ok(sent),
        [Some(one), Some(other)] if one == other => Ok(one),
        [Some(one), Some(other)] => bail!("the learner speaks of {one}, the leader of {other}"),
        [None, None] => bail!(
            "neither the leader nor the learner says how member {} was brought up to date; its log:\n{}",
            learner.id,
            learner.log_tail()
        ),
    }
}

const LEARNER_SAYS: [(&str, Sent); 6] = [
    ("Getting a diff from the leader", Sent::Diff),
    ("Getting a snapshot from leader", Sent::Snap),
    ("Truncating log to get in sync", Sent::Trunc),
    ("brings this server up to date way=\"DIFF\"", Sent::Diff),
    ("brings this server up to date way=\"SNAP\"", Sent::Snap),
    ("brings this server up to date way=\"TRUNC\"", Sent::Trunc),
];

const LEADER_SAYS: [(&str, Sent); 6] = [
    ("Sending DIFF zxid", Sent::Diff),
    ("Sending snapshot last zxid", Sent::Snap),
    ("Sending TRUNC", Sent::Trunc),
    ("bringing a learner up to date way=\"DIFF\"", Sent::Diff),
    ("bringing a learner up to date way=\"SNAP\"", Sent::Snap),
    ("bringing a learner up to date way=\"TRUNC\"", Sent::Trunc),
];

/// The last of the phrases in a log.
fn said(log: &str, phrases: &[(&str, Sent)]) -> Option<Sent> {
    let spoken = |line: &str| phrases.iter().find(|(phrase, _)| line.contains(phrase)).map(|(_, sent)| *sent);
    log.lines().filter_map(spoken).next_back()
}
