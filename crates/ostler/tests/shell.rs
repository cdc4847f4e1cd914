//! The shell, driven as people and as scripts drive it: through a pseudo-terminal, through a pipe, and as a process
//! for each command.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests panic, and tell their counts")]

mod common;

use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use common::terminal::Terminal;
use common::{Scratch, Server, free_port, ostler};

/// A server that serves.
fn server(home: &Scratch, port: u16) -> Server {
    let mut server =
        Server::start(&home.zoo_cfg(port, "4lw.commands.whitelist=*\nextendedTypesEnabled=true"), port);
    server.first_session();
    server
}

/// The shell of a person who remembers lines in a file of this test.
fn shell(home: &Scratch, port: u16) -> Command {
    let mut command = ostler();
    command
        .args(["cli", "-server", &format!("127.0.0.1:{port}"), "-timeout", "20000"])
        .env("OSTLER_HISTORY", home.path().join("history"))
        .env("TERM", "xterm")
        .env_remove("NO_COLOR");
    command
}

/// What a person takes to look at the screen.
fn pause() {
    std::thread::sleep(Duration::from_millis(500));
}

fn run(home: &Scratch, port: u16, words: &[&str]) -> Output {
    shell(home, port).args(words).stdin(Stdio::null()).output().unwrap()
}

