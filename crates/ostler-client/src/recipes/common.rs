//! What every recipe needs: repeating what the connection spoilt, directories, the order of sequential names.

use std::time::Duration;

use crate::{Client, Code, CreateMode, Error, ErrorKind, Reply};

/// After a failure that is not the caller's: the next attempt comes no sooner.
const PAUSE: Duration = Duration::from_millis(20);

/// Asks again for as long as only the connection, or the load, is the trouble. For reads, and for writes that may
/// happen twice.
pub(crate) async fn again<T>(client: &Client, mut ask: impl FnMut() -> Reply<T>) -> Result<T, Error> {
    loop {
        match ask().await {
            Err(error) if is_passing(&error) => pause(client).await?,
            result => return result,
        }
    }
}

/// Whether it may go better next time. What was sent may have happened.
pub(crate) fn is_passing(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Retry | ErrorKind::Unknown => true,
        ErrorKind::Rejected(code) => is_refused_for_now(code),
        ErrorKind::SessionLost | ErrorKind::Misuse => false,
    }
}

/// Refusals that have nothing to do with the request; it did not happen.
fn is_refused_for_now(code: Code) -> bool {
    matches!(code, Code::NotReadOnly | Code::ThrottledOp | Code::SessionMoved)
}

/// Waits for a connection; the error says that the session is over.
pub(crate) async fn pause(client: &Client) -> Result<(), Error> {
    tokio::time::sleep(PAUSE).await;
    client.connected().await
}

/// `Ok(None)` instead of an error with this code.
pub(crate) fn unless<T>(code: Code, result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.code() == Some(code) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Creates a znode and those above it if they are not there. Containers, so that what is empty goes by itself.
pub(crate) async fn ensure(client: &Client, path: &str) -> Result<(), Error> {
    ensure_mode(client, path, CreateMode::Container).await
}

/// The same with znodes that stay.
pub(crate) async fn ensure_kept(client: &Client, path: &str) -> Result<(), Error> {
    ensure_mode(client, path, CreateMode::Persistent).await
}

async fn ensure_mode(client: &Client, path: &str, mode: CreateMode) -> Result<(), Error> {
    loop {
        let ends = path.char_indices().skip(1).filter(|(_, c)| *c == '/').map(|(at, _)| at);
        let mut vanished = false;
        for end in ends.chain([path.len()]) {
            let part = &path[..end];
            if part.len() < 2 {
                continue;
            }
            match again(client, || client.create(part, "", mode)).await {
                Ok(_) => {}
                Err(error) => match error.code() {
                    Some(Code::NodeExists) => {}
                    // A container above it was removed meanwhile.
                    Some(Code::NoNode) => vanished = true,
                    // Not allowed to create what is above, perhaps for it is there.
                    Some(Code::NoAuth) if end < path.len() => {}
                    _ => return Err(error),
                },
            }
        }
        if !vanished {
            return Ok(());
        }
    }
}

/// Removes a znode; it is fine if it is not there.
pub(crate) async fn remove(client: &Client, path: &str) -> Result<(), Error> {
    unless(Code::NoNode, again(client, || client.delete(path, crate::ANY_VERSION)).await).map(drop)
}

/// The number at the end of a sequential name.
pub(crate) fn sequence(name: &str) -> Option<i64> {
    let digits = name.get(name.len().checked_sub(10)?..)?;
    if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
}

/// `directory/name`, also in the root.
pub(crate) fn join(directory: &str, name: &str) -> String {
    if directory == "/" { format!("/{name}") } else { format!("{directory}/{name}") }
}

/// The path above.
pub(crate) fn parent(path: &str) -> &str {
    ostler_wire::path::parent(path)
}

/// A name that nobody else thinks of.
pub(crate) fn guid(client: &Client) -> String {
    let (high, low) = (client.random_bits(), client.random_bits());
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        (low >> 48) & 0x3fff | 0x8000,
        low & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(sequence("_c_x-lock-0000000042"), Some(42));
        assert_eq!(sequence("lock-00000000x2"), None);
        assert_eq!(sequence("short"), None);
        assert_eq!((join("/", "a"), join("/b", "a")), ("/a".to_owned(), "/b/a".to_owned()));
    }
}
