//! Two-phase commit: participants vote, and all learn one decision.
//!
//! **Layout**: `<path>`, persistent, data: `open` and the participants' names, one a line; then `commit` or `abort`.
//! `<path>/<participant>`, persistent, data: `yes` or `no`.
//!
//! **Guarantees**: one decision, which never changes; `commit` only if every participant voted yes; a vote is given
//! once; also when the connection is lost at any step, and whoever dies. Anybody may bring an open transaction to its
//! end ([`Coordinator::open`]), so that a dead coordinator holds nobody up. **Not**: a participant that voted yes must be
//! able to do what was decided after any crash; what it does is its own matter.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::common::{again, ensure_kept, join, parent, remove, unless};
use crate::{Client, Code, CreateMode, Error, ErrorKind};

/// What a participant wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vote {
    /// It can do it, whatever happens.
    Yes,
    /// It cannot.
    No,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// All do it.
    Commit,
    /// Nobody does.
    Abort,
}

/// Begins transactions and brings them to an end.
#[derive(Debug, Clone)]
pub struct Coordinator {
    client: Client,
    path: String,
    participants: Vec<String>,
}

impl Coordinator {
    /// Begins a transaction at this path, among these participants. Beginning the same one again is fine.
    pub async fn begin(client: &Client, path: &str, participants: &[&str]) -> Result<Self, Error> {
        if participants.iter().any(|name| name.contains(['/', '\n']) || name.is_empty()) {
            return Err(Error::new(ErrorKind::Misuse, "a participant's name is one name of a path"));
        }
        let text = format!("open\n{}", participants.join("\n"));
        loop {
            let created = again(client, || client.create(path, text.clone(), CreateMode::Persistent)).await;
            match created {
                Ok(_) => break,
                Err(error) if error.code() == Some(Code::NodeExists) => break,
                Err(error) if error.code() == Some(Code::NoNode) => ensure_kept(client, parent(path)).await?,
                Err(error) => return Err(error),
            }
        }
        let participants = participants.iter().map(|&name| name.to_owned()).collect();
        Ok(Self { client: client.clone(), path: path.to_owned(), participants })
    }

    /// Takes over a transaction that somebody else began; `None` if it is decided or there is none.
    pub async fn open(client: &Client, path: &str) -> Result<Option<Self>, Error> {
        let Some((data, _)) = unless(Code::NoNode, again(client, || client.get_data(path)).await)? else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(&data).into_owned();
        let mut lines = text.lines();
        if lines.next() != Some("open") {
            return Ok(None);
        }
        let participants = lines.map(str::to_owned).collect();
        Ok(Some(Self { client: client.clone(), path: path.to_owned(), participants }))
    }

    /// Waits for the votes, for a while, and decides: commit if all are yes. If somebody else decided first the answer
    /// is that decision.
    pub async fn decide(&self, patience: Duration) -> Result<Decision, Error> {
        let deadline = Instant::now() + patience;
        let decision = loop {
            let listed = again(&self.client, || self.client.get_children_and_watch(&self.path)).await?;
            let (names, _, changed) = listed;
            let mut all_yes = self.participants.iter().all(|name| names.contains(name));
            let mut any_no = false;
            for name in names.iter().filter(|name| self.participants.contains(name)) {
                let path = join(&self.path, name);
                let (vote, _) = again(&self.client, || self.client.get_data(&path)).await?;
                any_no |= vote != "yes";
            }
            all_yes &= !any_no;
            if all_yes {
                break Decision::Commit;
            }
            if any_no || decided(&self.client, &self.path).await?.is_some() {
                break Decision::Abort;
            }
            match tokio::time::timeout_at(deadline, changed).await {
                Ok(event) => drop(event?),
                Err(_) => break Decision::Abort,
            }
        };
        // Version 0 is the open one, so the first who decides is the only one.
        let set = again(&self.client, || self.client.set_data(&self.path, word(decision), 0)).await;
        match set {
            Ok(_) => Ok(decision),
            Err(error) if error.code() == Some(Code::BadVersion) => decided(&self.client, &self.path)
                .await?
                .ok_or_else(|| Error::new(ErrorKind::Misuse, "the transaction's znode holds no decision")),
            Err(error) => Err(error),
        }
    }

    /// Removes the transaction. To be done when all participants have done what was decided.
    pub async fn remove(self) -> Result<(), Error> {
        for name in &self.participants {
            remove(&self.client, &join(&self.path, name)).await?;
        }
        remove(&self.client, &self.path).await
    }
}

/// One who votes.
#[derive(Debug, Clone)]
pub struct Participant {
    client: Client,
    path: String,
    name: String,
}

impl Participant {
    /// The participant of this name, in the transaction at this path.
    #[must_use]
    pub fn new(client: &Client, path: &str, name: &str) -> Self {
        Self { client: client.clone(), path: path.to_owned(), name: name.to_owned() }
    }

    /// Votes. The first vote counts: the answer is that one.
    pub async fn vote(&self, vote: Vote) -> Result<Vote, Error> {
        let path = join(&self.path, &self.name);
        let text = if vote == Vote::Yes { "yes" } else { "no" };
        let created = again(&self.client, || self.client.create(&path, text, CreateMode::Persistent)).await;
        match created {
            Ok(_) => Ok(vote),
            Err(error) if error.code() == Some(Code::NodeExists) => {
                let (data, _) = again(&self.client, || self.client.get_data(&path)).await?;
                Ok(if data == "yes" { Vote::Yes } else { Vote::No })
            }
            Err(error) => Err(error),
        }
    }

    /// Waits for the decision.
    pub async fn decision(&self) -> Result<Decision, Error> {
        loop {
            let (data, _, changed) =
                again(&self.client, || self.client.get_data_and_watch(&self.path)).await?;
            if let Some(decision) = meaning(&data) {
                return Ok(decision);
            }
            changed.await?;
        }
    }
}

async fn decided(client: &Client, path: &str) -> Result<Option<Decision>, Error> {
    let (data, _): (Bytes, _) = again(client, || client.get_data(path)).await?;
    Ok(meaning(&data))
}

fn word(decision: Decision) -> &'static str {
    match decision {
        Decision::Commit => "commit",
        Decision::Abort => "abort",
    }
}

fn meaning(data: &[u8]) -> Option<Decision> {
    match data {
        b"commit" => Some(Decision::Commit),
        b"abort" => Some(Decision::Abort),
        _ => None,
    }
}