/// Runs a command that is to succeed, and says what it wrote behind the first line.
fn ok(home: &Scratch, port: u16, words: &[&str]) -> String {
    let output = run(home, port, words);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{words:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    answer(&text)
}

/// Without what the shell says of itself and of the session.
fn answer(text: &str) -> String {
    let noise = |line: &str| {
        line.is_empty()
            || ["Connecting to", "WATCHER::", "WatchedEvent state", "Welcome", "JLine"]
                .iter()
                .any(|start| line.starts_with(start))
    };
    text.lines().filter(|line| !noise(line)).map(|line| format!("{line}\n")).collect()
}

fn piped(home: &Scratch, port: u16, input: &str) -> Output {
    let mut child = shell(home, port)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn a_person_completes_recalls_interrupts_and_sees_the_connection_come_and_go() {
    let home = Scratch::new("shell-terminal");
    let port = free_port();
    let first = server(&home, port);
    let mut terminal = Terminal::start(&shell(&home, port));
    terminal.expect("state:SyncConnected type:None");
    terminal.expect("connected: session 0x");

    terminal.keys("create /alpha one\r");
    terminal.expect("Created /alpha");
    // Commands are completed, and paths.
    terminal.keys("getAllC\t/alpha\r");
    terminal.expect("getAllChildrenNumber ");
    terminal.expect("0\r\n");
    terminal.keys("get /al\t\r");
    terminal.expect("get /alpha");
    terminal.expect("one\r\n");
    // With two that fit, both are shown.
    terminal.keys("create /alps two\r");
    terminal.expect("Created /alps");
    terminal.keys("ls /al\t\t");
    terminal.expect("alpha");
    terminal.expect("alps");
    // Ctrl-C takes the line back: nothing is run, and the number of the prompt stays.
    terminal.keys("\x03");
    pause();
    terminal.expect("(CONNECTED) 4] ");
    // The line before comes back with the arrow.
    terminal.keys("\x1b[A\x1b[A\r");
    terminal.expect("get /alpha");
    terminal.expect("one\r\n");
    // How a command goes on is shown behind it.
    terminal.keys("stat ");
    terminal.expect("[-w] path");
    terminal.keys("\x03");
    pause();
    // Ctrl-C ends a command that goes on, and not the shell.
    terminal.keys("watch /\r");
    pause();
    terminal.keys("\x03");
    terminal.expect("(CONNECTED) 6] ");

    // A connection that is lost, and one that is back, on the same session.
    drop(first);
    terminal.expect("state:Disconnected type:None");
    terminal.expect("connection lost; trying");
    let second = server(&home, port);
    terminal.expect("state:SyncConnected type:None");
    terminal.expect("connected again: session 0x");
    terminal.keys("get /alpha\r");
    terminal.expect("one\r\n");
    // Colours are for terminals: the prompt is green.
    assert!(terminal.shown().contains("\x1b[32m[zk: "), "{:?}", terminal.shown());
    terminal.keys("quit\r");
    assert_eq!(terminal.wait(), Some(0));

    // Another run remembers, and does without colours when it is asked to.
    let mut plain = shell(&home, port);
    plain.env("NO_COLOR", "1");
    let mut terminal = Terminal::start(&plain);
    terminal.expect("state:SyncConnected type:None");
    terminal.keys("\x1b[A\x1b[A\r");
    terminal.expect("get /alpha");
    terminal.expect("one\r\n");
    assert!(!terminal.shown().contains("\x1b[32m"), "{:?}", terminal.shown());
    // Ctrl-D leaves.
    terminal.keys("\x04");
    assert_eq!(terminal.wait(), Some(0));
    drop(second);
}

#[test]
fn a_pipe_is_read_line_by_line() {
    let home = Scratch::new("shell-pipe");
    let port = free_port();
    let _server = server(&home, port);
    let output = piped(&home, port, "create /a 'hello world'\nget /a\n\nget /nope\n");
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(out.starts_with("Connecting to 127.0.0.1:"), "{out}");
    assert_eq!(answer(&out), "hello world\n");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "Created /a\nNode does not exist: /nope\n");
    // The code is that of the last command; nothing but text is written.
    assert_eq!(output.status.code(), Some(1));
    assert!(!out.contains('\x1b'), "{out:?}");
    assert_eq!(piped(&home, port, "nonsense\nquit\n").status.code(), Some(127));
}

#[test]
fn single_commands_end_with_their_codes_and_leave_their_sessions() {
    let home = Scratch::new("shell-single");
    let port = free_port();
    let _server = server(&home, port);
    assert_eq!(run(&home, port, &["get", "/nope"]).status.code(), Some(1));
    assert_eq!(run(&home, port, &["nonsense"]).status.code(), Some(127));
    assert_eq!(run(&home, port, &["create", "-e", "/mine", "x"]).status.code(), Some(0));
    // The session of the command before lives on.
    assert_eq!(ok(&home, port, &["get", "/mine"]), "x\n");
    // A server that is not there is given up soon.
    let begin = std::time::Instant::now();
    let output = run(&home, free_port(), &["get", "/x"]);
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "KeeperErrorCode = ConnectionLoss for /x\n");
    assert_eq!(output.status.code(), Some(1));
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    // Below another path.
    let chroot = format!("127.0.0.1:{port}/base");
    ok(&home, port, &["create", "/base"]);
    let below = ostler().args(["cli", "-server", &chroot, "create", "/in", "side"]).output().unwrap();
    assert_eq!(String::from_utf8(below.stderr).unwrap(), "Created /in\n");
    assert_eq!(ok(&home, port, &["get", "/base/in"]), "side\n");
    let help = ostler().args(["cli", "--help"]).output().unwrap();
    assert!(String::from_utf8(help.stdout).unwrap().contains("Examples:"));
}

