//! The driver against scripted servers on real sockets.

use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use ostler_wire::client::connect::ConnectResponse;
use ostler_wire::client::reply;
use ostler_wire::jute::Writer;
use ostler_wire::{Code, SessionId, Zxid, frame};

use super::*;
use crate::{Ending, ErrorKind, Event};

fn frame_of(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut payload = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut payload).unwrap();
    payload
}

/// A server that answers the handshake, then each of the given number of requests with `answer`.
fn serve(stream: &mut TcpStream, requests: usize, answer: fn(i32, &mut Vec<u8>)) {
    frame_of(stream);
    let mut out = Vec::new();
    let at = frame::start(&mut out);
    ConnectResponse { timeout_ms: 9000, session: SessionId(5), password: [1; 16], read_only: Some(false) }
        .encode(&mut out);
    frame::finish(&mut out, at);
    stream.write_all(&out).unwrap();
    for _ in 0..requests {
        let request = frame_of(stream);
        let xid = i32::from_be_bytes(*request.first_chunk().unwrap());
        let mut out = Vec::new();
        answer(xid, &mut out);
        stream.write_all(&out).unwrap();
    }
}

/// With what [`refuse`] answers a request: it tells which one was answered.
fn refusal(xid: i32) -> Code {
    if xid % 3 == 0 { Code::NoNode } else { Code::NoAuth }
}

/// A server that takes one client and refuses so many requests.
fn refuse(requests: usize) -> (String, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        serve(&mut stream, requests, |xid, out| {
            reply::encode_error(xid, Zxid(4), refusal(xid), out);
        });
    });
    (address, server)
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn dead() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn it_goes_past_a_dead_server_and_back_after_a_loss() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let servers = format!("{},{}", dead(), listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        serve(&mut stream, 1, |xid, out| {
            reply::encode_frame(xid, Zxid(3), out, |out| out.put_string("/"));
        });
        drop(stream);
        let (mut stream, _) = listener.accept().unwrap();
        serve(&mut stream, 2, |xid, out| reply::encode_error(xid, Zxid(4), Code::NoNode, out));
    });
    block_on(async {
        let client = Client::builder(&servers).unwrap().start().unwrap();
        let mut events = client.events();
        assert!(matches!(events.next().await, Some(Event::Connected { session: SessionId(5), .. })));
        client.sync("/").await.unwrap();
        assert_eq!(events.next().await, Some(Event::Disconnected));
        assert!(matches!(events.next().await, Some(Event::Connected { .. })));
        assert_eq!(client.exists("/x").await, Ok(None));
        assert_eq!(client.status().connections, 2);
        client.close().await;
        assert_eq!(events.next().await, Some(Event::Ended(Ending::Closed)));
        assert_eq!(events.next().await, None);
        assert_eq!(client.exists("/x").await.unwrap_err().kind(), ErrorKind::Misuse);
    });
    server.join().unwrap();
}

#[test]
fn an_address_where_nobody_listens_is_named() {
    let dead = dead();
    let builder = Client::builder(&dead.to_string()).unwrap().session_timeout(Duration::from_millis(300));
    let error = block_on(builder.connect()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry);
    assert!(error.to_string().contains(&dead.to_string()), "{error}");
}

#[test]
fn replies_that_nobody_waits_for_do_no_harm() {
    let (address, server) = refuse(301);
    block_on(async {
        let client = Client::connect(&address).await.unwrap();
        let mut kept = Vec::new();
        for xid in 1..=300 {
            let reply = client.get_data("/x");
            if xid % 7 == 0 {
                kept.push((xid, reply));
            } else {
                drop(reply);
            }
        }
        for (xid, reply) in kept {
            assert_eq!(reply.await.unwrap_err().code(), Some(refusal(xid)), "{xid}");
        }
        assert_eq!(client.slots(), 300, "a slot each while all are under way, and no more");
        drop(client.get_data("/x"));
        client.close().await;
        assert_eq!(client.slots(), 300);
    });
    drop(server);
}

#[test]
fn a_batch_has_its_answers_in_order_and_a_place_of_its_own() {
    let (address, server) = refuse(412);
    block_on(async {
        let client = Client::connect(&address).await.unwrap();
        let (mut first, dropped) = (client.get_data_batch(&["/x"; 200]), client.get_data_batch(&["/x"; 100]));
        let (between, mut last) = (client.get_data("/x"), client.get_data_batch(&["/x"; 100]));
        let mut half = client.get_data_batch(&["/x"; 10]);
        drop(dropped);
        for xid in 1..=200 {
            assert_eq!(first.len(), 201 - usize::try_from(xid).unwrap());
            assert_eq!(first.next().await.unwrap().unwrap_err().code(), Some(refusal(xid)), "{xid}");
        }
        assert!(first.next().await.is_none());
        assert_eq!(between.await.unwrap_err().code(), Some(refusal(301)));
        for xid in 302..=401 {
            assert_eq!(last.next().await.unwrap().unwrap_err().code(), Some(refusal(xid)), "{xid}");
        }
        assert!(half.next().await.is_some());
        drop(half);
        assert_eq!(client.slots(), 5);
        assert_eq!(client.get_data_batch::<&str>(&[]).all().await, Ok(Vec::new()));
        let error = client.get_data_batch(&["/x", "x"]).all().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Misuse);
        // What was refused took no xid, and all places are free again.
        assert_eq!(client.get_data("/x").await.unwrap_err().code(), Some(refusal(412)));
        assert_eq!(client.slots(), 5);
        client.close().await;
    });
    drop(server);
}

#[test]
fn a_batch_is_refused_as_a_whole_and_ends_with_its_session() {
    let dead = dead().to_string();
    block_on(async {
        let builder = Client::builder(&dead).unwrap().max_in_flight(3);
        let client = builder.session_timeout(Duration::from_millis(300)).start().unwrap();
        let mut waiting = client.exists_batch(&["/a", "/b"]);
        let mut refused = client.exists_batch(&["/c", "/d"]);
        for _ in 0..2 {
            assert_eq!(refused.next().await.unwrap().unwrap_err().kind(), ErrorKind::Retry);
        }
        assert!(refused.next().await.is_none());
        let fits = client.exists("/c");
        client.close().await;
        for _ in 0..2 {
            assert_eq!(waiting.next().await.unwrap().unwrap_err().kind(), ErrorKind::Misuse);
        }
        assert!(waiting.next().await.is_none());
        assert_eq!(fits.await.unwrap_err().kind(), ErrorKind::Misuse);
    });
}

#[test]
fn too_many_requests_are_refused_and_nothing_else_is() {
    let dead = dead().to_string();
    block_on(async {
        let builder = Client::builder(&dead).unwrap().max_in_flight(2);
        let client = builder.session_timeout(Duration::from_millis(300)).start().unwrap();
        let waiting = (client.get_data("/a"), client.get_data("/b"));
        let error = client.get_data("/c").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Retry);
        client.close().await;
        assert_eq!(waiting.0.await.unwrap_err().kind(), ErrorKind::Misuse);
        assert_eq!(waiting.1.await.unwrap_err().kind(), ErrorKind::Misuse);
    });
}

#[test]
fn when_the_runtime_stops_nobody_waits_for_ever() {
    let dead = dead().to_string();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = {
        let _guard = runtime.enter();
        Client::builder(&dead).unwrap().start().unwrap()
    };
    let waiting = client.get_data("/a");
    drop(runtime);
    assert!(block_on(waiting).is_err());
    assert!(client.status().is_ended());
}
