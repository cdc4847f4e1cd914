//! Four-letter words: gathers what lanes, node and tree know, and has [`crate::four_letter`] put it into the text
//! that operators and their scripts expect.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use ostler_node::Service;
use ostler_node::report::{ConnReport, LaneReport, NodeReport, Traffic};
use ostler_node::tally::Tally;
use ostler_tree::namespaces::Figures;
use ostler_tree::quota::QuotaFigures;
use ostler_tree::{Namespaces, Store};
use ostler_wire::quorum::{MemberRole, Members, PeerAddress};
use ostler_zab::Standing;
use tokio::sync::oneshot;

use crate::admission::Admission;
use crate::client_port::ClientPort;
use crate::clock::Clock;
use crate::config::{MemberConfig, ServerConfig};
use crate::four_letter::report::{
    ConfReport, ConnectionReport, DumpReport, EnvironmentReport, ExpiryBucket, LeaderMonitor, MemberConf,
    MemberMonitor, Metrics, Mode, MonitorReport, QuotaReport, ServerReport, SessionTraffic, Sizes, Summary,
    WatchReport,
};
use crate::four_letter::{Word, mntr, render};
use crate::inbox::{Errand, Inbox, LaneInbox, NodeLetter};
use crate::log_thread::LogStats;

/// Whoever answers four-letter words.
pub(crate) struct WordDesk {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) client_port: Arc<ClientPort>,
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
        if self.config.member.is_some()
            && let Some(text) = word.not_serving_text()
            && self.ask_node().await.is_none_or(|node| mode(&node).is_none())
        {
            return text;
        }
        match word {
            Word::Ruok => render::RUOK.to_owned(),
            Word::TelnetClose => String::new(),
            Word::Gtmk => render::trace_mask(self.trace_mask.load(Ordering::Relaxed)),
            Word::Stmk => {
                self.trace_mask.store(mask, Ordering::Relaxed);
                render::trace_mask(mask)
            }
            Word::Isro => {
                let node = self.ask_node().await.unwrap_or_default();
                render::isro(mode(&node).unwrap_or(Mode::Standalone)).to_owned()
            }
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
        let node = self.ask_node();
        let mut lanes = Vec::new();
        for answer in answers {
            // A lane that has just stopped has nothing to tell.
            lanes.push(answer.await.unwrap_or_default());
        }
        Gathered { lanes, node: node.await.unwrap_or_default() }
    }

    /// Asks at once; the answer comes when the node has time.
    fn ask_node(&self) -> impl Future<Output = Option<NodeReport>> + use<> {
        let (reply, node) = oneshot::channel();
        self.node.push(NodeLetter::Report(reply));
        async { node.await.ok() }
    }

    fn server(&self, all: &Gathered) -> ServerReport {
        let traffic = all.lanes.iter().fold(Traffic::default(), |sum, lane| sum.merge(lane.traffic));
        let store = self.store.read().unwrap_or_else(PoisonError::into_inner);
        // Whoever lost its leader since it was asked whether it serves is a follower for one answer more.
        let lost = if self.config.member.is_some() { Mode::Follower } else { Mode::Standalone };
        ServerReport {
            mode: mode(&all.node).unwrap_or(lost),
            latency_ms: summary(&traffic),
            packets_received: traffic.received,
            packets_sent: traffic.sent,
            connections: all.lanes.iter().map(|lane| lane.conns.len() as u64).sum(),
            outstanding_requests: all.node.outstanding as u64,
            zxid: store.last_zxid().0,
            node_count: store.node_count() as u64,
            proposal_bytes: proposal_bytes(&all.node),
        }
    }

    /// The member list in force, as clients see it.
    fn members(&self, member: &MemberConfig) -> Members {
        let store = self.store.read().unwrap_or_else(PoisonError::into_inner);
        let text = store.config_text();
        match Members::decode(text) {
            Ok(members) if !members.servers.is_empty() => members,
            _ => member.members.clone(),
        }
    }

    fn conf(&self) -> ConfReport {
        let config = &self.config;
        let (data_dir, data_log_dir) = (version_2(&config.data_dir), version_2(&config.data_log_dir));
        ConfReport {
            client_port: self.client_port.port(),
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
            server_id: config.member.as_ref().map_or(self.server_id, |member| member.id.0),
            member: config.member.as_ref().map(|member| member_conf(member, &self.members(member))),
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
        let is_learner = matches!(all.node.standing, Some(Standing::Following { .. }));
        let global_sessions = is_learner
            .then(|| store.sessions().map(|(session, timeout_ms)| (session.0, timeout_ms)).collect());
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
            global_sessions,
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
        if let Some(member) = &self.config.member {
            report.member = Some(self.member_monitor(member, &all.node));
            tell(&mut report.metrics, &all.node.tally);
        }
        report
    }

    fn member_monitor(&self, member: &MemberConfig, node: &NodeReport) -> MemberMonitor {
        let uptime_ms = self.clock.now().mono_ms.saturating_sub(node.tally.since_ms);
        let members = node.members.as_deref().unwrap_or(&member.members);
        let votes = |server| members.voters().any(|voter| voter == server);
        let synced =
            |observer: bool| node.learners.iter().filter(move |learner| learner.3 && learner.2 == observer);
        let leader = || LeaderMonitor {
            learners: node.learners.iter().map(|(_, server, ..)| server.0).collect(),
            synced_followers: synced(false).count() as u64,
            synced_non_voting_followers: synced(false).filter(|learner| !votes(learner.1)).count() as u64,
            synced_observers: synced(true).count() as u64,
            pending_syncs: node.pending_syncs as u64,
            uptime_ms,
        };
        let mode = mode(node);
        MemberMonitor {
            quorum_size: members.voters().count() as u64,
            leader: (mode == Some(Mode::Leader)).then(leader),
            observers: (mode == Some(Mode::Follower) && member.observer_master_port.is_some())
                .then(|| synced(true).count() as u64),
            observer_master_id: node.master.filter(|_| mode == Some(Mode::Observer)).map(|master| master.0),
        }
    }
}