#[test]
fn answers_are_json_where_that_is_wanted() {
    let home = Scratch::new("shell-json");
    let port = free_port();
    let _server = server(&home, port);
    let json = |words: &[&str]| -> serde_json::Value {
        let output = run(&home, port, words);
        let text = String::from_utf8(output.stdout).unwrap();
        serde_json::from_str(answer(&text).trim())
            .unwrap_or_else(|error| panic!("{words:?}: {error}: {text}"))
    };
    assert_eq!(json(&["create", "/a", "x", "--json"])["created"], "/a");
    let got = json(&["get", "/a", "--json"]);
    assert_eq!((&got["data"], &got["stat"]["version"]), (&"x".into(), &0.into()));
    assert_eq!(json(&["ls", "/", "--json"])["children"], serde_json::json!(["a", "zookeeper"]));
    assert_eq!(json(&["get", "/nope", "--json"])["error"]["code"], "NoNode");
    assert_eq!(json(&["getAcl", "/a", "--json"])["acl"][0]["perms"], "cdrwa");
    let other = [
        "stat /a",
        "sync /a",
        "config",
        "whoami",
        "version",
        "getEphemerals",
        "listquota /a",
        "tree",
        "du",
        "find",
        "history",
        "getAllChildrenNumber /",
        "setquota -n 5 /a",
        "delquota /a",
        "set /a y",
        "delete /a",
    ];
    for line in other {
        let words: Vec<&str> = line.split(' ').chain(["--json"]).collect();
        assert!(json(&words).is_object(), "{line}");
    }
}

#[test]
fn a_dry_run_changes_nothing() {
    let home = Scratch::new("shell-dry");
    let port = free_port();
    let _server = server(&home, port);
    ok(&home, port, &["create", "/a", "x"]);
    ok(&home, port, &["create", "/a/b", "y"]);
    for line in [
        "delete /a/b",
        "deleteall /a",
        "rmr /a",
        "set /a z",
        "setAcl -R /a world:anyone:r",
        "create /c",
        "cp /a /c",
        "setquota -n 1 /a",
    ] {
        let words: Vec<&str> = line.split(' ').chain(["--dry-run"]).collect();
        assert!(ok(&home, port, &words).starts_with("would "), "{line}");
    }
    assert_eq!(ok(&home, port, &["ls", "-R", "/a"]), "/a\n/a/b\n");
    assert_eq!(ok(&home, port, &["get", "/a"]), "x\n");
    assert_eq!(ok(&home, port, &["ls", "/"]), "[a, zookeeper]\n");
}

