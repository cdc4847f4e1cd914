//! The text of every answer but that of `mntr`.
//!
//! Pure functions from the reports to text with the lines, keys, order and formats of the Apache server. A word that
//! needs nothing of the server (`ruok`) is here as a constant. Answers to the `command` package, to
//! `ServerCnxn.dumpConnectionInfo` and to the `dump` methods of the queues and watch tables.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};

use super::java_text;
use super::report::{
    ConfReport, ConnectionReport, DumpReport, EnvironmentReport, ExpiryBucket, Mode, ServerReport,
    WatchReport,
};
use super::version;

/// The answer to `ruok`.
pub const RUOK: &str = "imok";
/// The answer to `crst`, once it is done.
pub const CRST: &str = "Connection stats reset.\n";
/// The answer to `srst`, once it is done.
pub const SRST: &str = "Server stats reset.\n";
/// The trace mask of a server that nobody gave another.
pub const DEFAULT_TRACE_MASK: i64 = 306;

/// Writing to a `String` cannot fail; this says so once.
macro_rules! put {
    ($text:expr, $($format:tt)*) => {
        $text.write_fmt(format_args!($($format)*)).expect("a String takes all that is written to it")
    };
}
pub(super) use put;

/// `srvr`: version, statistics, node count.
#[must_use]
pub fn srvr(server: &ServerReport) -> String {
    let mut text = version_lines(server.mode);
    statistics(&mut text, server);
    text
}

/// `stat`: as `srvr`, with the connections between version and statistics.
#[must_use]
pub fn stat(server: &ServerReport, connections: &[ConnectionReport]) -> String {
    let mut text = version_lines(server.mode);
    text.push_str("Clients:\n");
    for connection in connections {
        connection_start(&mut text, connection);
        text.push_str(")\n");
    }
    text.push('\n');
    statistics(&mut text, server);
    text
}

/// `cons`: one line for each connection and an empty one.
#[must_use]
pub fn cons(connections: &[ConnectionReport]) -> String {
    let mut text = String::new();
    for connection in connections {
        connection_start(&mut text, connection);
        if let Some(session) = &connection.session {
            put!(
                text,
                ",sid=0x{:x},lop={},est={},to={}",
                session.session_id,
                session.last_operation,
                session.established_unix_ms,
                session.timeout_ms
            );
            if session.last_cxid >= 0 {
                put!(text, ",lcxid=0x{:x}", session.last_cxid);
            }
            let latency = &session.latency_ms;
            let average = latency.sum.checked_div(i64::try_from(latency.count).unwrap_or(i64::MAX));
            put!(
                text,
                ",lzxid=0x{:x},lresp={},llat={},minlat={},avglat={},maxlat={}",
                session.last_zxid,
                session.last_response_ms,
                session.last_latency_ms,
                latency.min,
                average.unwrap_or_default(),
                latency.max
            );
        }
        text.push_str(")\n");
    }
    text.push('\n');
    text
}

/// `conf`: the settings.
#[must_use]
pub fn conf(conf: &ConfReport) -> String {
    let mut text = String::new();
    let unset = |value: Option<u32>| value.map_or(-1, i64::from);
    put!(text, "clientPort={}\n", conf.client_port);
    put!(text, "secureClientPort={}\n", unset(conf.secure_client_port.map(u32::from)));
    put!(text, "dataDir={}\n", conf.data_dir.display());
    put!(text, "dataDirSize={}\n", conf.data_dir_bytes);
    put!(text, "dataLogDir={}\n", conf.data_log_dir.display());
    put!(text, "dataLogSize={}\n", conf.data_log_bytes);
    put!(text, "tickTime={}\n", conf.tick_time_ms);
    put!(text, "maxClientCnxns={}\n", conf.max_client_cnxns);
    put!(text, "minSessionTimeout={}\n", conf.min_session_timeout_ms);
    put!(text, "maxSessionTimeout={}\n", conf.max_session_timeout_ms);
    put!(text, "clientPortListenBacklog={}\n", unset(conf.listen_backlog));
    put!(text, "serverId={}\n", conf.server_id);
    if let Some(member) = &conf.member {
        let ports = |ports: &[u16]| ports.iter().map(u16::to_string).collect::<Vec<_>>().join("|");
        put!(text, "initLimit={}\n", member.init_limit_ticks);
        put!(text, "syncLimit={}\n", member.sync_limit_ticks);
        text.push_str("electionAlg=3\n");
        put!(text, "electionPort={}\n", ports(&member.election_ports));
        put!(text, "quorumPort={}\n", ports(&member.quorum_ports));
        put!(text, "peerType={}\n", u8::from(member.observer));
        // The space and the missing end of the last line are those of the reference.
        put!(text, "membership: \n{}", member.membership);
    }
    text
}

/// `dump`: sessions and connections by the time of their expiry, ephemeral nodes by their owner.
#[must_use]
pub fn dump(dump: &DumpReport) -> String {
    let mut text = "SessionTracker dump:\n".to_owned();
    if let Some(sessions) = &dump.global_sessions {
        put!(text, "Global Sessions({}):\n", sessions.len());
        for (id, timeout_ms) in sessions {
            put!(text, "0x{id:x}\t{timeout_ms}ms\n");
        }
    } else {
        text.push_str("Session ");
        expiry(&mut text, &dump.sessions, |id| format!("0x{id:x}"));
    }
    put!(text, "ephemeral nodes dump:\nSessions with Ephemerals ({}):\n", dump.ephemerals.len());
    for (owner, paths) in &dump.ephemerals {
        put!(text, "0x{owner:x}:\n");
        lines(&mut text, paths);
    }
    text.push_str("Connections dump:\nConnections ");
    expiry(&mut text, &dump.connections, |(remote, id)| {
        format!("ip: {} sessionId: 0x{id:x}", java_text::address(*remote))
    });
    text
}

