//! The session of the shell: the client on a thread of its own, while commands wait for answers on the main thread.
//! Events of the session and of watches are printed as they come, as Java's shell does. Answers to the connecting half
//! of `ZooKeeperMain` and to its `MyWatcher`.

use std::collections::BTreeMap;
use std::future::Future;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use ostler_client::{
    Client, Ending, ErrorKind, Event, EventType, Request, Response, SessionState, WatcherType,
};
use ostler_wire::Code;
use serde_json::json;
use tokio::runtime::{Builder, Handle};

use super::answer::Failure;

/// How long one server is given to answer before a request fails with a lost connection.
const PATIENCE_PER_SERVER: Duration = Duration::from_secs(1);
/// How often a request that waits looks at the connection.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Where events are printed, and whether.
pub(super) struct Console {
    /// `printwatches`.
    pub(super) print_watches: AtomicBool,
    /// A live command shows what happens in its own way.
    pub(super) muted: AtomicBool,
    /// Events as lines of JSON.
    pub(super) json: AtomicBool,
    /// Say in plain words what an event of the session means.
    pub(super) explain: AtomicBool,
    printer: Mutex<Printer>,
}

type Printer = Box<dyn FnMut(String) + Send>;

impl Console {
    pub(super) fn new() -> Self {
        Self {
            print_watches: AtomicBool::new(true),
            muted: AtomicBool::new(false),
            json: AtomicBool::new(false),
            explain: AtomicBool::new(false),
            printer: Mutex::new(Box::new(|text| {
                let mut out = std::io::stdout().lock();
                let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
            })),
        }
    }

    /// Prints in another way from here on: above a prompt that is being edited.
    pub(super) fn print_with(&self, printer: Printer) {
        *self.printer.lock().unwrap_or_else(PoisonError::into_inner) = printer;
    }

    fn event(&self, state: &str, kind: &str, path: Option<&str>, zxid: i64, words: &str) {
        if !self.print_watches.load(Ordering::Relaxed) || self.muted.load(Ordering::Relaxed) {
            return;
        }
        let text = if self.json.load(Ordering::Relaxed) {
            format!("{}\n", json!({"event": {"state": state, "type": kind, "path": path, "zxid": zxid}}))
        } else {
            let path = path.unwrap_or("null");
            let mut text =
                format!("\nWATCHER::\n\nWatchedEvent state:{state} type:{kind} path:{path} zxid: {zxid}\n");
            if self.explain.load(Ordering::Relaxed) && !words.is_empty() {
                text.push_str(&format!("-- {words}\n"));
            }
            text
        };
        (self.printer.lock().unwrap_or_else(PoisonError::into_inner))(text);
    }
}

/// How to connect.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// `host:port,host:port/chroot`.
    pub(super) servers: String,
    pub(super) timeout: Duration,
    pub(super) read_only: bool,
}

/// The watches that this shell has set, by path, as bits.
type Watches = Arc<Mutex<BTreeMap<String, u8>>>;

/// Kinds of watches.
pub(super) mod watch {
    pub(in crate::cli) const DATA: u8 = 1;
    pub(in crate::cli) const EXISTS: u8 = 2;
    pub(in crate::cli) const CHILDREN: u8 = 4;
    pub(in crate::cli) const PERSISTENT: u8 = 8;
    pub(in crate::cli) const RECURSIVE: u8 = 16;
}

/// A thread that moves the bytes of every session of this process.
pub(super) fn background() -> Result<Handle> {
    let runtime = Builder::new_current_thread().enable_all().build().context("cannot start a runtime")?;
    let handle = runtime.handle().clone();
    std::thread::Builder::new()
        .name("session".to_owned())
        .spawn(move || runtime.block_on(std::future::pending::<()>()))
        .context("cannot start a thread")?;
    Ok(handle)
}

/// A session.
#[derive(Clone)]
pub(super) struct Connection {
    handle: Handle,
    client: Client,
    chroot: String,
    servers: Vec<String>,
    watches: Watches,
    console: Arc<Console>,
}

impl Connection {
    /// Begins to connect; requests wait until that is done.
    pub(super) fn start(handle: &Handle, target: &Target, console: &Arc<Console>) -> Result<Self, Failure> {
        // Paths are put below the chroot here, since requests go to the client as the wire knows them.
        let (servers, chroot) = match target.servers.find('/') {
            None => (target.servers.as_str(), ""),
            Some(at) => target.servers.split_at(at),
        };
        let chroot = if chroot == "/" { "" } else { chroot };
        if !chroot.is_empty() {
            super::paths::validate(chroot).map_err(Failure::new)?;
        }
        let wrong = |error: ostler_client::Error| Failure::new(error.to_string());
        let _on = handle.enter();
        let client = Client::builder(servers)
            .map_err(wrong)?
            .session_timeout(target.timeout)
            .read_only(target.read_only)
            .start()
            .map_err(wrong)?;
        let connection = Self {
            handle: handle.clone(),
            chroot: chroot.to_owned(),
            servers: servers.split(',').map(|server| server.trim().to_owned()).collect(),
            watches: Watches::default(),
            console: console.clone(),
            client,
        };
        handle.spawn(connection.clone_for_events().print_events());
        Ok(connection)
    }