/// The part that a server plays; `None` while it serves nobody.
const fn mode(node: &NodeReport) -> Option<Mode> {
    if matches!(node.service, Service::ReadOnly) {
        return Some(Mode::ReadOnly);
    }
    match node.standing {
        None | Some(Standing::Looking) => None,
        // A leader that leaves clients to the others.
        Some(_) if !node.serves_clients => None,
        Some(Standing::Solo) => Some(Mode::Standalone),
        Some(Standing::Leading { .. }) => Some(Mode::Leader),
        Some(Standing::Following { observer: false, .. }) => Some(Mode::Follower),
        Some(Standing::Following { observer: true, .. }) => Some(Mode::Observer),
    }
}

fn member_conf(member: &MemberConfig, members: &Members) -> MemberConf {
    let own = members.servers.get(&member.id).unwrap_or_else(|| member.own());
    // Each port once, as in Java.
    let ports = |port: fn(&PeerAddress) -> u16| {
        let mut ports: Vec<u16> = Vec::new();
        for address in &own.addresses {
            if !ports.contains(&port(address)) {
                ports.push(port(address));
            }
        }
        ports
    };
    MemberConf {
        init_limit_ticks: member.init_limit_ticks,
        sync_limit_ticks: member.sync_limit_ticks,
        election_ports: ports(|address| address.election_port),
        quorum_ports: ports(|address| address.quorum_port),
        observer: own.role == MemberRole::Observer,
        membership: members.to_string(),
    }
}

fn proposal_bytes(node: &NodeReport) -> Option<Sizes> {
    let Some(Standing::Leading { .. }) = node.standing else { return None };
    let bytes = &node.tally.proposal_bytes;
    let signed = |value: u64| if bytes.count == 0 { -1 } else { i64::try_from(value).unwrap_or(i64::MAX) };
    Some(Sizes {
        last: signed(node.tally.last_proposal_bytes),
        min: signed(bytes.min),
        max: signed(bytes.max),
    })
}

/// What a member counted, by the names of the reference.
fn tell(metrics: &mut Metrics, tally: &Tally) {
    metrics.set_counter("looking_count", tally.looking);
    metrics.set_counter("proposal_count", tally.proposals);
    metrics.set_counter("diff_count", tally.diffs);
    metrics.set_counter("snap_count", tally.trees);
    metrics.set_counter("learner_proposal_received_count", tally.proposals_received);
    metrics.set_counter("learner_commit_received_count", tally.commits_received);
    for (name, figures) in [
        ("election_time", tally.election_ms),
        ("unavailable_time", tally.unavailable_ms),
        ("leader_unavailable_time", tally.leader_unavailable_ms),
        ("follower_sync_time", tally.follower_sync_ms),
        ("observer_sync_time", tally.observer_sync_ms),
    ] {
        metrics.set_summary(name, figures_summary(figures));
    }
}

fn by_namespace(namespaces: &Namespaces) -> BTreeMap<String, Summary> {
    namespaces.iter().map(|(name, figures)| (name.to_owned(), figures_summary(figures))).collect()
}

fn figures_summary(figures: Figures) -> Summary {
    let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    Summary {
        min: signed(figures.min),
        max: signed(figures.max),
        count: figures.count,
        sum: signed(figures.sum),
    }
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
