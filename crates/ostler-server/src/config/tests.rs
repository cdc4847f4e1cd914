//! From the text of a `zoo.cfg` to its meaning, in tables.

use std::io::Write;

use super::keys::{KEYS, Key, Kind, Source, State};
use super::*;
use crate::four_letter::{Whitelist, Word};

/// What every file needs.
const BASE: &str = "dataDir=/var/lib/zookeeper\nclientPort=2181\n";

fn env(server_jvmflags: &str) -> EnvSettings {
    EnvSettings { server_jvmflags: server_jvmflags.to_owned(), ..EnvSettings::default() }
}

fn read_with(text: &str, env: &EnvSettings) -> Result<ServerConfig, Error> {
    ServerConfig::from_text("zoo.cfg", text.as_bytes(), None, None, env)
}

fn read(text: &str) -> Result<ServerConfig, Error> {
    read_with(text, &EnvSettings::default())
}

/// The configuration of the two needed lines and these.
fn with(lines: &str) -> ServerConfig {
    read(&format!("{BASE}{lines}\n")).unwrap_or_else(|error| panic!("{lines}: {error}"))
}

/// Why the two needed lines and these do not start.
fn refusal(lines: &str) -> String {
    read(&format!("{BASE}{lines}\n")).expect_err(lines).to_string()
}

fn warnings(config: &ServerConfig) -> Vec<String> {
    config.warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn the_sample_file_of_the_reference() {
    let config = read(
        "# The number of milliseconds of each tick\ntickTime=2000\ninitLimit=10\nsyncLimit=5\n\
         dataDir=/tmp/zookeeper\nclientPort=2181\n#maxClientCnxns=60\n",
    )
    .unwrap();
    assert_eq!(config.tick_time_ms, 2000);
    assert_eq!((config.min_session_timeout_ms, config.max_session_timeout_ms), (4000, 40_000));
    assert_eq!(config.data_dir.to_str(), Some("/tmp/zookeeper"));
    assert_eq!(config.data_log_dir, config.data_dir);
    assert_eq!(config.client_address, HostPort { host: None, port: 2181 });
    assert_eq!((config.ensemble.init_limit_ticks, config.ensemble.sync_limit_ticks), (Some(10), Some(5)));
    assert_eq!(warnings(&config), [""; 0]);
}

#[test]
fn nothing_but_the_needed_is_the_defaults() {
    let config = with("");
    let defaults = ServerConfig {
        origin: config.origin.clone(),
        initial_configuration: config.initial_configuration.clone(),
        data_dir: config.data_dir.clone(),
        data_log_dir: config.data_log_dir.clone(),
        ..ServerConfig::default()
    };
    assert_eq!(config, defaults);
}

/// A value that the key takes and that is not its default.
fn sample(key: &Key) -> &'static str {
    match key.name {
        "dataDir" | "dataLogDir" => "/elsewhere",
        "clientPortAddress" => "127.0.0.1",
        "autopurge.snapRetainCount" => "10",
        "minSessionTimeout" => "10",
        "maxSessionTimeout" => "70000",
        "4lw.commands.whitelist" => "ruok",
        "DigestAuthenticationProvider.superDigest" => "super:hash",
        "DigestAuthenticationProvider.digestAlg" => "SHA-256",
        "jute.maxbuffer.extrasize" => "5000",
        "digest.enabled"
        | "serializeLastProcessedZxid.enabled"
        | "closeSessionTxn.enabled"
        | "datadir.autocreate"
        | "db.autocreate"
        | "DigestAuthenticationProvider.enabled"
        | "request_throttle_drop_stale"
        | "request_stale_connection_check" => "false",
        "forceSync" => "no",
        _ => match key.kind {
            Kind::Number(..) => "17",
            Kind::Fraction(..) => "0.25",
            Kind::Switch => "true",
            Kind::Word(words) => words[0],
            Kind::Text => panic!("{} wants a sample of its own", key.name),
        },
    }
}

