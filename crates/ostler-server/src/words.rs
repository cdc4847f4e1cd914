//! Four-letter words: gathers what lanes, node and tree know, and has [`crate::four_letter`] put it into the text
//! that operators and their scripts expect.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use ostler_node::report::{ConnReport, LaneReport, NodeReport, Traffic};
use ostler_tree::namespaces::Figures;
use ostler_tree::quota::QuotaFigures;
use ostler_tree::{Namespaces, Store};
use tokio::sync::oneshot;

use crate::admission::Admission;
use crate::clock::Clock;
use crate::config::ServerConfig;
use crate::four_letter::report::{
    ConfReport, ConnectionReport, DumpReport, EnvironmentReport, ExpiryBucket, Mode, MonitorReport,
    QuotaReport, ServerReport, SessionTraffic, Sizes, Summary, WatchReport,
};
use crate::four_letter::{Word, mntr, render};
use crate::inbox::{Errand, Inbox, LaneInbox, NodeLetter};
use crate::log_thread::LogStats;

/// Whoever answers four-letter words.
pub(crate) struct WordDesk {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) client_port: u16,
    pub(crate) server_id: i64,
    pub(crate) clock: Clock,
    pub(crate) store: Arc<RwLock<Store>>,
    pub(crate) lanes: Vec<Arc<LaneInbox>>,
    pub(crate) node: Arc<Inbox<NodeLetter>>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) log: Arc<LogStats>,
    pub(crate) trace_mask: AtomicI64,
}

/// What everybody knows, at about one moment.
struct Gathered {
    lanes: Vec<LaneReport>,
    node: NodeReport,
}

impl WordDesk {
    /// The answer to a word; empty for one that is answered by closing.
    pub(crate) async fn answer(&self, word: [u8; 4], mask: i64) -> Vec<u8> {
        let Some(word) = Word::from_bytes(word) else { return Vec::new() };
        if !self.config.four_letter_whitelist.contains(word) {
            return word.not_whitelisted_text().into_bytes();
        }
        self.text(word, mask).await.into_bytes()
    }

    async fn text(&self, word: Word, mask: i64) -> String {
        match word {
            Word::Ruok => render::RUOK.to_owned(),
            Word::TelnetClose => String::new(),
            Word::Gtmk => render::trace_mask(self.trace_mask.load(Ordering::Relaxed)),
            Word::Stmk => {
                self.trace_mask.store(mask, Ordering::Relaxed);
                render::trace_mask(mask)
            }
            Word::Isro => render::isro(Mode::Standalone).to_owned(),
            Word::Envi => render::envi(&environment()),
            Word::Conf => render::conf(&self.conf()),
            Word::Dirs => {
                let conf = self.conf();
                render::dirs(conf.data_dir_bytes, conf.data_log_bytes)
            }
            Word::Hash => {
                let store = self.store.read().unwrap_or_else(PoisonError::into_inner);
                let history: Vec<(i64, i64)> =
                    store.digest_history().iter().map(|(zxid, digest)| (zxid.0, *digest)).collect();
                drop(store);
                render::hash(&history)
            }
            Word::Crst => {
                self.tell_lanes(|| Errand::ResetConnStats);
                render::CRST.to_owned()
            }
            Word::Srst => {
                self.tell_lanes(|| Errand::ResetServerStats);
                render::SRST.to_owned()
            }
            Word::Srvr => {
                let all = self.gather().await;
                render::srvr(&self.server(&all))
            }
            Word::Stat => {
                let all = self.gather().await;
                render::stat(&self.server(&all), &connections(&all))
            }
            Word::Cons => render::cons(&connections(&self.gather().await)),
            Word::Dump => {
                let all = self.gather().await;
                render::dump(&self.dump(&all))
            }
            Word::Wchs => render::wchs(&watches(&self.gather().await)),
            Word::Wchc => render::wchc(&watches(&self.gather().await)),
            Word::Wchp => render::wchp(&watches(&self.gather().await)),
            Word::Mntr => {
                let all = self.gather().await;
                mntr(&self.monitor(&all))
            }
        }
    }

    fn tell_lanes(&self, errand: impl Fn() -> Errand) {
        for lane in &self.lanes {
            lane.errands.push(errand());
        }
    }

    async fn gather(&self) -> Gathered {
        let mut answers = Vec::new();
        for lane in &self.lanes {
            let (reply, answer) = oneshot::channel();
            lane.errands.push(Errand::Report(reply));
            answers.push(answer);
        }
        let (reply, node) = oneshot::channel();
        self.node.push(NodeLetter::Report(reply));
        let mut lanes = Vec::new();
        for answer in answers {
            // A lane that has just stopped has nothing to tell.
            lanes.push(answer.await.unwrap_or_default());
        }
        Gathered { lanes, node: node.await.unwrap_or_default() }
    }

