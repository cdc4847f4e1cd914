//! The session against scripted server bytes, most of them captured from Apache ZooKeeper 3.9.5.

use ostler_wire::acl::Acl;
use ostler_wire::client::read::AddWatchMode;
use ostler_wire::client::write::CreateMode;
use ostler_wire::jute::Writer;

use super::answer::Answer;
use super::*;

const SESSION: i64 = 0x0100_001b_3e63_0000;
const HELLO: &str =
    "00000025 00000000 00007530 0100001b3e630000 00000010 ffcc9478209431f1759db1326971955c 00";

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().filter_map(|c| c.to_digit(16)).map(|digit| u8::try_from(digit).unwrap()).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Takes all outputs; the bytes to send are joined.
fn drain(session: &mut Session) -> (Vec<u8>, Vec<Output>) {
    let (mut sent, mut rest) = (Vec::new(), Vec::new());
    while let Some(output) = session.poll_output() {
        match output {
            Output::Transmit(bytes) => sent.extend_from_slice(&bytes),
            other @ (Output::Completed(_) | Output::Event(_) | Output::Disconnect(_)) => rest.push(other),
        }
    }
    (sent, rest)
}

fn connected() -> Session {
    let mut session = Session::new(Options::default());
    session.handle_connected(secs(1));
    session.handle_bytes(secs(1), &unhex(HELLO));
    drain(&mut session);
    assert_eq!(session.state(), State::Connected);
    session
}

/// A reply with nothing but a header.
fn header(xid: i32, zxid: i64, err: i32) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.put_int(16);
    frame.put_int(xid);
    frame.put_long(zxid);
    frame.put_int(err);
    frame
}

fn kinds(outputs: &[Output]) -> Vec<(u64, Option<ErrorKind>)> {
    outputs
        .iter()
        .filter_map(|output| match output {
            Output::Completed(done) => Some((done.id.0, done.result.as_ref().err().map(Error::kind))),
            Output::Transmit(_) | Output::Event(_) | Output::Disconnect(_) => None,
        })
        .collect()
}

#[test]
fn the_captured_handshake() {
    let mut session = Session::new(Options::default());
    session.handle_connected(secs(1));
    let (sent, _) = drain(&mut session);
    assert_eq!(
        sent,
        unhex(
            "0000002d 00000000 0000000000000000 00007530 0000000000000000 00000010 \
             00000000000000000000000000000000 00"
        )
    );
    // Byte by byte, since the network cuts where it likes.
    for byte in unhex(HELLO) {
        session.handle_bytes(secs(2), &[byte]);
    }
    let (sent, outputs) = drain(&mut session);
    assert!(sent.is_empty());
    let event = Event::Connected { session: SessionId(SESSION), read_only: false, timeout: secs(30) };
    assert_eq!(outputs, [Output::Event(event)]);
}