#[test]
fn every_active_key_has_an_effect_under_each_of_its_names() {
    // These only mean something together with others, and have tests of their own.
    let apart = [
        "dynamicConfigFile",
        "standaloneEnabled",
        "multiAddress.enabled",
        "enforce.auth.enabled",
        "enforce.auth.schemes",
    ];
    let plain = |config: ServerConfig| ServerConfig {
        initial_configuration: InitialConfiguration::default(),
        warnings: Vec::new(),
        ..config
    };
    let base = plain(with(""));
    for key in KEYS.iter().filter(|key| key.state == State::Active && !apart.contains(&key.name)) {
        let value = sample(key);
        let mut names = vec![key.name.to_owned(), format!("zookeeper.{}", key.name)];
        names.extend(key.aliases.iter().map(|alias| (*alias).to_owned()));
        for name in &names {
            let config = with(&format!("{name}={value}"));
            assert_ne!(plain(config), base, "{name}={value}");
        }
        if key.source != Source::File {
            // As a flag: by its full name, which for some has no prefix.
            let name = if key.source == Source::PropertyOnly { &names[0] } else { &names[1] };
            let config = read_with(BASE, &env(&format!("-Xmx1g -D{name}={value}"))).unwrap();
            assert_ne!(plain(config), base, "-D{name}={value}");
        }
    }
}

#[test]
fn values_arrive_where_they_belong() {
    let config = with(
        "clientPortAddress=127.0.0.1\nclientPortListenBacklog=99\nmaxClientCnxns=0\nmaxCnxns=7\n\
         tickTime=100\nminSessionTimeout=300\nmaxSessionTimeout=400\njute.maxbuffer=4096\n\
         preAllocSize=64\nsnapCount=5\nsnapSizeLimitInKb=2\ntxnLogSizeLimitInKb=3\nflushDelay=9\nmaxBatchSize=-1\n\
         snapshot.compression.method=snappy\nforceSync=no\nskipACL=yes\nfsync.warningthresholdms=20\n\
         autopurge.purgeInterval=24\nautopurge.snapRetainCount=4\nznode.container.checkIntervalMs=50\n\
         znode.container.maxPerMinute=60\nznode.container.maxNeverUsedIntervalMs=70\nlargeRequestThreshold=80\n\
         request_throttle_max_requests=10\nthrottled_op_wait_time=11\nconnection_throttle_tokens=12\n\
         connection_throttle_freeze_time=13\nconnection_throttle_decrease_ratio=0.5\nlanes=3\nlogLevel=debug\n\
         globalOutstandingLimit=0x10\n4lw.commands.whitelist=stat, mntr\n",
    );
    assert_eq!(config.client_address.to_string(), "127.0.0.1:2181");
    assert_eq!((config.listen_backlog, config.max_client_cnxns, config.max_cnxns), (Some(99), 0, 7));
    assert_eq!((config.min_session_timeout_ms, config.max_session_timeout_ms), (300, 400));
    assert_eq!((config.jute_max_buffer, config.jute_extra_size), (4096, 4096));
    assert_eq!(
        config.log,
        LogConfig {
            force_sync: false,
            fsync_warning_threshold_ms: 20,
            pre_alloc_size_bytes: 64 * 1024,
            size_limit_bytes: Some(3 * 1024),
            flush_delay_ms: 9,
            max_write_queue_poll_time_ms: 3,
            max_batch_size: 0,
        }
    );
    assert_eq!(
        config.snapshot,
        SnapshotConfig {
            snap_count: 5,
            size_limit_bytes: Some(2 * 1024),
            compression: SnapshotCompression::Snappy,
            serialize_last_processed_zxid: true,
        }
    );
    assert_eq!(config.autopurge, Autopurge { snap_retain_count: 4, purge_interval_hours: Some(24) });
    assert_eq!(
        config.container,
        ContainerConfig { check_interval_ms: 50, max_per_minute: 60, max_never_used_ms: Some(70) }
    );
    assert!(config.skip_acl);
    assert_eq!(config.large_request_threshold_bytes, Some(80));
    assert_eq!(
        (config.request_throttle.max_requests, config.throttled_op_wait_time_ms),
        (Some(10), Some(11))
    );
    assert_eq!(
        (config.connection_throttle.tokens, config.connection_throttle.freeze_time_ms),
        (12, Some(13))
    );
    assert!((config.connection_throttle.decrease_ratio - 0.5).abs() < f64::EPSILON);
    assert_eq!((config.lanes, config.log_level), (Some(3), Some(LogLevel::Debug)));
    assert_eq!(config.global_outstanding_limit, 16);
    assert_eq!(config.four_letter_whitelist, Whitelist::default().with(Word::Stat).with(Word::Mntr));
    assert_eq!(warnings(&config), [""; 0]);
}