    fn server(&self, all: &Gathered) -> ServerReport {
        let traffic = all.lanes.iter().fold(Traffic::default(), |sum, lane| sum.merge(lane.traffic));
        let store = self.store.read().unwrap_or_else(PoisonError::into_inner);
        ServerReport {
            mode: Mode::Standalone,
            latency_ms: summary(&traffic),
            packets_received: traffic.received,
            packets_sent: traffic.sent,
            connections: all.lanes.iter().map(|lane| lane.conns.len() as u64).sum(),
            outstanding_requests: all.node.outstanding as u64,
            zxid: store.last_zxid().0,
            node_count: store.node_count() as u64,
            proposal_bytes: None,
        }
    }

    fn conf(&self) -> ConfReport {
        let config = &self.config;
        let (data_dir, data_log_dir) = (version_2(&config.data_dir), version_2(&config.data_log_dir));
        ConfReport {
            client_port: self.client_port,
            secure_client_port: None,
            data_dir_bytes: bytes_in(&data_dir),
            data_dir,
            data_log_bytes: bytes_in(&data_log_dir),
            data_log_dir,
            tick_time_ms: config.tick_time_ms,
            max_client_cnxns: config.max_client_cnxns,
            min_session_timeout_ms: config.min_session_timeout_ms,
            max_session_timeout_ms: config.max_session_timeout_ms,
            listen_backlog: config.listen_backlog,
            server_id: self.server_id,
        }
    }

    fn dump(&self, all: &Gathered) -> DumpReport {
        let now = self.clock.now();
        let wall = |mono_ms: u64| {
            now.wall_ms + i64::try_from(mono_ms).unwrap_or(i64::MAX) - i64::try_from(now.mono_ms).unwrap_or(0)
        };
        let store = self.store.read().unwrap_or_else(PoisonError::into_inner);
        let ephemerals = store
            .ephemeral_owners()
            .map(|(session, paths)| (session.0, paths.map(str::to_owned).collect()))
            .collect();
        drop(store);
        let tick = i64::from(self.config.tick_time_ms.max(1));
        let mut connections: BTreeMap<i64, Vec<(SocketAddr, i64)>> = BTreeMap::new();
        for conn in all.lanes.iter().flat_map(|lane| &lane.conns) {
            let (Ok(peer), Some(session)) = (conn.peer.parse(), conn.session) else { continue };
            let heard = wall(conn.last_reply_ms) + i64::from(conn.timeout_ms);
            connections.entry((heard / tick + 1) * tick).or_default().push((peer, session.0));
        }
        DumpReport {
            sessions: all
                .node
                .session_buckets
                .iter()
                .map(|(deadline, ids)| ExpiryBucket {
                    expires_unix_ms: wall(*deadline),
                    elements: ids.iter().map(|id| id.0).collect(),
                })
                .collect(),
            ephemerals,
            connections: connections
                .into_iter()
                .map(|(expires_unix_ms, elements)| ExpiryBucket { expires_unix_ms, elements })
                .collect(),
        }
    }

    fn monitor(&self, all: &Gathered) -> MonitorReport {
        let server = self.server(all);
        let mut report = MonitorReport {
            server,
            uptime_ms: self.clock.now().mono_ms,
            watch_count: all.lanes.iter().map(|lane| lane.watch_count as u64).sum(),
            open_file_descriptors: open_files(),
            max_file_descriptors: crate::limits::max_files(),
            connection_drop_probability: all.node.connection_drop_chance,
            client_response_bytes: response_sizes(&all.lanes),
            auth_failed_count: all.lanes.iter().map(|lane| lane.auth_failed).sum(),
            ..MonitorReport::default()
        };
        let digest_mismatches = {
            let store = self.store.read().unwrap_or_else(PoisonError::into_inner);
            report.ephemerals_count = store.ephemerals_count() as u64;
            report.approximate_data_bytes = store.approximate_data_size().unsigned_abs();
            report.global_sessions = store.session_count() as u64;
            report.quotas = store.quota_figures().into_iter().map(quota).collect();
            report.metrics.write_per_namespace = by_namespace(store.writes_by_namespace());
            store.digest_check().mismatches
        };
        let mut reads = Namespaces::default();
        for lane in &all.lanes {
            reads.merge(&lane.reads);
        }
        report.metrics.read_per_namespace = by_namespace(&reads);
        report.metrics.quota_exceeded_error_per_namespace =
            all.node.quota_refusals.iter().map(|(name, figures)| (name.to_owned(), figures.count)).collect();
        let sum = |of: fn(&LaneReport) -> u64| all.lanes.iter().map(of).sum::<u64>();
        let metrics = &mut report.metrics;
        metrics.set_counter("bytes_received_count", sum(|lane| lane.traffic.bytes_received));
        metrics.set_counter("response_bytes", sum(|lane| lane.traffic.bytes_sent));
        metrics.set_counter("connection_request_count", sum(|lane| lane.connection_requests));
        metrics.set_counter("connection_rejected", self.admission.rejected());
        metrics.set_counter("sessionless_connections_expired", sum(|lane| lane.sessionless_expired));
        metrics.set_counter("large_requests_rejected", sum(|lane| lane.large_rejected));
        metrics.set_counter("throttled_ops", sum(|lane| lane.throttled_ops));
        metrics.set_counter("digest_mismatches_count", digest_mismatches);
        metrics.set_counter("commit_count", self.log.commits());
        metrics.set_counter("snap_count", self.log.snapshots());
        metrics.set_summary("fsynctime", self.log.fsync_ms());
        report
    }
}

