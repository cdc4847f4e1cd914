//! A server's life: configuration, data directory, threads, sockets, signals, exit code. Read this first.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64};
use std::sync::{Arc, Mutex, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use ostler_node::gate::InFlight;
use ostler_node::recover::Recovered;
use ostler_node::{Lane, LaneId, Node, NodeConfig};
use ostler_store::LogWriter;
use ostler_store::purge::Purge;
use tokio::runtime::{Builder, LocalOptions};
use tokio::task::spawn_local;
use tracing::{error, info, warn};

use crate::admission::Admission;
use crate::client_port::{self, ClientPort, Porter};
use crate::clock::Clock;
use crate::config::ServerConfig;
use crate::disk_work::DiskWork;
use crate::exit;
use crate::inbox::{Errand, Inbox, LaneInbox, NodeLetter};
use crate::lane_loop::LaneLoop;
use crate::limits;
use crate::log_box::LogBox;
use crate::log_thread::{LogLetter, LogPace, LogStats, LogThread};
use crate::member::{Ports, Start};
use crate::node_loop::NodeLoop;
use crate::os_disk::OsDisk;
use crate::placement::Placement;
use crate::snapshots::Snapshots;
use crate::words::WordDesk;

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory.
    #[error("{0}")]
    DataDir(#[from] ostler_store::Error),
    /// The lock on the data directory, or a directory that cannot be made or written.
    #[error("{0}")]
    Directory(String),
    /// The client port.
    #[error("cannot listen on {address}: {source}{hint}")]
    Listen {
        /// What was to be listened on.
        address: String,
        /// What the system said.
        source: std::io::Error,
        /// What to do about it.
        hint: &'static str,
    },
    /// A thread or a runtime.
    #[error("cannot start: {0}")]
    System(#[from] std::io::Error),
}

impl StartError {
    /// The exit code that tells it.
    #[must_use]
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::DataDir(_) | Self::Directory(_) => exit::DATA_DIR,
            Self::Listen { .. } | Self::System(_) => exit::FAILED,
        }
    }
}

/// What a server says of itself once it serves.
#[derive(Debug, Clone)]
pub struct Serving {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where the data lies.
    pub data_dir: PathBuf,
    /// What it came up with.
    pub nodes: usize,
    /// How far the log went.
    pub zxid: ostler_wire::Zxid,
    /// Its id and the number of voters, if it is a member of an ensemble.
    pub member: Option<(i64, usize)>,
}

/// Runs a server until it is told to stop. `on_serving` is called once when clients can connect.
pub fn run(config: ServerConfig, on_serving: impl FnOnce(&Serving)) -> Result<(), StartError> {
    limits::raise_max_files();
    let clock = Clock::start();
    let config = Arc::new(config);
    let node_config = Arc::new(crate::settings::node_config(&config, clock.now()));
    let disk = OsDisk::open(&crate::settings::disk_options(&config))?;
    // The port first: a server that cannot serve should not read a large directory to find out.
    let listener = client_port::open(&config)?;
    let address = listener.local_addr()?;
    let ports = config.member.as_ref().map(Ports::open).transpose()?;
    if let Some(files) = config.member.as_ref().and_then(|member| member.files.as_ref())
        && let Err(cause) = files.back_up()
    {
        warn!(%cause, "cannot keep a copy of the configuration");
    }
    let recovered = crate::recovery::start(&disk, &config, &node_config.tree)?;
    let serving = Serving {
        address,
        data_dir: config.data_dir.clone(),
        nodes: recovered.store.node_count(),
        zxid: recovered.store.last_zxid(),
        member: config.member.as_ref().map(|member| (member.id.0, member.members.voters().count())),
    };
    let doors = Doors { clients: listener, client_port: Arc::new(ClientPort::new(address.port())), ports };
    let server = Server::start(&config, node_config, disk, clock, recovered, doors)?;
    on_serving(&serving);
    server.wait_for_signal()?;
    server.stop();
    Ok(())
}

/// The sockets that a server listens on.
struct Doors {
    clients: TcpListener,
    client_port: Arc<ClientPort>,
    /// To the other members, if there are any.
    ports: Option<Ports>,
}