#[test]
fn values_that_are_bent_as_in_java() {
    type Check = fn(&ServerConfig) -> bool;
    let table: [(&str, Check, usize); 13] = [
        ("snapCount=1", |config| config.snapshot.snap_count == 2, 1),
        ("autopurge.snapRetainCount=1", |config| config.autopurge.snap_retain_count == 3, 1),
        ("autopurge.snapRetainCount=-1", |config| config.autopurge.snap_retain_count == 3, 1),
        ("autopurge.purgeInterval=-1", |config| config.autopurge.purge_interval_hours.is_none(), 0),
        ("maxCnxns=-1", |config| config.max_cnxns == 0, 1),
        ("maxClientCnxns=-1", |config| config.max_client_cnxns == 0, 0),
        ("snapSizeLimitInKb=0", |config| config.snapshot.size_limit_bytes.is_none(), 0),
        ("clientPortListenBacklog=-1", |config| config.listen_backlog.is_none(), 0),
        ("jute.maxbuffer.extrasize=1", |config| config.jute_extra_size == 1024, 0),
        ("minSessionTimeout=-1", |config| config.min_session_timeout_ms == 6000, 0),
        ("snapCount=", |config| config.snapshot.snap_count == 100_000, 0),
        ("sessionRequireClientSASLAuth=", |config| config.enforce_auth_schemes.is_none(), 0),
        ("readonlymode.enabled=true", |config| config.four_letter_whitelist.contains(Word::Isro), 0),
    ];
    for (line, holds, remarks) in table {
        let config = with(line);
        assert!(holds(&config), "{line}");
        assert_eq!(config.warnings.len(), remarks, "{line}: {:?}", warnings(&config));
    }
}

#[test]
fn a_bad_value_names_file_line_key_what_was_read_and_what_is_wanted() {
    assert_eq!(
        refusal("tickTime=soon"),
        r#"zoo.cfg:3: tickTime: read "soon"; wants a whole number from 1 to 2147483647"#
    );
    let table = [
        ("tickTime=0", "from 1"),
        ("tickTime=1.5", "whole number"),
        ("tickTime=", "whole number"),
        ("clientPort=65536", "from 0 to 65535"),
        ("clientPort=-1", "from 0 to 65535"),
        ("maxClientCnxns=many", "whole number"),
        ("maxClientCnxns=2147483648", "whole number"),
        ("minSessionTimeout=-2", "from -1"),
        ("minSessionTimeout=9\nmaxSessionTimeout=8", "(9) not above maxSessionTimeout (8)"),
        ("maxSessionTimeout=1000", "(6000) not above maxSessionTimeout (1000)"),
        ("tickTime=2147483647", "24 days"),
        ("standaloneEnabled=yes", "true or false"),
        ("reconfigEnabled=yes", "true or false"),
        ("sslQuorum=yes", "true or false"),
        ("localSessionsEnabled=1", "true or false"),
        ("enforceQuota=on", "true or false"),
        ("skipACL=true", "yes, no"),
        ("forceSync=false", "yes, no"),
        ("forceSync=NO", "yes, no"),
        ("electionAlg=1", "wants 3"),
        ("peerType=voter", "participant or observer"),
        ("snapCount=1e5", "whole number"),
        ("snapshot.compression.method=zip", "gz, snappy"),
        ("preAllocSize=64M", "whole number"),
        ("connection_throttle_drop_increase=2", "a number from 0 to 1"),
        ("connection_throttle_drop_increase=NaN", "a number from 0 to 1"),
        ("jute.maxbuffer=0", "from 1"),
        ("jute.maxbuffer=4MB", "whole number"),
        ("DigestAuthenticationProvider.digestAlg=MD5", "SHA-512"),
        ("DigestAuthenticationProvider.digestAlg=SHA3-256", "SHA-512"),
        ("enforce.auth.enabled=true", "enforce.auth.schemes"),
        ("enforce.auth.enabled=true\nenforce.auth.schemes=nis", "no authentication scheme"),
        (
            "enforce.auth.enabled=true\nenforce.auth.schemes=digest\nDigestAuthenticationProvider.enabled=false",
            "digest",
        ),
        ("dataDir=C:\\users", "four hexadecimal"),
        ("lanes=0", "from 1 to 256"),
        ("logLevel=loud", "error, warn"),
        ("server.x=a:1:2", "server id"),
        ("server.1=a", "quorumPort"),
        ("group.1=x", "server ids"),
        ("weight.1=x", "weight"),
    ];
    for (lines, wanted) in table {
        let error = refusal(lines);
        assert!(error.starts_with("zoo.cfg:") && error.contains(wanted), "{lines}: {error}");
    }
}

