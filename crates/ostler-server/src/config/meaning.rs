//! From settings to a [`ServerConfig`]: defaults, what depends on what, and what is refused.
//!
//! The entry points are here. Only [`ServerConfig::from_file`] touches the disk; the others take text, for tests and for
//! a fuzzer. Answers to `QuorumPeerConfig` and to the `main` of `QuorumPeerMain`, which chooses between a server that
//! stands alone and one of an ensemble.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use ostler_wire::ServerId;
use ostler_wire::quorum::MemberRole;
use ostler_wire::quorum::members::version_of_hex;
use ostler_zab::Quorum;

use super::dynamic::MembersFiles;
use super::error::{Error, Place, Severity, Warning};
use super::keys;
use super::member::{self, MemberConfig};
use super::members::{self, HostPort, MemberLine};
use super::raw::{self, Entry};
use super::server_config::{
    DigestAlgorithm, InitialConfiguration, LogLevel, ServerConfig, SnapshotCompression,
};
use super::settings::{EnvSettings, Setting, Settings};
use crate::four_letter::{Whitelist, Word, words};

/// A configuration file beyond this is not one.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// How few snapshots a purge may leave.
const MIN_SNAP_RETAIN_COUNT: u32 = 3;

/// The least allowance for what a stored transaction has beyond the request.
const MIN_JUTE_EXTRA_SIZE: usize = 1024;

/// Reads a `myid` file.
type ReadMyId<'a> = &'a mut dyn FnMut(&Path) -> std::io::Result<Vec<u8>>;

impl ServerConfig {
    /// What runs when nothing is said: port 2181, data in `./ostler-data`.
    ///
    /// # Errors
    /// The environment sets something that cannot be.
    pub fn embedded_default(env: &EnvSettings) -> Result<Self, Error> {
        Self::from_arguments("embedded default", &[("dataDir", "./ostler-data"), ("clientPort", "2181")], env)
    }

    /// The form without a file: `PORT DIR [tickTime] [maxClientCnxns]`. As in Java, no limit on the connections from one
    /// address holds unless one is given.
    ///
    /// # Errors
    /// An argument cannot be read, or the environment sets something that cannot be.
    pub fn from_legacy_args(
        port: &str,
        dir: &str,
        tick_time: Option<&str>,
        max_client_cnxns: Option<&str>,
        env: &EnvSettings,
    ) -> Result<Self, Error> {
        let mut arguments =
            vec![("clientPort", port), ("dataDir", dir), ("maxClientCnxns", max_client_cnxns.unwrap_or("0"))];
        arguments.extend(tick_time.map(|tick_time| ("tickTime", tick_time)));
        Self::from_arguments("command line", &arguments, env)
    }

    /// Reads a `zoo.cfg`, and the `dynamicConfigFile` it names.
    ///
    /// # Errors
    /// A file cannot be read, or says something that cannot be.
    pub fn from_file(path: &Path, env: &EnvSettings) -> Result<Self, Error> {
        let name = path.display().to_string();
        let bytes = read_file(path, &name)?;
        let entries = parse(&name, &bytes)?;
        let dynamic = entries.iter().rfind(|entry| names_dynamic_file(entry));
        let dynamic = match dynamic {
            None => None,
            Some(entry) => Some((entry.value.clone(), read_file(Path::new(&entry.value), &entry.value)?)),
        };
        let dynamic = dynamic.as_ref().map(|(name, bytes)| (name.as_str(), bytes.as_slice()));
        let mut config = Self::from_parts(&name, &bytes, dynamic, env, &mut |my_id| std::fs::read(my_id))?;
        if let Some(member) = config.member.as_mut().filter(|_| config.reconfig_enabled) {
            let files = MembersFiles::beside(path, dynamic.is_some());
            if dynamic.is_some() {
                let refuse = |what: String| {
                    Error::missing(&format!("{name}.dynamic.next"), "", format!("cannot be used: {what}"))
                };
                member.next_members = files.read_next().map_err(|error| refuse(error.to_string()))?;
                if let Some(next) = &member.next_members {
                    Quorum::of(next).map_err(|error| refuse(error.to_string()))?;
                }
            }
            member.files = Some(files);
        }
        Ok(config)
    }