    /// The servers, one by one.
    pub(super) fn servers(&self) -> &[String] {
        &self.servers
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// The state as Java's prompt shows it.
    pub(super) fn state(&self) -> &'static str {
        match self.client.status().state {
            SessionState::Connecting | SessionState::Suspended => "CONNECTING",
            SessionState::Connected => "CONNECTED",
            SessionState::ConnectedReadOnly => "CONNECTEDREADONLY",
            SessionState::Ended(Ending::AuthFailed) => "AUTH_FAILED",
            SessionState::Ended(Ending::Closed | Ending::Expired) => "CLOSED",
        }
    }

    /// Whether commands make sense.
    pub(super) fn is_alive(&self) -> bool {
        !self.client.status().is_ended()
    }

    /// The path as the server knows it.
    pub(super) fn absolute(&self, path: &str) -> String {
        match (self.chroot.as_str(), path) {
            ("", path) => path.to_owned(),
            (chroot, "/") => chroot.to_owned(),
            (chroot, path) => format!("{chroot}{path}"),
        }
    }

    /// The path as the user knows it.
    pub(super) fn relative(&self, path: &str) -> String {
        match path.strip_prefix(&self.chroot) {
            Some("") => "/".to_owned(),
            Some(rest) if rest.starts_with('/') => rest.to_owned(),
            _ => path.to_owned(),
        }
    }

    /// Sends a request, whose path is the server's, and waits for the answer. `path` is what the user calls it.
    pub(super) fn ask(&self, request: &Request, path: Option<&str>) -> Result<Response, Failure> {
        self.wait(self.client.request(request), path)
    }

    /// Sends many requests before it waits for the first answer.
    pub(super) fn ask_all(
        &self,
        requests: Vec<(Request, String)>,
    ) -> Result<Vec<Result<Response, Failure>>, Failure> {
        let sent: Vec<_> =
            requests.iter().map(|(request, path)| (self.client.request(request), path)).collect();
        let mut answers = Vec::with_capacity(sent.len());
        for (reply, path) in sent {
            match self.wait(reply, Some(path)) {
                Err(failure) if failure.lost || failure.exit > 1 => return Err(failure),
                answer => answers.push(answer),
            }
        }
        Ok(answers)
    }

    /// Waits for an answer: as long as there is a connection, or may be one soon, or until Ctrl-C.
    pub(super) fn wait<T>(
        &self,
        reply: impl Future<Output = Result<T, ostler_client::Error>>,
        path: Option<&str>,
    ) -> Result<T, Failure> {
        let outcome = self.handle.block_on(async {
            tokio::pin!(reply);
            let begin = Instant::now();
            loop {
                tokio::select! {
                    biased;
                    answer = &mut reply => return Ok(answer),
                    _ = tokio::signal::ctrl_c() => return Err(Failure::interrupted()),
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                }
                if self.is_hopeless(begin) {
                    return Err(Failure::of_code(Code::ConnectionLoss, path));
                }
            }
        });
        outcome?.map_err(|error| self.failure(&error, path))
    }

    /// Whether all servers were tried in vain since a request began to wait.
    fn is_hopeless(&self, begin: Instant) -> bool {
        let servers = u32::try_from(self.servers.len()).unwrap_or(u32::MAX);
        !self.client.status().is_connected()
            && self.client.problem().is_some()
            && begin.elapsed() > PATIENCE_PER_SERVER.saturating_mul(servers)
    }

    fn failure(&self, error: &ostler_client::Error, path: Option<&str>) -> Failure {
        match error.kind() {
            ErrorKind::Rejected(code) => Failure::of_code(code, path),
            ErrorKind::Retry | ErrorKind::Unknown => Failure::of_code(Code::ConnectionLoss, path),
            ErrorKind::SessionLost => {
                let auth = self.client.status().state == SessionState::Ended(Ending::AuthFailed);
                Failure::of_code(if auth { Code::AuthFailed } else { Code::SessionExpired }, path)
            }
            ErrorKind::Misuse => Failure::new(error.to_string()),
        }
    }

    /// Waits until there is a connection.
    pub(super) fn wait_connected(&self, limit: Duration) -> Result<(), Failure> {
        let connected = self.handle.block_on(async {
            tokio::select! {
                connected = tokio::time::timeout(limit, self.client.connected()) => Some(connected),
                _ = tokio::signal::ctrl_c() => None,
            }
        });
        match connected {
            Some(Ok(Ok(()))) => Ok(()),
            Some(_) => Err(Failure::of_code(Code::ConnectionLoss, None)),
            None => Err(Failure::interrupted()),
        }
    }

