//! The settings of a member of an ensemble: who it is, who the others are, and how long it has patience with them.
//!
//! Only made where the file names an ensemble; its errors name the line to blame. Names are not resolved here. Answers
//! to `QuorumPeerConfig.setupQuorumPeerConfig` with what follows it, and to the system properties of `QuorumPeer`,
//! `QuorumCnxManager`, `Leader` and `Learner`.

use std::io;
use std::path::Path;

use ostler_wire::ServerId;
use ostler_wire::quorum::{Member, MemberRole, Members};
use ostler_zab::Quorum;

use super::dynamic::MembersFiles;
use super::error::{Error, Place, Severity, Warning};
use super::meaning::{or_zero, positive, set};
use super::server_config::ServerConfig;
use super::settings::{Setting, Settings};

/// The longest text of a `myid` file that is looked at.
const MAX_MY_ID_BYTES: usize = 64;

/// The least number of committed transactions that a leader keeps for learners that come back, as in Java.
const MIN_COMMIT_LOG_COUNT: usize = 500;

/// Settings of an ensemble whose part of the server is not built yet, with the value that asks for nothing: accepted,
/// and said so.
const NOT_YET: [(&str, &str); 3] =
    [("oraclePath", ""), ("enableEagerACLCheck", "false"), ("syncEnabled", "true")];

/// All settings of a member of an ensemble, beyond those that every server has.
#[derive(Clone, Debug, PartialEq)]
pub struct MemberConfig {
    /// The id of this server, from its `myid` file.
    pub id: ServerId,
    /// All members, this one among them, and the version of the list.
    pub members: Members,
    /// The list that was proposed last, if the change was not finished when the server stopped.
    pub next_members: Option<Members>,
    /// Where changes of the list are kept; `None` without a file.
    pub files: Option<MembersFiles>,
    /// This server follows without a vote; the list of members says so.
    pub observer: bool,

    /// How long a learner may take to connect and sync.
    pub init_limit_ticks: u32,
    /// How far it may lag, and how long it may be silent.
    pub sync_limit_ticks: u32,
    /// How long a learner may take to connect.
    pub connect_to_learner_master_limit_ticks: u32,

    /// Open the quorum and election ports on every address of the machine.
    pub listen_on_all_ips: bool,
    /// How often to try to open the election port, a second apart; `None` for ever.
    pub election_port_bind_retry: Option<u32>,
    /// How long an election connection may take to be made.
    pub connect_timeout_ms: u64,
    /// How long the first words on one may take.
    pub greeting_timeout_ms: u64,
    /// Keep-alive on election connections.
    pub tcp_keep_alive: bool,
    /// No delay for small packets of a leader.
    pub leader_no_delay: bool,
    /// No delay for small packets of a learner.
    pub follower_no_delay: bool,
    /// Members may have several addresses.
    pub multi_address: bool,
    /// How long to probe which of several addresses answers; `None` to take them as they come.
    pub reachability_check_timeout_ms: Option<u32>,

    /// After how long votes are told again at first.
    pub min_notification_interval_ms: u64,
    /// The longest such pause.
    pub max_notification_interval_ms: u64,
    /// A leader gives up early when no majority comes within this; `None` for no such limit.
    pub max_time_to_wait_for_epoch_ms: Option<u32>,
    /// The pause between a learner's attempts to reach its leader.
    pub connect_retry_delay_ms: u32,
    /// An observer waits a random time below this before it connects again.
    pub observer_reconnect_delay_ms: u64,
    /// An observer waits a random time below this before it looks for a leader again.
    pub observer_election_delay_ms: u64,

    /// Committed transactions that a leader keeps in memory for learners that come back.
    pub commit_log_count: usize,
    /// A learner is sent the log as long as that is smaller than this share of a snapshot; `None` never sends it from
    /// disk.
    pub snapshot_size_factor: Option<f64>,
    /// Learners always get the whole tree.
    pub force_snapshot_sync: bool,
    /// Observers that may be sent a whole tree at a time.
    pub max_concurrent_snap_syncs: u32,
    /// Observers that may be sent what they miss at a time.
    pub max_concurrent_diff_syncs: u32,