#[test]
fn what_is_missing() {
    for (text, hint) in [
        ("clientPort=2181", "zoo.cfg: dataDir: is missing; write for example dataDir=/var/lib/zookeeper"),
        (
            "dataDir=\nclientPort=2181",
            "zoo.cfg: dataDir: is missing; write for example dataDir=/var/lib/zookeeper",
        ),
        ("dataDir=/d", "zoo.cfg: clientPort: is missing; write clientPort=2181"),
        (
            "dataDir=/d\nclientPortAddress=::1",
            r#"zoo.cfg:2: clientPortAddress: read "::1"; is set without clientPort; write clientPort=2181"#,
        ),
    ] {
        assert_eq!(read(text).unwrap_err().to_string(), hint);
    }
}

#[test]
fn protection_that_is_asked_for_and_not_there_refuses_the_start() {
    for key in
        ["sslQuorum", "quorum.auth.learnerRequireSasl", "quorum.auth.serverRequireSasl", "audit.enable"]
    {
        for line in [format!("{key}=true"), format!("{key}=TRUE"), format!("zookeeper.{key}=true")] {
            let error = refusal(&line);
            assert!(error.contains("protection"), "{line}: {error}");
        }
        assert_eq!(warnings(&with(&format!("{key}=false"))), [""; 0], "{key}");
    }
    let error = read_with(BASE, &env("-Dzookeeper.audit.enable=true")).unwrap_err();
    assert_eq!((error.file.as_str(), error.key.as_str()), ("SERVER_JVMFLAGS", "zookeeper.audit.enable"));
}

#[test]
fn accepted_and_not_active_yet() {
    for line in [
        "secureClientPort=2281",
        "ssl.keyStore.location=/k",
        "ssl.quorum.trustStore.password=x",
        "authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider",
        "admin.enableServer=true",
        "admin.serverPort=8080",
        "metricsProvider.className=org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider",
        "metricsProvider.httpPort=7000",
        "quorum.auth.enableSasl=true",
        "superUser.1=bob",
    ] {
        let config = with(line);
        let key = line.split('=').next().unwrap();
        assert_eq!(warnings(&config), [format!("zoo.cfg:3: {key}: accepted, not active yet")]);
        assert_eq!(config.warnings[0].severity, Severity::Info);
    }
    // What asks for nothing is not worth a line; neither is what has its meaning in an ensemble or in Java only.
    for line in [
        "admin.enableServer=false",
        "reconfigEnabled=true",
        "metricsProvider.className=org.apache.zookeeper.metrics.impl.DefaultMetricsProvider",
        "serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory",
        "leaderServes=no",
        "electionAlg=3",
        "cnxTimeout=5",
        "nio.numWorkerThreads=4",
        "fips-mode=true",
    ] {
        assert_eq!(warnings(&with(line)), [""; 0], "{line}");
    }
    // A bad value of something without effect here: Java falls back as well.
    assert_eq!(
        warnings(&with("nio.numWorkerThreads=all")),
        [
            r#"zoo.cfg:3: nio.numWorkerThreads: read "all"; wants a whole number from -2147483648 to 2147483647"#
        ]
    );
}

