//! The port at which clients come: it is opened, clients are spread over the lanes, and it moves when the member list
//! says so, while those who are in stay. The new port is open before the old one is closed. Answers to the accepting
//! half of Java's `NIOServerCnxnFactory`, and to its `reconfigure`.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener as Listener, TcpStream};
use tracing::{error, info, warn};

use crate::admission::Admission;
use crate::config::{HostPort, ServerConfig};
use crate::exit;
use crate::inbox::{Errand, Inbox, LaneInbox};
use crate::run::{StartError, bind};

/// How long to wait when there is no getting in, or no port.
const PAUSE: Duration = Duration::from_millis(100);

/// What others know of the port.
#[derive(Debug)]
pub(crate) struct ClientPort {
    open: AtomicU16,
    /// Where it is to be, as the node says.
    wanted: Inbox<HostPort>,
}

impl ClientPort {
    pub(crate) fn new(port: u16) -> Self {
        Self { open: AtomicU16::new(port), wanted: Inbox::new() }
    }

    /// The port that is open.
    pub(crate) fn port(&self) -> u16 {
        self.open.load(Ordering::Relaxed)
    }

    /// It is to be here from now on. Nothing happens if it is.
    pub(crate) fn move_to(&self, address: HostPort) {
        self.wanted.push(address);
    }
}

/// Opens the port.
pub(crate) fn open(config: &ServerConfig) -> Result<TcpListener, StartError> {
    let refused = |address: String, source: io::Error| {
        let hint = match source.kind() {
            io::ErrorKind::AddrInUse => "; another server has the port: stop it, or set another clientPort",
            io::ErrorKind::AddrNotAvailable => "; set clientPortAddress to an address of this machine",
            io::ErrorKind::PermissionDenied => "; ports below 1024 need a privilege: set another clientPort",
            _ => "",
        };
        StartError::Listen { address, source, hint }
    };
    let wanted = &config.client_address;
    let addresses = wanted.resolve().map_err(|source| refused(wanted.to_string(), source))?;
    bind_first(&addresses, config.listen_backlog).map_err(|(address, source)| {
        refused(address.map_or_else(|| wanted.to_string(), |at| at.to_string()), source)
    })
}

/// Listens at the first of these addresses that can be had.
fn bind_first(
    addresses: &[SocketAddr],
    backlog: Option<u32>,
) -> Result<TcpListener, (Option<SocketAddr>, io::Error)> {
    let mut problem = (None, io::Error::other("the name resolves to no address"));
    for address in addresses {
        match bind(*address, backlog) {
            Ok(listener) => return Ok(listener),
            // A machine without IPv6 has the next address.
            Err(source) => problem = (Some(*address), source),
        }
        if problem.1.kind() == io::ErrorKind::AddrInUse {
            break;
        }
    }
    Err(problem)
}

/// Whoever takes clients in.
pub(crate) struct Porter {
    pub(crate) port: Arc<ClientPort>,
    /// Where it was opened.
    pub(crate) at: HostPort,
    pub(crate) backlog: Option<u32>,
    pub(crate) lanes: Vec<Arc<LaneInbox>>,
    pub(crate) admission: Arc<Admission>,
    /// The lane of the next client is this one, round and round.
    pub(crate) next: usize,
}

impl Porter {
    /// Accepts clients and spreads them over the lanes, for as long as the server runs.
    pub(crate) async fn run(mut self, listener: TcpListener) {
        let mut listener = attend(listener);
        let mut wanted = Vec::new();
        loop {
            tokio::select! {
                client = listener.accept() => match client {
                    Ok((stream, peer)) => self.take_in(stream, peer),
                    Err(cause) => {
                        // Out of files, most likely: those who are in go on, and places become free.
                        warn!(%cause, "cannot accept a client");
                        tokio::time::sleep(PAUSE).await;
                    }
                },
                () = self.port.wanted.rung() => {
                    self.port.wanted.take(&mut wanted);
                    for address in wanted.drain(..) {
                        if address != self.at {
                            listener = self.move_to(address, listener).await;
                        }
                    }
                }
            }
        }
    }

    fn take_in(&mut self, stream: TcpStream, peer: SocketAddr) {
        let Some(admitted) = self.admission.admit(peer.ip().to_canonical()) else {
            warn!(%peer, "too many connections from this address (maxClientCnxns) or altogether (maxCnxns)");
            return;
        };
        let lane = &self.lanes[self.next];
        self.next = (self.next + 1) % self.lanes.len();
        if let Ok(stream) = stream.into_std() {
            lane.errands.push(Errand::Serve(stream, peer, admitted));
        }
    }

    /// Yields the new listener, or the old one if there is none to be had at the new place.
    async fn move_to(&mut self, wanted: HostPort, old: Listener) -> Listener {
        let name = wanted.clone();
        // Asking the resolver may take a while, and this thread serves clients.
        let resolved = tokio::task::spawn_blocking(move || name.resolve()).await;
        let (listener, problem) = match resolved.unwrap_or_else(|cause| Err(io::Error::other(cause))) {
            Ok(addresses) => self.reopen(&addresses, old).await,
            Err(cause) => (old, Some(cause)),
        };
        if let Some(cause) = problem {
            error!(%cause, at = %self.at, "clients do not find this server at {wanted}, where the new member list has it");
        } else {
            info!(before = %self.at, "clients are served at {wanted}, as the new member list says");
            self.at = wanted;
        }
        if let Ok(address) = listener.local_addr() {
            self.port.open.store(address.port(), Ordering::Relaxed);
        }
        listener
    }

