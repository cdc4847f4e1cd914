//! The tools for files, on files that Java's servers wrote: what Java's tools print of them (recorded in `java/`, in UTC)
//! is what ours print, and damage is told.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests panic, and tell their counts")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use common::{Scratch, Server, free_port, ostler};

fn fixture(path: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../ostler-store/fixtures/java")
        .join(path)
        .display()
        .to_string()
}

fn recorded(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/java").join(name)).unwrap()
}

fn script(name: &str) -> Command {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bin").join(name);
    let mut command = Command::new(path);
    command.env("OSTLER", env!("CARGO_BIN_EXE_ostler")).env("TZ", "UTC");
    for name in ["JVMFLAGS", "SERVER_JVMFLAGS", "ZOOCFGDIR", "ZOOCFG", "ZOOPIDFILE", "ZOO_LOG_DIR"] {
        command.env_remove(name);
    }
    command
}

fn output(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap()
}

fn text(command: &mut Command) -> String {
    let output = output(command);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{command:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// The same but for how long it took.
fn without_times(text: &str) -> String {
    let line = |line: &str| match line.split_once(" in ") {
        Some((what, _)) if line.ends_with(" seconds") => format!("{what}\n"),
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[test]
fn outputs_are_those_of_javas_tools() {
    let log = fixture("01-allkinds-3.9.5/dataDir/version-2/log.1");
    assert_eq!(text(script("zkTxnLogToolkit.sh").arg(&log)), recorded("log.txt"));
    let snapshot = |name: &str| fixture(&format!("03-multi-snap-3.9.5/dataDir/version-2/{name}"));
    let newer = snapshot("snapshot.5a");
    assert_eq!(text(script("zkSnapShotToolkit.sh").arg(&newer)), recorded("formatter.txt"));
    assert_eq!(text(script("zkSnapShotToolkit.sh").args(["-d", &newer])), recorded("formatter-data.txt"));
    let summary = text(script("zkSnapshotRecursiveSummaryToolkit.sh").args([&newer, "/", "1"]));
    assert_eq!(summary, recorded("summary.txt"));
    let older = snapshot("snapshot.4b");
    let compared =
        text(script("zkSnapshotComparer.sh").args(["-l", &older, "-r", &newer, "-b", "5", "-n", "2", "-d"]));
    assert_eq!(without_times(&compared), without_times(&recorded("comparer.txt")));
    // Usage, and what cannot be read.
    let codes = [
        (script("zkTxnLogToolkit.sh"), vec![], 1),
        (script("zkTxnLogToolkit.sh"), vec!["/nope"], 1),
        (script("zkSnapShotToolkit.sh"), vec![], 2),
        (script("zkSnapShotToolkit.sh"), vec!["/nope"], 2),
        (script("zkSnapshotComparer.sh"), vec!["-l", "x"], 2),
        (script("zkSnapshotRecursiveSummaryToolkit.sh"), vec!["x"], 2),
    ];
    for (mut command, args, code) in codes {
        assert_eq!(output(command.args(&args)).status.code(), Some(code), "{command:?}");
    }
}

#[test]
fn every_kind_of_damage_is_told() {
    let verify = |kind: &str, path: &str| output(ostler().args([kind, "verify", &fixture(path)]));
    for good in [
        "01-allkinds-3.9.5/dataDir",
        "03-multi-snap-3.9.5/dataDir",
        "08-torn-tail/dataDir",
        "10-no-eor/dataDir",
    ] {
        let found = verify("log", good);
        assert!(found.status.success(), "{good}: {found:?}");
    }
    for bad in
        ["11-crc-mid/dataDir", "12-crc-last/dataDir", "25-bad-length/dataDir", "17-bad-magic-log/dataDir"]
    {
        let found = verify("log", bad);
        let said = String::from_utf8_lossy(&found.stdout).into_owned();
        assert!(found.status.code() == Some(1) && said.contains("DAMAGED"), "{bad}: {said}");
    }
    for good in ["03-multi-snap-3.9.5/dataDir", "04-gzip-3.9.5/dataDir", "05-snappy-3.9.5/dataDir"] {
        assert!(verify("snapshot", good).status.success(), "{good}");
    }
    for bad in ["18-snapshot-truncated/dataDir", "19-snapshot-bad-checksum/dataDir"] {
        assert_eq!(verify("snapshot", bad).status.code(), Some(1), "{bad}");
    }
}

fn copied(home: &Scratch, from: &str, name: &str) -> PathBuf {
    let to = home.path().join(name);
    std::fs::copy(fixture(from), &to).unwrap();
    to
}

#[test]
fn a_checksum_is_put_right_after_a_yes() {
    let home = Scratch::new("tools-repair");
    let log = copied(&home, "11-crc-mid/dataDir/version-2/log.1", "log.1");
    let broken = text(ostler().args(["log", "dump"]).arg(&log));
    assert_eq!(broken.matches("CRC ERROR - ").count(), 1, "{broken}");
    let answer = |answer: &str| {
        let mut child = script("zkTxnLogToolkit.sh")
            .arg("-r")
            .arg(&log)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), answer.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let fixed = home.path().join("log.1.fixed");
    assert!(answer("maybe\nabort\n").matches("Would you like to fix it (Yes/No/Abort) ? ").count() == 2);
    std::fs::remove_file(&fixed).unwrap();
    assert!(answer("n\n").contains("0 fixed CRC error(s)"));
    std::fs::remove_file(&fixed).unwrap();
    assert!(answer("yes\n").contains("1 fixed CRC error(s)"));
    assert!(!text(ostler().args(["log", "dump"]).arg(&fixed)).contains("CRC ERROR"));
    // It is there now, and not written over.
    assert_eq!(output(ostler().args(["log", "repair", "-y"]).arg(&log)).status.code(), Some(1));
    // One that ends earlier.
    let chopped = text(script("zkTxnLogToolkit.sh").args(["-c", "-z", "0x5"]).arg(&fixed));
    assert!(chopped.ends_with("Chopping at 5 new log has 5 records\n"), "{chopped}");
    let rest = text(ostler().args(["log", "dump", "--json"]).arg(home.path().join("log.1.fixed.chopped5")));
    assert_eq!(rest.lines().count(), 5);
    let last: serde_json::Value = serde_json::from_str(rest.lines().last().unwrap()).unwrap();
    assert_eq!(last["zxid"], "0x5");
}

#[test]
fn snapshots_are_converted_compared_and_summed_up() {
    let home = Scratch::new("tools-snapshot");
    let plain = copied(&home, "03-multi-snap-3.9.5/dataDir/version-2/snapshot.5a", "snapshot.5a");
    for (from, to) in [("snapshot.5a", "gz"), ("snapshot.5a.gz", "snappy")] {
        text(ostler().args(["snapshot", "convert", "--to", to]).arg(home.path().join(from)));
    }
    let snappy = home.path().join("snapshot.5a.snappy");
    // Nothing differs between the two.
    assert!(text(ostler().args(["snapshot", "compare"]).arg(&plain).arg(&snappy)).contains(", 0 differ"));
    assert_eq!(text(script("zkSnapShotToolkit.sh").arg(&snappy)), recorded("formatter.txt"));
    let older = fixture("03-multi-snap-3.9.5/dataDir/version-2/snapshot.4b");
    let found = output(ostler().args(["snapshot", "compare", &older]).arg(&plain));
    assert_eq!(found.status.code(), Some(1));
    assert!(String::from_utf8(found.stdout).unwrap().contains("\n+    /"), "something was added");
    let summary: serde_json::Value =
        serde_json::from_str(&text(ostler().args(["snapshot", "summary", "--json"]).arg(&plain))).unwrap();
    assert_eq!((&summary["zxid"], &summary["nodes"]), (&"0x5a".into(), &46.into()));
    let lines = text(ostler().args(["snapshot", "json"]).arg(&plain));
    assert_eq!(lines.lines().count(), 46);
    // The format of ncdu: a list of lists.
    let ncdu: serde_json::Value =
        serde_json::from_str(&text(script("zkSnapShotToolkit.sh").arg("-json").arg(&plain))).unwrap();
    assert_eq!(ncdu[3][0]["name"], "/");
    assert!(text(ostler().args(["snapshot", "tree"]).arg(&plain)).lines().count() == 46);
}

#[test]
fn a_server_is_started_asked_and_stopped_by_the_script() {
    let home = Scratch::new("tools-server");
    let port = free_port();
    let conf = home.zoo_cfg(port, "");
    let run = |verb: &str| {
        output(script("zkServer.sh").args([verb]).arg(&conf).env("ZOO_LOG_DIR", home.path().join("logs")))
    };
    let said = |output: &Output| String::from_utf8(output.stdout.clone()).unwrap();
    let stopped = run("status");
    assert_eq!(stopped.status.code(), Some(1));
    assert!(said(&stopped).ends_with("Error contacting service. It is probably not running.\n"));
    let started = run("start");
    assert_eq!(said(&started), "Starting zookeeper ... STARTED\n");
    assert_eq!(
        String::from_utf8(started.stderr).unwrap(),
        format!("ZooKeeper JMX enabled by default\nUsing config: {}\n", conf.display())
    );
    let pid = std::fs::read_to_string(home.path().join("data/zookeeper_server.pid")).unwrap();
    assert!(pid.parse::<u32>().is_ok(), "{pid:?}");
    let deadline = std::time::Instant::now() + common::PATIENCE;
    loop {
        let status = run("status");
        if status.status.success() {
            let wanted = format!(
                "Client port found: {port}. Client address: 127.0.0.1. Client SSL: false.\nMode: standalone\n"
            );
            assert_eq!(said(&status), wanted);
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{}", said(&status));
    }
    assert_eq!(said(&run("start")), format!("Starting zookeeper ... already running as process {pid}.\n"));
    assert_eq!(said(&run("stop")), "Stopping zookeeper ... STOPPED\n");
    assert!(said(&run("stop")).contains("no zookeeper to stop (could not find file "));
    assert!(said(&run("print-cmd")).contains(" server "));
    let unknown = run("nonsense");
    assert!(unknown.status.success() && String::from_utf8_lossy(&unknown.stderr).contains("Usage: "));
}

#[test]
fn what_a_server_writes_is_followed() {
    let home = Scratch::new("tools-follow");
    let port = free_port();
    let mut server = Server::start(&home.zoo_cfg(port, ""), port);
    drop(server.first_session());
    let mut following = ostler()
        .args(["log", "follow", "--json"])
        .arg(home.path().join("data"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(following.stdout.take().unwrap()));
    let created =
        output(ostler().args(["cli", "-server", &format!("127.0.0.1:{port}"), "create", "/seen", "x"]));
    assert!(created.status.success(), "{created:?}");
    let found = loop {
        let line: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        if line["type"] == "create" {
            break line;
        }
    };
    assert_eq!((&found["path"], &found["data"]), (&"/seen".into(), &"x".into()));
    following.kill().unwrap();
    following.wait().unwrap();
}