#[test]
fn captured_requests_and_replies() {
    let mut session = connected();
    let now = secs(2);
    session.add_auth(now, "digest", b"bob:pw").unwrap();
    let create = Request::Write(Write::Create(ostler_wire::client::write::Create {
        op: OpCode::Create,
        path: Some("/a".to_owned()),
        data: Some(Bytes::from_static(b"hi")),
        acl: Some(Acl::open().into_iter().map(Into::into).collect()),
        flags: 0,
        ttl: -1,
    }));
    session.submit(now, &create).unwrap();
    session.submit(now, &Request::get_data("/a", true)).unwrap();
    session.submit(now, &Request::get_data("/zz", false)).unwrap();
    session.submit(now, &Request::set_data("/a", &b"x"[..], 0)).unwrap();
    let (sent, _) = drain(&mut session);
    assert_eq!(
        sent,
        unhex(
            "00000020 fffffffc 00000064 00000000 00000006 646967657374 00000006 626f623a7077
             00000033 00000001 00000001 00000002 2f61 00000002 6869 00000001 0000001f 00000005 776f726c64
             00000006 616e796f6e65 00000000
             0000000f 00000002 00000004 00000002 2f61 01
             00000010 00000003 00000004 00000003 2f7a7a 00
             00000017 00000004 00000005 00000002 2f61 00000001 78 00000000"
        )
    );
    session.handle_bytes(
        now,
        &unhex(
            "00000010 fffffffc 0000000000000000 00000000
             00000016 00000001 0000000000000002 00000000 00000002 2f61
             0000005a 00000002 0000000000000002 00000000 00000002 6869
             0000000000000002 0000000000000002 000001a1fd1b165a 000001a1fd1b165a 00000000 00000000 00000000
             0000000000000000 00000002 00000000 0000000000000002
             00000010 00000003 0000000000000002 ffffff9b
             0000001e ffffffff 0000000000000003 00000000 00000003 00000003 00000002 2f61
             00000054 00000004 0000000000000003 00000000
             0000000000000002 0000000000000003 000001a1fd1b165a 000001a1fd1b165b 00000001 00000000 00000000
             0000000000000000 00000001 00000000 0000000000000002",
        ),
    );
    let (sent, outputs) = drain(&mut session);
    assert!(sent.is_empty());
    assert_eq!(kinds(&outputs)[0], (0, None), "the credentials");
    let outputs = &outputs[1..];
    assert_eq!(outputs.len(), 5);
    let result = |i: usize| match &outputs[i] {
        Output::Completed(done) => done.result.clone(),
        other @ (Output::Transmit(_) | Output::Event(_) | Output::Disconnect(_)) => panic!("{other:?}"),
    };
    assert_eq!(result(0), Ok(Response::Path("/a".to_owned())));
    let Ok(Response::Data { data, stat }) = result(1) else { panic!() };
    assert_eq!((data.as_deref(), stat.czxid), (Some(&b"hi"[..]), 2));
    assert_eq!(result(2).unwrap_err().kind(), ErrorKind::Rejected(Code::NoNode));
    let event = Event::Watch { kind: EventType::NodeDataChanged, path: "/a".to_owned(), zxid: Zxid(3) };
    assert_eq!(outputs[3], Output::Event(event));
    let Ok(Response::Stat(stat)) = result(4) else { panic!() };
    assert_eq!((stat.version, stat.mzxid), (1, 3));
    assert_eq!(session.last_zxid(), Zxid(3));
    assert_eq!(session.watch_count(), 0);
}

#[test]
fn a_new_connection_gets_session_auth_watches_and_then_what_waited() {
    let mut session = connected();
    session.add_auth(secs(1), "digest", b"a:b").unwrap();
    session.submit(secs(1), &Request::add_watch("/p", AddWatchMode::PersistentRecursive)).unwrap();
    session.handle_bytes(secs(1), &unhex("00000014 00000001 0000000000000005 00000000 00000000"));
    session.handle_disconnected(secs(2));
    drain(&mut session);
    session.submit(secs(3), &Request::sync("/")).unwrap();
    assert!(drain(&mut session).0.is_empty());

    session.handle_connected(secs(4));
    let (sent, _) = drain(&mut session);
    let request = ConnectRequest::decode(&mut ostler_wire::jute::Reader::new(&sent[4..])).unwrap();
    assert_eq!((request.session, request.last_zxid_seen), (SessionId(SESSION), 5));
    assert_eq!(request.password, &unhex("ffcc9478209431f1759db1326971955c")[..]);

    session.handle_bytes(secs(4), &unhex(HELLO));
    let (sent, _) = drain(&mut session);
    assert_eq!(
        sent,
        unhex(
            "0000001d fffffffc 00000064 00000000 00000006 646967657374 00000003 613a62
             0000002a fffffff8 00000069 0000000000000005 00000000 00000000 00000000 00000000 00000001
             00000002 2f70
             0000000d 00000002 00000009 00000001 2f"
        )
    );
    session.handle_bytes(
        secs(4),
        &unhex(
            "00000010 fffffffc 0000000000000000 00000000
             0000001e ffffffff ffffffffffffffff 00000000 00000003 00000003 00000002 2f70
             00000010 fffffff8 0000000000000006 00000000
             00000015 00000002 0000000000000006 00000000 00000001 2f",
        ),
    );
    let (_, outputs) = drain(&mut session);
    assert_eq!(kinds(&outputs), [(0, None), (2, None)]);
    assert!(matches!(&outputs[1], Output::Event(Event::Watch { zxid: Zxid(-1), .. })));
}

#[test]
fn what_a_lost_connection_means_for_each_request() {
    let mut session = connected();
    session.submit(secs(1), &Request::get_data("/a", false)).unwrap();
    session.submit(secs(1), &Request::delete("/a", -1)).unwrap();
    drain(&mut session);
    session.handle_disconnected(secs(2));
    let (_, outputs) = drain(&mut session);
    assert_eq!(kinds(&outputs), [(0, Some(ErrorKind::Retry)), (1, Some(ErrorKind::Unknown))]);
    assert_eq!(outputs[2], Output::Event(Event::Disconnected));

    // Never sent: it survives a connection that failed in the handshake.
    session.submit(secs(3), &Request::delete("/b", -1)).unwrap();
    session.handle_connected(secs(3));
    session.handle_disconnected(secs(4));
    assert_eq!(kinds(&drain(&mut session).1), []);
    assert_eq!(session.pending(), 1);
}