    /// Waits for anything, or until Ctrl-C, which is `None`.
    pub(super) fn until_interrupt<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        self.handle.block_on(async {
            tokio::select! {
                biased;
                _ = tokio::signal::ctrl_c() => None,
                outcome = future => Some(outcome),
            }
        })
    }

    /// Ends the session.
    pub(super) fn close(&self) {
        self.handle.block_on(async {
            let _ = tokio::time::timeout(Duration::from_secs(2), self.client.close()).await;
        });
    }

    /// Notes a watch that was set.
    pub(super) fn note_watch(&self, path: &str, kind: u8) {
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        *watches.entry(path.to_owned()).or_default() |= kind;
    }

    /// Forgets watches of a kind and tells what went, as Java's client does.
    pub(super) fn forget_watches(&self, path: &str, kind: WatcherType) -> bool {
        let wanted = match kind {
            WatcherType::Children => watch::CHILDREN,
            WatcherType::Data => watch::DATA | watch::EXISTS,
            WatcherType::Persistent => watch::PERSISTENT,
            WatcherType::PersistentRecursive => watch::RECURSIVE,
            WatcherType::Any => u8::MAX,
        };
        let gone = {
            let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(bits) = watches.get_mut(path) else { return false };
            let gone = *bits & wanted;
            *bits &= !wanted;
            gone
        };
        for (bits, name) in [
            (watch::CHILDREN, "ChildWatchRemoved"),
            (watch::DATA | watch::EXISTS, "DataWatchRemoved"),
            (watch::PERSISTENT | watch::RECURSIVE, "PersistentWatchRemoved"),
        ] {
            if gone & bits != 0 {
                self.console.event("SyncConnected", name, Some(path), -1, "");
            }
        }
        gone != 0
    }

    fn clone_for_events(&self) -> Listener {
        Listener {
            events: self.client.events(),
            chroot: self.chroot.clone(),
            watches: self.watches.clone(),
            console: self.console.clone(),
            servers: self.servers.join(","),
        }
    }
}

/// Prints what a session tells. It holds no handle of the client, so that the session can be closed.
struct Listener {
    events: ostler_client::Events,
    chroot: String,
    watches: Watches,
    console: Arc<Console>,
    servers: String,
}

impl Listener {
    async fn print_events(mut self) {
        let mut state = "SyncConnected";
        let mut connected_before = false;
        while let Some(event) = self.events.next().await {
            let console = &self.console;
            let session = |state, words: &str| console.event(state, "None", None, -1, words);
            match event {
                Event::Connected { session: id, read_only, timeout } => {
                    state = if read_only { "ConnectedReadOnly" } else { "SyncConnected" };
                    let again = if connected_before { "connected again" } else { "connected" };
                    session(
                        state,
                        &format!("{again}: session 0x{:x}, timeout {} ms", id.0, timeout.as_millis()),
                    );
                    connected_before = true;
                }
                Event::Disconnected => {
                    let servers = &self.servers;
                    session("Disconnected", &format!("connection lost; trying {servers} again"));
                }
                Event::Ended(Ending::Closed) => session("Closed", ""),
                Event::Ended(Ending::Expired) => {
                    session(
                        "Expired",
                        "the session is over, its ephemerals are gone; 'connect' begins another",
                    );
                    session("Closed", "");
                }
                Event::Ended(Ending::AuthFailed) => {
                    session("AuthFailed", "the server refused the credentials")
                }
                Event::Watch { kind, path, zxid } => self.on_watch(state, kind, &path, zxid.0),
                Event::WatchesRemoved { .. } | Event::Lapsed | Event::Overflow => {}
            }
        }
    }

    fn on_watch(&self, state: &str, kind: EventType, path: &str, zxid: i64) {
        let path = match path.strip_prefix(&self.chroot) {
            Some("") => "/",
            Some(rest) if rest.starts_with('/') => rest,
            _ => path,
        };
        let (name, fired) = match kind {
            EventType::NodeCreated => ("NodeCreated", watch::DATA | watch::EXISTS),
            EventType::NodeDeleted => ("NodeDeleted", watch::DATA | watch::EXISTS | watch::CHILDREN),
            EventType::NodeDataChanged => ("NodeDataChanged", watch::DATA | watch::EXISTS),
            EventType::NodeChildrenChanged => ("NodeChildrenChanged", watch::CHILDREN),
        };
        if let Some(bits) = self.watches.lock().unwrap_or_else(PoisonError::into_inner).get_mut(path) {
            *bits &= !fired;
        }
        self.console.event(state, name, Some(path), zxid, "");
    }
}
