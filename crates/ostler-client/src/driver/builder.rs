//! Where to connect and how.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ostler_wire::SessionId;
use ostler_wire::client::connect::PASSWORD_LEN;

use super::client::Client;
use super::connector::{Connector, TcpConnector};
use super::hosts::Hosts;
use super::random::Random;
use super::shared::Shared;
use super::state::SessionState;
use super::task::Task;
use crate::connect_string::{Chroot, ConnectString};
use crate::error::{Error, ErrorKind};
use crate::options::Options;
use crate::session::Session;

/// Where to connect and how. [`Client::builder`] begins one.
#[derive(Clone)]
pub struct ClientBuilder {
    servers: ConnectString,
    options: Options,
    shuffle: bool,
    patience: Option<Duration>,
    watch_capacity: usize,
    auths: Vec<(String, Vec<u8>)>,
    resume: Option<(SessionId, [u8; PASSWORD_LEN])>,
    connector: Arc<dyn Connector>,
    seed: Option<u64>,
}

impl ClientBuilder {
    pub(crate) fn new(servers: &str) -> Result<Self, Error> {
        Ok(Self {
            servers: servers.parse()?,
            options: Options::default(),
            shuffle: true,
            patience: None,
            watch_capacity: 1024,
            auths: Vec::new(),
            resume: None,
            connector: Arc::new(TcpConnector::default()),
            seed: None,
        })
    }

    /// The session timeout to ask for, 30 s by default; the server clamps it.
    #[must_use]
    pub fn session_timeout(mut self, timeout: Duration) -> Self {
        self.options.session_timeout = timeout;
        self
    }

    /// Whether a read-only server will do while there is no quorum; no by default.
    #[must_use]
    pub fn read_only(mut self, allowed: bool) -> Self {
        self.options.read_only = allowed;
        self
    }

    /// Whether the servers are tried in a random order; yes by default.
    #[must_use]
    pub fn shuffle(mut self, shuffle: bool) -> Self {
        self.shuffle = shuffle;
        self
    }

    /// How long [`connect`](Self::connect) tries; the session timeout by default.
    #[must_use]
    pub fn connect_patience(mut self, patience: Duration) -> Self {
        self.patience = Some(patience);
        self
    }

    /// How many requests may wait for their answer, 10,000 by default. One more is refused at once with
    /// [`ErrorKind::Retry`].
    #[must_use]
    pub fn max_in_flight(mut self, requests: usize) -> Self {
        self.options.max_pending = requests;
        self
    }

    /// The longest frame that is accepted from a server, 4 MiB by default.
    #[must_use]
    pub fn max_frame_bytes(mut self, bytes: usize) -> Self {
        self.options.max_frame_bytes = bytes;
        self
    }

    /// How many events may wait in one stream, 1,024 by default. What comes beyond is dropped, and the stream says
    /// so.
    #[must_use]
    pub fn watch_capacity(mut self, events: usize) -> Self {
        self.watch_capacity = events;
        self
    }

    /// Credentials to present on every connection, for example `digest` and `user:password`.
    #[must_use]
    pub fn auth(mut self, scheme: &str, auth: impl Into<Vec<u8>>) -> Self {
        self.auths.push((scheme.to_owned(), auth.into()));
        self
    }

    /// Goes on with a session that another client, or an earlier run of the program, began.
    #[must_use]
    pub fn resume(mut self, session: SessionId, password: [u8; PASSWORD_LEN]) -> Self {
        self.resume = Some((session, password));
        self
    }

    /// How connections are made; plain TCP by default.
    #[must_use]
    pub fn connector(mut self, connector: impl Connector) -> Self {
        self.connector = Arc::new(connector);
        self
    }

    /// A seed for the order of servers and the pauses between attempts, for tests that repeat.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Starts the client and returns at once; requests wait until there is a connection. To be called on a tokio
    /// runtime.
    pub fn start(self) -> Result<Client, Error> {
        let options =
            Options { servers: u32::try_from(self.servers.hosts.len()).unwrap_or(u32::MAX), ..self.options };
        let mut session = match self.resume {
            Some((id, password)) => Session::resume(options, id, password),
            None => Session::new(options),
        };
        for (scheme, auth) in &self.auths {
            session.add_auth(Duration::ZERO, scheme, auth)?;
        }
        let random = self.seed.map_or_else(Random::from_system, Random::new);
        let chroot = Chroot(self.servers.chroot);
        let hosts = Hosts::new(self.servers.hosts, self.shuffle, random.clone());
        let shared = Arc::new(Shared::new(session, chroot, self.watch_capacity, random));
        tokio::spawn(Task::new(shared.clone(), hosts, self.connector).run());
        Ok(Client::new(shared))
    }

    /// Starts the client and waits until the session is established. The error says which server was tried last and
    /// what was wrong with it.
    pub async fn connect(self) -> Result<Client, Error> {
        let patience = self.patience.unwrap_or(self.options.session_timeout);
        let client = self.start()?;
        let mut statuses = client.statuses();
        let established = tokio::time::timeout(
            patience,
            statuses.wait_until(|status| status.state != SessionState::Connecting),
        );
        match established.await {
            Ok(status) if status.is_ended() => Err(client.ended_error()),
            Ok(_) => Ok(client),
            Err(_) => {
                let why = client.problem().unwrap_or_else(|| "no server answered".to_owned());
                Err(Error::new(ErrorKind::Retry, why))
            }
        }
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Credentials and the password of a session stay out of logs.
        f.debug_struct("ClientBuilder")
            .field("servers", &self.servers.to_string())
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
