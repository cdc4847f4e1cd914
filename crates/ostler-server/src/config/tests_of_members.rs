//! From the text of a `zoo.cfg` to a member of an ensemble, in tables.

use std::io::Write;

use ostler_wire::ServerId;

use super::keys::{KEYS, Kind, Source, State};
use super::*;

/// What every member needs.
const BASE: &str = "dataDir=/d\nclientPort=2181\ninitLimit=10\nsyncLimit=5\nserver.1=a:2888:3888\n\
                    server.2=b:2888:3888\nserver.3=c:2888:3888\n";

fn read(text: &str, my_id: Option<&str>) -> Result<ServerConfig, Error> {
    let my_id = my_id.map(str::as_bytes);
    ServerConfig::from_text("zoo.cfg", text.as_bytes(), None, my_id, &EnvSettings::default())
}

fn with(lines: &str) -> (MemberConfig, Vec<String>) {
    let config =
        read(&format!("{BASE}{lines}\n"), Some("1\n")).unwrap_or_else(|error| panic!("{lines}: {error}"));
    let warnings = config.warnings.iter().map(ToString::to_string).collect();
    (config.member.expect("three voters are an ensemble"), warnings)
}

fn refusal(text: &str, my_id: Option<&str>) -> String {
    read(text, my_id).expect_err(text).to_string()
}

#[test]
fn three_lines_make_a_member_with_the_defaults_of_java() {
    let (member, warnings) = with("");
    assert_eq!(warnings, [""; 0]);
    assert_eq!((member.id, member.observer), (ServerId(1), false));
    assert_eq!(member.members.voters().count(), 3);
    assert_eq!(member.own().addresses[0].host, "a");
    assert_eq!((member.init_limit_ticks, member.sync_limit_ticks), (10, 5));
    assert_eq!(member.connect_to_learner_master_limit_ticks, 10);
    assert_eq!((member.connect_timeout_ms, member.greeting_timeout_ms), (5000, 15_000));
    assert_eq!((member.min_notification_interval_ms, member.max_notification_interval_ms), (200, 60_000));
    assert_eq!((member.commit_log_count, member.snapshot_size_factor), (500, Some(0.33)));
    assert_eq!(member.election_port_bind_retry, Some(3));
    assert!(member.leader_serves && member.sync_enabled && !member.listen_on_all_ips);
    assert!(!member.force_snapshot_sync && !member.local_sessions_enabled);
}