#[test]
fn the_server_says_that_the_session_expired() {
    let mut session = connected();
    session.handle_disconnected(secs(2));
    session.submit(secs(3), &Request::delete("/b", -1)).unwrap();
    session.handle_connected(secs(3));
    drain(&mut session);
    session.handle_bytes(
        secs(3),
        &unhex("00000025 00000000 00000000 0000000000000000 00000010 00000000000000000000000000000000 00"),
    );
    let (_, outputs) = drain(&mut session);
    assert_eq!(kinds(&outputs), [(0, Some(ErrorKind::SessionLost))]);
    assert_eq!(outputs[1], Output::Event(Event::Ended(Ending::Expired)));
    assert!(matches!(outputs[2], Output::Disconnect(_)));
    let refused = session.submit(secs(4), &Request::sync("/")).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::SessionLost);
    assert_eq!(session.poll_timeout(), None);
}

#[test]
fn a_session_unheard_of_for_long_is_lost_without_a_server() {
    let mut session = connected();
    session.handle_disconnected(secs(2));
    drain(&mut session);
    // The servers count from what they answered, and 30 s were negotiated; this client keeps trying for longer.
    assert_eq!(session.poll_timeout(), Some(secs(1 + 30)));
    session.handle_timeout(secs(30));
    assert!(drain(&mut session).1.is_empty());
    session.handle_timeout(secs(31));
    assert_eq!(drain(&mut session).1, [Output::Event(Event::Lapsed)]);
    assert_eq!(session.poll_timeout(), Some(secs(1 + 40)));
    session.handle_timeout(secs(40));
    assert_eq!(session.state(), State::Disconnected);
    session.handle_timeout(secs(41));
    assert_eq!(session.state(), State::Ended(Ending::Expired));
}

#[test]
fn pings_keep_an_idle_session_and_silence_ends_its_connection() {
    let mut session = connected();
    // A third of 30 s, less a second of slack.
    assert_eq!(session.poll_timeout(), Some(secs(1 + 9)));
    session.handle_timeout(secs(10));
    let (sent, _) = drain(&mut session);
    assert_eq!(sent, unhex("00000008 fffffffe 0000000b"));
    session.handle_bytes(secs(11), &unhex("00000010 fffffffe 0000000000000001 00000000"));
    assert_eq!(session.last_zxid(), Zxid::ZERO);
    assert_eq!(session.poll_timeout(), Some(secs(19)));
    session.handle_timeout(secs(19));
    session.handle_timeout(secs(28));
    drain(&mut session);
    assert_eq!(session.poll_timeout(), Some(secs(31)));
    session.handle_timeout(secs(31));
    assert!(matches!(drain(&mut session).1[..], [Output::Disconnect(_)]));
}

#[test]
fn close_answers_what_came_before_it() {
    let mut session = connected();
    session.submit(secs(1), &Request::sync("/")).unwrap();
    session.close(secs(1));
    assert_eq!(session.submit(secs(1), &Request::sync("/")).unwrap_err().kind(), ErrorKind::Misuse);
    assert!(drain(&mut session).0.ends_with(&unhex("00000008 00000002 fffffff5")));
    session.handle_bytes(secs(1), &unhex("00000015 00000001 0000000000000005 00000000 00000001 2f"));
    session.handle_bytes(secs(1), &header(2, 6, 0));
    let (_, outputs) = drain(&mut session);
    assert_eq!(kinds(&outputs), [(0, None)]);
    assert_eq!(outputs[1], Output::Event(Event::Ended(Ending::Closed)));
    session.handle_disconnected(secs(1));
    assert!(drain(&mut session).1.is_empty());
}

#[test]
fn a_server_that_accepts_and_says_nothing_does_not_keep_the_session() {
    let mut session = connected();
    session.handle_disconnected(secs(2));
    for at in [10, 20, 30, 40] {
        session.handle_connected(secs(at));
        assert_ne!(session.poll_timeout(), None);
        session.handle_disconnected(secs(at + 1));
    }
    assert_eq!(session.state(), State::Ended(Ending::Expired));
}