    /// A leader serves clients.
    pub leader_serves: bool,
    /// An observer keeps log and snapshots.
    pub sync_enabled: bool,
    /// New sessions live on this server alone.
    pub local_sessions_enabled: bool,
    /// Such a session becomes a global one when it asks for an ephemeral node.
    pub local_sessions_upgrading_enabled: bool,
    /// Where a follower serves observers.
    pub observer_master_port: Option<u16>,
    /// Check ACLs before a request is sent to the leader.
    pub eager_acl_check: bool,
}

impl MemberConfig {
    /// The line of this server in the list of members.
    #[must_use]
    pub fn own(&self) -> &Member {
        &self.members.servers[&self.id]
    }

    /// The settings that all others default to.
    fn new(id: ServerId, members: Members) -> Self {
        let observer = members.servers.get(&id).is_some_and(|own| own.role == MemberRole::Observer);
        Self {
            id,
            members,
            next_members: None,
            files: None,
            observer,
            init_limit_ticks: 0,
            sync_limit_ticks: 0,
            connect_to_learner_master_limit_ticks: 0,
            listen_on_all_ips: false,
            election_port_bind_retry: Some(3),
            connect_timeout_ms: 5000,
            greeting_timeout_ms: 0,
            tcp_keep_alive: false,
            leader_no_delay: true,
            follower_no_delay: true,
            multi_address: false,
            reachability_check_timeout_ms: Some(1000),
            min_notification_interval_ms: 200,
            max_notification_interval_ms: 60_000,
            max_time_to_wait_for_epoch_ms: None,
            connect_retry_delay_ms: 100,
            observer_reconnect_delay_ms: 0,
            observer_election_delay_ms: 200,
            commit_log_count: MIN_COMMIT_LOG_COUNT,
            snapshot_size_factor: Some(0.33),
            force_snapshot_sync: false,
            max_concurrent_snap_syncs: 10,
            max_concurrent_diff_syncs: 100,
            leader_serves: true,
            sync_enabled: true,
            local_sessions_enabled: false,
            local_sessions_upgrading_enabled: false,
            observer_master_port: None,
            eager_acl_check: false,
        }
    }

    /// Reads what is set. The tick and the list of members have been read before.
    pub(super) fn read(
        config: &ServerConfig,
        settings: &Settings,
        id: ServerId,
        warnings: &mut Vec<Warning>,
    ) -> Result<Self, Error> {
        settings.refuse_bad_ensemble_values()?;
        let mut member = Self::new(id, config.ensemble.to_members());
        check_groups(&member.members, settings)?;
        member.warn_of_odd_lists(settings, warnings);
        member.read_limits(config, settings)?;
        member.read_connections(config, settings, warnings);
        member.read_election(settings, warnings);
        member.read_sync(settings, warnings);
        member.read_service(settings)?;
        for (key, nothing) in NOT_YET {
            if let Some(setting) = settings.find(key)
                && !setting.value.eq_ignore_ascii_case(nothing)
            {
                warnings.push(setting.remark(Severity::Info, "accepted, not active yet"));
            }
        }
        Ok(member)
    }

    fn warn_of_odd_lists(&self, settings: &Settings, warnings: &mut Vec<Warning>) {
        let Some(first) = settings.family("server.").next() else { return };
        match self.members.voters().count() {
            voters @ 0..=2 => {
                let message = format!("with {voters} voters none may fail; three bear the loss of one");
                warnings.push(first.remark(Severity::Warn, message));
            }
            voters if voters % 2 == 0 => {
                let message = format!(
                    "{voters} voters bear the loss of as many as {} would; use an odd number",
                    voters - 1
                );
                warnings.push(first.remark(Severity::Warn, message));
            }
            _ => {}
        }
        let wanted = settings.text("peerType").map(str::to_ascii_lowercase);
        let listed = if self.observer { "observer" } else { "participant" };
        // Java warns of an observer without peerType as well; the manual asks for the line, the list decides.
        if let (Some(setting), Some(wanted)) = (settings.find("peerType"), wanted)
            && wanted != listed
        {
            let message = format!(
                "says {wanted}, but the list of members has server.{} as {listed}, which counts",
                self.id
            );
            warnings.push(setting.remark(Severity::Warn, message));
        }
    }