fn by_namespace(namespaces: &Namespaces) -> BTreeMap<String, Summary> {
    let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let summary = |figures: Figures| Summary {
        min: signed(figures.min),
        max: signed(figures.max),
        count: figures.count,
        sum: signed(figures.sum),
    };
    namespaces.iter().map(|(name, figures)| (name.to_owned(), summary(figures))).collect()
}

fn quota((name, figures): (String, QuotaFigures)) -> (String, QuotaReport) {
    (name, QuotaReport { limits: figures.limits, usage: figures.usage })
}

fn connections(all: &Gathered) -> Vec<ConnectionReport> {
    all.lanes
        .iter()
        .flat_map(|lane| &lane.conns)
        .filter_map(|conn| Some(connection(conn.peer.parse().ok()?, conn)))
        .collect()
}

fn connection(remote: SocketAddr, conn: &ConnReport) -> ConnectionReport {
    ConnectionReport {
        remote,
        interest_ops: u32::from(conn.readable),
        queued: conn.queued as u64,
        received: conn.traffic.received,
        sent: conn.traffic.sent,
        session: conn.session.map(|session| SessionTraffic {
            session_id: session.0,
            last_operation: conn.last_op.map_or("NA", ostler_wire::OpCode::short_name),
            established_unix_ms: conn.established_wall_ms,
            timeout_ms: conn.timeout_ms,
            last_cxid: i64::from(conn.last_xid),
            last_zxid: conn.last_zxid,
            last_response_ms: i64::try_from(conn.last_reply_ms).unwrap_or(i64::MAX),
            last_latency_ms: i64::try_from(conn.last_latency_ms).unwrap_or(i64::MAX),
            latency_ms: summary(&conn.traffic),
        }),
    }
}

fn watches(all: &Gathered) -> WatchReport {
    let by_session = all
        .lanes
        .iter()
        .flat_map(|lane| &lane.data_watches)
        .map(|(session, paths)| (session.0, paths.clone()))
        .collect();
    WatchReport { by_session }
}

fn summary(traffic: &Traffic) -> Summary {
    let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    Summary {
        min: signed(traffic.latency_min_ms),
        max: signed(traffic.latency_max_ms),
        count: traffic.requests,
        sum: signed(traffic.latency_sum_ms),
    }
}

fn response_sizes(lanes: &[LaneReport]) -> Sizes {
    let answered: Vec<&LaneReport> = lanes.iter().filter(|lane| lane.response_max > 0).collect();
    let signed = |value: Option<u64>| value.map_or(-1, |value| i64::try_from(value).unwrap_or(i64::MAX));
    Sizes {
        last: signed(answered.iter().map(|lane| lane.response_last).next_back()),
        min: signed(answered.iter().map(|lane| lane.response_min).min()),
        max: signed(answered.iter().map(|lane| lane.response_max).max()),
    }
}

fn version_2(dir: &Path) -> PathBuf {
    let dir = dir.join("version-2");
    std::path::absolute(&dir).unwrap_or(dir)
}

/// The sizes of the files below, with the zeros that are allocated ahead.
fn bytes_in(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|file| file.len()).sum()
}

fn open_files() -> u64 {
    std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64)
}

fn environment() -> EnvironmentReport {
    let uname = rustix::system::uname();
    let text = |value: &std::ffi::CStr| value.to_string_lossy().into_owned();
    let var = |name: &str| std::env::var(name).unwrap_or_default();
    let memory = memory_mib();
    EnvironmentReport {
        host_name: text(uname.nodename()),
        os_name: text(uname.sysname()),
        os_arch: match uname.machine().to_bytes() {
            b"x86_64" => "amd64".to_owned(),
            _ => text(uname.machine()),
        },
        os_version: text(uname.release()),
        user_name: var("USER"),
        user_home: var("HOME"),
        user_dir: std::env::current_dir().map_or_else(|_| String::new(), |dir| dir.display().to_string()),
        tmp_dir: std::env::temp_dir().display().to_string(),
        memory_free_mib: memory.0,
        memory_max_mib: memory.1,
        memory_total_mib: memory.1,
    }
}

/// Free and total memory of the machine in MiB.
fn memory_mib() -> (u64, u64) {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let find = |key: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(key)?.split_whitespace().next()?.parse::<u64>().ok())
            .map_or(0, |kib| kib / 1024)
    };
    (find("MemAvailable:"), find("MemTotal:"))
}