#[test]
fn subtrees_are_shown_searched_copied_and_carried_away() {
    let home = Scratch::new("shell-subtree");
    let port = free_port();
    let _server = server(&home, port);
    let script = "create /app root\ncreate /app/b 22\ncreate /app/a 1\ncreate /app/a/deep needle\n\
                  create -c /app/box\ncreate -e /app/gone x\nsetAcl /app/b world:anyone:rw\n";
    assert!(piped(&home, port, script).status.success());

    assert_eq!(
        ok(&home, port, &["tree", "/app"]),
        "/app\n├── a\n│   └── deep\n├── b\n├── box\n└── gone (ephemeral)\n"
    );
    assert_eq!(ok(&home, port, &["tree", "-d", "1", "/app"]).lines().count(), 5);
    let du = ok(&home, port, &["du", "/app"]);
    assert!(
        du.starts_with(
            "          14 bytes         6 znodes  /app\n           7 bytes         2 znodes  /app/a\n"
        ),
        "{du}"
    );
    assert_eq!(ok(&home, port, &["find", "-name", "d*p", "/app"]), "/app/a/deep\n");
    assert_eq!(ok(&home, port, &["find", "-data", "eed", "/"]), "/app/a/deep\n");
    assert_eq!(ok(&home, port, &["find", "-type", "e", "/"]), "/app/gone\n");
    assert_eq!(ok(&home, port, &["find", "-size", "+3", "/app"]), "/app\n/app/a/deep\n");

    assert_eq!(ok(&home, port, &["cp", "-a", "/app", "/copy"]), "5 created, 0 replaced, 1 left out\n");
    assert_eq!(ok(&home, port, &["get", "/copy/a/deep"]), "needle\n");
    assert_eq!(ok(&home, port, &["getAcl", "/copy/b"]), "'world,'anyone\n: rw\n");
    assert_eq!(run(&home, port, &["cp", "/app", "/copy"]).status.code(), Some(1), "it is there");
    assert_eq!(run(&home, port, &["cp", "/app", "/app/within"]).status.code(), Some(1));
    assert_eq!(ok(&home, port, &["cp", "-f", "/app", "/copy"]), "0 created, 5 replaced, 1 left out\n");

    let file = home.path().join("app.jsonl").display().to_string();
    assert_eq!(ok(&home, port, &["export", "-a", "/app", &file]), format!("6 znodes written to {file}\n"));
    assert_eq!(ok(&home, port, &["import", "-a", &file, "/back"]), "5 created, 0 replaced, 1 left out\n");
    assert_eq!(ok(&home, port, &["getAcl", "/back/b"]), "'world,'anyone\n: rw\n");
    assert_eq!(ok(&home, port, &["get", "/back/a/deep"]), "needle\n");
    std::fs::write(&file, "{\"path\": 5}\n").unwrap();
    let output = run(&home, port, &["import", &file, "/bad"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("line 1 of"), "{output:?}");
}

#[test]
fn an_edit_is_written_only_over_what_was_read() {
    let home = Scratch::new("shell-edit");
    let port = free_port();
    let _server = server(&home, port);
    ok(&home, port, &["create", "/conf", "colour=red"]);
    let edit = |editor: &str| {
        let script = home.path().join("editor.sh");
        std::fs::write(&script, format!("#!/bin/sh\n{editor}\n")).unwrap();
        shell(&home, port)
            .args(["edit", "/conf"])
            .env_remove("VISUAL")
            .env("EDITOR", format!("sh {}", script.display()))
            .output()
            .unwrap()
    };
    assert!(edit("sed -i s/red/blue/ \"$1\"").status.success());
    assert_eq!(ok(&home, port, &["get", "/conf"]), "colour=blue\n");
    assert!(String::from_utf8_lossy(&edit("true").stdout).contains("unchanged"));
    assert_eq!(edit("false").status.code(), Some(1));
    // Somebody else is faster.
    let other = format!(
        "{} cli -server 127.0.0.1:{port} set /conf other; echo mine >> \"$1\"",
        env!("CARGO_BIN_EXE_ostler")
    );
    let output = edit(&other);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("somebody changed it meanwhile"), "{said}");
    let kept = said.trim().rsplit(' ').next().unwrap().to_owned();
    assert!(std::fs::read_to_string(&kept).unwrap().contains("mine"), "{said}");
    std::fs::remove_file(kept).unwrap();
    assert_eq!(ok(&home, port, &["get", "/conf"]), "other\n");
}

#[test]
fn changes_and_figures_are_shown_live() {
    let home = Scratch::new("shell-live");
    let port = free_port();
    let _server = server(&home, port);
    ok(&home, port, &["create", "/app"]);
    let watching = shell(&home, port)
        .args(["watch", "-d", "-n", "3", "-t", "20", "/app", "--json"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // The watch has to be there before anything happens.
    let deadline = std::time::Instant::now() + common::PATIENCE;
    let words = || {
        String::from_utf8(
            ostler().args(["word", "127.0.0.1", &port.to_string(), "mntr"]).output().unwrap().stdout,
        )
        .unwrap()
    };
    while !words().contains("zk_watch_count\t1") {
        assert!(std::time::Instant::now() < deadline, "{}", words());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(piped(&home, port, "create /app/x 1\nset /app/x 2\ndelete /app/x\n").status.success());
    let output = watching.wait_with_output().unwrap();
    let lines: Vec<serde_json::Value> = answer(&String::from_utf8(output.stdout).unwrap())
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let kinds: Vec<_> = lines.iter().filter_map(|line| line["type"].as_str()).collect();
    assert_eq!(kinds, ["created", "changed", "deleted"], "{lines:?}");
    assert!(lines[..3].iter().all(|line| line["path"] == "/app/x"));

    let top = ok(&home, port, &["top", "-n", "1"]);
    assert!(top.contains("standalone") && top.lines().count() == 2, "{top}");
}