    fn read_limits(&mut self, config: &ServerConfig, settings: &Settings) -> Result<(), Error> {
        let limit = |key: &str, example: &str| {
            let setting = settings.find(key).ok_or_else(|| {
                Error::missing(
                    &config.origin,
                    key,
                    format!("is missing, which an ensemble needs; write for example {example}"),
                )
            })?;
            let ticks = settings.number::<u32>(key).unwrap_or_default();
            let ms = u64::from(ticks) * u64::from(config.tick_time_ms);
            if ticks == 0 || i32::try_from(ms).is_err() {
                return Err(setting.refuse(format!(
                    "wants a number of ticks of {} ms, at least 1 and together less than 24 days; write for example \
                     {example}",
                    config.tick_time_ms
                )));
            }
            Ok(ticks)
        };
        self.init_limit_ticks = limit("initLimit", "initLimit=10")?;
        self.sync_limit_ticks = limit("syncLimit", "syncLimit=5")?;
        let connect = positive(settings.number("connectToLearnerMasterLimit"));
        self.connect_to_learner_master_limit_ticks = connect.unwrap_or(self.init_limit_ticks);
        Ok(())
    }

    fn read_connections(&mut self, config: &ServerConfig, settings: &Settings, warnings: &mut Vec<Warning>) {
        set(&mut self.listen_on_all_ips, settings.switch("quorumListenOnAllIPs"));
        if let Some(retry) = settings.number::<i32>("electionPortBindRetry").filter(|retry| *retry >= 0) {
            self.election_port_bind_retry = Some(or_zero(retry)).filter(|retry| *retry > 0);
        }
        let ms = |key: &str, warnings: &mut Vec<Warning>| positive_or_warn(settings, key, warnings);
        set(&mut self.connect_timeout_ms, ms("cnxTimeout", warnings));
        let greeting = positive(settings.number("quorumCnxnTimeoutMs")).map(u64::from);
        self.greeting_timeout_ms =
            greeting.unwrap_or_else(|| u64::from(config.tick_time_ms) * u64::from(self.sync_limit_ticks));
        set(&mut self.tcp_keep_alive, settings.switch("tcpKeepAlive"));
        set(&mut self.leader_no_delay, settings.switch("leader.nodelay"));
        set(&mut self.follower_no_delay, settings.switch("follower.nodelay"));
        set(&mut self.multi_address, settings.switch("multiAddress.enabled"));
        if let Some(timeout) = positive(settings.number("multiAddress.reachabilityCheckTimeoutMs")) {
            self.reachability_check_timeout_ms = Some(timeout);
        }
        if settings.switch("multiAddress.reachabilityCheckEnabled") == Some(false) {
            self.reachability_check_timeout_ms = None;
        }
    }

    fn read_election(&mut self, settings: &Settings, warnings: &mut Vec<Warning>) {
        let ms = |key: &str, warnings: &mut Vec<Warning>| positive_or_warn(settings, key, warnings);
        set(&mut self.min_notification_interval_ms, ms("fastleader.minNotificationInterval", warnings));
        set(&mut self.max_notification_interval_ms, ms("fastleader.maxNotificationInterval", warnings));
        self.max_notification_interval_ms =
            self.max_notification_interval_ms.max(self.min_notification_interval_ms);
        self.max_time_to_wait_for_epoch_ms = positive(settings.number("leader.maxTimeToWaitForEpoch"));
        set(
            &mut self.connect_retry_delay_ms,
            settings.number::<i32>("leaderConnectDelayDuringRetryMs").map(or_zero),
        );
        let delay =
            |key: &str| settings.number::<i64>(key).map(|delay| u64::try_from(delay).unwrap_or_default());
        set(&mut self.observer_reconnect_delay_ms, delay("observer.reconnectDelayMs"));
        set(&mut self.observer_election_delay_ms, delay("observer.election.DelayMs"));
    }

    fn read_sync(&mut self, settings: &Settings, warnings: &mut Vec<Warning>) {
        if let Some(setting) = settings.find("commitLogCount") {
            let count = settings.number::<i32>("commitLogCount").map(or_zero).unwrap_or_default() as usize;
            if count < MIN_COMMIT_LOG_COUNT {
                let message = format!("is below {MIN_COMMIT_LOG_COUNT}: taken as {MIN_COMMIT_LOG_COUNT}");
                warnings.push(setting.remark(Severity::Warn, message));
            }
            self.commit_log_count = count.max(MIN_COMMIT_LOG_COUNT);
        }
        if let (Some(setting), Some(factor)) =
            (settings.find("snapshotSizeFactor"), settings.fraction("snapshotSizeFactor"))
        {
            if factor > 1.0 {
                warnings.push(setting.remark(Severity::Warn, "is above 1: taken as 0.33"));
            } else {
                self.snapshot_size_factor = Some(factor).filter(|factor| *factor >= 0.0);
            }
        }
        set(&mut self.force_snapshot_sync, settings.switch("forceSnapshotSync"));
        let syncs = |key: &str| positive(settings.number(key));
        set(&mut self.max_concurrent_snap_syncs, syncs("leader.maxConcurrentSnapSyncs"));
        set(&mut self.max_concurrent_diff_syncs, syncs("leader.maxConcurrentDiffSyncs"));
    }