#[test]
fn unknown_repeated_and_strange() {
    let table = [
        ("ticktime=5", "zoo.cfg:3: ticktime: unknown key, without effect; did you mean tickTime?"),
        ("flubber=5", "zoo.cfg:3: flubber: unknown key, without effect"),
        ("tickTime=5\ntickTime=6", "zoo.cfg:3: tickTime: set again on line 4, which counts"),
        ("tickTime=5\nzookeeper.tickTime=6", "zoo.cfg:3: tickTime: set again on line 4, which counts"),
        ("tickTime=5\ntickTime=5", ""),
        (
            "4lw.commands.whitelist=rouk",
            r#"zoo.cfg:3: 4lw.commands.whitelist: "rouk" is no four-letter word; did you mean ruok?"#,
        ),
        (
            "DigestAuthenticationProvider.superDigest=secret",
            "zoo.cfg:3: DigestAuthenticationProvider.superDigest: wants user:hash; like this nobody can be the super user",
        ),
        (
            "dataLogDir=logs",
            "zoo.cfg:3: dataLogDir: logs is relative to the working directory; ./ in front says so",
        ),
        ("dataLogDir=./logs", ""),
        (
            "server.1=h:1:2\nserver.1=h:1:3",
            "zoo.cfg:3: server.1: set again at zoo.cfg:4, which counts\n\
             zoo.cfg:4: server.1: the only server, so it runs standalone",
        ),
    ];
    for (lines, said) in table {
        assert_eq!(warnings(&with(lines)).join("\n"), said, "{lines}");
    }
    let config =
        ServerConfig::from_text("zoo.cfg", b"dataDir=/d\xc3\xbc\nclientPort=1", None, None, &env(""))
            .unwrap();
    assert_eq!(config.data_dir.to_str(), Some("/dÃ¼"));
    assert!(warnings(&config)[0].contains("ISO-8859-1"));
}