    /// Reads the text of a `zoo.cfg`, and that of its dynamic file with the name it goes by. `my_id` is the text of the
    /// `myid` file, which a member of an ensemble needs.
    ///
    /// # Errors
    /// The text says something that cannot be.
    pub fn from_text(
        name: &str,
        text: &[u8],
        dynamic: Option<(&str, &[u8])>,
        my_id: Option<&[u8]>,
        env: &EnvSettings,
    ) -> Result<Self, Error> {
        let missing = || std::io::Error::from(std::io::ErrorKind::NotFound);
        Self::from_parts(name, text, dynamic, env, &mut |_| my_id.map(<[u8]>::to_vec).ok_or_else(missing))
    }

    fn from_parts(
        name: &str,
        text: &[u8],
        dynamic: Option<(&str, &[u8])>,
        env: &EnvSettings,
        my_id: ReadMyId<'_>,
    ) -> Result<Self, Error> {
        let entries = parse(name, text)?;
        let mut members = None;
        let mut version = 0;
        if entries.iter().any(names_dynamic_file) {
            if let Some(entry) = entries.iter().find(|entry| is_member_key(&entry.key)) {
                return Err(at(name, entry, "belongs into the dynamicConfigFile, since there is one"));
            }
            let (dynamic_name, text) =
                dynamic.ok_or_else(|| Error::missing(name, "dynamicConfigFile", "was not read"))?;
            let listed = parse(dynamic_name, text)?;
            if let Some(entry) = listed.iter().find(|entry| !is_member_key(&entry.key)) {
                return Err(at(
                    dynamic_name,
                    entry,
                    "the dynamic file takes server., group. and weight. only",
                ));
            }
            members = Some((dynamic_name, listed));
            version = version_of(dynamic_name);
        }
        // Java reads bytes as characters of ISO-8859-1; a data directory must be where Java would look for it.
        let beyond_ascii = |entry: &&Entry| !text.is_ascii() && !entry.value.is_ascii();
        let latin = entries.iter().find(beyond_ascii).map(|entry| (entry.line, entry.key.clone()));
        let files = std::iter::once((name, entries)).chain(members).collect();
        let settings = Settings::gather(files, env)?;
        let mut config = Self {
            origin: name.to_owned(),
            initial_configuration: InitialConfiguration(String::from_utf8_lossy(text).into_owned()),
            ..Self::default()
        };
        config.ensemble.version = version;
        config.read(settings, my_id)?;
        config.warnings.extend(latin.map(|(line, key)| {
            Warning {
                severity: Severity::Warn,
                place: Place { file: name.to_owned(), line: Some(line) },
                key,
                message:
                    "characters beyond ASCII are read as ISO-8859-1, as Java does; write them as \\uXXXX"
                        .to_owned(),
            }
        }));
        Ok(config)
    }

    fn from_arguments(origin: &str, arguments: &[(&str, &str)], env: &EnvSettings) -> Result<Self, Error> {
        let entry = |(key, value): &(&str, &str)| Entry {
            key: (*key).to_owned(),
            value: (*value).to_owned(),
            line: 0,
        };
        let settings = Settings::gather(vec![(origin, arguments.iter().map(entry).collect())], env);
        let without_line = |error: Error| Error { line: None, ..error };
        let mut config = Self { origin: origin.to_owned(), ..Self::default() };
        let mut nobody = |_: &Path| Err(std::io::ErrorKind::NotFound.into());
        config.read(settings.map_err(without_line)?, &mut nobody).map_err(without_line)?;
        for warning in &mut config.warnings {
            warning.place.line = warning.place.line.filter(|line| *line != 0);
        }
        Ok(config)
    }

