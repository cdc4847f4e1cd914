//! Connecting to another server: names are resolved anew each time, since addresses change while a server runs, and
//! all addresses are tried at once, since one of them may be dead (ZOOKEEPER-2164, 3756).

use std::io;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The first connection to any of the addresses that comes about.
pub(super) async fn dial(addresses: &[(String, u16)], patience: Duration) -> io::Result<TcpStream> {
    let late = || io::Error::new(io::ErrorKind::TimedOut, "no answer in time");
    timeout(patience, first_of(addresses)).await.unwrap_or_else(|_| Err(late()))
}

async fn first_of(addresses: &[(String, u16)]) -> io::Result<TcpStream> {
    let mut attempts = JoinSet::new();
    let mut problem = None;
    for (host, port) in addresses {
        match lookup_host((host.as_str(), *port)).await {
            Ok(found) => {
                for address in found {
                    attempts.spawn(TcpStream::connect(address));
                }
            }
            Err(error) => problem = Some(io::Error::new(error.kind(), format!("{host}: {error}"))),
        }
    }
    while let Some(attempt) = attempts.join_next().await {
        match attempt {
            Ok(Ok(stream)) => {
                // Both protocols are made of small messages that somebody waits for.
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Ok(Err(error)) => problem = Some(error),
            Err(_) => {}
        }
    }
    Err(problem
        .unwrap_or_else(|| io::Error::new(io::ErrorKind::NotFound, "there is no address to connect to")))
}