#[test]
fn what_counts_for_a_lapse_is_when_an_answered_request_was_sent() {
    let mut session = connected();
    session.submit(secs(5), &Request::sync("/")).unwrap();
    session.submit(secs(8), &Request::sync("/")).unwrap();
    session.handle_bytes(secs(9), &unhex("00000015 00000001 0000000000000005 00000000 00000001 2f"));
    // Events keep the connection, and not the session.
    let event = unhex("0000001e ffffffff 0000000000000003 00000000 00000003 00000003 00000002 2f61");
    for at in [20, 30] {
        session.handle_bytes(secs(at), &event);
        session.handle_timeout(secs(at));
    }
    drain(&mut session);
    session.handle_timeout(secs(34));
    assert!(drain(&mut session).1.is_empty());
    session.handle_timeout(secs(35));
    assert_eq!(drain(&mut session).1, [Output::Event(Event::Lapsed)]);
    session.handle_bytes(secs(36), &unhex("00000010 fffffffe 0000000000000001 00000000"));
    session.handle_timeout(secs(36));
    assert!(drain(&mut session).1.is_empty(), "it is said once, until there is a new connection");
}

#[test]
fn credentials_are_answered_out_of_order() {
    let mut session = connected();
    session.submit(secs(1), &Request::sync("/")).unwrap();
    session.add_auth(secs(1), "digest", b"a:b").unwrap();
    session.handle_bytes(secs(1), &unhex("00000010 fffffffc 0000000000000000 00000000"));
    assert_eq!(kinds(&drain(&mut session).1), [(1, None)]);
    session.handle_disconnected(secs(2));
    drain(&mut session);
    session.add_auth(secs(2), "digest", b"c:d").unwrap();
    session.handle_connected(secs(3));
    session.handle_bytes(secs(3), &unhex(HELLO));
    let ok = unhex("00000010 fffffffc 0000000000000000 00000000");
    session.handle_bytes(secs(3), &ok);
    assert_eq!(kinds(&drain(&mut session).1), [], "that was the first");
    session.handle_bytes(secs(3), &ok);
    assert_eq!(kinds(&drain(&mut session).1), [(2, None)]);
}

#[test]
fn a_watch_that_is_forgotten_is_taken_off_and_not_set_again() {
    let mut session = connected();
    session.submit(secs(1), &Request::get_data("/a", true)).unwrap();
    session.handle_bytes(
        secs(1),
        &unhex(
            "0000005a 00000001 0000000000000002 00000000 00000002 6869
             0000000000000002 0000000000000002 000001a1fd1b165a 000001a1fd1b165a 00000000 00000000 00000000
             0000000000000000 00000002 00000000 0000000000000002",
        ),
    );
    drain(&mut session);
    assert_eq!(session.watch_count(), 1);
    session.forget_watch(secs(1), "/a", WatcherType::Data);
    session.forget_watch(secs(1), "/a", WatcherType::Data);
    assert_eq!(session.watch_count(), 0);
    assert_eq!(drain(&mut session).0, unhex("00000012 00000002 00000012 00000002 2f61 00000002"));
    session.handle_bytes(secs(1), &header(2, 3, 0));
    assert!(drain(&mut session).1.is_empty());
}

#[test]
fn refused_credentials_end_the_session() {
    let mut session = connected();
    session.add_auth(secs(1), "digest", b"x").unwrap();
    session.handle_bytes(secs(1), &header(-4, 0, -115));
    let (_, outputs) = drain(&mut session);
    assert_eq!(kinds(&outputs), [(0, Some(ErrorKind::SessionLost))]);
    assert_eq!(outputs[1], Output::Event(Event::Ended(Ending::AuthFailed)));
}

#[test]
fn a_server_that_breaks_the_protocol_loses_the_connection() {
    for bad in [header(7, 1, 0), header(1, 1, 0)[..12].to_vec(), unhex("7fffffff"), unhex("00000000")] {
        let mut session = connected();
        session.submit(secs(1), &Request::get_data("/a", false)).unwrap();
        drain(&mut session);
        let mut bad = bad;
        if bad.len() == 12 {
            // A frame too short for a header.
            bad[3] = 8;
        }
        session.handle_bytes(secs(1), &bad);
        assert!(matches!(drain(&mut session).1[..], [Output::Disconnect(_)]), "{bad:?}");
        session.handle_disconnected(secs(1));
        assert_eq!(kinds(&drain(&mut session).1), [(0, Some(ErrorKind::Retry))]);
    }
}

