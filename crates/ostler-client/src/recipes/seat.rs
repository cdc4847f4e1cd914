//! A sequential znode that is surely there once: a create whose answer is lost is found again by the GUID in its name,
//! `_c_<guid>-<name><number>`, as Curator's "protected" creates are. It goes when its holder leaves or is dropped.

use tokio::runtime::Handle;

use super::common::{again, ensure, guid, is_passing, join, pause, sequence, unless};
use crate::{ANY_VERSION, Client, Code, CreateMode, Created, Error, ErrorKind};

/// The znode of one contender.
#[derive(Debug)]
pub(crate) struct Seat {
    client: Client,
    directory: String,
    guid: String,
    created: Option<Created>,
    left: bool,
}

impl Seat {
    /// Creates it, and the directory if it is not there.
    pub(crate) async fn take(
        client: &Client,
        directory: &str,
        name: &str,
        data: &[u8],
        mode: CreateMode,
    ) -> Result<Self, Error> {
        let mut seat = Self {
            client: client.clone(),
            directory: directory.to_owned(),
            guid: guid(client),
            created: None,
            left: false,
        };
        let path = join(directory, &format!("_c_{}-{name}", seat.guid));
        loop {
            match client.create(&path, data.to_vec(), mode).await {
                Ok(created) => {
                    seat.created = Some(created);
                    return Ok(seat);
                }
                Err(error) if error.code() == Some(Code::NoNode) => ensure(client, directory).await?,
                Err(error) if is_passing(&error) => {
                    pause(client).await?;
                    if error.kind() == ErrorKind::Unknown
                        && let Some(created) = find(client, directory, &seat.guid).await?
                    {
                        seat.created = Some(created);
                        return Ok(seat);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The znode.
    pub(crate) fn created(&self) -> &Created {
        self.created.as_ref().expect("a seat is handed out once it is taken")
    }

    /// The name of the znode in its directory.
    pub(crate) fn name(&self) -> &str {
        &self.created().path[self.directory.trim_end_matches('/').len() + 1..]
    }

    /// Deletes it. An error says that the session is over, with which it goes by itself.
    pub(crate) async fn leave(mut self) -> Result<(), Error> {
        let path = self.created().path.clone();
        super::common::remove(&self.client, &path).await?;
        self.left = true;
        Ok(())
    }

    /// Waits until none of the contenders ahead that count is left. An error with `NoNode` says that the own znode was
    /// deleted. Watches only the one right ahead, so that whoever leaves wakes one.
    pub(crate) async fn wait_turn(&self, counts: impl Fn(&str) -> bool) -> Result<(), Error> {
        let mine = sequence(self.name());
        loop {
            let (names, _) = again(&self.client, || self.client.get_children(&self.directory)).await?;
            if !names.iter().any(|name| name == self.name()) {
                return Err(Error::from(Code::NoNode));
            }
            let ahead = names
                .iter()
                .filter(|name| counts(name))
                .filter_map(|name| Some((sequence(name)?, name)))
                .filter(|(number, _)| Some(*number) < mine)
                .max();
            let Some((_, ahead)) = ahead else { return Ok(()) };
            let path = join(&self.directory, ahead);
            let (stat, watch) = again(&self.client, || self.client.exists_and_watch(&path)).await?;
            if stat.is_some() {
                watch.await?;
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.left || self.client.status().is_ended() {
            return;
        }
        if let Some(created) = &self.created {
            // On its way when this returns, with or without a runtime.
            drop(self.client.delete(&created.path, ANY_VERSION));
        }
        if let Ok(runtime) = Handle::try_current() {
            let (client, directory) = (self.client.clone(), std::mem::take(&mut self.directory));
            let guid = std::mem::take(&mut self.guid);
            // The create may be under way, or the delete be lost: look until it is gone.
            runtime.spawn(async move {
                while let Ok(Some(created)) = find(&client, &directory, &guid).await {
                    if super::common::remove(&client, &created.path).await.is_err() {
                        break;
                    }
                }
            });
        }
    }
}

/// The child with this GUID, if there is one: surely, since a sync goes ahead.
async fn find(client: &Client, directory: &str, guid: &str) -> Result<Option<Created>, Error> {
    loop {
        // Sent together: what was created on this session before is seen.
        let (synced, children) = (client.sync(directory), client.get_children(directory));
        let listed = match synced.await {
            Ok(()) => unless(Code::NoNode, children.await),
            Err(error) => Err(error),
        };
        let names = match listed {
            Ok(Some((names, _))) => names,
            Ok(None) => return Ok(None),
            Err(error) if is_passing(&error) => {
                pause(client).await?;
                continue;
            }
            Err(error) => return Err(error),
        };
        let Some(name) = names.iter().find(|name| name.contains(guid)) else { return Ok(None) };
        let path = join(directory, name);
        return Ok(again(client, || client.exists(&path)).await?.map(|stat| Created { path, stat }));
    }
}
