//! The records of the client port and of transactions.

use bytes::Bytes;
use ostler_node::auth;
use ostler_node::config::DigestAlgorithm;
use ostler_wire::client::connect::{ConnectRequest, ConnectResponse};
use ostler_wire::client::event::WatcherEvent;
use ostler_wire::client::read::Read;
use ostler_wire::client::reply::ReplyHeader;
use ostler_wire::client::response::Response;
use ostler_wire::client::write::{CreateMode, Write};
use ostler_wire::client::{AuthRequest, RequestHeader};
use ostler_wire::frame::{self, Head};
use ostler_wire::jute::{DEFAULT_MAX_BUFFER, Reader};
use ostler_wire::txn::{Txn, TxnEntry};
use ostler_wire::{Code, OpCode};

use crate::server;

/// A stream of frames, cut as a connection cuts it.
pub(crate) fn frame(input: &[u8]) {
    let max = if input.first().is_some_and(|first| first & 1 == 1) { 64 } else { DEFAULT_MAX_BUFFER };
    let mut at = 0;
    loop {
        let rest = &input[at..];
        if let Some(word) = rest.first_chunk::<4>()
            && frame::is_four_letter_word(*word)
        {
            return;
        }
        match frame::head(rest, max) {
            Head::Partial { wanted } => {
                assert!(wanted > rest.len() && wanted <= max + 4, "{wanted} of {}", rest.len());
                return;
            }
            Head::BadLength(length) => {
                assert!(usize::try_from(length).is_err() || length as usize > max);
                return;
            }
            Head::Frame { len } => {
                assert!(len <= max);
                let mut reader = Reader::new(&rest[4..4 + len]);
                if let Ok(header) = RequestHeader::decode(&mut reader) {
                    let _ = OpCode::from_int(header.op);
                }
                at += 4 + len;
            }
        }
    }
}

/// The first frame in each direction.
pub(crate) fn connect(input: &[u8]) {
    if let Ok(request) = ConnectRequest::decode(&mut Reader::new(input)) {
        let mut again = Vec::new();
        request.encode(&mut again);
        assert_eq!(ConnectRequest::decode(&mut Reader::new(&again)).as_ref(), Ok(&request));
    }
    if let Ok(response) = ConnectResponse::decode(&mut Reader::new(input)) {
        let mut again = Vec::new();
        response.encode(&mut again);
        assert_eq!(ConnectResponse::decode(&mut Reader::new(&again)), Ok(response));
    }
}

/// The body of a request that changes nothing; the first byte chooses which.
pub(crate) fn read_request(input: &[u8]) {
    let Some((op, body)) = choose_op(input) else { return };
    let Ok(read) = Read::decode(op, &mut Reader::new(body)) else { return };
    // What was cut short or reads as nothing has lost what it was.
    if matches!(&read, Read::SetWatches(watches) if watches.cut) {
        return;
    }
    let mut again = Vec::new();
    read.encode(&mut again);
    assert_eq!(Read::decode(read.op(), &mut Reader::new(&again)).as_ref(), Ok(&read));
}

/// The body of a request to change the tree; the first byte chooses which.
pub(crate) fn write_request(input: &[u8]) {
    let Some((op, body)) = choose_op(input) else { return };
    let Ok(write) = Write::decode(op, &Bytes::copy_from_slice(body)) else { return };
    if write == Write::MalformedMulti || is_bent_multi(&write) {
        return;
    }
    let mut again = Vec::new();
    write.encode(&mut again);
    assert_eq!(Write::decode(op, &again.into()).as_ref(), Ok(&write));
}

/// Whether it is a multi with a createTTL that became another create by its flags, and so is written as one.
fn is_bent_multi(write: &Write) -> bool {
    let Write::Multi(parts) = write else { return false };
    parts.iter().any(|part| {
        matches!(part, Write::Create(create) if create.op != OpCode::CreateTtl
            // No other create passes with such flags, or without an ACL.
            && (create.acl.is_none() || CreateMode::from_flags(create.flags).is_none_or(CreateMode::is_ttl)))
    })
}

fn choose_op(input: &[u8]) -> Option<(OpCode, &[u8])> {
    let (first, body) = input.split_first()?;
    Some((OpCode::ALL[usize::from(*first) % OpCode::ALL.len()], body))
}

/// An auth packet, and the identities that it yields.
pub(crate) fn auth(input: &[u8]) {
    let Some((first, body)) = input.split_first() else { return };
    let Ok(request) = AuthRequest::decode(&mut Reader::new(body)) else { return };
    let mut config = server::config();
    config.digest_algorithm = match first % 7 {
        0 => DigestAlgorithm::Sha1,
        1 => DigestAlgorithm::Sha224,
        2 => DigestAlgorithm::Sha256,
        3 => DigestAlgorithm::Sha384,
        4 => DigestAlgorithm::Sha512,
        5 => DigestAlgorithm::Sha512_224,
        _ => DigestAlgorithm::Sha512_256,
    };
    if let Some(ids) = auth::authenticate(&request, "127.0.0.1", &config) {
        assert!(!ids.is_empty());
        let _ = auth::client_infos(&ids).count();
    }
    let mut again = Vec::new();
    request.encode(&mut again);
    assert_eq!(AuthRequest::decode(&mut Reader::new(&again)).as_ref(), Ok(&request));
}

/// What a server answers, as a client reads it; the first byte chooses to which request.
pub(crate) fn reply(input: &[u8]) {
    let Some((op, body)) = choose_op(input) else { return };
    let mut reader = Reader::new(body);
    if let Ok(header) = ReplyHeader::decode(&mut reader) {
        let _ = Code::from_int(header.err);
        let rest = reader.rest();
        let _ = Response::decode(op, &mut Reader::new(rest));
        let _ = WatcherEvent::decode(&mut Reader::new(rest));
    }
    let _ = Response::decode(op, &mut Reader::new(body));
}

/// A transaction as it is logged.
pub(crate) fn txn(input: &[u8]) {
    let bytes = Bytes::copy_from_slice(input);
    let Ok(entry) = TxnEntry::decode(&bytes) else { return };
    assert_eq!(TxnEntry::peek_zxid(&bytes), Ok(entry.header.zxid));
    let mut again = Vec::new();
    entry.encode(&mut again);
    let read = TxnEntry::decode(&again.into());
    // Two empty paths, which no closing transaction has, look like the digest behind one that has no list of paths.
    let is_ambiguous =
        matches!(&entry.txn, Txn::CloseSession { paths: Some(paths) } if paths.iter().any(String::is_empty));
    if !is_ambiguous {
        assert_eq!(read.as_ref(), Ok(&entry));
    }
}