#[test]
fn queues_are_bounded() {
    let mut session = Session::new(Options { max_pending: 2, max_unsent_bytes: 1000, ..Options::default() });
    let big = Request::set_data("/a", vec![0; 600], -1);
    session.submit(secs(1), &big).unwrap();
    assert_eq!(session.submit(secs(1), &big).unwrap_err().kind(), ErrorKind::Retry);
    session.submit(secs(1), &Request::sync("/")).unwrap();
    assert_eq!(session.submit(secs(1), &Request::sync("/")).unwrap_err().kind(), ErrorKind::Retry);
}

#[test]
fn nonsense_is_refused_before_it_is_sent() {
    let mut session = connected();
    for request in [
        Request::get_data("a", false),
        Request::delete("/a/", -1),
        Request::create("", Bytes::new(), &Acl::open(), CreateMode::Persistent),
        Request::Write(Write::CloseSession),
        Request::Read(Read::Ping),
    ] {
        assert_eq!(session.submit(secs(1), &request).unwrap_err().kind(), ErrorKind::Misuse, "{request:?}");
    }
    assert!(drain(&mut session).0.is_empty());
}

#[test]
fn a_session_of_a_read_only_server_is_not_taken_elsewhere() {
    let mut session = Session::new(Options { read_only: true, ..Options::default() });
    session.handle_connected(secs(1));
    let mut hello = unhex(HELLO);
    *hello.last_mut().unwrap() = 1;
    session.handle_bytes(secs(1), &hello);
    session.handle_disconnected(secs(1));
    drain(&mut session);
    session.handle_connected(secs(2));
    let (sent, _) = drain(&mut session);
    let request = ConnectRequest::decode(&mut ostler_wire::jute::Reader::new(&sent[4..])).unwrap();
    assert_eq!((request.session, request.read_only), (SessionId(0), Some(true)));
}

#[test]
fn xids_wrap_to_one() {
    let mut session = connected();
    session.next_xid = i32::MAX;
    assert_eq!((session.take_xid(), session.take_xid()), (i32::MAX, 1));
}

/// An answer to getData.
fn data_frame(xid: i32, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    ostler_wire::client::reply::encode_frame(xid, Zxid(7), &mut out, |out| {
        out.put_buffer(Some(data));
        ostler_wire::Stat { version: xid, ..Default::default() }.encode(out);
    });
    out
}

#[test]
fn answers_that_come_together_share_memory_and_are_right() {
    // However the network cuts them.
    for cut in [1, 50, 500, 1000, 1801, 3000] {
        let mut session = connected();
        let mut bytes = Vec::new();
        for xid in 1..=20 {
            session.submit_plain_read(secs(2), PlainRead::GetData, "", "/x").unwrap();
            bytes.extend(data_frame(xid, &[u8::try_from(xid).unwrap(); 90]));
        }
        drain(&mut session);
        for piece in bytes.chunks(cut) {
            session.handle_bytes(secs(3), piece);
        }
        let mut places = Vec::new();
        for (output, xid) in drain(&mut session).1.into_iter().zip(1..) {
            match output {
                Output::Completed(Completion {
                    result: Ok(Response::Data { data: Some(data), stat }),
                    ..
                }) => {
                    assert_eq!((&data[..], stat.version), (&[u8::try_from(xid).unwrap(); 90][..], xid));
                    places.push(data.as_ptr() as usize);
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(places.len(), 20);
        let apart = 4 + 16 + 4 + 90 + ostler_wire::Stat::LEN;
        let together = places.windows(2).filter(|pair| pair[1].abs_diff(pair[0]) == apart).count();
        if cut >= 1000 {
            assert!(together > 10, "{cut}: {together}");
        }
    }
}

#[test]
fn direct_answers_overtake_nothing() {
    let mut session = connected();
    for path in ["/a", "/b"] {
        session.submit_plain_read(secs(2), PlainRead::GetData, "", path).unwrap();
    }
    session.submit(secs(2), &Request::get_data("/c", true)).unwrap();
    session.submit_plain_read(secs(2), PlainRead::GetData, "", "/d").unwrap();
    drain(&mut session);
    let mut direct = Vec::new();
    let bytes: Vec<u8> = (1..=4).flat_map(|xid| data_frame(xid, b"x")).collect();
    let mut sink = |id: RequestId, answer: Answer<'_>| {
        assert!(answer.into_result().is_ok());
        direct.push(id.0);
    };
    session.handle_bytes_with(secs(3), &bytes, Some(&mut sink));
    // The third asked for a watch, which is for the queue, and the fourth is behind it.
    assert_eq!(direct, [0, 1]);
    assert_eq!(kinds(&drain(&mut session).1), [(2, None), (3, None)]);
}
