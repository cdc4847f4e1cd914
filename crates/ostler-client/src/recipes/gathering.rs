//! A number of members gather; when all are there they run one after the other, in the order in which they came. The
//! "synchronous queue" of the ZooKeeper cookbooks, with `<path>/num` as the number.
//!
//! **Layout**: `<path>/num`, persistent, the number as text; `<path>/members/_c_<guid>-member-<number>`, ephemeral
//! sequential; `<path>/start`, persistent, from the moment when all were there until the last has run.
//!
//! **Guarantees**: nobody runs before as many members were there at once as `num` says; one runs at a time, by the clock
//! of the servers; in order; a member that dies is passed over. **Not**: members that come while others run are of the
//! same round and run behind them; and when the last one dies in its turn `start` stays, until the next one that runs
//! last takes it away.

use super::common::{again, ensure_kept, join, unless};
use super::holding::{Holding, Tenure};
use super::seat::Seat;
use crate::{Client, Code, CreateMode, Error, ErrorKind, Zxid};

/// A place where members gather.
#[derive(Debug, Clone)]
pub struct Gathering {
    client: Client,
    path: String,
    size: usize,
}

impl Gathering {
    /// The gathering of this directory, of so many members.
    #[must_use]
    pub fn new(client: &Client, path: &str, size: usize) -> Self {
        Self { client: client.clone(), path: path.to_owned(), size }
    }

    /// Comes, waits until all are there and until those ahead have run. `Misuse` if the others count differently.
    pub async fn join(&self, id: &[u8]) -> Result<Turn, Error> {
        self.agree_on_size().await?;
        let members = join(&self.path, "members");
        loop {
            let seat =
                Seat::take(&self.client, &members, "member-", id, CreateMode::EphemeralSequential).await?;
            self.wait_for_start(&members).await?;
            match seat.wait_turn(|name| name.contains("member-")).await {
                Ok(()) => {}
                Err(error) if error.code() == Some(Code::NoNode) && !self.client.status().is_ended() => {
                    continue;
                }
                Err(error) => return Err(error),
            }
            let status = self.client.status();
            let path = seat.created().path.clone();
            if again(&self.client, || self.client.exists(&path)).await?.is_some() {
                let tenure = Tenure::since(&self.client, &status);
                return Ok(Turn { gathering: self.clone(), seat, tenure });
            }
        }
    }

    async fn agree_on_size(&self) -> Result<(), Error> {
        let path = join(&self.path, "num");
        let wanted = self.size.to_string();
        loop {
            let read = again(&self.client, || self.client.get_data(&path)).await;
            if let Some((data, _)) = unless(Code::NoNode, read)? {
                if data == wanted {
                    return Ok(());
                }
                let found = String::from_utf8_lossy(&data);
                let what = format!("{path} says {found}, and this member {wanted}");
                return Err(Error::new(ErrorKind::Misuse, what));
            }
            let created =
                again(&self.client, || self.client.create(&path, wanted.clone(), CreateMode::Persistent));
            match created.await {
                Ok(_) => {}
                Err(error) if error.code() == Some(Code::NodeExists) => {}
                Err(error) if error.code() == Some(Code::NoNode) => {
                    ensure_kept(&self.client, &self.path).await?
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// `start` stands from the moment when all were there until the last has run: who runs leaves, and the others must
    /// not wait for the full number again.
    async fn wait_for_start(&self, members: &str) -> Result<(), Error> {
        let start = join(&self.path, "start");
        loop {
            let (stat, started) = again(&self.client, || self.client.exists_and_watch(&start)).await?;
            if stat.is_some() {
                return Ok(());
            }
            let listed = again(&self.client, || self.client.get_children_and_watch(members)).await;
            let Some((names, _, changed)) = unless(Code::NoNode, listed)? else { continue };
            if names.len() >= self.size {
                let created =
                    again(&self.client, || self.client.create(&start, "", CreateMode::Persistent)).await;
                match created {
                    Err(error) if error.code() != Some(Code::NodeExists) => return Err(error),
                    _ => return Ok(()),
                }
            }
            tokio::select! {
                biased;
                event = started => drop(event?),
                event = changed => drop(event?),
            }
        }
    }
}

/// A member's turn. Dropped, it is over.
#[derive(Debug)]
#[must_use = "a turn that is dropped is over"]
pub struct Turn {
    gathering: Gathering,
    seat: Seat,
    tenure: Tenure,
}

impl Turn {
    /// A number that grows from turn to turn.
    #[must_use]
    pub fn token(&self) -> Zxid {
        Zxid(self.seat.created().stat.czxid)
    }

    /// The time during which it is held, to be watched elsewhere.
    #[must_use]
    pub fn tenure(&self) -> Tenure {
        self.tenure.clone()
    }

    /// Whether it still is this member's turn.
    #[must_use]
    pub fn holding(&self) -> Holding {
        self.tenure.holding()
    }

    /// Waits until it is no longer.
    pub async fn lost(&self) {
        self.tenure.lost().await;
    }

    /// Lets the next one run. The last of the round takes `start` away, so that the next gathering waits again.
    pub async fn done(self) -> Result<(), Error> {
        let client = &self.gathering.client;
        let members = join(&self.gathering.path, "members");
        let listed = again(client, || client.get_children(&members)).await;
        let names = unless(Code::NoNode, listed)?.map(|(names, _)| names).unwrap_or_default();
        if names.len() <= 1 {
            super::common::remove(client, &join(&self.gathering.path, "start")).await?;
        }
        self.seat.leave().await
    }
}