/// The threads of a running server.
struct Server {
    lanes: Vec<Arc<LaneInbox>>,
    lane_threads: Vec<JoinHandle<()>>,
    log: Arc<LogBox>,
    log_thread: JoinHandle<()>,
    node: Arc<Inbox<NodeLetter>>,
}

impl Server {
    fn start(
        config: &Arc<ServerConfig>,
        node_config: Arc<NodeConfig>,
        disk: OsDisk,
        clock: Clock,
        mut recovered: Recovered,
        doors: Doors,
    ) -> Result<Self, StartError> {
        let Doors { clients: listener, client_port, ports } = doors;
        let placement = Placement::choose(node_config.lanes);
        let node_inbox: Arc<Inbox<NodeLetter>> = Arc::new(Inbox::new());
        let lanes: Vec<Arc<LaneInbox>> = (0..placement.lanes).map(|_| Arc::new(LaneInbox::new())).collect();
        let stats = Arc::new(LogStats::default());
        let snapshots = Arc::new(Snapshots {
            disk: disk.clone(),
            options: crate::settings::snapshot_options(config),
            purge: Mutex::new(recovered.snapshot.iter().fold(Purge::default(), |mut purge, name| {
                purge.note_whole(name);
                purge
            })),
            stats: Arc::clone(&stats),
            running: AtomicBool::new(false),
            generation: AtomicU64::new(0),
        });
        let member = match (&config.member, ports) {
            (Some(member), Some(ports)) => {
                let node_config = &node_config;
                let start = Start { config, member, node_config, disk: &disk, clock, node: &node_inbox };
                let epochs = start.epochs(&recovered)?;
                Some((start, epochs, ports))
            }
            _ => None,
        };
        let node = match &member {
            Some((start, epochs, _)) => start.node(&mut recovered, *epochs),
            None => Node::solo(Arc::clone(&node_config), &recovered.store, clock.now()),
        };
        // Java snapshots before it serves; here clients do not wait for it, and a full disk is no reason not to start.
        let snapshot_is_stale = recovered.replayed > 0;
        let log = Arc::new(LogBox::default());
        let work = DiskWork {
            snapshots: Arc::clone(&snapshots),
            restore: crate::recovery::options(config),
            tree: node_config.tree.clone(),
        };
        let log_thread =
            spawn("log", log_run(config, &disk, &recovered, Arc::clone(&log), &node_inbox, &stats, work))?;
        let store = Arc::new(RwLock::new(recovered.store));
        let peers = member.map(|(start, _, ports)| start.peers(ports, &store));
        let admission = Arc::new(Admission::new(config.max_client_cnxns as usize, config.max_cnxns as usize));
        let words = Arc::new(WordDesk {
            config: Arc::clone(config),
            client_port: Arc::clone(&client_port),
            server_id: config.member.as_ref().map_or(0, |member| member.id.0),
            clock,
            store: Arc::clone(&store),
            lanes: lanes.clone(),
            node: Arc::clone(&node_inbox),
            admission: Arc::clone(&admission),
            log: Arc::clone(&stats),
            trace_mask: AtomicI64::new(crate::four_letter::render::DEFAULT_TRACE_MASK),
        });
        let mut node_loop = Some(NodeLoop {
            node,
            clock,
            store: Arc::clone(&store),
            inbox: Arc::clone(&node_inbox),
            lanes: lanes.clone(),
            log: log.clone(),
            snapshots: Arc::clone(&snapshots),
            next_quota_warning_ms: 0,
            client_port: config.member.as_ref().map(|member| (member.id, Arc::clone(&client_port))),
            peers,
            stopping: false,
        });
        if !placement.node_on_lane_0 {
            let node_loop = node_loop.take().expect("it was just made");
            spawn("node", move || block_on_local(async move { node_loop.run().await }))?;
        }
        let in_flight = Arc::new(InFlight::default());
        let porter = Porter {
            port: client_port,
            at: config.client_address.clone(),
            backlog: config.listen_backlog,
            lanes: lanes.clone(),
            admission,
            next: 0,
        };
        let mut porter = Some((porter, listener));
        let mut lane_threads = Vec::new();
        for (index, inbox) in lanes.iter().enumerate() {
            let lane =
                Lane::new(LaneId(index), Arc::clone(&node_config), Arc::clone(&in_flight), clock.now());
            let (inbox, store) = (Arc::clone(inbox), Arc::clone(&store));
            let (node_inbox, words) = (Arc::clone(&node_inbox), Arc::clone(&words));
            let node_loop = node_loop.take();
            let porter = porter.take();
            let keep_alive = config.client_tcp_keep_alive;
            lane_threads.push(spawn(&format!("lane-{index}"), move || {
                block_on_local(async move {
                    let lane = LaneLoop::new(lane, clock, store, inbox, node_inbox, words, keep_alive);
                    if let Some(node_loop) = node_loop {
                        spawn_local(node_loop.run());
                    }
                    if let Some((porter, listener)) = porter {
                        spawn_local(porter.run(listener));
                    }
                    lane.run().await;
                });
            })?);
        }
        if snapshot_is_stale {
            let snapshots = Arc::clone(&snapshots);
            let store = Arc::clone(&store);
            spawn("snapshot", move || snapshots.write_and_report(&store))?;
        }
        if let Some(hours) = config.autopurge.purge_interval_hours {
            let retain = config.autopurge.snap_retain_count as usize;
            let every = Duration::from_secs(u64::from(hours) * 3600);
            spawn("purge", move || snapshots.purge_forever(retain, every))?;
        }
        Ok(Self { lanes, lane_threads, log, log_thread, node: node_inbox })
    }