    /// The heart: each field from its key. The number of a key lies in the range that the table of keys gives it.
    fn read(&mut self, mut settings: Settings, read_my_id: ReadMyId<'_>) -> Result<(), Error> {
        self.warnings = std::mem::take(&mut settings.warnings);
        self.read_directories(&settings)?;
        let is_member = self.read_ensemble(&settings)?;
        let my_id = match is_member {
            true => Some(member::my_id(&self.data_dir, self, read_my_id)?),
            false => None,
        };
        self.read_connections(&settings, my_id)?;
        self.read_times(&settings)?;
        self.read_limits(&settings);
        self.read_storage(&settings);
        self.read_tree(&settings);
        self.read_security(&settings)?;
        self.read_operation(&settings);
        if let Some(id) = my_id {
            let mut warnings = Vec::new();
            self.member = Some(MemberConfig::read(self, &settings, id, &mut warnings)?);
            self.warnings.extend(warnings);
        }
        Ok(())
    }

    fn read_directories(&mut self, settings: &Settings) -> Result<(), Error> {
        let data_dir = settings.text("dataDir").filter(|dir| !dir.is_empty());
        let data_dir = data_dir.ok_or_else(|| {
            Error::missing(
                &self.origin,
                "dataDir",
                "is missing; write for example dataDir=/var/lib/zookeeper",
            )
        })?;
        self.data_dir = PathBuf::from(data_dir);
        let log_dir = settings.text("dataLogDir").filter(|dir| !dir.is_empty());
        self.data_log_dir = log_dir.map_or_else(|| self.data_dir.clone(), PathBuf::from);
        for key in ["dataDir", "dataLogDir"] {
            if let Some(setting) = settings.find(key)
                && !Path::new(&setting.value).is_absolute()
                && !setting.value.starts_with('.')
            {
                self.warnings.push(setting.remark(
                    Severity::Warn,
                    format!("{} is relative to the working directory; ./ in front says so", setting.value),
                ));
            }
        }
        set(&mut self.datadir_autocreate, settings.switch("datadir.autocreate"));
        set(&mut self.db_autocreate, settings.switch("db.autocreate"));
        set(&mut self.allow_log_gaps, settings.switch("ostler.allowLogGaps"));
        set(&mut self.trust_empty_snapshot, settings.switch("snapshot.trust.empty"));
        Ok(())
    }

    /// Reads the list of members; yields whether it makes this server a member of an ensemble.
    fn read_ensemble(&mut self, settings: &Settings) -> Result<bool, Error> {
        let multi_address = settings.switch("multiAddress.enabled").unwrap_or_default();
        let ensemble = &mut self.ensemble;
        ensemble.init_limit_ticks = settings.number("initLimit");
        ensemble.sync_limit_ticks = settings.number("syncLimit");
        for setting in settings.family("server.") {
            let member = members::member(setting, multi_address)?;
            if ensemble.members.iter().any(|other| other.id == member.id) {
                return Err(setting.refuse("names a server id a second time"));
            }
            ensemble.members.push(member);
        }
        ensemble.groups = settings.family("group.").map(members::group).collect::<Result<_, _>>()?;
        ensemble.weights = settings.family("weight.").map(members::weight).collect::<Result<_, _>>()?;
        if let Some(setting) = settings.find("peerType")
            && !["observer", "participant"].contains(&setting.value.to_ascii_lowercase().as_str())
        {
            return Err(setting.refuse("wants participant or observer"));
        }
        self.is_ensemble(settings)
    }

