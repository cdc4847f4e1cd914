//! A transaction that happens exactly once, although its answer may be lost: it creates an ephemeral marker with the
//! rest, and whoever does not know looks for that.

use tokio::runtime::Handle;

use super::common::{again, ensure, guid, is_passing, join, pause, remove};
use crate::{Client, Code, CreateMode, Error, ErrorKind, MultiResult, Transaction};

/// Takes the marker off again.
struct Marker {
    client: Client,
    path: String,
}

impl Drop for Marker {
    fn drop(&mut self) {
        if self.client.status().is_ended() {
            return;
        }
        match Handle::try_current() {
            Ok(runtime) => {
                let (client, path) = (self.client.clone(), std::mem::take(&mut self.path));
                runtime.spawn(async move { remove(&client, &path).await });
            }
            Err(_) => drop(self.client.delete(&self.path, crate::ANY_VERSION)),
        }
    }
}

/// Where the markers of a recipe are.
fn markers(path: &str) -> String {
    format!("{path}-pending")
}

/// Commits, for the recipe at this path, what `build` adds to an empty transaction. `None` for the results when only
/// the marker tells that it happened. An error other than a lost session says that it did not happen; its operation
/// counts in `build`'s order.
pub(crate) async fn commit_once<'a>(
    client: &'a Client,
    recipe: &str,
    build: impl Fn(Transaction<'a>) -> Transaction<'a>,
) -> Result<Option<Vec<MultiResult>>, Error> {
    let directory = &markers(recipe);
    let marker = Marker { client: client.clone(), path: join(directory, &guid(client)) };
    loop {
        let transaction = build(client.transaction());
        let own = transaction.len();
        let error = match transaction.create(&marker.path, "", CreateMode::Ephemeral).commit().await {
            Ok(mut results) => {
                results.pop();
                return Ok(Some(results));
            }
            Err(error) => error,
        };
        if error.code() == Some(Code::NoNode) && error.operation() == Some(own) {
            ensure(client, directory).await?;
        } else if is_passing(&error) {
            pause(client).await?;
            if error.kind() == ErrorKind::Unknown {
                again(client, || client.sync(&marker.path)).await?;
                if again(client, || client.exists(&marker.path)).await?.is_some() {
                    return Ok(None);
                }
            }
        } else {
            return Err(error);
        }
    }
}