    fn wait_for_signal(&self) -> Result<(), StartError> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
            tokio::select! {
                done = tokio::signal::ctrl_c() => done?,
                _ = terminate.recv() => {}
            }
            Ok(())
        })
    }

    /// Sends clients away, then lets the log finish: what was acknowledged is durable already, and what is on its
    /// way becomes durable too.
    fn stop(self) {
        info!("stopping");
        self.node.push(NodeLetter::Stop);
        for lane in &self.lanes {
            lane.errands.push(Errand::Stop);
        }
        for thread in self.lane_threads {
            let _ = thread.join();
        }
        self.log.push(LogLetter::Stop);
        let _ = self.log_thread.join();
        info!("stopped");
    }
}

/// The work of the log's thread.
fn log_run(
    config: &ServerConfig,
    disk: &OsDisk,
    recovered: &Recovered,
    letters: Arc<LogBox>,
    node: &Arc<Inbox<NodeLetter>>,
    stats: &Arc<LogStats>,
    work: DiskWork,
) -> impl FnOnce() + Send + use<> {
    let writer = LogWriter::new(disk.clone(), crate::settings::log_options(config), recovered.last);
    let max_batch = config.log.max_batch_size as usize;
    let thread = LogThread {
        writer,
        letters,
        node: Arc::clone(node),
        pace: LogPace {
            flush_delay: Duration::from_millis(u64::from(config.log.flush_delay_ms)),
            max_batch: if max_batch == 0 { usize::MAX } else { max_batch },
            slow_sync: Duration::from_millis(config.log.fsync_warning_threshold_ms),
        },
        stats: Arc::clone(stats),
        work,
    };
    move || thread.run()
}

pub(crate) fn bind(address: SocketAddr, backlog: Option<u32>) -> std::io::Result<TcpListener> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(address),
        socket2::Type::STREAM,
        Some(socket2::Protocol::TCP),
    )?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    // A restart must not wait for connections of the life before.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    // Java's default of 50 loses connections in a storm.
    socket.listen(backlog.and_then(|backlog| i32::try_from(backlog).ok()).unwrap_or(1024))?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.into()).spawn(work)
}

/// Runs a thread's tasks. They are the runtime's own, the first one too: to wake a task of a `LocalSet`, or the future
/// that is blocked on, tokio writes to a file that it then polls for, which are three system calls at each turn.
fn block_on_local(work: impl Future<Output = ()> + 'static) {
    let runtime = match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
        Ok(runtime) => runtime,
        Err(cause) => {
            error!(%cause, "cannot start an event loop");
            std::process::exit(exit::FAILED);
        }
    };
    let work = runtime.spawn_local(work);
    runtime.block_on(work).expect("a panic ends the process");
}
