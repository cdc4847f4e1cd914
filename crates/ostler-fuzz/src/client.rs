//! The client's session, which reads what any server sends.

use std::time::Duration;

use ostler_client::session::{Output, Session, State};
use ostler_client::{Options, Request};
use ostler_wire::client::connect::{ConnectResponse, PASSWORD_LEN};
use ostler_wire::client::read::{AddWatchMode, Read};
use ostler_wire::client::write::{CreateMode, Write};
use ostler_wire::{Acl, SessionId, frame};

/// Bytes from a server: with the first byte's lowest bit after a good handshake, with the next in small pieces, with
/// the next as bodies of frames whose header is made to match what was asked.
pub(crate) fn session(input: &[u8]) {
    let Some((mode, bytes)) = input.split_first() else { return };
    let mut now = Duration::from_secs(1);
    let mut session = Session::new(Options::default());
    session.handle_connected(now);
    drain(&mut session, now);
    let mut asked = 0;
    if mode & 1 == 1 {
        let mut hello = Vec::new();
        let at = frame::start(&mut hello);
        let (session_id, password) = (SessionId(0x0100_0000_0000_0007), [7; PASSWORD_LEN]);
        ConnectResponse { timeout_ms: 30_000, session: session_id, password, read_only: Some(false) }
            .encode(&mut hello);
        frame::finish(&mut hello, at);
        session.handle_bytes(now, &hello);
        drain(&mut session, now);
        asked = ask(&mut session, now);
    }
    if mode & 4 == 4 {
        for (xid, body) in (1..).zip(bytes.chunks(128).take(asked)) {
            let mut reply = Vec::new();
            let at = frame::start(&mut reply);
            reply.extend_from_slice(&i32::to_be_bytes(xid));
            reply.extend_from_slice(&[0; 12]);
            reply.extend_from_slice(body);
            frame::finish(&mut reply, at);
            session.handle_bytes(now, &reply);
            drain(&mut session, now);
        }
    } else {
        let piece = if mode & 2 == 2 { 1 + usize::from(mode >> 3) } else { usize::MAX };
        for piece in bytes.chunks(piece) {
            now += Duration::from_millis(1);
            session.handle_bytes(now, piece);
            drain(&mut session, now);
        }
    }
    if let Some(deadline) = session.poll_timeout() {
        session.handle_timeout(now.max(deadline));
        drain(&mut session, now.max(deadline));
    }
    session.close(now);
    session.handle_disconnected(now);
    while session.poll_output().is_some() {}
}

/// Asks for one of each, and says how many that were.
fn ask(session: &mut Session, now: Duration) -> usize {
    let open = Acl::open();
    let requests = [
        Request::get_data("/a", true),
        Request::exists("/b", true),
        Request::children("/", true),
        Request::sync("/"),
        Request::add_watch("/c", AddWatchMode::PersistentRecursive),
        Request::create("/d", "data", &open, CreateMode::EphemeralSequential),
        Request::set_data("/a", "data", -1),
        Request::multi(vec![
            Write::Check { path: Some("/a".to_owned()), version: 1 },
            Write::Delete { path: Some("/a".to_owned()), version: -1 },
        ]),
        Request::Read(Read::GetAcl { path: "/a".into() }),
        Request::Read(Read::WhoAmI),
        Request::Read(Read::GetEphemerals { prefix: None }),
        Request::delete("/a", -1),
    ];
    for request in &requests {
        session.submit(now, request).expect("these are good requests");
    }
    drain(session, now);
    requests.len()
}

/// Takes what the session wants, as a driver does.
fn drain(session: &mut Session, now: Duration) {
    while let Some(output) = session.poll_output() {
        if matches!(output, Output::Disconnect(_)) {
            session.handle_disconnected(now);
            if session.state() == State::Disconnected {
                session.handle_connected(now);
            }
        }
    }
}
