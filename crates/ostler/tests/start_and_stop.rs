//! How the binary starts, says so, and stops; and how it refuses to start.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests panic, and tell their counts")]

mod common;

use std::net::TcpListener;
use std::time::{Duration, Instant};

use common::{Scratch, Server, free_port, ostler, refused};
use ostler_client::{Client, CreateMode};
use rustix::process::Signal;

/// Without an argument it listens on 2181 and stores in ./ostler-data. Another server on this machine may have the
/// port; then this is the test of that.
#[test]
fn embedded() {
    let scratch = Scratch::new("embedded");
    let mut command = ostler();
    command.current_dir(scratch.path());
    let occupied = TcpListener::bind(("0.0.0.0", 2181)).is_err();
    if occupied {
        println!("!!!! PORT 2181 IS TAKEN: testing only that the embedded server says so");
        let output = refused(&mut command);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(one_line(&output.stderr).contains("2181"), "{output:?}");
        return;
    }
    let mut server = Server::spawn(&mut command, 2181);
    server.first_session();
    server.wait_for_stdout("stop with");
    let said = server.stdout();
    for wanted in ["Ostler ", "listening on", "2181", "data in", "ostler-data", "connect with", "zkCli.sh"] {
        assert!(said.contains(wanted), "'{wanted}' is not in: {said}");
    }
    assert!(said.lines().count() <= 8, "a few lines: {said}");
    assert!(scratch.path().join("ostler-data/version-2").is_dir());
    assert_eq!(server.end(Signal::INT), Some(0), "{}", server.stderr());
}

#[test]
fn stops_with_exit_code_0_on_both_signals_and_keeps_what_it_acknowledged() {
    let scratch = Scratch::new("signals");
    for (round, signal) in [Signal::TERM, Signal::INT].into_iter().enumerate() {
        let port = free_port();
        let mut server = Server::start(&scratch.zoo_cfg(port, ""), port);
        let mut peer = server.first_session();
        assert_eq!(peer.create(&format!("/of-round-{round}"), b"x").unwrap(), 0);
        for before in 0..=round {
            assert_eq!(peer.get_data(&format!("/of-round-{before}")).unwrap(), Ok(b"x".to_vec()));
        }
        let asked = Instant::now();
        assert_eq!(server.end(signal), Some(0), "{}", server.stderr());
        println!("{signal:?}: stopped after {} ms", asked.elapsed().as_millis());
    }
}

/// The first session within 100 ms of exec: printed always, asserted (with slack, since other tests run beside it) on
/// an optimised build.
#[test]
fn first_session_within_100_ms() {
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let scratch = Scratch::new("first-session");
        let port = free_port();
        let cfg = scratch.zoo_cfg(port, "");
        let mut server = Server::start(&cfg, port);
        server.first_session();
        best = best.min(server.started.elapsed());
    }
    println!("first session {:.1} ms after exec (best of 5)", best.as_secs_f64() * 1e3);
    if !cfg!(debug_assertions) {
        assert!(best < Duration::from_millis(250), "{best:?}");
    }
}

#[test]
fn the_client_library_finds_it() {
    let scratch = Scratch::new("client");
    let port = free_port();
    let mut server = Server::start(&scratch.zoo_cfg(port, ""), port);
    server.first_session();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = Client::connect(&server.address().to_string()).await.unwrap();
        client.create("/c", "1", CreateMode::Persistent).await.unwrap();
        assert_eq!(client.get_data("/c").await.unwrap().0, "1");
        client.close().await;
    });
}

#[test]
fn legacy_arguments() {
    let scratch = Scratch::new("legacy");
    let port = free_port();
    let mut command = ostler();
    command.arg("server").arg(port.to_string()).arg(scratch.path().join("d")).args(["2000", "10"]);
    let mut server = Server::spawn(&mut command, port);
    assert_eq!(server.first_session().create("/a", b"").unwrap(), 0);
    assert_eq!(server.end(Signal::TERM), Some(0));
}

#[test]
fn a_port_in_use() {
    let scratch = Scratch::new("port");
    let holder = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = holder.local_addr().unwrap().port();
    let output = refused(ostler().arg("server").arg(scratch.zoo_cfg(port, "")));
    let line = one_line(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{line}");
    assert!(line.contains(&port.to_string()) && line.contains("another clientPort"), "{line}");
}

#[test]
fn a_data_directory_that_another_server_holds() {
    let scratch = Scratch::new("locked");
    let (port, other) = (free_port(), free_port());
    let mut server = Server::start(&scratch.zoo_cfg(port, ""), port);
    server.first_session();
    let output = refused(ostler().arg("server").arg(scratch.zoo_cfg(other, "")));
    let line = one_line(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{line}");
    assert!(line.contains(&scratch.path().join("data").display().to_string()), "{line}");
    assert!(line.contains(&server.pid().to_string()), "who holds it is not told: {line}");
    assert!(server.is_running());
    server.first_session();
}

#[test]
fn a_data_directory_that_cannot_be_made_or_written() {
    let scratch = Scratch::new("unwritable");
    // A file where the directory should be: nobody may write below it, not even root.
    std::fs::write(scratch.path().join("data"), b"a file").unwrap();
    let output = refused(ostler().arg("server").arg(scratch.zoo_cfg(free_port(), "")));
    let line = one_line(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{line}");
    assert!(line.contains(&scratch.path().join("data").display().to_string()), "{line}");

    let locked = Scratch::new("read-only");
    let data = locked.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let mut permissions = std::fs::metadata(&data).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o555);
    std::fs::set_permissions(&data, permissions.clone()).unwrap();
    if std::fs::write(data.join("probe"), b"").is_ok() {
        println!("!!!! WE MAY WRITE EVERYWHERE (root?): a read-only directory is not tested");
        return;
    }
    let output = refused(ostler().arg("server").arg(locked.zoo_cfg(free_port(), "")));
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
    std::fs::set_permissions(&data, permissions).unwrap();
    let line = one_line(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{line}");
    assert!(line.contains(&data.display().to_string()), "{line}");
}

#[test]
fn a_bad_value() {
    let scratch = Scratch::new("bad-value");
    for (more, wanted) in [
        ("tickTime=soon", &["tickTime", "soon", ":6:"][..]),
        ("maxClientCnxns=many", &["maxClientCnxns", "many", ":6:"]),
        ("sslQuorum=true", &["sslQuorum"]),
        ("audit.enable=true", &["audit.enable"]),
    ] {
        let cfg = scratch.zoo_cfg(free_port(), more);
        let output = refused(ostler().arg("server").arg(&cfg));
        let line = one_line(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{line}");
        for wanted in wanted.iter().copied().chain([cfg.to_str().unwrap()]) {
            assert!(line.contains(wanted), "'{wanted}' is not in: {line}");
        }
    }
    let output = refused(ostler().arg("server").arg(scratch.path().join("none.cfg")));
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(one_line(&output.stderr).contains("none.cfg"), "{output:?}");
}

/// The one line that a server says before it gives up; what it logs before that begins with a time.
fn one_line(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr).into_owned();
    let mut lines = text.lines().filter(|line| line.starts_with("ostler: "));
    let line = lines.next().unwrap_or_else(|| panic!("no line of ours in: {text}")).to_owned();
    assert!(lines.next().is_none(), "one line is enough: {text}");
    assert!(!text.contains("panicked"), "{text}");
    line
}
