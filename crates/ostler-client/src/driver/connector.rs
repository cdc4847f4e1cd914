//! How a connection to a server is made: the seam for TLS, for proxies, and for tests that have no network.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::connect_string::Host;

/// A connection: bytes in order, both ways.
pub trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// A connection that is being made.
pub type Connecting<'a> = Pin<Box<dyn Future<Output = io::Result<Box<dyn Transport>>> + Send + 'a>>;

/// Makes connections. One for TLS makes a TCP connection, shakes hands, and returns the encrypted stream.
pub trait Connector: fmt::Debug + Send + Sync + 'static {
    /// Connects to a server. Asked again for every connection, so a name is looked up every time. The client gives up
    /// on what takes too long, and drops it.
    fn connect<'a>(&'a self, host: &'a Host) -> Connecting<'a>;
}

/// Plain TCP. A name that stands for several addresses is tried with all of them, beginning with another one each
/// time.
#[derive(Debug, Default)]
pub struct TcpConnector {
    turn: AtomicUsize,
}

impl Connector for TcpConnector {
    fn connect<'a>(&'a self, host: &'a Host) -> Connecting<'a> {
        Box::pin(async move {
            let stream = connect_tcp(host, self.turn.fetch_add(1, Ordering::Relaxed)).await?;
            Ok(Box::new(stream) as Box<dyn Transport>)
        })
    }
}

/// Resolves the name and connects; the first address that is tried is the one at place `turn`, modulo their number.
pub async fn connect_tcp(host: &Host, turn: usize) -> io::Result<TcpStream> {
    let mut addresses: Vec<_> = tokio::net::lookup_host((host.name.as_str(), host.port)).await?.collect();
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    let first = turn % addresses.len();
    addresses.rotate_left(first);
    let mut last = None;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Requests are small and somebody waits for each.
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.expect("there was an address, and it failed"))
}