    fn read_service(&mut self, settings: &Settings) -> Result<(), Error> {
        set(&mut self.leader_serves, settings.text("leaderServes").map(|word| word == "yes"));
        set(&mut self.sync_enabled, settings.switch("syncEnabled"));
        set(&mut self.local_sessions_enabled, settings.switch("localSessionsEnabled"));
        set(&mut self.local_sessions_upgrading_enabled, settings.switch("localSessionsUpgradingEnabled"));
        set(&mut self.eager_acl_check, settings.switch("enableEagerACLCheck"));
        if let Some(port) = positive(settings.number("observerMasterPort")) {
            let setting = settings.find("observerMasterPort").expect("it was read just now");
            let port = u16::try_from(port).map_err(|_| setting.refuse("wants a port up to 65535"))?;
            self.observer_master_port = Some(port);
        }
        Ok(())
    }
}

/// The id in a `myid` file, which must be that of a listed member.
pub(super) fn my_id(
    data_dir: &Path,
    config: &ServerConfig,
    read: &mut dyn FnMut(&Path) -> io::Result<Vec<u8>>,
) -> Result<ServerId, Error> {
    let path = data_dir.join("myid");
    let file = path.display().to_string();
    let ids = || {
        let ids = config.ensemble.members.iter().map(|line| line.id.to_string());
        ids.collect::<Vec<_>>().join(", ")
    };
    let wanted = || format!("wants one line with the id of this server, one of {}", ids());
    let bytes = read(&path).map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::NotFound => format!(
                "is missing; {} names an ensemble, and this file says which of its servers this is: write one line with \
                 one of {}, for example: echo 1 > {file}",
                config.origin,
                ids()
            ),
            _ => format!("cannot be read: {error}"),
        };
        Error::missing(&file, "", hint)
    })?;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_MY_ID_BYTES)]).into_owned();
    // As in Java, the first line counts.
    let line = text.lines().next().unwrap_or_default().trim();
    let place = Place { file, line: Some(1) };
    let id = line.parse().map(ServerId).map_err(|_| Error::at(&place, "", line, wanted()))?;
    if !config.ensemble.members.iter().any(|member| member.id == id) {
        return Err(Error::at(
            &place,
            "",
            line,
            format!("{} has no server.{id}; {}", config.origin, wanted()),
        ));
    }
    Ok(id)
}

/// A time that must be above 0; what is not is said and passed over.
fn positive_or_warn(settings: &Settings, key: &str, warnings: &mut Vec<Warning>) -> Option<u64> {
    let setting = settings.find(key)?;
    let ms = positive(settings.number(key)).map(u64::from);
    if ms.is_none() {
        warnings.push(setting.remark(Severity::Warn, "is not above 0: the default holds"));
    }
    ms
}

/// Groups and weights must fit the voters.
fn check_groups(members: &Members, settings: &Settings) -> Result<(), Error> {
    let refused = |problem: String| {
        let setting: Option<&Setting> =
            settings.family("group.").next().or_else(|| settings.family("weight.").next());
        setting.expect("a simple majority fits any voters").refuse(problem)
    };
    Quorum::of(members).map_err(|error| refused(error.to_string()))?;
    for setting in settings.family("weight.") {
        let id = super::members::weight(setting)?.0;
        if !members.servers.contains_key(&ServerId(id)) {
            return Err(setting.refuse(format!("there is no server.{id} to weigh")));
        }
    }
    let weightless =
        !members.groups.is_empty() && members.voters().all(|voter| members.weights.get(&voter) == Some(&0));
    if weightless {
        return Err(refused("every voter weighs 0, so that nobody could ever be elected".to_owned()));
    }
    Ok(())
}