#[test]
fn the_file_that_says_who_this_is() {
    for (text, id) in [("1", 1), ("2\n", 2), (" 3 \r\n", 3), ("+1\n# no comment of ours\n", 1)] {
        assert_eq!(read(BASE, Some(text)).unwrap().member.unwrap().id, ServerId(id), "{text:?}");
    }
    for (text, said) in [
        (
            None,
            "/d/myid: is missing; zoo.cfg names an ensemble, and this file says which of its servers this is: write one \
             line with one of 1, 2, 3, for example: echo 1 > /d/myid",
        ),
        (Some(""), r#"/d/myid:1: read ""; wants one line with the id of this server, one of 1, 2, 3"#),
        (
            Some("server1\n"),
            r#"/d/myid:1: read "server1"; wants one line with the id of this server, one of 1, 2, 3"#,
        ),
        (
            Some("4\n"),
            r#"/d/myid:1: read "4"; zoo.cfg has no server.4; wants one line with the id of this server, one of 1, 2, 3"#,
        ),
    ] {
        assert_eq!(refusal(BASE, text), said);
    }
    let long = "9".repeat(1 << 20);
    assert!(refusal(BASE, Some(&long)).len() < 300);
    // A server that stands alone needs none, and a list that is wrong is said first.
    assert!(read("dataDir=/d\nclientPort=1\nserver.1=a:1:2", None).unwrap().member.is_none());
}

#[test]
fn limits_are_needed_and_bounded() {
    let without = |key: &str| {
        let lines = BASE.lines().filter(|line| !line.starts_with(key));
        lines.collect::<Vec<_>>().join("\n")
    };
    for key in ["initLimit", "syncLimit"] {
        let error = refusal(&without(key), Some("1"));
        assert!(error.starts_with(&format!("zoo.cfg: {key}: is missing")), "{error}");
        for bad in ["0", "1000000"] {
            let error = refusal(&format!("{}\n{key}={bad}", without(key)), Some("1"));
            assert!(
                error.starts_with(&format!("zoo.cfg:7: {key}: read \"{bad}\"; wants a number of ticks")),
                "{error}"
            );
        }
        assert!(refusal(&format!("{}\n{key}=-1", without(key)), Some("1")).contains("wants a whole number"));
    }
    assert_eq!(with("connectToLearnerMasterLimit=3").0.connect_to_learner_master_limit_ticks, 3);
    assert_eq!(with("tickTime=100").0.greeting_timeout_ms, 500);
}

/// Each key that has a meaning in an ensemble only changes the configuration of a member, and a bad value of it refuses.
#[test]
fn every_key_of_an_ensemble_has_an_effect() {
    // The list of members decides, or there is only one value, or it tunes what is not there.
    let without_effect = [
        "peerType",
        "electionAlg",
        "oraclePath",
        "leader.closeSocketAsync",
        "learner.closeSocketAsync",
        "learner.asyncSending",
        "leader.ackLoggingFrequency",
        "observerMaster.sizeLimit",
        "follower.skipLearnerRequestToNextProcessor",
        "connection_throttle_local_session_weight",
        "db.autocreate",
        "initLimit",
        "syncLimit",
    ];
    let base = with("").0;
    for key in KEYS.iter().filter(|key| key.state == State::Ensemble) {
        let sample = match key.name {
            "commitLogCount" => "1000",
            "fastleader.maxNotificationInterval" => "70000",
            "syncEnabled"
            | "follower.nodelay"
            | "leader.nodelay"
            | "multiAddress.reachabilityCheckEnabled" => "false",
            "leaderServes" => "no",
            _ => match key.kind {
                Kind::Number(..) => "17",
                Kind::Fraction(..) => "0.25",
                Kind::Switch => "true",
                Kind::Word(words) => words[0],
                Kind::Text => "text",
            },
        };
        if !without_effect.contains(&key.name) {
            assert_ne!(with(&format!("{}={sample}", key.name)).0, base, "{}", key.name);
        }
        if !matches!(key.kind, Kind::Text) {
            let error = refusal(&format!("{BASE}{}=certainly", key.name), Some("1"));
            assert!(
                error.starts_with(&format!("zoo.cfg:8: {}: read \"certainly\"; wants", key.name)),
                "{error}"
            );
            // A server alone is not bothered with what Java does not check either.
            let alone = read(&format!("dataDir=/d\nclientPort=1\n{}=certainly", key.name), None);
            assert_eq!(alone.is_ok(), key.source != Source::File, "{}", key.name);
        }
    }
}

#[test]
fn values_at_their_limits() {
    let (member, warnings) = with(
        "cnxTimeout=0\nquorumCnxnTimeoutMs=-1\nelectionPortBindRetry=0\nfastleader.minNotificationInterval=90000\n\
         commitLogCount=7\nsnapshotSizeFactor=2\nobserver.reconnectDelayMs=-5\nleaderConnectDelayDuringRetryMs=-1",
    );
    assert_eq!((member.connect_timeout_ms, member.greeting_timeout_ms), (5000, 15_000));
    assert_eq!(member.election_port_bind_retry, None);
    assert_eq!((member.min_notification_interval_ms, member.max_notification_interval_ms), (90_000, 90_000));
    assert_eq!((member.commit_log_count, member.snapshot_size_factor), (500, Some(0.33)));
    assert_eq!((member.observer_reconnect_delay_ms, member.connect_retry_delay_ms), (0, 0));
    assert_eq!(
        warnings,
        [
            "zoo.cfg:8: cnxTimeout: is not above 0: the default holds",
            "zoo.cfg:12: commitLogCount: is below 500: taken as 500",
            "zoo.cfg:13: snapshotSizeFactor: is above 1: taken as 0.33",
        ]
    );
    assert_eq!(with("snapshotSizeFactor=-1").0.snapshot_size_factor, None);
    assert_eq!(with("electionPortBindRetry=-2").0.election_port_bind_retry, Some(3));
    assert!(refusal(&format!("{BASE}observerMasterPort=70000"), Some("1")).contains("65535"));
    assert!(
        refusal(&format!("{BASE}electionAlg=2"), Some("1")).contains("wants 3, nothing else is supported")
    );
}

#[test]
fn observers_and_odd_lists() {
    let observer = "server.9=o:2888:3888:observer";
    let as_observer = |lines: &str| {
        let config = read(&format!("{BASE}{observer}\n{lines}\n"), Some("9")).unwrap();
        let warnings: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
        (config.member.unwrap().observer, warnings)
    };
    assert_eq!(as_observer(""), (true, vec![]));
    assert_eq!(as_observer("peerType=Observer"), (true, vec![]));
    let said = "zoo.cfg:9: peerType: says participant, but the list of members has server.9 as observer, which counts";
    assert_eq!(as_observer("peerType=participant"), (true, vec![said.to_owned()]));
    assert_eq!(
        with("peerType=observer").1,
        [
            "zoo.cfg:8: peerType: says observer, but the list of members has server.1 as participant, which counts"
        ]
    );
    assert_eq!(with(observer).1, [""; 0]);
    assert_eq!(
        with("server.4=d:2888:3888").1,
        ["zoo.cfg:5: server.1: 4 voters bear the loss of as many as 3 would; use an odd number"]
    );
    let two = BASE.replace("server.3=c:2888:3888\n", "");
    let config = read(&two, Some("2")).unwrap();
    assert_eq!(
        config.warnings[0].to_string(),
        "zoo.cfg:5: server.1: with 2 voters none may fail; three bear the loss of one"
    );
    // One voter is an ensemble if it is told not to be a server alone.
    let one = "dataDir=/d\nclientPort=1\ninitLimit=1\nsyncLimit=1\nstandaloneEnabled=false\nserver.1=a:1:2\n";
    assert_eq!(read(one, Some("1")).unwrap().member.unwrap().members.voters().count(), 1);
    let observed = format!("{one}server.2=b:1:2:observer");
    assert!(read(&observed, Some("2")).unwrap().member.unwrap().observer);
    assert!(refusal(one, None).contains("myid"));
}

#[test]
fn groups_and_weights_fit_the_voters() {
    let groups = "group.1=1:2\ngroup.2=3\nweight.3=2";
    let (member, _) = with(groups);
    assert!(member.members.is_hierarchical());
    for (lines, said) in [
        ("group.1=1:2", "server 3 is in no group"),
        ("group.1=1:2\ngroup.2=2:3", "belongs to one group"),
        ("group.1=1:2:3:4", "names server 4, which is no voter"),
        ("weight.1=1", "is in no group"),
        ("group.1=1:2:3\nweight.7=1", "there is no server.7 to weigh"),
        ("group.1=1:2:3\nweight.1=0\nweight.2=0\nweight.3=0", "nobody could ever be elected"),
    ] {
        let error = refusal(&format!("{BASE}{lines}"), Some("1"));
        assert!(error.starts_with("zoo.cfg:") && error.contains(said), "{lines}: {error}");
    }
}

#[test]
fn the_client_port_is_that_of_the_own_line() {
    let lines = "server.1=a:1:2;2181\nserver.2=b:1:2;127.0.0.1:2182\nserver.3=c:1:2";
    let text = format!("dataDir=/d\ninitLimit=10\nsyncLimit=5\n{lines}\n");
    let address = |text: &str, id: &str| read(text, Some(id)).map(|config| config.client_address.to_string());
    assert_eq!(address(&text, "1").unwrap(), "0.0.0.0:2181");
    assert_eq!(address(&text, "2").unwrap(), "127.0.0.1:2182");
    assert!(address(&text, "3").unwrap_err().to_string().contains("clientPort: is missing"));
    let both = format!("{text}clientPort=2183");
    assert_eq!(address(&both, "3").unwrap(), "0.0.0.0:2183");
    assert!(address(&both, "2").unwrap_err().to_string().contains("write the client port once"));
    // What is told to others is what the line says.
    let member = read(&both, Some("3")).unwrap().member.unwrap();
    assert_eq!(
        member.members.to_string(),
        "server.1=a:1:2:participant;0.0.0.0:2181\nserver.2=b:1:2:participant;127.0.0.1:2182\n\
         server.3=c:1:2:participant\nversion=0"
    );
}

#[test]
fn a_dynamic_file_and_its_version() {
    let text = "dataDir=/d\nclientPort=1\ninitLimit=10\nsyncLimit=5\ndynamicConfigFile=x";
    let members = b"server.1=a:1:2\nserver.2=b:1:2";
    for (name, version) in [
        ("/conf/zoo.cfg.dynamic.10000004f", 0x1_0000_004f),
        ("/conf/zoo.cfg.dynamic", 0),
        ("/conf/members", 0),
        ("/conf.d/members", 0),
        ("/conf/zoo.cfg.dynamic.", 0),
        ("/conf/zoo.cfg.dynamic.next", 0),
    ] {
        let file = Some((name, members.as_slice()));
        let config =
            ServerConfig::from_text("zoo.cfg", text.as_bytes(), file, Some(b"2"), &EnvSettings::default())
                .unwrap();
        let member = config.member.unwrap();
        assert_eq!((member.members.version, member.id), (version, ServerId(2)), "{name}");
    }
}

#[test]
fn what_is_not_built_yet_is_said() {
    for line in
        ["oraclePath=/o", "enableEagerACLCheck=true", "syncEnabled=false", "quorum.auth.enableSasl=true"]
    {
        let key = line.split('=').next().unwrap();
        assert_eq!(with(line).1, [format!("zoo.cfg:8: {key}: accepted, not active yet")], "{line}");
    }
    for line in ["leaderServes=yes", "syncEnabled=TRUE", "localSessionsEnabled=false", "sslQuorum=false"] {
        assert_eq!(with(line).1, [""; 0], "{line}");
    }
    assert!(refusal(&format!("{BASE}sslQuorum=true"), Some("1")).contains("protection"));
}

#[test]
fn from_disk() {
    let dir = std::env::temp_dir().join(format!("ostler-member-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("zoo.cfg");
    let text = BASE.replace("dataDir=/d", &format!("dataDir={}", dir.display()));
    std::fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
    let read = || ServerConfig::from_file(&path, &EnvSettings::default());
    assert!(read().unwrap_err().to_string().contains("myid: is missing"));
    std::fs::write(dir.join("myid"), "3\n").unwrap();
    assert_eq!(read().unwrap().member.unwrap().id, ServerId(3));
    std::fs::remove_file(dir.join("myid")).unwrap();
    std::fs::create_dir(dir.join("myid")).unwrap();
    assert!(read().unwrap_err().to_string().contains("myid: cannot be read"));
    std::fs::remove_dir_all(&dir).unwrap();
}