#[test]
fn flags_and_file() {
    let both = EnvSettings {
        server_jvmflags: "-Dzookeeper.snapCount=10 -Djute.maxbuffer=1000".to_owned(),
        jvmflags: "-Dzookeeper.snapCount=20".to_owned(),
        datadir_autocreate_disable: true,
    };
    // Of two flags the later counts; the file counts over flags, save where Java would not read it.
    let config = read_with(BASE, &both).unwrap();
    assert_eq!((config.snapshot.snap_count, config.jute_max_buffer), (20, 1000));
    assert!(!config.datadir_autocreate);
    assert_eq!(warnings(&config), [""; 0]);
    let config =
        read_with(&format!("{BASE}snapCount=30\njute.maxbuffer=2000\ndatadir.autocreate=true"), &both)
            .unwrap();
    assert_eq!((config.snapshot.snap_count, config.jute_max_buffer), (30, 1000));
    assert!(config.datadir_autocreate);
    assert_eq!(
        warnings(&config),
        [r#"zoo.cfg:4: jute.maxbuffer: SERVER_JVMFLAGS sets it to "1000", which counts as in Java"#]
    );
    // Without the flag the file has its effect, which it has not in Java.
    assert_eq!(with("jute.maxbuffer=2000").jute_max_buffer, 2000);

    // Flags of the Java machine are its own; a ZooKeeper property that is none is worth a word.
    let machine =
        env("-Xmx1g -Duser.timezone=UTC -DdataDir=/x -DsnapCount=1 -Djava.net.preferIPv4Stack=true");
    assert_eq!(warnings(&read_with(BASE, &machine).unwrap()), [""; 0]);
    for (flag, said) in [
        (
            "-Dzookeeper.snapCuont=1",
            "SERVER_JVMFLAGS: zookeeper.snapCuont: unknown key, without effect; did you mean snapCount?",
        ),
        (
            "-Dzookeeper.tickTime=1",
            "SERVER_JVMFLAGS: zookeeper.tickTime: has no effect as a property, neither here nor in Java; \
             write it into the file",
        ),
    ] {
        assert_eq!(warnings(&read_with(BASE, &env(flag)).unwrap()), [said]);
    }
    let error = read_with(BASE, &env("-Dzookeeper.snapCount=x")).unwrap_err().to_string();
    assert!(error.starts_with(r#"SERVER_JVMFLAGS: zookeeper.snapCount: read "x"; wants"#), "{error}");
}

#[test]
fn who_must_authenticate() {
    let schemes = |lines: &str| with(lines).enforce_auth_schemes;
    assert_eq!(schemes("sessionRequireClientSASLAuth=true"), Some(vec!["sasl".to_owned()]));
    assert_eq!(schemes("sessionRequireClientSASLAuth=false"), None);
    assert_eq!(schemes("enforce.auth.schemes=digest"), None);
    assert_eq!(schemes("enforce.auth.enabled=false\nenforce.auth.schemes=digest"), None);
    assert_eq!(
        schemes("enforce.auth.enabled=true\nenforce.auth.schemes=digest, sasl"),
        Some(vec!["digest".to_owned(), "sasl".to_owned()])
    );
    // The short form wins over the long one.
    assert_eq!(
        schemes("sessionRequireClientSASLAuth=true\nenforce.auth.enabled=true\nenforce.auth.schemes=ip"),
        Some(vec!["sasl".to_owned()])
    );
}

#[test]
fn one_server_line_runs_standalone() {
    let port =
        |lines: &str| read(&format!("dataDir=/d\n{lines}")).map(|config| config.client_address.to_string());
    assert_eq!(port("server.1=localhost:2888:3888;2182").unwrap(), "0.0.0.0:2182");
    assert_eq!(port("server.1=localhost:2888:3888;127.0.0.1:2182").unwrap(), "127.0.0.1:2182");
    assert_eq!(port("server.1=localhost:2888:3888\nclientPort=2183").unwrap(), "0.0.0.0:2183");
    assert_eq!(port("server.1=h:2888:3888;127.0.0.1:2182\nclientPort=2182").unwrap(), "127.0.0.1:2182");
    let error = port("server.1=h:2888:3888;2182\nclientPort=2181").unwrap_err().to_string();
    assert!(error.contains("0.0.0.0:2181") && error.contains("0.0.0.0:2182"), "{error}");
    assert!(port("server.1=localhost:2888:3888").unwrap_err().to_string().contains("clientPort=2181"));

    let config = with("server.3=localhost:2888:3888:participant;2181");
    assert_eq!(config.ensemble.members.len(), 1);
    assert_eq!(warnings(&config), ["zoo.cfg:3: server.3: the only server, so it runs standalone"]);
    assert_eq!(with("standaloneEnabled=true\nserver.1=a:1:2").ensemble.members[0].id.0, 1);
}

#[test]
fn what_is_no_ensemble_is_refused() {
    for (lines, said) in [
        ("standaloneEnabled=false", "wants server.N lines"),
        ("server.1=a:1:2:observer", "at least one participant"),
        ("server.1=a:1:2\nserver.2=b:1:2:observer", "observers want an ensemble"),
        ("server.1=a:1:2\nzookeeper.sslQuorum=true\nserver.2=a:1:2", "protection"),
        ("server.1=a:1:2|b:1:2", "multiAddress.enabled=true"),
        ("server.1=a:1:2\nserver.01=a:1:2", "a second time"),
    ] {
        let error = refusal(lines);
        assert!(error.contains(said), "{lines}: {error}");
    }
    assert_eq!(
        with("multiAddress.enabled=true\nserver.1=a:1:2|b:1:2").ensemble.members[0].member.addresses.len(),
        2
    );
    let config = with("server.1=a:1:2\ngroup.1=1\nweight.1=3");
    assert_eq!(
        config.ensemble.to_members().to_string(),
        "server.1=a:1:2:participant\ngroup.1=1\nweight.1=3\nversion=0"
    );
    assert_eq!((config.ensemble.groups, config.ensemble.weights), (vec![(1, vec![1])], vec![(1, 3)]));
}

#[test]
fn members_in_a_file_of_their_own() {
    let dynamic = |text: &str, members: &str| {
        let file = Some(("zoo.cfg.dynamic", members.as_bytes()));
        ServerConfig::from_text("zoo.cfg", text.as_bytes(), file, None, &EnvSettings::default())
    };
    let text = "dataDir=/d\ndynamicConfigFile=zoo.cfg.dynamic";
    let config = dynamic(text, "server.1=h:2888:3888:participant;2182").unwrap();
    assert_eq!(config.client_address.port, 2182);
    assert_eq!(warnings(&config), ["zoo.cfg.dynamic:1: server.1: the only server, so it runs standalone"]);
    for (text, members, said) in [
        (
            text,
            "server.1=h:1:2;3\nversion=1",
            r#"zoo.cfg.dynamic:2: version: read "1"; the dynamic file takes"#,
        ),
        (text, "server.1=h:1:2;3\ntickTime=1", "zoo.cfg.dynamic:2: tickTime"),
        ("dataDir=/d\ndynamicConfigFile=f\nserver.1=h:1:2", "", "zoo.cfg:3: server.1"),
    ] {
        let error = dynamic(text, members).unwrap_err().to_string();
        assert!(error.starts_with(said), "{error}");
    }
    assert!(
        ServerConfig::from_text("zoo.cfg", text.as_bytes(), None, None, &EnvSettings::default()).is_err()
    );
}

#[test]
fn without_a_file() {
    let config = ServerConfig::embedded_default(&EnvSettings::default()).unwrap();
    assert_eq!(config, ServerConfig { origin: config.origin.clone(), ..ServerConfig::default() });
    let config = ServerConfig::embedded_default(&env("-Djute.maxbuffer=5")).unwrap();
    assert_eq!(config.jute_max_buffer, 5);

    let legacy = |port: &str, tick, max| {
        ServerConfig::from_legacy_args(port, "data", tick, max, &EnvSettings::default())
    };
    let config = legacy("2190", None, None).unwrap();
    assert_eq!((config.client_address.port, config.tick_time_ms, config.max_client_cnxns), (2190, 3000, 0));
    assert_eq!(config.data_log_dir.to_str(), Some("data"));
    let config = legacy("2190", Some("500"), Some("3")).unwrap();
    assert_eq!((config.max_session_timeout_ms, config.max_client_cnxns), (10_000, 3));
    assert_eq!(
        legacy("http", None, None).unwrap_err().to_string(),
        r#"command line: clientPort: read "http"; wants a whole number from 0 to 65535"#
    );
    assert!(legacy("1", Some("x"), None).unwrap_err().to_string().starts_with("command line: tickTime"));
}

#[test]
fn from_disk() {
    let dir = std::env::temp_dir().join(format!("ostler-config-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let write = |name: &str, text: &[u8]| {
        let path = dir.join(name);
        std::fs::File::create(&path).unwrap().write_all(text).unwrap();
        path
    };
    let read = |path: &std::path::Path| ServerConfig::from_file(path, &EnvSettings::default());
    let members = write("members", b"server.1=h:1:2;2185");
    let path = write("zoo.cfg", format!("dataDir=/d\ndynamicConfigFile={}", members.display()).as_bytes());
    let config = read(&path).unwrap();
    assert_eq!(config.client_address.port, 2185);
    assert_eq!(config.origin, path.display().to_string());
    let error = read(&dir.join("none")).unwrap_err().to_string();
    assert!(error.contains("none: cannot be opened"), "{error}");
    let error = read(&write("gone.cfg", b"dynamicConfigFile=/no/such/file")).unwrap_err().to_string();
    assert!(error.starts_with("/no/such/file: cannot be opened"), "{error}");
    let error = read(&write("huge.cfg", &vec![b'#'; 2 << 20])).unwrap_err().to_string();
    assert!(error.contains("no configuration file"), "{error}");
    assert!(read(&dir).unwrap_err().to_string().contains("cannot be read"));
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn secrets_stay_out_of_debug_output() {
    let config = with("DigestAuthenticationProvider.superDigest=super:secret\nssl.keyStore.password=secret");
    assert!(!format!("{config:?}").contains("secret"));
}

#[test]
fn every_key_with_every_kind_of_value_gives_a_configuration_or_an_error() {
    let values = [
        "",
        "0",
        "-1",
        "1",
        "yes",
        "true",
        "x",
        "9223372036854775807",
        "-9223372036854775808",
        "1e999",
        "é",
        "[",
        "a:1:2;[",
        ":::",
        "|",
        ";",
    ];
    let families = ["server.1", "server.", "group.1", "weight.1", "authProvider.x", "ssl.crl", "superUser.1"];
    for key in KEYS.iter().map(|key| key.name).chain(families) {
        for value in values {
            let _ = read(&format!("{BASE}{key}={value}"));
            let _ = read_with(BASE, &env(&format!("-Dzookeeper.{key}={value} -D{key}={value}")));
        }
    }
}

/// Found by fuzzing: a file of keys that nobody knows took seconds, each being compared with every known one.
#[test]
fn many_unknown_keys_take_no_time() {
    let mut text = "dataDir=/d\nclientPort=2181\n".to_owned();
    for number in 0..4000 {
        text.push_str(&format!("maxClientCnxnz{number}=1\n"));
    }
    text.push_str(&format!("4lw.commands.whitelist={}\n", "ruokk".repeat(4000)));
    // Of this thread alone: the machine may be busy.
    let started = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let config =
        ServerConfig::from_text("zoo.cfg", text.as_bytes(), None, None, &EnvSettings::default()).unwrap();
    let ended = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    assert!(ended.tv_sec - started.tv_sec < 5, "{started:?} to {ended:?}");
    assert_eq!(config.warnings.len(), 4001);
    assert!(
        config.warnings[0].to_string().contains("did you mean maxClientCnxns?"),
        "{}",
        config.warnings[0]
    );
}
