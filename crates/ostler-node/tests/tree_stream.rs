//! Trees on their way: those that Apache 3.9.5 sent, in pieces of every size, and own ones out of a store that goes on
//! changing meanwhile.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use bytes::Bytes;
use ostler_node::tree_stream::{Progress, TreeError, TreeReceiver, TreeSender};
use ostler_tree::{Store, TreeConfig};
use ostler_wire::txn::{CreateKind, CreateTxn, DIGEST_VERSION, Txn, TxnDigest, TxnEntry, TxnHeader};
use ostler_wire::{Acl, SessionId, Zxid};

const LIMIT: usize = 2 << 20;

/// The streams behind SNAP in a recording, each with the zxid of its packet and the packet behind it.
fn recorded(name: &str) -> Vec<(Zxid, Vec<u8>, Vec<u8>)> {
    let path = format!("{}/../ostler-wire/fixtures/quorum/{name}-3.9.5.txt", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    let mut found = Vec::new();
    let bytes = |line: &str| -> Vec<u8> {
        let hex = line.split_whitespace().nth(1).unwrap();
        (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect()
    };
    while let Some(line) = lines.next() {
        if let Some((_, zxid)) = line.split_once(" SNAP zxid=x") {
            let zxid = Zxid(i64::from_str_radix(zxid.trim(), 16).unwrap());
            found.push((zxid, bytes(lines.next().unwrap()), bytes(lines.next().unwrap())));
        }
    }
    found
}

fn receive(stream: &[u8], piece: usize) -> Result<(TreeReceiver, usize), TreeError> {
    let mut receiver = TreeReceiver::new(TreeConfig::default(), LIMIT);
    let mut at = 0;
    for piece in stream.chunks(piece) {
        match receiver.feed(piece)? {
            Progress::Wanted => at += piece.len(),
            Progress::Done { used } => return Ok((receiver, at + used)),
        }
    }
    Err(TreeError::Signature)
}

#[test]
fn trees_that_apache_sent_in_pieces_of_every_size() {
    let mut trees = 0;
    for name in ["election-sync-broadcast", "snap-fallback", "observer-master", "local-session-upgrade"] {
        for (zxid, stream, packet) in recorded(name) {
            let both = [&stream[..], &packet[..]].concat();
            for piece in (1..40).chain([both.len()]) {
                let (receiver, used) = receive(&both, piece).unwrap();
                assert_eq!(used, stream.len(), "{name}: the packet behind is not touched");
                assert_eq!(receiver.received(), stream.len() as u64);
                let nodes = receiver.nodes();
                let store = receiver.finish(zxid).unwrap();
                // The root counts twice, as "" and as "/".
                assert_eq!((store.last_zxid(), store.node_count() as u64), (zxid, nodes + 1), "{name}");
                assert!(store.peek("/zookeeper/quota").is_some());
                if name == "snap-fallback" {
                    assert!(store.peek("/aa").is_some() || store.node_count() > 5, "{name}");
                    assert!(store.session_count() > 0, "{name}");
                }
            }
            trees += 1;
        }
    }
    assert!(trees >= 5, "{trees} trees");
}

fn create(zxid: i64, path: &str, session: i64) -> TxnEntry {
    let kind = CreateKind::Plain { second: false, ephemeral: session != 0 };
    let txn = Txn::Create(CreateTxn {
        kind,
        path: path.to_owned(),
        data: Some(Bytes::from_static(b"data")),
        acl: Some(vec![Acl::world(1)].into()),
        parent_cversion: i32::try_from(zxid).unwrap(),
    });
    let header =
        TxnHeader { session: SessionId(session), zxid: Zxid(zxid), time_ms: 5, ..TxnHeader::default() };
    TxnEntry { header, txn, digest: None }
}

fn server(header_zxid: i64, session: i64, txn: Txn) -> TxnEntry {
    let header = TxnHeader { session: SessionId(session), zxid: Zxid(header_zxid), ..TxnHeader::default() };
    TxnEntry { header, txn, digest: None }
}

#[test]
fn a_tree_that_goes_on_while_it_is_sent_is_made_exact_by_what_follows() {
    let mut store = Store::new(TreeConfig::default());
    let mut ignored = Vec::new();
    let mut zxid = 0;
    for session in 1..=3 {
        zxid += 1;
        store.apply(&server(zxid, session, Txn::CreateSession { timeout_ms: 9000 }), &mut ignored);
    }
    for i in 0..1000 {
        zxid += 1;
        store.apply(&create(zxid, &format!("/n{i:04}"), i % 4), &mut ignored);
    }
    let mut sender = TreeSender::new(&store);
    assert_eq!(sender.zxid(), Zxid(zxid));
    let (mut stream, mut after, mut slices) = (Vec::new(), Vec::new(), 0);
    loop {
        let done = sender.next(&store, &mut stream);
        slices += 1;
        if done {
            break;
        }
        for txn in [
            create(zxid + 1, &format!("/n0000x{slices}"), 2),
            server(zxid + 2, 0, Txn::Delete { path: format!("/n{:04}", slices * 100) }),
            create(zxid + 3, &format!("/n{:04}", slices * 100), 0),
            server(zxid + 4, 0, Txn::SetData { path: "/n0999".into(), data: None, version: slices }),
        ] {
            store.apply(&txn, &mut ignored);
            after.push(txn);
        }
        zxid += 4;
        if slices == 2 {
            zxid += 1;
            let close = server(zxid, 1, Txn::CloseSession { paths: None });
            store.apply(&close, &mut ignored);
            after.push(close);
        }
    }
    assert!(slices >= 4, "{slices} slices");
    let (receiver, used) = receive(&stream, 1000).unwrap();
    assert_eq!(used, stream.len());
    let mut copy = receiver.finish(sender.zxid()).unwrap();
    assert_ne!(copy.digest(), store.digest(), "a mixture");
    for mut txn in after {
        // The digests of the way are those of the sender, which the mixture never had.
        let is_last = txn.header.zxid == Zxid(zxid);
        let digest = if is_last { store.digest() } else { txn.header.zxid.0 };
        txn.digest = Some(TxnDigest { version: DIGEST_VERSION, digest });
        copy.apply(&txn, &mut ignored);
    }
    assert_eq!(copy.digest(), store.digest());
    assert_eq!(copy.sessions().collect::<Vec<_>>(), store.sessions().collect::<Vec<_>>());
    for session in 1..=3 {
        assert_eq!(copy.ephemerals(SessionId(session)), store.ephemerals(SessionId(session)));
    }
    let check = copy.digest_check();
    assert_eq!((check.mismatches, check.pending), (0, false));
}

#[test]
fn what_is_no_tree_is_refused_and_takes_no_memory() {
    let (_, good, _) = recorded("snap-fallback").remove(0);
    for cut in 0..good.len() {
        let mut receiver = TreeReceiver::new(TreeConfig::default(), LIMIT);
        assert_eq!(receiver.feed(&good[..cut]).unwrap(), Progress::Wanted, "{cut}");
        assert!(receiver.finish(Zxid(1)).is_err(), "{cut}");
    }
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    assert!(matches!(receive(&bad, 7), Err(TreeError::Signature)));
    let claims_much = [&[0; 8][..], &i32::MAX.to_be_bytes()].concat();
    assert!(matches!(receive(&claims_much, 12), Err(TreeError::Length { what: "node.path", .. })));
    let negative = [&[0; 8][..], &(-2_i32).to_be_bytes()].concat();
    assert!(receive(&negative, 12).is_err());
    let (mut receiver, _) = receive(&good, good.len()).unwrap();
    assert!(matches!(receiver.feed(b"more"), Err(TreeError::Ended)));
}