    /// Listens at one of these addresses; with the old listener comes why not.
    async fn reopen(&self, addresses: &[SocketAddr], old: Listener) -> (Listener, Option<io::Error>) {
        let cause = match bind_first(addresses, self.backlog) {
            Ok(new) => return (attend(new), None),
            Err((_, cause)) => cause,
        };
        let before = match old.local_addr() {
            Ok(before)
                if cause.kind() == io::ErrorKind::AddrInUse
                    && addresses.iter().any(|address| address.port() == before.port()) =>
            {
                before
            }
            _ => return (old, Some(cause)),
        };
        // The same port on other addresses: only one of the two can be open.
        drop(old);
        let cause = match bind_first(addresses, self.backlog) {
            Ok(new) => return (attend(new), None),
            Err((_, cause)) => cause,
        };
        loop {
            match bind(before, self.backlog) {
                Ok(again) => return (attend(again), Some(cause)),
                Err(cause) => {
                    error!(%cause, "cannot listen on {before} any more; trying again");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

fn attend(listener: TcpListener) -> Listener {
    match Listener::from_std(listener) {
        Ok(listener) => listener,
        Err(cause) => {
            error!(%cause, "cannot accept clients");
            std::process::exit(exit::FAILED);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn here(port: u16) -> HostPort {
        HostPort { host: Some("127.0.0.1".to_owned()), port }
    }

    fn free_port() -> u16 {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    struct House {
        port: Arc<ClientPort>,
        lane: Arc<LaneInbox>,
    }

    impl House {
        fn open(at: HostPort) -> Self {
            let listener = bind_first(&at.resolve().unwrap(), None).unwrap();
            let port = Arc::new(ClientPort::new(at.port));
            let lane = Arc::new(LaneInbox::new());
            let porter = Porter {
                port: Arc::clone(&port),
                at,
                backlog: None,
                lanes: vec![Arc::clone(&lane)],
                admission: Arc::new(Admission::new(0, 0)),
                next: 0,
            };
            tokio::task::spawn_local(porter.run(listener));
            Self { port, lane }
        }

        /// A client at this address that was taken in, with the server's end of its connection.
        async fn client(&self, address: &str, port: u16) -> Option<(TcpStream, std::net::TcpStream)> {
            let client = TcpStream::connect((address, port)).await.ok()?;
            let mut errands = Vec::new();
            for _ in 0..100 {
                self.lane.errands.take(&mut errands);
                if let Some(Errand::Serve(stream, ..)) = errands.pop() {
                    return Some((client, stream));
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            None
        }

        async fn move_to(&self, address: HostPort) {
            self.port.move_to(address);
            // Nobody says when it is done, or that it cannot be.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(tokio::task::LocalSet::new().run_until(test));
    }

    #[test]
    fn it_moves_and_who_is_in_stays() {
        run(async {
            let (first, second) = (free_port(), free_port());
            let house = House::open(here(first));
            let (inside, served) = house.client("127.0.0.1", first).await.expect("the port is open");
            house.move_to(here(second)).await;
            assert_eq!(house.port.port(), second);
            assert!(house.client("127.0.0.1", second).await.is_some());
            assert!(house.client("127.0.0.1", first).await.is_none(), "the old port is closed");
            inside.try_write(b"still here").unwrap();
            let mut said = [0; 10];
            served.set_nonblocking(false).unwrap();
            (&served).read_exact(&mut said).unwrap();
            assert_eq!(&said, b"still here");
        });
    }

    #[test]
    fn what_cannot_be_opened_leaves_it_where_it_is() {
        run(async {
            let first = free_port();
            let house = House::open(here(first));
            let taken = TcpListener::bind("127.0.0.1:0").unwrap();
            for elsewhere in [
                here(taken.local_addr().unwrap().port()),
                HostPort { host: Some("192.0.2.1".to_owned()), port: free_port() },
                HostPort { host: Some("no.such.host.invalid".to_owned()), port: 1 },
                // The old one has to be closed for this, and comes back.
                HostPort { host: Some("192.0.2.1".to_owned()), port: first },
            ] {
                house.move_to(elsewhere.clone()).await;
                assert_eq!(house.port.port(), first, "{elsewhere}");
                assert!(house.client("127.0.0.1", first).await.is_some(), "{elsewhere}");
            }
        });
    }

    #[test]
    fn the_same_port_on_other_addresses() {
        run(async {
            let port = free_port();
            let house = House::open(here(port));
            assert!(house.client("127.0.0.2", port).await.is_none());
            house.move_to(HostPort { host: None, port }).await;
            assert!(house.client("127.0.0.2", port).await.is_some());
            assert!(house.client("127.0.0.1", port).await.is_some());
            house.move_to(here(port)).await;
            assert!(house.client("127.0.0.2", port).await.is_none());
            assert!(house.client("127.0.0.1", port).await.is_some());
        });
    }
}