    /// An ensemble, or a server alone? Refuses lists that are neither.
    fn is_ensemble(&mut self, settings: &Settings) -> Result<bool, Error> {
        let members = &self.ensemble.members;
        let voters = members.iter().filter(|line| line.member.role == MemberRole::Participant).count();
        let may_stand_alone = settings.switch("standaloneEnabled").unwrap_or(true);
        match (voters, settings.family("server.").next()) {
            (0, Some(first)) => Err(first.refuse("wants at least one participant beside the observers")),
            (0, None) if !may_stand_alone => {
                let setting = settings.find("standaloneEnabled").expect("it was read as false just now");
                Err(setting.refuse(
                    "asks for an ensemble, so it wants server.N lines; leave it out to run this server alone",
                ))
            }
            (0, None) => Ok(false),
            (1, Some(first)) if may_stand_alone && members.len() > 1 => {
                let lines = members.iter().filter_map(|member| member.line.map(|line| line.to_string()));
                let lines = lines.collect::<Vec<_>>().join(", ");
                Err(first.refuse(format!(
                    "observers want an ensemble to observe (lines {lines}); with standaloneEnabled=false one voter is one"
                )))
            }
            (1, first) if may_stand_alone => {
                let message = "the only server, so it runs standalone";
                self.warnings.extend(first.map(|first| first.remark(Severity::Info, message)));
                Ok(false)
            }
            _ => Ok(true),
        }
    }

    fn read_connections(&mut self, settings: &Settings, my_id: Option<ServerId>) -> Result<(), Error> {
        let address = settings.find("clientPortAddress").filter(|setting| !setting.value.is_empty());
        let own = settings.number::<u16>("clientPort").map(|port| HostPort {
            host: address.map(|setting| setting.value.trim_matches(['[', ']']).to_owned()),
            port,
        });
        if let (None, Some(address)) = (&own, address) {
            return Err(address.refuse("is set without clientPort; write clientPort=2181"));
        }
        let mut lines = self.ensemble.members.iter();
        let own_line = lines.find(|line| my_id.is_none_or(|id| line.id == id));
        let listed = own_line.and_then(MemberLine::client);
        self.client_address = match (own, listed) {
            (None, None) => {
                return Err(Error::missing(&self.origin, "clientPort", "is missing; write clientPort=2181"));
            }
            (Some(own), None) => own,
            (None, Some(listed)) => listed,
            (Some(own), Some(listed))
                if own.port == listed.port && (own.is_any() || own.host == listed.host) =>
            {
                listed
            }
            (Some(own), Some(listed)) => {
                let setting = settings.find("clientPort").expect("it gave the port");
                let hint =
                    format!("gives {own}, but the server line gives {listed}; write the client port once");
                return Err(setting.refuse(hint));
            }
        };
        self.listen_backlog = positive(settings.number("clientPortListenBacklog"));
        set(&mut self.max_client_cnxns, settings.number::<i32>("maxClientCnxns").map(or_zero));
        if let Some(setting) = settings.find("maxCnxns") {
            let number = settings.number::<i32>("maxCnxns").unwrap_or_default();
            if number < 0 {
                self.warnings.push(setting.remark(Severity::Warn, "is below 0: taken as 0, no limit"));
            }
            self.max_cnxns = or_zero(number);
        }
        set(&mut self.client_tcp_keep_alive, settings.switch("clientTcpKeepAlive"));
        set(&mut self.sessionless_cnxn_timeout_ms, settings.number("nio.sessionlessCnxnTimeout"));
        Ok(())
    }

    fn read_times(&mut self, settings: &Settings) -> Result<(), Error> {
        set(&mut self.tick_time_ms, settings.number("tickTime"));
        let bound = |key: &str, ticks: u32| {
            let given = settings.number::<i32>(key).filter(|bound| *bound != -1);
            given.map_or_else(|| i32::try_from(u64::from(self.tick_time_ms) * u64::from(ticks)).ok(), Some)
        };
        let too_long = || {
            let setting = settings.find("tickTime").expect("the default fits");
            setting.refuse("is so long that 20 ticks, the default of maxSessionTimeout, are beyond 24 days")
        };
        let min = bound("minSessionTimeout", 2).ok_or_else(too_long)?;
        let max = bound("maxSessionTimeout", 20).ok_or_else(too_long)?;
        if min > max {
            let setting = settings.find("minSessionTimeout").or_else(|| settings.find("maxSessionTimeout"));
            let setting = setting.expect("the defaults are in order");
            return Err(setting.refuse(format!(
                "wants minSessionTimeout ({min}) not above maxSessionTimeout ({max}); they default to 2 and 20 ticks"
            )));
        }
        (self.min_session_timeout_ms, self.max_session_timeout_ms) = (min, max);
        Ok(())
    }

