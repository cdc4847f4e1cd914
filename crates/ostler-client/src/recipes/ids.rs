//! Names that grow and are given out once in the cluster: `order-0000000042`.
//!
//! **Layout**: `<path>/_c_<guid>-<name>-<number>`, ephemeral sequential, for a moment.
//!
//! **Guarantees**: no name is given out twice, and a name that is asked for after another was received is greater; also
//! by several processes. **Not**: there are gaps, numbers end at 2,147,483,647, and they begin anew when the directory is
//! deleted; it is therefore persistent.

use super::common::{ensure_kept, sequence};
use super::seat::Seat;
use crate::{Client, Code, CreateMode, Error, ErrorKind};

/// Gives out names.
#[derive(Debug, Clone)]
pub struct IdGenerator {
    client: Client,
    path: String,
    name: String,
}

impl IdGenerator {
    /// Names `<name>-<number>`, by the numbers of this directory.
    #[must_use]
    pub fn new(client: &Client, path: &str, name: &str) -> Self {
        Self { client: client.clone(), path: path.to_owned(), name: name.to_owned() }
    }

    /// The next name.
    pub async fn next(&self) -> Result<String, Error> {
        self.next_number().await.map(|number| format!("{}-{number:010}", self.name))
    }

    /// The next number.
    pub async fn next_number(&self) -> Result<u64, Error> {
        // Not a container: one that is removed and made anew would begin at 0.
        let missing = super::common::again(&self.client, || self.client.exists(&self.path)).await?.is_none();
        if missing {
            ensure_kept(&self.client, &self.path).await?;
        }
        let name = format!("{}-", self.name);
        let seat = Seat::take(&self.client, &self.path, &name, b"", CreateMode::EphemeralSequential).await?;
        let number = sequence(seat.name()).and_then(|number| u64::try_from(number).ok());
        match seat.leave().await {
            Err(error) if error.code() != Some(Code::NoNode) && error.kind() != ErrorKind::SessionLost => {
                Err(error)
            }
            _ => number.ok_or_else(|| Error::new(ErrorKind::Misuse, "the directory has no numbers left")),
        }
    }
}