/// `envi`: the environment of the process.
#[must_use]
pub fn envi(environment: &EnvironmentReport) -> String {
    const NOT_AVAILABLE: &str = "<NA>";
    let mut text = "Environment:\n".to_owned();
    let version = version();
    let java = ["java.version", "java.vendor", "java.home", "java.class.path", "java.library.path"];
    let mut line = |key: &str, value: &str| put!(text, "{key}={value}\n");
    line("zookeeper.version", &version);
    line("host.name", &environment.host_name);
    for key in java {
        line(key, NOT_AVAILABLE);
    }
    line("java.io.tmpdir", &environment.tmp_dir);
    line("java.compiler", NOT_AVAILABLE);
    line("os.name", &environment.os_name);
    line("os.arch", &environment.os_arch);
    line("os.version", &environment.os_version);
    line("user.name", &environment.user_name);
    line("user.home", &environment.user_home);
    line("user.dir", &environment.user_dir);
    line("os.memory.free", &format!("{}MB", environment.memory_free_mib));
    line("os.memory.max", &format!("{}MB", environment.memory_max_mib));
    line("os.memory.total", &format!("{}MB", environment.memory_total_mib));
    text
}

/// `wchs`: how many sessions watch how many paths.
#[must_use]
pub fn wchs(watches: &WatchReport) -> String {
    let paths: std::collections::BTreeSet<&str> =
        watches.by_session.iter().flat_map(|(_, paths)| paths).map(String::as_str).collect();
    let total: usize = watches.by_session.iter().map(|(_, paths)| paths.len()).sum();
    format!(
        "{} connections watching {} paths\nTotal watches:{total}\n",
        watches.by_session.len(),
        paths.len()
    )
}

/// `wchc`: the watched paths by session.
#[must_use]
pub fn wchc(watches: &WatchReport) -> String {
    let mut text = String::new();
    for (session, paths) in &watches.by_session {
        put!(text, "0x{session:x}\n");
        lines(&mut text, paths);
    }
    text.push('\n');
    text
}

/// `wchp`: the watching sessions by path.
#[must_use]
pub fn wchp(watches: &WatchReport) -> String {
    let mut by_path: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for (session, paths) in &watches.by_session {
        for path in paths {
            by_path.entry(path).or_default().push(*session);
        }
    }
    let mut text = String::new();
    for (path, sessions) in by_path {
        put!(text, "{path}\n");
        for session in sessions {
            put!(text, "\t0x{session:x}\n");
        }
    }
    text.push('\n');
    text
}

/// `dirs`: bytes of the snapshots and of the logs.
#[must_use]
pub fn dirs(data_dir_bytes: u64, data_log_bytes: u64) -> String {
    format!("datadir_size: {data_dir_bytes}\nlogdir_size: {data_log_bytes}\n")
}

/// `isro`: does this server take writes?
#[must_use]
pub fn isro(mode: Mode) -> &'static str {
    if mode == Mode::ReadOnly { "ro" } else { "rw" }
}

/// `hash`: the tree digest at every 128th zxid, oldest first. The reference keeps them as signed numbers.
#[must_use]
pub fn hash(digests: &[(i64, i64)]) -> String {
    let mut text = String::new();
    for (zxid, digest) in digests {
        put!(text, "{zxid:x}: {digest}\n");
    }
    text
}

/// `gtmk` and `stmk`: the mask that is now set.
#[must_use]
pub fn trace_mask(mask: i64) -> String {
    mask.to_string()
}

fn version_lines(mode: Mode) -> String {
    let mut text = format!("Zookeeper version: {}\n", version());
    if mode == Mode::ReadOnly {
        text.push_str("READ-ONLY mode; serving only read-only clients\n");
    }
    text
}

fn statistics(text: &mut String, server: &ServerReport) {
    let latency = &server.latency_ms;
    put!(
        text,
        "Latency min/avg/max: {}/{}/{}\n",
        latency.min,
        java_text::double(latency.average()),
        latency.max
    );
    put!(text, "Received: {}\n", server.packets_received);
    put!(text, "Sent: {}\n", server.packets_sent);
    put!(text, "Connections: {}\n", server.connections);
    put!(text, "Outstanding: {}\n", server.outstanding_requests);
    put!(text, "Zxid: 0x{:x}\n", server.zxid);
    put!(text, "Mode: {}\n", server.mode.text());
    put!(text, "Node count: {}\n", server.node_count);
    if let Some(sizes) = &server.proposal_bytes {
        put!(text, "Proposal sizes last/min/max: {}/{}/{}\n", sizes.last, sizes.min, sizes.max);
    }
}

/// The part of a connection's line that `stat` and `cons` share, up to the closing bracket.
fn connection_start(text: &mut String, connection: &ConnectionReport) {
    put!(
        text,
        " {}[{:x}](queued={},recved={},sent={}",
        java_text::address(connection.remote),
        connection.interest_ops,
        connection.queued,
        connection.received,
        connection.sent
    );
}

fn expiry<T>(text: &mut String, buckets: &[ExpiryBucket<T>], show: impl Fn(&T) -> String) {
    let elements: usize = buckets.iter().map(|bucket| bucket.elements.len()).sum();
    put!(text, "Sets ({})/({elements}):\n", buckets.len());
    for bucket in buckets {
        let when = java_text::date(bucket.expires_unix_ms);
        put!(text, "{} expire at {when}:\n", bucket.elements.len());
        lines(text, bucket.elements.iter().map(&show));
    }
}

/// Each item on a line of its own, behind a tab.
fn lines<T: Display>(text: &mut String, items: impl IntoIterator<Item = T>) {
    for item in items {
        put!(text, "\t{item}\n");
    }
}