    fn read_limits(&mut self, settings: &Settings) {
        set(&mut self.jute_max_buffer, settings.number("jute.maxbuffer"));
        let extra = settings.number::<i32>("jute.maxbuffer.extrasize").map(|size| or_zero(size) as usize);
        self.jute_extra_size = extra.unwrap_or(self.jute_max_buffer).max(MIN_JUTE_EXTRA_SIZE);
        set(&mut self.global_outstanding_limit, settings.number("globalOutstandingLimit"));
        set(&mut self.large_request_max_bytes, settings.number("largeRequestMaxBytes"));
        self.large_request_threshold_bytes = positive(settings.number("largeRequestThreshold"));
        self.throttled_op_wait_time_ms = positive(settings.number("throttled_op_wait_time"));

        let connections = &mut self.connection_throttle;
        set(&mut connections.tokens, settings.number("connection_throttle_tokens"));
        set(&mut connections.fill_time_ms, settings.number("connection_throttle_fill_time"));
        set(&mut connections.fill_count, settings.number("connection_throttle_fill_count"));
        connections.freeze_time_ms = positive(settings.number("connection_throttle_freeze_time"));
        set(&mut connections.drop_increase, settings.fraction("connection_throttle_drop_increase"));
        set(&mut connections.drop_decrease, settings.fraction("connection_throttle_drop_decrease"));
        set(&mut connections.decrease_ratio, settings.fraction("connection_throttle_decrease_ratio"));
        set(&mut connections.weight_enabled, settings.switch("connection_throttle_weight_enabled"));
        set(
            &mut connections.global_session_weight,
            settings.number("connection_throttle_global_session_weight"),
        );
        set(
            &mut connections.local_session_weight,
            settings.number("connection_throttle_local_session_weight"),
        );
        set(
            &mut connections.renew_session_weight,
            settings.number("connection_throttle_renew_session_weight"),
        );

        let requests = &mut self.request_throttle;
        requests.max_requests = positive(settings.number("request_throttle_max_requests"));
        set(&mut requests.stall_time_ms, settings.number("request_throttle_stall_time"));
        set(&mut requests.drop_stale, settings.switch("request_throttle_drop_stale"));
        set(&mut requests.stale_latency_check, settings.switch("request_stale_latency_check"));
        set(&mut requests.stale_connection_check, settings.switch("request_stale_connection_check"));
    }

    fn read_storage(&mut self, settings: &Settings) {
        let log = &mut self.log;
        set(&mut log.force_sync, settings.text("forceSync").map(|word| word != "no"));
        set(&mut log.fsync_warning_threshold_ms, settings.number("fsync.warningthresholdms"));
        set(&mut log.pre_alloc_size_bytes, settings.number::<u64>("preAllocSize").map(|kb| kb * 1024));
        log.size_limit_bytes = settings.number("txnLogSizeLimitInKb").and_then(kilobytes);
        set(&mut log.flush_delay_ms, settings.number("flushDelay"));
        log.max_write_queue_poll_time_ms =
            settings.number("maxWriteQueuePollTime").unwrap_or(log.flush_delay_ms / 3);
        set(&mut log.max_batch_size, settings.number::<i32>("maxBatchSize").map(or_zero));

        let snapshot = &mut self.snapshot;
        if let (Some(setting), Some(count)) =
            (settings.find("snapCount"), settings.number::<i32>("snapCount"))
        {
            snapshot.snap_count = or_zero(count).max(2);
            if count < 2 {
                self.warnings.push(setting.remark(Severity::Warn, "is below 2: taken as 2"));
            }
        }
        if let Some(kb) = settings.number("snapSizeLimitInKb") {
            snapshot.size_limit_bytes = kilobytes(kb);
        }
        snapshot.compression = match settings.text("snapshot.compression.method") {
            Some("gz") => SnapshotCompression::Gz,
            Some("snappy") => SnapshotCompression::Snappy,
            _ => SnapshotCompression::None,
        };
        set(
            &mut snapshot.serialize_last_processed_zxid,
            settings.switch("serializeLastProcessedZxid.enabled"),
        );
        set(&mut self.digest_enabled, settings.switch("digest.enabled"));
        set(&mut self.close_session_txn_enabled, settings.switch("closeSessionTxn.enabled"));

        let key = "autopurge.snapRetainCount";
        if let (Some(setting), Some(count)) = (settings.find(key), settings.number::<i32>(key)) {
            let count = or_zero(count);
            if count < MIN_SNAP_RETAIN_COUNT {
                let message = format!("is below {MIN_SNAP_RETAIN_COUNT}: taken as {MIN_SNAP_RETAIN_COUNT}");
                self.warnings.push(setting.remark(Severity::Warn, message));
            }
            self.autopurge.snap_retain_count = count.max(MIN_SNAP_RETAIN_COUNT);
        }
        self.autopurge.purge_interval_hours = positive(settings.number("autopurge.purgeInterval"));
    }

    fn read_tree(&mut self, settings: &Settings) {
        self.skip_acl = settings.text("skipACL") == Some("yes");
        set(&mut self.enforce_quota, settings.switch("enforceQuota"));
        set(&mut self.extended_types_enabled, settings.switch("extendedTypesEnabled"));
        set(&mut self.emulate_353_ttl, settings.switch("emulate353TTLNodes"));
        set(&mut self.reconfig_enabled, settings.switch("reconfigEnabled"));
        set(&mut self.container.check_interval_ms, settings.number("znode.container.checkIntervalMs"));
        set(&mut self.container.max_per_minute, settings.number("znode.container.maxPerMinute"));
        let never_used = settings.number::<u64>("znode.container.maxNeverUsedIntervalMs");
        self.container.max_never_used_ms = never_used.filter(|interval| *interval > 0);
    }

    fn read_security(&mut self, settings: &Settings) -> Result<(), Error> {
        let digest = &mut self.digest_auth;
        set(&mut digest.enabled, settings.switch("DigestAuthenticationProvider.enabled"));
        if let Some(setting) = settings.find("DigestAuthenticationProvider.superDigest") {
            if !setting.value.contains(':') {
                let message = "wants user:hash; like this nobody can be the super user";
                self.warnings.push(setting.remark(Severity::Warn, message));
            }
            digest.super_digest = Some(setting.value.clone());
        }
        if let Some(setting) = settings.find("DigestAuthenticationProvider.digestAlg") {
            digest.algorithm = DigestAlgorithm::from_java_name(&setting.value).ok_or_else(|| {
                setting.refuse("wants SHA1, SHA-224, SHA-256, SHA-384, SHA-512, SHA-512/224 or SHA-512/256")
            })?;
        }

        if settings.switch("sessionRequireClientSASLAuth") == Some(true) {
            self.enforce_auth_schemes = Some(vec!["sasl".to_owned()]);
        } else if let Some(enforce) = settings.find("enforce.auth.enabled")
            && settings.switch("enforce.auth.enabled") == Some(true)
        {
            self.enforce_auth_schemes = Some(self.enforced_schemes(settings, enforce)?);
        }
        Ok(())
    }

    fn enforced_schemes(&self, settings: &Settings, enforce: &Setting) -> Result<Vec<String>, Error> {
        let Some(setting) = settings.find("enforce.auth.schemes") else {
            return Err(enforce.refuse("wants enforce.auth.schemes as well, as enforce.auth.schemes=digest"));
        };
        let schemes: Vec<String> = setting.value.split(',').map(|scheme| scheme.trim().to_owned()).collect();
        for scheme in &schemes {
            // A scheme that a provider would bring lets nobody in until that provider is built, which is safe.
            let there = match scheme.as_str() {
                "ip" | "sasl" | "x509" => true,
                "digest" => self.digest_auth.enabled,
                _ => false,
            };
            if !there {
                return Err(
                    setting.refuse(format!("there is no authentication scheme {scheme:?} on this server"))
                );
            }
        }
        Ok(schemes)
    }

    fn read_operation(&mut self, settings: &Settings) {
        set(&mut self.read_only_mode_enabled, settings.switch("readonlymode.enabled"));
        if let Some(setting) = settings.find("4lw.commands.whitelist") {
            let (whitelist, unknown) = Whitelist::parse(&setting.value);
            self.four_letter_whitelist = whitelist;
            for name in unknown {
                let near = words::ALL.into_iter().filter(|word| name.len() < 8 && *word != Word::TelnetClose);
                let near = near.filter_map(|word| Some((keys::distance(&name, word.name(), 2)?, word)));
                let near = near.min_by_key(|(steps, _)| *steps).map(|(_, word)| word);
                let meant = near.map(|word| format!("; did you mean {word}?")).unwrap_or_default();
                let message = format!("{name:?} is no four-letter word{meant}");
                self.warnings.push(setting.remark(Severity::Warn, message));
            }
        }
        if self.read_only_mode_enabled {
            self.four_letter_whitelist = self.four_letter_whitelist.with(Word::Isro);
        }
        self.lanes = settings.number("lanes");
        self.log_level = settings.text("logLevel").map(|word| match word {
            "error" => LogLevel::Error,
            "warn" => LogLevel::Warn,
            "debug" => LogLevel::Debug,
            "trace" => LogLevel::Trace,
            _ => LogLevel::Info,
        });
    }
}

/// Keeps the default where nothing is set.
pub(super) fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

/// Numbers at which 0 and less turn something off.
pub(super) fn positive(number: Option<i32>) -> Option<u32> {
    number.and_then(|number| u32::try_from(number).ok()).filter(|number| *number > 0)
}

/// Numbers at which less than 0 means the same as 0.
pub(super) fn or_zero(number: i32) -> u32 {
    u32::try_from(number).unwrap_or_default()
}

/// Bytes of a limit in kilobytes, at which 0 and less turn it off.
fn kilobytes(number: i64) -> Option<u64> {
    u64::try_from(number).ok().filter(|number| *number > 0).map(|number| number * 1024)
}

/// The version of a member list: behind the last dot of the name of its file, in hexadecimal; 0 where none is there.
fn version_of(dynamic_name: &str) -> i64 {
    let version = dynamic_name.rsplit_once('.').map(|(_, version)| version);
    version.and_then(version_of_hex).unwrap_or_default()
}

fn names_dynamic_file(entry: &Entry) -> bool {
    keys::find(&entry.key).is_some_and(|key| key.name == "dynamicConfigFile")
}

fn is_member_key(key: &str) -> bool {
    ["server.", "group", "weight"].iter().any(|start| key.starts_with(start))
}

fn at(file: &str, entry: &Entry, hint: &str) -> Error {
    let place = Place { file: file.to_owned(), line: Some(entry.line) };
    Error::at(&place, &entry.key, &entry.value, hint)
}

fn parse(name: &str, bytes: &[u8]) -> Result<Vec<Entry>, Error> {
    raw::parse_bytes(bytes).map_err(|bad| {
        let place = Place { file: name.to_owned(), line: Some(bad.line) };
        Error::at(
            &place,
            "",
            &bad.read,
            "\\u wants four hexadecimal digits; a plain backslash is written \\\\",
        )
    })
}

fn read_file(path: &Path, name: &str) -> Result<Vec<u8>, Error> {
    let refuse = |hint: String| Error::missing(name, "", hint);
    let file = File::open(path).map_err(|error| refuse(format!("cannot be opened: {error}")))?;
    let mut bytes = Vec::new();
    let read = file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| refuse(format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(refuse(format!("is larger than {MAX_FILE_BYTES} bytes, so it is no configuration file")));
    }
    Ok(bytes)
}
